//! The aarch64 assembler: a buffer of words, labels, and branches that reach them.
//!
//! Conditional branches reach a megabyte, bit tests 32 KiB. Behind them everything is known and
//! the short or the long form is chosen; ahead the assembler believes its [`Reach`], and if a
//! target turns out to lie farther, the caller assembles again with the next one.

use skep_bpf::op::Width;

use super::encode::{
    self, AddSub, BitMask, Condition, Gpr, Logic, MoveWide, Shift, ZR, add_imm, b, b_cond, cbz,
    logic_imm, move_wide, tbz,
};

/// How far ahead branches are believed to lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Within the 32 KiB of a bit test.
    BitTest,
    /// Within the megabyte of a conditional branch.
    Branch,
    /// Within the 128 MiB of an unconditional branch.
    Jump,
}

impl Reach {
    /// The reach to try when this one was too short.
    #[must_use]
    pub const fn next(self) -> Option<Reach> {
        match self {
            Reach::BitTest => Some(Reach::Branch),
            Reach::Branch => Some(Reach::Jump),
            Reach::Jump => None,
        }
    }

    /// The number of bits of the distance, in words.
    const fn bits(self) -> u32 {
        match self {
            Reach::BitTest => 14,
            Reach::Branch => 19,
            Reach::Jump => 26,
        }
    }

    const fn covers(self, words: i64) -> bool {
        let half = 1 << (self.bits() - 1);
        -half <= words && words < half
    }
}

/// A place in the code, bound or yet to be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Label(u32);

impl Label {
    /// The label so many places after this one, of labels made in a row.
    #[must_use]
    pub const fn after(self, places: usize) -> Label {
        Label(self.0 + places as u32)
    }
}

const UNBOUND: u32 = u32::MAX;

/// Where a branch's distance goes, once its label is bound.
#[derive(Clone, Copy, Debug)]
struct Fixup {
    at: u32,
    label: Label,
    reach: Reach,
}

/// How many instructions [`Asm::set`] takes for a number.
#[must_use]
pub(super) fn moves(number: u64) -> usize {
    let mut asm =
        Asm { words: Vec::new(), labels: Vec::new(), fixups: Vec::new(), reach: Reach::Jump };
    asm.set(ZR, number);
    asm.words.len()
}

/// A branch leads farther than the assembler's [`Reach`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooFar;

/// Code in the making.
#[derive(Debug)]
pub struct Asm {
    words: Vec<u32>,
    labels: Vec<u32>,
    fixups: Vec<Fixup>,
    reach: Reach,
}

impl Asm {
    /// An empty buffer with room for a number of words, whose branches are believed to reach.
    #[must_use]
    pub fn new(words: usize, reach: Reach) -> Asm {
        Asm { words: Vec::with_capacity(words), labels: Vec::new(), fixups: Vec::new(), reach }
    }

    /// Appends an instruction.
    #[inline]
    pub fn put(&mut self, word: u32) {
        self.words.push(word);
    }

    /// The offset of the next instruction, in bytes.
    #[must_use]
    pub fn offset(&self) -> u32 {
        self.here() * 4
    }

    /// The index of the next instruction. Buffers are far below 2^32 bytes, as branches reach
    /// 2^27 and everything in a buffer is within reach or refused.
    fn here(&self) -> u32 {
        self.words.len() as u32
    }

    /// A label to be bound later.
    pub fn label(&mut self) -> Label {
        self.labels(1)
    }

    /// So many labels in a row, of which the first is returned.
    pub fn labels(&mut self, count: usize) -> Label {
        let first = Label(self.labels.len() as u32);
        self.labels.resize(self.labels.len() + count, UNBOUND);
        first
    }

    /// Binds a label to the next instruction.
    pub fn bind(&mut self, label: Label) {
        let here = self.here();
        if let Some(place) = self.labels.get_mut(label.0 as usize) {
            debug_assert!(*place == UNBOUND, "a label is bound once");
            *place = here;
        }
    }

    /// The offset of a label in bytes, if it is bound.
    #[must_use]
    pub fn place(&self, label: Label) -> Option<u32> {
        self.bound(label).map(|word| word * 4)
    }

    fn bound(&self, label: Label) -> Option<u32> {
        self.labels.get(label.0 as usize).copied().filter(|place| *place != UNBOUND)
    }

    /// The distance in words to a label that is bound.
    fn distance(&self, label: Label) -> Option<i64> {
        self.bound(label).map(|place| i64::from(place) - i64::from(self.here()))
    }

    /// `b label`.
    pub fn jump(&mut self, label: Label) {
        self.near(label, Reach::Jump, b(false, 0));
    }

    /// `bl label`.
    pub fn call(&mut self, label: Label) {
        self.near(label, Reach::Jump, b(true, 0));
    }

    /// `b.cond label`.
    pub fn branch(&mut self, condition: Condition, label: Label) {
        if self.is_near(label, Reach::Branch) {
            self.near(label, Reach::Branch, b_cond(condition, 0));
        } else {
            self.put(b_cond(condition.inverted(), 2));
            self.jump(label);
        }
    }

