//! The walk as others can watch it, states printed as the kernel's log prints them.
//!
//! Ids are ours: they say which values are related, as the kernel's do, by other numbers. Maps are
//! printed without their names.

use crate::domain::{Ranges, Signed, Unsigned};
use crate::input::MapFacts;
use crate::kernel::KernelTypes;
use crate::precision::Nodes;
use crate::state::State;
use crate::state::stack::{Byte, SLOT_BYTES, Slot};
use crate::state::value::{ADD_CONST, COPY_OF, Kind, Reach, Slice, Value};
use core::fmt;
use skep_bpf::codec::SlotIndex;
use skep_bpf::insn::Reg;

/// What happened in the walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// An instruction is about to be carried out.
    Before,
    /// It was carried out, and the path goes on.
    After,
    /// The state is covered by one that was walked already: the path ends.
    Covered,
    /// A branch was left to wait here. The last that waits is taken up first.
    Waiting,
    /// A waiting branch is taken up.
    Resumed,
    /// All paths were walked, and nothing is wrong.
    Finished,
}

/// What is known at an instruction of one path.
pub struct Observed<'a> {
    pub(crate) event: Event,
    pub(crate) at: usize,
    pub(crate) state: &'a State,
    pub(crate) maps: &'a [MapFacts],
    pub(crate) nodes: &'a Nodes,
    /// The registers that are live before the instruction.
    pub(crate) live: u16,
    pub(crate) kernel: Option<&'a KernelTypes>,
}

impl Observed<'_> {
    /// What happened.
    #[must_use]
    pub fn event(&self) -> Event {
        self.event
    }

    /// The instruction.
    #[must_use]
    pub fn at(&self) -> SlotIndex {
        SlotIndex(self.at)
    }

    /// The number of active functions, 1 for the main function alone.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.state.frames.len()
    }

    fn value<'v>(&'v self, value: &'v Value) -> PrintedValue<'v> {
        PrintedValue { of: self, value }
    }

    fn frame_index(&self) -> usize {
        self.state.depth()
    }
}

/// The active function's registers and stack: ` frame1: R0=1 R10=fp0 fp-8=mmmm????`.
impl fmt::Display for Observed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.frame_index();
        if index > 0 {
            write!(f, " frame{index}:")?;
        }
        let frame = self.state.top();
        for reg in Reg::ALL {
            let value = &frame.reg(reg.index());
            if value.kind != Kind::Invalid {
                write!(f, " R{}={}", reg.index(), self.value(value))?;
            }
        }
        for number in 0..frame.stack().len() {
            let Some(slot) = &frame.slot(number) else { continue };
            if slot.bytes.iter().all(|byte| *byte == Byte::Invalid) {
                continue;
            }
            let off = (number + 1) * SLOT_BYTES;
            let spilled = slot.spill_size();
            write!(f, " fp-{off}={}", Letters { slot, from: spilled })?;
            if spilled > 0 {
                write!(f, "{}", self.value(&slot.value))?;
            }
        }
        for (number, reference) in self.state.references.iter().enumerate() {
            let before = if number == 0 { " refs=" } else { "," };
            write!(f, "{before}{}", reference.id)?;
        }
        Ok(())
    }
}

/// One letter per byte from the highest down to a place in the slot.
struct Letters<'a> {
    slot: &'a Slot,
    from: usize,
}

impl fmt::Display for Letters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.slot.bytes[self.from..].iter().rev() {
            f.write_str(match byte {
                Byte::Invalid => "?",
                Byte::Spill => "r",
                Byte::Misc => "m",
                Byte::Zero => "0",
                Byte::Iterator => "i",
                Byte::Dynptr => "d",
                Byte::Interrupts => "f",
            })?;
        }
        Ok(())
    }
}

struct PrintedValue<'a> {
    of: &'a Observed<'a>,
    value: &'a Value,
}

impl fmt::Display for PrintedValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value;
        let constant = value.scalar.as_constant();
        if value.is_scalar() {
            let known = value.node != crate::precision::Node::NONE;
            if known && self.of.nodes.is_precise(value.node) {
                f.write_str("P")?;
            }
            if let Some(x) = constant {
                return write!(f, "{}", Signed(x as i64));
            }
        }
        write!(f, "{}", value.type_name())?;
        if let Kind::Stack { frame } = value.kind {
            if usize::from(frame) != self.of.frame_index() {
                write!(f, "[{frame}]")?;
            }
            if let Some(off) = value.fixed_offset() {
                return write!(f, "{off}");
            }
        }
        if let Kind::Btf { type_id, .. } = value.kind
            && let Some(Ok(types)) = self.of.kernel.map(KernelTypes::types)
        {
            f.write_str(types.name(type_id))?;
        }
        write!(f, "({})", self.attributes(constant).join(","))
    }
}

impl PrintedValue<'_> {
    fn attributes(&self, constant: Option<u64>) -> Vec<String> {
        let value = self.value;
        let mut parts = Vec::new();
        if value.id & ADD_CONST != 0 {
            parts.push(format!("id={}{:+}", value.id & COPY_OF, value.off));
        } else if value.id != 0 {
            parts.push(format!("id={}", value.id));
        }
        if value.ref_id != 0 {
            parts.push(format!("ref_obj_id={}", value.ref_id));
        }
        if let Kind::ConstMap(map) | Kind::MapValue(map) | Kind::MapKey(map) = value.kind
            && let Some(facts) = crate::check::pointer_compare::facts_of(self.of.maps, map)
        {
            parts.push(format!("ks={},vs={}", facts.key_size, facts.value_size));
        }
        if !value.is_scalar() && value.off != 0 {
            parts.push(format!("off={}", Signed(i64::from(value.off))));
        }
        if let Some(reach) = value.kind.reach() {
            parts.push(match reach {
                Reach::Bytes(bytes) => format!("r={}", Unsigned(u64::from(bytes))),
                Reach::AtEnd => String::from("r=0xffffffffffffffff"),
                Reach::BeyondEnd => String::from("r=0xfffffffffffffffe"),
            });
        }
        if let Kind::Memory { size, .. } | Kind::Slice(Slice { size, .. }) = value.kind {
            parts.push(format!("sz={}", Unsigned(u64::from(size))));
        }
        match constant {
            Some(0) => {}
            Some(x) => parts.push(format!("imm={}", Signed(x as i64))),
            None => {
                let ranges = Ranges(&value.scalar).to_string();
                if !ranges.is_empty() {
                    parts.push(ranges);
                }
            }
        }
        parts
    }
}
