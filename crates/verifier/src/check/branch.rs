//! Conditional jumps: decided ones, and what both sides of an undecided one learn.

use crate::domain::{Scalar, is_branch_taken, refine, refine_same};
use crate::explore::{Step, Walk};
use crate::rejection::Check;
use crate::state::State;
use crate::state::frame::Place;
use crate::state::value::{ADD_CONST, COPY_OF, Kind, NARROW_SUM, Value};
use skep_bpf::insn::{Reg, Src};
use skep_bpf::op::{AluOp, Cond, Width};

/// A number related to one that a branch refines: frame, and register or stack slot.
#[derive(Clone, Copy, PartialEq)]
struct Linked {
    frame: u8,
    place: Place,
}

/// As many related numbers are refined with one; the others lose the relation.
const MAX_LINKED: usize = 6;

impl Walk<'_> {
    /// `if dst cond src goto target`.
    pub(crate) fn branch(
        &mut self,
        cond: Cond,
        width: Width,
        dst: Reg,
        src: Src,
        target: usize,
    ) -> Check<Step> {
        self.check_readable(dst)?;
        if let Src::Reg(reg) = src {
            self.check_readable(reg)?;
        }
        let left = self.state.as_written(dst);
        let constant;
        let right = match src {
            Src::Reg(reg) => self.state.as_written(reg),
            Src::Imm(imm) => {
                constant = Value::constant(i64::from(imm) as u64);
                &constant
            }
        };
        let on_stack = [left, right].iter().any(|value| matches!(value.kind, Kind::Stack { .. }));
        let decided = decide(cond, width, left, right);
        if on_stack {
            self.note_history();
        }
        if let Some(taken) = decided {
            // Only of numbers does the decision depend on what is known.
            self.mark_precise_reg(dst);
            if let Src::Reg(reg) = src {
                self.mark_precise_reg(reg);
            }
            return Ok(if taken { Step::Jump(target) } else { Step::Next });
        }
        self.fork(cond, width, dst, src, target)?;
        Ok(Step::Next)
    }

    fn fork(&mut self, cond: Cond, width: Width, dst: Reg, src: Src, target: usize) -> Check {
        let (left, right) = (self.state.reg(dst), self.operand(src));
        let src_reg = match src {
            Src::Reg(reg) => Some(reg),
            Src::Imm(_) => None,
        };
        let mut linked = Vec::new();
        if src_reg.is_some() {
            self.collect_linked(&right, &mut linked);
        }
        self.collect_linked(&left, &mut linked);
        if linked.len() > 1 {
            self.note_history();
        }
        self.join_nodes(dst, src_reg, &linked);

        let mut other = self.state.clone();
        let here = &mut self.state;
        if left.is_scalar() && right.is_scalar() {
            for (state, taken) in [(&mut *here, false), (&mut other, true)] {
                refine_in(state, cond, width, dst, src, taken);
                if let Some(reg) = src_reg {
                    sync_linked(state, reg, &linked);
                }
                sync_linked(state, dst, &linked);
            }
        }
        self.compare_pointers(cond, width, dst, src, &left, &right, &mut other);
        self.push(other, target, Some(true))?;
        self.decide(false);
        Ok(())
    }

    /// The numbers related to one, registers before slots, inner frames first. Those of two
    /// operands that are related to each other are noted twice, and for those that are too many
    /// the relation is forgotten, as Linux does.
    fn collect_linked(&mut self, value: &Value, linked: &mut Vec<Linked>) {
        if !value.is_scalar() || value.id == 0 {
            return;
        }
        let id = value.id & COPY_OF;
        let is_linked = |other: &Value| other.is_scalar() && other.id & COPY_OF == id;
        let mut dropped = Vec::new();
        for (index, frame) in self.state.frames.iter().enumerate().rev() {
            for (place, _) in frame.places(is_linked) {
                let entry = Linked { frame: index as u8, place };
                if linked.len() < MAX_LINKED {
                    linked.push(entry);
                } else {
                    dropped.push(entry);
                }
            }
        }
        for entry in dropped {
            value_at(&mut self.state, entry).clear_id();
        }
    }

    /// What is learnt of one operand depends on the other, and of a related number on both.
    fn join_nodes(&mut self, dst: Reg, src: Option<Reg>, linked: &[Linked]) {
        if let Some(src) = src {
            let (a, b) = (self.state.reg(dst), self.state.reg(src));
            if a.is_scalar() && b.is_scalar() && dst != src {
                let node = self.nodes.join(a.node, b.node);
                self.state.reg_mut(dst).node = node;
                self.state.reg_mut(src).node = node;
            }
        }
        if linked.len() > 1 {
            let mut node = crate::precision::Node::NONE;
            for entry in linked {
                let operand = value_at(&mut self.state, *entry).node;
                node = self.nodes.join(node, operand);
            }
            for entry in linked {
                value_at(&mut self.state, *entry).node = node;
            }
        }
    }
}

