//! The types of the kernel that programs are verified for.
//!
//! They are read when the first program asks: most need none. Objects of the kernel are known by
//! the number of their type in its BTF.

pub(crate) mod layout;
pub(crate) mod trust;

use crate::explore::Walk;
use crate::rejection::{Check, unsupported};
use core::fmt;
use skep_btf::{Btf, TypeId};
use std::sync::OnceLock;

/// How the BTF of a kernel is come by: its bytes, or why there are none.
type Source = dyn Fn() -> Result<Vec<u8>, String> + Send + Sync;

/// The types of a kernel, read at most once, when a program first needs them.
pub struct KernelTypes {
    source: Box<Source>,
    types: OnceLock<Result<Btf, String>>,
}

impl KernelTypes {
    /// The types in BTF that `source` gives, such as the contents of `/sys/kernel/btf/vmlinux`.
    pub fn new(source: impl Fn() -> Result<Vec<u8>, String> + Send + Sync + 'static) -> Self {
        KernelTypes { source: Box::new(source), types: OnceLock::new() }
    }

    /// The types.
    ///
    /// # Errors
    ///
    /// In words, why there are none: what `source` said, or what is wrong with the BTF.
    pub fn types(&self) -> Result<&Btf, &str> {
        let read = || {
            let bytes = (self.source)()?;
            Btf::parse(&bytes).map_err(|error| format!("the kernel's BTF is malformed: {error}"))
        };
        self.types.get_or_init(read).as_ref().map_err(String::as_str)
    }
}

impl fmt::Debug for KernelTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.types.get().and_then(|types| types.as_ref().ok());
        f.debug_struct("KernelTypes").field("types", &types.map(Btf::len)).finish_non_exhaustive()
    }
}

impl<'a> Walk<'a> {
    /// The types of the kernel.
    pub(crate) fn kernel_types(&self) -> Check<&'a Btf> {
        match self.input.kernel.map(KernelTypes::types) {
            Some(Ok(types)) => Ok(types),
            Some(Err(why)) => {
                unsupported(format_args!("programs that need the kernel's types ({why})"))
            }
            None => unsupported("programs that need the kernel's types (BTF), without them"),
        }
    }

    /// The structure of the kernel with that name.
    pub(crate) fn kernel_struct(&self, name: &str) -> Check<TypeId> {
        match self.kernel_types()?.find_struct(name) {
            Some((id, _)) => Ok(id),
            None => unsupported(format_args!("a kernel whose BTF has no struct {name}")),
        }
    }
}
