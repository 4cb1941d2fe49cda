//! `skep jit` shows machine code under the instructions that it was made for.

use crate::command::{program, skep};

#[test]
fn machine_code_stands_under_instructions_and_lines() {
    let hello = program("hello.bpf.o");
    for arch in ["x86-64", "aarch64"] {
        let ran = skep(&["jit", &hello, "--arch", arch, "--tier", "1"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let text = ran.text();
        assert!(text.starts_with("hello: 10 instructions, "), "{text}");
        // Every line of the function's code is there, in the order of the program.
        let lines = [
            "; \tbpf_printk(\"Hello World %d\", counter);",
            "; \tcounter++;",
            "; \treturn XDP_PASS;",
        ];
        let at: Vec<_> = lines.iter().map(|line| text.find(line)).collect();
        assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{arch}: {at:?}\n{text}");
        assert!(text.contains("     8: r1 += 1\n"), "{text}");
        assert!(!text.contains("(bad)"), "{text}");
    }
}

#[test]
fn documents_have_every_byte_once() {
    let hello = program("hello.bpf.o");
    let ran = skep(&["jit", &hello, "--arch", "x86-64", "--tier", "1,2", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let document = ran.json();
    let codes = document["codes"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(codes.len(), 2);
    for code in codes {
        let mut next = 0;
        for item in code["code"].as_array().into_iter().flatten() {
            assert_eq!(item["offset"].as_u64(), Some(next), "{item}");
            next += item["bytes"].as_str().map_or(0, str::len) as u64 / 2;
        }
        assert_eq!(code["bytes"].as_u64(), Some(next));
    }
}

#[test]
fn what_may_be_unsafe_is_compiled_only_on_request() {
    let object = crate::command::workspace()
        .join("tests/verify/rejected/packet_bounds_off_by_one.bpf.o")
        .display()
        .to_string();
    let ran = skep(&["jit", &object]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("`skep verify` says why"), "{}", ran.err);
    assert_eq!(skep(&["jit", &object, "--unverified"]).code, 0);
}
