//! A packet in guest memory: its frame, its ends and its headers.
//!
//! A frame has room in front of the packet and behind it, as the kernel's has in
//! `BPF_PROG_TEST_RUN`, so that helpers that move the ends succeed and fail as they do there. A
//! packet that would not fit a frame of the kernel's gets a larger one with the same headroom and
//! tailroom; the kernel would split it.

use super::{ContextError, Input};
use crate::memory::{Fault, PAGE_BYTES, Window};
use crate::region::Memory;

/// The length of an Ethernet header in bytes, the least a packet can have.
pub const MIN_PACKET_BYTES: usize = 14;
/// The longest packet in bytes: the usual limit of capture files.
pub const MAX_PACKET_BYTES: usize = 262_144;

/// The room that a kind of frame leaves.
pub(super) struct Layout {
    /// What it is for, for messages.
    pub(super) kind: &'static str,
    /// Bytes in front of the Ethernet header.
    pub(super) headroom: u32,
    /// Bytes at the end that the packet cannot grow into.
    pub(super) tailroom: u32,
    /// The least size of a frame in bytes.
    pub(super) frame: u32,
}

/// Where a packet lies. All are guest addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Packet {
    frame: u32,
    limit: u32,
    meta: u32,
    data: u32,
    end: u32,
    link: u32,
    network: u32,
    /// The header after the network header; where the packet began until a helper says where it is.
    transport: u32,
    /// The highest end so far: above it the frame is zero unless a program strayed there.
    touched: u32,
    /// Whether headers were put around it in this run.
    encapsulated: bool,
}

impl Packet {
    /// The start of the frame: headroom begins here.
    #[must_use]
    pub fn frame(&self) -> u32 {
        self.frame
    }

    /// The highest address that the packet can grow to.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// The start of the metadata (`data_meta`); where the data starts if there is none.
    #[must_use]
    pub fn meta(&self) -> u32 {
        self.meta
    }

    /// The start of the data (`data`).
    #[must_use]
    pub fn data(&self) -> u32 {
        self.data
    }

    /// The address after the last byte (`data_end`).
    #[must_use]
    pub fn end(&self) -> u32 {
        self.end
    }

    /// The number of bytes from `data` to `data_end`.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.end - self.data
    }

    /// Whether there is no data.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end == self.data
    }

    /// The Ethernet header.
    #[must_use]
    pub fn link(&self) -> u32 {
        self.link
    }

    /// The header after the Ethernet header.
    #[must_use]
    pub fn network(&self) -> u32 {
        self.network
    }

    /// Moves the start of the data; the metadata moves along.
    pub(crate) fn set_data(&mut self, data: u32) {
        self.meta = self.meta + data - self.data;
        self.data = data;
    }

    /// Moves the start of the metadata.
    pub(crate) fn set_meta(&mut self, meta: u32) {
        self.meta = meta;
    }

    /// Moves the end of the data.
    pub(crate) fn set_end(&mut self, end: u32) {
        self.end = end;
        self.touched = self.touched.max(end);
    }

    /// Puts zeros in front of the data, where the link header then begins; the network header
    /// keeps its bytes. Moves the packet up in its frame where the headroom is too small; false
    /// if the frame is.
    pub(crate) fn push(&mut self, window: &Window, len: u32) -> Result<bool, Fault> {
        let short = len.saturating_sub(self.meta - self.frame);
        if u64::from(self.end) + u64::from(short) > self.limit.into() {
            return Ok(false);
        }
        if short > 0 {
            window.copy(self.meta, self.meta + short, self.end - self.meta)?;
            self.data += short;
            self.meta += short;
            self.network += short;
            self.link += short;
            self.transport += short;
            self.set_end(self.end + short);
        }
        let meta_len = self.data - self.meta;
        self.data -= len;
        self.meta = self.data - meta_len;
        window.fill(self.meta, len + meta_len, 0)?;
        self.link = self.data;
        Ok(true)
    }

    /// Takes bytes off the front of the data, of which there are as many.
    pub(crate) fn pull(&mut self, len: u32) {
        self.set_data(self.data + len);
    }

    /// Begins the link header where the data begins.
    pub(crate) fn reset_link(&mut self) {
        self.link = self.data;
    }

    /// Whether headers were put around the packet in this run.
    pub(crate) fn is_encapsulated(&self) -> bool {
        self.encapsulated
    }

    /// Notes that headers were put around the packet.
    pub(crate) fn set_encapsulated(&mut self) {
        self.encapsulated = true;
    }

    /// The header after the network header; where the packet began until a helper says where it is.
    pub(crate) fn transport(&self) -> u32 {
        self.transport
    }

    /// Says where the header after the network header is.
    pub(crate) fn set_transport(&mut self, transport: u32) {
        self.transport = transport;
    }

    /// Moves the network header.
    pub(crate) fn set_network(&mut self, network: u32) {
        self.network = network;
    }

    /// Begins the data at the network header, as programs above the link layer see it.
    pub(super) fn pull_link(&mut self) {
        self.data = self.network;
        self.meta = self.network;
    }
}

impl Input {
    /// Puts a packet with its metadata into the frame, whose other bytes become zero, so that a
    /// run does not depend on the one before.
    pub(super) fn place(
        &mut self,
        memory: &Memory,
        layout: &Layout,
        meta: &[u8],
        bytes: &[u8],
    ) -> Result<(), ContextError> {
        let len = bytes.len();
        if !(MIN_PACKET_BYTES..=MAX_PACKET_BYTES).contains(&len) {
            let (kind, min, max) = (layout.kind, MIN_PACKET_BYTES, MAX_PACKET_BYTES);
            return Err(ContextError::PacketLength { kind, len, min, max });
        }
        let needed = layout.headroom + len as u32 + layout.tailroom;
        let frame_bytes = needed.next_multiple_of(PAGE_BYTES).max(layout.frame);
        let frame = self.frame_area(memory, frame_bytes)?;
        let data = frame + layout.headroom;
        let end = data + len as u32;
        let window = memory.window();
        let place = || {
            window.fill(frame, layout.headroom, 0)?;
            if !meta.is_empty() {
                window.write(data - meta.len() as u32, meta)?;
            }
            window.write(data, bytes)?;
            match self.packet.touched.checked_sub(end) {
                None | Some(0) => Ok(()),
                Some(rest) => window.fill(end, rest, 0),
            }
        };
        place().map_err(ContextError::fault)?;
        self.packet = Packet {
            frame,
            limit: frame + frame_bytes - layout.tailroom,
            meta: data - meta.len() as u32,
            data,
            end,
            link: data,
            network: data + MIN_PACKET_BYTES as u32,
            transport: data,
            touched: end,
            encapsulated: false,
        };
        Ok(())
    }
}
