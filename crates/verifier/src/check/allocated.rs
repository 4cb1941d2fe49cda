//! Objects that a program allocates: making them, giving them back, counting their references,
//! reading and writing their fields.
//!
//! Whoever holds the reference of an object owns it. A counted one may have several; one that was
//! put into a list or tree is borrowed until the lock is released. (Linux 6.18,
//! `check_kfunc_call`, `check_ptr_to_btf_access`.)

use crate::check::memory::Place;
use crate::explore::Walk;
use crate::input::SpecialKind;
use crate::kernel::layout;
use crate::rejection::{Check, Rule, fault};
use crate::state::Reference;
use crate::state::value::{AllocatedPointer, Features, Kind, Value};
use skep_bpf::insn::Reg;
use skep_bpf::platform::object::{ObjectCall, ObjectRow};
use skep_bpf::platform::{Access, ArgKind};
use skep_btf::{Btf, Kind as TypeKind, TypeId};

/// The largest object that every processor has one of, in bytes.
const MAX_PERCPU_BYTES: u32 = 512;

impl Walk<'_> {
    /// A call of a kernel function that deals with objects of the program.
    pub(crate) fn object_call(&mut self, row: &ObjectRow) -> Check {
        match row.call {
            ObjectCall::New { percpu } => self.new_object(percpu),
            ObjectCall::Drop { percpu } => self.drop_object(percpu),
            ObjectCall::Acquire => self.acquire_object(),
            ObjectCall::ListPush
            | ObjectCall::ListPop
            | ObjectCall::ListPeek
            | ObjectCall::TreeAdd
            | ObjectCall::TreeRemove
            | ObjectCall::TreePeek
            | ObjectCall::TreeWalk => self.graph_call(row),
        }
    }

    fn new_object(&mut self, percpu: bool) -> Check {
        let number = self.read(Reg::R1)?;
        if !number.is_scalar() {
            return fault(Rule::HelperArgument, "R1 is not a scalar");
        }
        let Some(number_of_type) = number.as_constant() else {
            return fault(Rule::HelperArgument, "R1 must be a known constant");
        };
        self.mark_precise(&number);
        let Ok(type_id) = u32::try_from(number_of_type).map(TypeId) else {
            return fault(Rule::Object, "local type ID argument must be in range [0, U32_MAX]");
        };
        let types = self.program_types()?;
        let Some(TypeKind::Struct(composite)) = types.get(type_id).map(|ty| &ty.kind) else {
            return fault(
                Rule::Object,
                "bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct",
            );
        };
        let fields = self.fields_of(type_id)?;
        if percpu {
            check_percpu_type(types, type_id, composite.size, fields.is_empty())?;
        }
        self.clobber_caller_saved();
        self.own_object(type_id, percpu, 0, true)
    }

    /// R0 is an object that the program owns from now on, or NULL.
    pub(crate) fn own_object(
        &mut self,
        type_id: TypeId,
        percpu: bool,
        off: i32,
        or_null: bool,
    ) -> Check {
        let object = AllocatedPointer { percpu, ..self.object_pointer(type_id)? };
        let reference = Reference { id: self.new_id(), insn: self.at };
        self.state.references.push(reference);
        let id = match (or_null, object.has_lock()) {
            (true, _) => reference.id,
            // Which one it is matters for its lock.
            (false, true) => self.new_id(),
            (false, false) => 0,
        };
        let pointer = Value::pointer(Kind::Allocated(object));
        self.state.set(Reg::R0, Value { or_null, off, id, ref_id: reference.id, ..pointer });
        Ok(())
    }

    /// A pointer to an object that is owned.
    pub(crate) fn object_pointer(&self, type_id: TypeId) -> Check<AllocatedPointer> {
        let fields = self.fields_of(type_id)?;
        let has = |kind: SpecialKind| fields.iter().any(|field| field.kind == kind);
        let has_lock = has(SpecialKind::SpinLock) || has(SpecialKind::ResilientSpinLock);
        let features = Features::new(has_lock, has(SpecialKind::Refcount));
        Ok(AllocatedPointer { type_id, percpu: false, borrowed: false, rcu: false, features })
    }

    fn drop_object(&mut self, percpu: bool) -> Check {
        let value = self.read(Reg::R1)?;
        if value.or_null || value.is_zero() {
            return fault(Rule::MaybeNull, "Possibly NULL pointer passed to trusted arg0");
        }
        if value.ref_id == 0 {
            return fault(Rule::Object, "R1 must be referenced or trusted");
        }
        self.check_released_offset(Reg::R1, &value)?;
        match value.kind {
            Kind::Allocated(object) if object.percpu == percpu => {}
            Kind::Allocated(object) => {
                let drop =
                    if object.percpu { "bpf_percpu_obj_drop_impl" } else { "bpf_obj_drop_impl" };
                return fault(Rule::Object, format!("arg#0 expected for {drop}()"));
            }
            _ => return fault(Rule::Object, "arg#0 expected pointer to allocated object"),
        }
        if !self.state.release(value.ref_id) {
            return fault(Rule::Reference, "reference has not been acquired before");
        }
        self.clobber_caller_saved();
        Ok(())
    }

    fn check_released_offset(&self, reg: Reg, value: &Value) -> Check {
        if value.off != 0 {
            return fault(
                Rule::HelperArgument,
                format!(
                    "R{} must have zero offset when passed to release func or trusted arg to kfunc",
                    reg.index()
                ),
            );
        }
        self.check_unmodified(reg, value, false)
    }

    fn acquire_object(&mut self) -> Check {
        let value = self.read(Reg::R1)?;
        if value.or_null || value.is_zero() {
            return fault(Rule::MaybeNull, "Possibly NULL pointer passed to trusted arg0");
        }
        self.check_argument_offset(Reg::R1, &value, ArgKind::Anything)?;
        let Kind::Allocated(object) = value.kind else {
            return fault(Rule::Object, "arg#0 is neither owning or non-owning ref");
        };
        if !object.is_counted() || object.percpu {
            return fault(Rule::Object, "arg#0 doesn't point to a type with bpf_refcount field");
        }
        let owned = !object.borrowed && value.ref_id != 0;
        self.clobber_caller_saved();
        self.own_object(object.type_id, false, 0, !owned)
    }

    /// A load or store through a pointer to an object.
    pub(crate) fn check_object_access(
        &self,
        reg: Reg,
        pointer: &Value,
        object: AllocatedPointer,
        place: Place,
        access: Access,
    ) -> Check {
        let types = self.program_types()?;
        let (number, name) = (reg.index(), types.name(object.type_id));
        let off = i64::from(pointer.off) + i64::from(place.off);
        if off < 0 {
            return fault(
                Rule::MemoryBounds,
                format!("R{number} is ptr_{name} invalid negative access: off={off}"),
            );
        }
        if pointer.scalar.as_constant() != Some(0) {
            return fault(
                Rule::Unbounded,
                format!(
                    "R{number} is ptr_{name} invalid variable offset: off={off}, var_off={}",
                    pointer.scalar.tnum()
                ),
            );
        }
        if object.percpu {
            return fault(
                Rule::Permission,
                format!("R{number} is ptr_{name} access percpu memory: off={off}"),
            );
        }
        if access == Access::Write && !object.borrowed && !object.rcu && pointer.ref_id == 0 {
            return fault(Rule::Permission, "only read is supported");
        }
        let (first, end) = (off, off + place.bytes());
        let overlaps = |field: &&crate::input::SpecialField| {
            first < i64::from(field.offset) + i64::from(field.size) && i64::from(field.offset) < end
        };
        if let Some(field) = self.fields_of(object.type_id)?.iter().find(overlaps) {
            return fault(
                Rule::Permission,
                format!("direct access to {} is disallowed", field.kind.name()),
            );
        }
        let in_type = u32::try_from(off).map_err(|_| String::new());
        let found =
            in_type.and_then(|off| layout::access(types, object.type_id, off, place.size.bytes()));
        match found {
            Ok(_) => Ok(()),
            Err(sentence) => fault(Rule::MemoryBounds, sentence),
        }
    }
}

