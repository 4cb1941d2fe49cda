//! Explanations of instructions of every shape, and of bytes that are none.

use alloc::collections::BTreeSet;
use alloc::string::ToString;

use super::*;
use crate::codec::encode;
use crate::text::corpus::{Random, all_operations};

fn shown(bytes: &str) -> String {
    explain(&parse_slots(bytes).unwrap()).unwrap().to_string()
}

#[test]
fn a_move() {
    let expected = "\
b7 02 00 00 0f 00 00 00

opcode    b7           1011 0 111
                       │    │ └─── class   ALU64, 64-bit arithmetic
                       │    └───── source  K, the second operand is imm
                       └────────── code    operation MOV
dst_reg   .2           r2
src_reg   0.           not used
offset    00 00        not used
imm       0f 00 00 00  15 (0xf)

meaning   r2 = 15
in words  set r2 to 15
mnemonic  mov %r2, 15
group     base64
see       RFC 9669, section 4.1, arithmetic instructions";
    assert_eq!(shown("b7 02 00 00 0f 00 00 00"), expected);
}

#[test]
fn a_wide_load() {
    let expected = "\
18 61 00 00 05 00 00 00 00 00 00 00 08 00 00 00

opcode    18           000 11 000
                       │   │  └─── class   LD, 64-bit immediates and the old packet loads
                       │   └────── size    DW, 8 bytes
                       └────────── mode    IMM, a 64-bit immediate
dst_reg   .1           r1
src_reg   6.           6, map_val_by_idx
offset    00 00        not used
imm       05 00 00 00  map number 5
reserved  00 00 00 00  not used
next_imm  08 00 00 00  byte 8 of the value

meaning   r1 = map_val_by_idx(5, 8) ll
in words  set r1 to the address of byte 8 of the first value of the program's map number 5
mnemonic  lddw %r1, map_val_by_idx(5, 8)
group     base64
see       RFC 9669, section 5.4.1, maps";
    assert_eq!(shown("1861000005000000 0000000008000000"), expected);
}

#[test]
fn no_instruction() {
    let expected = "\
b7 0c 03 00 00 00 00 00

opcode    b7           1011 0 111
                       │    │ └─── class   ALU64, 64-bit arithmetic
                       │    └───── source  K, the second operand is imm
                       └────────── code    operation MOV
dst_reg   .c           12, but registers go from 0 to 10
src_reg   0.           0
offset    03 00        3
imm       00 00 00 00  0

not an instruction: dst_reg is 12, but registers go from 0 to 10";
    assert_eq!(shown("b7 0c 03 00 00 00 00 00"), expected);
}

#[test]
fn meanings_in_words() {
    let cases = [
        (
            "3c 21 01 00 00 00 00 00",
            "divide w1 by w2, signed, rounding towards zero; 0 if w2 is 0; the upper 32 bits of r1 become 0",
        ),
        ("63 2a fc ff 00 00 00 00", "set the 4 bytes at r10 - 4 to the low 4 bytes of r2"),
        ("71 12 00 00 00 00 00 00", "set r2 to the byte at r1, zero-extended"),
        (
            "c3 21 08 00 f1 00 00 00",
            "in one step, store w2 to the 4 bytes at r1 + 8 if it equals w0, and set w0 to the old value; the upper 32 bits of r0 become 0",
        ),
        (
            "1d 21 ff ff 00 00 00 00",
            "if r1 equals r2, jump 1 slot back, counted from the next instruction",
        ),
        ("05 00 00 00 00 00 00 00", "go on with the next instruction"),
        (
            "dc 03 00 00 10 00 00 00",
            "convert the low 16 bits of r3 between host byte order and big endian, clear the others",
        ),
        (
            "bf 21 01 00 01 00 00 00",
            "set r1 to r2, converted from an arena pointer's user form to the form that loads take",
        ),
    ];
    for (bytes, expected) in cases {
        let explanation = explain(&parse_slots(bytes).unwrap()).unwrap();
        assert_eq!(explanation.insn.unwrap().meaning, expected);
    }
    let helper = shown("85 00 00 00 07 00 00 00");
    assert!(helper.contains("call the helper function bpf_get_prandom_u32, which "), "{helper}");
}

/// Every operation is explained without a placeholder left, and the sections are those of RFC
/// 9669's fourth and fifth chapters.
#[test]
fn every_operation_is_explained() {
    let mut sections = BTreeSet::new();
    for insn in all_operations() {
        let slots: Vec<Slot> = encode(&insn).unwrap().slots().collect();
        let explanation = explain(&slots).unwrap();
        let shown = explanation.to_string();
        assert!(!shown.contains(['{', '}']), "{shown}");
        let explained = explanation.insn.unwrap();
        assert_eq!(explained.insn, insn);
        assert_eq!(explained.section.is_none(), explained.group > Group::Packet, "{shown}");
        sections.extend(explained.section.map(|section| section.number));
    }
    let expected = [
        "4.1", "4.2", "4.3", "4.3.1", "4.3.2", "5.1", "5.2", "5.3", "5.4", "5.4.1", "5.4.2", "5.5",
    ];
    assert!(sections.iter().eq(expected.iter()), "{sections:?}");
}

/// Any bytes are explained; the fields are all there, and an error marks one of them.
#[test]
fn any_bytes_are_explained() {
    let mut random = Random(11);
    for _ in 0..5_000 {
        let slots = [random.slot(), random.slot()];
        for slots in [&slots[..], &slots[..1]] {
            let explanation = explain(slots).unwrap();
            let fields = if explanation.bytes.len() == 16 { 10 } else { 8 };
            assert_eq!(explanation.fields.len(), fields);
            let covered: usize = explanation
                .fields
                .iter()
                .filter(|field| field.place.bits.is_none())
                .map(|field| field.place.len_bytes)
                .sum();
            // The byte of the registers is shown in halves only.
            assert_eq!(covered + 1, explanation.bytes.len());
            assert!(explanation.to_string().lines().count() > 10);
        }
    }
    assert_eq!(explain(&[]), None);
}

#[test]
fn bytes_in_hexadecimal() {
    let expected = [0xb7, 0x02, 0, 0, 0x0f, 0, 0, 0];
    for text in [
        "b7 02 00 00 0f 00 00 00",
        "B70200000F000000",
        "0xb7,0x2,0x0,0x0,0xf,0x00,0x0,0x0",
        " b702 0000\n0f00,0000 ",
    ] {
        let bytes = parse_bytes(text).unwrap();
        assert_eq!(bytes, expected, "{text}");
    }
    let error = |text: &str| parse_slots(text).unwrap_err().to_string();
    assert_eq!(error("b7 0g"), "column 5: needed a hexadecimal digit, found `g`");
    assert_eq!(error("b7 021"), "column 4: needed two hexadecimal digits a byte, found 3 digits");
    assert_eq!(error("b7 0x"), "column 6: needed two hexadecimal digits a byte, found 0 digits");
    assert_eq!(error("b7 02"), "column 6: needed 8 bytes an instruction slot, found 2 bytes");
    assert_eq!(error(""), "column 1: needed 8 bytes an instruction slot, found 0 bytes");
    assert_eq!(error("b7 é"), "column 4: needed a hexadecimal digit, found `é`");
}
