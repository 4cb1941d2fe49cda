//! How long the compilers take: `cargo bench -p skep-benches --bench compile -- [--rounds N]
//! [--least INSNS] [--tier 1|2] [--unverified] [--made INSNS] [OBJECT.o ..]`.
//!
//! Without objects: our own programs, the kernels, and programs made to size; with `--made`
//! programs of the sizes given alone. Each program is compiled again and again, the tiers in turn;
//! figures are medians of the processor time from the loaded program to code that can be entered.
//! The last part of it, the way of the bytes into executable memory (*install*), is measured once
//! more by itself. Freeing is not counted.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use skep::host::Host;
use skep::machine::{Loaded, Machine};
use skep::prepare::{PrepareOptions, Verification, prepare};
use skep_bpf::codec::Slot;
use skep_bpf::platform::ProgType;
use skep_bpf::program::{Bytecode, Program};
use skep_bpf::text::parse::assemble;
use skep_jit::exec::Executable;
use skep_jit::{CompileOptions, Target, Tier};
use skep_object::{CoreRelocations, KernelFunctions, LinkOptions, Object};
use skep_verifier::KernelTypes;

type Failure = Box<dyn Error>;

/// The least processor time of a sample.
const SAMPLE_NS: u64 = 1_000_000;

struct Arguments {
    rounds: usize,
    least: usize,
    tiers: Vec<Tier>,
    verification: Verification,
    made: Vec<usize>,
    files: Vec<PathBuf>,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, Failure> {
    let (mut rounds, mut least) = (11, 0);
    let mut tiers = vec![Tier::Template, Tier::Optimising];
    let (mut verification, mut files) = (Verification::Linux, Vec::new());
    let mut made = Vec::new();
    while let Some(argument) = given.next() {
        let mut number = || -> Result<usize, Failure> {
            let value = given.next().ok_or_else(|| format!("{argument} needs a number"))?;
            Ok(value.parse().map_err(|_| format!("{argument} needs a number, not {value:?}"))?)
        };
        match argument.as_str() {
            // What `cargo bench` passes on.
            "--bench" => {}
            "--rounds" => rounds = number()?.max(1),
            "--least" => least = number()?,
            "--made" => made.push(number()?),
            "--tier" => {
                tiers = vec![if number()? == 1 { Tier::Template } else { Tier::Optimising }]
            }
            "--unverified" => verification = Verification::Off,
            option if option.starts_with('-') => return Err(format!("no option {option}").into()),
            file => files.push(file.into()),
        }
    }
    Ok(Arguments { rounds, least, tiers, verification, made, files })
}

fn main() -> Result<(), Failure> {
    let arguments = arguments(std::env::args().skip(1))?;
    let target = Target::host().ok_or("there is no compiler for this computer")?;
    println!("{:58} {:>8} {:>9} {:>26} {:>18}", "", "", "", "tier 1", "tier 2");
    println!(
        "{:58} {:>8} {:>9} {:>8} {:>8} {:>8} {:>9} {:>8}",
        "program", "insns", "", "us", "ns/insn", "install", "us", "us/insn"
    );
    let mut bench = Bench { target, arguments: &arguments, figures: Vec::new() };
    for &insns in &arguments.made {
        bench.code(&format!("made, {insns} instructions"), made(insns)?)?;
    }
    if arguments.files.is_empty() && arguments.made.is_empty() {
        bench.own()?;
    }
    for file in &arguments.files {
        if let Err(failure) = bench.object(file) {
            println!("{}: {failure}", file.display());
        }
    }
    bench.summary();
    Ok(())
}

/// What a tier took for a program, in nanoseconds.
#[derive(Clone, Copy)]
struct Cost {
    all: f64,
    /// The part of it that copies code into executable memory.
    install: f64,
}

struct Figure {
    insns: usize,
    template: Option<Cost>,
    optimising: Option<Cost>,
}

struct Bench<'a> {
    target: Target,
    arguments: &'a Arguments,
    figures: Vec<Figure>,
}

