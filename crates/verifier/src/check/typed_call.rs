//! Calls of kernel functions whose prototypes are in the kernel's types.
//!
//! What a parameter takes follows from its type, from the end of its name, from the flags of the
//! function, and from what is passed. (Linux 6.18, `check_kfunc_args`, `check_kfunc_call`;
//! <https://docs.kernel.org/bpf/kfuncs.html>.)

use crate::check::call::ARGUMENTS;
use crate::check::helper_arg::Arguments;
use crate::check::iterator::IteratorPlace;
use crate::check::pointer_compare::set_not_null;
use crate::explore::Walk;
use crate::kernel::layout;
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::stack::SLOT_BYTES;
use crate::state::value::{Kind, Value};
use skep_bpf::insn::Reg;
use skep_bpf::platform::helper::MemoryUse;
use skep_bpf::platform::kfunc::IteratorStep;
use skep_bpf::platform::typed_kfunc::{KfuncEffect, KfuncFlags, TypedKfuncRow};
use skep_bpf::platform::{ArgKind, AttachType, ProgType, context_of};
use skep_btf::{Btf, Kind as Type, Param, TypeId};

/// A parameter of a kernel function.
#[derive(Clone, Copy)]
struct Parameter<'a> {
    index: usize,
    reg: Reg,
    name: &'a str,
    /// Its type, and for a pointer what that points to; both without qualifiers.
    ty: TypeId,
    target: Option<TypeId>,
}

impl<'a> Parameter<'a> {
    fn new(btf: &'a Btf, index: usize, reg: Reg, param: &Param) -> Parameter<'a> {
        let ty = btf.resolve(param.ty).unwrap_or(TypeId::VOID);
        let target = match btf.kind(ty) {
            Type::Ptr(target) => Some(btf.resolve(*target).unwrap_or(TypeId::VOID)),
            _ => None,
        };
        Parameter { index, reg, name: btf.str(param.name), ty, target }
    }

    /// Whether it says, by the end of its name, how it is to be treated.
    fn is(&self, suffix: &str) -> bool {
        self.name.ends_with(suffix)
    }

    /// Whether it is the size of the memory that the parameter before points to.
    fn is_size(&self) -> bool {
        self.target.is_none() && (self.is("__sz") || self.is("__szk"))
    }
}

/// What was learnt from the arguments of a call.
#[derive(Default)]
pub(crate) struct Passed {
    /// The reference that is given back.
    released: u32,
    /// The reference that was passed, given back or not.
    pub(crate) reference: u32,
    /// The number that stands for a type or the like.
    pub(crate) constant: Option<u64>,
}

impl Walk<'_> {
    /// A call of a kernel function.
    pub(crate) fn typed_call(&mut self, row: &TypedKfuncRow) -> Check {
        self.check_may_sleep(row)?;
        self.check_effect(row)?;
        if self.apply_effect(row)? {
            // These give nothing.
            self.clobber_caller_saved();
            return Ok(());
        }
        let btf = self.kernel_types()?;
        let Some((returns, params)) = prototype(btf, row.name) else {
            return fault(
                Rule::HelperNotAllowed,
                format!("the kernel has no function {} for programs to call", row.name),
            );
        };
        if params.len() > ARGUMENTS.len() {
            return unsupported(format_args!("the many arguments of {}", row.name));
        }
        let numbered = ARGUMENTS.into_iter().zip(params).enumerate();
        let params: Vec<Parameter<'_>> =
            numbered.map(|(index, (reg, param))| Parameter::new(btf, index, reg, param)).collect();
        let mut passed = Passed::default();
        let mut rest = params.as_slice();
        let iterator = self.typed_iterator(btf, row)?;
        if iterator.is_some() {
            rest = rest.split_first().map_or(rest, |(_, rest)| rest);
        }
        while let Some((param, after)) = rest.split_first() {
            rest = after;
            let size = after.first().filter(|next| param.target.is_some() && next.is_size());
            if size.is_some() {
                rest = after.split_first().map_or(rest, |(_, rest)| rest);
            }
            self.check_typed_argument(btf, row, param, size, &mut passed)?;
        }
        if row.flags.contains(KfuncFlags::RELEASE) {
            if passed.released == 0 {
                return fault(
                    Rule::Reference,
                    format!(
                        "release kernel function {} expects refcounted PTR_TO_BTF_ID",
                        row.name
                    ),
                );
            }
            if !self.state.release(passed.released) {
                return fault(
                    Rule::Reference,
                    format!("kfunc {} reference has not been acquired before", row.name),
                );
            }
        }
        if row.effect == KfuncEffect::ChangesPacket {
            self.forget_packet();
        }
        self.clobber_caller_saved();
        let mut result = self.typed_result(btf, row, returns, &passed)?;
        if let (Some(Value { kind: Kind::Btf { trust, .. }, .. }), Some((place, _))) =
            (&mut result, iterator)
        {
            let protected = self.iterator_trust(place).has(Trust::RCU);
            *trust = if protected { Trust::RCU } else { Trust::TRUSTED };
        }
        if let Some(result) = result {
            self.state.set(Reg::R0, result);
        }
        match iterator {
            Some((place, IteratorStep::Next)) => self.fork_iterator(place),
            _ => Ok(()),
        }
    }

