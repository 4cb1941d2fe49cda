//! Loads, stores and atomic operations.

use skep_bpf::op::{Size, Width};

use super::{Extension, Gpr, ZR, a, d, field, m, n, sf, signed};

/// Transfers between memory and a register, by size and by how loads extend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    size: Size,
    opc: u32,
}

impl Transfer {
    /// A store.
    #[must_use]
    pub const fn store(size: Size) -> Transfer {
        Transfer { size, opc: 0 }
    }

    /// A load that zero-extends.
    #[must_use]
    pub const fn load(size: Size) -> Transfer {
        Transfer { size, opc: 1 }
    }

    /// A load that sign-extends to a width wider than itself.
    #[must_use]
    pub const fn load_signed(size: Size, width: Width) -> Transfer {
        match width {
            Width::W64 => Transfer { size, opc: 2 },
            Width::W32 => Transfer { size, opc: 3 },
        }
    }

    /// How many bytes are transferred.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.size.bytes()
    }

    const fn bits(self) -> u32 {
        scale(self.size) << 30 | 0b111 << 27 | self.opc << 22
    }
}

/// The binary logarithm of a size.
#[must_use]
pub const fn scale(size: Size) -> u32 {
    size.bytes().trailing_zeros()
}

/// At `rn` plus an offset in units of the size, 0 to 4095.
#[must_use]
pub const fn transfer_scaled(op: Transfer, rt: Gpr, rn: Gpr, units: u32) -> u32 {
    op.bits() | 1 << 24 | field(units, 12) << 10 | n(rn) | d(rt)
}

/// What becomes of the base register of a load or store with an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Index {
    /// It stays as it is.
    None,
    /// The access is at the base, which is moved after it.
    Post,
    /// The access is at the moved base.
    Pre = 3,
}

/// At `rn` plus an offset of -256 to 255 bytes.
#[must_use]
pub const fn transfer_unscaled(op: Transfer, rt: Gpr, rn: Gpr, bytes: i32, index: Index) -> u32 {
    op.bits() | signed(bytes, 9) << 12 | (index as u32) << 10 | n(rn) | d(rt)
}

/// At `rn` plus an offset in bytes, if one of the two forms has it.
#[must_use]
pub fn transfer_displaced(op: Transfer, rt: Gpr, rn: Gpr, bytes: i32) -> Option<u32> {
    let size = op.bytes();
    if (0..4096 * size as i32).contains(&bytes) && (bytes as u32).is_multiple_of(size) {
        Some(transfer_scaled(op, rt, rn, bytes as u32 / size))
    } else if (-256..256).contains(&bytes) {
        Some(transfer_unscaled(op, rt, rn, bytes, Index::None))
    } else {
        None
    }
}

/// At `rn` plus `rm`, extended from 32 bits (`Uxtw`, `Sxtw`) or whole (`Uxtx`, `Sxtx`), shifted
/// by the size's scale if `scaled`.
#[must_use]
pub const fn transfer_register(
    op: Transfer,
    rt: Gpr,
    rn: Gpr,
    rm: Gpr,
    (extension, scaled): (Extension, bool),
) -> u32 {
    debug_assert!(extension as u32 & 2 != 0, "indexes have 32 or 64 bits");
    op.bits()
        | 1 << 21
        | m(rm)
        | (extension as u32) << 13
        | (scaled as u32) << 12
        | 0b10 << 10
        | n(rn)
        | d(rt)
}

/// A load or store of two registers at `rn` plus an offset in units of the width, -64 to 63.
#[must_use]
pub const fn pair(
    width: Width,
    load: bool,
    (rt, rt2): (Gpr, Gpr),
    rn: Gpr,
    units: i32,
    index: Index,
) -> u32 {
    let mode = match index {
        Index::None => 2,
        Index::Post => 1,
        Index::Pre => 3,
    };
    sf(width)
        | 0b101 << 27
        | mode << 23
        | (load as u32) << 22
        | signed(units, 7) << 15
        | a(rt2)
        | n(rn)
        | d(rt)
}

const EXCLUSIVE: u32 = 0b001000 << 24;

/// A load-acquire.
#[must_use]
pub const fn ldar(size: Size, rt: Gpr, rn: Gpr) -> u32 {
    scale(size) << 30 | EXCLUSIVE | 1 << 23 | 1 << 22 | m(ZR) | 1 << 15 | a(ZR) | n(rn) | d(rt)
}

/// A store-release.
#[must_use]
pub const fn stlr(size: Size, rt: Gpr, rn: Gpr) -> u32 {
    scale(size) << 30 | EXCLUSIVE | 1 << 23 | m(ZR) | 1 << 15 | a(ZR) | n(rn) | d(rt)
}

/// An exclusive load, with acquire ordering if asked.
#[must_use]
pub const fn ldxr(size: Size, acquire: bool, rt: Gpr, rn: Gpr) -> u32 {
    scale(size) << 30 | EXCLUSIVE | 1 << 22 | m(ZR) | (acquire as u32) << 15 | a(ZR) | n(rn) | d(rt)
}

/// An exclusive store, with release ordering if asked; `rs` becomes 0 if it was done.
#[must_use]
pub const fn stxr(size: Size, release: bool, rs: Gpr, rt: Gpr, rn: Gpr) -> u32 {
    scale(size) << 30 | EXCLUSIVE | m(rs) | (release as u32) << 15 | a(ZR) | n(rn) | d(rt)
}

/// How an atomic operation is ordered with what surrounds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ordering {
    /// What follows comes after its load.
    pub acquire: bool,
    /// What precedes comes before its store.
    pub release: bool,
}

impl Ordering {
    /// In no way.
    pub const RELAXED: Ordering = Ordering { acquire: false, release: false };
    /// With both sides.
    pub const FULL: Ordering = Ordering { acquire: true, release: true };
}

/// Atomic operations that give the old value (FEAT_LSE).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum Fetch {
    Ldadd = 0,
    Ldclr = 1,
    Ldeor = 2,
    Ldset = 3,
    Swp = 8,
}

/// `rt` = what is at `rn`, which takes the result of the operation with `rs`.
#[must_use]
pub const fn fetch(op: Fetch, size: Size, ordering: Ordering, rs: Gpr, rt: Gpr, rn: Gpr) -> u32 {
    scale(size) << 30
        | 0b111 << 27
        | (ordering.acquire as u32) << 23
        | (ordering.release as u32) << 22
        | 1 << 21
        | m(rs)
        | (op as u32) << 12
        | n(rn)
        | d(rt)
}

/// Stores `rt` at `rn` if `rs` equals what is there; `rs` = what was there (FEAT_LSE).
#[must_use]
pub const fn cas(size: Size, ordering: Ordering, rs: Gpr, rt: Gpr, rn: Gpr) -> u32 {
    scale(size) << 30
        | EXCLUSIVE
        | 1 << 23
        | (ordering.acquire as u32) << 22
        | 1 << 21
        | m(rs)
        | (ordering.release as u32) << 15
        | a(ZR)
        | n(rn)
        | d(rt)
}
