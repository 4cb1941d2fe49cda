//! The deprecated packet loads, which are calls in disguise: the context is in r6, r1 to r5 are
//! lost, and the program ends where the packet does.

use crate::explore::{Step, Walk};
use crate::rejection::{Check, Rule, fault};
use crate::state::frame::Entered;
use crate::state::value::{Kind, Value};
use skep_bpf::insn::{PacketIndex, Reg};
use skep_bpf::platform::ProgType;

impl Walk<'_> {
    /// `LD_ABS` and `LD_IND`.
    pub(crate) fn load_packet(&mut self, index: PacketIndex) -> Check<Step> {
        let allowed = [ProgType::SOCKET_FILTER, ProgType::SCHED_CLS, ProgType::SCHED_ACT];
        if !allowed.contains(&self.input.prog_type) {
            return fault(
                Rule::PacketLoad,
                "BPF_LD_[ABS|IND] instructions not allowed for this program type",
            );
        }
        if self.state.frames.iter().any(|frame| frame.entered == Entered::Callback) {
            return fault(Rule::PacketLoad, "cannot use BPF_LD_[ABS|IND] within callback");
        }
        let context = self.read(Reg::R6)?;
        self.check_resources("BPF_LD_[ABS|IND]", true)?;
        if context.kind != Kind::Context {
            return fault(Rule::PacketLoad, "at the time of BPF_LD_ABS|IND R6 != pointer to skb");
        }
        if let PacketIndex::Indirect(reg) = index {
            self.read(reg)?;
        }
        self.check_unmodified(Reg::R6, &context, false)?;
        self.clobber_caller_saved();
        self.state.set(Reg::R0, Value::UNKNOWN);
        if self.state.depth() == 0 {
            return Ok(Step::Next);
        }
        // In a function the load may return 0 to the caller.
        let other = self.state.clone();
        self.push(other, self.at + 1, None)?;
        self.state.set(Reg::R0, Value::constant(0));
        self.return_to_caller()
    }
}
