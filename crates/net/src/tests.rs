//! Captures written by hand, byte for byte, and what the reader makes of them.

use std::time::Duration;

use super::*;

/// A classic capture of one packet `aa bb cc` that was five bytes long, at 1.5 seconds.
fn pcap(big: bool, nanoseconds: bool) -> Vec<u8> {
    let word = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let half = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let mut file = Vec::new();
    file.extend(word(if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }));
    file.extend(half(2));
    file.extend(half(4));
    for n in [0, 0, 65_535, 1] {
        file.extend(word(n));
    }
    for n in [1, if nanoseconds { 500_000_000 } else { 500_000 }, 3, 5] {
        file.extend(word(n));
    }
    file.extend([0xaa, 0xbb, 0xcc]);
    file
}

/// The same as pcapng with microseconds.
fn pcapng(big: bool) -> Vec<u8> {
    let word = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let half = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let mut file = Vec::new();
    for n in [0x0a0d_0d0a, 28, 0x1a2b_3c4d] {
        file.extend(word(n));
    }
    file.extend(half(1));
    file.extend(half(0));
    for n in [u32::MAX, u32::MAX, 28] {
        file.extend(word(n));
    }
    for n in [1, 20] {
        file.extend(word(n));
    }
    file.extend(half(1));
    file.extend(half(0));
    for n in [0, 20] {
        file.extend(word(n));
    }
    for n in [6, 36, 0, 0, 1_500_000, 3, 5] {
        file.extend(word(n));
    }
    file.extend([0xaa, 0xbb, 0xcc, 0]);
    file.extend(word(36));
    file
}

fn expected() -> Packet {
    Packet {
        timestamp: Duration::from_millis(1500),
        bytes: vec![0xaa, 0xbb, 0xcc],
        original_len: 5,
        link_type: LinkType::ETHERNET,
    }
}

#[test]
fn all_forms_give_the_same_packet() {
    let forms = [
        (pcap(false, false), Format::Pcap { nanoseconds: false }),
        (pcap(false, true), Format::Pcap { nanoseconds: true }),
        (pcap(true, false), Format::Pcap { nanoseconds: false }),
        (pcap(true, true), Format::Pcap { nanoseconds: true }),
        (pcapng(false), Format::PcapNg),
        (pcapng(true), Format::PcapNg),
    ];
    for (file, format) in forms {
        let mut capture = Capture::new(file).expect("a capture");
        assert_eq!(capture.format(), format);
        assert_eq!(capture.next(), Some(Ok(expected())), "{format:?}");
        assert_eq!(capture.next(), None, "{format:?}");
    }
}

#[test]
fn errors_name_record_and_byte() {
    let mut file = pcap(false, false);
    file.pop();
    let error = Capture::new(file).expect("a capture").next().expect("a record");
    let text = error.expect_err("it is cut off").to_string();
    assert_eq!(text, "record 1 at byte 24: 19 bytes are needed, but the file ends after 18");

    let mut file = pcapng(true);
    file.pop();
    let mut capture = Capture::new(file).expect("a capture");
    let error = capture.next().expect("a record").expect_err("it is cut off");
    assert_eq!((error.record, error.offset), (3, 48));
    assert_eq!(
        error.to_string(),
        "record 3 at byte 48: 36 bytes are needed, but the file ends after 35"
    );
    assert_eq!(capture.next(), None);

    let mut file = pcap(false, false);
    file[24 + 12] = 2;
    let error = Capture::new(file).expect("a capture").next().expect("a record");
    let text = error.expect_err("lengths contradict").to_string();
    assert_eq!(text, "record 1 at byte 24: 3 bytes were captured of a packet of 2 bytes");

    let error = Capture::new(b"\x7fELF and more".to_vec()).expect_err("no capture");
    assert_eq!(error.to_string(), "neither pcap nor pcapng: it starts with 7f 45 4c 46");
    let error = Capture::new(pcap(false, false)[..20].to_vec()).expect_err("no capture");
    assert_eq!(error.to_string(), "file header: 24 bytes are needed, but the file ends after 20");
}

#[test]
fn what_is_written_is_read() {
    let nanosecond = Duration::new(7, 123_456_789);
    for format in [Format::Pcap { nanoseconds: true }, Format::PcapNg] {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, format, LinkType::ETHERNET).expect("memory");
        let packets = [Packet::new(nanosecond, vec![1; 60]), expected()];
        for packet in &packets {
            writer.write(packet).expect("memory");
        }
        let raw = Packet { link_type: LinkType::RAW_IP, ..expected() };
        let error = writer.write(&raw).expect_err("another header");
        assert_eq!(
            error.to_string(),
            "packet 3: the capture is for Ethernet, the packet is raw IP"
        );
        let read: Result<Vec<_>, _> = Capture::new(file).expect("a capture").collect();
        assert_eq!(read.expect("well-formed"), packets);
    }
}

#[test]
fn damaged_files_end_in_an_error_or_are_read() {
    for file in [pcap(false, false), pcap(true, true), pcapng(false), pcapng(true)] {
        for at in 0..file.len() {
            for byte in [0, 0xff, !file[at]] {
                let mut damaged = file.clone();
                damaged[at] = byte;
                if let Ok(capture) = Capture::new(damaged) {
                    assert!(capture.count() < 10);
                }
            }
            if let Ok(capture) = Capture::new(file[..at].to_vec()) {
                assert!(capture.count() < 10);
            }
        }
    }
}
