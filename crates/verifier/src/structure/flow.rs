//! Control flow: every instruction is reached, none in the middle; where states are compared.
//!
//! A depth-first walk of jumps and calls, without recursion. States are remembered before
//! conditional jumps, at jump targets, before and after calls (Linux 6.18, `check_cfg`).

use super::Code;
use crate::check::callback::{Callback, callback_of};
use crate::rejection::{Check, Rule, fault};
use skep_bpf::insn::{Callee, Insn, Offset};

/// Walks the code and marks its points.
pub(super) fn check(code: &mut Code, at: &mut Option<usize>) -> Check {
    let mut seen = vec![false; code.slots.len()];
    let mut pending = vec![0];
    seen[0] = true;
    while let Some(i) = pending.pop() {
        for next in successors(code, i, at)?.into_iter().flatten() {
            if !core::mem::replace(&mut seen[next], true) {
                pending.push(next);
            }
        }
    }
    let mut i = 0;
    while i < seen.len() {
        *at = Some(i);
        if !seen[i] {
            return fault(Rule::Unreachable, format!("unreachable insn {i}"));
        }
        if code.slots[i].is_wide() {
            if seen.get(i + 1) == Some(&true) {
                return fault(Rule::Structure, format!("jump into the middle of ldimm64 insn {i}"));
            }
            i += 1;
        }
        i += 1;
    }
    *at = None;
    Ok(())
}

fn successors(code: &mut Code, i: usize, at: &mut Option<usize>) -> Check<[Option<usize>; 2]> {
    *at = Some(i);
    // What is not an instruction goes on as one of its class does; the walk refuses it when it
    // gets there.
    let next = i + if code.slots[i].is_wide() { 2 } else { 1 };
    let insn = match code.insn(i) {
        Some(insn) => insn,
        None => return successors_of_undecoded(code, i, next),
    };
    let (falls, target) = match insn {
        Insn::Exit => (None, None),
        Insn::Jump { target, .. } => {
            let target = in_code(code, i, target)?;
            mark(code, target, true);
            (None, Some(target))
        }
        Insn::Branch { target, .. } | Insn::MayGoto { target } => {
            let target = in_code(code, i, target)?;
            code.force_points[i] |= matches!(insn, Insn::MayGoto { .. });
            mark(code, i, false);
            mark(code, target, true);
            (Some(next), Some(target))
        }
        Insn::Call { callee } => {
            let entry = match callee {
                Callee::Local(target) => {
                    mark(code, i, false);
                    let entry = in_code(code, i, target)?;
                    mark(code, entry, true);
                    Some(entry)
                }
                _ => None,
            };
            if next < code.slots.len() {
                mark(code, next, true);
            }
            match callee {
                Callee::Helper(id) => match callback_of(id) {
                    Some(Callback::Now) => {
                        mark(code, i, true);
                        code.force_points[i] = true;
                    }
                    // A state that was there before need not be entered again.
                    Some(Callback::Later) => mark(code, i, false),
                    None => {}
                },
                Callee::Local(_) | Callee::Kfunc { .. } | Callee::Reg(_) => {}
            }
            if code.adds_to_tree(i) {
                mark(code, i, true);
                code.force_points[i] = true;
            }
            if code.is_iterator_step(i) {
                mark(code, i, false);
                code.force_points[i] = true;
            }
            (Some(next), entry)
        }
        other => {
            let entry = match other.function_target() {
                Some(target) => {
                    let entry = in_code(code, i, *target)?;
                    mark(code, i, false);
                    mark(code, entry, true);
                    if next < code.slots.len() {
                        mark(code, next, true);
                    }
                    Some(entry)
                }
                None => None,
            };
            (Some(next), entry)
        }
    };
    if let Some(next) = falls.filter(|next| *next >= code.slots.len()) {
        return fault(Rule::Structure, format!("jump out of range from insn {i} to {next}"));
    }
    Ok([falls, target])
}

/// The successors of a slot that does not decode: those of its opcode.
fn successors_of_undecoded(code: &mut Code, i: usize, next: usize) -> Check<[Option<usize>; 2]> {
    use skep_bpf::op::{CODE_BITS, class, code as operation};
    let slot = code.slots[i];
    let is_jump = matches!(slot.class(), class::JMP | class::JMP32);
    let (falls, target) = match slot.opcode & CODE_BITS {
        _ if !is_jump => (true, None),
        operation::EXIT => (false, None),
        operation::CALL if slot.src() == skep_bpf::op::call::LOCAL => {
            (true, Some(Offset(slot.imm)))
        }
        operation::CALL => (true, None),
        operation::JA if slot.class() == class::JMP32 => (false, Some(Offset(slot.imm))),
        operation::JA => (false, Some(Offset(i32::from(slot.offset)))),
        _ => (true, Some(Offset(i32::from(slot.offset)))),
    };
    let target = target.map(|target| in_code(code, i, target)).transpose()?;
    if falls && next >= code.slots.len() {
        return fault(Rule::Structure, format!("jump out of range from insn {i} to {next}"));
    }
    Ok([falls.then_some(next), target])
}

fn in_code(code: &Code, i: usize, offset: Offset) -> Check<usize> {
    match code.target(i, offset) {
        Some(target) => Ok(target),
        None => {
            let target = i as i64 + 1 + i64::from(offset.0);
            fault(Rule::Structure, format!("jump out of range from insn {i} to {target}"))
        }
    }
}

fn mark(code: &mut Code, at: usize, history: bool) {
    code.prune_points[at] = true;
    code.history_points[at] |= history;
}
