//! The encoder against LLVM's assembler, over all operations, registers and classes of operands.
//!
//! Each sample is a word that the encoder made and the text of the instruction that it is to be.
//! Where LLVM is missing, the words are still compared with a digest that LLVM confirmed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use skep_bpf::op::{Size, Width};

use super::encode::*;

struct Samples(Vec<(u32, String)>);

const WIDTHS: [Width; 2] = [Width::W32, Width::W64];
const ADDS: [(AddSub, &str); 4] =
    [(AddSub::Add, "add"), (AddSub::Adds, "adds"), (AddSub::Sub, "sub"), (AddSub::Subs, "subs")];
const LOGICS: [(Logic, &str, &str); 4] = [
    (Logic::And, "and", "bic"),
    (Logic::Orr, "orr", "orn"),
    (Logic::Eor, "eor", "eon"),
    (Logic::Ands, "ands", "bics"),
];
const SHIFTS: [(Shift, &str); 4] =
    [(Shift::Lsl, "lsl"), (Shift::Lsr, "lsr"), (Shift::Asr, "asr"), (Shift::Ror, "ror")];
const EXTENSIONS: [(Extension, &str); 8] = [
    (Extension::Uxtb, "uxtb"),
    (Extension::Uxth, "uxth"),
    (Extension::Uxtw, "uxtw"),
    (Extension::Uxtx, "uxtx"),
    (Extension::Sxtb, "sxtb"),
    (Extension::Sxth, "sxth"),
    (Extension::Sxtw, "sxtw"),
    (Extension::Sxtx, "sxtx"),
];
const CONDITIONS: [&str; 14] =
    ["eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le"];

/// A register by name where 31 is zero.
fn r(width: Width, reg: Gpr) -> String {
    let letter = if width == Width::W64 { 'x' } else { 'w' };
    match reg.number() {
        31 => format!("{letter}zr"),
        number => format!("{letter}{number}"),
    }
}

/// A register by name where 31 is the stack pointer.
fn s(width: Width, reg: Gpr) -> String {
    match (reg.number(), width) {
        (31, Width::W64) => "sp".into(),
        (31, Width::W32) => "wsp".into(),
        _ => r(width, reg),
    }
}

fn xr(reg: Gpr) -> String {
    r(Width::W64, reg)
}

/// Every register as the first, second, third and fourth operand.
fn registers() -> impl Iterator<Item = (Gpr, Gpr, Gpr, Gpr)> {
    let turned = |i: u32, by, start| x(((i * by + start) % 32) as u8);
    (0..32).map(move |i| (turned(i, 1, 0), turned(i, 7, 3), turned(i, 13, 5), turned(i, 11, 17)))
}

impl Samples {
    fn add(&mut self, word: u32, text: impl Into<String>) {
        self.0.push((word, text.into()));
    }

    fn additions(&mut self) {
        for width in WIDTHS {
            for (op, name) in ADDS {
                let flags = matches!(op, AddSub::Adds | AddSub::Subs);
                for (rd, rn, rm, _) in registers() {
                    let imm = u32::from(rd.number()) * 132 + 3;
                    let to = if flags { r(width, rd) } else { s(width, rd) };
                    for upper in [false, true] {
                        let shift = if upper { 12 } else { 0 };
                        self.add(
                            add_imm(width, op, rd, rn, imm, upper),
                            format!("{name} {to}, {}, #{imm}, lsl #{shift}", s(width, rn)),
                        );
                    }
                    let (rd, rn, rm) = (r(width, rd), r(width, rn), r(width, rm));
                    let (d, n, m) = (reg(&rd), reg(&rn), reg(&rm));
                    self.add(add(width, op, d, n, m), format!("{name} {rd}, {rn}, {rm}, lsl #0"));
                    for (shift, by) in &SHIFTS[..3] {
                        let amount = u32::from(d.number()) % width.bits() * 2 % width.bits() + 1;
                        self.add(
                            add_shifted(width, op, d, n, m, (*shift, amount)),
                            format!("{name} {rd}, {rn}, {rm}, {by} #{amount}"),
                        );
                    }
                }
                for imm in [0, 1, 0x7ff, 0x800, 0xfff] {
                    let text = format!("{name} {0}, {0}, #{imm}", r(width, x(1)));
                    self.add(add_imm(width, op, x(1), x(1), imm, false), text);
                }
                self.extended(width, op, name);
            }
        }
    }

