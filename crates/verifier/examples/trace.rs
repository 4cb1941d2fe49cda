//! Our walk of a recorded test beside the live kernel's log, and where they part.
//!
//! `cargo run -p skep-verifier --example trace -- NAME [--all]`
//! `cargo run -p skep-verifier --example trace -- FILE.o PROGRAM LOG [--all]`
//!
//! Prints the first step at which order, pruning or a register differ; with `--all` every step of
//! ours. Without a kernel to ask, or for maps with types, only our walk is shown. Of an object the
//! log is a file, as a loader got it with log level 2.

#[path = "../tests/vectors/record.rs"]
#[expect(dead_code, reason = "the test uses what the example does not")]
mod record;

use record::{Case, Record};
use skep::prepare::{PrepareOptions, Verification, prepare};
use skep_bpf::codec::Slot;
use skep_kernel::{Map, MapSpec, ProgSpec, Program, available, relocate, uapi};
use skep_object::{CoreRelocations, KernelFunctions, LinkOptions};
use skep_verifier::kernel_log::{Entry, Register, State, entries, parse_state};
use skep_verifier::{Event, Input, KernelTypes, MapFacts, Profile, verify_observed};
use std::sync::Arc;

/// A step of a walk.
#[derive(Debug)]
enum Step {
    /// An instruction, with the state after it as far as it is known.
    Insn(usize, String),
    /// A path ends in a state that is covered.
    Covered(usize),
    /// A waiting branch is taken up.
    Resumed(usize, String),
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(name) = arguments.first() else {
        eprintln!("usage: trace NAME [--all]");
        std::process::exit(2);
    };
    if let [object, program, log, ..] = arguments.as_slice()
        && object.ends_with(".o")
    {
        let log = std::fs::read_to_string(log).expect("the log can be read");
        return trace_object(object, program, &log, arguments.contains(&"--all".to_owned()));
    }
    let records = record::records("vt61.jsonl.gz").unwrap_or_default();
    let Some(record) = records.iter().find(|record| record.name == *name) else {
        eprintln!("no record is named {name:?}, or the records are not there");
        std::process::exit(1);
    };
    let case = record.case();
    let ours = our_steps(&case.input());
    if arguments.iter().any(|argument| argument == "--all") {
        for step in &ours {
            println!("{step:?}");
        }
    }
    match kernel_log(record, &case) {
        Ok(log) => compare(&ours, &log),
        Err(reason) => println!("no log of the kernel: {reason}"),
    }
}

fn trace_object(path: &str, program: &str, log: &str, all: bool) {
    let bytes = std::fs::read(path).expect("the object can be read");
    let link = LinkOptions {
        core_relocations: CoreRelocations::AsCompiled,
        kernel_functions: KernelFunctions::ByName,
    };
    let kernel_types = Arc::new(KernelTypes::new(|| {
        std::fs::read("/sys/kernel/btf/vmlinux").map_err(|error| error.to_string())
    }));
    let options = PrepareOptions {
        verification: Verification::Off,
        link,
        kernel_types: Some(kernel_types),
        ..Default::default()
    };
    let prepared = prepare(&bytes, path, options).expect("an object");
    let Some(found) = prepared.programs.iter().find(|found| found.name == program) else {
        eprintln!("no program is named {program:?}");
        std::process::exit(1);
    };
    let facts = prepared.facts(found, Profile::linux(2)).expect("a program that can be linked");
    let ours = our_steps(&facts.input());
    if all {
        ours.iter().for_each(|step| println!("{step:?}"));
    }
    compare(&ours, log);
}

fn our_steps(input: &Input<'_>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut observer = |observed: &skep_verifier::Observed<'_>| {
        let at = observed.at().0;
        match observed.event() {
            Event::Before => steps.push(Step::Insn(at, String::new())),
            Event::After => {
                if let Some(Step::Insn(_, state)) = steps.last_mut() {
                    *state = observed.to_string();
                }
            }
            Event::Covered => {
                // A branch that is covered at once was not taken up.
                if matches!(steps.last(), Some(Step::Resumed(..))) {
                    steps.pop();
                }
                steps.push(Step::Covered(at));
            }
            Event::Waiting | Event::Finished => {}
            Event::Resumed => steps.push(Step::Resumed(at, observed.to_string())),
        }
    };
    match verify_observed(input, &mut observer) {
        Ok(verified) => println!("ours: accepted, {:?}", verified.stats()),
        Err(rejection) => println!("ours: {rejection} at {:?}", rejection.at),
    }
    steps
}

