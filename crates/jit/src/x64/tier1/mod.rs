//! The template tier: one pass over the program, a fixed sequence for each instruction.
//!
//! eBPF registers stay in their machine registers ([`super::regs`]); what is rare stands out of
//! line behind the program. Within a block the compiler remembers which registers have clear
//! upper halves, so that addresses need no truncation, and joins neighbouring instructions for
//! which the machine has one.

mod alu;

mod calls;

mod divide;

mod frame;

mod fuse;

mod jumps;

mod lookup;

mod magic;

mod memory;

mod repeat;

mod stubs;

use skep_bpf::insn::{Extend, Imm64, Insn, Reg};
use skep_bpf::op::Size;
use skep_bpf::program::Pc;

use self::frame::Frame;
use self::stubs::Stub;
use super::Features;
use super::asm::{Alu, Asm, Bits, Gpr, Label};
use super::host::Host;
use super::regs::{FUEL, gpr};
use crate::abi::TrapCode;
use crate::code::{Access, Code, Place};
use crate::flow::{Flow, RegSet, pays};
use crate::source::Source;
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
    let first_block = asm.label_range(flow.blocks.len());
    let entries = asm.label_range(flow.functions.len());
    let host = Host::new(&mut asm);
    let mut compiler = Compiler {
        source,
        flow: &flow,
        features,
        contained: options.contained,
        lists_places: options.places,
        asm,
        first_block,
        first_entry: entries,
        host,
        stubs: Vec::with_capacity(flow.blocks.len()),
        code: Code { accesses: Vec::with_capacity(flow.accesses), ..Code::default() },
        frame: Frame::default(),
        narrow: RegSet::EMPTY,
        truncated: RegSet::EMPTY,
        unpaid: 0,
    };
    compiler.program()?;
    Ok(compiler.finish())
}

struct Compiler<'a> {
    source: &'a Source<'a>,
    flow: &'a Flow,
    features: Features,
    contained: bool,
    lists_places: bool,
    asm: Asm,
    /// The label of the first block; those of the others follow.
    first_block: Label,
    /// The same of the functions' entries.
    first_entry: Label,
    host: Host,
    stubs: Vec<Stub>,
    code: Code,
    /// The frame of the function that is compiled.
    frame: Frame,
    /// The registers whose upper halves are known to be clear.
    narrow: RegSet,
    /// The register of which the scratch register holds the low half, if there is one.
    truncated: RegSet,
    /// How many instructions before an instruction of the block are not paid for, less its index.
    unpaid: u32,
}

fn bits(width: skep_bpf::op::Width) -> Bits {
    match width {
        skep_bpf::op::Width::W32 => Bits::B32,
        skep_bpf::op::Width::W64 => Bits::B64,
    }
}

