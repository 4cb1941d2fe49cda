//! Instructions as values: a dozen shapes whose operations come from [`crate::op`].
//!
//! Every value of [`Insn`] has an encoding, except that a jump's distance may not fit its field.
//! The parameter is what a jump names: an [`Offset`] as encoded, a [`Pc`](crate::program::Pc) in
//! a program whose control flow was checked, a label in assembly text.

use core::fmt;

pub use crate::op::Width;
use crate::op::{
    AddrSpaceCast, AluOp, AtomicOp, Cond, Endian, Group, Imm64Kind, Movsx, Size, SwapBits,
};
pub use crate::platform::HelperId;

/// One of the eleven registers (RFC 9669, section 3, `src_reg` and `dst_reg`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reg {
    /// Return value.
    R0,
    /// First argument, caller-saved.
    R1,
    /// Second argument, caller-saved.
    R2,
    /// Third argument, caller-saved.
    R3,
    /// Fourth argument, caller-saved.
    R4,
    /// Fifth argument, caller-saved.
    R5,
    /// Callee-saved.
    R6,
    /// Callee-saved.
    R7,
    /// Callee-saved.
    R8,
    /// Callee-saved.
    R9,
    /// Frame pointer, read-only.
    R10,
}

impl Reg {
    /// All registers, `r0` first.
    pub const ALL: [Reg; 11] = [
        Reg::R0,
        Reg::R1,
        Reg::R2,
        Reg::R3,
        Reg::R4,
        Reg::R5,
        Reg::R6,
        Reg::R7,
        Reg::R8,
        Reg::R9,
        Reg::R10,
    ];

    /// The register with a number, if it is one of 0 to 10.
    #[must_use]
    pub const fn new(number: u8) -> Option<Reg> {
        if number < 11 { Some(Reg::ALL[number as usize]) } else { None }
    }

    /// The number, 0 to 10.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.index())
    }
}

impl fmt::Debug for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The second operand of arithmetic, comparisons and stores.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Src {
    /// An immediate; 64-bit operations sign-extend it.
    Imm(i32),
    /// A register.
    Reg(Reg),
}

/// A memory operand: the bytes at a register plus an offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mem {
    /// The register with the address.
    pub base: Reg,
    /// The signed offset in bytes.
    pub offset: i16,
}

/// How a load fills the bits above those that it reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Extend {
    /// With zeros.
    Zero,
    /// With the sign.
    Sign,
}

/// What a call calls (RFC 9669, section 4.3.1 and 4.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Callee<T> {
    /// A helper function by static number.
    Helper(HelperId),
    /// A program-local function.
    Local(T),
    /// A kernel function.
    Kfunc {
        /// The id of the function's BTF type.
        btf_id: i32,
        /// Which BTF object: 0 for the kernel itself, else an index into the program's list of
        /// BTF file descriptors.
        btf_index: i16,
    },
    /// The function whose address or number is in a register; compilers emit it, Linux refuses it.
    Reg(Reg),
}

/// What a 64-bit immediate instruction loads (RFC 9669, section 5.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Imm64<T> {
    /// A plain number.
    Value(u64),
    /// A map by file descriptor.
    MapByFd(i32),
    /// The address in a map's first value, by file descriptor.
    MapValueByFd {
        /// The map's file descriptor.
        fd: i32,
        /// The offset in the value, in bytes.
        offset: i32,
    },
    /// A platform variable.
    Variable {
        /// The id of the variable's BTF type.
        btf_id: i32,
        /// The file descriptor of the BTF object, 0 for the kernel's own.
        btf_fd: i32,
    },
    /// A program-local function.
    Code(T),
    /// A map by its index in the program's list.
    MapByIdx(u32),
    /// The address in a map's first value, by the map's index in the program's list.
    MapValueByIdx {
        /// The map's index.
        index: u32,
        /// The offset in the value, in bytes.
        offset: i32,
    },
}

