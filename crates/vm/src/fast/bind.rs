//! Binding: from an instruction to the handler that executes it.
//!
//! Handlers are chosen by their constant parameters, which a macro spells out for every row of
//! the tables; a new row fails to compile here.

use std::sync::Arc;

use skep_bpf::insn::{Callee, Extend, Imm64, Insn, PacketIndex, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp, Cond, Endian, Movsx, Size, SwapBits, Width};
use skep_bpf::platform::HelperId;
use skep_bpf::program::Pc;

use super::handlers::First;
use super::step::{Cursor, Handler, Step};
use super::{Steps, handlers};
use crate::helpers::{self, Implementation};
use crate::machine::Machine;
use crate::trap::TrapKind;

/// What an `unsupported` step's immediate selects.
pub(super) static UNSUPPORTED: [TrapKind; 2] =
    [TrapKind::KERNEL_FUNCTION, TrapKind::ADDRESS_SPACE_CAST];

/// A handler for every row of a table: `rows!(Op, value, [A B], ROW => handler::<ROW>)` is a match
/// from each row to the expression in which `ROW` is the row's index.
macro_rules! rows {
    ($table:ident, $value:expr, [$($row:ident)+], $index:ident => $body:expr) => {
        match $value {
            $($table::$row => {
                const $index: usize = $table::$row as usize;
                $body as Handler
            })+
        }
    };
}

/// A boolean constant parameter chosen at run time.
macro_rules! either {
    ($condition:expr, $name:ident => $body:expr) => {
        if $condition {
            const $name: bool = true;
            $body
        } else {
            const $name: bool = false;
            $body
        }
    };
}

/// The operation that is executed before, chosen at run time: `before!(index, BEFORE => handler)`
/// is the expression in which `BEFORE` is an index into [`handlers::FIRST`] or `ALONE`.
macro_rules! before {
    ($before:expr, $name:ident => $body:expr) => {
        before!($before, $name => $body, [0 1 2 3])
    };
    ($before:expr, $name:ident => $body:expr, [$($index:literal)+]) => {
        match $before {
            $(Some($index) => {
                const $name: usize = $index;
                $body
            })+
            _ => {
                const $name: usize = handlers::ALONE;
                $body
            }
        }
    };
}

fn is_wide(width: Width) -> bool {
    width == Width::W64
}

fn alu(op: AluOp, width: Width, reg: bool, before: Option<usize>) -> Handler {
    before!(before, BEFORE => either!(is_wide(width), WIDE => either!(reg, REG => rows!(
        AluOp, op,
        [Add Sub Mul Div Sdiv Or And Lsh Rsh Mod Smod Xor Mov Arsh], ROW => handlers::alu::<ROW, WIDE, REG, BEFORE>
    ))))
}

fn alu_on(op: AluOp, width: Width, reg: bool, before: Option<usize>) -> Handler {
    before!(before, BEFORE => either!(is_wide(width), WIDE => either!(reg, REG => rows!(
        AluOp, op,
        [Add Sub Mul Div Sdiv Or And Lsh Rsh Mod Smod Xor Mov Arsh], ROW => handlers::alu_on::<ROW, WIDE, REG, BEFORE>
    ))))
}

fn branch(cond: Cond, width: Width, reg: bool, back: bool, before: Option<usize>) -> Handler {
    before!(before, BEFORE => either!(is_wide(width), WIDE => either!(reg, REG => either!(back, BACK => rows!(
        Cond, cond,
        [Eq Gt Ge Set Ne Sgt Sge Lt Le Slt Sle], ROW => handlers::branch::<ROW, WIDE, REG, BACK, BEFORE>
    )))))
}

fn load(size: Size, extend: Extend, before: Option<usize>) -> Handler {
    before!(before, BEFORE => either!(extend == Extend::Sign, SIGN => rows!(
        Size, size,
        [B H W Dw], ROW => handlers::load::<ROW, SIGN, BEFORE>
    )))
}

fn store(size: Size, reg: bool, before: Option<usize>) -> Handler {
    before!(before, BEFORE => either!(reg, REG => rows!(
        Size, size,
        [B H W Dw], ROW => handlers::store::<ROW, REG, BEFORE>
    )))
}

