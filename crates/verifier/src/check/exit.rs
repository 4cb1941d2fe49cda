//! The end: resources given back, and a return value that the kernel understands.

use crate::explore::{Step, Walk};
use crate::rejection::{Check, Rule, detailed, fault, unsupported};
use crate::state::frame::Entered;
use crate::state::value::Value;
use skep_bpf::insn::Reg;
use skep_bpf::platform::{AttachType, ProgType};

/// What programs of a type must return.
struct Returns {
    prog_type: ProgType,
    /// Empty: with any other attach type.
    attach_types: &'static [AttachType],
    min: i64,
    max: i64,
}

/// The first row that fits counts; types without a row may return anything.
const RETURNS: &[Returns] = &[
    Returns {
        prog_type: ProgType::CGROUP_SOCK_ADDR,
        attach_types: &[
            AttachType::CGROUP_UDP4_RECVMSG,
            AttachType::CGROUP_UDP6_RECVMSG,
            AttachType::CGROUP_UNIX_RECVMSG,
            AttachType::CGROUP_INET4_GETPEERNAME,
            AttachType::CGROUP_INET6_GETPEERNAME,
            AttachType::CGROUP_UNIX_GETPEERNAME,
            AttachType::CGROUP_INET4_GETSOCKNAME,
            AttachType::CGROUP_INET6_GETSOCKNAME,
            AttachType::CGROUP_UNIX_GETSOCKNAME,
        ],
        min: 1,
        max: 1,
    },
    Returns {
        prog_type: ProgType::CGROUP_SOCK_ADDR,
        attach_types: &[AttachType::CGROUP_INET4_BIND, AttachType::CGROUP_INET6_BIND],
        min: 0,
        max: 3,
    },
    Returns { prog_type: ProgType::CGROUP_SOCK_ADDR, attach_types: &[], min: 0, max: 1 },
    Returns {
        prog_type: ProgType::CGROUP_SKB,
        attach_types: &[AttachType::CGROUP_INET_EGRESS],
        min: 0,
        max: 3,
    },
    Returns { prog_type: ProgType::CGROUP_SKB, attach_types: &[], min: 0, max: 1 },
    Returns { prog_type: ProgType::CGROUP_SOCK, attach_types: &[], min: 0, max: 1 },
    Returns { prog_type: ProgType::SOCK_OPS, attach_types: &[], min: 0, max: 1 },
    Returns { prog_type: ProgType::CGROUP_DEVICE, attach_types: &[], min: 0, max: 1 },
    Returns { prog_type: ProgType::CGROUP_SYSCTL, attach_types: &[], min: 0, max: 1 },
    Returns { prog_type: ProgType::CGROUP_SOCKOPT, attach_types: &[], min: 0, max: 1 },
    Returns {
        prog_type: ProgType::KPROBE,
        attach_types: &[AttachType::TRACE_KPROBE_SESSION, AttachType::TRACE_UPROBE_SESSION],
        min: 0,
        max: 1,
    },
    Returns { prog_type: ProgType::SK_LOOKUP, attach_types: &[], min: 0, max: 1 },
    Returns {
        prog_type: ProgType::TRACING,
        attach_types: &[AttachType::TRACE_ITER],
        min: 0,
        max: 1,
    },
    Returns { prog_type: ProgType::NETFILTER, attach_types: &[], min: 0, max: 1 },
];

/// Program types whose rules come from the BTF of what they are attached to.
const BY_TARGET: &[ProgType] = &[ProgType::STRUCT_OPS, ProgType::EXT, ProgType::LSM];

