//! The handlers: what each shape of instruction does, specialised by constant parameters.
//!
//! A handler ends with `go`, which must stay in tail position: nothing that needs dropping and no
//! reference to a local may be alive there. Rare and bulky work is in functions that are not
//! inlined.

use skep_bpf::eval;
use skep_bpf::insn::{Extend, Reg};
use skep_bpf::op::{AluOp, AtomicOp, Cond, Endian, Movsx, Size, SwapBits, Width};

use super::step::{Cursor, Step};
use super::{Run, Stop};
use crate::memory::{AtomicFault, Fault, View};
use crate::trap::TrapKind;

/// The value of an operand: the immediate or the source register.
#[inline(always)]
fn operand<const REG: bool>(step: &Step, run: &Run<'_>) -> u64 {
    if REG { run.get(step.src) } else { step.imm }
}

#[inline(always)]
fn address(base: u64, step: &Step) -> u32 {
    (base as u32).wrapping_add(step.offset as i32 as u32)
}

const fn width(wide: bool) -> Width {
    if wide { Width::W64 } else { Width::W32 }
}

/// The operation that a step executes before it does the next step's work.
pub(super) struct First {
    pub(super) op: AluOp,
    pub(super) width: Width,
    pub(super) reg: bool,
}

/// The operations worth merging with what follows them: a third of the instructions that compilers
/// write. Handlers take an index into this table, or [`ALONE`].
pub(super) const FIRST: [First; 4] = [
    First { op: AluOp::Mov, width: Width::W64, reg: true },
    First { op: AluOp::Add, width: Width::W64, reg: false },
    First { op: AluOp::Add, width: Width::W64, reg: true },
    First { op: AluOp::Mov, width: Width::W32, reg: true },
];

/// Nothing before.
pub(super) const ALONE: usize = FIRST.len();

/// Executes the step that is merged with the next and gives the next.
#[inline(always)]
fn first<const BEFORE: usize>(at: Cursor, run: &mut Run<'_>) -> Cursor {
    if BEFORE == ALONE {
        return at;
    }
    let step = at.step();
    run.set(step.dst, before::<BEFORE>(step, run));
    at.next()
}

/// What the operation of a step that is merged with the next computes.
#[inline(always)]
fn before<const BEFORE: usize>(step: &Step, run: &Run<'_>) -> u64 {
    let First { op, width, reg } = const { &FIRST[BEFORE % FIRST.len()] };
    let src = if *reg { run.get(step.src) } else { step.imm };
    op.eval(*width, run.get(step.dst), src)
}

pub(super) fn alu<const OP: usize, const WIDE: bool, const REG: bool, const BEFORE: usize>(
    at: Cursor,
    run: &mut Run<'_>,
    view: View,
    fuel: i64,
) -> Stop {
    let at = first::<BEFORE>(at, run);
    let step = at.step();
    let src = operand::<REG>(step, run);
    let value = const { AluOp::ALL[OP] }.eval(const { width(WIDE) }, run.get(step.dst), src);
    run.set(step.dst, value);
    at.next().go(run, view, fuel)
}

/// As [`alu`] after another operation whose result it takes as its destination's value.
pub(super) fn alu_on<const OP: usize, const WIDE: bool, const REG: bool, const BEFORE: usize>(
    at: Cursor,
    run: &mut Run<'_>,
    view: View,
    fuel: i64,
) -> Stop {
    let dst = before::<BEFORE>(at.step(), run);
    let at = at.next();
    let step = at.step();
    let src = operand::<REG>(step, run);
    run.set(step.dst, const { AluOp::ALL[OP] }.eval(const { width(WIDE) }, dst, src));
    at.next().go(run, view, fuel)
}

pub(super) fn neg<const WIDE: bool>(at: Cursor, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
    let step = at.step();
    run.set(step.dst, eval::neg(const { width(WIDE) }, run.get(step.dst)));
    at.next().go(run, view, fuel)
}

pub(super) fn movsx<const OP: usize>(at: Cursor, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
    let step = at.step();
    run.set(step.dst, const { Movsx::ALL[OP] }.eval(run.get(step.src)));
    at.next().go(run, view, fuel)
}

pub(super) fn endian<const OP: usize, const BITS: usize>(
    at: Cursor,
    run: &mut Run<'_>,
    view: View,
    fuel: i64,
) -> Stop {
    let step = at.step();
    let value = const { Endian::ALL[OP] }.eval(const { SwapBits::ALL[BITS] }, run.get(step.dst));
    run.set(step.dst, value);
    at.next().go(run, view, fuel)
}

