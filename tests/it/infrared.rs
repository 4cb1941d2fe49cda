//! The nine decoders of ir-keytable, as a distribution installs them, on the pulse trains of
//! `tests/infrared`: every engine, and `skep run`, must decode what a train's comments say.
//!
//! A train says with lines that start with `#:` which decoder it is for, the decoder's parameters
//! (`set`), patterns for its map of them, what is decoded (`expect`), and where a `damaged` message
//! starts of which nothing is. Skipped where the objects are not installed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use skep::context::{Lirc, Signal, parse_pulses};
use skep::cpu::Cpu;
use skep::prepare::{GlobalBytes, MapSize, PrepareOptions, Prepared, prepare};
use skep::run::Options;
use skep_object::{MapIndex, Object};
use skep_tests::engines::ENGINES;

use crate::command::{Ran, program, skep};

const OBJECTS: &str = "/usr/lib/udev/rc_keymaps/protocols";

/// How many decoders ir-keytable has.
const DECODERS: usize = 9;

/// The map of patterns of the decoder without a protocol.
const PATTERNS: &str = "raw_map";

/// A file of `tests/infrared`.
struct Train {
    path: PathBuf,
    decoder: String,
    parameters: Vec<(String, i32)>,
    /// Scan codes and lengths.
    patterns: Vec<(u32, Vec<u16>)>,
    expected: Vec<String>,
    whole: Vec<Signal>,
    damaged: Vec<Signal>,
}

impl Train {
    fn read(path: PathBuf) -> Train {
        let text = std::fs::read_to_string(&path).expect("a pulse train");
        let (whole, damaged) = text.split_once("#: damaged\n").expect("a damaged message");
        let signals = |text| parse_pulses(text).unwrap_or_else(|why| panic!("{path:?}: {why}"));
        let mut train = Train {
            decoder: String::new(),
            parameters: Vec::new(),
            patterns: Vec::new(),
            expected: Vec::new(),
            whole: signals(whole),
            damaged: signals(damaged),
            path,
        };
        for line in whole.lines().filter_map(|line| line.strip_prefix("#: ")) {
            match line.split_once(' ').expect("a word and what it is about") {
                ("decoder", name) => name.clone_into(&mut train.decoder),
                ("set", setting) => {
                    let (name, value) = setting.split_once('=').expect("NAME=VALUE");
                    train.parameters.push((name.to_owned(), number(value) as i32));
                }
                ("pattern", pattern) => {
                    let mut words = pattern.split(' ').map(number);
                    let scancode = words.next().expect("a scan code");
                    let lengths = words.map(|us| u16::try_from(us).expect("16 bits")).collect();
                    train.patterns.push((scancode, lengths));
                }
                ("expect", what) => train.expected.push(what.to_owned()),
                _ => panic!("{:?}: {line}", train.path),
            }
        }
        assert!(!train.expected.is_empty() && !train.damaged.is_empty(), "{:?}", train.path);
        train
    }

    fn object(&self) -> PathBuf {
        Path::new(OBJECTS).join(format!("{}.o", self.decoder))
    }

    /// The size of a value of the map of patterns, as ir-keytable makes it: a scan code, the
    /// lengths of the longest and a zero after it.
    fn pattern_bytes(&self) -> u32 {
        let longest = self.patterns.iter().map(|(_, lengths)| lengths.len()).max().unwrap_or(0);
        (size_of::<u32>() + (longest + 1) * size_of::<u16>()) as u32
    }

    /// The map of patterns, by index.
    fn pattern_values(&self) -> impl Iterator<Item = Vec<u8>> {
        self.patterns.iter().map(|(scancode, lengths)| {
            let lengths = lengths.iter().flat_map(|us| us.to_le_bytes());
            let mut value: Vec<u8> = scancode.to_le_bytes().into_iter().chain(lengths).collect();
            value.resize(self.pattern_bytes() as usize, 0);
            value
        })
    }