    /// `cbz reg, label`, or `cbnz`.
    pub fn branch_zero(&mut self, width: Width, nonzero: bool, reg: Gpr, label: Label) {
        if self.is_near(label, Reach::Branch) {
            self.near(label, Reach::Branch, cbz(width, nonzero, reg, 0));
        } else {
            self.put(cbz(width, !nonzero, reg, 2));
            self.jump(label);
        }
    }

    /// `tbz reg, bit, label`, or `tbnz`.
    pub fn branch_bit(&mut self, nonzero: bool, reg: Gpr, bit: u32, label: Label) {
        if self.is_near(label, Reach::BitTest) {
            self.near(label, Reach::BitTest, tbz(nonzero, reg, bit, 0));
        } else {
            self.put(tbz(!nonzero, reg, bit, 2));
            self.jump(label);
        }
    }

    /// Whether a branch of a reach may lead to a label.
    fn is_near(&self, label: Label, reach: Reach) -> bool {
        match self.distance(label) {
            Some(distance) => reach.covers(distance),
            None => self.reach as u32 <= reach as u32,
        }
    }

    fn near(&mut self, label: Label, reach: Reach, word: u32) {
        self.fixups.push(Fixup { at: self.here(), label, reach });
        self.put(word);
    }

    /// Sets a register to a number, with the fewest instructions: one for bit masks and numbers
    /// with one part that is neither zeros nor ones, else one for each such part.
    pub fn set(&mut self, rd: Gpr, value: u64) {
        if value >> 32 == 0 {
            // Operations on the lower half clear the upper one.
            return self.set32(rd, value as u32);
        }
        let parts =
            [value as u16, (value >> 16) as u16, (value >> 32) as u16, (value >> 48) as u16];
        let zeros = parts.iter().filter(|part| **part == 0).count();
        let ones = parts.iter().filter(|part| **part == 0xffff).count();
        if zeros.max(ones) < 3
            && let Some(mask) = BitMask::new(Width::W64, value)
        {
            return self.put(logic_imm(Width::W64, Logic::Orr, rd, ZR, mask));
        }
        self.set_parts(Width::W64, rd, &parts, ones > zeros);
    }

    fn set32(&mut self, rd: Gpr, value: u32) {
        let parts = [value as u16, (value >> 16) as u16];
        if parts.iter().all(|part| *part != 0 && *part != 0xffff)
            && let Some(mask) = BitMask::new(Width::W32, value.into())
        {
            return self.put(logic_imm(Width::W32, Logic::Orr, rd, ZR, mask));
        }
        self.set_parts(Width::W32, rd, &parts, parts.contains(&0xffff) && !parts.contains(&0));
    }

    fn set_parts(&mut self, width: Width, rd: Gpr, parts: &[u16], ones: bool) {
        let (background, first) = if ones { (0xffff, MoveWide::Movn) } else { (0, MoveWide::Movz) };
        let significant = parts.iter().position(|part| *part != background).unwrap_or(0);
        for (index, part) in parts.iter().enumerate().skip(significant) {
            if index == significant {
                // A move of the complement takes the complement of the part.
                self.put(move_wide(width, first, rd, *part ^ background, index as u32));
            } else if *part != background {
                self.put(move_wide(width, MoveWide::Movk, rd, *part, index as u32));
            }
        }
    }

    /// `rd = rn + number`, which two 12-bit immediates may reach; else through `scratch`, which
    /// differs from `rn`.
    pub fn add_number(&mut self, width: Width, rd: Gpr, rn: Gpr, number: i64, scratch: Gpr) {
        let (op, size) = if number < 0 {
            (AddSub::Sub, number.unsigned_abs())
        } else {
            (AddSub::Add, number as u64)
        };
        let (low, high) = ((size & 0xfff) as u32, (size >> 12) as u32);
        if size >> 12 == 0 {
            self.put(add_imm(width, op, rd, rn, low, false));
        } else if size >> 24 == 0 {
            self.put(add_imm(width, op, rd, rn, high, true));
            if low != 0 {
                self.put(add_imm(width, op, rd, rd, low, false));
            }
        } else {
            self.set(scratch, number as u64);
            self.put(encode::add_shifted(width, AddSub::Add, rd, rn, scratch, (Shift::Lsl, 0)));
        }
    }

    /// The code, with all branches in place.
    ///
    /// # Errors
    ///
    /// If a branch leads farther than was believed, or to a label that was never bound, which is a
    /// defect of the caller that debug builds report.
    pub fn finish(mut self) -> Result<Vec<u32>, TooFar> {
        for fixup in &self.fixups {
            let place = self.bound(fixup.label);
            debug_assert!(place.is_some(), "a branch leads to a label that was not bound");
            let distance = i64::from(place.ok_or(TooFar)?) - i64::from(fixup.at);
            if !fixup.reach.covers(distance) {
                return Err(TooFar);
            }
            let bits = distance as u32 & ((1 << fixup.reach.bits()) - 1);
            let shift = if fixup.reach == Reach::Jump { 0 } else { 5 };
            if let Some(word) = self.words.get_mut(fixup.at as usize) {
                *word |= bits << shift;
            }
        }
        Ok(self.words)
    }
}