    fn extended(&mut self, width: Width, op: AddSub, name: &str) {
        let flags = matches!(op, AddSub::Adds | AddSub::Subs);
        for (index, (extension, by)) in EXTENSIONS.into_iter().enumerate() {
            for (rd, rn, rm, _) in registers() {
                let amount = u32::from(rd.number()) % 5;
                let wide = index % 4 == 3;
                // The assembler takes 64-bit operands of 64-bit operations only.
                if wide && width == Width::W32 {
                    continue;
                }
                let to = if flags { r(width, rd) } else { s(width, rd) };
                let from = r(if wide { Width::W64 } else { Width::W32 }, rm);
                self.add(
                    add_extended(width, op, rd, rn, rm, (extension, amount)),
                    format!("{name} {to}, {}, {from}, {by} #{amount}", s(width, rn)),
                );
            }
        }
    }

    fn logic(&mut self) {
        for width in WIDTHS {
            for (op, name, inverted) in LOGICS {
                for (rd, rn, rm, _) in registers() {
                    let (d, n, m) = (r(width, rd), r(width, rn), r(width, rm));
                    self.add(logic(width, op, rd, rn, rm), format!("{name} {d}, {n}, {m}"));
                    for (shift, by) in SHIFTS {
                        let amount = u32::from(rd.number()) % width.bits() * 2 % width.bits() + 1;
                        for (invert, name) in [(false, name), (true, inverted)] {
                            self.add(
                                logic_shifted(width, op, invert, rd, rn, rm, (shift, amount)),
                                format!("{name} {d}, {n}, {m}, {by} #{amount}"),
                            );
                        }
                    }
                    let value = u64::MAX >> (63 - 2 * u32::from(rd.number()).min(30));
                    let mask = BitMask::new(width, value).or(BitMask::new(width, 0xf0));
                    let shown = BitMask::new(width, value).map_or(0xf0, |_| value);
                    let shown = if width == Width::W32 { shown & 0xffff_ffff } else { shown };
                    let to = if op == Logic::Ands { r(width, rd) } else { s(width, rd) };
                    self.add(
                        logic_imm(width, op, rd, rn, mask.unwrap()),
                        format!("{name} {to}, {n}, #{shown:#x}"),
                    );
                }
            }
            for (rd, rn, _, _) in registers().take(31) {
                let text = format!("mov {}, {}", r(width, rd), r(width, rn));
                self.add(mov(width, rd, rn), text);
            }
        }
        for value in masks() {
            let mask = BitMask::new(Width::W64, value).unwrap();
            let text = format!("orr x1, x2, #{value:#x}");
            self.add(logic_imm(Width::W64, Logic::Orr, x(1), x(2), mask), text);
            if value >> 32 == value & 0xffff_ffff {
                let value = value as u32;
                let mask = BitMask::new(Width::W32, value.into()).unwrap();
                let text = format!("and w3, w4, #{value:#x}");
                self.add(logic_imm(Width::W32, Logic::And, x(3), x(4), mask), text);
            }
        }
    }

    fn moves(&mut self) {
        let all = [(MoveWide::Movn, "movn"), (MoveWide::Movz, "movz"), (MoveWide::Movk, "movk")];
        for width in WIDTHS {
            for (op, name) in all {
                for (rd, _, _, _) in registers() {
                    for part in 0..width.bits() / 16 {
                        let imm = 0x8001_u16.rotate_left(rd.number().into()) ^ part as u16;
                        let text = format!("{name} {}, #{imm}, lsl #{}", r(width, rd), part * 16);
                        self.add(move_wide(width, op, rd, imm, part), text);
                    }
                }
            }
        }
    }

