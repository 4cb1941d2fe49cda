//! `skep bench` measures every engine on the same program, and says what it leaves out.

use serde_json::Value;

use crate::command::{program, skep, skep_with_input};

/// The least that is measured.
const SHORT: [&str; 5] = ["--rounds", "3", "--sample", "1", "--json"];

/// The engines of a document with what the last run returned.
fn results(document: &Value) -> Vec<(&str, &str)> {
    let engines = document["engines"].as_array().into_iter().flatten();
    engines
        .filter_map(|engine| Some((engine["engine"].as_str()?, engine["r0"].as_str()?)))
        .collect()
}

#[test]
fn programs_of_objects_are_measured_on_every_engine() {
    let hello = program("hello.bpf.o");
    let ran = skep(&[&["bench", &hello][..], &SHORT].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let document = ran.json();
    let results = results(&document);
    assert!(results.contains(&("interp", "0x2")) && results.contains(&("checked", "0x2")));
    assert!(results.iter().all(|(_, r0)| *r0 == "0x2"), "{results:?}");
    for engine in document["engines"].as_array().into_iter().flatten() {
        assert!(engine["ns_per_run"]["p50"].as_f64() > Some(0.0), "{engine}");
    }
}

#[test]
fn raw_code_is_measured_on_its_memory() {
    // r0 = *(u32 *)(r1 + 0)
    let code = b"61 10 00 00 00 00 00 00 95 00 00 00 00 00 00 00";
    let arguments = [&["bench", "--raw", "-", "--memory", "2a000000"][..], &SHORT].concat();
    let ran = skep_with_input(&arguments, code);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let document = ran.json();
    assert!(results(&document).len() > 1);
    assert!(results(&document).iter().all(|(_, r0)| *r0 == "0x2a"), "{document}");
}

#[test]
fn what_traps_is_left_out_by_name() {
    // r0 = *(u32 *)(r1 + 8), beyond four bytes of memory, but on the same page
    let code = b"61 10 08 00 00 00 00 00 95 00 00 00 00 00 00 00";
    let arguments = [&["bench", "--raw", "-", "--memory", "2a000000"][..], &SHORT].concat();
    let ran = skep_with_input(&arguments, code);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("checked is left out: raw, instruction 0"), "{}", ran.err);
    assert!(results(&ran.json()).iter().all(|(engine, _)| *engine != "checked"));
}

#[test]
fn the_first_engine_is_the_measure() {
    let hello = program("hello.bpf.o");
    let chosen = ["bench", &hello, "--engine", "checked,interp"];
    let ran = skep(&[&chosen[..], &SHORT].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let document = ran.json();
    assert_eq!(document["engines"][0]["engine"], "checked");
    assert_eq!(document["engines"][0]["times_first"], 1.0);
}
