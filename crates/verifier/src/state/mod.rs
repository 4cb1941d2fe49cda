//! What is known at one point of one path: registers and stack of every active function,
//! references and locks.
//!
//! Frames are shared between states and copied when written to.

pub(crate) mod stack;
pub(crate) mod value;

use crate::stack_liveness::StackLiveness;
use skep_bpf::insn::Reg;
use stack::Slot;
use std::rc::Rc;
use value::{Kind, MapRef, Value};

/// The largest number of active functions.
pub(crate) const MAX_FRAMES: usize = 8;

/// One active function.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Frame {
    pub(crate) regs: [Value; 11],
    pub(crate) stack: Vec<Slot>,
    /// The slot of the call; meaningless for the main function.
    pub(crate) callsite: usize,
    /// Which function, in the order of the code.
    pub(crate) function: usize,
    /// The chain of calls, as stack liveness counts them.
    pub(crate) instance: usize,
}

impl Frame {
    /// A function that was just entered.
    pub(crate) fn new(index: usize, callsite: usize, function: usize, instance: usize) -> Frame {
        let mut regs = [Value::INVALID; 11];
        // Frames are at most MAX_FRAMES.
        regs[Reg::R10.index()] = Value::pointer(Kind::Stack { frame: index as u8 });
        Frame { regs, stack: Vec::new(), callsite, function, instance }
    }
}

/// A resource that the program must give back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reference {
    pub(crate) id: u32,
    /// The instruction that acquired it.
    pub(crate) insn: usize,
}

/// A lock that is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lock {
    pub(crate) map: MapRef,
    pub(crate) id: u32,
}

/// What is known at one point of one path.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct State {
    pub(crate) frames: Vec<Rc<Frame>>,
    pub(crate) references: Vec<Reference>,
    pub(crate) lock: Option<Lock>,
    /// How many `may_goto` instructions have not jumped.
    pub(crate) may_goto: u32,
}

impl State {
    /// The active function's frame.
    pub(crate) fn top(&self) -> &Frame {
        self.frames.last().expect("the main function's frame stays")
    }

    /// The active function's frame, to change it.
    pub(crate) fn top_mut(&mut self) -> &mut Frame {
        Rc::make_mut(self.frames.last_mut().expect("the main function's frame stays"))
    }

    /// The frame with an index, which a stack pointer of this state has.
    pub(crate) fn frame(&self, index: u8) -> &Frame {
        &self.frames[usize::from(index)]
    }

    /// The same, to change it.
    pub(crate) fn frame_mut(&mut self, index: u8) -> &mut Frame {
        Rc::make_mut(&mut self.frames[usize::from(index)])
    }

    /// The number of calls that are active.
    pub(crate) fn depth(&self) -> usize {
        self.frames.len() - 1
    }

    /// A register.
    pub(crate) fn reg(&self, reg: Reg) -> &Value {
        &self.top().regs[reg.index()]
    }

    /// Sets a register.
    pub(crate) fn set(&mut self, reg: Reg, value: Value) {
        self.top_mut().regs[reg.index()] = value;
    }

    /// Changes all registers and spilled registers of all frames that `select` names.
    pub(crate) fn update(
        &mut self,
        select: impl Fn(&Value) -> bool,
        mut change: impl FnMut(&mut Value),
    ) {
        for frame in &mut self.frames {
            let spilled = |slot: &&Slot| slot.is_spilled();
            let found = frame.regs.iter().any(&select)
                || frame.stack.iter().filter(spilled).any(|slot| select(&slot.value));
            if !found {
                continue;
            }
            let frame = Rc::make_mut(frame);
            let slots = frame.stack.iter_mut().filter(|slot| slot.is_spilled());
            let values = frame.regs.iter_mut().chain(slots.map(|slot| &mut slot.value));
            for value in values.filter(|value| select(value)) {
                change(value);
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
    pub(crate) fn drop_dead_slots(&mut self, liveness: &StackLiveness, at: usize) {
        let top = self.depth();
        let instances: Vec<usize> = self.frames.iter().map(|frame| frame.instance).collect();
        let callsites: Vec<usize> = self.frames.iter().map(|frame| frame.callsite).collect();
        for (index, frame) in self.frames.iter_mut().enumerate() {
            if frame.stack.is_empty() {
                continue;
            }
            let mut live = liveness.live_before(instances[top], index, at);
            for caller in index..top {
                // A call is one slot long.
                let after = callsites[caller + 1] + 1;
                live |= liveness.live_before(instances[caller], index, after);
            }
            let is_dead = |slot: usize| live >> slot & 1 == 0;
            let dead =
                |(slot, contents): (usize, &Slot)| is_dead(slot) && *contents != Slot::INVALID;
            if frame.stack.iter().enumerate().any(dead) {
                let stack = &mut Rc::make_mut(frame).stack;
                for (slot, contents) in stack.iter_mut().enumerate() {
                    if is_dead(slot) {
                        *contents = Slot::INVALID;
                    }
                }
            }
        }
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
