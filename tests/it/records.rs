//! What programs write to ring buffers and perf events arrives, and is shown.

use serde_json::json;

use crate::command::{program, skep};

#[test]
fn records_are_shown() {
    let object = program("records.bpf.o");
    let packet = "00".repeat(64);
    for engine in ["interp", "checked"] {
        let ran = skep(&["run", &object, "--packet", &packet, "--engine", engine]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let text = ran.text();
        // The numbers from 0 to 9 are 45 in all.
        let ring = format!("ring <- {} (8 bytes)", 45_u64 << 32 | 64);
        assert!(text.contains(&ring), "{text}");
        assert!(text.contains("events on cpu 0 <- "), "{text}");
        let json = skep(&["run", &object, "--packet", &packet, "--engine", engine, "--json"]);
        let document = json.json();
        let records = json!([
            {"map": "ring", "data": "400000002d000000"},
            {"map": "events", "cpu": 0, "data": "2d00000000000000"},
        ]);
        assert_eq!(document["records"], records);
        assert_eq!(document["action"], "XDP_PASS");
    }
}

#[test]
fn every_packet_has_its_records() {
    let object = program("records.bpf.o");
    let (short, long) = ("00".repeat(60), "00".repeat(100));
    let arguments = ["run", &object, "--packet", &short, "--packet", &long, "--json"];
    let document = skep(&arguments).json();
    let lengths = document["packets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|packet| packet["records"][0]["data"].as_str().unwrap()[..2].to_owned());
    assert_eq!(lengths.collect::<Vec<_>>(), ["3c", "64"]);
    assert_eq!(document["records"].as_array().unwrap().len(), 4);
}
