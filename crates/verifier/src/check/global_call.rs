//! Global functions: verified once by themselves, for all arguments that their types allow; a
//! call checks that it passes such arguments, and knows nothing of what comes back.

use crate::check::call::ARGUMENTS;
use crate::check::pointer_compare::set_not_null;
use crate::explore::{Step, Walk};
use crate::input::{FunctionFacts, ParamKind};
use crate::kernel::layout;
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::frame::Frame;
use crate::state::value::{Kind, Value};
use skep_bpf::insn::Reg;
use skep_bpf::platform::{Access, ArgKind};

impl Walk<'_> {
    /// A call of a global function.
    pub(crate) fn global_call(&mut self, function: usize) -> Check<Step> {
        if self.state.lock.is_some() {
            return fault(
                Rule::Lock,
                "global function calls are not allowed while holding a lock,\n\
                 use static function instead",
            );
        }
        if self.section().is_some() && self.code.functions[function].may_sleep {
            return fault(
                Rule::Lock,
                "global functions that may sleep are not allowed in non-sleepable context,\n\
                 i.e., in a RCU/IRQ/preempt-disabled section, or in\n\
                 a non-sleepable BPF program context",
            );
        }
        let facts = self.global_facts(function)?;
        for (reg, param) in ARGUMENTS.into_iter().zip(&facts.params) {
            if let Err(error) = self.check_parameter(reg, param) {
                if error.rule == Rule::Unsupported {
                    return Err(error);
                }
                return fault(
                    Rule::HelperArgument,
                    format!("Caller passes invalid args into func#{function} ('{}')", facts.name),
                );
            }
        }
        let holds = !self.state.references.is_empty() || self.section().is_some();
        if self.code.functions[function].throws && holds {
            return unsupported(
                "global functions that may throw while the program holds references or locks",
            );
        }
        self.called[function] = true;
        if self.code.functions[function].changes_packet {
            self.forget_packet();
        }
        self.clobber_caller_saved();
        self.state.set(Reg::R0, Value::UNKNOWN);
        Ok(Step::Next)
    }

    /// What is known of a global function, if its type can be verified.
    fn global_facts(&self, function: usize) -> Check<FunctionFacts> {
        let place = self.code.functions[function].facts;
        let Some(facts) = place.and_then(|place| self.input.functions.get(place)) else {
            return fault(Rule::Structure, "Global functions need valid BTF");
        };
        if facts.params.len() > ARGUMENTS.len() {
            return fault(
                Rule::Structure,
                format!(
                    "Global function {}() with {} > {} args. Buggy compiler.",
                    facts.name,
                    facts.params.len(),
                    ARGUMENTS.len()
                ),
            );
        }
        if !facts.returns_number {
            return fault(
                Rule::Structure,
                format!(
                    "Global function {}() doesn't return scalar. Only those are supported.",
                    facts.name
                ),
            );
        }
        Ok(facts.clone())
    }

    /// An argument is what a parameter asks for.
    fn check_parameter(&mut self, reg: Reg, param: &ParamKind) -> Check {
        let number = reg.index();
        let value = self.state.reg(reg);
        match param {
            ParamKind::Number if value.is_scalar() => Ok(()),
            ParamKind::Number => fault(Rule::HelperArgument, format!("R{number} is not a scalar")),
            ParamKind::ContextFor(attach_type) if *attach_type != self.input.attach_type => {
                unsupported("parameters of global functions declared as another context")
            }
            ParamKind::Context | ParamKind::ContextFor(_) => {
                if value.kind != Kind::Context {
                    return fault(
                        Rule::HelperArgument,
                        format!("arg#{} expects pointer to ctx", number - 1),
                    );
                }
                self.check_unmodified(reg, &value, false)
            }
            ParamKind::Memory { size, or_null } => {
                if !or_null && (value.or_null || value.is_zero()) {
                    return fault(
                        Rule::HelperArgument,
                        format!("arg#{} is expected to be non-NULL", number - 1),
                    );
                }
                if value.is_zero() {
                    self.mark_precise(&value);
                    return Ok(());
                }
                self.check_argument_offset(reg, &value, ArgKind::Anything)?;
                self.check_memory_parameter(reg, value, *size)
            }
            ParamKind::Dynptr => {
                self.check_argument_offset(reg, &value, ArgKind::Anything)?;
                self.existing_dynptr(reg).map(|_| ())
            }
            ParamKind::Object { type_name, or_null } => {
                if *or_null && value.is_zero() {
                    self.mark_precise(&value);
                    return Ok(());
                }
                let wanted = self.kernel_struct(type_name)?;
                let trusted = Value { or_null: false, ..value }.is_trusted();
                let (Kind::Btf { type_id, .. }, true) = (value.kind, trusted) else {
                    return fault(
                        Rule::HelperArgument,
                        format!(
                            "R{number} type={} expected=ptr_, trusted_ptr_, rcu_ptr_",
                            value.type_name()
                        ),
                    );
                };
                if value.or_null && !or_null {
                    return fault(
                        Rule::MaybeNull,
                        format!("Possibly NULL pointer passed to helper arg{number}"),
                    );
                }
                self.check_unmodified(reg, &value, true)?;
                let off = u32::try_from(value.off).ok();
                let types = self.kernel_types()?;
                if !off.is_some_and(|off| layout::is_at(types, type_id, off, wanted, false)) {
                    let found = types.name(type_id);
                    return fault(
                        Rule::HelperArgument,
                        format!("R{number} is of type {found} but {type_name} is expected"),
                    );
                }
                Ok(())
            }
            ParamKind::Other(declared) => {
                unsupported(format_args!("parameters of global functions declared {declared}"))
            }
        }
    }

    /// Memory that the function may read and write, whatever it is.
    pub(crate) fn check_memory_parameter(&mut self, reg: Reg, value: Value, size: u32) -> Check {
        let mut pointer = value;
        if pointer.or_null {
            set_not_null(&mut pointer, self.input.maps);
            self.state.set(reg, pointer);
        }
        let size = i64::from(size);
        self.helper_memory(reg, size, Access::Read, true, None)?;
        self.helper_memory(reg, size, Access::Write, true, None)?;
        self.state.set(reg, value);
        Ok(())
    }

    /// The arguments that a global function is verified for.
    pub(crate) fn set_parameters(&mut self, function: usize, frame: &mut Frame) -> Check {
        let facts = self.global_facts(function)?;
        for (reg, param) in ARGUMENTS.into_iter().zip(&facts.params) {
            let value = match param {
                ParamKind::Number => Value::UNKNOWN,
                ParamKind::ContextFor(attach_type) if *attach_type != self.input.attach_type => {
                    return unsupported(
                        "parameters of global functions declared as another context",
                    );
                }
                ParamKind::Context | ParamKind::ContextFor(_) => Value::pointer(Kind::Context),
                ParamKind::Memory { size, or_null } => Value {
                    or_null: *or_null,
                    id: self.new_id(),
                    ..Value::pointer(Kind::Memory { size: *size, record: false })
                },
                ParamKind::Dynptr => {
                    Value { id: self.new_id(), ..Value::pointer(Kind::ConstDynptr) }
                }
                ParamKind::Object { type_name, or_null } => {
                    let type_id = self.kernel_struct(type_name)?;
                    let id = if *or_null { self.new_id() } else { 0 };
                    let kind = Kind::Btf { type_id, trust: Trust::TRUSTED };
                    Value { or_null: *or_null, id, ..Value::pointer(kind) }
                }
                ParamKind::Other(declared) => {
                    return unsupported(format_args!(
                        "parameters of global functions declared {declared}"
                    ));
                }
            };
            frame.set(reg, value);
        }
        Ok(())
    }
}
