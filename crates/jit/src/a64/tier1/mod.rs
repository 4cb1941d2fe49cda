//! The template compiler: every instruction by itself, registers where the convention has them.
//!
//! One pass over the program writes the code; branches name blocks. What is rarely executed
//! (fuel, traps) follows the functions. Nothing is known of values but that a 32-bit index is
//! extended by the access itself, so containment costs nothing here.

mod alu;

mod atomics;

mod calls;

mod control;

mod frame;

mod lookup;

mod memory;

use skep_bpf::insn::{Callee, Imm64, Insn};
use skep_bpf::op::Width;
use skep_bpf::program::Pc;

use super::Features;
use super::asm::{Asm, Label, Reach, TooFar};
use super::regs::{FUEL, SCRATCH, gpr};
use crate::abi::TrapCode;
use crate::code::{Access, Code, Place};
use crate::flow::{Block, Flow, FunctionFlow, pays};
use crate::source::Source;
use crate::{CompileError, CompileOptions};

/// The most code: what an unconditional branch reaches.
const LIMIT_BYTES: usize = 1 << 27;

/// Compiles a program.
pub(crate) fn compile(
    source: &Source<'_>,
    features: Features,
    options: &CompileOptions,
) -> Result<Code, CompileError> {
    let flow = Flow::new(source);
    // Four instructions for one is more than most programs need; a wrong guess is corrected.
    let words = source.insns.len() * 4 + 200;
    let mut reach = match words * 4 {
        0..0x8000 => Reach::BitTest,
        0x8000..0x10_0000 => Reach::Branch,
        _ => Reach::Jump,
    };
    loop {
        let compiler = Compiler::new(source, &flow, features, options, Asm::new(words, reach));
        match compiler.program() {
            Ok(code) => return Ok(code),
            Err(TooFar) => {
                let limit = LIMIT_BYTES;
                reach = reach.next().ok_or(CompileError::TooLarge { limit })?;
            }
        }
    }
}

/// Code in the making, and what its parts need of each other.
struct Compiler<'a> {
    source: &'a Source<'a>,
    flow: &'a Flow,
    features: Features,
    contained: bool,
    lists_places: bool,
    asm: Asm,
    /// The first of the blocks' labels.
    blocks: Label,
    /// The first of the functions' labels.
    functions: Label,
    /// Where all traps go on, with the instruction and the code in scratch registers.
    trap: Label,
    /// The routine that asks for fuel.
    refuel: Label,
    stubs: Vec<Stub>,
    accesses: Vec<Access>,
    places: Vec<Place>,
    /// Instructions executed but not yet paid for.
    debt: u32,
    /// The function that is compiled.
    function: FunctionFlow,
    /// The instruction that is compiled.
    at: usize,
}

/// Code that is rarely executed, written after the functions.
#[derive(Clone, Copy)]
struct Stub {
    label: Label,
    insn: u32,
    kind: StubKind,
}

#[derive(Clone, Copy)]
enum StubKind {
    /// Asks for fuel and goes on.
    Refuel {
        back: Label,
        /// What is paid for the question and then paid back.
        advance: u32,
    },
    /// Traps.
    Trap(TrapCode),
    /// Traps for the host address in the first scratch register.
    Misaligned { code: TrapCode, bytes: u32 },
}

