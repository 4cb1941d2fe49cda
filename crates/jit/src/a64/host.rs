//! Where generated code meets the host: entry, exit, traps, calls of the runtime.
//!
//! The code of both tiers is the same here. Everything is found through the state pointer, which
//! has a register of its own while generated code runs.

use skep_bpf::insn::Reg;
use skep_bpf::op::{Size, Width};

use super::asm::{Asm, Label};
use super::encode::{
    AddSub, BTI_C, Condition, FP, Gpr, Index, Indirect, LR, SP, Transfer, ZR, add, add_imm, adr,
    indirect, mov, pair, transfer_scaled, x,
};
use super::regs::{
    FRAME, FUEL, JUMP, RESULT, SCRATCH, SCRATCH2, SCRATCH3, STATE, STATE_ARG, WINDOW, gpr,
};
use crate::abi::{EXITED, FRAME_BYTES, TRAPPED, TrapCode, offset};

/// What C preserves and generated code changes, in the order of the state's words. The state
/// pointer's own register and the window's follow.
const HOST: [(Gpr, Gpr); 5] =
    [(x(19), x(20)), (x(21), x(22)), (x(23), x(24)), (x(25), x(26)), (FP, LR)];

/// `r1` to `r5`.
pub(super) const ARGUMENTS: [Gpr; 5] = [x(0), x(1), x(2), x(3), x(4)];

/// Where a stub that asks for fuel keeps the return address of its function: behind the arguments
/// and what the routine keeps.
pub(super) const LINK: i32 = offset::SLOW_SAVED + 64;

/// A word of the state, at an offset in bytes.
pub(super) const fn load_state(to: Gpr, offset: i32) -> u32 {
    transfer_scaled(Transfer::load(Size::Dw), to, STATE, offset as u32 / 8)
}

/// As [`load_state`], stored.
pub(super) const fn store_state(from: Gpr, offset: i32) -> u32 {
    transfer_scaled(Transfer::store(Size::Dw), from, STATE, offset as u32 / 8)
}

/// A field of 32 bits, stored.
const fn store_field(from: Gpr, offset: i32) -> u32 {
    transfer_scaled(Transfer::store(Size::W), from, STATE, offset as u32 / 4)
}

/// Two words of the state, at an offset in bytes.
const fn pair_state(load: bool, regs: (Gpr, Gpr), offset: i32) -> u32 {
    pair(Width::W64, load, regs, STATE, offset / 8, Index::None)
}

impl Asm {
    /// The function that the host calls, which calls the first function; gives its offset.
    pub(super) fn enter(&mut self, first: Label) -> u32 {
        let at = self.offset();
        self.host_entry();
        self.put(load_state(gpr(Reg::R10), offset::FRAME_TOP));
        self.frame_entry();
        self.put(pair_state(true, (gpr(Reg::R1), gpr(Reg::R2)), offset::ARGS));
        for reg in [Reg::R3, Reg::R4, Reg::R5] {
            self.set(gpr(reg), 0);
        }
        self.call(first);
        self.host_exit();
        at
    }

    /// A function of the same type, which calls the function of
    /// [`crate::abi::RunState::callback`]; gives its offset.
    pub(super) fn callback(&mut self) -> u32 {
        let at = self.offset();
        self.host_entry();
        self.put(load_state(gpr(Reg::R10), offset::CALLBACK_FRAME_TOP));
        self.frame_entry();
        for (index, reg) in ARGUMENTS.into_iter().enumerate() {
            self.put(load_state(reg, offset::CALLBACK_ARGS + 8 * index as i32));
        }
        self.put(load_state(JUMP, offset::CALLBACK_ENTRY));
        self.put(indirect(Indirect::Blr, JUMP));
        self.host_exit();
        at
    }

    /// Calls a helper that calls functions, whose arguments are in place.
    pub(super) fn call_back(&mut self, site: u64) {
        self.put(store_state(FUEL, offset::FUEL));
        self.put(store_state(gpr(Reg::R10), offset::CALLBACK_FRAME_TOP));
        self.set_site(site);
        self.call_runtime(offset::CALL_BACK);
        self.put(load_state(FUEL, offset::FUEL));
    }

