//! Every way to run a program gives the same for the programs of objects that the verifier
//! accepts: those in the tree and, with `SKEP_SELFTESTS`, those of that directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use skep::host::Host;
use skep::machine::{Loaded, Machine};
use skep::prepare::{PrepareOptions, Prepared, PreparedProgram, Verdict, Verification, prepare};
use skep::trap::TrapKind;
use skep_object::{CoreRelocations, KernelFunctions, LinkOptions};
use skep_tests::agreement::{Lane, Lanes, Way};
use skep_tests::random::Random;
use skep_tests::verdicts::Input;
use skep_verifier::Verified;

use crate::command::{objects_in, workspace};

/// How often a program runs.
const RUNS: u64 = 3;
/// The most instructions of a run.
const FUEL: u64 = 2_000_000;

/// What became of the programs of a directory.
#[derive(Debug, Default)]
struct Tally {
    objects: u64,
    accepted: u64,
    finished: u64,
    runs: u64,
    left_out: u64,
    /// Programs and runs that there were not, by why.
    not_run: BTreeMap<String, u64>,
}

impl Tally {
    fn count(&mut self, bench: &Bench) {
        let (runs, left_out) = bench.lanes.runs();
        self.runs += runs;
        self.left_out += left_out;
    }
}

fn options(host: Host, verification: Verification) -> PrepareOptions {
    let link = LinkOptions {
        core_relocations: CoreRelocations::AsCompiled,
        kernel_functions: KernelFunctions::ByName,
    };
    let kernel_types = skep_cli::kernel::kernel_types(None).ok();
    PrepareOptions { host, link, verification, kernel_types, ..PrepareOptions::default() }
}

/// A program of an object that was accepted.
struct Accepted {
    name: String,
    proof: Arc<Verified>,
}

/// The accepted programs of an object.
fn accepted(bytes: &[u8], name: &str) -> Vec<Accepted> {
    let host = Host { cpus: 2, ..Host::default() };
    let Ok(prepared) = prepare(bytes, name, options(host, Verification::Linux)) else {
        return Vec::new();
    };
    let accepted = |program: &PreparedProgram| {
        let Verdict::Accepted(_) = program.verdict() else { return None };
        let proof = Arc::clone(program.verified.as_ref()?);
        Some(Accepted { name: program.name.clone(), proof })
    };
    prepared.programs.iter().filter_map(accepted).collect()
}

/// An object in every lane. There none of its programs has a proof: tail calls lead from machine
/// code with a proof into machine code without.
struct Bench {
    lanes: Lanes,
    prepared: Vec<Prepared>,
}

impl Bench {
    fn new(bytes: &[u8], name: &str) -> Result<Bench, String> {
        let mut all = Vec::new();
        let lanes = Lanes::new(&mut |host| {
            let prepared = prepare(bytes, name, options(host, Verification::Off));
            let prepared = prepared.map_err(|error| error.to_string())?;
            let machine = Arc::clone(&prepared.machine);
            all.push(prepared);
            Ok(machine)
        })?;
        Ok(Bench { lanes, prepared: all })
    }

    /// A program in each lane.
    fn load(&self, accepted: &Accepted) -> Result<Vec<Loaded>, String> {
        let lanes = self.lanes.all().iter().zip(&self.prepared);
        lanes.map(|(lane, prepared)| load(lane, prepared, accepted)).collect()
    }

