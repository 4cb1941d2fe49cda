//! The tables: one row per BPF operation.
//!
//! Code points, mnemonics, symbols, conformance groups and meanings stand here and nowhere else.
//! Decoder, encoder, printers, parsers, `explain` and the listings of supported instructions read
//! these rows; what an operation computes is stated in [`crate::eval`].

use core::fmt;

/// Declares a closed set of operations as an enum with one row of facts per variant.
macro_rules! table {
    (
        $(#[$meta:meta])*
        pub enum $name:ident -> $row:ident {
            $( $(#[$vmeta:meta])* $variant:ident = ( $($field:expr),+ $(,)? ); )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $( $(#[$vmeta])* $variant, )+ }

        impl $name {
            /// Every member, in the order of the table.
            pub const ALL: &'static [$name] = &[ $( $name::$variant, )+ ];

            /// The facts about this member.
            #[must_use]
            pub const fn row(self) -> &'static $row {
                match self { $( $name::$variant => { const ROW: $row = $row::new($($field),+); &ROW } )+ }
            }
        }
    };
}

/// A conformance group of RFC 9669, section 2.4, or the extension that an instruction belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Group {
    /// All instructions not in another group that use 32-bit operations.
    Base32,
    /// 64-bit arithmetic, jumps, byte swaps and the wide immediate load.
    Base64,
    /// 32-bit division, multiplication and modulo.
    DivMul32,
    /// 64-bit division, multiplication and modulo.
    DivMul64,
    /// 32-bit atomic operations.
    Atomic32,
    /// 64-bit atomic operations.
    Atomic64,
    /// The deprecated packet access instructions.
    Packet,
    /// What Linux accepts beyond RFC 9669: load-acquire, store-release, `may_goto`,
    /// `addr_space_cast`.
    Linux,
    /// What neither specifies but compilers emit: `callx`.
    Callx,
}

impl Group {
    /// Every group, in the order of RFC 9669.
    pub const ALL: &'static [Group] = &[
        Group::Base32,
        Group::Base64,
        Group::DivMul32,
        Group::DivMul64,
        Group::Atomic32,
        Group::Atomic64,
        Group::Packet,
        Group::Linux,
        Group::Callx,
    ];

    /// The group's name as RFC 9669 spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Group::Base32 => "base32",
            Group::Base64 => "base64",
            Group::DivMul32 => "divmul32",
            Group::DivMul64 => "divmul64",
            Group::Atomic32 => "atomic32",
            Group::Atomic64 => "atomic64",
            Group::Packet => "packet",
            Group::Linux => "linux",
            Group::Callx => "callx",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The width of an arithmetic operation or comparison.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Width {
    /// The low 32 bits; a result is zero-extended to 64 bits.
    W32,
    /// All 64 bits.
    W64,
}

impl Width {
    /// Both widths.
    pub const ALL: &'static [Width] = &[Width::W32, Width::W64];

    /// The number of bits, 32 or 64.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Width::W32 => 32,
            Width::W64 => 64,
        }
    }
}

/// The instruction classes, the low three bits of an opcode (RFC 9669, section 3.3).
pub mod class {
    /// Non-standard load operations.
    pub const LD: u8 = 0x0;
    /// Loads into registers.
    pub const LDX: u8 = 0x1;
    /// Stores of immediates.
    pub const ST: u8 = 0x2;
    /// Stores from registers, and atomic operations.
    pub const STX: u8 = 0x3;
    /// 32-bit arithmetic.
    pub const ALU: u8 = 0x4;
    /// 64-bit jumps.
    pub const JMP: u8 = 0x5;
    /// 32-bit jumps.
    pub const JMP32: u8 = 0x6;
    /// 64-bit arithmetic.
    pub const ALU64: u8 = 0x7;

    /// The names of the eight classes, indexed by their value.
    pub const NAMES: [&str; 8] = ["LD", "LDX", "ST", "STX", "ALU", "JMP", "JMP32", "ALU64"];
}

