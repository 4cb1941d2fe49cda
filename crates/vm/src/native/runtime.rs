//! What generated code calls: helpers, tail calls, calls through registers, packet loads, fuel.
//!
//! The functions find the run that they belong to by the state that generated code passes on. A
//! trap or a panic waits in it until the code was left.

use skep_bpf::op::Size;
use skep_bpf::platform::HelperId;
use skep_jit::Tier;
use skep_jit::abi::{Callback, RunState, Runtime, TrapRecord};

use super::{Native, Owner, Site, callback, tier_index};
use crate::helpers::{self, Call};
use crate::linked::Linked;
use crate::trap::TrapKind;

/// A state for runs on a processor.
pub(super) fn new_state() -> Box<RunState> {
    Box::new(RunState {
        window: 0,
        fuel: 0,
        args: [0; 2],
        frame_top: 0,
        lowest_frame: 0,
        r0: 0,
        trapped: 0,
        site: 0,
        callback: Callback::default(),
        processor: 0,
        trap: TrapRecord::default(),
        exit_sp: 0,
        exit_saved: [0; 12],
        slow_saved: [0; 10],
        owner: 0,
        runtime: Runtime {
            helper: call_helper,
            tail_call,
            resolve,
            numbered,
            load_packet,
            refuel,
            call_back: callback::call_back,
        },
    })
}

/// The state and the owner of the run that a runtime function was called from.
///
/// # Safety
///
/// `state` is what generated code passed on, which is what [`run`] entered it with.
#[inline(always)]
pub(super) unsafe fn run_of<'a>(state: *mut RunState) -> (&'a mut RunState, &'a mut Owner<'a>) {
    // SAFETY: generated code does not touch the state while it waits for the function, and `run`
    // only waits for generated code.
    let state = unsafe { &mut *state };
    let owner = std::ptr::with_exposed_provenance_mut::<Owner<'a>>(state.owner as usize);
    // SAFETY: as above.
    (state, unsafe { &mut *owner })
}

/// The site that generated code names.
///
/// # Safety
///
/// The value is the address of a site of code that is running.
#[inline(always)]
pub(super) unsafe fn site_of<'a>(site: u64) -> (&'a Site, &'a Linked) {
    // SAFETY: sites live as long as their code.
    let site = unsafe { &*std::ptr::with_exposed_provenance::<Site>(site as usize) };
    // SAFETY: the program owns the code.
    (site, unsafe { &*site.linked })
}

unsafe extern "C" fn call_helper(
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
    state: *mut RunState,
) -> u64 {
    // SAFETY: called by generated code.
    let (state, owner) = unsafe { run_of(state) };
    // SAFETY: as above.
    let (site, linked) = unsafe { site_of(state.site) };
    let Some((id, implementation)) = &site.helper else { return 0 };
    owner.invoke(state, linked, *id, implementation, [r1, r2, r3, r4, r5])
}

unsafe extern "C" fn numbered(
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
    state: *mut RunState,
) -> u64 {
    // SAFETY: called by generated code.
    let (state, owner) = unsafe { run_of(state) };
    // SAFETY: as above; `resolve` left the site.
    let (_, linked) = unsafe { site_of(state.site) };
    let value = state.r0;
    let id = HelperId(value as u32);
    let known = u64::from(id.0) == value;
    let Some(helper) = owner.machine.helper(id).filter(|_| known) else {
        return owner.stop(state, TrapKind::NotAFunction { value });
    };
    owner.invoke(state, linked, id, &helper, [r1, r2, r3, r4, r5])
}

unsafe extern "C" fn resolve(
    value: u64,
    site: u64,
    _: u64,
    _: u64,
    _: u64,
    state: *mut RunState,
) -> u64 {
    // SAFETY: called by generated code.
    let (state, owner) = unsafe { run_of(state) };
    // SAFETY: as above.
    let (_, linked) = unsafe { site_of(site) };
    (state.site, state.r0) = (site, value);
    let Some(entry) = linked.function_at(value) else { return 0 };
    let functions = linked.program().functions();
    let index = functions.partition_point(|function| function.entry < entry);
    // The code that asks is the metered one: calls through registers are not bounded.
    let code = |tier: Tier| linked.native().code[tier_index(tier)][1].get()?.as_ref().ok();
    let code = code(owner.tier).or_else(|| code(Tier::Template));
    code.and_then(|code| code.executable.entry(index)).unwrap_or(0)
}

unsafe extern "C" fn tail_call(
    r1: u64,
    r2: u64,
    r3: u64,
    _: u64,
    _: u64,
    state: *mut RunState,
) -> u64 {
    // SAFETY: called by generated code.
    let (state, owner) = unsafe { run_of(state) };
    // SAFETY: as above.
    let (_, program) = unsafe { site_of(state.site) };
    let args = [r1, r2, r3, 0, 0];
    let helper = helpers::TAIL_CALL;
    let mut call = Call { machine: owner.machine, cpu: &mut *owner.cpu, program, helper, args };
    let next = match helpers::tail_call(&mut call) {
        Ok(Ok(next)) => next,
        Ok(Err(errno)) => {
            state.r0 = errno;
            return 0;
        }
        Err(kind) => return owner.stop(state, kind),
    };
    // Code of both tiers can follow each other.
    let code = |tier: Tier| Native::get(&next, owner.machine, tier, true).ok();
    let entry = code(owner.tier).or_else(|| code(Tier::Template));
    let Some(entry) = entry.and_then(|code| code.executable.entry(0)) else {
        return owner.stop(state, TrapKind::Unsupported { what: "a program without machine code" });
    };
    owner.entered.push(next);
    state.lowest_frame = owner.cpu.lowest_frame().into();
    state.args[0] = r1;
    entry
}

unsafe extern "C" fn load_packet(
    offset: u64,
    bytes: u64,
    _: u64,
    _: u64,
    _: u64,
    state: *mut RunState,
) -> u64 {
    // SAFETY: called by generated code.
    let (state, owner) = unsafe { run_of(state) };
    let size = Size::of_bytes(bytes as u32).unwrap_or(Size::B);
    let memory = owner.machine.memory();
    match owner.cpu.input.load_packet(memory, offset as u32 as i32, size) {
        Some(Some(value)) => {
            state.r0 = value;
            0
        }
        Some(None) => 1,
        None => owner.stop(state, TrapKind::NoSocketBuffer),
    }
}

unsafe extern "C" fn refuel(_: u64, _: u64, _: u64, _: u64, _: u64, state: *mut RunState) -> u64 {
    // SAFETY: called by generated code.
    let (state, owner) = unsafe { run_of(state) };
    match owner.refuel(state) {
        Ok(()) => 0,
        Err(kind) => owner.stop(state, kind),
    }
}
