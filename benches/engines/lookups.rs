//! Map lookups: ours against the live kernel's, with the same instructions and the same contents.
//!
//! A run makes [`LOOKUPS`] lookups in a loop and adds up what it finds. In the large hash every run
//! goes on with other keys, so that what a lookup touches is in no cache; where a run goes on is
//! kept in a second map.

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};
use skep::cpu::Cpu;
use skep::host::Host;
use skep::machine::{Loaded, Machine, MapId};
use skep::run::{Engine, Options};
use skep_bpf::platform::{MapFlags, MapType, ProgType};
use skep_bpf::program::{Bytecode, Program};
use skep_bpf::text::parse::assemble;
use skep_cli::measure::{Measured, Outcome, Settings, Spread, Subject, measure, ratio};
use skep_kernel::{ProgSpec, TestRun, available, relocate, uapi};
use skep_verifier::{Input, MapFacts, Profile, verify};

/// How many lookups a run makes.
const LOOKUPS: u32 = 256;

/// A map and how its keys are chosen.
pub(crate) struct Lookup {
    pub(crate) name: &'static str,
    map_type: MapType,
    key_bytes: u32,
    entries: u32,
    /// Instructions that put the next key below the frame pointer; the turn is in `r6`, the
    /// state, which they change, in `r8`.
    choose: &'static str,
}

/// Every lookup that is measured.
pub(crate) const LOOKUPS_MEASURED: &[Lookup] = &[
    Lookup {
        name: "array",
        map_type: MapType::ARRAY,
        key_bytes: 4,
        entries: 256,
        choose: "r1 = r6\n r1 *= 17\n r1 &= 255\n *(u32 *)(r10 - 4) = r1\n r2 = r10\n r2 += -4",
    },
    Lookup {
        name: "percpu-array",
        map_type: MapType::PERCPU_ARRAY,
        key_bytes: 4,
        entries: 256,
        choose: "r1 = r6\n r1 *= 17\n r1 &= 255\n *(u32 *)(r10 - 4) = r1\n r2 = r10\n r2 += -4",
    },
    Lookup {
        name: "hash-1k",
        map_type: MapType::HASH,
        key_bytes: 16,
        entries: 1000,
        choose: HASH_KEY_OF_A_THOUSAND,
    },
    Lookup {
        name: "hash-1m",
        map_type: MapType::HASH,
        key_bytes: 16,
        entries: 1_000_000,
        choose: HASH_KEY_OF_A_MILLION,
    },
];

macro_rules! hash_key {
    ($entries:literal) => {
        concat!(
            "r1 = 6364136223846793005 ll\n r8 *= r1\n r1 = 1442695040888963407 ll\n r8 += r1\n ",
            "r1 = r8\n r1 >>= 32\n r1 *= ",
            $entries,
            "\n r1 >>= 32\n r2 = 11400714819323198485 ll\n r1 *= r2\n ",
            "*(u64 *)(r10 - 16) = r1\n r1 *= r1\n *(u64 *)(r10 - 8) = r1\n r2 = r10\n r2 += -16"
        )
    };
}

const HASH_KEY_OF_A_THOUSAND: &str = hash_key!("1000");
const HASH_KEY_OF_A_MILLION: &str = hash_key!("1000000");

/// Where the first run starts.
const SEED: u64 = 0x5eed;

impl Lookup {
    /// The key and the value of an element.
    fn element(&self, index: u32) -> (Vec<u8>, u64) {
        let number = u64::from(index).wrapping_mul(11_400_714_819_323_198_485);
        let key = match self.key_bytes {
            4 => index.to_le_bytes().to_vec(),
            _ => [number.to_le_bytes(), number.wrapping_mul(number).to_le_bytes()].concat(),
        };
        (key, number >> 7)
    }

    /// What the first run adds up.
    fn expected(&self) -> u64 {
        let mut state = SEED;
        let turn = |turn: u32| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let index = match self.key_bytes {
                4 => (turn * 17) & 255,
                _ => (((state >> 32) * u64::from(self.entries)) >> 32) as u32,
            };
            self.element(index).1
        };
        (0..LOOKUPS).map(turn).fold(0, u64::wrapping_add)
    }

    /// The program: the number of elements that it found, and in the second map the state and
    /// the sum.
    fn bytecode(&self) -> Result<Bytecode, String> {
        let text = format!(
            "r1 = map_by_idx(1)\n *(u32 *)(r10 - 4) = 0\n r2 = r10\n r2 += -4\n
             call bpf_map_lookup_elem\n if r0 == 0 goto end\n
             *(u64 *)(r10 - 24) = r0\n r8 = *(u64 *)(r0 + 0)\n r6 = 0\n r7 = 0\n r9 = 0\n
             loop:\n {}\n r1 = map_by_idx(0)\n call bpf_map_lookup_elem\n
             if r0 == 0 goto next\n r1 = *(u64 *)(r0 + 0)\n r7 += r1\n r9 += 1\n
             next: r6 += 1\n if r6 < {LOOKUPS} goto loop\n
             r1 = *(u64 *)(r10 - 24)\n *(u64 *)(r1 + 0) = r8\n *(u64 *)(r1 + 8) = r7\n
             r0 = r9\n end: exit",
            self.choose
        );
        let assembly = assemble(&text).map_err(|error| format!("{error}"))?;
        Ok(assembly.bytecode("lookups"))
    }
}

