//! The format of `bpf_trace_printk` and its relatives: what Linux accepts, and what it prints.
//!
//! Two passes, as in Linux (`bpf_bprintf_prepare` and `bstr_printf`): the first checks the format
//! and packs the arguments into a small buffer, whose end is an error or cuts strings; the second
//! prints from it. Where the two read a format differently, so do these. Addresses are no secret
//! here: `%p` and `%pK` print what `%px` prints. No address has a symbol.

use skep_bpf::platform::format::{Conversion, Conversions, InvalidFormat, is_punctuation};

use crate::errno::Errno;
use crate::memory::{PAGE_BYTES, Window};

/// The room for packed arguments in bytes (Linux, `MAX_BPRINTF_BIN_ARGS`).
const PACKED_BYTES: usize = 512;

/// The widest field (Linux, `FIELD_WIDTH_MAX`).
const MAX_WIDTH: i64 = (1 << 23) - 1;

/// The most arguments that can be passed in memory (Linux, `MAX_BPRINTF_VARARGS`).
pub(super) const MAX_ARGS: usize = 12;

/// Text of a limited length, and how long it would have been.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Text {
    /// The bytes that fit, without a NUL at the end.
    pub(super) bytes: Vec<u8>,
    /// The length without the limit.
    pub(super) len: u64,
    limit: u64,
}

impl Text {
    fn push(&mut self, byte: u8) {
        if self.len < self.limit {
            self.bytes.push(byte);
        }
        self.len += 1;
    }

    fn extend(&mut self, bytes: impl IntoIterator<Item = u8>) {
        bytes.into_iter().for_each(|byte| self.push(byte));
    }

    /// A byte so many times; none if the number is negative.
    fn repeat(&mut self, byte: u8, count: i64) {
        let count = u64::try_from(count).unwrap_or(0);
        let fit = count.min(self.limit.saturating_sub(self.len));
        // What fits is at most as long as the guest memory it is meant for.
        self.bytes.resize(self.bytes.len() + fit as usize, byte);
        self.len += count;
    }
}

/// Prints `args` by a format without its NUL, as far as a buffer of `room` bytes (the NUL counted)
/// holds it.
///
/// # Errors
///
/// What the kernel returns for a format that it refuses.
pub(super) fn format(
    window: &Window,
    template: &[u8],
    args: &[u64],
    room: usize,
) -> Result<Text, Errno> {
    let mut packed = Packed::new(window);
    packed.fill(template, args)?;
    let limit = room.saturating_sub(1) as u64;
    let mut printer = Printer {
        template,
        place: 0,
        packed: &packed.bytes,
        at: 0,
        text: Text { limit, ..Text::default() },
        room: room as u64,
    };
    printer.run();
    Ok(printer.text)
}

/// Arguments in the form the second pass reads.
struct Packed<'a> {
    window: &'a Window,
    bytes: [u8; PACKED_BYTES],
    len: usize,
}

impl<'a> Packed<'a> {
    fn new(window: &'a Window) -> Self {
        Packed { window, bytes: [0; PACKED_BYTES], len: 0 }
    }

    /// Checks the format and packs what it asks for.
    fn fill(&mut self, template: &[u8], args: &[u64]) -> Result<(), Errno> {
        let mut args = args.iter().copied();
        for conversion in Conversions::new(template) {
            let conversion = conversion.map_err(|InvalidFormat| Errno::EINVAL)?;
            let arg = args.next().ok_or(Errno::EINVAL)?;
            match conversion {
                Conversion::Number { bytes: 4 } => self.word(&(arg as u32).to_le_bytes())?,
                Conversion::Number { .. } => self.word(&arg.to_le_bytes())?,
                Conversion::Character => self.push(&[arg as u8])?,
                Conversion::String => self.string(arg)?,
                Conversion::Symbol => self.text(&unknown_symbol(arg))?,
                Conversion::Ip4 { kind } => {
                    let mut address = [0; 4];
                    self.address(&mut address, arg)?;
                    self.text(&ip4(kind, address))?;
                }
                Conversion::Ip6 { kind } => {
                    let mut address = [0; 16];
                    self.address(&mut address, arg)?;
                    self.text(&ip6(kind, address))?;
                }
            }
        }
        Ok(())
    }