    /// Runs the recording, with what is damaged in it, by `skep run`.
    fn run(&self, more: &[&str]) -> Ran {
        let text = |path: &Path| path.to_str().expect("it is UTF-8").to_owned();
        let mut arguments: Vec<String> = ["run", "--pulses"].map(Into::into).into();
        arguments.extend([text(&self.path), text(&self.object())]);
        for (name, value) in &self.parameters {
            arguments.extend(["--set".to_owned(), format!("{name}={value}")]);
        }
        let patterns = tempfile::NamedTempFile::new().expect("a temporary file");
        if !self.patterns.is_empty() {
            let hex = |value: Vec<u8>| value.iter().map(|byte| format!("{byte:02x}")).collect();
            let values = (0..).zip(self.pattern_values().map(hex));
            let entry = |(key, value): (u32, String)| json!({"key": key, "value": value});
            let entries = Value::from_iter(values.map(entry));
            std::fs::write(patterns.path(), entries.to_string()).expect("it can be written");
            let (bytes, count) = (self.pattern_bytes(), self.patterns.len());
            arguments.extend(["--resize".to_owned(), format!("{PATTERNS}={bytes},{count}")]);
            let map = format!("{PATTERNS}={}", text(patterns.path()));
            arguments.extend(["--map".to_owned(), map]);
        }
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        skep(&arguments)
    }

    fn prepare(&self, bytes: &[u8]) -> Prepared {
        let object = Object::parse(bytes).expect("an object");
        let globals = self.parameters.iter().map(|(name, value)| {
            let (map, offset) = variable(&object, name);
            GlobalBytes { map, offset, bytes: value.to_le_bytes().to_vec() }
        });
        let sizes = object.map_named(PATTERNS).map(|(map, _)| MapSize {
            map,
            value_bytes: Some(self.pattern_bytes()),
            max_entries: Some(self.patterns.len() as u32),
        });
        let options = PrepareOptions {
            globals: globals.collect(),
            map_sizes: sizes.into_iter().collect(),
            ..PrepareOptions::default()
        };
        let prepared = prepare(bytes, &self.decoder, options).expect("a machine");
        for (index, value) in (0_u32..).zip(self.pattern_values()) {
            let map = prepared.map(PATTERNS).expect("it has patterns");
            map.write(&index.to_le_bytes(), &value, 0).expect("it is as large");
        }
        prepared
    }
}

fn number(text: &str) -> u32 {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.expect("a number")
}

/// Where a parameter lies.
fn variable(object: &Object, name: &str) -> (MapIndex, u32) {
    let variables = object.maps().iter().enumerate().flat_map(|(index, map)| {
        map.variables.iter().map(move |variable| (MapIndex(index), variable))
    });
    let mut named = variables.filter(|(_, variable)| variable.name == name);
    let (map, variable) = named.next().unwrap_or_else(|| panic!("no parameter {name}"));
    assert_eq!(variable.size, 4, "{name}");
    (map, u32::try_from(variable.offset).expect("32 bits"))
}

fn trains() -> Vec<Train> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("infrared");
    let entries = std::fs::read_dir(folder).expect("the pulse trains");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(Train::read).collect()
}

#[test]
fn decoders_decode() {
    if !Path::new(OBJECTS).is_dir() {
        println!("skipped: the decoders of ir-keytable are not installed");
        return;
    }
    let trains = trains();
    let mut decoders = BTreeSet::new();
    let (mut events, mut decoded) = (0, 0);
    for train in &trains {
        let bytes = std::fs::read(train.object()).expect("the decoder is installed");
        for engine in ENGINES {
            let what = format!("{}, {}", train.path.display(), engine.name);
            let prepared = train.prepare(&bytes);
            let mut cpu = Cpu::new(&prepared.machine).expect("a processor");
            let options = Options { engine: engine.engine, ..Options::default() };
            let mut run = |signals: &[Signal]| {
                events += signals.len();
                decode(&prepared, &mut cpu, signals, options)
                    .unwrap_or_else(|why| panic!("{what}: {why}"))
            };
            assert_eq!(run(&train.whole), train.expected, "{what}");
            assert_eq!(run(&train.damaged), [""; 0], "{what}, damaged");
            // What was damaged is over.
            assert_eq!(run(&train.whole), train.expected, "{what}, again");
            decoded += 2 * train.expected.len();
        }
        decoders.insert(train.decoder.as_str());
    }
    println!(
        "{} decoders, {} trains, {events} events, {decoded} times something decoded",
        decoders.len(),
        trains.len()
    );
    assert_eq!(decoders.len(), DECODERS, "{decoders:?}");
}

