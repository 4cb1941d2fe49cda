//! What accepted programs hold in their registers when they run is among what the verifier knows,
//! and they do not trap.
//!
//! A violation is a flaw of the verifier, even where no access goes wrong. Random programs, those
//! of the generators of `verdicts` (where the live kernel can be asked, which those need), and the
//! objects in the tree; with `SKEP_SELFTESTS` the objects of that directory too. Longer runs:
//! `SKEP_MEMBERSHIP_PROGRAMS=20000 cargo test --release -p skep-tests membership -- --nocapture`.

use std::path::{Path, PathBuf};

use skep::cpu::Cpu;
use skep::host::Host;
use skep::prepare::{
    PrepareOptions, Prepared, PreparedProgram, Verification, function_facts, map_facts, prepare,
};
use skep::run::{Finished, Options, RunError};
use skep::trap::TrapKind;
use skep_bpf::platform::{MapType, ProgType};
use skep_bpf::program::{Bytecode, Program};
use skep_cli::record::{Record, Surroundings};
use skep_object::{CoreRelocations, LinkOptions};
use skep_tests::membership::{Proof, Watch};
use skep_tests::random::{Machines, Random, RandomProgram, layout};
use skep_tests::verdicts::{Case, Generator, Input as Given, Judge, Ran, Runner, maps};
use skep_verifier::{Input, MapFacts, Profile};

use crate::agreement_vectors::{inputs, vectors};
use crate::command::workspace;

/// How many programs of each kind, unless the environment says otherwise.
const PROGRAMS: u64 = 300;
/// How often each program runs.
const RUNS: usize = 4;
/// The most instructions of a run of an object's program.
const FUEL: u64 = 20_000;
/// The processors of a machine for vectors.
const CPUS: u32 = 2;
/// Walks without pruning that are longer than this are left out.
const LONGEST: u64 = 20_000;

fn programs() -> u64 {
    match std::env::var("SKEP_MEMBERSHIP_PROGRAMS") {
        Ok(text) => text.parse().expect("a number of programs"),
        Err(_) => PROGRAMS,
    }
}

/// The ways to walk a program: what is known at an instruction differs between them.
fn profiles() -> [Profile; 3] {
    let normal = Profile { max_insns: LONGEST, ..Profile::linux(2) };
    [
        Profile { pruning: false, ..normal },
        normal,
        Profile { checkpoint_everywhere: true, ..normal },
    ]
}

/// What was compared.
#[derive(Debug, Default)]
struct Tally {
    programs: u64,
    runs: u64,
    found: u64,
    refused: u64,
    violations: Vec<String>,
}

impl Tally {
    fn print(&self, what: &str) {
        println!(
            "{what}: {} walks, {} runs, {} instructions with known registers; {} refused or too long, {} violations",
            self.programs,
            self.runs,
            self.found,
            self.refused,
            self.violations.len()
        );
        let shown: Vec<_> = self.violations.iter().take(3).collect();
        assert!(shown.is_empty(), "outside of what is known: {shown:#?}");
    }
}

#[test]
fn registers_of_random_programs_are_known() {
    let facts = [MapFacts::new(MapType::ARRAY, 4, layout::VALUE_BYTES as u32, 1)];
    let mut machines = Machines::new().expect("a machine");
    let mut tally = Tally::default();
    for seed in 1..=programs() {
        let program = RandomProgram::new(seed);
        let bytecode = Bytecode::from(program.slots().expect("code"));
        for profile in profiles() {
            let Ok(proof) = Proof::new(&input(&bytecode, ProgType::XDP, &facts, profile)) else {
                tally.refused += 1;
                continue;
            };
            let mut watch = Watch::new(&proof);
            machines.observe(&program, &mut watch).expect("the program runs to its end");
            tally.programs += 1;
            tally.runs += 1;
            tally.found += watch.found;
            tally.violations.extend(watch.violation.map(|why| format!("seed {seed}: {why}")));
        }
    }
    tally.print("random programs");
    assert!(tally.programs * 10 >= programs() * 9, "hardly any program was accepted: {tally:?}");
}

