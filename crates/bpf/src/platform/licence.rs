//! Licences: which ones Linux takes for compatible with the GPL.

/// The licences that programs may have to call helpers reserved for the GPL (Linux,
/// `license_is_gpl_compatible` of include/linux/license.h).
pub const GPL_COMPATIBLE: &[&str] =
    &["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

/// Whether a program with this licence may call helpers that are reserved for the GPL. Spelling
/// and case count.
///
/// ```
/// use skep_bpf::platform::is_gpl_compatible;
/// assert!(is_gpl_compatible("Dual BSD/GPL"));
/// assert!(!is_gpl_compatible("gpl"));
/// ```
#[must_use]
pub fn is_gpl_compatible(licence: &str) -> bool {
    GPL_COMPATIBLE.contains(&licence)
}
