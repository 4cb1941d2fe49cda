//! Calls of helpers: whether the program may call, what it passes, what comes back.

use crate::check::call::ARGUMENTS;
use crate::check::helper_arg::{Arguments, is_cast};
use crate::domain::Scalar;
use crate::explore::Walk;
use crate::input::SpecialKind;
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::value::{Kind, Slice, Value};
use crate::state::{Lock, LockOwner, Reference};
use skep_bpf::insn::{HelperId, Reg};
use skep_bpf::platform::dynptr::DynptrClass;
use skep_bpf::platform::helper::HelperRow;
use skep_bpf::platform::{
    AttachType, MapType, OPTIONAL_HELPERS, ProgType, ReturnKind, helper_allowed,
};

/// Helpers that return at most the size they were passed, or an error.
const SIZED: &[HelperId] = &[
    HelperId::GET_STACK,
    HelperId::GET_TASK_STACK,
    HelperId::PROBE_READ_STR,
    HelperId::PROBE_READ_KERNEL_STR,
    HelperId::PROBE_READ_USER_STR,
];

/// The largest error number.
const MAX_ERRNO: i64 = 4095;

impl Walk<'_> {
    /// A call of a helper.
    pub(crate) fn helper_call(&mut self, id: HelperId) -> Check {
        let row = self.check_allowed(id)?;
        if id == HelperId::KPTR_XCHG {
            return self.exchange_pointer(id);
        }
        let mut arguments = Arguments::default();
        for index in 0..ARGUMENTS.len() {
            self.check_argument(row, index, &mut arguments)?;
        }
        if let Some(map) = arguments.map {
            self.check_map_writer(map, id)?;
        }
        if let Some((reg, size)) = arguments.filled {
            let off = i64::from(self.state.reg(reg).off);
            self.fill_stack(reg, off, size)?;
        }
        if arguments.released.is_some()
            && arguments.reference != 0
            && !self.state.release(arguments.reference)
        {
            return fault(
                Rule::Reference,
                format!("func {id}#{} reference has not been acquired before", id.0),
            );
        }
        if let Some(place) = arguments.released_dynptr {
            self.release_dynptr(place);
        }
        self.check_special(id)?;
        self.call_back(id, &arguments)?;
        self.clobber_caller_saved();
        self.set_result(row, &arguments)?;
        if let Some(map) = arguments.map {
            self.check_map_helper(map, id)?;
        }
        // A write through a dynamic pointer to a socket buffer may move the packet; not so in XDP,
        // where the packet is written to in place.
        let written = arguments.dynptr.filter(|_| id == HelperId::DYNPTR_WRITE);
        let moves = |class| matches!(class, DynptrClass::Skb | DynptrClass::SkbMeta);
        // A tail call that succeeds does not come back here; one that fails has changed nothing.
        let changes = row.traits.changes_packet && id != HelperId::TAIL_CALL;
        if changes || written.is_some_and(|dynptr| moves(dynptr.class)) {
            self.forget_packet();
        }
        Ok(())
    }

    /// Whether the program may call the helper at all.
    fn check_allowed(&self, id: HelperId) -> Check<&'static HelperRow> {
        let Some(row) = id.row() else {
            return fault(Rule::HelperNotAllowed, format!("invalid func unknown#{}", id.0 as i32));
        };
        // Only a program on a single probe can replace the probed function's result.
        let overrides_many =
            id == HelperId::OVERRIDE_RETURN && self.input.attach_type != AttachType::UNSPECIFIED;
        let is_absent =
            OPTIONAL_HELPERS.contains(&id) && !self.input.profile.optional_helpers.contains(&id);
        let (prog_type, attach_type) = (self.input.prog_type, self.input.attach_type);
        if !helper_allowed(prog_type, attach_type, id) || overrides_many || is_absent {
            return fault(
                Rule::HelperNotAllowed,
                format!("program of this type cannot use helper {id}#{}", id.0),
            );
        }
        if row.traits.gpl_only && !self.input.gpl_compatible {
            return fault(
                Rule::HelperNotAllowed,
                "cannot call GPL-restricted function from non-GPL compatible program",
            );
        }
        if row.traits.may_sleep && !self.state.sleepable {
            return fault(
                Rule::HelperNotAllowed,
                "helper call might sleep in a non-sleepable prog",
            );
        }
        if row.traits.may_sleep
            && let Some(section) = self.section()
        {
            return fault(
                Rule::Lock,
                format!("sleepable helper {id}#{} in {section} region", id.0),
            );
        }
        Ok(row)
    }

    /// Pointers into the packet are meaningless numbers from now on.
    pub(crate) fn forget_packet(&mut self) {
        self.state.update(
            |value| value.kind.is_packet() || value.kind.is_packet_slice(),
            |value| *value = Value::UNKNOWN,
        );
    }

    /// The section that the program is in and must not sleep in, as the kernel names it.
    pub(crate) fn section(&self) -> Option<&'static str> {
        let sections = [
            (self.state.rcu, "rcu_read_lock"),
            (self.state.preempt > 0, "non-preemptible"),
            (!self.state.interrupts.is_empty(), "IRQ-disabled"),
        ];
        sections.iter().find(|(is_in, _)| *is_in).map(|(_, name)| *name)
    }

    /// What some helpers require beyond their signature.
    fn check_special(&mut self, id: HelperId) -> Check {
        match id {
            HelperId::TAIL_CALL => {
                // A known slot of the array makes the call a direct one.
                let index = self.state.reg(Reg::R3);
                if index.as_constant().is_some() {
                    self.mark_precise(&index);
                }
                self.check_resources("tail_call", true)
            }
            HelperId::GET_LOCAL_STORAGE => {
                let flags = self.state.reg(Reg::R2);
                if !flags.is_zero() {
                    return fault(
                        Rule::HelperArgument,
                        "get_local_storage() doesn't support non-zero flags",
                    );
                }
                self.mark_precise(&flags);
                Ok(())
            }
            HelperId::GET_FUNC_IP if self.input.prog_type != ProgType::KPROBE => fault(
                Rule::HelperNotAllowed,
                format!(
                    "func {id}#{} not supported for program type {}",
                    id.0, self.input.prog_type.0
                ),
            ),
            HelperId::DYNPTR_FROM_MEM => {
                let data = self.state.reg(Reg::R1);
                if matches!(data.kind, Kind::MapValue(_)) && !data.or_null {
                    return Ok(());
                }
                fault(
                    Rule::HelperArgument,
                    format!(
                        "Unsupported reg type {} for bpf_dynptr_from_mem data",
                        data.type_name()
                    ),
                )
            }
            HelperId::SETSOCKOPT | HelperId::GETSOCKOPT
                if self.is_tracing()
                    && !matches!(self.input.attach_target, Some("tcp" | "unix")) =>
            {
                fault(
                    Rule::HelperNotAllowed,
                    format!("program of this type cannot use helper {id}#{}", id.0),
                )
            }
            HelperId::SNPRINTF => self.check_format(),
            _ => Ok(()),
        }
    }

    /// Taking or giving back a lock in a map's value or an object of the program.
    pub(crate) fn check_lock(&mut self, id: HelperId, reg: Reg, value: &Value) -> Check {
        let number = reg.index();
        if self.compares_nodes() {
            return fault(Rule::Lock, "can't spin_{lock,unlock} in rbtree cb");
        }
        let Some(off) = value.fixed_offset() else {
            return fault(
                Rule::Lock,
                format!(
                    "R{number} doesn't have constant offset. bpf_spin_lock has to be at the constant offset"
                ),
            );
        };
        let (owner, fields, what) = match value.kind {
            Kind::MapValue(map) => {
                let facts = self.map(map)?;
                if !facts.has_types {
                    return fault(
                        Rule::Lock,
                        "map '' has to have BTF in order to use bpf_spin_lock",
                    );
                }
                if facts.fields.iter().any(|field| field.kind.is_pointer()) {
                    // Whether the kernel takes them, and so the lock, depends on its types.
                    self.kernel_types()?;
                }
                (LockOwner::Map(map), self.fields_of_value(facts).to_vec(), "map ''")
            }
            Kind::Allocated(object) => {
                (LockOwner::Object, self.fields_of(object.type_id)?.to_vec(), "local 'kptr'")
            }
            _ => return Ok(()),
        };
        let is_lock = |field: &&crate::input::SpecialField| field.kind == SpecialKind::SpinLock;
        let Some(field) = fields.iter().find(is_lock) else {
            return fault(Rule::Lock, format!("{what} has no valid bpf_spin_lock"));
        };
        if i64::from(field.offset) != off {
            return fault(
                Rule::Lock,
                format!(
                    "off {off} doesn't point to 'struct bpf_spin_lock' that is at {}",
                    field.offset
                ),
            );
        }
        let lock = Lock { owner, id: value.id };
        match (id, self.state.lock) {
            (HelperId::SPIN_LOCK, None) => self.state.lock = Some(lock),
            (HelperId::SPIN_LOCK, Some(_)) => {
                return fault(Rule::Lock, "Locking two bpf_spin_locks are not allowed");
            }
            (_, None) => return fault(Rule::Lock, "bpf_spin_unlock without taking a lock"),
            (_, Some(held)) if held != lock => {
                return fault(Rule::Lock, "bpf_spin_unlock of different lock");
            }
            (_, Some(_)) => {
                self.end_borrowing();
                self.state.lock = None;
            }
        }
        Ok(())
    }

    /// What r0 holds after the call.
    fn set_result(&mut self, row: &HelperRow, arguments: &Arguments) -> Check {
        let id = row.id;
        let mut or_null = row.returns.may_be_null();
        let mut result = match row.returns {
            ReturnKind::Void => return Ok(()),
            ReturnKind::Integer => Value::number(self.returned_number(id, arguments)),
            ReturnKind::MapValue { .. } => {
                let Some(map) = arguments.map else {
                    return fault(Rule::Map, "kernel subsystem misconfigured verifier");
                };
                let facts = self.map(map)?;
                let is_array = matches!(facts.map_type, MapType::ARRAY | MapType::PERCPU_ARRAY);
                let max = u64::from(facts.max_entries);
                let has_lock = facts.has_field(SpecialKind::SpinLock);
                // An array has all its elements.
                let found = arguments.constant_key.is_some_and(|key| key < max);
                if id == HelperId::MAP_LOOKUP_ELEM && is_array && found {
                    or_null = false;
                }
                let mut value = Value::pointer(Kind::MapValue(map));
                if !or_null && has_lock {
                    value.id = self.new_id();
                }
                value
            }
            ReturnKind::SocketOrNull => Value::pointer(Kind::Socket),
            ReturnKind::TcpSocketOrNull => Value::pointer(Kind::TcpSock),
            ReturnKind::SockCommonOrNull => Value::pointer(Kind::SockCommon),
            ReturnKind::RingbufRecordOrNull => {
                let Ok(size) = u32::try_from(arguments.returned_size) else {
                    return unsupported("ring buffer records of 4 GiB and more");
                };
                Value::pointer(Kind::Memory { size, record: true })
            }
            ReturnKind::Btf { type_name, trusted, .. } => {
                let trust = if trusted { Trust::TRUSTED } else { Trust::PLAIN };
                Value::pointer(Kind::Btf { type_id: self.kernel_struct(type_name)?, trust })
            }
            ReturnKind::DynptrSliceOrNull => {
                let Ok(size) = u32::try_from(arguments.returned_size) else {
                    return unsupported("slices of 4 GiB and more");
                };
                let Some(dynptr) = arguments.dynptr else {
                    return fault(
                        Rule::HelperArgument,
                        "verifier internal error: no dynptr arg found",
                    );
                };
                let slice = Slice { size, read_only: false, dynptr: dynptr.id, class: None };
                Value { ref_id: dynptr.ref_id, ..Value::pointer(Kind::Slice(slice)) }
            }
            ReturnKind::PercpuCopy { .. } => {
                return unsupported("per-CPU variables of the kernel");
            }
            ReturnKind::KptrOrNull => return unsupported("kernel pointers in map values"),
        };
        if or_null {
            result.or_null = true;
            result.id = self.new_id();
        }
        if is_cast(id) {
            result.ref_id = arguments.reference;
        } else if self.acquires(row, arguments)? {
            let reference = Reference { id: self.new_id(), insn: self.at };
            self.state.references.push(reference);
            result.id = reference.id;
            result.ref_id = reference.id;
        }
        self.state.set(Reg::R0, result);
        Ok(())
    }

    fn acquires(&self, row: &HelperRow, arguments: &Arguments) -> Check<bool> {
        if row.traits.acquires {
            return Ok(true);
        }
        let Some(map) = arguments.map.filter(|_| row.id == HelperId::MAP_LOOKUP_ELEM) else {
            return Ok(false);
        };
        Ok(matches!(self.map(map)?.map_type, MapType::SOCKMAP | MapType::SOCKHASH))
    }

    /// A number that a helper returns.
    fn returned_number(&self, id: HelperId, arguments: &Arguments) -> Scalar {
        let range = if SIZED.contains(&id) {
            // Sizes are below 2^29 here.
            Scalar::signed_range(-MAX_ERRNO, arguments.max_size as i64)
                .filter(|_| arguments.max_size <= i32::MAX as u64)
        } else if id == HelperId::GET_SMP_PROCESSOR_ID {
            Scalar::range(0, u64::from(self.input.profile.cpus.max(1) - 1))
        } else {
            None
        };
        range.unwrap_or(Scalar::UNKNOWN)
    }
}