    /// The string at an address, cut to the room; nothing if it is not readable.
    fn string(&mut self, addr: u64) -> Result<(), Errno> {
        let room = self.bytes.get_mut(self.len..).filter(|room| !room.is_empty());
        let room = room.ok_or(Errno::ENOSPC)?;
        room[0] = 0;
        self.len += match copy_string(self.window, addr, room) {
            Some(len) => len,
            None => {
                room[0] = 0;
                1
            }
        };
        Ok(())
    }

    /// The network address at an address, zero if it is not readable.
    fn address(&mut self, to: &mut [u8], addr: u64) -> Result<(), Errno> {
        if PACKED_BYTES.saturating_sub(self.len) < to.len() {
            return Err(Errno::ENOSPC);
        }
        let readable = u32::try_from(addr).is_ok_and(|addr| self.window.read(addr, to).is_ok());
        if !readable {
            to.fill(0);
        }
        Ok(())
    }

    /// Text that is printed as it is.
    fn text(&mut self, text: &str) -> Result<(), Errno> {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        // The kernel cuts the text but counts all of it, so that nothing more fits.
        for (to, from) in room.iter_mut().zip(text.bytes().chain([0])) {
            *to = from;
        }
        if let Some(last) = self.bytes.last_mut() {
            *last = 0;
        }
        self.len += text.len() + 1;
        Ok(())
    }

    /// A number of 4 or 8 bytes, aligned to 4.
    fn word(&mut self, word: &[u8]) -> Result<(), Errno> {
        self.len = self.len.next_multiple_of(4);
        self.push(word)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let room = self.bytes.get_mut(self.len..self.len + bytes.len());
        room.ok_or(Errno::ENOSPC)?.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }
}

/// Copies a string from guest memory with its NUL, cut to the room so that the last byte is a NUL.
/// Gives the number of bytes, or nothing if a byte before the NUL is not readable.
pub(super) fn copy_string(window: &Window, addr: u64, to: &mut [u8]) -> Option<usize> {
    let mut done = 0;
    while done < to.len() {
        let at = u32::try_from(addr.checked_add(done as u64)?).ok()?;
        // Up to the end of the page, since the next may not be there.
        let chunk = (to.len() - done).min((PAGE_BYTES - at % PAGE_BYTES) as usize);
        let part = &mut to[done..done + chunk];
        window.read(at, part).ok()?;
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            return Some(done + end + 1);
        }
        done += chunk;
    }
    *to.last_mut()? = 0;
    Some(to.len())
}

/// The second pass.
struct Printer<'a> {
    template: &'a [u8],
    place: usize,
    packed: &'a [u8; PACKED_BYTES],
    at: usize,
    text: Text,
    room: u64,
}

/// Flags and width of a conversion.
#[derive(Clone, Copy, Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    width: i64,
}