impl<'a> Compiler<'a> {
    fn new(
        source: &'a Source<'a>,
        flow: &'a Flow,
        features: Features,
        options: &CompileOptions,
        mut asm: Asm,
    ) -> Compiler<'a> {
        let blocks = asm.labels(flow.blocks.len());
        let functions = asm.labels(flow.functions.len());
        let (trap, refuel) = (asm.label(), asm.label());
        Compiler {
            source,
            flow,
            features,
            contained: options.contained,
            lists_places: options.places,
            asm,
            blocks,
            functions,
            trap,
            refuel,
            stubs: Vec::new(),
            accesses: Vec::with_capacity(flow.accesses),
            places: Vec::new(),
            debt: 0,
            function: flow.functions[0],
            at: 0,
        }
    }

    fn program(mut self) -> Result<Code, TooFar> {
        self.place(Place::NONE);
        let enter = self.asm.enter(self.functions);
        let callback = self.source.has_callbacks().then(|| self.asm.callback());
        let mut entries = Vec::with_capacity(self.flow.functions.len());
        for (index, function) in self.flow.functions.iter().enumerate() {
            self.function = *function;
            self.place(Place::NONE);
            entries.push(self.asm.offset());
            self.asm.bind(self.functions.after(index));
            self.prologue();
            for block in function.blocks.0..function.blocks.1 {
                self.block(block as usize);
            }
        }
        self.place(Place::NONE);
        let refuels = self.stubs.iter().any(|stub| matches!(stub.kind, StubKind::Refuel { .. }));
        self.stubs();
        if refuels {
            self.refuel_routine();
        }
        let fault_exit = self.asm.trap_exit(self.trap);
        let Compiler { asm, accesses, places, .. } = self;
        let words = asm.finish()?;
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let reads_stack = self.flow.reads_stack();
        Ok(Code { bytes, enter, callback, fault_exit, reads_stack, entries, accesses, places })
    }

    fn block(&mut self, index: usize) {
        let block = self.flow.blocks[index];
        self.asm.bind(self.blocks.after(index));
        if !block.is_reached {
            self.at = block.start as usize;
            self.place(block.start);
            return self.trap_always(TrapCode::Unreachable);
        }
        self.debt = block.fuel.debt;
        for index in block.range() {
            let insn = self.source.insns[index];
            self.at = index;
            self.place(index as u32);
            if self.source.metered {
                self.debt += 1;
            }
            let is_last = index + 1 == block.end as usize;
            match insn {
                Insn::Jump { .. } | Insn::Branch { .. } | Insn::MayGoto { .. } | Insn::Exit => {
                    self.leave_block(&insn, &block);
                }
                _ => {
                    self.insn(&insn, &block);
                    if pays(&insn) {
                        self.debt = 0;
                    }
                    if is_last {
                        self.pay(block.fuel.pay);
                    }
                }
            }
        }
    }

    /// An instruction that goes on to the next one.
    fn insn(&mut self, insn: &Insn<Pc>, block: &Block) {
        match *insn {
            Insn::Alu { op, width, dst, src } => self.alu(op, width, gpr(dst), src),
            Insn::Neg { width, dst } => self.negate(width, gpr(dst)),
            Insn::Movsx { op, dst, src } => self.sign_extend(op, gpr(dst), gpr(src)),
            Insn::Endian { op, bits, dst } => self.swap_bytes(op, bits, gpr(dst)),
            Insn::AddrSpaceCast { .. } => self.trap_always(TrapCode::AddressSpaceCast),
            Insn::LoadImm64 { dst, imm } => {
                // References were replaced by numbers before.
                let value = if let Imm64::Value(value) = imm { value } else { 0 };
                self.asm.set(gpr(dst), value);
            }
            Insn::Load { size, extend, dst, mem } => self.load(size, extend, dst, mem),
            Insn::Store { size, mem, src } => self.store(size, mem, src),
            Insn::Atomic { op, width, mem, src } => self.atomic(op, width, mem, src),
            Insn::LoadAcquire { size, dst, mem } => self.load_acquire(size, dst, mem),
            Insn::StoreRelease { size, mem, src } => self.store_release(size, mem, src),
            Insn::LoadPacket { size, index, imm } => self.load_packet(size, index, imm),
            Insn::Call { callee } => match callee {
                Callee::Local(entry) => self.call_local(entry),
                Callee::Reg(reg) => self.call_register(reg),
                Callee::Kfunc { .. } => self.trap_always(TrapCode::KernelFunction),
                Callee::Helper(id) => {
                    match crate::lookup::known(self.source, self.flow, block, self.at) {
                        Some(lookup) => self.lookup(lookup),
                        None => self.call_helper(id),
                    }
                }
            },
            Insn::Jump { .. } | Insn::Branch { .. } | Insn::MayGoto { .. } | Insn::Exit => {}
        }
    }

    /// The instruction that ends a block, with what is paid on its ways.
    fn leave_block(&mut self, insn: &Insn<Pc>, block: &Block) {
        let fuel = block.fuel;
        match *insn {
            Insn::Jump { target, .. } => {
                self.pay(fuel.pay);
                self.jump(target, fuel.check);
            }
            Insn::Branch { cond, width, dst, src, target } => {
                self.pay(fuel.pay);
                self.branch(cond, width, dst, src, (target, fuel.check));
                self.pay(fuel.pay_next);
            }
            Insn::MayGoto { target } => {
                self.may_goto(target, &fuel);
                self.pay(fuel.pay_next);
            }
            _ => {
                self.pay(fuel.pay);
                self.epilogue();
            }
        }
    }

    /// Notes that the code of an instruction starts here.
    fn place(&mut self, insn: u32) {
        if self.lists_places {
            self.places.push(Place { offset: self.asm.offset(), insn });
        }
    }

    /// Takes from the fuel, or gives back.
    fn pay(&mut self, amount: i32) {
        if amount != 0 {
            self.asm.add_number(Width::W64, FUEL, FUEL, -i64::from(amount), SCRATCH);
        }
    }

    /// Pays for everything up to the instruction that is compiled.
    fn pay_debt(&mut self) {
        self.pay(self.debt as i32);
    }

    /// A piece of code that is rarely executed.
    fn stub(&mut self, kind: StubKind) -> Label {
        let label = self.asm.label();
        self.stubs.push(Stub { label, insn: self.at as u32, kind });
        label
    }

    fn trap_always(&mut self, code: TrapCode) {
        let stub = self.stub(StubKind::Trap(code));
        self.asm.jump(stub);
    }
}
