//! What the register allocator (regalloc2) sees of a function.

use regalloc2::{
    Block, Inst as Index, InstRange, MachineEnv, Operand, Output, PRegSet, RegAllocError, RegClass,
    RegallocOptions, VReg,
};

use super::inst::Inst;
use super::select::{Machine, preg};
use crate::a64::encode::{Gpr, x};

/// The registers that a function preserves if it uses them.
pub(super) const PRESERVED: [Gpr; 5] = [x(19), x(20), x(21), x(22), x(23)];

/// The registers that a call may change. `x9` to `x12` are the emitter's.
pub(super) const CALLER_SAVED: [Gpr; 12] =
    [x(0), x(1), x(2), x(3), x(4), x(5), x(6), x(7), x(8), x(13), x(14), x(15)];

fn set(regs: &[Gpr]) -> PRegSet {
    let mut set = PRegSet::empty();
    for reg in regs {
        set.add(preg(*reg));
    }
    set
}

/// Allocates registers.
pub(super) fn allocate(machine: &Machine) -> Result<Output, RegAllocError> {
    let none = PRegSet::empty();
    let env = MachineEnv {
        preferred_regs_by_class: [set(&CALLER_SAVED), none, none],
        non_preferred_regs_by_class: [set(&PRESERVED), none, none],
        scratch_by_class: [None, None, None],
        fixed_stack_slots: Vec::new(),
    };
    regalloc2::run(&View(machine), &env, &RegallocOptions::default())
}

struct View<'a>(&'a Machine);

impl regalloc2::Function for View<'_> {
    fn num_insts(&self) -> usize {
        self.0.insts.len()
    }

    fn num_blocks(&self) -> usize {
        self.0.blocks.len()
    }

    fn entry_block(&self) -> Block {
        Block::new(0)
    }

    fn block_insns(&self, block: Block) -> InstRange {
        self.0.blocks.range(block.index())
    }

    fn block_succs(&self, block: Block) -> &[Block] {
        self.0.blocks.succs(block.index())
    }

    fn block_preds(&self, block: Block) -> &[Block] {
        self.0.blocks.preds(block.index())
    }

    fn block_params(&self, block: Block) -> &[VReg] {
        self.0.blocks.params(block.index())
    }

    fn is_ret(&self, inst: Index) -> bool {
        matches!(self.0.insts[inst.index()].inst, Inst::Return | Inst::Trap(_))
    }

    fn is_branch(&self, inst: Index) -> bool {
        matches!(self.0.insts[inst.index()].inst, Inst::Branch(_) | Inst::Jump)
    }

    fn branch_blockparams(&self, block: Block, _inst: Index, _successor: usize) -> &[VReg] {
        self.0.blocks.args(block.index())
    }

    fn inst_operands(&self, inst: Index) -> &[Operand] {
        let (start, end) = self.0.insts[inst.index()].operands;
        &self.0.operands[start as usize..end as usize]
    }

    fn inst_clobbers(&self, inst: Index) -> PRegSet {
        let index = inst.index();
        if !matches!(self.0.insts[index].inst, Inst::Call(_)) {
            return PRegSet::empty();
        }
        let mut clobbers = set(&CALLER_SAVED);
        // The result is no clobber; it is the first operand.
        let (start, _) = self.0.insts[index].operands;
        if let regalloc2::OperandConstraint::FixedReg(result) =
            self.0.operands[start as usize].constraint()
        {
            clobbers.remove(result);
        }
        clobbers
    }

    fn num_vregs(&self) -> usize {
        self.0.vregs
    }

    fn spillslot_size(&self, _class: RegClass) -> usize {
        1
    }
}
