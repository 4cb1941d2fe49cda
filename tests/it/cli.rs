//! What the command prints: the hello-world story, explanations, messages, exit codes, and the
//! shapes of its JSON documents. Times are replaced, for they differ from run to run.

use std::io::{self, Write};

use insta::assert_snapshot;
use serde_json::Value;
use skep_cli::Streams;

use crate::command::{program, skep, skep_with_input, workspace};

/// A transcript without the folder of the workspace and without times.
fn tidy(text: &str) -> String {
    let folder = format!("{}/", workspace().display());
    let mut tidy = String::new();
    for line in text.replace(&folder, "").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let mut out: Vec<&str> = Vec::new();
        for (index, word) in words.iter().enumerate() {
            let is_time = words.get(index + 1) == Some(&"ns")
                || (index > 0 && words[index - 1] == "in" && word.ends_with('s'));
            out.push(if is_time { "TIME" } else { word });
        }
        tidy.push_str(&out.join(" "));
        tidy.push('\n');
    }
    tidy
}

fn transcript(arguments: &[&str]) -> String {
    tidy(&skep(arguments).transcript())
}

/// A document whose times are zero.
fn document(arguments: &[&str]) -> String {
    let ran = skep(arguments);
    let mut document = ran.json();
    forget_times(&mut document);
    let mut text = serde_json::to_string_pretty(&document).expect("it was JSON");
    if ran.code != 0 {
        text += &format!("\n--- exit code {}", ran.code);
    }
    text
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if name == "time_ns" {
                    *value = Value::from(0);
                }
                forget_times(value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(forget_times),
        _ => {}
    }
}

/// An ARP request, the shortest packet that means something.
const PACKET: &str = "ffffffffffff0200000000010806\
    0001080006040001020000000001c6336407000000000000c000020a";

#[test]
fn hello_world() {
    let (hello, three) = (program("hello.bpf.o"), program("captures/three.pcap"));
    assert_snapshot!("hello_on_a_capture", transcript(&["run", &hello, "--pcap", &three]));
    assert_snapshot!("hello_on_a_packet", transcript(&["run", &hello, "--packet", PACKET]));
    assert_snapshot!("hello_objdump", transcript(&["objdump", "-d", "-S", "-r", &hello]));
    assert_snapshot!(
        "hello_objdump_decimal",
        transcript(&["objdump", "--style", "decimal", "--names", &hello])
    );
    assert_snapshot!("hello_inspect", transcript(&["inspect", &hello]));
}

#[test]
fn explanations() {
    assert_snapshot!("explain_bytes", transcript(&["explain", "b7 02 00 00 0f 00 00 00"]));
    assert_snapshot!("explain_helper", transcript(&["explain", "bpf_trace_printk"]));
    assert_snapshot!("explain_section", transcript(&["explain", "tc"]));
    assert_snapshot!("explain_map", transcript(&["explain", "hash"]));
    assert_snapshot!("explain_rule", transcript(&["explain", "E0009"]));
    assert_snapshot!("explain_no_rule", transcript(&["explain", "E9999"]));
    let place = format!("{}:hello:6", program("hello.bpf.o"));
    assert_snapshot!("explain_in_object", transcript(&["explain", &place]));
    // However the instruction is given, the explanation is the same.
    let by_bytes = transcript(&["explain", "b7020000", "0f000000"]);
    for text in ["r2 = 15", "r2 = 0xf", "mov %r2, 15", "(b7) r2 = 15"] {
        assert_eq!(transcript(&["explain", text]), by_bytes, "{text}");
    }
}

#[test]
fn documents() {
    let hello = program("hello.bpf.o");
    let three = program("captures/three.pcap");
    let run = ["run", "--json", &hello, "--packet", PACKET];
    assert_snapshot!("json_run", document(&run));
    assert_snapshot!("json_run_capture", document(&["run", "--json", &hello, "--pcap", &three]));
    let fuel = ["run", "--json", &program("bpf_to_bpf.bpf.o"), "--packet", PACKET, "--fuel", "20"];
    assert_snapshot!("json_run_trap", document(&fuel));
    assert_snapshot!("json_inspect", document(&["inspect", "--json", &hello]));
    assert_snapshot!("json_explain", document(&["explain", "--json", "r2 = 15"]));
    assert_snapshot!("json_explain_rule", document(&["explain", "--json", "E0006"]));
    assert_snapshot!("json_explain_helper", document(&["explain", "--json", "bpf_redirect"]));
}

