//! Writing captures.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use pcap_file::Endianness;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapTsResolution, PcapWriteError, PcapWriter};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::{PcapNgWriteError, PcapNgWriter};

use crate::{Format, LinkType, Packet};

/// The longest packet that is written, in bytes: what tcpdump takes for a packet at most.
const MAX_PACKET: u32 = 262_144;

/// Writes a capture, little endian.
pub struct Writer<W: Write> {
    kind: Kind<W>,
    link_type: LinkType,
    packets: u64,
}

enum Kind<W: Write> {
    Pcap(PcapWriter<W>),
    PcapNg(PcapNgWriter<W>),
}

/// Why a packet could not be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// The packet does not fit the capture, or the destination takes no more.
    Packet {
        /// Which packet, counted from 1; 0 for the header of the file.
        packet: u64,
        /// What is wrong.
        reason: String,
    },
    /// The packet has another first header than the capture says.
    LinkType {
        /// Which packet, counted from 1.
        packet: u64,
        /// That of the capture.
        capture: LinkType,
        /// That of the packet.
        found: LinkType,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Packet { packet: 0, reason } => write!(f, "file header: {reason}"),
            WriteError::Packet { packet, reason } => write!(f, "packet {packet}: {reason}"),
            WriteError::LinkType { packet, capture, found } => {
                write!(f, "packet {packet}: the capture is for {capture}, the packet is {found}")
            }
        }
    }
}

impl std::error::Error for WriteError {}

impl<W: Write> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packets = &self.packets;
        f.debug_struct("Writer").field("packets", packets).finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// Starts a capture.
    ///
    /// # Errors
    ///
    /// If its header cannot be written.
    pub fn new(to: W, format: Format, link_type: LinkType) -> Result<Writer<W>, WriteError> {
        let fail = |reason| WriteError::Packet { packet: 0, reason };
        let datalink = link_type.0.into();
        let kind = match format {
            Format::Pcap { nanoseconds } => {
                let ts_resolution = match nanoseconds {
                    true => PcapTsResolution::NanoSecond,
                    false => PcapTsResolution::MicroSecond,
                };
                let header = PcapHeader {
                    snaplen: MAX_PACKET,
                    datalink,
                    ts_resolution,
                    endianness: Endianness::Little,
                    ..PcapHeader::default()
                };
                Kind::Pcap(PcapWriter::with_header(to, header).map_err(|e| fail(pcap_reason(e)))?)
            }
            Format::PcapNg => {
                let mut writer = PcapNgWriter::with_endianness(to, Endianness::Little)
                    .map_err(|error| fail(pcapng_reason(error)))?;
                let mut interface = InterfaceDescriptionBlock::new(datalink, MAX_PACKET);
                let nanoseconds = InterfaceTsResolution::NANO;
                interface.options.push(InterfaceDescriptionOption::IfTsResol(nanoseconds));
                writer.write_pcapng_block(interface).map_err(|error| fail(pcapng_reason(error)))?;
                Kind::PcapNg(writer)
            }
        };
        Ok(Writer { kind, link_type, packets: 0 })
    }

    /// Appends a packet. Classic pcap in microseconds cuts the time.
    ///
    /// # Errors
    ///
    /// If the packet does not fit, or the destination takes no more.
    pub fn write(&mut self, packet: &Packet) -> Result<(), WriteError> {
        self.packets += 1;
        let number = self.packets;
        if packet.link_type != self.link_type {
            let (capture, found) = (self.link_type, packet.link_type);
            return Err(WriteError::LinkType { packet: number, capture, found });
        }
        let bytes = Cow::Borrowed(packet.bytes.as_slice());
        let written = match &mut self.kind {
            Kind::Pcap(writer) => PcapPacket::new(packet.timestamp, packet.original_len, bytes)
                .map_err(PcapWriteError::from)
                .and_then(|packet| writer.write_packet(&packet))
                .map_err(pcap_reason),
            Kind::PcapNg(writer) => writer
                .write_pcapng_block(EnhancedPacketBlock {
                    interface_id: 0,
                    timestamp: packet.timestamp,
                    original_len: packet.original_len,
                    data: bytes,
                    options: Vec::new(),
                })
                .map_err(pcapng_reason),
        };
        written.map(|_| ()).map_err(|reason| WriteError::Packet { packet: number, reason })
    }

    /// The destination, after everything was written.
    pub fn into_inner(self) -> W {
        match self.kind {
            Kind::Pcap(writer) => writer.into_inner(),
            Kind::PcapNg(writer) => writer.into_inner(),
        }
    }
}

fn pcap_reason(error: PcapWriteError) -> String {
    match error {
        PcapWriteError::Io(error) | PcapWriteError::FieldWriteFailed(_, error) => error.to_string(),
        error @ PcapWriteError::Validation(_) => error.to_string(),
    }
}

fn pcapng_reason(error: PcapNgWriteError) -> String {
    match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