    /// The iterator that a function steps, which is its first argument.
    fn typed_iterator(
        &mut self,
        btf: &Btf,
        row: &TypedKfuncRow,
    ) -> Check<Option<(IteratorPlace, IteratorStep)>> {
        let KfuncEffect::Iterator(iterator, step) = row.effect else { return Ok(None) };
        let declared = btf.find_struct(&format!("bpf_iter_{}", iterator.name));
        if declared.is_none_or(|(_, ty)| ty.size != u32::from(iterator.slots) * SLOT_BYTES as u32) {
            return unsupported(format_args!("iterators as the kernel has {}", iterator.name));
        }
        // Its elements are locked one after the other, where programs must not wait.
        let may_wait = self.state.sleepable
            || self.input.prog_type == ProgType::LSM
            || self.input.attach_type == AttachType::TRACE_ITER && self.is_tracing();
        if iterator.name == "css_task" && step == IteratorStep::New && !may_wait {
            return fault(
                Rule::HelperNotAllowed,
                "css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs",
            );
        }
        let protected = row.flags.contains(KfuncFlags::RCU_PROTECTED);
        let trust = if protected { Trust::RCU } else { Trust::PLAIN };
        Ok(Some((self.check_iterator(iterator, step, trust)?, step)))
    }

    fn check_typed_argument(
        &mut self,
        btf: &Btf,
        row: &TypedKfuncRow,
        param: &Parameter<'_>,
        size: Option<&Parameter<'_>>,
        passed: &mut Passed,
    ) -> Check {
        if param.is("__ign") {
            return Ok(());
        }
        let Some(target) = param.target else {
            // A register that holds nothing is no number.
            let value = self.state.reg(param.reg);
            return self.check_typed_number(btf, param, &value, passed);
        };
        let value = self.read(param.reg)?;
        let (index, number) = (param.index, param.reg.index());
        let nullable = param.is("__nullable");
        let trusting =
            row.flags.contains(KfuncFlags::TRUSTED_ARGS) || row.flags.contains(KfuncFlags::RELEASE);
        let by_rcu = row.flags.contains(KfuncFlags::RCU);
        if (trusting || by_rcu) && (value.or_null || value.is_zero()) && !nullable {
            return fault(
                Rule::MaybeNull,
                format!("Possibly NULL pointer passed to trusted arg{index}"),
            );
        }
        if value.ref_id != 0 {
            // What the result is part of, if it is of anything, is the last.
            let before = core::mem::replace(&mut passed.reference, value.ref_id);
            if row.flags.contains(KfuncFlags::RELEASE) {
                if before != 0 {
                    return unsupported("two referenced arguments of a call that gives one back");
                }
                passed.released = value.ref_id;
            }
        }
        if let Some(suffix) = UNMODELLED.iter().find(|suffix| param.is(suffix)) {
            return unsupported(format_args!("parameters of kernel functions named ..{suffix}"));
        }
        let is_context = row.effect == KfuncEffect::KernelContext;
        if is_context || self.is_context_type(btf, target) {
            if value.kind != Kind::Context || value.or_null {
                return fault(
                    Rule::HelperArgument,
                    format!("arg#{index} expected pointer to ctx, but got {}", value.type_name()),
                );
            }
            return self.check_unmodified(param.reg, &value, false);
        }
        if nullable && value.is_zero() {
            self.mark_precise(&value);
            return Ok(());
        }
        if btf.name(target) == "bpf_dynptr" {
            self.check_argument_offset(param.reg, &value, ArgKind::Anything)?;
            return self.existing_dynptr(param.reg).map(|_| ());
        }
        if SPECIAL.contains(&btf.name(target)) {
            return unsupported(format_args!("arguments of type struct {}", btf.name(target)));
        }
        if is_object(&value) {
            if layout::composite(btf, target).is_none() {
                return fault(
                    Rule::HelperArgument,
                    format!(
                        "kernel function {} args#{index} pointer type {} is not supported",
                        row.name,
                        btf.declaration(target, "")
                    ),
                );
            }
            if (trusting || by_rcu) && !value.is_trusted() {
                let is_rcu = matches!(value.kind, Kind::Btf { trust, .. } if trust.has(Trust::RCU));
                if !by_rcu {
                    return fault(
                        Rule::HelperArgument,
                        format!("R{number} must be referenced or trusted"),
                    );
                }
                if !is_rcu {
                    return fault(Rule::HelperArgument, format!("R{number} must be a rcu pointer"));
                }
            }
            return self.check_object_passed(btf, row, param, &value, target);
        }
        self.check_memory_passed(btf, param, size, value, target)
    }

