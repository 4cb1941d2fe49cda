//! Every method over all registers and classes of immediates and displacements, read back by an
//! independent disassembler.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::*;

/// An operand as the disassembler reads it: the size is in bytes, 0 where it means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operand {
    Reg(usize, u8),
    Mem(usize, Mem),
    Imm(i64),
}

fn bytes(bits: Bits) -> usize {
    match bits {
        Bits::B8 => 1,
        Bits::B16 => 2,
        Bits::B32 => 4,
        Bits::B64 => 8,
    }
}

fn reg(bits: Bits, reg: Gpr) -> Operand {
    Operand::Reg(bytes(bits), reg.number())
}

fn rm(bits: Bits, rm: Rm) -> Operand {
    match rm {
        Rm::Reg(gpr) => reg(bits, gpr),
        Rm::Mem(mem) => Operand::Mem(bytes(bits), mem),
    }
}

/// An immediate as an operation of a size takes it.
fn imm(bits: Bits, imm: i32) -> Operand {
    Operand::Imm(match bits {
        Bits::B8 => i64::from(imm as i8),
        Bits::B16 => i64::from(imm as i16),
        Bits::B32 | Bits::B64 => i64::from(imm),
    })
}

fn gpr_of(register: Register) -> Option<Gpr> {
    if register == Register::None {
        return None;
    }
    assert!(register.is_gpr64(), "{register:?}");
    Some(Gpr::ALL[register.number()])
}

fn operand(instruction: &Instruction, index: u32) -> Operand {
    match instruction.op_kind(index) {
        OpKind::Register => {
            let register = instruction.op_register(index);
            let high = [Register::AH, Register::BH, Register::CH, Register::DH];
            assert!(!high.contains(&register), "{register:?}");
            let number = match register {
                Register::SPL => 4,
                Register::BPL => 5,
                Register::SIL => 6,
                Register::DIL => 7,
                _ if register.is_gpr8() && register.number() > 7 => {
                    register.full_register().number() as u8
                }
                other => other.full_register().number() as u8,
            };
            Operand::Reg(register.size(), number)
        }
        OpKind::Memory => {
            let scale = match instruction.memory_index_scale() {
                1 => Scale::X1,
                2 => Scale::X2,
                4 => Scale::X4,
                _ => Scale::X8,
            };
            let mem = Mem {
                base: gpr_of(instruction.memory_base()),
                index: gpr_of(instruction.memory_index()).map(|index| (index, scale)),
                disp: instruction.memory_displacement64() as i32,
            };
            Operand::Mem(instruction.memory_size().size(), mem)
        }
        OpKind::Immediate8 => Operand::Imm(i64::from(instruction.immediate8() as i8)),
        OpKind::Immediate16 => Operand::Imm(i64::from(instruction.immediate16() as i16)),
        OpKind::Immediate32 => Operand::Imm(i64::from(instruction.immediate32() as i32)),
        OpKind::Immediate64 => Operand::Imm(instruction.immediate64() as i64),
        OpKind::Immediate8to16 => Operand::Imm(instruction.immediate8to16().into()),
        OpKind::Immediate8to32 => Operand::Imm(instruction.immediate8to32().into()),
        OpKind::Immediate8to64 => Operand::Imm(instruction.immediate8to64()),
        OpKind::Immediate32to64 => Operand::Imm(instruction.immediate32to64()),
        other => panic!("{other:?} in {instruction:?}"),
    }
}

fn decode(code: &[u8]) -> Instruction {
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let instruction = decoder.decode();
    assert!(!instruction.is_invalid(), "{code:02x?}");
    assert_eq!(instruction.len(), code.len(), "{code:02x?}");
    instruction
}

fn encode(emit: impl FnOnce(&mut Asm)) -> Vec<u8> {
    let mut asm = Asm::default();
    emit(&mut asm);
    asm.finish()
}

#[track_caller]
fn expect(emit: impl FnOnce(&mut Asm), mnemonic: Mnemonic, operands: &[Operand]) {
    let code = encode(emit);
    let instruction = decode(&code);
    assert_eq!(instruction.mnemonic(), mnemonic, "{code:02x?}");
    let found: Vec<Operand> =
        (0..instruction.op_count()).map(|index| operand(&instruction, index)).collect();
    assert_eq!(found, operands, "{mnemonic:?} {code:02x?}");
}

