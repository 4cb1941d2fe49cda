//! Encoding: eight bytes to [`Slot`] to [`Insn`] and back (RFC 9669, section 3).
//!
//! Decoding is strict: unused fields must be zero and undefined codes are errors, so whatever
//! decodes encodes back to the same bytes. Bytes are little endian.

use alloc::vec::Vec;
use core::fmt;

use crate::insn::{
    Callee, Extend, HelperId, Imm64, Insn, Mem, Offset, PacketIndex, PacketSize, Reg, Src,
};
use crate::op::{
    ADDR_SPACE_CAST_OFFSET, AddrSpaceCast, AluOp, AtomicOp, CODE_BITS, Cond, Endian, Imm64Kind,
    LOAD_ACQUIRE, Movsx, SIZE_BITS, SOURCE_X, STORE_RELEASE, Size, SwapBits, Width, call, class,
    code, mode,
};

/// The size of a slot in bytes.
pub const SLOT_BYTES: usize = 8;

/// Eight bytes of code: the fields as they lie, of any value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Slot {
    /// The operation.
    pub opcode: u8,
    /// Destination register in the low, source register in the high four bits.
    pub regs: u8,
    /// The signed 16-bit offset.
    pub offset: i16,
    /// The signed 32-bit immediate.
    pub imm: i32,
}

impl Slot {
    /// A slot of its fields; `dst` and `src` are taken modulo 16.
    #[must_use]
    pub const fn new(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Slot {
        Slot { opcode, regs: (dst & 0xf) | (src << 4), offset, imm }
    }

    /// Reads the fields.
    #[must_use]
    pub const fn from_bytes(b: [u8; SLOT_BYTES]) -> Slot {
        Slot {
            opcode: b[0],
            regs: b[1],
            offset: i16::from_le_bytes([b[2], b[3]]),
            imm: i32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        }
    }

    /// Writes the fields.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; SLOT_BYTES] {
        let offset = self.offset.to_le_bytes();
        let imm = self.imm.to_le_bytes();
        [self.opcode, self.regs, offset[0], offset[1], imm[0], imm[1], imm[2], imm[3]]
    }

    /// Splits bytes into slots; `None` if their number is not a multiple of eight.
    #[must_use]
    pub fn from_code(code: &[u8]) -> Option<Vec<Slot>> {
        let (slots, rest) = code.as_chunks::<SLOT_BYTES>();
        rest.is_empty().then(|| slots.iter().map(|b| Slot::from_bytes(*b)).collect())
    }

    /// The destination register's field, 0 to 15.
    #[must_use]
    pub const fn dst(self) -> u8 {
        self.regs & 0xf
    }

    /// The source register's field, 0 to 15.
    #[must_use]
    pub const fn src(self) -> u8 {
        self.regs >> 4
    }

    /// The instruction class, the low three bits of the opcode.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.opcode & 0x7
    }

    /// Whether the slot starts a wide instruction.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        self.opcode == WIDE_OPCODE
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.to_bytes().iter().enumerate() {
            write!(f, "{}{byte:02x}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

const WIDE_OPCODE: u8 = class::LD | mode::IMM | Size::Dw.row().code;

/// The position of a slot in a piece of code. Jumps count in slots; a wide instruction has two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SlotIndex(pub usize);

impl fmt::Display for SlotIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A field of a slot, as RFC 9669 names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Field {
    /// The destination register.
    Dst,
    /// The source register.
    Src,
    /// The offset.
    Offset,
    /// The immediate.
    Imm,
    /// The second slot's immediate.
    NextImm,
    /// The first four bytes of the second slot.
    Reserved,
}

impl Field {
    /// RFC 9669's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Field::Dst => "dst_reg",
            Field::Src => "src_reg",
            Field::Offset => "offset",
            Field::Imm => "imm",
            Field::NextImm => "next_imm",
            Field::Reserved => "reserved",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a slot is not an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// No instruction has the opcode.
    UnknownOpcode(u8),
    /// A register field is above 10.
    NoSuchRegister {
        /// Which field.
        field: Field,
        /// Its value.
        number: u8,
    },
    /// A field that the instruction does not use is not zero.
    ReservedField {
        /// Which field.
        field: Field,
        /// Its value.
        value: i64,
    },
    /// A field that selects among operations has a value that selects none.
    UnknownValue {
        /// Which field.
        field: Field,
        /// Its value.
        value: i64,
    },
    /// The second slot of a wide instruction is missing.
    SecondSlotMissing,
}

/// Why code does not decode, and where.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DecodeError {
    /// The slot.
    pub at: SlotIndex,
    /// What is wrong with it.
    pub kind: DecodeErrorKind,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}: {}", self.at, self.kind)
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeErrorKind::UnknownOpcode(opcode) => write!(f, "unknown opcode {opcode:#04x}"),
            DecodeErrorKind::NoSuchRegister { field, number } => {
                write!(f, "{field} is {number}, but registers go from 0 to 10")
            }
            DecodeErrorKind::ReservedField { field, value } => {
                write!(
                    f,
                    "{field} is {value:#x}, but the instruction does not use it: it must be 0"
                )
            }
            DecodeErrorKind::UnknownValue { field, value } => {
                write!(f, "{field} is {value:#x}, which selects no operation")
            }
            DecodeErrorKind::SecondSlotMissing => {
                f.write_str("a 64-bit immediate load needs a second slot, but the code ends")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why an instruction has no encoding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// The distance of a jump does not fit in 16 bits.
    OffsetOutOfRange(i32),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::OffsetOutOfRange(offset) => {
                write!(f, "jump of {offset:+} slots does not fit in 16 bits; gotol has 32")
            }
        }
    }
}

