//! The ten filters of xdp-tools, as a distribution installs them: every engine and the live kernel
//! must agree in verdicts, packets and map contents.
//!
//! Skipped where the objects are not installed or bpf(2) cannot be used.

#![allow(clippy::unwrap_used, reason = "a test: what fails is the oracle or us")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use skep::context::Xdp;
use skep::cpu::Cpu;
use skep::host::Host;
use skep::prepare::{PrepareOptions, Prepared, prepare};
use skep::run::{Engine, Options};
use skep_bpf::codec::Slot;
use skep_kernel::uapi::{prog_type, update_flag};
use skep_kernel::{Map, MapSpec, ProgSpec, Program, TestRun, possible_cpus, relocate};
use skep_net::Capture;
use skep_object::{LinkOptions, MapDef, Object};
use skep_tests::engines::ENGINES;

use crate::command::{objects_in, program};

/// What a filter's rules look at, the low bits of a rule's value: the source or destination, over
/// TCP or UDP.
const SRC: u64 = 1;
const DST: u64 = 2;
const TCP: u64 = 4;
const UDP: u64 = 8;

/// What an entry of a map starts with: the map, the key, and the value on every processor.
type Rule = (&'static str, Vec<u8>, u64);

/// Verdicts and packets, in order, then the maps.
#[derive(PartialEq, Eq, Debug, Default)]
struct Outcome {
    packets: Vec<(u32, Vec<u8>)>,
    maps: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u64>>>,
}

#[test]
fn filters_of_xdp_tools_do_what_they_do_in_the_kernel() {
    let objects = filters();
    if objects.is_empty() {
        println!("skipped: the filters of xdp-tools are not installed");
        return;
    }
    if let Err(reason) = skep_kernel::available() {
        println!("skipped: {reason}");
        return;
    }
    let frames = frames();
    let mut runs = 0;
    for path in &objects {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = std::fs::read(path).unwrap();
        let mut verdicts = BTreeMap::new();
        for rules in [Vec::new(), rules(DST | TCP | UDP), rules(SRC | TCP)] {
            let expected = on_the_kernel(&bytes, &name, &rules, &frames);
            for row in ENGINES {
                let found = on_an_engine(&bytes, &name, &rules, &frames, row.engine);
                let what = format!("{name}, {} rules, {}", rules.len(), row.name);
                compare(&expected, &found, &what);
                runs += found.packets.len();
            }
            for (verdict, _) in &expected.packets {
                *verdicts.entry(Xdp::action((*verdict).into())).or_insert(0) += 1;
            }
        }
        println!("{name}: {verdicts:?}");
        for verdict in ["XDP_PASS", "XDP_DROP"] {
            assert!(verdicts.contains_key(&Some(verdict)), "{name} never says {verdict}");
        }
    }
    println!("{} filters, {} frames, {runs} runs compared", objects.len(), frames.len());
    assert_eq!(objects.len(), 10, "xdp-tools has ten filters: {objects:?}");
}

fn compare(expected: &Outcome, found: &Outcome, what: &str) {
    for (index, (theirs, ours)) in expected.packets.iter().zip(&found.packets).enumerate() {
        assert_eq!(ours, theirs, "{what}, packet {index}");
    }
    assert_eq!(found.packets.len(), expected.packets.len(), "{what}");
    for (name, theirs) in &expected.maps {
        assert_eq!(found.maps.get(name), Some(theirs), "{what}: map {name}");
    }
}

/// The objects, wherever the distribution puts libraries.
fn filters() -> Vec<PathBuf> {
    let Ok(folders) = std::fs::read_dir("/usr/lib") else { return Vec::new() };
    let folders = folders.filter_map(|entry| Some(entry.ok()?.path().join("bpf")));
    let is_filter = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("xdpfilt_")
    };
    let here = [Path::new("/usr/lib/bpf").to_owned()];
    folders.chain(here).flat_map(|folder| objects_in(&folder)).filter(is_filter).collect()
}

/// Every frame of the mixed capture, whole and cut off, so that every length check is met.
fn frames() -> Vec<Vec<u8>> {
    let capture = Capture::open(Path::new(&program("captures/mixed.pcap"))).unwrap();
    let mut frames = Vec::new();
    for packet in capture {
        let bytes = packet.unwrap().bytes;
        let cut = (14..bytes.len().min(80)).step_by(8).map(|len| bytes[..len].to_vec());
        frames.extend(cut);
        frames.push(bytes);
    }
    frames
}

