//! The encoder: machine instructions as bytes, jumps by label.
//!
//! An instruction is one method; operand sizes, conditions and groups of like operations are
//! parameters. Every method writes its bytes in at most two stores: opcode and operands, then
//! displacement and immediate. Operands that cannot be encoded are errors of the caller's and
//! checked in debug builds. The reference is the Intel 64 manual, volume 2.

mod encode;

mod integer;

mod short;

mod special;

pub use short::Indexed;
pub use special::{Count, Xmm};

use encode::Instruction;

/// A general register, by its number in encodings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Gpr {
    Rax,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

impl Gpr {
    /// All registers by number.
    pub const ALL: [Gpr; 16] = [
        Gpr::Rax,
        Gpr::Rcx,
        Gpr::Rdx,
        Gpr::Rbx,
        Gpr::Rsp,
        Gpr::Rbp,
        Gpr::Rsi,
        Gpr::Rdi,
        Gpr::R8,
        Gpr::R9,
        Gpr::R10,
        Gpr::R11,
        Gpr::R12,
        Gpr::R13,
        Gpr::R14,
        Gpr::R15,
    ];

    /// The number in encodings.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// The size of an operation's operands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bits {
    /// 8 bits.
    B8,
    /// 16 bits.
    B16,
    /// 32 bits; writing a register clears its upper half.
    B32,
    /// 64 bits.
    B64,
}

impl Bits {
    /// All sizes.
    pub const ALL: [Bits; 4] = [Bits::B8, Bits::B16, Bits::B32, Bits::B64];
}

/// By what an index is multiplied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Scale {
    /// Itself.
    X1,
    /// Twice.
    X2,
    /// Four times.
    X4,
    /// Eight times.
    X8,
}

/// A memory operand: base plus scaled index plus displacement. `rsp` is no index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mem {
    /// The base, if there is one.
    pub base: Option<Gpr>,
    /// The index, if there is one.
    pub index: Option<(Gpr, Scale)>,
    /// The displacement in bytes.
    pub disp: i32,
}

impl Mem {
    /// The bytes at a register plus a displacement.
    #[must_use]
    pub const fn at(base: Gpr, disp: i32) -> Mem {
        Mem { base: Some(base), index: None, disp }
    }

    /// The bytes at the sum of two registers, the second scaled, and a displacement.
    #[must_use]
    pub const fn indexed(base: Gpr, index: Gpr, scale: Scale, disp: i32) -> Mem {
        Mem { base: Some(base), index: Some((index, scale)), disp }
    }

    /// The bytes at a scaled register plus a displacement.
    #[must_use]
    pub const fn scaled(index: Gpr, scale: Scale, disp: i32) -> Mem {
        Mem { base: None, index: Some((index, scale)), disp }
    }
}

/// A register or memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rm {
    /// A register.
    Reg(Gpr),
    /// Memory.
    Mem(Mem),
}

impl From<Gpr> for Rm {
    fn from(reg: Gpr) -> Rm {
        Rm::Reg(reg)
    }
}

impl From<Mem> for Rm {
    fn from(mem: Mem) -> Rm {
        Rm::Mem(mem)
    }
}

/// Arithmetic whose operands may be registers, memory or immediates, by number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Alu {
    Add,
    Or,
    Adc,
    Sbb,
    And,
    Sub,
    Xor,
    Cmp,
}

impl Alu {
    /// All of them by number.
    pub const ALL: [Alu; 8] =
        [Alu::Add, Alu::Or, Alu::Adc, Alu::Sbb, Alu::And, Alu::Sub, Alu::Xor, Alu::Cmp];
}

/// Shifts and rotations, by number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

impl Shift {
    /// All of them.
    pub const ALL: [Shift; 5] = [Shift::Rol, Shift::Ror, Shift::Shl, Shift::Shr, Shift::Sar];
}

/// Operations of one operand, by number. The last four work on `rdx` and `rax` as well.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Unary {
    Not = 2,
    Neg = 3,
    Mul = 4,
    Imul = 5,
    Div = 6,
    Idiv = 7,
}

