//! What a conditional jump decides, and what is learnt from its outcome.
//!
//! [`is_branch_taken`] answers if the components alone do. [`refine`] keeps every pair of members
//! for which the condition has the given outcome: of an equality both operands take what both
//! know, of an inequality each end is moved past what the other operand cannot exceed; the wrong
//! pairs that remain are what intervals cannot say. If no pair is left and an interval shows it,
//! the outcome is impossible; Linux, which relies on the prediction before, forgets the intervals
//! there and walks on.

use super::bounds::Bounds;
use super::scalar::{Parts, ScalarOf};
use super::tnum::TnumOf;
use skep_bpf::op::{Cond, Width};

/// The operands of a condition after its outcome is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refined<T> {
    /// The operands, refined.
    Feasible(T, T),
    /// No operands have this outcome. Linux goes on with these, the intervals of contradictory
    /// ones forgotten; a walk that wants the kernel's verdict does the same.
    Impossible {
        /// The operands as Linux goes on with them.
        forgotten: (T, T),
    },
}

impl<T> Refined<T> {
    /// The refined operands, if the outcome is possible.
    #[must_use]
    pub fn feasible(self) -> Option<(T, T)> {
        match self {
            Refined::Feasible(dst, src) => Some((dst, src)),
            Refined::Impossible { .. } => None,
        }
    }

    /// The operands as Linux goes on with them, possible or not.
    #[must_use]
    pub fn as_linux(self) -> (T, T) {
        match self {
            Refined::Feasible(dst, src) | Refined::Impossible { forgotten: (dst, src) } => {
                (dst, src)
            }
        }
    }
}

/// What an outcome says of two operands: greater is less with the operands swapped.
#[derive(Clone, Copy)]
enum Relation {
    Equal,
    Differ,
    CommonBit,
    NoCommonBit,
    Less { signed: bool, or_equal: bool },
}

impl Relation {
    /// What holds of (dst, src), or, if the flag is set, of (src, dst).
    fn of(cond: Cond, taken: bool) -> (Relation, bool) {
        let less = |signed, or_equal| Relation::Less { signed, or_equal };
        match (cond, taken) {
            (Cond::Eq, true) | (Cond::Ne, false) => (Relation::Equal, false),
            (Cond::Ne, true) | (Cond::Eq, false) => (Relation::Differ, false),
            (Cond::Set, true) => (Relation::CommonBit, false),
            (Cond::Set, false) => (Relation::NoCommonBit, false),
            (Cond::Lt, true) | (Cond::Ge, false) => (less(false, false), false),
            (Cond::Le, true) | (Cond::Gt, false) => (less(false, true), false),
            (Cond::Gt, true) | (Cond::Le, false) => (less(false, false), true),
            (Cond::Ge, true) | (Cond::Lt, false) => (less(false, true), true),
            (Cond::Slt, true) | (Cond::Sge, false) => (less(true, false), false),
            (Cond::Sle, true) | (Cond::Sgt, false) => (less(true, true), false),
            (Cond::Sgt, true) | (Cond::Sle, false) => (less(true, false), true),
            (Cond::Sge, true) | (Cond::Slt, false) => (less(true, true), true),
        }
    }
}

/// What is known after a condition on `dst` and `src` had an outcome.
#[must_use]
pub fn refine<const W: u32, const H: u32>(
    cond: Cond,
    width: Width,
    dst: ScalarOf<W, H>,
    src: ScalarOf<W, H>,
    taken: bool,
) -> Refined<ScalarOf<W, H>> {
    let mut operands = [dst.parts(), src.parts()];
    let (relation, swapped) = Relation::of(cond, taken);
    let possible =
        narrow(&mut operands, usize::from(swapped), usize::from(!swapped), relation, width);
    let [dst, src] = operands.map(Parts::sync);
    match (dst.consistent(), src.consistent()) {
        (Some(dst), Some(src)) if possible => Refined::Feasible(dst, src),
        _ => Refined::Impossible { forgotten: (dst.settle(), src.settle()) },
    }
}

/// What is known after a condition with one register as both operands had an outcome.
///
/// Linux treats it as any other condition, so that the second operand's refinement starts from the
/// first's result; the refined value stands in both places of the answer.
#[must_use]
pub fn refine_same<const W: u32, const H: u32>(
    cond: Cond,
    width: Width,
    reg: ScalarOf<W, H>,
    taken: bool,
) -> Refined<ScalarOf<W, H>> {
    let mut operand = [reg.parts()];
    let possible = narrow(&mut operand, 0, 0, Relation::of(cond, taken).0, width);
    let [reg] = operand.map(|reg| reg.sync().sync());
    match reg.consistent() {
        Some(reg) if possible => Refined::Feasible(reg, reg),
        _ => Refined::Impossible { forgotten: (reg.settle(), reg.settle()) },
    }
}

