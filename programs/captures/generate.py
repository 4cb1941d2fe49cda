#!/usr/bin/env python3
"""Writes the captures beside this file: mixed.pcap and three.pcap.

Standard library only, and no clock or chance: the same bytes every time. Addresses are those
reserved for documentation (RFC 5737, RFC 3849), MAC addresses are locally administered.
"""

import ipaddress
import struct
from pathlib import Path

CLIENT_MAC = bytes.fromhex("020000000001")
SERVER_MAC = bytes.fromhex("020000000002")
CLIENT, SERVER, ELSEWHERE = "198.51.100.7", "192.0.2.10", "203.0.113.5"
CLIENT6, SERVER6 = "2001:db8:1::7", "2001:db8:2::10"

IPV4, ARP, IPV6, VLAN, SERVICE_VLAN = 0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8
LOCAL_EXPERIMENT = 0x88B5  # an EtherType that IEEE 802 sets aside for experiments
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
HOP_BY_HOP, FRAGMENT, DESTINATION_OPTIONS = 0, 44, 60
DONT_FRAGMENT, MORE_FRAGMENTS = 0x4000, 0x2000
FIN, SYN, PUSH, ACK = 1, 2, 8, 16


def checksum(data):
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def address(text):
    return ipaddress.ip_address(text).packed


def ethernet(ether_type, payload, destination=SERVER_MAC, tags=()):
    """A frame; `tags` are pairs of tag protocol and VLAN number, the outermost first."""
    frame = destination + CLIENT_MAC
    for protocol, number in tags:
        frame += struct.pack("!HH", protocol, number)
    return frame + struct.pack("!H", ether_type) + payload


def ipv4(protocol, payload, destination=SERVER, service=0, options=b"", fragment=DONT_FRAGMENT, number=1):
    words = 5 + len(options) // 4
    head = struct.pack(
        "!BBHHHBBH", 4 << 4 | words, service, words * 4 + len(payload), number, fragment, 64, protocol, 0
    )
    head += address(CLIENT) + address(destination) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(next_header, payload, traffic_class=0):
    first = 6 << 28 | traffic_class << 20 | 0x12345
    return struct.pack("!IHBB", first, len(payload), next_header, 64) + address(CLIENT6) + address(SERVER6) + payload


def with_checksum(segment, at, protocol, source, destination):
    """Fills in the checksum of a transport segment, which covers the addresses too."""
    source, destination = address(source), address(destination)
    if len(source) == 4:
        pseudo = source + destination + struct.pack("!BBH", 0, protocol, len(segment))
    else:
        pseudo = source + destination + struct.pack("!IxxxB", len(segment), protocol)
    value = checksum(pseudo + segment)
    if protocol == UDP and value == 0:
        value = 0xFFFF  # zero would say that there is no checksum
    return segment[:at] + struct.pack("!H", value) + segment[at + 2 :]


def tcp(port, flags, payload=b"", options=b"", source_port=40000, source=CLIENT, destination=SERVER):
    words = 5 + len(options) // 4
    acknowledged = 0x2000 if flags & ACK else 0
    head = struct.pack("!HHIIBBHHH", source_port, port, 0x1000, acknowledged, words << 4, flags, 64240, 0, 0)
    return with_checksum(head + options + payload, 16, TCP, source, destination)


def udp(port, payload, source_port=50000, source=CLIENT, destination=SERVER, sum_it=True):
    datagram = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload
    return with_checksum(datagram, 6, UDP, source, destination) if sum_it else datagram


def echo_request(sequence):
    message = struct.pack("!BBHHH", 8, 0, 0, 0x77, sequence) + bytes(range(32))
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def echo_request6(sequence):
    message = struct.pack("!BBHHH", 128, 0, 0, 0x77, sequence) + bytes(range(32))
    return with_checksum(message, 2, ICMPV6, CLIENT6, SERVER6)


def arp_request():
    addresses = CLIENT_MAC + address(CLIENT) + bytes(6) + address(SERVER)
    return struct.pack("!HHBBH", 1, IPV4, 6, 4, 1) + addresses


def query(record_type):
    """A DNS query for example.org."""
    name = b"\x07example\x03org\0"
    return struct.pack("!HHHHHH", 0x5ED5, 0x0100, 1, 0, 0, 0) + name + struct.pack("!HH", record_type, 1)


MSS = bytes.fromhex("020405b4")
ROUTER_ALERT = bytes.fromhex("94040000")
RECORD_ROUTE = bytes.fromhex("010707040a000001")
GREETING = b"SSH-2.0-example\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
VXLAN_HEADER = bytes.fromhex("0800000000002a00")

def becomes_zero(destination, **ports):
    """A datagram whose checksum comes out as zero once its packet is sent on to `destination`."""
    blank = udp(5001, bytes(2), destination=destination, **ports)
    return udp(5001, blank[6:8], **ports)


