//! The assembler: both dialects, labels, ranges, and errors that say where.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;
use crate::insn::{Imm64, PacketIndex};
use crate::op::{AtomicOp, Width};
use crate::text::c_like::{Decimal, Kernel, LinuxNames};
use crate::text::corpus::{Random, all_operations};
use crate::text::llvm::{self, Printed};
use crate::text::mnemonic::Mnemonic;

fn every_insn() -> Vec<Insn<Offset>> {
    let mut insns = all_operations();
    let mut random = Random(0x5eed);
    insns.extend((0..10_000).map(|_| random.insn()));
    insns
}

fn check(text: &str, insn: &Insn<Offset>) {
    match parse_insn(text) {
        Ok(parsed) => assert_eq!(parsed, *insn, "{text}"),
        Err(error) => panic!("{text}: {error}"),
    }
}

#[test]
fn decimal_text_parses_back() {
    for insn in every_insn() {
        check(&Decimal(&insn).to_string(), &insn);
    }
}

#[test]
fn mnemonic_text_parses_back() {
    for insn in every_insn() {
        check(&Mnemonic(&insn).to_string(), &insn);
    }
}

/// The kernel's style hides which kind of pointer a 64-bit immediate is, and the BTF object of a
/// kernel function; all else parses back from it.
#[test]
fn kernel_text_parses_back() {
    for insn in every_insn() {
        let text = format!("{:#}", Kernel { insn: &insn, names: &LinuxNames });
        match insn {
            Insn::LoadImm64 { imm: Imm64::Value(_), .. } => check(&text, &insn),
            Insn::LoadImm64 { .. } => {
                let parsed = parse_insn(&text).unwrap();
                assert!(matches!(parsed, Insn::LoadImm64 { imm: Imm64::Value(_), .. }), "{text}");
            }
            Insn::Call { callee: Callee::Kfunc { btf_id, btf_index } } if btf_index != 0 => {
                check(&text, &Insn::Call { callee: Callee::Kfunc { btf_id, btf_index: 0 } });
            }
            _ => check(&text, &insn),
        }
    }
}

/// What LLVM's style cannot say.
fn llvm_loses(insn: &Insn<Offset>) -> bool {
    match insn {
        // llvm-objdump knows no 32-bit atomics but addition, and takes load-acquire for it.
        Insn::Atomic { op, width: Width::W32, .. } => *op != AtomicOp::Add,
        Insn::LoadAcquire { .. } | Insn::StoreRelease { .. } => true,
        // The second slot's immediate is left out.
        Insn::LoadImm64 { imm, .. } => match imm {
            Imm64::MapValueByFd { offset, .. } | Imm64::MapValueByIdx { offset, .. } => {
                *offset != 0
            }
            Imm64::Variable { btf_fd, .. } => *btf_fd != 0,
            Imm64::Value(_) | Imm64::MapByFd(_) | Imm64::MapByIdx(_) | Imm64::Code(_) => false,
        },
        Insn::LoadPacket { index: PacketIndex::Indirect(_), imm, .. } => *imm != 0,
        // All calls look like a helper's.
        Insn::Call { callee: Callee::Local(_) | Callee::Kfunc { .. } } => true,
        _ => false,
    }
}

#[test]
fn llvm_text_parses_back() {
    for insn in every_insn() {
        let slots: Vec<Slot> = encode(&insn).unwrap().slots().collect();
        match llvm::print(slots[0], slots.get(1).copied()) {
            Printed::Insn { text, .. } if !llvm_loses(&insn) => {
                check(&text, &insn);
                let line = format!("       0:\t{text} <f+0x28>");
                if insn.jump_target().is_some() {
                    check(&line, &insn);
                }
            }
            Printed::Insn { text, .. } => assert_ne!(parse_insn(&text), Ok(insn), "{text}"),
            Printed::Unknown | Printed::Truncated => assert!(llvm_loses(&insn), "{insn:?}"),
        }
    }
}

