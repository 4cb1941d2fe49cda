//! Helpers that ask what time it is.

use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::KTIME_GET_NS, monotonic),
    (HelperId::KTIME_GET_BOOT_NS, boot),
    (HelperId::KTIME_GET_COARSE_NS, coarse),
    (HelperId::KTIME_GET_TAI_NS, tai),
    (HelperId::JIFFIES64, jiffies),
];

/// The ticks in a second (`CONFIG_HZ` as Debian sets it).
const HZ: u64 = 250;
/// What the count of ticks starts from: it wraps in 32 bits after five minutes (Linux,
/// `INITIAL_JIFFIES`).
const INITIAL_JIFFIES: u64 = (1 << 32) - 300 * HZ;
const TICK_NS: u64 = 1_000_000_000 / HZ;

fn monotonic(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok((call.machine.host().ktime_ns)())
}

fn boot(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok((call.machine.host().boot_ns)())
}

/// The time of the last tick.
fn coarse(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let now = (call.machine.host().ktime_ns)();
    Ok(now - now % TICK_NS)
}

fn tai(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok((call.machine.host().tai_ns)())
}

fn jiffies(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok(INITIAL_JIFFIES + (call.machine.host().ktime_ns)() / TICK_NS)
}
