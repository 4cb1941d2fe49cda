//! Helpers on the tunnel that a socket buffer came out of or is to go into.
//!
//! Layouts and errors: Linux, `struct bpf_tunnel_key` and `net/core/filter.c`. What is set is read
//! back with source and destination exchanged, as from the other end.

use skep_bpf::platform::HelperId;

use super::skb::packet;
use super::{Call, Standard};
use crate::context::Tunnel;
use crate::errno::Errno;
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::SKB_SET_TUNNEL_KEY, set_key),
    (HelperId::SKB_GET_TUNNEL_KEY, get_key),
    (HelperId::SKB_SET_TUNNEL_OPT, set_options),
    (HelperId::SKB_GET_TUNNEL_OPT, get_options),
];

const KEY_BYTES: usize = 44;
/// Where the fields of `struct bpf_tunnel_key` lie.
const ID: usize = 0;
const REMOTE: usize = 4;
const TOS: usize = 20;
const TTL: usize = 21;
const EXT: usize = 22;
const LABEL: usize = 24;
const LOCAL: usize = 28;
/// The sizes that the structure had before it grew; the smallest is for IPv4 alone.
const OLD_BYTES: [u32; 4] = [8, 22, 24, 28];
const SMALLEST: u32 = OLD_BYTES[0];

const IPV6: u64 = 1 << 0;
const ZERO_CSUM: u64 = 1 << 1;
const DONT_FRAGMENT: u64 = 1 << 2;
const SEQUENCE: u64 = 1 << 3;
const NO_KEY: u64 = 1 << 4;
/// Of a call that reads.
const FLAGS: u64 = 1 << 4;

/// The longest options (`IP_TUNNEL_OPTS_MAX`).
const MOST_OPTIONS: u32 = 255;
/// The bits of a flow label.
const FLOW_LABEL: u32 = 0xf_ffff;

fn get<const N: usize>(key: &[u8; KEY_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&key[at..at + N]);
    bytes
}

fn put(key: &mut [u8; KEY_BYTES], at: usize, bytes: &[u8]) {
    key[at..at + bytes.len()].copy_from_slice(bytes);
}

/// An address of a key in network byte order: of IPv4 it is a number in the key.
fn to_network(mut address: [u8; 16], is_ipv6: bool) -> [u8; 16] {
    if !is_ipv6 {
        address[..4].reverse();
        address[4..].fill(0);
    }
    address
}

fn set_key(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    packet(call)?;
    let (size, flags) = (call.scalar(2) as u32, call.scalar(3));
    call.guest(1, size, Access::Read)?;
    let known = IPV6 | ZERO_CSUM | DONT_FRAGMENT | SEQUENCE | NO_KEY;
    if flags & !known != 0 || (size != KEY_BYTES as u32 && !OLD_BYTES.contains(&size)) {
        return Ok(Errno::EINVAL.to_return());
    }
    let mut key = [0; KEY_BYTES];
    call.read(1, &mut key[..size as usize])?;
    let is_ipv6 = flags & IPV6 != 0;
    let label = u32::from_le_bytes(get(&key, LABEL));
    if (!is_ipv6 && label != 0) || get(&key, EXT) != [0, 0] {
        return Ok(Errno::EINVAL.to_return());
    }
    let when = |holds: bool, flag: u16| if holds { flag } else { 0 };
    call.cpu.input.tunnel = Some(Box::new(Tunnel {
        id: u32::from_le_bytes(get(&key, ID)),
        is_ipv6,
        source: to_network(get(&key, LOCAL), is_ipv6),
        destination: to_network(get(&key, REMOTE), is_ipv6),
        tos: key[TOS],
        ttl: key[TTL],
        label: if is_ipv6 { label & FLOW_LABEL } else { 0 },
        flags: Tunnel::NOCACHE
            | when(flags & ZERO_CSUM == 0, Tunnel::CSUM)
            | when(flags & NO_KEY == 0, Tunnel::KEY)
            | when(flags & SEQUENCE != 0, Tunnel::SEQ)
            | when(flags & DONT_FRAGMENT != 0, Tunnel::DONT_FRAGMENT),
        options: Vec::new(),
    }));
    Ok(0)
}

fn get_key(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    packet(call)?;
    let size = call.scalar(2) as u32;
    let to = call.guest(1, size, Access::Write)?;
    let window = call.machine.memory().window();
    match key_as_seen(call, size) {
        Ok(key) => {
            window.write(to, &key[..size as usize])?;
            Ok(0)
        }
        Err(errno) => {
            window.fill(to, size, 0)?;
            Ok(errno.to_return())
        }
    }
}

fn key_as_seen(call: &Call<'_>, size: u32) -> Result<[u8; KEY_BYTES], Errno> {
    let flags = call.scalar(3);
    let tunnel = call.cpu.input.tunnel.as_ref().ok_or(Errno::EINVAL)?;
    if flags & !(IPV6 | FLAGS) != 0 {
        return Err(Errno::EINVAL);
    }
    if tunnel.is_ipv6 != (flags & IPV6 != 0) {
        return Err(Errno::EPROTO);
    }
    let known = size == KEY_BYTES as u32 || OLD_BYTES.contains(&size);
    if !known || (size == SMALLEST && tunnel.is_ipv6) {
        return Err(Errno::EINVAL);
    }
    let mut key = [0; KEY_BYTES];
    put(&mut key, ID, &tunnel.id.to_le_bytes());
    put(&mut key, REMOTE, &to_network(tunnel.source, tunnel.is_ipv6));
    key[TOS] = tunnel.tos;
    key[TTL] = tunnel.ttl;
    if flags & FLAGS != 0 {
        put(&mut key, EXT, &tunnel.flags.to_be_bytes());
    }
    put(&mut key, LABEL, &tunnel.label.to_le_bytes());
    put(&mut key, LOCAL, &to_network(tunnel.destination, tunnel.is_ipv6));
    Ok(key)
}

fn set_options(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    packet(call)?;
    let size = call.scalar(2) as u32;
    call.guest(1, size, Access::Read)?;
    if call.cpu.input.tunnel.is_none() || !size.is_multiple_of(4) {
        return Ok(Errno::EINVAL.to_return());
    }
    if size > MOST_OPTIONS {
        return Ok(Errno::ENOMEM.to_return());
    }
    let mut options = vec![0; size as usize];
    call.read(1, &mut options)?;
    if let Some(tunnel) = &mut call.cpu.input.tunnel {
        tunnel.options = options;
        tunnel.flags |= Tunnel::OPTIONS;
    }
    Ok(0)
}

fn get_options(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    packet(call)?;
    let size = call.scalar(2) as u32;
    let to = call.guest(1, size, Access::Write)?;
    let window = call.machine.memory().window();
    let tunnel = call.cpu.input.tunnel.as_ref();
    let options = match tunnel.filter(|tunnel| tunnel.flags & Tunnel::OPTIONS != 0) {
        None => Err(Errno::ENOENT),
        Some(tunnel) if tunnel.options.len() > size as usize => Err(Errno::ENOMEM),
        Some(tunnel) => Ok(&tunnel.options),
    };
    window.fill(to, size, 0)?;
    match options {
        Ok(options) => {
            window.write(to, options)?;
            Ok(options.len() as u64)
        }
        Err(errno) => Ok(errno.to_return()),
    }
}
