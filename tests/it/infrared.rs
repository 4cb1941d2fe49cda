//! The nine decoders of ir-keytable, as a distribution installs them, on the pulse trains of
//! `tests/infrared`: every engine, and `skep run`, must decode what a train's comments say.
//!
//! A train says with lines that start with `#:` which decoder it is for, the decoder's parameters
//! (`set`), patterns for its map of them, what is decoded (`expect`), and where a `damaged` message
//! starts of which nothing is. Skipped where the objects are not installed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use skep::context::{Lirc, Signal, parse_pulses};
use skep::cpu::Cpu;
use skep::prepare::{GlobalBytes, MapSize, PrepareOptions, Prepared, prepare};
use skep::run::Options;
use skep_object::{MapIndex, Object};
use skep_tests::engines::ENGINES;

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
