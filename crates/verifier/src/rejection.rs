//! Why a program is refused.
//!
//! The sentence is the kernel's own, which users know and tests compare; the rule groups
//! sentences, and its code is what `explain` describes.

use core::fmt;
use skep_bpf::codec::SlotIndex;

/// Declares the rules with their codes.
macro_rules! rules {
    ($( $(#[$doc:meta])* $rule:ident = $code:literal; )+) => {
        /// A rule that a program can break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule { $( $(#[$doc])* $rule, )+ }

        impl Rule {
            /// Every rule, in the order of the codes.
            pub const ALL: &'static [Rule] = &[$( Rule::$rule, )+];

            /// The number of the code `E....`.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $( Rule::$rule => $code, )+ }
            }
        }
    };
}

rules! {
    /// The code's form: opcodes, reserved fields, control flow.
    Structure = 1;
    /// Instructions that cannot be reached.
    Unreachable = 2;
    /// A register that was not written is read.
    Uninitialised = 3;
    /// `r10` is written.
    FramePointer = 4;
    /// A number, or a pointer of a kind that cannot be dereferenced, is.
    NotAPointer = 5;
    /// A pointer that may be NULL is used.
    MaybeNull = 6;
    /// Arithmetic on a pointer that its kind does not allow.
    PointerArithmetic = 7;
    /// An offset of which too little is known.
    Unbounded = 8;
    /// Outside the packet, as far as was proved.
    PacketBounds = 9;
    /// Outside a map's value or other memory of known size.
    MemoryBounds = 10;
    /// Outside the stack, or a misuse of a slot.
    Stack = 11;
    /// The context is accessed where or how it must not be.
    Context = 12;
    /// Not aligned.
    Alignment = 13;
    /// Read-only memory is written, or write-only memory read.
    Permission = 14;
    /// A helper that programs of this type, licence or kind do not have.
    HelperNotAllowed = 15;
    /// An argument that the helper does not take.
    HelperArgument = 16;
    /// A map that the helper does not take, or the program may not use.
    Map = 17;
    /// A reference is not given back, or given back twice.
    Reference = 18;
    /// Misuse of a lock.
    Lock = 19;
    /// The return value.
    ReturnValue = 20;
    /// Division by a zero constant, shift by too much.
    Arithmetic = 21;
    /// A loop that does not end.
    InfiniteLoop = 22;
    /// Too many instructions or branches to walk.
    Budget = 23;
    /// Calls nested too deeply, or too much stack in them.
    CallDepth = 24;
    /// Atomic operations where there may be none.
    Atomic = 25;
    /// Packet loads (`LD_ABS`, `LD_IND`) where there may be none.
    PacketLoad = 26;
    /// One instruction used with pointers that are compiled differently.
    MixedPointers = 27;
    /// A comparison of pointers that is not allowed.
    PointerComparison = 28;
    /// The verifier does not support it, although the kernel may.
    Unsupported = 29;
    /// Misuse of a dynamic pointer.
    Dynptr = 30;
    /// Misuse of an object that the program allocated, or of a list or tree of such.
    Object = 31;
    /// An exception where none may be thrown.
    Exception = 32;
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E{:04}", self.number())
    }
}

/// An undecided branch that was taken or not on the path to the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The branch.
    pub at: SlotIndex,
    /// Whether the path jumps.
    pub taken: bool,
}

/// Why a program is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// The rule that is broken.
    pub rule: Rule,
    /// The kernel's sentence.
    pub message: String,
    /// What the kernel says before it.
    pub details: Vec<String>,
    /// The instruction, if it is one.
    pub at: Option<SlotIndex>,
    /// The undecided branches on the way there, in order.
    pub path: Vec<Decision>,
    /// The register that it is about.
    pub focus: Option<crate::history::Focus>,
    /// Places on the way there that have to do with it, by instruction.
    pub related: Vec<crate::history::Related>,
    /// The numbers of the walk up to there.
    pub stats: crate::verified::Stats,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Rejection {}

/// A broken rule before its place is known. Boxed: checks return it by the thousand.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) rule: Rule,
    pub(crate) message: String,
    /// What the kernel says before the sentence.
    pub(crate) details: Vec<String>,
}

/// The outcome of a check.
pub(crate) type Check<T = ()> = Result<T, Box<Fault>>;

/// A broken rule, for `?` and `return`.
pub(crate) fn fault<T>(rule: Rule, message: impl Into<String>) -> Check<T> {
    Err(Box::new(Fault { rule, message: message.into(), details: Vec::new() }))
}

/// The same, with what the kernel says before it.
pub(crate) fn detailed<T>(
    rule: Rule,
    details: impl IntoIterator<Item = String>,
    message: impl Into<String>,
) -> Check<T> {
    let details = details.into_iter().collect();
    Err(Box::new(Fault { rule, message: message.into(), details }))
}

/// What the verifier does not model, refused although the kernel may accept it.
pub(crate) fn unsupported<T>(what: impl fmt::Display) -> Check<T> {
    fault(Rule::Unsupported, format!("not supported by this verifier: {what}"))
}
