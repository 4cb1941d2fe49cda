//! Calls: functions of the program, helpers, tail calls, deprecated packet loads. Arguments are in
//! their registers, and everything that a call may change is dead or spilled.

use skep_bpf::insn::Reg;
use skep_bpf::op::Size;
use skep_bpf::program::Pc;

use super::emit::Emitter;
use super::stubs::StubKind;
use crate::abi::{FRAME_BYTES, TrapCode, offset};
use crate::flow::RegSet;
use crate::source::Binding;
use crate::x64::asm::{Alu, Bits, Cc, Gpr, Mem};
use crate::x64::host::{Host, STATE_WORD};
use crate::x64::regs::{FUEL, SCRATCH, STATE, gpr};

/// The sixth argument of C functions.
const SIXTH: Gpr = Gpr::R9;

impl Emitter<'_, '_> {
    pub(super) fn call_local(&mut self, pc: u32, entry: Pc) {
        // Every call leads to the start of a function.
        let callee = self.compiler.flow.function_at(entry).unwrap_or(0);
        self.enter_frame(pc);
        let label = self.compiler.entry(callee);
        self.compiler.asm.call(label);
        self.leave_frame();
    }

    /// Moves the frame pointer down, with the state pointer where callees expect it.
    fn enter_frame(&mut self, pc: u32) {
        let frame_top = gpr(Reg::R10);
        self.compiler.asm.load(Bits::B64, STATE, STATE_WORD);
        // A proof says how deep calls are nested.
        if self.compiler.source.proof.is_none() {
            let too_deep = self.compiler.trap(TrapCode::CallDepth, pc);
            let lowest = Mem::at(STATE, offset::LOWEST_FRAME);
            self.compiler.asm.alu_from(Alu::Cmp, Bits::B32, frame_top, lowest);
            self.compiler.asm.jcc(Cc::E, too_deep);
        }
        self.compiler.asm.alu_imm(Alu::Sub, Bits::B32, frame_top, FRAME_BYTES as i32);
    }

    /// Traps if the frame so many below this one is the lowest that there may be.
    pub(super) fn check_depth(&mut self, pc: u32, levels: u32, temp: Gpr) {
        let too_deep = self.compiler.trap(TrapCode::CallDepth, pc);
        let asm = &mut self.compiler.asm;
        asm.load(Bits::B64, temp, STATE_WORD);
        asm.load(Bits::B64, temp, Mem::at(temp, offset::LOWEST_FRAME));
        if levels != 0 {
            asm.alu_imm(Alu::Add, Bits::B32, temp, (FRAME_BYTES * levels) as i32);
        }
        asm.alu(Alu::Cmp, Bits::B32, gpr(Reg::R10), temp);
        asm.jcc(Cc::E, too_deep);
    }

    fn leave_frame(&mut self) {
        self.compiler.asm.alu_imm(Alu::Add, Bits::B32, gpr(Reg::R10), FRAME_BYTES as i32);
    }

    fn keep_fuel(&mut self) {
        if self.compiler.source.metered {
            let slot = self.frame.fuel();
            self.compiler.asm.mov(Bits::B64, slot, FUEL);
        }
    }

    fn fetch_fuel(&mut self) {
        if self.compiler.source.metered {
            let slot = self.frame.fuel();
            self.compiler.asm.load(Bits::B64, FUEL, slot);
        }
    }

    /// Calls a C function, whose arguments are in place.
    pub(super) fn call_plain(&mut self, address: u64) {
        self.keep_fuel();
        self.compiler.asm.load(Bits::B64, SIXTH, STATE_WORD);
        self.compiler.asm.mov_imm(Gpr::Rax, address);
        self.compiler.asm.call_rm(Gpr::Rax);
        self.fetch_fuel();
    }

    pub(super) fn call_helper(&mut self, pc: u32, binding: Binding) {
        match binding {
            Binding::Plain { address, .. } => self.call_plain(address),
            Binding::CallsBack { site, .. } => {
                let metered = self.compiler.source.metered;
                Host::call_back(&mut self.compiler.asm, site, metered);
                let trap = self.compiler.trap(TrapCode::Runtime, pc);
                self.compiler.asm.jcc(Cc::Ne, trap);
            }
            Binding::Generic { site, .. } => {
                self.keep_fuel();
                self.compiler.asm.load(Bits::B64, SIXTH, STATE_WORD);
                self.compiler.asm.mov_imm(Gpr::Rax, site);
                self.compiler.asm.mov(Bits::B64, Mem::at(SIXTH, offset::SITE), Gpr::Rax);
                self.compiler.asm.call_rm(Mem::at(SIXTH, offset::HELPER));
                self.ask_for_trap(pc);
                self.fetch_fuel();
            }
        }
    }

