//! Contexts of tracing programs: the arguments of what they are attached to, as the kernel's types
//! declare it, eight bytes each.
//!
//! Tracepoints and iterators are known; programs on functions of the kernel and on its security
//! hooks are refused. (Linux 6.18, `btf_ctx_access`, `check_attach_btf_id`.)

use crate::check::memory::Place;
use crate::domain::Scalar;
use crate::explore::Walk;
use crate::kernel::layout;
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, detailed, fault, unsupported};
use crate::state::value::{Kind, Value};
use skep_bpf::insn::Extend;
use skep_bpf::platform::attach_target::{IteratorArgument, iterator_arguments, may_be_null};
use skep_bpf::platform::{AttachType, ProgType};
use skep_btf::{Btf, Kind as Type, Param, TypeId};

/// The size of an argument in the context.
const ARGUMENT_BYTES: u32 = 8;

/// What a program is attached to.
#[derive(Clone, Copy)]
struct Target<'a> {
    name: &'a str,
    /// What it passes.
    params: &'a [Param],
    /// For iterators, what is known beyond the types.
    iterator: Option<&'static [IteratorArgument]>,
}

impl<'a> Walk<'a> {
    /// Whether the program is of a type whose context the attach target decides.
    pub(crate) fn is_tracing(&self) -> bool {
        self.input.prog_type == ProgType::TRACING
    }

    /// The attach target is there and of a kind that is modelled.
    pub(crate) fn check_attach_target(&self) -> Check {
        self.target().map(|_| ())
    }

