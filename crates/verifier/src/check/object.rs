//! Loads from objects of the kernel, and what is known of the pointers that they give.
//!
//! A pointer that is read from an object is as good as the object and the field allow: some fields
//! are listed as safe, some are protected by RCU, and what comes from an object that may be gone
//! may be gone as well. (Linux 6.18, `check_ptr_to_btf_access`.)

use crate::check::memory::Place;
use crate::domain::Scalar;
use crate::explore::Walk;
use crate::kernel::layout::{self, Found};
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::value::{Kind, Value};
use skep_bpf::insn::Extend;
use skep_btf::{Btf, TypeId};

/// A pointer that was read from a field of an object.
struct Field<'a> {
    /// The type of the object.
    of: TypeId,
    name: &'a str,
    to: TypeId,
    /// What its declaration says.
    trust: Trust,
}

impl Field<'_> {
    /// Whether the kernel lists it among those that inherit the trust of the object.
    fn is_listed(&self, btf: &Btf, suffix: &str) -> bool {
        layout::is_listed(btf, self.of, self.name, self.to, suffix)
    }
}

impl Walk<'_> {
    /// What a load from an object of the kernel gives.
    pub(crate) fn load_object(
        &mut self,
        place: Place,
        extend: Extend,
        pointer: &Value,
        type_id: TypeId,
        trust: Trust,
    ) -> Check<Value> {
        let off = self.object_offset(place, pointer, type_id, trust)?;
        let btf = self.kernel_types()?;
        match layout::access(btf, type_id, off, place.size.bytes()) {
            Ok(Found::Number) => Ok(Value::number(Scalar::loaded(place.size, extend))),
            Ok(Found::Object { .. } | Found::Other) if extend == Extend::Sign => {
                unsupported("loads of pointers with sign extension")
            }
            Ok(Found::Other) => Ok(Value::pointer(Kind::UntrustedMemory)),
            Ok(Found::Object { to, trust: declared, name }) => {
                let field = Field { of: type_id, name, to, trust: declared };
                let (trust, or_null) = self.trust_of(btf, pointer, trust, &field);
                let id = if or_null { self.new_id() } else { 0 };
                let kind = Kind::Btf { type_id: to, trust };
                Ok(Value { or_null, id, ..Value::pointer(kind) })
            }
            Err(message) => fault(Rule::MemoryBounds, message),
        }
    }

    /// A store: programs of some types may set a few fields.
    pub(crate) fn store_object(
        &mut self,
        place: Place,
        pointer: &Value,
        type_id: TypeId,
        trust: Trust,
    ) -> Check {
        self.object_offset(place, pointer, type_id, trust)?;
        fault(Rule::Permission, "only read is supported")
    }

    /// The offset of an access in the object.
    fn object_offset(
        &self,
        place: Place,
        pointer: &Value,
        type_id: TypeId,
        trust: Trust,
    ) -> Check<u32> {
        let (reg, btf) = (place.base, self.kernel_types()?);
        let (number, name) = (reg.index(), btf.name(type_id));
        if pointer.or_null {
            return fault(
                Rule::MaybeNull,
                format!("R{number} invalid mem access '{}'", pointer.type_name()),
            );
        }
        if !self.input.gpl_compatible {
            return fault(
                Rule::HelperNotAllowed,
                format!("Cannot access kernel 'struct {name}' from non-GPL compatible program"),
            );
        }
        let off = i64::from(pointer.off) + i64::from(place.off);
        let Ok(start) = u32::try_from(off) else {
            return fault(
                Rule::MemoryBounds,
                format!("R{number} is ptr_{name} invalid negative access: off={off}"),
            );
        };
        if pointer.scalar.as_constant() != Some(0) {
            return fault(
                Rule::Unbounded,
                format!(
                    "R{number} is ptr_{name} invalid variable offset: off={off}, var_off={}",
                    pointer.scalar.tnum()
                ),
            );
        }
        let elsewhere = [(Trust::USER, "user"), (Trust::PERCPU, "percpu")];
        if let Some((_, what)) = elsewhere.iter().find(|(place, _)| trust.has(*place)) {
            return fault(
                Rule::NotAPointer,
                format!("R{number} is ptr_{name} access {what} memory: off={off}"),
            );
        }
        Ok(start)
    }

    /// What is known of a pointer that was read from an object, and whether it may be NULL.
    fn trust_of(
        &self,
        btf: &Btf,
        object: &Value,
        trust: Trust,
        field: &Field<'_>,
    ) -> (Trust, bool) {
        let declared = field.trust;
        if trust.has(Trust::UNTRUSTED) {
            return (Trust::UNTRUSTED, false);
        }
        if !object.is_trusted() && !trust.has(Trust::RCU) {
            // Pointers of old: whatever was said of the field is not known to hold.
            return (declared.without(Trust::TRUSTED.with(Trust::RCU)), false);
        }
        if field.is_listed(btf, "__safe_trusted") {
            return (declared.with(Trust::TRUSTED), false);
        }
        if field.is_listed(btf, "__safe_trusted_or_null") {
            return (declared.with(Trust::TRUSTED), true);
        }
        if !self.in_rcu_section() {
            return (Trust::UNTRUSTED, false);
        }
        if field.is_listed(btf, "__safe_rcu") {
            return (declared.with(Trust::RCU), false);
        }
        let listed = field.is_listed(btf, "__safe_rcu_or_null");
        if declared.has(Trust::RCU) || listed {
            let kept = if listed { declared.without(Trust::UNTRUSTED) } else { declared };
            return (kept.with(Trust::RCU), true);
        }
        if declared.has(Trust::PERCPU.with(Trust::USER)) {
            return (declared, false);
        }
        (declared.without(Trust::TRUSTED.with(Trust::RCU)), false)
    }

    /// Whether objects that RCU protects live on: unless a program may sleep, that is always so.
    pub(crate) fn in_rcu_section(&self) -> bool {
        self.state.rcu || !self.state.sleepable || self.state.lock.is_some()
    }
}
