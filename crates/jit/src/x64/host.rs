//! Where generated code meets the host: entry, exit, traps, slow calls of the runtime.
//!
//! The code of both tiers is the same here. The state pointer is in the lowest word of every
//! native frame; what a program needs of the pieces at its end is noted as it is compiled.

use skep_bpf::insn::Reg;

use super::asm::{Alu, Asm, Bits, Gpr, Label, Mem};
use super::regs::{FUEL, PRESERVED, SCRATCH, STATE, WINDOW, gpr};
use crate::abi::{EXITED, TRAPPED, TrapCode, offset};
use crate::flow::{Flow, RegSet};
use crate::source::Source;

/// The word of a native frame that holds the state pointer.
pub(super) const STATE_WORD: Mem = Mem::at(Gpr::Rsp, 0);

/// A field of the state, whose pointer is in a register.
pub(super) const fn state_field(state: Gpr, offset: i32) -> Mem {
    Mem::at(state, offset)
}

/// The registers that runtime functions may change and slow calls preserve.
const SLOW_SAVED: [Gpr; 7] = [Gpr::Rax, Gpr::Rdi, Gpr::Rsi, Gpr::Rdx, Gpr::Rcx, Gpr::R8, SCRATCH];

/// Where a slow call keeps a register.
fn slow_slot(reg: Gpr) -> Mem {
    let index = SLOW_SAVED.iter().position(|saved| *saved == reg).unwrap_or(0);
    state_field(STATE, offset::SLOW_SAVED + index as i32 * 8)
}

/// Where the entry keeps one of [`PRESERVED`].
fn kept(index: usize) -> Mem {
    state_field(STATE, offset::EXIT_SAVED + index as i32 * 8)
}

/// Pieces that a program has at most once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    /// The way out after a trap.
    exit: Label,
    trap: Piece,
    refuel: Piece,
    resolve: Piece,
    load_packet: Piece,
}

/// A piece of code behind the program, and whether the program goes there.
#[derive(Clone, Copy, Debug)]
struct Piece {
    label: Label,
    is_used: bool,
}

impl Piece {
    fn new(asm: &mut Asm) -> Piece {
        Piece { label: asm.label(), is_used: false }
    }

    fn call(&mut self, asm: &mut Asm) {
        self.is_used = true;
        asm.call(self.label);
    }
}

impl Host {
    pub(super) fn new(asm: &mut Asm) -> Host {
        Host {
            exit: asm.label(),
            trap: Piece::new(asm),
            refuel: Piece::new(asm),
            resolve: Piece::new(asm),
            load_packet: Piece::new(asm),
        }
    }

