//! Helpers on a socket buffer's link layer: VLAN tags, room in front, kind of receiver, limits.
//!
//! Limits and errors: Linux, `net/core/filter.c`, `net/core/skbuff.c`.

use skep_bpf::op::Size;
use skep_bpf::platform::HelperId;

use super::skb::packet;
use super::{Call, Standard};
use crate::context::{
    Kind, MAX_GROWN_BYTES, MIN_PACKET_BYTES, Vlan, hash, pkt_type, protocol, set_hash,
    set_pkt_type, set_protocol, set_vlan, vlan,
};
use crate::errno::Errno;
use crate::memory::{Access, Fault};
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::SKB_VLAN_PUSH, vlan_push),
    (HelperId::SKB_VLAN_POP, vlan_pop),
    (HelperId::SKB_CHANGE_HEAD, change_head),
    (HelperId::SKB_CHANGE_TYPE, change_type),
    (HelperId::GET_HASH_RECALC, hash_recalc),
    (HelperId::CHECK_MTU, check_mtu),
];

/// `ETH_P_8021Q`
const CUSTOMER_TAG: u16 = 0x8100;
/// `ETH_P_8021AD`
const SERVICE_TAG: u16 = 0x88a8;
/// The length of a tag in a packet, and where it begins: behind two addresses.
const TAG_BYTES: u32 = 4;
const ADDRESSES_BYTES: u32 = 12;
const HEADER_BYTES: u32 = MIN_PACKET_BYTES as u32;

/// The new tag stays beside the packet; the one that was there goes into it.
fn vlan_push(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    packet(call)?;
    let (window, context) = (call.machine.memory().window(), call.cpu.context);
    if let Some(old) = vlan(window, context)? {
        let packet = &mut call.cpu.input.packet;
        if !packet.push(window, TAG_BYTES)? {
            return Ok(Errno::ENOMEM.to_return());
        }
        let data = packet.data();
        window.copy(data + TAG_BYTES, data, ADDRESSES_BYTES)?;
        store_be16(call, data + ADDRESSES_BYTES, old.proto)?;
        store_be16(call, data + ADDRESSES_BYTES + 2, old.tci)?;
        let packet = &mut call.cpu.input.packet;
        packet.set_network(packet.network() - TAG_BYTES);
        set_protocol(window, context, old.proto)?;
        call.cpu.input.publish(window)?;
    }
    let proto = match u16::from_be(call.scalar(1) as u16) {
        SERVICE_TAG => SERVICE_TAG,
        _ => CUSTOMER_TAG,
    };
    set_vlan(window, context, Some(Vlan { tci: call.scalar(2) as u16, proto }))?;
    Ok(0)
}

/// Removes the tag beside the packet, or the first one in it; the next takes its place.
fn vlan_pop(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    packet(call)?;
    let (window, context) = (call.machine.memory().window(), call.cpu.context);
    if vlan(window, context)?.is_some() {
        set_vlan(window, context, None)?;
    } else if !is_tag(protocol(window, context)?) {
        return Ok(0);
    } else if take_tag(call)?.is_none() {
        return Ok(Errno::ENOMEM.to_return());
    }
    let proto = protocol(window, context)?;
    if is_tag(proto) {
        let Some(tci) = take_tag(call)? else { return Ok(Errno::ENOMEM.to_return()) };
        set_vlan(window, context, Some(Vlan { tci, proto }))?;
    }
    Ok(0)
}

fn is_tag(protocol: u16) -> bool {
    matches!(protocol, CUSTOMER_TAG | SERVICE_TAG)
}

/// Takes the first tag out of the packet, if the packet is long enough.
fn take_tag(call: &mut Call<'_>) -> Result<Option<u16>, Fault> {
    /// The lowest EtherType; below are lengths (`ETH_P_802_3_MIN`).
    const LOWEST_TYPE: u16 = 0x600;
    // `ETH_P_802_3` and `ETH_P_802_2`.
    const RAW: u16 = 1;
    const LINK_CONTROL: u16 = 4;
    let window = call.machine.memory().window();
    let packet = &mut call.cpu.input.packet;
    if packet.len() < HEADER_BYTES + TAG_BYTES {
        return Ok(None);
    }
    let data = packet.data();
    let be16 = |at| Ok::<_, Fault>(u16::from_be(window.load(at, Size::H)? as u16));
    let tci = be16(data + ADDRESSES_BYTES + 2)?;
    let inner = be16(data + ADDRESSES_BYTES + TAG_BYTES)?;
    let is_raw = inner < LOWEST_TYPE
        && packet.len() >= HEADER_BYTES + TAG_BYTES + 2
        && be16(data + HEADER_BYTES + TAG_BYTES)? == 0xffff;
    window.copy(data, data + TAG_BYTES, ADDRESSES_BYTES)?;
    packet.pull(TAG_BYTES);
    packet.reset_link();
    let network = packet.network().max(packet.data() + HEADER_BYTES);
    packet.set_network(network);
    let protocol = match (inner, is_raw) {
        (LOWEST_TYPE.., _) => inner,
        (_, true) => RAW,
        (_, false) => LINK_CONTROL,
    };
    set_protocol(window, call.cpu.context, protocol)?;
    call.cpu.input.publish(window)?;
    Ok(Some(tci))
}

