//! Machine instructions before registers are allocated.
//!
//! An instruction's registers are its operands, in the order that the comments give: results
//! first, then what it reads. Memory operands add a register if they have one. Comparisons belong
//! to the instruction that looks at the flags, so that nothing can come between the two.

use skep_bpf::insn::Extend;
use skep_bpf::op::{AtomicOp, Size};

use crate::abi::TrapCode;
use crate::ssa::ir::Bin;
use crate::x64::asm::{Alu, Bits, Cc, Count, Scale, Shift, Unary};

/// The base of a memory operand in the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Base {
    /// None: the displacement is the guest address.
    Window,
    /// The frame pointer.
    Frame,
    /// A register whose upper half is 0: one operand.
    Reg,
}

/// Guest memory: an address plus a displacement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Amode {
    pub(super) base: Base,
    pub(super) disp: i32,
}

/// What sets the flags. Operands: the registers in order, that of memory last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flags {
    /// `cmp a, b`
    Cmp(Bits),
    /// `cmp a, imm`
    CmpImm(Bits, i32),
    /// `test a, b`
    Test(Bits),
    /// `test a, imm`
    TestImm(Bits, i32),
    /// `cmp a, [mem]`
    CmpMem(Bits, Amode),
    /// `cmp [mem], imm`
    CmpMemImm(Bits, Amode, i32),
    /// `test [mem], imm`
    TestMemImm(Bits, Amode, i32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Inst {
    /// The function's arguments: each a result in its register.
    Args,
    /// Result.
    Imm(u64),
    /// Result: the frame pointer plus a displacement.
    FrameAddress(i32),
    /// Result: the number of the processor.
    Processor,
    /// Result, operand: the low half.
    Zext,
    /// Result, two operands.
    Add(Bits),
    /// Result, operand.
    AddImm(Bits, i32),
    /// Result, base, index.
    Lea(Bits, Scale, i32),
    /// Result, index.
    LeaIndex(Bits, Scale, i32),
    /// Result in the place of the first operand, two operands.
    Alu(Alu, Bits),
    /// Result in the place of the operand.
    AluImm(Alu, Bits, i32),
    /// Result in the place of the first operand, it, memory.
    AluMem(Alu, Bits, Amode),
    /// Result in the place of the first operand, two operands.
    Imul(Bits),
    /// Result in the place of the first operand, it, memory.
    ImulMem(Bits, Amode),
    /// Result, operand.
    ImulImm(Bits, i32),
    /// Result in the place of the operand.
    ShiftImm(Shift, Bits, u8),
    /// Result, operand: a rotation to the right.
    Rorx(Bits, u8),
    /// Result, operand, amount.
    Shiftx(Shift, Bits),
    /// Result in the place of the operand, it, the amount in `rcx`.
    ShiftCl(Shift, Bits),
    /// Result in the place of the operand.
    Unary(Unary, Bits),
    /// Result in the place of the operand.
    Bswap(Bits),
    /// Result in the place of the operand.
    Swap16,
    /// Result, operand: sign extension to and from so many bits.
    Movsx(Bits, Bits),
    /// Result, operand: zero extension from 8 or 16 bits.
    Movzx(Bits),
    /// Result, operand.
    Count(Count, Bits),
    /// Result in `rdx`, an operand in `rax`, another.
    MulHigh,
    /// Result in `rax` or `rdx`, the dividend in `rax`, the divisor.
    Divide {
        op: Bin,
        bits: Bits,
        /// Whether the divisor may be 0.
        may_be_zero: bool,
        /// Whether a signed divisor may be -1.
        may_be_minus_one: bool,
    },
    /// Result in the place of the other value, what the test reads, value, other value.
    Select(Flags, Cc),
    /// Result, memory.
    Load(Size, Extend, Amode),
    /// Result, memory: a load with its bytes exchanged.
    LoadSwapped(Bits, Amode),
    /// Value, memory.
    Store(Bits, Amode),
    /// Value, memory: what is there and the value, put back.
    AluToMem(Alu, Bits, Amode),
    /// Memory: what is there and a number, put back.
    AluImmToMem(Alu, Bits, Amode, i32),
    /// Value, memory: stored with its bytes exchanged.
    StoreSwapped(Bits, Amode),
    /// Memory.
    StoreImm(Bits, Amode, i32),
    /// A temporary register, memory's register: traps if the address is no multiple of the size.
    CheckAligned(Amode, u32, TrapCode),
    /// Value, memory.
    LockAlu(Alu, Bits, Amode),
    /// Result in the place of the value, it, memory.
    Xadd(Bits, Amode),
    /// Result in the place of the value, it, memory.
    Xchg(Bits, Amode),
    /// Result in `rax`, what is expected in `rax`, value, memory.
    Cmpxchg(Bits, Amode),
    /// Result in `rax`, a temporary register, value, memory: repeats a compare-and-exchange.
    FetchLoop(AtomicOp, Bits, Amode),
    /// A call by its number: result in `rax`, arguments in their registers.
    Call(u32),
    /// Takes from the fuel.
    Charge(i32),
    /// Takes from the fuel and asks for more if it is used up.
    ChargeAndCheck(i32),
    /// Amount: takes it from the fuel.
    ChargeBy,
    /// Result: the fuel.
    Fuel,
    /// A temporary register: traps if a call from so many frames below would be too deep.
    CheckDepth(u32),
    /// Ends a block: what the test reads.
    Branch(Flags, Cc),
    /// Ends a block.
    Jump,
    /// Ends a block: the value in `rax`.
    Return,
    /// Ends a block.
    Trap(TrapCode),
}

impl Inst {
    /// The memory that it accesses.
    pub(super) fn amode(self) -> Option<Amode> {
        match self {
            Inst::AluMem(_, _, amode)
            | Inst::ImulMem(_, amode)
            | Inst::Load(_, _, amode)
            | Inst::LoadSwapped(_, amode)
            | Inst::Store(_, amode)
            | Inst::StoreSwapped(_, amode)
            | Inst::StoreImm(_, amode, _)
            | Inst::AluToMem(_, _, amode)
            | Inst::AluImmToMem(_, _, amode, _)
            | Inst::CheckAligned(amode, _, _)
            | Inst::LockAlu(_, _, amode)
            | Inst::Xadd(_, amode)
            | Inst::Xchg(_, amode)
            | Inst::Cmpxchg(_, amode)
            | Inst::FetchLoop(_, _, amode) => Some(amode),
            Inst::Select(test, _) | Inst::Branch(test, _) => match test {
                Flags::CmpMem(_, amode)
                | Flags::CmpMemImm(_, amode, _)
                | Flags::TestMemImm(_, amode, _) => Some(amode),
                Flags::Cmp(_) | Flags::CmpImm(..) | Flags::Test(_) | Flags::TestImm(..) => None,
            },
            _ => None,
        }
    }
}