    /// The code of type [`crate::abi::Enter`], which calls the first function, and the way out
    /// after a trap. Preserved registers are kept if a trap can leave them changed.
    pub(super) fn enter(
        &self,
        asm: &mut Asm,
        (source, flow): (&Source<'_>, &Flow),
        first: Label,
        keeps: bool,
    ) {
        asm.endbr64();
        if flow.is_closed() {
            return self.enter_closed(asm, (source, flow), first);
        }
        asm.push(Gpr::Rbp);
        asm.push(WINDOW);
        asm.push(Gpr::Rdi);
        asm.mov(Bits::B64, STATE, Gpr::Rdi);
        if keeps {
            for (index, reg) in PRESERVED.into_iter().enumerate() {
                asm.mov(Bits::B64, kept(index), reg);
            }
        }
        asm.mov(Bits::B64, state_field(STATE, offset::EXIT_SP), Gpr::Rsp);
        asm.load(Bits::B64, WINDOW, state_field(STATE, offset::WINDOW));
        asm.load(Bits::B64, gpr(Reg::R10), state_field(STATE, offset::FRAME_TOP));
        first_registers(asm, (source, flow), STATE);
        asm.call(first);
        results(asm, source);
        leave(asm, EXITED);
        asm.bind(self.exit);
        asm.load(Bits::B64, STATE, STATE_WORD);
        asm.load(Bits::B64, Gpr::Rsp, state_field(STATE, offset::EXIT_SP));
        if keeps {
            for (index, reg) in PRESERVED.into_iter().enumerate() {
                asm.load(Bits::B64, reg, kept(index));
            }
        }
        asm.pop(STATE);
        leave(asm, TRAPPED);
    }

    /// The same of a program that needs neither the window nor a frame and never traps.
    fn enter_closed(&self, asm: &mut Asm, program: (&Source<'_>, &Flow), first: Label) {
        asm.push(Gpr::Rdi);
        first_registers(asm, program, Gpr::Rdi);
        asm.call(first);
        results(asm, program.0);
        asm.zero(Gpr::Rax);
        asm.ret();
        asm.bind(self.exit);
        asm.ud2();
    }

    /// The code of type [`crate::abi::Enter`] that calls the function of
    /// [`crate::abi::RunState::callback`]. It leaves as [`Host::enter`] does, which must have kept
    /// the preserved registers.
    pub(super) fn callback(asm: &mut Asm) {
        asm.endbr64();
        asm.push(Gpr::Rbp);
        asm.push(WINDOW);
        asm.push(Gpr::Rdi);
        asm.mov(Bits::B64, STATE, Gpr::Rdi);
        for (index, reg) in PRESERVED.into_iter().enumerate() {
            asm.mov(Bits::B64, kept(index), reg);
        }
        asm.mov(Bits::B64, state_field(STATE, offset::EXIT_SP), Gpr::Rsp);
        asm.load(Bits::B64, WINDOW, state_field(STATE, offset::WINDOW));
        asm.load(Bits::B64, gpr(Reg::R10), state_field(STATE, offset::CALLBACK_FRAME_TOP));
        asm.load(Bits::B64, FUEL, state_field(STATE, offset::FUEL));
        for (index, reg) in RegSet::ARGUMENTS.iter().enumerate() {
            let field = offset::CALLBACK_ARGS + index as i32 * 8;
            asm.load(Bits::B64, gpr(reg), state_field(STATE, field));
        }
        asm.call_rm(state_field(STATE, offset::CALLBACK_ENTRY));
        asm.pop(STATE);
        asm.mov(Bits::B64, state_field(STATE, offset::R0), Gpr::Rax);
        asm.mov(Bits::B64, state_field(STATE, offset::FUEL), FUEL);
        leave(asm, EXITED);
    }

    /// Calls a helper that calls functions, whose arguments are in place. Unequal, as flags say,
    /// means a trap.
    pub(super) fn call_back(asm: &mut Asm, site: u64, metered: bool) {
        asm.load(Bits::B64, STATE, STATE_WORD);
        if metered {
            asm.mov(Bits::B64, state_field(STATE, offset::FUEL), FUEL);
        }
        asm.mov(Bits::B64, state_field(STATE, offset::CALLBACK_FRAME_TOP), gpr(Reg::R10));
        asm.mov_imm(Gpr::Rax, site);
        asm.mov(Bits::B64, state_field(STATE, offset::SITE), Gpr::Rax);
        asm.mov(Bits::B64, Gpr::R9, STATE);
        asm.call_rm(state_field(Gpr::R9, offset::CALL_BACK));
        asm.load(Bits::B64, STATE, STATE_WORD);
        if metered {
            asm.load(Bits::B64, FUEL, state_field(STATE, offset::FUEL));
        }
        asm.alu_imm(Alu::Cmp, Bits::B64, state_field(STATE, offset::TRAPPED), 0);
    }

    /// Where the fault handler goes on.
    pub(super) fn exit(&self) -> Label {
        self.exit
    }

    /// Traps at an instruction. An address that is part of the trap is in the scratch register, a
    /// length in `rdx`.
    pub(super) fn trap(&mut self, asm: &mut Asm, insn: u32, code: TrapCode) {
        self.trap.is_used = true;
        asm.mov_imm(Gpr::Rax, insn.into());
        asm.mov_imm(Gpr::Rcx, (code as u32).into());
        asm.jmp(self.trap.label);
    }

    /// Asks for fuel. Unequal, as flags say, means that there is none.
    pub(super) fn refuel(&mut self, asm: &mut Asm) {
        self.refuel.call(asm);
    }

    /// Asks what the scratch register means: it becomes the address of a function or 0.
    pub(super) fn resolve(&mut self, asm: &mut Asm) {
        self.resolve.call(asm);
    }

    /// Loads so many bytes from the packet at the offset in the scratch register, which becomes 1
    /// outside the packet, else 0. Unequal, as flags say, means a trap.
    pub(super) fn load_packet(&mut self, asm: &mut Asm, len: u32) {
        asm.load(Bits::B64, STATE, STATE_WORD);
        asm.store_imm(Bits::B64, state_field(STATE, offset::SITE), len as i32);
        self.load_packet.call(asm);
    }

    /// The pieces that the program uses.
    pub(super) fn pieces(&self, asm: &mut Asm, source: &Source<'_>) {
        if self.trap.is_used {
            self.trap_piece(asm);
        }
        if self.refuel.is_used {
            asm.bind(self.refuel.label);
            slow_call(asm, offset::REFUEL, |_| {}, |_| {});
        }
        if self.resolve.is_used {
            asm.bind(self.resolve.label);
            let arguments = |asm: &mut Asm| {
                asm.mov(Bits::B64, Gpr::Rdi, SCRATCH);
                asm.mov_imm(Gpr::Rsi, source.site);
            };
            let results = |asm: &mut Asm| asm.mov(Bits::B64, slow_slot(SCRATCH), Gpr::Rax);
            slow_call(asm, offset::RESOLVE, arguments, results);
        }
        if self.load_packet.is_used {
            asm.bind(self.load_packet.label);
            let arguments = |asm: &mut Asm| {
                asm.load(Bits::B64, Gpr::Rsi, state_field(STATE, offset::SITE));
                asm.mov(Bits::B64, Gpr::Rdi, SCRATCH);
            };
            let results = |asm: &mut Asm| {
                asm.mov(Bits::B64, slow_slot(SCRATCH), Gpr::Rax);
                asm.load(Bits::B64, Gpr::Rax, state_field(STATE, offset::R0));
                asm.mov(Bits::B64, slow_slot(Gpr::Rax), Gpr::Rax);
            };
            slow_call(asm, offset::LOAD_PACKET, arguments, results);
        }
    }

    fn trap_piece(&self, asm: &mut Asm) {
        asm.bind(self.trap.label);
        asm.load(Bits::B64, STATE, STATE_WORD);
        asm.mov(Bits::B32, state_field(STATE, offset::TRAP_INSN), Gpr::Rax);
        asm.mov(Bits::B32, state_field(STATE, offset::TRAP_CODE), Gpr::Rcx);
        asm.mov(Bits::B32, state_field(STATE, offset::TRAP_ADDR), SCRATCH);
        asm.mov(Bits::B32, state_field(STATE, offset::TRAP_LEN), Gpr::Rdx);
        asm.lea_label(Gpr::Rax, self.trap.label);
        asm.mov(Bits::B64, state_field(STATE, offset::TRAP_PLACE), Gpr::Rax);
        asm.jmp(self.exit);
    }
}

/// The registers of the first function at its start, given the register of the state pointer:
/// fuel and arguments. That register may be the one of `r1`.
fn first_registers(asm: &mut Asm, (source, flow): (&Source<'_>, &Flow), state: Gpr) {
    let wanted = flow.functions[0].live_in;
    if source.metered {
        asm.load(Bits::B64, FUEL, state_field(state, offset::FUEL));
    }
    if wanted.has(Reg::R2) {
        asm.load(Bits::B64, gpr(Reg::R2), state_field(state, offset::ARGS + 8));
    }
    if wanted.has(Reg::R1) {
        asm.load(Bits::B64, gpr(Reg::R1), state_field(state, offset::ARGS));
    }
    if source.proof.is_none() {
        let undefined = RegSet::ARGUMENTS - RegSet::arguments(2);
        for reg in (wanted & undefined).iter() {
            asm.zero(gpr(reg));
        }
    }
}

/// Takes the state pointer from the stack and stores what the first function left.
fn results(asm: &mut Asm, source: &Source<'_>) {
    asm.pop(STATE);
    asm.mov(Bits::B64, state_field(STATE, offset::R0), Gpr::Rax);
    if source.metered {
        asm.mov(Bits::B64, state_field(STATE, offset::FUEL), FUEL);
    }
}

/// Returns to the host; the state pointer was taken from the stack.
fn leave(asm: &mut Asm, result: u64) {
    match result {
        0 => asm.zero(Gpr::Rax),
        _ => asm.mov_imm(Gpr::Rax, result),
    }
    asm.pop(WINDOW);
    asm.pop(Gpr::Rbp);
    asm.ret();
}

/// A piece that is called and calls a runtime function; every register but that of the state is
/// preserved. It returns with the zero flag set unless the function trapped.
fn slow_call(
    asm: &mut Asm,
    function: i32,
    arguments: impl FnOnce(&mut Asm),
    results: impl FnOnce(&mut Asm),
) {
    let state = Mem::at(Gpr::Rsp, 8);
    asm.load(Bits::B64, STATE, state);
    for reg in SLOW_SAVED {
        asm.mov(Bits::B64, slow_slot(reg), reg);
    }
    // In code that is not metered the register of the fuel may hold a value.
    asm.mov(Bits::B64, state_field(STATE, offset::FUEL), FUEL);
    arguments(asm);
    asm.mov(Bits::B64, Gpr::R9, STATE);
    // The return address of this piece leaves the stack between two multiples of 16.
    asm.alu_imm(Alu::Sub, Bits::B64, Gpr::Rsp, 8);
    asm.call_rm(state_field(Gpr::R9, function));
    asm.alu_imm(Alu::Add, Bits::B64, Gpr::Rsp, 8);
    asm.load(Bits::B64, STATE, state);
    results(asm);
    for reg in SLOW_SAVED {
        asm.load(Bits::B64, reg, slow_slot(reg));
    }
    asm.load(Bits::B64, FUEL, state_field(STATE, offset::FUEL));
    asm.alu_imm(Alu::Cmp, Bits::B64, state_field(STATE, offset::TRAPPED), 0);
    asm.ret();
}
