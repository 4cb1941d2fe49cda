//! Verifies every program of a folder of objects and compares with recorded verdicts.
//!
//! `cargo run --release -p skep-verifier --example objects -- RECORDS.jsonl.gz FOLDER [NAME]`
//!
//! A record says object, program, type, flags, the kernel's verdict and counters, one a line. With
//! a name, only programs and objects whose name contains it, and all that is said about them.

use flate2::read::GzDecoder;
use serde::Deserialize;
use skep::prepare::{function_facts, map_facts};
use skep_bpf::platform::{AttachType, ProgType};
use skep_object::{CoreRelocations, KernelFunctions, LinkOptions, Object};
use skep_verifier::{Input, KernelTypes, MapFacts, Profile, Rule, verify};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The processors of the machine that the verdicts are from.
const CPUS: u32 = 2;

#[derive(Deserialize)]
struct Record {
    object: String,
    program: Option<String>,
    prog_type: Option<String>,
    attach_type: Option<u32>,
    #[serde(default)]
    load_flags: u32,
    #[serde(default)]
    n_insns: usize,
    live_verdict: String,
    message: Option<String>,
    #[serde(default)]
    insns_processed: u64,
    #[serde(default)]
    total_states: u64,
    #[serde(default)]
    unresolved: Vec<serde_json::Value>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [records, folder, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: objects RECORDS.jsonl.gz FOLDER [NAME]");
        std::process::exit(2);
    };
    let filter = rest.first().map_or("", String::as_str);
    let mut tally = Tally::default();
    let file = std::fs::File::open(records).expect("the records can be read");
    let mut open: Option<(String, Option<Object>)> = None;
    for line in BufReader::new(GzDecoder::new(file)).lines() {
        let record: Record =
            serde_json::from_str(&line.expect("text")).expect("a record of the known form");
        let program = record.program.as_deref().unwrap_or_default();
        let wanted = record.object.contains(filter) || program.contains(filter);
        let decided = matches!(record.live_verdict.as_str(), "accept" | "reject");
        // Refused before the verifier, or for lack of room for its log.
        let message = record.message.as_deref().unwrap_or_default();
        let is_verdict =
            record.live_verdict == "accept" || !(message.is_empty() || message.contains("CO-RE"));
        if !wanted || !decided || !is_verdict || !record.unresolved.is_empty() {
            continue;
        }
        if open.as_ref().is_none_or(|(name, _)| *name != record.object) {
            let bytes = std::fs::read(Path::new(folder).join(&record.object)).ok();
            let object = bytes.and_then(|bytes| Object::parse_named(&bytes, &record.object).ok());
            open = Some((record.object.clone(), object));
        }
        match &open {
            Some((_, Some(object))) => tally.check(object, &record, !filter.is_empty()),
            _ => tally.absent += 1,
        }
    }
    tally.print();
}

#[derive(Default)]
struct Tally {
    absent: usize,
    unlinked: usize,
    changed: usize,
    agree: usize,
    same_sentence: usize,
    same_insns: usize,
    accepted: usize,
    unsound: Vec<String>,
    imprecise: BTreeMap<String, Vec<String>>,
    slow: Vec<(Duration, u64, String)>,
}

/// The types of the kernel that the verdicts are of, if this machine runs it.
fn kernel_types() -> &'static KernelTypes {
    static TYPES: LazyLock<KernelTypes> = LazyLock::new(|| {
        KernelTypes::new(|| {
            std::fs::read("/sys/kernel/btf/vmlinux").map_err(|error| error.to_string())
        })
    });
    &TYPES
}

