//! One active function: its registers and stack, shared between states until written to.
//!
//! A frame keeps each number with its node of when it was written. What node it has now depends on
//! whether a checkpoint came since, which is the state's to know ([`Active`]): so a checkpoint
//! shares its frames with the path that goes on. Whoever needs nodes asks `Active`; `Frame` alone
//! gives values as they were written.

use super::stack::{Slot, Stack};
use super::value::{Kind, Value};
use crate::liveness::Regs;
use crate::precision::{Node, Nodes, Written};
use core::ops::Deref;
use skep_bpf::insn::Reg;
use std::rc::Rc;

/// The number of registers.
pub(crate) const REGS: usize = 11;
/// All of them.
const ALL_REGS: Regs = (1 << REGS) - 1;
/// The number of registers that calls write, r0 to r5.
const LOW: usize = 6;
/// The number of registers that calls keep.
const HIGH: usize = REGS - LOW;

/// A place in a frame that can hold a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A register.
    Reg(usize),
    /// A slot of the stack.
    Slot(usize),
}

impl Place {
    pub(crate) fn number(self) -> usize {
        match self {
            Place::Reg(reg) => reg,
            Place::Slot(slot) => REGS + slot,
        }
    }

    pub(crate) fn of_number(number: usize) -> Place {
        match number.checked_sub(REGS) {
            None => Place::Reg(number),
            Some(slot) => Place::Slot(slot),
        }
    }
}

/// How a function came to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entered {
    /// It was called, or is what is verified by itself.
    Called,
    /// A helper calls it back before it returns.
    Callback,
    /// The kernel calls it at some time after the program: the number of such calls on the way.
    Later(u32),
}

/// One active function.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Frame {
    // Apart, because most code between two checkpoints writes to the low ones alone, and because
    // pieces of less than a kilobyte are what allocators are quick with.
    low: Rc<[Value; LOW]>,
    high: Rc<[Value; HIGH]>,
    stack: Rc<Stack>,
    /// The slot of the call; meaningless for the main function.
    pub(crate) callsite: usize,
    /// Which function, in the order of the code.
    pub(crate) function: usize,
    /// The chain of calls, as stack liveness counts them.
    pub(crate) instance: usize,
    pub(crate) entered: Entered,
}

impl Frame {
    /// A function that was just entered.
    pub(crate) fn new(index: usize, callsite: usize, function: usize, instance: usize) -> Frame {
        let low = Rc::new([Value::INVALID; LOW]);
        let mut high = [Value::INVALID; HIGH];
        // Frames are at most MAX_FRAMES.
        high[Reg::R10.index() - LOW] = Value::pointer(Kind::Stack { frame: index as u8 });
        let (high, stack, entered) = (Rc::new(high), Rc::default(), Entered::Called);
        Frame { low, high, stack, callsite, function, instance, entered }
    }

    /// The value in a register or spilled in a slot, as it was written.
    pub(crate) fn value(&self, place: Place) -> Option<&Value> {
        match place {
            Place::Reg(reg) => (reg < REGS).then(|| self.value_of(reg)),
            Place::Slot(slot) => {
                let contents = self.stack.get(slot)?;
                contents.is_spilled().then_some(&contents.value)
            }
        }
    }

    /// Sets a register of a function that was just entered.
    pub(crate) fn set(&mut self, reg: Reg, value: Value) {
        *self.value_of_mut(reg.index()) = value;
    }

    /// A register as it was written.
    #[inline]
    pub(crate) fn value_of(&self, reg: usize) -> &Value {
        if reg < LOW { &self.low[reg] } else { &self.high[reg - LOW] }
    }

    #[inline]
    fn value_of_mut(&mut self, reg: usize) -> &mut Value {
        if reg < LOW {
            &mut Rc::make_mut(&mut self.low)[reg]
        } else {
            &mut Rc::make_mut(&mut self.high)[reg - LOW]
        }
    }

    /// Whether the kernel calls the function at some time after the program.
    pub(crate) fn is_later(&self) -> bool {
        matches!(self.entered, Entered::Later(_))
    }

    /// The registers as they were written.
    #[inline]
    pub(crate) fn regs(&self) -> impl Iterator<Item = &Value> {
        self.low.iter().chain(self.high.iter())
    }

    /// Whether something holds of all registers of a set in this frame, each given with its number,
    /// that of another one, and whether the two are shared.
    #[inline]
    pub(crate) fn all_regs_beside(
        &self,
        other: &Frame,
        set: Regs,
        mut holds: impl FnMut(usize, &Value, &Value, bool) -> bool,
    ) -> bool {
        let shared = [Rc::ptr_eq(&self.low, &other.low), Rc::ptr_eq(&self.high, &other.high)];
        let mut left = set & ALL_REGS;
        while left != 0 {
            let reg = left.trailing_zeros() as usize;
            left &= left - 1;
            let shared = shared[usize::from(reg >= LOW)];
            if !holds(reg, self.value_of(reg), other.value_of(reg), shared) {
                return false;
            }
        }
        true
    }