/// What a decoder says of signals, one after the other.
fn decode(
    prepared: &Prepared,
    cpu: &mut Cpu,
    signals: &[Signal],
    options: Options,
) -> Result<Vec<String>, String> {
    let program = &prepared.programs[0].result;
    let loaded = program.as_ref().map_err(|failure| failure.to_string())?;
    let mut said = Vec::new();
    for signal in signals {
        let mut event = Lirc::new(*signal);
        let ran = loaded.run(cpu, &mut event, options);
        ran.map_err(|error| format!("{signal:?}: {error}"))?;
        said.extend(event.decoded.iter().map(ToString::to_string));
    }
    Ok(said)
}

#[test]
fn skep_run_decodes() {
    if !Path::new(OBJECTS).is_dir() {
        println!("skipped: the decoders of ir-keytable are not installed");
        return;
    }
    for train in trains() {
        let ran = train.run(&[]);
        assert_eq!(ran.code, 0, "{}: {}", train.path.display(), ran.err);
        let text = ran.text();
        // `  18  +907: key protocol 66 ...`
        let decoded: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with(' '))
            .filter_map(|line| line.split_once(": ").map(|(_, what)| what))
            .collect();
        assert_eq!(decoded, train.expected, "{}", train.path.display());

        let ran = train.run(&["--json", "--engine", "checked"]);
        assert_eq!(ran.code, 0, "{}: {}", train.path.display(), ran.err);
        let document = ran.json();
        let signals = train.whole.len() + train.damaged.len();
        assert_eq!(document["runs"].as_u64(), Some(signals as u64), "{}", train.path.display());
        let decoded: Vec<String> =
            document["decoded"].as_array().expect("a list").iter().map(said).collect();
        assert_eq!(decoded, train.expected, "{}", train.path.display());
    }
}

/// An element of `decoded` as text output has it.
fn said(decoded: &Value) -> String {
    let number = |name: &str| decoded[name].as_i64().expect("a number");
    match decoded["kind"].as_str().expect("text") {
        "key" => {
            let scancode = decoded["scancode"].as_str().expect("text");
            let (protocol, toggle) = (number("protocol"), number("toggle"));
            format!("key protocol {protocol} scancode {scancode} toggle {toggle}")
        }
        "pointer" => format!("pointer x {} y {}", number("x"), number("y")),
        other => other.to_owned(),
    }
}

#[test]
fn recordings_are_read_or_refused() {
    let hello = program("hello.bpf.o");
    let run = |recording: &str, prog_type: &str| {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), recording).expect("it can be written");
        let path = file.path().to_str().expect("it is UTF-8");
        let arguments = ["--unverified", "--verdicts", "--type", prog_type, "--pulses", path];
        skep(&[&["run", &hello], &arguments[..]].concat())
    };
    let ran = run("+9000 -4500 # timeout 7", "lirc_mode2");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let text = ran.text();
    let shown = "Hello World 0\n   0  +9000\nHello World 1\n   1  -4500\nHello World 2\n   2  \
                 timeout 7\n3 events, nothing decoded; ";
    assert!(text.starts_with(shown), "{text}");
    for (recording, prog_type, code, why) in [
        ("+9000 4500", "lirc_mode2", 3, "line 1, column 7: needed is +MICROSECONDS"),
        ("+9000\nspace 16777216", "lirc_mode2", 3, "line 2, column 7: needed is a number from 1"),
        ("# nothing", "lirc_mode2", 3, "it has no events"),
        ("+9000", "xdp", 2, "--pulses is for programs of type lirc_mode2"),
    ] {
        let ran = run(recording, prog_type);
        assert_eq!((ran.code, ran.text()), (code, String::new()), "{recording}: {}", ran.err);
        assert!(ran.err.contains(why), "{recording}: {}", ran.err);
    }
    let ran = skep(&["run", &hello, "--unverified", "--type", "lirc_mode2"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("give a recording with --pulses FILE"), "{}", ran.err);
}