/// Refines operands `a` and `b` (perhaps the same) of the relation. False if it cannot hold.
#[inline(always)]
fn narrow<const W: u32, const H: u32>(
    operands: &mut [Parts<W, H>],
    a: usize,
    b: usize,
    relation: Relation,
    width: Width,
) -> bool {
    match relation {
        Relation::Equal => {
            equal(operands, a, b, width);
            true
        }
        Relation::Differ => match constant_operand(operands, a, b, width) {
            Some((other, x)) => match width {
                Width::W32 => operands[other].low.exclude(x),
                Width::W64 => operands[other].wide.exclude(x),
            },
            None => true,
        },
        Relation::CommonBit => {
            if let Some((other, bit)) = constant_operand(operands, a, b, width)
                && bit.is_power_of_two()
            {
                let tnum = &mut operands[other].tnum;
                *tnum = tnum.or(TnumOf::constant(bit));
            }
            true
        }
        Relation::NoCommonBit => {
            if let Some((other, bits)) = constant_operand(operands, a, b, width) {
                let keep = TnumOf::constant(!bits);
                let tnum = operands[other].tnum.and(keep);
                operands[other] = Parts { tnum, wide: Bounds::FULL, low: Bounds::FULL };
            }
            true
        }
        Relation::Less { signed, or_equal } => {
            let gap = u64::from(!or_equal);
            match (width, signed) {
                (Width::W32, false) => order_unsigned(operands, a, b, gap, |reg| &mut reg.low),
                (Width::W32, true) => order_signed(operands, a, b, gap, |reg| &mut reg.low),
                (Width::W64, false) => order_unsigned(operands, a, b, gap, |reg| &mut reg.wide),
                (Width::W64, true) => order_signed(operands, a, b, gap, |reg| &mut reg.wide),
            }
        }
    }
}

/// Both operands take what both know.
fn equal<const W: u32, const H: u32>(
    operands: &mut [Parts<W, H>],
    a: usize,
    b: usize,
    width: Width,
) {
    let (first, second) = (operands[a], operands[b]);
    match width {
        Width::W32 => {
            let low = first.low.meet(second.low);
            let bits = first.tnum.low(H).meet(second.tnum.low(H));
            for reg in [a, b] {
                operands[reg].low = low;
                operands[reg].tnum = operands[reg].tnum.with_low(H, bits);
            }
        }
        Width::W64 => {
            let (wide, tnum) = (first.wide.meet(second.wide), first.tnum.meet(second.tnum));
            for reg in [a, b] {
                operands[reg].wide = wide;
                operands[reg].tnum = tnum;
            }
        }
    }
}

/// If an operand's bits are all known at the width: the other operand, and the number. `b` is
/// asked first.
fn constant_operand<const W: u32, const H: u32>(
    operands: &[Parts<W, H>],
    a: usize,
    b: usize,
    width: Width,
) -> Option<(usize, u64)> {
    let constant = |reg: usize| match width {
        Width::W32 => operands[reg].low_tnum().as_constant(),
        Width::W64 => operands[reg].tnum.as_constant(),
    };
    match constant(b) {
        Some(x) => Some((a, x)),
        None => constant(a).map(|x| (b, x)),
    }
}

/// `a + gap <= b`, unsigned.
#[inline(always)]
fn order_unsigned<const W: u32, const H: u32, const N: u32>(
    operands: &mut [Parts<W, H>],
    a: usize,
    b: usize,
    gap: u64,
    bounds: impl Fn(&mut Parts<W, H>) -> &mut Bounds<N>,
) -> bool {
    let Some(max) = bounds(&mut operands[b]).umax.checked_sub(gap) else { return false };
    let a = bounds(&mut operands[a]);
    a.umax = a.umax.min(max);
    let Some(min) = a.umin.checked_add(gap) else { return false };
    let b = bounds(&mut operands[b]);
    b.umin = b.umin.max(min);
    true
}