/// Spellings that nothing here prints.
#[test]
fn other_spellings() {
    let pairs = [
        ("mov64 %r2, 0xf", "mov %r2, 15"),
        ("add32 r1, r2", "add32 %r1, %r2"),
        ("mov %r0, 0xffffffff", "mov %r0, -1"),
        ("mov %r0, 0xfffffffffffffffe", "mov %r0, -2"),
        ("mov32 %r0, 4294967295", "mov32 %r0, -1"),
        ("swap16 %r0", "bswap16 %r0"),
        ("call helper 5", "call 5"),
        ("call helper %r3", "callx %r3"),
        ("call %r2", "callx r2"),
        ("call runtime 7", "call kfunc(7)"),
        ("call bpf_trace_printk", "call 6"),
        ("call trace_printk", "call 6"),
        ("lock fetch add [%r10-8], %r1", "lock fetch_add [%r10-8], %r1"),
        ("lock fetch xor32 [%r10], %r1", "lock fetch_xor32 [%r10], %r1"),
        ("lock fetch cmpxchg32 [%r10], %r1", "lock cmpxchg32 [%r10], %r1"),
        ("stw [%r1 + 4], 0xdeadbeef # comment", "*(u32 *)(r1 + 4) = -559038737"),
        ("stdw [%r1-0x8], -1 // comment", "*(u64*)(r1-8) = -1 ; comment"),
        ("w1 = *(u8 *)(r2 + 0)", "r1 = *(u8 *)(r2 +0)"),
        ("*(u16 *)(r1) = w2", "*(u16 *)(r1 + 0x0) = r2"),
        ("lock *(u32 *)(r1 + 0) += w2", "lock *(u32 *)(r1 + 0) += r2"),
        ("w2 = atomic_fetch_or((u32 *)(r1 + 0), w2)", "r2 = atomic_fetch_or((u32 *)(r1 +0), r2)"),
        ("r2 = atomic64_xchg((u64 *)(r1 +0), r2)", "r2 = xchg_64(r1 + 0, r2)"),
        ("r0 = *(u32 *)skb[r2]", "ldindw %r2, 0"),
        ("ja32 +2", "gotol pc+2"),
        ("ja -1", "goto -0x1"),
        ("if w1==w2 goto+1", "jeq32 %r1, %r2, +1"),
        ("r1 = 0x10 ll", "lddw %r1, 16"),
        ("r1=code_addr( +3 )ll", "lddw %r1, code_addr(3)"),
        ("r1 = r1", "%r1 = %r1"),
        ("\tr1 s>>= 5", "arsh %r1, 5"),
    ];
    for (one, other) in pairs {
        assert_eq!(parse_insn(one), parse_insn(other), "{one}");
        assert!(parse_insn(one).is_ok(), "{one}: {:?}", parse_insn(one));
    }
}

#[test]
fn labels_and_functions() {
    let text = "
        # the entry
        entry: mov %r1, 3
        loop: call local double
            lddw %r3, 0x123456789
            jne %r0, 6, failed
            goto exit
        failed:
            r0 = 1
            exit
        double:
            r0 = r1
            r0 *= 2
            r2 = code_addr(double) ll
            exit";
    let assembly = assemble(text).unwrap();
    assert_eq!(assembly.slots.len(), 13);
    assert_eq!(assembly.slots[1], Slot::new(0x85, 0, 1, 0, 6));
    assert_eq!(assembly.slots[4], Slot::new(0x55, 0, 0, 1, 6));
    // The first return is `exit` where no label of that name is.
    assert_eq!(assembly.slots[5], Slot::new(0x05, 0, 0, 1, 0));
    assert_eq!(assembly.slots[10], Slot::new(0x18, 2, 4, 0, -3));
    assert_eq!(assembly.functions, [(SlotIndex(8), String::from("double"))]);
    assert_eq!(assembly.labels["loop"], SlotIndex(1));
    let lines: Vec<_> = assembly.lines.iter().map(|line| (line.slot.0, line.line)).collect();
    assert_eq!(lines[..4], [(0, 3), (1, 4), (2, 5), (4, 6)]);
    let bytecode = assembly.bytecode("test.asm");
    assert_eq!(&*bytecode.debug.line_at(SlotIndex(9)).unwrap().text, "r0 *= 2");
    assert_eq!(bytecode.debug.function_at(SlotIndex(9)), Some((SlotIndex(8), "double")));
}