#[test]
fn support_is_counted() {
    let support = skep(&["inspect", "--support", "--json"]).json();
    let groups = support["instructions"].as_array().expect("a list");
    let names: Vec<&str> = groups.iter().filter_map(|group| group["group"].as_str()).collect();
    assert_eq!(
        names,
        [
            "base32", "base64", "divmul32", "divmul64", "atomic32", "atomic64", "packet", "linux",
            "callx"
        ]
    );
    for group in groups {
        let count = |name: &str| group[name].as_u64().expect("a number");
        let list = |name: &str| group[name].as_array().expect("a list").len() as u64;
        assert_eq!(
            count("forms"),
            count("implemented") + list("traps") + list("absent"),
            "{group}"
        );
        assert!(count("implemented") > 0, "{group}");
    }
    for (kinds, all) in [("map_types", 33), ("program_types", 32), ("helpers", 211)] {
        let list = |name: &str| support[kinds][name].as_array().expect("a list").len();
        assert_eq!(list("implemented") + list("absent"), all, "{kinds}");
    }
}

#[test]
fn assembly_and_back() {
    let text = "r0 = 0\nloop: r0 += 5\nif r0 < 20 goto loop\nr1 = r0\ncall double\nexit\ndouble: r0 = r1\nr0 *= 2\nexit\n";
    let assembled = skep_with_input(&["asm", "-"], text.as_bytes());
    assert_eq!(assembled.code, 0, "{}", assembled.err);
    for style in ["decimal", "kernel", "mnemonic"] {
        let disassembled = skep_with_input(&["disasm", "-", "--style", style], &assembled.out);
        let again = skep_with_input(&["asm", "-"], &disassembled.out);
        assert_eq!(again.out, assembled.out, "{style}: {}", again.err);
    }
    let hex = skep_with_input(&["asm", "-", "--hex"], text.as_bytes());
    let ran = skep_with_input(&["run", "--raw", "-"], &hex.out);
    assert_eq!(ran.text(), "r0 = 0x28\n", "{}", ran.err);
    let conformance = skep_with_input(&["conformance", ""], &hex.out);
    assert_eq!(conformance.text(), "28\n", "{}", conformance.err);
    // An object is loaded like any other.
    let object = std::env::temp_dir().join(format!("skep-asm-{}.o", std::process::id()));
    let path = object.display().to_string();
    let options = ["asm", "-", "-o", &path, "--section", "xdp", "--license", "GPL"];
    let written = skep_with_input(&options, b"main: r0 = 2\nexit\n");
    assert_eq!(written.code, 0, "{}", written.err);
    let ran = skep(&["run", &path, "--packet", PACKET, "--json"]);
    std::fs::remove_file(&object).expect("it is ours");
    assert_eq!(ran.json()["action"], "XDP_PASS", "{}", ran.err);
}

#[test]
fn conformance_reads_memory_and_stops_at_traps() {
    // r0 = *(u8 *)(r1 + 1); exit
    let code = b"71 10 01 00 00 00 00 00 95 00 00 00 00 00 00 00";
    for engine in ["interp", "checked"] {
        let arguments = ["conformance", "--engine", engine, "aa bb"];
        let ran = skep_with_input(&arguments, code);
        assert_eq!((ran.code, ran.text().as_str()), (0, "bb\n"), "{engine}: {}", ran.err);
    }
    let ran = skep_with_input(&["conformance", "--engine", "checked", "aa"], code);
    assert_eq!(ran.code, 1, "one byte is not two");
    assert!(ran.err.contains("byte 1 of the memory"), "{}", ran.err);
}

