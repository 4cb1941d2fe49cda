//! The types of the kernel that programs are verified for: those of a file, or of the kernel that
//! runs here.

use std::path::Path;
use std::sync::Arc;

use skep_verifier::KernelTypes;

use crate::failure::Failure;
use crate::input::read_file;

/// Where Linux shows its own types.
const RUNNING: &str = "/sys/kernel/btf/vmlinux";

/// The types in a file; else those of the running kernel, read when a program needs them.
///
/// # Errors
///
/// If a file is given and cannot be read, or is no BTF.
pub fn kernel_types(file: Option<&Path>) -> Result<Arc<KernelTypes>, Failure> {
    let Some(file) = file else {
        let read = || {
            std::fs::read(RUNNING)
                .map_err(|error| format!("{RUNNING}: {error}; give a file with --btf"))
        };
        return Ok(Arc::new(KernelTypes::new(read)));
    };
    let bytes = read_file(file)?;
    let types = KernelTypes::new(move || Ok(bytes.clone()));
    match types.types() {
        Ok(_) => Ok(Arc::new(types)),
        Err(why) => Err(Failure::Load(format!("{}: {why}", file.display()))),
    }
}