impl core::error::Error for EncodeError {}

/// Decodes the instruction that starts at a slot.
///
/// # Errors
///
/// If `at` is outside `code` ([`DecodeErrorKind::SecondSlotMissing`] names the slot that is not
/// there) or the slot is not an instruction.
pub fn decode(code: &[Slot], at: SlotIndex) -> Result<Insn<Offset>, DecodeError> {
    let decoded = match code.get(at.0..) {
        Some([slot, next, ..]) => decode_slot(*slot, Some(*next)),
        Some([slot]) => decode_slot(*slot, None),
        _ => Err(DecodeErrorKind::SecondSlotMissing),
    };
    decoded.map_err(|kind| DecodeError { at, kind })
}

/// Decodes code from its first slot to its last, one result per instruction. After a slot that is
/// not an instruction, decoding goes on with the next slot.
pub fn decode_all(
    code: &[Slot],
) -> impl Iterator<Item = (SlotIndex, Result<Insn<Offset>, DecodeError>)> + '_ {
    let mut next = 0;
    core::iter::from_fn(move || {
        if next >= code.len() {
            return None;
        }
        let at = SlotIndex(next);
        let result = decode(code, at);
        next += match &result {
            Ok(insn) => insn.len_slots(),
            Err(_) if code[at.0].is_wide() && code.get(at.0 + 1).is_some_and(|s| s.opcode == 0) => {
                2
            }
            Err(_) => 1,
        };
        Some((at, result))
    })
}

type Decoded = Result<Insn<Offset>, DecodeErrorKind>;

fn decode_slot(slot: Slot, next: Option<Slot>) -> Decoded {
    match slot.class() {
        class::LD => decode_ld(slot, next),
        class::LDX => decode_ldx(slot),
        class::ST | class::STX => decode_store(slot),
        class::ALU => decode_alu(slot, Width::W32),
        class::ALU64 => decode_alu(slot, Width::W64),
        class::JMP => decode_jump(slot, Width::W64),
        _ => decode_jump(slot, Width::W32),
    }
}

/// The fields of a slot, taken one by one; what is left must be zero.
struct Fields {
    slot: Slot,
}

impl Fields {
    fn dst(&self) -> Result<Reg, DecodeErrorKind> {
        register(Field::Dst, self.slot.dst())
    }

    fn src(&self) -> Result<Reg, DecodeErrorKind> {
        register(Field::Src, self.slot.src())
    }

    /// The operand that the source bit selects; the other field must be zero.
    fn operand(&self) -> Result<Src, DecodeErrorKind> {
        if self.slot.opcode & SOURCE_X != 0 {
            self.zero(&[Field::Imm])?;
            Ok(Src::Reg(self.src()?))
        } else {
            self.zero(&[Field::Src])?;
            Ok(Src::Imm(self.slot.imm))
        }
    }

