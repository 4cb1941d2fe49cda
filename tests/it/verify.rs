//! `skep verify` and what `skep run` makes of its verdicts: forms, exit codes, proofs that do not
//! fit, and every object of `tests/verify` against what the live kernel said.

use std::sync::Arc;

use insta::assert_snapshot;
use serde_json::{Value, json};
use skep::host::Host;
use skep::machine::{LoadError, Machine};
use skep::maps::MapSpec;
use skep_bpf::platform::{MapFlags, MapType, ProgType};
use skep_bpf::program::Bytecode;
use skep_bpf::text::parse::assemble;
use skep_verifier::{Input, MapFacts, Profile, Verified};

use crate::command::{Ran, program, programs, skep, skep_with_input, workspace};

const PACKET: &str =
    "ffffffffffff02000000000108060001080006040001020000000001c6336407000000000000c000020a";

fn example(kind: &str, name: &str) -> String {
    workspace().join(format!("tests/verify/{kind}/{name}.bpf.o")).display().to_string()
}

/// A transcript whose times are replaced.
fn transcript(ran: &Ran) -> String {
    let mut text = String::new();
    for line in ran.transcript().replace(&format!("{}/", workspace().display()), "").lines() {
        let line = match (line.rsplit_once(", in "), line.trim_start().starts_with("\"time_us\"")) {
            (Some((start, _)), _) => format!("{start}, in TIME"),
            (None, true) => "        \"time_us\": TIME".to_owned(),
            (None, false) => line.to_owned(),
        };
        text += &line;
        text.push('\n');
    }
    text
}

#[test]
fn examples_are_accepted() {
    for object in programs() {
        let ran = skep(&["verify".into(), object.clone().into_os_string()]);
        assert_eq!(ran.code, 0, "{}: {}{}", object.display(), ran.text(), ran.err);
    }
}

#[test]
fn forms_of_an_answer() {
    let (hello, balancer) = (program("hello.bpf.o"), program("load_balancer.bpf.o"));
    let rejected = example("rejected", "packet_bounds_missing");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unloaded = folder.path().join("unloaded.o").display().to_string();
    let options = ["asm", "-", "-o", &unloaded, "--section", "gugus"];
    let written = skep_with_input(&options, b"r0 = 0\nexit\n");
    assert_eq!(written.code, 0, "{}", written.err);
    let many: [&[&str]; 4] = [
        &["verify", &balancer],
        &["verify", "--stats", &hello],
        &["verify", &rejected],
        &["verify", &format!("{balancer}:load_balancer")],
    ];
    let text: String = many.iter().map(|arguments| transcript(&skep(arguments))).collect();
    assert_snapshot!("verify_text", text);
    assert_snapshot!("verify_json", transcript(&skep(&["verify", "--json", &hello])));
    assert_snapshot!("verify_json_rejected", transcript(&skep(&["verify", "--json", &rejected])));
    assert_snapshot!(
        "verify_github",
        transcript(&skep(&["verify", "--format", "github", &rejected]))
    );
    // What cannot be prepared has no verdict, and every form says so.
    for form in ["text", "json", "sarif", "github"] {
        let ran = skep(&["verify", "--format", form, &unloaded]);
        assert_eq!(ran.code, 3, "{form}: {}", ran.text());
        assert!(ran.text().contains("does not say its program type"), "{form}: {}", ran.text());
    }
    let sarif = skep(&["verify", "--format", "sarif", &rejected]).json();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&json!("E0009"), &json!("error")));
    let place = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(place["startLine"], 13);
}

#[test]
fn types_can_be_given() {
    let object = program("tc_mark.bpf.o");
    let as_xdp = skep(&["verify", "--type", "xdp", "--json", &object]).json();
    assert_eq!(as_xdp["programs"][0]["type"], "xdp");
    assert_eq!(as_xdp["programs"][0]["verdict"], "rejected");
    let nonsense = skep(&["verify", "--type", "gugus", &object]);
    assert_eq!(nonsense.code, 2, "{}", nonsense.err);
}

