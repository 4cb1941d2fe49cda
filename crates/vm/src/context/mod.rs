//! Contexts: what a program's first argument leads to. One program family, one file.
//!
//! A context is filled into the processor's areas before a run and read back after it. Where its
//! fields lie is the platform's knowledge ([`ContextRow`]). What helpers and engines must know of
//! it while the program runs stands in [`Input`].

mod input;
mod lirc;
mod packet;
mod pulses;
mod raw;
mod skb;
mod tunnel;
mod xdp;

use skep_bpf::platform::{ContextRow, ProgType};

use crate::cpu::CpuState;
use crate::machine::Machine;
use crate::memory::Fault;

pub(crate) use skb::{
    MAX_GROWN_BYTES, hash, pkt_type, protocol, set_hash, set_pkt_type, set_protocol, set_vlan, vlan,
};
pub(crate) use xdp::{FRAME_HEADER_BYTES, MAX_META_BYTES};

pub use input::{Input, Kind, Redirect, Sent};
pub use lirc::{Decoded, Lirc, Signal};
pub use packet::{MAX_PACKET_BYTES, MIN_PACKET_BYTES, Packet};
pub use pulses::{PulseError, parse_pulses};
pub use raw::RawMemory;
pub use skb::{Skb, Vlan};
pub use tunnel::Tunnel;
pub use xdp::Xdp;

/// Something a program can be run on. Filled into guest memory before a run and read back after.
pub trait Context {
    /// Whether it is what programs of a type take. Programs without a type take everything.
    fn suits(&self, prog_type: ProgType) -> bool;

    /// Writes context and packet into the processor's areas and says what `r1` and `r2` hold.
    ///
    /// # Errors
    ///
    /// If the input does not fit, or the kernel would refuse it.
    fn enter(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<[u64; 2], ContextError>;

    /// Reads back what the program may have changed.
    ///
    /// # Errors
    ///
    /// If guest memory cannot be read, which only a bug could cause.
    fn leave(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<(), ContextError>;
}

/// Why a program could not be run on an input.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// A packet of a length that the kernel refuses, or that does not fit.
    #[error("a packet of {len} bytes: {kind} takes from {min} to {max} bytes")]
    PacketLength {
        /// The kind of program.
        kind: &'static str,
        /// The packet's length in bytes.
        len: usize,
        /// The least length.
        min: usize,
        /// The greatest length.
        max: usize,
    },
    /// Guest memory is full.
    #[error("no guest memory for the input: {0}")]
    Memory(String),
    /// The input is not what the program's type takes.
    #[error("{what}")]
    Mismatch {
        /// What was needed and what was found.
        what: String,
    },
}

impl ContextError {
    /// An area of the processor's own that cannot be accessed.
    pub(crate) fn fault(fault: Fault) -> ContextError {
        ContextError::Memory(fault.to_string())
    }
}

/// The offset of a field in bytes, found when this crate is compiled; a name that does not exist
/// fails the compilation.
const fn offset_of(row: &'static ContextRow, name: &str) -> usize {
    let mut place = 0;
    while place < row.fields.len() {
        if same(row.fields[place].name, name) {
            return row.fields[place].offset as usize;
        }
        place += 1;
    }
    panic!("the context has no such field")
}

/// Whether two strings are equal, also when this crate is compiled.
pub(crate) const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut place = 0;
    while place < one.len() {
        if one[place] != other[place] {
            return false;
        }
        place += 1;
    }
    true
}

/// Sets a field of four bytes.
fn put(context: &mut [u8], offset: usize, value: u32) {
    context[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

/// A field of four bytes.
fn get(context: &[u8], offset: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&context[offset..offset + 4]);
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests;