    fn bitfields(&mut self) {
        for width in WIDTHS {
            let bits = width.bits();
            for (rd, rn, rm, _) in registers() {
                let (d, n, m) = (r(width, rd), r(width, rn), r(width, rm));
                let by = (u32::from(rd.number()) * 5 + 1) % bits;
                for (op, name) in
                    [(Bitfield::Sbfm, "sbfm"), (Bitfield::Bfm, "bfm"), (Bitfield::Ubfm, "ubfm")]
                {
                    let last = (by * 3 + 2) % bits;
                    let text = format!("{name} {d}, {n}, #{by}, #{last}");
                    self.add(bitfield(width, op, rd, rn, by, last), text);
                }
                let many = (bits - by).min(u32::from(rn.number()) + 1);
                self.add(ubfx(width, rd, rn, by, many), format!("ubfx {d}, {n}, #{by}, #{many}"));
                self.add(sbfx(width, rd, rn, by, many), format!("sbfx {d}, {n}, #{by}, #{many}"));
                self.add(extract(width, rd, rn, rm, by), format!("extr {d}, {n}, {m}, #{by}"));
            }
            for (shift, name) in SHIFTS {
                for amount in 0..bits {
                    let text = format!("{name} {}, {}, #{amount}", r(width, x(5)), r(width, x(6)));
                    self.add(shift_imm(width, shift, x(5), x(6), amount), text);
                }
            }
        }
    }

    fn products(&mut self) {
        for (rd, rn, rm, ra) in registers() {
            for width in WIDTHS {
                let (d, n, m, a) = (r(width, rd), r(width, rn), r(width, rm), r(width, ra));
                for (op, name) in [(Multiply::Madd, "madd"), (Multiply::Msub, "msub")] {
                    let text = format!("{name} {d}, {n}, {m}, {a}");
                    self.add(multiply(width, op, rd, rn, rm, ra), text);
                }
                for (op, name) in [
                    (Binary::Udiv, "udiv"),
                    (Binary::Sdiv, "sdiv"),
                    (Binary::Lslv, "lslv"),
                    (Binary::Lsrv, "lsrv"),
                    (Binary::Asrv, "asrv"),
                    (Binary::Rorv, "rorv"),
                ] {
                    self.add(binary(width, op, rd, rn, rm), format!("{name} {d}, {n}, {m}"));
                }
                for (op, name) in [
                    (Unary::Rbit, "rbit"),
                    (Unary::Rev16, "rev16"),
                    (Unary::Rev32, if width == Width::W64 { "rev32" } else { "rev" }),
                    (Unary::Clz, "clz"),
                    (Unary::Cls, "cls"),
                ] {
                    self.add(unary(width, op, rd, rn), format!("{name} {d}, {n}"));
                }
            }
            let (d, a) = (xr(rd), xr(ra));
            let (n, m) = (r(Width::W32, rn), r(Width::W32, rm));
            for (op, name) in [
                (Multiply::Smaddl, "smaddl"),
                (Multiply::Smsubl, "smsubl"),
                (Multiply::Umaddl, "umaddl"),
                (Multiply::Umsubl, "umsubl"),
            ] {
                let text = format!("{name} {d}, {n}, {m}, {a}");
                self.add(multiply(Width::W64, op, rd, rn, rm, ra), text);
            }
            for (op, name) in [(Multiply::Smulh, "smulh"), (Multiply::Umulh, "umulh")] {
                let text = format!("{name} {d}, {}, {}", xr(rn), xr(rm));
                self.add(multiply(Width::W64, op, rd, rn, rm, ZR), text);
            }
            self.add(unary(Width::W64, Unary::Rev64, rd, rn), format!("rev {d}, {}", xr(rn)));
        }
    }

    fn conditions(&mut self) {
        for (condition, name) in Condition::ALL.into_iter().zip(CONDITIONS) {
            for (rd, rn, rm, ra) in registers() {
                for width in WIDTHS {
                    let (d, n, m) = (r(width, rd), r(width, rn), r(width, rm));
                    for (op, mnemonic) in [
                        (Select::Csel, "csel"),
                        (Select::Csinc, "csinc"),
                        (Select::Csinv, "csinv"),
                        (Select::Csneg, "csneg"),
                    ] {
                        let text = format!("{mnemonic} {d}, {n}, {m}, {name}");
                        self.add(select(width, op, rd, rn, rm, condition), text);
                    }
                    self.add(set_if(width, rd, condition), format!("cset {d}, {name}"));
                    let (imm, nzcv) = (u32::from(ra.number()), u32::from(rd.number()) & 15);
                    let text = format!("ccmp {n}, {m}, #{nzcv}, {name}");
                    self.add(compare_if(width, rn, rm, nzcv, condition), text);
                    let text = format!("ccmp {n}, #{imm}, #{nzcv}, {name}");
                    self.add(compare_imm_if(width, rn, imm, nzcv, condition), text);
                }
            }
        }
    }

