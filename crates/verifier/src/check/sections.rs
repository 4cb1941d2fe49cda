//! Calls that begin or end a section, and those that are refused in one.

use crate::explore::Walk;
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, fault};
use crate::state::value::Kind;
use skep_bpf::platform::typed_kfunc::{KfuncEffect, KfuncFlags, TypedKfuncRow};

impl Walk<'_> {
    /// Whether the program may sleep here, and is protected, as a function needs it.
    pub(crate) fn check_may_sleep(&self, row: &TypedKfuncRow) -> Check {
        if row.flags.contains(KfuncFlags::SLEEPABLE) && !self.state.sleepable {
            return fault(
                Rule::HelperNotAllowed,
                format!("program must be sleepable to call sleepable kfunc {}", row.name),
            );
        }
        if row.flags.contains(KfuncFlags::SLEEPABLE)
            && let Some(section) = self.section()
        {
            return fault(
                Rule::Lock,
                format!("kernel func {} is sleepable within {section} region", row.name),
            );
        }
        if row.flags.contains(KfuncFlags::RCU_PROTECTED) && !self.in_rcu_section() {
            return fault(
                Rule::HelperNotAllowed,
                format!("kernel func {} requires RCU critical section protection", row.name),
            );
        }
        Ok(())
    }

    /// Calls that begin or end a section.
    pub(crate) fn check_effect(&self, row: &TypedKfuncRow) -> Check {
        match row.effect {
            KfuncEffect::RcuLock if self.state.rcu => {
                fault(Rule::Lock, format!("nested rcu read lock (kernel function {})", row.name))
            }
            KfuncEffect::RcuUnlock if !self.state.rcu => fault(
                Rule::Lock,
                format!("unmatched rcu read unlock (kernel function {})", row.name),
            ),
            KfuncEffect::PreemptEnable if self.state.preempt == 0 => fault(
                Rule::Lock,
                format!("unmatched attempt to enable preemption (kernel function {})", row.name),
            ),
            KfuncEffect::None
            | KfuncEffect::KernelContext
            | KfuncEffect::RcuLock
            | KfuncEffect::RcuUnlock
            | KfuncEffect::PreemptDisable
            | KfuncEffect::PreemptEnable
            | KfuncEffect::InterruptsSave
            | KfuncEffect::InterruptsRestore
            | KfuncEffect::Iterator(..)
            | KfuncEffect::ReadOnlyCast
            | KfuncEffect::WritableResult
            | KfuncEffect::ChangesPacket => Ok(()),
        }
    }

    /// Begins or ends a section; false if the call does something else.
    pub(crate) fn apply_effect(&mut self, row: &TypedKfuncRow) -> Check<bool> {
        match row.effect {
            KfuncEffect::RcuLock => self.state.rcu = true,
            KfuncEffect::RcuUnlock => {
                self.state.rcu = false;
                self.end_protection();
                self.end_protection_of_iterators();
                // What was protected may be gone now.
                self.state.update(
                    |value| matches!(value.kind, Kind::Btf { trust, .. } if trust.has(Trust::RCU)),
                    |value| {
                        if let Kind::Btf { trust, .. } = &mut value.kind {
                            *trust = trust.without(Trust::RCU).with(Trust::UNTRUSTED);
                        }
                        value.or_null = false;
                    },
                );
            }
            KfuncEffect::PreemptDisable => self.state.preempt += 1,
            KfuncEffect::PreemptEnable => self.state.preempt -= 1,
            KfuncEffect::InterruptsSave => self.save_interrupts()?,
            KfuncEffect::InterruptsRestore => self.restore_interrupts()?,
            KfuncEffect::None
            | KfuncEffect::KernelContext
            | KfuncEffect::ReadOnlyCast
            | KfuncEffect::WritableResult
            | KfuncEffect::ChangesPacket
            | KfuncEffect::Iterator(..) => return Ok(false),
        }
        Ok(true)
    }
}