    fn target(&self) -> Check<Target<'a>> {
        let Some(name) = self.input.attach_target else {
            return fault(Rule::Structure, "Tracing programs must provide btf_id");
        };
        match self.input.attach_type {
            AttachType::TRACE_RAW_TP => {
                let btf = self.kernel_types()?;
                let found =
                    btf.find(&format!("btf_trace_{name}"), |kind| matches!(kind, Type::Typedef(_)));
                let proto = found.and_then(|id| match btf.kind(btf.resolve(id).ok()?) {
                    Type::Ptr(proto) => Some(*proto),
                    _ => None,
                });
                let Some((_, params)) = proto.and_then(|id| parameters(btf, id)) else {
                    return absent("tracepoint", name);
                };
                // The first is not for programs.
                Ok(Target { name, params: params.get(1..).unwrap_or(&[]), iterator: None })
            }
            AttachType::TRACE_ITER => {
                let btf = self.kernel_types()?;
                let function = btf.find_func(&format!("bpf_iter_{name}"));
                let proto = function.and_then(|id| match btf.kind(id) {
                    Type::Func { proto, .. } => Some(*proto),
                    _ => None,
                });
                let Some((_, params)) = proto.and_then(|id| parameters(btf, id)) else {
                    return absent("iterator", name);
                };
                let Some(iterator) = iterator_arguments(name) else {
                    return unsupported(format_args!("programs for the iterator {name}"));
                };
                Ok(Target { name, params, iterator: Some(iterator) })
            }
            _ => unsupported(format_args!(
                "programs of type {} on functions of the kernel",
                self.input.prog_type
            )),
        }
    }

    /// A load from the context of a tracing program.
    pub(crate) fn load_argument(&mut self, place: Place, extend: Extend) -> Check<Value> {
        let pointer = self.state.reg(place.base);
        self.check_unmodified(place.base, &pointer, false)?;
        let (off, size) = (i64::from(pointer.off) + i64::from(place.off), place.size.bytes());
        let target = self.target()?;
        let refuse = |why: Option<String>| {
            let message = format!("invalid bpf_context access off={off} size={size}");
            detailed(Rule::Context, why, message)
        };
        let (btf, name) = (self.kernel_types()?, target.name);
        let Some(off) = u32::try_from(off).ok().filter(|off| off.is_multiple_of(size)) else {
            return refuse(None);
        };
        if !off.is_multiple_of(ARGUMENT_BYTES) {
            return refuse(Some(format!("func '{name}' offset {off} is not multiple of 8")));
        }
        let index = (off / ARGUMENT_BYTES) as usize;
        let Some(param) = target.params.get(index) else {
            return refuse(Some(format!("func '{name}' doesn't have {}-th argument", index + 1)));
        };
        let Ok(ty) = btf.resolve(param.ty) else { return refuse(None) };
        match btf.kind(ty) {
            Type::Int(_) | Type::Enum(_) | Type::Enum64(_) | Type::Struct(_) | Type::Union(_) => {
                Ok(Value::number(Scalar::loaded(place.size, extend)))
            }
            Type::Ptr(declared) => {
                if size != ARGUMENT_BYTES {
                    return refuse(Some(format!("func '{name}' size {size} must be 8")));
                }
                self.argument(btf, &target, index, *declared, refuse)
            }
            other => refuse(Some(format!(
                "func '{name}' arg{index} '{}' has type {}. Only pointer access is allowed",
                btf.str(param.name),
                other.name()
            ))),
        }
    }

    /// An argument that is a pointer.
    fn argument(
        &mut self,
        btf: &Btf,
        target: &Target<'_>,
        index: usize,
        declared: TypeId,
        refuse: impl Fn(Option<String>) -> Check<Value>,
    ) -> Check<Value> {
        let special = target.iterator.map(|list| list.get(index).copied());
        let special = special.map(|kind| kind.unwrap_or(IteratorArgument::ByType));
        let buffer = |read_only| {
            let kind = Kind::Buffer { read_only };
            move |id| Ok(Value { or_null: true, id, ..Value::pointer(kind) })
        };
        match special {
            Some(IteratorArgument::BufferOrNull) => return buffer(false)(self.new_id()),
            Some(IteratorArgument::ReadOnlyBufferOrNull) => return buffer(true)(self.new_id()),
            _ => {}
        }
        let to = btf.resolve(declared).unwrap_or(TypeId::VOID);
        // What is known of pointers to numbers is no more than of numbers.
        if matches!(btf.kind(to), Type::Void | Type::Int(_)) {
            return Ok(Value::UNKNOWN);
        }
        let Some((type_id, _)) = layout::composite(btf, to) else {
            return refuse(Some(format!(
                "func '{}' arg{index} type {} is not a struct",
                target.name,
                btf.kind(to).name()
            )));
        };
        let mut trust = Trust::TRUSTED;
        let or_null = match special {
            Some(IteratorArgument::TrustedOrNull) => true,
            Some(IteratorArgument::ObjectOrNull) => {
                trust = Trust::PLAIN;
                true
            }
            Some(_) => false,
            None => match may_be_null(target.name, index) {
                Some(or_null) => or_null,
                None => {
                    return unsupported(format_args!(
                        "arguments of the tracepoint {}",
                        target.name
                    ));
                }
            },
        };
        if let Type::TypeTag(_) = btf.kind(declared)
            && special.is_none_or(|kind| kind == IteratorArgument::ByType)
        {
            let tagged = layout::tagged(btf.name(declared));
            if tagged.has(Trust::USER.with(Trust::PERCPU)) {
                trust = trust.with(tagged);
            }
        }
        let id = if or_null { self.new_id() } else { 0 };
        Ok(Value { or_null, id, ..Value::pointer(Kind::Btf { type_id, trust }) })
    }
}

fn absent<T>(what: &str, name: &str) -> Check<T> {
    fault(Rule::Structure, format!("the kernel has no {what} {name} to attach to"))
}

/// The result and the parameters of a prototype.
fn parameters(btf: &Btf, proto: TypeId) -> Option<(TypeId, &[Param])> {
    match btf.kind(btf.resolve(proto).ok()?) {
        Type::FuncProto { returns, params } => Some((*returns, btf.params(*params))),
        _ => None,
    }
}
