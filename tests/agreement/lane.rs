//! Machines side by side, and what their runs gave.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use skep::cpu::Cpu;
use skep::host::Host;
use skep::machine::{Loaded, Machine};
use skep::run::{CompileFailure, Engine, Finished, Options, RunError};
use skep::trap::TrapKind;
use skep_bpf::codec::SlotIndex;

use super::{Way, memory};
use crate::verdicts::Input;

/// What programs printed since it was last asked.
type Printed = Arc<Mutex<String>>;

/// A machine of a way.
#[derive(Debug)]
pub struct Lane {
    /// The way.
    pub way: Way,
    /// The machine.
    pub machine: Arc<Machine>,
    cpu: Cpu,
    printed: Printed,
}

/// How a run ended: with an exit or with a trap at an instruction.
type End = Result<Finished, (SlotIndex, TrapKind)>;

/// What a run gave.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The input afterwards.
    pub input: Input,
    /// What was printed.
    pub printed: String,
}

/// The processors of a machine.
pub(super) const CPUS: u32 = 2;

/// A world in which the same questions in the same order have the same answers.
fn host(printed: &Printed) -> Host {
    let counter = |from: u64| {
        let next = AtomicU64::new(from);
        move || next.fetch_add(7, Ordering::Relaxed)
    };
    let (random, printed) = (counter(0x1234_5678), Arc::clone(printed));
    Host {
        ktime_ns: Box::new(counter(1_000)),
        boot_ns: Box::new(counter(2_000)),
        tai_ns: Box::new(counter(3_000)),
        random: Box::new(move || random().wrapping_mul(0x9e37_79b9) as u32),
        cpus: CPUS,
        pid_tgid: Box::new(|| 5 << 32 | 6),
        uid_gid: Box::new(|| 7 << 32 | 8),
        comm: Box::new(|| *b"comm\0\0\0\0\0\0\0\0\0\0\0\0"),
        printk: Box::new(move |text| {
            let mut printed = printed.lock().expect("nothing panics while it is locked");
            printed.push_str(text);
            printed.push('\n');
        }),
        ..Host::default()
    }
}

impl Lane {
    /// A lane whose machine is made of a host.
    ///
    /// # Errors
    ///
    /// What keeps the machine from being made.
    pub fn new(
        way: Way,
        machine: impl FnOnce(Host) -> Result<Arc<Machine>, String>,
    ) -> Result<Lane, String> {
        let printed = Printed::default();
        let machine = machine(host(&printed))?;
        machine.set_passes(way.passes());
        let cpu = Cpu::new(&machine).map_err(|error| error.to_string())?;
        Ok(Lane { way, machine, cpu, printed })
    }

    /// Runs a program. If there is no compiler that takes it, the fast interpreter does, so that
    /// the machine stays like the others; this is the second of what is given.
    fn run(
        &mut self,
        loaded: &Loaded,
        mut input: Input,
        fuel: u64,
    ) -> Result<(Outcome, bool), String> {
        let options = self.way.options(fuel);
        let mut ended = loaded.run(&mut self.cpu, input.context(), options);
        let left_out = match &ended {
            Err(RunError::Compile { why: CompileFailure::Refused(_), .. }) => true,
            Err(RunError::Trap(_)) | Ok(_) => false,
            Err(other) => return Err(other.to_string()),
        };
        if left_out {
            let options = Options { engine: Engine::Fast, ..options };
            ended = loaded.run(&mut self.cpu, input.context(), options);
        }
        let end = match ended {
            Ok(finished) => Ok(finished),
            Err(RunError::Trap(trap)) => Err((trap.slot, trap.kind)),
            Err(other) => return Err(other.to_string()),
        };
        let mut printed = self.printed.lock().expect("nothing panics while it is locked");
        let printed = std::mem::take(&mut *printed);
        Ok((Outcome { end, input, printed }, left_out))
    }
}

/// The lanes of all ways.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<Lane>,
    /// How many runs were compared, and in how many of them the program was not compiled.
    runs: (u64, u64),
}

impl Lanes {
    /// A lane for each way, whose machines are made of hosts, all in the same manner.
    ///
    /// # Errors
    ///
    /// What keeps a machine from being made.
    pub fn new(
        machine: &mut dyn FnMut(Host) -> Result<Arc<Machine>, String>,
    ) -> Result<Lanes, String> {
        let lanes = Way::all().into_iter().map(|way| Lane::new(way, &mut *machine));
        Ok(Lanes { lanes: lanes.collect::<Result<_, _>>()?, runs: (0, 0) })
    }

    /// The lanes, that of the checked interpreter first.
    #[must_use]
    pub fn all(&self) -> &[Lane] {
        &self.lanes
    }

    /// How many runs were compared with that in the checked interpreter, and how many of them were
    /// not machine code's although they should have been.
    #[must_use]
    pub fn runs(&self) -> (u64, u64) {
        self.runs
    }

    /// Runs a program, loaded in each lane, on an input, and compares all but memory. Gives what
    /// the checked interpreter made of it. If it leaves an object there, the input is not what the
    /// program was accepted for, and the other lanes do not run it: they are no longer alike.
    ///
    /// # Errors
    ///
    /// How a run differs from what it must repeat, or why it could not be made.
    pub fn run(&mut self, loaded: &[Loaded], input: &Input, fuel: u64) -> Result<Outcome, String> {
        let mut expected: Option<Outcome> = None;
        for (lane, loaded) in self.lanes.iter_mut().zip(loaded) {
            let ran = lane.run(loaded, input.clone(), fuel);
            let (outcome, left_out) = ran.map_err(|error| format!("{}: {error}", lane.way))?;
            let Some(reference) = &expected else {
                if matches!(outcome.end, Err((_, TrapKind::Region(_)))) {
                    return Ok(outcome);
                }
                expected = Some(outcome);
                continue;
            };
            self.runs.0 += 1;
            self.runs.1 += u64::from(left_out);
            if let Some(difference) = difference(reference, &outcome, lane.way.metered) {
                return Err(format!("{}: {difference}", lane.way));
            }
        }
        expected.ok_or_else(|| "there are no lanes".to_owned())
    }

    /// Compares guest memory and maps of all lanes.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn compare_memory(&self) -> Result<(), String> {
        let Some((first, others)) = self.lanes.split_first() else { return Ok(()) };
        for lane in others {
            let keeps_stack = lane.way.keeps_stack();
            memory::compare(&first.machine, &lane.machine, keeps_stack)
                .map_err(|difference| format!("{}: {difference}", lane.way))?;
        }
        Ok(())
    }
}

/// How an outcome differs from what is expected; instructions must have been counted if `metered`.
fn difference(expected: &Outcome, found: &Outcome, metered: bool) -> Option<String> {
    let mut text = String::new();
    let mut differ = |what: &str, found: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug| {
        let _ = writeln!(text, "{what} {found:x?}, expected {expected:x?}");
    };
    match (&expected.end, &found.end) {
        (Ok(expected), Ok(found)) => {
            let counts = match found.insns {
                Some(_) => found.insns == expected.insns,
                None => !metered,
            };
            if found.r0 != expected.r0 || !counts {
                differ("the exit is", found, expected);
            }
        }
        (expected, found) if expected == found => {}
        (expected, found) => differ("the end is", found, expected),
    }
    if expected.input != found.input {
        differ("the input is left as", &found.input, &expected.input);
    }
    if expected.printed != found.printed {
        differ("it printed", &found.printed, &expected.printed);
    }
    (!text.is_empty()).then_some(text)
}
