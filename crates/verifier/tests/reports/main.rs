//! The rejected programs of `tests/verify`: the live kernel's verdict and sentences, and reports
//! that are reviewed like code.

mod object;

use object::{Program, kernel_types, programs};
use serde_json::Value;
use skep_bpf::codec::SlotIndex;
use skep_bpf::debug_info::{DebugInfo, SourceLine};
use skep_bpf::platform::ProgType;
use skep_bpf::program::Bytecode;
use skep_verifier::report::{Report, Style, github, json, sarif, text};
use skep_verifier::{Rule, verify};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/verify").join(name)
}

fn objects(name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder(name)).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut objects: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "o")).collect();
    objects.sort();
    assert!(objects.len() >= 30, "{} objects", objects.len());
    objects
}

fn report(program: &Program) -> Option<Report> {
    let input = program.input();
    let rejection = verify(&input).err()?;
    Some(Report::new(&rejection, &input, &program.name))
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

fn expected() -> Value {
    let text = std::fs::read_to_string(folder("expected.json")).expect("the record can be read");
    serde_json::from_str(&text).expect("JSON")
}

/// What the kernel said of a program.
fn lookup<'a>(expected: &'a Value, kind: &str, path: &Path, program: &Program) -> &'a Value {
    &expected["objects"][kind][file_name(path)][&program.name]
}

#[test]
fn rejected_programs_are_reported() {
    for path in objects("rejected") {
        for program in programs(&path) {
            let Some(report) = report(&program) else {
                panic!("{} of {} is accepted", program.name, path.display())
            };
            let has_types = kernel_types().types().is_ok_and(|types| !types.is_empty());
            if program.input().prog_type == ProgType::TRACING && !has_types {
                println!("skipped {}: the types of a kernel are not there", program.name);
                continue;
            }
            insta::assert_snapshot!(program.name.clone(), text(&report, Style::Plain));
        }
    }
}

/// Without line information, places are instructions.
#[test]
fn programs_without_lines_are_reported() {
    let names = [
        "map_index_unbounded",
        "null_check_missing",
        "packet_bounds_off_by_one",
        "ringbuf_not_submitted",
        "loop_too_many_decisions",
    ];
    for name in names {
        let path = folder("rejected").join(format!("{name}.bpf.o"));
        for program in programs(&path) {
            let mut input = program.input();
            let bytecode = Bytecode::from(input.bytecode.slots.clone());
            input.bytecode = &bytecode;
            let rejection = verify(&input).expect_err("the kernel rejects it");
            let report = Report::new(&rejection, &input, &program.name);
            insta::assert_snapshot!(format!("{name}_bytes"), text(&report, Style::Plain));
        }
    }
}

/// Line information comes from outside, and may be anything.
#[test]
fn odd_lines_do_no_harm() {
    let texts = [
        "",
        "\t",
        "x",
        "\u{e4}\u{f6}(",
        "a = b",
        "a\nb\r\nc",
        "\u{0}\u{7f}",
        "if (((",
        "=",
        "x->",
        "*&",
    ];
    let numbers = [0, 1, 2, 3, 40, 4_194_303, u32::MAX];
    let path = folder("rejected").join("map_index_unbounded.bpf.o");
    let programs = programs(&path);
    let [program] = programs.as_slice() else { panic!("{} programs", programs.len()) };
    let mut rendered = 0;
    for (turn, text) in texts.iter().cycle().take(500).enumerate() {
        let mut input = program.input();
        let line = |slot: usize| {
            let pick = |by: usize| numbers[(slot * by + turn) % numbers.len()];
            let file = if (slot + turn).is_multiple_of(5) { "b.c" } else { "./a.c" };
            SourceLine {
                slot: SlotIndex(slot),
                file: file.into(),
                line: pick(3),
                column: pick(5),
                text: (*text).into(),
            }
        };
        let slots = input.bytecode.slots.clone();
        let mut bytecode = Bytecode::from(slots);
        let lines = (0..bytecode.slots.len()).map(line).collect();
        bytecode.debug = DebugInfo::new(lines, Vec::new());
        input.bytecode = &bytecode;
        let rejection = verify(&input).expect_err("the kernel rejects it");
        let report = Report::new(&rejection, &input, &program.name);
        rendered += text_of(&report).len();
        assert!(github(&report).starts_with("::error "));
        assert!(sarif([&report])["runs"].is_array() && json(&report)["code"].is_string());
    }
    assert!(rendered > 0);
}

fn text_of(report: &Report) -> String {
    text(report, Style::Plain)
}

#[test]
fn tools_are_told_the_same() {
    let path = folder("rejected").join("packet_bounds_off_by_one.bpf.o");
    let reports: Vec<Report> = programs(&path).iter().filter_map(report).collect();
    let [report] = reports.as_slice() else { panic!("{} reports", reports.len()) };
    let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("JSON");
    insta::assert_snapshot!("json", pretty(&json(report)));
    insta::assert_snapshot!("sarif", pretty(&sarif([report])));
    insta::assert_snapshot!("github", github(report));
    let coloured = text(report, Style::Coloured);
    assert!(coloured.contains("\u{1b}["), "{coloured}");
    let mut plain = String::new();
    for (index, part) in coloured.split("\u{1b}[").enumerate() {
        let rest = if index == 0 { part } else { part.split_once('m').map_or("", |both| both.1) };
        plain.push_str(rest);
    }
    assert_eq!(plain, text(report, Style::Plain));
}

#[test]
fn verdicts_and_sentences_are_the_live_kernels() {
    let expected = expected();
    let (mut same, mut total, mut other, mut unsupported) = (0, 0, Vec::new(), Vec::new());
    for kind in ["rejected", "fixed"] {
        for path in objects(kind) {
            for program in programs(&path) {
                let kernel = lookup(&expected, kind, &path, &program);
                let ours = report(&program);
                let name = format!("{kind}/{}", program.name);
                let verdict = if ours.is_some() { "rejected" } else { "accepted" };
                if ours.as_ref().is_some_and(|report| report.rule == Rule::Unsupported) {
                    unsupported.push(name);
                    continue;
                }
                assert_eq!(kernel["verdict"], verdict, "{name}: {ours:#?}");
                let Some(report) = ours else { continue };
                total += 1;
                let log: Vec<&str> = kernel["log"]
                    .as_array()
                    .expect("lines")
                    .iter()
                    .filter_map(Value::as_str)
                    .collect();
                let insn = report.primary().map(|span| span.place.insn);
                if report.log == log
                    && (kernel["instruction"] == Value::Null
                        || insn.map(Value::from) == Some(kernel["instruction"].clone()))
                {
                    same += 1;
                } else {
                    other.push(format!(
                        "{name}: {:?} at {insn:?}, the kernel {log:?} at {}",
                        report.log, kernel["instruction"]
                    ));
                }
            }
        }
    }
    println!("{same} of {total} rejections have the kernel's sentences and place");
    for line in &other {
        println!("  {line}");
    }
    println!("{} not supported: {}", unsupported.len(), unsupported.join(", "));
    // As measured; more is welcome, less is a step back.
    assert!(other.len() <= 3, "{} differ", other.len());
}