/// A constant decides which paths there are, a map's size which accesses are allowed.
#[test]
fn verdicts_are_for_the_object_as_it_is_changed() {
    let (object, fixed) =
        (example("rejected", "map_index_off_by_one"), program("load_balancer.bpf.o"));
    assert_eq!(skep(&["verify", &object]).code, 1);
    let larger = skep(&["verify", &object, "--resize", "by_interface=264"]);
    assert_eq!(larger.code, 0, "{}", larger.text());
    let misspelt = skep(&["verify", &fixed, "--set", "gugus=1"]);
    assert_eq!(misspelt.code, 2, "{}", misspelt.err);
}

#[test]
fn run_refuses_what_is_rejected() {
    let rejected = example("rejected", "packet_bounds_missing");
    let refused = skep(&["run", &rejected, "--packet", PACKET]);
    assert_eq!(refused.code, 1);
    assert!(refused.text().starts_with("error[E0009]: invalid access to packet"));
    assert!(refused.text().contains("--unverified"), "{}", refused.text());
    let document = skep(&["run", &rejected, "--packet", PACKET, "--json"]);
    assert_eq!(document.code, 1);
    assert_eq!(document.json()["program"]["error"]["code"], "E0009");
    let ran = skep(&["run", &rejected, "--packet", PACKET, "--unverified", "--json"]);
    assert_eq!((ran.code, &ran.json()["action"]), (0, &json!("XDP_PASS")), "{}", ran.err);
}

#[test]
fn raw_code_is_verified_if_asked() {
    let code = b"r0 = *(u32 *)(r1 + 4)\nexit\n";
    let assembled = skep_with_input(&["asm", "-"], code).out;
    let unverified =
        skep_with_input(&["run", "--raw", "-", "--memory", &"01".repeat(8)], &assembled);
    assert_eq!(unverified.text(), "r0 = 0x1010101\n", "{}", unverified.err);
    // An XDP program finds the end of its packet there, and no part of it.
    let half = skep_with_input(&["asm", "-"], b"r0 = *(u16 *)(r1 + 4)\nexit\n").out;
    let arguments = ["run", "--raw", "-", "--memory", &"01".repeat(8), "--verify", "xdp"];
    let refused = skep_with_input(&arguments, &half);
    assert_eq!(refused.code, 1, "{}", refused.text());
    assert!(refused.text().starts_with("error[E0012]"), "{}", refused.text());
    // For a kprobe it is half of a register.
    let arguments = ["run", "--raw", "-", "--memory", &"01".repeat(8), "--verify", "kprobe"];
    let accepted = skep_with_input(&arguments, &assembled);
    assert_eq!(accepted.text(), "r0 = 0x1010101\n", "{}", accepted.err);
}

/// No program that the kernel rejects is accepted, and most verdicts agree; the rest is printed.
#[test]
fn objects_have_the_kernels_verdicts() {
    let path = workspace().join("tests/verify/expected.json");
    let expected: Value =
        serde_json::from_slice(&std::fs::read(path).expect("it is committed")).expect("JSON");
    let (mut compared, mut agree) = (0, 0);
    for kind in ["rejected", "fixed"] {
        for (object, wanted) in expected["objects"][kind].as_object().expect("objects") {
            let object = object.strip_suffix(".bpf.o").expect("an object's name");
            let ran = skep(&["verify", "--json", &example(kind, object)]);
            for found in ran.json()["programs"].as_array().expect("a list") {
                let name = found["name"].as_str().expect("a name");
                let theirs = wanted[name]["verdict"].as_str().expect("a verdict");
                let ours = found["verdict"].as_str().expect("a verdict");
                assert!(
                    theirs == "accepted" || ours != "accepted",
                    "{object}: {name} is accepted, but the kernel says {}",
                    wanted[name]["reason"]
                );
                let code = match ours {
                    "accepted" => 0,
                    "rejected" => 1,
                    _ => 3,
                };
                assert_eq!(ran.code, code, "{object}: {}", ran.err);
                compared += 1;
                if ours == theirs {
                    agree += 1;
                } else {
                    println!("{kind}/{object}: {ours}: {}", found["error"]["message"]);
                }
            }
        }
    }
    println!("{agree} of {compared} verdicts agree");
    assert!(compared >= 190, "only {compared} programs were compared");
    assert!(agree >= 178, "only {agree} of {compared} verdicts agree");
}

