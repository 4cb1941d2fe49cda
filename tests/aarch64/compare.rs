//! Compiling a program for the runner, and how an outcome differs from what was noted.

use std::collections::HashSet;
use std::sync::Arc;

use skep::helpers::implemented;
use skep::machine::{Loaded, Machine};
use skep::memory::{Access, Fault};
use skep::region::END_ADDR;
use skep::trap::TrapKind;
use skep_bpf::insn::{HelperId, Insn};
use skep_bpf::platform::MapType;
use skep_bpf::program::{Pc, Program};
use skep_jit::a64::Features;
use skep_jit::abi::TrapCode;
use skep_jit::source::{Array, Binding, Lookup, Source, no_lookup};
use skep_jit::ssa::Passes;
use skep_jit::{CompileOptions, Target, Tier, compile};
use skep_verifier::Verified;

use super::case::{ABSENT, Case, CodePart, Outcome, Status};
use super::record::{Event, EventKind, EventOutcome, Recording, Reference, helper_args};

/// Which compiler, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The tier.
    pub tier: Tier,
    /// Whether the processor has FEAT_LSE.
    pub lse: bool,
    /// Whether fuel is counted.
    pub metered: bool,
    /// Which passes the optimising tier makes.
    pub passes: Passes,
    /// Whether the compiler is told the proof, and relies on it alone.
    pub proof: Proof,
}

/// What the compiler does with a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// It knows of none.
    None,
    /// It knows one, and contains the code all the same.
    Used,
    /// It relies on it alone.
    Trusted,
}

impl Subject {
    /// Compiles a program whose references are numbers. `site` tells programs apart.
    ///
    /// # Errors
    ///
    /// What the compiler says.
    pub fn compile(
        self,
        program: &Program,
        insns: &[Insn<Pc>],
        proof: Option<&Verified>,
        site: u64,
    ) -> Result<CodePart, String> {
        self.compile_with((program, insns), proof, site, &no_lookup)
    }

    /// As [`Subject::compile`], with lookups in maps that are known.
    fn compile_with(
        self,
        (program, insns): (&Program, &[Insn<Pc>]),
        proof: Option<&Verified>,
        site: u64,
        lookup: &dyn Fn(u64) -> Option<Lookup>,
    ) -> Result<CodePart, String> {
        let known: HashSet<HelperId> = implemented().collect();
        let helper = |id: HelperId| {
            let site = if known.contains(&id) { id.0.into() } else { ABSENT };
            let args = helper_args(id);
            if id == HelperId::LOOP {
                return Binding::CallsBack { site, args };
            }
            Binding::Generic { site, args }
        };
        let function = |value: u64| {
            let index = value.checked_sub(u64::from(END_ADDR))?;
            Some(program.functions().get(usize::try_from(index).ok()?)?.entry)
        };
        let metered = self.metered;
        let proof = proof.filter(|_| self.proof != Proof::None);
        let source = Source {
            program,
            insns,
            proof,
            metered,
            helper: &helper,
            lookup,
            function: &function,
            site,
        };
        let target = Target::A64(Features { lse: self.lse });
        let contained = self.proof != Proof::Trusted;
        let passes = self.passes;
        let options = CompileOptions { contained, passes, ..CompileOptions::default() };
        let code = compile(&source, target, self.tier, &options);
        let code = Arc::new(code.map_err(|error| error.to_string())?);
        let functions =
            (0..program.functions().len()).map(|index| (u64::from(END_ADDR) + index as u64, index));
        Ok(CodePart { code, functions: functions.collect() })
    }

    /// A run of a program that was recorded. A run that is not metered must end by itself.
    ///
    /// # Errors
    ///
    /// What the compiler says.
    pub fn case(
        self,
        loaded: &Loaded,
        recording: &Arc<Recording>,
        fuel: u64,
    ) -> Result<Case, String> {
        let linked = loaded.linked();
        let proof = loaded.verified().map(|proof| &**proof);
        let lookup = |value| array(loaded.machine(), value);
        // The lookups are no calls then, and none of them was noted.
        let is_lookup = |event: &Event| event.kind == EventKind::Helper(HelperId::MAP_LOOKUP_ELEM);
        let inlined = !recording.events.iter().any(is_lookup);
        let code = (linked.program(), linked.insns());
        let lookup: &dyn Fn(u64) -> Option<Lookup> = if inlined { &lookup } else { &no_lookup };
        let part = self.compile_with(code, proof, 0, lookup)?;
        let recording = Arc::clone(recording);
        Ok(Case { codes: vec![part], recording, fuel, slice: SLICE })
    }

    /// Whether a recorded run can be repeated so.
    #[must_use]
    pub fn suits(self, loaded: &Loaded, recording: &Recording) -> bool {
        let finishes = matches!(recording.end, Reference::Finished { .. });
        let proved = loaded.verified().is_some();
        (self.metered || finishes) && (self.proof == Proof::None || proved)
    }
}

/// The array that a value refers to, as its lookups show it.
fn array(machine: &Machine, value: u64) -> Option<Lookup> {
    let (_, map) = machine.map_at(value)?;
    let spec = map.spec();
    let per_cpu = match spec.map_type {
        MapType::ARRAY => false,
        MapType::PERCPU_ARRAY => true,
        _ => return None,
    };
    let at = |cpu, index: u32| map.lookup(cpu, &index.to_le_bytes());
    let (start, entries) = (at(0, 0)?, spec.max_entries);
    let stride = at(0, 1).map_or(8, |second| second - start);
    let cpus = machine.host().cpus;
    let per_cpu = at(1, 0).filter(|_| per_cpu).map(|other| (cpus, other - start));
    Some(Lookup::Array(Array { entries, start, stride, per_cpu }))
}

