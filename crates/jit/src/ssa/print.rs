//! How functions print: one line per node, blocks with their parameters.

use std::fmt;

use skep_bpf::op::Width;

use super::ir::{BlockId, Edge, Func, Op, Target, Term, Val};

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}", self.0)
    }
}

/// A value as an operand: constants by their number.
struct Operand<'a>(&'a Func, Val);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.constant(self.1) {
            Some(number) if (number as i64).unsigned_abs() < 4096 => write!(f, "{}", number as i64),
            Some(number) => write!(f, "{number:#x}"),
            None => write!(f, "{}", self.1),
        }
    }
}

struct List<'a>(&'a Func, &'a [Val]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.1.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", Operand(self.0, *value))?;
        }
        Ok(())
    }
}

struct To<'a>(&'a Func, &'a Edge);

impl fmt::Display for To<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.1.to, List(self.0, &self.1.args))
    }
}

impl fmt::Display for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in self.reverse_postorder() {
            let block = &self.blocks[id.index()];
            writeln!(f, "{id}({}):  ; instruction {}", List(self, &block.params), block.pc)?;
            for &value in &block.nodes {
                write!(f, "    {value} = ")?;
                self.print_op(&self.op(value), f)?;
                writeln!(f)?;
            }
            write!(f, "    ")?;
            self.print_term(&block.term, f)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

const fn bits(width: Width) -> u32 {
    width.bits()
}

impl Func {
    fn print_op(&self, op: &Op, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operand = |value: Val| Operand(self, value);
        match op {
            Op::Const(number) => write!(f, "{number:#x}"),
            Op::Param => f.write_str("param"),
            Op::Entry(reg) => write!(f, "entry {reg}"),
            Op::Processor(count) => write!(f, "processor of {count}"),
            Op::Binary(op, width, a, b) => {
                let name = format!("{op:?}").to_lowercase();
                write!(f, "{name}{} {}, {}", bits(*width), operand(*a), operand(*b))
            }
            Op::Unary(op, width, a) => {
                let name = format!("{op:?}").to_lowercase();
                write!(f, "{name}{} {}", bits(*width), operand(*a))
            }
            Op::Select(cond, width, [a, b, then, other]) => {
                write!(
                    f,
                    "if{} {} {} {}",
                    bits(*width),
                    operand(*a),
                    cond.row().symbol,
                    operand(*b)
                )?;
                write!(f, " then {} else {}", operand(*then), operand(*other))
            }
            Op::Load { size, extend, addr, disp } => {
                write!(f, "load {:?} {extend:?} [{} + {disp}]", size, operand(*addr))
            }
            Op::LoadAcquire { size, addr, disp } => {
                write!(f, "load_acquire {size:?} [{} + {disp}]", operand(*addr))
            }
            Op::Store { size, addr, disp, value } => {
                write!(f, "store {size:?} [{} + {disp}], {}", operand(*addr), operand(*value))
            }
            Op::StoreRelease { size, addr, disp, value } => {
                let (addr, value) = (operand(*addr), operand(*value));
                write!(f, "store_release {size:?} [{addr} + {disp}], {value}")
            }
            Op::Atomic { op, width, addr, disp, src, expected } => {
                let (addr, src) = (operand(*addr), operand(*src));
                write!(f, "{}{} [{addr} + {disp}], {src}", op.row().mnemonic, bits(*width))?;
                write!(f, " expected {}", operand(*expected))
            }
            Op::Call(site) => {
                let site = &self.calls[*site as usize];
                match site.target {
                    Target::Helper(id) => write!(f, "call helper {}", id.0)?,
                    Target::CallBack(id) => write!(f, "call back helper {}", id.0)?,
                    Target::Lookup(_) => f.write_str("call lookup")?,
                    Target::Local(pc) => write!(f, "call function at {pc}")?,
                    Target::TailCall => f.write_str("tail call")?,
                    Target::Register => f.write_str("call register")?,
                    Target::Packet(size) => write!(f, "load packet {size:?}")?,
                }
                write!(f, "({})", List(self, &site.args))
            }
            Op::Charge(count) => write!(f, "charge {count}"),
            Op::CheckDepth(levels) => write!(f, "check depth {levels}"),
            Op::ChargeBy(amount) => write!(f, "charge {}", operand(*amount)),
            Op::Fuel => f.write_str("fuel"),
            Op::ChargeAndCheck(count) => write!(f, "charge {count} and check"),
        }
    }

    fn print_term(&self, term: &Term, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match term {
            Term::Jump(edge) => write!(f, "goto {}", To(self, edge)),
            Term::Branch { cond, width, a, b, then, other } => {
                let (a, b) = (Operand(self, *a), Operand(self, *b));
                write!(f, "if{} {a} {} {b}", bits(*width), cond.row().symbol)?;
                write!(f, " goto {} else {}", To(self, then), To(self, other))
            }
            Term::Return(value) => write!(f, "return {}", Operand(self, *value)),
            Term::Unsupported { pc } => write!(f, "unsupported at {pc}"),
        }
    }
}
