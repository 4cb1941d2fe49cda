//! Helpers by which decoders of infrared say what they have decoded.

use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::context::{Decoded, Kind};
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::RC_REPEAT, repeat),
    (HelperId::RC_KEYDOWN, keydown),
    (HelperId::RC_POINTER_REL, pointer_rel),
];

/// The most that is kept of one run: a program in a loop must not use up the host's memory.
const MAX_DECODED: usize = 1024;

fn say(call: &mut Call<'_>, decoded: Decoded) -> Result<u64, TrapKind> {
    let context = u64::from(call.cpu.context);
    if call.cpu.input.kind() != Kind::Lirc || call.scalar(0) != context {
        return Err(call.needs("an infrared event as context"));
    }
    let said = &mut call.cpu.input.decoded;
    if said.len() < MAX_DECODED {
        said.push(decoded);
    }
    Ok(0)
}

fn repeat(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    say(call, Decoded::Repeat)
}

fn keydown(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let (protocol, scancode, toggle) = (call.scalar(1) as u32, call.scalar(2), call.scalar(3));
    // Linux keeps whether the toggle bit is set, not its place (`bpf_rc_keydown`).
    say(call, Decoded::Key { protocol, scancode, toggle: u32::from(toggle as u32 != 0) })
}

fn pointer_rel(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let (x, y) = (call.scalar(1) as i32, call.scalar(2) as i32);
    say(call, Decoded::Pointer { x, y })
}
