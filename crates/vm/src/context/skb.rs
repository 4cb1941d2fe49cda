//! Socket buffers: a packet on its way through the stack, behind a `struct __sk_buff`.
//!
//! What programs see follows `BPF_PROG_TEST_RUN` (Linux, `net/bpf/test_run.c`): traffic control
//! programs see the packet from its Ethernet header, the others from the header after it. There is
//! no socket behind the buffer: `sk` is NULL.

use skep_bpf::op::Size;
use skep_bpf::platform::context::SK_BUFF;
use skep_bpf::platform::{ProgType, return_name};

use super::packet::{Layout, MAX_PACKET_BYTES, MIN_PACKET_BYTES, Packet};
use super::{
    Context, ContextError, CpuState, Kind, Machine, Redirect, Sent, Tunnel, get, offset_of, put,
};
use crate::memory::{Fault, PAGE_BYTES, Window};

macro_rules! fields {
    ($($constant:ident = $name:literal;)*) => {
        $(const $constant: usize = offset_of(&SK_BUFF, $name);)*
    };
}

fields! {
    LEN = "len";
    PKT_TYPE = "pkt_type";
    MARK = "mark";
    QUEUE_MAPPING = "queue_mapping";
    PROTOCOL = "protocol";
    VLAN_PRESENT = "vlan_present";
    VLAN_TCI = "vlan_tci";
    VLAN_PROTO = "vlan_proto";
    PRIORITY = "priority";
    INGRESS_IFINDEX = "ingress_ifindex";
    IFINDEX = "ifindex";
    TC_INDEX = "tc_index";
    CB = "cb";
    HASH = "hash";
    TC_CLASSID = "tc_classid";
    DATA = "data";
    DATA_END = "data_end";
    NAPI_ID = "napi_id";
    FAMILY = "family";
    REMOTE_IP4 = "remote_ip4";
    LOCAL_IP4 = "local_ip4";
    REMOTE_IP6 = "remote_ip6";
    LOCAL_IP6 = "local_ip6";
    REMOTE_PORT = "remote_port";
    LOCAL_PORT = "local_port";
    DATA_META = "data_meta";
    TSTAMP = "tstamp";
    WIRE_LEN = "wire_len";
    GSO_SEGS = "gso_segs";
    GSO_SIZE = "gso_size";
    HWTSTAMP = "hwtstamp";
}

/// Where the interface that the packet is at stands.
pub(super) const INTERFACE: usize = IFINDEX;

const CONTEXT_BYTES: usize = SK_BUFF.size as usize;

/// The longest packet that helpers can grow one to (Linux, `BPF_SKB_MAX_LEN` with pages of 4096
/// bytes).
pub(crate) const MAX_GROWN_BYTES: u32 = 4 * PAGE_BYTES - TAILROOM;

/// The aligned size of `struct skb_shared_info`.
const TAILROOM: u32 = 320;

/// `NET_SKB_PAD` in front; room for the longest packet that helpers can make.
const LAYOUT: Layout =
    Layout { kind: "a socket buffer", headroom: 64, tailroom: TAILROOM, frame: 5 * PAGE_BYTES };

/// A tag that the driver took out of the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vlan {
    /// The tag: priority and VLAN number.
    pub tci: u16,
    /// The EtherType of the tag, such as 0x8100.
    pub proto: u16,
}

