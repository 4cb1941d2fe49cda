//! Helpers that make or take room behind a socket buffer's link layer: encapsulation, other
//! versions of IP.
//!
//! Limits and errors: Linux, `net/core/filter.c`. A packet here is never one of several segments.

use skep_bpf::platform::HelperId;

use super::skb::packet;
use super::{Call, Standard};
use crate::context::{MAX_GROWN_BYTES, protocol, set_hash, set_protocol};
use crate::errno::Errno;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] =
    &[(HelperId::SKB_ADJUST_ROOM, adjust_room), (HelperId::SKB_CHANGE_PROTO, change_proto)];

const ETH_P_IP: u16 = 0x800;
const ETH_P_IPV6: u16 = 0x86dd;
const IP4_BYTES: u32 = 20;
const IP6_BYTES: u32 = 40;

/// The length of the header of a version of IP; none of another protocol.
fn header_bytes(protocol: u16) -> Option<u32> {
    match protocol {
        ETH_P_IP => Some(IP4_BYTES),
        ETH_P_IPV6 => Some(IP6_BYTES),
        _ => None,
    }
}

/// `BPF_F_ADJ_ROOM_*`
mod flag {
    pub(super) const FIXED_GSO: u64 = 1 << 0;
    pub(super) const ENCAP_L3_IPV4: u64 = 1 << 1;
    pub(super) const ENCAP_L3_IPV6: u64 = 1 << 2;
    pub(super) const ENCAP_L4_GRE: u64 = 1 << 3;
    pub(super) const ENCAP_L4_UDP: u64 = 1 << 4;
    pub(super) const NO_CSUM_RESET: u64 = 1 << 5;
    pub(super) const ENCAP_L2_ETH: u64 = 1 << 6;
    pub(super) const DECAP_L3_IPV4: u64 = 1 << 7;
    pub(super) const DECAP_L3_IPV6: u64 = 1 << 8;
    /// The length of an inner link header lies above.
    pub(super) const L2_SHIFT: u32 = 56;
    pub(super) const ENCAP_L3: u64 = ENCAP_L3_IPV4 | ENCAP_L3_IPV6;
    pub(super) const DECAP_L3: u64 = DECAP_L3_IPV4 | DECAP_L3_IPV6;
    pub(super) const KNOWN: u64 = ((1 << 9) - 1) | (0xff << L2_SHIFT);
    pub(super) const WITH_SHRINKING: u64 = FIXED_GSO | DECAP_L3 | NO_CSUM_RESET;
}

fn adjust_room(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    packet(call)?;
    Ok(match adjust(call)? {
        Ok(()) => 0,
        Err(errno) => errno.to_return(),
    })
}

fn adjust(call: &mut Call<'_>) -> Result<Result<(), Errno>, TrapKind> {
    /// Behind the network header, or behind the link header.
    const NET: u32 = 0;
    const MAC: u32 = 1;
    const MOST: u32 = 0xfff;
    let (difference, mode, flags) = (call.scalar(1) as i32, call.scalar(2) as u32, call.scalar(3));
    let (window, context) = (call.machine.memory().window(), call.cpu.context);
    let packet = &call.cpu.input.packet;
    let (len, shrink) = (difference.unsigned_abs(), difference < 0);
    if flags & !flag::KNOWN != 0 {
        return Ok(Err(Errno::EINVAL));
    }
    if len > MOST {
        return Ok(Err(Errno::EFAULT));
    }
    let proto = protocol(window, context)?;
    let Some(header) = header_bytes(proto) else { return Ok(Err(Errno::ENOTSUPP)) };
    let link = packet.network().saturating_sub(packet.link());
    let at = match mode {
        NET => link + header,
        MAC => link,
        _ => return Ok(Err(Errno::ENOTSUPP)),
    };
    let least = match flags & flag::DECAP_L3 {
        0 => header,
        _ if !shrink => return Ok(Err(Errno::EINVAL)),
        flag::DECAP_L3_IPV4 => IP4_BYTES,
        flag::DECAP_L3_IPV6 => IP6_BYTES,
        _ => return Ok(Err(Errno::EINVAL)),
    };
    let now = packet.end().saturating_sub(packet.network());
    let too_short = shrink && (len >= now || now - len < least);
    if too_short || (!shrink && packet.len() + len > MAX_GROWN_BYTES) {
        return Ok(Err(Errno::ENOTSUPP));
    }
    if shrink { take(call, at, len, flags, proto) } else { make(call, at, len, flags, proto) }
}

