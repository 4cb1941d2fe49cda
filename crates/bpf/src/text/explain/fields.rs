//! The fields of the encoding, one by one, and what each means in its instruction.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::sentence::slots_away;
use super::{ExplainedField, Place};
use crate::codec::{DecodeErrorKind, Field, Slot};
use crate::insn::{Callee, Imm64, Insn, Offset, PacketIndex, Reg, Src};
use crate::op::{
    AluOp, AtomicOp, CODE_BITS, Cond, LOAD_ACQUIRE, SIZE_BITS, SOURCE_X, STORE_RELEASE, Size,
    class, code, mode,
};
use crate::platform;
use crate::text::words;

type Decoded = Result<Insn<Offset>, DecodeErrorKind>;

/// The name of the first byte.
pub(super) const OPCODE: &str = "opcode";

pub(super) fn fields(slot: Slot, next: Option<Slot>, decoded: &Decoded) -> Vec<ExplainedField> {
    let mut fields = opcode_fields(slot, decoded);
    let roles = match decoded {
        Ok(insn) => Roles::of(insn),
        Err(_) => Roles::default(),
    };
    let whole = |byte, len_bytes| Place { byte, len_bytes, bits: None };
    let nibble = |low| Place { byte: 1, len_bytes: 1, bits: Some((low, 4)) };
    let mut add = |field: Field, place, value: i64, role: Option<String>| {
        let meaning = meaning(field, value, role, decoded);
        fields.push(ExplainedField { name: field.name(), place, value, meaning });
    };
    add(Field::Dst, nibble(0), i64::from(slot.dst()), roles.dst);
    add(Field::Src, nibble(4), i64::from(slot.src()), roles.src);
    add(Field::Offset, whole(2, 2), i64::from(slot.offset), roles.offset);
    add(Field::Imm, whole(4, 4), i64::from(slot.imm), roles.imm);
    if let Some(next) = next {
        let [a, b, c, d, ..] = next.to_bytes();
        let reserved = i64::from(u32::from_le_bytes([a, b, c, d]));
        add(Field::Reserved, whole(8, 4), reserved, None);
        add(Field::NextImm, whole(12, 4), i64::from(next.imm), roles.next_imm);
    }
    fields
}

/// What a field means: its role, that it has none, or what is wrong with it.
fn meaning(field: Field, value: i64, role: Option<String>, decoded: &Decoded) -> String {
    let Err(error) = decoded else { return role.unwrap_or_else(|| String::from("not used")) };
    match error {
        DecodeErrorKind::NoSuchRegister { field: wrong, .. } if *wrong == field => {
            format!("{value}, but registers go from 0 to 10")
        }
        DecodeErrorKind::ReservedField { field: wrong, .. } if *wrong == field => {
            format!("{}, but it is not used and must be 0", number(value))
        }
        DecodeErrorKind::UnknownValue { field: wrong, .. } if *wrong == field => {
            format!("{}, which selects no operation", number(value))
        }
        _ => number(value),
    }
}

/// A number in decimal, and in hexadecimal where that differs.
fn number(value: i64) -> String {
    match value {
        -9..=9 => value.to_string(),
        ..-9 => format!("{value} (-{:#x})", value.unsigned_abs()),
        10.. => format!("{value} ({value:#x})"),
    }
}

/// The opcode and its parts, from the highest bit to the lowest.
fn opcode_fields(slot: Slot, decoded: &Decoded) -> Vec<ExplainedField> {
    let opcode = slot.opcode;
    let whole = ExplainedField {
        name: OPCODE,
        place: Place { byte: 0, len_bytes: 1, bits: None },
        value: i64::from(opcode),
        meaning: match decoded {
            Err(DecodeErrorKind::UnknownOpcode(_)) => String::from("no instruction has it"),
            _ => String::from("the operation"),
        },
    };
    let part = |name, low: u32, count: u32, meaning| ExplainedField {
        name,
        place: Place { byte: 0, len_bytes: 1, bits: Some((low, count)) },
        value: i64::from(opcode >> low) & ((1 << count) - 1),
        meaning,
    };
    let class = part("class", 0, 3, class_meaning(slot));
    let parts = match slot.class() {
        class::LD | class::LDX | class::ST | class::STX => [
            part("mode", 5, 3, mode_meaning(opcode & mode::BITS)),
            part("size", 3, 2, size_meaning(opcode & SIZE_BITS)),
            class,
        ],
        _ => [
            part("code", 4, 4, code_meaning(slot)),
            part("source", 3, 1, source_meaning(slot)),
            class,
        ],
    };
    core::iter::once(whole).chain(parts).collect()
}

