//! Pointers to objects in values of maps, and in objects of the program: reading them, and
//! exchanging the ones that own what they point to.
//!
//! What such a pointer points to is an object of the kernel if the kernel has a type of that name,
//! else one that the program allocates. (Linux 6.18, `check_map_kptr_access`,
//! `process_kptr_func`.)

use crate::check::allocated_types::PROTECTED;
use crate::check::memory::{Place, Stored};
use crate::explore::Walk;
use crate::input::{MapFacts, SpecialField, SpecialKind};
use crate::kernel::layout;
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::Reference;
use crate::state::value::{AllocatedPointer, Kind, MapRef, Value};
use skep_bpf::insn::{Extend, HelperId, Insn, Reg, Src};
use skep_btf::TypeId;

/// What a pointer points to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pointee {
    /// An object of the kernel.
    Kernel(TypeId),
    /// An object that the program allocates.
    Own(TypeId),
}

impl Walk<'_> {
    /// The pointer that an access of a map's value is to, if it is one.
    pub(crate) fn pointer_field(
        &self,
        pointer: &Value,
        place: Place,
    ) -> Check<Option<SpecialField>> {
        let Kind::MapValue(map) = pointer.kind else { return Ok(None) };
        let facts = self.map(map)?;
        if !facts.fields.iter().any(|field| field.kind.is_pointer()) {
            return Ok(None);
        }
        let off = pointer.fixed_offset().map(|off| off + i64::from(place.off));
        let at =
            |field: &&SpecialField| field.kind.is_pointer() && Some(i64::from(field.offset)) == off;
        Ok(facts.fields.iter().find(at).cloned())
    }

    /// An access of a map's value touches a pointer: then it is to the whole of it.
    pub(crate) fn check_pointer_access(
        &self,
        field: &SpecialField,
        off: Option<i64>,
        bytes: i64,
    ) -> Check {
        let name = field.kind.name();
        let Some(off) = off else {
            return fault(Rule::Permission, format!("{name} access cannot have variable offset"));
        };
        if off != i64::from(field.offset) {
            return fault(
                Rule::Permission,
                format!("{name} access misaligned expected={} off={off}", field.offset),
            );
        }
        if bytes != i64::from(field.size) {
            return fault(Rule::Permission, format!("{name} access size must be BPF_DW"));
        }
        Ok(())
    }

    /// A load of a pointer from a map's value.
    pub(crate) fn load_pointer_field(&mut self, map: MapRef, field: &SpecialField) -> Check<Value> {
        if !matches!(self.code.insn(self.at), Some(Insn::Load { extend: Extend::Zero, .. })) {
            return fault(
                Rule::Permission,
                "kptr in map can only be accessed using BPF_MEM instruction mode",
            );
        }
        self.check_understood(map)?;
        let pointee = self.pointee(field)?;
        let kind = match (field.kind, pointee) {
            (SpecialKind::UntrustedPointer, Pointee::Kernel(type_id)) => {
                Kind::Btf { type_id, trust: Trust::UNTRUSTED }
            }
            (SpecialKind::OwningPointer, Pointee::Kernel(type_id)) => {
                let lives = PROTECTED.contains(&self.kernel_types()?.name(type_id));
                let lives = lives && self.in_rcu_section();
                let trust = if lives { Trust::RCU } else { Trust::UNTRUSTED };
                Kind::Btf { type_id, trust }
            }
            (SpecialKind::OwningPointer, Pointee::Own(type_id))
                if !self.state.sleepable || self.state.rcu =>
            {
                let fields = self.fields_of(type_id)?;
                let is_node = |field: &SpecialField| {
                    matches!(field.kind, SpecialKind::ListNode | SpecialKind::TreeNode)
                };
                let borrowed = fields.iter().any(is_node);
                let object = self.object_pointer(type_id)?;
                Kind::Allocated(AllocatedPointer { rcu: true, borrowed, ..object })
            }
            _ => {
                return unsupported(format_args!(
                    "loads of pointers like this one ({})",
                    field.kind.name()
                ));
            }
        };
        let id = self.new_id();
        Ok(Value { or_null: true, id, ..Value::pointer(kind) })
    }

    /// A store of a pointer to a map's value: NULL, or what nobody need give back.
    pub(crate) fn store_pointer_field(
        &mut self,
        map: MapRef,
        field: &SpecialField,
        stored: Stored,
    ) -> Check {
        let Some(Insn::Store { src, .. }) = self.code.insn(self.at) else {
            return fault(
                Rule::Permission,
                "kptr in map can only be accessed using BPF_MEM instruction mode",
            );
        };
        self.check_understood(map)?;
        if matches!(field.kind, SpecialKind::OwningPointer | SpecialKind::PercpuPointer) {
            return fault(Rule::Object, "store to referenced kptr disallowed");
        }
        if field.kind != SpecialKind::UntrustedPointer {
            return unsupported(format_args!("stores of a {}", field.kind.name()));
        }
        match (src, stored) {
            (Src::Imm(0), _) => Ok(()),
            (Src::Imm(_), _) => fault(
                Rule::Object,
                format!("BPF_ST imm must be 0 when storing to kptr at off={}", field.offset),
            ),
            (Src::Reg(reg), _) => {
                let value = self.read(reg)?;
                if value.is_zero() {
                    self.mark_precise(&value);
                    return Ok(());
                }
                let pointee = self.pointee(field)?;
                self.check_pointee(reg, &value, field, pointee)
            }
        }
    }

    /// `bpf_kptr_xchg(field, pointer)`: the field owns what the pointer owned, and the program what
    /// the field did.
    pub(crate) fn exchange_pointer(&mut self, id: HelperId) -> Check {
        let place = self.read(Reg::R1)?;
        self.kernel_types()?;
        let (map, fields) = match place.kind {
            Kind::MapValue(map) if !place.or_null => {
                let facts = self.map(map)?;
                if !facts.has_types {
                    return fault(
                        Rule::Map,
                        format!(
                            "map '{}' has to have BTF in order to use bpf_kptr_xchg",
                            facts.name
                        ),
                    );
                }
                (Some(map), self.fields_of_value(facts).to_vec())
            }
            Kind::Allocated(object) if !place.or_null && object.is_owned() && !object.percpu => {
                (None, self.fields_of(object.type_id)?.to_vec())
            }
            _ => {
                return fault(
                    Rule::HelperArgument,
                    format!("R1 type={} expected=map_value, ptr_", place.type_name()),
                );
            }
        };
        if map.is_none() {
            self.check_unmodified(Reg::R1, &place, true)?;
        }
        let field = self.exchanged_field(&place, &fields)?;
        let pointee = self.pointee(&field)?;
        let given = self.read(Reg::R2)?;
        self.check_given(&given, &field, pointee)?;
        if let Some(map) = map {
            self.check_map_writer(map, id)?;
        }
        self.give_to_field(&given)?;
        self.clobber_caller_saved();
        match pointee {
            Pointee::Own(type_id) => {
                let percpu = field.kind == SpecialKind::PercpuPointer;
                self.own_object(type_id, percpu, 0, true)?;
            }
            Pointee::Kernel(type_id) => {
                let reference = Reference { id: self.new_id(), insn: self.at };
                self.state.references.push(reference);
                let pointer = Value::pointer(Kind::Btf { type_id, trust: Trust::PLAIN });
                let (id, ref_id) = (reference.id, reference.id);
                self.state.set(Reg::R0, Value { or_null: true, id, ref_id, ..pointer });
            }
        }
        match map {
            Some(map) => self.check_map_helper(map, id),
            None => Ok(()),
        }
    }

    fn exchanged_field(&self, place: &Value, fields: &[SpecialField]) -> Check<SpecialField> {
        let Some(off) = place.fixed_offset() else {
            return fault(
                Rule::HelperArgument,
                "R1 doesn't have constant offset. kptr has to be at the constant offset",
            );
        };
        if !fields.iter().any(|field| field.kind.is_pointer()) {
            return fault(Rule::Object, "R1 has no valid kptr");
        }
        let at = |field: &&SpecialField| field.kind.is_pointer() && i64::from(field.offset) == off;
        let Some(field) = fields.iter().find(at) else {
            return fault(Rule::Object, format!("off={off} doesn't point to kptr"));
        };
        if !matches!(field.kind, SpecialKind::OwningPointer | SpecialKind::PercpuPointer) {
            return fault(Rule::Object, format!("off={off} kptr isn't referenced kptr"));
        }
        Ok(field.clone())
    }

    /// What is put into the field: NULL, or an object of its type that the program owns.
    fn check_given(&mut self, given: &Value, field: &SpecialField, pointee: Pointee) -> Check {
        if given.is_zero() {
            self.mark_precise(given);
            return Ok(());
        }
        let takes = match given.kind {
            Kind::Btf { trust, .. } => {
                !trust.has(Trust::UNTRUSTED.with(Trust::USER).with(Trust::PERCPU))
            }
            Kind::Allocated(_) => true,
            _ => false,
        };
        if !takes {
            return fault(
                Rule::HelperArgument,
                format!("R2 type={} expected=ptr_, trusted_ptr_, rcu_ptr_", given.type_name()),
            );
        }
        if given.or_null {
            return fault(Rule::MaybeNull, "Possibly NULL pointer passed to helper arg2");
        }
        self.check_pointee(Reg::R2, given, field, pointee)?;
        if given.off != 0 {
            return fault(
                Rule::HelperArgument,
                "R2 must have zero offset when passed to release func or trusted arg to kfunc",
            );
        }
        self.check_unmodified(Reg::R2, given, false)?;
        if given.ref_id == 0 {
            return fault(Rule::Reference, "R2 must be referenced when passed to release function");
        }
        Ok(())
    }

    /// A pointer is of the type that the field holds.
    fn check_pointee(
        &self,
        reg: Reg,
        value: &Value,
        field: &SpecialField,
        pointee: Pointee,
    ) -> Check {
        let percpu = field.kind == SpecialKind::PercpuPointer;
        let fits = match (value.kind, pointee) {
            (Kind::Allocated(object), Pointee::Own(type_id)) => {
                let same = object.type_id == type_id && value.off == 0;
                same && object.is_owned() && object.percpu == percpu
            }
            (Kind::Btf { type_id: found, trust }, Pointee::Kernel(type_id)) => {
                let owns = field.kind != SpecialKind::UntrustedPointer;
                let usable = if owns {
                    Trust::TRUSTED.with(Trust::RCU)
                } else {
                    Trust::TRUSTED.with(Trust::RCU).with(Trust::UNTRUSTED)
                };
                let types = self.kernel_types()?;
                let off = u32::try_from(value.off);
                let is_one = |off| layout::is_at(types, found, off, type_id, owns);
                !percpu && off.is_ok_and(is_one) && trust.without(usable) == Trust::PLAIN
            }
            _ => false,
        };
        if fits {
            return self.check_unmodified(reg, value, true);
        }
        let target = field.target.as_ref().map_or("", |target| target.type_name.as_str());
        let found = match value.kind {
            Kind::Allocated(object) => self.program_types()?.name(object.type_id),
            Kind::Btf { type_id, .. } => self.kernel_types()?.name(type_id),
            _ => "",
        };
        let or = match field.kind {
            SpecialKind::UntrustedPointer => format!(" or untrusted_ptr_{target}"),
            _ => String::new(),
        };
        fault(
            Rule::Object,
            format!(
                "invalid kptr access, R{} type={}{found} expected=ptr_{target}{or}",
                reg.index(),
                value.type_name()
            ),
        )
    }

    /// The field owns the object now. One that every processor has can still be looked at until
    /// the end of the section.
    fn give_to_field(&mut self, given: &Value) -> Check {
        let ref_id = given.ref_id;
        if ref_id == 0 {
            return Ok(());
        }
        if !self.state.drop_reference(ref_id) {
            return fault(Rule::Reference, "reference has not been acquired before");
        }
        let in_section = !self.state.sleepable || self.state.rcu;
        self.state.update(
            |value| value.ref_id == ref_id,
            |value| match &mut value.kind {
                Kind::Allocated(object) if object.percpu && in_section => {
                    object.rcu = true;
                    value.ref_id = 0;
                }
                _ => *value = Value::UNKNOWN,
            },
        );
        Ok(())
    }

    /// The kernel knows what the special fields of the map's values are.
    fn check_understood(&self, map: MapRef) -> Check {
        let facts: &MapFacts = self.map(map)?;
        if facts.has_types && !self.fields_of_value(facts).is_empty() {
            return Ok(());
        }
        unsupported("pointers in values of maps whose types the kernel does not take")
    }

    fn pointee(&self, field: &SpecialField) -> Check<Pointee> {
        let Some(target) = &field.target else {
            return unsupported("pointers in map values that do not say to what");
        };
        Ok(match self.kernel_types()?.find_struct(&target.type_name) {
            Some((type_id, _)) => Pointee::Kernel(type_id),
            None => Pointee::Own(target.type_id),
        })
    }
}