impl Unary {
    /// All of them.
    pub const ALL: [Unary; 6] =
        [Unary::Not, Unary::Neg, Unary::Mul, Unary::Imul, Unary::Div, Unary::Idiv];
}

/// Conditions, by number. The lowest bit negates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the manual's")]
pub enum Cc {
    O,
    No,
    B,
    Ae,
    E,
    Ne,
    Be,
    A,
    S,
    Ns,
    P,
    Np,
    L,
    Ge,
    Le,
    G,
}

impl Cc {
    /// All conditions by number.
    pub const ALL: [Cc; 16] = [
        Cc::O,
        Cc::No,
        Cc::B,
        Cc::Ae,
        Cc::E,
        Cc::Ne,
        Cc::Be,
        Cc::A,
        Cc::S,
        Cc::Ns,
        Cc::P,
        Cc::Np,
        Cc::L,
        Cc::Ge,
        Cc::Le,
        Cc::G,
    ];

    /// The opposite.
    #[must_use]
    pub const fn negated(self) -> Cc {
        Cc::ALL[(self as u8 ^ 1) as usize]
    }
}

/// A place in the code that jumps name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Label(u32);

impl Label {
    /// The label as an index: labels are numbered from 0 in the order in which they were made.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The label that was made so many labels later.
    #[must_use]
    pub const fn nth(self, distance: usize) -> Label {
        Label(self.0 + distance as u32)
    }
}

/// The place of a label that is not bound.
const UNBOUND: u32 = u32::MAX;

/// A distance to fill in once its label is bound.
#[derive(Clone, Copy, Debug)]
struct Fixup {
    /// Where the distance is; it is counted from the byte after it.
    at: u32,
    label: Label,
    is_short: bool,
}

/// A place that code can be taken back to ([`Asm::mark`]).
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    len: usize,
    labels: usize,
    fixups: usize,
}

/// Machine code under construction.
#[derive(Clone, Debug, Default)]
pub struct Asm {
    /// Longer than the code: instructions are written in whole words.
    bytes: Vec<u8>,
    len: usize,
    labels: Vec<u32>,
    fixups: Vec<Fixup>,
}

impl Asm {
    /// Room for a number of bytes of code and a number of labels, without growing.
    #[must_use]
    pub fn with_capacity(bytes: usize, labels: usize) -> Asm {
        Asm {
            bytes: vec![0; bytes + 16],
            len: 0,
            labels: Vec::with_capacity(labels),
            fixups: Vec::with_capacity(labels),
        }
    }