fn store_be16(call: &Call<'_>, at: u32, value: u16) -> Result<(), Fault> {
    call.machine.memory().window().store(at, Size::H, value.to_be().into())
}

fn change_head(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let old = packet(call)?.len();
    let room = call.scalar(1) as u32;
    let new = old.checked_add(room).filter(|new| *new <= MAX_GROWN_BYTES);
    if call.scalar(2) != 0 || new.is_none() {
        return Ok(Errno::EINVAL.to_return());
    }
    let window = call.machine.memory().window();
    if !call.cpu.input.packet.push(window, room)? {
        return Ok(Errno::ENOMEM.to_return());
    }
    call.cpu.input.publish(window)?;
    Ok(0)
}

fn change_type(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    /// `PACKET_OTHERHOST`, the last that can be chosen.
    const LAST: u32 = 3;
    packet(call)?;
    let (window, context) = (call.machine.memory().window(), call.cpu.context);
    let (old, new) = (pkt_type(window, context)?, call.scalar(1) as u32);
    if old > LAST || new > LAST {
        return Ok(Errno::EINVAL.to_return());
    }
    set_pkt_type(window, context, new)?;
    Ok(0)
}

/// The hash of the packet's flow, made now if there is none. Linux seeds its hash at random; here
/// the same bytes always give the same.
fn hash_recalc(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let packet = packet(call)?;
    let (window, context) = (call.machine.memory().window(), call.cpu.context);
    let known = hash(window, context)?;
    if known != 0 {
        return Ok(known.into());
    }
    let start = packet.network().min(packet.end());
    let mut header = [0; 60];
    let len = (packet.end() - start).min(header.len() as u32);
    let header = &mut header[..len as usize];
    window.read(start, header)?;
    let hash = flow_hash(protocol(window, context)?, header);
    set_hash(window, context, hash)?;
    Ok(hash.into())
}

/// A hash of the protocols, addresses and ports of a packet that begins with its network header.
/// Never zero, which would mean that there is none.
fn flow_hash(ether_type: u16, packet: &[u8]) -> u32 {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    let byte = |at: usize| packet.get(at).copied().unwrap_or(0);
    let (protocol, addresses, ports) = match ether_type {
        0x800 => (byte(9), 12..20, usize::from(byte(0) & 15) * 4),
        0x86dd => (byte(6), 8..40, 40),
        _ => (0, 0..0, 0),
    };
    let ports = if matches!(protocol, TCP | UDP) { ports..ports + 4 } else { 0..0 };
    let bytes = addresses.chain(ports).map(byte).chain([protocol]);
    let hash = bytes.chain(ether_type.to_be_bytes()).fold(0x811c_9dc5_u32, |hash, byte| {
        // FNV-1a.
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash.max(1)
}

/// Whether the packet, or one of a length that the program names, may leave by an interface.
fn check_mtu(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    const SEGMENTS: u64 = 1;
    const FRAGMENTS_NEEDED: u64 = 1;
    let kind = call.cpu.input.kind();
    let packet = call.input(Kind::Skb).or(call.input(Kind::Xdp));
    let packet = packet.ok_or_else(|| call.needs("a packet as context"))?;
    let (ifindex, flags) = (call.scalar(1) as u32, call.scalar(4));
    let at = call.guest(2, 4, Access::Write)?;
    let window = call.machine.memory().window();
    let (wanted, difference) = (window.load(at, Size::W)? as u32, call.scalar(3) as i32);
    let known = if kind == Kind::Skb { SEGMENTS } else { 0 };
    if flags & !known != 0 || (flags != 0 && (difference != 0 || wanted != 0)) {
        return Ok(Errno::EINVAL.to_return());
    }
    // Zero is the interface that the packet is at.
    let own = || window.load(call.cpu.input.interface_field(call.cpu.context), Size::W);
    let ifindex = if ifindex == 0 { own()? as u32 } else { ifindex };
    let Some(mtu) = (call.machine.host().mtu)(ifindex) else {
        return Ok(Errno::ENODEV.to_return());
    };
    let wrapping = |len: u32| len.wrapping_add(HEADER_BYTES) as i32;
    let len = if wanted != 0 { wrapping(wanted) } else { packet.len() as i32 };
    let fits = len.wrapping_add(difference) <= wrapping(mtu);
    window.store(at, Size::W, mtu.into())?;
    Ok(if fits { 0 } else { FRAGMENTS_NEEDED })
}