impl<T> Imm64<T> {
    /// Which row of the table this is.
    #[must_use]
    pub const fn kind(&self) -> Imm64Kind {
        match self {
            Imm64::Value(_) => Imm64Kind::Value,
            Imm64::MapByFd(_) => Imm64Kind::MapByFd,
            Imm64::MapValueByFd { .. } => Imm64Kind::MapValueByFd,
            Imm64::Variable { .. } => Imm64Kind::Variable,
            Imm64::Code(_) => Imm64Kind::Code,
            Imm64::MapByIdx(_) => Imm64Kind::MapByIdx,
            Imm64::MapValueByIdx { .. } => Imm64Kind::MapValueByIdx,
        }
    }
}

/// Where a deprecated packet load reads (RFC 9669, section 5.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PacketIndex {
    /// At the immediate.
    Absolute,
    /// At a register plus the immediate.
    Indirect(Reg),
}

/// The distance of a jump in slots, counted from the slot after the instruction's first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Offset(pub i32);

/// One instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Insn<T> {
    /// Two-operand arithmetic (RFC 9669, section 4.1).
    Alu {
        /// The operation.
        op: AluOp,
        /// Its width.
        width: Width,
        /// The register that is read (except by a move) and written.
        dst: Reg,
        /// The other operand.
        src: Src,
    },
    /// Negation.
    Neg {
        /// The width.
        width: Width,
        /// The register that is negated.
        dst: Reg,
    },
    /// Sign-extending move.
    Movsx {
        /// From how many to how many bits.
        op: Movsx,
        /// The register written.
        dst: Reg,
        /// The register read.
        src: Reg,
    },
    /// Byte swap (RFC 9669, section 4.2).
    Endian {
        /// The conversion.
        op: Endian,
        /// How many bits.
        bits: SwapBits,
        /// The register that is converted.
        dst: Reg,
    },
    /// Linux's address space cast.
    AddrSpaceCast {
        /// The direction.
        op: AddrSpaceCast,
        /// The register written.
        dst: Reg,
        /// The register read.
        src: Reg,
    },
    /// 64-bit immediate load, two slots (RFC 9669, section 5.4).
    LoadImm64 {
        /// The register written.
        dst: Reg,
        /// What is loaded.
        imm: Imm64<T>,
    },
    /// Load (RFC 9669, sections 5.1 and 5.2).
    Load {
        /// The size of the access.
        size: Size,
        /// How the value is extended to 64 bits.
        extend: Extend,
        /// The register written.
        dst: Reg,
        /// Where from.
        mem: Mem,
    },
    /// Store (RFC 9669, section 5.1).
    Store {
        /// The size of the access.
        size: Size,
        /// Where to.
        mem: Mem,
        /// What is stored.
        src: Src,
    },
    /// Atomic read-modify-write of 32 or 64 bits, on Linux (RFC 9669, section 5.3).
    Atomic {
        /// The operation.
        op: AtomicOp,
        /// 32 or 64 bits.
        width: Width,
        /// Where.
        mem: Mem,
        /// The operand, and where the old value goes except for `cmpxchg`.
        src: Reg,
    },
    /// Linux's load with acquire ordering.
    LoadAcquire {
        /// The size of the access.
        size: Size,
        /// The register written.
        dst: Reg,
        /// Where from.
        mem: Mem,
    },
    /// Linux's store with release ordering.
    StoreRelease {
        /// The size of the access.
        size: Size,
        /// Where to.
        mem: Mem,
        /// What is stored.
        src: Reg,
    },
    /// Deprecated packet load into `r0` (RFC 9669, section 5.5).
    LoadPacket {
        /// 1, 2 or 4 bytes; never 8.
        size: PacketSize,
        /// Where from.
        index: PacketIndex,
        /// The immediate that is added.
        imm: i32,
    },
    /// Unconditional jump: `goto` with 16 or `gotol` with 32 bits of offset.
    Jump {
        /// Whether the offset is in the immediate.
        wide: bool,
        /// Where to.
        target: T,
    },
    /// Conditional jump (RFC 9669, section 4.3).
    Branch {
        /// The condition.
        cond: Cond,
        /// The width of the comparison.
        width: Width,
        /// The left operand.
        dst: Reg,
        /// The right operand.
        src: Src,
        /// Where to if the condition holds.
        target: T,
    },
    /// Linux's `may_goto`: jumps when the loop's budget is used up.
    MayGoto {
        /// Where to.
        target: T,
    },
    /// Call (RFC 9669, section 4.3.1).
    Call {
        /// What is called.
        callee: Callee<T>,
    },
    /// Return to the caller, or end of the program.
    Exit,
}

