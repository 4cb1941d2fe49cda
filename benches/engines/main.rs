//! Our engines against others', on the programs in `kernels/`:
//! `cargo bench -p skep-benches --bench engines -- [--json] [--rounds N] [--sample-us N]
//! [--engines NAME,..] [--svg FILE] [KERNEL|LOOKUP..]`.

mod engine;
mod kernel;
mod linux;
mod lookups;
mod native;
mod ours;
mod plot;
mod rbpf_engine;
mod report;
mod sbpf_engine;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use skep_cli::measure::{Outcome, Settings, Subject, measure};

use engine::{ENGINES, Engine, Expected};
use kernel::{KERNELS, Kernel};
use lookups::{LOOKUPS_MEASURED, Lookup};
use native::Native;
use report::{Measured, Row};

struct Arguments {
    json: bool,
    svg: Option<PathBuf>,
    settings: Settings,
    engines: Vec<Engine>,
    kernels: Vec<&'static Kernel>,
    lookups: Vec<&'static Lookup>,
}

/// The engines that a list names.
fn engines(list: &str) -> Result<Vec<Engine>, String> {
    let find = |name: &str| {
        let found = ENGINES.iter().find(|engine| engine.name == name).copied();
        found.ok_or_else(|| {
            let names: Vec<&str> = ENGINES.iter().map(|engine| engine.name).collect();
            format!("no engine {name:?}; engines are {}", names.join(", "))
        })
    };
    list.split(',').map(find).collect()
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut settings = Settings { rounds: 21, sample: Duration::from_millis(2), compare: true };
    let (mut json, mut svg) = (false, None);
    let (mut kernels, mut chosen) = (Vec::new(), ENGINES.to_vec());
    let mut lookups: Vec<&'static Lookup> = Vec::new();
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{argument} needs a value"));
        let number = |value: String| {
            let positive = value.parse::<u32>().ok().filter(|&number| number > 0);
            positive.ok_or_else(|| format!("{argument} needs a positive number, not {value:?}"))
        };
        match argument.as_str() {
            // What `cargo bench` passes on.
            "--bench" => {}
            "--json" => json = true,
            "--svg" => svg = Some(PathBuf::from(value()?)),
            "--rounds" => settings.rounds = number(value()?)? as usize,
            "--sample-us" => settings.sample = Duration::from_micros(number(value()?)?.into()),
            "--engines" => chosen = engines(&value()?)?,
            name => {
                if let Some(lookup) = LOOKUPS_MEASURED.iter().find(|lookup| lookup.name == name) {
                    lookups.push(lookup);
                    continue;
                }
                let found = KERNELS.iter().find(|kernel| kernel.name == name);
                kernels.push(found.ok_or_else(|| {
                    let names: Vec<&str> = KERNELS
                        .iter()
                        .map(|kernel| kernel.name)
                        .chain(LOOKUPS_MEASURED.iter().map(|lookup| lookup.name))
                        .collect();
                    format!("no kernel or option {name:?}; there are {}", names.join(", "))
                })?);
            }
        }
    }
    if kernels.is_empty() && lookups.is_empty() {
        kernels = KERNELS.iter().collect();
        lookups = LOOKUPS_MEASURED.iter().collect();
    }
    Ok(Arguments { json, svg, settings, engines: chosen, kernels, lookups })
}

/// A kernel on the engines that take it.
fn row(
    kernel: &Kernel,
    engines: &[Engine],
    native: Option<&Native>,
    settings: Settings,
) -> Result<Row, String> {
    let expected = Expected::of(kernel)?;
    let mut subjects: Vec<(&str, Box<dyn Subject>)> = Vec::new();
    for engine in engines {
        match engine.subject(kernel, &expected, native) {
            Ok(subject) => subjects.push((engine.name, subject)),
            Err(error) => eprintln!("{}: left out {}: {error}", kernel.name, engine.name),
        }
    }
    let insns = expected.outcome.insns.ok_or("our interpreter counts instructions")?;
    let mut executed = Vec::new();
    for (name, subject) in &mut subjects {
        let Outcome { insns: own, .. } =
            subject.run().map_err(|error| format!("{name}: {error}"))?;
        executed.push(own.unwrap_or(insns));
    }
    let measured = measure(&mut subjects, settings).map_err(|error| error.to_string())?;
    let names = subjects.iter().map(|(name, _)| (*name).to_owned());
    let engines = names
        .zip(measured)
        .zip(executed)
        .map(|((name, measured), executed)| Measured { name, samples: measured.samples, executed })
        .collect();
    Ok(Row { kernel: kernel.name, insns, engines })
}

/// Where and with what was measured.
fn caption(settings: &Settings, native: Option<&Native>) -> Vec<String> {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = file("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = cpu.map_or("an unknown processor", |(_, name)| name).trim().to_owned();
    let system = file("/proc/sys/kernel/osrelease");
    let system = system.split('-').next().unwrap_or_default().trim();
    let compiler = native.map_or("none", |native| native.compiler);
    let sample = settings.sample.as_micros();
    vec![
        format!("{cpu}; {} {}", std::env::consts::OS, system),
        format!(
            "native: {compiler} -O2; rbpf 0.4, solana-sbpf 0.26; {} samples of {sample} us each, \
             bars from the 10th to the 90th percentile",
            settings.rounds
        ),
    ]
}

fn run() -> Result<(), String> {
    let arguments = arguments(std::env::args().skip(1))?;
    let native = Native::build()
        .inspect_err(|error| eprintln!("without native code to compare to: {error}"))
        .ok();
    if let Some(native) = &native {
        eprintln!("native code by {} -O2", native.compiler);
    }
    let mut rows = Vec::new();
    for kernel in arguments.kernels {
        let row = row(kernel, &arguments.engines, native.as_ref(), arguments.settings);
        rows.push(row.map_err(|error| format!("{}: {error}", kernel.name))?);
    }
    let mut lookups = Vec::new();
    for lookup in arguments.lookups {
        let row = lookups::row(lookup, arguments.settings);
        lookups.push(row.map_err(|error| format!("{}: {error}", lookup.name))?);
    }
    if let Some(path) = &arguments.svg {
        let caption = caption(&arguments.settings, native.as_ref());
        let picture = plot::svg(&rows, &report::names(&rows), &caption);
        let picture = picture.ok_or("a picture needs native code to compare to")?;
        std::fs::write(path, picture).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if arguments.json {
        report::json(&rows, lookups::json(&lookups));
    } else {
        if !rows.is_empty() {
            report::table(&rows);
        }
        lookups::table(&lookups);
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
