//! Calls of kernel functions: whether the program may call, what it passes, what comes back.
//!
//! Functions go by name; what is asked of a call stands in their table. A function that is not
//! there is refused. (Linux 6.18, `check_kfunc_call`.)

use crate::check::call::ARGUMENTS;
use crate::explore::{Step, Walk};
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::value::{Kind, Value};
use skep_bpf::insn::Reg;
use skep_bpf::platform::ProgType;
use skep_bpf::platform::dynptr::DynptrRow;
use skep_bpf::platform::kfunc::{IteratorStep, KfuncParam, KfuncReturn, KfuncRow};
use skep_bpf::platform::object::{OBJECT_PROG_TYPES, ObjectRow};
use skep_bpf::platform::typed_kfunc::TypedKfuncRow;

impl Walk<'_> {
    /// A call of the kernel function with a number in the code's list.
    pub(crate) fn kfunc_call(&mut self, number: i32) -> Check<Step> {
        if let Some(row) = DynptrRow::named(self.kfunc_name(number)?) {
            self.check_kfunc_allowed(row.name, row.prog_types)?;
            self.dynptr_call(row)?;
            return Ok(Step::Next);
        }
        if let Some(row) = TypedKfuncRow::named(self.kfunc_name(number)?) {
            self.check_kfunc_allowed(row.name, row.prog_types)?;
            if row.attach_types.is_some_and(|types| !types.contains(&self.input.attach_type)) {
                return fault(
                    Rule::HelperNotAllowed,
                    format!("calling kernel function {} is not allowed", row.name),
                );
            }
            self.typed_call(row)?;
            return Ok(Step::Next);
        }
        if let Some(row) = ObjectRow::named(self.kfunc_name(number)?) {
            self.check_kfunc_allowed(row.name, Some(OBJECT_PROG_TYPES))?;
            self.object_call(row)?;
            return Ok(Step::Next);
        }
        let row = self.kfunc(number)?;
        self.check_kfunc_allowed(row.name, row.prog_types)?;
        for (reg, param) in ARGUMENTS.into_iter().zip(row.params) {
            match param {
                KfuncParam::Ignored | KfuncParam::Iterator => {}
                KfuncParam::Scalar => {
                    let value = self.read(reg)?;
                    if !value.is_scalar() {
                        return fault(
                            Rule::HelperArgument,
                            format!("R{} is not a scalar", reg.index()),
                        );
                    }
                }
            }
        }
        if row.returns == KfuncReturn::Never {
            return self.throw();
        }
        let iterator = match row.iterator {
            Some((iterator, step)) => {
                Some((self.check_iterator(iterator, step, Trust::PLAIN)?, step))
            }
            None => None,
        };
        self.clobber_caller_saved();
        self.set_kfunc_result(row);
        if let Some((place, IteratorStep::Next)) = iterator {
            self.fork_iterator(place)?;
        }
        Ok(Step::Next)
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

    fn set_kfunc_result(&mut self, row: &KfuncRow) {
        let result = match row.returns {
            KfuncReturn::Void | KfuncReturn::Never => return,
            KfuncReturn::Integer => Value::UNKNOWN,
            KfuncReturn::MemoryOrNull(size) => {
                let id = self.new_id();
                Value { or_null: true, id, ..Value::pointer(Kind::ReadOnlyMemory { size }) }
            }
        };
        self.state.set(Reg::R0, result);
    }
}
