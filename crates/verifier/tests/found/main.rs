//! Small programs whose verdicts once differed from the live kernel's, found by comparing random
//! ones. What the kernel says stands beside each.

mod callbacks;

use skep_bpf::codec::{Slot, SlotIndex};
use skep_bpf::platform::{HelperId, MapType, ProgType};
use skep_bpf::program::Bytecode;
use skep_bpf::text::parse::assemble;
use skep_verifier::input::FunctionFacts;
use skep_verifier::{Input, MapFacts, Profile, verify};

/// The verdict on a socket filter with a map of programs and an array: `None`, or the sentence.
fn verdict(bytecode: &Bytecode) -> Option<String> {
    verdict_with(bytecode, &[])
}

fn verdict_with(bytecode: &Bytecode, functions: &[FunctionFacts]) -> Option<String> {
    verdict_of(ProgType::SOCKET_FILTER, bytecode, functions)
}

fn verdict_of(
    prog_type: ProgType,
    bytecode: &Bytecode,
    functions: &[FunctionFacts],
) -> Option<String> {
    let maps =
        [MapFacts::new(MapType::PROG_ARRAY, 4, 4, 4), MapFacts::new(MapType::ARRAY, 4, 64, 1)];
    let input =
        Input { maps: &maps, functions, ..Input::new(bytecode, prog_type, Profile::linux(4)) };
    sentence(&input)
}

fn sentence(input: &Input<'_>) -> Option<String> {
    verify(input).err().map(|rejection| rejection.message)
}

fn of_text(text: &str) -> Option<String> {
    verdict(&assemble(text).expect("assembly").bytecode("test"))
}

/// A kernel has some helpers only if it is built or booted for them; the one that was asked has not.
#[test]
fn optional_helpers_are_the_profiles() {
    let text = "r2 = 0\ncall 58\nr0 = 0\nexit";
    let bytecode = assemble(text).expect("assembly").bytecode("test");
    let input = Input::new(&bytecode, ProgType::KPROBE, Profile::linux(4));
    let refused = "program of this type cannot use helper bpf_override_return#58";
    assert_eq!(sentence(&input).as_deref(), Some(refused));
    let profile = Profile { optional_helpers: &[HelperId::OVERRIDE_RETURN], ..input.profile };
    assert_eq!(sentence(&Input { profile, ..input }), None);
}

/// A write through a dynamic pointer moves a socket buffer, after which slices of it are gone; the
/// packet of an XDP program stays where it is.
#[test]
fn writes_through_dynamic_pointers_move_socket_buffers() {
    let call = |name: i32| Slot::new(0x85, 0, 2, 0, name);
    let frame = |dst, offset| [Slot::new(0xbf, dst, 10, 0, 0), Slot::new(0x07, dst, 0, 0, offset)];
    let number = |dst, imm| Slot::new(0xb7, dst, 0, 0, imm);
    let mut slots = vec![number(2, 0)];
    // The pointer is at r10 - 16; a slice of 8 bytes with a buffer at r10 - 24 goes to r6.
    slots.extend(frame(3, -16));
    slots.extend([call(0), Slot::new(0x7a, 10, 0, -24, 0)]);
    slots.extend(frame(1, -16));
    slots.push(number(2, 0));
    slots.extend(frame(3, -24));
    slots.extend([number(4, 8), call(1), Slot::new(0x55, 0, 0, 1, 0), Slot::new(0x95, 0, 0, 0, 0)]);
    slots.push(Slot::new(0xbf, 6, 0, 0, 0));
    // bpf_dynptr_write(r10 - 16, 0, r10 - 24, 8, 0), then a byte of the slice.
    slots.extend(frame(1, -16));
    slots.push(number(2, 0));
    slots.extend(frame(3, -24));
    slots.extend([number(4, 8), number(5, 0), Slot::new(0x85, 0, 0, 0, 202)]);
    slots.extend([Slot::new(0x71, 0, 6, 0, 0), number(0, 0), Slot::new(0x95, 0, 0, 0, 0)]);
    let verdict = |prog_type, make: &str| {
        let mut bytecode = Bytecode::from(slots.clone());
        bytecode.kernel_functions = vec![make.into(), "bpf_dynptr_slice".into()];
        sentence(&Input::new(&bytecode, prog_type, Profile::linux(4)))
    };
    assert_eq!(verdict(ProgType::XDP, "bpf_dynptr_from_xdp"), None);
    let refused = verdict(ProgType::SCHED_CLS, "bpf_dynptr_from_skb");
    assert_eq!(refused.as_deref(), Some("R6 invalid mem access 'scalar'"));
}