const DISPS: [i32; 8] = [0, 1, -1, 127, -128, 128, -129, i32::MIN];
const IMMS: [i32; 9] = [0, 1, -1, 127, -128, 128, 255, 0x1234_5678, i32::MIN];
const WIDE: [Bits; 2] = [Bits::B32, Bits::B64];
const FROM_16: [Bits; 3] = [Bits::B16, Bits::B32, Bits::B64];

/// Memory operands of every shape: each register as base with each displacement, and as index.
fn mems() -> Vec<Mem> {
    let mut mems = Vec::new();
    for base in Gpr::ALL {
        mems.extend(DISPS.map(|disp| Mem::at(base, disp)));
    }
    let scales = [Scale::X1, Scale::X2, Scale::X4, Scale::X8];
    for (at, index) in Gpr::ALL.into_iter().filter(|reg| *reg != Gpr::Rsp).enumerate() {
        for base in Gpr::ALL {
            for disp in [0, -8, 1000] {
                mems.push(Mem::indexed(base, index, scales[at % 4], disp));
            }
        }
        for scale in scales {
            // The disassembler reads an index that is not scaled and no base as such.
            mems.push(Mem::scaled(index, scale, 16));
        }
    }
    mems
}

/// Register and memory operands.
fn rms() -> Vec<Rm> {
    Gpr::ALL.into_iter().map(Rm::Reg).chain(mems().into_iter().map(Rm::Mem)).collect()
}

/// Fewer, for operations that encode them as others do.
fn few_rms() -> Vec<Rm> {
    let mem = [Mem::at(Gpr::R13, 0), Mem::indexed(Gpr::R12, Gpr::R10, Scale::X1, -8)];
    Gpr::ALL.into_iter().map(Rm::Reg).chain(mem.map(Rm::Mem)).collect()
}

fn few_mems() -> [Mem; 4] {
    [
        Mem::at(Gpr::Rbp, 0),
        Mem::at(Gpr::R12, 300),
        Mem::indexed(Gpr::R12, Gpr::R10, Scale::X1, -8),
        Mem::indexed(Gpr::R12, Gpr::Rdi, Scale::X8, 0),
    ]
}

const ALU: [Mnemonic; 8] = [
    Mnemonic::Add,
    Mnemonic::Or,
    Mnemonic::Adc,
    Mnemonic::Sbb,
    Mnemonic::And,
    Mnemonic::Sub,
    Mnemonic::Xor,
    Mnemonic::Cmp,
];

#[test]
fn arithmetic() {
    for (op, mnemonic) in Alu::ALL.into_iter().zip(ALU) {
        for bits in Bits::ALL {
            for dst in if op == Alu::Add { rms() } else { few_rms() } {
                for src in Gpr::ALL {
                    let (d, s) = (rm(bits, dst), reg(bits, src));
                    expect(|asm| asm.alu(op, bits, dst, src), mnemonic, &[d, s]);
                    expect(|asm| asm.alu_from(op, bits, src, dst), mnemonic, &[s, d]);
                }
                for value in IMMS {
                    let operands = [rm(bits, dst), imm(bits, value)];
                    expect(|asm| asm.alu_imm(op, bits, dst, value), mnemonic, &operands);
                }
            }
            for mem in few_mems() {
                if !matches!(op, Alu::Cmp) {
                    let operands = [rm(bits, mem.into()), reg(bits, Gpr::Rsi)];
                    let code = encode(|asm| asm.lock_alu(op, bits, mem, Gpr::Rsi));
                    assert!(decode(&code).has_lock_prefix());
                    expect(|asm| asm.lock_alu(op, bits, mem, Gpr::Rsi), mnemonic, &operands);
                }
            }
        }
    }
}

