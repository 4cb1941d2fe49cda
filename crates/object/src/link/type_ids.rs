//! The numbers that types of the program have in the kernel's BTF, where code asks for them.
//!
//! This is the CO-RE relocation of `bpf_core_type_id_kernel`. A type is found by its name, without
//! the flavour that follows `___`, and its kind; the number of one that is not there is 0.

use skep_bpf::codec::{SLOT_BYTES, Slot};
use skep_bpf::op::class;
use skep_btf::{Btf, TypeId};

use super::Linked;
use super::error::CoreKind;
use crate::object::Object;

impl Object {
    /// Sets the numbers of types that linked code of this object asks for to those of a kernel, and
    /// says how many there were. Before, code that was linked with
    /// [`AsCompiled`](super::CoreRelocations::AsCompiled) has the numbers of the object's own BTF.
    pub fn resolve_type_ids(&self, linked: &mut Linked, kernel: &Btf) -> usize {
        let Some(own) = self.btf() else { return 0 };
        let Linked { parts, bytecode, .. } = linked;
        let mut count = 0;
        for part in parts.iter() {
            let Some(function) = self.function(part.function) else { continue };
            let records = self.core_relocations(function).iter();
            let asked = records.filter(|record| CoreKind(record.kind) == CoreKind::TYPE_ID_TARGET);
            for record in asked {
                let distance = u64::from(record.insn_offset).saturating_sub(part.offset);
                let distance = usize::try_from(distance / SLOT_BYTES as u64).unwrap_or(usize::MAX);
                let at = part.start.0.saturating_add(distance);
                let number = find(own, record.ty, kernel).map_or(0, |id| id.0);
                count += usize::from(set(&mut bytecode.slots, at, number));
            }
        }
        count
    }
}

/// The type of a kernel that is meant by one of an object.
fn find(own: &Btf, id: TypeId, kernel: &Btf) -> Option<TypeId> {
    let name = own.name(id);
    // A name may begin with underscores.
    let name = match name.rfind("___") {
        Some(at) if at > 0 => name.get(..at)?,
        _ => name,
    };
    if name.is_empty() {
        return None;
    }
    let wanted = core::mem::discriminant(own.kind(id));
    kernel.find(name, |kind| core::mem::discriminant(kind) == wanted)
}

/// Sets the constant of an instruction, if it has one.
fn set(slots: &mut [Slot], at: usize, number: u32) -> bool {
    let Some(slot) = slots.get_mut(at) else { return false };
    let is_wide = slot.is_wide() && slot.src() == 0;
    let is_move = matches!(slot.class(), class::ALU | class::ALU64);
    if !is_wide && !is_move {
        return false;
    }
    slot.imm = number.cast_signed();
    if is_wide && let Some(second) = slots.get_mut(at + 1) {
        second.imm = 0;
    }
    true
}