    fn zero(&self, fields: &[Field]) -> Result<(), DecodeErrorKind> {
        for &field in fields {
            let value = match field {
                Field::Dst => i64::from(self.slot.dst()),
                Field::Src => i64::from(self.slot.src()),
                Field::Offset => i64::from(self.slot.offset),
                Field::Imm | Field::NextImm => i64::from(self.slot.imm),
                Field::Reserved => {
                    let b = self.slot.to_bytes();
                    i64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                }
            };
            if value != 0 {
                return Err(DecodeErrorKind::ReservedField { field, value });
            }
        }
        Ok(())
    }

    fn unknown_opcode(&self) -> DecodeErrorKind {
        DecodeErrorKind::UnknownOpcode(self.slot.opcode)
    }
}

fn register(field: Field, number: u8) -> Result<Reg, DecodeErrorKind> {
    Reg::new(number).ok_or(DecodeErrorKind::NoSuchRegister { field, number })
}

fn size_of(opcode: u8) -> Size {
    match opcode & SIZE_BITS {
        0x00 => Size::W,
        0x08 => Size::H,
        0x10 => Size::B,
        _ => Size::Dw,
    }
}

fn mode_of(opcode: u8) -> u8 {
    opcode & mode::BITS
}

fn decode_ld(slot: Slot, next: Option<Slot>) -> Decoded {
    let fields = Fields { slot };
    if slot.is_wide() {
        return decode_imm64(&fields, next.ok_or(DecodeErrorKind::SecondSlotMissing)?);
    }
    let size = match size_of(slot.opcode) {
        Size::B => PacketSize::B,
        Size::H => PacketSize::H,
        Size::W => PacketSize::W,
        Size::Dw => return Err(fields.unknown_opcode()),
    };
    let index = match mode_of(slot.opcode) {
        mode::ABS => {
            fields.zero(&[Field::Src])?;
            PacketIndex::Absolute
        }
        mode::IND => PacketIndex::Indirect(fields.src()?),
        _ => return Err(fields.unknown_opcode()),
    };
    fields.zero(&[Field::Dst, Field::Offset])?;
    Ok(Insn::LoadPacket { size, index, imm: slot.imm })
}

fn decode_imm64(fields: &Fields, next: Slot) -> Decoded {
    let slot = fields.slot;
    let dst = fields.dst()?;
    fields.zero(&[Field::Offset])?;
    let second = Fields { slot: next };
    second.zero(&[Field::Reserved])?;
    let kind =
        Imm64Kind::ALL.iter().copied().find(|kind| kind.row().src == slot.src()).ok_or(
            DecodeErrorKind::UnknownValue { field: Field::Src, value: i64::from(slot.src()) },
        )?;
    if !kind.row().uses_next_imm {
        second.zero(&[Field::NextImm])?;
    }
    let imm = match kind {
        Imm64Kind::Value => {
            Imm64::Value(u64::from(next.imm as u32) << 32 | u64::from(slot.imm as u32))
        }
        Imm64Kind::MapByFd => Imm64::MapByFd(slot.imm),
        Imm64Kind::MapValueByFd => Imm64::MapValueByFd { fd: slot.imm, offset: next.imm },
        Imm64Kind::Variable => Imm64::Variable { btf_id: slot.imm, btf_fd: next.imm },
        Imm64Kind::Code => Imm64::Code(Offset(slot.imm)),
        Imm64Kind::MapByIdx => Imm64::MapByIdx(slot.imm as u32),
        Imm64Kind::MapValueByIdx => {
            Imm64::MapValueByIdx { index: slot.imm as u32, offset: next.imm }
        }
    };
    Ok(Insn::LoadImm64 { dst, imm })
}

fn decode_ldx(slot: Slot) -> Decoded {
    let fields = Fields { slot };
    let size = size_of(slot.opcode);
    let extend = match (mode_of(slot.opcode), size) {
        (mode::MEM, _) => Extend::Zero,
        (mode::MEMSX, Size::B | Size::H | Size::W) => Extend::Sign,
        _ => return Err(fields.unknown_opcode()),
    };
    let dst = fields.dst()?;
    let mem = Mem { base: fields.src()?, offset: slot.offset };
    fields.zero(&[Field::Imm])?;
    Ok(Insn::Load { size, extend, dst, mem })
}

