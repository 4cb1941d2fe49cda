//! Which map a call of `bpf_map_lookup_elem` means, as far as its block says so: for template
//! compilers, which know no values.

use skep_bpf::insn::{Callee, HelperId, Imm64, Insn, Reg, Src};
use skep_bpf::op::{AluOp, Width};

use crate::flow::{Block, Flow};
use crate::source::{Lookup, Source};

/// How the element of the call at an index is looked up, if its map is known.
pub(crate) fn known(source: &Source<'_>, flow: &Flow, block: &Block, at: usize) -> Option<Lookup> {
    let Insn::Call { callee: Callee::Helper(HelperId::MAP_LOOKUP_ELEM) } = source.insns[at] else {
        return None;
    };
    let mut reg = Reg::R1;
    for index in (block.start as usize..at).rev() {
        if !flow.effects(index).writes.has(reg) {
            continue;
        }
        match source.insns[index] {
            Insn::LoadImm64 { imm: Imm64::Value(map), .. } => return (source.lookup)(map),
            Insn::Alu { op: AluOp::Mov, width: Width::W64, src: Src::Reg(from), .. } => reg = from,
            _ => return None,
        }
    }
    None
}
