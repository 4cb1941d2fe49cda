//! Loops of functions that a helper calls back: what matters only in a later turn.

use skep_bpf::codec::SlotIndex;
use skep_bpf::platform::ProgType;
use skep_bpf::text::parse::assemble;
use skep_verifier::input::FunctionFacts;
use skep_verifier::{Input, Profile, verify};

/// The sentence, or how many instructions were walked.
fn verdict(text: &str, functions: &[&str], checkpoint_everywhere: bool) -> Result<u64, String> {
    let assembly = assemble(text).expect("assembly");
    let function = |name: &str, entry| FunctionFacts {
        name: name.to_owned(),
        entry,
        global: false,
        returns_number: true,
        params: Vec::new(),
        handles_exceptions: false,
    };
    let mut facts = vec![FunctionFacts { global: true, ..function("test", SlotIndex(0)) }];
    facts.extend(functions.iter().map(|name| function(name, assembly.labels[*name])));
    let bytecode = assembly.bytecode("test");
    let input = Input {
        functions: &facts,
        ..Input::new(
            &bytecode,
            ProgType::SOCKET_FILTER,
            Profile { checkpoint_everywhere, ..Profile::linux(1) },
        )
    };
    let verified = verify(&input).map_err(|rejection| rejection.message)?;
    Ok(verified.stats().insns_processed)
}

/// A function that may use a number of the main function's stack as an offset of its own, and may
/// change that number for later turns.
fn offset_changed_to(offset: i64) -> String {
    format!(
        "call 7\n*(u64 *)(r10 - 8) = r0\n*(u64 *)(r10 - 16) = -32\n\
         r1 = 7\nr2 = code_addr(turn) ll\nr3 = r10\nr4 = 0\ncall 181\nr0 = 0\nexit\n\
         turn: r9 = r2\nr8 = *(u64 *)(r9 - 8)\nr6 = *(u64 *)(r9 - 16)\n\
         call 7\nif r0 > r8 goto use\n\
         again: call 7\nif r0 > r8 goto change\n\
         end: r0 = 0\nexit\n\
         use: r1 = r10\nr1 += r6\n*(u64 *)(r1 + 0) = 42\ngoto again\n\
         change: *(u64 *)(r9 - 16) = {offset}\ngoto end"
    )
}

/// With a checkpoint at every instruction Linux 6.18.44 accepts what is unsafe here: when the
/// change is walked, a state with the old offset covers it of which nothing shows yet that the
/// offset matters.
#[test]
fn an_offset_that_a_later_turn_uses_matters() {
    for everywhere in [false, true] {
        let sentence = verdict(&offset_changed_to(-31), &["turn"], everywhere);
        let sentence = sentence.expect_err("the stack is accessed at -31");
        assert!(sentence.contains("misaligned") || sentence.contains("unbounded"), "{sentence}");
        verdict(&offset_changed_to(-32), &["turn"], everywhere).expect("nothing changes");
    }
}