pub(super) fn load_imm(at: Cursor, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
    let step = at.step();
    run.set(step.dst, step.imm);
    at.next().go(run, view, fuel)
}

pub(super) fn load<const SIZE: usize, const SIGN: bool, const BEFORE: usize>(
    at: Cursor,
    run: &mut Run<'_>,
    view: View,
    fuel: i64,
) -> Stop {
    let at = first::<BEFORE>(at, run);
    let step = at.step();
    let size = const { Size::ALL[SIZE] };
    match view.load(address(run.get(step.src), step), size) {
        Ok(bits) => {
            let extend = if SIGN { Extend::Sign } else { Extend::Zero };
            run.set(step.dst, size.extend(extend, bits));
            at.next().go(run, view, fuel)
        }
        Err(fault) => run.fault(at, fuel, fault),
    }
}

pub(super) fn store<const SIZE: usize, const REG: bool, const BEFORE: usize>(
    at: Cursor,
    run: &mut Run<'_>,
    view: View,
    fuel: i64,
) -> Stop {
    let at = first::<BEFORE>(at, run);
    let step = at.step();
    let value = operand::<REG>(step, run);
    match view.store(address(run.get(step.dst), step), const { Size::ALL[SIZE] }, value) {
        Ok(()) => at.next().go(run, view, fuel),
        Err(fault) => run.fault(at, fuel, fault),
    }
}

pub(super) fn atomic<const OP: usize, const WIDE: bool>(
    at: Cursor,
    run: &mut Run<'_>,
    view: View,
    fuel: i64,
) -> Stop {
    let step = at.step();
    let op = const { AtomicOp::ALL[OP] };
    let (src, expected) = (run.get(step.src), run.get(Reg::R0));
    match view.atomic(address(run.get(step.dst), step), const { width(WIDE) }, op, src, expected) {
        Ok(old) => {
            if op.row().fetch {
                let to = if matches!(op, AtomicOp::Cmpxchg) { Reg::R0 } else { step.src };
                run.set(to, old);
            }
            at.next().go(run, view, fuel)
        }
        Err(fault) => run.atomic_fault(at, fuel, fault),
    }
}

/// Load-acquire and store-release: plain accesses between fences, which is stronger than asked.
pub(super) fn load_acquire<const SIZE: usize>(
    at: Cursor,
    run: &mut Run<'_>,
    view: View,
    fuel: i64,
) -> Stop {
    let step = at.step();
    match view.load_acquire(address(run.get(step.src), step), const { Size::ALL[SIZE] }) {
        Ok(bits) => {
            run.set(step.dst, bits);
            at.next().go(run, view, fuel)
        }
        Err(fault) => run.atomic_fault(at, fuel, fault),
    }
}

pub(super) fn store_release<const SIZE: usize>(
    at: Cursor,
    run: &mut Run<'_>,
    view: View,
    fuel: i64,
) -> Stop {
    let step = at.step();
    let addr = address(run.get(step.dst), step);
    match view.store_release(addr, const { Size::ALL[SIZE] }, run.get(step.src)) {
        Ok(()) => at.next().go(run, view, fuel),
        Err(fault) => run.atomic_fault(at, fuel, fault),
    }
}

/// Takes the jump of a step. Only backward jumps can repeat, so only they ask for fuel; then the
/// jump itself is where the run stops or goes on.
#[inline(always)]
fn jump<const BACK: bool>(at: Cursor, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
    let step = at.step();
    let left = fuel.wrapping_add(i64::from(step.jump));
    if BACK && left < i64::from(step.target) {
        return run.out_of_fuel(at, fuel);
    }
    at.target().go(run, view, left)
}

pub(super) fn goto<const BACK: bool>(at: Cursor, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
    jump::<BACK>(at, run, view, fuel)
}

pub(super) fn branch<
    const COND: usize,
    const WIDE: bool,
    const REG: bool,
    const BACK: bool,
    const BEFORE: usize,
>(
    at: Cursor,
    run: &mut Run<'_>,
    view: View,
    fuel: i64,
) -> Stop {
    let at = first::<BEFORE>(at, run);
    let step = at.step();
    let src = operand::<REG>(step, run);
    if const { Cond::ALL[COND] }.eval(const { width(WIDE) }, run.get(step.dst), src) {
        jump::<BACK>(at, run, view, fuel)
    } else {
        at.next().go(run, view, fuel)
    }
}

pub(super) fn may_goto<const BACK: bool>(
    at: Cursor,
    run: &mut Run<'_>,
    view: View,
    fuel: i64,
) -> Stop {
    if run.may_goto == 0 {
        return jump::<BACK>(at, run, view, fuel);
    }
    run.may_goto -= 1;
    at.next().go(run, view, fuel)
}

