//! Calls: functions of the program, helpers, tail calls, deprecated packet loads.

use skep_bpf::insn::{Callee, HelperId, PacketIndex, PacketSize, Reg};
use skep_bpf::program::Pc;

use super::Compiler;
use super::stubs::StubKind;
use crate::abi::{FRAME_BYTES, TrapCode, offset};
use crate::flow::RegSet;
use crate::lookup;
use crate::source::{Binding, CALLING_BACK};
use crate::x64::asm::{Alu, Bits, Cc, Gpr, Label, Mem};
use crate::x64::host::{Host, STATE_WORD, state_field};
use crate::x64::regs::{FUEL, SCRATCH, STATE, gpr};

/// The sixth argument of C functions.
const SIXTH: Gpr = Gpr::R9;

impl Compiler<'_> {
    pub(super) fn call(&mut self, at: usize, block: usize, callee: Callee<Pc>) {
        match callee {
            Callee::Local(entry) => self.call_local(at, entry),
            Callee::Reg(reg) => self.call_register(at, reg),
            Callee::Helper(HelperId::TAIL_CALL) => self.tail_call(at),
            Callee::Helper(id) => {
                let block = self.flow.blocks[block];
                if CALLING_BACK.contains(&id) {
                    // Whether the fuel suffices is asked when a function is called.
                    self.pay(self.debt(at) as i32 + 1);
                }
                let function = if id == HelperId::LOOP && self.source.calls_back(id) {
                    lookup::function(self.source, self.flow, &block, at)
                } else {
                    None
                };
                let lookup = lookup::known(self.source, self.flow, &block, at);
                match (function, lookup) {
                    (Some(entry), _) => self.repeat(at, entry),
                    (None, Some(lookup)) => self.lookup(at, lookup),
                    (None, None) => self.call_helper(at, (self.source.helper)(id)),
                }
            }
            Callee::Kfunc { .. } => {
                let trap = self.trap(TrapCode::KernelFunction, at);
                self.asm.jmp(trap);
            }
        }
        self.truncated = RegSet::EMPTY;
        self.zero(self.flow.zeroed_after(at));
    }

    /// Pays for everything up to and including a call, and asks for fuel.
    fn pay_for_call(&mut self, at: usize) {
        if !self.source.metered {
            return;
        }
        self.pay(self.debt(at) as i32 + 1);
        let resume = self.asm.label();
        let stub = self.stub(at, StubKind::Refuel { resume, debt: 0, branch: None });
        self.asm.jcc(Cc::S, stub);
        self.asm.bind(resume);
    }

    fn call_local(&mut self, at: usize, entry: Pc) {
        // Every call leads to the start of a function.
        let callee = self.flow.function_at(entry).unwrap_or(0);
        self.pay_for_call(at);
        self.enter_frame(at);
        self.asm.call(self.first_entry.nth(callee));
        self.leave_frame();
    }

    /// Moves the frame pointer down, with the state pointer where callees expect it.
    pub(super) fn enter_frame(&mut self, at: usize) {
        let frame_top = gpr(Reg::R10);
        let too_deep = self.trap(TrapCode::CallDepth, at);
        self.asm.load(Bits::B64, STATE, STATE_WORD);
        let lowest = state_field(STATE, offset::LOWEST_FRAME);
        self.asm.alu_from(Alu::Cmp, Bits::B32, frame_top, lowest);
        self.asm.jcc(Cc::E, too_deep);
        self.asm.alu_imm(Alu::Sub, Bits::B32, frame_top, FRAME_BYTES as i32);
    }

    pub(super) fn leave_frame(&mut self) {
        self.asm.alu_imm(Alu::Add, Bits::B32, gpr(Reg::R10), FRAME_BYTES as i32);
    }

    /// Calls a C function, whose arguments are in place.
    pub(super) fn call_plain(&mut self, address: u64) {
        self.keep_fuel();
        self.asm.load(Bits::B64, SIXTH, STATE_WORD);
        self.asm.mov_imm(Gpr::Rax, address);
        self.asm.call_rm(Gpr::Rax);
        self.fetch_fuel();
    }

    fn call_helper(&mut self, at: usize, binding: Binding) {
        match binding {
            Binding::Plain { address, .. } => self.call_plain(address),
            Binding::CallsBack { site, .. } => {
                Host::call_back(&mut self.asm, site, self.source.metered);
                let trap = self.trap(TrapCode::Runtime, at);
                self.asm.jcc(Cc::Ne, trap);
            }
            Binding::Generic { site, .. } => {
                self.keep_fuel();
                self.asm.load(Bits::B64, SIXTH, STATE_WORD);
                self.asm.mov_imm(Gpr::Rax, site);
                self.asm.mov(Bits::B64, state_field(SIXTH, offset::SITE), Gpr::Rax);
                self.asm.call_rm(state_field(SIXTH, offset::HELPER));
                self.ask_for_trap(at);
                self.fetch_fuel();
            }
        }
    }

    fn keep_fuel(&mut self) {
        if self.source.metered {
            let slot = self.frame.fuel();
            self.asm.mov(Bits::B64, slot, FUEL);
        }
    }

    fn fetch_fuel(&mut self) {
        if self.source.metered {
            let slot = self.frame.fuel();
            self.asm.load(Bits::B64, FUEL, slot);
        }
    }

    /// After a runtime function.
    fn ask_for_trap(&mut self, at: usize) {
        let trap = self.trap(TrapCode::Runtime, at);
        self.asm.load(Bits::B64, STATE, STATE_WORD);
        self.asm.alu_imm(Alu::Cmp, Bits::B64, state_field(STATE, offset::TRAPPED), 0);
        self.asm.jcc(Cc::Ne, trap);
    }

    fn call_register(&mut self, at: usize, reg: Reg) {
        let (is_function, done) = (self.asm.label(), self.asm.label());
        self.asm.mov(Bits::B64, SCRATCH, gpr(reg));
        self.host.resolve(&mut self.asm);
        self.asm.test(Bits::B64, SCRATCH, SCRATCH);
        self.asm.jcc(Cc::Ne, is_function);
        // A helper by its number, or a trap. No fuel is asked for.
        self.pay(self.debt(at) as i32 + 1);
        self.keep_fuel();
        self.asm.load(Bits::B64, SIXTH, STATE_WORD);
        self.asm.call_rm(state_field(SIXTH, offset::NUMBERED));
        self.ask_for_trap(at);
        self.fetch_fuel();
        self.asm.jmp(done);
        self.asm.bind(is_function);
        self.pay_for_call(at);
        self.enter_frame(at);
        self.asm.call_rm(SCRATCH);
        self.leave_frame();
        self.asm.bind(done);
    }

    /// Goes on in another program if there is one: its frame takes the place of this one.
    fn tail_call(&mut self, at: usize) {
        let debt = self.debt(at) + 1;
        if self.source.metered {
            let resume = self.asm.label();
            let stub = self.stub(at, StubKind::Refuel { resume, debt, branch: None });
            self.asm.alu_imm(Alu::Cmp, Bits::B64, FUEL, debt as i32);
            self.asm.jcc(Cc::L, stub);
            self.asm.bind(resume);
        }
        let failed = self.asm.label();
        self.keep_fuel();
        self.asm.load(Bits::B64, SIXTH, STATE_WORD);
        self.asm.mov_imm(Gpr::Rax, self.source.site);
        self.asm.mov(Bits::B64, state_field(SIXTH, offset::SITE), Gpr::Rax);
        self.asm.call_rm(state_field(SIXTH, offset::TAIL_CALL));
        self.fetch_fuel();
        self.asm.load(Bits::B64, STATE, STATE_WORD);
        self.asm.test(Bits::B64, Gpr::Rax, Gpr::Rax);
        self.asm.jcc(Cc::E, failed);
        self.pay(debt as i32);
        self.asm.mov(Bits::B64, SCRATCH, Gpr::Rax);
        self.unwind();
        self.asm.load(Bits::B64, gpr(Reg::R1), state_field(STATE, offset::ARGS));
        self.zero(RegSet::ARGUMENTS - RegSet::of(Reg::R1));
        self.asm.jmp_rm(SCRATCH);
        self.asm.bind(failed);
        let trap = self.trap(TrapCode::Runtime, at);
        self.asm.alu_imm(Alu::Cmp, Bits::B64, state_field(STATE, offset::TRAPPED), 0);
        self.asm.jcc(Cc::Ne, trap);
        self.asm.load(Bits::B64, gpr(Reg::R0), state_field(STATE, offset::R0));
    }

    /// A load from the packet by its offset. Outside the packet the function returns 0.
    pub(super) fn load_packet(
        &mut self,
        at: usize,
        size: PacketSize,
        index: PacketIndex,
        imm: i32,
    ) {
        match index {
            PacketIndex::Absolute => self.asm.mov_imm(SCRATCH, (imm as u32).into()),
            PacketIndex::Indirect(reg) => {
                self.asm.lea(Bits::B32, SCRATCH, Mem::at(gpr(reg), imm));
            }
        }
        self.truncated = RegSet::EMPTY;
        self.host.load_packet(&mut self.asm, size.size().bytes());
        let trap = self.trap(TrapCode::Runtime, at);
        self.asm.jcc(Cc::Ne, trap);
        let inside: Label = self.asm.label();
        self.asm.test(Bits::B32, SCRATCH, SCRATCH);
        self.asm.jcc(Cc::E, inside);
        self.pay(self.debt(at) as i32 + 1);
        self.asm.zero(Gpr::Rax);
        self.unwind();
        self.asm.ret();
        self.asm.bind(inside);
    }
}
