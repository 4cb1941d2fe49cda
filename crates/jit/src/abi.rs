//! What generated code and the program that runs it agree on: the one statement of it.
//!
//! Generated code keeps eBPF registers in fixed machine registers at function entries and calls
//! ([`crate::x64::regs`]; for aarch64 likewise) and finds everything else through a pointer to a
//! [`RunState`]. The lowest word of every native frame holds that pointer while the function's
//! body runs, so that call sites and the fault handler find it. Runtime functions are called
//! through [`RunState::runtime`], with the C calling convention.

use std::mem::offset_of;

/// The distance of the frames of nested functions in guest memory, in bytes (Linux,
/// `MAX_BPF_STACK`).
pub const FRAME_BYTES: u32 = 512;

/// How often a frame may pass `may_goto` instructions before they jump (Linux, `BPF_MAX_LOOPS`).
pub const MAY_GOTO_LIMIT: u32 = 8 * 1024 * 1024;

/// What [`Enter`] returns after the exit of the main function.
pub const EXITED: u64 = 0;
/// What [`Enter`] returns after a trap.
pub const TRAPPED: u64 = 1;

/// The start of generated code: runs the program on a state and returns [`EXITED`] or
/// [`TRAPPED`].
pub type Enter = unsafe extern "C" fn(state: *mut RunState) -> u64;

/// A helper function or a runtime function that stands for one: `r1` to `r5` and the state.
pub type HelperFn = unsafe extern "C" fn(u64, u64, u64, u64, u64, state: *mut RunState) -> u64;

/// What a run keeps in memory. Words of generated code are 64 bits wide; addresses are numbers so
/// that a state can be moved between threads.
#[derive(Debug)]
#[repr(C)]
pub struct RunState {
    /// The host address of guest address 0.
    pub window: u64,
    /// Fuel at the entry, at the exit, and while [`Runtime::refuel`] runs: how many instructions
    /// may still be executed. Negative if more were executed.
    pub fuel: i64,
    /// The values of `r1` and `r2` at the entry. A tail call leaves the first for its target.
    pub args: [u64; 2],
    /// `r10` of the main function: the guest address after its frame.
    pub frame_top: u64,
    /// `r10` of the innermost frame that there may be: a function that has it calls no other.
    pub lowest_frame: u64,
    /// `r0` at the exit; also what a runtime function gives beside its result.
    pub r0: u64,
    /// Not 0 after a runtime function that traps.
    pub trapped: u64,
    /// The call that is under way, as [`crate::source::Binding`] named it.
    pub site: u64,
    /// What the trap was.
    pub trap: TrapRecord,
    /// The stack pointer at the entry.
    pub exit_sp: u64,
    /// Registers that the host's calling convention preserves, at the entry.
    pub exit_saved: [u64; 12],
    /// Registers that a slow call preserves.
    pub slow_saved: [u64; 10],
    /// The function that [`Runtime::call_back`] calls.
    pub callback: Callback,
    /// The number of the processor.
    pub processor: u64,
    /// The embedder's own.
    pub owner: u64,
    /// The functions that generated code calls.
    pub runtime: Runtime,
}

/// A call of a function of the program from outside it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Callback {
    /// The host address of its metered entry.
    pub entry: u64,
    /// Its `r10`; before, while [`Runtime::call_back`] is called, the caller's.
    pub frame_top: u64,
    /// Its `r1` to `r5`.
    pub args: [u64; 5],
}

/// What is known of a trap.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TrapRecord {
    /// A [`TrapCode`] as a number.
    pub code: u32,
    /// The instruction, as an index.
    pub insn: u32,
    /// A host address in the code that trapped, from which the program is found.
    pub place: u64,
    /// The guest address, if one is part of the trap.
    pub addr: u32,
    /// The number of bytes, if an access is part of the trap.
    pub len: u32,
    /// 1 if the access writes.
    pub write: u32,
    /// Keeps the size a multiple of eight.
    pub unused: u32,
}

/// Why generated code stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
#[non_exhaustive]
pub enum TrapCode {
    /// A runtime function refused and knows why.
    Runtime = 0,
    /// An access that guest memory does not allow.
    Memory = 1,
    /// An atomic read-modify-write at an address that is no multiple of its size. Whether memory
    /// allows the access at all is for the embedder to ask first.
    MisalignedAtomic = 2,
    /// A load-acquire or store-release at such an address.
    MisalignedOrdered = 3,
    /// Calls are nested too deep.
    CallDepth = 4,
    /// A call of a kernel function.
    KernelFunction = 5,
    /// An address space cast.
    AddressSpaceCast = 6,
    /// An instruction that no path reaches, according to the proof.
    Unreachable = 7,
}

impl TrapCode {
    /// Every code, in the order of their numbers.
    pub const ALL: [TrapCode; 8] = [
        TrapCode::Runtime,
        TrapCode::Memory,
        TrapCode::MisalignedAtomic,
        TrapCode::MisalignedOrdered,
        TrapCode::CallDepth,
        TrapCode::KernelFunction,
        TrapCode::AddressSpaceCast,
        TrapCode::Unreachable,
    ];
}