/// The modes of load and store instructions, the high three bits of an opcode (RFC 9669,
/// section 5).
pub mod mode {
    /// The bits of an opcode that hold the mode.
    pub const BITS: u8 = 0xe0;
    /// 64-bit immediate instructions.
    pub const IMM: u8 = 0x00;
    /// Deprecated packet access, absolute.
    pub const ABS: u8 = 0x20;
    /// Deprecated packet access, indirect.
    pub const IND: u8 = 0x40;
    /// Regular load and store.
    pub const MEM: u8 = 0x60;
    /// Sign-extending load.
    pub const MEMSX: u8 = 0x80;
    /// Atomic operations.
    pub const ATOMIC: u8 = 0xc0;

    /// A mode's name, or `None` for the two that are not defined.
    #[must_use]
    pub const fn name(mode: u8) -> Option<&'static str> {
        match mode {
            IMM => Some("IMM"),
            ABS => Some("ABS"),
            IND => Some("IND"),
            MEM => Some("MEM"),
            MEMSX => Some("MEMSX"),
            ATOMIC => Some("ATOMIC"),
            _ => None,
        }
    }
}

/// The source bit of arithmetic and jump opcodes: clear for K (the immediate), set for X (the
/// source register).
pub const SOURCE_X: u8 = 0x08;

/// The bits of a load or store opcode that hold the size.
pub const SIZE_BITS: u8 = 0x18;

/// The bits of an arithmetic or jump opcode that hold the code.
pub const CODE_BITS: u8 = 0xf0;

/// Codes that stand for a single instruction shape rather than a row of a table.
pub mod code {
    /// Negation, `ALU` and `ALU64`.
    pub const NEG: u8 = 0x80;
    /// Byte swaps, `ALU` and `ALU64`.
    pub const END: u8 = 0xd0;
    /// Unconditional jump: `JMP` with a 16-bit offset, `JMP32` with a 32-bit one.
    pub const JA: u8 = 0x00;
    /// Call.
    pub const CALL: u8 = 0x80;
    /// Return.
    pub const EXIT: u8 = 0x90;
    /// Linux's conditional pseudo jumps; the source register says which (0: `may_goto`).
    pub const JCOND: u8 = 0xe0;
}

/// Facts about an [`AluOp`].
#[derive(Debug)]
pub struct AluRow {
    /// The code in the high four bits of the opcode.
    pub code: u8,
    /// The value of the offset field, which tells signed division and modulo from unsigned.
    pub offset: i16,
    /// The name in the mnemonic dialect, without the width.
    pub mnemonic: &'static str,
    /// The assignment operator in the C-like dialect.
    pub symbol: &'static str,
    /// Whether it belongs to the `divmul` conformance groups.
    pub divmul: bool,
    /// What it does, with `{dst}` and `{src}` for the operands.
    pub meaning: &'static str,
}

impl AluRow {
    const fn new(
        code: u8,
        offset: i16,
        mnemonic: &'static str,
        symbol: &'static str,
        divmul: bool,
        meaning: &'static str,
    ) -> Self {
        AluRow { code, offset, mnemonic, symbol, divmul, meaning }
    }
}

