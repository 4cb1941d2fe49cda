//! What is known at one point of one path: registers and stack of every active function,
//! references and locks.
//!
//! Frames are shared between states and copied when written to.

pub(crate) mod frame;
pub(crate) mod stack;
pub(crate) mod value;

use crate::stack_liveness::StackLiveness;
use crate::structure::Code;
use frame::{Active, Frame, Place};
use skep_bpf::insn::Reg;
use value::{MapRef, Value};

/// The largest number of active functions.
pub(crate) const MAX_FRAMES: usize = 8;

/// A resource that the program must give back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reference {
    pub(crate) id: u32,
    /// The instruction that acquired it.
    pub(crate) insn: usize,
}

/// What a lock lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LockOwner {
    /// A value of the map.
    Map(MapRef),
    /// An object of the program.
    Object,
}

/// A lock that is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lock {
    pub(crate) owner: LockOwner,
    pub(crate) id: u32,
}

/// What is known at one point of one path.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct State {
    pub(crate) frames: Vec<Active>,
    pub(crate) references: Vec<Reference>,
    /// What `bpf_local_irq_save` saved and was not restored, the latest last.
    pub(crate) interrupts: Vec<Reference>,
    pub(crate) lock: Option<Lock>,
    /// Whether it is between `bpf_rcu_read_lock` and `bpf_rcu_read_unlock`.
    pub(crate) rcu: bool,
    /// How often the program forbade that it is interrupted, and did not allow it again.
    pub(crate) preempt: u32,
    /// How many `may_goto` instructions have not jumped.
    pub(crate) may_goto: u32,
    /// How often helpers have called back.
    pub(crate) callbacks: u32,
    /// Whether the program may sleep here.
    pub(crate) sleepable: bool,
}

impl State {
    /// Before the first instruction of what is verified by itself.
    pub(crate) fn new(frame: Frame, sleepable: bool) -> State {
        State {
            frames: vec![frame.into()],
            references: Vec::new(),
            interrupts: Vec::new(),
            lock: None,
            rcu: false,
            preempt: 0,
            may_goto: 0,
            callbacks: 0,
            sleepable,
        }
    }

    /// The active function's frame.
    #[inline]
    pub(crate) fn top(&self) -> &Active {
        self.frames.last().expect("the main function's frame stays")
    }

    /// The active function's frame, to change it.
    #[inline]
    pub(crate) fn top_mut(&mut self) -> &mut Active {
        self.frames.last_mut().expect("the main function's frame stays")
    }

    /// The frame with an index, which a stack pointer of this state has.
    pub(crate) fn frame(&self, index: u8) -> &Active {
        &self.frames[usize::from(index)]
    }

    /// The same, to change it.
    pub(crate) fn frame_mut(&mut self, index: u8) -> &mut Active {
        &mut self.frames[usize::from(index)]
    }

    /// The number of calls that are active.
    pub(crate) fn depth(&self) -> usize {
        self.frames.len() - 1
    }

    /// A register.
    #[inline]
    pub(crate) fn reg(&self, reg: Reg) -> Value {
        self.top().reg(reg.index())
    }

    /// A register as it was written, without a copy: its node may be another one by now.
    #[inline]
    pub(crate) fn as_written(&self, reg: Reg) -> &Value {
        self.top().value_of(reg.index())
    }

    /// Sets a register.
    #[inline]
    pub(crate) fn set(&mut self, reg: Reg, value: Value) {
        self.top_mut().set_reg(reg.index(), value);
    }

    /// A register, to change it.
    pub(crate) fn reg_mut(&mut self, reg: Reg) -> &mut Value {
        self.top_mut().reg_mut(reg.index())
    }

    /// Changes all registers and spilled registers of all frames that `select` names.
    pub(crate) fn update(
        &mut self,
        select: impl Fn(&Value) -> bool,
        mut change: impl FnMut(&mut Value),
    ) {
        for frame in &mut self.frames {
            let found: Vec<Place> = frame.places(&select).map(|(place, _)| place).collect();
            for place in found {
                change(frame.value_mut(place));
            }
        }
    }

    /// Forgets a reference; false if there is none with the id.
    pub(crate) fn drop_reference(&mut self, id: u32) -> bool {
        match self.references.iter().position(|reference| reference.id == id) {
            Some(place) => {
                self.references.remove(place);
                true
            }
            None => false,
        }
    }

    /// Forgets the slots of all frames that are not live at slot `at` of the code.
    pub(crate) fn drop_dead_slots(&mut self, code: &Code, liveness: &StackLiveness, at: usize) {
        for index in 0..self.frames.len() {
            let live = self.live_slots(code, liveness, at, index);
            self.frames[index].keep_slots(live);
        }
    }

    /// The slots of a frame that are live at slot `at` of the code.
    pub(crate) fn live_slots(
        &self,
        code: &Code,
        liveness: &StackLiveness,
        at: usize,
        index: usize,
    ) -> u64 {
        if self.frames[index].stack().len() == 0 {
            return 0;
        }
        let mut live = liveness.live_before(self.top().instance, index, at);
        for calls in self.frames[index..].windows(2) {
            // A call is one slot long. A helper that calls back is come back to.
            let callsite = calls[1].callsite;
            let next = callsite + usize::from(!code.calls_back(callsite));
            live |= liveness.live_before(calls[0].instance, index, next);
        }
        live
    }

    /// Releases a reference: whatever pointed to the resource is a meaningless number now.
    pub(crate) fn release(&mut self, id: u32) -> bool {
        if !self.drop_reference(id) {
            return false;
        }
        self.update(|value| value.ref_id == id, |value| *value = Value::UNKNOWN);
        true
    }
}
