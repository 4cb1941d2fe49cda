//! What a processor's program runs on while it runs, and the areas kept for the next run.

use skep_bpf::op::Size;
use skep_bpf::platform::ContextRow;
use skep_bpf::platform::context::{LIRC_SAMPLE, SK_BUFF, XDP_MD};

use super::packet::Packet;
use super::{ContextError, Decoded, Tunnel, skb, xdp};
use crate::memory::{Fault, Perm, Window};
use crate::region::{Memory, Purpose, Region};

/// What kind of input a program runs on: decides what its helpers can work with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// Nothing yet.
    #[default]
    Nothing,
    /// Plain memory.
    Memory,
    /// A packet in the driver, with a `struct xdp_md`.
    Xdp,
    /// A packet in the stack, with a `struct __sk_buff`.
    Skb,
    /// An event of an infrared receiver.
    Lirc,
}

impl Kind {
    /// The structure that `r1` leads to, if there is one.
    #[must_use]
    pub fn context(self) -> Option<&'static ContextRow> {
        match self {
            Kind::Nothing | Kind::Memory => None,
            Kind::Xdp => Some(&XDP_MD),
            Kind::Skb => Some(&SK_BUFF),
            Kind::Lirc => Some(&LIRC_SAMPLE),
        }
    }
}

/// Where a program asked for its packet to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Redirect {
    /// To an interface (`bpf_redirect`).
    Interface {
        /// The interface's index.
        ifindex: u32,
        /// The flags as they were passed.
        flags: u64,
    },
    /// To the other end of an interface that is a pair, in its namespace (`bpf_redirect_peer`).
    Peer {
        /// The interface's index.
        ifindex: u32,
    },
    /// To an interface, with link addresses from the neighbour tables (`bpf_redirect_neigh`).
    Neighbour {
        /// The interface's index.
        ifindex: u32,
        /// The next hop that the program named, in the form of `struct bpf_redir_neigh`; none to
        /// look it up.
        next_hop: Option<[u8; 20]>,
    },
    /// To an entry of a map (`bpf_redirect_map`).
    Map {
        /// The map's address as the program passed it; see
        /// [`Machine::map_at`](crate::machine::Machine::map_at).
        map: u64,
        /// The key.
        key: u32,
        /// The flags as they were passed.
        flags: u64,
    },
}

/// The most iterators over bits that a run can have at once.
const MOST_ITERATORS: usize = 1024;

/// A copy of the packet that a program sent off (`bpf_clone_redirect`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    /// The interface's index.
    pub ifindex: u32,
    /// The flags as they were passed.
    pub flags: u64,
    /// The packet from its link header, as it was then.
    pub packet: Vec<u8>,
}

/// What a processor's program runs on while it runs, and the areas that are kept for the next
/// run.
#[derive(Debug, Default)]
pub struct Input {
    kind: Kind,
    context: u32,
    pub(crate) packet: Packet,
    pub(crate) redirect: Option<Redirect>,
    /// What a decoder of infrared said in this run.
    pub(crate) decoded: Vec<Decoded>,
    /// The tunnel that the packet came out of, or that the program put it into.
    pub(crate) tunnel: Option<Box<Tunnel>>,
    /// Copies of the packet that the program sent.
    pub(crate) clones: Vec<Sent>,
    /// What iterators over bits go through, of those that were begun in this run.
    bits: Vec<Option<Vec<u64>>>,
    /// The area for raw memory: start and length.
    memory: Option<(u32, u32)>,
    /// The area for packets: start and length.
    frame: Option<(u32, u32)>,
}

impl Input {
    /// The kind of input.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The packet, as long as one is there.
    #[must_use]
    pub fn packet(&self) -> Option<&Packet> {
        match self.kind {
            Kind::Nothing | Kind::Memory | Kind::Lirc => None,
            Kind::Xdp | Kind::Skb => Some(&self.packet),
        }
    }

    /// The objects of the input as they are now: the context, and the packet from its metadata to
    /// its end, or the plain memory. Which fields of the context may be used is in
    /// [`skep_bpf::platform::context_for`].
    pub fn regions(&self) -> impl Iterator<Item = Region> + use<> {
        let region = |start, len, purpose| Region { start, len, perm: Perm::ReadWrite, purpose };
        let memory = self.memory.filter(|_| self.kind == Kind::Memory);
        let memory = memory.map(|(start, len)| region(start, len, Purpose::Memory));
        let context = self.kind.context();
        let context = context.map(|row| region(self.context, row.size, Purpose::Context));
        let packet = self.packet().map(|p| region(p.meta(), p.end() - p.meta(), Purpose::Packet));
        [memory, context, packet].into_iter().flatten()
    }

    /// A deprecated packet load (RFC 9669, section 5.5; Linux's `bpf_skb_load_helper`): the value
    /// at an offset in network byte order. Negative offsets from `SKF_LL_OFF` count from the link
    /// header, those from `SKF_NET_OFF` from the network header. `Some(None)` outside the packet;
    /// `None` if there is no socket buffer.
    pub(crate) fn load_packet(
        &self,
        memory: &Memory,
        offset: i32,
        size: Size,
    ) -> Option<Option<u64>> {
        if self.kind != Kind::Skb {
            return None;
        }
        Some(self.load_skb(memory, offset, size))
    }

