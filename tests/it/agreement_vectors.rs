//! Every way to run a program gives the same for the old-style verifier selftests of Linux that
//! the verifier accepts.
//!
//! They are development data beside the repository; the test says so where they are absent.
//! `SKEP_AGREEMENT_VECTORS=1` takes all of them in place of one in sixteen.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use flate2::read::GzDecoder;
use skep::machine::{Loaded, MapId};
use skep::trap::TrapKind;
use skep_bpf::platform::ProgType;
use skep_cli::record::{Record, hex};
use skep_tests::agreement::{Lanes, Way};
use skep_tests::random::Random;
use skep_tests::verdicts::Input;
use skep_verifier::{KernelTypes, verify};

use crate::command::workspace;

/// One in so many is run unless the environment says otherwise.
const SHARE: usize = 16;
/// The processors of a lane's machine.
const CPUS: u32 = 2;
/// The most instructions of a run.
const FUEL: u64 = 10_000_000;
/// The packet of a run that gives none.
const ZEROS: [u8; 64] = [0; 64];

/// What became of the programs.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    ran: u64,
    finished: u64,
    runs: u64,
    left_out: u64,
    /// Programs and runs that there were not, by why.
    not_run: BTreeMap<String, u64>,
}

/// The selftests, a record a line; or a message that they are not there.
pub(crate) fn vectors() -> Option<String> {
    let path = workspace().join("../shared/kernel-vectors/vt61.jsonl.gz");
    let Ok(file) = std::fs::File::open(path) else {
        println!("skipped: the kernel's vectors are not there");
        return None;
    };
    let mut lines = String::new();
    GzDecoder::new(file).read_to_string(&mut lines).expect("text");
    Some(lines)
}

#[test]
fn vectors_agree() {
    let Some(lines) = vectors() else { return };
    let share = if std::env::var_os("SKEP_AGREEMENT_VECTORS").is_some() { 1 } else { SHARE };
    let kernel = skep_cli::kernel::kernel_types(None).expect("it is read when it is needed");
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    for line in lines.lines().step_by(share) {
        let record: Record = serde_json::from_str(line).expect("a record");
        if let Err(difference) = agree(&record, &kernel, &mut tally) {
            failures.push(format!("{}: {difference}", record.name.as_deref().unwrap_or_default()));
        }
    }
    println!(
        "vectors: {} accepted, {} of them ran, {} runs came to their exit; {} runs in {} other ways, \
         {} of them not compiled; {} programs differ",
        tally.accepted,
        tally.ran,
        tally.finished,
        tally.runs,
        Way::all().len() - 1,
        tally.left_out,
        failures.len()
    );
    for (why, count) in &tally.not_run {
        println!("  {count} not run: {why}");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(tally.finished > 0, "nothing ran");
}

fn agree(record: &Record, kernel: &Arc<KernelTypes>, tally: &mut Tally) -> Result<(), String> {
    let (Ok(case), Ok(around)) = (record.case(), record.surroundings(CPUS, kernel)) else {
        return Ok(());
    };
    let Ok(proof) = verify(&case.input(&around)) else { return Ok(()) };
    tally.accepted += 1;
    let proof = Arc::new(proof);
    let (mut loaded, mut proofs) = (Vec::new(), Vec::new());
    let lanes = Lanes::new(&mut |host| {
        let (machine, maps) = around.machine(host)?;
        let proved = machine.load_verified("main", Arc::clone(&proof), &maps);
        let proved = proved.map_err(|error| error.to_string())?;
        record.fill_maps(&machine, &maps, &around)?;
        loaded.push(plain(&proved, &maps)?);
        proofs.push(proved);
        Ok(machine)
    });
    let mut lanes = match lanes {
        Ok(lanes) => lanes,
        Err(why) => {
            *tally.not_run.entry(why).or_default() += 1;
            return Ok(());
        }
    };
    for (index, lane) in lanes.all().iter().enumerate() {
        if lane.way.proof {
            loaded[index] = proofs[index].clone();
        }
    }
    tally.ran += 1;
    let inputs = inputs(record, proof.prog_type());
    for input in &inputs {
        match lanes.run(&loaded, input, FUEL)?.end {
            Ok(_) => tally.finished += 1,
            Err((_, TrapKind::Region(_))) => {
                let why = "it needs more than a random context".to_owned();
                *tally.not_run.entry(why).or_default() += 1;
                break;
            }
            Err((_, kind)) => *tally.not_run.entry(kind.to_string()).or_default() += 1,
        }
        lanes.compare_memory()?;
    }
    if inputs.is_empty() {
        *tally.not_run.entry(format!("no input for {}", proof.prog_type())).or_default() += 1;
    }
    let (runs, left_out) = lanes.runs();
    tally.runs += runs;
    tally.left_out += left_out;
    Ok(())
}

/// The program without its proof.
fn plain(proved: &Loaded, maps: &[MapId]) -> Result<Loaded, String> {
    let linked = proved.linked();
    let program = linked.program().clone();
    let plain = proved.machine().load("main", linked.prog_type(), program, maps);
    plain.map_err(|error| error.to_string())
}

/// The inputs that the record asks for, and a random one.
pub(crate) fn inputs(record: &Record, prog_type: ProgType) -> Vec<Input> {
    let packets = record.runs.iter().filter_map(|run| {
        let data = hex("data", &run.data).ok()?;
        Input::with_packet(prog_type, if data.is_empty() { ZEROS.to_vec() } else { data })
    });
    let random = Input::random(prog_type, &mut Random::new(1));
    let mut inputs: Vec<Input> = packets.chain([random]).collect();
    inputs.retain_mut(|input| input.context().suits(prog_type));
    inputs
}
