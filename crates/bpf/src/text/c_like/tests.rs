//! The C-like printers against LLVM's assembler, and what they print read back.

extern crate std;

use std::process::Command;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use super::*;
use crate::codec::{Slot, SlotIndex, decode};
use crate::text::corpus::all_operations;

/// Lines of Linux 6.18's verifier log for the slots beside them.
const KERNEL: &[(&[Slot], &str)] = &[
    (&[Slot::new(0xbf, 6, 1, 0, 0)], "(bf) r6 = r1"),
    (&[Slot::new(0xb7, 0, 0, 0, -1)], "(b7) r0 = -1"),
    (&[Slot::new(0x7b, 10, 0, -8, 0)], "(7b) *(u64 *)(r10 -8) = r0"),
    (&[Slot::new(0x7a, 10, 0, -16, -5)], "(7a) *(u64 *)(r10 -16) = -5"),
    (
        &[Slot::new(0x18, 1, 0, 0, 0x12345678), Slot::new(0x00, 0, 0, 0, -2)],
        "(18) r1 = 0xfffffffe12345678",
    ),
    (&[Slot::new(0x18, 1, 0, 0, 0), Slot::new(0x00, 0, 0, 0, 0)], "(18) r1 = 0x0"),
    (&[Slot::new(0x79, 2, 10, -8, 0)], "(79) r2 = *(u64 *)(r10 -8)"),
    (&[Slot::new(0x61, 2, 10, -8, 0)], "(61) r2 = *(u32 *)(r10 -8)"),
    (&[Slot::new(0x91, 2, 10, -8, 0)], "(91) r2 = *(s8 *)(r10 -8)"),
    (&[Slot::new(0x89, 2, 10, -8, 0)], "(89) r2 = *(s16 *)(r10 -8)"),
    (&[Slot::new(0x81, 2, 10, -8, 0)], "(81) r2 = *(s32 *)(r10 -8)"),
    (&[Slot::new(0xb7, 2, 0, 0, 3)], "(b7) r2 = 3"),
    (&[Slot::new(0xdb, 10, 2, -8, 0)], "(db) lock *(u64 *)(r10 -8) += r2"),
    (&[Slot::new(0xdb, 10, 2, -8, 64)], "(db) lock *(u64 *)(r10 -8) |= r2"),
    (&[Slot::new(0xdb, 10, 2, -8, 1)], "(db) r2 = atomic64_fetch_add((u64 *)(r10 -8), r2)"),
    (&[Slot::new(0xc3, 10, 2, -8, 81)], "(c3) r2 = atomic_fetch_and((u32 *)(r10 -8), r2)"),
    (&[Slot::new(0xc3, 10, 2, -8, 160)], "(c3) lock *(u32 *)(r10 -8) ^= r2"),
    (&[Slot::new(0xdb, 10, 2, -8, 225)], "(db) r2 = atomic64_xchg((u64 *)(r10 -8), r2)"),
    (&[Slot::new(0xc3, 10, 2, -8, 225)], "(c3) r2 = atomic_xchg((u32 *)(r10 -8), r2)"),
    (&[Slot::new(0xdb, 10, 2, -8, 241)], "(db) r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r2)"),
    (&[Slot::new(0xc3, 10, 2, -8, 241)], "(c3) r0 = atomic_cmpxchg((u32 *)(r10 -8), r0, r2)"),
    (&[Slot::new(0xdb, 2, 10, -8, 0x100)], "(db) r2 = load_acquire((u64 *)(r10 -8))"),
    (&[Slot::new(0xc3, 2, 10, -8, 0x100)], "(c3) r2 = load_acquire((u32 *)(r10 -8))"),
    (&[Slot::new(0xdb, 10, 2, -8, 0x110)], "(db) store_release((u64 *)(r10 -8), r2)"),
    (&[Slot::new(0xd3, 10, 2, -8, 0x110)], "(d3) store_release((u8 *)(r10 -8), r2)"),
    (&[Slot::new(0xdc, 2, 0, 0, 16)], "(dc) r2 = be16 r2"),
    (&[Slot::new(0xd4, 2, 0, 0, 32)], "(d4) r2 = le32 r2"),
    (&[Slot::new(0xd7, 2, 0, 0, 64)], "(d7) r2 = bswap64 r2"),
    (&[Slot::new(0x87, 2, 0, 0, 0)], "(87) r2 = -r2"),
    (&[Slot::new(0x84, 2, 0, 0, 0)], "(84) w2 = -w2"),
    (&[Slot::new(0xbf, 3, 2, 8, 0)], "(bf) r3 = (s8)r2"),
    (&[Slot::new(0xbf, 3, 2, 32, 0)], "(bf) r3 = (s32)r2"),
    (&[Slot::new(0xbc, 3, 2, 16, 0)], "(bc) w3 = (s16)w2"),
    (&[Slot::new(0x3f, 3, 2, 1, 0)], "(3f) r3 s/= r2"),
    (&[Slot::new(0x97, 3, 0, 1, 7)], "(97) r3 s%= 7"),
    (&[Slot::new(0x34, 3, 0, 0, 7)], "(34) w3 /= 7"),
    (&[Slot::new(0xc7, 3, 0, 0, 7)], "(c7) r3 s>>= 7"),
    (&[Slot::new(0x30, 0, 0, 0, 23)], "(30) r0 = *(u8 *)skb[23]"),
    (&[Slot::new(0x48, 0, 2, 0, -5)], "(48) r0 = *(u16 *)skb[r2 + -5]"),
    (&[Slot::new(0x40, 0, 2, 0, 0)], "(40) r0 = *(u32 *)skb[r2 + 0]"),
    (&[Slot::new(0x15, 2, 0, 3, -1)], "(15) if r2 == 0xffffffff goto pc+3"),
    (&[Slot::new(0x65, 2, 0, 1, 5)], "(65) if r2 s> 0x5 goto pc+1"),
    (&[Slot::new(0x1d, 2, 3, 0, 0)], "(1d) if r2 == r3 goto pc+0"),
    (&[Slot::new(0xde, 2, 3, 0, 0)], "(de) if w2 s<= w3 goto pc+0"),
    (&[Slot::new(0x55, 2, 0, 0, 0)], "(55) if r2 != 0x0 goto pc+0"),
    (&[Slot::new(0x05, 0, 0, 0, 0)], "(05) goto pc+0"),
    (&[Slot::new(0x06, 0, 0, 0, 0)], "(06) gotol pc+0"),
    (&[Slot::new(0xe5, 0, 0, 0, 0)], "(e5) may_goto pc+0"),
    (&[Slot::new(0x85, 0, 0, 0, 7)], "(85) call bpf_get_prandom_u32#7"),
    (&[Slot::new(0x85, 0, 0, 0, 0)], "(85) call bpf_unspec#0"),
    (&[Slot::new(0x85, 0, 0, 0, 0x186a0)], "(85) call unknown#100000"),
    (&[Slot::new(0x85, 0, 1, 0, 2)], "(85) call pc+2"),
    (&[Slot::new(0xb7, 0, 0, 0, 0)], "(b7) r0 = 0"),
    (&[Slot::new(0x95, 0, 0, 0, 0)], "(95) exit"),
];

