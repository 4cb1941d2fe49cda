//! Arithmetic on numbers, and moves.

use crate::domain::Scalar;
use crate::explore::Walk;
use crate::precision::Node;
use crate::rejection::{Check, Rule, fault};
use crate::state::frame::Place;
use crate::state::value::{ADD_CONST, NARROW_SUM, Value};
use skep_bpf::insn::{Reg, Src};
use skep_bpf::op::{AluOp, Endian, Movsx, SwapBits, Width};

impl Walk<'_> {
    /// Two-operand arithmetic, moves included.
    pub(crate) fn alu(&mut self, op: AluOp, width: Width, dst: Reg, src: Src) -> Check {
        if op == AluOp::Mov {
            return self.mov(width, dst, src);
        }
        if let Src::Reg(reg) = src {
            self.check_readable(reg)?;
        }
        self.check_readable(dst)?;
        if let Src::Imm(imm) = src {
            check_immediate(op, width, imm)?;
        }
        self.check_writable(dst)?;
        let is_pointer = |reg| self.state.as_written(reg).kind.is_pointer();
        let right_is_pointer = match src {
            Src::Reg(reg) => is_pointer(reg),
            Src::Imm(_) => false,
        };
        match (is_pointer(dst), right_is_pointer) {
            (true, true) if op == AluOp::Sub => self.write(dst, Value::UNKNOWN),
            (true, true) => fault(
                Rule::PointerArithmetic,
                format!("R{} pointer {} pointer prohibited", dst.index(), op.row().symbol),
            ),
            (false, true) => {
                let (left, right) = (self.state.reg(dst), self.operand(src));
                self.mark_precise(&left);
                self.pointer_arith(op, width, dst, &right, &left, false)
            }
            (true, false) => {
                let (left, right) = (self.state.reg(dst), self.operand(src));
                self.mark_precise(&right);
                self.pointer_arith(op, width, dst, &left, &right, true)
            }
            (false, false) => self.scalar_arith(op, width, dst, src),
        }
    }

    /// A source operand.
    pub(crate) fn operand(&self, src: Src) -> Value {
        match src {
            Src::Reg(reg) => self.state.reg(reg),
            Src::Imm(imm) => Value::constant(i64::from(imm) as u64),
        }
    }

    fn scalar_arith(&mut self, op: AluOp, width: Width, dst: Reg, src: Src) -> Check {
        let (right, right_node) = match src {
            Src::Reg(reg) => (self.state.as_written(reg).scalar, self.node_of(reg)),
            Src::Imm(imm) => (Scalar::constant(i64::from(imm) as u64), Node::NONE),
        };
        // A mask of one bit repeated: the two cases are walked apart.
        if matches!(op, AluOp::And | AluOp::Or)
            && right.as_constant().is_some()
            && let Some((minus_one, zero)) = self.state.as_written(dst).scalar.split_sign_mask()
        {
            let left = self.state.reg(dst);
            let mut other = self.state.clone();
            other.set(dst, Value { scalar: zero, id: 0, off: 0, ..left });
            self.push(other, self.at, None)?;
            self.state.set(dst, Value { scalar: minus_one, id: 0, off: 0, ..left });
        }
        let left_node = self.node_of(dst);
        let left = self.state.as_written(dst);
        let mut result = Value::number(left.scalar.alu(op, width, right));
        // A constant added to a copy: still related to the others.
        let same = src == Src::Reg(dst);
        if matches!(op, AluOp::Add | AluOp::Sub)
            && left.id != 0
            && left.id & ADD_CONST == 0
            && !same
            && let Some(constant) = right.as_constant()
            && let Some((flags, added)) = relation(op, width, left, constant)
        {
            result.id = left.id | flags;
            result.off = added;
        }
        result.node = self.nodes.join(left_node, right_node);
        self.state.set(dst, result);
        Ok(())
    }

    /// The node that a register's value has now.
    #[inline]
    fn node_of(&self, reg: Reg) -> Node {
        self.state.top().node(Place::Reg(reg.index()), self.state.as_written(reg))
    }

    fn mov(&mut self, width: Width, dst: Reg, src: Src) -> Check {
        let reg = match src {
            Src::Imm(imm) => {
                let x = match width {
                    Width::W64 => i64::from(imm) as u64,
                    Width::W32 => u64::from(imm as u32),
                };
                return self.write(dst, Value::constant(x));
            }
            Src::Reg(reg) => reg,
        };
        self.check_readable(reg)?;
        self.check_writable(dst)?;
        let value = self.state.as_written(reg);
        match width {
            Width::W64 => {
                let value = self.share_id(reg);
                self.write(dst, value)
            }
            Width::W32 if value.is_scalar() => {
                let fits = value.scalar.wide().umax <= u64::from(u32::MAX);
                let mut value = if fits { self.share_id(reg) } else { self.state.reg(reg) };
                if !fits {
                    value.clear_id();
                }
                value.scalar = value.scalar.zero_extend();
                self.write(dst, value)
            }
            Width::W32 => {
                let mut value = Value::UNKNOWN;
                value.scalar = value.scalar.zero_extend();
                self.write(dst, value)
            }
        }
    }

    /// Sign-extending moves.
    pub(crate) fn movsx(&mut self, op: Movsx, dst: Reg, src: Reg) -> Check {
        let value = self.read(src)?;
        self.check_writable(dst)?;
        if !value.is_scalar() {
            let mut unknown = Value::UNKNOWN;
            if op.row().width == Width::W32 {
                unknown.scalar = unknown.scalar.zero_extend();
            }
            return self.write(dst, unknown);
        }
        let sign = 1 << (op.row().from_bits - 1);
        let unchanged = value.scalar.wide().umax < sign;
        let mut value = if unchanged { self.share_id(src) } else { value };
        if !unchanged {
            value.clear_id();
        }
        value.scalar = value.scalar.movsx(op);
        self.write(dst, value)
    }

    /// Negation.
    pub(crate) fn neg(&mut self, width: Width, dst: Reg) -> Check {
        let value = self.read(dst)?;
        let mut result = Value::UNKNOWN;
        if value.is_scalar() {
            result.scalar = value.scalar.neg(width);
            result.node = value.node;
        }
        self.write(dst, result)
    }

    /// Byte swaps. What stays as it is stays a copy of what it was a copy of.
    pub(crate) fn swap_bytes(&mut self, op: Endian, bits: SwapBits, dst: Reg) -> Check {
        let value = self.read(dst)?;
        if !value.is_scalar() {
            return self.write(dst, Value::UNKNOWN);
        }
        let mut result = value;
        result.scalar = value.scalar.swap_bytes(op, bits);
        if op != Endian::Le || bits != SwapBits::B64 {
            result.clear_id();
        }
        self.write(dst, result)
    }

    /// A number about to be copied gets an id for its copies to share.
    pub(crate) fn share_id(&mut self, reg: Reg) -> Value {
        let mut value = self.state.reg(reg);
        if !value.is_scalar() {
            return value;
        }
        let before = value.id;
        if value.id & ADD_CONST != 0 {
            value.clear_id();
        }
        if value.id == 0 && value.scalar.as_constant().is_none() {
            value.id = self.new_id();
        }
        if value.id != before {
            self.state.set(reg, value);
        }
        value
    }
}

fn check_immediate(op: AluOp, width: Width, imm: i32) -> Check {
    match op {
        AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod if imm == 0 => {
            fault(Rule::Arithmetic, "div by zero")
        }
        AluOp::Lsh | AluOp::Rsh | AluOp::Arsh
            if u32::try_from(imm).map_or(true, |by| by >= width.bits()) =>
        {
            fault(Rule::Arithmetic, format!("invalid shift {imm}"))
        }
        _ => Ok(()),
    }
}

/// How a sum or difference is related to a copy of its left operand: the flags of its id, and what
/// was added; nothing if the relation would not hold for all that the copy may be.
fn relation(op: AluOp, width: Width, left: &Value, constant: u64) -> Option<(u32, i32)> {
    let (flags, added) = match width {
        Width::W64 => (ADD_CONST, i32::try_from(constant as i64).ok()?),
        // Of a number with more than 32 bits, the sum does not tell the upper ones.
        Width::W32 if left.scalar.wide().umax > u64::from(u32::MAX) => return None,
        Width::W32 => (ADD_CONST | NARROW_SUM, constant as u32 as i32),
    };
    let added = if op == AluOp::Sub { added.checked_neg()? } else { added };
    Some((flags, added))
}
