//! Kernel functions on strings: comparing, measuring, finding.
//!
//! Strings may lie anywhere. One that is not readable gives `EFAULT`, one that begins where no
//! memory of a kernel is `ERANGE`, one that does not end within 64 KiB `E2BIG`. Linux,
//! `kernel/bpf/helpers.c`.

use super::Call;
use super::kfunc::{Kfunc, failed, int};
use crate::errno::Errno;
use crate::memory::{PAGE_BYTES, Window};
use crate::trap::TrapKind;

pub(super) const KFUNCS: &[Kfunc] = &[
    ("bpf_strcmp", |call| compare(call, |byte| byte)),
    ("bpf_strcasecmp", |call| compare(call, lower)),
    ("bpf_strnchr", |call| find(call, call.scalar(1), call.scalar(2))),
    ("bpf_strchr", |call| find(call, LONGEST, call.scalar(1))),
    ("bpf_strchrnul", find_or_end),
    ("bpf_strrchr", find_last),
    ("bpf_strnlen", |call| measure(call, call.scalar(1))),
    ("bpf_strlen", |call| measure(call, LONGEST)),
    ("bpf_strspn", |call| span(call, true)),
    ("bpf_strcspn", |call| span(call, false)),
    ("bpf_strstr", |call| find_text(call, LONGEST)),
    ("bpf_strnstr", |call| find_text(call, call.scalar(2))),
];

/// `XATTR_SIZE_MAX`
const LONGEST: u64 = 65536;

/// Memory that may not be there, read byte by byte.
struct Text<'a> {
    window: &'a Window,
    start: u64,
    /// The part that was read last: where it begins, and its bytes.
    page: (u64, Vec<u8>),
}

impl<'a> Text<'a> {
    /// The text that an argument leads to, if it begins where memory can be.
    fn new(call: &Call<'a>, arg: usize) -> Result<Text<'a>, Errno> {
        let start = call.scalar(arg);
        let mut text =
            Text { window: call.machine.memory().window(), start, page: (0, Vec::new()) };
        // As `bpf_probe_read_kernel` has it: below 4 GiB there is only guest memory.
        match u32::try_from(start) {
            Ok(_) if text.at(0).is_err() => Err(Errno::ERANGE),
            _ => Ok(text),
        }
    }

    fn at(&mut self, index: u64) -> Result<u8, Errno> {
        let addr = self.start.checked_add(index).ok_or(Errno::EFAULT)?;
        let known = addr.checked_sub(self.page.0).and_then(|at| usize::try_from(at).ok());
        if let Some(byte) = known.and_then(|at| self.page.1.get(at)) {
            return Ok(*byte);
        }
        let at = u32::try_from(addr).map_err(|_| Errno::EFAULT)?;
        // Up to the end of the page, since the next may not be there.
        let mut bytes = vec![0; (PAGE_BYTES - at % PAGE_BYTES) as usize];
        self.window.read(at, &mut bytes).map_err(|_| Errno::EFAULT)?;
        self.page = (addr, bytes);
        self.page.1.first().copied().ok_or(Errno::EFAULT)
    }
}

/// What a function returns: an index or an error.
fn returned(result: Result<i32, Errno>) -> Result<u64, TrapKind> {
    Ok(result.map_or_else(failed, int))
}

/// As the kernel's `tolower`, which reads ISO 8859-1.
fn lower(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' | 0xc0..=0xd6 | 0xd8..=0xde => byte + 32,
        _ => byte,
    }
}

fn compare(call: &Call<'_>, fold: impl Fn(u8) -> u8) -> Result<u64, TrapKind> {
    let run = || {
        let (mut one, mut other) = (Text::new(call, 0)?, Text::new(call, 1)?);
        for index in 0..LONGEST {
            let (a, b) = (fold(one.at(index)?), fold(other.at(index)?));
            if a != b {
                return Ok(if a < b { -1 } else { 1 });
            }
            if a == 0 {
                return Ok(0);
            }
        }
        Err(Errno::E2BIG)
    };
    returned(run())
}

fn find(call: &Call<'_>, count: u64, wanted: u64) -> Result<u64, TrapKind> {
    let run = || {
        let mut text = Text::new(call, 0)?;
        for index in 0..count.min(LONGEST) {
            let byte = text.at(index)?;
            if byte == wanted as u8 {
                return Ok(index as i32);
            }
            if byte == 0 {
                return Err(Errno::ENOENT);
            }
        }
        Err(if count >= LONGEST { Errno::E2BIG } else { Errno::ENOENT })
    };
    returned(run())
}

fn find_or_end(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let run = || {
        let mut text = Text::new(call, 0)?;
        for index in 0..LONGEST {
            let byte = text.at(index)?;
            if byte == 0 || byte == call.scalar(1) as u8 {
                return Ok(index as i32);
            }
        }
        Err(Errno::E2BIG)
    };
    returned(run())
}

fn find_last(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let run = || {
        let (mut text, mut last) = (Text::new(call, 0)?, Err(Errno::ENOENT));
        for index in 0..LONGEST {
            let byte = text.at(index)?;
            // An `int` here: only what a character can be is ever found.
            if i32::from(byte) == call.scalar(1) as i32 {
                last = Ok(index as i32);
            }
            if byte == 0 {
                return last;
            }
        }
        Err(Errno::E2BIG)
    };
    returned(run())
}

fn measure(call: &Call<'_>, count: u64) -> Result<u64, TrapKind> {
    let run = || {
        let mut text = Text::new(call, 0)?;
        for index in 0..count.min(LONGEST) {
            if text.at(index)? == 0 {
                return Ok(index as i32);
            }
        }
        if count >= LONGEST { Err(Errno::E2BIG) } else { Ok(count as i32) }
    };
    returned(run())
}

/// How many characters at the start are all in a set, or none of them.
fn span(call: &Call<'_>, in_set: bool) -> Result<u64, TrapKind> {
    let run = || {
        let (mut text, mut set) = (Text::new(call, 0)?, Text::new(call, 1)?);
        for index in 0..LONGEST {
            let byte = text.at(index)?;
            if byte == 0 {
                return Ok(index as i32);
            }
            if has(&mut set, byte)? != in_set {
                return Ok(index as i32);
            }
        }
        Err(Errno::E2BIG)
    };
    returned(run())
}

/// Whether a character, which is not NUL, is in a string.
fn has(set: &mut Text<'_>, wanted: u8) -> Result<bool, Errno> {
    for index in 0..LONGEST {
        let byte = set.at(index)?;
        if byte == wanted || byte == 0 {
            return Ok(byte == wanted);
        }
    }
    Err(Errno::E2BIG)
}

/// Where a string is in the first characters of another.
fn find_text(call: &Call<'_>, count: u64) -> Result<u64, TrapKind> {
    let run = || {
        let (mut text, mut wanted) = (Text::new(call, 0)?, Text::new(call, 1)?);
        for start in 0..LONGEST {
            let mut index = 0;
            while start + index <= count && index < LONGEST {
                let second = wanted.at(index)?;
                if second == 0 {
                    return Ok(start as i32);
                }
                if start + index == count {
                    break;
                }
                let first = text.at(start + index)?;
                if first == 0 {
                    return Err(Errno::ENOENT);
                }
                if first != second {
                    break;
                }
                index += 1;
            }
            if index == LONGEST {
                return Err(Errno::E2BIG);
            }
            if start + index == count {
                return Err(Errno::ENOENT);
            }
        }
        Err(Errno::E2BIG)
    };
    returned(run())
}