/// A listing that a tool printed assembles to the code that it lists.
#[test]
fn listings_assemble() {
    let assembly = assemble("0: (18) r1 = 0x1\n2: (b7) r0 = 0\n   3:\texit").unwrap();
    assert_eq!(assembly.slots.len(), 4);
}

#[test]
fn errors_say_where_and_what() {
    let cases = [
        (
            "r2 = 4294967296",
            "line 1, column 6: needed a number from -2147483648 to 2147483647, found `4294967296`",
        ),
        (
            "r2 = 3000000000",
            "line 1, column 6: needed a number from -2147483648 to 2147483647, found `3000000000`",
        ),
        (
            "mov %r2, 0x1ffffffff",
            "line 1, column 10: needed a number from -2147483648 to 4294967295, found `0x1ffffffff`",
        ),
        (
            "lddw %r2, 0x1ffffffffffffffff",
            "line 1, column 11: needed a number from -9223372036854775808 to 18446744073709551615, found `0x1ffffffffffffffff`",
        ),
        ("\n  r11 = 0", "line 2, column 3: needed a register, r0 to r10, found `r11`"),
        ("mov %x, 1", "line 1, column 5: needed a register, r0 to r10, found `%x`"),
        ("frob %r1", "line 1, column 1: no instruction is called `frob`"),
        ("r1 ?= 2", "line 1, column 4: needed an assignment such as `=` or `s>>=`, found `?`"),
        (
            "r1 =",
            "line 1, column 5: needed a register, a number, a load or a function, found the end of the line",
        ),
        ("r1 = w2", "line 1, column 6: needed a 64-bit register (r0 to r10), found `w2`"),
        (
            "if r1 < w2 goto +1",
            "line 1, column 9: needed a 64-bit register (r0 to r10), found `w2`",
        ),
        ("r1 = be16 r2", "line 1, column 11: needed register 1 again, found `r2`"),
        ("r1 = -r2", "line 1, column 7: needed register 1 again, found `r2`"),
        ("w1 = (s32)w2", "line 1, column 7: a sign-extending move has no form for `(s32) to w1`"),
        (
            "w1 = *(s8 *)(r2 + 0)",
            "line 1, column 1: needed a 64-bit register (r0 to r10), for this load sets all its bits, found `w1`",
        ),
        (
            "r1 = *(u24 *)(r2 + 0)",
            "line 1, column 8: needed a type, u8 to u64 or s8 to s32, found `u24`",
        ),
        (
            "r1 = *(s64 *)(r2 + 0)",
            "line 1, column 8: needed a type, u8 to u64 or s8 to s32, found `s64`",
        ),
        (
            "r1 = *(u8 *)(r2 + 40000)",
            "line 1, column 17: needed a number from -32768 to 32767, found `+ 40000`",
        ),
        ("r0 = *(u64 *)skb[1]", "line 1, column 8: a packet load has no form for `u64`"),
        ("lock *(u8 *)(r1 + 0) += r2", "line 1, column 8: needed the type u64, found `u8`"),
        (
            "r3 = cmpxchg_64(r1 + 0, r3, r2)",
            "line 1, column 1: needed register 0 again, found `r3`",
        ),
        (
            "if r1 =! 2 goto +1",
            "line 1, column 7: needed a comparison such as `==` or `s>`, found `=`",
        ),
        ("if r1 == 2 +1", "line 1, column 12: needed `goto`, found `+`"),
        ("goto 3", "line 1, column 6: needed a distance such as +3, or a label, found `3`"),
        (
            "goto nowhere",
            "line 1, column 6: needed a label, found `nowhere`, which stands on no line",
        ),
        (
            "call nothing",
            "line 1, column 6: needed a label or a helper's name, found `nothing`, which is neither",
        ),
        (
            "call bpf_trace_printk#7",
            "line 1, column 6: `bpf_trace_printk` has the number 6, not this one",
        ),
        (
            "call +3",
            "line 1, column 6: needed a helper's number, a function's label, or `local`, found `+`",
        ),
        (
            "ja +40000",
            "line 1, column 4: a jump of +40000 slots does not fit in 16 bits; gotol has 32",
        ),
        ("exit 1", "line 1, column 6: needed the end of the line, found `1`"),
        ("(b7) r2 += 1", "line 1, column 2: needed 07, the instruction's opcode, found `b7`"),
        (
            "r1 = addr_space_cast(r2, 2, 0)",
            "line 1, column 26: addr_space_cast has no form for `2, 0`",
        ),
        ("ld_pseudo r1, 0x9, 0x0", "line 1, column 15: ld_pseudo has no form for `0x9`"),
        ("ldxsdw %r1, [%r2]", "line 1, column 1: no instruction is called `ldxsdw`"),
        ("lock frob [%r1], %r2", "line 1, column 6: no instruction is called `lock frob`"),
        ("lock fetch add2 [%r1], %r2", "line 1, column 12: no instruction is called `lock add2`"),
        ("mov %r1 5", "line 1, column 9: needed `,`, found `5`"),
        ("ldxb %r1, %r2", "line 1, column 11: needed `[`, found `%r2`"),
        ("é = 1", "line 1, column 1: no instruction is called `é`"),
        ("r1 = 1\nr2 = 2", "line 2, column 1: needed a single instruction, found `r2 = 2`"),
        ("", "line 1, column 1: needed an instruction, found the end of the line"),
        ("a: a: exit", "line 1, column 4: the label `a` stands on line 1 already"),
    ];
    for (text, expected) in cases {
        let error = parse_insn(text).expect_err(text).to_string();
        assert_eq!(error, expected, "{text}");
    }
    let error = assemble("exit\n5: exit").unwrap_err().to_string();
    assert_eq!(error, "line 2, column 1: needed 1, the instruction's position in slots, found `5`");
}