#[test]
fn comparisons_and_moves() {
    for bits in Bits::ALL {
        for dst in rms() {
            for src in [Gpr::Rax, Gpr::Rsi, Gpr::R9] {
                let (d, s) = (rm(bits, dst), reg(bits, src));
                expect(|asm| asm.test(bits, dst, src), Mnemonic::Test, &[d, s]);
                expect(|asm| asm.mov(bits, dst, src), Mnemonic::Mov, &[d, s]);
            }
            for value in IMMS {
                let operands = [rm(bits, dst), imm(bits, value)];
                expect(|asm| asm.test_imm(bits, dst, value), Mnemonic::Test, &operands);
                if let Rm::Mem(mem) = dst {
                    expect(|asm| asm.store_imm(bits, mem, value), Mnemonic::Mov, &operands);
                }
            }
        }
        for src in Gpr::ALL {
            for mem in few_mems() {
                let operands = [reg(bits, src), rm(bits, mem.into())];
                expect(|asm| asm.load(bits, src, mem), Mnemonic::Mov, &operands);
            }
        }
    }
}

#[test]
fn immediates() {
    for dst in Gpr::ALL {
        for value in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
            let code = encode(|asm| asm.mov_imm(dst, value));
            let operands = [reg(Bits::B32, dst), Operand::Imm(i64::from(value as u32 as i32))];
            expect(|asm| asm.mov_imm(dst, value), Mnemonic::Mov, &operands);
            assert!(code.len() <= 6);
        }
        for value in [u64::MAX, i64::from(i32::MIN) as u64, 1 << 32, 0x1234_5678_9abc_def0] {
            let operands = [reg(Bits::B64, dst), Operand::Imm(value as i64)];
            expect(|asm| asm.mov_imm(dst, value), Mnemonic::Mov, &operands);
        }
        expect(|asm| asm.zero(dst), Mnemonic::Xor, &[reg(Bits::B32, dst), reg(Bits::B32, dst)]);
    }
}

#[test]
fn extensions() {
    for dst in Gpr::ALL {
        for src in few_rms() {
            for from in [Bits::B8, Bits::B16] {
                let operands = [reg(Bits::B32, dst), rm(from, src)];
                expect(|asm| asm.movzx(from, dst, src), Mnemonic::Movzx, &operands);
                for to in WIDE {
                    let operands = [reg(to, dst), rm(from, src)];
                    expect(|asm| asm.movsx(to, from, dst, src), Mnemonic::Movsx, &operands);
                }
            }
            let operands = [reg(Bits::B64, dst), rm(Bits::B32, src)];
            let emit = |asm: &mut Asm| asm.movsx(Bits::B64, Bits::B32, dst, src);
            expect(emit, Mnemonic::Movsxd, &operands);
        }
        for mem in few_mems() {
            for bits in FROM_16 {
                let (d, m) = (reg(bits, dst), rm(bits, mem.into()));
                expect(|asm| asm.movbe_load(bits, dst, mem), Mnemonic::Movbe, &[d, m]);
                expect(|asm| asm.movbe_store(bits, mem, dst), Mnemonic::Movbe, &[m, d]);
            }
        }
        for mem in mems() {
            for bits in WIDE {
                let operands = [reg(bits, dst), Operand::Mem(0, mem)];
                expect(|asm| asm.lea(bits, dst, mem), Mnemonic::Lea, &operands);
            }
        }
    }
}

