//! The map of symbols that `perf report` reads for addresses in code without a file.
//!
//! The format is Linux's (tools/perf/Documentation/jit-interface.txt): a line for each symbol, with
//! its start and size in hexadecimal and its name.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::{Log, MadeCode};

/// Writes names of machine code to a file that `perf` finds by the process's number.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use skep::host::Host;
/// use skep::profile::PerfMap;
///
/// let map = Arc::new(PerfMap::create(&PerfMap::path())?);
/// let writer = Arc::clone(&map);
/// let host =
///     Host { code_made: Some(Box::new(move |code| writer.add(code))), ..Host::default() };
/// // ... run programs on a machine with this host, and then:
/// map.finish()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct PerfMap(Log);

impl PerfMap {
    /// Where `perf` looks for the map of this process.
    #[must_use]
    pub fn path() -> PathBuf {
        PathBuf::from(format!("/tmp/perf-{}.map", std::process::id()))
    }

    /// Makes the file, in place of one that is there.
    ///
    /// # Errors
    ///
    /// If that is not possible.
    pub fn create(path: &Path) -> io::Result<PerfMap> {
        Ok(PerfMap(Log::new(File::create(path)?)))
    }

    /// Writes down the symbols of code. What goes wrong is kept for [`PerfMap::finish`].
    pub fn add(&self, code: &MadeCode<'_>) {
        let mut lines = String::new();
        for symbol in code.symbols() {
            let start = code.start() + u64::from(symbol.offset);
            // A string takes whatever is written to it.
            let _ = writeln!(lines, "{start:x} {:x} {}", symbol.len, symbol.name);
        }
        self.0.write(lines.as_bytes());
    }

    /// Says whether all was written.
    ///
    /// # Errors
    ///
    /// The first thing that went wrong.
    pub fn finish(&self) -> io::Result<()> {
        self.0.finish()
    }
}