#[test]
fn refusals_say_why() {
    let hello = program("hello.bpf.o");
    let balancer = program("load_balancer.bpf.o");
    let nowhere = format!("{hello}:nowhere");
    let readme = program("README.md");
    let three = program("captures/three.pcap");
    let cases: [&[&str]; 15] = [
        &["run", &hello],
        &["run", &balancer, "--packet", PACKET],
        &["run", &nowhere, "--packet", PACKET],
        &["run", &hello, "--packet", "0g"],
        &["run", &hello, "--packet", "00"],
        &["run", &hello, "--packet", PACKET, "--set", "counter=4294967296"],
        &["run", &hello, "--packet", PACKET, "--set", "nothing=1"],
        &["run", &hello, "--packet", PACKET, "--type", "kprobe"],
        &["run", &hello, "--packet", PACKET, "--type", "gugus"],
        &["run", &hello, "--pcap", &readme],
        &["run", "--raw", "-", "--pcap", &three],
        &["inspect", "missing.o"],
        &["inspect", &readme],
        &["explain", "bpf_gugus"],
        &["explain", "b7 02"],
    ];
    let mut text = String::new();
    for case in cases {
        let arguments: Vec<String> = case.iter().map(|argument| tidy(argument)).collect();
        text += &format!("$ skep {}\n", arguments.join(" ").replace('\n', ""));
        text += &transcript(case);
    }
    assert_snapshot!("refusals", text);
}

#[test]
fn settings_reach_the_program() {
    let hello = program("hello.bpf.o");
    let ran = skep(&["run", &hello, "--packet", PACKET, "--set", "counter=41"]);
    assert!(ran.text().starts_with("Hello World 41\n"), "{}", ran.text());
    assert!(ran.text().contains("counter = 42 (was 41)"), "{}", ran.text());
    let repeated = skep(&["run", &hello, "--packet", PACKET, "--repeat", "5", "--json"]);
    assert_eq!(repeated.json()["printk"].as_array().map(Vec::len), Some(5));
}

#[test]
fn programs_without_packets_run_on_memory() {
    let object = std::env::temp_dir().join(format!("skep-memory-{}.o", std::process::id()));
    let path = object.display().to_string();
    let options = ["asm", "-", "-o", &path, "--section", "kprobe/do_exit"];
    // Doubles the word that r1 leads to.
    let code = b"r0 = *(u32 *)(r1 + 0)\nr0 += r0\n*(u32 *)(r1 + 0) = r0\nexit\n";
    let written = skep_with_input(&options, code);
    assert_eq!(written.code, 0, "{}", written.err);
    let without = skep(&["run", "--unverified", &path, "--packet", PACKET]);
    assert_eq!(without.code, 3);
    assert!(without.err.contains("--memory"), "{}", without.err);
    let run = ["run", &path, "--memory", "15000000", "--json", "--engine", "checked"];
    // A kprobe must not write to the registers it is given.
    let refused = skep(&run);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert_eq!(
        refused.json()["program"]["error"]["message"],
        "invalid bpf_context access off=0 size=4"
    );
    let ran = skep(&[&run[..], &["--unverified"]].concat());
    std::fs::remove_file(&object).expect("it is ours");
    let document = ran.json();
    assert_eq!((&document["retval"], &document["packet_out"]), (&42.into(), &"2a000000".into()));
}

#[test]
fn fields_of_the_context_are_read_from_toml() {
    let folder = std::env::temp_dir();
    let object = folder.join(format!("skep-ctx-{}.o", std::process::id()));
    let fields = folder.join(format!("skep-ctx-{}.toml", std::process::id()));
    let (path, toml) = (object.display().to_string(), fields.display().to_string());
    // mark is at byte 8 of struct __sk_buff, priority at byte 32.
    let code = b"r0 = *(u32 *)(r1 + 8)\n*(u32 *)(r1 + 32) = r0\nexit\n";
    let written = skep_with_input(&["asm", "-", "-o", &path, "--section", "tc"], code);
    assert_eq!(written.code, 0, "{}", written.err);
    let run = ["run", &path, "--packet", PACKET, "--ctx", &toml, "--json"];
    std::fs::write(&fields, "mark = 7").expect("a temporary file");
    let document = skep(&run).json();
    assert_eq!(document["retval"], 7);
    assert_eq!(document["context"]["priority"], 7);
    std::fs::write(&fields, "mrk = 7").expect("a temporary file");
    let misspelt = skep(&run);
    assert_eq!(misspelt.code, 3);
    assert!(misspelt.err.contains("unknown field `mrk`"), "{}", misspelt.err);
    for file in [object, fields] {
        std::fs::remove_file(file).expect("it is ours");
    }
}