/// Every processor can have one of plain numbers only.
fn check_percpu_type(types: &Btf, type_id: TypeId, size: u32, is_plain: bool) -> Check {
    if size > MAX_PERCPU_BYTES {
        return fault(
            Rule::Object,
            format!("bpf_percpu_obj_new type size ({size}) is greater than {MAX_PERCPU_BYTES}"),
        );
    }
    if !has_only_numbers(types, type_id, 0) {
        return fault(
            Rule::Object,
            "bpf_percpu_obj_new type ID argument must be of a struct of scalars",
        );
    }
    if !is_plain {
        return fault(
            Rule::Object,
            "bpf_percpu_obj_new type ID argument must not contain special fields",
        );
    }
    Ok(())
}

fn has_only_numbers(types: &Btf, id: TypeId, depth: u32) -> bool {
    const MAX_DEPTH: u32 = 3;
    let is_number = |id: TypeId| {
        let kind = types.resolve(id).map(|id| types.kind(id));
        matches!(kind, Ok(TypeKind::Int(_) | TypeKind::Enum(_) | TypeKind::Enum64(_)))
    };
    let TypeKind::Struct(composite) = types.kind(id) else { return false };
    types.members(composite).iter().all(|member| {
        let Ok(id) = types.resolve(member.ty) else { return false };
        match types.kind(id) {
            TypeKind::Struct(_) => depth < MAX_DEPTH && has_only_numbers(types, id, depth + 1),
            TypeKind::Array(array) => array.count > 0 && is_number(array.element),
            _ => is_number(id),
        }
    })
}