table! {
    /// Two-operand arithmetic (RFC 9669, section 4.1).
    pub enum AluOp -> AluRow {
        //         code  offset mnemonic symbol  divmul meaning
        /// Addition.
        Add     = (0x00, 0, "add",  "+=",   false, "add {src} to {dst}");
        /// Subtraction.
        Sub     = (0x10, 0, "sub",  "-=",   false, "subtract {src} from {dst}");
        /// Multiplication.
        Mul     = (0x20, 0, "mul",  "*=",   true,  "multiply {dst} by {src}");
        /// Unsigned division.
        Div     = (0x30, 0, "div",  "/=",   true,  "divide {dst} by {src}, unsigned; 0 if {src} is 0");
        /// Signed division.
        Sdiv    = (0x30, 1, "sdiv", "s/=",  true,  "divide {dst} by {src}, signed, rounding towards zero; 0 if {src} is 0");
        /// Bitwise or.
        Or      = (0x40, 0, "or",   "|=",   false, "set in {dst} the bits that are set in {src}");
        /// Bitwise and.
        And     = (0x50, 0, "and",  "&=",   false, "keep in {dst} the bits that are set in {src}");
        /// Left shift.
        Lsh     = (0x60, 0, "lsh",  "<<=",  false, "shift {dst} left by {src} bits, modulo the width");
        /// Logical right shift.
        Rsh     = (0x70, 0, "rsh",  ">>=",  false, "shift {dst} right by {src} bits, modulo the width, filling with zeros");
        /// Unsigned remainder.
        Mod     = (0x90, 0, "mod",  "%=",   true,  "take {dst} modulo {src}, unsigned; unchanged if {src} is 0");
        /// Signed remainder.
        Smod    = (0x90, 1, "smod", "s%=",  true,  "take {dst} modulo {src}, signed, with the sign of {dst}; unchanged if {src} is 0");
        /// Bitwise exclusive or.
        Xor     = (0xa0, 0, "xor",  "^=",   false, "flip in {dst} the bits that are set in {src}");
        /// Move.
        Mov     = (0xb0, 0, "mov",  "=",    false, "set {dst} to {src}");
        /// Arithmetic right shift.
        Arsh    = (0xc0, 0, "arsh", "s>>=", false, "shift {dst} right by {src} bits, modulo the width, filling with the sign");
    }
}

impl AluOp {
    /// The conformance group of the operation at a width.
    #[must_use]
    pub const fn group(self, width: Width) -> Group {
        match (self.row().divmul, width) {
            (false, Width::W32) => Group::Base32,
            (false, Width::W64) => Group::Base64,
            (true, Width::W32) => Group::DivMul32,
            (true, Width::W64) => Group::DivMul64,
        }
    }
}

/// Facts about a [`Movsx`].
#[derive(Debug)]
pub struct MovsxRow {
    /// The width of the operation.
    pub width: Width,
    /// The number of low bits that are sign-extended; also the value of the offset field.
    pub from_bits: u8,
    /// The name in the mnemonic dialect.
    pub mnemonic: &'static str,
    /// The cast in the C-like dialect.
    pub cast: &'static str,
}

impl MovsxRow {
    const fn new(width: Width, from_bits: u8, mnemonic: &'static str, cast: &'static str) -> Self {
        MovsxRow { width, from_bits, mnemonic, cast }
    }
}

table! {
    /// Sign-extending moves (RFC 9669, section 4.1): the five that exist.
    pub enum Movsx -> MovsxRow {
        /// 8 to 32 bits.
        W32From8   = (Width::W32, 8,  "movsx832",  "(s8)");
        /// 16 to 32 bits.
        W32From16  = (Width::W32, 16, "movsx1632", "(s16)");
        /// 8 to 64 bits.
        W64From8   = (Width::W64, 8,  "movsx864",  "(s8)");
        /// 16 to 64 bits.
        W64From16  = (Width::W64, 16, "movsx1664", "(s16)");
        /// 32 to 64 bits.
        W64From32  = (Width::W64, 32, "movsx3264", "(s32)");
    }
}

/// Facts about an [`Endian`] conversion.
#[derive(Debug)]
pub struct EndianRow {
    /// The instruction class: `ALU` for conversions, `ALU64` for the unconditional swap.
    pub class: u8,
    /// The source bit: clear for little endian and the unconditional swap, set for big endian.
    pub source: u8,
    /// The name in both dialects, without the width in bits.
    pub mnemonic: &'static str,
    /// What it does, with `{dst}` and `{bits}`.
    pub meaning: &'static str,
}

impl EndianRow {
    const fn new(class: u8, source: u8, mnemonic: &'static str, meaning: &'static str) -> Self {
        EndianRow { class, source, mnemonic, meaning }
    }
}