/// The sizes that deprecated packet loads have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PacketSize {
    /// One byte.
    B,
    /// Two bytes.
    H,
    /// Four bytes.
    W,
}

impl PacketSize {
    /// All three sizes.
    pub const ALL: &'static [PacketSize] = &[PacketSize::B, PacketSize::H, PacketSize::W];

    /// The same as a [`Size`].
    #[must_use]
    pub const fn size(self) -> Size {
        match self {
            PacketSize::B => Size::B,
            PacketSize::H => Size::H,
            PacketSize::W => Size::W,
        }
    }
}

impl<T> Insn<T> {
    /// The number of 8-byte slots of the encoding, 1 or 2.
    #[must_use]
    pub const fn len_slots(&self) -> usize {
        if matches!(self, Insn::LoadImm64 { .. }) { 2 } else { 1 }
    }

    /// Whether control can go on to the next instruction.
    #[must_use]
    pub const fn falls_through(&self) -> bool {
        !matches!(self, Insn::Jump { .. } | Insn::Exit)
    }

    /// The jump target of a branch or jump (calls and function addresses are not jumps).
    #[must_use]
    pub const fn jump_target(&self) -> Option<&T> {
        match self {
            Insn::Jump { target, .. } | Insn::Branch { target, .. } | Insn::MayGoto { target } => {
                Some(target)
            }
            _ => None,
        }
    }

    /// The program-local function that the instruction calls or takes the address of.
    #[must_use]
    pub const fn function_target(&self) -> Option<&T> {
        match self {
            Insn::Call { callee: Callee::Local(target) }
            | Insn::LoadImm64 { imm: Imm64::Code(target), .. } => Some(target),
            _ => None,
        }
    }

    /// The register that the instruction writes on its own; a call's effect on `r0` to `r5` is
    /// the calling convention's.
    #[must_use]
    pub const fn written(&self) -> Option<Reg> {
        match self {
            Insn::Alu { dst, .. }
            | Insn::Neg { dst, .. }
            | Insn::Movsx { dst, .. }
            | Insn::Endian { dst, .. }
            | Insn::AddrSpaceCast { dst, .. }
            | Insn::LoadImm64 { dst, .. }
            | Insn::Load { dst, .. }
            | Insn::LoadAcquire { dst, .. } => Some(*dst),
            Insn::Atomic { op: AtomicOp::Cmpxchg, .. } | Insn::LoadPacket { .. } => Some(Reg::R0),
            Insn::Atomic { op, src, .. } if op.row().fetch => Some(*src),
            Insn::Atomic { .. }
            | Insn::Store { .. }
            | Insn::StoreRelease { .. }
            | Insn::Jump { .. }
            | Insn::Branch { .. }
            | Insn::MayGoto { .. }
            | Insn::Call { .. }
            | Insn::Exit => None,
        }
    }

