//! How long the compiler takes: `compile_time FILE..`, each raw bytecode.
//!
//! Each program is compiled and made executable again and again; printed are the medians, in
//! microseconds for the program and in nanoseconds for an instruction.

use std::time::Instant;

use skep_bpf::codec::Slot;
use skep_bpf::platform::HelperId;
use skep_bpf::program::{Bytecode, Program};
use skep_jit::exec::Executable;
use skep_jit::source::{Binding, Source, no_function, no_lookup};
use skep_jit::{CompileOptions, Target, Tier, compile};

const TIMES: usize = 201;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn measure(name: &str, slots: Vec<Slot>) -> Result<(), Box<dyn std::error::Error>> {
    let target = Target::host().ok_or("there is no compiler for this computer")?;
    let program = Program::new(&Bytecode::from(slots))?;
    let insns = program.insns();
    let helper = |_: HelperId| Binding::Generic { site: 0, args: 5 };
    for metered in [false, true] {
        let source = Source {
            program: &program,
            insns,
            proof: None,
            metered,
            helper: &helper,
            lookup: &no_lookup,
            function: &no_function,
            site: 0,
        };
        let (mut compiling, mut all, mut bytes) = (Vec::new(), Vec::new(), 0);
        for _ in 0..TIMES {
            let start = Instant::now();
            let code = compile(&source, target, Tier::Template, &CompileOptions::default())?;
            compiling.push(start.elapsed().as_secs_f64());
            let executable = Executable::new(&code)?;
            all.push(start.elapsed().as_secs_f64());
            bytes = code.bytes.len();
            drop(executable);
        }
        let (compiling, all) = (median(compiling), median(all));
        let count = insns.len() as f64;
        println!(
            "{name:12} metered {metered:5}: {:6} instructions, {bytes} bytes: {:.2} us compiled, \
             {:.2} us executable, {:.1} ns per instruction",
            insns.len(),
            compiling * 1e6,
            all * 1e6,
            all * 1e9 / count
        );
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let exit = Slot::new(0x95, 0, 0, 0, 0);
    measure("two", vec![Slot::new(0xb7, 0, 0, 0, 0), exit])?;
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let slots = Slot::from_code(&bytes).ok_or("the length is no multiple of 8")?;
        let name = path.rsplit('/').next().unwrap_or(&path);
        measure(name, slots.clone())?;
        // Several of the same in a row, each ending where the next begins.
        let mut many = Vec::new();
        for _ in 0..3064_usize.div_ceil(slots.len()) {
            many.extend(slots.iter().map(|slot| match slot.to_bytes()[0] {
                0x95 => Slot::new(0x05, 0, 0, 0, 0),
                _ => *slot,
            }));
        }
        many.push(exit);
        measure(&format!("{name} many"), many)?;
    }
    Ok(())
}