/// A packet for a program that takes socket buffers. After a run the packet and the fields that
/// programs may write are as the program left them.
///
/// In the kernel `queue_mapping`, `tc_index` and `tc_classid` have 16 bits: here they lose the
/// others when the program ends, there as soon as they are written.
///
/// ```
/// use skep::context::Skb;
/// use skep_bpf::platform::ProgType;
/// let mut packet = Skb::new(ProgType::SCHED_CLS, vec![0; 64]);
/// packet.mark = 7;
/// assert_eq!(packet.action(2), Some("TC_ACT_SHOT"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skb {
    /// The type of the programs it is for, which decides where the data begins.
    pub prog_type: ProgType,
    /// The packet from its Ethernet header, at least 14 bytes; an IP header must be whole.
    pub packet: Vec<u8>,
    /// What kind of receiver the packet has (`PACKET_HOST` is 0); `None` to see it from the
    /// destination address, as the loopback interface does.
    pub pkt_type: Option<u32>,
    /// The mark; programs may write it.
    pub mark: u32,
    /// The transmit queue; programs may write it.
    pub queue_mapping: u32,
    /// A tag that the driver took out of the packet.
    pub vlan: Option<Vlan>,
    /// The priority; programs may write it.
    pub priority: u32,
    /// The interface the packet came from; 0 if it was made here.
    pub ingress_ifindex: u32,
    /// The interface it is at.
    pub ifindex: u32,
    /// The index of traffic control; programs may write it.
    pub tc_index: u32,
    /// Memory for programs' own use; programs may write it.
    pub cb: [u32; 5],
    /// The hash of the flow; 0 if there is none yet.
    pub hash: u32,
    /// The class of traffic control; programs may write it.
    pub tc_classid: u32,
    /// The number of the NAPI instance that received the packet.
    pub napi_id: u32,
    /// The port of the other side of the socket, in network byte order, for cgroup programs.
    pub remote_port: u32,
    /// The socket's own port, in host byte order, for cgroup programs.
    pub local_port: u32,
    /// The time stamp in nanoseconds; programs may write it.
    pub tstamp: u64,
    /// The length on the wire in bytes; `None` for that of the packet.
    pub wire_len: Option<u32>,
    /// The number of segments.
    pub gso_segs: u32,
    /// The size of a segment in bytes.
    pub gso_size: u32,
    /// The hardware's time stamp in nanoseconds.
    pub hwtstamp: u64,
    /// Where the program last asked for the packet to be sent; what counts if it returned
    /// `TC_ACT_REDIRECT`.
    pub redirect: Option<Redirect>,
    /// The tunnel that the packet came out of; after a run, that the program put it into.
    pub tunnel: Option<Tunnel>,
    /// The copies of the packet that the program sent off, in order.
    pub clones: Vec<Sent>,
}

impl Skb {
    /// A packet at the loopback interface with all fields zero, for programs of a type.
    #[must_use]
    pub fn new(prog_type: ProgType, packet: impl Into<Vec<u8>>) -> Skb {
        Skb {
            prog_type,
            packet: packet.into(),
            pkt_type: None,
            mark: 0,
            queue_mapping: 0,
            vlan: None,
            priority: 0,
            ingress_ifindex: 0,
            ifindex: 1,
            tc_index: 0,
            cb: [0; 5],
            hash: 0,
            tc_classid: 0,
            napi_id: 0,
            remote_port: 0,
            local_port: 0,
            tstamp: 0,
            wire_len: None,
            gso_segs: 0,
            gso_size: 0,
            hwtstamp: 0,
            redirect: None,
            tunnel: None,
            clones: Vec::new(),
        }
    }

