//! Machine code: how the machine compiles programs and runs them, and how they call back.
//!
//! A program is compiled when an engine first wants it, with and without metering as two pieces of
//! code. A run fills in the state that generated code works on and enters. What the code calls
//! for helpers, tail calls and fuel ([`runtime`]) is entered from code that cannot unwind, so a
//! panic waits until that has been left.

#![allow(unsafe_code, reason = "generated code is entered here, and calls back with raw pointers")]

mod callback;

mod lookup;

mod runtime;

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use skep_bpf::insn::{Callee, Imm64, Insn};
use skep_bpf::platform::HelperId;
use skep_bpf::program::Pc;
use skep_jit::abi::{EXITED, FRAME_BYTES, RunState, TrapCode, TrapRecord};
use skep_jit::code::Code;
use skep_jit::exec::Executable;
use skep_jit::flow::Flow;
use skep_jit::source::{Binding, Source};
use skep_jit::ssa::{self, Counts, Passes, ir::Func};
use skep_jit::{CompileOptions, Target, Tier};

use crate::cpu::CpuState;
use crate::helpers::{self, Call, Implementation};
use crate::linked::Linked;
use crate::machine::Machine;
use crate::maps::Map;
use crate::memory::{Access, Fault};
use crate::profile::MadeCode;
use crate::run::{Budget, CompileFailure, Finished, Options, RunError, SLICE, Start};
use crate::trap::{Trap, TrapKind};

const _: () = assert!(FRAME_BYTES == crate::cpu::FRAME_BYTES, "frames are as far apart");
const _: () = assert!(skep_jit::abi::MAY_GOTO_LIMIT == crate::run::MAY_GOTO_LIMIT, "same budget");

/// What a processor keeps of generated code between runs.
pub(crate) type State = Option<Box<RunState>>;

/// The machine code of a program, once somebody wants it.
#[derive(Debug, Default)]
pub(crate) struct Native {
    /// By tier, the code that counts fuel and the code that does not.
    code: [[OnceLock<Result<Compiled, CompileFailure>>; 2]; 2],
    bound: OnceLock<Option<u64>>,
    /// How often somebody asked which code to run, by whether it counts fuel.
    asked: [AtomicU32; 2],
}

/// How many runs make a program worth optimising.
const OFTEN: u32 = 200;

#[derive(Debug)]
struct Compiled {
    executable: Executable,
    /// Generated code holds their addresses.
    _sites: Box<[Site]>,
    /// As are those of maps, in lookups.
    _maps: Vec<Arc<dyn Map>>,
}

/// A call in generated code: whose it is and what it calls.
#[derive(Debug)]
struct Site {
    linked: *const Linked,
    /// The helper; none where the call finds out by itself.
    helper: Option<(HelperId, Arc<Implementation>)>,
}

// SAFETY: the program is immutable and owns the site, through the code that the site belongs to.
unsafe impl Send for Site {}
// SAFETY: as for Send.
unsafe impl Sync for Site {}

/// A run, as far as generated code does not see it. Its address is in the state.
struct Owner<'a> {
    machine: &'a Machine,
    cpu: &'a mut CpuState,
    first: &'a Arc<Linked>,
    /// The programs entered by tail calls, kept while frames lead to them.
    entered: Vec<Arc<Linked>>,
    /// What the program was compiled by, and programs that it goes on in.
    tier: Tier,
    trap: Option<TrapKind>,
    /// The trap in a function that a helper called, before those of the code that called it.
    first_trap: Option<TrapRecord>,
    panic: Option<Box<dyn Any + Send>>,
    fuel: u64,
    given: u64,
}

/// How many instructions a run of a program can take, if its proof says so: what only the
/// callee or the caller ends is not part of it.
fn bound(linked: &Linked) -> Option<u64> {
    let proof = linked.verified()?;
    let drives_itself = |insn: &Insn<Pc>| match insn {
        Insn::MayGoto { .. } | Insn::Call { callee: Callee::Reg(_) | Callee::Kfunc { .. } } => true,
        // References to functions are for helpers that call them back.
        Insn::LoadImm64 { imm: Imm64::Code(_), .. } => true,
        Insn::Call { callee: Callee::Helper(id) } => *id == helpers::TAIL_CALL,
        _ => false,
    };
    // The proof has seen every instruction of every path.
    let insns = linked.program().insns();
    (!insns.iter().any(drives_itself)).then(|| proof.stats().insns_processed)
}

