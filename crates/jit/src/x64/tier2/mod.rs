//! The optimising tier for x86-64: from SSA form to machine code.
//!
//! `select` chooses instructions on virtual registers, `allocate` has regalloc2 give them
//! machine registers, `layout` orders the blocks, `emit`, `calls` and `stubs` write them. The
//! convention at function entries and calls is the template tier's, so that code of both can
//! call and replace each other.

mod allocate;

mod calls;

mod emit;

mod inst;

mod layout;

mod lookup;

mod select;

mod stubs;

use self::stubs::Stub;
use super::Features;
use super::asm::{Asm, Label};
use super::host::Host;
use crate::code::{Access, Code, Place};
use crate::flow::Flow;
use crate::source::Source;
use crate::ssa::{self, Counts, Passes};
use crate::{CompileError, CompileOptions};

/// The most bytes of code: distances in it fit in 31 bits with room to spare.
const MAX_BYTES: usize = 1 << 30;

/// Compiles a program.
///
/// # Errors
///
/// If the code would be too large.
pub fn compile(
    source: &Source<'_>,
    features: Features,
    options: &CompileOptions,
) -> Result<Code, CompileError> {
    let flow = Flow::new(source);
    let mut asm = Asm::with_capacity(source.insns.len() * 8 + 512, flow.blocks.len() * 3);
    let entries = flow.functions.iter().map(|_| asm.label()).collect();
    let host = Host::new(&mut asm);
    let mut compiler = Compiler {
        source,
        flow: &flow,
        features,
        contained: options.contained,
        lists_places: options.places,
        passes: options.passes,
        asm,
        entries,
        host,
        stubs: Vec::new(),
        saves: false,
        code: Code::default(),
    };
    compiler.program()?;
    Ok(compiler.finish())
}

/// Functions start in a cache line of their own, so that what is aligned in them stays so.
const FUNCTION_ALIGNMENT: usize = 64;
/// So that the whole way in takes few cache lines.
const ENTRY_ALIGNMENT: usize = 32;

struct Compiler<'a> {
    source: &'a Source<'a>,
    flow: &'a Flow,
    features: Features,
    contained: bool,
    lists_places: bool,
    passes: Passes,
    asm: Asm,
    entries: Vec<Label>,
    host: Host,
    stubs: Vec<Stub>,
    /// Whether a function changes registers that the host's convention preserves.
    saves: bool,
    code: Code,
}

/// How far the code is.
#[derive(Clone, Copy, Debug)]
struct Mark {
    asm: super::asm::Mark,
    host: Host,
    stubs: usize,
    accesses: usize,
    places: usize,
}

impl Compiler<'_> {
    fn program(&mut self) -> Result<(), CompileError> {
        let Features { popcnt, lzcnt, bmi1, .. } = self.features;
        let counts = Counts { ones: popcnt, leading: lzcnt, trailing: bmi1 };
        let funcs = ssa::functions(self.source, self.flow, self.passes, counts);
        for (index, done) in funcs.into_iter().enumerate() {
            self.function(index, done)?;
            if self.asm.offset() > MAX_BYTES {
                return Err(CompileError::TooLarge { limit: MAX_BYTES });
            }
        }
        self.enter();
        self.emit_stubs();
        Ok(())
    }

    fn function(&mut self, index: usize, done: ssa::Optimised) -> Result<(), CompileError> {
        let func = done.prepare(self.contained);
        let order = func.reverse_postorder();
        let machine = select::select(self.source, self.features, &func, &order);
        let output = allocate::allocate(&machine, self.source.metered)
            .map_err(|error| CompileError::Allocation { why: error.to_string() })?;
        self.source.check_frame(output.num_spillslots)?;
        self.place(Place::NONE);
        self.asm.align(FUNCTION_ALIGNMENT);
        self.asm.bind(self.entries[index]);
        // Tail calls, callbacks and calls through registers come by indirect branches.
        self.asm.endbr64();
        emit::emit(self, &machine, &output);
        Ok(())
    }

    fn entry(&self, function: usize) -> Label {
        self.entries[function]
    }

    fn finish(mut self) -> Code {
        let offset = |asm: &Asm, label: Label| asm.offset_of(label).unwrap_or(0) as u32;
        self.code.fault_exit = offset(&self.asm, self.host.exit());
        self.code.entries = self.entries.iter().map(|label| offset(&self.asm, *label)).collect();
        self.code.reads_stack = self.flow.reads_stack();
        self.code.bytes = self.asm.finish();
        self.code
    }

    /// How far the code is.
    fn mark(&self) -> Mark {
        Mark {
            asm: self.asm.mark(),
            host: self.host,
            stubs: self.stubs.len(),
            accesses: self.code.accesses.len(),
            places: self.code.places.len(),
        }
    }

    /// Forgets what was written since.
    fn reset(&mut self, mark: Mark) {
        self.asm.reset(mark.asm);
        self.host = mark.host;
        self.stubs.truncate(mark.stubs);
        self.code.accesses.truncate(mark.accesses);
        self.code.places.truncate(mark.places);
    }

    /// Notes where the code of an instruction starts.
    fn place(&mut self, insn: u32) {
        if self.lists_places {
            self.code.places.push(Place { offset: self.asm.offset() as u32, insn });
        }
    }

    /// Notes an access that the next instruction makes.
    fn access(&mut self, insn: u32, reg: u8, disp: i32, len: u32, write: bool) {
        self.code.accesses.push(Access {
            offset: self.asm.offset() as u32,
            insn,
            disp,
            reg,
            len: len as u8,
            write: write.into(),
            host: 0,
        });
    }

    /// The code of type [`crate::abi::Enter`]. It comes last, when it is known whether a trap can
    /// leave preserved registers changed.
    fn enter(&mut self) {
        self.place(Place::NONE);
        self.asm.align(ENTRY_ALIGNMENT);
        self.code.enter = self.asm.offset() as u32;
        let keeps = self.saves || self.flow.functions.iter().any(|function| function.nests);
        let program = (self.source, self.flow);
        self.host.enter(&mut self.asm, program, self.entries[0], keeps);
        // Functions that call back nest, so that registers are kept.
        if keeps && self.source.has_callbacks() {
            self.code.callback = Some(self.asm.offset() as u32);
            Host::callback(&mut self.asm);
        }
    }
}

#[cfg(test)]
mod tests;
