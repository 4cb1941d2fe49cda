//! What an observer of the walk may ask of the registers.
//!
//! A run of the program has registers in every state that describes them: numbers among those that
//! are possible, pointers at a possible distance from where their region begins. A state that
//! others were compared with describes only what mattered: its live registers, and of those no
//! number that turned out to be imprecise.

use crate::domain::Scalar;
use crate::observe::Observed;
use crate::precision::Node;
use crate::state::value::{Kind, Value};
use skep_bpf::codec::SlotIndex;
use skep_bpf::insn::Reg;

/// What is known of a register.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Known {
    /// Nothing: it was not written, and the program may not read it.
    Nothing,
    /// It is a number.
    Number {
        /// The numbers that are possible.
        scalar: Scalar,
        /// Where it comes from, which decides whether it is precise.
        origin: Origin,
    },
    /// It is a pointer: where its region begins, plus `offset`, plus one of `variable`.
    Pointer {
        /// What it points into.
        region: PointerRegion,
        /// The constant part of its distance from the region's begin, in bytes.
        offset: i32,
        /// The variable part.
        variable: Scalar,
        /// Whether it may be NULL instead.
        or_null: bool,
    },
}

/// Where a number comes from: it is compared with others only if something depended on it, which
/// [`Observed::is_precise`] knows at the end of the walk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Origin(Node);

/// The regions that pointers may be compared with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PointerRegion {
    /// The stack of an active function, 0 for the outermost; it begins at its frame pointer.
    Stack(usize),
    /// The context.
    Context,
    /// The packet, which begins at its first byte.
    Packet,
    /// Another one, of which this view says nothing more.
    Other,
}

impl Observed<'_> {
    /// What is known of a register of the active function.
    #[must_use]
    pub fn register(&self, reg: Reg) -> Known {
        let value: Value = self.state.reg(reg);
        let region = match value.kind {
            Kind::Invalid => return Known::Nothing,
            Kind::Scalar => {
                return Known::Number { scalar: value.scalar, origin: Origin(value.node) };
            }
            Kind::Stack { frame } => PointerRegion::Stack(usize::from(frame)),
            Kind::Context => PointerRegion::Context,
            Kind::Packet(_) => PointerRegion::Packet,
            _ => PointerRegion::Other,
        };
        Known::Pointer { region, offset: value.off, variable: value.scalar, or_null: value.or_null }
    }

    /// Whether the active function may still read what a register holds here.
    #[must_use]
    pub fn is_live(&self, reg: Reg) -> bool {
        self.live >> reg.index() & 1 == 1
    }

    /// Whether something depends on a number as far as the walk has come. It is final at
    /// [`Event::Finished`](crate::Event::Finished).
    #[must_use]
    pub fn is_precise(&self, origin: Origin) -> bool {
        self.nodes.is_precise(origin.0)
    }

    /// The calls that led to the active function, the outermost first. Functions that are verified
    /// by themselves begin a chain.
    pub fn calls(&self) -> impl Iterator<Item = SlotIndex> {
        self.state.frames.iter().skip(1).map(|frame| SlotIndex(frame.callsite))
    }
}
