//! Runs the `skep` command in process, and finds the example programs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use skep_cli::Streams;

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code.
    pub(crate) code: u8,
    /// Standard output.
    pub(crate) out: Vec<u8>,
    /// Standard error.
    pub(crate) err: String,
}

impl Ran {
    /// Standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Standard output as a JSON document.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|error| {
            panic!("no JSON: {error}\n{}\n{}", self.text(), self.err);
        })
    }

    /// Exit code, standard output and standard error, for snapshots.
    pub(crate) fn transcript(&self) -> String {
        let mut text = self.text();
        if !self.err.is_empty() {
            text += &format!("--- stderr\n{}", self.err);
        }
        if self.code != 0 {
            text += &format!("--- exit code {}\n", self.code);
        }
        text
    }
}

/// Runs `skep` with these arguments.
pub(crate) fn skep<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Ran {
    skep_with_input(arguments, b"")
}

/// Runs `skep` with these arguments and standard input.
pub(crate) fn skep_with_input<S: AsRef<std::ffi::OsStr>>(arguments: &[S], input: &[u8]) -> Ran {
    let program = std::iter::once(OsString::from("skep"));
    let arguments = program.chain(arguments.iter().map(|argument| argument.as_ref().to_owned()));
    let (mut input, mut out, mut err) = (input, Vec::new(), Vec::new());
    let streams =
        Streams { input: &mut input, out: &mut out, err: &mut err, colour: false, terminal: false };
    let code = skep_cli::run(arguments, streams);
    Ran { code, out, err: String::from_utf8_lossy(&err).into_owned() }
}

/// The folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the package lies in the workspace").to_owned()
}

/// The path of a file in `programs/`.
pub(crate) fn program(name: &str) -> String {
    workspace().join("programs").join(name).display().to_string()
}

/// The objects in `programs/`.
pub(crate) fn programs() -> Vec<PathBuf> {
    objects_in(&workspace().join("programs"))
}

/// The objects in a folder, sorted; none if it does not exist.
pub(crate) fn objects_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "o"))
        .collect();
    paths.sort();
    paths
}
