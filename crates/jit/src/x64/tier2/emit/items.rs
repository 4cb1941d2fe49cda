//! What a block consists of when registers are allocated: its instructions, and the moves that
//! the allocator put between them.

use regalloc2::{Edit, InstOrEdit, Output};

/// The instructions of a block with the moves between them.
pub(super) struct Items<'a> {
    edits: &'a [(regalloc2::ProgPoint, Edit)],
    next: usize,
    end: usize,
}

impl<'a> Items<'a> {
    /// The instructions of a range, and the moves from an index on.
    pub(super) fn new(output: &'a Output, range: regalloc2::InstRange, start: usize) -> Items<'a> {
        let first = range.first();
        let (next, end) = (first.index(), first.index() + range.len());
        Items { edits: &output.edits[start..], next, end }
    }

    /// Whether no moves are left.
    pub(super) fn are_only_instructions(&self) -> bool {
        let end = regalloc2::ProgPoint::before(regalloc2::Inst::new(self.end));
        self.edits.first().is_none_or(|(point, _)| *point >= end)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = InstOrEdit<'a>;

    fn next(&mut self) -> Option<InstOrEdit<'a>> {
        if self.next == self.end {
            return None;
        }
        let inst = regalloc2::Inst::new(self.next);
        if let Some(((point, edit), rest)) = self.edits.split_first()
            && *point <= regalloc2::ProgPoint::before(inst)
        {
            self.edits = rest;
            return Some(InstOrEdit::Edit(edit));
        }
        self.next += 1;
        Some(InstOrEdit::Inst(inst))
    }
}