/// `a + gap <= b`, signed.
#[inline(always)]
fn order_signed<const W: u32, const H: u32, const N: u32>(
    operands: &mut [Parts<W, H>],
    a: usize,
    b: usize,
    gap: u64,
    bounds: impl Fn(&mut Parts<W, H>) -> &mut Bounds<N>,
) -> bool {
    let Some(max) = bounds(&mut operands[b]).smax.checked_sub_unsigned(gap) else { return false };
    let a = bounds(&mut operands[a]);
    a.smax = a.smax.min(max);
    let Some(min) = a.smin.checked_add_unsigned(gap) else { return false };
    let b = bounds(&mut operands[b]);
    b.smin = b.smin.max(min);
    true
}

impl<const N: u32> Bounds<N> {
    /// Takes a number out, which shows if it is at an end. False if nothing else was there.
    fn exclude(&mut self, x: u64) -> bool {
        let Bounds { umin: u, smin: s, .. } = Self::point(x);
        if (self.umin, self.umax) == (u, u) || (self.smin, self.smax) == (s, s) {
            return false;
        }
        self.umin += u64::from(self.umin == u);
        self.umax -= u64::from(self.umax == u);
        self.smin += i64::from(self.smin == s);
        self.smax -= i64::from(self.smax == s);
        true
    }
}

/// Whether a conditional jump is taken, if that is known.
#[must_use]
pub fn is_branch_taken<const W: u32, const H: u32>(
    cond: Cond,
    width: Width,
    dst: &ScalarOf<W, H>,
    src: &ScalarOf<W, H>,
) -> Option<bool> {
    match width {
        Width::W32 => decide(cond, dst.tnum().narrow(), src.tnum().narrow(), dst.low(), src.low()),
        Width::W64 => {
            let decided = decide(cond, dst.tnum(), src.tnum(), dst.wide(), src.wide());
            // Numbers whose low halves cannot be equal are not.
            let apart = || matches!(cond, Cond::Eq | Cond::Ne) && dst.low().misses(src.low());
            if decided.is_none() && apart() { Some(cond == Cond::Ne) } else { decided }
        }
    }
}

fn decide<const N: u32>(
    cond: Cond,
    dst_bits: TnumOf<N>,
    src_bits: TnumOf<N>,
    dst: Bounds<N>,
    src: Bounds<N>,
) -> Option<bool> {
    // Whether a < b holds for all, or for no members, of intervals given by their ends.
    let less = |a: (u64, u64), b: (u64, u64)| ordered(a.1 < b.0, a.0 >= b.1);
    let signed_less = |a: (i64, i64), b: (i64, i64)| ordered(a.1 < b.0, a.0 >= b.1);
    let (du, su) = ((dst.umin, dst.umax), (src.umin, src.umax));
    let (ds, ss) = ((dst.smin, dst.smax), (src.smin, src.smax));
    let not = |outcome: Option<bool>| outcome.map(|taken| !taken);
    match cond {
        Cond::Eq => equality(dst_bits, src_bits, dst, src),
        Cond::Ne => not(equality(dst_bits, src_bits, dst, src)),
        Cond::Set => {
            let (bits, x) = match src_bits.as_constant() {
                Some(x) => (dst_bits, x),
                None => (src_bits, dst_bits.as_constant()?),
            };
            ordered(bits.value() & x != 0, bits.max() & x == 0)
        }
        Cond::Lt => less(du, su),
        Cond::Ge => not(less(du, su)),
        Cond::Gt => less(su, du),
        Cond::Le => not(less(su, du)),
        Cond::Slt => signed_less(ds, ss),
        Cond::Sge => not(signed_less(ds, ss)),
        Cond::Sgt => signed_less(ss, ds),
        Cond::Sle => not(signed_less(ss, ds)),
    }
}

/// True if it always holds, false if it never does.
const fn ordered(always: bool, never: bool) -> Option<bool> {
    if always {
        Some(true)
    } else if never {
        Some(false)
    } else {
        None
    }
}

fn equality<const N: u32>(
    dst_bits: TnumOf<N>,
    src_bits: TnumOf<N>,
    dst: Bounds<N>,
    src: Bounds<N>,
) -> Option<bool> {
    if let (Some(x), Some(y)) = (dst_bits.as_constant(), src_bits.as_constant()) {
        return Some(x == y);
    }
    (!dst_bits.overlaps(src_bits) || dst.misses(src)).then_some(false)
}

impl<const N: u32> Bounds<N> {
    /// Whether an interval has nothing in common with the other's.
    const fn misses(self, other: Self) -> bool {
        self.umin > other.umax
            || self.umax < other.umin
            || self.smin > other.smax
            || self.smax < other.smin
    }
}