    /// The stack as it was written.
    #[inline]
    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }
}

/// A function that is active in a state.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Active {
    frame: Frame,
    written: Written,
    /// How often the helper that it calls next has called back on this path.
    pub(crate) callback_turns: u32,
}

impl Deref for Active {
    type Target = Frame;

    #[inline]
    fn deref(&self) -> &Frame {
        &self.frame
    }
}

impl From<Frame> for Active {
    fn from(frame: Frame) -> Active {
        Active { frame, written: Written::ALL, callback_turns: 0 }
    }
}

impl Active {
    /// The node that a value in a place has now.
    #[inline]
    pub(crate) fn node(&self, place: Place, value: &Value) -> Node {
        // Of pointers, checkpoints know nothing.
        if value.is_scalar() { self.written.node(place.number(), value.node) } else { value.node }
    }

    /// What was written since the last checkpoint.
    #[inline]
    pub(crate) fn written(&self) -> &Written {
        &self.written
    }

    /// A register.
    #[inline]
    pub(crate) fn reg(&self, reg: usize) -> Value {
        let value = *self.frame.value_of(reg);
        Value { node: self.node(Place::Reg(reg), &value), ..value }
    }

    /// A slot of the stack.
    #[inline]
    pub(crate) fn slot(&self, slot: usize) -> Option<Slot> {
        let mut contents = *self.frame.stack.get(slot)?;
        contents.value.node = self.node(Place::Slot(slot), &contents.value);
        Some(contents)
    }

    /// Sets a register.
    #[inline]
    pub(crate) fn set_reg(&mut self, reg: usize, value: Value) {
        self.written.add(Place::Reg(reg).number());
        *self.frame.value_of_mut(reg) = value;
    }

    /// A register, to change it.
    #[inline]
    pub(crate) fn reg_mut(&mut self, reg: usize) -> &mut Value {
        let place = Place::Reg(reg);
        let value = self.frame.value_of_mut(reg);
        if value.is_scalar() {
            value.node = self.written.node(place.number(), value.node);
        }
        self.written.add(place.number());
        value
    }

    /// A slot of the stack, which must reach that far, to change it.
    #[inline]
    pub(crate) fn slot_mut(&mut self, slot: usize) -> &mut Slot {
        let number = Place::Slot(slot).number();
        let stack = Rc::make_mut(&mut self.frame.stack);
        let contents = stack.get_mut(slot);
        if contents.value.is_scalar() {
            contents.value.node = self.written.node(number, contents.value.node);
        }
        self.written.add(number);
        contents
    }

    /// The value in a place, to change it.
    pub(crate) fn value_mut(&mut self, place: Place) -> &mut Value {
        match place {
            Place::Reg(reg) => self.reg_mut(reg),
            Place::Slot(slot) => &mut self.slot_mut(slot).value,
        }
    }

    /// Makes the stack have so many slots.
    pub(crate) fn grow_stack(&mut self, slots: usize) {
        if self.frame.stack.len() < slots {
            Rc::make_mut(&mut self.frame.stack).grow(slots);
        }
    }

    /// The places of registers and spilled registers that are as `select` says.
    pub(crate) fn places(
        &self,
        select: impl Fn(&Value) -> bool,
    ) -> impl Iterator<Item = (Place, &Value)> {
        let regs = self.frame.regs().enumerate();
        let regs = regs.map(|(reg, value)| (Place::Reg(reg), value));
        let slots = self.frame.stack.iter().enumerate().filter(|(_, slot)| slot.is_spilled());
        let slots = slots.map(|(slot, contents)| (Place::Slot(slot), &contents.value));
        regs.chain(slots).filter(move |(_, value)| select(value))
    }

    /// Forgets the contents of slots that are not in a set.
    pub(crate) fn keep_slots(&mut self, live: u64) {
        let stack = &self.frame.stack;
        let is_dead = |slot: usize| live >> slot & 1 == 0;
        let dead = |(slot, contents): (usize, &Slot)| is_dead(slot) && *contents != Slot::INVALID;
        if !stack.iter().enumerate().any(dead) {
            return;
        }
        let stack = Rc::make_mut(&mut self.frame.stack);
        for slot in (0..stack.len()).filter(|slot| is_dead(*slot)) {
            if stack.get(slot) != Some(&Slot::INVALID) {
                *stack.get_mut(slot) = Slot::INVALID;
                self.written.add(Place::Slot(slot).number());
            }
        }
    }

    /// A checkpoint: every number gets a node of its own.
    pub(crate) fn checkpoint(&mut self, nodes: &mut Nodes) {
        let frame = &self.frame;
        let number = |place: usize| {
            let value = frame.value(Place::of_number(place))?;
            value.is_scalar().then_some(value.node)
        };
        nodes.checkpoint(&mut self.written, REGS + frame.stack.len(), number);
    }
}