/// A tail call that comes back leaves nothing in r0.
#[test]
fn tail_calls_return_nothing() {
    let text = "r2 = map_by_idx(0) ll\nr3 = 0\ncall 12\n";
    assert_eq!(of_text(&format!("{text}exit")).as_deref(), Some("R0 !read_ok"));
    assert_eq!(of_text(&format!("{text}r0 = 0\nexit")), None);
}

/// A tail call of a function that was called comes back to the caller with anything.
#[test]
fn tail_calls_of_functions_return_anything() {
    let text = "call f\nr2 = map_val_by_idx(1, 0) ll\nr2 += r0\nr0 = *(u8 *)(r2 + 0)\nexit\n\
        f: r2 = map_by_idx(0) ll\nr3 = 0\ncall 12\nr0 = 0\nexit";
    let bytecode = assemble(text).expect("assembly").bytecode("test");
    let functions = [function("test", 0, true), function("f", 6, false)];
    let sentence = verdict_with(&bytecode, &functions).expect("a rejection");
    assert!(sentence.contains("unbounded min value"), "{sentence}");
}

fn function(name: &str, entry: usize, global: bool) -> FunctionFacts {
    FunctionFacts {
        name: name.to_owned(),
        entry: SlotIndex(entry),
        global,
        returns_number: true,
        params: Vec::new(),
        handles_exceptions: false,
    }
}

/// A tail call that fails has not touched the packet; one that succeeds may have, before the
/// caller of the function goes on.
#[test]
fn tail_calls_that_come_back_leave_the_packet() {
    // Eight bytes of the packet at r7, its end in r9.
    let packet = "r6 = r1\nr7 = *(u32 *)(r1 + 76)\nr9 = *(u32 *)(r1 + 80)\nr8 = r7\nr8 += 8\n\
        if r8 > r9 goto over\n";
    let tail_call = "r1 = r6\nr2 = map_by_idx(0) ll\nr3 = 0\ncall 12\n";
    let (read, end) = ("r0 = *(u8 *)(r7 + 0)\nover: r0 = 0\nexit\n", "r0 = 0\nexit\n");
    let verdict = |text: &str, function_at: Option<usize>| {
        let bytecode = assemble(text).expect("assembly").bytecode("test");
        let functions =
            function_at.map(|at| vec![function("test", 0, true), function("f", at, false)]);
        verdict_of(ProgType::SCHED_CLS, &bytecode, &functions.unwrap_or_default())
    };
    assert_eq!(verdict(&format!("{packet}{tail_call}{read}"), None), None);
    let text = format!("{packet}{tail_call}r9 += 0\nover: {end}");
    let refused = verdict(&text, None);
    assert_eq!(refused.as_deref(), Some("R9 pointer arithmetic on pkt_end prohibited"));
    let in_function = format!("call f\n{end}f: {packet}{tail_call}{read}");
    assert_eq!(verdict(&in_function, Some(3)), None);
    let before_function = format!("{packet}call f\n{read}f: r6 = r1\n{tail_call}{end}");
    let refused = verdict(&before_function, Some(10));
    assert_eq!(refused.as_deref(), Some("R7 invalid mem access 'scalar'"));
}

