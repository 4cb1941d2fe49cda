//! Why a command did not do what it was asked, and the exit code that says so.

use std::io;
use std::path::{Path, PathBuf};

use skep_net::{CaptureError, WriteError};
use skep_object::ParseError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The answer is no; it was printed.
    #[error("the answer is no")]
    No,
    /// The arguments make no sense together, or name what is not there.
    #[error("{0}")]
    Usage(String),
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is no object.
    #[error("{}: {error}", path.display())]
    Object {
        /// The file.
        path: PathBuf,
        /// Why.
        error: ParseError,
    },
    /// A capture could not be read.
    #[error("{}: {error}", path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// Why.
        error: CaptureError,
    },
    /// A capture could not be written.
    #[error("{}: {error}", path.display())]
    CaptureWrite {
        /// The file.
        path: PathBuf,
        /// Why.
        error: WriteError,
    },
    /// An input could not be loaded, for a reason that says where.
    #[error("{0}")]
    Load(String),
    /// Standard output takes no more.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Failure::No => 1,
            Failure::Usage(_) => 2,
            Failure::File { .. }
            | Failure::Object { .. }
            | Failure::Capture { .. }
            | Failure::CaptureWrite { .. }
            | Failure::Load(_)
            | Failure::Output(_) => 3,
        }
    }

    /// A file that could not be read or written.
    #[must_use]
    pub fn file(path: &Path, error: io::Error) -> Failure {
        Failure::File { path: path.to_owned(), error }
    }
}