    /// The name of what a program returned in `r0`, of which the low 32 bits count.
    #[must_use]
    pub fn action(&self, r0: u64) -> Option<&'static str> {
        return_name(self.prog_type, r0 as u32)
    }

    /// Where programs of the type see the data begin.
    fn view(&self) -> Result<View, ContextError> {
        match self.prog_type {
            ProgType::SCHED_CLS | ProgType::SCHED_ACT => Ok(View::Link),
            ProgType::SOCKET_FILTER
            | ProgType::CGROUP_SKB
            | ProgType::LWT_IN
            | ProgType::LWT_OUT
            | ProgType::LWT_XMIT
            | ProgType::LWT_SEG6LOCAL => Ok(View::Network),
            other => Err(ContextError::Mismatch {
                what: format!("programs of type {other} do not run on socket buffers"),
            }),
        }
    }

    /// The whole context.
    fn context(&self, packet: &Packet, protocol: Protocol) -> [u8; CONTEXT_BYTES] {
        let mut context = [0; CONTEXT_BYTES];
        put_ends(&mut context, packet);
        put(&mut context, PKT_TYPE, self.pkt_type.unwrap_or_else(|| self.receiver()));
        put(&mut context, MARK, self.mark);
        put(&mut context, QUEUE_MAPPING, self.queue_mapping);
        put(&mut context, PROTOCOL, protocol.number.to_be().into());
        if let Some(vlan) = self.vlan {
            put(&mut context, VLAN_PRESENT, 1);
            put(&mut context, VLAN_TCI, vlan.tci.into());
            put(&mut context, VLAN_PROTO, vlan.proto.to_be().into());
        }
        put(&mut context, PRIORITY, self.priority);
        put(&mut context, INGRESS_IFINDEX, self.ingress_ifindex);
        put(&mut context, IFINDEX, self.ifindex);
        put(&mut context, TC_INDEX, self.tc_index);
        for (index, word) in self.cb.iter().enumerate() {
            put(&mut context, CB + 4 * index, *word);
        }
        put(&mut context, HASH, self.hash);
        put(&mut context, TC_CLASSID, self.tc_classid);
        put(&mut context, NAPI_ID, self.napi_id);
        put(&mut context, REMOTE_PORT, self.remote_port);
        put(&mut context, LOCAL_PORT, self.local_port);
        put_long(&mut context, TSTAMP, self.tstamp);
        put(&mut context, WIRE_LEN, self.wire_len.unwrap_or(packet.len()));
        put(&mut context, GSO_SEGS, self.gso_segs);
        put(&mut context, GSO_SIZE, self.gso_size);
        put_long(&mut context, HWTSTAMP, self.hwtstamp);
        self.put_addresses(&mut context, protocol);
        context
    }

    /// The socket's addresses: those of the packet, which the socket sent.
    fn put_addresses(&self, context: &mut [u8], protocol: Protocol) {
        let header = self.packet.get(MIN_PACKET_BYTES..).unwrap_or_default();
        match protocol.addresses {
            Addresses::None => {}
            Addresses::Ip4 => {
                put(context, FAMILY, AF_INET);
                copy(context, LOCAL_IP4, &header[12..16]);
                copy(context, REMOTE_IP4, &header[16..20]);
            }
            Addresses::Ip6 => {
                put(context, FAMILY, AF_INET6);
                copy(context, LOCAL_IP6, &header[8..24]);
                copy(context, REMOTE_IP6, &header[24..40]);
            }
        }
    }

    /// `PACKET_HOST`, `_MULTICAST` or `_OTHERHOST` for the loopback interface, whose address is
    /// zero and which has none for broadcasts (Linux, `eth_skb_pkt_type`).
    fn receiver(&self) -> u32 {
        match self.packet.get(..6) {
            Some([0, 0, 0, 0, 0, 0]) | None => 0,
            Some([first, ..]) if first & 1 != 0 => 2,
            Some(_) => 3,
        }
    }

    /// The protocol of the packet (Linux, `eth_type_trans`), if its header is whole.
    fn protocol(&self) -> Result<Protocol, ContextError> {
        const ETH_P_802_3_MIN: u16 = 0x600;
        const ETH_P_802_3: u16 = 1;
        const ETH_P_802_2: u16 = 4;
        const ETH_P_IP: u16 = 0x800;
        const ETH_P_IPV6: u16 = 0x86dd;
        let Some([high, low]) = self.packet.get(12..14) else {
            return Err(length("a socket buffer", self.packet.len(), MIN_PACKET_BYTES));
        };
        let (kind, header, addresses) = match u16::from_be_bytes([*high, *low]) {
            ETH_P_IP => ("a socket buffer with IPv4", 20, Addresses::Ip4),
            ETH_P_IPV6 => ("a socket buffer with IPv6", 40, Addresses::Ip6),
            number @ ETH_P_802_3_MIN.. => {
                return Ok(Protocol { number, addresses: Addresses::None });
            }
            _ if self.packet.get(14..16) == Some(&[0xff, 0xff]) => {
                return Ok(Protocol { number: ETH_P_802_3, addresses: Addresses::None });
            }
            _ => return Ok(Protocol { number: ETH_P_802_2, addresses: Addresses::None }),
        };
        let min = MIN_PACKET_BYTES + header;
        if self.packet.len() < min {
            return Err(length(kind, self.packet.len(), min));
        }
        Ok(Protocol { number: u16::from_be_bytes([*high, *low]), addresses })
    }
}

impl Context for Skb {
    fn suits(&self, prog_type: ProgType) -> bool {
        prog_type == self.prog_type || prog_type == ProgType::UNSPEC
    }

