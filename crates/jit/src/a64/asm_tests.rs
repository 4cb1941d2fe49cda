//! The assembler: numbers come out as they went in, branches lead where they should.

use skep_bpf::op::{Size, Width};

use super::asm::{Asm, Reach, TooFar};
use super::encode::*;

/// What a sequence of moves and masks leaves in `x0`; `None` for anything else.
fn run(words: &[u32]) -> Option<u64> {
    let mut value = 0;
    for word in words {
        let wide = word >> 31 == 1;
        let part = (word >> 21 & 3) * 16;
        let imm = u64::from(word >> 5 & 0xffff) << part;
        value = match word >> 23 & 0x3f {
            0b10_0101 => match word >> 29 & 3 {
                0 => !imm,
                2 => imm,
                3 => value & !(0xffff << part) | imm,
                _ => return None,
            },
            0b10_0100 if word >> 29 & 3 == 1 => mask(word >> 10 & 0x1fff),
            _ => return None,
        };
        if !wide {
            value &= 0xffff_ffff;
        }
    }
    Some(value)
}

/// `DecodeBitMasks` of the Arm ARM.
fn mask(bits: u32) -> u64 {
    let (n, immr, imms) = (bits >> 12, bits >> 6 & 63, bits & 63);
    let len = 31 - (n << 6 | !imms & 63).leading_zeros();
    let size = 1 << len;
    let ones = (imms & (size - 1)) + 1;
    let part =
        (0..size).filter(|bit| (bit + immr) % size < ones).fold(0, |sum, bit| sum | 1 << bit);
    (0..64 / size).fold(0, |sum, index| sum | part << (index * size))
}

fn set(value: u64) -> Vec<u32> {
    let mut asm = Asm::new(4, Reach::BitTest);
    asm.set(x(0), value);
    asm.finish().unwrap()
}

#[test]
fn numbers_arrive() {
    let mut values = vec![0, 1, 0xffff, 0x10000, 0xffff_ffff, 0xffff_0000, u64::MAX, 1 << 63];
    let parts = [0, 0xffff, 1, 0x8000, 0x5555, 0x1234];
    for a in parts {
        for b in parts {
            for c in parts {
                values.extend(parts.map(|d| a | b << 16 | c << 32 | d << 48));
            }
        }
    }
    for value in values {
        let words = set(value);
        assert_eq!(run(&words), Some(value), "{value:#x}: {words:08x?}");
        let parts = [0, 16, 32, 48].map(|by| (value >> by) as u16);
        let others = |than: u16| parts.iter().filter(|part| **part != than).count().max(1);
        assert!(words.len() <= others(0).min(others(0xffff)), "{value:#x}: {words:08x?}");
    }
    for (value, words) in [(0, 1), (u64::MAX, 1), (0xffff_ffff, 1), (0x5555_5555_5555_5555, 1)] {
        assert_eq!(set(value).len(), words, "{value:#x}");
    }
    for value in [0xffff_fffe, 0xffff_1234, 0x0000_5555_5555_u64 & 0xffff_ffff] {
        assert_eq!(set(value).len(), 1, "{value:#x}");
    }
}

/// A branch of each kind over so many words, forwards and backwards.
fn over(words: usize, reach: Reach) -> Result<Vec<u32>, TooFar> {
    let mut asm = Asm::new(words, reach);
    let (back, ahead) = (asm.label(), asm.label());
    asm.bind(back);
    for label in [ahead, back] {
        asm.branch(Condition::Lt, label);
        asm.branch_zero(Width::W64, true, x(3), label);
        asm.branch_bit(false, x(4), 40, label);
        asm.jump(label);
        if label == ahead {
            (0..words).for_each(|_| asm.put(NOP));
        }
    }
    asm.bind(ahead);
    asm.finish()
}

