//! Bytes as values of their C types: printed, as JSON, and read from what users write.
//!
//! Types come from BTF. Without one, bytes are little-endian numbers where they have the size of
//! one, else hexadecimal.

use serde_json::{Map, Value};
use skep_btf::{Btf, Enum, Int, Kind, Member, TypeId};

/// How deep values are nested before the rest is left out.
const MAX_DEPTH: u32 = 16;

/// How many elements of an array are shown.
const MAX_ELEMENTS: usize = 64;

/// How many values, members and elements are shown before the rest is left out.
const MAX_VALUES: u32 = 10_000;

/// A type and what knows it.
#[derive(Clone, Copy, Debug)]
pub struct Typed<'a> {
    /// The type, if it is known.
    pub of: Option<(&'a Btf, TypeId)>,
}

impl<'a> Typed<'a> {
    /// A type, if both it and the BTF that knows it are there.
    #[must_use]
    pub fn new(btf: Option<&'a Btf>, ty: Option<TypeId>) -> Typed<'a> {
        Typed { of: btf.zip(ty) }
    }

    /// Bytes as a C initializer: `3`, `"text"`, `{.packets = 1, .bytes = 74}`.
    #[must_use]
    pub fn text(self, bytes: &[u8]) -> String {
        match self.of {
            Some((btf, ty)) => Printer { btf, left: MAX_VALUES }.text(ty, bytes, MAX_DEPTH),
            None => untyped(bytes),
        }
    }

    /// The bytes of a value that was given as JSON: a number, `true` or `false`, an object of
    /// members, an array of elements, a string of hexadecimal digits (of a `char` array: its
    /// text). Members that are left out are zero.
    ///
    /// # Errors
    ///
    /// What was needed and what was found.
    pub fn bytes(self, value: &Value, len: usize) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; len];
        match (self.of, value) {
            (Some((btf, ty)), _) => fill(btf, ty, value, &mut bytes, MAX_DEPTH)?,
            (None, Value::Number(_) | Value::Bool(_)) => put_number(value, &mut bytes)?,
            (None, Value::String(digits)) => put_hex(digits, &mut bytes)?,
            (None, _) => {
                return Err(format!(
                    "its type is not known; needed is a number or {len} bytes as hexadecimal digits, found {value}"
                ));
            }
        }
        Ok(bytes)
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn untyped(bytes: &[u8]) -> String {
    match bytes.len() {
        1 | 2 | 4 | 8 => unsigned(bytes).to_string(),
        _ => hex(bytes),
    }
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len().clamp(1, 8);
    (unsigned(bytes) << unused).cast_signed() >> unused
}

/// Prints values of types that may be nested so that they never end, within a budget.
struct Printer<'a> {
    btf: &'a Btf,
    /// How many values may still be shown.
    left: u32,
}

impl Printer<'_> {
    fn text(&mut self, ty: TypeId, bytes: &[u8], depth: u32) -> String {
        let btf = self.btf;
        self.left = self.left.saturating_sub(1);
        let Some(depth) = depth.checked_sub(1).filter(|_| self.left > 0) else {
            return "...".to_owned();
        };
        let Ok(id) = btf.resolve(ty) else { return untyped(bytes) };
        match btf.kind(id) {
            Kind::Var { ty, .. } => self.text(*ty, bytes, depth),
            Kind::Int(int) => integer(int, bytes),
            Kind::Ptr(_) => format!("{:#x}", unsigned(bytes)),
            Kind::Enum(values) | Kind::Enum64(values) => enumerator(btf, values, bytes),
            Kind::Float { .. } => float(bytes),
            Kind::Array(array) => match c_string(bytes).filter(|_| is_char(btf, array.element)) {
                Some(text) => text,
                None => self.elements(array.element, bytes, depth),
            },
            Kind::Struct(composite) | Kind::Union(composite) => {
                self.members(btf.members(composite), bytes, depth)
            }
            Kind::Datasec { .. } | Kind::Void => hex(bytes),
            _ => untyped(bytes),
        }
    }

    fn members(&mut self, members: &[Member], bytes: &[u8], depth: u32) -> String {
        let mut texts = Vec::new();
        for member in members {
            if self.left == 0 {
                texts.push("...".to_owned());
                break;
            }
            let value = if member.bit_size != 0 || !member.bit_offset.is_multiple_of(8) {
                bit_field(self.btf, member.ty, member.bit_offset, member.bit_size, bytes)
            } else {
                let part = part(self.btf, member.ty, member.bit_offset, bytes);
                self.text(member.ty, part, depth)
            };
            texts.push(match self.btf.str(member.name) {
                "" => value,
                name => format!(".{name} = {value}"),
            });
        }
        format!("{{{}}}", texts.join(", "))
    }

    fn elements(&mut self, element: TypeId, bytes: &[u8], depth: u32) -> String {
        let size = self.btf.size_of(element).ok().and_then(|size| usize::try_from(size).ok());
        let Some(size) = size.filter(|size| *size != 0) else { return hex(bytes) };
        let shown = bytes.chunks_exact(size).take(MAX_ELEMENTS);
        let mut texts: Vec<String> = shown.map(|chunk| self.text(element, chunk, depth)).collect();
        if bytes.len() / size > MAX_ELEMENTS {
            texts.push(format!("... {} more", bytes.len() / size - MAX_ELEMENTS));
        }
        format!("{{{}}}", texts.join(", "))
    }
}

