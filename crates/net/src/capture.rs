//! Reading captures.
//!
//! The file is in memory as a whole, so that every error can name the byte at which its record
//! starts. Reading stops at the first malformed record: what follows cannot be found.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use pcap_file::Endianness;
use pcap_file::pcap::{PcapHeader, PcapParseError, PcapParser, PcapTsResolution};
use pcap_file::pcapng::{Block, PcapNgParseError, PcapNgParser};

use crate::{Format, LinkType, Packet};

/// A capture file; an iterator over its packets.
#[derive(Debug)]
pub struct Capture {
    bytes: Vec<u8>,
    /// Where the next record starts.
    at: usize,
    /// How many records were read.
    records: u64,
    parser: Parser,
    /// Whether an error was reported, after which nothing follows.
    failed: bool,
}

#[derive(Debug)]
enum Parser {
    Pcap(PcapParser),
    PcapNg(Box<PcapNgParser>),
}

/// Why a capture could not be read, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaptureError {
    /// The record (of pcapng: the block), counted from 1; 0 for the header of the file.
    pub record: u64,
    /// Where the record starts, in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong.
    pub kind: CaptureErrorKind,
}

/// What is wrong with a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CaptureErrorKind {
    /// The file could not be read.
    Io {
        /// What the operating system says.
        reason: String,
    },
    /// The file does not start as a capture does.
    NotACapture {
        /// Its first bytes, at most four.
        found: Vec<u8>,
    },
    /// The file ends within the record.
    Truncated {
        /// How many bytes the record needs.
        needed: usize,
        /// How many are left.
        found: usize,
    },
    /// A field of the record is impossible.
    Malformed {
        /// Which one and why.
        reason: String,
    },
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, self.record) {
            (CaptureErrorKind::Io { .. } | CaptureErrorKind::NotACapture { .. }, _) => {}
            (_, 0) => f.write_str("file header: ")?,
            (_, record) => write!(f, "record {record} at byte {}: ", self.offset)?,
        }
        match &self.kind {
            CaptureErrorKind::Io { reason } => f.write_str(reason),
            CaptureErrorKind::NotACapture { found } => {
                f.write_str("neither pcap nor pcapng: it starts with ")?;
                if found.is_empty() {
                    return f.write_str("nothing, the file is empty");
                }
                for (i, byte) in found.iter().enumerate() {
                    write!(f, "{}{byte:02x}", if i == 0 { "" } else { " " })?;
                }
                Ok(())
            }
            CaptureErrorKind::Truncated { needed, found } => {
                write!(f, "{needed} bytes are needed, but the file ends after {found}")
            }
            CaptureErrorKind::Malformed { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for CaptureError {}

/// The header of a record in classic pcap, in bytes.
const PCAP_RECORD_HEADER: usize = 16;

/// The first bytes of pcapng: the type of a section header, the same in both byte orders.
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// The first bytes of classic pcap, both byte orders and both units of time.
const PCAP_MAGIC: [[u8; 4]; 4] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
];

impl Capture {
    /// Reads the capture at a path.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or does not start as a capture does.
    pub fn open(path: &Path) -> Result<Capture, CaptureError> {
        let bytes = std::fs::read(path).map_err(|error| CaptureError {
            record: 0,
            offset: 0,
            kind: CaptureErrorKind::Io { reason: error.to_string() },
        })?;
        Capture::new(bytes)
    }

    /// A capture in memory.
    ///
    /// # Errors
    ///
    /// If it does not start as a capture does.
    pub fn new(bytes: Vec<u8>) -> Result<Capture, CaptureError> {
        let fail = |kind| CaptureError { record: 0, offset: 0, kind };
        let magic = bytes.first_chunk::<4>();
        let len = bytes.len();
        let (parser, rest) = match magic {
            Some(magic) if *magic == PCAPNG_MAGIC => {
                let (rest, parser) =
                    PcapNgParser::new(&bytes).map_err(|error| fail(pcapng_kind(error, len)))?;
                (Parser::PcapNg(Box::new(parser)), rest.len())
            }
            Some(magic) if PCAP_MAGIC.contains(magic) => {
                let (rest, parser) =
                    PcapParser::new(&bytes).map_err(|error| fail(pcap_kind(error, len)))?;
                (Parser::Pcap(parser), rest.len())
            }
            _ => {
                let found = bytes.get(..len.min(4)).unwrap_or(&[]).to_vec();
                return Err(fail(CaptureErrorKind::NotACapture { found }));
            }
        };
        let at = len - rest;
        // The first section header of pcapng is a block like any other.
        let records = u64::from(matches!(parser, Parser::PcapNg(_)));
        Ok(Capture { bytes, at, records, parser, failed: false })
    }

    /// The form of the file.
    #[must_use]
    pub fn format(&self) -> Format {
        match &self.parser {
            Parser::Pcap(parser) => {
                let nanoseconds = parser.header().ts_resolution == PcapTsResolution::NanoSecond;
                Format::Pcap { nanoseconds }
            }
            Parser::PcapNg(_) => Format::PcapNg,
        }
    }

    /// What the first header of the packets is; of pcapng, that of the first interface known so
    /// far, if there is one. A packet of pcapng says its own.
    #[must_use]
    pub fn link_type(&self) -> Option<LinkType> {
        match &self.parser {
            Parser::Pcap(parser) => Some(LinkType(parser.header().datalink.into())),
            Parser::PcapNg(parser) => {
                parser.interfaces().first().map(|first| LinkType(first.linktype.into()))
            }
        }
    }

    /// Where the next record starts, in bytes from the start of the file.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at as u64
    }

    fn read(&mut self) -> Result<Option<Packet>, CaptureErrorKind> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or(&[]);
            if rest.is_empty() {
                return Ok(None);
            }
            self.records += 1;
            let (left, packet) = match &mut self.parser {
                Parser::Pcap(parser) => read_record(parser, rest)?,
                Parser::PcapNg(parser) => read_block(parser, rest)?,
            };
            self.at = self.bytes.len() - left;
            if packet.is_some() {
                return Ok(packet);
            }
        }
    }
}

