//! The emulated process that runs machine code: built from `runner.c` when it is needed.

use std::fs;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use skep_jit::abi::{RunState, TrapRecord, offset};

use super::case::{Case, Outcome};

const COMPILER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64-static";

/// The runner, built.
#[derive(Debug)]
pub struct Runner {
    folder: PathBuf,
}

/// How many cases a process runs.
const BATCH: usize = 2000;

/// Whether an empty program can be compiled, with its library, and run.
fn can_run(folder: &Path) -> bool {
    let (source, program) = (folder.join("empty.c"), folder.join("empty"));
    let works = |command: &mut Command| command.output().is_ok_and(|ended| ended.status.success());
    fs::write(&source, "#include <stdio.h>\nint main(void) { return 0; }\n").is_ok()
        && works(Command::new(COMPILER).args(["-static", "-o"]).arg(&program).arg(&source))
        && works(Command::new(EMULATOR).arg(&program))
}

impl Runner {
    /// Builds the runner in a folder of the caller's. `None` if there is no compiler with
    /// its library, or no emulator.
    ///
    /// # Errors
    ///
    /// What the compiler says.
    pub fn build(folder: &Path) -> Result<Option<Runner>, String> {
        if !can_run(folder) {
            return Ok(None);
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("aarch64/runner.c");
        let trap = offset_of!(RunState, trap);
        let fields = [
            ("WINDOW", offset::WINDOW),
            ("FUEL", offset::FUEL),
            ("ARGS", offset::ARGS),
            ("FRAME_TOP", offset::FRAME_TOP),
            ("LOWEST_FRAME", offset::LOWEST_FRAME),
            ("R0", offset::R0),
            ("TRAPPED", offset::TRAPPED),
            ("SITE", offset::SITE),
            ("TRAP_CODE", offset::TRAP_CODE),
            ("TRAP_INSN", offset::TRAP_INSN),
            ("TRAP_PLACE", offset::TRAP_PLACE),
            ("TRAP_ADDR", offset::TRAP_ADDR),
            ("TRAP_LEN", offset::TRAP_LEN),
            ("TRAP_WRITE", (trap + offset_of!(TrapRecord, write)) as i32),
            ("HELPER", offset::HELPER),
            ("TAIL_CALL", offset::TAIL_CALL),
            ("RESOLVE", offset::RESOLVE),
            ("NUMBERED", offset::NUMBERED),
            ("LOAD_PACKET", offset::LOAD_PACKET),
            ("REFUEL", offset::REFUEL),
            ("CALL_BACK", offset::CALL_BACK),
            ("CALLBACK_ENTRY", offset::CALLBACK_ENTRY),
            ("CALLBACK_FRAME_TOP", offset::CALLBACK_FRAME_TOP),
            ("CALLBACK_ARGS", offset::CALLBACK_ARGS),
            ("PROCESSOR", offset::PROCESSOR),
            ("EXIT_SP", offset::EXIT_SP),
            ("EXIT_SAVED", offset::EXIT_SAVED),
        ];
        let mut command = Command::new(COMPILER);
        command.args(["-static", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror"]);
        command.args(fields.map(|(name, offset)| format!("-DOFF_{name}={offset}")));
        command.arg(format!("-DSTATE_BYTES={}", size_of::<RunState>()));
        command.arg("-o").arg(folder.join("runner")).arg(source);
        let output = command.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(Some(Runner { folder: folder.to_owned() }))
    }

    /// Runs cases, many in a process. A process that dies has run the cases before the one that
    /// killed it, which is part of the error.
    ///
    /// # Errors
    ///
    /// If the process cannot be started, or dies.
    pub fn run(&self, cases: &[Case]) -> Result<Vec<Outcome>, String> {
        let mut outcomes = Vec::with_capacity(cases.len());
        for batch in cases.chunks(BATCH) {
            self.run_batch(batch, &mut outcomes)?;
        }
        Ok(outcomes)
    }

    fn run_batch(&self, batch: &[Case], outcomes: &mut Vec<Outcome>) -> Result<(), String> {
        let failed = |error: std::io::Error| error.to_string();
        let (input, output) = (self.folder.join("cases"), self.folder.join("outcomes"));
        let mut bytes = Vec::new();
        for case in batch {
            case.write(&mut bytes);
        }
        fs::write(&input, &bytes).map_err(failed)?;
        let runner = self.folder.join("runner");
        let mut command = Command::new(EMULATOR);
        let ended = command.arg(runner).args([&input, &output]).output().map_err(failed)?;
        let bytes = fs::read(&output).map_err(failed)?;
        let mut rest = &bytes[..];
        let read: Vec<Outcome> = std::iter::from_fn(|| Outcome::read(&mut rest)).collect();
        if !ended.status.success() || read.len() != batch.len() {
            let (ran, said) = (read.len(), String::from_utf8_lossy(&ended.stderr));
            return Err(format!("case {ran} of the batch ended it: {}: {said}", ended.status));
        }
        outcomes.extend(read);
        Ok(())
    }
}
