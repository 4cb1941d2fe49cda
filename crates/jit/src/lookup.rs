//! Which map or function a call of a helper means, as far as its block says so: for template
//! compilers, which know no values.

use skep_bpf::insn::{Callee, HelperId, Imm64, Insn, Reg, Src};
use skep_bpf::op::{AluOp, Width};
use skep_bpf::program::Pc;

use crate::flow::{Block, Flow};
use crate::source::{Lookup, Source};

/// How the element of the call at an index is looked up, if its map is known.
pub(crate) fn known(source: &Source<'_>, flow: &Flow, block: &Block, at: usize) -> Option<Lookup> {
    let Insn::Call { callee: Callee::Helper(HelperId::MAP_LOOKUP_ELEM) } = source.insns[at] else {
        return None;
    };
    number(source, flow, block, at, Reg::R1).and_then(|map| (source.lookup)(map))
}

/// The function that the call of a helper at an index names by its second argument, if its block
/// says which: its entry.
pub(crate) fn function(source: &Source<'_>, flow: &Flow, block: &Block, at: usize) -> Option<Pc> {
    number(source, flow, block, at, Reg::R2).and_then(|value| (source.function)(value))
}

/// The number that a register holds before an instruction, if it was loaded in the block.
fn number(source: &Source<'_>, flow: &Flow, block: &Block, at: usize, mut reg: Reg) -> Option<u64> {
    for index in (block.start as usize..at).rev() {
        if !flow.effects(index).writes.has(reg) {
            continue;
        }
        match source.insns[index] {
            Insn::LoadImm64 { imm: Imm64::Value(value), .. } => return Some(value),
            Insn::Alu { op: AluOp::Mov, width: Width::W64, src: Src::Reg(from), .. } => reg = from,
            _ => return None,
        }
    }
    None
}
