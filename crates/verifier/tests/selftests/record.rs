//! What the live kernel said of every program of a folder of objects: one record a line.

use flate2::read::GzDecoder;
use serde::Deserialize;
use skep_bpf::platform::{AttachType, ProgType};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// One program. Fields that are not named here do not decide anything.
#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    pub(crate) object: String,
    /// Absent for an object without programs.
    program: Option<String>,
    prog_type: Option<String>,
    attach_type: Option<u32>,
    load_flags: Option<u32>,
    #[serde(default)]
    pub(crate) n_insns: usize,
    pub(crate) live_verdict: String,
    /// The kernel's last sentence.
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) insns_processed: u64,
    /// What a run on 64 zero bytes returned, if there was one.
    pub(crate) live_retval: Option<u32>,
    #[serde(default)]
    pub(crate) runs: Vec<Run>,
    /// Whether two runs of one program differed.
    #[serde(default)]
    pub(crate) varies: bool,
    /// What the program was loaded without, because the kernel does not have it.
    #[serde(default)]
    unresolved: Vec<serde_json::Value>,
}

/// A run of an accepted program on one of the packets.
#[derive(Debug, Deserialize)]
pub(crate) struct Run {
    #[serde(rename = "pkt")]
    pub(crate) packet: String,
    pub(crate) retval: Option<u32>,
}

impl Record {
    /// Whether the kernel's verdict says something about the verifier. A rejection without a
    /// sentence was for something else, as for lack of room for the log.
    pub(crate) fn is_decided(&self) -> bool {
        let has_sentence = self.message.as_ref().is_some_and(|message| !message.is_empty());
        let decided = self.is_accepted() || (self.live_verdict == "reject" && has_sentence);
        decided && self.unresolved.is_empty()
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.live_verdict == "accept"
    }

    pub(crate) fn prog_type(&self) -> ProgType {
        let named = |name: &String| ProgType::named(&format!("BPF_PROG_TYPE_{name}"));
        self.prog_type.as_ref().and_then(named).unwrap_or(ProgType::UNSPEC)
    }

    pub(crate) fn attach_type(&self) -> AttachType {
        AttachType(self.attach_type.unwrap_or(0))
    }

    /// Whether the program was loaded with a flag.
    pub(crate) fn has_flag(&self, flag: u32) -> bool {
        self.load_flags.unwrap_or(0) & flag != 0
    }

    pub(crate) fn program(&self) -> &str {
        self.program.as_deref().unwrap_or_default()
    }

    /// Object and program, for people.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.object.trim_end_matches(".bpf.o"), self.program())
    }
}

/// The records of a file, or `None` if it is not there.
pub(crate) fn records(name: &str) -> Option<Vec<Record>> {
    let file = File::open(oracle().join("data").join(name)).ok()?;
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    let read =
        |line: Result<String, _>| serde_json::from_str(&line.expect("text")).expect("a record");
    Some(lines.map(read).collect())
}

/// The folder of the compiled selftests: `SKEP_SELFTESTS`, or where the oracle's `make.sh` builds
/// them if its work folder is beside the data.
pub(crate) fn selftest_objects() -> Option<PathBuf> {
    let named = std::env::var_os("SKEP_SELFTESTS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| oracle().join("build/sel-v3"));
    folder.is_dir().then_some(folder)
}

/// The folder of the kernel's answers.
pub(crate) fn oracle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/kernel-oracle")
}