table! {
    /// Byte swap instructions (RFC 9669, section 4.2).
    pub enum Endian -> EndianRow {
        /// Convert between host order and little endian.
        Le    = (class::ALU,   0,        "le",    "convert the low {bits} bits of {dst} between host byte order and little endian, clear the others");
        /// Convert between host order and big endian.
        Be    = (class::ALU,   SOURCE_X, "be",    "convert the low {bits} bits of {dst} between host byte order and big endian, clear the others");
        /// Swap unconditionally.
        Bswap = (class::ALU64, 0,        "bswap", "reverse the order of the low {bits} bits' bytes in {dst}, clear the others");
    }
}

/// Facts about a [`SwapBits`].
#[derive(Debug)]
pub struct SwapBitsRow {
    /// The number of bits; also the value of the immediate field.
    pub bits: u8,
}

impl SwapBitsRow {
    const fn new(bits: u8) -> Self {
        SwapBitsRow { bits }
    }
}

table! {
    /// How many low bits a byte swap works on.
    pub enum SwapBits -> SwapBitsRow {
        /// 16 bits.
        B16 = (16);
        /// 32 bits.
        B32 = (32);
        /// 64 bits.
        B64 = (64);
    }
}

impl SwapBits {
    /// The conformance group of the swap in this size.
    #[must_use]
    pub const fn group(self, op: Endian) -> Group {
        match (op, self) {
            (Endian::Bswap, _) | (_, SwapBits::B64) => Group::Base64,
            (Endian::Le | Endian::Be, SwapBits::B16 | SwapBits::B32) => Group::Base32,
        }
    }
}

/// Facts about a [`Cond`].
#[derive(Debug)]
pub struct CondRow {
    /// The code in the high four bits of the opcode.
    pub code: u8,
    /// The name in the mnemonic dialect, without the width.
    pub mnemonic: &'static str,
    /// The comparison operator in the C-like dialect.
    pub symbol: &'static str,
    /// When the jump is taken, with `{dst}` and `{src}`.
    pub meaning: &'static str,
}

impl CondRow {
    const fn new(
        code: u8,
        mnemonic: &'static str,
        symbol: &'static str,
        meaning: &'static str,
    ) -> Self {
        CondRow { code, mnemonic, symbol, meaning }
    }
}

table! {
    /// Conditions of jumps (RFC 9669, section 4.3).
    pub enum Cond -> CondRow {
        /// Equal.
        Eq  = (0x10, "jeq",  "==",  "{dst} equals {src}");
        /// Unsigned greater.
        Gt  = (0x20, "jgt",  ">",   "{dst} is greater than {src}, unsigned");
        /// Unsigned greater or equal.
        Ge  = (0x30, "jge",  ">=",  "{dst} is greater than or equal to {src}, unsigned");
        /// A common bit.
        Set = (0x40, "jset", "&",   "{dst} and {src} have a set bit in common");
        /// Not equal.
        Ne  = (0x50, "jne",  "!=",  "{dst} differs from {src}");
        /// Signed greater.
        Sgt = (0x60, "jsgt", "s>",  "{dst} is greater than {src}, signed");
        /// Signed greater or equal.
        Sge = (0x70, "jsge", "s>=", "{dst} is greater than or equal to {src}, signed");
        /// Unsigned less.
        Lt  = (0xa0, "jlt",  "<",   "{dst} is less than {src}, unsigned");
        /// Unsigned less or equal.
        Le  = (0xb0, "jle",  "<=",  "{dst} is less than or equal to {src}, unsigned");
        /// Signed less.
        Slt = (0xc0, "jslt", "s<",  "{dst} is less than {src}, signed");
        /// Signed less or equal.
        Sle = (0xd0, "jsle", "s<=", "{dst} is less than or equal to {src}, signed");
    }
}