impl Tally {
    fn check(&mut self, object: &Object, record: &Record, verbose: bool) {
        let program = record.program.as_deref().unwrap_or_default();
        let named = object.functions_named(program);
        let function = named.iter().find(|function| function.is_program).or(named.first());
        let Some(function) = function else {
            self.absent += 1;
            return;
        };
        let options = LinkOptions {
            core_relocations: CoreRelocations::AsCompiled,
            kernel_functions: KernelFunctions::ByName,
        };
        let Ok(mut linked) = object.link(function.index, options) else {
            self.unlinked += 1;
            return;
        };
        if let Ok(types) = kernel_types().types() {
            object.resolve_type_ids(&mut linked, types);
        }
        if linked.bytecode.slots.len() != record.n_insns {
            self.changed += 1;
            return;
        }
        let maps: Vec<MapFacts> = linked
            .maps
            .iter()
            .filter_map(|index| object.map(*index))
            .map(|def| map_facts(object, CPUS, def))
            .collect();
        let named_type = |name: &String| ProgType::named(&format!("BPF_PROG_TYPE_{name}"));
        let prog_type = record.prog_type.as_ref().and_then(named_type).unwrap_or(ProgType::UNSPEC);
        let target = function.section_rule().and_then(|rule| rule.target);
        let sleepable = function.section_rule().is_some_and(|rule| rule.traits().sleepable);
        let functions = function_facts(object, &linked, prog_type);
        let input = Input {
            bytecode: &linked.bytecode,
            prog_type,
            attach_type: AttachType(record.attach_type.unwrap_or(0)),
            attach_target: target,
            maps: &maps,
            functions: &functions,
            kernel: Some(kernel_types()),
            gpl_compatible: object.license().is_some_and(|licence| licence.contains("GPL")),
            sleepable: sleepable || record.load_flags & 16 != 0,
            types: object.btf(),
            profile: Profile {
                strict_alignment: record.load_flags & 1 != 0,
                checkpoint_everywhere: record.load_flags & 8 != 0,
                ..Profile::linux(CPUS)
            },
        };
        let start = Instant::now();
        let verdict = verify(&input);
        let elapsed = start.elapsed();
        let name = format!("{} {program}", record.object);
        let message = record.message.clone().unwrap_or_default();
        let stats = match &verdict {
            Ok(verified) => verified.stats(),
            Err(rejection) => rejection.stats,
        };
        if verbose {
            println!("{name}: kernel {} {message}", record.live_verdict);
            println!("    {} insns, {} states", record.insns_processed, record.total_states);
            match &verdict {
                Ok(_) => println!("  ours accept"),
                Err(rejection) => println!("  ours reject {:?} {rejection}", rejection.at),
            }
            println!(
                "    {} insns, {} states, {elapsed:?}",
                stats.insns_processed, stats.total_states
            );
        }
        if elapsed > Duration::from_millis(20) {
            self.slow.push((elapsed, stats.insns_processed, name.clone()));
        }
        match (record.live_verdict == "accept", verdict) {
            (true, Ok(_)) => {
                self.agree += 1;
                self.accepted += 1;
                self.same_insns += usize::from(stats.insns_processed == record.insns_processed);
            }
            (true, Err(rejection)) => {
                let cause = match rejection.rule {
                    Rule::Unsupported => rejection.message.clone(),
                    rule => format!("{rule}: {}", rejection.message),
                };
                self.imprecise.entry(cause).or_default().push(name);
            }
            (false, Ok(_)) => self.unsound.push(format!("{name}: {message}")),
            (false, Err(rejection)) => {
                self.agree += 1;
                self.same_sentence += usize::from(message.contains(&rejection.message));
            }
        }
    }

    fn print(mut self) {
        let imprecise: usize = self.imprecise.values().map(Vec::len).sum();
        let total = self.agree + imprecise + self.unsound.len();
        println!(
            "{total} compared: {} agree ({:.2} %), {imprecise} imprecise, {} unsound",
            self.agree,
            100.0 * self.agree as f64 / total.max(1) as f64,
            self.unsound.len()
        );
        println!(
            "{} accepted by both, {} with the same number of instructions; {} rejected with the \
             same sentence; {} absent, {} not linked, {} other code",
            self.accepted,
            self.same_insns,
            self.same_sentence,
            self.absent,
            self.unlinked,
            self.changed
        );
        let mut causes: Vec<_> = self.imprecise.into_iter().collect();
        causes.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
        for (cause, names) in causes {
            println!(
                "  {} {cause}: {}",
                names.len(),
                names.iter().take(3).cloned().collect::<Vec<_>>().join(", ")
            );
        }
        for name in self.unsound {
            println!("UNSOUND {name}");
        }
        self.slow.sort();
        for (elapsed, insns, name) in self.slow.iter().rev().take(20) {
            println!("slow {elapsed:?} for {insns} insns: {name}");
        }
    }
}
