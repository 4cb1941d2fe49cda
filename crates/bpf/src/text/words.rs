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
/// Linux's load-acquire: the function of the C-like dialect, the start of the mnemonic.
pub(crate) const LOAD_ACQUIRE: &str = "load_acquire";
/// Linux's store-release: the function of the C-like dialect, the start of the mnemonic.
pub(crate) const STORE_RELEASE: &str = "store_release";
/// What the kernel's names of 64-bit function-like atomics start with.
pub(crate) const ATOMIC64: &str = "atomic64_";
/// LLVM's suffix of 32-bit exchanges.
pub(crate) const SUFFIX_32: &str = "32_32";
/// A program-local function follows, in calls.
pub(crate) const LOCAL: &str = "local";
/// A helper function follows, in calls of the mnemonic dialect.
pub(crate) const HELPER: &str = "helper";
/// A kernel function follows, in calls of the mnemonic dialect.
pub(crate) const RUNTIME: &str = "runtime";
/// A kernel function, in calls of the decimal style.
pub(crate) const KFUNC: &str = "kfunc";
/// A kernel function without a known name, in the kernel's style.
pub(crate) const KERNEL_FUNCTION: &str = "kernel-function";
/// A helper function without a known name, in the kernel's style.
pub(crate) const UNKNOWN_HELPER: &str = "unknown";
/// What a distance is counted from, in the kernel's style.
pub(crate) const PC: &str = "pc";

/// The 64-bit immediate load, mnemonic dialect.
pub(crate) const LDDW: &str = "lddw";
/// A load; the size follows.
pub(crate) const LDX: &str = "ldx";
/// A sign-extending load; the size follows.
pub(crate) const LDXS: &str = "ldxs";
/// A store of an immediate; the size follows.
pub(crate) const ST: &str = "st";
/// A store of a register; the size follows.
pub(crate) const STX: &str = "stx";
/// An absolute packet load; the size follows.
pub(crate) const LDABS: &str = "ldabs";
/// An indirect packet load; the size follows.
pub(crate) const LDIND: &str = "ldind";
/// Negation, mnemonic dialect.
pub(crate) const NEG: &str = "neg";
/// Unconditional jump, mnemonic dialect.
pub(crate) const JA: &str = "ja";
/// What follows the name of a 32-bit operation, mnemonic dialect.
pub(crate) const WIDTH_32: &str = "32";
/// What may follow the name of a 64-bit operation, mnemonic dialect.
pub(crate) const WIDTH_64: &str = "64";
/// The conformance suite's name of the unconditional byte swap.
pub(crate) const SWAP: &str = "swap";
/// The conformance suite's mark of an atomic operation that returns the old value.
pub(crate) const FETCH: &str = "fetch";
