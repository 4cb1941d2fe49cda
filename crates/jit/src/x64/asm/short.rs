//! Instructions of at most eight bytes, put together in one word: those that template code
//! consists of.
//!
//! The forms are those of [`super::integer`], which falls back on the general way where operands
//! or sizes are others. Nothing here branches on which registers there are: that would be hard to
//! predict.

use super::encode::Instruction;
use super::{Asm, Bits, Gpr, Mem, Scale};

/// Memory at the sum of two registers and a displacement. The base is one of `r8` to `r15`, except
/// for `r13`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Indexed {
    /// The first register.
    pub base: Gpr,
    /// The second one, not `rsp`.
    pub index: Gpr,
    /// The displacement in bytes.
    pub disp: i32,
}

impl From<Indexed> for Mem {
    fn from(Indexed { base, index, disp }: Indexed) -> Mem {
        Mem::indexed(base, index, Scale::X1, disp)
    }
}

/// The bytes of an instruction, the first one lowest, and how many there are. Bits above those are
/// written with it and overwritten by the next one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    code: u64,
    len: u32,
}

impl Short {
    /// An operation of 32 or 64 bits on registers, or on one register and with the number of an
    /// operation of a group.
    #[inline(always)]
    pub(super) fn registers(opcode: u8, bits: Bits, reg: u8, rm: Gpr) -> Short {
        let rm = rm.number();
        let modrm = 0xc0 | (reg & 7) << 3 | rm & 7;
        let code = u64::from(opcode) | u64::from(modrm) << 8;
        Short { code, len: 2 }.rex(bits, (reg >> 3) << 2 | rm >> 3)
    }

    /// The prefix for such an operand size and so many further bits, if it is needed.
    #[inline(always)]
    fn rex(self, bits: Bits, further: u8) -> Short {
        let rex = u8::from(bits == Bits::B64) << 3 | further;
        let is_needed = rex != 0;
        let prefix = (0x40 | rex) & u8::from(is_needed).wrapping_neg();
        let Short { code, len } = self;
        let shift = u32::from(is_needed) * 8;
        Short { code: code << shift | u64::from(prefix), len: len + u32::from(is_needed) }
    }

    /// An immediate of so many bytes behind it.
    #[inline(always)]
    fn imm(self, imm: i32, bytes: u32) -> Short {
        let code = self.code | u64::from(imm as u32) << (self.len * 8);
        Short { code, len: self.len + bytes }
    }
}

impl Asm {
    /// Whether operands of a size are encoded without any prefix but that of registers.
    #[inline(always)]
    pub(super) fn is_plain(bits: Bits) -> bool {
        bits >= Bits::B32
    }

    #[inline(always)]
    pub(super) fn put_short(&mut self, Short { code, len }: Short) {
        let room = self.bytes.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut);
        match room {
            Some(room) => {
                *room = code.to_le_bytes();
                self.len += len as usize;
            }
            None => self.put(Instruction { head: code, head_len: len, tail: 0, tail_len: 0 }),
        }
    }

    /// An operation of a group with an immediate of 8 or 32 bits, on a register.
    #[inline(always)]
    pub(super) fn short_imm(&mut self, number: u8, bits: Bits, dst: Gpr, imm: i32) {
        let is_byte = imm == i32::from(imm as i8);
        let opcode = 0x81 | u8::from(is_byte) << 1;
        let instruction = Short::registers(opcode, bits, number, dst);
        self.put_short(instruction.imm(imm, if is_byte { 1 } else { 4 }));
    }

    /// A shift or rotation by a number of a register.
    #[inline(always)]
    pub(super) fn short_shift(&mut self, number: u8, bits: Bits, dst: Gpr, count: u8) {
        let is_one = count == 1;
        let opcode = 0xc1 | u8::from(is_one) << 4;
        let instruction = Short::registers(opcode, bits, number, dst);
        self.put_short(instruction.imm(count.into(), u32::from(!is_one)));
    }

    /// `mov dst, imm` of 32 bits.
    #[inline(always)]
    pub(super) fn short_mov_imm(&mut self, dst: Gpr, imm: u32) {
        let number = dst.number();
        let code = u64::from(0xb8 | number & 7) | u64::from(imm) << 8;
        self.put_short(Short { code, len: 5 }.rex(Bits::B32, number >> 3));
    }

    /// An opcode of so many bytes and a distance of 32 bits.
    #[inline(always)]
    pub(super) fn short_jump(&mut self, opcode: u64, bytes: u32) {
        self.put_short(Short { code: opcode, len: bytes + 4 });
    }

    /// `mov dst, src` of 32 or 64 bits from memory.
    #[inline(always)]
    pub fn load_indexed(&mut self, bits: Bits, dst: Gpr, src: Indexed) {
        debug_assert!(Asm::is_plain(bits), "others are extended");
        self.put_short(Short::access(0x8b, bits, dst.number(), src));
    }

    /// `movzx dst, src` of 8 or 16 bits from memory.
    #[inline(always)]
    pub fn movzx_indexed(&mut self, from: Bits, dst: Gpr, src: Indexed) {
        debug_assert!(from < Bits::B32, "32-bit moves extend by themselves");
        let opcode = 0xb6 | u8::from(from == Bits::B16);
        let Short { code, len } = Short::access(opcode, Bits::B32, dst.number(), src);
        // The escape stands between prefix and opcode.
        let head = code & 0xff | 0x0f << 8 | (code >> 8 & 0xff_ffff) << 16;
        self.put(Instruction { head, head_len: 5, tail: code >> 32, tail_len: len - 4 });
    }

    /// `mov dst, src` to memory.
    #[inline(always)]
    pub fn store_indexed(&mut self, bits: Bits, dst: Indexed, src: Gpr) {
        if bits == Bits::B16 {
            self.put_short(Short { code: 0x66, len: 1 });
        }
        let opcode = 0x88 | u8::from(bits != Bits::B8);
        self.put_short(Short::access(opcode, bits, src.number(), dst));
    }

    /// `mov dst, imm` to memory; 64-bit operations sign-extend the immediate.
    #[inline(always)]
    pub fn store_imm_indexed(&mut self, bits: Bits, dst: Indexed, imm: i32) {
        if bits == Bits::B16 {
            self.put_short(Short { code: 0x66, len: 1 });
        }
        let opcode = 0xc6 | u8::from(bits != Bits::B8);
        let bytes = match bits {
            Bits::B8 => 1,
            Bits::B16 => 2,
            Bits::B32 | Bits::B64 => 4,
        };
        let Short { code, len } = Short::access(opcode, bits, 0, dst);
        let tail = code >> 32 & ((1 << ((len - 4) * 8)) - 1);
        let tail = tail | u64::from(imm as u32) << ((len - 4) * 8);
        self.put(Instruction { head: code, head_len: 4, tail, tail_len: len - 4 + bytes });
    }
}

