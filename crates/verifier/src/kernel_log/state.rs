//! A state: ` frame1: R0=1 R10=fp0 fp-8=mmmm0000 refs=2 cb`.
//!
//! ```text
//! state = ["frame" n ":"] {item}
//! item  = "R" n "=" register | "fp" offset "=" slot | "refs=" n {"," n} | "cb" | "async_cb"
//! slot  = 8 kinds | kinds register | "dynptr_" name "(" attributes ")" | "iter_" name "(" attributes ")"
//! kind  = "?" invalid | "r" spilled | "m" misc | "0" zero | "d" dynptr | "i" iterator | "f" irq flag
//! ```
//!
//! A slot shows its highest byte first; a register spilled in fewer than 8 bytes has the kinds of
//! the bytes above in front.

use super::register::Register;
use super::scan::{attributes, decimal, small, small_signed, word};
use super::{Expected, LogError};
use skep_bpf::insn::Reg;

/// Registers and stack slots of a frame, all or those an instruction touched.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct State<'a> {
    /// The frame's number; 0 is not printed.
    pub frame: u32,
    /// The registers in order.
    pub registers: Vec<(Reg, Register<'a>)>,
    /// The slots, by offset from the frame pointer.
    pub slots: Vec<(i32, Slot<'a>)>,
    /// The references held.
    pub refs: Vec<u32>,
    /// Whether the frame is a callback's.
    pub in_callback: bool,
    /// Whether the frame is a callback's that runs later.
    pub in_async_callback: bool,
}

/// Eight bytes of stack.
#[derive(Clone, PartialEq, Debug)]
pub enum Slot<'a> {
    /// A spilled register, and the kinds of the bytes above if it has fewer than eight.
    Spilled {
        /// One letter per byte above the register.
        above: &'a str,
        /// The register.
        register: Register<'a>,
    },
    /// The kinds of the eight bytes, highest first.
    Bytes(&'a str),
    /// A dynptr, in this slot and the one above.
    Dynptr {
        /// Its kind: `local`, `ringbuf`, `skb`, ...
        name: &'a str,
        /// Its id.
        id: Option<u32>,
        /// The reference that it holds.
        ref_id: Option<u32>,
        /// The id that its slices share.
        dynptr_id: Option<u32>,
    },
    /// An open-coded iterator.
    Iterator {
        /// Its type: `num`, `task`, ...
        name: &'a str,
        /// The reference that it holds.
        ref_id: u32,
        /// `active`, `drained`.
        state: &'a str,
        /// How often it has been advanced.
        depth: u32,
    },
}

impl<'a> State<'a> {
    /// The value of a register, if it is listed.
    #[must_use]
    pub fn register(&self, reg: Reg) -> Option<&Register<'a>> {
        self.registers.iter().find(|(listed, _)| *listed == reg).map(|(_, value)| value)
    }
}

/// Reads a state, the frame's number in front if it has one.
///
/// # Errors
///
/// [`LogError`] with the first piece that has no place in a state.
pub fn parse_state(text: &str) -> Result<State<'_>, LogError> {
    let mut state = State::default();
    let mut rest = text.trim();
    if let Some((frame, after)) = frame_prefix(rest) {
        (state.frame, rest) = (frame, after.trim_start());
    }
    while !rest.is_empty() {
        let (item, after) = word(rest);
        rest = after.trim_start();
        read_item(&mut state, item)?;
    }
    Ok(state)
}

/// `frame1:` at the front, and what follows.
pub(super) fn frame_prefix(text: &str) -> Option<(u32, &str)> {
    let (frame, after) = decimal(text.strip_prefix("frame")?)?;
    Some((frame, after.strip_prefix(':')?))
}