TCP6 = {"source": CLIENT6, "destination": SERVER6}
FRAGMENTED = udp(5001, bytes(range(56)), source_port=50003)


def mixed():
    """The frames of mixed.pcap, in order; an entry may be a pair of frame and its length on the wire."""
    inner = ethernet(ARP, arp_request(), destination=b"\xff" * 6)
    truncated = ethernet(IPV4, ipv4(TCP, tcp(80, ACK)))
    impossible = bytearray(ipv4(UDP, udp(53, query(1))))
    impossible[0] = 4 << 4 | 3  # a header of twelve bytes; the checksum is mended to match
    impossible[10:12] = bytes(2)
    impossible[10:12] = struct.pack("!H", checksum(bytes(impossible[:12])))
    no_options = bytes.fromhex("010400000000")  # one PadN option that fills an extension header
    extensions = bytes([DESTINATION_OPTIONS, 0]) + no_options + bytes([TCP, 0]) + no_options
    fragment6 = struct.pack("!BBHI", UDP, 0, 64 << 3, 0xFEED)

    return [
        ethernet(ARP, arp_request(), destination=b"\xff" * 6),
        ethernet(IPV4, ipv4(TCP, tcp(80, SYN, options=MSS), number=1)),
        ethernet(IPV4, ipv4(TCP, tcp(80, PUSH | ACK, REQUEST), number=2)),
        ethernet(IPV4, ipv4(TCP, tcp(443, SYN, options=MSS, source_port=40001), service=0x48, number=3)),
        ethernet(IPV4, ipv4(TCP, tcp(22, PUSH | ACK, GREETING, source_port=40002), service=0x10, number=4)),
        ethernet(IPV4, ipv4(UDP, udp(53, query(1)), number=5)),
        ethernet(IPV4, ipv4(UDP, udp(4789, VXLAN_HEADER + inner, 50001, sum_it=False), number=6)),
        ethernet(IPV4, ipv4(ICMP, echo_request(1), service=0xC0, number=7)),
        ethernet(
            IPV4,
            ipv4(TCP, tcp(443, ACK, source_port=40003), options=ROUTER_ALERT + RECORD_ROUTE, number=8),
        ),
        ethernet(IPV4, ipv4(UDP, FRAGMENTED[:40], fragment=MORE_FRAGMENTS, number=9)),
        ethernet(IPV4, ipv4(UDP, FRAGMENTED[40:], fragment=40 // 8, number=9)),
        ethernet(IPV6, ipv6(TCP, tcp(443, SYN, options=MSS, **TCP6), traffic_class=0xB8)),
        ethernet(IPV6, ipv6(UDP, udp(53, query(28), **TCP6))),
        ethernet(IPV6, ipv6(ICMPV6, echo_request6(1), traffic_class=0x21)),
        ethernet(IPV6, ipv6(HOP_BY_HOP, extensions + tcp(22, SYN, options=MSS, source_port=40004, **TCP6))),
        ethernet(IPV6, ipv6(FRAGMENT, fragment6 + bytes(range(24)))),
        ethernet(IPV4, ipv4(TCP, tcp(80, FIN | ACK, source_port=40005), number=10), tags=[(VLAN, 42)]),
        ethernet(
            IPV4,
            ipv4(UDP, udp(4789, VXLAN_HEADER + inner, 50002), number=11),
            tags=[(SERVICE_VLAN, 100), (VLAN, 7)],
        ),
        ethernet(LOCAL_EXPERIMENT, b""),
        (truncated[: 14 + 10], len(truncated)),
        ethernet(IPV4, ipv4(UDP, udp(5001, bytes(i % 251 for i in range(1472)), 50004), service=0x20, number=12)),
        ethernet(
            IPV4,
            ipv4(TCP, tcp(80, SYN, options=MSS, destination=ELSEWHERE), destination=ELSEWHERE, number=13),
        ),
        ethernet(IPV4, bytes(impossible)),
        ethernet(IPV4, ipv4(TCP, tcp(8080, SYN, options=MSS, source_port=40006), service=0xB8, number=14)),
        ethernet(IPV4, ipv4(UDP, becomes_zero("10.0.0.3", source_port=50005), number=15)),
    ]


def write(name, frames):
    """Writes a classic capture: little endian, microseconds, Ethernet; a packet each millisecond."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for index, frame in enumerate(frames):
        frame, on_wire = frame if isinstance(frame, tuple) else (frame, len(frame))
        out += struct.pack("<IIII", 1_700_000_000, index * 1000, len(frame), on_wire) + frame
    (Path(__file__).resolve().parent / name).write_bytes(out)


if __name__ == "__main__":
    frames = mixed()
    write("mixed.pcap", frames)
    write("three.pcap", [frames[7], frames[1], frames[5]])