    /// Keeps the host's registers and fetches those that stay as they are.
    fn host_entry(&mut self) {
        self.put(BTI_C);
        // The state pointer's register must be saved before it is changed.
        let saved = offset::EXIT_SAVED / 8 + 2 * HOST.len() as i32;
        self.put(pair(Width::W64, false, (STATE, WINDOW), RESULT, saved, Index::None));
        self.put(mov(Width::W64, STATE, RESULT));
        self.host_registers(false);
        self.put(add_imm(Width::W64, AddSub::Add, SCRATCH, SP, 0, false));
        self.put(store_state(SCRATCH, offset::EXIT_SP));
        self.put(load_state(WINDOW, offset::WINDOW));
        self.put(load_state(FUEL, offset::FUEL));
    }

    /// Derives the frame's host address from `r10`.
    fn frame_entry(&mut self) {
        self.put(add(Width::W64, AddSub::Add, FRAME, WINDOW, gpr(Reg::R10)));
        self.put(add_imm(Width::W64, AddSub::Sub, FRAME, FRAME, FRAME_BYTES, false));
    }

    /// Returns to the host after the function that was called.
    fn host_exit(&mut self) {
        self.put(store_state(gpr(Reg::R0), offset::R0));
        self.put(store_state(FUEL, offset::FUEL));
        self.set(RESULT, EXITED);
        self.leave();
    }

    /// Returns to the host, with the result in place.
    fn leave(&mut self) {
        self.host_registers(true);
        // The state pointer's register last, by itself.
        let saved = offset::EXIT_SAVED + 16 * HOST.len() as i32;
        self.put(pair_state(true, (STATE, WINDOW), saved));
        self.put(indirect(Indirect::Ret, LR));
    }

    fn host_registers(&mut self, load: bool) {
        for (index, regs) in HOST.into_iter().enumerate() {
            self.put(pair_state(load, regs, offset::EXIT_SAVED + 16 * index as i32));
        }
    }

    /// Where traps leave, instruction and code in the scratch registers; gives the offset at which
    /// the fault handler goes on.
    pub(super) fn trap_exit(&mut self, trap: Label) -> u32 {
        self.bind(trap);
        self.put(store_field(SCRATCH, offset::TRAP_INSN));
        self.put(store_field(SCRATCH2, offset::TRAP_CODE));
        self.put(adr(SCRATCH3, 0));
        self.put(store_state(SCRATCH3, offset::TRAP_PLACE));
        let at = self.offset();
        self.put(load_state(SCRATCH, offset::EXIT_SP));
        self.put(add_imm(Width::W64, AddSub::Add, SP, SCRATCH, 0, false));
        self.set(RESULT, TRAPPED);
        self.leave();
        at
    }

    /// Traps at an instruction.
    pub(super) fn trap_stub(&mut self, trap: Label, insn: u32, code: TrapCode) {
        self.set(SCRATCH, insn.into());
        self.set(SCRATCH2, code as u64);
        self.jump(trap);
    }

    /// Traps at an instruction for the host address in the first scratch register.
    pub(super) fn misaligned_stub(&mut self, trap: Label, insn: u32, code: TrapCode, bytes: u32) {
        self.put(add(Width::W64, AddSub::Sub, SCRATCH, SCRATCH, WINDOW));
        self.put(store_field(SCRATCH, offset::TRAP_ADDR));
        self.set(SCRATCH, bytes.into());
        self.put(store_field(SCRATCH, offset::TRAP_LEN));
        self.trap_stub(trap, insn, code);
    }

    /// Names the call that is under way; the number is left in the first scratch register.
    pub(super) fn set_site(&mut self, site: u64) {
        self.set(SCRATCH, site);
        self.put(store_state(SCRATCH, offset::SITE));
    }

