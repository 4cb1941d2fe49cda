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
        self.add_recorded(name, fuel, recording, &loaded);
    }

    /// Adds the runs of a program that was recorded.
    fn add_recorded(&mut self, name: &str, fuel: u64, recording: Recording, loaded: &Loaded) {
        let recording = Arc::new(recording);
        for subject in SUBJECTS {
            if subject.suits(loaded, &recording) {
                let case = subject.case(loaded, &recording, fuel);
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

/// `bpf_loop` as a loop, through the runtime where the function is not known, within itself, with
/// too little fuel, too deep, and with traps inside.
#[test]
fn functions_are_called_back_on_aarch64() {
    let Some((_folder, runner)) = runner() else { return };
    let texts = [
        // Known and unknown functions, which use all registers and their frames.
        "r6 = 6\nr7 = 7\nr8 = 8\nr9 = 9\n*(u64 *)(r10 - 8) = 100\nr5 = *(u64 *)(r1 + 0)\n\
         r2 = code_addr(f) ll\nif r5 == 0 goto chosen\nr2 = code_addr(g) ll\nchosen: r1 = 5\n\
         r3 = r10\nr3 += -8\nr4 = 0\ncall bpf_loop\nr0 += r6\nr0 += r7\nr0 += r8\nr0 += r9\n\
         r6 = *(u64 *)(r10 - 8)\nr0 += r6\nr0 += r1\nr0 += r5\nexit\n\
         f: r0 += r6\nr0 += r7\nr0 += r8\nr0 += r9\nr0 += r3\nr0 += r4\nr0 += r5\nr6 = r2\n\
         r7 = r1\n*(u64 *)(r10 - 8) = r0\nr9 = 77\nr8 = *(u64 *)(r6 + 0)\nr8 += r7\n\
         *(u64 *)(r6 + 0) = r8\nr0 = 0\nif r7 < 3 goto end\nr0 = 1\nend: exit\n\
         g: r3 = *(u64 *)(r2 + 0)\nr3 += r1\n*(u64 *)(r2 + 0) = r3\nr0 = 0\nexit",
        // Loops in loops, with helpers.
        "r1 = 4\nr2 = code_addr(f) ll\nr3 = r10\nr3 += -8\n*(u64 *)(r10 - 8) = 0\nr4 = 0\n\
         call bpf_loop\nr0 = *(u64 *)(r10 - 8)\nexit\n\
         f: r6 = r1\n*(u64 *)(r10 - 8) = 0\nr7 = r2\nr1 = 3\nr2 = code_addr(g) ll\nr3 = r10\n\
         r3 += -8\nr4 = 0\ncall bpf_loop\nr1 = *(u64 *)(r10 - 8)\nr1 *= r6\n\
         r2 = *(u64 *)(r7 + 0)\nr2 += r1\n*(u64 *)(r7 + 0) = r2\nr0 = 0\nexit\n\
         g: r6 = r2\nr7 = r1\ncall 8\nr3 = *(u64 *)(r6 + 0)\nr3 += r7\nr3 += r0\n\
         *(u64 *)(r6 + 0) = r3\nr0 = 0\nexit",
        // Too deep.
        "call f\nexit\nf: r1 = 2\nr2 = code_addr(f) ll\nr3 = 0\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit",
        // A trap two loops down; the second function is not known.
        "r6 = *(u64 *)(r1 + 0)\nr1 = 4\nr2 = code_addr(f) ll\nr3 = r6\nr4 = 0\ncall bpf_loop\nexit\n\
         f: r1 = 3\nr3 = r2\nr2 = code_addr(g) ll\nif r3 == 1 goto go\nr2 = code_addr(h) ll\n\
         go: r4 = 0\ncall bpf_loop\nr0 = 0\nexit\n\
         g: r0 = 0\nif r1 != 2 goto end\nr0 = *(u64 *)(r0 + 8)\nend: exit\nh: r0 = 5\nexit",
        // No function, flags, too many turns.
        "r1 = *(u64 *)(r1 + 0)\nr2 = 5\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit",
        "r4 = *(u64 *)(r1 + 0)\nr1 = 2\nr2 = code_addr(f) ll\nr3 = 0\ncall bpf_loop\nexit\n\
         f: r0 = 0\nexit",
        "r1 = *(u64 *)(r1 + 0)\nr1 += 8388607\nr1 *= -1\nr2 = code_addr(f) ll\nr3 = 0\nr4 = 0\n\
         call bpf_loop\nexit\nf: r0 = 1\nexit",
    ];
    let mut batch = Batch::default();
    for (number, text) in texts.into_iter().enumerate() {
        let bytecode = assemble(text).expect("an assembly").bytecode("loops");
        let program = Program::new(&bytecode).expect("a program");
        for word in [0_u64, 1, u64::MAX] {
            for fuel in (1..120).step_by(7).chain([1_000_000]) {
                let prepare = |machine: &Arc<Machine>| -> Result<Prepared<'_>, String> {
                    let loaded = machine.load("loops", ProgType::UNSPEC, program.clone(), &[]);
                    let loaded = loaded.map_err(|error| error.to_string())?;
                    let context = Box::new(RawMemory { bytes: word.to_le_bytes().to_vec() });
                    Ok(Prepared { loaded, others: Vec::new(), context })
                };
                batch.add(&format!("{number} with {word:#x} and {fuel}"), fuel, &prepare);
            }
        }
    }
    println!("{} runs of loops agree", batch.agree(&runner));
}

/// Lookups in arrays that the compilers know, which are no calls.
#[test]
fn elements_of_arrays_are_found_on_aarch64() {
    let Some((_folder, runner)) = runner() else { return };
    let text = "r6 = *(u64 *)(r1 + 0)\n*(u32 *)(r10 - 4) = r6\nr2 = r10\nr2 += -4\n\
        r1 = map_by_idx(0) ll\ncall bpf_map_lookup_elem\nr7 = r0\nif r0 == 0 goto none\n\
        r8 = *(u8 *)(r0 + 0)\nr7 += r8\nr7 <<= 8\nr7 += r1\nr7 += r5\nnone: r0 = r7\nexit";
    let bytecode = assemble(text).expect("an assembly").bytecode("lookups");
    let program = Program::new(&bytecode).expect("a program");
    let mut batch = Batch::default();
    for (map_type, value_bytes, entries) in [
        (MapType::ARRAY, 8, 33),
        (MapType::ARRAY, 1, 1),
        (MapType::ARRAY, 24, 5000),
        (MapType::PERCPU_ARRAY, 8, 33),
        (MapType::PERCPU_ARRAY, 20, 3),
    ] {
        let spec = MapSpec {
            name: "array".into(),
            map_type,
            key_bytes: 4,
            value_bytes,
            max_entries: entries,
            flags: MapFlags::default(),
            inner: None,
            extra: 0,
        };
        for word in [0_u64, 1, 2, 32, 33, 4999, 5000, 1 << 31, u32::MAX.into(), 1 << 32, u64::MAX] {
            let prepare = |machine: &Arc<Machine>| -> Result<Prepared<'_>, String> {
                let id = machine.create_map(spec.clone()).map_err(|error| error.to_string())?;
                let map = machine.map(id).ok_or("the map is gone")?;
                for index in 0..entries.min(40) {
                    let value = vec![index as u8 + 1; map.host_value_bytes()];
                    map.write(&index.to_le_bytes(), &value, 0)
                        .map_err(|error| error.to_string())?;
                }
                let loaded = machine.load("lookups", ProgType::UNSPEC, program.clone(), &[id]);
                let loaded = loaded.map_err(|error| error.to_string())?;
                let context = Box::new(RawMemory { bytes: word.to_le_bytes().to_vec() });
                Ok(Prepared { loaded, others: Vec::new(), context })
            };
            let recorded = Recording::new(&prepare, 1000).unwrap_or_else(|error| panic!("{error}"));
            let (mut recording, loaded) = recorded.expect("it ends");
            assert_eq!(recording.events.len(), 1, "the lookup");
            recording.events.clear();
            let name = format!("{map_type} of {entries} at {word:#x}");
            batch.add_recorded(&name, 1000, recording, &loaded);
        }
    }
    println!("{} runs of lookups agree", batch.agree(&runner));
}
