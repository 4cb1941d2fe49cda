//! What follows each slot in its function, and what each slot follows.
//!
//! Several passes over the code ask for it, so that it is found once. Calls go on after the call.

use super::Code;

/// The edges between slots.
#[derive(Default)]
pub(crate) struct Edges {
    pub(super) successors: Vec<[Option<u32>; 2]>,
    predecessors: Vec<u32>,
    /// Where those of a slot begin; they end where those of the next one do.
    first_predecessor: Vec<u32>,
}

impl Edges {
    /// The edges of code whose jumps were checked.
    pub(super) fn of(code: &Code) -> Edges {
        let len = code.slots.len();
        let mut successors = vec![[None; 2]; len];
        for (at, (successors, insn)) in successors.iter_mut().zip(&code.insns).enumerate() {
            let Ok(insn) = insn else { continue };
            let next = at + insn.len_slots();
            let falls = insn.falls_through().then_some(next).filter(|next| *next < len);
            let target = insn.jump_target().and_then(|target| code.target(at, *target));
            // Code has at most a million slots.
            *successors = [falls, target].map(|next| next.map(|next| next as u32));
        }
        let (predecessors, first_predecessor) = invert(&successors);
        Edges { successors, predecessors, first_predecessor }
    }

    /// What follows a slot: where it falls through to, and where it jumps to.
    #[inline]
    pub(crate) fn after(&self, at: usize) -> impl Iterator<Item = usize> + use<> {
        self.successors[at].into_iter().flatten().map(|next| next as usize)
    }

    /// What a slot follows.
    #[inline]
    pub(crate) fn before(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let first = self.first_predecessor[at] as usize;
        let end = self.first_predecessor[at + 1] as usize;
        self.predecessors[first..end].iter().map(|before| *before as usize)
    }

    /// The slots that may be in a cycle, true for each: those that an edge back, or several that
    /// overlap, reach over. Every place in a cycle is passed by one that goes back.
    pub(super) fn within_loops(&self) -> Vec<bool> {
        let len = self.successors.len();
        let mut ends = vec![0; len];
        for at in 0..len {
            for target in self.after(at).filter(|target| *target <= at) {
                ends[target] = ends[target].max(at + 1);
            }
        }
        let mut end = 0;
        let is_within = |(at, of_slot): (usize, usize)| {
            end = end.max(of_slot);
            at < end
        };
        ends.into_iter().enumerate().map(is_within).collect()
    }
}

/// What each slot follows, one slot after the other, and where that begins for each.
fn invert(successors: &[[Option<u32>; 2]]) -> (Vec<u32>, Vec<u32>) {
    let mut first = vec![0; successors.len() + 1];
    for next in successors.iter().flatten().flatten() {
        first[*next as usize + 1] += 1;
    }
    let mut sum = 0;
    for count in &mut first {
        sum += *count;
        *count = sum;
    }
    let mut predecessors = vec![0; sum as usize];
    let mut filled = first.clone();
    for (at, nexts) in successors.iter().enumerate() {
        for next in nexts.iter().flatten() {
            let place = &mut filled[*next as usize];
            predecessors[*place as usize] = at as u32;
            *place += 1;
        }
    }
    (predecessors, first)
}
