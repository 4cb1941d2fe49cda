//! Machine code as profilers want to know it: where functions lie, what they are called and which
//! source lines they were made from.
//!
//! A machine tells [`Host::code_made`](crate::host::Host::code_made) about code as it makes it.
//! [`PerfMap`] and [`JitDump`] write that down for Linux's `perf`.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod jit_dump;
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod no_jit_dump;
mod perf_map;

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use skep_bpf::debug_info::SourceLine;
use skep_bpf::program::Pc;
use skep_jit::Tier;
use skep_jit::code::{Code, Place};

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub use self::jit_dump::JitDump;
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub use self::no_jit_dump::JitDump;
pub use self::perf_map::PerfMap;

use crate::linked::Linked;

/// Machine code that was just made, and is not executed yet.
#[derive(Clone, Copy, Debug)]
pub struct MadeCode<'a> {
    linked: &'a Linked,
    tier: Tier,
    start: u64,
    code: &'a Code,
}

/// A part of machine code that has a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// `bpf_prog_`, as the kernel's are called, then the function's name and the compiler's as
    /// `skep run --engine` takes it: `bpf_prog_hello.jit1`.
    pub name: String,
    /// The offset of the first byte in the code.
    pub offset: u32,
    /// The number of bytes.
    pub len: u32,
}

impl<'a> MadeCode<'a> {
    pub(crate) fn new(linked: &'a Linked, tier: Tier, start: u64, code: &'a Code) -> MadeCode<'a> {
        MadeCode { linked, tier, start, code }
    }

    /// The program's name.
    #[must_use]
    pub fn program(&self) -> &'a str {
        self.linked.name()
    }

    /// The compiler that made the code.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// The host address of the first byte.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The instructions.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        &self.code.bytes
    }

    /// The functions of the program, and the way in from the host, by offset. What functions share
    /// counts as part of what it follows.
    #[must_use]
    pub fn symbols(&self) -> Vec<Symbol> {
        let functions = self.linked.program().functions().iter().zip(&self.code.entries);
        let mut starts: Vec<(u32, String)> = functions
            .enumerate()
            .map(|(index, (function, entry))| {
                let name = match (index, &function.name) {
                    (0, _) => self.program().to_owned(),
                    (_, Some(name)) => name.clone(),
                    (_, None) => format!("{}_f{index}", self.program()),
                };
                (*entry, name)
            })
            .collect();
        starts.push((self.code.enter, format!("{}_enter", self.program())));
        starts.sort_unstable();
        let end = self.code.bytes.len() as u32;
        let ends = starts.iter().skip(1).map(|(offset, _)| *offset).chain([end]);
        let suffix = match self.tier {
            Tier::Optimising => "jit",
            _ => "jit1",
        };
        let symbol = |((offset, name), end): (&(u32, String), u32)| Symbol {
            name: format!("bpf_prog_{name}.{suffix}"),
            offset: *offset,
            len: end.saturating_sub(*offset),
        };
        starts.iter().zip(ends).map(symbol).filter(|symbol| symbol.len > 0).collect()
    }

    /// From which offsets on the code was made from which source line, as far as the object has
    /// lines.
    #[must_use]
    pub fn lines(&self, symbol: &Symbol) -> Vec<(u32, &'a SourceLine)> {
        let program = self.linked.program();
        let within = symbol.offset..symbol.offset + symbol.len;
        let places = self.code.places.iter().filter(|place| within.contains(&place.offset));
        let mut lines: Vec<(u32, &SourceLine)> = Vec::new();
        for place in places.filter(|place| place.insn != Place::NONE) {
            let slot = program.slot(Pc::from_index(place.insn as usize));
            let Some(line) = program.debug().line_at(slot) else { continue };
            let is_same = |(_, last): &(u32, &SourceLine)| {
                (&last.file, last.line, last.column) == (&line.file, line.line, line.column)
            };
            if !lines.last().is_some_and(is_same) {
                lines.push((place.offset, line));
            }
        }
        lines
    }
}

/// A file that code is written down in while nobody can be told of errors.
#[derive(Debug)]
struct Log(Mutex<Result<File, io::Error>>);

impl Log {
    fn new(file: File) -> Log {
        Log(Mutex::new(Ok(file)))
    }

    /// Appends a whole record, unless something went wrong before.
    fn write(&self, record: &[u8]) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(open) = &mut *file
            && let Err(error) = open.write_all(record)
        {
            *file = Err(error);
        }
    }

    /// The first error, once.
    fn finish(&self) -> io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *file {
            Ok(open) => open.flush(),
            Err(error) => Err(std::mem::replace(error, io::ErrorKind::BrokenPipe.into())),
        }
    }
}
