//! What is compiled: a program whose references are numbers, and what is known about it.

use std::fmt;

use skep_bpf::insn::{Callee, Insn};
use skep_bpf::platform::HelperId;
use skep_bpf::program::{Pc, Program};
use skep_verifier::Verified;

use crate::CompileError;

/// A program to compile.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The program: its functions and slots.
    pub program: &'a Program,
    /// Its instructions, in which every 64-bit immediate is a number.
    pub insns: &'a [Insn<Pc>],
    /// The proof that it is safe, if there is one. Nothing that a proof says keeps generated code
    /// in the window: that it does by itself.
    pub proof: Option<&'a Verified>,
    /// Whether fuel is counted. Without, loops must be bounded otherwise, and the number of
    /// instructions executed is not known.
    pub metered: bool,
    /// How a helper is called.
    pub helper: &'a (dyn Fn(HelperId) -> Binding + 'a),
    /// What `bpf_map_lookup_elem` does with the map that a value of `r1` means, if that can be
    /// done without calling the helper.
    pub lookup: &'a (dyn Fn(u64) -> Option<Lookup> + 'a),
    /// The entry of the function that a value refers to.
    pub function: &'a (dyn Fn(u64) -> Option<Pc> + 'a),
    /// What [`crate::abi::RunState::site`] is for tail calls and calls through registers.
    pub site: u64,
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("insns", &self.insns.len())
            .field("proof", &self.proof.is_some())
            .field("metered", &self.metered)
            .finish_non_exhaustive()
    }
}

/// How a helper is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Binding {
    /// Through [`crate::abi::Runtime::helper`].
    Generic {
        /// The value of [`crate::abi::RunState::site`] during the call.
        site: u64,
        /// How many of `r1` to `r5` it reads.
        args: u8,
    },
    /// Through [`crate::abi::Runtime::call_back`]: it calls functions of the program, and is one of
    /// [`CALLING_BACK`].
    CallsBack {
        /// The value of [`crate::abi::RunState::site`] during the call.
        site: u64,
        /// How many of `r1` to `r5` it reads.
        args: u8,
    },
    /// Directly, a function of type [`crate::abi::HelperFn`] that neither traps nor unwinds.
    Plain {
        /// Its host address.
        address: u64,
        /// How many of `r1` to `r5` it reads.
        args: u8,
    },
}

impl Binding {
    /// How many of `r1` to `r5` the helper reads.
    #[must_use]
    pub const fn args(self) -> u8 {
        match self {
            Binding::Generic { args, .. }
            | Binding::CallsBack { args, .. }
            | Binding::Plain { args, .. } => args,
        }
    }
}

/// The helpers that may call functions of the program: their calls are paid for first.
pub const CALLING_BACK: [HelperId; 2] = [HelperId::LOOP, HelperId::FOR_EACH_MAP_ELEM];

/// The most turns of `bpf_loop` (Linux, `BPF_MAX_LOOPS`).
pub const MAX_LOOPS: u32 = 8 * 1024 * 1024;

impl Source<'_> {
    /// Whether a helper is bound to calling functions of the program.
    #[must_use]
    pub fn calls_back(&self, id: HelperId) -> bool {
        CALLING_BACK.contains(&id) && matches!((self.helper)(id), Binding::CallsBack { .. })
    }

    /// Whether any helper that the program calls may call its functions.
    #[must_use]
    pub fn has_callbacks(&self) -> bool {
        self.insns.iter().any(|insn| match insn {
            Insn::Call { callee: Callee::Helper(id) } => self.calls_back(*id),
            _ => false,
        })
    }

    /// Checks how many words of a native frame hold values. Where tail calls are made from
    /// functions, frames of many programs are nested.
    pub(crate) fn check_frame(&self, words: usize) -> Result<(), CompileError> {
        let tail_call = Insn::Call { callee: Callee::Helper(HelperId::TAIL_CALL) };
        if words > NESTED_FRAME_WORDS && self.insns.contains(&tail_call) {
            return Err(CompileError::LargeFrame { words, limit: NESTED_FRAME_WORDS });
        }
        Ok(())
    }
}

/// The most words in a native frame of a program that makes tail calls, so that the 239 frames
/// that there can be (33 tail calls, each from the eighth frame of a program) fit in a megabyte of
/// the host's stack.
const NESTED_FRAME_WORDS: usize = 512;

/// How an element of a known map is looked up. The key's address is `r2`; a key that cannot be
/// read traps at the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Lookup {
    /// The key is a number of 32 bits; the element's guest address follows from it, or is 0 if the
    /// number is not below that of the elements.
    Array(Array),
    /// A function finds it, of type [`crate::abi::HelperFn`] that does not unwind: `r1` is the
    /// object, and it gives the guest address or 0, or a number whose highest bit is set for a
    /// trap.
    Call {
        /// The function's host address.
        address: u64,
        /// What it works on, as a number that does not change.
        object: u64,
    },
}

/// Elements at guest addresses that follow from their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Array {
    /// How many there are; not 0.
    pub entries: u32,
    /// The guest address of the first, not 0. All of them lie in the window.
    pub start: u32,
    /// The distance between two, in bytes.
    pub stride: u32,
    /// If each processor has its own: how many there are, and the distance between those of two.
    pub per_cpu: Option<(u32, u32)>,
}

/// No function: for programs that refer to none.
#[must_use]
pub fn no_function(_: u64) -> Option<Pc> {
    None
}

/// A lookup that knows no map: for programs without any.
#[must_use]
pub fn no_lookup(_: u64) -> Option<Lookup> {
    None
}