/// Where the branches of a piece of code lead, followed by hand.
fn targets(code: &[u32]) -> Vec<i64> {
    let mut targets = Vec::new();
    let mut at = 0;
    let far = |word: u32, bits: u32, shift: u32| {
        i64::from((word >> shift << (32 - bits)) as i32 >> (32 - bits))
    };
    while at < code.len() {
        let word = code[at];
        let distance = match word >> 24 {
            0x54 => far(word, 19, 5),
            0xb4 | 0xb5 => far(word, 19, 5),
            0x36 | 0x37 | 0xb6 | 0xb7 => far(word, 14, 5),
            0x14..=0x17 => far(word, 26, 0),
            _ => {
                at += 1;
                continue;
            }
        };
        // The long form is the inverse over a jump.
        if distance == 2 && code[at + 1] >> 26 == 0b101 {
            at += 1;
            continue;
        }
        targets.push(at as i64 + distance);
        at += 1;
    }
    targets
}

#[test]
fn branches_reach_their_labels() {
    for words in [0, 5, 8000, 9000, 260_000, 270_000] {
        let mut reach = Reach::BitTest;
        let code = loop {
            match over(words, reach) {
                Ok(code) => break code,
                Err(TooFar) => reach = reach.next().unwrap(),
            }
        };
        let end = code.len() as i64;
        assert_eq!(targets(&code), [end, end, end, end, 0, 0, 0, 0], "{words}");
        let expected = match words {
            0..8192 => Reach::BitTest,
            8192..262_144 => Reach::Branch,
            _ => Reach::Jump,
        };
        assert_eq!(reach, expected, "{words}");
    }
}

#[test]
fn additions_take_few_instructions() {
    for (number, words) in [
        (0, 1),
        (4095, 1),
        (-4095, 1),
        (4096, 1),
        (4097, 2),
        (-0x123_456, 2),
        (0x100_0000, 2),
        (0x1234_5678, 3),
    ] {
        let mut asm = Asm::new(4, Reach::BitTest);
        asm.add_number(Width::W64, x(0), x(1), number, x(2));
        assert_eq!(asm.finish().unwrap().len(), words, "{number}");
    }
}

/// Of an offset in bytes, the form that has it: LLVM confirms the forms.
#[test]
fn displacements_choose_their_form() {
    let sizes = [Size::B, Size::H, Size::W, Size::Dw];
    let stores = sizes.map(Transfer::store);
    let signed = [Size::B, Size::H, Size::W].map(|size| Transfer::load_signed(size, Width::W64));
    let ops = stores.into_iter().chain(sizes.map(Transfer::load)).chain(signed);
    for op in ops {
        let size = op.bytes() as i32;
        for bytes in [-70_000, -257, -256, -1, 0, 1, 2, 4, 7, 8, 255, 256, 257, 264]
            .into_iter()
            .chain([4095 * size, 4095 * size - 1, 4096 * size, i32::MAX, i32::MIN])
        {
            let expected = match bytes {
                0.. if bytes % size == 0 && bytes / size < 4096 => {
                    Some(transfer_scaled(op, x(3), x(4), (bytes / size) as u32))
                }
                -256..=255 => Some(transfer_unscaled(op, x(3), x(4), bytes, Index::None)),
                _ => None,
            };
            assert_eq!(transfer_displaced(op, x(3), x(4), bytes), expected, "{op:?} {bytes}");
        }
    }
}

/// Every function that makes a word has samples, which LLVM confirms: a new one needs some, too.
#[test]
fn every_encoder_is_tested() {
    let sources = [
        include_str!("encode/control.rs"),
        include_str!("encode/integer.rs"),
        include_str!("encode/memory.rs"),
        include_str!("encode/vector.rs"),
    ];
    let tests = [include_str!("encode_tests.rs"), include_str!("asm_tests.rs")].concat();
    let signatures = sources.iter().flat_map(|source| source.split("\npub ").skip(1));
    let mut encoders = 0;
    for signature in signatures {
        let signature = signature.split('{').next().unwrap_or_default();
        let Some((_, rest)) = signature.split_once("fn ") else { continue };
        let (name, rest) = rest.split_once('(').expect("a function has parameters");
        let makes_words = rest.contains("-> u32") && rest.contains("Gpr") || rest.contains("words");
        if makes_words {
            encoders += 1;
            assert!(tests.contains(&format!("{name}(")), "no sample of {name}");
        }
    }
    assert!(encoders >= 38, "only {encoders} encoders were found");
}