/// Damaged text gives an error or an instruction, never a panic.
#[test]
fn no_text_panics() {
    let mut random = Random(7);
    let pieces = [
        "r1",
        "w2",
        "%r3",
        "r11",
        "=",
        "s>>=",
        "+=",
        "(",
        ")",
        "*",
        "(u32 *)",
        "[",
        "]",
        "skb",
        "goto",
        "if",
        "0x",
        "0xffffffffffffffffff",
        "-",
        "+",
        "9999999999999999999999",
        "ll",
        "call",
        "lock",
        "atomic_",
        "é",
        "\u{2028}",
        "#",
        ";",
        ":",
        "label",
        "exit",
        ",",
        "<",
        ">",
        "map_by_fd",
        "lddw",
        "\t",
        "\0",
        "==",
        "pc",
        "12",
        "s",
        "be16",
    ];
    for _ in 0..20_000 {
        let count = random.next() % 9;
        let text: Vec<&str> =
            (0..count).map(|_| pieces[(random.next() % pieces.len() as u64) as usize]).collect();
        let separator = if random.next() & 1 == 0 { " " } else { "" };
        let _ = assemble(&text.join(separator));
    }
    for insn in all_operations().iter().step_by(97) {
        let text = Decimal(insn).to_string();
        for at in 0..text.len() {
            for byte in [b'\0', b'9', b'(', b' ', b'r', b'-'] {
                let mut damaged = text.clone().into_bytes();
                damaged[at] = byte;
                let _ = parse_insn(&String::from_utf8(damaged).unwrap());
            }
            let _ = parse_insn(&text[..at]);
        }
    }
}
