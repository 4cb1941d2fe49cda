//! Packets for people: one line as tcpdump has it, and what a program changed in one.

use etherparse::err::{Layer, packet::SliceError};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use skep_net::{LinkType, Packet};

/// Bytes in a row of a dump.
const ROW: usize = 16;

/// The time of day of a packet, as tcpdump prints it (in UTC).
#[must_use]
pub fn time(packet: &Packet) -> String {
    let seconds = packet.timestamp.as_secs();
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:06}", seconds % 60, packet.timestamp.subsec_micros())
}

/// What a packet is, in a few words: addresses, ports, protocol, length.
#[must_use]
pub fn summary(bytes: &[u8], link_type: LinkType) -> String {
    let sliced = match link_type {
        LinkType::RAW_IP => SlicedPacket::from_ip(bytes),
        _ => SlicedPacket::from_ethernet(bytes),
    };
    let len = bytes.len();
    match sliced {
        Ok(sliced) => format!("{}, {len} bytes", describe(&sliced, bytes)),
        Err(error) => format!("malformed {}, {len} bytes", layer(&error)),
    }
}

/// The part of a packet that is malformed.
fn layer(error: &SliceError) -> &'static str {
    let layer = match error {
        SliceError::Len(error) => error.layer,
        SliceError::Ip(_) => return "IP header",
        SliceError::Ipv4(_) => Layer::Ipv4Header,
        SliceError::Ipv6(_) => Layer::Ipv6Header,
        SliceError::Tcp(_) => Layer::TcpHeader,
        _ => return "packet",
    };
    match layer {
        Layer::Ethernet2Header => "Ethernet header",
        Layer::VlanHeader => "VLAN header",
        Layer::IpHeader => "IP header",
        Layer::Ipv4Header => "IPv4 header",
        Layer::Ipv4Packet => "IPv4 packet",
        Layer::Ipv6Header => "IPv6 header",
        Layer::Ipv6Packet => "IPv6 packet",
        Layer::UdpHeader => "UDP header",
        Layer::UdpPayload => "UDP packet",
        Layer::TcpHeader => "TCP header",
        Layer::Arp => "ARP packet",
        _ => "packet",
    }
}

fn describe(sliced: &SlicedPacket<'_>, bytes: &[u8]) -> String {
    let mut text = String::new();
    for vlan in sliced.vlan_ids() {
        text += &format!("vlan {}, ", vlan.value());
    }
    let (source, destination, protocol, is_fragment) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let fragment = header.fragments_offset().value() != 0;
            let (from, to) = (header.source_addr().to_string(), header.destination_addr());
            text += "IP ";
            (from, to.to_string(), ip.payload().ip_number, fragment)
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let fragment = ip.extensions().clone().into_iter().any(|extension| {
                matches!(extension, etherparse::Ipv6ExtensionSlice::Fragment(f)
                    if f.fragment_offset().value() != 0)
            });
            let (from, to) = (header.source_addr().to_string(), header.destination_addr());
            text += "IP6 ";
            (from, to.to_string(), ip.payload().ip_number, fragment)
        }
        Some(NetSlice::Arp(arp)) => {
            let what = match arp.operation().0 {
                1 => "request",
                2 => "reply",
                _ => "other",
            };
            return format!("{text}ARP {what}");
        }
        None => {
            let ether_type = bytes
                .get(12..14)
                .map_or(0, |b| b.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)));
            return format!("{text}EtherType {ether_type:#06x}");
        }
    };
    match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let (from, to) = (tcp.source_port(), tcp.destination_port());
            let flags = [
                (tcp.syn(), 'S'),
                (tcp.fin(), 'F'),
                (tcp.rst(), 'R'),
                (tcp.psh(), 'P'),
                (tcp.ack(), '.'),
            ];
            let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, c)| *c).collect();
            text += &format!("{source}.{from} > {destination}.{to}: TCP [{flags}]");
        }
        Some(TransportSlice::Udp(udp)) => {
            let (from, to) = (udp.source_port(), udp.destination_port());
            text += &format!("{source}.{from} > {destination}.{to}: UDP");
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            let what = match icmp.type_u8() {
                0 => "echo reply".to_owned(),
                8 => "echo request".to_owned(),
                other => format!("type {other}"),
            };
            text += &format!("{source} > {destination}: ICMP {what}");
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            let what = match icmp.type_u8() {
                128 => "echo request".to_owned(),
                129 => "echo reply".to_owned(),
                other => format!("type {other}"),
            };
            text += &format!("{source} > {destination}: ICMP6 {what}");
        }
        _ => {
            let name = protocol.keyword_str().unwrap_or("unknown protocol");
            let fragment = if is_fragment { " fragment" } else { "" };
            text += &format!("{source} > {destination}: {name}{fragment}");
        }
    }
    text
}

/// The rows in which two packets differ: the old row with `-`, the new one with `+`.
#[must_use]
pub fn changes(before: &[u8], after: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    if before.len() != after.len() {
        lines.push(format!("length {} -> {} bytes", before.len(), after.len()));
    }
    for start in (0..before.len().max(after.len())).step_by(ROW) {
        let row =
            |bytes: &[u8]| bytes.get(start..bytes.len().min(start + ROW)).unwrap_or(&[]).to_vec();
        let (old, new) = (row(before), row(after));
        if old == new {
            continue;
        }
        for (sign, bytes) in [('-', old), ('+', new)] {
            if !bytes.is_empty() {
                lines.push(format!("{sign} {start:04x}:  {}", spaced(&bytes)));
            }
        }
    }
    lines
}

fn spaced(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_rows_are_shown_before_and_after() {
        let before: Vec<u8> = (0..20).collect();
        let mut after = before.clone();
        after[17] = 0xff;
        assert_eq!(changes(&before, &after), ["- 0010:  10 11 12 13", "+ 0010:  10 ff 12 13"]);
        assert_eq!(changes(&before, &before), Vec::<String>::new());
        let shorter = changes(&before, &before[..16]);
        assert_eq!(shorter, ["length 20 -> 16 bytes", "- 0010:  10 11 12 13"]);
    }

    #[test]
    fn short_packets_are_malformed_not_a_panic() {
        for len in 0..60 {
            for link_type in [LinkType::ETHERNET, LinkType::RAW_IP] {
                assert!(summary(&vec![0x45; len], link_type).ends_with(&format!("{len} bytes")));
            }
        }
    }
}
