//! The verifier selftests of Linux 6.12 (`progs/verifier_*.c`), and the objects of Debian packages,
//! with the live kernel's verdicts.
//!
//! Records and objects are development data beside the repository, under a licence of their own;
//! the tests say so where they are absent. `SKEP_SELFTESTS` names the folder of compiled selftests.
//! `SKEP_SELFTESTS_SHOW=all` lists every difference, another value the programs it occurs in.

mod case;
mod record;
mod runs;
mod tally;

use case::Case;
use record::{Record, oracle, records, selftest_objects};
use skep_object::Object;
use skep_verifier::verify;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tally::Tally;

/// What must agree at least: a floor that only rises.
const FLOOR: f64 = 0.97;

/// What must agree of the programs that run at least, in percent. Two return what happens to be on
/// the stack.
const RUNS_FLOOR: f64 = 99.0;

/// The least number of runs, for the same reason as that of programs.
const MIN_RUNS: usize = 1_200;

/// Of the other selftests, longer walks are left to a build with optimisation.
const MAX_WALK: u64 = 20_000;

/// The least number of programs that decide anything, lest the test pass on an empty folder.
const MIN_DECIDED: usize = 1300;

#[test]
fn selftests_get_the_live_kernels_verdicts() {
    let (Some(records), Some(folder)) = (records("sel-v3.jsonl.gz"), selftest_objects()) else {
        println!("skipped: records or compiled selftests are not there (SKEP_SELFTESTS)");
        return;
    };
    let show = std::env::var("SKEP_SELFTESTS_SHOW").unwrap_or_default();
    let wanted = |record: &&Record| record.object.starts_with("verifier_") && record.is_decided();
    let mut objects = Objects::new(&folder);
    let mut tally = Tally::default();
    for record in records.iter().filter(wanted) {
        check(&mut objects, record, &record.object, &show, &mut tally);
    }
    tally.print(show == "all");
    assert!(tally.decided() >= MIN_DECIDED, "only {} programs were found", tally.decided());
    assert!(tally.unsound.is_empty(), "accepted, but the kernel rejects: {:#?}", tally.unsound);
    let agreement = tally.agreement();
    assert!(agreement >= FLOOR, "agreement {agreement:.4} is below the floor {FLOOR}");
}

/// The programs of the other selftests, as many as are compiled: nothing is accepted that the
/// kernel rejects. What agrees is printed.
#[test]
fn other_selftests_are_not_accepted_wrongly() {
    let (Some(records), Some(folder)) = (records("sel-v3.jsonl.gz"), selftest_objects()) else {
        println!("skipped: records or compiled selftests are not there (SKEP_SELFTESTS)");
        return;
    };
    let show = std::env::var("SKEP_SELFTESTS_SHOW").unwrap_or_default();
    let wanted = |record: &&Record| {
        let other = !record.object.starts_with("verifier_") && record.is_decided();
        let short = record.insns_processed <= MAX_WALK;
        other && short && folder.join(&record.object).is_file()
    };
    let mut objects = Objects::new(&folder);
    let mut tally = Tally::default();
    for record in records.iter().filter(wanted) {
        check(&mut objects, record, &record.object, &show, &mut tally);
    }
    tally.print(show == "all");
    assert!(tally.unsound.is_empty(), "accepted, but the kernel rejects: {:#?}", tally.unsound);
}

/// More checkpoints find more that is covered: a rule of comparing states that is too lax shows.
#[test]
fn nothing_is_accepted_wrongly_with_checkpoints_everywhere() {
    let (Some(records), Some(folder)) = (records("sel-v3.jsonl.gz"), selftest_objects()) else {
        println!("skipped: records or compiled selftests are not there (SKEP_SELFTESTS)");
        return;
    };
    let wanted = |record: &&Record| {
        let short = record.insns_processed <= MAX_WALK;
        record.is_decided() && !record.is_accepted() && short
    };
    let mut objects = Objects::new(&folder);
    let mut accepted = Vec::new();
    for record in records.iter().filter(wanted) {
        let Some((_, object)) = objects.get(&record.object) else { continue };
        let Ok(mut case) = Case::new(object, record) else { continue };
        case.remember_everywhere();
        if verify(&case.input()).is_ok() {
            accepted.push(record.name());
        }
    }
    assert!(accepted.is_empty(), "accepted, but the kernel rejects: {accepted:#?}");
}