fn enumerator(btf: &Btf, enumeration: &Enum, bytes: &[u8]) -> String {
    let number = match enumeration.signed {
        true => signed(bytes).cast_unsigned(),
        false => unsigned(bytes),
    };
    match btf.enum_values(enumeration).iter().find(|value| value.value == number) {
        Some(value) => btf.str(value.name).to_owned(),
        None if enumeration.signed => signed(bytes).to_string(),
        None => number.to_string(),
    }
}

fn float(bytes: &[u8]) -> String {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return f32::from_le_bytes(bytes).to_string();
    }
    match <[u8; 8]>::try_from(bytes) {
        Ok(bytes) => f64::from_le_bytes(bytes).to_string(),
        Err(_) => hex(bytes),
    }
}

fn integer(int: &Int, bytes: &[u8]) -> String {
    if int.bool {
        return (unsigned(bytes) != 0).to_string();
    }
    match (int.size, int.signed) {
        (16, _) => {
            let high = unsigned(bytes.get(8..).unwrap_or(&[]));
            format!("0x{high:016x}{:016x}", unsigned(bytes))
        }
        (_, true) => signed(bytes).to_string(),
        (_, false) => unsigned(bytes).to_string(),
    }
}

/// The bytes of a member.
fn part<'b>(btf: &Btf, ty: TypeId, bit_offset: u32, bytes: &'b [u8]) -> &'b [u8] {
    let start = bit_offset as usize / 8;
    let size = btf.size_of(ty).ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    bytes.get(start..start.saturating_add(size)).unwrap_or(&[])
}

fn bit_field(btf: &Btf, ty: TypeId, bit_offset: u32, bit_size: u8, bytes: &[u8]) -> String {
    let start = bit_offset as usize / 8;
    let end = bytes.len().min(start + 16);
    let word = bytes
        .get(start..end)
        .unwrap_or(&[])
        .iter()
        .rev()
        .fold(0_u128, |word, byte| word << 8 | u128::from(*byte));
    let bits = u32::from(bit_size).clamp(1, 64);
    let value = ((word >> (bit_offset % 8)) & ((1_u128 << bits) - 1)) as u64;
    let is_signed =
        matches!(btf.resolve(ty).map(|id| btf.kind(id)), Ok(Kind::Int(int)) if int.signed);
    match is_signed {
        true => ((value << (64 - bits)).cast_signed() >> (64 - bits)).to_string(),
        false => value.to_string(),
    }
}

fn is_char(btf: &Btf, ty: TypeId) -> bool {
    let is_int =
        matches!(btf.resolve(ty).map(|id| btf.kind(id)), Ok(Kind::Int(int)) if int.size == 1);
    is_int && btf.unqualified(ty).is_ok_and(|id| btf.name(id) == "char")
}

/// Bytes as a string literal, if they are text with nothing but NULs after it.
fn c_string(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at(end);
    let text = std::str::from_utf8(text).ok()?;
    (rest.iter().all(|byte| *byte == 0)).then(|| format!("{text:?}"))
}

fn fill(btf: &Btf, ty: TypeId, value: &Value, bytes: &mut [u8], depth: u32) -> Result<(), String> {
    let deeper = || "the type is nested too deeply".to_owned();
    let depth = depth.checked_sub(1).ok_or_else(deeper)?;
    let id = btf.resolve(ty).map_err(|error| error.to_string())?;
    let needed = || btf.declaration(ty, "");
    match (btf.kind(id), value) {
        (Kind::Var { ty, .. }, _) => fill(btf, *ty, value, bytes, depth),
        (Kind::Array(array), Value::String(text)) if is_char(btf, array.element) => {
            let (found, room) = (text.len(), bytes.len());
            let to = bytes.get_mut(..found);
            let to = to.ok_or_else(|| format!("{text:?} has {found} bytes, {room} fit"))?;
            to.copy_from_slice(text.as_bytes());
            Ok(())
        }
        (Kind::Enum(enumeration) | Kind::Enum64(enumeration), Value::String(name))
            if btf.enum_values(enumeration).iter().any(|v| btf.str(v.name) == name) =>
        {
            let named = btf.enum_values(enumeration).iter().find(|v| btf.str(v.name) == name);
            let number = named.map_or(0, |found| found.value).to_le_bytes();
            let len = bytes.len().min(8);
            bytes.iter_mut().zip(number.iter().take(len)).for_each(|(to, from)| *to = *from);
            Ok(())
        }
        (_, Value::String(digits)) => put_hex(digits, bytes),
        (
            Kind::Int(_) | Kind::Enum(_) | Kind::Enum64(_) | Kind::Ptr(_),
            Value::Number(_) | Value::Bool(_),
        ) => put_number(value, bytes),
        (Kind::Float { size }, Value::Number(number)) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            let from = match size {
                4 => (number as f32).to_le_bytes().to_vec(),
                _ => number.to_le_bytes().to_vec(),
            };
            if from.len() != bytes.len() {
                return Err(format!("a float of {size} bytes cannot be set"));
            }
            bytes.copy_from_slice(&from);
            Ok(())
        }
        (Kind::Array(array), Value::Array(values)) => {
            let size = btf.size_of(array.element).map_err(|error| error.to_string())?;
            let size = usize::try_from(size).map_err(|error| error.to_string())?;
            if size == 0 || values.len() > bytes.len() / size {
                let room = bytes.len().checked_div(size).unwrap_or(0);
                return Err(format!("{} elements, {room} fit in {}", values.len(), needed()));
            }
            for (value, chunk) in values.iter().zip(bytes.chunks_exact_mut(size)) {
                fill(btf, array.element, value, chunk, depth)?;
            }
            Ok(())
        }
        (Kind::Struct(composite) | Kind::Union(composite), Value::Object(members)) => {
            fill_members(btf, btf.members(composite), members, bytes, depth)
        }
        _ => Err(format!("needed is a value of type {}, found {value}", needed())),
    }
}

