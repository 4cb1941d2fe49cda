//! `skep verify --jsonl`: raw programs with their surroundings, one a line, for test suites and
//! fuzzers. Every line has an answer, in the same order; accepted programs are run as it asks.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use skep::cpu::Cpu;
use skep::host::Host;
use skep::machine::Loaded;
use skep::run::{Engine, Options};
use skep_verifier::{KernelTypes, Verified, verify};

use crate::context::Input;
use crate::failure::Failure;
use crate::record::{self, Case, Record, Surroundings, hex};
use crate::render::Render;
use crate::session::{Printed, host};

/// The packet of a run that gives none.
const ZEROS: [u8; 64] = [0; 64];

/// What is said of a line.
#[derive(Serialize, Debug, Default)]
struct Answer {
    name: Option<String>,
    /// `accepted`, `rejected` or `not_loaded`.
    verdict: &'static str,
    code: Option<String>,
    message: Option<String>,
    details: Vec<String>,
    insn: Option<usize>,
    insns_processed: Option<u64>,
    total_states: Option<u64>,
    peak_states: Option<u64>,
    runs: Vec<RunAnswer>,
}

/// What came of a run.
#[derive(Serialize, Debug, Default)]
struct RunAnswer {
    retval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_out: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Answers every line of a file, or of standard input if the path is `-`.
///
/// # Errors
///
/// If the lines cannot be read or the answers not be written.
pub(super) fn run(
    path: &Path,
    engine: Engine,
    kernel: &Arc<KernelTypes>,
    input: &mut dyn Read,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    let mut lines: Box<dyn BufRead> = match path == Path::new("-") {
        true => Box::new(BufReader::new(input)),
        false => {
            let file = File::open(path).map_err(|error| Failure::file(path, error))?;
            Box::new(BufReader::new(file))
        }
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        let len = lines.read_until(b'\n', &mut line);
        if len.map_err(|error| Failure::file(path, error))? == 0 {
            return Ok(());
        }
        let out = render.out();
        serde_json::to_writer(&mut *out, &answer(&line, engine, kernel))
            .map_err(std::io::Error::from)?;
        out.write_all(b"\n")?;
        // Whoever asks line by line waits for the answer.
        out.flush()?;
    }
}

fn answer(line: &[u8], engine: Engine, kernel: &Arc<KernelTypes>) -> Answer {
    let not_loaded =
        |name, why| Answer { name, verdict: "not_loaded", message: Some(why), ..Answer::default() };
    let record: Record = match serde_json::from_slice(line.trim_ascii_end()) {
        Ok(record) => record,
        Err(error) => return not_loaded(None, error.to_string()),
    };
    let printed = Arc::new(Mutex::new(Printed::default()));
    let host = host(&printed, None);
    let asked = record.case().and_then(|case| Ok((case, record.surroundings(host.cpus, kernel)?)));
    let (case, around) = match asked {
        Ok(asked) => asked,
        Err(why) => return not_loaded(record.name, why),
    };
    let verdict = verify(&case.input(&around));
    let stats = match &verdict {
        Ok(verified) => verified.stats(),
        Err(rejection) => rejection.stats,
    };
    let mut answer = Answer {
        insns_processed: Some(stats.insns_processed),
        total_states: Some(stats.total_states),
        peak_states: Some(stats.peak_states),
        ..Answer::default()
    };
    match verdict {
        Ok(verified) => {
            answer.verdict = "accepted";
            answer.runs = runs(&record, &case, verified, &around, host, engine);
        }
        Err(rejection) => {
            answer.verdict = "rejected";
            answer.code = Some(rejection.rule.to_string());
            answer.insn = rejection.at.map(|at| at.0);
            answer.message = Some(rejection.message);
            answer.details = rejection.details;
        }
    }
    answer.name = record.name;
    answer
}

/// The runs that a line asks for, one after the other in the same maps.
fn runs(
    record: &Record,
    case: &Case,
    verified: Verified,
    around: &Surroundings,
    host: Host,
    engine: Engine,
) -> Vec<RunAnswer> {
    if record.runs.is_empty() {
        return Vec::new();
    }
    let mut ready = match Ready::new(record, verified, around, host) {
        Ok(ready) => ready,
        Err(why) => {
            let fail = |_| RunAnswer { error: Some(why.clone()), ..RunAnswer::default() };
            return record.runs.iter().map(fail).collect();
        }
    };
    let run = |run: &record::Run| match ready.run(case, &run.data, engine) {
        Ok(answer) => answer,
        Err(why) => RunAnswer { error: Some(why), ..RunAnswer::default() },
    };
    record.runs.iter().map(run).collect()
}

/// A program in a machine with its maps.
struct Ready {
    cpu: Cpu,
    loaded: Loaded,
}

impl Ready {
    fn new(
        record: &Record,
        verified: Verified,
        around: &Surroundings,
        host: Host,
    ) -> Result<Ready, String> {
        let (machine, maps) = around.machine(host)?;
        let loaded = machine.load_verified("main", Arc::new(verified), &maps);
        let loaded = loaded.map_err(|error| error.to_string())?;
        record.fill_maps(&machine, &maps, around)?;
        let cpu = Cpu::new(&machine).map_err(|error| error.to_string())?;
        Ok(Ready { cpu, loaded })
    }

    fn run(&mut self, case: &Case, data: &str, engine: Engine) -> Result<RunAnswer, String> {
        let template = Input::new(case.prog_type, None)?;
        let template = template
            .ok_or_else(|| format!("programs of type {} cannot be run yet", case.prog_type))?;
        let given = hex("data", data)?;
        let packet = if given.is_empty() { &ZEROS[..] } else { &given };
        let mut input = template.with_bytes(packet);
        if let Input::Skb(skb) = &mut input {
            // As BPF_PROG_TEST_RUN leaves it when it is given no context.
            skb.wire_len = Some(0);
        }
        let options = Options { engine, ..Options::default() };
        let finished = self.loaded.run(&mut self.cpu, input.context(), options);
        let finished = finished.map_err(|error| error.to_string())?;
        let after = input.bytes();
        Ok(RunAnswer {
            retval: Some(finished.r0 as u32),
            data_out: (after != packet).then(|| crate::value::hex(after)),
            error: None,
        })
    }
}
