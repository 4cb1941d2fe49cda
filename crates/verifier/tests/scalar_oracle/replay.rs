//! Follows the kernel's walk through a program and computes along.

use core::fmt::Write;
use skep_bpf::insn::{Imm64, Insn, Offset, Reg, Src};
use skep_bpf::op::AluOp;
use skep_verifier::domain::{Scalar, is_branch_taken, refine, refine_same};
use skep_verifier::kernel_log::{Entry, State, entries};

/// How much was compared.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) insns: u64,
    pub(crate) registers: u64,
    pub(crate) branches: u64,
    pub(crate) forks: u64,
    pub(crate) violations: u64,
    pub(crate) pruned: u64,
}

/// The registers that hold numbers.
type Registers = [Option<Scalar>; 11];

struct Walk<'a> {
    /// The program by slots; the second slot of a wide instruction is empty.
    slots: Vec<Option<Insn<Offset>>>,
    tally: &'a mut Tally,
    registers: Registers,
    /// Where the path goes on, unless it has ended.
    next: Option<usize>,
    /// Branches not yet walked: where they go on, and with what.
    pending: Vec<(usize, Registers)>,
}

/// Compares every state of the log with ours; the first difference ends it.
pub(crate) fn compare(
    program: &[Insn<Offset>],
    log: &str,
    tally: &mut Tally,
) -> Result<(), String> {
    let slots = program
        .iter()
        .flat_map(|insn| {
            let second = (insn.len_slots() == 2).then_some(None);
            core::iter::once(Some(*insn)).chain(second)
        })
        .collect();
    let mut walk = Walk { slots, tally, registers: [None; 11], next: Some(0), pending: Vec::new() };
    for (number, entry) in entries(log) {
        let entry = entry.map_err(|error| error.to_string())?;
        walk.follow(&entry).map_err(|difference| {
            let upto = log.lines().take(number).collect::<Vec<_>>();
            let from = upto.len().saturating_sub(14);
            format!("{difference}\n{}", upto[from..].join("\n"))
        })?;
    }
    if walk.next.is_some() || !walk.pending.is_empty() {
        return Err(format!(
            "the kernel stopped before {:?} or {} branches",
            walk.next,
            walk.pending.len()
        ));
    }
    Ok(())
}