impl Printer<'_> {
    fn run(&mut self) {
        while let Some(&c) = self.template.get(self.place) {
            self.place += 1;
            if c == b'%' { self.conversion() } else { self.text.push(c) }
        }
    }

    fn peek(&self) -> u8 {
        self.template.get(self.place).copied().unwrap_or(0)
    }

    fn conversion(&mut self) {
        let spec = self.spec();
        let longs = (0..2).take_while(|_| self.skip(b'l')).count();
        let c = self.peek();
        self.place += 1;
        match c {
            b'%' => self.text.push(b'%'),
            b'c' => self.char(spec),
            b's' => {
                let string = self.packed_string();
                self.padded(&string, spec);
            }
            b'p' => self.pointer(spec),
            b'd' | b'i' => {
                let num =
                    if longs == 0 { i64::from(self.int() as i32) } else { self.long() as i64 };
                self.signed(num, spec);
            }
            _ => {
                let num = if longs == 0 { self.int().into() } else { self.long() };
                match c {
                    b'x' => self.digits(None, format!("{num:x}"), spec),
                    b'X' => self.digits(None, format!("{num:X}"), spec),
                    _ => self.digits(None, format!("{num}"), spec),
                }
            }
        }
    }

    fn spec(&mut self) -> Spec {
        let mut spec = Spec { width: -1, ..Spec::default() };
        loop {
            match self.peek() {
                b'-' => spec.left = true,
                b'+' => spec.plus = true,
                b' ' => spec.space = true,
                b'0' => spec.zero = true,
                _ => break,
            }
            self.place += 1;
        }
        if self.peek().is_ascii_digit() {
            // Too large a number wraps (Linux, `skip_atoi`), then it is limited.
            let mut width = 0i32;
            while self.peek().is_ascii_digit() {
                width = width.wrapping_mul(10).wrapping_add((self.peek() - b'0').into());
                self.place += 1;
            }
            spec.width = i64::from(width).min(MAX_WIDTH);
        }
        spec
    }

    fn skip(&mut self, c: u8) -> bool {
        let found = self.peek() == c;
        self.place += usize::from(found);
        found
    }

    fn char(&mut self, spec: Spec) {
        let c = self.packed.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        let padding = spec.width - 1;
        if !spec.left {
            self.text.repeat(b' ', padding);
        }
        self.text.push(c);
        if spec.left {
            self.text.repeat(b' ', padding);
        }
    }

    fn pointer(&mut self, spec: Spec) {
        match self.peek() {
            b's' | b'S' => {
                let symbol = unknown_symbol(self.long());
                self.padded(symbol.as_bytes(), spec);
            }
            c if !is_alnum(c) || matches!(c, b'x' | b'K') => {
                let spec = match spec.width {
                    -1 => Spec { width: 16, zero: true, ..spec },
                    _ => spec,
                };
                let address = self.long();
                self.digits(None, format!("{address:x}"), spec);
            }
            // Text from the first pass has no width; the kernel leaves it out if nothing fits.
            _ if self.text.len < self.room => {
                let string = self.packed_string();
                self.text.extend(string);
            }
            _ => {}
        }
        while is_alnum(self.peek()) {
            self.place += 1;
        }
    }

    fn signed(&mut self, num: i64, spec: Spec) {
        let sign = match num {
            ..0 => Some(b'-'),
            _ if spec.plus => Some(b'+'),
            _ if spec.space => Some(b' '),
            _ => None,
        };
        self.digits(sign, format!("{}", num.unsigned_abs()), spec);
    }

    fn digits(&mut self, sign: Option<u8>, digits: String, spec: Spec) {
        let padding = spec.width - digits.len() as i64 - i64::from(sign.is_some());
        if !spec.left && !spec.zero {
            self.text.repeat(b' ', padding);
        }
        self.text.extend(sign);
        if !spec.left && spec.zero {
            self.text.repeat(b'0', padding);
        }
        self.text.extend(digits.into_bytes());
        if spec.left {
            self.text.repeat(b' ', padding);
        }
    }

    /// A string in a field of spaces.
    fn padded(&mut self, string: &[u8], spec: Spec) {
        let padding = spec.width - string.len() as i64;
        if !spec.left {
            self.text.repeat(b' ', padding);
        }
        self.text.extend(string.iter().copied());
        if spec.left {
            self.text.repeat(b' ', padding);
        }
    }

    fn int(&mut self) -> u32 {
        u32::from_le_bytes(self.word())
    }

    fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.word())
    }

    fn word<const N: usize>(&mut self) -> [u8; N] {
        let start = self.at.next_multiple_of(4);
        self.at = start + N;
        let mut word = [0; N];
        for (to, from) in word.iter_mut().zip(self.packed.get(start..).unwrap_or_default()) {
            *to = *from;
        }
        word
    }

    fn packed_string(&mut self) -> Vec<u8> {
        let rest = self.packed.get(self.at..).unwrap_or_default();
        let string: Vec<u8> = rest.iter().copied().take_while(|byte| *byte != 0).collect();
        self.at += string.len() + 1;
        string
    }
}

fn is_alnum(c: u8) -> bool {
    c.is_ascii_alphanumeric() || (c >= 0xc0 && !is_punctuation(c))
}

fn unknown_symbol(addr: u64) -> String {
    format!("{addr:#x}")
}

fn ip4(kind: u8, address: [u8; 4]) -> String {
    let [a, b, c, d] = address;
    match kind {
        b'i' => format!("{a:03}.{b:03}.{c:03}.{d:03}"),
        _ => format!("{a}.{b}.{c}.{d}"),
    }
}

fn ip6(kind: u8, address: [u8; 16]) -> String {
    let words: Vec<String> = address
        .chunks(2)
        .map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    words.join(if kind == b'i' { "" } else { ":" })
}