#[test]
fn equals_the_verifier_log() {
    for (code, expected) in KERNEL {
        let insn = decode(code, SlotIndex(0)).unwrap();
        assert_eq!(format!("{:#}", Kernel { insn: &insn, names: &LinuxNames }), *expected);
    }
}

#[test]
fn decimal_style() {
    let cases = [
        ([0xb7, 2, 0, 0, 15, 0, 0, 0], "r2 = 15"),
        ([0x65, 1, 3, 0, 5, 0, 0, 0], "if r1 s> 5 goto +3"),
        ([0x1e, 0x21, 0xff, 0xff, 0, 0, 0, 0], "if w1 == w2 goto -1"),
        ([0x85, 0, 0, 0, 6, 0, 0, 0], "call 6"),
        ([0x85, 0x10, 0, 0, 6, 0, 0, 0], "call local +6"),
        ([0x85, 0x20, 2, 0, 6, 0, 0, 0], "call kfunc(6, 2)"),
        ([0x8d, 3, 0, 0, 0, 0, 0, 0], "callx r3"),
        ([0x63, 0x21, 0, 0, 0, 0, 0, 0], "*(u32 *)(r1 + 0) = r2"),
        ([0x7a, 0x0a, 0xf8, 0xff, 7, 0, 0, 0], "*(u64 *)(r10 - 8) = 7"),
        ([0xdb, 0x21, 0, 0, 0, 0, 0, 0], "lock *(u64 *)(r1 + 0) += r2"),
        ([0xc3, 0x21, 0, 0, 0x40, 0, 0, 0], "lock *(u32 *)(r1 + 0) |= w2"),
        ([0xc3, 0x21, 0, 0, 1, 0, 0, 0], "w2 = atomic_fetch_add((u32 *)(r1 + 0), w2)"),
        ([0xc3, 0x21, 0, 0, 0xf1, 0, 0, 0], "w0 = cmpxchg32_32(r1 + 0, w0, w2)"),
        ([0xdb, 0x21, 0, 0, 0xe1, 0, 0, 0], "r2 = xchg_64(r1 + 0, r2)"),
        ([0x06, 0, 0, 0, 3, 0, 0, 0], "gotol +3"),
        ([0xe5, 0, 3, 0, 0, 0, 0, 0], "may_goto +3"),
        ([0x50, 0x20, 0, 0, 23, 0, 0, 0], "r0 = *(u8 *)skb[r2 + 23]"),
        ([0x91, 0x21, 4, 0, 0, 0, 0, 0], "r1 = *(s8 *)(r2 + 4)"),
        ([0xbf, 0x21, 8, 0, 0, 0, 0, 0], "r1 = (s8)r2"),
        ([0x3c, 0x21, 1, 0, 0, 0, 0, 0], "w1 s/= w2"),
    ];
    for (bytes, expected) in cases {
        let insn = decode(&[Slot::from_bytes(bytes)], SlotIndex(0)).unwrap();
        assert_eq!(Decimal(&insn).to_string(), expected);
    }
    let wide = |src, low, high| {
        let code = [Slot::new(0x18, 1, src, 0, low), Slot { imm: high, ..Slot::default() }];
        decode(&code, SlotIndex(0)).unwrap()
    };
    let value = wide(0, 0x89ab_cdef_u32 as i32, 0x0123_4567);
    assert_eq!(Decimal(&value).to_string(), "r1 = 81985529216486895 ll");
    assert_eq!(Decimal(&wide(1, 5, 0)).to_string(), "r1 = map_by_fd(5) ll");
    assert_eq!(Decimal(&wide(6, 0, 8)).to_string(), "r1 = map_val_by_idx(0, 8) ll");
    assert_eq!(Decimal(&wide(4, 3, 0)).to_string(), "r1 = code_addr(3) ll");
}