fn read_item<'a>(state: &mut State<'a>, item: &'a str) -> Result<(), LogError> {
    let unknown = || LogError::new(Expected::StateItem, item);
    match item {
        "cb" => state.in_callback = true,
        "async_cb" => state.in_async_callback = true,
        _ => {
            let (name, value) = item.split_once('=').ok_or_else(unknown)?;
            if name == "refs" {
                state.refs = value.split(',').map(small).collect::<Result<_, _>>()?;
            } else if let Some(number) = name.strip_prefix('R') {
                let reg = number.parse().ok().and_then(Reg::new).ok_or_else(unknown)?;
                state.registers.push((reg, Register::parse(value)?));
            } else if let Some(offset) = name.strip_prefix("fp") {
                state.slots.push((small_signed(offset)?, Slot::parse(value)?));
            } else {
                return Err(unknown());
            }
        }
    }
    Ok(())
}

const KINDS: &str = "?rm0dif";
const SLOT_BYTES: usize = 8;

impl<'a> Slot<'a> {
    /// Reads the contents of a slot.
    ///
    /// # Errors
    ///
    /// [`LogError`], if the text is none.
    pub fn parse(text: &'a str) -> Result<Self, LogError> {
        let is_kinds = |text: &str| text.chars().all(|c| KINDS.contains(c));
        if text.len() == SLOT_BYTES && is_kinds(text) {
            return Ok(Slot::Bytes(text));
        }
        if let Some(rest) =
            text.strip_prefix("dynptr_").filter(|_| !text.starts_with("dynptr_ptr("))
        {
            return Self::parse_dynptr(text, rest);
        }
        if let Some(rest) = text.strip_prefix("iter_") {
            return Self::parse_iterator(text, rest);
        }
        // A spilled register has 8, 4, 2 or 1 bytes unless others were overwritten.
        [0, 4, 6, 7, 1, 2, 3, 5]
            .into_iter()
            .filter_map(|bytes| text.split_at_checked(bytes))
            .filter(|(above, _)| is_kinds(above))
            .find_map(|(above, rest)| {
                let register = Register::parse(rest).ok()?;
                Some(Slot::Spilled { above, register })
            })
            .ok_or_else(|| LogError::new(Expected::Slot, text))
    }

    fn parse_dynptr(text: &'a str, rest: &'a str) -> Result<Self, LogError> {
        let (name, inside) =
            name_and_inside(rest).ok_or_else(|| LogError::new(Expected::Slot, text))?;
        let (mut id, mut ref_id, mut dynptr_id) = (None, None, None);
        for attribute in attributes(inside) {
            match attribute.split_once('=') {
                Some(("id", value)) => id = Some(small(value)?),
                Some(("ref_id", value)) => ref_id = Some(small(value)?),
                Some(("dynptr_id", value)) => dynptr_id = Some(small(value)?),
                _ => return Err(LogError::new(Expected::Attribute, attribute)),
            }
        }
        Ok(Slot::Dynptr { name, id, ref_id, dynptr_id })
    }

    fn parse_iterator(text: &'a str, rest: &'a str) -> Result<Self, LogError> {
        let not_slot = || LogError::new(Expected::Slot, text);
        let (name, inside) = name_and_inside(rest).ok_or_else(not_slot)?;
        let (mut ref_id, mut state, mut depth) = (None, None, None);
        for attribute in attributes(inside) {
            match attribute.split_once('=') {
                Some(("ref_id", value)) => ref_id = Some(small(value)?),
                Some(("state", value)) => state = Some(value),
                Some(("depth", value)) => depth = Some(small(value)?),
                _ => return Err(LogError::new(Expected::Attribute, attribute)),
            }
        }
        match (ref_id, state, depth) {
            (Some(ref_id), Some(state), Some(depth)) => {
                Ok(Slot::Iterator { name, ref_id, state, depth })
            }
            _ => Err(not_slot()),
        }
    }
}

/// `name(inside)`.
fn name_and_inside(text: &str) -> Option<(&str, &str)> {
    let (name, inside) = text.split_once('(')?;
    Some((name, inside.strip_suffix(')')?))
}
