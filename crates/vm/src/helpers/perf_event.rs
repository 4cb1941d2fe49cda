//! Helpers that write records to perf events.
//!
//! Linux, `bpf_perf_event_output` and its relatives for packets (`kernel/trace/bpf_trace.c`,
//! `net/core/filter.c`), which can add the first bytes of the packet.

use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::context::Kind;
use crate::errno::Errno;
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[(HelperId::PERF_EVENT_OUTPUT, output)];

/// `BPF_F_INDEX_MASK`, all of which means the processor that the program runs on.
const INDEX: u64 = 0xffff_ffff;
/// `BPF_F_CTXLEN_MASK`
const PACKET_LEN: u64 = 0xfffff << 32;

fn output(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let (flags, len) = (call.scalar(2), call.scalar(4));
    let from = call.guest(3, u32::try_from(len).unwrap_or(u32::MAX), Access::Read)?;
    let map = call.map(1)?;
    let events = map.perf_events().ok_or_else(|| call.needs("an array of perf events"))?;
    let packet = match call.cpu.input.kind() {
        Kind::Skb | Kind::Xdp => call.cpu.input.packet(),
        Kind::Nothing | Kind::Memory | Kind::Lirc => None,
    };
    let known = INDEX | if packet.is_some() { PACKET_LEN } else { 0 };
    if flags & !known != 0 {
        return Ok(Errno::EINVAL.to_return());
    }
    // It has twenty bits.
    let packet_len = (flags >> 32) as u32;
    let start = match packet {
        Some(packet) if packet_len <= packet.len() => packet.data(),
        Some(_) => return Ok(Errno::EFAULT.to_return()),
        None => 0,
    };
    let window = call.machine.memory().window();
    let (own, whole) = (len as usize, len as usize + packet_len as usize);
    let mut record = vec![0; whole];
    let (bytes, of_packet) = record.split_at_mut(own);
    window.read(from, bytes)?;
    window.read(start, of_packet)?;
    let cpu = call.cpu.index;
    let index = if flags & INDEX == INDEX { cpu } else { flags as u32 };
    Ok(match events.write(index, cpu, &record) {
        Ok(()) => 0,
        Err(errno) => errno.to_return(),
    })
}
