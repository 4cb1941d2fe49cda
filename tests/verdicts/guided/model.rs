//! What registers and stack slots hold: just enough to choose what is legal.

use crate::verdicts::maps::MAPS;
use skep_bpf::insn::Reg;

/// What a register or a slot of the stack holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holds {
    /// Nothing that may be read.
    Nothing,
    /// A number, at most this.
    Scalar { max: u64 },
    /// A pointer that nothing is done with.
    Opaque,
    /// The context.
    Context,
    /// Byte `off` of a map's value, and up to `spread` bytes further.
    Value { map: usize, off: i32, spread: u32 },
    /// The start of a map's value, or NULL.
    ValueOrNull { map: usize, id: u32 },
    /// A byte of the stack, so many frames up.
    Stack { up: u8, off: i32 },
    /// A byte of the packet.
    Packet { id: u32, off: i32 },
    /// The end of the packet.
    PacketEnd,
}

impl Holds {
    pub(super) const UNKNOWN: Holds = Holds::Scalar { max: u64::MAX };

    pub(super) fn is_pointer(self) -> bool {
        !matches!(self, Holds::Nothing | Holds::Scalar { .. })
    }

    /// What can be relied on if it is this or the other.
    fn join(self, other: Holds) -> Holds {
        match (self, other) {
            (Holds::Scalar { max: a }, Holds::Scalar { max: b }) => Holds::Scalar { max: a.max(b) },
            (a, b) if a == b => a,
            _ => Holds::Nothing,
        }
    }
}

/// Slots of the stack that programs use.
pub(super) const SLOTS: usize = 10;

/// What is known at one point.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// `r0` to `r9`.
    pub(super) regs: [Holds; 10],
    /// Slot n is at `-8 * (n + 1)`.
    pub(super) slots: [Holds; SLOTS],
    /// How many bytes from the base of packet pointers with an id exist.
    pub(super) reach: Vec<(u32, i32)>,
}

impl State {
    /// Of the stack everything may be read, even what was not written: the loader is privileged.
    pub(super) fn new() -> State {
        State { regs: [Holds::Nothing; 10], slots: [Holds::UNKNOWN; SLOTS], reach: Vec::new() }
    }

    pub(super) fn get(&self, reg: Reg) -> Holds {
        self.regs[reg.index()]
    }

    pub(super) fn set(&mut self, reg: Reg, holds: Holds) {
        self.regs[reg.index()] = holds;
    }

    /// The largest number a register can hold.
    pub(super) fn max(&self, reg: Reg) -> u64 {
        match self.get(reg) {
            Holds::Scalar { max } => max,
            _ => u64::MAX,
        }
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Holds> {
        self.regs.iter_mut().chain(&mut self.slots)
    }

    pub(super) fn reach_of(&self, id: u32) -> i32 {
        self.reach.iter().find(|entry| entry.0 == id).map_or(0, |entry| entry.1)
    }

    pub(super) fn extend_reach(&mut self, id: u32, to: i32) {
        match self.reach.iter_mut().find(|entry| entry.0 == id) {
            Some(entry) => entry.1 = entry.1.max(to),
            None => self.reach.push((id, to)),
        }
    }

    /// What is known where two paths meet.
    pub(super) fn join(&mut self, other: &State) {
        for (mine, other) in self.regs.iter_mut().zip(&other.regs) {
            *mine = mine.join(*other);
        }
        for (mine, other) in self.slots.iter_mut().zip(&other.slots) {
            *mine = mine.join(*other);
        }
        let reach = std::mem::take(&mut self.reach);
        self.reach = reach.into_iter().map(|(id, to)| (id, to.min(other.reach_of(id)))).collect();
    }

    /// A call destroys r0 to r5.
    pub(super) fn clobber(&mut self) {
        self.regs[..6].fill(Holds::Nothing);
    }

    /// Bytes of the own stack hold something from now on.
    pub(super) fn dirty(&mut self, off: i32, bytes: i32) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let start = -8 * (index as i32 + 1);
            if off < start + 8 && start < off + bytes {
                *slot = Holds::UNKNOWN;
            }
        }
    }

    /// The packet moved.
    pub(super) fn forget_packets(&mut self) {
        for value in self.values_mut() {
            if matches!(value, Holds::Packet { .. } | Holds::PacketEnd) {
                *value = Holds::Nothing;
            }
        }
    }
}

/// The size of a value of a map.
pub(super) fn value_bytes(map: usize) -> i32 {
    MAPS[map].value_bytes as i32
}
