//! What an instruction refers to, by name: a map, a variable, a helper, a function.

use skep_bpf::codec::{SLOT_BYTES, Slot, SlotIndex, decode};
use skep_bpf::insn::{Callee, Imm64, Insn};
use skep_object::{Function, Object, Place, SectionIndex, Symbol};

/// The name of what the instruction at a byte of a section refers to.
pub fn name_at(object: &Object, section: SectionIndex, at: u64) -> Option<String> {
    let bytes = object.section_bytes(object.section(section)?);
    let start = usize::try_from(at).ok()?;
    let rest = bytes.get(start..)?;
    let slots: Vec<Slot> =
        rest.as_chunks::<SLOT_BYTES>().0.iter().take(2).map(|b| Slot::from_bytes(*b)).collect();
    let insn = decode(&slots, SlotIndex(0)).ok()?;
    let relocations = object.relocations(section);
    let first = relocations.partition_point(|relocation| relocation.offset < at);
    let relocation = relocations.get(first).filter(|relocation| relocation.offset == at);
    let symbol = relocation.and_then(|relocation| object.symbol(relocation.symbol));
    match (insn, symbol) {
        (Insn::Call { callee: Callee::Helper(id) }, None) => {
            id.row().map(|row| row.name.to_owned())
        }
        (Insn::Call { callee: Callee::Local(distance) }, None) => {
            let target = SLOT_BYTES as i64 * (i64::from(distance.0) + 1);
            function(object, section, at.checked_add_signed(target)?)
        }
        (Insn::Call { .. }, Some(symbol)) => {
            // The immediate counts slots from the one after the call.
            let imm = slots.first()?.imm;
            let into = SLOT_BYTES as i64 * (i64::from(imm) + 1);
            named(object, symbol, into)
        }
        (Insn::LoadImm64 { imm: Imm64::Value(value), .. }, Some(symbol)) => {
            named(object, symbol, value.cast_signed())
        }
        (Insn::LoadImm64 { .. }, Some(symbol)) => {
            named(object, symbol, i64::from(slots.first()?.imm))
        }
        _ => None,
    }
}

/// What lies so many bytes behind a symbol.
fn named(object: &Object, symbol: &Symbol, distance: i64) -> Option<String> {
    let label = object.symbol_label(symbol);
    if !symbol.name.is_empty() {
        return Some(plus(label, distance));
    }
    let Place::Section(section) = symbol.place else { return Some(plus(label, distance)) };
    let at = u64::try_from(distance).ok()?;
    let map = object.maps().iter().find(|map| map.is_global_data() && map.section == section);
    let Some(map) = map else {
        return function(object, section, at).or(Some(plus(label, distance)));
    };
    let holds = |offset: u64, size: u64| at >= offset && at - offset < size;
    let variable = map.variables.iter().find(|v| holds(v.offset, v.size));
    let name = variable.map(|v| plus(v.name.clone(), (at - v.offset).cast_signed()));
    Some(name.unwrap_or_else(|| plus(label, distance)))
}

fn plus(name: String, distance: i64) -> String {
    match distance {
        0 | -1 => name,
        _ => format!("{name}{distance:+#x}"),
    }
}

/// The function that starts at a byte of a section.
fn function(object: &Object, section: SectionIndex, at: u64) -> Option<String> {
    let starts = |function: &&Function| function.section == section && function.offset == at;
    object.functions().iter().find(starts).map(|function| function.name.clone())
}
