//! The printer of raw slots against llvm-objdump.

extern crate std;

use std::process::Command;
use std::{fs, println};

use alloc::vec::Vec;

use super::*;

/// The section as `llvm-objdump -d` shows it when a symbol `f` stands at its start.
fn dump(section: &[u8]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while let Some(item) = next_item(section, at, section.len()) {
        let label = match item.content {
            Content::Insn { branch: Some(branch), .. } => {
                Some(match target_address(at as u64, branch) {
                    0 => String::from("f"),
                    address => format(format_args!("f+{address:#x}")),
                })
            }
            _ => None,
        };
        let bytes = &section[at..at + item.len_bytes];
        write_line(&mut out, at as u64, bytes, &item.content, label.as_deref(), true).unwrap();
        at += item.len_bytes;
    }
    out
}

/// An ELF object whose `.text` holds the code and starts with the symbol `f`.
fn object(text: &[u8]) -> Vec<u8> {
    const NAMES: &[u8] = b"\0.text\0.symtab\0.strtab\0f\0";
    let text_at = 64;
    let symbols_at = text_at + text.len();
    let names_at = symbols_at + 48;
    let headers_at = (names_at + NAMES.len()).next_multiple_of(8);
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([1, 0, 247, 0, 1, 0, 0, 0]);
    elf.extend([0; 16]);
    elf.extend((headers_at as u64).to_le_bytes());
    elf.extend([0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 64, 0, 4, 0, 3, 0]);
    elf.extend(text);
    elf.extend([0; 24]);
    // The symbol: name, global function, section 1, value 0, size.
    elf.extend([23, 0, 0, 0, 0x12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend((text.len() as u64).to_le_bytes());
    elf.extend(NAMES);
    elf.resize(headers_at, 0);
    let mut header =
        |name: u32, kind: u32, flags: u64, at: usize, size: usize, link: u32, entry| {
            elf.extend(name.to_le_bytes());
            elf.extend(kind.to_le_bytes());
            elf.extend(flags.to_le_bytes());
            elf.extend(0_u64.to_le_bytes());
            elf.extend((at as u64).to_le_bytes());
            elf.extend((size as u64).to_le_bytes());
            elf.extend(link.to_le_bytes());
            elf.extend(u32::from(link != 0).to_le_bytes());
            elf.extend(1_u64.to_le_bytes());
            elf.extend(u64::to_le_bytes(entry));
        };
    header(0, 0, 0, 0, 0, 0, 0);
    header(1, 1, 6, text_at, text.len(), 0, 0);
    header(7, 2, 0, symbols_at, 48, 3, 24);
    header(15, 3, 0, names_at, NAMES.len(), 0, 0);
    elf
}

/// What the real `llvm-objdump` prints for a section, or `None` where there is none.
fn llvm_objdump(name: &str, section: &[u8]) -> Option<String> {
    let path = std::env::temp_dir()
        .join(format(format_args!("skep-llvm-{name}-{}.o", std::process::id())));
    fs::write(&path, object(section)).unwrap();
    let output = Command::new("llvm-objdump-19").arg("-d").arg(&path).output();
    fs::remove_file(&path).unwrap();
    let Ok(output) = output else {
        println!("skipped: llvm-objdump-19 is not installed");
        return None;
    };
    let output = String::from_utf8(output.stdout).unwrap();
    let (_, lines) = output.split_once("<f>:\n").expect("llvm-objdump names the symbol");
    Some(String::from(lines))
}

fn compare(name: &str, section: &[u8]) {
    let Some(expected) = llvm_objdump(name, section) else { return };
    let ours = dump(section);
    let mut different = 0;
    for (ours, theirs) in ours.lines().zip(expected.lines()).filter(|(a, b)| a != b) {
        if different < 20 {
            println!("ours:  {ours}\nLLVM's: {theirs}");
        }
        different += 1;
    }
    println!("{name}: {} lines compared", expected.lines().count());
    assert_eq!(different, 0, "lines differ");
    assert_eq!(ours.lines().count(), expected.lines().count());
}

const OFFSETS: &[i16] =
    &[0, 1, 2, 8, 9, 10, 16, 32, 64, 0x101, 0x1234, -1, -10, -0x7fff, i16::MIN, i16::MAX];
const IMMS: &[i32] = &[
    0,
    1,
    2,
    5,
    9,
    10,
    16,
    32,
    64,
    0x40,
    0x41,
    0x50,
    0x51,
    0xa0,
    0xa1,
    0xe0,
    0xe1,
    0xf0,
    0xf1,
    0x1a,
    0x100,
    0x110,
    0x1f1,
    0x1_0000,
    0x2_0001,
    0x1234_5678,
    -1,
    -16,
    i32::MIN,
    i32::MAX,
];

fn slots(opcode: u8, regs: u8, offsets: &[i16], imms: &[i32], code: &mut Vec<u8>) {
    for &offset in offsets {
        for &imm in imms {
            let slot = Slot { opcode, regs, offset, imm };
            code.extend(slot.to_bytes());
            if slot.is_wide() {
                let next = Slot { opcode: imm as u8, regs, offset, imm: imm.wrapping_mul(3) };
                code.extend(next.to_bytes());
            }
        }
    }
}

/// Every opcode with values of every field that decide what LLVM prints, one field at a time.
#[test]
fn equals_llvm_objdump_on_samples() {
    let mut code = Vec::new();
    for opcode in 0..=255 {
        for regs in [0x00, 0x21, 0xa9, 0xbb, 0x0c, 0xc0, 0xff] {
            slots(opcode, regs, OFFSETS, &[5], &mut code);
            slots(opcode, regs, &[0, 1], IMMS, &mut code);
        }
    }
    compare("samples", &code);
}

/// Half a wide load at the end is taken byte by byte.
#[test]
fn equals_llvm_objdump_on_truncated_code() {
    let wide = Slot::new(0x18, 1, 0, 0, 0x4141_4141).to_bytes();
    for len in [1, 3, 7, 8, 9, 12, 15, 16, 17, 23] {
        let mut code = Slot::new(0xb7, 1, 0, 0, 7).to_bytes().to_vec();
        code.extend([wide, wide, [0; 8]].concat().into_iter().take(len));
        compare("truncated", &code);
    }
}

/// Runs of zeros are left out, as far as the eight bytes that may be an instruction.
#[test]
fn equals_llvm_objdump_on_zeros() {
    for before in [0, 1] {
        for zeros in (0..10).chain([12, 15, 16, 17, 24, 27]) {
            let mut code = [0xb7, 1, 0, 0, 7, 0, 0, 0].repeat(before);
            code.extend([0].repeat(zeros));
            code.extend([0xb7, 1, 0, 0, 7, 0, 0, 1]);
            compare("zeros", &code);
        }
    }
}

/// All registers, offsets and immediates of the lists together with all opcodes.
#[test]
#[ignore = "half a minute; run it after changing this module"]
fn equals_llvm_objdump_on_all_fields() {
    for opcodes in (0..=255_u8).collect::<Vec<_>>().chunks(16) {
        let mut code = Vec::new();
        for &opcode in opcodes {
            for regs in (0..=255).step_by(5).chain([0x10, 0x0b, 0xb0, 0x0c, 0xc0]) {
                slots(opcode, regs, OFFSETS, IMMS, &mut code);
            }
        }
        compare("all", &code);
    }
}

#[test]
fn positions_outside_have_nothing() {
    assert_eq!(next_item(&[1; 8], 8, 8), None);
    assert_eq!(next_item(&[1; 8], 9, 20), None);
    assert_eq!(next_item(&[1; 8], 4, 3), None);
    assert_eq!(next_item(&[1; 8], usize::MAX, usize::MAX), None);
}
