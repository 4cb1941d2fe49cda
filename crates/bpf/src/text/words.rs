//! The words of the text dialects that do not belong to a row of [`crate::op`].
//!
//! Printers write them and parsers read them, so each stands here once.

/// Unconditional jump with a 16-bit distance, C-like dialect.
pub(crate) const GOTO: &str = "goto";
/// Unconditional jump with a 32-bit distance, C-like dialect.
pub(crate) const GOTOL: &str = "gotol";
/// Linux's conditional jump on the loop budget, both dialects.
pub(crate) const MAY_GOTO: &str = "may_goto";
/// Conditional jump, C-like dialect.
pub(crate) const IF: &str = "if";
/// Call, both dialects.
pub(crate) const CALL: &str = "call";
/// Call of the function in a register, both dialects.
pub(crate) const CALLX: &str = "callx";
/// Return, both dialects.
pub(crate) const EXIT: &str = "exit";
/// The mark of an atomic operation, both dialects.
pub(crate) const LOCK: &str = "lock";
/// The packet, in deprecated packet loads of the C-like dialect.
pub(crate) const SKB: &str = "skb";
/// The mark of a 64-bit immediate, C-like dialect.
pub(crate) const LL: &str = "ll";
/// Address space cast, both dialects.
pub(crate) const ADDR_SPACE_CAST: &str = "addr_space_cast";
/// What the kernel's and LLVM's function-like atomics start with.
pub(crate) const ATOMIC: &str = "atomic_";
/// LLVM's suffix of 64-bit exchanges.
pub(crate) const SUFFIX_64: &str = "_64";
/// LLVM's name of a 64-bit immediate load that is not a plain number.
pub(crate) const LD_PSEUDO: &str = "ld_pseudo";
/// What LLVM prints for bytes that it does not decode.
pub(crate) const UNKNOWN: &str = "<unknown>";