/// A byte that is stored and loaded with its sign is no copy of what was stored. Linux 6.18 takes
/// it for one, and accepts this program, which reads below its stack where the byte is 128 or more.
#[test]
fn loads_with_a_sign_are_no_copies() {
    let text = |extend: &str, most: i32| {
        format!(
            "r1 = map_val_by_idx(1, 0) ll\nr7 = *(u8 *)(r1 + 8)\nif r7 > {most} goto over\n\
             *(u8 *)(r10 - 24) = r7\nr8 = *({extend} *)(r10 - 24)\nif r7 == 9 goto over\n\
             r8 s>>= 61\nr1 = r10\nr1 += r8\nr1 += -512\nr0 = *(u8 *)(r1 + 0)\nover: r0 = 0\nexit"
        )
    };
    assert_eq!(of_text(&text("u8", 200)), None);
    assert_eq!(of_text(&text("s8", 127)), None);
    let sentence = of_text(&text("s8", 128)).expect("a rejection");
    assert!(sentence.contains("invalid variable-offset read from stack"), "{sentence}");
}

/// Linux 6.18 follows the bits of swapped bytes.
#[test]
fn swapped_bytes_are_known() {
    let access = "r2 = map_val_by_idx(1, 0) ll\nr2 += r1\nr0 = *(u8 *)(r2 + 0)\nr0 = 0\nexit";
    // A number up to 63 in the upper byte of two comes to the lower one.
    for swap in ["r1 = be16 r1", "r1 = bswap16 r1"] {
        let text = format!("r1 = *(u32 *)(r1 + 0)\nr1 &= 16128\n{swap}\n{access}");
        assert_eq!(of_text(&text), None, "{swap}");
    }
    let text = format!("r1 = *(u32 *)(r1 + 0)\nr1 &= 63\nr1 = le64 r1\n{access}");
    assert_eq!(of_text(&text), None);
    let text = format!("r1 = *(u32 *)(r1 + 0)\nr1 &= 63\nr1 = be16 r1\n{access}");
    let sentence = of_text(&text).expect("a rejection");
    assert!(sentence.contains("outside of the allowed memory range"), "{sentence}");
}

/// The offset of an exit means nothing, and is not looked at; the other fields are.
#[test]
fn exits_have_any_offset() {
    let with_exit = |exit| verdict(&Bytecode::from(vec![Slot::new(0xb7, 0, 0, 0, 0), exit]));
    assert_eq!(with_exit(Slot::new(0x95, 0, 0, 0x4000, 0)), None);
    for exit in [Slot::new(0x95, 0, 0, 1, 1), Slot::new(0x95, 1, 0, 1, 0)] {
        let sentence = with_exit(exit);
        assert_eq!(sentence.as_deref(), Some("BPF_EXIT uses reserved fields"));
    }
}

/// A kernel function that is not there is refused even where it is never called.
#[test]
fn kernel_functions_are_there() {
    let call = |imm| Slot::new(0x85, 0, 2, 0, imm);
    let slots = |imm| {
        vec![
            Slot::new(0xb7, 2, 0, 0, 1),
            Slot::new(0x55, 2, 0, 1, 0),
            call(imm),
            Slot::new(0xb7, 0, 0, 0, 0),
            Slot::new(0x95, 0, 0, 0, 0),
        ]
    };
    let sentence = verdict(&Bytecode::from(slots(1))).expect("a rejection");
    assert!(sentence.contains("kernel functions"), "{sentence}");
    // The number of one that the loader did not find.
    assert_eq!(verdict(&Bytecode::from(slots(0))), None);
}

/// At a comparison of two copies of a number at most six relations are kept, each counted twice:
/// afterwards r9 is no copy of r6, and of r6 nothing is learnt.
#[test]
fn relations_of_both_operands_are_counted() {
    let text = "\
        r7 = *(u32 *)(r1 + 8)\n\
        *(u64 *)(r10 - 24) = r7\n\
        r6 = *(u32 *)(r10 - 24)\n\
        r9 = r6\n\
        if w9 & w7 goto +0\n\
        if r9 < 1 goto +1\n\
        goto +2\n\
        if w6 s<= 0 goto +1\n\
        r0 = *(u64 *)(r1 + 0)\n\
        r0 = 0\n\
        exit";
    let sentence = of_text(text);
    assert_eq!(sentence.as_deref(), Some("invalid bpf_context access off=0 size=8"));
}
