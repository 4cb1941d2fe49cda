//! Machine code for aarch64 under an emulator: see `skep_tests::aarch64`.

use std::sync::Arc;

use skep::context::{Context, RawMemory, Skb};
use skep::machine::{Loaded, Machine};
use skep::maps::MapSpec;
use skep_bpf::platform::{MapFlags, MapType, ProgType};
use skep_bpf::program::Program;
use skep_bpf::text::parse::assemble;
use skep_jit::Tier;
use skep_jit::ssa::Passes;
use skep_tests::aarch64::{Case, Prepared, Proof, Recording, Runner, SLICE, Subject, difference};
use skep_tests::corpus::{self, Input as CaseInput};
use skep_tests::engines;
use skep_tests::hostile;
use skep_tests::random::{Random, RandomProgram, layout};

const fn subject(tier: Tier, lse: bool, metered: bool) -> Subject {
    Subject { tier, lse, metered, passes: Passes::ALL, proof: Proof::None }
}

const TEMPLATE: Subject = subject(Tier::Template, true, true);
const OPTIMISING: Subject = subject(Tier::Optimising, true, true);

/// Everything that is compiled in a way of its own.
const SUBJECTS: [Subject; 10] = [
    TEMPLATE,
    subject(Tier::Template, false, true),
    subject(Tier::Template, true, false),
    Subject { proof: Proof::Used, ..TEMPLATE },
    Subject { proof: Proof::Trusted, metered: false, ..TEMPLATE },
    OPTIMISING,
    subject(Tier::Optimising, false, true),
    subject(Tier::Optimising, true, false),
    Subject { passes: Passes::NONE, ..OPTIMISING },
    Subject { proof: Proof::Used, metered: false, ..OPTIMISING },
];

/// The runner and its folder, or a message that it cannot be had.
pub(crate) fn runner() -> Option<(tempfile::TempDir, Runner)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runner = Runner::build(folder.path()).unwrap_or_else(|error| panic!("{error}"));
    if runner.is_none() {
        println!("skipped: no compiler or no emulator for aarch64");
    }
    Some((folder, runner?))
}

/// Cases with what they are called and what is expected of them.
#[derive(Default)]
pub(crate) struct Batch {
    cases: Vec<Case>,
    about: Vec<(Subject, String, Program)>,
    /// Runs that cannot be repeated.
    pub(crate) unrecorded: usize,
}

impl Batch {
    /// Adds the runs of a program on all subjects.
    pub(crate) fn add<'a>(
        &mut self,
        name: &str,
        fuel: u64,
        prepare: &dyn Fn(&Arc<Machine>) -> Result<Prepared<'a>, String>,
    ) {
        let recording = Recording::new(prepare, fuel).unwrap_or_else(|e| panic!("{name}: {e}"));
        let Some((recording, loaded)) = recording else {
            self.unrecorded += 1;
            return;
        };
        let recording = Arc::new(recording);
        for subject in SUBJECTS {
            if subject.suits(&loaded, &recording) {
                let case = subject.case(&loaded, &recording, fuel);
                self.cases.push(case.unwrap_or_else(|error| panic!("{name}: {error}")));
                self.about.push((subject, name.to_owned(), loaded.linked().program().clone()));
            }
        }
    }

    /// Runs the cases; gives how many there were.
    pub(crate) fn agree(self, runner: &Runner) -> usize {
        let outcomes = runner.run(&self.cases).unwrap_or_else(|error| panic!("{error}"));
        let mut differences = 0;
        for ((case, outcome), (subject, name, program)) in
            self.cases.iter().zip(&outcomes).zip(&self.about)
        {
            if let Some(difference) = difference(*subject, program, &case.recording, outcome) {
                differences += 1;
                println!("{name}: {subject:?}: {difference}");
            }
        }
        assert_eq!(differences, 0, "of {} runs", outcomes.len());
        outcomes.len()
    }
}

#[test]
fn the_corpus_runs_on_aarch64() {
    let Some((_folder, runner)) = runner() else { return };
    let mut batch = Batch::default();
    let cases = corpus::load().unwrap_or_else(|error| panic!("{error}"));
    for case in &cases {
        let program = case.program().unwrap_or_else(|error| panic!("{error}"));
        let prepare = |machine: &Arc<Machine>| -> Result<Prepared<'_>, String> {
            let (prog_type, context): (_, Box<dyn Context>) = match &case.input {
                CaseInput::Memory(bytes) => {
                    (ProgType::UNSPEC, Box::new(RawMemory { bytes: bytes.clone() }))
                }
                CaseInput::Packet(bytes) => {
                    let packet = Skb::new(ProgType::SCHED_CLS, bytes.clone());
                    (ProgType::SCHED_CLS, Box::new(packet))
                }
            };
            let loaded = engines::load_on(machine, program.clone(), prog_type, &case.maps)?;
            Ok(Prepared { loaded, others: Vec::new(), context })
        };
        batch.add(&format!("{}: {}", case.place, case.name), case.fuel, &prepare);
    }
    let unrecorded = batch.unrecorded;
    let ran = batch.agree(&runner);
    println!("{ran} runs of {} cases agree, {unrecorded} cases not recorded", cases.len());
    assert!(ran > cases.len(), "only {ran} runs");
    assert_eq!(unrecorded, 0);
}