#[test]
fn selftests_return_what_they_return_in_the_kernel() {
    let (Some(records), Some(folder)) = (records("sel-v3.jsonl.gz"), selftest_objects()) else {
        println!("skipped: records or compiled selftests are not there (SKEP_SELFTESTS)");
        return;
    };
    let Some(packets) = runs::packets(&oracle().join("tools/mkpackets.py")) else {
        println!("skipped: the packets cannot be made (python3)");
        return;
    };
    let has_run = |record: &&Record| {
        let ran = record.live_retval.is_some() || !record.runs.is_empty();
        record.object.starts_with("verifier_") && record.is_accepted() && ran && !record.varies
    };
    let mut objects = Objects::new(&folder);
    let mut outcome = runs::Outcome::default();
    for record in records.iter().filter(has_run) {
        let Some((bytes, object)) = objects.get(&record.object) else { continue };
        let case = Case::new(object, record);
        let accepted = case.is_ok_and(|case| verify(&case.input()).is_ok());
        outcome.run(bytes, record, &packets, accepted);
    }
    let percent = 100.0 * outcome.same_programs as f64 / outcome.programs.max(1) as f64;
    println!(
        "{} programs ran, {} return the same ({percent:.2} %); {} runs, {} the same",
        outcome.programs, outcome.same_programs, outcome.compared, outcome.agree
    );
    outcome.absent.iter().for_each(|(cause, count)| println!("  not run {count:4} {cause}"));
    outcome.differ.iter().for_each(|line| println!("  differs {line}"));
    assert!(outcome.compared >= MIN_RUNS, "only {} runs were compared", outcome.compared);
    assert!(outcome.traps.is_empty(), "accepted, but they trap: {:#?}", outcome.traps);
    assert!(percent >= RUNS_FLOOR, "{percent:.2} % is below the floor {RUNS_FLOOR} %");
}

/// xdp-tools: what the kernel said. The two programs of `xdpdump_bpf.o` need a target and are not
/// decided.
#[test]
fn packaged_xdp_objects_get_the_live_kernels_verdicts() {
    let Some(records) = records("debian.jsonl.gz") else {
        println!("skipped: the kernel's records are not there");
        return;
    };
    let Some(folder) = packaged("usr/lib", "bpf") else {
        println!("skipped: the package xdp-tools is not installed");
        return;
    };
    let mut objects = Objects::new(&folder);
    let mut tally = Tally::default();
    for record in records.iter().filter(|record| record.is_decided()) {
        if let Some(name) = record.object.strip_prefix("xdp-tools/") {
            check(&mut objects, record, name, "", &mut tally);
        }
    }
    tally.print(true);
    assert_eq!(tally.agree, tally.decided(), "some verdict differs");
    assert!(tally.decided() >= 14, "only {} programs were found", tally.decided());
}

/// ir-keytable: the kernel of the records has no infrared receivers, others accept all decoders.
#[test]
fn packaged_infrared_decoders_are_accepted() {
    let Some(records) = records("debian.jsonl.gz") else {
        println!("skipped: the kernel's records are not there");
        return;
    };
    let folder = Path::new("/usr/lib/udev/rc_keymaps/protocols");
    if !folder.is_dir() {
        println!("skipped: the package ir-keytable is not installed");
        return;
    }
    let mut objects = Objects::new(folder);
    let mut accepted = 0;
    for record in &records {
        let Some(name) = record.object.strip_prefix("rc_keymaps/") else { continue };
        let Some((_, object)) = objects.get(name) else { panic!("{name} is missing") };
        let mut case = Case::of_section(object, record.program()).expect("it can be linked");
        // ir-keytable sizes the patterns by the longest of a keymap: a scan code of four bytes and
        // lengths of two. The parameter `max_length` of the object is 1.
        case.set_value_size(object, "raw_map", 6);
        if let Err(rejection) = verify(&case.input()) {
            panic!("{name}: {rejection}, at {:?}", rejection.at);
        }
        accepted += 1;
    }
    assert_eq!(accepted, 9);
}

/// A folder of that name in a folder of an architecture, as Debian lays out libraries.
fn packaged(parent: &str, name: &str) -> Option<PathBuf> {
    let folders = std::fs::read_dir(Path::new("/").join(parent)).ok()?.flatten();
    let mut found = folders.map(|folder| folder.path().join(name)).filter(|path| path.is_dir());
    found.next()
}

/// Objects of a folder, each parsed once, with their bytes.
struct Objects<'a> {
    folder: &'a Path,
    parsed: BTreeMap<String, Option<(Vec<u8>, Object)>>,
}

impl<'a> Objects<'a> {
    fn new(folder: &'a Path) -> Objects<'a> {
        Objects { folder, parsed: BTreeMap::new() }
    }

    fn get(&mut self, name: &str) -> Option<&(Vec<u8>, Object)> {
        let parse = || {
            let bytes = std::fs::read(self.folder.join(name)).ok()?;
            let object = Object::parse_named(&bytes, name).expect("an object");
            Some((bytes, object))
        };
        self.parsed.entry(name.to_owned()).or_insert_with(parse).as_ref()
    }
}

fn check(objects: &mut Objects<'_>, record: &Record, file: &str, show: &str, tally: &mut Tally) {
    let Some((_, object)) = objects.get(file) else {
        return tally.cannot_link(record, "no such object".to_owned());
    };
    match Case::new(object, record) {
        Ok(case) => {
            let verdict = verify(&case.input());
            if !show.is_empty() && record.name().contains(show) {
                println!("{record:#?}\n{verdict:#?}");
            }
            tally.count(record, &verdict);
        }
        // What refers to what is not there is rejected at loading, here as there; but not by the
        // verifier.
        Err(cause) => tally.cannot_link(record, cause),
    }
}