#[test]
fn what_is_printed_is_not_cut_with_the_verdicts() {
    let (hello, mixed) = (program("hello.bpf.o"), program("captures/mixed.pcap"));
    let packets: Vec<&str> = std::iter::repeat_n(["--packet", PACKET], 20).flatten().collect();
    let mut arguments = vec!["run", &hello, "--pcap", &mixed];
    arguments.extend(packets);
    let text = skep(&arguments).text();
    assert!(text.contains("Hello World 44\n"), "{text}");
    assert_eq!(text.matches(": XDP_PASS").count(), 32, "{text}");
    arguments.push("--verdicts");
    assert_eq!(skep(&arguments).text().matches(": XDP_PASS").count(), 45);
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    let hello = program("hello.bpf.o");
    for colour in [false, true] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let streams = Streams {
            input: &mut io::empty(),
            out: &mut out,
            err: &mut err,
            colour,
            terminal: false,
        };
        let arguments = ["skep", "run", &hello, "--packet", PACKET].map(Into::into);
        assert_eq!(skep_cli::run(arguments, streams), 0);
        assert_eq!(out.contains(&0x1b), colour);
    }
}

#[test]
fn packets_that_go_on_are_written() {
    let out = std::env::temp_dir().join(format!("skep-out-{}.pcap", std::process::id()));
    let path = out.display().to_string();
    let mixed = program("captures/mixed.pcap");
    let ran = skep(&["run", &program("port_filter.bpf.o"), "--pcap", &mixed, "-w", &path]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let again = skep(&["run", &program("hello.bpf.o"), "--pcap", &path, "--json"]);
    std::fs::remove_file(&out).expect("it is ours");
    // Of 25 frames the filter drops the two that are malformed.
    assert_eq!(again.json()["packets"].as_array().map(Vec::len), Some(23));
}

/// Takes nothing.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let hello = program("hello.bpf.o");
    for arguments in [vec!["objdump", &hello], vec!["inspect", &hello], vec!["explain", "xdp"]] {
        let mut err = Vec::new();
        let streams = Streams {
            input: &mut io::empty(),
            out: &mut Closed,
            err: &mut err,
            colour: false,
            terminal: false,
        };
        let arguments = std::iter::once("skep").chain(arguments).map(Into::into);
        assert_eq!(skep_cli::run(arguments, streams), 0);
        assert_eq!(String::from_utf8_lossy(&err), "");
    }
}

/// Cuts and damages an object all over; whatever happens has an exit code and a reason.
#[test]
fn damaged_objects_are_refused_or_read() {
    let object = std::fs::read(program("bpf_to_bpf.bpf.o")).expect("it is committed");
    let path = std::env::temp_dir().join(format!("skep-damaged-{}.o", std::process::id()));
    let file = path.display().to_string();
    let cut = (0..object.len()).step_by(331).map(|len| object[..len].to_vec());
    let damaged = (0..object.len()).step_by(173).map(|at| {
        let mut damaged = object.clone();
        damaged[at] = !damaged[at];
        damaged
    });
    let mut codes = [0; 4];
    for bytes in cut.chain(damaged) {
        std::fs::write(&path, bytes).expect("a temporary file");
        let commands: [&[&str]; 3] = [
            &["inspect", &file],
            &["objdump", "-d", "-S", "-r", &file],
            &["run", &file, "--packet", PACKET, "--engine", "checked", "--fuel", "100000"],
        ];
        for command in commands {
            let ran = skep(command);
            codes[usize::from(ran.code)] += 1;
            match ran.code {
                0 => {}
                1 => {
                    let text = ran.text();
                    assert!(
                        text.contains("trap") || text.contains("error[E"),
                        "{command:?}: {text}"
                    );
                }
                _ => assert!(ran.err.starts_with("error: "), "{command:?}: {}", ran.err),
            }
        }
    }
    std::fs::remove_file(&path).expect("it is ours");
    assert!(codes[0] > 0 && codes[3] > 0, "{codes:?}");
}
