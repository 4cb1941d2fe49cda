//! What kernel functions give whose prototypes are in the kernel's types.

use crate::check::typed_call::Passed;
use crate::explore::Walk;
use crate::kernel::layout;
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::Reference;
use crate::state::value::{Kind, Value};
use skep_bpf::platform::context_of;
use skep_bpf::platform::typed_kfunc::{KfuncEffect, KfuncFlags, TypedKfuncRow};
use skep_btf::{Btf, Kind as Type, TypeId};

impl Walk<'_> {
    /// What r0 holds after the call.
    pub(crate) fn typed_result(
        &mut self,
        btf: &Btf,
        row: &TypedKfuncRow,
        returns: TypeId,
        passed: &Passed,
    ) -> Check<Option<Value>> {
        if row.effect == KfuncEffect::KernelContext {
            return self.kernel_context().map(Some);
        }
        if row.effect == KfuncEffect::ReadOnlyCast {
            return read_only_cast(btf, passed).map(Some);
        }
        let returns = btf.resolve(returns).unwrap_or(TypeId::VOID);
        let Type::Ptr(target) = btf.kind(returns) else {
            return Ok((returns != TypeId::VOID).then_some(Value::UNKNOWN));
        };
        let target = btf.resolve(*target).unwrap_or(TypeId::VOID);
        let mut result = if layout::composite(btf, target).is_some() {
            let in_section = row.flags.contains(KfuncFlags::RCU_PROTECTED);
            let trust = if in_section { Trust::RCU } else { Trust::PLAIN };
            Value::pointer(Kind::Btf { type_id: target, trust })
        } else {
            let Ok(Ok(size)) = btf.size_of(target).map(u32::try_from) else {
                return fault(
                    Rule::HelperNotAllowed,
                    format!(
                        "kernel function {} returns pointer type {} is not supported",
                        row.name,
                        btf.declaration(target, "")
                    ),
                );
            };
            let kind = match row.effect {
                KfuncEffect::WritableResult => Kind::Memory { size, record: false },
                _ => Kind::ReadOnlyMemory { size },
            };
            Value { ref_id: passed.reference, ..Value::pointer(kind) }
        };
        if row.flags.contains(KfuncFlags::RET_NULL) {
            result.or_null = true;
            result.id = self.new_id();
        }
        if row.flags.contains(KfuncFlags::ACQUIRE) {
            let reference = Reference { id: self.new_id(), insn: self.at };
            self.state.references.push(reference);
            result.ref_id = reference.id;
            if result.or_null {
                result.id = reference.id;
            }
        }
        Ok(Some(result))
    }

    /// The context as the structure that the kernel has for it.
    fn kernel_context(&self) -> Check<Value> {
        const CONTEXTS: &[(&str, &str)] = &[
            ("struct __sk_buff", "sk_buff"),
            ("struct xdp_md", "xdp_buff"),
            ("struct bpf_sock_addr", "bpf_sock_addr_kern"),
            ("struct bpf_sock_ops", "bpf_sock_ops_kern"),
            ("struct sk_msg_md", "sk_msg"),
            ("struct bpf_sysctl", "bpf_sysctl_kern"),
            ("struct bpf_sockopt", "bpf_sockopt_kern"),
            ("struct bpf_perf_event_data", "bpf_perf_event_data_kern"),
            ("struct sk_reuseport_md", "sk_reuseport_kern"),
            ("struct bpf_sk_lookup", "bpf_sk_lookup_kern"),
        ];
        let declared = context_of(self.input.prog_type).map_or("", |row| row.c_type);
        let Some((_, name)) = CONTEXTS.iter().find(|(context, _)| *context == declared) else {
            return unsupported(format_args!(
                "the kernel's context of programs of type {}",
                self.input.prog_type
            ));
        };
        let type_id = self.kernel_struct(name)?;
        Ok(Value::pointer(Kind::Btf { type_id, trust: Trust::TRUSTED }))
    }
}

/// An address as a pointer to a type of the kernel, of which the number was passed.
fn read_only_cast(btf: &Btf, passed: &Passed) -> Check<Value> {
    let Some(number) = passed.constant else {
        return unsupported("casts without the number of a type");
    };
    let Ok(number) = u32::try_from(number) else {
        return unsupported("numbers of types beyond 32 bits");
    };
    if number as usize > btf.len() {
        return fault(
            Rule::HelperArgument,
            format!("Unknown type ID {number} passed to kfunc bpf_rdonly_cast"),
        );
    }
    let type_id = TypeId(number);
    match btf.kind(type_id) {
        Type::Struct(_) | Type::Union(_) => {
            Ok(Value::pointer(Kind::Btf { type_id, trust: Trust::UNTRUSTED }))
        }
        Type::Void => Ok(Value::pointer(Kind::UntrustedMemory)),
        _ => fault(
            Rule::HelperArgument,
            "kfunc bpf_rdonly_cast type ID argument must be of a struct or void",
        ),
    }
}