fn class_meaning(slot: Slot) -> String {
    let what = match slot.class() {
        class::LD => "64-bit immediates and the old packet loads",
        class::LDX => "loads into a register",
        class::ST => "stores of a number",
        class::STX => "stores of a register, and atomic operations",
        class::ALU => "32-bit arithmetic",
        class::JMP => "jumps that compare 64 bits, calls, exit",
        class::JMP32 => "jumps that compare 32 bits",
        _ => "64-bit arithmetic",
    };
    let name = class::NAMES.get(usize::from(slot.class())).copied().unwrap_or("");
    format!("{name}, {what}")
}

fn mode_meaning(bits: u8) -> String {
    let what = match bits {
        mode::IMM => "a 64-bit immediate",
        mode::ABS => "packet access at a fixed place",
        mode::IND => "packet access at a register",
        mode::MEM => "a plain load or store",
        mode::MEMSX => "a sign-extending load",
        mode::ATOMIC => "an atomic operation",
        _ => return String::from("not defined"),
    };
    format!("{}, {what}", mode::name(bits).unwrap_or("?"))
}

fn size_meaning(bits: u8) -> String {
    let Some(size) = Size::ALL.iter().find(|size| size.row().code == bits) else {
        return String::from("not defined");
    };
    let plural = if size.bytes() == 1 { "" } else { "s" };
    format!("{}, {} byte{plural}", size.row().name, size.bytes())
}

/// The operation of an arithmetic or jump opcode, in RFC 9669's capitals.
fn code_meaning(slot: Slot) -> String {
    let bits = slot.opcode & CODE_BITS;
    let is_arithmetic = matches!(slot.class(), class::ALU | class::ALU64);
    let name = match (bits, is_arithmetic) {
        (code::NEG, true) => Some(words::NEG),
        (code::END, true) => Some("end"),
        (_, true) => {
            let has_code = |op: &AluOp| op.row().code == bits;
            let exact = |op: &AluOp| has_code(op) && op.row().offset == slot.offset;
            let ops = || AluOp::ALL.iter().copied();
            ops().find(exact).or_else(|| ops().find(has_code)).map(|op| op.row().mnemonic)
        }
        (code::JA, false) => Some(words::JA),
        (code::CALL, false) => Some(words::CALL),
        (code::EXIT, false) => Some(words::EXIT),
        (code::JCOND, false) => Some("jcond"),
        (_, false) => {
            let has_code = |cond: &Cond| cond.row().code == bits;
            Cond::ALL.iter().copied().find(has_code).map(|cond| cond.row().mnemonic)
        }
    };
    match name {
        Some(name) => format!("operation {}", name.to_uppercase()),
        None => String::from("no operation"),
    }
}

fn source_meaning(slot: Slot) -> String {
    let is_x = slot.opcode & SOURCE_X != 0;
    let is_arithmetic = matches!(slot.class(), class::ALU | class::ALU64);
    let text = match (slot.opcode & CODE_BITS, is_arithmetic, is_x) {
        (code::END, true, true) if slot.class() == class::ALU => "X, here big endian",
        (code::END, true, false) if slot.class() == class::ALU => "K, here little endian",
        (code::NEG | code::END, true, false)
        | (code::JA | code::CALL | code::EXIT | code::JCOND, false, false) => "K",
        (code::CALL, false, true) => "X, the function is in a register",
        (_, _, true) => "X, the second operand is src_reg",
        (_, _, false) => "K, the second operand is imm",
    };
    String::from(text)
}

/// What the fields after the opcode are for; `None` if they are not used.
#[derive(Default)]
struct Roles {
    dst: Option<String>,
    src: Option<String>,
    offset: Option<String>,
    imm: Option<String>,
    next_imm: Option<String>,
}