fn decode_store(slot: Slot) -> Decoded {
    let fields = Fields { slot };
    let size = size_of(slot.opcode);
    match (mode_of(slot.opcode), slot.class()) {
        (mode::MEM, class::ST) => {
            let mem = Mem { base: fields.dst()?, offset: slot.offset };
            fields.zero(&[Field::Src])?;
            Ok(Insn::Store { size, mem, src: Src::Imm(slot.imm) })
        }
        (mode::MEM, _) => {
            let mem = Mem { base: fields.dst()?, offset: slot.offset };
            let src = fields.src()?;
            fields.zero(&[Field::Imm])?;
            Ok(Insn::Store { size, mem, src: Src::Reg(src) })
        }
        (mode::ATOMIC, class::STX) => decode_atomic(&fields, size),
        _ => Err(fields.unknown_opcode()),
    }
}

fn decode_atomic(fields: &Fields, size: Size) -> Decoded {
    let slot = fields.slot;
    let (dst, src) = (fields.dst()?, fields.src()?);
    match slot.imm {
        LOAD_ACQUIRE => {
            let mem = Mem { base: src, offset: slot.offset };
            return Ok(Insn::LoadAcquire { size, dst, mem });
        }
        STORE_RELEASE => {
            let mem = Mem { base: dst, offset: slot.offset };
            return Ok(Insn::StoreRelease { size, mem, src });
        }
        _ => {}
    }
    let width = match size {
        Size::W => Width::W32,
        Size::Dw => Width::W64,
        Size::B | Size::H => return Err(fields.unknown_opcode()),
    };
    let op =
        AtomicOp::ALL.iter().copied().find(|op| op.row().imm == slot.imm).ok_or(
            DecodeErrorKind::UnknownValue { field: Field::Imm, value: i64::from(slot.imm) },
        )?;
    Ok(Insn::Atomic { op, width, mem: Mem { base: dst, offset: slot.offset }, src })
}

fn decode_alu(slot: Slot, width: Width) -> Decoded {
    let fields = Fields { slot };
    let dst = fields.dst()?;
    match slot.opcode & CODE_BITS {
        code::NEG if slot.opcode & SOURCE_X == 0 => {
            fields.zero(&[Field::Src, Field::Offset, Field::Imm])?;
            Ok(Insn::Neg { width, dst })
        }
        code::END => decode_endian(&fields, dst),
        op_code => {
            let is_code = |op: &AluOp| op.row().code == op_code;
            if !AluOp::ALL.iter().any(is_code) {
                return Err(fields.unknown_opcode());
            }
            if op_code == AluOp::Mov.row().code && slot.opcode & SOURCE_X != 0 && slot.offset != 0 {
                return decode_special_move(&fields, width, dst);
            }
            let op = AluOp::ALL
                .iter()
                .copied()
                .find(|op| is_code(op) && op.row().offset == slot.offset)
                .ok_or(DecodeErrorKind::UnknownValue {
                    field: Field::Offset,
                    value: i64::from(slot.offset),
                })?;
            Ok(Insn::Alu { op, width, dst, src: fields.operand()? })
        }
    }
}

fn decode_endian(fields: &Fields, dst: Reg) -> Decoded {
    let slot = fields.slot;
    let op = Endian::ALL
        .iter()
        .copied()
        .find(|op| op.row().class == slot.class() && op.row().source == slot.opcode & SOURCE_X)
        .ok_or(fields.unknown_opcode())?;
    fields.zero(&[Field::Src, Field::Offset])?;
    let bits =
        SwapBits::ALL.iter().copied().find(|bits| i32::from(bits.row().bits) == slot.imm).ok_or(
            DecodeErrorKind::UnknownValue { field: Field::Imm, value: i64::from(slot.imm) },
        )?;
    Ok(Insn::Endian { op, bits, dst })
}