/// Whether a run has to count its instructions: not if the fuel cannot be used up.
fn is_metered(linked: &Linked, budget: Budget) -> bool {
    let bound = || *linked.native().bound.get_or_init(|| bound(linked));
    budget.count || bound().is_none_or(|bound| bound > budget.fuel)
}

impl Native {
    fn get<'a>(
        linked: &'a Arc<Linked>,
        machine: &Machine,
        tier: Tier,
        metered: bool,
    ) -> Result<&'a Compiled, CompileFailure> {
        let code = &linked.native().code[tier_index(tier)][usize::from(metered)];
        let code = code.get_or_init(|| compile(linked, machine, tier, metered));
        code.as_ref().map_err(Clone::clone)
    }

    fn contains(&self, place: u64) -> bool {
        self.code
            .iter()
            .flatten()
            .filter_map(|code| code.get()?.as_ref().ok())
            .any(|code| code.executable.contains(place))
    }
}

/// Which code a run that may take so much should use when nobody prefers one: the optimising
/// compiler's if it is there, else the template compiler's; none if there is none. Runs that come
/// often have the optimising compiler work, on a thread of its own.
pub(crate) fn choose(linked: &Arc<Linked>, machine: &Arc<Machine>, budget: Budget) -> Option<Tier> {
    let metered = is_metered(linked, budget);
    let native = linked.native();
    let optimised = &native.code[tier_index(Tier::Optimising)][usize::from(metered)];
    match optimised.get() {
        Some(Ok(_)) => return Some(Tier::Optimising),
        // What cannot be optimised stays as it is.
        Some(Err(_)) => {}
        None => {
            let asked = native.asked[usize::from(metered)].fetch_add(1, Ordering::Relaxed);
            if asked == OFTEN {
                let (linked, machine) = (Arc::clone(linked), Arc::clone(machine));
                let work = move || {
                    let _ = Native::get(&linked, &machine, Tier::Optimising, metered);
                };
                // Without a thread the program goes on as it is.
                let _ = thread::Builder::new().name("skep-compiler".to_owned()).spawn(work);
            }
        }
    }
    let code = Native::get(linked, machine, Tier::Template, metered);
    code.is_ok().then_some(Tier::Template)
}

/// The place of a tier among a program's code.
const fn tier_index(tier: Tier) -> usize {
    match tier {
        Tier::Optimising => 1,
        _ => 0,
    }
}

fn compile(
    linked: &Arc<Linked>,
    machine: &Machine,
    tier: Tier,
    metered: bool,
) -> Result<Compiled, CompileFailure> {
    let target = Target::host().ok_or(CompileFailure::NoTarget)?;
    let options = machine.compile_options(linked.verified().is_some());
    let profiler = machine.host().code_made.as_deref();
    let options = CompileOptions { places: options.places || profiler.is_some(), ..options };
    let (code, (sites, maps)) = generate(linked, machine, (target, tier), &options, metered)?;
    let executable = Executable::new(&code)
        .map_err(|error| CompileFailure::NoMemory { reason: error.to_string() })?;
    if let Some(profiler) = profiler {
        profiler(&MadeCode::new(linked, tier, executable.start(), &code));
    }
    Ok(Compiled { executable, _sites: sites, _maps: maps })
}

/// Machine code to look at, as a run that may take so much would want it.
pub(crate) fn machine_code(
    linked: &Arc<Linked>,
    machine: &Machine,
    with: (Target, Tier),
    options: &CompileOptions,
    budget: Budget,
) -> Result<Code, CompileFailure> {
    generate(linked, machine, with, options, is_metered(linked, budget)).map(|(code, _)| code)
}

/// The optimising compiler's form of every function after some of its passes, to look at.
pub(crate) fn ssa(
    linked: &Arc<Linked>,
    machine: &Machine,
    passes: Passes,
) -> Result<Vec<Func>, CompileFailure> {
    let metered = is_metered(linked, Options::default().budget());
    let form =
        |source: &Source<'_>| Ok(ssa::optimise(source, &Flow::new(source), passes, Counts::ALL));
    with_source(linked, machine, metered, form).map(|(form, _)| form)
}

