//! The value of a register: `7`, `P-1`, `fp-8`, `scalar(id=1,umax=9)`, `map_value(ks=4,vs=8)`.
//!
//! ```text
//! register = ["P"] number | ["P"] "scalar(" attributes ")"
//!          | "fp" ["[" frame "]"] (number | "(" attributes ")") | "arena" | name "(" attributes ")"
//! attribute = "id=" n ["+" n | "-" n] | "ref_obj_id=" n | "non_own_ref" | "map=" name | "ks=" n
//!          | "vs=" n | "off=" n | "r=" n | "sz=" n | "type=" name | "imm=" n
//!          | bound {"=" bound} "=" n | "var_off=" tnum
//! ```
//!
//! Bounds that are not printed are those of an unknown number.

use super::scan::{attributes, signed, small, small_signed, unsigned};
use super::{Expected, LogError};
use crate::domain::{Bounds, Scalar, Tnum};

/// The value of a register or of a spilled one.
#[derive(Clone, PartialEq, Debug)]
pub struct Register<'a> {
    /// What it is.
    pub kind: Kind<'a>,
    /// Whether the walk depends on the exact value of a number.
    pub precise: bool,
    /// Equal ids: equal values, or pointers of one origin.
    pub id: Option<u32>,
    /// What was added since it was copied from the register with the same id.
    pub delta: Option<i32>,
    /// The reference that it holds.
    pub ref_obj_id: Option<u32>,
    /// Whether it points to an object that a collection owns.
    pub non_owning: bool,
    /// The name of the map it belongs to.
    pub map: Option<&'a str>,
    /// The map's key size in bytes.
    pub key_size: Option<u32>,
    /// The map's value size in bytes.
    pub value_size: Option<u32>,
    /// A pointer's constant offset.
    pub offset: i64,
    /// The bytes of a packet known to exist from its start; -1 and -2 stand for a pointer at or
    /// beyond the packet's end.
    pub range: Option<i64>,
    /// The size of a memory region in bytes.
    pub mem_size: Option<u64>,
    /// The kind of a dynptr.
    pub dynptr: Option<&'a str>,
    /// A number, or a pointer's variable offset, 0 if nothing is printed.
    pub value: Scalar,
}

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind<'a> {
    /// A number.
    Scalar,
    /// A pointer to the stack, of another frame if there is a number.
    Stack(Option<u32>),
    /// Any other pointer.
    Pointer(PointerName<'a>),
}

/// The name of a pointer type, with its modifiers: `rdonly_mem_or_null`, `trusted_ptr_task_struct`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PointerName<'a>(pub &'a str);

/// Base types whose name ends in a BTF type's.
const BTF_POINTER: &str = "ptr_";
const OR_NULL: &str = "or_null_";
const MODIFIERS: [&str; 7] =
    ["rdonly_", "ringbuf_", "user_", "percpu_", "rcu_", "untrusted_", "trusted_"];

impl<'a> PointerName<'a> {
    /// The modifiers in front, without their underscores.
    pub fn modifiers(self) -> impl Iterator<Item = &'a str> {
        let (modifiers, _) = self.split();
        modifiers.split('_').filter(|name| !name.is_empty())
    }

    /// The base type: `mem`, `map_value`, `ptr_` for a pointer to a type of BTF.
    #[must_use]
    pub fn base(self) -> &'a str {
        let (_, rest) = self.split();
        if rest.starts_with(BTF_POINTER) {
            BTF_POINTER
        } else {
            rest.strip_suffix("_or_null").unwrap_or(rest)
        }
    }

    /// Whether it may be null.
    #[must_use]
    pub fn is_nullable(self) -> bool {
        let (_, rest) = self.split();
        match rest.strip_prefix(BTF_POINTER) {
            Some(name) => name.starts_with(OR_NULL),
            None => rest.ends_with("_or_null"),
        }
    }

    /// The name of the BTF type pointed to.
    #[must_use]
    pub fn btf_type(self) -> Option<&'a str> {
        let (_, rest) = self.split();
        let name = rest.strip_prefix(BTF_POINTER)?;
        Some(name.strip_prefix(OR_NULL).unwrap_or(name))
    }

    /// The modifiers, and the rest.
    fn split(self) -> (&'a str, &'a str) {
        let mut rest = self.0;
        while let Some(shorter) = MODIFIERS.iter().find_map(|modifier| rest.strip_prefix(modifier))
        {
            rest = shorter;
        }
        (&self.0[..self.0.len() - rest.len()], rest)
    }
}

impl<'a> Register<'a> {
    /// A register of a kind with nothing else known.
    fn of(kind: Kind<'a>, value: Scalar) -> Self {
        Register {
            kind,
            precise: false,
            id: None,
            delta: None,
            ref_obj_id: None,
            non_owning: false,
            map: None,
            key_size: None,
            value_size: None,
            offset: 0,
            range: None,
            mem_size: None,
            dynptr: None,
            value,
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn scalar(&self) -> Option<Scalar> {
        (self.kind == Kind::Scalar).then_some(self.value)
    }

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// [`LogError`], if the text is none.
    pub fn parse(text: &'a str) -> Result<Self, LogError> {
        match text.strip_prefix('P') {
            Some(number) => Ok(Register { precise: true, ..Self::parse_value(number)? }),
            None => Self::parse_value(text),
        }
    }

    /// The value without the mark of precision.
    fn parse_value(text: &'a str) -> Result<Self, LogError> {
        if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return Ok(Self::of(Kind::Scalar, Scalar::constant(signed(text)? as u64)));
        }
        if text == "arena" {
            return Ok(Self::of(Kind::Pointer(PointerName(text)), Scalar::constant(0)));
        }
        if let Some(stack) = text.strip_prefix("fp") {
            return Self::parse_stack(text, stack);
        }
        let not_register = || LogError::new(Expected::Register, text);
        let (name, inside) = text.split_once('(').ok_or_else(not_register)?;
        let inside = inside.strip_suffix(')').ok_or_else(not_register)?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(not_register());
        }
        let kind = if name == "scalar" { Kind::Scalar } else { Kind::Pointer(PointerName(name)) };
        Self::parse_attributes(kind, inside)
    }

