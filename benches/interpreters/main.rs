//! Our interpreters against others', on the programs in `kernels/`:
//! `cargo bench -p skep-benches --bench interpreters -- [--json] [--rounds N] [--sample-us N]
//! [KERNEL..]`.

mod kernel;
mod native;
mod ours;
mod rbpf_engine;
mod report;
mod sbpf_engine;

use std::process::ExitCode;
use std::time::Duration;

use skep::run::Engine;
use skep_benches::{Outcome, Settings, Subject, measure};

use kernel::{KERNELS, Kernel};
use native::Native;
use ours::Ours;
use report::{Measured, Row};
use sbpf_engine::Version;

struct Arguments {
    json: bool,
    settings: Settings,
    kernels: Vec<&'static Kernel>,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut settings = Settings { rounds: 21, sample: Duration::from_millis(2) };
    let (mut json, mut kernels) = (false, Vec::new());
    while let Some(argument) = given.next() {
        let mut number = || {
            let value = given.next().ok_or_else(|| format!("{argument} needs a number"))?;
            let positive = value.parse::<u32>().ok().filter(|&number| number > 0);
            positive.ok_or_else(|| format!("{argument} needs a positive number, not {value:?}"))
        };
        match argument.as_str() {
            // What `cargo bench` passes on.
            "--bench" => {}
            "--json" => json = true,
            "--rounds" => settings.rounds = number()? as usize,
            "--sample-us" => settings.sample = Duration::from_micros(number()?.into()),
            name => {
                let found = KERNELS.iter().find(|kernel| kernel.name == name);
                kernels.push(found.ok_or_else(|| {
                    let names: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).collect();
                    format!("no kernel or option {name:?}; kernels are {}", names.join(", "))
                })?);
            }
        }
    }
    if kernels.is_empty() {
        kernels = KERNELS.iter().collect();
    }
    Ok(Arguments { json, settings, kernels })
}

/// The engines that a kernel runs on; the first is the one that others are compared to.
fn row(kernel: &Kernel, native: Option<&Native>, settings: Settings) -> Result<Row, String> {
    let mut fast = Ours::new(kernel, Engine::Fast)?;
    let outcome = fast.run()?;
    let memory = fast.memory()?;
    let mut engines: Vec<(&str, Box<dyn Subject>)> = vec![("skep", Box::new(fast))];
    let mut checked = Ours::new(kernel, Engine::Checked)?;
    match checked.run() {
        Ok(_) => engines.push(("skep-checked", Box::new(checked))),
        Err(error) => eprintln!("{}: left out the checked interpreter: {error}", kernel.name),
    }
    engines.push(("rbpf", Box::new(rbpf_engine::Rbpf::new(kernel)?)));
    for (name, version) in [("sbpf-v3", Version::V3), ("sbpf-v4", Version::V4)] {
        let sbpf = sbpf_engine::Sbpf::new(kernel, version, outcome, &memory)?;
        engines.push((name, Box::new(sbpf)));
    }
    if let Some(native) = native {
        engines.push(("native", Box::new(native.kernel(kernel)?)));
    }
    let insns = outcome.insns.ok_or("our engine counts instructions")?;
    let mut executed = Vec::new();
    for (name, engine) in &mut engines {
        let Outcome { r0, insns: own } =
            engine.run().map_err(|error| format!("{name}: {error}"))?;
        if r0 != outcome.r0 {
            return Err(format!("{name}: r0 is {r0:#x}, but skep's {:#x}", outcome.r0));
        }
        executed.push(own.unwrap_or(insns));
    }
    let samples = measure(&mut engines, settings).map_err(|error| error.to_string())?;
    let names = engines.iter().map(|(name, _)| (*name).to_owned());
    let engines = names
        .zip(samples)
        .zip(executed)
        .map(|((name, samples), executed)| Measured { name, samples, executed })
        .collect();
    Ok(Row { kernel: kernel.name, insns, engines })
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
        let row = row(kernel, native.as_ref(), arguments.settings);
        rows.push(row.map_err(|error| format!("{}: {error}", kernel.name))?);
    }
    if arguments.json {
        report::json(&rows)
    } else {
        report::table(&rows)
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