/// The functions that generated code calls through the state.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Runtime {
    /// Calls the helper of [`RunState::site`]. The result goes to `r0`; a trap sets
    /// [`RunState::trapped`].
    pub helper: HelperFn,
    /// Resolves the tail call of [`RunState::site`], whose arguments are `r1` to `r3`: the host
    /// address of the metered entry of the program to go on in, or 0. Then either
    /// [`RunState::trapped`] is set or the program goes on with [`RunState::r0`].
    pub tail_call: HelperFn,
    /// Resolves a call through a register, whose value is the first argument, by the program of
    /// [`RunState::site`], which is the second: the host address of the metered entry of a
    /// function, or 0 if the value is no reference to a function; then it is left in
    /// [`RunState::r0`] for [`Runtime::numbered`].
    pub resolve: HelperFn,
    /// Calls the helper whose number is in [`RunState::r0`], as [`Runtime::helper`] does.
    pub numbered: HelperFn,
    /// A deprecated packet load of as many bytes as the second argument says at the offset that
    /// the first is (32 bits, signed). Gives 0 and leaves the value in [`RunState::r0`], or gives
    /// 1 outside the packet, or sets [`RunState::trapped`].
    pub load_packet: HelperFn,
    /// Called when [`RunState::fuel`] is negative at a backward jump or call: adds fuel, or sets
    /// [`RunState::trapped`]. Without arguments; the state is the sixth all the same.
    pub refuel: HelperFn,
    /// As [`Runtime::helper`], of a helper that calls functions of the program. The fuel is in
    /// [`RunState::fuel`], before and after. The functions are called through
    /// [`crate::code::Code::callback`].
    pub call_back: HelperFn,
}

/// Offsets of the fields that generated code uses, in bytes from a [`RunState`] pointer.
pub mod offset {
    use super::{Callback, RunState, Runtime, TrapRecord, offset_of};

    macro_rules! offsets {
        ($($(#[$meta:meta])* $name:ident = $($type:ident . $field:ident)+ ;)+) => {
            $($(#[$meta])* pub const $name: i32 = ($(offset_of!($type, $field) +)+ 0) as i32;)+
        };
    }

    offsets! {
        /// [`RunState::window`]
        WINDOW = RunState.window;
        /// [`RunState::fuel`]
        FUEL = RunState.fuel;
        /// [`RunState::args`], the first.
        ARGS = RunState.args;
        /// [`RunState::frame_top`]
        FRAME_TOP = RunState.frame_top;
        /// [`RunState::lowest_frame`]
        LOWEST_FRAME = RunState.lowest_frame;
        /// [`RunState::r0`]
        R0 = RunState.r0;
        /// [`RunState::trapped`]
        TRAPPED = RunState.trapped;
        /// [`RunState::site`]
        SITE = RunState.site;
        /// [`Callback::entry`]
        CALLBACK_ENTRY = RunState.callback Callback.entry;
        /// [`Callback::frame_top`]
        CALLBACK_FRAME_TOP = RunState.callback Callback.frame_top;
        /// [`Callback::args`], the first.
        CALLBACK_ARGS = RunState.callback Callback.args;
        /// [`RunState::processor`]
        PROCESSOR = RunState.processor;
        /// [`RunState::exit_sp`]
        EXIT_SP = RunState.exit_sp;
        /// [`RunState::exit_saved`], the first.
        EXIT_SAVED = RunState.exit_saved;
        /// [`RunState::slow_saved`], the first.
        SLOW_SAVED = RunState.slow_saved;
        /// [`TrapRecord::code`]
        TRAP_CODE = RunState.trap TrapRecord.code;
        /// [`TrapRecord::insn`]
        TRAP_INSN = RunState.trap TrapRecord.insn;
        /// [`TrapRecord::place`]
        TRAP_PLACE = RunState.trap TrapRecord.place;
        /// [`TrapRecord::addr`]
        TRAP_ADDR = RunState.trap TrapRecord.addr;
        /// [`TrapRecord::len`]
        TRAP_LEN = RunState.trap TrapRecord.len;
        /// [`Runtime::helper`]
        HELPER = RunState.runtime Runtime.helper;
        /// [`Runtime::tail_call`]
        TAIL_CALL = RunState.runtime Runtime.tail_call;
        /// [`Runtime::resolve`]
        RESOLVE = RunState.runtime Runtime.resolve;
        /// [`Runtime::numbered`]
        NUMBERED = RunState.runtime Runtime.numbered;
        /// [`Runtime::load_packet`]
        LOAD_PACKET = RunState.runtime Runtime.load_packet;
        /// [`Runtime::refuel`]
        REFUEL = RunState.runtime Runtime.refuel;
        /// [`Runtime::call_back`]
        CALL_BACK = RunState.runtime Runtime.call_back;
    }
}
