//! The scalar domain against the live kernel's verifier.
//!
//! Random programs of arithmetic and branches are loaded with a full log; along the log's walk the
//! domain computes every register, and each value that the kernel prints must be ours, in every
//! field. `SKEP_ORACLE_PROGRAMS` and `SKEP_ORACLE_SEED` change number and seed.

mod generate;
mod replay;

use generate::Random;
use skep_kernel::{ProgSpec, Program, available, uapi};

/// An unsigned number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn scalars_are_the_live_kernels() {
    if let Err(reason) = available() {
        eprintln!("skipped: {reason}");
        return;
    }
    let programs = setting("SKEP_ORACLE_PROGRAMS", 500);
    let seed = setting("SKEP_ORACLE_SEED", 1);
    let mut tally = replay::Tally::default();
    let mut differences = Vec::new();
    for number in 0..programs {
        let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(number));
        let program = generate::program(&mut random);
        let insns = generate::encode(&program);
        let loaded = Program::load(&ProgSpec {
            prog_type: uapi::prog_type::SOCKET_FILTER,
            insns: &insns,
            licence: "MIT",
            log_level: uapi::log_level::TRACE,
            log_size: 1 << 20,
            ..ProgSpec::default()
        });
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => panic!("program {number} is refused: {error}\n{}", error.log),
        };
        if let Err(difference) = replay::compare(&program, loaded.log(), &mut tally) {
            differences.push(format!("program {number}: {difference}"));
        }
    }
    eprintln!("{programs} programs: {tally:?}, {} differ", differences.len());
    assert!(
        differences.is_empty(),
        "{} of {programs} programs differ:\n{}",
        differences.len(),
        differences.iter().take(5).cloned().collect::<Vec<_>>().join("\n")
    );
    assert!(tally.registers > programs, "hardly anything was compared");
}