    fn parse_stack(text: &'a str, stack: &'a str) -> Result<Self, LogError> {
        let not_register = || LogError::new(Expected::Register, text);
        let (frame, rest) = match stack.strip_prefix('[') {
            Some(rest) => {
                let (frame, rest) = rest.split_once(']').ok_or_else(not_register)?;
                (Some(small(frame)?), rest)
            }
            None => (None, stack),
        };
        if let Some(inside) = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            return Self::parse_attributes(Kind::Stack(frame), inside);
        }
        let offset = signed(rest)?;
        Ok(Register { offset, ..Self::of(Kind::Stack(frame), Scalar::constant(0)) })
    }

    fn parse_attributes(kind: Kind<'a>, inside: &'a str) -> Result<Self, LogError> {
        let mut register = Self::of(kind, Scalar::UNKNOWN);
        let mut variable = Variable::new();
        for attribute in attributes(inside) {
            if attribute == "non_own_ref" {
                register.non_owning = true;
                continue;
            }
            let (name, value) = attribute
                .split_once('=')
                .ok_or_else(|| LogError::new(Expected::Attribute, attribute))?;
            match name {
                "id" => (register.id, register.delta) = id_and_delta(value)?,
                "ref_obj_id" => register.ref_obj_id = Some(small(value)?),
                "map" => register.map = Some(value),
                "ks" => register.key_size = Some(small(value)?),
                "vs" => register.value_size = Some(small(value)?),
                "off" => register.offset = signed(value)?,
                "r" => register.range = Some(signed(value)?),
                "sz" => register.mem_size = Some(unsigned(value)?),
                "type" => register.dynptr = Some(value),
                _ => variable.read(attribute)?,
            }
        }
        register.value = if kind != Kind::Scalar && !variable.seen {
            Scalar::constant(0)
        } else {
            variable.scalar().ok_or_else(|| LogError::new(Expected::Bounds, inside))?
        };
        Ok(register)
    }
}

/// `5`, or `5+8` with what was added since.
fn id_and_delta(text: &str) -> Result<(Option<u32>, Option<i32>), LogError> {
    match text.find(['+', '-']) {
        Some(at) => Ok((Some(small(&text[..at])?), Some(small_signed(&text[at..])?))),
        None => Ok((Some(small(text)?), None)),
    }
}

/// Bounds and bits while they are read.
struct Variable {
    seen: bool,
    wide: Bounds<64>,
    low: Bounds<32>,
    tnum: Tnum,
    constant: Option<u64>,
}

impl Variable {
    fn new() -> Self {
        Self {
            seen: false,
            wide: Bounds::FULL,
            low: Bounds::FULL,
            tnum: Tnum::UNKNOWN,
            constant: None,
        }
    }

    /// One attribute: bounds of one value, the bits, or a constant.
    fn read(&mut self, attribute: &str) -> Result<(), LogError> {
        self.seen = true;
        if let Some(bits) = attribute.strip_prefix("var_off=") {
            self.tnum = tnum(bits)?;
            return Ok(());
        }
        if let Some(constant) = attribute.strip_prefix("imm=") {
            self.constant = Some(signed(constant)? as u64);
            return Ok(());
        }
        let (names, number) = attribute
            .rsplit_once('=')
            .ok_or_else(|| LogError::new(Expected::Attribute, attribute))?;
        let number = signed(number)?;
        for name in names.split('=') {
            match name {
                "smin" => self.wide.smin = number,
                "smax" => self.wide.smax = number,
                "umin" => self.wide.umin = number as u64,
                "umax" => self.wide.umax = number as u64,
                // Printed in decimal, or as the 32 bits.
                "smin32" => self.low.smin = i64::from(number as i32),
                "smax32" => self.low.smax = i64::from(number as i32),
                "umin32" => self.low.umin = u64::from(number as u32),
                "umax32" => self.low.umax = u64::from(number as u32),
                _ => return Err(LogError::new(Expected::Attribute, attribute)),
            }
        }
        Ok(())
    }

    fn scalar(self) -> Option<Scalar> {
        match self.constant {
            Some(constant) => Some(Scalar::constant(constant)),
            None => Scalar::from_parts(self.tnum, self.wide, self.low),
        }
    }
}

/// `(0x0; 0xff)`, or a constant.
fn tnum(text: &str) -> Result<Tnum, LogError> {
    let Some(inside) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else {
        return unsigned(text).map(Tnum::constant);
    };
    let (value, mask) =
        inside.split_once("; ").ok_or_else(|| LogError::new(Expected::Attribute, text))?;
    Ok(Tnum::new(unsigned(value)?, unsigned(mask)?))
}
