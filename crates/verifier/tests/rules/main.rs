//! Small programs, each with the sentence that Linux 6.18 refuses it with, or accepted.
//!
//! Where a kernel can be asked, it is asked for every row.

use skep_bpf::platform::{AttachType, ProgType};
use skep_bpf::program::Bytecode;
use skep_bpf::text::parse::assemble;
use skep_kernel::{ProgSpec, Program, available};
use skep_verifier::{Input, Profile, verify};

/// What is tested, the program type, the code, and the sentence; an empty one is acceptance.
struct Row(&'static str, ProgType, &'static str, &'static str);

const ROWS: &[Row] = &[
    Row("a constant is returned", ProgType::XDP, "r0 = 2\n exit", ""),
    Row("nothing is returned", ProgType::XDP, "exit", "R0 !read_ok"),
    Row(
        "code that is not reached",
        ProgType::XDP,
        "r0 = 0\n goto end\n r0 = 1\n end: exit",
        "unreachable insn 2",
    ),
    Row(
        "a loop that ends",
        ProgType::XDP,
        "r0 = 0\n again: r0 += 1\n if r0 < 100 goto again\n exit",
        "",
    ),
    Row(
        "a loop without progress",
        ProgType::XDP,
        "r0 = 0\n again: if r0 == 0 goto again\n exit",
        "infinite loop detected at insn 1",
    ),
    Row(
        "a packet read after a check",
        ProgType::XDP,
        "r2 = *(u32 *)(r1 + 0)\n r3 = *(u32 *)(r1 + 4)\n r4 = r2\n r4 += 14\n r0 = 1\n
         if r4 > r3 goto end\n r0 = *(u8 *)(r2 + 13)\n end: exit",
        "",
    ),
    Row(
        "a packet read beyond what was checked",
        ProgType::XDP,
        "r2 = *(u32 *)(r1 + 0)\n r3 = *(u32 *)(r1 + 4)\n r4 = r2\n r4 += 14\n r0 = 1\n
         if r4 > r3 goto end\n r0 = *(u8 *)(r2 + 14)\n end: exit",
        "R2 offset is outside of the packet",
    ),
    Row(
        "a packet read at a bounded variable offset",
        ProgType::XDP,
        "r2 = *(u32 *)(r1 + 0)\n r3 = *(u32 *)(r1 + 4)\n r5 = *(u32 *)(r1 + 12)\n r5 &= 63\n
         r4 = r2\n r4 += r5\n r6 = r4\n r6 += 4\n r0 = 1\n if r6 > r3 goto end\n
         r0 = *(u32 *)(r4 + 0)\n end: r0 &= 1\n exit",
        "",
    ),
    Row(
        "a field that the context does not have",
        ProgType::XDP,
        "r0 = *(u32 *)(r1 + 20)\n exit",
        "invalid bpf_context access off=20 size=4",
    ),
    Row(
        "the stack below its end",
        ProgType::XDP,
        "r0 = 0\n *(u64 *)(r10 - 520) = r0\n exit",
        "invalid write to stack R10 off=-520 size=8",
    ),
    Row(
        "a spilled pointer comes back",
        ProgType::XDP,
        "*(u64 *)(r10 - 8) = r1\n r2 = *(u64 *)(r10 - 8)\n r0 = *(u32 *)(r2 + 12)\n exit",
        "",
    ),
    Row(
        "half of a spilled pointer does not",
        ProgType::XDP,
        "*(u64 *)(r10 - 8) = r1\n r0 = *(u32 *)(r10 - 8)\n exit",
        "invalid size of register fill",
    ),
    Row(
        "a number is no address",
        ProgType::XDP,
        "r2 = 4096\n r0 = *(u8 *)(r2 + 0)\n exit",
        "R2 invalid mem access 'scalar'",
    ),
    Row(
        "unbounded arithmetic on a pointer",
        ProgType::XDP,
        "r2 = *(u64 *)(r10 - 8)\n r3 = r10\n r3 += r2\n r0 = 0\n exit",
        "math between fp pointer and register with unbounded min value is not allowed",
    ),
    Row("a constant divisor of zero", ProgType::XDP, "r0 = 1\n r0 /= 0\n exit", "div by zero"),
    Row(
        "a helper of other program types",
        ProgType::XDP,
        "call bpf_get_stackid\n exit",
        "program of this type cannot use helper bpf_get_stackid#27",
    ),
    Row(
        "a buffer whose size is not bounded",
        ProgType::SOCKET_FILTER,
        "r6 = r1\n r4 = *(u32 *)(r6 + 0)\n r3 = r10\n r3 += -64\n r2 = 0\n r1 = r6\n
         call bpf_skb_load_bytes\n r0 = 0\n exit",
        "R4 invalid zero-sized read: u64=[0,4294967295]",
    ),
    Row(
        "a buffer whose size is bounded",
        ProgType::SOCKET_FILTER,
        "r6 = r1\n r4 = *(u32 *)(r6 + 0)\n r4 &= 63\n r4 += 1\n r3 = r10\n r3 += -64\n r2 = 0\n
         r1 = r6\n call bpf_skb_load_bytes\n r0 = 0\n exit",
        "",
    ),
    Row(
        "a return value that means nothing",
        ProgType::SK_LOOKUP,
        "r0 = 2\n exit",
        "At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]",
    ),
    Row(
        "a function that calls itself",
        ProgType::XDP,
        "call f\n exit\n f: call f\n exit",
        "the call stack of 9 frames is too deep",
    ),
    Row(
        "too much stack in a chain of calls",
        ProgType::XDP,
        "r0 = 0\n *(u64 *)(r10 - 300) = r0\n call f\n exit\n
         f: r0 = 0\n *(u64 *)(r10 - 304) = r0\n exit",
        "misaligned stack access off 0+0+-300 size 8",
    ),
    Row(
        "too much stack in a chain of calls, aligned",
        ProgType::XDP,
        "r0 = 0\n *(u64 *)(r10 - 304) = r0\n call f\n exit\n
         f: r0 = 0\n *(u64 *)(r10 - 304) = r0\n exit",
        "combined stack size of 2 calls is 608. Too large",
    ),
    Row(
        "a copy learns what its original learns",
        ProgType::XDP,
        "r2 = *(u32 *)(r1 + 12)\n r3 = r2\n r0 = 0\n if r2 > 15 goto end\n r4 = r10\n r4 -= 0\n
         end: exit",
        "R4 subtraction from stack pointer prohibited",
    ),
    Row(
        "a bounded copy is an index into the stack",
        ProgType::XDP,
        "r2 = *(u32 *)(r1 + 12)\n r3 = r2\n r0 = 0\n if r2 > 15 goto end\n r4 = r10\n r4 += -16\n
         r4 += r3\n r0 = *(u8 *)(r4 + 0)\n end: exit",
        "",
    ),
    Row(
        "an atomic operation on the context",
        ProgType::XDP,
        "r2 = 1\n lock *(u32 *)(r1 + 0) += r2\n r0 = 0\n exit",
        "BPF_ATOMIC stores into R1 ctx is not allowed",
    ),
];

fn code(text: &str) -> Bytecode {
    match assemble(text) {
        Ok(assembly) => Bytecode::from(assembly.slots),
        Err(error) => panic!("{text}: {error}"),
    }
}

#[test]
fn programs_get_the_kernels_verdict_and_sentence() {
    let asked = available();
    if let Err(reason) = &asked {
        println!("the kernel is not asked: {reason}");
    }
    for Row(name, prog_type, text, sentence) in ROWS {
        let bytecode = code(text);
        let input = Input {
            attach_type: match *prog_type {
                ProgType::SK_LOOKUP => AttachType::SK_LOOKUP,
                _ => AttachType::UNSPECIFIED,
            },
            ..Input::new(&bytecode, *prog_type, Profile::linux(2))
        };
        let ours = verify(&input).map_or_else(|rejection| rejection.message, |_| String::new());
        assert_eq!(ours, *sentence, "{name}");
        if asked.is_ok() {
            let log = kernels_refusal(&input);
            assert_eq!(log.is_none(), sentence.is_empty(), "{name}: {log:?}");
            // The sentence need not be the last line.
            let log = log.unwrap_or_default();
            assert!(log.contains(sentence), "{name}: the kernel says {log}");
        }
    }
}

/// The kernel's log, if it refuses the program.
fn kernels_refusal(input: &Input<'_>) -> Option<String> {
    let insns: Vec<[u8; 8]> = input.bytecode.slots.iter().map(|slot| slot.to_bytes()).collect();
    let loaded = Program::load(&ProgSpec {
        prog_type: input.prog_type.0,
        expected_attach_type: input.attach_type.0,
        insns: &insns,
        licence: "GPL",
        log_level: 1,
        ..ProgSpec::default()
    });
    loaded.err().map(|error| error.log)
}