impl Walk<'_> {
    /// Refuses programs of types that are not modelled.
    pub(crate) fn check_prog_type(&self) -> Check {
        let prog_type = self.input.prog_type;
        if BY_TARGET.contains(&prog_type) {
            return unsupported(format_args!("programs of type {prog_type}"));
        }
        if self.is_tracing() {
            self.check_attach_target()?;
        }
        if prog_type == ProgType::SYSCALL && !self.input.sleepable {
            return fault(Rule::Structure, "Syscall programs can only be sleepable");
        }
        if self.input.functions.iter().any(|function| function.handles_exceptions) {
            return unsupported("exceptions");
        }
        self.check_types()?;
        if !self.input.profile.perfmon {
            return unsupported("loaders without CAP_PERFMON");
        }
        Ok(())
    }

    /// `exit`.
    pub(crate) fn exit(&mut self) -> Check<Step> {
        let outermost = self.state.depth() == 0;
        if outermost {
            self.check_resources("BPF_EXIT instruction in main prog", true)?;
            self.check_return_value(Reg::R0)?;
            return Ok(Step::End);
        }
        self.return_to_caller()
    }

    /// `bpf_throw`: the program ends here, and returns what is in r1.
    pub(crate) fn throw(&mut self) -> Check<Step> {
        self.check_return_value(Reg::R1)?;
        self.check_resources("bpf_throw", true)?;
        Ok(Step::End)
    }

    /// Nothing is left to give back, and no lock is held.
    pub(crate) fn check_resources(&self, what: &str, locks: bool) -> Check {
        if !self.state.references.is_empty() {
            let unreleased = self.state.references.iter().map(|reference| {
                format!("Unreleased reference id={} alloc_insn={}", reference.id, reference.insn)
            });
            return detailed(
                Rule::Reference,
                unreleased,
                format!("{what} would lead to reference leak"),
            );
        }
        let sections = [
            (self.state.lock.is_some(), "bpf_spin_lock-ed"),
            (!self.state.interrupts.is_empty(), "bpf_local_irq_save-ed"),
            (self.state.rcu, "bpf_rcu_read_lock-ed"),
            (self.state.preempt > 0, "bpf_preempt_disable-ed"),
        ];
        if let Some((_, section)) = sections.iter().find(|(is_in, _)| locks && *is_in) {
            return fault(Rule::Lock, format!("{what} cannot be used inside {section} region"));
        }
        Ok(())
    }

    /// What is verified by itself ends, with what is in a register as its result.
    fn check_return_value(&mut self, reg: Reg) -> Check {
        let value = self.read(reg)?;
        let number = reg.index();
        let outermost = self.state.frame(0);
        if let Entered::Later(_) = outermost.entered {
            return self.check_callback_result(reg, &value);
        }
        if outermost.function != 0 {
            if value.is_scalar() {
                return Ok(());
            }
            return fault(
                Rule::ReturnValue,
                format!(
                    "At subprogram exit the register R{number} is not a scalar value ({})",
                    value.type_name()
                ),
            );
        }
        let (prog_type, attach_type) = (self.input.prog_type, self.input.attach_type);
        let fits = |row: &&Returns| {
            row.prog_type == prog_type
                && (row.attach_types.is_empty() || row.attach_types.contains(&attach_type))
        };
        let Some(row) = RETURNS.iter().find(fits) else { return Ok(()) };
        if !value.is_scalar() {
            return fault(
                Rule::ReturnValue,
                format!(
                    "At program exit the register R{number} is not a known value ({})",
                    value.type_name()
                ),
            );
        }
        self.check_result("At program exit", reg, &value, [row.min, row.max])
    }

    /// What the kernel calls later must return 0.
    fn check_callback_result(&mut self, reg: Reg, value: &Value) -> Check {
        if !value.is_scalar() {
            return fault(
                Rule::ReturnValue,
                format!(
                    "At async callback return the register R{} is not a known value ({})",
                    reg.index(),
                    value.type_name()
                ),
            );
        }
        self.check_result("At async callback return", reg, value, [0, 0])
    }

    /// The number that is returned lies between two.
    pub(crate) fn check_result(
        &mut self,
        when: &str,
        reg: Reg,
        value: &Value,
        [min, max]: [i64; 2],
    ) -> Check {
        self.mark_precise(value);
        let bounds = value.scalar.wide();
        if min <= bounds.smin && bounds.smax <= max {
            return Ok(());
        }
        fault(
            Rule::ReturnValue,
            format!(
                "{when} the register R{} has{} should have been in [{min}, {max}]",
                reg.index(),
                known(value)
            ),
        )
    }
}

/// The bounds of a number, as far as they are known.
fn known(value: &Value) -> String {
    let bounds = value.scalar.wide();
    let mut text = String::new();
    if bounds.smin > i64::MIN {
        text.push_str(&format!(" smin={}", bounds.smin));
    }
    if bounds.smax < i64::MAX {
        text.push_str(&format!(" smax={}", bounds.smax));
    }
    if text.is_empty() {
        text.push_str(" unknown scalar value");
    }
    text
}
