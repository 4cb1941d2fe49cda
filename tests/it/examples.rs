//! Our example programs on our captures, against what the live kernel answered
//! (`programs/captures/expected.json`), with every engine.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::command::{program, skep, workspace};

const ENGINES: [&str; 2] = ["interp", "checked"];

#[test]
fn examples_do_what_they_do_in_the_kernel() {
    let expected = workspace().join("programs/captures/expected.json");
    let expected: Value =
        serde_json::from_slice(&std::fs::read(expected).expect("it is committed")).expect("JSON");
    let runs = expected["runs"].as_array().expect("a list");
    let mut packets = 0;
    for (number, run) in runs.iter().enumerate() {
        for engine in ENGINES {
            packets += check(run, engine, number);
        }
    }
    println!("{} runs of examples, {packets} packets, engines {ENGINES:?}", runs.len());
    assert!(packets >= 2 * 200, "only {packets} packets were compared");
}

fn check(run: &Value, engine: &str, number: usize) -> usize {
    let text = |name: &str| run[name].as_str().expect("text").to_owned();
    let what = format!("{} on {} with {engine}", text("program"), text("capture"));
    let target = format!("{}:{}", program(&text("object")), text("program"));
    let capture = program(&format!("captures/{}", text("capture")));
    let mut arguments: Vec<String> =
        ["run", "--json", "--dump-maps", "--engine", engine, "--pcap"].map(Into::into).into();
    arguments.extend([capture, target]);
    let mut files = Vec::new();
    for (map, entries) in run["maps_before"].as_object().expect("an object") {
        let name = format!("skep-map-{}-{number}-{engine}-{map}.json", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, entries.to_string()).expect("a temporary file");
        arguments.push("--map".into());
        arguments.push(format!("{map}={}", file.display()));
        files.push(file);
    }
    let ran = skep(&arguments);
    for file in files {
        std::fs::remove_file(file).expect("it is ours");
    }
    assert_eq!(ran.code, 0, "{what}: {}", ran.err);
    let document = ran.json();
    let ours = document["packets"].as_array().expect("several packets");
    let theirs = run["packets"].as_array().expect("a list");
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        check_packet(ours, theirs, &what);
    }
    check_maps(&document["maps"], &run["maps_after"], &what);
    theirs.len()
}

fn check_packet(ours: &Value, theirs: &Value, what: &str) {
    let what = format!("{what}, packet {}", theirs["index"]);
    if theirs.get("error").is_some() {
        assert!(ours.get("error").is_some(), "{what}: the kernel refused it");
        return;
    }
    assert_eq!(ours["retval"], theirs["retval"], "{what}");
    if let Some(verdict) = theirs.get("verdict") {
        assert_eq!(&ours["action"], verdict, "{what}");
    }
    assert_eq!(&ours["packet_out"], theirs.get("packet_out").unwrap_or(&Value::Null), "{what}");
    let zeros = Value::from(vec![0; 5]);
    for (field, unchanged) in
        [("mark", &Value::from(0)), ("priority", &Value::from(0)), ("cb", &zeros)]
    {
        if let Some(value) = theirs.get(field) {
            // Fields that did not change are left out.
            assert_eq!(ours["context"].get(field).unwrap_or(unchanged), value, "{what}: {field}");
        }
    }
}

fn check_maps(ours: &Value, theirs: &Value, what: &str) {
    for (name, map) in theirs.as_object().expect("an object") {
        let value_size = map["value_size"].as_u64().expect("a number") as usize;
        let wanted: BTreeMap<String, String> = map["entries"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| (hex_of(&entry["key"]), hex_of(&entry["value"])))
            .collect();
        let found: BTreeMap<String, String> = map_named(ours, name)
            .into_iter()
            .flatten()
            .map(|entry| (hex_of(&entry["key"]), value(entry, value_size)))
            .collect();
        assert_eq!(found, wanted, "{what}: map {name}");
    }
}

/// The kernel cuts the object's name within the names of global data.
fn map_named<'a>(maps: &'a Value, name: &str) -> Option<&'a Vec<Value>> {
    let maps = maps.as_object()?;
    let by_section = || {
        let (prefix, section) = name.split_once('.')?;
        let is_it =
            |full: &&String| full.starts_with(prefix) && full.ends_with(&format!(".{section}"));
        maps.get(maps.keys().find(is_it)?)
    };
    maps.get(name).or_else(by_section)?.as_array()
}

/// Bytes as digits; the keys of arrays are numbers.
fn hex_of(value: &Value) -> String {
    match value.as_u64() {
        Some(number) => bytes_as_hex(&(number as u32).to_le_bytes()),
        None => value.as_str().expect("digits").to_owned(),
    }
}

fn bytes_as_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of an entry; those of several processors are summed word by word.
fn value(entry: &Value, size: usize) -> String {
    let Some(values) = entry.get("values").and_then(Value::as_array) else {
        return hex_of(&entry["value"]);
    };
    let word = if size.is_multiple_of(8) { 8 } else { 4 };
    let mut sum = vec![0_u8; size];
    for value in values {
        let digits = value.as_str().expect("digits");
        let bytes: Vec<u8> = (0..size)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("digits"))
            .collect();
        for (sum, add) in sum.chunks_exact_mut(word).zip(bytes.chunks_exact(word)) {
            let number = |bytes: &[u8]| {
                bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
            };
            let total = number(sum).wrapping_add(number(add)).to_le_bytes();
            sum.copy_from_slice(&total[..word]);
        }
    }
    bytes_as_hex(&sum)
}