#[test]
fn registers_of_generated_programs_are_known() {
    let judge = match skep_kernel::available().map_err(|error| error.to_string()) {
        Ok(()) => Judge::new().expect("maps in the kernel"),
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    let facts = maps::facts().expect("facts");
    let mut runner = Runner::new().expect("a machine");
    for generator in Generator::ALL {
        let (mut tally, mut not_made) = (Tally::default(), Vec::new());
        for seed in 1..=programs() {
            match generator.case(seed, judge.prover()) {
                Ok(case) => watch_case(&case, &facts, &mut runner, seed, &mut tally),
                Err(why) => not_made.push(format!("seed {seed}: {why}")),
            }
        }
        tally.print(&format!("{generator:?}, {} not made", not_made.len()));
        // Few take too long to walk while they are made.
        assert!(not_made.len() as u64 * 100 <= programs(), "{generator:?}: {not_made:?}");
        assert!(tally.runs > 0, "nothing ran");
    }
}

fn watch_case(case: &Case, facts: &[MapFacts], runner: &mut Runner, seed: u64, tally: &mut Tally) {
    let bytecode = Bytecode::from(case.slots.clone());
    for profile in profiles() {
        let input = Input {
            attach_type: case.attach_type,
            ..input(&bytecode, case.prog_type, facts, profile)
        };
        let Ok(proof) = Proof::new(&input) else {
            tally.refused += 1;
            continue;
        };
        let mut random = Random::new(seed);
        let watched = runner.watch(case, &mut random, RUNS, &proof);
        let (ran, found, violation) = watched.expect("the machine runs it");
        tally.programs += 1;
        tally.found += found;
        if ran == Ran::Finished {
            tally.runs += RUNS as u64;
        }
        tally.violations.extend(violation.map(|why| format!("seed {seed}: {why}\n{case}")));
    }
}

fn input<'a>(
    bytecode: &'a Bytecode,
    prog_type: ProgType,
    maps: &'a [MapFacts],
    profile: Profile,
) -> Input<'a> {
    Input { maps, ..Input::new(bytecode, prog_type, profile) }
}

#[test]
fn registers_of_programs_of_objects_are_known() {
    let mut directories = vec![workspace().join("programs")];
    directories.extend(std::env::var_os("SKEP_SELFTESTS").map(PathBuf::from));
    for directory in directories {
        let mut tally = Tally::default();
        for path in objects(&directory) {
            watch_object(&path, &mut tally);
        }
        tally.print(&directory.file_name().unwrap_or_default().to_string_lossy());
        assert!(tally.runs > 0, "nothing ran");
    }
}

/// The old-style selftests of Linux, which exercise single rules; a share of them unless the
/// environment asks for long runs.
#[test]
fn registers_of_vectors_are_known() {
    let Some(lines) = vectors() else { return };
    let share = if std::env::var_os("SKEP_MEMBERSHIP_PROGRAMS").is_some() { 1 } else { 8 };
    let kernel = skep_cli::kernel::kernel_types(None).expect("it is read when it is needed");
    let mut tally = Tally::default();
    for line in lines.lines().step_by(share) {
        let record: Record = serde_json::from_str(line).expect("a record");
        let (Ok(case), Ok(around)) = (record.case(), record.surroundings(CPUS, &kernel)) else {
            continue;
        };
        let input = case.input(&around);
        for profile in profiles() {
            let profile = Profile { strict_alignment: input.profile.strict_alignment, ..profile };
            match Proof::new(&Input { profile, ..input }) {
                Ok(proof) => watch_vector(&record, &around, &input, &proof, &mut tally),
                Err(_) => tally.refused += 1,
            }
        }
    }
    tally.print("vectors");
    assert!(tally.runs > 0, "nothing ran");
}