fn fill_members(
    btf: &Btf,
    members: &[Member],
    values: &Map<String, Value>,
    bytes: &mut [u8],
    depth: u32,
) -> Result<(), String> {
    for (name, value) in values {
        let member = members.iter().find(|member| btf.str(member.name) == name);
        let member = member.ok_or_else(|| {
            let names: Vec<&str> = members.iter().map(|member| btf.str(member.name)).collect();
            format!("there is no member {name}; there are {}", names.join(", "))
        })?;
        if member.bit_size != 0 {
            return Err(format!("member {name} is a bit-field; give the bytes as digits instead"));
        }
        let start = member.bit_offset as usize / 8;
        let size = btf.size_of(member.ty).map_err(|error| error.to_string())?;
        let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        let part = bytes.get_mut(start..end);
        let part = part.ok_or_else(|| format!("member {name} lies outside the value"))?;
        fill(btf, member.ty, value, part, depth).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

fn put_number(value: &Value, bytes: &mut [u8]) -> Result<(), String> {
    let number = match value {
        Value::Bool(truth) => i128::from(*truth),
        Value::Number(number) => {
            let whole = number.as_u64().map(i128::from).or(number.as_i64().map(i128::from));
            whole.ok_or_else(|| format!("{number} is no whole number of at most 64 bits"))?
        }
        other => return Err(format!("needed is a number, found {other}")),
    };
    let bits = 8 * bytes.len().min(8) as u32;
    let (min, max) = match bits {
        0 => (0, 0),
        _ => (-(1_i128 << (bits - 1)), (1_i128 << bits) - 1),
    };
    if !(min..=max).contains(&number) {
        return Err(format!("{number} does not fit in {} bytes", bytes.len()));
    }
    let fill = if number < 0 { 0xff } else { 0 };
    bytes.fill(fill);
    bytes.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
    Ok(())
}

fn put_hex(digits: &str, bytes: &mut [u8]) -> Result<(), String> {
    let needed = bytes.len();
    let found = crate::input::parse_hex(digits);
    let found = found.ok_or_else(|| {
        format!("needed are {needed} bytes as hexadecimal digits, found {digits:?}")
    })?;
    if found.len() != needed {
        return Err(format!("needed are {needed} bytes, found {}", found.len()));
    }
    bytes.copy_from_slice(&found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_without_a_type_are_numbers_or_digits() {
        let typed = Typed { of: None };
        assert_eq!(typed.text(&[1, 2]), "513");
        assert_eq!(typed.text(&[1, 2, 3]), "010203");
        assert_eq!(typed.bytes(&Value::from(513), 4), Ok(vec![1, 2, 0, 0]));
        assert_eq!(typed.bytes(&Value::from(-1), 2), Ok(vec![0xff, 0xff]));
        assert_eq!(typed.bytes(&Value::from("01 02 03"), 3), Ok(vec![1, 2, 3]));
        assert_eq!(typed.bytes(&Value::from(256), 1), Err("256 does not fit in 1 bytes".into()));
        assert_eq!(typed.bytes(&Value::from("0102"), 3), Err("needed are 3 bytes, found 2".into()));
    }

    #[test]
    fn numbers_have_signs() {
        assert_eq!(signed(&[0xfe]), -2);
        assert_eq!(signed(&[0xff; 8]), -1);
        assert_eq!(unsigned(&[0xfe, 0xff]), 0xfffe);
    }

    #[test]
    fn strings_end_with_nul() {
        assert_eq!(c_string(b"eth0\0\0\0"), Some("\"eth0\"".to_owned()));
        assert_eq!(c_string(b"eth0"), None);
        assert_eq!(c_string(b"a\0b\0"), None);
    }
}