#[test]
fn shifts() {
    let mnemonics = [Mnemonic::Rol, Mnemonic::Ror, Mnemonic::Shl, Mnemonic::Shr, Mnemonic::Sar];
    let cl = Operand::Reg(1, Gpr::Rcx.number());
    for (op, mnemonic) in Shift::ALL.into_iter().zip(mnemonics) {
        for bits in Bits::ALL {
            for dst in few_rms() {
                for count in [1, 2, 31, 63] {
                    let operands = [rm(bits, dst), Operand::Imm(count.into())];
                    expect(|asm| asm.shift_imm(op, bits, dst, count), mnemonic, &operands);
                }
                expect(|asm| asm.shift_cl(op, bits, dst), mnemonic, &[rm(bits, dst), cl]);
            }
        }
    }
    let three =
        [(Shift::Shl, Mnemonic::Shlx), (Shift::Shr, Mnemonic::Shrx), (Shift::Sar, Mnemonic::Sarx)];
    for bits in WIDE {
        for dst in Gpr::ALL {
            for src in few_rms() {
                for count in Gpr::ALL {
                    for (op, mnemonic) in three {
                        let operands = [reg(bits, dst), rm(bits, src), reg(bits, count)];
                        expect(|asm| asm.shiftx(op, bits, dst, src, count), mnemonic, &operands);
                    }
                    let operands = [reg(bits, dst), reg(bits, count), rm(bits, src)];
                    expect(|asm| asm.mulx(bits, dst, count, src), Mnemonic::Mulx, &operands);
                    expect(|asm| asm.andn(bits, dst, count, src), Mnemonic::Andn, &operands);
                }
                let operands = [reg(bits, dst), rm(bits, src), Operand::Imm(9)];
                expect(|asm| asm.rorx(bits, dst, src, 9), Mnemonic::Rorx, &operands);
                let operands = [reg(bits, dst), rm(bits, src)];
                expect(|asm| asm.blsr(bits, dst, src), Mnemonic::Blsr, &operands);
            }
        }
    }
}

#[test]
fn one_operand() {
    let mnemonics = [
        Mnemonic::Not,
        Mnemonic::Neg,
        Mnemonic::Mul,
        Mnemonic::Imul,
        Mnemonic::Div,
        Mnemonic::Idiv,
    ];
    for (op, mnemonic) in Unary::ALL.into_iter().zip(mnemonics) {
        for bits in Bits::ALL {
            for dst in rms() {
                expect(|asm| asm.unary(op, bits, dst), mnemonic, &[rm(bits, dst)]);
            }
        }
    }
    for number in Gpr::ALL {
        for bits in WIDE {
            expect(|asm| asm.bswap(bits, number), Mnemonic::Bswap, &[reg(bits, number)]);
        }
        expect(|asm| asm.push(number), Mnemonic::Push, &[reg(Bits::B64, number)]);
        expect(|asm| asm.pop(number), Mnemonic::Pop, &[reg(Bits::B64, number)]);
    }
    for target in rms() {
        let operand = [rm(Bits::B64, target)];
        expect(|asm| asm.call_rm(target), Mnemonic::Call, &operand);
        expect(|asm| asm.jmp_rm(target), Mnemonic::Jmp, &operand);
        if let Rm::Mem(mem) = target {
            expect(|asm| asm.push_mem(mem), Mnemonic::Push, &operand);
        }
    }
    for (bits, mnemonic) in
        [(Bits::B16, Mnemonic::Cwd), (Bits::B32, Mnemonic::Cdq), (Bits::B64, Mnemonic::Cqo)]
    {
        expect(|asm| asm.sign_to_rdx(bits), mnemonic, &[]);
    }
    expect(Asm::ret, Mnemonic::Ret, &[]);
    expect(Asm::ud2, Mnemonic::Ud2, &[]);
    expect(Asm::int3, Mnemonic::Int3, &[]);
    expect(Asm::endbr64, Mnemonic::Endbr64, &[]);
    expect(Asm::mfence, Mnemonic::Mfence, &[]);
}

