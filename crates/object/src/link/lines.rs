//! Records of `.BTF.ext` for linked code: source lines and names, and the CO-RE relocations that
//! are in the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_bpf::codec::{SLOT_BYTES, SlotIndex};
use skep_bpf::debug_info::{DebugInfo, SourceLine};
use skep_btf::{Btf, Str};

use super::error::{CodePlace, CoreKind, LinkProblem};
use super::{CoreRelocations, LinkOptions, Part};
use crate::functions::Function;
use crate::object::Object;

/// Refuses a function that wants CO-RE relocation, unless the options allow it.
pub(super) fn check_core(
    object: &Object,
    function: &Function,
    options: LinkOptions,
) -> Result<(), LinkProblem> {
    if options.core_relocations == CoreRelocations::AsCompiled {
        return Ok(());
    }
    let wants = |kind: u32| CoreKind(kind) != CoreKind::TYPE_ID_LOCAL;
    let records = object.core_relocations(function).iter().filter(|record| wants(record.kind));
    let (Some(first), Some(btf)) = (records.clone().next(), object.btf()) else { return Ok(()) };
    Err(LinkProblem::NeedsKernelTypes {
        count: records.count(),
        place: CodePlace::new(object, function, u64::from(first.insn_offset)),
        ty: btf.declaration(first.ty, ""),
        access: btf.str(first.access).to_owned(),
        kind: CoreKind(first.kind),
    })
}

/// The lines and function names of linked code.
pub(super) fn debug_info(object: &Object, parts: &[Part]) -> DebugInfo {
    let mut texts = object.btf().map(Texts::new);
    let mut lines = Vec::new();
    let mut names = Vec::with_capacity(parts.len());
    for part in parts {
        let Some(function) = object.function(part.function) else { continue };
        names.push((part.start, function.name.clone()));
        let Some(texts) = &mut texts else { continue };
        for record in object.lines(function) {
            let distance = u64::from(record.insn_offset).saturating_sub(function.offset);
            let slot = usize::try_from(distance / SLOT_BYTES as u64).unwrap_or(usize::MAX);
            lines.push(SourceLine {
                slot: SlotIndex(part.start.0.saturating_add(slot)),
                file: texts.get(record.file),
                line: record.line,
                column: record.column,
                text: texts.get(record.text),
            });
        }
    }
    DebugInfo::new(lines, names)
}

/// Strings, each made once. Strings that overlap could add up to far more than the section has,
/// so there is a budget that strings which do not overlap stay within; beyond it they are empty.
struct Texts<'a> {
    btf: &'a Btf,
    left: usize,
    made: BTreeMap<Str, Arc<str>>,
}

impl<'a> Texts<'a> {
    fn new(btf: &'a Btf) -> Self {
        Texts { btf, left: btf.strings_len().saturating_mul(2), made: BTreeMap::new() }
    }

    fn get(&mut self, at: Str) -> Arc<str> {
        let Texts { btf, left, made } = self;
        let make = || {
            let text = btf.str(at);
            match left.checked_sub(text.len()) {
                Some(rest) => {
                    *left = rest;
                    Arc::from(text)
                }
                None => Arc::from(""),
            }
        };
        made.entry(at).or_insert_with(make).clone()
    }
}