    /// Runs a program in all lanes and compares everything.
    /// Gives whether the lanes are still alike.
    fn agree(&mut self, accepted: &Accepted, tally: &mut Tally) -> Result<bool, String> {
        let loaded = match self.load(accepted) {
            Ok(loaded) => loaded,
            Err(why) => {
                *tally.not_run.entry(why).or_default() += 1;
                return Ok(true);
            }
        };
        for run in 0..RUNS {
            let prog_type = accepted.proof.prog_type();
            let mut input = Input::random(prog_type, &mut Random::new(run));
            if !input.context().suits(prog_type) {
                *tally.not_run.entry(format!("no input for {prog_type}")).or_default() += 1;
                return Ok(true);
            }
            let outcome = self.lanes.run(&loaded, &input, FUEL)?;
            match outcome.end {
                Ok(_) => tally.finished += 1,
                Err((_, TrapKind::OutOfFuel { .. })) => {
                    *tally.not_run.entry("it takes too long".to_owned()).or_default() += 1;
                }
                Err((_, TrapKind::Region(_))) => {
                    let why = "it needs more than a random context".to_owned();
                    *tally.not_run.entry(why).or_default() += 1;
                    return Ok(false);
                }
                Err((_, kind)) => {
                    let why = match kind {
                        TrapKind::CallDepth { .. } => format!("{}: {kind}", accepted.name),
                        _ => kind.to_string(),
                    };
                    *tally.not_run.entry(why).or_default() += 1;
                }
            }
        }
        self.lanes.compare_memory().map(|()| true)
    }
}

fn load(lane: &Lane, prepared: &Prepared, accepted: &Accepted) -> Result<Loaded, String> {
    let program = prepared.programs.iter().find(|program| program.name == accepted.name);
    let program = program.ok_or("it is gone")?;
    let loaded = program.result.as_ref().map_err(|failure| failure.to_string())?;
    if !lane.way.proof {
        return Ok(loaded.clone());
    }
    let linked = program.linked.as_ref().ok_or("it has no code")?;
    let id = |index: &skep_object::MapIndex| prepared.maps.get(index.0)?.result.as_ref().ok();
    let maps = linked.maps.iter().map(|index| id(index).copied()).collect::<Option<Vec<_>>>();
    let maps = maps.ok_or("it has no maps")?;
    let machine: &Arc<Machine> = &prepared.machine;
    let proved = machine.load_verified(&accepted.name, Arc::clone(&accepted.proof), &maps);
    proved.map_err(|error| error.to_string())
}

fn directory(path: &Path, name: &str) -> Tally {
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    for object in objects_in(path) {
        let bytes = std::fs::read(&object).expect("an object");
        let file = object.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let accepted = accepted(&bytes, &file);
        tally.objects += 1;
        if accepted.is_empty() {
            continue;
        }
        let mut bench = Bench::new(&bytes, &file).expect("it was prepared before");
        for program in &accepted {
            tally.accepted += 1;
            let agreed = bench.agree(program, &mut tally);
            if agreed == Ok(true) {
                continue;
            }
            if let Err(difference) = agreed {
                failures.push(format!("{file}: {}: {difference}", program.name));
            }
            tally.count(&bench);
            bench = Bench::new(&bytes, &file).expect("it was prepared before");
        }
        tally.count(&bench);
    }
    println!(
        "{name}: {} objects, {} programs accepted, {} runs came to their exit; {} runs in {} other \
         ways, {} of them not compiled; {} programs differ; {:.1?}",
        tally.objects,
        tally.accepted,
        tally.finished,
        tally.runs,
        Way::all().len() - 1,
        tally.left_out,
        failures.len(),
        start.elapsed()
    );
    for (why, count) in &tally.not_run {
        println!("  {count} not run: {why}");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    tally
}

#[test]
fn programs_of_objects_agree() {
    let tally = directory(&workspace().join("programs"), "programs");
    assert!(tally.finished > 0, "nothing ran");
    let mut finished = 0;
    for kind in ["fixed", "rejected"] {
        finished += directory(&workspace().join("tests/verify").join(kind), kind).finished;
    }
    assert!(finished > 0, "nothing ran");
}

#[test]
fn selftests_agree() {
    let Some(path) = std::env::var_os("SKEP_SELFTESTS").map(PathBuf::from) else {
        println!("skipped: SKEP_SELFTESTS names no directory of objects");
        return;
    };
    assert!(directory(&path, "selftests").finished > 0, "nothing ran");
}
