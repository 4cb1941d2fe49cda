//! The old-style verifier selftests of Linux through `skep verify --jsonl`: verdicts, and what the
//! accepted programs return, against the live kernel's answers.
//!
//! The records are development data beside the repository; the test says so where they are absent.
//! Runs are made with the checked interpreter, so that an access outside of what a pointer belongs
//! to is a trap: no accepted program may have one.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::command::{skep_with_input, workspace};

/// The least share of equal return values among the runs that could be made.
const FLOOR: f64 = 0.99;

#[test]
fn selftests_return_what_they_do_in_the_kernel() {
    let path = workspace().join("../shared/kernel-vectors/vt61.jsonl.gz");
    let Ok(file) = std::fs::File::open(path) else {
        println!("skipped: the kernel's vectors are not there");
        return;
    };
    let mut lines = String::new();
    GzDecoder::new(file).read_to_string(&mut lines).expect("text");
    let arguments = ["verify", "--engine", "checked", "--jsonl", "-"];
    let ran = skep_with_input(&arguments, lines.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let answers = ran.text();
    assert_eq!(answers.lines().count(), lines.lines().count());
    let mut tally = Tally::default();
    for (record, answer) in lines.lines().zip(answers.lines()) {
        let parse = |line| serde_json::from_str::<Value>(line).expect("JSON");
        tally.add(&parse(record), &parse(answer));
    }
    tally.report();
}

#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    equal: usize,
    different: Vec<String>,
    /// Why runs could not be made, and how often.
    not_run: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, record: &Value, answer: &Value) {
        let (live, name) = (&record["live"], &record["name"]);
        let decided = live.get("missing").is_none_or(Value::is_null);
        if live["verdict"] == "reject" && decided {
            assert_ne!(answer["verdict"], "accepted", "{name}: {}", live["reason"]);
        }
        if live["verdict"] != "accept" || answer["verdict"] != "accepted" {
            return;
        }
        self.accepted += 1;
        let varies = record.get("varies").is_some_and(|varies| *varies != Value::Bool(false));
        let runs = live["runs"].as_array().filter(|_| !varies);
        let ours = answer["runs"].as_array().expect("a list");
        for (index, theirs) in runs.into_iter().flatten().enumerate() {
            let Some(theirs) = theirs["retval"].as_i64() else { continue };
            match (ours[index]["retval"].as_u64(), ours[index]["error"].as_str()) {
                (Some(retval), _) if retval == u64::from(theirs as u32) => self.equal += 1,
                (Some(retval), _) => {
                    self.different.push(format!("{name}: {retval}, the kernel {theirs}"));
                }
                (None, why) => {
                    let why = why.unwrap_or_default();
                    assert!(why.ends_with("not implemented"), "{name}: {why}");
                    let what = why.rsplit(": ").next().unwrap_or(why);
                    *self.not_run.entry(what.to_owned()).or_default() += 1;
                }
            }
        }
    }

    fn report(&self) {
        let ran = self.equal + self.different.len();
        let not_run: usize = self.not_run.values().sum();
        println!(
            "{} accepted by both; {ran} runs, {} equal ({:.2} %), {not_run} not possible",
            self.accepted,
            self.equal,
            100.0 * self.equal as f64 / ran.max(1) as f64
        );
        for different in &self.different {
            println!("  different: {different}");
        }
        for (why, count) in &self.not_run {
            println!("  not possible {count}: {why}");
        }
        assert!(ran >= 640, "only {ran} runs were compared");
        assert!(self.equal as f64 >= FLOOR * ran as f64, "{self:?}");
    }
}