impl Bench<'_> {
    /// What there is without objects.
    fn own(&mut self) -> Result<(), Failure> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for insns in [2, 3_000, 10_000, 30_000, 100_000] {
            self.code(&format!("made, {insns} instructions"), made(insns)?)?;
        }
        for file in objects(&here.join("kernels"))? {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = std::fs::read(&file)?;
            let object = Object::parse(&bytes)?;
            let [function] = object.functions_named("prog")[..] else { continue };
            let linked = object.link(function.index, LinkOptions::default())?;
            self.code(&name, linked.bytecode.slots)?;
        }
        for file in objects(&here.join("../programs"))? {
            self.object(&file)?;
        }
        Ok(())
    }

    /// Code without maps, not verified.
    fn code(&mut self, name: &str, slots: Vec<Slot>) -> Result<(), Failure> {
        let machine = Arc::new(Machine::new(Host::default())?);
        let program = Program::new(&Bytecode::from(slots))?;
        let loaded = machine.load(name, ProgType::UNSPEC, program, &[])?;
        self.program(name, &loaded)
    }

    fn object(&mut self, file: &Path) -> Result<(), Failure> {
        let bytes = std::fs::read(file)?;
        let file = file.file_name().unwrap_or_default().to_string_lossy();
        let options = PrepareOptions {
            link: LinkOptions {
                core_relocations: CoreRelocations::AsCompiled,
                kernel_functions: KernelFunctions::ByName,
            },
            kernel_types: Some(Arc::new(KernelTypes::new(|| {
                std::fs::read("/sys/kernel/btf/vmlinux").map_err(|error| error.to_string())
            }))),
            verification: self.arguments.verification,
            ..PrepareOptions::default()
        };
        let prepared = prepare(&bytes, &file, options)?;
        for program in &prepared.programs {
            let name = format!("{file} {}", program.name);
            match &program.result {
                Ok(loaded) => self.program(&name, loaded)?,
                Err(failure) => println!("{name}: not loaded: {failure}"),
            }
        }
        Ok(())
    }

    fn program(&mut self, name: &str, loaded: &Loaded) -> Result<(), Failure> {
        let insns = loaded.linked().program().insns().len();
        if insns < self.arguments.least {
            return Ok(());
        }
        let mut measured: Vec<(Tier, Vec<Cost>, usize)> =
            self.arguments.tiers.iter().map(|tier| (*tier, Vec::new(), 1)).collect();
        for _ in 0..self.arguments.rounds {
            for (tier, samples, runs) in &mut measured {
                loop {
                    let cost = match self.sample(loaded, *tier, *runs) {
                        Ok(cost) => cost,
                        Err(failure) if samples.is_empty() && *runs == 1 => {
                            println!("{name}: {tier:?}: {failure}");
                            break;
                        }
                        Err(failure) => return Err(failure),
                    };
                    if cost.all * *runs as f64 >= SAMPLE_NS as f64 {
                        samples.push(cost);
                        break;
                    }
                    *runs *= 2;
                }
            }
        }
        let of = |wanted: Tier| {
            measured.iter().find(|(tier, ..)| *tier == wanted).and_then(|(_, s, _)| median(s))
        };
        let (template, optimising) = (of(Tier::Template), of(Tier::Optimising));
        let each = |cost: f64| cost / insns.max(1) as f64;
        let proved = if loaded.verified().is_some() { "proved" } else { "" };
        print!("{name:58} {insns:>8} {proved:>9}");
        match template {
            Some(cost) => {
                print!(" {:>8.1} {:>8.1}", cost.all / 1e3, each(cost.all));
                print!(" {:>8.1}", each(cost.install));
            }
            None => print!(" {:>8} {:>8} {:>8}", "-", "-", "-"),
        }
        match optimising {
            Some(cost) => println!(" {:>9.1} {:>8.2}", cost.all / 1e3, each(cost.all) / 1e3),
            None => println!(" {:>9} {:>8}", "-", "-"),
        }
        self.figures.push(Figure { insns, template, optimising });
        Ok(())
    }

    /// The cost of one compilation, measured over a number of them.
    fn sample(&self, loaded: &Loaded, tier: Tier, runs: usize) -> Result<Cost, Failure> {
        let options = CompileOptions::default();
        let mut installed = Vec::with_capacity(2 * runs);
        let start = now_ns();
        for _ in 0..runs {
            let code = loaded.machine_code(self.target, tier, &options)?;
            installed.push(black_box(Executable::new(&code)?));
        }
        let all = now_ns() - start;
        let code = loaded.machine_code(self.target, tier, &options)?;
        let start = now_ns();
        for _ in 0..runs {
            installed.push(black_box(Executable::new(&code)?));
        }
        let install = now_ns() - start;
        let each = |ns: u64| ns as f64 / runs as f64;
        Ok(Cost { all: each(all), install: each(install) })
    }

    fn summary(&self) {
        println!();
        for (label, from, to) in
            [("up to 499", 0, 499), ("500 to 4999", 500, 4_999), ("from 5000", 5_000, usize::MAX)]
        {
            let within = |figure: &&Figure| (from..=to).contains(&figure.insns);
            let figures: Vec<&Figure> = self.figures.iter().filter(within).collect();
            let ns = |cost: Cost, figure: &Figure| cost.all / figure.insns.max(1) as f64;
            let template = figures.iter().filter_map(|figure| Some(ns(figure.template?, figure)));
            let optimising =
                figures.iter().filter_map(|figure| Some(ns(figure.optimising?, figure)));
            let (template, optimising) = (spread(template), spread(optimising));
            println!(
                "{} programs of {label} instructions, ns per instruction (least, median, most): \
                 tier 1 {template}, tier 2 {optimising}",
                figures.len()
            );
        }
    }
}

fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let (least, median, most) = (at(0), at(values.len() / 2), at(values.len().saturating_sub(1)));
    format!("{least:.1}, {median:.1}, {most:.1}")
}

fn median(samples: &[Cost]) -> Option<Cost> {
    let mut samples = samples.to_vec();
    samples.sort_by(|a, b| a.all.total_cmp(&b.all));
    samples.get(samples.len() / 2).copied()
}

/// A program of so many instructions: loads, arithmetic, stores to the stack, short branches.
fn made(insns: usize) -> Result<Vec<Slot>, Failure> {
    const ROUND: [&str; 10] = [
        "r2 = *(u32 *)(r1 + 8)",
        "r0 += r2",
        "if r0 > 1000 goto +3",
        "r3 = r0",
        "r3 *= 31",
        "*(u64 *)(r10 - 8) = r3",
        "r4 = *(u8 *)(r1 + 3)",
        "r0 ^= r4",
        "if r0 == 7 goto +1",
        "r0 <<= 1",
    ];
    let mut text = String::new();
    let before = insns.saturating_sub(2);
    for line in ROUND.iter().cycle().take(before / ROUND.len() * ROUND.len()) {
        text.push_str(line);
        text.push('\n');
    }
    for _ in 0..before % ROUND.len() {
        text.push_str("r0 += 1\n");
    }
    text.push_str("r0 = 0\nexit\n");
    Ok(assemble(&text)?.slots)
}

/// The processor time that this thread has used.
fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The objects of a folder, by name.
fn objects(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries: Result<Vec<_>, _> = std::fs::read_dir(folder)?.collect();
    let mut files: Vec<PathBuf> = entries?.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "o"));
    files.sort();
    Ok(files)
}