impl Roles {
    fn of(insn: &Insn<Offset>) -> Roles {
        let mut roles = Roles::default();
        match *insn {
            Insn::Alu { op, dst, src, .. } => {
                roles.dst = reg(dst);
                roles.operand(src);
                if op.row().offset != 0 {
                    roles.offset = Some(format!("{}, signed", op.row().offset));
                }
            }
            Insn::Neg { dst, .. } => roles.dst = reg(dst),
            Insn::Movsx { op, dst, src } => {
                (roles.dst, roles.src) = (reg(dst), reg(src));
                roles.offset = Some(format!("{} bits are sign-extended", op.row().from_bits));
            }
            Insn::Endian { bits, dst, .. } => {
                roles.dst = reg(dst);
                roles.imm = Some(format!("{} bits", bits.row().bits));
            }
            Insn::AddrSpaceCast { op, dst, src } => {
                (roles.dst, roles.src) = (reg(dst), reg(src));
                roles.offset = Some(format!("1, {}", words::ADDR_SPACE_CAST));
                let imm = op.row().imm as u32;
                let (to, from) = (imm >> 16, imm & 0xffff);
                roles.imm = Some(format!("from address space {from} to {to}"));
            }
            Insn::LoadImm64 { dst, imm } => roles.imm64(dst, &imm),
            Insn::Load { dst, mem, .. } | Insn::LoadAcquire { dst, mem, .. } => {
                (roles.dst, roles.src) = (reg(dst), address(mem.base));
                roles.offset = bytes(mem.offset);
                if let Insn::LoadAcquire { .. } = insn {
                    roles.imm = Some(format!("{LOAD_ACQUIRE:#x}, {}", words::LOAD_ACQUIRE));
                }
            }
            Insn::Store { mem, src, .. } => {
                roles.dst = address(mem.base);
                roles.offset = bytes(mem.offset);
                roles.operand(src);
            }
            Insn::StoreRelease { mem, src, .. } => {
                (roles.dst, roles.src) = (address(mem.base), reg(src));
                roles.offset = bytes(mem.offset);
                roles.imm = Some(format!("{STORE_RELEASE:#x}, {}", words::STORE_RELEASE));
            }
            Insn::Atomic { op, mem, src, .. } => {
                (roles.dst, roles.src) = (address(mem.base), reg(src));
                roles.offset = bytes(mem.offset);
                roles.imm = Some(atomic(op));
            }
            Insn::LoadPacket { index, imm, .. } => {
                if let PacketIndex::Indirect(index) = index {
                    roles.src = Some(format!("{index}, added to imm"));
                }
                roles.imm = Some(format!("{}, place in the packet", number(i64::from(imm))));
            }
            Insn::Jump { wide: true, target } => roles.imm = distance(target),
            Insn::Jump { wide: false, target } => roles.offset = distance(target),
            Insn::Branch { dst, src, target, .. } => {
                roles.dst = reg(dst);
                roles.operand(src);
                roles.offset = distance(target);
            }
            Insn::MayGoto { target } => {
                roles.src = Some(format!("0, {}", words::MAY_GOTO));
                roles.offset = distance(target);
            }
            Insn::Call { callee } => roles.callee(&callee),
            Insn::Exit => {}
        }
        roles
    }

    fn operand(&mut self, src: Src) {
        match src {
            Src::Imm(imm) => self.imm = Some(number(i64::from(imm))),
            Src::Reg(src) => self.src = reg(src),
        }
    }

    fn imm64(&mut self, dst: Reg, imm: &Imm64<Offset>) {
        let row = imm.kind().row();
        self.dst = reg(dst);
        self.src = Some(format!("{}, {}", row.src, row.name));
        let (first, second) = match *imm {
            Imm64::Value(value) => {
                self.imm = Some(format!("the low 32 bits, {:#x}", value as u32));
                self.next_imm = Some(format!("the high 32 bits, {:#x}", value >> 32));
                return;
            }
            Imm64::MapByFd(fd) => (format!("file descriptor {fd}"), None),
            Imm64::MapValueByFd { fd, offset } => {
                (format!("file descriptor {fd}"), Some(format!("byte {offset} of the value")))
            }
            Imm64::Variable { btf_id, btf_fd } => {
                (format!("BTF id {btf_id}"), Some(format!("BTF file descriptor {btf_fd}")))
            }
            Imm64::Code(Offset(by)) => (slots_away(by), None),
            Imm64::MapByIdx(index) => (format!("map number {index}"), None),
            Imm64::MapValueByIdx { index, offset } => {
                (format!("map number {index}"), Some(format!("byte {offset} of the value")))
            }
        };
        (self.imm, self.next_imm) = (Some(first), second);
    }

    fn callee(&mut self, callee: &Callee<Offset>) {
        let kind = |number: u8, what: &str| Some(format!("{number}, {what}"));
        match callee {
            Callee::Helper(id) => {
                self.src = kind(crate::op::call::HELPER, "a helper function");
                let row = platform::HelperId(id.0).row();
                self.imm =
                    Some(row.map_or(format!("{}", id.0), |row| {
                        format!("{}, {}", id.0, row.prototype())
                    }));
            }
            Callee::Local(target) => {
                self.src = kind(crate::op::call::LOCAL, "a program-local function");
                self.imm = distance(*target);
            }
            Callee::Kfunc { btf_id, btf_index } => {
                self.src = kind(crate::op::call::KFUNC, "a kernel function");
                self.imm = Some(format!("BTF id {btf_id}"));
                self.offset = Some(match btf_index {
                    0 => String::from("0, the kernel's own BTF"),
                    index => format!("{index}, index of the module's BTF"),
                });
            }
            Callee::Reg(callee) => self.dst = reg(*callee),
        }
    }
}

fn reg(reg: Reg) -> Option<String> {
    Some(reg.to_string())
}

fn address(base: Reg) -> Option<String> {
    Some(format!("{base}, the address"))
}

fn bytes(offset: i16) -> Option<String> {
    Some(format!("{}, added to the address", number(i64::from(offset))))
}

fn distance(Offset(by): Offset) -> Option<String> {
    Some(slots_away(by))
}

fn atomic(op: AtomicOp) -> String {
    format!("{:#x}, {}", op.row().imm, op.row().mnemonic)
}
