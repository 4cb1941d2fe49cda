//! XDP: a packet as the driver received it, behind a `struct xdp_md`.
//!
//! Frames are those of `BPF_PROG_TEST_RUN` (Linux, `net/bpf/test_run.c`): 4096 bytes, of which
//! 256 are headroom and 320 tailroom.

use skep_bpf::platform::context::XDP_MD;
use skep_bpf::platform::{ProgType, xdp_action};

use super::packet::{Layout, Packet};
use super::{Context, ContextError, CpuState, Kind, Machine, Redirect, offset_of, put};
use crate::memory::{Fault, PAGE_BYTES, Window};

const DATA: usize = offset_of(&XDP_MD, "data");
const DATA_END: usize = offset_of(&XDP_MD, "data_end");
const DATA_META: usize = offset_of(&XDP_MD, "data_meta");
const INGRESS_IFINDEX: usize = offset_of(&XDP_MD, "ingress_ifindex");
const RX_QUEUE_INDEX: usize = offset_of(&XDP_MD, "rx_queue_index");
const EGRESS_IFINDEX: usize = offset_of(&XDP_MD, "egress_ifindex");

/// Where the interface that the packet is at stands.
pub(super) const INTERFACE: usize = INGRESS_IFINDEX;

/// `XDP_PACKET_HEADROOM`, and the aligned size of `struct skb_shared_info`.
const LAYOUT: Layout = Layout { kind: "XDP", headroom: 256, tailroom: 320, frame: PAGE_BYTES };

/// The start of the headroom that the packet cannot grow into (`struct xdp_frame`).
pub(crate) const FRAME_HEADER_BYTES: u32 = 40;

/// The most bytes of metadata (Linux, `xdp_metalen_invalid`); also a multiple of 4.
pub(crate) const MAX_META_BYTES: u32 = 252;

/// A packet for an XDP program. After a run it is as the program left it.
///
/// ```
/// use skep::context::Xdp;
/// let mut packet = Xdp::new(vec![0; 64]);
/// packet.rx_queue_index = 3;
/// assert_eq!((packet.ingress_ifindex, Xdp::action(2)), (1, Some("XDP_PASS")));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Xdp {
    /// The packet from its Ethernet header, at least 14 bytes.
    pub packet: Vec<u8>,
    /// The metadata in front of the packet: a multiple of four bytes, at most 216.
    pub meta: Vec<u8>,
    /// The interface the packet came from.
    pub ingress_ifindex: u32,
    /// The receive queue it came from.
    pub rx_queue_index: u32,
    /// The interface it leaves by, for programs in a map of devices.
    pub egress_ifindex: u32,
    /// Where the program last asked for the packet to be sent; what counts if it returned
    /// `XDP_REDIRECT`.
    pub redirect: Option<Redirect>,
}

impl Xdp {
    /// A packet that came from the first queue of the loopback interface, as in
    /// `BPF_PROG_TEST_RUN`.
    #[must_use]
    pub fn new(packet: impl Into<Vec<u8>>) -> Xdp {
        Xdp {
            packet: packet.into(),
            meta: Vec::new(),
            ingress_ifindex: 1,
            rx_queue_index: 0,
            egress_ifindex: 0,
            redirect: None,
        }
    }

    /// The name of what a program returned in `r0`, of which the low 32 bits count.
    #[must_use]
    pub fn action(r0: u64) -> Option<&'static str> {
        xdp_action(r0 as u32)
    }

    fn check_meta(&self) -> Result<(), ContextError> {
        let (len, room) = (self.meta.len(), (LAYOUT.headroom - FRAME_HEADER_BYTES) as usize);
        if len.is_multiple_of(4) && len <= room.min(MAX_META_BYTES as usize) {
            return Ok(());
        }
        let what = format!("metadata of {len} bytes: needed is a multiple of 4, at most {room}");
        Err(ContextError::Mismatch { what })
    }
}

impl Context for Xdp {
    fn suits(&self, prog_type: ProgType) -> bool {
        prog_type == ProgType::XDP || prog_type == ProgType::UNSPEC
    }

    fn enter(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<[u64; 2], ContextError> {
        self.check_meta()?;
        self.redirect = None;
        cpu.input.begin(Kind::Xdp, cpu.context);
        cpu.input.place(machine.memory(), &LAYOUT, &self.meta, &self.packet)?;
        let mut context = [0; XDP_MD.size as usize];
        put_ends(&mut context, &cpu.input.packet);
        put(&mut context, INGRESS_IFINDEX, self.ingress_ifindex);
        put(&mut context, RX_QUEUE_INDEX, self.rx_queue_index);
        put(&mut context, EGRESS_IFINDEX, self.egress_ifindex);
        let window = machine.memory().window();
        window.write(cpu.context, &context).map_err(ContextError::fault)?;
        Ok([cpu.context.into(), 0])
    }

    fn leave(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<(), ContextError> {
        let packet = &cpu.input.packet;
        self.redirect = cpu.input.redirect;
        self.meta.resize((packet.data() - packet.meta()) as usize, 0);
        self.packet.resize(packet.len() as usize, 0);
        let window = machine.memory().window();
        if !self.meta.is_empty() {
            window.read(packet.meta(), &mut self.meta).map_err(ContextError::fault)?;
        }
        window.read(packet.data(), &mut self.packet).map_err(ContextError::fault)
    }
}

fn put_ends(context: &mut [u8], packet: &Packet) {
    put(context, DATA, packet.data());
    put(context, DATA_END, packet.end());
    put(context, DATA_META, packet.meta());
}

/// Writes the packet's ends into the context.
pub(super) fn publish(window: &Window, context: u32, packet: &Packet) -> Result<(), Fault> {
    let mut bytes = [0; XDP_MD.size as usize];
    window.read(context, &mut bytes)?;
    put_ends(&mut bytes, packet);
    window.write(context, &bytes)
}