    /// The number of bytes so far, which is the offset of the next instruction.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.len
    }

    /// A new label, bound nowhere.
    pub fn label(&mut self) -> Label {
        self.labels.push(UNBOUND);
        Label(self.labels.len() as u32 - 1)
    }

    /// A number of new labels, bound nowhere: the first, which the others follow.
    pub fn label_range(&mut self, count: usize) -> Label {
        let first = self.labels.len();
        self.labels.resize(first + count, UNBOUND);
        Label(first as u32)
    }

    /// Binds a label to the next instruction.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.index()] = self.len as u32;
    }

    /// Where the code is, to come back to.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { len: self.len, labels: self.labels.len(), fixups: self.fixups.len() }
    }

    /// Forgets what was written since a mark, and the labels made since. Labels made before it
    /// must not have been bound since.
    pub fn reset(&mut self, mark: Mark) {
        self.len = mark.len;
        self.labels.truncate(mark.labels);
        self.fixups.truncate(mark.fixups);
    }

    /// Whether every short jump written since a mark reaches its target, as far as targets are
    /// bound.
    #[must_use]
    pub fn short_jumps_reach(&self, mark: Mark) -> bool {
        let reaches = |fixup: &Fixup| {
            let end = i64::from(fixup.at) + 1;
            let target = self.offset_of(fixup.label);
            target.is_none_or(|target| i8::try_from(target as i64 - end).is_ok())
        };
        self.fixups[mark.fixups..].iter().filter(|fixup| fixup.is_short).all(reaches)
    }

    /// The offset that a label is bound to.
    #[must_use]
    pub fn offset_of(&self, label: Label) -> Option<usize> {
        Some(self.labels[label.index()]).filter(|at| *at != UNBOUND).map(|at| at as usize)
    }

    /// `jmp`: short to a label that is bound near by, else with 32 bits.
    #[inline]
    pub fn jmp(&mut self, label: Label) {
        if !self.jumped_back(label, 0xeb) {
            self.near(label, 0xe9, 1);
        }
    }

    /// A conditional jump, as [`Asm::jmp`].
    #[inline]
    pub fn jcc(&mut self, cc: Cc, label: Label) {
        let number = cc as u8;
        if !self.jumped_back(label, 0x70 | number) {
            self.near(label, 0x800f | u64::from(number) << 8, 2);
        }
    }

    /// `jmp` to a label that will be bound within 127 bytes.
    pub fn jmp_short(&mut self, label: Label) {
        self.short(label, Instruction::of(0xeb));
    }

    /// A conditional jump to a label that will be bound within 127 bytes.
    pub fn jcc_short(&mut self, cc: Cc, label: Label) {
        self.short(label, Instruction::of(0x70 | cc as u8));
    }

    /// `call`.
    pub fn call(&mut self, label: Label) {
        self.near(label, 0xe8, 1);
    }

    /// `lea` of a label's address.
    pub fn lea_label(&mut self, dst: Gpr, label: Label) {
        let rex = 0x48 | (dst.number() >> 3) << 2;
        let modrm = (dst.number() & 7) << 3 | 0b101;
        self.near(label, u64::from(rex) | 0x8d << 8 | u64::from(modrm) << 16, 3);
    }

    /// Writes the short form of a jump if its label is bound near by.
    #[inline]
    fn jumped_back(&mut self, label: Label, opcode: u8) -> bool {
        let at = self.labels[label.index()];
        if at == UNBOUND {
            return false;
        }
        let distance = i64::from(at) - (self.len as i64 + 2);
        let Ok(distance) = i8::try_from(distance) else { return false };
        self.put(Instruction::of(opcode).then(distance as u8));
        true
    }

    /// An opcode of so many bytes and the distance to a label in 32 bits.
    #[inline]
    fn near(&mut self, label: Label, opcode: u64, bytes: u32) {
        self.short_jump(opcode, bytes);
        self.fixups.push(Fixup { at: self.len as u32 - 4, label, is_short: false });
    }

    fn short(&mut self, label: Label, instruction: Instruction) {
        self.put(instruction.then(0));
        self.fixups.push(Fixup { at: self.len as u32 - 1, label, is_short: true });
    }

    #[inline]
    fn put(&mut self, instruction: Instruction) {
        if self.bytes.len() < self.len + 16 {
            self.grow();
        }
        let Instruction { head, head_len, tail, tail_len } = instruction;
        self.bytes[self.len..self.len + 8].copy_from_slice(&head.to_le_bytes());
        self.len += head_len as usize;
        self.bytes[self.len..self.len + 8].copy_from_slice(&tail.to_le_bytes());
        self.len += tail_len as usize;
    }

    #[cold]
    fn grow(&mut self) {
        let len = (self.bytes.len() * 2).max(512);
        self.bytes.resize(len, 0);
    }

    /// The code, with all distances filled in.
    ///
    /// # Panics
    ///
    /// If a label that a jump names is not bound, or too far for a short jump.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        for Fixup { at, label, is_short } in std::mem::take(&mut self.fixups) {
            let at = at as usize;
            let target = self.offset_of(label).expect("labels are bound before the end");
            if is_short {
                let distance = target as i64 - (at as i64 + 1);
                let distance = i8::try_from(distance).expect("short jumps are short");
                self.bytes[at] = distance as u8;
            } else {
                // The compilers refuse code beyond 2 GiB.
                let distance = (target as i64 - (at as i64 + 4)) as i32;
                self.bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
            }
        }
        self.bytes.truncate(self.len);
        self.bytes
    }
}

#[cfg(test)]
mod tests;