/// The value of the second map at the start.
fn first_state() -> Vec<u8> {
    [SEED.to_le_bytes(), [0; 8]].concat()
}

/// The sum in a value of the second map.
fn sum(value: &[u8]) -> u64 {
    value.get(8..16).and_then(|sum| sum.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn spec(lookup: Option<&Lookup>) -> skep::maps::MapSpec {
    skep::maps::MapSpec {
        name: lookup.map_or("state", |lookup| lookup.name).into(),
        map_type: lookup.map_or(MapType::ARRAY, |lookup| lookup.map_type),
        key_bytes: lookup.map_or(4, |lookup| lookup.key_bytes),
        value_bytes: if lookup.is_some() { 8 } else { 16 },
        max_entries: lookup.map_or(1, |lookup| lookup.entries),
        flags: MapFlags::default(),
        inner: None,
        extra: 0,
    }
}

/// A machine with a filled map, for several engines.
struct Filled {
    machine: Arc<Machine>,
    map: MapId,
    cpu: Rc<RefCell<Cpu>>,
}

impl Filled {
    fn new(lookup: &Lookup) -> Result<Filled, Box<dyn Error>> {
        let machine = Arc::new(Machine::new(Host::default())?);
        let id = machine.create_map(spec(Some(lookup)))?;
        let map = machine.map(id).ok_or("the map is gone")?;
        let copies = map.host_value_bytes() / 8;
        for (key, value) in (0..lookup.entries).map(|index| lookup.element(index)) {
            map.write(&key, &value.to_le_bytes().repeat(copies), 0)
                .map_err(|errno| errno.to_string())?;
        }
        let cpu = Rc::new(RefCell::new(Cpu::new(&machine)?));
        Ok(Filled { machine, map: id, cpu })
    }

    fn subject(
        &self,
        lookup: &Lookup,
        engine: Engine,
        proved: bool,
    ) -> Result<Box<dyn Subject>, Box<dyn Error>> {
        let machine = &self.machine;
        let state = machine.create_map(spec(None))?;
        let map = machine.map(state).ok_or("the map is gone")?;
        map.write(&[0; 4], &first_state(), 0).map_err(|errno| errno.to_string())?;
        let (bytecode, maps) = (lookup.bytecode()?, [self.map, state]);
        let loaded = if proved {
            let facts = [
                MapFacts::new(lookup.map_type, lookup.key_bytes, 8, lookup.entries),
                MapFacts::new(MapType::ARRAY, 4, 16, 1),
            ];
            let verified = verify(&Input {
                maps: &facts,
                ..Input::new(&bytecode, ProgType::SCHED_CLS, Profile::linux(machine.host().cpus))
            });
            let verified = verified.map_err(|rejection| rejection.message.clone())?;
            machine.load_verified(lookup.name, Arc::new(verified), &maps)?
        } else {
            let program = Program::new(&bytecode)?;
            machine.load(lookup.name, ProgType::SCHED_CLS, program, &maps)?
        };
        let options = Options { engine, ..Options::default() };
        let mut subject = Ours { loaded, options, cpu: Rc::clone(&self.cpu) };
        subject.run()?;
        let value = map.read(&[0; 4]).map_err(|errno| errno.to_string())?;
        check(lookup, &value)?;
        Ok(Box::new(subject))
    }
}

fn check(lookup: &Lookup, value: &[u8]) -> Result<(), String> {
    let (found, needed) = (sum(value), lookup.expected());
    if found == needed { Ok(()) } else { Err(format!("the sum is {found:#x}, not {needed:#x}")) }
}

/// The program on one of our engines.
struct Ours {
    loaded: Loaded,
    options: Options,
    cpu: Rc<RefCell<Cpu>>,
}

impl Subject for Ours {
    fn run(&mut self) -> Result<Outcome, String> {
        self.repeat(1)
    }

    fn repeat(&mut self, runs: u64) -> Result<Outcome, String> {
        let mut cpu = self.cpu.borrow_mut();
        let runner = self.loaded.runner(&mut cpu, self.options);
        let mut runner = runner.map_err(|error| error.to_string())?;
        let mut r0 = 0;
        for _ in 0..runs {
            r0 = runner.run([0; 2]).map_err(|trap| trap.to_string())?;
        }
        Ok(Outcome { r0, insns: None })
    }

    fn memory(&self) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

/// The program in the live kernel.
struct Linux {
    program: skep_kernel::Program,
}

fn kernel_map(lookup: Option<&Lookup>) -> Result<skep_kernel::Map, skep_kernel::Error> {
    let spec = spec(lookup);
    skep_kernel::Map::create(&skep_kernel::MapSpec {
        map_type: spec.map_type.0,
        key_size: spec.key_bytes,
        value_size: spec.value_bytes,
        max_entries: spec.max_entries,
        ..skep_kernel::MapSpec::default()
    })
}

fn linux(lookup: &Lookup) -> Result<Box<dyn Subject>, Box<dyn Error>> {
    available().map_err(|reason| reason.to_string())?;
    let (map, state) = (kernel_map(Some(lookup))?, kernel_map(None)?);
    let copies = map.value_len() / 8;
    for (key, value) in (0..lookup.entries).map(|index| lookup.element(index)) {
        map.update(&key, &value.to_le_bytes().repeat(copies), uapi::update_flag::ANY)?;
    }
    state.update(&[0; 4], &first_state(), uapi::update_flag::ANY)?;
    let mut insns: Vec<[u8; 8]> =
        lookup.bytecode()?.slots.into_iter().map(|slot| slot.to_bytes()).collect();
    relocate(&mut insns, &[&map, &state])?;
    let program = skep_kernel::Program::load(&ProgSpec {
        prog_type: uapi::prog_type::SCHED_CLS,
        insns: &insns,
        licence: "GPL",
        name: "lookups",
        log_level: uapi::log_level::STATS,
        ..ProgSpec::default()
    })?;
    let mut subject = Linux { program };
    subject.run()?;
    check(lookup, &state.lookup(&[0; 4])?.ok_or("the state is gone")?)?;
    Ok(Box::new(subject))
}

impl Subject for Linux {
    fn run(&mut self) -> Result<Outcome, String> {
        self.repeat(1)
    }

    fn repeat(&mut self, runs: u64) -> Result<Outcome, String> {
        let repeat = u32::try_from(runs).map_err(|_| "too many runs for one call".to_owned())?;
        let run = TestRun { data_in: &[0; 64], repeat, ..TestRun::default() };
        let result = self.program.test_run(&run).map_err(|error| error.to_string())?;
        Ok(Outcome { r0: result.retval.into(), insns: None })
    }

    fn memory(&self) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

/// A lookup's samples on the engines, in nanoseconds for each lookup.
pub(crate) struct Row {
    name: &'static str,
    engines: Vec<(&'static str, Vec<f64>)>,
}

/// Measures a lookup.
pub(crate) fn row(lookup: &Lookup, settings: Settings) -> Result<Row, String> {
    let filled = Filled::new(lookup).map_err(|error| error.to_string())?;
    let ours = |engine, proved| filled.subject(lookup, engine, proved);
    let made = [
        ("linux", linux(lookup)),
        ("skep", ours(Engine::Fast, false)),
        ("skep-jit1", ours(Engine::Template, false)),
        ("skep-jit", ours(Engine::Optimising, false)),
        ("skep-jit1-proved", ours(Engine::Template, true)),
        ("skep-jit-proved", ours(Engine::Optimising, true)),
    ];
    let mut subjects: Vec<(&'static str, Box<dyn Subject>)> = Vec::new();
    for (name, subject) in made {
        match subject {
            Ok(subject) => subjects.push((name, subject)),
            Err(error) => eprintln!("{}: left out {name}: {error}", lookup.name),
        }
    }
    let names: Vec<&'static str> = subjects.iter().map(|(name, _)| *name).collect();
    let samples = measure(&mut subjects, settings).map_err(|error| error.to_string())?;
    let each =
        |measured: Measured| measured.samples.iter().map(|ns| ns / f64::from(LOOKUPS)).collect();
    let engines = names.into_iter().zip(samples.into_iter().map(each)).collect();
    Ok(Row { name: lookup.name, engines })
}

impl Row {
    /// How many times as long as the live kernel an engine takes.
    fn times_linux(&self, samples: &[f64]) -> Option<f64> {
        let linux = self.engines.iter().find(|(name, _)| *name == "linux")?;
        Some(ratio(samples, &linux.1))
    }
}

/// Prints a table.
pub(crate) fn table(rows: &[Row]) {
    println!("\nns per lookup, the loop around it included: median (10th to 90th percentile)\n");
    println!("{:<14}{:<18}{:>26}{:>14}", "map", "engine", "ns", "times linux");
    for row in rows {
        for (name, samples) in &row.engines {
            let Some(Spread { p10, median, p90 }) = Spread::of(samples) else { continue };
            let ns = format!("{median:.2} ({p10:.2}-{p90:.2})");
            let times = row.times_linux(samples).unwrap_or(f64::NAN);
            println!("{:<14}{:<18}{ns:>26}{times:>14.2}", row.name, name);
        }
    }
}

/// What JSON says of them.
pub(crate) fn json(rows: &[Row]) -> Value {
    let engine = |row: &Row, (name, samples): &(&str, Vec<f64>)| {
        let spread = Spread::of(samples);
        json!({
            "engine": name,
            "ns_per_lookup": spread.map(|Spread { p10, median, p90 }| {
                json!({ "median": median, "p10": p10, "p90": p90 })
            }),
            "times_linux": row.times_linux(samples),
        })
    };
    let engines =
        |row: &Row| row.engines.iter().map(|measured| engine(row, measured)).collect::<Value>();
    rows.iter().map(|row| json!({ "map": row.name, "engines": engines(row) })).collect()
}
