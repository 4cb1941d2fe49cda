//! Helpers that say where a packet shall be sent.

use skep_bpf::platform::retval::{ReturnRow, TC_ACTIONS, XDP_ACTIONS};
use skep_bpf::platform::{HelperId, MapType};

use super::skb::packet;
use super::{Call, Standard};
use crate::context::{Kind, Redirect, Sent, same};
use crate::errno::Errno;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::REDIRECT, redirect),
    (HelperId::REDIRECT_MAP, redirect_map),
    (HelperId::REDIRECT_PEER, redirect_peer),
    (HelperId::REDIRECT_NEIGH, redirect_neighbour),
    (HelperId::CLONE_REDIRECT, clone_redirect),
];

const INGRESS: u64 = 1 << 0;
const BROADCAST: u64 = 1 << 3;
const EXCLUDE_INGRESS: u64 = 1 << 4;

/// The most bytes of copies that are kept of a run.
const MOST_SENT_BYTES: usize = 64 << 20;

const XDP_ABORTED: u64 = value_of(XDP_ACTIONS, "XDP_ABORTED");
const XDP_REDIRECT: u64 = value_of(XDP_ACTIONS, "XDP_REDIRECT");
const TC_ACT_SHOT: u64 = value_of(TC_ACTIONS, "TC_ACT_SHOT");
const TC_ACT_REDIRECT: u64 = value_of(TC_ACTIONS, "TC_ACT_REDIRECT");
/// The verdicts that a program may ask for if a map has no such entry: all before redirection.
const FALLBACK_MASK: u64 = XDP_REDIRECT - 1;

/// The number of a verdict, found when this crate is compiled.
const fn value_of(rows: &'static [ReturnRow], name: &str) -> u64 {
    let mut place = 0;
    while place < rows.len() {
        if same(rows[place].name, name) {
            return rows[place].value as u64;
        }
        place += 1;
    }
    panic!("there is no such verdict")
}

fn redirect(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let (ifindex, flags) = (call.scalar(0) as u32, call.scalar(1));
    let (known, refused, accepted) = match call.cpu.input.kind() {
        Kind::Xdp => (0, XDP_ABORTED, XDP_REDIRECT),
        Kind::Skb => (INGRESS, TC_ACT_SHOT, TC_ACT_REDIRECT),
        Kind::Nothing | Kind::Memory | Kind::Lirc => return Err(call.needs("a packet")),
    };
    if flags & !known != 0 {
        return Ok(refused);
    }
    call.cpu.input.redirect = Some(Redirect::Interface { ifindex, flags });
    Ok(accepted)
}

fn redirect_peer(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    if call.cpu.input.kind() != Kind::Skb {
        return Err(call.needs("a socket buffer as context"));
    }
    if call.scalar(1) != 0 {
        return Ok(TC_ACT_SHOT);
    }
    call.cpu.input.redirect = Some(Redirect::Peer { ifindex: call.scalar(0) as u32 });
    Ok(TC_ACT_REDIRECT)
}

fn redirect_neighbour(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    /// The size of `struct bpf_redir_neigh`.
    const NEXT_HOP_BYTES: usize = 20;
    if call.cpu.input.kind() != Kind::Skb {
        return Err(call.needs("a socket buffer as context"));
    }
    let (len, flags) = (call.scalar(2) as i32, call.scalar(3));
    if flags != 0 || (len != 0 && (len as u32 as usize) < NEXT_HOP_BYTES) {
        return Ok(TC_ACT_SHOT);
    }
    let mut next_hop = None;
    if len != 0 {
        let mut bytes = [0; NEXT_HOP_BYTES];
        call.read(1, &mut bytes)?;
        next_hop = Some(bytes);
    }
    let ifindex = call.scalar(0) as u32;
    call.cpu.input.redirect = Some(Redirect::Neighbour { ifindex, next_hop });
    Ok(TC_ACT_REDIRECT)
}

/// Sends a copy of the packet off; the program goes on with its own.
fn clone_redirect(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let packet = packet(call)?;
    let (start, len) = (packet.link(), packet.end() - packet.link());
    let (ifindex, flags) = (call.scalar(1) as u32, call.scalar(2));
    if flags & !INGRESS != 0 || (call.machine.host().mtu)(ifindex).is_none() {
        return Ok(Errno::EINVAL.to_return());
    }
    let sent: usize = call.cpu.input.clones.iter().map(|sent| sent.packet.len()).sum();
    if sent + len as usize > MOST_SENT_BYTES {
        return Ok(Errno::ENOMEM.to_return());
    }
    let mut packet = vec![0; len as usize];
    call.machine.memory().window().read(start, &mut packet)?;
    call.cpu.input.clones.push(Sent { ifindex, flags, packet });
    Ok(0)
}

fn redirect_map(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let map = call.map(0)?;
    let (key, flags) = (call.scalar(1) as u32, call.scalar(2));
    let known = match map.spec().map_type {
        MapType::DEVMAP | MapType::DEVMAP_HASH => BROADCAST | EXCLUDE_INGRESS,
        MapType::CPUMAP | MapType::XSKMAP => 0,
        _ => return Err(call.needs("a map of devices, processors or AF_XDP sockets")),
    };
    if call.cpu.input.kind() != Kind::Xdp {
        return Err(call.needs("the context of an XDP program"));
    }
    if flags & !(known | FALLBACK_MASK) != 0 {
        return Ok(XDP_ABORTED);
    }
    let found = map.lookup(call.cpu.index, &key.to_le_bytes()).is_some();
    if !found && flags & BROADCAST == 0 {
        call.cpu.input.redirect = None;
        return Ok(flags & FALLBACK_MASK);
    }
    call.cpu.input.redirect = Some(Redirect::Map { map: call.scalar(0), key, flags });
    Ok(XDP_REDIRECT)
}