/// Fuel is asked for now and then even in short runs.
pub const SLICE: u64 = 300;

/// Why the runtime refused, as `runner.c` numbers it.
const REASONS: [&str; 7] =
    ["nothing", "by-event", "not-a-function", "no-packet", "no-fuel", "no-helper", "too-deep"];

/// How an outcome differs from what was noted; `None` if it does not.
#[must_use]
pub fn difference(
    subject: Subject,
    program: &Program,
    recording: &Recording,
    outcome: &Outcome,
) -> Option<String> {
    let differs = |what: &str, have: &dyn std::fmt::Debug, want: &dyn std::fmt::Debug| {
        Some(format!(
            "{what} is {have:x?}, expected {want:x?}; {outcome:x?}",
            outcome = Brief(outcome)
        ))
    };
    match &recording.end {
        Reference::Finished { r0, insns } => {
            if outcome.status != Status::Exited {
                return differs("the end", &outcome.status, &Status::Exited);
            }
            if outcome.r0 != *r0 {
                return differs("r0", &outcome.r0, r0);
            }
            if let (true, Some(insns)) = (subject.metered, insns)
                && outcome.spent != *insns
            {
                return differs("the fuel spent", &outcome.spent, insns);
            }
        }
        Reference::Trap(trap) => {
            if outcome.status != Status::Trapped {
                return differs("the end", &outcome.status, trap);
            }
            let insn = program.pc_at(trap.slot).map(|pc| pc.index() as u64);
            if Some(outcome.trap[1]) != insn {
                return differs("the instruction", &outcome.trap[1], &insn);
            }
            if !is_same_trap(outcome, &trap.kind, recording) {
                return differs("the trap", &outcome.trap, trap);
            }
        }
    }
    let answered = recording.events.len() as u64;
    if outcome.answered != answered {
        return differs("the number of calls", &outcome.answered, &answered);
    }
    let optimised = subject.tier == Tier::Optimising;
    if optimised && outcome.status == Status::Trapped {
        return None;
    }
    let after = outcome.after(&recording.before);
    // Optimised code need not keep in memory what nobody reads there.
    for (addr, page) in recording.after.0.iter().filter(|(_, page)| !(optimised && page.is_stack)) {
        let have = after.0.get(addr).map(|page| &page.bytes[..]).unwrap_or_default();
        if have == page.bytes {
            continue;
        }
        if let Some(at) = (0..page.bytes.len()).find(|at| have.get(*at) != Some(&page.bytes[*at])) {
            let (have, want) = (have.get(at), page.bytes[at]);
            return differs(&format!("the byte at {:#x}", addr + at as u32), &have, &want);
        }
    }
    None
}

/// An outcome without memory.
struct Brief<'a>(&'a Outcome);

impl std::fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Outcome { status, r0, spent, trap, reason, answered, .. } = self.0;
        write!(f, "{status:?} {r0:#x} {spent} {trap:x?} {reason} {answered}")
    }
}

fn is_same_trap(outcome: &Outcome, kind: &TrapKind, recording: &Recording) -> bool {
    let [code, _, addr, len, write] = outcome.trap;
    let code = TrapCode::ALL.get(code as usize).copied();
    let reason = REASONS.get(outcome.reason as usize).copied();
    let place = (addr as u32, len as u32);
    match (kind, code) {
        (TrapKind::Memory(fault), Some(TrapCode::Memory)) => {
            let access = if write == 0 { Access::Read } else { Access::Write };
            *fault == Fault { addr: place.0, len: place.1, access }
        }
        // Whether memory allows the access is for the embedder to ask.
        (TrapKind::Memory(fault), Some(TrapCode::MisalignedAtomic)) => {
            place == (fault.addr, fault.len)
        }
        (
            TrapKind::MisalignedAtomic { addr, len },
            Some(TrapCode::MisalignedAtomic | TrapCode::MisalignedOrdered),
        ) => place == (*addr, *len),
        (TrapKind::CallDepth { .. }, Some(TrapCode::CallDepth)) => true,
        (TrapKind::CallDepth { .. }, Some(TrapCode::Runtime)) => reason == Some("too-deep"),
        (TrapKind::Unsupported { what }, Some(TrapCode::KernelFunction)) => {
            *what == "a call of a kernel function"
        }
        (TrapKind::Unsupported { what }, Some(TrapCode::AddressSpaceCast)) => {
            *what == "an address space cast"
        }
        (TrapKind::OutOfFuel { .. }, Some(TrapCode::Runtime)) => reason == Some("no-fuel"),
        (TrapKind::NotAFunction { .. }, Some(TrapCode::Runtime)) => {
            reason == Some("not-a-function")
        }
        (TrapKind::NoSocketBuffer, Some(TrapCode::Runtime)) => reason == Some("no-packet"),
        (TrapKind::NoSuchHelper(_), Some(TrapCode::Runtime)) => reason == Some("no-helper"),
        (kind, Some(TrapCode::Runtime)) => {
            let last = recording.events.last().map(|event| &event.outcome);
            reason == Some("by-event") && last == Some(&EventOutcome::Trap(kind.clone()))
        }
        _ => false,
    }
}
