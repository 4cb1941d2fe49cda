//! Calls of kernel functions: whether the program may call, what it passes, what comes back.
//!
//! Functions go by name; what is asked of a call stands in their table. A function that is not
//! there is refused. (Linux 6.18, `check_kfunc_call`.)

use crate::check::call::ARGUMENTS;
use crate::explore::Walk;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::Reference;
use crate::state::value::{Kind, Value};
use skep_bpf::insn::Reg;
use skep_bpf::platform::ProgType;
use skep_bpf::platform::dynptr::DynptrRow;
use skep_bpf::platform::kfunc::{IteratorStep, KfuncParam, KfuncReturn, KfuncRow};

impl Walk<'_> {
    /// A call of the kernel function with a number in the code's list.
    pub(crate) fn kfunc_call(&mut self, number: i32) -> Check {
        if let Some(row) = DynptrRow::named(self.kfunc_name(number)?) {
            self.check_kfunc_allowed(row.name, row.prog_types)?;
            return self.dynptr_call(row);
        }
        let row = self.kfunc(number)?;
        self.check_kfunc_allowed(row.name, row.prog_types)?;
        let mut released = None;
        for (index, (reg, param)) in ARGUMENTS.into_iter().zip(row.params).enumerate() {
            match param {
                KfuncParam::Ignored => {}
                KfuncParam::Scalar => {
                    let value = self.read(reg)?;
                    if !value.is_scalar() {
                        return fault(
                            Rule::HelperArgument,
                            format!("R{} is not a scalar", reg.index()),
                        );
                    }
                }
                KfuncParam::Iterator => {}
                KfuncParam::Object { type_names } => {
                    let value = self.read(reg)?;
                    self.check_object(row, index, reg, &value, type_names)?;
                    if row.releases {
                        released = Some(value.ref_id);
                    }
                }
            }
        }
        if row.releases {
            let released = released.filter(|id| *id != 0 && self.state.release(*id));
            if released.is_none() {
                return fault(
                    Rule::Reference,
                    format!(
                        "release kernel function {} expects refcounted PTR_TO_BTF_ID",
                        row.name
                    ),
                );
            }
        }
        let iterator = match row.iterator {
            Some((iterator, step)) => Some((self.check_iterator(iterator, step)?, step)),
            None => None,
        };
        self.clobber_caller_saved();
        self.set_kfunc_result(row);
        if let Some((place, IteratorStep::Next)) = iterator {
            self.fork_iterator(place)?;
        }
        Ok(())
    }

    /// Whether the program may call a kernel function at all.
    fn check_kfunc_allowed(&self, name: &str, prog_types: Option<&[ProgType]>) -> Check {
        if !self.input.gpl_compatible {
            return fault(
                Rule::HelperNotAllowed,
                "cannot call kernel function from non-GPL compatible program",
            );
        }
        if prog_types.is_some_and(|types| !types.contains(&self.input.prog_type)) {
            return fault(
                Rule::HelperNotAllowed,
                format!("calling kernel function {name} is not allowed"),
            );
        }
        Ok(())
    }

    fn kfunc_name(&self, number: i32) -> Check<&str> {
        let names = &self.input.bytecode.kernel_functions;
        let name = usize::try_from(number).ok().and_then(|number| names.get(number));
        match name {
            Some(name) => Ok(name),
            None => unsupported("calls of kernel functions by the numbers of a kernel"),
        }
    }

    fn kfunc(&self, number: i32) -> Check<&'static KfuncRow> {
        let name = self.kfunc_name(number)?;
        match KfuncRow::named(name) {
            Some(row) => Ok(row),
            None => unsupported(format_args!("calls of the kernel function {name}")),
        }
    }

    /// An object that certainly lives: one that the program holds a reference to, or is trusted.
    fn check_object(
        &self,
        row: &KfuncRow,
        index: usize,
        reg: Reg,
        value: &Value,
        type_names: &[&str],
    ) -> Check {
        let number = reg.index();
        if value.or_null || value.is_zero() {
            return fault(
                Rule::MaybeNull,
                format!("Possibly NULL pointer passed to trusted arg{index}"),
            );
        }
        let Kind::Btf { type_name, trusted } = value.kind else {
            let wanted = type_names.first().copied().unwrap_or_default();
            return fault(
                Rule::HelperArgument,
                format!(
                    "arg#{index} is {} expected pointer to STRUCT {wanted} or socket",
                    value.type_name()
                ),
            );
        };
        if !trusted && value.ref_id == 0 {
            return fault(Rule::HelperArgument, format!("R{number} must be referenced or trusted"));
        }
        self.check_unmodified(reg, value, false)?;
        if !type_names.contains(&type_name) {
            let wanted = type_names.first().copied().unwrap_or_default();
            return fault(
                Rule::HelperArgument,
                format!(
                    "kernel function {} args#{index} expected pointer to STRUCT {wanted} but R{number} has a pointer to STRUCT {type_name}",
                    row.name
                ),
            );
        }
        Ok(())
    }

    fn set_kfunc_result(&mut self, row: &KfuncRow) {
        let mut result = match row.returns {
            KfuncReturn::Void => return,
            KfuncReturn::Integer => Value::UNKNOWN,
            KfuncReturn::MemoryOrNull(size) => Value::pointer(Kind::ReadOnlyMemory { size }),
            KfuncReturn::Object(type_name) | KfuncReturn::ObjectOrNull(type_name) => {
                Value::pointer(Kind::Btf { type_name, trusted: false })
            }
        };
        if matches!(row.returns, KfuncReturn::MemoryOrNull(_) | KfuncReturn::ObjectOrNull(_)) {
            result.or_null = true;
            result.id = self.new_id();
        }
        if matches!(row.returns, KfuncReturn::Object(_) | KfuncReturn::ObjectOrNull(_)) {
            let reference = Reference { id: self.new_id(), insn: self.at };
            self.state.references.push(reference);
            result.ref_id = reference.id;
            if result.or_null {
                result.id = reference.id;
            }
        }
        self.state.set(Reg::R0, result);
    }
}
