//! Sizes and alignments of types, with limits.
//!
//! A well-formed section can hold a `typedef` of itself, or structs nested so that walking all
//! members would take exponential time; every walk here ends after a fixed number of steps.

use crate::error::ResolveError;
use crate::parse::Btf;
use crate::types::{Kind, TypeId};

/// The longest chain of `typedef`, qualifiers and arrays that is followed; the kernel and libbpf
/// stop at 32.
const MAX_CHAIN: u32 = 64;

/// The most types that one question about alignment visits.
const MAX_VISITS: u32 = 100_000;

/// The size of a pointer on the BPF machine, in bytes.
const POINTER_SIZE: u32 = 8;

impl Btf {
    /// The type behind `typedef`, `const`, `volatile`, `restrict` and type tags.
    ///
    /// # Errors
    ///
    /// [`ResolveError::Endless`] if the chain is too long.
    pub fn resolve(&self, id: TypeId) -> Result<TypeId, ResolveError> {
        self.skip(id, |kind| match *kind {
            Kind::Typedef(to)
            | Kind::Const(to)
            | Kind::Volatile(to)
            | Kind::Restrict(to)
            | Kind::TypeTag(to) => Some(to),
            _ => None,
        })
    }

    /// The type behind `const`, `volatile`, `restrict` and type tags, but not `typedef`.
    ///
    /// # Errors
    ///
    /// [`ResolveError::Endless`] if the chain is too long.
    pub fn unqualified(&self, id: TypeId) -> Result<TypeId, ResolveError> {
        self.skip(id, |kind| match *kind {
            Kind::Const(to) | Kind::Volatile(to) | Kind::Restrict(to) | Kind::TypeTag(to) => {
                Some(to)
            }
            _ => None,
        })
    }

    fn skip(
        &self,
        start: TypeId,
        next: impl Fn(&Kind) -> Option<TypeId>,
    ) -> Result<TypeId, ResolveError> {
        let mut id = start;
        for _ in 0..MAX_CHAIN {
            match next(self.kind(id)) {
                Some(to) => id = to,
                None => return Ok(id),
            }
        }
        Err(ResolveError::Endless { id: start })
    }

    /// The size of a type (or of a variable of it) in bytes.
    ///
    /// # Errors
    ///
    /// If the type has no size, does not end, or its size does not fit 64 bits.
    pub fn size_of(&self, start: TypeId) -> Result<u64, ResolveError> {
        let mut count: u64 = 1;
        let mut id = start;
        for _ in 0..MAX_CHAIN {
            let size = match self.kind(id) {
                Kind::Int(int) => int.size,
                Kind::Struct(composite) | Kind::Union(composite) => composite.size,
                Kind::Enum(enumeration) | Kind::Enum64(enumeration) => enumeration.size,
                Kind::Float { size } | Kind::Datasec { size, .. } => *size,
                Kind::Ptr(_) => POINTER_SIZE,
                Kind::Array(array) => {
                    count = count
                        .checked_mul(u64::from(array.count))
                        .ok_or(ResolveError::Overflow { id })?;
                    id = array.element;
                    continue;
                }
                Kind::Typedef(to)
                | Kind::Const(to)
                | Kind::Volatile(to)
                | Kind::Restrict(to)
                | Kind::TypeTag(to)
                | Kind::Var { ty: to, .. } => {
                    id = *to;
                    continue;
                }
                Kind::Void
                | Kind::Forward { .. }
                | Kind::Func { .. }
                | Kind::FuncProto { .. }
                | Kind::DeclTag { .. } => return Err(ResolveError::Unsized { id }),
            };
            return count.checked_mul(u64::from(size)).ok_or(ResolveError::Overflow { id });
        }
        Err(ResolveError::Endless { id: start })
    }

    /// The alignment that the C compiler gives a type on the BPF machine, in bytes: that of its
    /// widest member, 1 if a struct is packed.
    ///
    /// # Errors
    ///
    /// If the type has no size, or does not end.
    pub fn align_of(&self, id: TypeId) -> Result<u64, ResolveError> {
        let mut visits = MAX_VISITS;
        self.align_within(id, MAX_CHAIN, &mut visits)
    }

    fn align_within(&self, id: TypeId, depth: u32, visits: &mut u32) -> Result<u64, ResolveError> {
        let endless = ResolveError::Endless { id };
        let depth = depth.checked_sub(1).ok_or_else(|| endless.clone())?;
        *visits = visits.checked_sub(1).ok_or(endless)?;
        match self.kind(id) {
            Kind::Int(int) => Ok(natural_align(int.size)),
            Kind::Enum(enumeration) | Kind::Enum64(enumeration) => {
                Ok(natural_align(enumeration.size))
            }
            Kind::Float { size } => Ok(natural_align(*size)),
            Kind::Ptr(_) => Ok(u64::from(POINTER_SIZE)),
            Kind::Array(array) => self.align_within(array.element, depth, visits),
            Kind::Typedef(to)
            | Kind::Const(to)
            | Kind::Volatile(to)
            | Kind::Restrict(to)
            | Kind::TypeTag(to)
            | Kind::Var { ty: to, .. } => self.align_within(*to, depth, visits),
            Kind::Struct(composite) | Kind::Union(composite) => {
                let mut align = 1;
                let mut packed = false;
                for member in self.members(composite) {
                    let member_align = self.align_within(member.ty, depth, visits)?;
                    align = align.max(member_align);
                    packed |= member.bit_size == 0
                        && u64::from(member.bit_offset) % (member_align * 8) != 0;
                }
                packed |= !u64::from(composite.size).is_multiple_of(align);
                Ok(if packed { 1 } else { align })
            }
            Kind::Void
            | Kind::Forward { .. }
            | Kind::Func { .. }
            | Kind::FuncProto { .. }
            | Kind::Datasec { .. }
            | Kind::DeclTag { .. } => Err(ResolveError::Unsized { id }),
        }
    }
}

/// The alignment of a scalar of `size` bytes: its size, at most that of the 16-byte integers.
fn natural_align(size: u32) -> u64 {
    u64::from(size.clamp(1, 16).next_power_of_two())
}
