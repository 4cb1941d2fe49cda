//! The platform Linux, as tables.
//!
//! Program types, attach types, sections, helper functions, map types, contexts and return
//! values: numbers that the kernel hands out and whose meaning is not in RFC 9669. Loader,
//! verifier, machine, disassembler and documentation all read these rows; a fact stands in one
//! of them. Numbers are open sets: a value nobody has named yet can be carried and printed.
//! The state described is Linux 6.18.
//!
//! What a helper or a map *does* when called is left to the machine.

#[macro_use]
mod number;

#[cfg(test)]
mod facts;

pub mod attach_target;
pub mod context;
pub mod dynptr;
pub mod format;
pub mod helper;
pub mod kfunc;
pub mod licence;
pub mod map_type;
pub mod object;
pub mod prog_type;
pub mod retval;
pub mod section;
pub mod typed_kfunc;

pub use context::{
    Access, ContextAccess, ContextRow, FieldAccess, FieldKind, FieldRow, context_for, context_of,
};
pub use helper::{
    ArgKind, HelperId, HelperRow, HelperSet, OPTIONAL_HELPERS, ReturnKind, helper_allowed,
    helpers_of,
};
pub use licence::{GPL_COMPATIBLE, is_gpl_compatible};
pub use map_type::{MapFlags, MapType};
pub use number::{KernelVersion, NumberRow};
pub use prog_type::{AttachType, ProgType};
pub use retval::{return_name, tc_action, xdp_action};
pub use section::{Section, SectionKind, SectionRule, section_rule, types_named};