    /// Whether a type is the context of programs of this type, as programs or the kernel see it.
    fn is_context_type(&self, btf: &Btf, target: TypeId) -> bool {
        const KERNEL: [(&str, &str); 2] = [("__sk_buff", "sk_buff"), ("xdp_md", "xdp_buff")];
        let declared = context_of(self.input.prog_type).map_or("", |row| row.c_type);
        let Some(context) = declared.strip_prefix("struct ") else { return false };
        let name = btf.name(target);
        matches!(btf.kind(target), Type::Struct(_))
            && (name == context || KERNEL.contains(&(context, name)))
    }

    fn check_typed_number(
        &mut self,
        btf: &Btf,
        param: &Parameter<'_>,
        value: &Value,
        passed: &mut Passed,
    ) -> Check {
        let number = param.reg.index();
        if !matches!(btf.kind(param.ty), Type::Int(_) | Type::Enum(_) | Type::Enum64(_)) {
            return fault(
                Rule::HelperArgument,
                format!("Unrecognized arg#{} type {}", param.index, btf.declaration(param.ty, "")),
            );
        }
        if !value.is_scalar() {
            return fault(Rule::HelperArgument, format!("R{number} is not a scalar"));
        }
        if param.is("__k") {
            let Some(constant) = value.as_constant() else {
                return fault(Rule::HelperArgument, format!("R{number} must be a known constant"));
            };
            self.mark_precise(value);
            passed.constant = Some(constant);
        }
        if ["rdonly_buf_size", "rdwr_buf_size"].contains(&param.name) {
            return unsupported("kernel functions that return memory of a size that is passed");
        }
        Ok(())
    }

    /// A pointer to a structure of the kernel.
    fn check_object_passed(
        &self,
        btf: &Btf,
        row: &TypedKfuncRow,
        param: &Parameter<'_>,
        value: &Value,
        target: TypeId,
    ) -> Check {
        let (index, number) = (param.index, param.reg.index());
        let releases = row.flags.contains(KfuncFlags::RELEASE) && value.ref_id != 0;
        if releases && value.off != 0 {
            return fault(
                Rule::HelperArgument,
                format!(
                    "R{number} must have zero offset when passed to release func or trusted arg to kfunc"
                ),
            );
        }
        let fixed_allowed = matches!(value.kind, Kind::Btf { .. }) && !releases;
        self.check_unmodified(param.reg, value, fixed_allowed)?;
        let type_id = match value.kind {
            Kind::Btf { type_id, trust } => {
                let is_unsafe = value.or_null || trust.is_unsafe();
                if is_unsafe && !trust.has(Trust::RCU) {
                    let wanted = if trust.has(Trust::TRUSTED) { "trusted_ptr_" } else { "ptr_" };
                    return fault(
                        Rule::HelperArgument,
                        format!("arg#{index} is {} expected {wanted} or socket", value.type_name()),
                    );
                }
                type_id
            }
            Kind::Socket => self.kernel_struct("sock")?,
            Kind::SockCommon => self.kernel_struct("sock_common")?,
            Kind::TcpSock => self.kernel_struct("tcp_sock")?,
            _ => self.kernel_struct("bpf_map")?,
        };
        let (found, wanted) = (btf.name(type_id), btf.name(target));
        let alias = is_alias(found, wanted) || is_alias(wanted, found);
        let strict = row.flags.contains(KfuncFlags::ACQUIRE) || releases || alias;
        let off = u32::try_from(value.off).ok();
        let fits = off.is_some_and(|off| layout::is_at(btf, type_id, off, target, strict));
        if fits || is_projection(wanted, found) {
            return Ok(());
        }
        let kind = btf.kind(target).name();
        fault(
            Rule::HelperArgument,
            format!(
                "kernel function {} args#{index} expected pointer to {kind} {wanted} but R{number} has a pointer to {} {found}",
                row.name,
                btf.kind(type_id).name()
            ),
        )
    }