    fn branches(&mut self) {
        for words in [0, 1, -1, 1000, -1000, (1 << 25) - 1, -(1 << 25)] {
            self.add(b(false, words), format!("b #{}", i64::from(words) * 4));
            self.add(b(true, words), format!("bl #{}", i64::from(words) * 4));
        }
        for words in [0, 1, -1, 1000, -1000, (1 << 18) - 1, -(1 << 18)] {
            for (condition, name) in Condition::ALL.into_iter().zip(CONDITIONS) {
                self.add(b_cond(condition, words), format!("b.{name} #{}", words * 4));
            }
            for (rd, _, _, _) in registers() {
                for width in WIDTHS {
                    let to = format!("{}, #{}", r(width, rd), words * 4);
                    self.add(cbz(width, false, rd, words), format!("cbz {to}"));
                    self.add(cbz(width, true, rd, words), format!("cbnz {to}"));
                }
            }
        }
        for words in [0, 1, -1, 1000, -1000, (1 << 13) - 1, -(1 << 13)] {
            for (rd, rn, _, _) in registers() {
                for bit in [u32::from(rn.number()), u32::from(rn.number()) + 32] {
                    let to = format!("{}, #{bit}, #{}", xr(rd), words * 4);
                    self.add(tbz(false, rd, bit, words), format!("tbz {to}"));
                    self.add(tbz(true, rd, bit, words), format!("tbnz {to}"));
                }
            }
        }
        for (rd, _, _, _) in registers() {
            self.add(indirect(Indirect::Br, rd), format!("br {}", xr(rd)));
            self.add(indirect(Indirect::Blr, rd), format!("blr {}", xr(rd)));
            self.add(indirect(Indirect::Ret, rd), format!("ret {}", xr(rd)));
            for bytes in [0, 1, -1, 5, (1 << 20) - 1, -(1 << 20)] {
                self.add(adr(rd, bytes), format!("adr {}, #{bytes}", xr(rd)));
            }
        }
    }

    fn system(&mut self) {
        self.add(NOP, "nop");
        self.add(BTI_C, "bti c");
        self.add(BTI_J, "bti j");
        self.add(BTI_JC, "bti jc");
        self.add(DMB_ISH, "dmb ish");
        self.add(DMB_ISHLD, "dmb ishld");
        self.add(DMB_ISHST, "dmb ishst");
        for number in [0, 1, 0x1234, 0xffff] {
            self.add(brk(number), format!("brk #{number}"));
        }
        for (rd, rn, _, _) in registers() {
            let (v, u) = (rd.number(), rn.number());
            self.add(fmov_to(Vector(v), rn), format!("fmov d{v}, {}", xr(rn)));
            self.add(fmov_from(Width::W64, rd, Vector(u)), format!("fmov {}, d{u}", xr(rd)));
            let text = format!("fmov {}, s{u}", r(Width::W32, rd));
            self.add(fmov_from(Width::W32, rd, Vector(u)), text);
            self.add(cnt(Vector(v), Vector(u)), format!("cnt v{v}.8b, v{u}.8b"));
            self.add(addv(Vector(v), Vector(u)), format!("addv b{v}, v{u}.8b"));
        }
    }