/// Generates code, and the sites that it refers to.
fn generate(
    linked: &Arc<Linked>,
    machine: &Machine,
    (target, tier): (Target, Tier),
    options: &CompileOptions,
    metered: bool,
) -> Result<(Code, Referred), CompileFailure> {
    with_source(linked, machine, metered, |source| {
        Ok(skep_jit::compile(source, target, tier, options)?)
    })
}

/// What code refers to by addresses.
type Referred = (Box<[Site]>, Vec<Arc<dyn Map>>);

/// Does something with a program as the compilers take it; beside the result is what it may refer
/// to.
fn with_source<T>(
    linked: &Arc<Linked>,
    machine: &Machine,
    metered: bool,
    work: impl FnOnce(&Source<'_>) -> Result<T, CompileFailure>,
) -> Result<(T, Referred), CompileFailure> {
    let owner = Arc::as_ptr(linked);
    let mut sites = vec![Site { linked: owner, helper: None }];
    let mut known = Known::new();
    for insn in linked.insns() {
        if let Insn::Call { callee: Callee::Helper(id) } = *insn
            && known.find(&sites, id) == 0
        {
            let helper = machine.helper(id).unwrap_or_else(|| Arc::new(helpers::absent()));
            known.note(id, sites.len());
            sites.push(Site { linked: owner, helper: Some((id, helper)) });
        }
    }
    let sites = sites.into_boxed_slice();
    let address = |site: &Site| std::ptr::from_ref(site).expose_provenance() as u64;
    let bindings: Vec<Binding> =
        sites.iter().map(|site| site.binding(address(site), machine)).collect();
    let bind = |id: HelperId| bindings[known.find(&sites, id)];
    let helper = machine.helper(HelperId::MAP_LOOKUP_ELEM);
    let is_ours = helper.is_some_and(|helper| helpers::is_lookup(&helper));
    let maps = RefCell::new(Vec::new());
    let lookup = |value: u64| {
        let (_, map) = machine.map_at(value).filter(|_| is_ours)?;
        let lookup = lookup::lookup_in(map.direct()?)?;
        maps.borrow_mut().push(Arc::clone(map));
        Some(lookup)
    };
    let source = Source {
        program: linked.program(),
        insns: linked.insns(),
        proof: linked.verified().map(|proof| &**proof),
        metered,
        helper: &bind,
        lookup: &lookup,
        function: &|value| linked.function_at(value),
        site: address(&sites[0]),
    };
    let done = work(&source)?;
    Ok((done, (sites, maps.into_inner())))
}

impl Site {
    fn id(&self) -> Option<HelperId> {
        self.helper.as_ref().map(|(id, _)| *id)
    }

    /// How generated code calls the helper, given the site's address.
    fn binding(&self, site: u64, machine: &Machine) -> Binding {
        let Some((id, helper)) = &self.helper else { return Binding::Generic { site, args: 5 } };
        let args = id.row().filter(|row| !row.traits.variadic).map_or(5, |row| row.params.len());
        let args = args as u8;
        match **helper {
            Implementation::Plain(run) => Binding::Plain { address: run as usize as u64, args },
            _ if helpers::calls_back(*id) && machine.helper(*id).is_none() => {
                Binding::CallsBack { site, args }
            }
            _ => Binding::Generic { site, args },
        }
    }
}

/// Which sites helpers have: by number, 0 for none. Larger numbers are searched for.
struct Known([u16; 256]);

impl Known {
    const fn new() -> Known {
        Known([0; 256])
    }

    /// The index of a helper's site; 0, which is that of the program, if it has none.
    fn find(&self, sites: &[Site], id: HelperId) -> usize {
        match self.0.get(id.0 as usize) {
            Some(index) => usize::from(*index),
            None => sites.iter().position(|site| site.id() == Some(id)).unwrap_or(0),
        }
    }

    fn note(&mut self, id: HelperId, index: usize) {
        if let Some(known) = self.0.get_mut(id.0 as usize) {
            *known = index as u16;
        }
    }
}

/// Compiles a program now, as a run that may take so much would want it.
pub(crate) fn prepare(
    linked: &Arc<Linked>,
    machine: &Machine,
    tier: Tier,
    budget: Budget,
) -> Result<(), CompileFailure> {
    Native::get(linked, machine, tier, is_metered(linked, budget)).map(|_| ())
}

/// A program ready to run on a processor: what does not change between runs is in place.
pub(crate) struct Runner<'a> {
    owner: Owner<'a>,
    state: Box<RunState>,
    compiled: &'a Compiled,
    metered: bool,
    /// The fuel that a run starts with.
    slice: u64,
}

