//! Moves, arithmetic, shifts, comparisons and control flow on general registers.

use super::encode::{Instruction, Map, Op, Prefix};
use super::short::Short;
use super::{Alu, Asm, Bits, Cc, Gpr, Mem, Rm, Shift, Unary};

impl Asm {
    /// `op dst, src`, where the source is a register.
    #[inline]
    pub fn alu(&mut self, op: Alu, bits: Bits, dst: impl Into<Rm>, src: Gpr) {
        self.move_like((op as u8) << 3, bits, dst.into(), src);
    }

    /// An operation on a register or memory and a register, whose opcode's lowest bit says that
    /// operands are larger than a byte.
    #[inline(always)]
    fn move_like(&mut self, opcode: u8, bits: Bits, dst: Rm, src: Gpr) {
        match dst {
            Rm::Reg(dst) if Asm::is_plain(bits) => {
                self.put_short(Short::registers(opcode | 1, bits, src.number(), dst));
            }
            _ => {
                let op = Op::sized(Map::One, opcode, bits);
                self.put(Instruction::rm(op, src.number(), dst));
            }
        }
    }

    /// `op dst, src`, where the destination is a register and the source may be memory.
    #[inline]
    pub fn alu_from(&mut self, op: Alu, bits: Bits, dst: Gpr, src: impl Into<Rm>) {
        let op = Op::sized(Map::One, (op as u8) << 3 | 2, bits);
        self.put(Instruction::rm(op, dst.number(), src.into()));
    }

    /// `op dst, imm`; 64-bit operations sign-extend the immediate, smaller ones take its low bits.
    #[inline]
    pub fn alu_imm(&mut self, op: Alu, bits: Bits, dst: impl Into<Rm>, imm: i32) {
        let number = op as u8;
        let dst = dst.into();
        if let Rm::Reg(dst) = dst
            && Asm::is_plain(bits)
        {
            self.short_imm(number, bits, dst, imm);
        } else if bits != Bits::B8 && i8::try_from(imm).is_ok() {
            let op = Op::new(Map::One, 0x83, bits);
            self.put(Instruction::rm(op, number, dst).imm8(imm as u8));
        } else {
            let op = Op { byte_reg: false, ..Op::sized(Map::One, 0x80, bits) };
            self.put(Instruction::rm(op, number, dst).imm(bits, imm));
        }
    }

    /// `test dst, src`.
    #[inline]
    pub fn test(&mut self, bits: Bits, dst: impl Into<Rm>, src: Gpr) {
        self.move_like(0x84, bits, dst.into(), src);
    }

    /// `test dst, imm`; immediates as for [`Asm::alu_imm`].
    #[inline]
    pub fn test_imm(&mut self, bits: Bits, dst: impl Into<Rm>, imm: i32) {
        let op = Op { byte_reg: false, ..Op::sized(Map::One, 0xf6, bits) };
        self.put(Instruction::rm(op, 0, dst.into()).imm(bits, imm));
    }

    /// `mov dst, src`: a move between registers or a store.
    #[inline]
    pub fn mov(&mut self, bits: Bits, dst: impl Into<Rm>, src: Gpr) {
        self.move_like(0x88, bits, dst.into(), src);
    }

    /// `mov dst, src` from memory. Loads of 8 and 16 bits leave the other bits as they are.
    #[inline]
    pub fn load(&mut self, bits: Bits, dst: Gpr, src: Mem) {
        let op = Op::sized(Map::One, 0x8a, bits);
        self.put(Instruction::rm(op, dst.number(), src.into()));
    }

    /// Sets all 64 bits of a register in the shortest way that leaves the flags as they are.
    #[inline]
    pub fn mov_imm(&mut self, dst: Gpr, imm: u64) {
        let number = dst.number();
        let high = number >> 3;
        if let Ok(imm) = u32::try_from(imm) {
            self.short_mov_imm(dst, imm);
        } else if let Ok(imm) = i32::try_from(imm as i64) {
            let op = Op::new(Map::One, 0xc7, Bits::B64);
            self.put(Instruction::rm(op, 0, dst.into()).imm32(imm));
        } else {
            self.put(Instruction::of(0x48 | high).then(0xb8 | number & 7).imm64(imm));
        }
    }

    /// Sets a register to 0; changes the flags.
    #[inline]
    pub fn zero(&mut self, dst: Gpr) {
        self.alu(Alu::Xor, Bits::B32, dst, dst);
    }

    /// `mov dst, imm` to memory; immediates as for [`Asm::alu_imm`].
    #[inline]
    pub fn store_imm(&mut self, bits: Bits, dst: Mem, imm: i32) {
        let op = Op { byte_reg: false, ..Op::sized(Map::One, 0xc6, bits) };
        self.put(Instruction::rm(op, 0, dst.into()).imm(bits, imm));
    }