    fn transfers(&mut self) {
        let (w32, w64) = (Width::W32, Width::W64);
        for (op, width, suffix, load) in [
            (Transfer::store(Size::B), w32, "b", "st"),
            (Transfer::store(Size::H), w32, "h", "st"),
            (Transfer::store(Size::W), w32, "", "st"),
            (Transfer::store(Size::Dw), w64, "", "st"),
            (Transfer::load(Size::B), w32, "b", "ld"),
            (Transfer::load(Size::H), w32, "h", "ld"),
            (Transfer::load(Size::W), w32, "", "ld"),
            (Transfer::load(Size::Dw), w64, "", "ld"),
            (Transfer::load_signed(Size::B, w32), w32, "sb", "ld"),
            (Transfer::load_signed(Size::H, w32), w32, "sh", "ld"),
            (Transfer::load_signed(Size::B, w64), w64, "sb", "ld"),
            (Transfer::load_signed(Size::H, w64), w64, "sh", "ld"),
            (Transfer::load_signed(Size::W, w64), w64, "sw", "ld"),
        ] {
            let scale = op.bytes().trailing_zeros();
            for (rt, rn, rm, ra) in registers() {
                let (t, base) = (r(width, rt), s(w64, rn));
                let units =
                    [0, 1, 4095, u32::from(ra.number()) * 128 + 5][usize::from(rt.number()) % 4];
                self.add(
                    transfer_scaled(op, rt, rn, units),
                    format!("{load}r{suffix} {t}, [{base}, #{}]", units * op.bytes()),
                );
                let offset =
                    [-256, 255, -1, i32::from(ra.number()) * 8 - 133][usize::from(rt.number()) % 4];
                self.add(
                    transfer_unscaled(op, rt, rn, offset, Index::None),
                    format!("{load}ur{suffix} {t}, [{base}, #{offset}]"),
                );
                // A transfer that moves its own base is not a defined instruction.
                if rt != rn || rt.number() == 31 {
                    self.add(
                        transfer_unscaled(op, rt, rn, offset, Index::Post),
                        format!("{load}r{suffix} {t}, [{base}], #{offset}"),
                    );
                    self.add(
                        transfer_unscaled(op, rt, rn, offset, Index::Pre),
                        format!("{load}r{suffix} {t}, [{base}, #{offset}]!"),
                    );
                }
                for (extension, by) in EXTENSIONS.into_iter().filter(|(e, _)| *e as u32 & 2 != 0) {
                    for scaled in [false, true] {
                        let wide = matches!(extension, Extension::Uxtx | Extension::Sxtx);
                        let index = r(if wide { w64 } else { w32 }, rm);
                        let by = if extension == Extension::Uxtx { "lsl" } else { by };
                        // `lsl #0` is written for the form with the bit that scales.
                        let tail = match (scaled, by) {
                            (true, _) => format!(", {by} #{scale}"),
                            (false, "lsl") => String::new(),
                            (false, _) => format!(", {by}"),
                        };
                        self.add(
                            transfer_register(op, rt, rn, rm, (extension, scaled)),
                            format!("{load}r{suffix} {t}, [{base}, {index}{tail}]"),
                        );
                    }
                }
            }
        }
    }

    fn pairs(&mut self) {
        for width in WIDTHS {
            let scale = width.bits() as i32 / 8;
            for (rt, rn, rt2, ra) in registers() {
                if rt == rt2 || (rt == rn || rt2 == rn) && rn.number() != 31 {
                    continue;
                }
                let units = [-64, 63, -1, i32::from(ra.number())][usize::from(rt.number()) % 4];
                let (both, base) =
                    (format!("{}, {}", r(width, rt), r(width, rt2)), s(Width::W64, rn));
                for (load, name) in [(false, "stp"), (true, "ldp")] {
                    for (index, place) in [
                        (Index::None, format!("[{base}, #{}]", units * scale)),
                        (Index::Post, format!("[{base}], #{}", units * scale)),
                        (Index::Pre, format!("[{base}, #{}]!", units * scale)),
                    ] {
                        let word = pair(width, load, (rt, rt2), rn, units, index);
                        self.add(word, format!("{name} {both}, {place}"));
                    }
                }
            }
        }
    }

    fn atomics(&mut self) {
        for (size, width, suffix) in [
            (Size::B, Width::W32, "b"),
            (Size::H, Width::W32, "h"),
            (Size::W, Width::W32, ""),
            (Size::Dw, Width::W64, ""),
        ] {
            for (rt, rn, rs, _) in registers() {
                let (t, base, status) = (r(width, rt), s(Width::W64, rn), r(Width::W32, rs));
                self.add(ldar(size, rt, rn), format!("ldar{suffix} {t}, [{base}]"));
                self.add(stlr(size, rt, rn), format!("stlr{suffix} {t}, [{base}]"));
                self.add(ldxr(size, false, rt, rn), format!("ldxr{suffix} {t}, [{base}]"));
                self.add(ldxr(size, true, rt, rn), format!("ldaxr{suffix} {t}, [{base}]"));
                if rs != rt && rs != rn {
                    let to = format!("{suffix} {status}, {t}, [{base}]");
                    self.add(stxr(size, false, rs, rt, rn), format!("stxr{to}"));
                    self.add(stxr(size, true, rs, rt, rn), format!("stlxr{to}"));
                }
                for (acquire, release, order) in
                    [(false, false, ""), (true, false, "a"), (false, true, "l"), (true, true, "al")]
                {
                    let ordering = Ordering { acquire, release };
                    let operands = format!("{order}{suffix} {}, {t}, [{base}]", r(width, rs));
                    for (op, name) in [
                        (Fetch::Ldadd, "ldadd"),
                        (Fetch::Ldclr, "ldclr"),
                        (Fetch::Ldeor, "ldeor"),
                        (Fetch::Ldset, "ldset"),
                        (Fetch::Swp, "swp"),
                    ] {
                        let text = format!("{name}{operands}");
                        self.add(fetch(op, size, ordering, rs, rt, rn), text);
                    }
                    self.add(cas(size, ordering, rs, rt, rn), format!("cas{operands}"));
                }
            }
        }
    }
}

