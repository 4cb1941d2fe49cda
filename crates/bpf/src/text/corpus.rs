//! Instructions for the laws of printers and parsers: every operation with samples of every
//! field, and random ones.

use alloc::vec::Vec;

use crate::codec::{Slot, SlotIndex, decode};
use crate::insn::{
    Callee, Extend, HelperId, Imm64, Insn, Mem, Offset, PacketIndex, PacketSize, Reg, Src,
};
use crate::op::{AddrSpaceCast, AluOp, AtomicOp, Cond, Endian, Movsx, Size, SwapBits, Width};

const REGS: &[Reg] = &[Reg::R0, Reg::R1, Reg::R9, Reg::R10];
const IMMS: &[i32] = &[0, 1, -1, 9, 10, 15, -15, 0xff, i32::MIN, i32::MAX];
const OFFSETS: &[i16] = &[0, 1, -1, 8, -8, 10, i16::MIN, i16::MAX];
const VALUES: &[u64] = &[
    0,
    1,
    10,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x0123_4567_89ab_cdef,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_8000_0000,
    0xffff_ffff_7fff_ffff,
    u64::MAX,
];

fn sources() -> impl Iterator<Item = Src> {
    REGS.iter().copied().map(Src::Reg).chain(IMMS.iter().copied().map(Src::Imm))
}

fn mems() -> impl Iterator<Item = Mem> {
    REGS.iter().flat_map(|&base| OFFSETS.iter().map(move |&offset| Mem { base, offset }))
}

/// Every operation, over samples of its operands.
pub(crate) fn all_operations() -> Vec<Insn<Offset>> {
    let mut insns = Vec::new();
    for &dst in REGS {
        arithmetic(dst, &mut insns);
        memory(dst, &mut insns);
        branches(dst, &mut insns);
        insns.push(Insn::Call { callee: Callee::Reg(dst) });
        insns.extend(imm64s().into_iter().map(|imm| Insn::LoadImm64 { dst, imm }));
    }
    for &offset in OFFSETS {
        let target = Offset(i32::from(offset));
        insns.push(Insn::Jump { wide: false, target });
        insns.push(Insn::MayGoto { target });
    }
    for &imm in IMMS {
        insns.push(Insn::Jump { wide: true, target: Offset(imm) });
        insns.push(Insn::Call { callee: Callee::Local(Offset(imm)) });
        insns.push(Insn::Call { callee: Callee::Helper(HelperId(imm as u32)) });
        for &btf_index in OFFSETS {
            insns.push(Insn::Call { callee: Callee::Kfunc { btf_id: imm, btf_index } });
        }
        for &size in PacketSize::ALL {
            insns.push(Insn::LoadPacket { size, index: PacketIndex::Absolute, imm });
            for &reg in REGS {
                insns.push(Insn::LoadPacket { size, index: PacketIndex::Indirect(reg), imm });
            }
        }
    }
    insns.extend((0..220).map(|id| Insn::Call { callee: Callee::Helper(HelperId(id)) }));
    insns.push(Insn::Exit);
    insns
}

fn arithmetic(dst: Reg, insns: &mut Vec<Insn<Offset>>) {
    for &width in Width::ALL {
        for &op in AluOp::ALL {
            insns.extend(sources().map(|src| Insn::Alu { op, width, dst, src }));
        }
        insns.push(Insn::Neg { width, dst });
    }
    for &op in Endian::ALL {
        insns.extend(SwapBits::ALL.iter().map(|&bits| Insn::Endian { op, bits, dst }));
    }
    for &src in REGS {
        insns.extend(Movsx::ALL.iter().map(|&op| Insn::Movsx { op, dst, src }));
        insns.extend(AddrSpaceCast::ALL.iter().map(|&op| Insn::AddrSpaceCast { op, dst, src }));
    }
}

fn memory(reg: Reg, insns: &mut Vec<Insn<Offset>>) {
    for mem in mems() {
        for &size in Size::ALL {
            insns.push(Insn::Load { size, extend: Extend::Zero, dst: reg, mem });
            if size != Size::Dw {
                insns.push(Insn::Load { size, extend: Extend::Sign, dst: reg, mem });
            }
            insns.push(Insn::Store { size, mem, src: Src::Reg(reg) });
            insns.extend(IMMS.iter().map(|&imm| Insn::Store { size, mem, src: Src::Imm(imm) }));
            insns.push(Insn::LoadAcquire { size, dst: reg, mem });
            insns.push(Insn::StoreRelease { size, mem, src: reg });
        }
        for &width in Width::ALL {
            let of = |&op| Insn::Atomic { op, width, mem, src: reg };
            insns.extend(AtomicOp::ALL.iter().map(of));
        }
    }
}

fn branches(dst: Reg, insns: &mut Vec<Insn<Offset>>) {
    for &cond in Cond::ALL {
        for &width in Width::ALL {
            for src in sources() {
                for &offset in OFFSETS {
                    let target = Offset(i32::from(offset));
                    insns.push(Insn::Branch { cond, width, dst, src, target });
                }
            }
        }
    }
}

fn imm64s() -> Vec<Imm64<Offset>> {
    let mut imms: Vec<_> = VALUES.iter().copied().map(Imm64::Value).collect();
    for &a in IMMS {
        imms.extend([Imm64::MapByFd(a), Imm64::MapByIdx(a as u32), Imm64::Code(Offset(a))]);
        for &b in IMMS {
            imms.extend([
                Imm64::MapValueByFd { fd: a, offset: b },
                Imm64::Variable { btf_id: a, btf_fd: b },
                Imm64::MapValueByIdx { index: a as u32, offset: b },
            ]);
        }
    }
    imms
}

/// Numbers that look random and are the same in every run (xorshift64*).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A slot with an interesting chance of being an instruction.
    pub(crate) fn slot(&mut self) -> Slot {
        let bits = self.next();
        let small = |value: u64, mask: u64| if bits & mask == 0 { 0 } else { value };
        Slot {
            opcode: bits as u8,
            regs: small((bits >> 8) & 0xff, 0x10_0000_0000) as u8,
            offset: small((bits >> 16) & 0xffff, 0x20_0000_0000) as i16,
            imm: small(self.next(), 0x40_0000_0000) as i32,
        }
    }

    /// A random instruction.
    pub(crate) fn insn(&mut self) -> Insn<Offset> {
        loop {
            let code = [self.slot(), Slot { imm: self.next() as i32, ..Slot::default() }];
            if let Ok(insn) = decode(&code, SlotIndex(0)) {
                return insn;
            }
        }
    }
}