/// A move between registers with a non-zero offset: sign extension or address space cast.
fn decode_special_move(fields: &Fields, width: Width, dst: Reg) -> Decoded {
    let slot = fields.slot;
    let src = fields.src()?;
    if width == Width::W64 && slot.offset == ADDR_SPACE_CAST_OFFSET {
        let op = AddrSpaceCast::ALL.iter().copied().find(|op| op.row().imm == slot.imm).ok_or(
            DecodeErrorKind::UnknownValue { field: Field::Imm, value: i64::from(slot.imm) },
        )?;
        return Ok(Insn::AddrSpaceCast { op, dst, src });
    }
    let op = Movsx::ALL
        .iter()
        .copied()
        .find(|op| op.row().width == width && i16::from(op.row().from_bits) == slot.offset)
        .ok_or(DecodeErrorKind::UnknownValue {
            field: Field::Offset,
            value: i64::from(slot.offset),
        })?;
    fields.zero(&[Field::Imm])?;
    Ok(Insn::Movsx { op, dst, src })
}

fn decode_jump(slot: Slot, width: Width) -> Decoded {
    let fields = Fields { slot };
    let is_x = slot.opcode & SOURCE_X != 0;
    match (slot.opcode & CODE_BITS, width) {
        (code::JA, Width::W64) if !is_x => {
            fields.zero(&[Field::Dst, Field::Src, Field::Imm])?;
            Ok(Insn::Jump { wide: false, target: Offset(i32::from(slot.offset)) })
        }
        (code::JA, Width::W32) if !is_x => {
            fields.zero(&[Field::Dst, Field::Src, Field::Offset])?;
            Ok(Insn::Jump { wide: true, target: Offset(slot.imm) })
        }
        (code::CALL, Width::W64) => decode_call(&fields, is_x),
        (code::EXIT, Width::W64) if !is_x => {
            fields.zero(&[Field::Dst, Field::Src, Field::Offset, Field::Imm])?;
            Ok(Insn::Exit)
        }
        (code::JCOND, Width::W64) if !is_x => {
            // The source register selects the pseudo jump, and Linux has one: may_goto, 0.
            if slot.src() != 0 {
                let value = i64::from(slot.src());
                return Err(DecodeErrorKind::UnknownValue { field: Field::Src, value });
            }
            fields.zero(&[Field::Dst, Field::Imm])?;
            Ok(Insn::MayGoto { target: Offset(i32::from(slot.offset)) })
        }
        (cond_code, _) => {
            let cond = Cond::ALL
                .iter()
                .copied()
                .find(|cond| cond.row().code == cond_code)
                .ok_or(fields.unknown_opcode())?;
            let target = Offset(i32::from(slot.offset));
            Ok(Insn::Branch { cond, width, dst: fields.dst()?, src: fields.operand()?, target })
        }
    }
}

fn decode_call(fields: &Fields, is_x: bool) -> Decoded {
    let slot = fields.slot;
    let callee = if is_x {
        fields.zero(&[Field::Src, Field::Offset, Field::Imm])?;
        Callee::Reg(fields.dst()?)
    } else {
        fields.zero(&[Field::Dst])?;
        if slot.src() != call::KFUNC {
            fields.zero(&[Field::Offset])?;
        }
        match slot.src() {
            call::HELPER => Callee::Helper(HelperId(slot.imm as u32)),
            call::LOCAL => Callee::Local(Offset(slot.imm)),
            call::KFUNC => Callee::Kfunc { btf_id: slot.imm, btf_index: slot.offset },
            src => {
                let value = i64::from(src);
                return Err(DecodeErrorKind::UnknownValue { field: Field::Src, value });
            }
        }
    };
    Ok(Insn::Call { callee })
}

/// The encoding of one instruction: one slot or two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encoded {
    first: Slot,
    second: Option<Slot>,
}

impl Encoded {
    /// The slots in order.
    pub fn slots(self) -> impl Iterator<Item = Slot> {
        core::iter::once(self.first).chain(self.second)
    }
}

impl From<Slot> for Encoded {
    fn from(first: Slot) -> Self {
        Encoded { first, second: None }
    }
}

