//! One executing thread: its stack, context and packet areas, and what helpers remember for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::machine::{Machine, MachineError};
use crate::memory::{Fault, PAGE_BYTES, Perm, Window};
use crate::region::Purpose;

/// The size of a frame in bytes (RFC 9669's ABI document and Linux, `MAX_BPF_STACK`).
pub const FRAME_BYTES: u32 = 512;
/// The most frames that one program can have (Linux, `MAX_CALL_FRAMES`).
pub const MAX_FRAMES: usize = 8;
/// The most tail calls in a run (Linux, `MAX_TAIL_CALL_CNT`).
pub const MAX_TAIL_CALLS: u32 = 33;

/// The most frames of a run. A tail call leaves the frames of the caller's callers, so that each
/// adds all but the one that it takes over.
const MOST_FRAMES: u32 = MAX_FRAMES as u32 + MAX_TAIL_CALLS * (MAX_FRAMES as u32 - 1);
/// Whole pages, so that what lies above the first frame is not mapped.
const STACK_BYTES: u32 = (FRAME_BYTES * MOST_FRAMES).next_multiple_of(PAGE_BYTES);
const CONTEXT_BYTES: u32 = 4096;

/// A processor of a machine. A thread that runs programs has one of its own; per-CPU maps have a
/// value for each.
#[derive(Debug)]
pub struct Cpu {
    machine: Arc<Machine>,
    pub(crate) state: CpuState,
}

/// What engines, contexts and helpers keep per processor.
#[derive(Debug)]
pub struct CpuState {
    /// The processor's number.
    pub index: u32,
    stack: u32,
    /// The address of the context area, a page.
    pub(crate) context: u32,
    /// The lock that the program holds.
    pub(crate) lock: Option<u32>,
    /// The number of tail calls in this run so far.
    pub(crate) tail_calls: u32,
    /// How many frames, from the first, this run has zeroed.
    zeroed_frames: u32,
    /// What the program runs on, while it runs.
    pub(crate) input: crate::context::Input,
    /// Set from another thread to stop the run.
    stop: Arc<AtomicBool>,
    /// The state of machine code, between runs.
    pub(crate) native: crate::native::State,
}

impl Cpu {
    /// Takes the machine's next free processor.
    ///
    /// # Errors
    ///
    /// If all of the host's processors are taken or guest memory is full.
    pub fn new(machine: &Arc<Machine>) -> Result<Cpu, MachineError> {
        let index = machine.take_cpu()?;
        let memory = machine.memory();
        let stack = memory.alloc(STACK_BYTES, Perm::ReadWrite, Purpose::Stack)?;
        let context = memory.alloc(CONTEXT_BYTES, Perm::ReadWrite, Purpose::Context)?;
        let state = CpuState {
            index,
            stack,
            context,
            lock: None,
            tail_calls: 0,
            zeroed_frames: 0,
            input: crate::context::Input::default(),
            stop: Arc::default(),
            native: None,
        };
        Ok(Cpu { machine: Arc::clone(machine), state })
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// The processor's number.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.state.index
    }

    /// A handle by which another thread can stop the run that is under way or comes next.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.state.stop))
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        let memory = self.machine.memory();
        memory.free(self.state.stack);
        memory.free(self.state.context);
        self.state.input.free(memory);
        self.machine.give_cpu(self.state.index);
    }
}

impl CpuState {
    /// The value of `r10` in the first function: the address after its frame.
    pub(crate) fn frame_top(&self) -> u32 {
        self.stack + STACK_BYTES
    }

    /// Begins a run: makes so many bytes of the stack zero, from the first frame on.
    ///
    /// # Errors
    ///
    /// If an embedder has freed the stack.
    pub(crate) fn begin(&mut self, window: &Window, bytes: u32) -> Result<(), Fault> {
        self.tail_calls = 0;
        self.zeroed_frames = bytes / FRAME_BYTES;
        window.fill(self.frame_top() - bytes, bytes, 0)
    }

    /// Counts a tail call to a program, which, if it has `functions`, finds its frames zeroed.
    ///
    /// # Errors
    ///
    /// As [`CpuState::begin`].
    pub(crate) fn count_tail_call(
        &mut self,
        window: &Window,
        functions: bool,
    ) -> Result<(), Fault> {
        self.tail_calls += 1;
        let (zeroed, wanted) = (self.zeroed_frames, self.frame_limit() as u32);
        if !functions || wanted <= zeroed {
            return Ok(());
        }
        self.zeroed_frames = wanted;
        let bytes = (wanted - zeroed) * FRAME_BYTES;
        window.fill(self.frame_top() - wanted * FRAME_BYTES, bytes, 0)
    }

    /// How many frames there may be now. Each program of a run can have [`MAX_FRAMES`], of which
    /// the first is the frame that a tail call took over.
    pub(crate) fn frame_limit(&self) -> usize {
        MAX_FRAMES + self.tail_calls as usize * (MAX_FRAMES - 1)
    }

    /// The value of `r10` in the innermost frame that there may be now.
    pub(crate) fn lowest_frame(&self) -> u32 {
        self.frame_top() - FRAME_BYTES * (self.frame_limit() as u32 - 1)
    }

    /// Whether the run was asked to stop.
    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether the run was asked to stop; asking once stops one run.
    pub(crate) fn take_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed) && self.stop.swap(false, Ordering::Relaxed)
    }
}

/// Stops a run from another thread; see [`Cpu::stopper`].
#[derive(Clone, Debug)]
pub struct Stopper(Arc<AtomicBool>);

impl Stopper {
    /// Asks the run to stop. It does at its next backward jump or call.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
