//! Files for profilers about the machine code that a command makes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use skep::host::CodeMade;
use skep::profile::{JitDump, PerfMap};

use crate::failure::Failure;
use crate::render::Render;

/// The files that were asked for.
#[derive(Debug)]
pub struct Profilers {
    map: Option<(PathBuf, PerfMap)>,
    dump: Option<JitDump>,
}

impl Profilers {
    /// Makes a map of symbols where `perf` looks for it, and a dump in a directory, if they are
    /// wanted; none if neither is.
    ///
    /// # Errors
    ///
    /// If a file cannot be made.
    pub fn open(map: bool, dump: Option<&Path>) -> Result<Option<Arc<Profilers>>, Failure> {
        if !map && dump.is_none() {
            return Ok(None);
        }
        let map = match map.then(PerfMap::path) {
            Some(path) => {
                let made = PerfMap::create(&path).map_err(|error| Failure::file(&path, error))?;
                Some((path, made))
            }
            None => None,
        };
        let dump = match dump {
            Some(path) => Some(JitDump::create(path).map_err(|error| Failure::file(path, error))?),
            None => None,
        };
        Ok(Some(Arc::new(Profilers { map, dump })))
    }

    /// What a machine's host is to tell of code.
    #[must_use]
    pub fn listener(self: &Arc<Profilers>) -> Box<CodeMade> {
        let profilers = Arc::clone(self);
        Box::new(move |code| {
            if let Some((_, map)) = &profilers.map {
                map.add(code);
            }
            if let Some(dump) = &profilers.dump {
                dump.add(code);
            }
        })
    }

    /// Says where the files are.
    ///
    /// # Errors
    ///
    /// If one could not be written.
    pub fn finish(&self, render: &mut Render<'_>) -> Result<(), Failure> {
        if let Some((path, map)) = &self.map {
            map.finish().map_err(|error| Failure::file(path, error))?;
            render.note(format_args!("symbols for perf report are in {}", path.display()));
        }
        if let Some(dump) = &self.dump {
            let path = dump.path();
            dump.finish().map_err(|error| Failure::file(path, error))?;
            render.note(format_args!("the dump for perf inject --jit is {}", path.display()));
        }
        Ok(())
    }
}