/// Encodes an instruction.
///
/// # Errors
///
/// If the distance of a jump does not fit in its field.
pub fn encode(insn: &Insn<Offset>) -> Result<Encoded, EncodeError> {
    let alu_class = |width| if width == Width::W32 { class::ALU } else { class::ALU64 };
    let jmp_class = |width| if width == Width::W32 { class::JMP32 } else { class::JMP };
    let slot = match *insn {
        Insn::Alu { op, width, dst, src } => {
            let opcode = alu_class(width) | op.row().code;
            with_operand(opcode, dst, src, op.row().offset)
        }
        Insn::Neg { width, dst } => Slot::new(alu_class(width) | code::NEG, number(dst), 0, 0, 0),
        Insn::Movsx { op, dst, src } => {
            let opcode = alu_class(op.row().width) | AluOp::Mov.row().code | SOURCE_X;
            Slot::new(opcode, number(dst), number(src), i16::from(op.row().from_bits), 0)
        }
        Insn::Endian { op, bits, dst } => {
            let opcode = op.row().class | code::END | op.row().source;
            Slot::new(opcode, number(dst), 0, 0, i32::from(bits.row().bits))
        }
        Insn::AddrSpaceCast { op, dst, src } => {
            let opcode = class::ALU64 | AluOp::Mov.row().code | SOURCE_X;
            Slot::new(opcode, number(dst), number(src), ADDR_SPACE_CAST_OFFSET, op.row().imm)
        }
        Insn::LoadImm64 { dst, imm } => return Ok(encode_imm64(dst, &imm)),
        Insn::Load { size, extend, dst, mem } => {
            let mode = if extend == Extend::Zero { mode::MEM } else { mode::MEMSX };
            let opcode = class::LDX | mode | size.row().code;
            Slot::new(opcode, number(dst), number(mem.base), mem.offset, 0)
        }
        Insn::Store { size, mem, src } => {
            let opcode = mode::MEM | size.row().code;
            match src {
                Src::Imm(imm) => {
                    Slot::new(class::ST | opcode, number(mem.base), 0, mem.offset, imm)
                }
                Src::Reg(src) => {
                    Slot::new(class::STX | opcode, number(mem.base), number(src), mem.offset, 0)
                }
            }
        }
        Insn::Atomic { op, width, mem, src } => {
            let size = if width == Width::W32 { Size::W } else { Size::Dw };
            atomic_slot(size, mem.base, src, mem.offset, op.row().imm)
        }
        Insn::LoadAcquire { size, dst, mem } => {
            atomic_slot(size, dst, mem.base, mem.offset, LOAD_ACQUIRE)
        }
        Insn::StoreRelease { size, mem, src } => {
            atomic_slot(size, mem.base, src, mem.offset, STORE_RELEASE)
        }
        Insn::LoadPacket { size, index, imm } => {
            let (mode, src) = match index {
                PacketIndex::Absolute => (mode::ABS, 0),
                PacketIndex::Indirect(reg) => (mode::IND, number(reg)),
            };
            Slot::new(class::LD | mode | size.size().row().code, 0, src, 0, imm)
        }
        Insn::Jump { wide: false, target } => {
            Slot::new(class::JMP | code::JA, 0, 0, short(target)?, 0)
        }
        Insn::Jump { wide: true, target } => Slot::new(class::JMP32 | code::JA, 0, 0, 0, target.0),
        Insn::Branch { cond, width, dst, src, target } => {
            with_operand(jmp_class(width) | cond.row().code, dst, src, short(target)?)
        }
        Insn::MayGoto { target } => Slot::new(class::JMP | code::JCOND, 0, 0, short(target)?, 0),
        Insn::Call { callee } => encode_call(callee),
        Insn::Exit => Slot::new(class::JMP | code::EXIT, 0, 0, 0, 0),
    };
    Ok(slot.into())
}

fn number(reg: Reg) -> u8 {
    reg as u8
}

fn short(target: Offset) -> Result<i16, EncodeError> {
    i16::try_from(target.0).map_err(|_| EncodeError::OffsetOutOfRange(target.0))
}

fn with_operand(opcode: u8, dst: Reg, src: Src, offset: i16) -> Slot {
    match src {
        Src::Imm(imm) => Slot::new(opcode, number(dst), 0, offset, imm),
        Src::Reg(src) => Slot::new(opcode | SOURCE_X, number(dst), number(src), offset, 0),
    }
}

fn atomic_slot(size: Size, dst: Reg, src: Reg, offset: i16, imm: i32) -> Slot {
    let opcode = class::STX | mode::ATOMIC | size.row().code;
    Slot::new(opcode, number(dst), number(src), offset, imm)
}

