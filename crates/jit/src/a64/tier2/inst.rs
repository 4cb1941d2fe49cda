//! Machine instructions before registers are allocated.
//!
//! An instruction's registers are its operands, in the order that the comments give: results
//! first, then what it reads. Memory operands add a register if they have one. Comparisons belong
//! to the instruction that looks at the flags, so that nothing can come between the two.

use skep_bpf::insn::Extend;
use skep_bpf::op::{AtomicOp, Size, Width};

use crate::a64::encode::{AddSub, Binary, BitMask, Condition, Logic, Multiply, Shift, Unary};
use crate::abi::TrapCode;

/// Guest memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Amode {
    /// At a guest address.
    Absolute(u32),
    /// At a distance from `r10`.
    Frame(i32),
    /// At the guest address that is the low half of a register: one operand.
    Index,
    /// At a distance from the host address in a register: one operand.
    Host(i32),
}

/// What decides a branch or a selection. Operands: the registers in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Test {
    /// `cmp a, b`
    Compare(Width, Condition),
    /// `cmp a, #imm`, or `cmn` of the opposite, with the immediate shifted by 12 bits or not.
    CompareImm(Width, Condition, AddSub, u32, bool),
    /// `tst a, b`; not zero.
    Bits(Width),
    /// `tst a, #mask`; not zero.
    BitsImm(Width, BitMask),
    /// Whether `a` is zero, or is not.
    Zero { width: Width, nonzero: bool },
    /// Whether a bit of `a` is set, or is not.
    Bit { nonzero: bool, bit: u32 },
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
    /// Result, operand: the host address of a guest address.
    HostAddress,
    /// Result, operand.
    Move(Width),
    /// Result, two operands, the second shifted.
    Add(Width, AddSub, Shift, u32),
    /// Result, two operands, the second extended from its low half.
    AddExtended(AddSub),
    /// Result, operand: plus a number of up to 24 bits.
    AddImm(Width, i64),
    /// Result, two operands, the second shifted, and inverted if asked.
    Logic(Width, Logic, bool, Shift, u32),
    /// Result, operand.
    LogicImm(Width, Logic, BitMask),
    /// Result, two factors, what is added to or taken from.
    MultiplyAdd(Width, Multiply),
    /// Result, two factors.
    Multiply(Width),
    /// Result, two factors.
    MultiplyHigh(Width),
    /// Result, two operands: divisions and shifts.
    Binary(Width, Binary),
    /// Result, dividend, divisor.
    Remainder(Width, Binary),
    /// Result, operand, amount.
    RotateLeft(Width),
    /// Result, operand.
    ShiftImm(Width, Shift, u32),
    /// Result, operand: so many bits from a place, zero-extended.
    Extract(Width, u32, u32),
    /// Result, operand: the low bits, sign-extended.
    SignExtend(Width, u32),
    /// Result, operand.
    Negate(Width),
    /// Result, operand: the complement.
    Not(Width),
    /// Result, operand.
    Unary(Width, Unary),
    /// Result, operand: the low 16 bits, bytes exchanged.
    Swap16,
    /// Result, operand: zeros below the lowest bit set.
    TrailingZeros(Width),
    /// Result, operand: bits set.
    CountOnes(Width),
    /// Result, what the test reads, value, other value.
    Select(Test),
    /// Result, memory.
    Load(Size, Extend, Amode),
    /// Value, memory.
    Store(Size, Amode),
    /// Memory.
    StoreZero(Size, Amode),
    /// Result, memory.
    LoadAcquire(Size, Amode),
    /// Value, memory.
    StoreRelease(Size, Amode),
    /// Result, operand, what is expected (only of `cmpxchg`), memory.
    Atomic(AtomicOp, Width, Amode),
    /// A call by its number: result, arguments in their registers.
    Call(u32),
    /// Takes from the fuel.
    Charge(i32),
    /// Takes from the fuel and asks for more if it is used up.
    ChargeAndCheck(i32),
    /// Amount: takes it from the fuel.
    ChargeBy,
    /// Result: the fuel.
    Fuel,
    /// Traps if a call from so many frames below this one would be too deep.
    CheckDepth(u32),
    /// Ends a block: what the test reads.
    Branch(Test),
    /// Ends a block.
    Jump,
    /// Ends a block: the value.
    Return,
    /// Ends a block.
    Trap(TrapCode),
}