/// Verifies text as a socket filter with these maps.
fn verify(text: &str, maps: &[MapFacts], cpus: u32) -> Arc<Verified> {
    let slots = assemble(text).expect("an assembly").slots;
    let verified = skep_verifier::verify(&Input {
        maps,
        ..Input::new(&Bytecode::from(slots), ProgType::SOCKET_FILTER, Profile::linux(cpus))
    });
    Arc::new(verified.expect("it is safe"))
}

#[test]
fn proofs_hold_for_their_machine_only() {
    let machine = Arc::new(Machine::new(Host { cpus: 2, ..Host::default() }).expect("memory"));
    let plain = verify("r0 = 0\nexit\n", &[], 2);
    let loaded = machine.load_verified("plain", Arc::clone(&plain), &[]).expect("it fits");
    assert!(loaded.verified().is_some());
    let error = machine.load_verified("other", verify("r0 = 0\nexit\n", &[], 3), &[]).unwrap_err();
    assert_eq!(error, LoadError::OtherCpus { proved: 3, cpus: 2 });
    let spec = MapSpec {
        name: "constants".into(),
        map_type: MapType::ARRAY,
        key_bytes: 4,
        value_bytes: 8,
        max_entries: 1,
        flags: MapFlags::RDONLY_PROG,
        extra: 0,
        inner: None,
    };
    let id = machine.create_map(spec).expect("a small map");
    let map = machine.map(id).expect("it was just made");
    let facts = |size, byte| MapFacts {
        flags: MapFlags::RDONLY_PROG,
        frozen: Some(vec![byte; 8]),
        ..MapFacts::new(MapType::ARRAY, 4, size, 1)
    };
    let load = |facts: MapFacts| {
        let verified = verify("r0 = 0\nexit\n", &[facts], 2);
        machine.load_verified("with a map", verified, &[id]).map(drop).map_err(|e| e.to_string())
    };
    let differs =
        |what: &str| Err(format!("map 0 (constants) is not as the proof assumes: {what}"));
    map.write(&[0; 4], &[7; 8], 0).expect("the host may write");
    assert_eq!(load(facts(16, 7)), differs("its values have another size"));
    assert_eq!(load(facts(8, 7)), differs("its content can still change"));
    map.freeze().expect("it was not frozen");
    assert_eq!(load(facts(8, 8)), differs("it has other content"));
    assert_eq!(load(facts(8, 7)), Ok(()));
    let error = machine.load_verified("without", verify("r0 = 0\nexit\n", &[facts(8, 7)], 2), &[]);
    assert_eq!(error.unwrap_err(), LoadError::OtherMapCount { proved: 1, maps: 0 });
}

#[test]
fn every_line_has_an_answer() {
    let accepted = r#"{"name":"a","prog_type":1,"insns":"b7000000050000009500000000000000","runs":[{},{"data":"00"}]}"#;
    let rejected = r#"{"name":"b","prog_type":1,"insns":"9500000000000000"}"#;
    let by_count =
        r#"{"name":"c","prog_type":1,"insns_rle":[["b700000005000000",3],["9500000000000000",1]]}"#;
    let lines = [
        accepted,
        "no JSON",
        "",
        rejected,
        by_count,
        r#"{"name":"d","prog_type":1}"#,
        r#"{"name":"e","prog_type":1,"insns":"95"}"#,
        r#"{"name":"f","prog_type":1,"insns":"9500000000000000","relocs":[{"insn":0}]}"#,
        r#"{"name":"g","prog_type":1,"insns":"9500000000000000","load_flags":65536}"#,
        r#"{"name":"h","prog_type":1,"insns_rle":[["b700000005000000",1000000000000]]}"#,
    ];
    let ran = skep_with_input(&["verify", "--jsonl", "-"], lines.join("\n").as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_snapshot!("verify_jsonl", ran.text());
    assert_eq!(ran.text().lines().count(), lines.len());
    let missing = skep(&["verify", "--jsonl", "missing.jsonl"]);
    assert_eq!(missing.code, 3);
}