/// How many random programs are made, unless `SKEP_AARCH64_PROGRAMS` says otherwise.
const PROGRAMS: u64 = 300;

fn programs() -> u64 {
    let wanted = std::env::var("SKEP_AARCH64_PROGRAMS").ok();
    wanted.map_or(PROGRAMS, |wanted| wanted.parse().expect("SKEP_AARCH64_PROGRAMS is a number"))
}

fn load_random(machine: &Arc<Machine>, random: &RandomProgram) -> Result<Loaded, String> {
    let spec = MapSpec {
        name: "value".into(),
        map_type: MapType::ARRAY,
        key_bytes: 4,
        value_bytes: layout::VALUE_BYTES as u32,
        max_entries: 1,
        flags: MapFlags::default(),
        inner: None,
        extra: 0,
    };
    let id = machine.create_map(spec).map_err(|error| error.to_string())?;
    let map = machine.map(id).ok_or("the map is gone")?;
    map.write(&[0; 4], &random.value, 0).map_err(|errno| errno.to_string())?;
    let proof = random.verify(machine.host().cpus)?;
    machine.load_verified("random", Arc::new(proof), &[id]).map_err(|error| error.to_string())
}

#[test]
fn random_programs_run_on_aarch64() {
    let Some((_folder, runner)) = runner() else { return };
    let (mut ran, mut unrecorded) = (0, 0);
    let seeds: Vec<u64> = (0..programs()).collect();
    for seeds in seeds.chunks(500) {
        let mut batch = Batch::default();
        for seed in seeds {
            let random = RandomProgram::new(*seed);
            let prepare = |machine: &Arc<Machine>| -> Result<Prepared<'_>, String> {
                let loaded = load_random(machine, &random)?;
                Ok(Prepared { loaded, others: Vec::new(), context: Box::new(RawMemory::default()) })
            };
            batch.add(&format!("seed {seed}"), 1_000_000, &prepare);
        }
        unrecorded += batch.unrecorded;
        ran += batch.agree(&runner);
    }
    println!("{ran} runs of {} random programs agree, {unrecorded} not recorded", seeds.len());
    assert!(ran > 0 || seeds.is_empty(), "no program ran");
}

/// Programs that nobody would write: most trap, at every kind of instruction, with all kinds of
/// addresses.
#[test]
fn hostile_programs_run_on_aarch64() {
    const FUEL: u64 = 2_000;
    let Some((_folder, runner)) = runner() else { return };
    let (mut ran, mut unrecorded) = (0, 0);
    let seeds: Vec<u64> = (0..programs()).collect();
    for seeds in seeds.chunks(500) {
        let mut batch = Batch::default();
        for seed in seeds {
            let mut random = Random::new(*seed);
            let program = hostile::program(&mut random);
            let bytes: Vec<u8> = (0..256).map(|_| random.bits() as u8).collect();
            let prepare = |machine: &Arc<Machine>| -> Result<Prepared<'_>, String> {
                let loaded = machine.load("hostile", ProgType::UNSPEC, program.clone(), &[]);
                let loaded = loaded.map_err(|error| error.to_string())?;
                Ok(Prepared {
                    loaded,
                    others: Vec::new(),
                    context: Box::new(RawMemory { bytes: bytes.clone() }),
                })
            };
            batch.add(&format!("seed {seed}"), FUEL, &prepare);
        }
        unrecorded += batch.unrecorded;
        ran += batch.agree(&runner);
    }
    println!("{ran} runs of {} hostile programs agree, {unrecorded} not recorded", seeds.len());
    assert!(ran > 0 || seeds.is_empty(), "no program ran");
}

/// Two programs that go on in each other until there were too many tail calls, one of them from a
/// function; then both go on themselves.
const FIRST: &str = "
    ldxdw %r3, [%r1]
    add %r3, 1
    stxdw [%r1], %r3
    mov %r6, 1000
    call local f
    add %r0, %r6
    exit
f:
    mov %r6, %r1
    lddw %r2, map_by_idx(0)
    mov %r3, 1
    call bpf_tail_call
    ldxdw %r0, [%r6]
    exit
";
const SECOND: &str = "
    mov %r9, %r1
    ldxdw %r3, [%r1]
    add %r3, 100
    stxdw [%r1], %r3
    jgt %r3, 600, done
    lddw %r2, map_by_idx(0)
    mov %r3, 0
    call bpf_tail_call
done:
    ldxdw %r0, [%r9]
    add %r0, %r8
    exit
