//! The conformance corpus: every case on every engine, and confirmed by the live kernel.

use std::collections::HashSet;

use skep::run::Engine;
use skep_jit::ssa::Passes;
use skep_tests::corpus::{self, Case};
use skep_tests::engines::{self, ENGINES};
use skep_tests::oracle::{self, Verdict};

/// The fewest cases that the corpus may have.
const FEWEST_CASES: usize = 320;

fn load() -> Vec<Case> {
    match corpus::load() {
        Ok(cases) => cases,
        Err(error) => panic!("the corpus cannot be read: {error}"),
    }
}

/// Fails with all differences, or those that fit a screen.
fn report(differences: &[String]) {
    if !differences.is_empty() {
        let shown: Vec<_> = differences.iter().take(40).map(String::as_str).collect();
        panic!("{} cases differ:\n{}", differences.len(), shown.join("\n"));
    }
}

#[test]
fn every_engine_agrees_with_the_corpus() {
    let cases = load();
    assert!(cases.len() >= FEWEST_CASES, "{} cases, needed are {FEWEST_CASES}", cases.len());
    let mut names = HashSet::new();
    for Case { name, place, .. } in &cases {
        assert!(names.insert(name), "{place}: another case is called {name:?}");
    }
    let mut differences = Vec::new();
    let reduced = Passes::reduced();
    for case in &cases {
        let Case { name, place, .. } = case;
        let program = match case.program() {
            Ok(program) => program,
            Err(error) => {
                differences.push(error.to_string());
                continue;
            }
        };
        for row in ENGINES {
            if let Err(difference) = engines::check(case, &program, row) {
                differences.push(format!("{place}: {name}: {}: {difference}", row.name));
            }
        }
        for (passes, reduced) in &reduced {
            let optimising = ENGINES.iter().filter(|row| row.engine == Engine::Optimising);
            for row in optimising {
                if let Err(difference) = engines::check_with(case, &program, row, *reduced) {
                    differences.push(format!("{place}: {name}: {passes}: {difference}"));
                }
            }
        }
    }
    report(&differences);
    let (engines, others) = (ENGINES.len(), reduced.len());
    println!("{} cases on {engines} engines, and {others} times with fewer passes", cases.len());
}

#[test]
fn the_kernel_confirms_the_corpus() {
    if let Err(reason) = skep_kernel::available() {
        println!("skipped: {reason}");
        return;
    }
    let cases = load();
    let mut differences = Vec::new();
    let (mut confirmed, mut refused) = (0, 0);
    for case in &cases {
        match oracle::ask(case) {
            Ok(Verdict::Confirmed) => confirmed += 1,
            Ok(Verdict::Refused) => refused += 1,
            Err(difference) => {
                differences.push(format!("{}: {}: {difference}", case.place, case.name));
            }
        }
    }
    report(&differences);
    println!("{confirmed} cases confirmed by the kernel, {refused} by RFC 9669 alone");
    assert!(confirmed >= FEWEST_CASES, "only {confirmed} cases were confirmed");
}

/// A corpus that drops what it does not understand would be a test that cannot fail.
#[test]
fn malformed_corpora_are_errors() {
    let case = "== a\n-- asm\nexit\n";
    for (text, says) in [
        ("mov %r0, 1\n", "f.bpf:1: text before the first case"),
        (case, "f.bpf:1: the case has no outcome"),
        ("== a\n-- result 1\n-- result 2\n", "f.bpf:3: a case has one outcome"),
        ("== a\n-- outcome 1\n", "f.bpf:2: no such section: outcome"),
        ("== a\n-- mem 01\n02\n", "f.bpf:3: belongs to no section: 02"),
        ("== a\n-- mem 0x1\n", "f.bpf:2: no byte: \"0x1\""),
        ("== a\n-- trap nonsense at 3\n", "f.bpf:2: no such trap: nonsense"),
        ("== a\n-- trap memory\n", "f.bpf:2: a trap has a slot"),
        ("== a\n-- map hash 4 4 1\n", "f.bpf:2: no `array KEY VALUE ENTRIES [rdonly]`"),
        ("== a\n-- rows a => r0\n", "f.bpf:1: the table has no rows or no outcome"),
        ("== a\n-- rows a => r0\n1 => 2 3\n", "f.bpf:3: 3 numbers, but 2 columns"),
        ("== a\n-- rows a => r0 m n\n1 => 2 3 4\n", "f.bpf:3: more memory afterwards"),
        ("== a\n-- kernel loads\n-- result 1\n", "f.bpf:2: what does the kernel do?"),
    ] {
        let error = corpus::parse("f.bpf", text).expect_err(text).to_string();
        assert!(error.starts_with(says), "{error}");
    }
    let cases = corpus::parse("f.bpf", "== a\n-- asm\nfoo\n-- result 1\n").unwrap();
    assert!(cases[0].program().is_err());
}

/// An engine that computes something else is found out.
#[test]
fn differences_are_seen() {
    let wrong = [
        "== r0\n-- asm\nmov %r0, 1\nexit\n-- result 2\n",
        "== memory\n-- asm\nstb [%r1], 3\nmov %r0, 1\nexit\n-- mem 01 02\n-- result 1\n",
        "== trap\n-- asm\nmov %r0, 1\nexit\n-- trap memory at 0\n",
        "== slot\n-- asm\nmov %r3, 0\nldxb %r0, [%r3]\nexit\n-- trap memory at 0\n",
        "== kind\n-- asm\nmov %r3, 0\nldxb %r0, [%r3]\nexit\n-- trap call-depth at 1\n",
        "== ends\n-- asm\nmov %r3, 0\nldxb %r0, [%r3]\nexit\n-- result 0\n",
    ];
    for text in wrong {
        let cases = corpus::parse("f.bpf", text).unwrap();
        let program = cases[0].program().unwrap();
        for row in ENGINES {
            assert!(engines::check(&cases[0], &program, row).is_err(), "{}: {text}", row.name);
        }
    }
}
