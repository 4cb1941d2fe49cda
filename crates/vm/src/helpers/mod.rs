//! Helper functions: what a call of a number does. One family, one file.
//!
//! Names and signatures are the platform's rows ([`skep_bpf::platform::HelperRow`]); here stand
//! the implementations. They reach guest memory through [`Call`], which checks every address even
//! for verified programs.

mod lirc;

mod map;

mod callback;

mod tail_call;

mod print;

mod format;

mod clock;

mod task;

mod probe;

mod string;

mod checksum;

mod xdp;

mod skb;

mod skb_link;

mod skb_room;

mod surroundings;

mod tunnel;

mod redirect;

mod number;

mod kfunc;

mod kfunc_dynptr;

mod kfunc_text;

mod perf_event;

mod ring_buffer;

mod socket;

mod dynptr;

mod spin_lock;

use std::fmt;
use std::sync::Arc;

use skep_bpf::platform::HelperId;

use crate::context::{Kind, Packet};
use crate::cpu::CpuState;
use crate::linked::Linked;
use crate::machine::Machine;
use crate::maps::Map;
use crate::memory::{Access, Fault, PAGE_BYTES};
use crate::trap::TrapKind;

pub(crate) use callback::{Caller, Passed, call_back, calls_back};
pub use kfunc::names as kernel_functions;
pub(crate) use kfunc::{name as kfunc_name, number as kfunc_number};
pub(crate) use map::is_lookup;
pub(crate) use spin_lock::release as release_lock;
pub(crate) use tail_call::{TAIL_CALL, tail_call};

/// What an embedder's helper does.
pub type OwnHelper = dyn Fn(&mut Call<'_>) -> Result<u64, TrapKind> + Send + Sync;

/// A helper's implementation. The result goes to `r0`.
pub enum Implementation {
    /// One of the standard helpers.
    Standard(fn(&mut Call<'_>) -> Result<u64, TrapKind>),
    /// An embedder's.
    Own(Box<OwnHelper>),
    /// An embedder's that needs nothing but `r1` to `r5`: machine code calls it directly.
    Plain(PlainHelper),
}

/// A function of `r1` to `r5` that gives `r0`. It must not panic: where nothing can unwind, a
/// panic ends the process.
pub type PlainHelper = extern "C" fn(u64, u64, u64, u64, u64) -> u64;

impl Implementation {
    /// Calls the helper.
    ///
    /// # Errors
    ///
    /// A trap if an argument is not what the helper needs.
    #[inline]
    pub fn call(&self, call: &mut Call<'_>) -> Result<u64, TrapKind> {
        match self {
            Implementation::Standard(run) => run(call),
            Implementation::Own(run) => run(call),
            Implementation::Plain(run) => {
                let [r1, r2, r3, r4, r5] = call.args;
                Ok(run(r1, r2, r3, r4, r5))
            }
        }
    }
}

impl fmt::Debug for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Implementation::Standard(_) => "Standard",
            Implementation::Own(_) => "Own",
            Implementation::Plain(_) => "Plain",
        })
    }
}

/// A call under way: who calls what with which arguments.
pub struct Call<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The processor.
    pub cpu: &'a mut CpuState,
    /// The program that calls.
    pub program: &'a Linked,
    /// The helper.
    pub helper: HelperId,
    /// `r1` to `r5`.
    pub(crate) args: [u64; 5],
}