    /// The conformance group (RFC 9669, section 2.4).
    #[must_use]
    pub const fn group(&self) -> Group {
        match self {
            Insn::Alu { op, width, .. } => op.group(*width),
            Insn::Neg { width, .. } | Insn::Branch { width, .. } => base(*width),
            Insn::Movsx { op, .. } => base(op.row().width),
            Insn::Endian { op, bits, .. } => bits.group(*op),
            Insn::Load { size: Size::Dw, .. }
            | Insn::Load { extend: Extend::Sign, .. }
            | Insn::Store { size: Size::Dw, .. }
            | Insn::LoadImm64 { .. } => Group::Base64,
            Insn::Load { .. }
            | Insn::Store { .. }
            | Insn::Jump { .. }
            | Insn::Exit
            | Insn::Call { callee: Callee::Helper(_) | Callee::Local(_) | Callee::Kfunc { .. } } => {
                Group::Base32
            }
            Insn::Call { callee: Callee::Reg(_) } => Group::Callx,
            Insn::Atomic { width: Width::W32, .. } => Group::Atomic32,
            Insn::Atomic { width: Width::W64, .. } => Group::Atomic64,
            Insn::LoadPacket { .. } => Group::Packet,
            Insn::LoadAcquire { .. }
            | Insn::StoreRelease { .. }
            | Insn::MayGoto { .. }
            | Insn::AddrSpaceCast { .. } => Group::Linux,
        }
    }

    /// The same instruction with every target replaced.
    ///
    /// # Errors
    ///
    /// The first error that `target` returns.
    pub fn try_map<U, E>(self, mut target: impl FnMut(T) -> Result<U, E>) -> Result<Insn<U>, E> {
        Ok(match self {
            Insn::Alu { op, width, dst, src } => Insn::Alu { op, width, dst, src },
            Insn::Neg { width, dst } => Insn::Neg { width, dst },
            Insn::Movsx { op, dst, src } => Insn::Movsx { op, dst, src },
            Insn::Endian { op, bits, dst } => Insn::Endian { op, bits, dst },
            Insn::AddrSpaceCast { op, dst, src } => Insn::AddrSpaceCast { op, dst, src },
            Insn::LoadImm64 { dst, imm } => {
                let imm = match imm {
                    Imm64::Value(value) => Imm64::Value(value),
                    Imm64::MapByFd(fd) => Imm64::MapByFd(fd),
                    Imm64::MapValueByFd { fd, offset } => Imm64::MapValueByFd { fd, offset },
                    Imm64::Variable { btf_id, btf_fd } => Imm64::Variable { btf_id, btf_fd },
                    Imm64::Code(t) => Imm64::Code(target(t)?),
                    Imm64::MapByIdx(index) => Imm64::MapByIdx(index),
                    Imm64::MapValueByIdx { index, offset } => {
                        Imm64::MapValueByIdx { index, offset }
                    }
                };
                Insn::LoadImm64 { dst, imm }
            }
            Insn::Load { size, extend, dst, mem } => Insn::Load { size, extend, dst, mem },
            Insn::Store { size, mem, src } => Insn::Store { size, mem, src },
            Insn::Atomic { op, width, mem, src } => Insn::Atomic { op, width, mem, src },
            Insn::LoadAcquire { size, dst, mem } => Insn::LoadAcquire { size, dst, mem },
            Insn::StoreRelease { size, mem, src } => Insn::StoreRelease { size, mem, src },
            Insn::LoadPacket { size, index, imm } => Insn::LoadPacket { size, index, imm },
            Insn::Jump { wide, target: t } => Insn::Jump { wide, target: target(t)? },
            Insn::Branch { cond, width, dst, src, target: t } => {
                Insn::Branch { cond, width, dst, src, target: target(t)? }
            }
            Insn::MayGoto { target: t } => Insn::MayGoto { target: target(t)? },
            Insn::Call { callee } => {
                let callee = match callee {
                    Callee::Helper(id) => Callee::Helper(id),
                    Callee::Local(t) => Callee::Local(target(t)?),
                    Callee::Kfunc { btf_id, btf_index } => Callee::Kfunc { btf_id, btf_index },
                    Callee::Reg(reg) => Callee::Reg(reg),
                };
                Insn::Call { callee }
            }
            Insn::Exit => Insn::Exit,
        })
    }
}

const fn base(width: Width) -> Group {
    match width {
        Width::W32 => Group::Base32,
        Width::W64 => Group::Base64,
    }
}
