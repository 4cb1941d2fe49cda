//! Functions that a helper calls back.
//!
//! A helper that calls back before it returns may do so any number of times, or never: the path
//! beyond the call goes on, and another one waits that enters the function and comes back to the
//! call. It ends when the call is reached in a state that was there before. A function that the
//! kernel calls later, for a timer, is walked by itself. (Linux 6.18, `push_callback_call`.)

use crate::check::call::ARGUMENTS;
use crate::check::helper_arg::Arguments;
use crate::explore::{Step, Walk};
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::State;
use crate::state::frame::{Entered, Frame};
use crate::state::value::{Kind, MapRef, Value};
use skep_bpf::insn::{HelperId, Offset, Reg};
use skep_bpf::platform::MapType;

/// When a helper calls a function back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Callback {
    /// Before it returns.
    Now,
    /// Some time after the program.
    Later,
}

/// Whether and when a helper calls a function back.
pub(crate) fn callback_of(id: HelperId) -> Option<Callback> {
    match id {
        HelperId::FOR_EACH_MAP_ELEM
        | HelperId::FIND_VMA
        | HelperId::LOOP
        | HelperId::USER_RINGBUF_DRAIN => Some(Callback::Now),
        HelperId::TIMER_SET_CALLBACK => Some(Callback::Later),
        _ => None,
    }
}

/// The map types whose elements can be walked.
const WALKED: &[MapType] = &[
    MapType::ARRAY,
    MapType::PERCPU_ARRAY,
    MapType::HASH,
    MapType::PERCPU_HASH,
    MapType::LRU_HASH,
    MapType::LRU_PERCPU_HASH,
];

/// What a function that is called back returns to a helper: 0 to go on, 1 to stop.
const GO_ON_OR_STOP: [i64; 2] = [0, 1];