impl Call<'_> {
    /// An argument as a number, counted from 0.
    #[must_use]
    pub fn scalar(&self, arg: usize) -> u64 {
        self.args[arg]
    }

    /// An argument that must be a map.
    ///
    /// # Errors
    ///
    /// A trap if it is none.
    pub fn map(&self, arg: usize) -> Result<&Arc<dyn Map>, TrapKind> {
        let value = self.args[arg];
        let (_, map) = self.machine.map_at(value).ok_or(TrapKind::NotAMap {
            helper: self.helper,
            arg: arg + 1,
            value,
        })?;
        Ok(map)
    }

    /// The address of an argument that must lead to `len` bytes that can be accessed.
    ///
    /// # Errors
    ///
    /// A trap if it does not.
    pub fn guest(&self, arg: usize, len: u32, access: Access) -> Result<u32, TrapKind> {
        let addr = self.args[arg] as u32;
        self.machine
            .memory()
            .window()
            .check(addr, len, access)
            .map_err(|fault| self.fault(arg, fault))?;
        Ok(addr)
    }

    /// Copies out the bytes that an argument leads to.
    ///
    /// # Errors
    ///
    /// A trap if they are not readable.
    #[inline]
    pub fn read(&self, arg: usize, to: &mut [u8]) -> Result<(), TrapKind> {
        let addr = self.args[arg] as u32;
        self.machine.memory().window().read(addr, to).map_err(|fault| self.fault(arg, fault))
    }

    /// Copies bytes to where an argument leads.
    ///
    /// # Errors
    ///
    /// A trap if they are not writable.
    #[inline]
    pub fn write(&self, arg: usize, from: &[u8]) -> Result<(), TrapKind> {
        let addr = self.args[arg] as u32;
        self.machine.memory().window().write(addr, from).map_err(|fault| self.fault(arg, fault))
    }

    /// The string that an argument leads to, without its NUL.
    ///
    /// # Errors
    ///
    /// A trap if memory that is not readable comes before the NUL.
    pub fn string(&self, arg: usize) -> Result<Vec<u8>, TrapKind> {
        let window = self.machine.memory().window();
        let mut addr = self.args[arg] as u32;
        let mut bytes = Vec::new();
        loop {
            // Up to the end of the page, since the next may not be there.
            let chunk = PAGE_BYTES - addr % PAGE_BYTES;
            let done = bytes.len();
            bytes.resize(done + chunk as usize, 0);
            let part = &mut bytes[done..];
            window.read(addr, part).map_err(|fault| self.fault(arg, fault))?;
            if let Some(end) = part.iter().position(|byte| *byte == 0) {
                bytes.truncate(done + end);
                return Ok(bytes);
            }
            // The last page is never mapped, so the walk cannot wrap around.
            addr = addr.wrapping_add(chunk);
        }
    }

    /// The packet of an input of a kind, if the program runs on such and its context is the first
    /// argument.
    pub(crate) fn input(&self, kind: Kind) -> Option<&Packet> {
        let input = &self.cpu.input;
        let packet = input.packet().filter(|_| input.kind() == kind);
        packet.filter(|_| self.args[0] == u64::from(self.cpu.context))
    }

    /// The trap of a call without what the helper works on.
    #[must_use]
    pub fn needs(&self, needed: &'static str) -> TrapKind {
        TrapKind::HelperContext { helper: self.helper, needed }
    }

    #[cold]
    fn fault(&self, arg: usize, fault: Fault) -> TrapKind {
        TrapKind::HelperMemory { helper: self.helper, arg: arg + 1, fault }
    }
}

/// A standard helper: its number and what it does.
type Standard = (HelperId, fn(&mut Call<'_>) -> Result<u64, TrapKind>);

/// The standard helpers by family.
const FAMILIES: &[&[Standard]] = &[
    map::HELPERS,
    print::HELPERS,
    clock::HELPERS,
    task::HELPERS,
    probe::HELPERS,
    string::HELPERS,
    checksum::HELPERS,
    xdp::HELPERS,
    skb::HELPERS,
    skb_link::HELPERS,
    skb_room::HELPERS,
    surroundings::HELPERS,
    tunnel::HELPERS,
    redirect::HELPERS,
    lirc::HELPERS,
    number::HELPERS,
    perf_event::HELPERS,
    ring_buffer::HELPERS,
    socket::HELPERS,
    dynptr::HELPERS,
    spin_lock::HELPERS,
];

/// The standard helpers that are implemented, but for `bpf_tail_call`, which engines run
/// themselves.
pub fn standard() -> impl Iterator<Item = (HelperId, Implementation)> {
    let helpers = FAMILIES.iter().copied().flatten();
    helpers.map(|(id, run)| (*id, Implementation::Standard(*run)))
}

/// The kernel functions that are implemented, under numbers that no helper has.
pub(crate) fn numbered_kfuncs() -> impl Iterator<Item = (HelperId, Implementation)> {
    kfunc::standard()
}

/// The helpers that are implemented: the standard ones, `bpf_tail_call` and those that call
/// functions back.
pub fn implemented() -> impl Iterator<Item = HelperId> {
    standard().map(|(id, _)| id).chain([TAIL_CALL]).chain(callback::CALLING_BACK)
}

/// What a call of a helper that the machine does not have leads to.
pub(crate) fn absent() -> Implementation {
    Implementation::Standard(|call| Err(TrapKind::NoSuchHelper(call.helper)))
}

#[cfg(test)]
pub(crate) mod tests;
