//! Tables of what a running Linux answered, read by tests where they are kept beside the
//! repository.

extern crate std;

use std::path::Path;
use std::string::String;
use std::{fs, println};

use super::prog_type::{AttachType, ProgType};

/// Reads a table of facts kept beside the repository; prints that it was skipped if absent.
pub(super) fn facts(name: &str) -> Option<String> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/kernel-facts").join(name);
    let text = fs::read_to_string(path).ok();
    if text.is_none() {
        println!("skipped: the table of kernel facts {name} is not there");
    }
    text
}

/// `TYPE` or `TYPE/ATTACH`, as the facts name them.
pub(super) fn types_of(text: &str) -> (ProgType, AttachType) {
    let (prog_type, attach_type) = text.split_once('/').unwrap_or((text, ""));
    let prog_type = ProgType::named(&alloc::format!("BPF_PROG_TYPE_{prog_type}"))
        .unwrap_or_else(|| panic!("unknown program type {prog_type}"));
    if attach_type.is_empty() {
        return (prog_type, AttachType::UNSPECIFIED);
    }
    let attach_type = AttachType::named(&alloc::format!("BPF_{attach_type}"))
        .unwrap_or_else(|| panic!("unknown attach type {attach_type}"));
    (prog_type, attach_type)
}
