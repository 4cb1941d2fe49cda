//! Helpers on strings.

use std::cmp::Ordering;

use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[(HelperId::STRNCMP, strncmp)];

/// Compares a buffer with a string, up to a NUL or the buffer's end.
fn strncmp(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let len = call.scalar(1) as u32;
    let start = call.guest(0, len, Access::Read)?;
    let second = call.string(2)?;
    // No more than the string and its NUL decides.
    let mut first = vec![0; second.len().saturating_add(1).min(len as usize)];
    call.machine.memory().window().read(start, &mut first)?;
    let order = first.iter().zip(second.iter().chain(&[0])).find_map(|(a, b)| match a.cmp(b) {
        Ordering::Equal if *a != 0 => None,
        order => Some(order),
    });
    Ok(match order {
        Some(Ordering::Less) => u64::MAX,
        Some(Ordering::Greater) => 1,
        Some(Ordering::Equal) | None => 0,
    })
}