/// Rules that match some of the frames, for all the maps that filters have.
fn rules(flags: u64) -> Vec<Rule> {
    let ports = [22_u16, 53, 443, 40000].into_iter();
    // A filter may number ports in either byte order.
    let ports = ports.flat_map(|port| [port, port.swap_bytes()]).map(u32::from);
    let mut rules: Vec<Rule> =
        ports.map(|port| ("filter_ports", port.to_le_bytes().to_vec(), flags)).collect();
    rules.push(("filter_ipv4", vec![203, 0, 113, 5], flags));
    rules.push(("filter_ipv4", vec![198, 51, 100, 7], flags & !DST | SRC));
    let ipv6 = |last: [u8; 2]| {
        let mut address = vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        address[5] = last[0];
        address.extend([0, last[1]]);
        address
    };
    rules.push(("filter_ipv6", ipv6([2, 0x10]), flags));
    rules.push(("filter_ethernet", vec![0xff; 6], flags));
    rules.push(("filter_ethernet", vec![2, 0, 0, 0, 0, 3], flags));
    rules
}

fn on_the_kernel(bytes: &[u8], name: &str, rules: &[Rule], frames: &[Vec<u8>]) -> Outcome {
    let object = Object::parse_named(bytes, name).unwrap();
    let function = object.programs().next().expect("a filter is one program").index;
    let linked = object.link(function, LinkOptions::default()).unwrap();
    let defs: Vec<&MapDef> =
        linked.maps.iter().map(|index| object.map(*index).expect("it was linked")).collect();
    let maps: Vec<Map> = defs.iter().map(|def| kernel_map(def)).collect();
    for (def, map) in defs.iter().zip(&maps) {
        for (_, key, value) in rules.iter().filter(|(name, ..)| *name == def.name) {
            map.update_all_cpus(key, &value.to_ne_bytes(), update_flag::ANY).unwrap();
        }
    }
    let mut insns: Vec<_> =
        linked.bytecode.slots.iter().map(|slot| Slot::to_bytes(*slot)).collect();
    relocate(&mut insns, &maps).unwrap();
    let spec = ProgSpec {
        prog_type: prog_type::XDP,
        insns: &insns,
        licence: object.license().unwrap_or_default(),
        ..ProgSpec::default()
    };
    let program = Program::load(&spec).unwrap();
    let mut outcome = Outcome::default();
    for frame in frames {
        let run = program.test_run(&TestRun { data_in: frame, ..TestRun::default() }).unwrap();
        outcome.packets.push((run.retval, run.data_out));
    }
    for (def, map) in defs.iter().zip(&maps) {
        let entries = map.entries().unwrap();
        outcome.maps.insert(def.name.clone(), summed(entries.into_iter(), def));
    }
    outcome
}

fn kernel_map(def: &MapDef) -> Map {
    let spec = MapSpec {
        map_type: def.map_type.0,
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries: def.max_entries,
        flags: def.flags.0,
        ..MapSpec::default()
    };
    Map::create(&spec).unwrap()
}

fn on_an_engine(
    bytes: &[u8],
    name: &str,
    rules: &[Rule],
    frames: &[Vec<u8>],
    engine: Engine,
) -> Outcome {
    let cpus = possible_cpus().unwrap() as u32;
    let host = Host { cpus, ..Host::default() };
    let prepared = prepare(bytes, name, PrepareOptions { host, ..Default::default() }).unwrap();
    for (map, key, value) in rules {
        if let Some(map) = prepared.map(map) {
            let values = value.to_le_bytes().repeat(cpus as usize);
            map.write(key, &values, 0).unwrap();
        }
    }
    let loaded = prepared.programs[0].result.as_ref().unwrap();
    let mut cpu = Cpu::new(&prepared.machine).unwrap();
    let mut outcome = Outcome::default();
    for frame in frames {
        let mut packet = Xdp::new(frame.clone());
        let options = Options { engine, ..Options::default() };
        let finished = loaded.run(&mut cpu, &mut packet, options).unwrap();
        outcome.packets.push((finished.r0 as u32, packet.packet));
    }
    for def in prepared.object.maps() {
        outcome.maps.insert(def.name.clone(), summed(entries(&prepared, &def.name), def));
    }
    outcome
}

fn entries(prepared: &Prepared, name: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let map = prepared.map(name).expect("the object has it").clone();
    let mut next = map.next_key(None).unwrap();
    std::iter::from_fn(move || {
        let key = next.take()?;
        next = map.next_key(Some(&key)).unwrap();
        let value = map.read(&key).unwrap();
        Some((key, value))
    })
}

/// The words of every value, summed over the processors of per-CPU maps; entries of zeros are left
/// out, of which arrays are full.
fn summed(
    entries: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
    def: &MapDef,
) -> BTreeMap<Vec<u8>, Vec<u64>> {
    let words = (def.value_size as usize).div_ceil(8);
    let sum = |bytes: Vec<u8>| {
        let mut sum = vec![0_u64; words];
        for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_ne_bytes(*word);
            sum[index % words] = sum[index % words].wrapping_add(word);
        }
        sum
    };
    entries
        .map(|(key, value)| (key, sum(value)))
        .filter(|(_, sum)| sum.iter().any(|word| *word != 0))
        .collect()
}