/// The handler that executes an instruction and the one after it, if there is such a handler.
fn merged(insn: &Insn<Pc>, next: &Insn<Pc>, next_back: bool) -> Option<Handler> {
    let Insn::Alu { op, width, dst: first_dst, src } = insn else { return None };
    let reg = matches!(src, Src::Reg(_));
    let is_first = |first: &First| first.op == *op && first.width == *width && first.reg == reg;
    let before = handlers::FIRST.iter().position(is_first);
    before?;
    match *next {
        Insn::Alu { op, width, dst, src } if dst == *first_dst && src != Src::Reg(dst) => {
            Some(alu_on(op, width, matches!(src, Src::Reg(_)), before))
        }
        Insn::Alu { op, width, src, .. } => {
            Some(alu(op, width, matches!(src, Src::Reg(_)), before))
        }
        Insn::Load { size, extend, .. } => Some(load(size, extend, before)),
        Insn::Store { size, src, .. } => Some(store(size, matches!(src, Src::Reg(_)), before)),
        Insn::Branch { cond, width, src, .. } => {
            Some(branch(cond, width, matches!(src, Src::Reg(_)), next_back, before))
        }
        _ => None,
    }
}

fn atomic(op: AtomicOp, width: Width) -> Handler {
    either!(is_wide(width), WIDE => rows!(
        AtomicOp, op,
        [Add Or And Xor FetchAdd FetchOr FetchAnd FetchXor Xchg Cmpxchg], ROW => handlers::atomic::<ROW, WIDE>
    ))
}

fn endian(op: Endian, bits: SwapBits) -> Handler {
    macro_rules! with_bits {
        ($bits:ident) => {{
            const BITS: usize = SwapBits::$bits as usize;
            rows!(Endian, op, [Le Be Bswap], ROW => handlers::endian::<ROW, BITS>)
        }};
    }
    match bits {
        SwapBits::B16 => with_bits!(B16),
        SwapBits::B32 => with_bits!(B32),
        SwapBits::B64 => with_bits!(B64),
    }
}

fn load_packet(size: Size, indirect: bool) -> Handler {
    either!(indirect, IND => rows!(Size, size, [B H W Dw], ROW => handlers::load_packet::<ROW, IND>))
}

/// The immediate of an operand as 64-bit operations take it.
fn immediate(src: Src) -> (u64, Reg, bool) {
    match src {
        Src::Imm(imm) => (i64::from(imm) as u64, Reg::R0, false),
        Src::Reg(reg) => (0, reg, true),
    }
}

/// Where a step is, and what it may refer to.
struct Place<'a> {
    index: usize,
    machine: &'a Machine,
    helpers: &'a mut Vec<(HelperId, Arc<Implementation>)>,
}

impl Steps {
    /// Binds a program whose references are resolved.
    pub(crate) fn bind(machine: &Machine, insns: &[Insn<Pc>]) -> Steps {
        let mut helpers = Vec::new();
        let mut steps: Box<[Step]> = insns
            .iter()
            .enumerate()
            .map(|(index, insn)| bind(insn, Place { index, machine, helpers: &mut helpers }))
            .collect();
        // A step keeps its operands and its place, so jumps between the two find the second.
        for (index, pair) in insns.windows(2).enumerate() {
            if let Some(run) = merged(&pair[0], &pair[1], steps[index + 1].jump < 0) {
                steps[index].run = run;
            }
        }
        Steps { steps, helpers }
    }

    /// The first step.
    pub(super) fn start(&self) -> Cursor {
        Cursor::start(&self.steps)
    }

    /// The step of an instruction.
    pub(super) fn at(&self, pc: Pc) -> Cursor {
        Cursor::start(&self.steps[pc.index()..])
    }

    /// The instruction of a step.
    pub(super) fn pc(&self, at: Cursor) -> Pc {
        Pc::from_index(at.index(&self.steps))
    }
}