    /// Calls a runtime function, whose arguments are in place.
    pub(super) fn call_runtime(&mut self, function: i32) {
        self.put(load_state(SCRATCH, function));
        self.call_c();
    }

    /// Calls the function in the first scratch register.
    pub(super) fn call_c(&mut self) {
        self.put(mov(Width::W64, STATE_ARG, STATE));
        self.put(indirect(Indirect::Blr, SCRATCH));
    }

    /// Goes to a stub if the runtime function that was called refused.
    pub(super) fn stop_if_trapped(&mut self, stub: Label) {
        self.put(load_state(SCRATCH, offset::TRAPPED));
        self.branch_zero(Width::W64, true, SCRATCH, stub);
    }

    /// Keeps `r1` to `r5` in the state, or loads them from there.
    pub(super) fn move_arguments(&mut self, load: bool) {
        let [r1, r2, r3, r4, r5] = ARGUMENTS;
        self.put(pair_state(load, (r1, r2), offset::SLOW_SAVED));
        self.put(pair_state(load, (r3, r4), offset::SLOW_SAVED + 16));
        let last = offset::SLOW_SAVED + 32;
        self.put(if load { load_state(r5, last) } else { store_state(r5, last) });
    }

    /// Asks what a register means, with `r1` to `r5` kept: [`JUMP`] becomes the
    /// address of a function or 0.
    pub(super) fn resolve(&mut self, callee: Gpr, site: u64) {
        self.move_arguments(false);
        // The callee may be in an argument's register.
        self.put(mov(Width::W64, SCRATCH2, callee));
        self.set_site(site);
        self.put(mov(Width::W64, ARGUMENTS[1], SCRATCH));
        self.put(mov(Width::W64, ARGUMENTS[0], SCRATCH2));
        self.call_runtime(offset::RESOLVE);
        self.put(mov(Width::W64, JUMP, RESULT));
        self.move_arguments(true);
    }

    /// Traps if the frame so many below this one is the lowest that there may be.
    pub(super) fn check_depth(&mut self, too_deep: Label, levels: u32) {
        self.put(load_state(SCRATCH, offset::LOWEST_FRAME));
        let above = i64::from(FRAME_BYTES * levels);
        if above != 0 {
            self.add_number(Width::W64, SCRATCH, SCRATCH, above, SCRATCH2);
        }
        self.put(add(Width::W64, AddSub::Subs, ZR, gpr(Reg::R10), SCRATCH));
        self.branch(Condition::Eq, too_deep);
    }

    /// Moves both frame pointers to the frame of a function that is called, or back.
    pub(super) fn move_frame(&mut self, down: bool) {
        let op = if down { AddSub::Sub } else { AddSub::Add };
        for reg in [gpr(Reg::R10), FRAME] {
            self.put(add_imm(Width::W64, op, reg, reg, FRAME_BYTES, false));
        }
    }

    /// The registers as a program starts that a tail call enters, but for `r6` to `r9`.
    pub(super) fn tail_call_registers(&mut self) {
        self.put(load_state(gpr(Reg::R1), offset::ARGS));
        for reg in [Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
            self.set(gpr(reg), 0);
        }
    }

    /// Stores registers in the native frame from an offset on, or loads them.
    pub(super) fn move_stacked(&mut self, load: bool, regs: &[Gpr], offset: i32) {
        for (index, regs) in regs.chunks(2).enumerate() {
            let at = offset / 8 + 2 * index as i32;
            self.put(match *regs {
                [first, second] => pair(Width::W64, load, (first, second), SP, at, Index::None),
                _ => {
                    let word = Size::Dw;
                    let op = if load { Transfer::load(word) } else { Transfer::store(word) };
                    transfer_scaled(op, regs[0], SP, at as u32)
                }
            });
        }
    }

    /// Moves the native stack pointer.
    pub(super) fn move_stack(&mut self, bytes: i32) {
        self.add_number(Width::W64, SP, SP, bytes.into(), SCRATCH);
    }
}