impl Compiler<'_> {
    fn program(&mut self) -> Result<(), CompileError> {
        self.enter();
        for index in 0..self.flow.functions.len() {
            self.function(index)?;
        }
        self.emit_stubs();
        if self.asm.offset() > MAX_BYTES {
            return Err(CompileError::TooLarge { limit: MAX_BYTES });
        }
        Ok(())
    }

    fn finish(mut self) -> Code {
        let offset = |asm: &Asm, label: Label| asm.offset_of(label).unwrap_or(0) as u32;
        self.code.fault_exit = offset(&self.asm, self.host.exit());
        self.code.entries = (0..self.flow.functions.len())
            .map(|index| offset(&self.asm, self.first_entry.nth(index)))
            .collect();
        self.code.reads_stack = self.flow.reads_stack();
        self.code.bytes = self.asm.finish();
        self.code
    }

    fn function(&mut self, index: usize) -> Result<(), CompileError> {
        let function = self.flow.functions[index];
        self.place(Place::NONE);
        self.asm.align_after(ENDBR64_BYTES, 16);
        self.asm.bind(self.first_entry.nth(index));
        // Tail calls, callbacks and calls through registers come by indirect branches.
        self.asm.endbr64();
        self.prologue(index);
        self.forget();
        for block in function.blocks.0..function.blocks.1 {
            self.block(block as usize);
        }
        if self.asm.offset() > MAX_BYTES {
            return Err(CompileError::TooLarge { limit: MAX_BYTES });
        }
        Ok(())
    }

    /// Nothing is known of any register but the frame pointer.
    fn forget(&mut self) {
        self.narrow = RegSet::of(Reg::R10);
        self.truncated = RegSet::EMPTY;
    }

    fn block(&mut self, index: usize) {
        let block = self.flow.blocks[index];
        if block.is_target {
            self.forget();
        }
        if block.is_loop_head && block.is_reached {
            self.asm.align(LOOP_ALIGNMENT);
        }
        self.asm.bind(self.first_block.nth(index));
        self.unpaid = block.fuel.debt.wrapping_sub(block.start);
        if !block.is_reached {
            self.place(block.start);
            let trap = self.trap(TrapCode::Unreachable, block.start as usize);
            self.asm.jmp(trap);
            return;
        }
        let (start, end) = (block.start as usize, block.end as usize);
        let insns = self.source.insns;
        let mut at = start;
        while at < end {
            self.place(at as u32);
            if self.flow.may_join(at)
                && let Some(joined) = self.fuse(at, &insns[at..end])
            {
                for index in at..at + joined {
                    self.learn(index);
                }
                at += joined;
            } else {
                self.insn(at, index, &insns[at]);
                at += 1;
            }
        }
        let last = &self.source.insns[end - 1];
        if last.jump_target().is_none() && !matches!(last, Insn::Exit) {
            self.pay(block.fuel.pay);
        }
    }

    /// Notes where the code of an instruction starts.
    fn place(&mut self, insn: u32) {
        if self.lists_places {
            self.code.places.push(Place { offset: self.asm.offset() as u32, insn });
        }
    }

    /// How many instructions of the block before one are not paid for.
    fn debt(&self, at: usize) -> u32 {
        self.unpaid.wrapping_add(at as u32)
    }

    /// Takes an amount from the fuel. The sign flag is that of the rest, unless nothing is taken.
    fn pay(&mut self, amount: i32) {
        if self.source.metered && amount != 0 {
            self.asm.alu_imm(Alu::Sub, Bits::B64, FUEL, amount);
        }
    }

    /// Notes an access that the next instruction makes.
    #[inline]
    fn access(&mut self, insn: usize, reg: Gpr, disp: i32, len: u32, write: bool) {
        self.code.accesses.push(Access {
            offset: self.asm.offset() as u32,
            insn: insn as u32,
            disp,
            reg: reg.number(),
            len: len as u8,
            write: write.into(),
            host: 0,
        });
    }

    /// Updates what is known of registers by an instruction that was compiled.
    fn learn(&mut self, index: usize) {
        let insn = &self.source.insns[index];
        if let Insn::Alu { op, width, dst, src } = *insn {
            let is_narrow = alu::result_is_narrow(op, width, dst, src, self.narrow);
            return self.wrote(RegSet::of(dst), is_narrow);
        }
        let is_narrow = alu::gives_narrow(insn);
        self.wrote(self.flow.effects(index).writes, is_narrow);
    }

    /// Notes that registers were written, and whether their upper halves are clear.
    #[inline]
    fn wrote(&mut self, regs: RegSet, is_narrow: bool) {
        self.truncated = self.truncated - regs;
        self.narrow = if is_narrow { self.narrow | regs } else { self.narrow - regs };
    }

    fn zero(&mut self, regs: RegSet) {
        for reg in regs.iter() {
            self.asm.zero(gpr(reg));
        }
    }

    /// Compiles one instruction.
    #[inline(always)]
    fn insn(&mut self, at: usize, block: usize, insn: &Insn<Pc>) {
        match *insn {
            Insn::Alu { op, width, dst, src } => {
                self.alu(at, op, width, dst, src);
                let is_narrow = alu::result_is_narrow(op, width, dst, src, self.narrow);
                self.wrote(RegSet::of(dst), is_narrow);
            }
            Insn::LoadImm64 { dst, imm } => {
                // References were replaced by numbers.
                let value = if let Imm64::Value(value) = imm { value } else { 0 };
                self.load_number(dst, value);
                self.wrote(RegSet::of(dst), value >> 32 == 0);
            }
            Insn::Load { size, extend, dst, mem } => {
                self.load(at, size, extend, dst, mem);
                let is_narrow = extend == Extend::Zero && size != Size::Dw;
                self.wrote(RegSet::of(dst), is_narrow);
            }
            Insn::Store { size, mem, src } => self.store(at, size, mem, src),
            Insn::Branch { cond, width, dst, src, target } => {
                let branch = jumps::Branch { cond, bits: bits(width), dst, src };
                self.branch(at, block, branch, target);
            }
            _ => self.rare(at, block, insn),
        }
    }

    /// [`Compiler::insn`] of instructions of which there are few.
    #[inline(never)]
    fn rare(&mut self, at: usize, block: usize, insn: &Insn<Pc>) {
        match *insn {
            Insn::Jump { target, .. } => return self.jump(at, block, target),
            Insn::Exit => return self.exit(block),
            Insn::Call { callee } => {
                self.call(at, block, callee);
                if pays(insn) {
                    self.unpaid = (at as u32 + 1).wrapping_neg();
                }
                return self.wrote(RegSet::CALL, false);
            }
            Insn::Neg { width, dst } => {
                self.asm.unary(super::asm::Unary::Neg, bits(width), gpr(dst));
            }
            Insn::Movsx { op, dst, src } => self.movsx(op, dst, src),
            Insn::Endian { op, bits, dst } => self.endian(op, bits, dst),
            Insn::AddrSpaceCast { .. } => {
                let trap = self.trap(TrapCode::AddressSpaceCast, at);
                self.asm.jmp(trap);
            }
            Insn::Atomic { op, width, mem, src } => self.atomic(at, op, width, mem, src),
            Insn::LoadAcquire { size, dst, mem } => self.load_acquire(at, size, dst, mem),
            Insn::StoreRelease { size, mem, src } => self.store_release(at, size, mem, src),
            Insn::LoadPacket { size, index, imm } => self.load_packet(at, size, index, imm),
            Insn::MayGoto { target } => self.may_goto(at, block, target),
            // What `insn` knows.
            Insn::Alu { .. }
            | Insn::LoadImm64 { .. }
            | Insn::Load { .. }
            | Insn::Store { .. }
            | Insn::Branch { .. } => {}
        }
        self.learn(at);
    }

    fn block_label(&self, target: Pc) -> Label {
        self.first_block.nth(self.flow.block_at(target))
    }
}

/// Heads of loops start in a fetch window of their own.
const LOOP_ALIGNMENT: usize = 16;

/// The size of the landing pad before a function's code, which is what is aligned.
const ENDBR64_BYTES: usize = 4;