impl Short {
    /// An access with one byte of opcode, in all eight bytes: the base always needs the prefix.
    #[inline(always)]
    fn access(opcode: u8, bits: Bits, reg: u8, mem: Indexed) -> Short {
        const SIB: u8 = 0b100;
        let (base, index) = (mem.base.number(), mem.index.number());
        debug_assert!(base >= 8 && base & 7 != 0b101, "{:?} is no such base", mem.base);
        debug_assert!(mem.index != Gpr::Rsp, "rsp is no index");
        let wide = u8::from(bits == Bits::B64) << 3;
        let rex = 0x41 | wide | (reg >> 3) << 2 | (index >> 3) << 1;
        let is_byte = mem.disp == i32::from(mem.disp as i8);
        // 0, 1 or 2: a displacement of no, of 8, of 32 bits.
        let class = 2 - u32::from(is_byte) - u32::from(mem.disp == 0);
        let modrm = (class as u8) << 6 | (reg & 7) << 3 | SIB;
        let sib = (index & 7) << 3 | base & 7;
        let head = u32::from_le_bytes([rex, opcode, modrm, sib]);
        let code = u64::from(head) | u64::from(mem.disp as u32) << 32;
        Short { code, len: 4 + class + (class & 2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASES: [Gpr; 7] = [Gpr::R8, Gpr::R9, Gpr::R10, Gpr::R11, Gpr::R12, Gpr::R14, Gpr::R15];
    const NUMBERS: [i32; 8] = [0, 1, -1, 127, -128, 128, -129, 0x1234_5678];

    /// What is written by two ways from the start of a buffer.
    fn same(context: &str, short: impl FnOnce(&mut Asm), general: impl FnOnce(&mut Asm)) {
        let bytes = |write: &mut dyn FnMut(&mut Asm)| {
            let mut asm = Asm::default();
            write(&mut asm);
            // What is left behind an instruction must not matter.
            asm.ret();
            asm.finish()
        };
        let (mut short, mut general) = (Some(short), Some(general));
        let short = bytes(&mut |asm| short.take().into_iter().for_each(|write| write(asm)));
        let general = bytes(&mut |asm| general.take().into_iter().for_each(|write| write(asm)));
        assert_eq!(short, general, "{context}");
    }

    #[test]
    fn accesses_are_those_of_general_operands() {
        for base in BASES {
            for index in Gpr::ALL.into_iter().filter(|index| *index != Gpr::Rsp) {
                for disp in NUMBERS {
                    let mem = Indexed { base, index, disp };
                    for (reg, bits) in Gpr::ALL
                        .into_iter()
                        .flat_map(|reg| Bits::ALL.into_iter().map(move |bits| (reg, bits)))
                    {
                        let context = format!("{bits:?} {reg:?} {mem:?}");
                        if bits >= Bits::B32 {
                            let load = |asm: &mut Asm| asm.load_indexed(bits, reg, mem);
                            same(&context, load, |asm| asm.load(bits, reg, mem.into()));
                        } else {
                            let load = |asm: &mut Asm| asm.movzx_indexed(bits, reg, mem);
                            same(&context, load, |asm| asm.movzx(bits, reg, Mem::from(mem)));
                        }
                        let store = |asm: &mut Asm| asm.store_indexed(bits, mem, reg);
                        same(&context, store, |asm| asm.mov(bits, Mem::from(mem), reg));
                    }
                    for (bits, imm) in Bits::ALL.into_iter().zip(NUMBERS.into_iter().skip(2)) {
                        let context = format!("{bits:?} {mem:?} {imm}");
                        let store = |asm: &mut Asm| asm.store_imm_indexed(bits, mem, imm);
                        same(&context, store, |asm| asm.store_imm(bits, mem.into(), imm));
                    }
                }
            }
        }
    }
}