    /// After a runtime function.
    fn ask_for_trap(&mut self, pc: u32) {
        let trap = self.compiler.trap(TrapCode::Runtime, pc);
        self.compiler.asm.load(Bits::B64, STATE, STATE_WORD);
        self.compiler.asm.alu_imm(Alu::Cmp, Bits::B64, Mem::at(STATE, offset::TRAPPED), 0);
        self.compiler.asm.jcc(Cc::Ne, trap);
    }

    /// What is called is in the scratch register; the fuel was paid.
    pub(super) fn call_register(&mut self, pc: u32) {
        let (is_function, done) = (self.compiler.asm.label(), self.compiler.asm.label());
        self.compiler.host.resolve(&mut self.compiler.asm);
        self.compiler.asm.test(Bits::B64, SCRATCH, SCRATCH);
        self.compiler.asm.jcc(Cc::Ne, is_function);
        // A helper by its number, or a trap. No fuel is asked for.
        self.keep_fuel();
        self.compiler.asm.load(Bits::B64, SIXTH, STATE_WORD);
        self.compiler.asm.call_rm(Mem::at(SIXTH, offset::NUMBERED));
        self.ask_for_trap(pc);
        self.fetch_fuel();
        self.compiler.asm.jmp(done);
        self.compiler.asm.bind(is_function);
        if self.compiler.source.metered {
            let resume = self.compiler.asm.label();
            let stub = self.compiler.stub(pc, StubKind::Refuel { resume });
            self.compiler.asm.test(Bits::B64, FUEL, FUEL);
            self.compiler.asm.jcc(Cc::S, stub);
            self.compiler.asm.bind(resume);
        }
        self.enter_frame(pc);
        self.compiler.asm.call_rm(SCRATCH);
        self.leave_frame();
        self.compiler.asm.bind(done);
    }

    /// Goes on in another program if there is one: its frame takes the place of this one. The
    /// fuel was paid.
    pub(super) fn tail_call(&mut self, pc: u32) {
        let site = self.compiler.source.site;
        let failed = self.compiler.asm.label();
        self.keep_fuel();
        self.compiler.asm.load(Bits::B64, SIXTH, STATE_WORD);
        self.compiler.asm.mov_imm(Gpr::Rax, site);
        self.compiler.asm.mov(Bits::B64, Mem::at(SIXTH, offset::SITE), Gpr::Rax);
        self.compiler.asm.call_rm(Mem::at(SIXTH, offset::TAIL_CALL));
        self.fetch_fuel();
        self.compiler.asm.load(Bits::B64, STATE, STATE_WORD);
        self.compiler.asm.test(Bits::B64, Gpr::Rax, Gpr::Rax);
        self.compiler.asm.jcc(Cc::E, failed);
        self.compiler.asm.mov(Bits::B64, SCRATCH, Gpr::Rax);
        self.unwind();
        let asm = &mut self.compiler.asm;
        asm.load(Bits::B64, gpr(Reg::R1), Mem::at(STATE, offset::ARGS));
        for reg in (RegSet::ARGUMENTS - RegSet::of(Reg::R1)).iter() {
            asm.zero(gpr(reg));
        }
        asm.jmp_rm(SCRATCH);
        asm.bind(failed);
        let trap = self.compiler.trap(TrapCode::Runtime, pc);
        let asm = &mut self.compiler.asm;
        asm.alu_imm(Alu::Cmp, Bits::B64, Mem::at(STATE, offset::TRAPPED), 0);
        asm.jcc(Cc::Ne, trap);
        asm.load(Bits::B64, gpr(Reg::R0), Mem::at(STATE, offset::R0));
    }

    /// A load from the packet at the offset in the scratch register. Outside the packet the value
    /// is one that no load gives.
    pub(super) fn load_packet(&mut self, pc: u32, size: Size) {
        self.compiler.host.load_packet(&mut self.compiler.asm, size.bytes());
        let trap = self.compiler.trap(TrapCode::Runtime, pc);
        let asm = &mut self.compiler.asm;
        asm.jcc(Cc::Ne, trap);
        // The piece leaves 1 in the scratch register outside the packet, else 0.
        asm.unary(crate::x64::asm::Unary::Neg, Bits::B64, SCRATCH);
        asm.alu(Alu::Or, Bits::B64, Gpr::Rax, SCRATCH);
    }
}
