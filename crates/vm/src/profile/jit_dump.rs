//! The dump from which `perf inject --jit` makes an object for each function, so that reports show
//! names, source lines and instructions.
//!
//! The format is Linux's (tools/perf/Documentation/jitdump-specification.txt), whose section
//! numbers are cited below. `perf record` learns of the dump by the mapping of its first page as
//! code.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};
use skep_bpf::debug_info::SourceLine;
use skep_jit::marker::Marker;

use super::{Log, MadeCode, Symbol};

/// "JiTD" (section III).
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
const HEADER_BYTES: u32 = 40;
/// Identifier, size and time (section IV).
const RECORD_BYTES: usize = 16;

/// Sections V, VII and VIII.
const CODE_LOAD: u32 = 0;
const DEBUG_INFO: u32 = 2;
const CODE_CLOSE: u32 = 3;

/// The ELF specification's number of the host's architecture.
const MACHINE: u32 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

/// Writes machine code with names and source lines to a file for `perf inject --jit`.
///
/// Used as [`PerfMap`](super::PerfMap) is. The samples must have the same clock:
/// `perf record -k mono`.
#[derive(Debug)]
pub struct JitDump {
    log: Log,
    path: PathBuf,
    /// How many functions were written.
    functions: AtomicU64,
    _marker: Marker,
}

impl JitDump {
    /// Makes the file `jit-PID.dump` in a directory, in place of one that is there.
    ///
    /// # Errors
    ///
    /// If that is not possible, or the file cannot be mapped as code: its file system may be
    /// mounted without.
    pub fn create(directory: &Path) -> io::Result<JitDump> {
        let path = directory.join(format!("jit-{}.dump", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path)?;
        let mut header = Vec::new();
        let words = [MAGIC, VERSION, HEADER_BYTES, MACHINE, 0, std::process::id()];
        header.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        header.extend(now_ns().to_ne_bytes());
        // No flags.
        header.extend(0u64.to_ne_bytes());
        let marker = Marker::new(&file)?;
        let log = Log::new(file);
        log.write(&header);
        Ok(JitDump { log, path, functions: AtomicU64::new(0), _marker: marker })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes code down. What goes wrong is kept for [`JitDump::finish`].
    pub fn add(&self, code: &MadeCode<'_>) {
        let mut records = Vec::new();
        for symbol in code.symbols() {
            let lines = code.lines(&symbol);
            if !lines.is_empty() {
                // It comes before the function that it is about.
                record(&mut records, DEBUG_INFO, &debug_info(code, &symbol, &lines));
            }
            let index = self.functions.fetch_add(1, Ordering::Relaxed);
            record(&mut records, CODE_LOAD, &code_load(code, &symbol, index));
        }
        self.log.write(&records);
    }

    /// Writes the end, and says whether all was written.
    ///
    /// # Errors
    ///
    /// The first thing that went wrong.
    pub fn finish(&self) -> io::Result<()> {
        let mut close = Vec::new();
        record(&mut close, CODE_CLOSE, &[]);
        self.log.write(&close);
        self.log.finish()
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// Appends a record (section IV).
fn record(records: &mut Vec<u8>, id: u32, body: &[u8]) {
    let bytes = (RECORD_BYTES + body.len()) as u32;
    records.extend(id.to_ne_bytes());
    records.extend(bytes.to_ne_bytes());
    records.extend(now_ns().to_ne_bytes());
    records.extend(body);
}

/// Section V.
fn code_load(code: &MadeCode<'_>, symbol: &Symbol, index: u64) -> Vec<u8> {
    let start = code.start() + u64::from(symbol.offset);
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    let mut body = Vec::new();
    body.extend(std::process::id().to_ne_bytes());
    body.extend(thread.to_ne_bytes());
    for word in [start, start, symbol.len.into(), index] {
        body.extend(word.to_ne_bytes());
    }
    text(&mut body, &symbol.name);
    let (from, len) = (symbol.offset as usize, symbol.len as usize);
    body.extend(&code.bytes()[from..from + len]);
    body
}

/// Section VII.
fn debug_info(code: &MadeCode<'_>, symbol: &Symbol, lines: &[(u32, &SourceLine)]) -> Vec<u8> {
    let address = |offset: u32| code.start() + u64::from(offset);
    let mut body = Vec::new();
    body.extend(address(symbol.offset).to_ne_bytes());
    body.extend((lines.len() as u64).to_ne_bytes());
    for (offset, line) in lines {
        body.extend(address(*offset).to_ne_bytes());
        body.extend(line.line.to_ne_bytes());
        body.extend(line.column.to_ne_bytes());
        text(&mut body, &line.file);
    }
    body
}

/// Appends text with a zero after it, of which it has none itself.
fn text(body: &mut Vec<u8>, text: &str) {
    body.extend(text.bytes().filter(|byte| *byte != 0));
    body.push(0);
}