/// The register that a name written by [`r`] means.
fn reg(name: &str) -> Gpr {
    match &name[1..] {
        "zr" => ZR,
        number => x(number.parse().unwrap()),
    }
}

/// Every number that is a bit mask for 64-bit operations.
fn masks() -> Vec<u64> {
    let mut masks = Vec::new();
    for size in [2, 4, 8, 16, 32, 64] {
        for ones in 1..size {
            for by in 0..size {
                let run = u64::MAX >> (64 - ones);
                let part = run << by | if by == 0 { 0 } else { run >> (size - by) };
                let part = part & u64::MAX >> (64 - size);
                masks.push((0..64 / size).fold(0, |mask, index| mask | part << (index * size)));
            }
        }
    }
    masks
}

fn samples() -> Vec<(u32, String)> {
    let mut samples = Samples(Vec::new());
    samples.additions();
    samples.logic();
    samples.moves();
    samples.bitfields();
    samples.products();
    samples.conditions();
    samples.branches();
    samples.system();
    samples.transfers();
    samples.pairs();
    samples.atomics();
    samples.0
}

/// What LLVM's assembler makes of the texts, one word each.
fn assembled(texts: &str) -> Option<Vec<u32>> {
    let mut child = Command::new("llvm-mc-19")
        .args(["--assemble", "-triple=aarch64", "-mattr=+v8.5a,+lse,+bti", "--show-encoding"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    let input = texts.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().ok()?;
    writer.join().unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}", &errors[..errors.len().min(4000)]);
    let words = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once("encoding: ["))
        .map(|(_, bytes)| {
            let bytes = bytes.trim_end_matches(']').split(',').enumerate();
            bytes.fold(0, |word, (index, byte)| {
                let byte = u32::from_str_radix(byte.trim_start_matches("0x"), 16).unwrap();
                word | byte << (index * 8)
            })
        })
        .collect();
    Some(words)
}

#[test]
fn every_word_is_what_llvm_makes_of_the_text() {
    let samples = samples();
    let texts = samples.iter().fold(String::new(), |mut texts, (_, text)| {
        writeln!(texts, "{text}").unwrap();
        texts
    });
    let Some(words) = assembled(&texts) else {
        println!("skipped: llvm-mc-19 is not installed");
        return;
    };
    assert_eq!(words.len(), samples.len());
    let mut wrong = 0;
    for ((word, text), expected) in samples.iter().zip(words) {
        if *word != expected {
            wrong += 1;
            println!("{text}: {word:08x}, LLVM has {expected:08x}");
        }
    }
    println!("{} instructions compared with LLVM", samples.len());
    assert_eq!(wrong, 0);
}

/// FNV-1a over all words, which LLVM 19 confirmed.
#[test]
fn words_are_those_that_were_confirmed() {
    let digest = samples().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, (word, _)| {
        (hash ^ u64::from(*word)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(digest, 5178828036611132401, "{} words", samples().len());
}

#[test]
fn numbers_are_masks_or_not() {
    let masks = masks();
    let mut all = masks.clone();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 5334);
    // Neighbours of masks are mostly no masks; LLVM's assembler is not asked, the table decides.
    for mask in &masks {
        for value in [mask ^ 1, mask ^ 1 << 63, mask ^ 0x10_0000, mask.wrapping_add(1)] {
            let is_mask = all.binary_search(&value).is_ok();
            assert_eq!(BitMask::new(Width::W64, value).is_some(), is_mask, "{value:#x}");
        }
    }
    for value in [0, u64::MAX] {
        assert_eq!(BitMask::new(Width::W64, value), None);
        assert_eq!(BitMask::new(Width::W32, value), None);
    }
}