impl Walk<'_> {
    fn follow(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        match entry {
            Entry::Insn { insn, state, .. } => {
                let at = *insn as usize;
                if self.next != Some(at) {
                    return Err(format!("we go on at {:?}, the kernel at {at}", self.next));
                }
                self.tally.insns += 1;
                self.execute(at)?;
                if let Some(state) = state {
                    self.check(state)?;
                }
            }
            Entry::From { to, state, .. } => {
                let (next, registers) = self.pending.pop().ok_or("nothing is pending here")?;
                if next != *to as usize {
                    return Err(format!("our pending branch goes on at {next}"));
                }
                (self.registers, self.next) = (registers, Some(next));
                match state {
                    Some(state) => self.check(state)?,
                    None => {
                        self.tally.pruned += 1;
                        self.next = None;
                    }
                }
            }
            Entry::At { insn, state } if self.next == Some(*insn as usize) => {
                self.check(state)?;
            }
            Entry::Safe { .. } => {
                self.tally.pruned += 1;
                self.next = None;
            }
            Entry::Message(text) if text.contains("REG INVARIANTS VIOLATION") => {
                self.tally.violations += 1;
            }
            Entry::Message(text) => return Err(format!("unexpected: {text}")),
            _ => {}
        }
        Ok(())
    }

    fn get(&self, reg: Reg) -> Result<Scalar, String> {
        self.registers[reg.index()].ok_or_else(|| format!("{reg} is not a number"))
    }

    fn source(&self, src: Src) -> Result<Scalar, String> {
        match src {
            Src::Imm(imm) => Ok(Scalar::constant(i64::from(imm) as u64)),
            Src::Reg(reg) => self.get(reg),
        }
    }

    fn set(&mut self, reg: Reg, value: Scalar) {
        self.registers[reg.index()] = Some(value);
    }

    fn execute(&mut self, at: usize) -> Result<(), String> {
        let insn = self.slots[at].ok_or("the second half of an instruction")?;
        self.next = insn.falls_through().then_some(at + insn.len_slots());
        match insn {
            Insn::Load { size, extend, dst, .. } => self.set(dst, Scalar::loaded(size, extend)),
            Insn::LoadImm64 { dst, imm: Imm64::Value(x) } => self.set(dst, Scalar::constant(x)),
            Insn::Alu { op: AluOp::Mov, width, dst, src } => {
                let value = self.source(src)?;
                self.set(dst, value.alu(AluOp::Mov, width, value));
            }
            Insn::Alu { op, width, dst, src } => {
                let mut value = self.get(dst)?;
                let src = self.source(src)?;
                let splits = matches!(op, AluOp::And | AluOp::Or) && src.as_constant().is_some();
                if let Some((minus_one, zero)) = value.split_sign_mask().filter(|_| splits) {
                    self.tally.forks += 1;
                    let mut other = self.registers;
                    other[dst.index()] = Some(zero);
                    self.pending.push((at, other));
                    value = minus_one;
                }
                self.set(dst, value.alu(op, width, src));
            }
            Insn::Neg { width, dst } => {
                let value = self.get(dst)?;
                self.set(dst, value.neg(width));
            }
            Insn::Movsx { op, dst, src } => {
                let value = self.get(src)?;
                self.set(dst, value.movsx(op));
            }
            Insn::Endian { op, bits, dst } => {
                let value = self.get(dst)?;
                self.set(dst, value.swap_bytes(op, bits));
            }
            Insn::Branch { .. } => self.branch(at, insn)?,
            Insn::Exit => {}
            other => return Err(format!("not generated: {other:?}")),
        }
        Ok(())
    }

    fn branch(&mut self, at: usize, insn: Insn<Offset>) -> Result<(), String> {
        let Insn::Branch { cond, width, dst, src, target } = insn else { return Ok(()) };
        let target = (at + 1).saturating_add_signed(target.0 as isize);
        let (a, b) = (self.get(dst)?, self.source(src)?);
        match is_branch_taken(cond, width, &a, &b) {
            Some(true) => self.next = Some(target),
            Some(false) => {}
            None => {
                self.tally.branches += 1;
                let outcome = |taken| {
                    if src == Src::Reg(dst) {
                        refine_same(cond, width, a, taken).as_linux()
                    } else {
                        refine(cond, width, a, b, taken).as_linux()
                    }
                };
                let mut other = self.registers;
                let ((a, b), (taken_a, taken_b)) = (outcome(false), outcome(true));
                if let Src::Reg(src) = src {
                    self.set(src, b);
                    other[src.index()] = Some(taken_b);
                }
                self.set(dst, a);
                other[dst.index()] = Some(taken_a);
                self.pending.push((target, other));
            }
        }
        Ok(())
    }

    fn check(&mut self, state: &State<'_>) -> Result<(), String> {
        for (reg, theirs) in &state.registers {
            let Some(theirs) = theirs.scalar() else { continue };
            self.tally.registers += 1;
            let ours = self.registers[reg.index()];
            // The kernel prints a constant as such, whatever its intervals say.
            let same = ours.is_some_and(|ours| {
                ours == theirs
                    || ours.as_constant().is_some() && ours.to_string() == theirs.to_string()
            });
            if !same {
                let mut text = format!("{reg} differs:\n  kernel {theirs}\n");
                if let Some(ours) = ours {
                    let _ =
                        writeln!(text, "  ours   {ours}\n  kernel {theirs:?}\n  ours   {ours:?}");
                }
                return Err(text);
            }
        }
        Ok(())
    }
}