#[test]
fn multiplication_counting_and_conditions() {
    let counts = [Mnemonic::Popcnt, Mnemonic::Tzcnt, Mnemonic::Lzcnt];
    let set = [
        Mnemonic::Seto,
        Mnemonic::Setno,
        Mnemonic::Setb,
        Mnemonic::Setae,
        Mnemonic::Sete,
        Mnemonic::Setne,
        Mnemonic::Setbe,
        Mnemonic::Seta,
        Mnemonic::Sets,
        Mnemonic::Setns,
        Mnemonic::Setp,
        Mnemonic::Setnp,
        Mnemonic::Setl,
        Mnemonic::Setge,
        Mnemonic::Setle,
        Mnemonic::Setg,
    ];
    let moved = [
        Mnemonic::Cmovo,
        Mnemonic::Cmovno,
        Mnemonic::Cmovb,
        Mnemonic::Cmovae,
        Mnemonic::Cmove,
        Mnemonic::Cmovne,
        Mnemonic::Cmovbe,
        Mnemonic::Cmova,
        Mnemonic::Cmovs,
        Mnemonic::Cmovns,
        Mnemonic::Cmovp,
        Mnemonic::Cmovnp,
        Mnemonic::Cmovl,
        Mnemonic::Cmovge,
        Mnemonic::Cmovle,
        Mnemonic::Cmovg,
    ];
    for src in few_rms() {
        for bits in FROM_16 {
            for dst in Gpr::ALL {
                let operands = [reg(bits, dst), rm(bits, src)];
                expect(|asm| asm.imul(bits, dst, src), Mnemonic::Imul, &operands);
                for (op, mnemonic) in Count::ALL.into_iter().zip(counts) {
                    expect(|asm| asm.count(op, bits, dst, src), mnemonic, &operands);
                }
                for (cc, mnemonic) in Cc::ALL.into_iter().zip(moved) {
                    expect(|asm| asm.cmov(cc, bits, dst, src), mnemonic, &operands);
                }
                for value in IMMS {
                    let operands = [reg(bits, dst), rm(bits, src), imm(bits, value)];
                    expect(|asm| asm.imul_imm(bits, dst, src, value), Mnemonic::Imul, &operands);
                }
            }
        }
        for (cc, mnemonic) in Cc::ALL.into_iter().zip(set) {
            expect(|asm| asm.setcc(cc, src), mnemonic, &[rm(Bits::B8, src)]);
        }
    }
}

#[test]
fn atomics() {
    for bits in Bits::ALL {
        for src in Gpr::ALL {
            for mem in few_mems() {
                let operands = [rm(bits, mem.into()), reg(bits, src)];
                expect(|asm| asm.lock_xadd(bits, mem, src), Mnemonic::Xadd, &operands);
                expect(|asm| asm.lock_cmpxchg(bits, mem, src), Mnemonic::Cmpxchg, &operands);
                expect(|asm| asm.xchg(bits, mem, src), Mnemonic::Xchg, &operands);
                let locked = [
                    encode(|asm| asm.lock_xadd(bits, mem, src)),
                    encode(|asm| asm.lock_cmpxchg(bits, mem, src)),
                ];
                assert!(locked.iter().all(|code| decode(code).has_lock_prefix()));
            }
            for dst in Gpr::ALL {
                // The disassembler prints the operands in the other order; they are equals.
                let code = encode(|asm| asm.xchg(bits, dst, src));
                let instruction = decode(&code);
                let mut found = [operand(&instruction, 0), operand(&instruction, 1)];
                let mut wanted = [reg(bits, dst), reg(bits, src)];
                found.sort_by_key(|operand| format!("{operand:?}"));
                wanted.sort_by_key(|operand| format!("{operand:?}"));
                assert_eq!((instruction.mnemonic(), found), (Mnemonic::Xchg, wanted));
            }
        }
    }
}

#[test]
fn vectors() {
    for number in 0..16 {
        for mem in few_mems() {
            let (x, m) = (Operand::Reg(16, number), Operand::Mem(16, mem));
            let vector = |code: Vec<u8>| {
                let instruction = decode(&code);
                let operand = |index| match instruction.op_kind(index) {
                    OpKind::Register => {
                        let register = instruction.op_register(index);
                        assert!(register.is_xmm());
                        Operand::Reg(16, register.number() as u8)
                    }
                    _ => operand(&instruction, index),
                };
                (instruction.mnemonic(), [operand(0), operand(1)])
            };
            let load = encode(|asm| asm.load128(Xmm(number), mem));
            assert_eq!(vector(load), (Mnemonic::Movups, [x, m]));
            let store = encode(|asm| asm.store128(mem, Xmm(number)));
            assert_eq!(vector(store), (Mnemonic::Movups, [m, x]));
            let zero = encode(|asm| asm.zero128(Xmm(number)));
            assert_eq!(vector(zero), (Mnemonic::Xorps, [x, x]));
        }
    }
}