    /// `movzx` from 8 or 16 bits to all 64.
    #[inline]
    pub fn movzx(&mut self, from: Bits, dst: Gpr, src: impl Into<Rm>) {
        debug_assert!(from < Bits::B32, "32-bit moves extend by themselves");
        let byte_rm = from == Bits::B8;
        let opcode = if byte_rm { 0xb6 } else { 0xb7 };
        let op = Op { byte_rm, ..Op::new(Map::X0f, opcode, Bits::B32) };
        self.put(Instruction::rm(op, dst.number(), src.into()));
    }

    /// `movsx` or `movsxd` from 8, 16 or 32 bits to 32 (which clears the upper half) or 64.
    #[inline]
    pub fn movsx(&mut self, to: Bits, from: Bits, dst: Gpr, src: impl Into<Rm>) {
        debug_assert!(from < to && to >= Bits::B32, "{from:?} to {to:?}");
        let byte_rm = from == Bits::B8;
        let op = match from {
            Bits::B8 => Op::new(Map::X0f, 0xbe, to),
            Bits::B16 => Op::new(Map::X0f, 0xbf, to),
            Bits::B32 | Bits::B64 => Op::new(Map::One, 0x63, to),
        };
        self.put(Instruction::rm(Op { byte_rm, ..op }, dst.number(), src.into()));
    }

    /// `movbe dst, src` from memory, of 16 to 64 bits.
    #[inline]
    pub fn movbe_load(&mut self, bits: Bits, dst: Gpr, src: Mem) {
        let op = Op::new(Map::X0f38, 0xf0, bits);
        self.put(Instruction::rm(op, dst.number(), src.into()));
    }

    /// `movbe dst, src` to memory, of 16 to 64 bits.
    #[inline]
    pub fn movbe_store(&mut self, bits: Bits, dst: Mem, src: Gpr) {
        let op = Op::new(Map::X0f38, 0xf1, bits);
        self.put(Instruction::rm(op, src.number(), dst.into()));
    }

    /// `lea`, of 32 or 64 bits.
    #[inline]
    pub fn lea(&mut self, bits: Bits, dst: Gpr, src: Mem) {
        let op = Op::new(Map::One, 0x8d, bits);
        self.put(Instruction::rm(op, dst.number(), src.into()));
    }

    /// `op dst, count`.
    #[inline]
    pub fn shift_imm(&mut self, op: Shift, bits: Bits, dst: impl Into<Rm>, count: u8) {
        let number = op as u8;
        let dst = dst.into();
        if let Rm::Reg(dst) = dst
            && Asm::is_plain(bits)
        {
            self.short_shift(number, bits, dst, count);
        } else if count == 1 {
            let op = Op { byte_reg: false, ..Op::sized(Map::One, 0xd0, bits) };
            self.put(Instruction::rm(op, number, dst));
        } else {
            let op = Op { byte_reg: false, ..Op::sized(Map::One, 0xc0, bits) };
            self.put(Instruction::rm(op, number, dst).imm8(count));
        }
    }

    /// `op dst, cl`.
    #[inline]
    pub fn shift_cl(&mut self, op: Shift, bits: Bits, dst: impl Into<Rm>) {
        let number = op as u8;
        let op = Op { byte_reg: false, ..Op::sized(Map::One, 0xd2, bits) };
        self.put(Instruction::rm(op, number, dst.into()));
    }

    /// `shlx`, `shrx` or `sarx dst, src, count` (BMI2), of 32 or 64 bits.
    #[inline]
    pub fn shiftx(&mut self, op: Shift, bits: Bits, dst: Gpr, src: impl Into<Rm>, count: Gpr) {
        let prefix = match op {
            Shift::Shl => Prefix::P66,
            Shift::Shr => Prefix::F2,
            Shift::Sar => Prefix::F3,
            Shift::Rol | Shift::Ror => {
                debug_assert!(false, "there is no such rotation");
                return;
            }
        };
        let op = Op::new(Map::X0f38, 0xf7, bits).with(prefix);
        self.put(Instruction::vex(op, dst.number(), count.number(), src.into()));
    }

    /// `rorx dst, src, count` (BMI2), of 32 or 64 bits.
    #[inline]
    pub fn rorx(&mut self, bits: Bits, dst: Gpr, src: impl Into<Rm>, count: u8) {
        let op = Op::new(Map::X0f3a, 0xf0, bits).with(Prefix::F2);
        self.put(Instruction::vex(op, dst.number(), 0, src.into()).imm8(count));
    }

    /// `mulx high, low, src` (BMI2): `rdx` times the source, of 32 or 64 bits each.
    #[inline]
    pub fn mulx(&mut self, bits: Bits, high: Gpr, low: Gpr, src: impl Into<Rm>) {
        let op = Op::new(Map::X0f38, 0xf6, bits).with(Prefix::F2);
        self.put(Instruction::vex(op, high.number(), low.number(), src.into()));
    }