fn kernel_log(record: &Record, case: &Case) -> Result<String, String> {
    available().map_err(|reason| reason.to_string())?;
    let input = case.input();
    let maps: Result<Vec<Map>, String> = input.maps.iter().map(create).collect();
    let maps = maps?;
    let mut insns: Vec<[u8; 8]> =
        input.bytecode.slots.iter().map(|slot: &Slot| slot.to_bytes()).collect();
    relocate(&mut insns, &maps).map_err(|error| error.to_string())?;
    let loaded = Program::load(&ProgSpec {
        prog_type: input.prog_type.0,
        expected_attach_type: input.attach_type.0,
        insns: &insns,
        licence: "GPL",
        flags: record.load_flags,
        log_level: uapi::log_level::TRACE,
        log_size: 1 << 20,
        ..ProgSpec::default()
    });
    match loaded {
        Ok(program) => {
            println!("kernel: accepted, {:?}", program.counters());
            Ok(program.log().to_owned())
        }
        Err(error) => {
            println!("kernel: {}", error.reason().unwrap_or("no reason given"));
            Ok(error.log)
        }
    }
}

fn create(map: &MapFacts) -> Result<Map, String> {
    if map.has_types {
        return Err(String::from("a map has types"));
    }
    let inner = map.inner.as_deref().map(create).transpose()?;
    Map::create(&MapSpec {
        map_type: map.map_type.0,
        key_size: map.key_size,
        value_size: map.value_size,
        max_entries: map.max_entries,
        flags: map.flags.0,
        inner: inner.as_ref(),
        ..MapSpec::default()
    })
    .map_err(|error| error.to_string())
}

fn compare(ours: &[Step], log: &str) {
    let mut place = 0;
    for (line, entry) in entries(log) {
        // The end of a callback prints where it returns to, which is no waiting branch.
        if let Ok(Entry::From { from, to, state: Some(_), .. }) = &entry
            && let [.., before, next] = &ours[..=place.min(ours.len() - 1)]
            && matches!((before, next), (Step::Insn(at, _), Step::Insn(next, _))
                if *at == *from as usize && *next == *to as usize)
        {
            continue;
        }
        let (at, state, is_same): (usize, Option<State<'_>>, fn(&Step) -> bool) = match entry {
            Ok(Entry::Insn { insn, state, .. }) => {
                (insn as usize, state, |step| matches!(step, Step::Insn(..)))
            }
            Ok(Entry::Safe { insn, .. }) => {
                (insn as usize, None, |step| matches!(step, Step::Covered(_)))
            }
            Ok(Entry::From { to, state: None, .. }) => {
                (to as usize, None, |step| matches!(step, Step::Covered(_)))
            }
            Ok(Entry::From { to, state, .. }) => {
                (to as usize, state, |step| matches!(step, Step::Resumed(..)))
            }
            _ => continue,
        };
        let step = ours.get(place);
        let reached = step.is_some_and(|step| is_same(step) && slot_of(step) == at);
        let difference = match (step, &state) {
            (Some(step), Some(state)) if reached => differing_register(step, state),
            _ => None,
        };
        if !reached || difference.is_some() {
            println!("step {place} differs, line {line} of the log:");
            println!("  kernel {}", log.lines().nth(line - 1).unwrap_or_default());
            println!("  ours   {step:?}");
            if let Some(difference) = difference {
                println!("  {difference}");
            }
            return;
        }
        place += 1;
    }
    println!("{place} steps of the kernel are ours, in order and in every register it printed");
    if place < ours.len() {
        println!("ours goes on: {:?}", ours[place]);
    }
}

fn slot_of(step: &Step) -> usize {
    match step {
        Step::Insn(at, _) | Step::Covered(at) | Step::Resumed(at, _) => *at,
    }
}

fn differing_register(step: &Step, theirs: &State<'_>) -> Option<String> {
    let (Step::Insn(_, text) | Step::Resumed(_, text)) = step else { return None };
    let ours = match parse_state(text) {
        Ok(ours) => ours,
        Err(error) => return Some(format!("our state cannot be read: {error}")),
    };
    // The log leaves the state of the instruction that left a function to others.
    if text.is_empty() || ours.frame != theirs.frame {
        return None;
    }
    theirs.registers.iter().find_map(|(reg, theirs)| match ours.register(*reg) {
        Some(ours) if same(ours, theirs) => None,
        ours => Some(format!("{reg}: kernel {theirs:?}\n      ours   {ours:?}")),
    })
}

/// The same but for ids, precision and names.
fn same(ours: &Register<'_>, theirs: &Register<'_>) -> bool {
    ours.kind == theirs.kind
        && ours.offset == theirs.offset
        && ours.value == theirs.value
        && ours.range == theirs.range
        && ours.mem_size == theirs.mem_size
        && ours.key_size == theirs.key_size
        && ours.value_size == theirs.value_size
        && ours.id.is_some() == theirs.id.is_some()
}