fn bind(insn: &Insn<Pc>, place: Place<'_>) -> Step {
    let after = place.index as i64 + 1;
    let mut step = Step {
        run: handlers::exit,
        imm: 0,
        jump: 0,
        target: after as u32,
        offset: 0,
        dst: Reg::R0,
        src: Reg::R0,
    };
    if let Some(target) = insn.jump_target().copied().or(insn.local_callee()) {
        // Programs have at most 2^24 slots, so distances fit.
        step.jump = (target.index() as i64 - after) as i32;
        step.target = target.index() as u32;
    }
    let back = step.jump < 0;
    step.run = match *insn {
        Insn::Alu { op, width, dst, src } => {
            let (imm, reg, is_reg) = immediate(src);
            (step.dst, step.src, step.imm) = (dst, reg, imm);
            alu(op, width, is_reg, None)
        }
        Insn::Neg { width, dst } => {
            step.dst = dst;
            either!(is_wide(width), WIDE => handlers::neg::<WIDE>)
        }
        Insn::Movsx { op, dst, src } => {
            (step.dst, step.src) = (dst, src);
            rows!(Movsx, op, [W32From8 W32From16 W64From8 W64From16 W64From32], ROW => handlers::movsx::<ROW>)
        }
        Insn::Endian { op, bits, dst } => {
            step.dst = dst;
            endian(op, bits)
        }
        Insn::AddrSpaceCast { .. } => {
            step.imm = 1;
            handlers::unsupported
        }
        Insn::LoadImm64 { dst, imm } => {
            step.dst = dst;
            // Linking replaced every reference by its value.
            step.imm = if let Imm64::Value(value) = imm { value } else { 0 };
            handlers::load_imm
        }
        Insn::Load { size, extend, dst, mem } => {
            (step.dst, step.src, step.offset) = (dst, mem.base, mem.offset);
            load(size, extend, None)
        }
        Insn::Store { size, mem, src } => {
            let (imm, reg, is_reg) = immediate(src);
            (step.dst, step.src, step.imm, step.offset) = (mem.base, reg, imm, mem.offset);
            store(size, is_reg, None)
        }
        Insn::Atomic { op, width, mem, src } => {
            (step.dst, step.src, step.offset) = (mem.base, src, mem.offset);
            atomic(op, width)
        }
        Insn::LoadAcquire { size, dst, mem } => {
            (step.dst, step.src, step.offset) = (dst, mem.base, mem.offset);
            rows!(Size, size, [B H W Dw], ROW => handlers::load_acquire::<ROW>)
        }
        Insn::StoreRelease { size, mem, src } => {
            (step.dst, step.src, step.offset) = (mem.base, src, mem.offset);
            rows!(Size, size, [B H W Dw], ROW => handlers::store_release::<ROW>)
        }
        Insn::LoadPacket { size, index, imm } => {
            step.imm = i64::from(imm) as u64;
            if let PacketIndex::Indirect(reg) = index {
                step.src = reg;
            }
            load_packet(size.size(), matches!(index, PacketIndex::Indirect(_)))
        }
        Insn::Jump { .. } => either!(back, BACK => handlers::goto::<BACK>),
        Insn::Branch { cond, width, dst, src, .. } => {
            let (imm, reg, is_reg) = immediate(src);
            (step.dst, step.src, step.imm) = (dst, reg, imm);
            branch(cond, width, is_reg, back, None)
        }
        Insn::MayGoto { .. } => either!(back, BACK => handlers::may_goto::<BACK>),
        Insn::Call { callee } => bind_call(callee, &mut step, place),
        Insn::Exit => handlers::exit,
    };
    step
}

fn bind_call(callee: Callee<Pc>, step: &mut Step, place: Place<'_>) -> Handler {
    match callee {
        Callee::Local(_) => handlers::call_local,
        Callee::Kfunc { .. } => handlers::unsupported,
        Callee::Reg(reg) => {
            step.dst = reg;
            handlers::call_register
        }
        Callee::Helper(helpers::TAIL_CALL) => handlers::tail_call,
        Callee::Helper(id) if helpers::calls_back(id) && place.machine.helper(id).is_none() => {
            step.imm = id.0.into();
            handlers::call_back
        }
        Callee::Helper(id) => {
            let known = place.helpers.iter().position(|(have, _)| *have == id);
            step.imm = known.unwrap_or_else(|| {
                let helper =
                    place.machine.helper(id).unwrap_or_else(|| Arc::new(helpers::absent()));
                place.helpers.push((id, helper));
                place.helpers.len() - 1
            }) as u64;
            handlers::call_helper
        }
    }
}
