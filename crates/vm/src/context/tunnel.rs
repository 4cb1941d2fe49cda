//! What is known of the tunnel that a packet came out of or is to go into.

/// The headers of a tunnel, apart from the packet (Linux, `struct ip_tunnel_info`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tunnel {
    /// The number of the tunnel.
    pub id: u32,
    /// Whether the addresses are of IPv6.
    pub is_ipv6: bool,
    /// Where the packet comes from, in network byte order; of IPv4 the first four bytes.
    pub source: [u8; 16],
    /// Where it goes to.
    pub destination: [u8; 16],
    /// The type of service.
    pub tos: u8,
    /// The time to live.
    pub ttl: u8,
    /// The flow label of IPv6.
    pub label: u32,
    /// Flags (`TUNNEL_CSUM` and so on, `linux/if_tunnel.h`).
    pub flags: u16,
    /// Options, in the tunnel protocol's own form; at most 255 bytes.
    pub options: Vec<u8>,
}

impl Tunnel {
    /// A checksum is to be made.
    pub const CSUM: u16 = 1 << 0;
    /// The number is to be sent.
    pub const KEY: u16 = 1 << 2;
    /// Packets are numbered.
    pub const SEQ: u16 = 1 << 3;
    /// Routers must not fragment.
    pub const DONT_FRAGMENT: u16 = 1 << 8;
    /// Routes are not to be remembered.
    pub const NOCACHE: u16 = 1 << 13;
    /// Any of the options of Geneve, VXLAN, ERSPAN and GTP is there.
    pub const OPTIONS: u16 = 1 << 11 | 1 << 12 | 1 << 14 | 1 << 15;
}
