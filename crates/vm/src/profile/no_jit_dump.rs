//! Stands for the dump of machine code where there is no machine code.

use std::io;
use std::path::Path;

use super::MadeCode;

/// A dump that there cannot be here.
#[derive(Debug)]
pub struct JitDump(std::convert::Infallible);

impl JitDump {
    /// Always fails.
    ///
    /// # Errors
    ///
    /// That there is no machine code here.
    pub fn create(_: &Path) -> io::Result<JitDump> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self.0 {}
    }

    /// Writes code down.
    pub fn add(&self, _: &MadeCode<'_>) {
        match self.0 {}
    }

    /// Writes the end.
    ///
    /// # Errors
    ///
    /// None, since there is no dump.
    pub fn finish(&self) -> io::Result<()> {
        match self.0 {}
    }
}