impl Iterator for Capture {
    type Item = Result<Packet, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.read() {
            Ok(packet) => packet.map(Ok),
            Err(kind) => {
                self.failed = true;
                Some(Err(CaptureError { record: self.records, offset: self.at as u64, kind }))
            }
        }
    }
}

/// Reads a record of classic pcap; gives the number of bytes that remain after it.
fn read_record(
    parser: &PcapParser,
    rest: &[u8],
) -> Result<(usize, Option<Packet>), CaptureErrorKind> {
    let header: PcapHeader = parser.header();
    let (left, raw) = parser.next_raw_packet(rest).map_err(|_| {
        let captured = rest.get(8..12).and_then(|field| <[u8; 4]>::try_from(field).ok());
        let captured = captured.map_or(0, |field| match header.endianness {
            Endianness::Big => u32::from_be_bytes(field),
            Endianness::Little => u32::from_le_bytes(field),
        });
        let needed = PCAP_RECORD_HEADER.saturating_add(captured as usize);
        CaptureErrorKind::Truncated { needed, found: rest.len() }
    })?;
    if raw.orig_len < raw.incl_len {
        let (captured, original) = (raw.incl_len, raw.orig_len);
        let reason = format!("{captured} bytes were captured of a packet of {original} bytes");
        return Err(CaptureErrorKind::Malformed { reason });
    }
    let (unit, per_second) = match header.ts_resolution {
        PcapTsResolution::MicroSecond => (1000, 1_000_000),
        PcapTsResolution::NanoSecond => (1, 1_000_000_000),
    };
    if raw.ts_frac >= per_second {
        let reason = format!(
            "its time is {} parts of a second, of which there are {per_second}",
            raw.ts_frac
        );
        return Err(CaptureErrorKind::Malformed { reason });
    }
    let packet = Packet {
        timestamp: Duration::new(raw.ts_sec.into(), raw.ts_frac * unit),
        original_len: raw.orig_len,
        bytes: raw.data.into_owned(),
        link_type: LinkType(header.datalink.into()),
    };
    Ok((left.len(), Some(packet)))
}

/// Reads a block of pcapng; no packet if it is of another kind.
fn read_block(
    parser: &mut PcapNgParser,
    rest: &[u8],
) -> Result<(usize, Option<Packet>), CaptureErrorKind> {
    let found = rest.len();
    let (left, block) = parser.next_block(rest).map_err(|error| pcapng_kind(error, found))?;
    let link_type = |interface: usize| {
        let link = parser.interfaces().get(interface).map(|found| LinkType(found.linktype.into()));
        link.ok_or_else(|| CaptureErrorKind::Malformed {
            reason: format!("interface {interface} is not described"),
        })
    };
    let packet = match block {
        Block::EnhancedPacket(packet) => Packet {
            link_type: link_type(packet.interface_id as usize)?,
            timestamp: packet.timestamp,
            original_len: packet.original_len,
            bytes: packet.data.into_owned(),
        },
        Block::Packet(packet) => Packet {
            link_type: link_type(packet.interface_id.into())?,
            timestamp: packet.timestamp,
            original_len: packet.original_len,
            bytes: packet.data.into_owned(),
        },
        // A simple packet has no time, and belongs to the first interface.
        Block::SimplePacket(packet) => Packet {
            link_type: link_type(0)?,
            timestamp: Duration::ZERO,
            original_len: packet.original_len,
            bytes: packet.data.into_owned(),
        },
        _ => return Ok((left.len(), None)),
    };
    Ok((left.len(), Some(packet)))
}

fn pcap_kind(error: PcapParseError, found: usize) -> CaptureErrorKind {
    match error {
        PcapParseError::IncompleteBuffer(needed, _) => {
            CaptureErrorKind::Truncated { needed, found }
        }
        PcapParseError::Validation(error) => {
            CaptureErrorKind::Malformed { reason: error.to_string() }
        }
    }
}

fn pcapng_kind(error: PcapNgParseError, found: usize) -> CaptureErrorKind {
    match error {
        PcapNgParseError::IncompleteBuffer(needed, _) => {
            // Of a block whose length is known, the library counts from behind type and length.
            let needed = if needed > 12 { needed.saturating_add(8) } else { needed };
            CaptureErrorKind::Truncated { needed, found }
        }
        error => {
            let mut reason = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(next) = cause {
                let text = next.to_string();
                if !reason.ends_with(&text) {
                    reason = format!("{reason}: {text}");
                }
                cause = next.source();
            }
            CaptureErrorKind::Malformed { reason }
        }
    }
}