    /// A pointer to memory that holds numbers, of the size of the type or of one that is passed.
    fn check_memory_passed(
        &mut self,
        btf: &Btf,
        param: &Parameter<'_>,
        size: Option<&Parameter<'_>>,
        value: Value,
        target: TypeId,
    ) -> Check {
        let index = param.index;
        let opaque = size.is_some() && target == TypeId::VOID;
        if !is_number(btf, target) && !is_plain_struct(btf, target, 0) && !opaque {
            let structure = if size.is_some() { "void, " } else { "" };
            return fault(
                Rule::HelperArgument,
                format!(
                    "arg#{index} pointer type {} {} must point to {structure}scalar, or struct with scalar",
                    btf.kind(target).name().to_uppercase(),
                    btf.name(target)
                ),
            );
        }
        if value.or_null && is_object(&value) {
            return unsupported("objects that may be NULL as memory");
        }
        self.check_argument_offset(param.reg, &value, ArgKind::Anything)?;
        let Some(size) = size else {
            let Ok(Ok(bytes)) = btf.size_of(target).map(u32::try_from) else {
                return fault(
                    Rule::HelperArgument,
                    format!(
                        "arg#{index} reference type('{}') size cannot be determined",
                        btf.declaration(target, "")
                    ),
                );
            };
            if value.is_zero() {
                return Ok(());
            }
            return self.check_memory_parameter(param.reg, value, bytes);
        };
        let bytes = self.read(size.reg)?;
        if !bytes.is_scalar() {
            return fault(Rule::HelperArgument, format!("R{} is not a scalar", size.reg.index()));
        }
        if size.is("__szk") && bytes.as_constant().is_none() {
            return fault(
                Rule::HelperArgument,
                format!("R{} must be a known constant", size.reg.index()),
            );
        }
        if value.is_zero() && param.is("__opt") {
            return Ok(());
        }
        let mut pointer = value;
        if pointer.or_null {
            set_not_null(&mut pointer, self.input.maps);
            self.state.set(param.reg, pointer);
        }
        for uses in [MemoryUse::Read, MemoryUse::ReadWrite] {
            let checked = self.check_size(size.reg, &bytes, uses, true, &mut Arguments::default());
            if let Err(cause) = checked {
                if cause.rule == Rule::Unsupported {
                    return Err(cause);
                }
                return crate::rejection::detailed(
                    cause.rule,
                    [cause.message],
                    format!(
                        "arg#{index} arg#{} memory, len pair leads to invalid memory access",
                        size.index
                    ),
                );
            }
        }
        self.state.set(param.reg, value);
        Ok(())
    }
}

/// Ends of names that say what is not modelled.
const UNMODELLED: &[&str] = &[
    "__alloc",
    "__refcounted_kptr",
    "__str",
    "__map",
    "__irq_flag",
    "__iter",
    "__uninit",
    "__prog",
    "__aux",
];

/// Structures that are more to the verifier than memory or objects.
const SPECIAL: &[&str] = &[
    "bpf_dynptr_kern",
    "bpf_list_head",
    "bpf_list_node",
    "bpf_rb_root",
    "bpf_rb_node",
    "bpf_wq",
    "bpf_timer",
    "bpf_task_work",
    "bpf_res_spin_lock",
];

/// The result and the parameters of a function of the kernel.
fn prototype<'a>(btf: &'a Btf, name: &str) -> Option<(TypeId, &'a [Param])> {
    let Type::Func { proto, .. } = btf.kind(btf.find_func(name)?) else { return None };
    match btf.kind(*proto) {
        Type::FuncProto { returns, params } => Some((*returns, btf.params(*params))),
        _ => None,
    }
}

/// Whether it points to an object of the kernel: by its type, or as the sockets and maps do that
/// programs see by another one.
fn is_object(value: &Value) -> bool {
    matches!(
        value.kind,
        Kind::Btf { .. } | Kind::Socket | Kind::SockCommon | Kind::TcpSock | Kind::ConstMap(_)
    )
}

fn is_number(btf: &Btf, id: TypeId) -> bool {
    matches!(btf.kind(id), Type::Int(_) | Type::Enum(_) | Type::Enum64(_))
}

/// Whether a structure, and those in it, have nothing but numbers.
fn is_plain_struct(btf: &Btf, id: TypeId, depth: u32) -> bool {
    /// The kernel looks no deeper.
    const MAX_DEPTH: u32 = 3;
    let (Type::Struct(composite) | Type::Union(composite)) = btf.kind(id) else { return false };
    btf.members(composite).iter().all(|member| {
        let Ok(ty) = btf.resolve(member.ty) else { return false };
        match btf.kind(ty) {
            Type::Struct(_) | Type::Union(_) => {
                depth < MAX_DEPTH && is_plain_struct(btf, ty, depth + 1)
            }
            Type::Array(array) => {
                let element = btf.resolve(array.element);
                array.count != 0 && element.is_ok_and(|element| is_number(btf, element))
            }
            _ => is_number(btf, ty),
        }
    })
}

/// Whether a name is another one for an object that is not set up yet.
fn is_alias(name: &str, of: &str) -> bool {
    name.strip_suffix("___init") == Some(of)
}

/// Whether a type is the one that programs see of a type of the kernel.
fn is_projection(seen: &str, kernel: &str) -> bool {
    matches!((seen, kernel), ("__sk_buff", "sk_buff") | ("xdp_md", "xdp_buff"))
}
