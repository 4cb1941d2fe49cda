//! Bytes as C initializers, by their type.
//!
//! `{ .packets = 3, .kind = TCP }`: integers in decimal, characters as text, enumerators by
//! name, pointers in hexadecimal; every member of a union. As in printing types, depth and
//! amount are bounded and what is left out shows as `...`.

use alloc::format;
use alloc::string::{String, ToString};

use crate::parse::Btf;
use crate::types::{Array, Composite, Enum, Int, Kind, TypeId};

/// How deep values are nested before the rest is left out.
const MAX_DEPTH: u32 = 40;

/// How many numbers, texts and braces one value shows before the rest is left out.
const MAX_PARTS: u32 = 20_000;

/// What stands for values that are left out, or whose bytes are missing.
const LEFT_OUT: &str = "...";

impl Btf {
    /// What a variable of a type holds, as a C initializer. Bytes are little-endian; where there
    /// are fewer than the type has, the rest shows as `...`.
    ///
    /// ```
    /// # use skep_btf::{Btf, TypeId};
    /// # let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
    /// # for word in [0u32, 16, 16, 5, 1, 1 << 24, 4, 1 << 24 | 32] {
    /// #     bytes.extend_from_slice(&word.to_le_bytes());
    /// # }
    /// # bytes.extend_from_slice(b"\0int\0");
    /// # let btf = Btf::parse(&bytes)?;
    /// // Type 1 is `int`.
    /// assert_eq!(btf.initializer(TypeId(1), &[0xfe, 0xff, 0xff, 0xff]), "-2");
    /// # Ok::<(), skep_btf::BtfError>(())
    /// ```
    pub fn initializer(&self, id: TypeId, bytes: &[u8]) -> String {
        let mut writer = Writer { btf: self, parts: MAX_PARTS, text: String::new() };
        writer.value(id, bytes, MAX_DEPTH);
        writer.text
    }
}

struct Writer<'a> {
    btf: &'a Btf,
    parts: u32,
    text: String,
}