fn watch_vector(
    record: &Record,
    around: &Surroundings,
    input: &Input<'_>,
    proof: &Proof,
    tally: &mut Tally,
) {
    // Some have what no machine takes where no path leads, or ask for maps that there are not.
    let Ok(program) = Program::new(input.bytecode) else { return };
    let Ok((machine, maps)) = around.machine(Host { cpus: CPUS, ..Host::default() }) else {
        return;
    };
    let Ok(loaded) = machine.load("main", input.prog_type, program, &maps) else { return };
    record.fill_maps(&machine, &maps, around).expect("the maps are filled");
    let mut cpu = Cpu::new(&machine).expect("a processor is free");
    tally.programs += 1;
    for mut given in inputs(record, input.prog_type) {
        let mut watch = Watch::new(proof);
        let options = Options { fuel: FUEL, ..Options::default() };
        let ended = loaded.observe(&mut cpu, given.context(), options, &mut watch);
        tally.runs += u64::from(ended.is_ok());
        tally.found += watch.found;
        let name = record.name.as_deref().unwrap_or_default();
        let violation = watch.violation.or_else(|| unsafe_end(ended));
        tally.violations.extend(violation.map(|why| format!("{name}: {why}")));
    }
}

/// A trap that the proof excludes: any but those for want of fuel, or of something that this
/// machine does not have.
fn unsafe_end(ended: Result<Finished, RunError>) -> Option<String> {
    let Err(RunError::Trap(trap)) = ended else { return None };
    match trap.kind {
        TrapKind::OutOfFuel { .. }
        | TrapKind::NoSuchHelper(_)
        | TrapKind::HelperContext { .. }
        | TrapKind::Unsupported { .. } => None,
        _ => Some(trap.to_string()),
    }
}

fn objects(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "o")).collect();
    paths.sort();
    paths
}

fn watch_object(path: &Path, tally: &mut Tally) {
    let bytes = std::fs::read(path).expect("an object");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let link =
        LinkOptions { core_relocations: CoreRelocations::AsCompiled, ..LinkOptions::default() };
    let verification = Verification::Off;
    let options = PrepareOptions { link, verification, ..PrepareOptions::default() };
    let Ok(prepared) = prepare(&bytes, &name, options) else { return };
    let mut cpu = Cpu::new(&prepared.machine).expect("a processor is free");
    for program in &prepared.programs {
        for profile in profiles() {
            watch_program(&prepared, program, profile, &mut cpu, tally);
        }
    }
}

fn watch_program(
    prepared: &Prepared,
    program: &PreparedProgram,
    profile: Profile,
    cpu: &mut Cpu,
    tally: &mut Tally,
) {
    let (Some(linked), Ok(loaded)) = (&program.linked, &program.result) else { return };
    let object = &prepared.object;
    let defs = linked.maps.iter().filter_map(|index| object.map(*index));
    let maps: Vec<MapFacts> = defs.map(|def| map_facts(object, 2, def)).collect();
    let functions = function_facts(object, linked, program.prog_type);
    let input = Input {
        attach_type: program.attach_type,
        functions: &functions,
        types: object.btf(),
        ..input(&linked.bytecode, program.prog_type, &maps, profile)
    };
    let proof = match Proof::new(&input) {
        Ok(proof) => proof,
        Err(_) => {
            tally.refused += 1;
            return;
        }
    };
    tally.programs += 1;
    for run in 0..RUNS as u64 {
        let mut given = Given::random(program.prog_type, &mut Random::new(run));
        let is_whole = given.is_whole(program.prog_type);
        let input = given.context();
        if !input.suits(program.prog_type) {
            return;
        }
        let mut watch = Watch::new(&proof);
        // A helper that the machine does not have ends a run; what was seen before counts.
        let options = Options { fuel: FUEL, ..Options::default() };
        let ended = loaded.observe(cpu, input, options, &mut watch);
        tally.runs += u64::from(ended.is_ok());
        tally.found += watch.found;
        let of = |why| format!("{}:{}: {why}", prepared.object.name(), program.name);
        let unsafe_end = || unsafe_end(ended).filter(|_| is_whole);
        tally.violations.extend(watch.violation.or_else(unsafe_end).map(of));
    }
}
