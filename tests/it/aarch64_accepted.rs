//! Programs that the verifier accepts as machine code for aarch64 under an emulator: those of the
//! generators of `skep_tests::verdicts`, and the old-style verifier selftests of Linux where they
//! are. What the proof says decides what the code leaves out.

use std::sync::Arc;

use skep::machine::{Machine, MapId};
use skep_bpf::insn::{Callee, Imm64, Insn};
use skep_bpf::program::Pc;
use skep_cli::record::Record;
use skep_tests::aarch64::Prepared;
use skep_tests::random::Random;
use skep_tests::verdicts::{Case, Generator, Input, Prover, maps};
use skep_verifier::{KernelTypes, Verified, verify};

use crate::aarch64::{Batch, runner};
use crate::agreement_vectors::vectors;

/// The processors of the machine whose runs are noted.
const CPUS: u32 = 2;
/// The most instructions of a run.
const FUEL: u64 = 200_000;
/// How many programs are run at once.
const AT_ONCE: usize = 50;
/// How many seeds of each generator are run, unless `SKEP_AARCH64_ACCEPTED` says otherwise.
const SEEDS: u64 = 3;
/// One in so many of the selftests is run, unless `SKEP_AARCH64_ACCEPTED` is set.
const SHARE: usize = 64;

fn seeds() -> Option<u64> {
    let wanted = std::env::var("SKEP_AARCH64_ACCEPTED").ok()?;
    Some(wanted.parse().expect("SKEP_AARCH64_ACCEPTED is a number"))
}

/// Whether what a program calls is noted: functions that helpers call back, and kernel functions,
/// are not.
fn is_noted(insns: &[Insn<Pc>]) -> bool {
    !insns.iter().any(|insn| {
        matches!(
            insn,
            Insn::LoadImm64 { imm: Imm64::Code(_), .. }
                | Insn::Call { callee: Callee::Kfunc { .. } | Callee::Reg(_) }
        )
    })
}

/// A program of a proof, ready to run on an input; an error if the machine does not load it.
fn ready(
    machine: &Arc<Machine>,
    proof: &Arc<Verified>,
    ids: &[MapId],
    input: Input,
) -> Result<Prepared<'static>, String> {
    let loaded = machine.load_verified("accepted", Arc::clone(proof), ids);
    let loaded = loaded.map_err(|error| error.to_string())?;
    Ok(Prepared { loaded, others: Vec::new(), context: input.into_context() })
}

/// What makes a program ready on a machine.
type Prepare<'a> = dyn Fn(&Arc<Machine>) -> Result<Prepared<'static>, String> + 'a;

/// Runs the programs that there are, many at a time; gives how many runs agree and how many
/// programs are left out.
fn agree<'a>(
    prepare: impl IntoIterator<Item = (String, Box<Prepare<'a>>)>,
) -> Option<(usize, usize)> {
    let (_folder, runner) = runner()?;
    let (mut ran, mut left_out) = (0, 0);
    let mut batch = Batch::default();
    let mut programs = 0;
    let probe = || Machine::new(skep::host::Host { cpus: CPUS, ..skep::host::Host::default() });
    for (name, prepare) in prepare {
        let machine = Arc::new(probe().expect("guest memory"));
        let suits = prepare(&machine).is_ok_and(|prepared| {
            let linked = prepared.loaded.linked();
            is_noted(linked.program().insns()) && prepared.context.suits(linked.prog_type())
        });
        if !suits {
            left_out += 1;
            continue;
        }
        batch.add(&name, FUEL, &prepare);
        programs += 1;
        if programs % AT_ONCE == 0 {
            left_out += batch.unrecorded;
            ran += std::mem::take(&mut batch).agree(&runner);
        }
    }
    left_out += batch.unrecorded;
    Some((ran + batch.agree(&runner), left_out))
}

#[test]
fn accepted_programs_run_on_aarch64() {
    let prover = Prover::new(CPUS).expect("types");
    let mut accepted = Vec::new();
    for generator in Generator::ALL {
        for seed in 0..seeds().unwrap_or(SEEDS) {
            let Ok(case) = generator.case(seed, &prover) else { continue };
            let Ok(proof) = prover.verify(&case) else { continue };
            accepted.push((format!("{generator:?} seed {seed}"), seed, case, Arc::new(proof)));
        }
    }
    let count = accepted.len();
    let prepared = accepted.into_iter().map(|(name, seed, case, proof)| {
        let prepare = move |machine: &Arc<Machine>| prepare_case(machine, &case, &proof, seed);
        let prepare: Box<Prepare<'_>> = Box::new(prepare);
        (name, prepare)
    });
    let Some((ran, left_out)) = agree(prepared) else { return };
    println!("{ran} runs of {count} accepted programs agree, {left_out} programs left out");
    assert!(ran > 0 || count == 0, "nothing ran");
}

fn prepare_case(
    machine: &Arc<Machine>,
    case: &Case,
    proof: &Arc<Verified>,
    seed: u64,
) -> Result<Prepared<'static>, String> {
    let mut random = Random::new(seed);
    let ids = maps::in_machine(machine)?;
    maps::fill(machine, &ids, &mut random)?;
    let ids = ids.into_iter().collect::<Option<Vec<_>>>().ok_or("a map is not implemented")?;
    ready(machine, proof, &ids, Input::random(case.prog_type, &mut random))
}

#[test]
fn vectors_run_on_aarch64() {
    let Some(lines) = vectors() else { return };
    let share = if seeds().is_some() { 1 } else { SHARE };
    let kernel = skep_cli::kernel::kernel_types(None).expect("it is read when it is needed");
    let accepted = lines.lines().step_by(share).filter_map(|line| accept(line, &kernel));
    let Some((ran, left_out)) = agree(accepted) else { return };
    println!("{ran} runs of vectors agree, {left_out} programs left out");
    assert!(ran > 0, "nothing ran");
}

/// What makes a program of a line ready, if it is accepted.
fn accept(line: &str, kernel: &Arc<KernelTypes>) -> Option<(String, Box<Prepare<'static>>)> {
    let record: Record = serde_json::from_str(line).expect("a record");
    let (Ok(case), Ok(around)) = (record.case(), record.surroundings(CPUS, kernel)) else {
        return None;
    };
    let proof = Arc::new(verify(&case.input(&around)).ok()?);
    let name = record.name.clone().unwrap_or_default();
    let prepare = move |machine: &Arc<Machine>| {
        let maps = around.maps_in(machine)?;
        let input = Input::random(proof.prog_type(), &mut Random::new(1));
        let ready = ready(machine, &proof, &maps, input)?;
        record.fill_maps(machine, &maps, &around)?;
        Ok(ready)
    };
    Some((name, Box::new(prepare)))
}
