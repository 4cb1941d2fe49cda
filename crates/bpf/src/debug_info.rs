//! Source lines and names attached to code, whatever format they came from.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::codec::SlotIndex;

/// A line of source from which code was compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceLine {
    /// The first slot that the line covers.
    pub slot: SlotIndex,
    /// The file's name as the compiler recorded it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1; 0 if unknown.
    pub column: u32,
    /// The text of the line; empty if it was not recorded.
    pub text: Arc<str>,
}

/// What is known about where code came from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DebugInfo {
    lines: Vec<SourceLine>,
    functions: Vec<(SlotIndex, String)>,
}

impl DebugInfo {
    /// Debug information of lines and function names; both are sorted by slot.
    #[must_use]
    pub fn new(mut lines: Vec<SourceLine>, mut functions: Vec<(SlotIndex, String)>) -> DebugInfo {
        lines.sort_by_key(|line| line.slot);
        functions.sort_by_key(|(slot, _)| *slot);
        DebugInfo { lines, functions }
    }

    /// All lines, by slot.
    #[must_use]
    pub fn lines(&self) -> &[SourceLine] {
        &self.lines
    }

    /// The line that covers a slot: the last that starts at or before it, in the same function.
    #[must_use]
    pub fn line_at(&self, slot: SlotIndex) -> Option<&SourceLine> {
        let after = self.lines.partition_point(|line| line.slot <= slot);
        let line = self.lines.get(after.checked_sub(1)?)?;
        let function_start = self.function_at(slot).map_or(SlotIndex(0), |(start, _)| start);
        (line.slot >= function_start).then_some(line)
    }

    /// All functions' first slots and names, by slot.
    #[must_use]
    pub fn functions(&self) -> &[(SlotIndex, String)] {
        &self.functions
    }

    /// The first slot and the name of the function that a slot belongs to.
    #[must_use]
    pub fn function_at(&self, slot: SlotIndex) -> Option<(SlotIndex, &str)> {
        let after = self.functions.partition_point(|(start, _)| *start <= slot);
        let (start, name) = self.functions.get(after.checked_sub(1)?)?;
        Some((*start, name))
    }
}
