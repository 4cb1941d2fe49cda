//! Calls of kernel functions that make, use and copy dynamic pointers.
//!
//! (Linux 6.18, `check_kfunc_args` and `check_kfunc_call`.)

use crate::check::call::ARGUMENTS;
use crate::check::dynptr::DynptrFacts;
use crate::check::pointer_compare::set_not_null;
use crate::explore::Walk;
use crate::rejection::{Check, Rule, detailed, fault};
use crate::state::value::{Kind, MAX_VAR_OFF, Slice, Value};
use skep_bpf::insn::Reg;
use skep_bpf::platform::dynptr::{DynptrCall, DynptrClass, DynptrRow};
use skep_bpf::platform::{Access, ArgKind, ProgType};

impl Walk<'_> {
    /// A call of a kernel function that deals with dynamic pointers.
    pub(crate) fn dynptr_call(&mut self, row: &DynptrRow) -> Check {
        let mut result = Value::UNKNOWN;
        let mut changes_packet = false;
        match row.call {
            DynptrCall::FromContext(class) => self.dynptr_from_context(class)?,
            DynptrCall::Slice { writable } => result = self.dynptr_slice(writable)?,
            DynptrCall::Clone => {
                let parent = self.dynptr_of(Reg::R1)?;
                self.check_pointer(Reg::R2)?;
                let shared = (parent.ref_id != 0).then_some(parent.ref_id);
                self.new_dynptr(Reg::R2, parent.class, shared)?;
            }
            DynptrCall::Use { numbers, writes } => {
                let used = self.dynptr_of(Reg::R1)?;
                for reg in ARGUMENTS.into_iter().skip(1).take(usize::from(numbers)) {
                    self.check_number(reg)?;
                }
                changes_packet = writes && used.class.is_packet();
            }
            DynptrCall::Copy => {
                let target = self.dynptr_of(Reg::R1)?;
                self.check_number(Reg::R2)?;
                self.dynptr_of(Reg::R3)?;
                self.check_number(Reg::R4)?;
                self.check_number(Reg::R5)?;
                changes_packet = target.class.is_packet();
            }
        }
        self.clobber_caller_saved();
        self.state.set(Reg::R0, result);
        if changes_packet {
            self.forget_packet();
        }
        Ok(())
    }

    pub(crate) fn check_number(&self, reg: Reg) -> Check {
        // A register that was never written is none, either.
        if self.state.reg(reg).is_scalar() {
            return Ok(());
        }
        fault(Rule::HelperArgument, format!("R{} is not a scalar", reg.index()))
    }

    /// A pointer with an offset that its kind may have.
    fn check_pointer(&self, reg: Reg) -> Check<Value> {
        let value = self.read(reg)?;
        self.check_argument_offset(reg, &value, ArgKind::Anything)?;
        Ok(value)
    }

    fn dynptr_of(&mut self, reg: Reg) -> Check<DynptrFacts> {
        self.check_pointer(reg)?;
        self.existing_dynptr(reg)
    }

    /// The packet of the context: context, flags, and where the new dynamic pointer goes.
    fn dynptr_from_context(&mut self, class: DynptrClass) -> Check {
        let context = self.read(Reg::R1)?;
        if context.is_zero() || context.or_null {
            return fault(Rule::MaybeNull, "Possibly NULL pointer passed to trusted arg0");
        }
        if self.is_passed_packets() {
            self.check_kernel_packet(&context)?;
        } else if context.kind == Kind::Context {
            self.check_pointer(Reg::R1)?;
        } else {
            return fault(
                Rule::HelperArgument,
                format!("arg#0 expected pointer to ctx, but got {}", context.type_name()),
            );
        }
        self.check_number(Reg::R2)?;
        self.check_pointer(Reg::R3)?;
        self.new_dynptr(Reg::R3, class, None)
    }

    /// Whether programs of this type have no packet for a context, but are passed the kernel's.
    fn is_passed_packets(&self) -> bool {
        matches!(self.input.prog_type, ProgType::NETFILTER | ProgType::TRACING)
    }

    /// A packet of the kernel that certainly lives.
    fn check_kernel_packet(&self, packet: &Value) -> Check {
        let Kind::Btf { type_id, .. } = packet.kind else {
            return fault(
                Rule::HelperArgument,
                format!(
                    "arg#0 expected pointer to a socket buffer, but got {}",
                    packet.type_name()
                ),
            );
        };
        if !packet.is_trusted() {
            return fault(Rule::HelperArgument, "R1 must be referenced or trusted");
        }
        self.check_unmodified(Reg::R1, packet, false)?;
        let name = self.kernel_types()?.name(type_id);
        if name == "sk_buff" {
            return Ok(());
        }
        fault(
            Rule::HelperArgument,
            format!(
                "kernel function bpf_dynptr_from_skb args#0 expected pointer to STRUCT __sk_buff but R1 has a pointer to STRUCT {name}"
            ),
        )
    }

    /// Memory of a constant size, in place or copied to a buffer.
    fn dynptr_slice(&mut self, writable: bool) -> Check<Value> {
        let dynptr = self.dynptr_of(Reg::R1)?;
        self.check_number(Reg::R2)?;
        let buffer = self.read(Reg::R3)?;
        let size = self.read(Reg::R4)?;
        if !size.is_scalar() || matches!(buffer.kind, Kind::Btf { .. }) {
            return fault(
                Rule::HelperArgument,
                "arg#2 pointer type UNKNOWN  must point to scalar, or struct with scalar",
            );
        }
        self.check_pointer(Reg::R3)?;
        if !buffer.is_zero() {
            self.check_buffer(&buffer, &size)?;
        }
        let Some(bytes) = size.as_constant() else {
            return fault(Rule::HelperArgument, "R4 must be a known constant");
        };
        self.mark_precise(&buffer);
        self.mark_precise(&size);
        if writable && !self.may_write_packet() {
            return fault(Rule::Permission, "the prog does not allow writes to packet data");
        }
        // The function takes 32 bits of it.
        let slice = Slice {
            size: bytes as u32,
            read_only: !writable,
            dynptr: dynptr.id,
            class: Some(dynptr.class),
        };
        // The kernel forgets that memory of a record ends with its reference; it does.
        let id = self.new_id();
        let pointer = Value::pointer(Kind::Slice(slice));
        Ok(Value { or_null: true, id, ref_id: dynptr.ref_id, ..pointer })
    }

    /// The buffer of a slice: memory that may be read and written, of as many bytes as asked for.
    fn check_buffer(&mut self, buffer: &Value, size: &Value) -> Check {
        let bounds = size.scalar.wide();
        let wrong = if bounds.smin < 0 {
            Some("R4 min value is negative, either use unsigned or 'var &= const'")
        } else if bounds.umax >= MAX_VAR_OFF as u64 {
            Some("R4 unbounded memory access, use 'var &= const' or 'if (var < const)'")
        } else {
            None
        };
        const SENTENCE: &str = "arg#2 arg#3 memory, len pair leads to invalid memory access";
        if let Some(wrong) = wrong {
            return detailed(Rule::HelperArgument, [wrong.to_owned()], SENTENCE);
        }
        // The bound was just found to be small.
        let bytes = bounds.umax as i64;
        let mut pointer = *buffer;
        if pointer.or_null {
            set_not_null(&mut pointer, self.input.maps);
            self.state.set(Reg::R3, pointer);
        }
        let accesses = [Access::Read, Access::Write];
        let mut checks =
            accesses.map(|access| self.helper_memory(Reg::R3, bytes, access, true, None));
        self.state.set(Reg::R3, *buffer);
        match checks.iter_mut().find_map(|check| core::mem::replace(check, Ok(())).err()) {
            None => Ok(()),
            Some(wrong) if wrong.rule == Rule::Unsupported => Err(wrong),
            Some(wrong) => {
                let details = wrong.details.into_iter().chain([wrong.message]);
                detailed(Rule::HelperArgument, details, SENTENCE)
            }
        }
    }
}