    fn load_skb(&self, memory: &Memory, offset: i32, size: Size) -> Option<u64> {
        const SKF_NET_OFF: i32 = -0x10_0000;
        const SKF_LL_OFF: i32 = -0x20_0000;
        let packet = &self.packet;
        let (start, relative) = match offset {
            0.. => (packet.data(), offset),
            SKF_NET_OFF.. => (packet.network(), offset - SKF_NET_OFF),
            SKF_LL_OFF.. => (packet.link(), offset - SKF_LL_OFF),
            _ => return None,
        };
        let at = i64::from(start) + i64::from(relative);
        if at + i64::from(size.bytes()) > i64::from(packet.end()) {
            return None;
        }
        let value = memory.window().load(u32::try_from(at).ok()?, size).ok()?;
        Some(value.swap_bytes() >> (64 - 8 * size.bytes()))
    }

    /// Begins a run on an input of a kind whose context lies at an address.
    pub(crate) fn begin(&mut self, kind: Kind, context: u32) {
        self.kind = kind;
        self.context = context;
        self.redirect = None;
        self.decoded.clear();
        self.bits.clear();
        self.tunnel = None;
        self.clones.clear();
    }

    /// Keeps the words that an iterator over bits goes through; gives what finds them again, or
    /// nothing if there are too many iterators.
    pub(crate) fn keep_bits(&mut self, words: Vec<u64>) -> Option<u64> {
        if self.bits.iter().flatten().count() >= MOST_ITERATORS {
            return None;
        }
        let free = self.bits.iter().position(Option::is_none);
        let place = free.unwrap_or(self.bits.len());
        match self.bits.get_mut(place) {
            Some(slot) => *slot = Some(words),
            None => self.bits.push(Some(words)),
        }
        Some(place as u64)
    }

    /// The words that an iterator over bits goes through; none if there is no such iterator.
    pub(crate) fn kept_bits(&self, place: u64) -> &[u64] {
        let slot = usize::try_from(place).ok().and_then(|place| self.bits.get(place));
        slot.and_then(Option::as_deref).unwrap_or_default()
    }

    /// Forgets the words of an iterator over bits.
    pub(crate) fn drop_bits(&mut self, place: u64) {
        if let Some(slot) = usize::try_from(place).ok().and_then(|place| self.bits.get_mut(place)) {
            *slot = None;
        }
    }

    /// An area for raw memory of exactly a length, which is not 0.
    pub(crate) fn memory_area(&mut self, memory: &Memory, len: u32) -> Result<u32, ContextError> {
        // Not larger than needed: the first byte behind it should be out of bounds.
        area(&mut self.memory, memory, Purpose::Memory, len, |have| have == len)
    }

    /// An area for a packet's frame of at least a length. What was in it stays.
    pub(crate) fn frame_area(&mut self, memory: &Memory, len: u32) -> Result<u32, ContextError> {
        let had = self.frame;
        let start = area(&mut self.frame, memory, Purpose::Packet, len, |have| have >= len)?;
        if had != self.frame {
            self.packet = Packet::default();
        }
        Ok(start)
    }

    /// Writes into the context what it says of the packet, after a helper moved its ends.
    pub(crate) fn publish(&self, window: &Window) -> Result<(), Fault> {
        match self.kind {
            Kind::Nothing | Kind::Memory | Kind::Lirc => Ok(()),
            Kind::Xdp => xdp::publish(window, self.context, &self.packet),
            Kind::Skb => skb::publish(window, self.context, &self.packet),
        }
    }

    /// Where the context says at which interface the packet is.
    pub(crate) fn interface_field(&self, context: u32) -> u32 {
        let offset = match self.kind {
            Kind::Skb => skb::INTERFACE,
            Kind::Nothing | Kind::Memory | Kind::Lirc | Kind::Xdp => xdp::INTERFACE,
        };
        context + offset as u32
    }

    /// Gives the areas back.
    pub(crate) fn free(&mut self, memory: &Memory) {
        for (start, _) in [self.memory.take(), self.frame.take()].into_iter().flatten() {
            memory.free(start);
        }
        self.kind = Kind::Nothing;
        self.packet = Packet::default();
    }
}

/// An area as large as `fits` says: the one that is kept, or a new one of `len` bytes in its place.
fn area(
    kept: &mut Option<(u32, u32)>,
    memory: &Memory,
    purpose: Purpose,
    len: u32,
    fits: impl Fn(u32) -> bool,
) -> Result<u32, ContextError> {
    if let Some((start, have)) = *kept {
        if fits(have) {
            return Ok(start);
        }
        memory.free(start);
        *kept = None;
    }
    let start = memory.alloc(len, Perm::ReadWrite, purpose);
    let start = start.map_err(|error| ContextError::Memory(error.to_string()))?;
    *kept = Some((start, len));
    Ok(start)
}
