//! Verifies a program of an object again and again, for a profiler to look at.
//!
//! `cargo run --release -p skep-verifier --example repeat -- FILE.o PROGRAM [TIMES]`
//!
//! Prints what a verification takes: the least and the median.

use skep::prepare::{PrepareOptions, Verification, prepare};
use skep_object::{CoreRelocations, KernelFunctions, LinkOptions};
use skep_verifier::{KernelTypes, Profile, verify};
use std::sync::Arc;
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, program, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: repeat FILE.o PROGRAM [TIMES]");
        std::process::exit(2);
    };
    let times = rest.first().map_or(10, |times| times.parse().expect("a number of times"));
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
    let Some(found) = prepared.programs.iter().find(|found| found.name == *program) else {
        eprintln!("no program is named {program:?}");
        std::process::exit(1);
    };
    let facts = prepared.facts(found, Profile::linux(2)).expect("a program that can be linked");
    let input = facts.input();
    let mut taken = Vec::new();
    for _ in 0..usize::max(times, 1) {
        let start = Instant::now();
        let verdict = verify(&input);
        taken.push(start.elapsed());
        if taken.len() == 1 {
            match verdict {
                Ok(verified) => println!("accepted, {:?}", verified.stats()),
                Err(rejection) => println!("{rejection}, {:?}", rejection.stats),
            }
        }
    }
    taken.sort();
    println!("least {:?}, median {:?}", taken[0], taken[taken.len() / 2]);
}
