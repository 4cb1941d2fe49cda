//! What programs run on.

use crate::random::Random;
use skep::context::{Context, RawMemory, Skb, Xdp};
use skep_bpf::platform::{FieldKind, FieldRow, ProgType, context_of};

/// What programs may read of the context of a tracepoint at most (the kernel's
/// `PERF_MAX_TRACE_SIZE`).
const CONTEXT_BYTES: usize = 8192;

/// What a program runs on, to be compared afterwards.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// Plain memory.
    Memory(RawMemory),
    /// A packet in the driver.
    Xdp(Xdp),
    /// A packet in the stack.
    Skb(Box<Skb>),
}

impl Input {
    /// A random input for a program type.
    #[must_use]
    pub fn random(prog_type: ProgType, random: &mut Random) -> Input {
        let len = 14 + random.below(80);
        let packet: Vec<u8> = (0..len).map(|_| random.word() as u8).collect();
        match Input::with_packet(prog_type, packet) {
            Some(Input::Xdp(mut xdp)) => {
                xdp.rx_queue_index = random.bits() as u32;
                Input::Xdp(xdp)
            }
            Some(Input::Skb(mut skb)) => {
                // An IP header would have to be whole.
                skb.packet[12..14].copy_from_slice(&[0x12, 0x34]);
                skb.mark = random.bits() as u32;
                skb.priority = random.bits() as u32;
                skb.hash = random.bits() as u32;
                Input::Skb(skb)
            }
            Some(Input::Memory(_)) | None => {
                let bytes = (0..CONTEXT_BYTES).map(|_| random.bits() as u8).collect();
                Input::Memory(RawMemory { bytes })
            }
        }
    }

    /// A packet, if that is what programs of a type run on.
    #[must_use]
    pub fn with_packet(prog_type: ProgType, packet: Vec<u8>) -> Option<Input> {
        if prog_type == ProgType::XDP {
            return Some(Input::Xdp(Xdp::new(packet)));
        }
        // The machine has no input of these types.
        let others = [ProgType::SK_SKB, ProgType::FLOW_DISSECTOR];
        let takes_skb = context_of(prog_type).is_some_and(|row| row.c_type.contains("__sk_buff"));
        (takes_skb && !others.contains(&prog_type))
            .then(|| Input::Skb(Box::new(Skb::new(prog_type, packet))))
    }

    /// Whether programs of a type find in it what the kernel would give them. In plain memory there
    /// are no pointers.
    #[must_use]
    pub fn is_whole(&self, prog_type: ProgType) -> bool {
        let is_number = |field: &FieldRow| field.kind == FieldKind::Scalar;
        !matches!(self, Input::Memory(_))
            || context_of(prog_type).is_none_or(|row| row.fields.iter().all(is_number))
    }

    /// What an engine takes.
    pub fn context(&mut self) -> &mut dyn Context {
        match self {
            Input::Memory(memory) => memory,
            Input::Xdp(xdp) => xdp,
            Input::Skb(skb) => &mut **skb,
        }
    }

    /// What an engine takes, for good.
    #[must_use]
    pub fn into_context(self) -> Box<dyn Context> {
        match self {
            Input::Memory(memory) => Box::new(memory),
            Input::Xdp(xdp) => Box::new(xdp),
            Input::Skb(skb) => skb,
        }
    }
}