#[test]
fn padding_does_nothing() {
    for len in 1..=9 {
        let code = encode(|asm| asm.nop(len));
        assert_eq!((decode(&code).mnemonic(), code.len()), (Mnemonic::Nop, len));
    }
    for start in 0..32 {
        let code = encode(|asm| {
            (0..start).for_each(|_| asm.int3());
            asm.align(32);
        });
        assert_eq!(code.len(), if start == 0 { 0 } else { 32 });
        let code = encode(|asm| {
            (0..start).for_each(|_| asm.int3());
            asm.align_after(4, 32);
        });
        assert_eq!(code.len(), if start <= 28 { 28 } else { 60 });
    }
}

/// The target of the jump, call or `lea` at an offset.
fn target(code: &[u8], at: usize) -> (Mnemonic, u64) {
    let mut decoder = Decoder::with_ip(64, &code[at..], at as u64, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let target = match instruction.op0_kind() {
        OpKind::NearBranch64 => instruction.near_branch64(),
        _ => instruction.ip_rel_memory_address(),
    };
    (instruction.mnemonic(), target)
}

#[test]
fn jumps_lead_to_their_labels() {
    for distance in [0, 1, 100, 125, 126, 127, 128, 129, 1000, 70_000] {
        // Forward: always near. The label lies `distance` bytes after the jump.
        for (emit, mnemonic) in [
            (Asm::jmp as fn(&mut Asm, Label), Mnemonic::Jmp),
            (|asm, label| asm.jcc(Cc::A, label), Mnemonic::Ja),
            (Asm::call, Mnemonic::Call),
            (|asm, label| asm.lea_label(Gpr::R9, label), Mnemonic::Lea),
        ] {
            let mut asm = Asm::default();
            let label = asm.label();
            emit(&mut asm, label);
            (0..distance).for_each(|_| asm.int3());
            asm.bind(label);
            let bound = asm.offset() as u64;
            // Backward: short where it fits.
            let back = asm.offset();
            emit(&mut asm, label);
            (0..distance).for_each(|_| asm.int3());
            let far = asm.offset();
            emit(&mut asm, label);
            let code = asm.finish();
            for at in [0, back, far] {
                assert_eq!(target(&code, at), (mnemonic, bound));
            }
        }
    }
    let mut asm = Asm::default();
    let label = asm.label();
    asm.jmp_short(label);
    let second = asm.offset();
    asm.jcc_short(Cc::Ne, label);
    (0..120).for_each(|_| asm.int3());
    asm.bind(label);
    let bound = asm.offset() as u64;
    let code = asm.finish();
    assert_eq!(target(&code, 0), (Mnemonic::Jmp, bound));
    assert_eq!(target(&code, second), (Mnemonic::Jne, bound));
    assert_eq!(second, 2);
}

#[test]
fn short_jumps_that_do_not_reach_are_seen() {
    for (distance, reaches) in [(127, true), (128, false)] {
        let mut asm = Asm::default();
        let label = asm.label();
        let mark = asm.mark();
        asm.jmp_short(label);
        assert!(asm.short_jumps_reach(mark));
        (0..distance).for_each(|_| asm.int3());
        asm.bind(label);
        assert_eq!(asm.short_jumps_reach(mark), reaches, "{distance}");
    }
}

#[test]
fn conditions_are_negated() {
    for cc in Cc::ALL {
        assert_ne!(cc, cc.negated());
        assert_eq!(cc, cc.negated().negated());
    }
    assert_eq!((Cc::L.negated(), Cc::Be.negated()), (Cc::Ge, Cc::A));
}

/// Every method that emits an instruction is called above: a new one needs a test, too.
#[test]
fn every_instruction_is_tested() {
    let tests = include_str!("tests.rs");
    let mut methods = 0;
    for source in [include_str!("integer.rs"), include_str!("special.rs")] {
        for signature in source.split("    pub fn ").skip(1) {
            let (name, _) = signature.split_once('(').expect("a method has parameters");
            methods += 1;
            let is_called = [format!("asm.{name}("), format!("Asm::{name},")]
                .iter()
                .any(|call| tests.contains(call));
            assert!(is_called, "no test of {name}");
        }
    }
    assert!(methods >= 45, "only {methods} methods were found");
}
