//! How many low bits a value can have set: everything above them is 0.
//!
//! This is what tells that an address needs no truncation and that a mask changes nothing. It is
//! this compiler's own knowledge, from operations alone: nothing of a proof goes into it. In
//! loops it starts from the best and grows until it holds.

use skep_bpf::insn::{Extend, Reg};
use skep_bpf::op::Width;

use super::dominators::Dominators;
use super::ir::{Bin, Func, Op, Un, Val};

/// How often a parameter may grow before it is given up.
const PATIENCE: u8 = 3;

/// For each value, a number of bits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Widths {
    bits: Vec<u8>,
}

impl Widths {
    /// Computes the widths of all values.
    pub(crate) fn new(func: &Func, dominators: &Dominators) -> Widths {
        let mut widths = Widths { bits: vec![0; func.nodes.len()] };
        for (index, node) in func.nodes.iter().enumerate() {
            if matches!(node.op, Op::Const(_) | Op::Entry(_)) {
                widths.bits[index] = widths.of(func, &node.op);
            }
        }
        let mut grown = vec![0_u8; func.nodes.len()];
        let mut again = true;
        while again {
            again = false;
            for &id in &dominators.order {
                let block = &func.blocks[id.index()];
                for &value in &block.nodes {
                    let bits = widths.of(func, &func.op(value)).max(widths.bits[value.index()]);
                    widths.bits[value.index()] = bits;
                }
                for edge in block.term.edges() {
                    let to = &func.blocks[edge.to.index()];
                    for (&param, &arg) in to.params.iter().zip(&edge.args) {
                        let bits = widths.get(arg);
                        if bits > widths.get(param) {
                            let count = &mut grown[param.index()];
                            *count += 1;
                            let given_up = *count > PATIENCE;
                            widths.bits[param.index()] = if given_up { 64 } else { bits };
                            // Blocks that come later see it in this round.
                            again |= dominators.position[edge.to.index()]
                                <= dominators.position[id.index()];
                        }
                    }
                }
            }
        }
        widths
    }

    /// The width of a value.
    pub(crate) fn get(&self, value: Val) -> u8 {
        self.bits.get(value.index()).copied().unwrap_or(64)
    }

    /// Sets the width of a new value from its operation.
    pub(crate) fn learn(&mut self, func: &Func, value: Val, op: &Op) {
        if self.bits.len() <= value.index() {
            self.bits.resize(value.index() + 1, 64);
        }
        self.bits[value.index()] = self.of(func, op);
    }

    fn of_operands(&self, op: &Op) -> u8 {
        match *op {
            Op::Const(number) => 64 - number.leading_zeros() as u8,
            Op::Entry(Reg::R10) => 32,
            Op::Processor(count) => 32 - count.saturating_sub(1).leading_zeros() as u8,
            Op::Param | Op::Entry(_) | Op::Call(_) | Op::Fuel => 64,
            Op::Load { size, extend: Extend::Zero, .. } | Op::LoadAcquire { size, .. } => {
                8 * size.bytes() as u8
            }
            Op::Load { .. } => 64,
            Op::Atomic { width, .. } => width.bits() as u8,
            Op::Select(_, _, [_, _, then, other]) => self.get(then).max(self.get(other)),
            Op::Unary(op, width, a) => self.unary(op, width, a),
            Op::Binary(op, width, a, b) => {
                let limit = width.bits() as u8;
                self.binary(op, width, a, b).min(limit)
            }
            Op::Store { .. } | Op::StoreRelease { .. } => 0,
            Op::Charge(_) | Op::ChargeAndCheck(_) | Op::ChargeBy(_) | Op::CheckDepth(_) => 0,
        }
    }

    fn unary(&self, op: Un, width: Width, a: Val) -> u8 {
        let bits = self.get(a);
        let limit = width.bits() as u8;
        match op {
            Un::Zext => bits.min(32),
            Un::Sext8 if bits < 8 => bits,
            Un::Sext16 if bits < 16 => bits,
            Un::Sext32 if bits < 32 => bits,
            Un::Neg | Un::Sext8 | Un::Sext16 | Un::Sext32 | Un::Swap => limit,
            Un::Swap16 => 16,
            Un::Popcnt | Un::Lzcnt | Un::Tzcnt => 7,
        }
    }

    fn binary(&self, op: Bin, width: Width, a: Val, b: Val) -> u8 {
        let limit = width.bits() as u8;
        let (left, right) = (self.get(a).min(limit), self.get(b).min(limit));
        match op {
            Bin::And => left.min(right),
            Bin::Or | Bin::Xor => left.max(right),
            Bin::Add => left.max(right) + 1,
            Bin::Mul => left + right,
            Bin::Div | Bin::Rsh | Bin::Mod => left,
            // A non-negative number stays what it is.
            Bin::Arsh if left < limit => left,
            Bin::Sub | Bin::Lsh | Bin::Arsh | Bin::Rotl => limit,
            Bin::Sdiv | Bin::Smod if left < limit && right < limit => left,
            Bin::Sdiv | Bin::Smod => limit,
            Bin::MulHigh => (left + right).saturating_sub(limit),
        }
    }

    /// The width of what an operation gives.
    pub(crate) fn of(&self, func: &Func, op: &Op) -> u8 {
        let plain = self.of_operands(op);
        let Op::Binary(bin, width, a, b) = *op else { return plain };
        let Some(number) = func.constant(b) else { return plain };
        let limit = width.bits() as u8;
        let left = self.get(a).min(limit);
        let amount = (number & u64::from(limit - 1)) as u8;
        match bin {
            Bin::Lsh => plain.min(left + amount),
            Bin::Rsh => left.saturating_sub(amount),
            Bin::Arsh if left < limit => left.saturating_sub(amount),
            Bin::Mod if number != 0 => plain.min(64 - (number - 1).leading_zeros() as u8),
            _ => plain,
        }
    }
}
