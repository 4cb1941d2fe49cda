//! The optimising tier for aarch64: from SSA form to machine code.
//!
//! `select` chooses instructions on virtual registers, `allocate` has regalloc2 give them machine
//! registers, `emit` and `calls` write them. The convention at function entries and calls is the
//! template tier's, so that code of both can call and replace each other. Every access extends
//! the low half of an address, so nothing else must truncate it.

mod allocate;

mod calls;

mod emit;

mod inst;

mod lookup;

mod select;

use regalloc2::Output;

use self::select::Machine;
use super::Features;
use super::asm::{Asm, Label, Reach, TooFar};
use crate::abi::TrapCode;
use crate::code::{Access, Code, Place};
use crate::flow::Flow;
use crate::source::Source;
use crate::ssa::{self, Counts};
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
    let mut functions = Vec::with_capacity(flow.functions.len());
    for done in ssa::functions(source, &flow, options.passes, Counts::ALL) {
        // Accesses truncate their addresses themselves.
        let func = done.prepare(false);
        let order = func.reverse_postorder();
        let machine = select::select(source, &func, &order);
        let output = allocate::allocate(&machine)
            .map_err(|error| CompileError::Allocation { why: error.to_string() })?;
        source.check_frame(output.num_spillslots)?;
        functions.push((machine, output));
    }
    let words: usize = functions.iter().map(|(machine, _)| machine.insts.len() * 2 + 50).sum();
    let mut reach = match words * 4 {
        0..0x8000 => Reach::BitTest,
        0x8000..0x10_0000 => Reach::Branch,
        _ => Reach::Jump,
    };
    loop {
        let compiler = Compiler::new(source, &flow, features, options, Asm::new(words, reach));
        match compiler.program(&functions) {
            Ok(code) => return Ok(code),
            Err(TooFar) => {
                let limit = LIMIT_BYTES;
                reach = reach.next().ok_or(CompileError::TooLarge { limit })?;
            }
        }
    }
}

/// Code in the making.
struct Compiler<'a> {
    source: &'a Source<'a>,
    flow: &'a Flow,
    features: Features,
    asm: Asm,
    /// The first of the functions' labels.
    functions: Label,
    trap: Label,
    refuel: Label,
    stubs: Vec<Stub>,
    accesses: Vec<Access>,
    lists_places: bool,
    places: Vec<Place>,
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
    Refuel { back: Label },
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
    ) -> Self {
        let functions = asm.labels(flow.functions.len());
        let (trap, refuel) = (asm.label(), asm.label());
        Compiler {
            source,
            flow,
            features,
            asm,
            functions,
            trap,
            refuel,
            stubs: Vec::new(),
            accesses: Vec::new(),
            lists_places: options.places,
            places: Vec::new(),
        }
    }

    fn program(mut self, functions: &[(Machine, Output)]) -> Result<Code, TooFar> {
        self.place(Place::NONE);
        let enter = self.asm.enter(self.functions);
        let callback = self.source.has_callbacks().then(|| self.asm.callback());
        let mut entries = Vec::with_capacity(functions.len());
        for (index, (machine, output)) in functions.iter().enumerate() {
            self.place(Place::NONE);
            entries.push(self.asm.offset());
            self.asm.bind(self.functions.after(index));
            emit::emit(&mut self, machine, output);
        }
        self.place(Place::NONE);
        let refuels = self.stubs.iter().any(|stub| matches!(stub.kind, StubKind::Refuel { .. }));
        for stub in std::mem::take(&mut self.stubs) {
            self.asm.bind(stub.label);
            match stub.kind {
                StubKind::Refuel { back } => self.refuel_stub(stub.insn, back),
                StubKind::Trap(code) => self.asm.trap_stub(self.trap, stub.insn, code),
                StubKind::Misaligned { code, bytes } => {
                    self.asm.misaligned_stub(self.trap, stub.insn, code, bytes);
                }
            }
        }
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

    /// Notes where the code of an instruction starts.
    fn place(&mut self, insn: u32) {
        if self.lists_places {
            self.places.push(Place { offset: self.asm.offset(), insn });
        }
    }

    fn stub(&mut self, insn: u32, kind: StubKind) -> Label {
        let label = self.asm.label();
        self.stubs.push(Stub { label, insn, kind });
        label
    }
}
