//! The old-style verifier selftests of Linux, as data with the live kernel's verdicts.
//!
//! The records are development data beside the repository; the test says so where they are absent.
//! `SKEP_VECTORS_SHOW=wrong` lists every disagreement, `=NAME` one record in full.

mod record;

use record::Record;
use skep_verifier::{Rejection, Rule, Verified, verify};
use std::collections::BTreeMap;

/// What must agree at least: a floor that only rises.
const FLOOR: f64 = 0.993;

#[test]
fn verdicts_are_the_live_kernels() {
    let Some(records) = record::records("vt61.jsonl.gz") else {
        println!("skipped: the kernel's vectors are not there");
        return;
    };
    let show = std::env::var("SKEP_VECTORS_SHOW").unwrap_or_default();
    let mut tally = Tally::default();
    for record in records.iter().filter(|record| record.is_decided()) {
        let case = record.case();
        let verdict = verify(&case.input());
        if record.name == show {
            println!("{record:#?}\n{verdict:#?}");
        }
        tally.count(record, &verdict);
    }
    tally.print(show == "wrong");
    assert!(tally.unsound.is_empty(), "accepted, but the kernel rejects: {:#?}", tally.unsound);
    assert_eq!(tally.same_insns, tally.accepted, "walks differ: {:#?}", tally.walks);
    assert_eq!(tally.same_states, tally.accepted, "checkpoints differ");
    assert!(
        tally.agreement() >= FLOOR,
        "agreement {:.4} is below the floor {FLOOR}",
        tally.agreement()
    );
}

/// Where checkpoints are made, and whether paths end at states that are covered, decides how many
/// instructions are walked and must not decide what is safe.
#[test]
fn verdicts_do_not_depend_on_pruning() {
    let Some(records) = record::records("vt61.jsonl.gz") else {
        println!("skipped: the kernel's vectors are not there");
        return;
    };
    let mut compared = 0;
    for record in records.iter().filter(|record| record.is_decided()) {
        let mut case = record.case();
        let normal = verify(&case.input());
        case.profile.checkpoint_everywhere = true;
        let frequent = verify(&case.input());
        case.profile.checkpoint_everywhere = false;
        case.profile.pruning = false;
        case.profile.max_insns = 100_000;
        let unpruned = verify(&case.input());
        for other in [frequent, unpruned] {
            if [&normal, &other].iter().any(|verdict| is_over_budget(verdict)) {
                continue;
            }
            compared += 1;
            assert_eq!(normal.is_ok(), other.is_ok(), "{}: {normal:?} {other:?}", record.name);
        }
    }
    println!("{compared} verdicts compared");
    assert!(compared > records.len(), "hardly anything was compared");
}

fn is_over_budget(verdict: &Result<Verified, Box<Rejection>>) -> bool {
    matches!(verdict, Err(rejection) if rejection.rule == Rule::Budget)
}

#[derive(Default)]
struct Tally {
    total: usize,
    agree: usize,
    same_sentence: usize,
    rejected: usize,
    unsound: Vec<String>,
    imprecise: Vec<(String, String)>,
    /// Sentences that differ, by the kernel's and ours.
    sentences: Vec<(String, String, String)>,
    same_insns: usize,
    same_states: usize,
    accepted: usize,
    walks: Vec<String>,
}

impl Tally {
    fn count(&mut self, record: &Record, verdict: &Result<Verified, Box<Rejection>>) {
        self.total += 1;
        match (record.live.verdict == "accept", verdict) {
            (true, Ok(verified)) => {
                self.agree += 1;
                self.accepted += 1;
                let stats = verified.stats();
                let live = (record.live.insns_processed, record.live.total_states);
                if stats.insns_processed == live.0 {
                    self.same_insns += 1;
                } else {
                    self.walks
                        .push(format!("{}: {} for {}", record.name, stats.insns_processed, live.0));
                }
                self.same_states += usize::from(stats.total_states == live.1);
            }
            (true, Err(rejection)) => {
                let at = rejection.at.map_or(String::new(), |at| format!("{at}: "));
                self.imprecise.push((record.name.clone(), format!("{at}{rejection}")));
            }
            (false, Ok(_)) => {
                let reason = record.live.reason.clone().unwrap_or_default();
                self.unsound.push(format!("{}: {reason}", record.name));
            }
            (false, Err(rejection)) => {
                self.agree += 1;
                self.rejected += 1;
                let theirs = record.live.reason.clone().unwrap_or_default();
                if theirs == rejection.message {
                    self.same_sentence += 1;
                } else {
                    self.sentences.push((record.name.clone(), theirs, rejection.message.clone()));
                }
            }
        }
    }

    fn agreement(&self) -> f64 {
        self.agree as f64 / self.total.max(1) as f64
    }

    fn print(&self, all: bool) {
        println!(
            "{} decided: {} agree ({:.2} %), {} imprecise, {} unsound",
            self.total,
            self.agree,
            100.0 * self.agreement(),
            self.imprecise.len(),
            self.unsound.len()
        );
        println!(
            "{} rejected by both, {} with the same sentence; {} accepted by both, {} with the same \
             number of instructions, {} of states",
            self.rejected, self.same_sentence, self.accepted, self.same_insns, self.same_states
        );
        let mut causes = BTreeMap::<&str, usize>::new();
        for (_, message) in &self.imprecise {
            *causes
                .entry(message.split_once(": ").map_or(message, |parts| parts.1))
                .or_default() += 1;
        }
        for (cause, count) in &causes {
            println!("  imprecise {count}: {cause}");
        }
        if all {
            for (name, message) in &self.imprecise {
                println!("imprecise {name}: {message}");
            }
            for (name, theirs, ours) in &self.sentences {
                println!("sentence {name}:\n    kernel {theirs}\n    ours   {ours}");
            }
            for walk in &self.walks {
                println!("walk {walk}");
            }
        }
    }
}