    /// `op dst`.
    #[inline]
    pub fn unary(&mut self, op: Unary, bits: Bits, dst: impl Into<Rm>) {
        let number = op as u8;
        let op = Op { byte_reg: false, ..Op::sized(Map::One, 0xf6, bits) };
        self.put(Instruction::rm(op, number, dst.into()));
    }

    /// `imul dst, src`, of 16 to 64 bits.
    #[inline]
    pub fn imul(&mut self, bits: Bits, dst: Gpr, src: impl Into<Rm>) {
        let op = Op::new(Map::X0f, 0xaf, bits);
        self.put(Instruction::rm(op, dst.number(), src.into()));
    }

    /// `imul dst, src, imm`, of 16 to 64 bits.
    #[inline]
    pub fn imul_imm(&mut self, bits: Bits, dst: Gpr, src: impl Into<Rm>, imm: i32) {
        let (number, src) = (dst.number(), src.into());
        if i8::try_from(imm).is_ok() {
            let op = Op::new(Map::One, 0x6b, bits);
            self.put(Instruction::rm(op, number, src).imm8(imm as u8));
        } else {
            let op = Op::new(Map::One, 0x69, bits);
            self.put(Instruction::rm(op, number, src).imm(bits, imm));
        }
    }

    /// `cwd`, `cdq` or `cqo`: fills `rdx` with the sign of `rax`, of 16 to 64 bits.
    #[inline]
    pub fn sign_to_rdx(&mut self, bits: Bits) {
        self.put(match bits {
            Bits::B64 => Instruction::of(0x48).then(0x99),
            Bits::B32 => Instruction::of(0x99),
            Bits::B8 | Bits::B16 => Instruction::of(0x66).then(0x99),
        });
    }

    /// `cmovcc dst, src`, of 16 to 64 bits.
    #[inline]
    pub fn cmov(&mut self, cc: Cc, bits: Bits, dst: Gpr, src: impl Into<Rm>) {
        let op = Op::new(Map::X0f, 0x40 | cc as u8, bits);
        self.put(Instruction::rm(op, dst.number(), src.into()));
    }

    /// `setcc dst`, 8 bits.
    #[inline]
    pub fn setcc(&mut self, cc: Cc, dst: impl Into<Rm>) {
        let op = Op { byte_rm: true, ..Op::new(Map::X0f, 0x90 | cc as u8, Bits::B32) };
        self.put(Instruction::rm(op, 0, dst.into()));
    }

    /// `bswap`, of 32 or 64 bits.
    #[inline]
    pub fn bswap(&mut self, bits: Bits, reg: Gpr) {
        let number = reg.number();
        let rex = if bits == Bits::B64 { 8 } else { 0 } | number >> 3;
        let start = if rex == 0 { Instruction::EMPTY } else { Instruction::of(0x40 | rex) };
        self.put(start.then(0x0f).then(0xc8 | number & 7));
    }

    /// `push`.
    #[inline]
    pub fn push(&mut self, reg: Gpr) {
        self.short_form(0x50, reg);
    }

    /// `pop`.
    #[inline]
    pub fn pop(&mut self, reg: Gpr) {
        self.short_form(0x58, reg);
    }

    fn short_form(&mut self, opcode: u8, reg: Gpr) {
        let number = reg.number();
        let start = if number < 8 { Instruction::EMPTY } else { Instruction::of(0x41) };
        self.put(start.then(opcode | number & 7));
    }

    /// `push` of memory, 64 bits.
    #[inline]
    pub fn push_mem(&mut self, mem: Mem) {
        self.put(Instruction::rm(Op::new(Map::One, 0xff, Bits::B32), 6, mem.into()));
    }

    /// `call` of the address in a register or in memory.
    #[inline]
    pub fn call_rm(&mut self, target: impl Into<Rm>) {
        self.put(Instruction::rm(Op::new(Map::One, 0xff, Bits::B32), 2, target.into()));
    }

    /// `jmp` to the address in a register or in memory.
    #[inline]
    pub fn jmp_rm(&mut self, target: impl Into<Rm>) {
        self.put(Instruction::rm(Op::new(Map::One, 0xff, Bits::B32), 4, target.into()));
    }

    /// `ret`.
    #[inline]
    pub fn ret(&mut self) {
        self.put(Instruction::of(0xc3));
    }

    /// `ud2`.
    pub fn ud2(&mut self) {
        self.put(Instruction::of(0x0f).then(0x0b));
    }

    /// `int3`.
    pub fn int3(&mut self) {
        self.put(Instruction::of(0xcc));
    }

    /// `endbr64`: where indirect jumps may lead.
    pub fn endbr64(&mut self) {
        self.put(Instruction::of(0xf3).then(0x0f).then(0x1e).then(0xfa));
    }
}
