//! What `skep run` writes for profilers, read back by the formats' descriptions in Linux
//! (tools/perf/Documentation: jit-interface.txt, jitdump-specification.txt).

use std::fs;
use std::path::PathBuf;

use skep::profile::PerfMap;
use skep::run::Engine;

use crate::command::{program, skep};

const PACKET: &str = "00112233445566778899aabb0800450000000000000000000000000000000000";

/// Takes numbers and text off the front of bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        head
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    fn text(&mut self) -> String {
        let len = self.0.iter().position(|byte| *byte == 0).expect("an end of the text");
        let text = String::from_utf8(self.take(len).to_vec()).expect("text");
        self.take(1);
        text
    }
}

/// A function of a dump: its address, its code, and where lines begin.
#[derive(Debug)]
struct Function {
    name: String,
    start: u64,
    code: Vec<u8>,
    lines: Vec<(u64, u32, String)>,
}

fn functions(dump: &[u8]) -> Vec<Function> {
    let mut reader = Reader(dump);
    assert_eq!((reader.u32(), reader.u32(), reader.u32()), (0x4a69_5444, 1, 40));
    let machine = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    assert_eq!((reader.u32(), reader.u32(), reader.u32()), (machine, 0, std::process::id()));
    let mut now = reader.u64();
    assert_eq!(reader.u64(), 0, "flags");
    let (mut functions, mut lines) = (Vec::new(), Vec::new());
    loop {
        let (id, len, time) = (reader.u32(), reader.u32() as usize, reader.u64());
        assert!(time >= now);
        now = time;
        let mut body = Reader(reader.take(len - 16));
        match id {
            0 => {
                assert_eq!(body.u32(), std::process::id());
                body.u32();
                let (at, start, len) = (body.u64(), body.u64(), body.u64());
                assert_eq!((at, body.u64()), (start, functions.len() as u64));
                let (name, code) = (body.text(), body.0.to_vec());
                assert_eq!(code.len() as u64, len);
                functions.push(Function { name, start, code, lines: std::mem::take(&mut lines) });
            }
            2 => {
                body.u64();
                for _ in 0..body.u64() {
                    let (at, line, _column) = (body.u64(), body.u32(), body.u32());
                    lines.push((at, line, body.text()));
                }
                assert!(body.0.is_empty());
            }
            3 => break,
            other => panic!("a record of kind {other}"),
        }
    }
    assert!(reader.0.is_empty() && lines.is_empty());
    functions
}

#[test]
fn machine_code_is_written_down_for_profilers() {
    if !Engine::Template.is_available() {
        println!("skipped: there is no compiler for this computer");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let dump = format!("--jitdump={}", directory.path().display());
    let object = program("bpf_to_bpf.bpf.o");
    let arguments = ["run", &object, "--packet", PACKET, "--engine", "jit1", "--perf-map", &dump];
    let ran = skep(&arguments);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let file: PathBuf = directory.path().join(format!("jit-{}.dump", std::process::id()));
    assert!(ran.err.contains(&file.display().to_string()), "{}", ran.err);

    let functions = functions(&fs::read(&file).unwrap());
    let text = skep(&["inspect", &object]).text();
    let source = fs::read_to_string(program("bpf_to_bpf.bpf.c")).unwrap();
    let source_lines = source.lines().count();
    for function in &functions {
        let name = function.name.strip_prefix("bpf_prog_").unwrap().strip_suffix(".jit1").unwrap();
        let end = function.start + function.code.len() as u64;
        assert!(function.lines.is_sorted_by_key(|(at, _, _)| *at));
        for (at, line, file) in &function.lines {
            assert!((function.start..end).contains(at) && file.ends_with("bpf_to_bpf.bpf.c"));
            assert!((1..=source_lines).contains(&(*line as usize)), "line {line}");
        }
        if !name.ends_with("_enter") {
            assert!(text.contains(name), "{name} is no function of:\n{text}");
            assert!(function.lines.len() > 1, "{function:?}");
        }
    }
    assert!(functions.len() >= 3, "the program, its function and the way in: {functions:?}");

    let map = PerfMap::path();
    let symbols = fs::read_to_string(&map).unwrap();
    fs::remove_file(&map).unwrap();
    let expected: String = functions
        .iter()
        .map(|function| {
            format!("{:x} {:x} {}\n", function.start, function.code.len(), function.name)
        })
        .collect();
    assert_eq!(symbols, expected);
}

#[test]
fn profilers_need_machine_code_and_a_place() {
    let object = program("hello.bpf.o");
    let ran = skep(&["run", &object, "--packet", PACKET, "--engine", "interp", "--perf-map"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("makes no machine code"), "{}", ran.err);
    let ran = skep(&["run", &object, "--packet", PACKET, "--jitdump=no/such/directory"]);
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("no/such/directory"), "{}", ran.err);
}
