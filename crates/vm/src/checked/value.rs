//! Values that know where their address came from.

use std::sync::Arc;

use skep_bpf::op::{AluOp, Width};

use crate::region::{Purpose, Region};

/// The object that an address belongs to.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Origin {
    /// A frame, by its depth; the serial number tells it from later ones at the same addresses.
    Frame { depth: u32, serial: u32 },
    /// What the program runs on; packets move their bounds, so those are asked for at each use.
    Input(Purpose),
    /// An object that stays where it is.
    Object(Arc<Region>),
}

/// A register's value.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Value {
    pub(super) bits: u64,
    pub(super) origin: Option<Origin>,
}

impl Value {
    pub(super) fn number(bits: u64) -> Value {
        Value { bits, origin: None }
    }

    /// The result of an operation with this value as destination. Moving an address about keeps
    /// its origin, in either width since guest addresses have 32 bits; everything else makes a
    /// number, which as an address must then find its object by itself.
    pub(super) fn alu(&self, op: AluOp, width: Width, src: &Value) -> Value {
        let bits = op.eval(width, self.bits, src.bits);
        let origin = match op {
            AluOp::Mov => &src.origin,
            AluOp::Add => match (&self.origin, &src.origin) {
                (origin, None) | (None, origin) => origin,
                (Some(_), Some(_)) => &None,
            },
            AluOp::Sub | AluOp::And if src.origin.is_none() => &self.origin,
            AluOp::Sub
            | AluOp::And
            | AluOp::Mul
            | AluOp::Div
            | AluOp::Sdiv
            | AluOp::Or
            | AluOp::Lsh
            | AluOp::Rsh
            | AluOp::Mod
            | AluOp::Smod
            | AluOp::Xor
            | AluOp::Arsh => &None,
        };
        Value { bits, origin: origin.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_have_no_origin() {
        let packet = || Some(Origin::Input(Purpose::Packet));
        let a = Value { bits: 0x1000, origin: packet() };
        let b = Value { bits: 0x1010, origin: packet() };
        assert_eq!(b.alu(AluOp::Sub, Width::W64, &a), Value::number(0x10));
        let moved = a.alu(AluOp::Add, Width::W64, &Value::number(4));
        assert_eq!(moved, Value { bits: 0x1004, origin: packet() });
        let mut index = Value::number(4);
        index = index.alu(AluOp::Add, Width::W64, &a);
        assert_eq!(index, moved);
        assert_eq!(a.alu(AluOp::Xor, Width::W64, &b).origin, None);
    }
}