impl Writer<'_> {
    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Whether another part may be shown.
    fn spend(&mut self) -> bool {
        self.parts = self.parts.saturating_sub(1);
        self.parts > 0
    }

    fn value(&mut self, id: TypeId, bytes: &[u8], depth: u32) {
        let id = match self.btf.kind(id) {
            Kind::Var { ty, .. } => *ty,
            _ => id,
        };
        let (Some(depth), Ok(id)) = (depth.checked_sub(1), self.btf.resolve(id)) else {
            return self.put(LEFT_OUT);
        };
        if !self.spend() {
            return self.put(LEFT_OUT);
        }
        match self.btf.kind(id) {
            Kind::Int(int) => self.int(int, bytes),
            Kind::Enum(enumeration) | Kind::Enum64(enumeration) => {
                let value = number(bytes, enumeration.size);
                self.enumerator(enumeration, value);
            }
            Kind::Ptr(_) => self.number(number(bytes, 8), |value| format!("{value:#x}")),
            Kind::Float { size: 4 } => {
                let float = |value: u128| f32::from_bits(value as u32).to_string();
                self.number(number(bytes, 4), float);
            }
            Kind::Float { size: 8 } => {
                let float = |value: u128| f64::from_bits(value as u64).to_string();
                self.number(number(bytes, 8), float);
            }
            Kind::Float { size } => self.number(number(bytes, *size), |v| format!("{v:#x}")),
            Kind::Array(array) => self.array(array, bytes, depth),
            Kind::Struct(composite) | Kind::Union(composite) => {
                self.composite(composite, bytes, depth);
            }
            _ => self.put(LEFT_OUT),
        }
    }

    fn number(&mut self, value: Option<u128>, show: impl Fn(u128) -> String) {
        match value {
            Some(value) => self.text.push_str(&show(value)),
            None => self.put(LEFT_OUT),
        }
    }

    fn int(&mut self, int: &Int, bytes: &[u8]) {
        let value = number(bytes, int.size);
        let bits = u32::from(int.bits);
        let value = value.map(|value| field(value, u32::from(int.bit_offset), bits));
        self.number(value, |value| show_int(int, value, bits));
    }

    fn enumerator(&mut self, enumeration: &Enum, value: Option<u128>) {
        let Some(value) = value else { return self.put(LEFT_OUT) };
        let bits = enumeration.size.saturating_mul(8).min(64);
        let as_64 = match enumeration.signed {
            true => sign_extended(value, bits) as u64,
            false => value as u64,
        };
        let values = self.btf.enum_values(enumeration);
        match values.iter().find(|row| row.value == as_64) {
            Some(row) => self.text.push_str(self.btf.str(row.name)),
            None if enumeration.signed => self.put(&as_64.cast_signed().to_string()),
            None => self.put(&as_64.to_string()),
        }
    }

    fn array(&mut self, array: &Array, bytes: &[u8], depth: u32) {
        let element = self.btf.resolve(array.element).unwrap_or(TypeId::VOID);
        if let Kind::Int(int) = self.btf.kind(element)
            && int.size == 1
            && let Some(text) = bytes.get(..array.count as usize).and_then(as_text)
        {
            return self.put(&text);
        }
        let Some(size) = self.btf.size_of(element).ok().and_then(|size| size.try_into().ok())
        else {
            return self.put(LEFT_OUT);
        };
        self.put("{");
        let mut rest = bytes;
        for index in 0..array.count {
            self.put(if index == 0 { " " } else { ", " });
            if self.parts <= 1 || (rest.is_empty() && size > 0) {
                self.put(LEFT_OUT);
                break;
            }
            self.value(array.element, rest, depth);
            rest = rest.get(size..).unwrap_or(&[]);
        }
        self.put(if array.count == 0 { "}" } else { " }" });
    }

    fn composite(&mut self, composite: &Composite, bytes: &[u8], depth: u32) {
        let members = self.btf.members(composite);
        self.put("{");
        for (index, member) in members.iter().enumerate() {
            self.put(if index == 0 { " " } else { ", " });
            if self.parts <= 1 {
                self.put(LEFT_OUT);
                break;
            }
            let name = self.btf.str(member.name);
            if !name.is_empty() {
                self.put(&format!(".{name} = "));
            }
            let start = (member.bit_offset / 8) as usize;
            let rest = bytes.get(start..).unwrap_or(&[]);
            match member.bit_size {
                0 => self.value(member.ty, rest, depth),
                bits => {
                    let value = bit_field(bytes, member.bit_offset, u32::from(bits));
                    self.bit_field(member.ty, value, u32::from(bits));
                }
            }
        }
        self.put(if members.is_empty() { "}" } else { " }" });
    }

    fn bit_field(&mut self, ty: TypeId, value: Option<u128>, bits: u32) {
        self.spend();
        match self.btf.resolve(ty).map(|ty| self.btf.kind(ty)) {
            Ok(Kind::Int(int)) => self.number(value, |value| show_int(int, value, bits)),
            Ok(Kind::Enum(enumeration) | Kind::Enum64(enumeration)) => {
                let extend = |value| match enumeration.signed {
                    true => sign_extended(value, bits).cast_unsigned(),
                    false => value,
                };
                self.enumerator(enumeration, value.map(extend));
            }
            _ => self.put(LEFT_OUT),
        }
    }
}

/// The first `size` bytes as a little-endian number; `None` if there are fewer, or more than a
/// number has.
fn number(bytes: &[u8], size: u32) -> Option<u128> {
    let bytes = bytes.get(..size as usize).filter(|bytes| (1..=16).contains(&bytes.len()))?;
    Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u128::from(byte)))
}

/// `bits` bits of a number, from bit `offset`.
fn field(value: u128, offset: u32, bits: u32) -> u128 {
    let shifted = value.checked_shr(offset).unwrap_or(0);
    let above = u128::MAX.checked_shl(bits).unwrap_or(0);
    shifted & !above
}

/// A bit-field of at most 64 bits, `offset` bits from the start.
fn bit_field(bytes: &[u8], offset: u32, bits: u32) -> Option<u128> {
    let rest = bytes.get((offset / 8) as usize..)?;
    let size = (offset % 8 + bits).div_ceil(8);
    Some(field(number(rest, size)?, offset % 8, bits))
}

fn sign_extended(value: u128, bits: u32) -> i128 {
    match 128u32.checked_sub(bits) {
        Some(unused @ 1..128) => (value << unused).cast_signed() >> unused,
        _ => value.cast_signed(),
    }
}

fn show_int(int: &Int, value: u128, bits: u32) -> String {
    match (int.bool, int.signed) {
        (true, _) if value <= 1 => (value == 1).to_string(),
        (_, true) => sign_extended(value, bits).to_string(),
        (_, false) => value.to_string(),
    }
}

/// Characters up to the first NUL in quotes, if they are text and only NULs follow.
fn as_text(bytes: &[u8]) -> Option<String> {
    let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (text, tail) = bytes.split_at(len);
    let is_printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t' | b'\r');
    let is_text = !text.is_empty() && text.iter().all(is_printable);
    if !is_text || tail.iter().any(|&byte| byte != 0) {
        return None;
    }
    Some(format!("\"{}\"", text.escape_ascii()))
}