fn encode_imm64(dst: Reg, imm: &Imm64<Offset>) -> Encoded {
    let (low, high) = match *imm {
        Imm64::Value(value) => (value as i32, (value >> 32) as i32),
        Imm64::MapByFd(fd) => (fd, 0),
        Imm64::MapValueByFd { fd, offset } => (fd, offset),
        Imm64::Variable { btf_id, btf_fd } => (btf_id, btf_fd),
        Imm64::Code(Offset(offset)) => (offset, 0),
        Imm64::MapByIdx(index) => (index as i32, 0),
        Imm64::MapValueByIdx { index, offset } => (index as i32, offset),
    };
    let first = Slot::new(WIDE_OPCODE, number(dst), imm.kind().row().src, 0, low);
    Encoded { first, second: Some(Slot { imm: high, ..Slot::default() }) }
}

fn encode_call(callee: Callee<Offset>) -> Slot {
    let opcode = class::JMP | code::CALL;
    match callee {
        Callee::Helper(HelperId(id)) => Slot::new(opcode, 0, call::HELPER, 0, id as i32),
        Callee::Local(Offset(offset)) => Slot::new(opcode, 0, call::LOCAL, 0, offset),
        Callee::Kfunc { btf_id, btf_index } => Slot::new(opcode, 0, call::KFUNC, btf_index, btf_id),
        Callee::Reg(reg) => Slot::new(opcode | SOURCE_X, number(reg), 0, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    /// Values of every field that decide validity, and ordinary ones beside them.
    const OFFSETS: &[i16] = &[0, 1, 2, 8, 16, 32, 64, -1, i16::MIN, i16::MAX];
    const IMMS: &[i32] = &[
        0,
        1,
        2,
        16,
        32,
        64,
        0x40,
        0x50,
        0xa0,
        0x41,
        0x51,
        0xa1,
        0xe0,
        0xe1,
        0xf0,
        0xf1,
        0x100,
        0x110,
        0x1_0000,
        -1,
        i32::MIN,
        i32::MAX,
    ];

    /// Whatever decodes encodes back, over all opcodes and registers; and the number of opcodes
    /// that decode is what RFC 9669's appendix and the Linux extensions add up to.
    #[test]
    fn whatever_decodes_encodes_back() {
        let mut valid = BTreeSet::new();
        for opcode in 0..=255 {
            for regs in 0..=255 {
                for &offset in OFFSETS {
                    for &imm in IMMS {
                        for next_imm in [0, 7] {
                            let slot = Slot { opcode, regs, offset, imm };
                            let code = [slot, Slot { imm: next_imm, ..Slot::default() }];
                            let Ok(insn) = decode(&code, SlotIndex(0)) else { continue };
                            valid.insert(opcode);
                            let back: Vec<Slot> = encode(&insn).unwrap().slots().collect();
                            assert_eq!(back, code[..insn.len_slots()], "{insn:?}");
                        }
                    }
                }
            }
        }
        // Arithmetic 12 x 2 x 2, negation 2, byte swaps 3; conditions 11 x 2 x 2, jumps 2, calls
        // 2, exit, may_goto; loads 4 + 3, stores 4 + 4, atomic 4, wide load 1, packet loads 6.
        assert_eq!(valid.len(), 48 + 5 + 44 + 6 + 7 + 8 + 4 + 1 + 6, "{valid:x?}");
    }

    #[test]
    fn errors_name_the_field() {
        let wide = Slot::new(0x18, 1, 0, 0, 5);
        let error = decode(&[wide], SlotIndex(0)).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::SecondSlotMissing);
        let error = decode(&[Slot::new(0xb7, 12, 0, 0, 0)], SlotIndex(0)).unwrap_err();
        assert_eq!(
            alloc::string::ToString::to_string(&error),
            "slot 0: dst_reg is 12, but registers go from 0 to 10"
        );
        let error = decode(&[Slot::new(0x95, 0, 0, 0, 3)], SlotIndex(0)).unwrap_err();
        assert!(matches!(error.kind, DecodeErrorKind::ReservedField { field: Field::Imm, .. }));
    }

    #[test]
    fn decoding_goes_on_after_an_error() {
        let code = [Slot::new(0xff, 0, 0, 0, 0), Slot::new(0x95, 0, 0, 0, 0)];
        let results: Vec<_> = decode_all(&code).collect();
        assert_eq!(results.len(), 2);
        assert!(results[0].1.is_err());
        assert_eq!(results[1], (SlotIndex(1), Ok(Insn::Exit)));
    }
}
