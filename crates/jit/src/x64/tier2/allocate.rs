//! What the register allocator (regalloc2) sees of a function.

use regalloc2::{
    Block, Inst as Index, InstRange, MachineEnv, Operand, Output, PRegSet, RegAllocError, RegClass,
    RegallocOptions, VReg,
};

use super::inst::Inst;
use super::select::{Machine, preg};
use crate::ssa::ir::Target;
use crate::x64::asm::Gpr;
use crate::x64::regs::PRESERVED;

/// The registers that a call may change.
const CALLER_SAVED: [Gpr; 9] =
    [Gpr::Rax, Gpr::Rcx, Gpr::Rdx, Gpr::Rsi, Gpr::Rdi, Gpr::R8, Gpr::R9, Gpr::R10, Gpr::R11];

fn set(regs: &[Gpr]) -> PRegSet {
    let mut set = PRegSet::empty();
    for reg in regs {
        set.add(preg(*reg));
    }
    set
}

/// Allocates registers. In metered code one holds the fuel.
pub(super) fn allocate(machine: &Machine, metered: bool) -> Result<Output, RegAllocError> {
    let mut preferred = set(&CALLER_SAVED);
    if metered {
        preferred.remove(preg(Gpr::R9));
    }
    let mut others = set(&PRESERVED);
    if !machine.uses_frame() {
        others.add(preg(Gpr::Rbp));
    }
    let none = PRegSet::empty();
    let env = MachineEnv {
        preferred_regs_by_class: [preferred, none, none],
        non_preferred_regs_by_class: [others, none, none],
        scratch_by_class: [None, None, None],
        fixed_stack_slots: Vec::new(),
    };
    let view = View { machine, metered };
    regalloc2::run(&view, &env, &RegallocOptions::default())
}

struct View<'a> {
    machine: &'a Machine,
    metered: bool,
}

impl View<'_> {
    fn call_clobbers(&self, target: Target) -> PRegSet {
        let mut clobbers = match target {
            // A piece of code that saves what calls may change.
            Target::Packet(_) => set(&[Gpr::R10, Gpr::R11]),
            Target::Helper(_)
            | Target::CallBack(_)
            | Target::Lookup(_)
            | Target::Local(_)
            | Target::Register
            | Target::TailCall => {
                let mut all = set(&CALLER_SAVED);
                all.remove(preg(Gpr::Rax));
                all
            }
        };
        if self.metered {
            clobbers.remove(preg(Gpr::R9));
        }
        clobbers
    }
}

impl regalloc2::Function for View<'_> {
    fn num_insts(&self) -> usize {
        self.machine.insts.len()
    }

    fn num_blocks(&self) -> usize {
        self.machine.blocks.len()
    }

    fn entry_block(&self) -> Block {
        Block::new(0)
    }

    fn block_insns(&self, block: Block) -> InstRange {
        self.machine.blocks.range(block.index())
    }

    fn block_succs(&self, block: Block) -> &[Block] {
        self.machine.blocks.succs(block.index())
    }

    fn block_preds(&self, block: Block) -> &[Block] {
        self.machine.blocks.preds(block.index())
    }

    fn block_params(&self, block: Block) -> &[VReg] {
        self.machine.blocks.params(block.index())
    }

    fn is_ret(&self, inst: Index) -> bool {
        matches!(self.machine.insts[inst.index()].inst, Inst::Return | Inst::Trap(_))
    }

    fn is_branch(&self, inst: Index) -> bool {
        matches!(self.machine.insts[inst.index()].inst, Inst::Branch(..) | Inst::Jump)
    }

    fn branch_blockparams(&self, block: Block, _inst: Index, _successor: usize) -> &[VReg] {
        self.machine.blocks.args(block.index())
    }

    fn inst_operands(&self, inst: Index) -> &[Operand] {
        let (start, end) = self.machine.insts[inst.index()].operands;
        &self.machine.operands[start as usize..end as usize]
    }

    fn inst_clobbers(&self, inst: Index) -> PRegSet {
        match self.machine.insts[inst.index()].inst {
            Inst::Call(site) => self.call_clobbers(self.machine.calls[site as usize].target),
            Inst::ChargeAndCheck(_) => set(&[Gpr::R11]),
            Inst::MulHigh => set(&[Gpr::Rax]),
            Inst::Divide { op, .. } => {
                use crate::ssa::ir::Bin;
                let other = if matches!(op, Bin::Div | Bin::Sdiv) { Gpr::Rdx } else { Gpr::Rax };
                set(&[other])
            }
            _ => PRegSet::empty(),
        }
    }

    fn num_vregs(&self) -> usize {
        self.machine.vregs
    }

    fn spillslot_size(&self, _class: RegClass) -> usize {
        1
    }
}