    fn enter(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<[u64; 2], ContextError> {
        let view = self.view()?;
        let protocol = self.protocol()?;
        self.redirect = None;
        cpu.input.begin(Kind::Skb, cpu.context);
        cpu.input.tunnel = self.tunnel.clone().map(Box::new);
        cpu.input.place(machine.memory(), &LAYOUT, &[], &self.packet)?;
        if view == View::Network {
            cpu.input.packet.pull_link();
        }
        let context = self.context(&cpu.input.packet, protocol);
        let window = machine.memory().window();
        window.write(cpu.context, &context).map_err(ContextError::fault)?;
        Ok([cpu.context.into(), 0])
    }

    fn leave(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<(), ContextError> {
        let window = machine.memory().window();
        let mut context = [0; CONTEXT_BYTES];
        window.read(cpu.context, &mut context).map_err(ContextError::fault)?;
        self.mark = get(&context, MARK);
        self.vlan = vlan_of(&context);
        if self.pkt_type.is_some() || get(&context, PKT_TYPE) != self.receiver() {
            self.pkt_type = Some(get(&context, PKT_TYPE));
        }
        self.priority = get(&context, PRIORITY);
        self.hash = get(&context, HASH);
        self.tc_index = get(&context, TC_INDEX) & 0xffff;
        self.tc_classid = get(&context, TC_CLASSID) & 0xffff;
        // The kernel ignores a queue that cannot be (`NO_QUEUE_MAPPING`).
        let queue = get(&context, QUEUE_MAPPING);
        self.queue_mapping = if queue < 0xffff { queue } else { self.queue_mapping };
        for (index, word) in self.cb.iter_mut().enumerate() {
            *word = get(&context, CB + 4 * index);
        }
        self.tstamp = get_long(&context, TSTAMP);
        self.redirect = cpu.input.redirect;
        self.tunnel = cpu.input.tunnel.take().map(|tunnel| *tunnel);
        self.clones = std::mem::take(&mut cpu.input.clones);
        let packet = &cpu.input.packet;
        self.packet.resize((packet.end() - packet.link()) as usize, 0);
        window.read(packet.link(), &mut self.packet).map_err(ContextError::fault)
    }
}

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// Where the data begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Link,
    Network,
}

/// What a packet carries.
#[derive(Clone, Copy)]
struct Protocol {
    number: u16,
    addresses: Addresses,
}

/// Addresses in the packet, whose header is known to be whole.
#[derive(Clone, Copy)]
enum Addresses {
    None,
    Ip4,
    Ip6,
}

fn length(kind: &'static str, len: usize, min: usize) -> ContextError {
    ContextError::PacketLength { kind, len, min, max: MAX_PACKET_BYTES }
}

fn copy(context: &mut [u8], offset: usize, bytes: &[u8]) {
    context[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn put_long(context: &mut [u8], offset: usize, value: u64) {
    copy(context, offset, &value.to_le_bytes());
}

fn get_long(context: &[u8], offset: usize) -> u64 {
    u64::from(get(context, offset)) | u64::from(get(context, offset + 4)) << 32
}

fn put_ends(context: &mut [u8], packet: &Packet) {
    put(context, LEN, packet.len());
    put(context, DATA, packet.data());
    put(context, DATA_END, packet.end());
    put(context, DATA_META, packet.meta());
}

/// Writes the packet's ends into the context.
pub(super) fn publish(window: &Window, context: u32, packet: &Packet) -> Result<(), Fault> {
    let mut bytes = [0; CONTEXT_BYTES];
    window.read(context, &mut bytes)?;
    put_ends(&mut bytes, packet);
    window.write(context, &bytes)
}

/// A field of four bytes of the context, and what sets it.
macro_rules! field {
    ($get:ident, $set:ident, $offset:ident, $what:literal) => {
        #[doc = concat!("Reads ", $what, " from the context.")]
        pub(crate) fn $get(window: &Window, context: u32) -> Result<u32, Fault> {
            Ok(window.load(context + $offset as u32, Size::W)? as u32)
        }

        #[doc = concat!("Sets ", $what, " in the context.")]
        pub(crate) fn $set(window: &Window, context: u32, value: u32) -> Result<(), Fault> {
            window.store(context + $offset as u32, Size::W, value.into())
        }
    };
}

field!(hash, set_hash, HASH, "the hash");
field!(pkt_type, set_pkt_type, PKT_TYPE, "what kind of receiver the packet has");
field!(raw_protocol, set_raw_protocol, PROTOCOL, "the protocol, in network byte order,");

/// The EtherType of what comes after the link header.
pub(crate) fn protocol(window: &Window, context: u32) -> Result<u16, Fault> {
    Ok(u16::from_be(raw_protocol(window, context)? as u16))
}

/// Sets the EtherType of what comes after the link header.
pub(crate) fn set_protocol(window: &Window, context: u32, number: u16) -> Result<(), Fault> {
    set_raw_protocol(window, context, number.to_be().into())
}

/// The tag that is beside the packet.
pub(crate) fn vlan(window: &Window, context: u32) -> Result<Option<Vlan>, Fault> {
    let mut bytes = [0; CONTEXT_BYTES];
    window.read(context, &mut bytes)?;
    Ok(vlan_of(&bytes))
}

fn vlan_of(context: &[u8]) -> Option<Vlan> {
    let (tci, proto) = (get(context, VLAN_TCI) as u16, get(context, VLAN_PROTO) as u16);
    (get(context, VLAN_PRESENT) != 0).then(|| Vlan { tci, proto: u16::from_be(proto) })
}

/// Sets or removes the tag that is beside the packet.
pub(crate) fn set_vlan(window: &Window, context: u32, vlan: Option<Vlan>) -> Result<(), Fault> {
    let (tci, proto) = vlan.map_or((0, 0), |vlan| (vlan.tci, vlan.proto.to_be()));
    let fields = [(VLAN_PRESENT, u64::from(vlan.is_some())), (VLAN_TCI, tci.into())];
    for (offset, value) in fields.into_iter().chain([(VLAN_PROTO, proto.into())]) {
        window.store(context + offset as u32, Size::W, value)?;
    }
    Ok(())
}