impl<'a> Runner<'a> {
    /// Compiles the program if it is not, and makes everything ready for runs with so much fuel.
    pub(crate) fn new(
        linked: &'a Arc<Linked>,
        machine: &'a Machine,
        cpu: &'a mut CpuState,
        tier: Tier,
        budget: Budget,
    ) -> Result<Runner<'a>, CompileFailure> {
        let metered = is_metered(linked, budget);
        let compiled = Native::get(linked, machine, tier, metered)?;
        let mut state = cpu.native.take().unwrap_or_else(runtime::new_state);
        state.window = machine.memory().window().base();
        state.frame_top = cpu.frame_top().into();
        cpu.tail_calls = 0;
        state.lowest_frame = cpu.lowest_frame().into();
        state.trapped = 0;
        state.processor = cpu.index.into();
        let (entered, trap, first_trap, panic) = (Vec::new(), None, None, None);
        let fuel = budget.fuel;
        let first = linked;
        let owner =
            Owner { machine, cpu, first, entered, tier, trap, first_trap, panic, fuel, given: 0 };
        Ok(Runner { owner, state, compiled, metered, slice: SLICE.min(fuel) })
    }

    /// How many bytes of the stack must be zero before a run; none if that is not known.
    #[inline]
    pub(crate) fn reads_stack(&self) -> Option<u32> {
        self.compiled.executable.reads_stack()
    }

    /// The processor.
    pub(crate) fn cpu(&mut self) -> &mut CpuState {
        self.owner.cpu
    }

    /// Runs the program from its start to its exit, whose `r0` this gives, or to a trap.
    #[inline]
    pub(crate) fn run(&mut self, args: [u64; 2]) -> Result<u64, Box<Trap>> {
        let Runner { owner, state, compiled, metered, slice } = self;
        // Code that is not metered asks for no fuel.
        if *metered {
            // A run that was asked to stop does so where it first asks for fuel.
            let given = if owner.cpu.is_stopping() { 0 } else { *slice };
            owner.given = given;
            state.fuel = given as i64;
        }
        state.args = args;
        state.owner = (&raw mut *owner).expose_provenance() as u64;
        // SAFETY: the code was compiled for this processor and the machine's window, whose guards
        // are as large as `exec` asks; the stack lies in the window; the sites belong to the code,
        // which the reference to the program keeps, as `entered` keeps those of tail calls; the
        // runtime functions find the owner, which outlives the call.
        let how = unsafe { compiled.executable.run(state) };
        if how == EXITED {
            if !owner.entered.is_empty() {
                owner.forget_tail_calls(state);
            }
            return Ok(state.r0);
        }
        Err(owner.stopped(state))
    }

    /// How many instructions the last run took, which came to its exit, if they were counted.
    #[inline]
    pub(crate) fn insns(&self) -> Option<u64> {
        let insns = (self.owner.given as i64).wrapping_sub(self.state.fuel) as u64;
        self.metered.then_some(insns)
    }

    /// Gives the state back to the processor, so that the next runner need not make one.
    fn finish(self) {
        self.owner.cpu.native = Some(self.state);
    }
}

/// Runs a program from its start to its exit or a trap.
pub(crate) fn run(
    linked: &Arc<Linked>,
    machine: &Machine,
    cpu: &mut CpuState,
    tier: Tier,
    start: Start,
) -> Result<Finished, RunError> {
    let mut runner = Runner::new(linked, machine, cpu, tier, start.budget)
        .map_err(|why| RunError::Compile { program: linked.name().to_owned(), why })?;
    let result = runner.run(start.args);
    let insns = runner.insns();
    runner.finish();
    Ok(Finished { r0: result?, insns })
}

