//! Packets in and out of captures.
//!
//! [`Capture`] reads classic pcap and pcapng in either byte order, [`Writer`] writes them. What is
//! in the packets is not looked at.
//!
//! ```
//! use std::time::Duration;
//! use skep_net::{Capture, Format, LinkType, Packet, Writer};
//!
//! let mut file = Vec::new();
//! let mut writer = Writer::new(&mut file, Format::Pcap { nanoseconds: false }, LinkType::ETHERNET)?;
//! writer.write(&Packet::new(Duration::from_micros(1_000_001), vec![0xff; 14]))?;
//!
//! let mut capture = Capture::new(file)?;
//! let packet = capture.next().expect("there is one")?;
//! assert_eq!(packet.bytes.len(), 14);
//! assert!(capture.next().is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod capture;
mod writer;

pub use capture::{Capture, CaptureError, CaptureErrorKind};
pub use writer::{WriteError, Writer};

use std::fmt;
use std::time::Duration;

/// A packet of a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// When it was captured, since 1970-01-01 00:00:00 UTC.
    pub timestamp: Duration,
    /// The bytes that were captured, from the start of the packet.
    pub bytes: Vec<u8>,
    /// The length of the packet when it was captured, in bytes; more than there are bytes if the
    /// capture cut it off.
    pub original_len: u32,
    /// What its first header is.
    pub link_type: LinkType,
}

impl Packet {
    /// A complete Ethernet packet.
    #[must_use]
    pub fn new(timestamp: Duration, bytes: Vec<u8>) -> Packet {
        let original_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Packet { timestamp, bytes, original_len, link_type: LinkType::ETHERNET }
    }
}

/// The form of a capture file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Classic pcap.
    Pcap {
        /// Whether time is counted in nanoseconds; in microseconds if not.
        nanoseconds: bool,
    },
    /// pcapng, which says for each interface how time is counted.
    PcapNg,
}

/// What the first header of a packet is, as a number of the registry at
/// <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkType(pub u32);

impl LinkType {
    /// An Ethernet header.
    pub const ETHERNET: LinkType = LinkType(1);
    /// An IPv4 or IPv6 header.
    pub const RAW_IP: LinkType = LinkType(101);
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            LinkType::ETHERNET => f.write_str("Ethernet"),
            LinkType::RAW_IP => f.write_str("raw IP"),
            LinkType(number) => write!(f, "link type {number}"),
        }
    }
}

#[cfg(test)]
mod tests;