/// Whether a jump is taken, if that is known.
fn decide(cond: Cond, width: Width, left: &Value, right: &Value) -> Option<bool> {
    if width == Width::W64 && left.kind.is_packet() && right.kind.is_packet() {
        return super::pointer_compare::decide_packet(cond, left, right);
    }
    if !left.kind.is_pointer() && !right.kind.is_pointer() {
        return is_branch_taken(cond, width, &left.scalar, &right.scalar);
    }
    // The low half of a pointer may be anything.
    if width == Width::W32 {
        return None;
    }
    let pointer = match (left.as_constant(), right.as_constant()) {
        (_, Some(0)) => left,
        (Some(0), None) => right,
        _ => return None,
    };
    match cond {
        Cond::Eq if pointer.is_not_null() => Some(false),
        Cond::Ne if pointer.is_not_null() => Some(true),
        _ => None,
    }
}

fn refine_in(state: &mut State, cond: Cond, width: Width, dst: Reg, src: Src, taken: bool) {
    let left = state.as_written(dst).scalar;
    match src {
        Src::Reg(src) if src == dst => {
            let (refined, _) = refine_same(cond, width, left, taken).as_linux();
            state.reg_mut(dst).scalar = refined;
        }
        Src::Reg(src) => {
            let right = state.as_written(src).scalar;
            let (left, right) = refine(cond, width, left, right, taken).as_linux();
            state.reg_mut(dst).scalar = left;
            state.reg_mut(src).scalar = right;
        }
        Src::Imm(imm) => {
            let right = Scalar::constant(i64::from(imm) as u64);
            let (left, _) = refine(cond, width, left, right, taken).as_linux();
            state.reg_mut(dst).scalar = left;
        }
    }
}

fn value_at(state: &mut State, linked: Linked) -> &mut Value {
    state.frame_mut(linked.frame).value_mut(linked.place)
}

/// What was learnt of a register holds of the numbers related to it.
fn sync_linked(state: &mut State, reg: Reg, linked: &[Linked]) {
    let known = state.as_written(reg);
    if linked.is_empty() || !known.is_scalar() || known.id == 0 {
        return;
    }
    let known = state.reg(reg);
    let top = state.depth();
    for entry in linked {
        if usize::from(entry.frame) == top && entry.place == Place::Reg(reg.index()) {
            continue;
        }
        let value = value_at(state, *entry);
        if !value.is_scalar() || value.id & COPY_OF != known.id & COPY_OF {
            continue;
        }
        let is_sum = |value: &Value| value.id & ADD_CONST != 0;
        let is_narrow = |value: &Value| value.id & NARROW_SUM != 0;
        // Sums of different widths are not related to each other, only to what both are sums of.
        if is_sum(value) && is_sum(&known) && is_narrow(value) != is_narrow(&known) {
            continue;
        }
        if (!is_sum(value) && !is_sum(&known)) || value.off == known.off {
            *value = known;
        } else {
            let delta = i64::from(value.off).wrapping_sub(i64::from(known.off));
            let added = Scalar::constant(delta as u64);
            let width = if is_narrow(value) || is_narrow(&known) { Width::W32 } else { Width::W64 };
            value.scalar = known.scalar.alu(AluOp::Add, width, added);
            value.node = known.node;
        }
    }
}