/// Makes room of a length at an offset.
fn make(
    call: &mut Call<'_>,
    at: u32,
    len: u32,
    flags: u64,
    proto: u16,
) -> Result<Result<(), Errno>, TrapKind> {
    const ETHERNET_BYTES: u64 = 14;
    let encapsulates = flags & flag::ENCAP_L3 != 0;
    let inner_link = flags >> flag::L2_SHIFT;
    if encapsulates {
        let both = |pair: u64| flags & pair == pair;
        let too_short = flags & flag::ENCAP_L2_ETH != 0 && inner_link < ETHERNET_BYTES;
        let bad = both(flag::ENCAP_L3) || both(flag::ENCAP_L4_GRE | flag::ENCAP_L4_UDP);
        if bad || too_short {
            return Ok(Err(Errno::EINVAL));
        }
        if call.cpu.input.packet.is_encapsulated() {
            return Ok(Err(Errno::EALREADY));
        }
        if inner_link > len.into() {
            return Ok(Err(Errno::EINVAL));
        }
    }
    if !push_at(call, at, len)? {
        return Ok(Err(Errno::ENOMEM));
    }
    if encapsulates {
        let packet = &mut call.cpu.input.packet;
        packet.set_encapsulated();
        if flags & (flag::ENCAP_L4_GRE | flag::ENCAP_L4_UDP) != 0 {
            let header = if flags & flag::ENCAP_L3_IPV6 != 0 { IP6_BYTES } else { IP4_BYTES };
            packet.set_transport(packet.network() + header);
        }
        let outer = if flags & flag::ENCAP_L3_IPV6 != 0 { ETH_P_IPV6 } else { ETH_P_IP };
        if outer != proto {
            set_protocol(call.machine.memory().window(), call.cpu.context, outer)?;
        }
    }
    Ok(Ok(()))
}

/// Takes a length away at an offset.
fn take(
    call: &mut Call<'_>,
    at: u32,
    len: u32,
    flags: u64,
    proto: u16,
) -> Result<Result<(), Errno>, TrapKind> {
    if flags & !flag::WITH_SHRINKING != 0 {
        return Ok(Err(Errno::EINVAL));
    }
    if !pop_at(call, at, len)? {
        return Ok(Err(Errno::ENOMEM));
    }
    let inner = match flags & flag::DECAP_L3 {
        flag::DECAP_L3_IPV6 => ETH_P_IPV6,
        flag::DECAP_L3_IPV4 => ETH_P_IP,
        _ => proto,
    };
    if inner != proto {
        set_protocol(call.machine.memory().window(), call.cpu.context, inner)?;
    }
    Ok(Ok(()))
}

/// Puts zeros into the packet behind its first bytes. False if there is no room.
fn push_at(call: &mut Call<'_>, at: u32, len: u32) -> Result<bool, TrapKind> {
    let window = call.machine.memory().window();
    let packet = &mut call.cpu.input.packet;
    if !packet.push(window, len)? {
        return Ok(false);
    }
    let data = packet.data();
    window.copy(data + len, data, at)?;
    window.fill(data + at, len, 0)?;
    let same = packet.transport() == packet.network();
    packet.set_network(packet.network().saturating_sub(len));
    if same {
        packet.set_transport(packet.network());
    }
    call.cpu.input.publish(window)?;
    Ok(true)
}

/// Takes bytes out of the packet behind its first ones. False if there are not as many.
fn pop_at(call: &mut Call<'_>, at: u32, len: u32) -> Result<bool, TrapKind> {
    let window = call.machine.memory().window();
    let packet = &mut call.cpu.input.packet;
    if at + len > packet.len() {
        return Ok(false);
    }
    let data = packet.data();
    window.copy(data, data + len, at)?;
    packet.pull(len);
    packet.reset_link();
    let same = packet.transport() == packet.network();
    packet.set_network(packet.network() + len);
    if same {
        packet.set_transport(packet.network());
    }
    call.cpu.input.publish(window)?;
    Ok(true)
}

fn change_proto(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    const LONGER: u32 = IP6_BYTES - IP4_BYTES;
    let packet = packet(call)?;
    let link = packet.network().saturating_sub(packet.link());
    let (to, flags) = (u16::from_be(call.scalar(1) as u16), call.scalar(2));
    let (window, context) = (call.machine.memory().window(), call.cpu.context);
    if flags != 0 {
        return Ok(Errno::EINVAL.to_return());
    }
    let done = match (protocol(window, context)?, to) {
        (ETH_P_IP, ETH_P_IPV6) => push_at(call, link, LONGER)?,
        (ETH_P_IPV6, ETH_P_IP) => pop_at(call, link, LONGER)?,
        _ => return Ok(Errno::ENOTSUPP.to_return()),
    };
    if !done {
        return Ok(Errno::ENOMEM.to_return());
    }
    set_protocol(window, context, to)?;
    set_hash(window, context, 0)?;
    Ok(0)
}
