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

mod select;

mod stubs;

use self::emit::Frame;
use self::stubs::{Shared, Stub};
use super::Features;
use super::asm::{Asm, Bits, Gpr, Label, Mem};
use super::regs::{FUEL, STATE, WINDOW, gpr};
use crate::abi::offset;
use crate::code::{Access, Code, Place};
use crate::flow::{Flow, RegSet};
use crate::source::Source;
use crate::ssa::ir::Func;
use crate::ssa::{self, Passes};
use crate::{CompileError, CompileOptions};
use skep_bpf::insn::Reg;

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
    let mut asm = Asm::with_capacity(source.insns.len() * 8 + 512);
    let entries = flow.functions.iter().map(|_| asm.label()).collect();
    let shared = Shared::new(&mut asm);
    let mut compiler = Compiler {
        source,
        flow: &flow,
        features,
        contained: options.contained,
        passes: options.passes,
        asm,
        entries,
        shared,
        stubs: Vec::new(),
        code: Code::default(),
    };
    compiler.program()?;
    Ok(compiler.finish())
}

/// Functions start in a cache line of their own, so that what is aligned in them stays so.
const FUNCTION_ALIGNMENT: usize = 64;

struct Compiler<'a> {
    source: &'a Source<'a>,
    flow: &'a Flow,
    features: Features,
    contained: bool,
    passes: Passes,
    asm: Asm,
    entries: Vec<Label>,
    shared: Shared,
    stubs: Vec<Stub>,
    code: Code,
}

/// How far the code is.
#[derive(Clone, Copy, Debug)]
struct Mark {
    asm: super::asm::Mark,
    shared: Shared,
    stubs: usize,
    accesses: usize,
    places: usize,
}

impl Compiler<'_> {
    fn program(&mut self) -> Result<(), CompileError> {
        self.enter();
        let funcs = ssa::optimise(self.source, self.flow, self.passes);
        for (index, func) in funcs.into_iter().enumerate() {
            self.function(index, func)?;
            if self.asm.offset() > MAX_BYTES {
                return Err(CompileError::TooLarge { limit: MAX_BYTES });
            }
        }
        self.emit_stubs();
        Ok(())
    }

    fn function(&mut self, index: usize, mut func: Func) -> Result<(), CompileError> {
        ssa::prepare(&mut func, self.contained);
        let order = func.reverse_postorder();
        let machine = select::select(self.source, self.features, &func, &order);
        let output = allocate::allocate(&machine, self.source.metered)
            .map_err(|error| CompileError::Allocation { why: error.to_string() })?;
        self.place(Place::NONE);
        self.asm.align(FUNCTION_ALIGNMENT);
        self.asm.bind(self.entries[index]);
        emit::emit(self, &machine, &output);
        Ok(())
    }

    fn entry(&self, function: usize) -> Label {
        self.entries[function]
    }

    fn finish(mut self) -> Code {
        let offset = |asm: &Asm, label: Label| asm.offset_of(label).unwrap_or(0) as u32;
        self.code.fault_exit = offset(&self.asm, self.shared.exit);
        self.code.entries = self.entries.iter().map(|label| offset(&self.asm, *label)).collect();
        self.code.reads_stack = self.flow.reads_stack();
        self.code.bytes = self.asm.finish();
        self.code
    }

    /// How far the code is.
    fn mark(&self) -> Mark {
        Mark {
            asm: self.asm.mark(),
            shared: self.shared,
            stubs: self.stubs.len(),
            accesses: self.code.accesses.len(),
            places: self.code.places.len(),
        }
    }

    /// Forgets what was written since.
    fn reset(&mut self, mark: Mark) {
        self.asm.reset(mark.asm);
        self.shared = mark.shared;
        self.stubs.truncate(mark.stubs);
        self.code.accesses.truncate(mark.accesses);
        self.code.places.truncate(mark.places);
    }

    /// Notes where the code of an instruction starts.
    fn place(&mut self, insn: u32) {
        self.code.places.push(Place { offset: self.asm.offset() as u32, insn });
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

    /// The code of type [`crate::abi::Enter`].
    fn enter(&mut self) {
        let preserved = allocate::PRESERVED;
        let saved = |index: usize| Mem::at(STATE, offset::EXIT_SAVED + index as i32 * 8);
        self.place(Place::NONE);
        let asm = &mut self.asm;
        asm.endbr64();
        asm.push(Gpr::Rbp);
        asm.push(WINDOW);
        asm.push(Gpr::Rdi);
        asm.mov(Bits::B64, STATE, Gpr::Rdi);
        for (index, reg) in preserved.into_iter().enumerate() {
            asm.mov(Bits::B64, saved(index), reg);
        }
        asm.mov(Bits::B64, Mem::at(STATE, offset::EXIT_SP), Gpr::Rsp);
        asm.load(Bits::B64, WINDOW, Mem::at(STATE, offset::WINDOW));
        asm.load(Bits::B64, gpr(Reg::R10), Mem::at(STATE, offset::FRAME_TOP));
        if self.source.metered {
            asm.load(Bits::B64, FUEL, Mem::at(STATE, offset::FUEL));
        }
        asm.load(Bits::B64, gpr(Reg::R2), Mem::at(STATE, offset::ARGS + 8));
        asm.load(Bits::B64, gpr(Reg::R1), Mem::at(STATE, offset::ARGS));
        if self.source.proof.is_none() {
            let undefined = RegSet::ARGUMENTS - RegSet::arguments(2);
            for reg in (self.flow.functions[0].live_in & undefined).iter() {
                asm.zero(gpr(reg));
            }
        }
        asm.call(self.entries[0]);
        asm.pop(STATE);
        asm.mov(Bits::B64, Mem::at(STATE, offset::R0), Gpr::Rax);
        if self.source.metered {
            asm.mov(Bits::B64, Mem::at(STATE, offset::FUEL), FUEL);
        }
        asm.zero(Gpr::Rax);
        asm.pop(WINDOW);
        asm.pop(Gpr::Rbp);
        asm.ret();
        // The way out after a trap; the state is in the lowest word of the frame.
        asm.bind(self.shared.exit);
        asm.load(Bits::B64, STATE, Frame::state());
        asm.load(Bits::B64, Gpr::Rsp, Mem::at(STATE, offset::EXIT_SP));
        for (index, reg) in preserved.into_iter().enumerate() {
            asm.load(Bits::B64, reg, saved(index));
        }
        asm.mov_imm(Gpr::Rax, crate::abi::TRAPPED);
        asm.pop(STATE);
        asm.pop(WINDOW);
        asm.pop(Gpr::Rbp);
        asm.ret();
    }
}

#[cfg(test)]
mod tests;