/// What LLVM 19's assembler has no form for: its packet loads add nothing to the register, it
/// knows neither acquire nor release, and calls and maps are symbols to it.
fn llvm_lacks(insn: &Insn<Offset>) -> bool {
    matches!(
        insn,
        Insn::LoadPacket { index: PacketIndex::Indirect(_), .. }
            | Insn::LoadAcquire { .. }
            | Insn::StoreRelease { .. }
            | Insn::Call { callee: Callee::Local(_) | Callee::Kfunc { .. } }
    ) || match insn {
        Insn::LoadImm64 { imm, .. } => !matches!(imm, Imm64::Value(_)),
        // It takes 16 bits of a number after gotol.
        Insn::Jump { wide: true, target: Offset(by) } => i16::try_from(*by).is_err(),
        _ => false,
    }
}

/// The decimal style is LLVM's assembly: its assembler makes the same bytes of it.
#[test]
fn llvm_assembles_the_decimal_style() {
    let insns: Vec<_> = all_operations().into_iter().filter(|insn| !llvm_lacks(insn)).collect();
    let mut text = String::new();
    for insn in &insns {
        writeln!(text, "{}", Decimal(insn)).unwrap();
    }
    let path = std::env::temp_dir().join(format!("skep-mc-{}.s", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let assembler = Command::new("llvm-mc-19")
        .args(["-triple", "bpfel", "-mcpu=v4", "-show-encoding"])
        .arg(&path)
        .output();
    std::fs::remove_file(&path).unwrap();
    let Ok(output) = assembler else {
        std::println!("skipped: llvm-mc-19 is not installed");
        return;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}", errors.lines().take(9).collect::<Vec<_>>().join("\n"));
    let listing = String::from_utf8(output.stdout).unwrap();
    let encodings = listing.lines().filter_map(|line| {
        let (_, bytes) = line.split_once("encoding: [")?;
        Some(bytes.trim_end_matches(']').replace("0x", "").replace(',', " "))
    });
    let mut compared = 0;
    for (insn, theirs) in insns.iter().zip(encodings) {
        let slots: Vec<_> = encode(insn).unwrap().slots().map(|s| format!("{s:?}")).collect();
        assert_eq!(slots.join(" "), theirs, "{}", Decimal(insn));
        compared += 1;
    }
    assert_eq!(compared, insns.len());
}

/// A caller's names appear where the kernel and bpftool put theirs.
#[test]
fn names_of_the_caller() {
    struct Mine;
    impl Names for Mine {
        fn callee(&self, callee: &Callee<Offset>) -> Option<Cow<'_, str>> {
            match callee {
                Callee::Local(_) => Some("parse_header".into()),
                Callee::Kfunc { .. } => Some("bpf_rdonly_cast".into()),
                Callee::Helper(_) | Callee::Reg(_) => None,
            }
        }
        fn imm64(&self, imm: &Imm64<Offset>) -> Option<Cow<'_, str>> {
            matches!(imm, Imm64::MapByFd(5)).then_some("map[id:12]".into())
        }
    }
    let text = |insn| Kernel { insn: &insn, names: &Mine }.to_string();
    let call = |callee| text(Insn::Call { callee });
    assert_eq!(call(Callee::Local(Offset(3))), "call pcparse_header");
    assert_eq!(call(Callee::Kfunc { btf_id: 7, btf_index: 0 }), "call bpf_rdonly_cast#7");
    assert_eq!(call(Callee::Helper(HelperId(6))), "call unknown#6");
    let load = |imm| text(Insn::LoadImm64 { dst: Reg::R1, imm });
    assert_eq!(load(Imm64::MapByFd(5)), "r1 = map[id:12]");
    assert_eq!(load(Imm64::MapByFd(6)), "r1 = 0x6");
    assert_eq!(load(Imm64::Value(0xfffffffe_12345678)), "r1 = 0xfffffffe12345678");
}