impl Owner<'_> {
    /// Makes everything ready for another run after one that may have made tail calls.
    #[cold]
    fn forget_tail_calls(&mut self, state: &mut RunState) {
        self.entered.clear();
        self.cpu.tail_calls = 0;
        state.lowest_frame = self.cpu.lowest_frame().into();
    }

    /// The trap that ended a run. A helper's panic goes on instead.
    #[cold]
    fn stopped(&mut self, state: &mut RunState) -> Box<Trap> {
        let trap = self.trapped(state);
        self.forget_tail_calls(state);
        if let Some(payload) = self.panic.take() {
            panic::resume_unwind(payload);
        }
        trap
    }

    fn trapped(&mut self, state: &mut RunState) -> Box<Trap> {
        state.trapped = 0;
        let record = self.first_trap.take().unwrap_or(state.trap);
        let TrapRecord { code, insn, place, addr, len, write, .. } = record;
        let window = self.machine.memory().window();
        let code = TrapCode::ALL.into_iter().find(|known| *known as u32 == code);
        let kind = match code {
            Some(TrapCode::Memory) => {
                let access = if write == 0 { Access::Read } else { Access::Write };
                let fault = Fault { addr, len, access };
                return self.located(place, insn, |insn| match insn {
                    // The key of a lookup that is no call.
                    Insn::Call { callee: Callee::Helper(helper) } => {
                        TrapKind::HelperMemory { helper: *helper, arg: 2, fault }
                    }
                    _ => fault.into(),
                });
            }
            // Whether memory may be touched at all comes first.
            Some(TrapCode::MisalignedAtomic) => match window.check(addr, len, Access::Write) {
                Ok(()) => TrapKind::MisalignedAtomic { addr, len },
                Err(fault) => fault.into(),
            },
            Some(TrapCode::MisalignedOrdered) => TrapKind::MisalignedAtomic { addr, len },
            Some(TrapCode::CallDepth) => TrapKind::CallDepth { limit: self.cpu.frame_limit() },
            Some(TrapCode::KernelFunction) => TrapKind::KERNEL_FUNCTION,
            Some(TrapCode::AddressSpaceCast) => TrapKind::ADDRESS_SPACE_CAST,
            Some(TrapCode::Unreachable) => TrapKind::Unproved,
            _ => self.trap.take().unwrap_or(TrapKind::Stopped),
        };
        self.located(place, insn, |_| kind)
    }

    /// The trap at an instruction of the program that a place in its code belongs to.
    fn located(
        &self,
        place: u64,
        insn: u32,
        kind: impl FnOnce(&Insn<Pc>) -> TrapKind,
    ) -> Box<Trap> {
        let mut programs = [self.first].into_iter().chain(&self.entered);
        let linked = programs.find(|linked| linked.native().contains(place));
        let linked = linked.unwrap_or(self.first);
        let at = linked.insns().get(insn as usize).unwrap_or(&Insn::Exit);
        linked.trap(Pc::from_index(insn as usize), kind(at))
    }

    /// Calls a helper and gives what `r0` will hold.
    fn invoke(
        &mut self,
        state: &mut RunState,
        program: &Linked,
        helper: HelperId,
        implementation: &Implementation,
        args: [u64; 5],
    ) -> u64 {
        let mut call = Call { machine: self.machine, cpu: &mut *self.cpu, program, helper, args };
        let result = panic::catch_unwind(AssertUnwindSafe(|| implementation.call(&mut call)));
        match result {
            Ok(Ok(value)) => value,
            Ok(Err(kind)) => self.stop(state, kind),
            Err(payload) => {
                self.panic = Some(payload);
                self.stop(state, TrapKind::Stopped)
            }
        }
    }

    /// Adds fuel where there is less than none.
    fn refuel(&mut self, state: &mut RunState) -> Result<(), TrapKind> {
        while state.fuel < 0 {
            if self.cpu.take_stop() {
                return Err(TrapKind::Stopped);
            }
            if self.given == self.fuel {
                return Err(TrapKind::OutOfFuel { fuel: self.fuel });
            }
            let slice = SLICE.min(self.fuel - self.given);
            self.given += slice;
            state.fuel += slice as i64;
        }
        Ok(())
    }

    #[cold]
    fn stop(&mut self, state: &mut RunState, kind: TrapKind) -> u64 {
        self.trap = Some(kind);
        state.trapped = 1;
        0
    }
}

#[cfg(test)]
mod tests;