/// Facts about a [`Size`].
#[derive(Debug)]
pub struct SizeRow {
    /// The size bits of a load or store opcode.
    pub code: u8,
    /// The number of bytes.
    pub bytes: u8,
    /// RFC 9669's name.
    pub name: &'static str,
    /// The suffix in the mnemonic dialect.
    pub suffix: &'static str,
    /// The unsigned C type.
    pub unsigned: &'static str,
    /// The signed C type.
    pub signed: &'static str,
}

impl SizeRow {
    const fn new(
        code: u8,
        bytes: u8,
        name: &'static str,
        suffix: &'static str,
        unsigned: &'static str,
        signed: &'static str,
    ) -> Self {
        SizeRow { code, bytes, name, suffix, unsigned, signed }
    }
}

table! {
    /// The size of a memory access (RFC 9669, section 5).
    pub enum Size -> SizeRow {
        /// One byte.
        B  = (0x10, 1, "B",  "b",  "u8",  "s8");
        /// Two bytes.
        H  = (0x08, 2, "H",  "h",  "u16", "s16");
        /// Four bytes.
        W  = (0x00, 4, "W",  "w",  "u32", "s32");
        /// Eight bytes.
        Dw = (0x18, 8, "DW", "dw", "u64", "s64");
    }
}

impl Size {
    /// The number of bytes: 1, 2, 4 or 8.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.row().bytes as u32
    }

    /// The size of an access of so many bytes.
    #[must_use]
    pub const fn of_bytes(bytes: u32) -> Option<Size> {
        match bytes {
            1 => Some(Size::B),
            2 => Some(Size::H),
            4 => Some(Size::W),
            8 => Some(Size::Dw),
            _ => None,
        }
    }
}

/// Facts about an [`AtomicOp`].
#[derive(Debug)]
pub struct AtomicRow {
    /// The operation in the immediate field, the `FETCH` flag included.
    pub imm: i32,
    /// The name in the mnemonic dialect.
    pub mnemonic: &'static str,
    /// The name of the function in the C-like dialect of forms that fetch, or the operator of
    /// those that do not.
    pub symbol: &'static str,
    /// Whether the old value goes to a register: the source, or `r0` for `cmpxchg`.
    pub fetch: bool,
    /// What it does, with `{mem}` and `{src}`.
    pub meaning: &'static str,
}

impl AtomicRow {
    const fn new(
        imm: i32,
        mnemonic: &'static str,
        symbol: &'static str,
        fetch: bool,
        meaning: &'static str,
    ) -> Self {
        AtomicRow { imm, mnemonic, symbol, fetch, meaning }
    }
}

table! {
    /// Atomic read-modify-write operations (RFC 9669, section 5.3).
    pub enum AtomicOp -> AtomicRow {
        /// Addition.
        Add      = (0x00, "add",       "+=",        false, "add {src} to {mem}");
        /// Bitwise or.
        Or       = (0x40, "or",        "|=",        false, "set in {mem} the bits that are set in {src}");
        /// Bitwise and.
        And      = (0x50, "and",       "&=",        false, "keep in {mem} the bits that are set in {src}");
        /// Bitwise exclusive or.
        Xor      = (0xa0, "xor",       "^=",        false, "flip in {mem} the bits that are set in {src}");
        /// Addition that returns the old value.
        FetchAdd = (0x01, "fetch_add", "fetch_add", true,  "add {src} to {mem}, and set {src} to the old value");
        /// Bitwise or that returns the old value.
        FetchOr  = (0x41, "fetch_or",  "fetch_or",  true,  "set in {mem} the bits that are set in {src}, and set {src} to the old value");
        /// Bitwise and that returns the old value.
        FetchAnd = (0x51, "fetch_and", "fetch_and", true,  "keep in {mem} the bits that are set in {src}, and set {src} to the old value");
        /// Bitwise exclusive or that returns the old value.
        FetchXor = (0xa1, "fetch_xor", "fetch_xor", true,  "flip in {mem} the bits that are set in {src}, and set {src} to the old value");
        /// Exchange.
        Xchg     = (0xe1, "xchg",      "xchg",      true,  "store {src} to {mem}, and set {src} to the old value");
        /// Compare and exchange.
        Cmpxchg  = (0xf1, "cmpxchg",   "cmpxchg",   true,  "store {src} to {mem} if it equals r0, and set r0 to the old value");
    }
}