";

fn load_both(machine: &Arc<Machine>) -> Result<Prepared<'static>, String> {
    let spec = MapSpec {
        name: "programs".into(),
        map_type: MapType::PROG_ARRAY,
        key_bytes: 4,
        value_bytes: 4,
        max_entries: 2,
        flags: MapFlags::default(),
        inner: None,
        extra: 0,
    };
    let id = machine.create_map(spec).map_err(|error| error.to_string())?;
    let map = machine.map(id).ok_or("the map is gone")?;
    let mut loaded = Vec::new();
    for (index, text) in [FIRST, SECOND].into_iter().enumerate() {
        let bytecode = assemble(text).map_err(|error| error.to_string())?.bytecode("tail");
        let program = Program::new(&bytecode).map_err(|error| error.to_string())?;
        let program = machine.load("tail", ProgType::UNSPEC, program, &[id]);
        let program = program.map_err(|error| error.to_string())?;
        map.set_program(&(index as u32).to_le_bytes(), Arc::clone(program.linked()))
            .map_err(|errno| errno.to_string())?;
        loaded.push(program);
    }
    let second = loaded.pop().ok_or("no program")?;
    let first = loaded.pop().ok_or("no program")?;
    let context = Box::new(RawMemory { bytes: vec![0; 8] });
    Ok(Prepared { loaded: first, others: vec![second], context })
}

#[test]
fn tail_calls_lead_from_tier_to_tier_on_aarch64() {
    const FUEL: u64 = 100_000;
    let Some((_folder, runner)) = runner() else { return };
    let recorded = Recording::new(&load_both, FUEL).unwrap_or_else(|error| panic!("{error}"));
    let (recording, _) = recorded.expect("it ends");
    let calls = recording.events.len();
    assert!(calls >= 10, "only {calls} tail calls");
    let recording = Arc::new(recording);
    let machine = Arc::new(Machine::new(skep::host::Host::default()).expect("guest memory"));
    let Prepared { loaded, others, .. } = load_both(&machine).expect("it was loaded before");
    let mut cases = Vec::new();
    let mut about = Vec::new();
    let suits = |subject: &Subject| subject.metered && subject.proof == Proof::None;
    let metered = || SUBJECTS.into_iter().filter(suits);
    for (first, second) in metered().flat_map(|first| metered().map(move |second| (first, second)))
    {
        let programs = [(first, &loaded), (second, &others[0])];
        let codes = programs.into_iter().enumerate().map(|(site, (subject, loaded))| {
            let linked = loaded.linked();
            subject
                .compile(linked.program(), linked.insns(), None, site as u64)
                .expect("it compiles")
        });
        let (codes, recording) = (codes.collect(), Arc::clone(&recording));
        cases.push(Case { codes, recording, fuel: FUEL, slice: SLICE });
        about.push((first, second));
    }
    let outcomes = runner.run(&cases).unwrap_or_else(|error| panic!("{error}"));
    for (outcome, (first, second)) in outcomes.iter().zip(about) {
        let difference = difference(first, loaded.linked().program(), &recording, outcome);
        assert_eq!(difference, None, "{first:?}, then {second:?}");
    }
    println!("{} pairs of tiers agree on {calls} tail calls", outcomes.len());
}

/// Jumps of every kind over more code than a bit test, or a conditional branch, reaches.
#[test]
fn far_jumps_arrive_on_aarch64() {
    let Some((_folder, runner)) = runner() else { return };
    let mut batch = Batch::default();
    for (between, count) in
        [("add %r0, 3\n", 3_000), ("add %r0, 3\n", 12_000), ("call 8\n", 29_000)]
    {
        let between = between.repeat(count);
        let text = format!(
            "ldxdw %r3, [%r1]\nmov %r0, 0\njset %r3, 1, last\njeq %r3, 4, last\n\
             again:\njslt %r3, 0, last\njgt %r3, 100, last\njset %r3, 0x3fe, over\nja over\n\
             {between}over:\nadd %r0, 5\nsub %r3, 1\njsgt %r3, -1, again\n\
             last:\nadd %r0, %r3\nexit\n"
        );
        let bytecode = assemble(&text).expect("an assembly").bytecode("far");
        let program = Program::new(&bytecode).expect("a program");
        for first in [1_u64, 4, 2, 1000, 1 << 63] {
            let prepare = |machine: &Arc<Machine>| -> Result<Prepared<'_>, String> {
                let loaded = machine.load("far", ProgType::UNSPEC, program.clone(), &[]);
                let loaded = loaded.map_err(|error| error.to_string())?;
                let context = Box::new(RawMemory { bytes: first.to_le_bytes().to_vec() });
                Ok(Prepared { loaded, others: Vec::new(), context })
            };
            batch.add(&format!("{count} from {first}"), 10_000_000, &prepare);
        }
    }
    println!("{} runs over far jumps agree", batch.agree(&runner));
}
