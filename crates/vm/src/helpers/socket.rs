//! Helpers that look for sockets.
//!
//! A machine has no sockets: a look-up finds none, as it does in a network namespace in which
//! nobody listens. So no program ever has a socket to pass on.

use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::SK_LOOKUP_TCP, find),
    (HelperId::SK_LOOKUP_UDP, find),
    (HelperId::SKC_LOOKUP_TCP, find),
    (HelperId::SK_RELEASE, release),
];

/// The addresses must be readable all the same.
fn find(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    call.guest(1, call.scalar(2) as u32, Access::Read)?;
    Ok(0)
}

fn release(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Err(call.needs("a socket, of which there are none"))
}