/// The immediate of Linux's load-acquire, a form of the atomic mode.
pub const LOAD_ACQUIRE: i32 = 0x100;
/// The immediate of Linux's store-release, a form of the atomic mode.
pub const STORE_RELEASE: i32 = 0x110;

/// Facts about an [`AddrSpaceCast`].
#[derive(Debug)]
pub struct AddrSpaceCastRow {
    /// The immediate: destination address space in the upper, source in the lower 16 bits.
    pub imm: i32,
    /// What it does, with `{dst}` and `{src}`.
    pub meaning: &'static str,
}

impl AddrSpaceCastRow {
    const fn new(imm: i32, meaning: &'static str) -> Self {
        AddrSpaceCastRow { imm, meaning }
    }
}

table! {
    /// Linux's conversions between the address spaces 0 (kernel) and 1 (arena): a 64-bit move
    /// between registers whose offset is 1 (Linux, `BPF_ADDR_SPACE_CAST`).
    pub enum AddrSpaceCast -> AddrSpaceCastRow {
        /// From the arena's user form to an address that can be loaded from.
        ToKernel = (0x0000_0001, "set {dst} to {src}, converted from an arena pointer's user form to the form that loads take");
        /// From an address that can be loaded from to the arena's user form.
        ToUser   = (0x0001_0000, "set {dst} to {src}, converted to an arena pointer's user form");
    }
}

/// The offset field that turns a 64-bit move into an `addr_space_cast`.
pub const ADDR_SPACE_CAST_OFFSET: i16 = 1;

/// The source register field of `call` (RFC 9669, section 4.3.1).
pub mod call {
    /// A helper function by its static number.
    pub const HELPER: u8 = 0;
    /// A program-local function by its offset.
    pub const LOCAL: u8 = 1;
    /// A kernel function by its BTF id.
    pub const KFUNC: u8 = 2;
}

/// Facts about an [`Imm64Kind`].
#[derive(Debug)]
pub struct Imm64Row {
    /// The value of the source register field.
    pub src: u8,
    /// Whether the second slot's immediate is used; elsewhere it must be 0.
    pub uses_next_imm: bool,
    /// The name of the function in the C-like and mnemonic dialects.
    pub name: &'static str,
    /// What it loads, with `{imm}` and `{next_imm}`.
    pub meaning: &'static str,
}

impl Imm64Row {
    const fn new(src: u8, uses_next_imm: bool, name: &'static str, meaning: &'static str) -> Self {
        Imm64Row { src, uses_next_imm, name, meaning }
    }
}

table! {
    /// What a 64-bit immediate instruction loads (RFC 9669, section 5.4).
    pub enum Imm64Kind -> Imm64Row {
        /// A plain number.
        Value           = (0, true,  "imm64",           "the 64-bit number {imm}");
        /// A map by file descriptor.
        MapByFd         = (1, false, "map_by_fd",       "the address of the map with file descriptor {imm}");
        /// A map's data by file descriptor.
        MapValueByFd    = (2, true,  "map_val_by_fd",   "the address of byte {next_imm} of the first value of the map with file descriptor {imm}");
        /// A platform variable.
        Variable        = (3, true,  "var_addr",        "the address of the platform variable with BTF id {imm}");
        /// A program-local function.
        Code            = (4, false, "code_addr",       "the address of the program-local function at relative offset {imm}");
        /// A map by index.
        MapByIdx        = (5, false, "map_by_idx",      "the address of the program's map number {imm}");
        /// A map's data by index.
        MapValueByIdx   = (6, true,  "map_val_by_idx",  "the address of byte {next_imm} of the first value of the program's map number {imm}");
    }
}