impl Walk<'_> {
    /// The address of a function, which only serves to be called back.
    pub(crate) fn function_pointer(&self, target: Offset) -> Check<Value> {
        let entry = self.code.target(self.at, target);
        let Some(function) = entry.and_then(|entry| self.code.function_at(entry)) else {
            return fault(Rule::Structure, "call to invalid destination");
        };
        let facts = self.code.functions[function].facts;
        let facts = facts.and_then(|place| self.input.functions.get(place));
        if facts.is_none_or(|facts| facts.global) {
            return fault(Rule::Structure, "callback function not static");
        }
        if function == 0 {
            return fault(Rule::Structure, "callback function cannot be the main program");
        }
        // Functions are at most 256.
        Ok(Value::pointer(Kind::Function(function as u16)))
    }

    /// A helper whose arguments were checked may call a function back.
    pub(crate) fn call_back(&mut self, id: HelperId, arguments: &Arguments) -> Check {
        let Some(function) = arguments.function else { return Ok(()) };
        match id {
            HelperId::LOOP => self.call_back_loop(function),
            HelperId::FOR_EACH_MAP_ELEM => {
                let Some(map) = arguments.map else {
                    return fault(Rule::Map, "callback function not allowed for map");
                };
                self.call_back_elements(function, map)
            }
            HelperId::FIND_VMA => self.call_back_area(function),
            HelperId::USER_RINGBUF_DRAIN => self.call_back_records(function),
            HelperId::TIMER_SET_CALLBACK => match arguments.timer {
                Some(map) => self.call_back_later(function, map, false),
                None => fault(Rule::Map, "map '' has no valid bpf_timer"),
            },
            _ => unsupported(format_args!("functions passed to {id}")),
        }
    }

    /// `bpf_loop(turns, function, context, flags)` calls `function(turn, context)`.
    fn call_back_loop(&mut self, function: usize) -> Check {
        let (turns, flags) = (self.state.reg(Reg::R1), self.state.reg(Reg::R4));
        if flags.is_zero() {
            self.mark_precise(&flags);
        }
        self.mark_precise(&turns);
        if u64::from(self.state.top().callback_turns) >= turns.scalar.wide().umax {
            self.state.top_mut().callback_turns = 0;
            return Ok(());
        }
        let mut frame = self.new_frame(function)?;
        let context = self.state.reg(Reg::R3);
        set_arguments(&mut frame, [Value::UNKNOWN, context]);
        self.push_callback(frame)
    }

    /// `bpf_for_each_map_elem(map, function, context, flags)` calls
    /// `function(map, key, value, context)`.
    fn call_back_elements(&mut self, function: usize, map: MapRef) -> Check {
        if !WALKED.contains(&self.map(map)?.map_type) {
            return fault(Rule::Map, "callback function not allowed for map");
        }
        let mut frame = self.new_frame(function)?;
        let (passed, context) = (self.state.reg(Reg::R1), self.state.reg(Reg::R3));
        let [key, value] = element_of(map);
        set_arguments(&mut frame, [passed, key, value, context]);
        self.push_callback(frame)
    }

    /// `bpf_find_vma(task, address, function, context, flags)` calls `function(task, area, context)`.
    fn call_back_area(&mut self, function: usize) -> Check {
        let mut frame = self.new_frame(function)?;
        let type_id = self.kernel_struct("vm_area_struct")?;
        let area = Value::pointer(Kind::Btf { type_id, trust: Trust::PLAIN });
        set_arguments(&mut frame, [self.state.reg(Reg::R1), area, self.state.reg(Reg::R4)]);
        self.push_callback(frame)
    }

    /// `bpf_user_ringbuf_drain(map, function, context, flags)` calls `function(record, context)`.
    fn call_back_records(&mut self, function: usize) -> Check {
        let mut frame = self.new_frame(function)?;
        let record = Value { id: self.new_id(), ..Value::pointer(Kind::ConstDynptr) };
        let context = self.state.reg(Reg::R3);
        set_arguments(&mut frame, [record, context]);
        self.push_callback(frame)
    }

    /// The kernel calls `function(map, key, value)` for the element that holds a timer.
    pub(crate) fn call_back_later(
        &mut self,
        function: usize,
        map: MapRef,
        sleepable: bool,
    ) -> Check {
        self.callbacks[function] = Some(Callback::Later);
        let entry = match self.state.top().entered {
            Entered::Later(before) => before + 1,
            Entered::Called | Entered::Callback => 1,
        };
        let instance = self.liveness.enter_later(&self.code, function);
        let mut frame = Frame::new(0, 0, function, instance);
        frame.entered = Entered::Later(entry);
        let [key, value] = element_of(map);
        set_arguments(&mut frame, [Value::pointer(Kind::ConstMap(map)), key, value]);
        let entry = self.code.functions[function].entry;
        self.push_entry(State::new(frame, sleepable), entry)
    }

    /// Lets a path wait that enters a function from the call here and comes back to it.
    pub(crate) fn push_callback(&mut self, mut frame: Frame) -> Check {
        self.callbacks[frame.function].get_or_insert(Callback::Now);
        frame.entered = Entered::Callback;
        let entry = self.code.functions[frame.function].entry;
        let mut state = self.state.clone();
        state.callbacks += 1;
        state.top_mut().callback_turns += 1;
        state.frames.push(frame.into());
        self.push(state, entry, None)?;
        self.state.top_mut().callback_turns = 0;
        Ok(())
    }

    /// The end of a function that a helper called back: it may call again.
    pub(crate) fn return_from_callback(&mut self) -> Check<Step> {
        let result = self.read(Reg::R0)?;
        if !result.is_scalar() {
            return fault(Rule::ReturnValue, "R0 not a scalar value");
        }
        self.check_result("At callback return", Reg::R0, &result, GO_ON_OR_STOP)?;
        let Some(frame) = self.state.frames.pop() else {
            return fault(Rule::CallDepth, "return from no function");
        };
        if let Some(earlier) = self.state_on_the_way(frame.callsite, None) {
            let mut state = self.state.clone();
            self.widen(earlier, &mut state);
            self.state = state;
        }
        Ok(Step::Jump(frame.callsite))
    }
}

/// The key and value of an element of a map, as a callback gets them.
fn element_of(map: MapRef) -> [Value; 2] {
    [Value::pointer(Kind::MapKey(map)), Value::pointer(Kind::MapValue(map))]
}

fn set_arguments<const N: usize>(frame: &mut Frame, values: [Value; N]) {
    for (reg, value) in ARGUMENTS.into_iter().zip(values) {
        frame.set(reg, value);
    }
}