pub(super) fn call_local(at: Cursor, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
    let step = at.step();
    let left = fuel.wrapping_add(i64::from(step.jump));
    // Calls can repeat by recursion, so they ask for fuel in both directions.
    if left < i64::from(step.target) {
        return run.out_of_fuel(at, fuel);
    }
    if run.callers.len() == run.most_callers {
        return run.too_deep(at, fuel);
    }
    run.push_frame(at);
    at.target().go(run, view, left)
}

pub(super) fn exit(at: Cursor, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
    leave(at, run, view, fuel)
}

/// Returns to the caller or ends the run. The target of such a step is the position after it.
#[inline(always)]
fn leave(at: Cursor, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
    let left = fuel.wrapping_sub(i64::from(at.step().target));
    let Some(frame) = run.pop_frame() else {
        run.at = at;
        run.fuel = left;
        return Stop::Exit;
    };
    frame.return_to.go(run, view, left.wrapping_add(frame.return_index))
}

pub(super) fn call_helper(at: Cursor, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
    if run.invoke(at) { at.next().go(run, view, fuel) } else { run.stopped(at, fuel) }
}

pub(super) fn call_back(at: Cursor, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
    run.call_back(at, view, fuel)
}

/// A tail call that succeeds goes on in the other program, at its first instruction.
pub(super) fn tail_call(at: Cursor, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
    // The target of this step is the position after it.
    let left = fuel.wrapping_sub(i64::from(at.step().target));
    if left < 0 {
        return run.out_of_fuel(at, fuel);
    }
    match run.enter_tail_call(at) {
        Some(Some(first)) => first.go(run, view, left),
        Some(None) => at.next().go(run, view, fuel),
        None => run.stopped(at, fuel),
    }
}

pub(super) fn call_register(at: Cursor, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
    run.call_through_register(at, view, fuel)
}

pub(super) fn load_packet<const SIZE: usize, const IND: bool>(
    at: Cursor,
    run: &mut Run<'_>,
    view: View,
    fuel: i64,
) -> Stop {
    let step = at.step();
    let index = if IND { run.get(step.src) as u32 as i32 } else { 0 };
    let offset = index.wrapping_add(step.imm as i32);
    match run.packet_value(offset, const { Size::ALL[SIZE] }) {
        Some(Some(value)) => {
            run.set(Reg::R0, value);
            at.next().go(run, view, fuel)
        }
        Some(None) => {
            // Outside the packet the program ends with 0 (Linux, `bpf_gen_ld_abs`): as an exit
            // of the function that the instruction is in.
            run.set(Reg::R0, 0);
            leave(at, run, view, fuel)
        }
        None => run.stop(at, fuel, TrapKind::NoSocketBuffer),
    }
}

/// Instructions that load but cannot run here; the immediate is an index into the reasons.
pub(super) fn unsupported(at: Cursor, run: &mut Run<'_>, _view: View, fuel: i64) -> Stop {
    run.stop(at, fuel, super::bind::UNSUPPORTED[at.step().imm as usize].clone())
}

impl Run<'_> {
    #[cold]
    #[inline(never)]
    fn fault(&mut self, at: Cursor, fuel: i64, fault: Fault) -> Stop {
        self.stop(at, fuel, fault.into())
    }

    #[cold]
    #[inline(never)]
    fn atomic_fault(&mut self, at: Cursor, fuel: i64, fault: AtomicFault) -> Stop {
        self.stop(at, fuel, fault.into())
    }

    #[cold]
    #[inline(never)]
    pub(super) fn stop(&mut self, at: Cursor, fuel: i64, kind: TrapKind) -> Stop {
        self.trap = Some(kind);
        self.stopped(at, fuel)
    }

    /// Stops at a call for which there is no frame left.
    #[cold]
    #[inline(never)]
    pub(super) fn too_deep(&mut self, at: Cursor, fuel: i64) -> Stop {
        self.stop(at, fuel, TrapKind::CallDepth { limit: self.most_callers + 1 })
    }

    #[cold]
    #[inline(never)]
    pub(super) fn stopped(&mut self, at: Cursor, fuel: i64) -> Stop {
        (self.at, self.fuel) = (at, fuel);
        Stop::Trap
    }

    #[cold]
    #[inline(never)]
    pub(super) fn out_of_fuel(&mut self, at: Cursor, fuel: i64) -> Stop {
        (self.at, self.fuel) = (at, fuel);
        Stop::Fuel
    }
}
