//! Arithmetic on pointers: a constant goes into the offset, anything else into the variable part.

use crate::explore::Walk;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::value::{Kind, MAX_VAR_OFF, Reach, Value};
use skep_bpf::insn::Reg;
use skep_bpf::op::{AluOp, Width};

impl Walk<'_> {
    /// `dst = pointer op offset`; `in_place` if the pointer is in `dst` rather than the source.
    pub(crate) fn pointer_arith(
        &mut self,
        op: AluOp,
        width: Width,
        dst: Reg,
        pointer: &Value,
        offset: &Value,
        in_place: bool,
    ) -> Check {
        let number = dst.index();
        if offset.scalar.as_constant().is_some() && !offset.scalar.wide().is_point() {
            // Intervals that a contradiction emptied: nothing is known of the result.
            return self.write(dst, Value::UNKNOWN);
        }
        if width == Width::W32 {
            if op == AluOp::Sub {
                return self.write(dst, Value::UNKNOWN);
            }
            return fault(
                Rule::PointerArithmetic,
                format!("R{number} 32-bit pointer arithmetic prohibited"),
            );
        }
        let known = offset.scalar.as_constant().map(|x| x as i64);
        check_kind(number, op, pointer, known)?;
        if pointer.kind == Kind::UntrustedMemory {
            // Loads through it are safe wherever it points: offsets do not matter.
            if in_place {
                return Ok(());
            }
            return unsupported("numbers to which a pointer that is not trusted is added");
        }
        check_sane(offset, pointer)?;
        check_sane(pointer, pointer)?;
        let result = match op {
            AluOp::Add => self.add(pointer, offset, known),
            AluOp::Sub => {
                if !in_place {
                    return fault(
                        Rule::PointerArithmetic,
                        format!("R{number} tried to subtract pointer from scalar"),
                    );
                }
                if matches!(pointer.kind, Kind::Stack { .. }) {
                    return fault(
                        Rule::PointerArithmetic,
                        format!("R{number} subtraction from stack pointer prohibited"),
                    );
                }
                self.subtract(pointer, offset, known)
            }
            AluOp::And | AluOp::Or | AluOp::Xor => {
                return fault(
                    Rule::PointerArithmetic,
                    format!("R{number} bitwise operator {} on pointer prohibited", op.row().symbol),
                );
            }
            _ => {
                return fault(
                    Rule::PointerArithmetic,
                    format!(
                        "R{number} pointer arithmetic with {} operator prohibited",
                        op.row().symbol
                    ),
                );
            }
        };
        if known.is_none() && overflows(op, pointer, offset) {
            return unbounded(pointer);
        }
        check_sane(&result, pointer)?;
        self.write(dst, result)
    }

    fn add(&mut self, pointer: &Value, offset: &Value, known: Option<i64>) -> Value {
        let fixed = known.and_then(|k| i64::from(pointer.off).checked_add(k));
        if let Some(Ok(off)) = fixed.map(i32::try_from) {
            return Value { off, ..*pointer };
        }
        let scalar = pointer.scalar.alu(AluOp::Add, Width::W64, offset.scalar);
        let mut result = Value { scalar, ..*pointer };
        if pointer.kind.reach().is_some() {
            result.id = self.new_id();
            result.kind = pointer.kind.with_reach(Reach::Bytes(0));
        }
        result
    }

    fn subtract(&mut self, pointer: &Value, offset: &Value, known: Option<i64>) -> Value {
        let fixed = known.and_then(|k| i64::from(pointer.off).checked_sub(k));
        if let Some(Ok(off)) = fixed.map(i32::try_from) {
            return Value { off, ..*pointer };
        }
        let scalar = pointer.scalar.alu(AluOp::Sub, Width::W64, offset.scalar);
        let mut result = Value { scalar, ..*pointer };
        if pointer.kind.reach().is_some() {
            result.id = self.new_id();
            // Whoever goes back keeps what was proved to lie ahead.
            if offset.scalar.wide().smin < 0 {
                result.kind = pointer.kind.with_reach(Reach::Bytes(0));
            }
        }
        result
    }
}

fn check_kind(number: usize, op: AluOp, pointer: &Value, known: Option<i64>) -> Check {
    let name = pointer.type_name();
    if pointer.or_null {
        return fault(
            Rule::MaybeNull,
            format!("R{number} pointer arithmetic on {name} prohibited, null-check it first"),
        );
    }
    let allowed = match pointer.kind {
        Kind::Context
        | Kind::MapValue(_)
        | Kind::MapKey(_)
        | Kind::Function(_)
        | Kind::Stack { .. }
        | Kind::Packet(_)
        | Kind::PacketMeta(_)
        | Kind::TracepointBuffer
        | Kind::Buffer { .. }
        | Kind::Btf { .. }
        | Kind::UntrustedMemory
        | Kind::Memory { .. }
        | Kind::ReadOnlyMemory { .. }
        | Kind::Slice(_)
        | Kind::Allocated(_) => true,
        Kind::FlowKeys => known.is_some(),
        Kind::ConstMap(_) => known == Some(0) && op == AluOp::Add,
        // The kernel allows it, and refuses to use the result.
        Kind::ConstDynptr => true,
        Kind::Invalid
        | Kind::Scalar
        | Kind::PacketEnd
        | Kind::Socket
        | Kind::SockCommon
        | Kind::TcpSock
        | Kind::XdpSock
        | Kind::Dynptr { .. }
        | Kind::Iterator { .. }
        | Kind::Interrupts => false,
    };
    if allowed {
        return Ok(());
    }
    fault(Rule::PointerArithmetic, format!("R{number} pointer arithmetic on {name} prohibited"))
}

/// Offsets stay so small that no later sum of them wraps.
fn check_sane(value: &Value, pointer: &Value) -> Check {
    let name = pointer.type_name();
    let too_large = |x: i64| x >= MAX_VAR_OFF || x <= -MAX_VAR_OFF;
    if let Some(x) = value.scalar.as_constant().map(|x| x as i64)
        && too_large(x)
    {
        return fault(
            Rule::Unbounded,
            format!("math between {name} pointer and {x} is not allowed"),
        );
    }
    if too_large(i64::from(value.off)) {
        return fault(
            Rule::Unbounded,
            format!("{name} pointer offset {} is not allowed", value.off),
        );
    }
    let smin = value.scalar.wide().smin;
    if smin == i64::MIN {
        return unbounded(pointer);
    }
    if too_large(smin) {
        return fault(
            Rule::Unbounded,
            format!("value {smin} makes {name} pointer be out of bounds"),
        );
    }
    Ok(())
}

/// Whether the signed interval of the sum or difference wraps.
fn overflows(op: AluOp, pointer: &Value, offset: &Value) -> bool {
    let (p, o) = (pointer.scalar.wide(), offset.scalar.wide());
    match op {
        AluOp::Sub => p.smin.checked_sub(o.smax).is_none() || p.smax.checked_sub(o.smin).is_none(),
        _ => p.smin.checked_add(o.smin).is_none() || p.smax.checked_add(o.smax).is_none(),
    }
}

fn unbounded(pointer: &Value) -> Check {
    fault(
        Rule::Unbounded,
        format!(
            "math between {} pointer and register with unbounded min value is not allowed",
            pointer.type_name()
        ),
    )
}
