//! What is said of the places on the way to a fault.

use super::place::Places;
use super::wording::{bytes, describe, pointed_to};
use crate::history::{Base, Called, Known, Related, RelatedKind};
use crate::input::Input;
use skep_bpf::codec::SlotIndex;
use skep_bpf::platform::HelperId;

/// What happened at a place; `None` if that need not be said.
pub(crate) fn label(related: &Related, input: &Input<'_>, places: &Places<'_>) -> Option<String> {
    let at = related.at;
    Some(match &related.what {
        RelatedKind::NeverWritten(reg) => {
            format!("the function begins, and nothing has set R{} yet", reg.index())
        }
        RelatedKind::Argument(value) => format!(
            "verified for every caller, as a global function: the argument is {}",
            describe(value, input)
        ),
        RelatedKind::Destroyed(reg) => format!("this call leaves nothing in R{}", reg.index()),
        RelatedKind::Returned { function, value } => returned(function, value, input),
        RelatedKind::Loaded { from, size, value } => loaded(from, *size, value, input),
        RelatedKind::Given(value) if value.base.is_pointer() => {
            format!("{} comes from here", describe(value, input))
        }
        RelatedKind::Given(value) => format!("set to {} here", value.interval()),
        RelatedKind::Computed { before, after } => computed(before, after)?,
        RelatedKind::Moved { by, after } => {
            let number = if by.is_unknown() {
                "a number that may be anything".to_owned()
            } else {
                by.interval()
            };
            match after.base.is_packet() {
                true => format!(
                    "{number} is added here; what was compared with `data_end` before no longer counts"
                ),
                false => format!("{number} is added to the pointer here"),
            }
        }
        RelatedKind::Narrowed { before, after } => narrowed(before, after)?,
        RelatedKind::PacketProved { bytes: count } => {
            format!("packet proved to have {} here", bytes(i64::from(*count)))
        }
        RelatedKind::IsNull => "NULL on this path since here".to_owned(),
        RelatedKind::Invalidated { before, function } => {
            invalidated(before, function.as_ref(), input)
        }
        RelatedKind::Overwritten => "overwritten on the stack here".to_owned(),
        RelatedKind::Acquired { function } => match function {
            Some(id) => format!("acquired by `{id}` here"),
            None => "acquired here".to_owned(),
        },
        RelatedKind::Locked => "the lock is taken here".to_owned(),
        RelatedKind::Unlocked => "the lock is released here".to_owned(),
        RelatedKind::Went { to, .. } => went(at, *to, places)?,
        RelatedKind::Unwritten => {
            "read from a part of the stack that nothing was written to".to_owned()
        }
        RelatedKind::Loop { trips, states, forks } => {
            let forks = if *forks { ", and may go either way each time" } else { "" };
            let states = match states {
                0 => String::new(),
                1 => "; 1 state is remembered in the loop".to_owned(),
                n => format!("; {n} states are remembered in the loop"),
            };
            format!("walked {trips} times{forks}{states}")
        }
        RelatedKind::Frame { bytes: count } => {
            format!("this function uses {} of stack", bytes(i64::from(*count)))
        }
        RelatedKind::Calls { entry } => format!("calls `{}`", places.function(*entry)),
    })
}

fn went(at: SlotIndex, to: SlotIndex, places: &Places<'_>) -> Option<String> {
    match places.line(to) {
        Some(line) if places.line(at).is_some_and(|here| here.line == line.line) => None,
        Some(line) => Some(format!("from here, the path goes on in line {}", line.line)),
        None => Some(format!("from here, the path goes on at instruction {to}")),
    }
}

fn returned(helper: &Called, value: &Known, input: &Input<'_>) -> String {
    if value.may_be_null {
        return format!("`{helper}` returns {}", describe(value, input));
    }
    let steps = matches!(helper, Called::Kernel(name) if name.ends_with("_next"));
    if steps && value.constant() == Some(0) {
        return format!("`{helper}` returns NULL once there is nothing left");
    }
    match value.base.is_pointer() {
        true => format!("`{helper}` returns {}", describe(value, input)),
        false if value.is_unknown() => format!("`{helper}` may return any number"),
        false => format!("`{helper}` returns {}", value.interval()),
    }
}

fn loaded(from: &Known, size: u32, value: &Known, input: &Input<'_>) -> String {
    let what = match value.base {
        Base::Packet { .. } => return "the packet begins here".to_owned(),
        Base::PacketEnd => return "the packet ends here".to_owned(),
        base if base.is_pointer() => return format!("{} is loaded here", describe(value, input)),
        _ => bytes(i64::from(size)),
    };
    let thing = pointed_to(from, input);
    let full = 1_u64.checked_shl(size.saturating_mul(8)).map_or(u64::MAX, |end| end - 1);
    if value.is_unknown() || size > 2 && (value.umin, value.umax) == (0, full) {
        return format!("{what} of {thing}: may be any number");
    }
    format!("{what} of {thing}: {}", value.interval())
}

fn computed(before: &Known, after: &Known) -> Option<String> {
    let had = before.base.is_pointer();
    if had && !after.base.is_pointer() {
        return Some("becomes a number here".to_owned());
    }
    let open = |value: &Known| value.interval() == "anything";
    if open(after) {
        return Some(match open(before) {
            true => return None,
            false => format!("bound lost here: {} before, anything after", before.interval()),
        });
    }
    (before != after).then(|| format!("the number is {} from here on", after.interval()))
}

fn narrowed(before: &Known, after: &Known) -> Option<String> {
    (before.interval() != after.interval())
        .then(|| format!("from here on, the number is known to be {}", after.interval()))
}

fn invalidated(before: &Known, helper: Option<&Called>, input: &Input<'_>) -> String {
    let thing = pointed_to(before, input);
    match helper {
        Some(id) if before.base.is_packet() || before.base == Base::PacketEnd => {
            format!("`{id}` may move the packet: pointers into it end here")
        }
        Some(Called::Helper(HelperId::SPIN_UNLOCK)) => {
            format!("here the lock is released: pointers to {thing} that it guards end")
        }
        Some(Called::Helper(id)) if *id == HelperId::DYNPTR_WRITE => {
            format!("`{id}` may move the packet: pointers into it end here")
        }
        Some(id) => format!("`{id}` gives back {thing}: pointers to it end here"),
        None => format!("the pointer to {thing} ends here"),
    }
}

/// A stable name of what happened, for tools.
pub(crate) fn kind_name(what: &RelatedKind) -> &'static str {
    match what {
        RelatedKind::NeverWritten(_) => "never_written",
        RelatedKind::Argument(_) => "argument",
        RelatedKind::Destroyed(_) => "destroyed",
        RelatedKind::Returned { .. } => "returned",
        RelatedKind::Loaded { .. } => "loaded",
        RelatedKind::Given(_) => "given",
        RelatedKind::Computed { .. } => "computed",
        RelatedKind::Moved { .. } => "moved",
        RelatedKind::Narrowed { .. } => "narrowed",
        RelatedKind::PacketProved { .. } => "packet_proved",
        RelatedKind::IsNull => "is_null",
        RelatedKind::Invalidated { .. } => "invalidated",
        RelatedKind::Unwritten => "unwritten",
        RelatedKind::Overwritten => "overwritten",
        RelatedKind::Acquired { .. } => "acquired",
        RelatedKind::Locked => "locked",
        RelatedKind::Unlocked => "unlocked",
        RelatedKind::Went { .. } => "went",
        RelatedKind::Loop { .. } => "loop",
        RelatedKind::Frame { .. } => "frame",
        RelatedKind::Calls { .. } => "calls",
    }
}
