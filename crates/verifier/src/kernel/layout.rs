//! What lies at an offset of a structure of the kernel.
//!
//! A walk goes down nested structures, unions and arrays until something is found that a load may
//! read. (Linux 6.18, `btf_struct_access`.)

use super::trust::Trust;
use skep_btf::{Array, Btf, Composite, Kind, Member, TypeId};

/// No structure is nested so deeply; ends walks in malformed BTF.
const MAX_STEPS: usize = 64;

/// What a load from a structure gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A number.
    Number,
    /// A pointer to a structure.
    Object {
        /// The structure.
        to: TypeId,
        /// What the declaration and the way there say of it.
        trust: Trust,
        /// The field.
        name: &'a str,
    },
    /// A pointer to something else.
    Other,
}

/// Where a single walk ends.
enum Walked<'a> {
    Found(Found<'a>),
    /// At the start of a nested structure.
    Nested(TypeId),
}

/// What a load of `size` bytes at an offset of a structure gives; else why there is nothing.
pub(crate) fn access(btf: &Btf, id: TypeId, off: u32, size: u32) -> Result<Found<'_>, String> {
    let (mut id, mut off) = (id, off);
    let mut in_union = false;
    for _ in 0..MAX_STEPS {
        match walk(btf, id, off, size, &mut in_union)? {
            Walked::Found(found) => return Ok(found),
            Walked::Nested(next) => (id, off) = (next, 0),
        }
    }
    Err("structures are nested too deeply".to_owned())
}

/// Whether a pointer to a structure is one to another, which lies at that offset of it.
pub(crate) fn is_at(btf: &Btf, id: TypeId, off: u32, needed: TypeId, strict: bool) -> bool {
    if off == 0 && id == needed {
        return true;
    }
    if strict {
        return false;
    }
    let (mut id, mut off) = (id, off);
    for _ in 0..MAX_STEPS {
        match walk(btf, id, off, 1, &mut false) {
            Ok(Walked::Nested(next)) if next == needed => return true,
            Ok(Walked::Nested(next)) => (id, off) = (next, 0),
            _ => return false,
        }
    }
    false
}

/// Whether the field of a structure is one that inherits its trust: the kernel lists them in
/// structures of their own, named with a suffix.
pub(crate) fn is_listed(btf: &Btf, id: TypeId, field: &str, to: TypeId, suffix: &str) -> bool {
    let is_union = matches!(btf.kind(id), Kind::Union(_));
    let name = format!("{}{suffix}", btf.name(id));
    let lists = btf.named(&name).find_map(|(_, ty)| match &ty.kind {
        Kind::Struct(composite) if !is_union => Some(composite),
        Kind::Union(composite) if is_union => Some(composite),
        _ => None,
    });
    let Some(listed) = lists else { return false };
    btf.members(listed).iter().any(|member| match btf.kind(member.ty) {
        Kind::Ptr(target) => btf.str(member.name) == field && btf.resolve(*target) == Ok(to),
        _ => false,
    })
}

/// The structure or union with that number, qualified or not.
pub(crate) fn composite(btf: &Btf, id: TypeId) -> Option<(TypeId, &Composite)> {
    let id = btf.resolve(id).ok()?;
    match btf.kind(id) {
        Kind::Struct(composite) | Kind::Union(composite) => Some((id, composite)),
        _ => None,
    }
}

fn walk<'a>(
    btf: &'a Btf,
    id: TypeId,
    off: u32,
    size: u32,
    in_union: &mut bool,
) -> Result<Walked<'a>, String> {
    let (mut id, mut off) = (id, off);
    for _ in 0..MAX_STEPS {
        let Some((inner, outer)) = composite(btf, id) else {
            return Err(format!("Type '{}' is not a struct", btf.name(id)));
        };
        let members = btf.members(outer);
        // Of a union with several members nobody knows which is there.
        *in_union |= matches!(btf.kind(inner), Kind::Union(_)) && members.len() != 1;
        let end = off.checked_add(size);
        if end.is_none_or(|end| end > outer.size) {
            match in_flexible_array(btf, members, off) {
                Some(Flexible::Numbers) => return Ok(Walked::Found(Found::Number)),
                Some(Flexible::Structures { element, off: within }) => {
                    (id, off) = (element, within);
                    continue;
                }
                None => {
                    let name = btf.name(inner);
                    return Err(format!("access beyond struct {name} at off {off} size {size}"));
                }
            }
        }
        match in_members(btf, inner, members, off, size, *in_union)? {
            Step::Done(walked) => return Ok(walked),
            Step::Into(next, within) => (id, off) = (next, within),
        }
    }
    Err("structures are nested too deeply".to_owned())
}

enum Flexible {
    Numbers,
    Structures { element: TypeId, off: u32 },
}

/// The array without a length that a structure ends with.
fn in_flexible_array(btf: &Btf, members: &[Member], off: u32) -> Option<Flexible> {
    let last = members.last()?;
    let Kind::Array(Array { element, count: 0, .. }) = btf.kind(btf.resolve(last.ty).ok()?) else {
        return None;
    };
    let within = off.checked_sub(last.bit_offset / 8)?;
    let element = btf.resolve(*element).ok()?;
    if let Kind::Int(_) = btf.kind(element) {
        return Some(Flexible::Numbers);
    }
    let (element, composite) = composite(btf, element)?;
    Some(Flexible::Structures { element, off: within.checked_rem(composite.size)? })
}

enum Step<'a> {
    Done(Walked<'a>),
    /// Within a nested structure, not at its start.
    Into(TypeId, u32),
}

fn in_members<'a>(
    btf: &'a Btf,
    outer: TypeId,
    members: &[Member],
    off: u32,
    size: u32,
    in_union: bool,
) -> Result<Step<'a>, String> {
    let number = Ok(Step::Done(Walked::Found(Found::Number)));
    for member in members {
        let mut start = member.bit_offset / 8;
        // The access was found to lie in the structure.
        let end = off.saturating_add(size);
        if end <= start {
            break;
        }
        if member.bit_size != 0 {
            let last = member.bit_offset.saturating_add(u32::from(member.bit_size)).div_ceil(8);
            if off <= start && last <= end {
                return number;
            }
            continue;
        }
        if off < start {
            break;
        }
        let name = btf.str(member.name);
        let Ok(bytes) = btf.size_of(member.ty) else {
            return Err(format!("field {name} doesn't have size"));
        };
        let true_end = u64::from(start) + bytes;
        if u64::from(off) >= true_end {
            continue;
        }
        let mut ty = member.ty;
        let mut each = bytes;
        // An array is so many members one after the other.
        while let Kind::Array(array) = btf.kind(btf.resolve(ty).unwrap_or(ty)) {
            ty = array.element;
        }
        if ty != member.ty && btf.size_of(ty).is_ok_and(|size| size > 0) {
            each = btf.size_of(ty).unwrap_or(each);
            let index = u64::from(off - start) / each;
            start = u32::try_from(u64::from(start) + index * each).unwrap_or(start);
        }
        if let Some((nested, _)) = composite(btf, ty) {
            if off == start {
                return Ok(Step::Done(Walked::Nested(nested)));
            }
            return Ok(Step::Into(nested, off - start));
        }
        if let Kind::Ptr(target) = btf.kind(btf.resolve(ty).unwrap_or(ty)) {
            if each != u64::from(size) || off != start {
                return Err(format!(
                    "cannot access ptr member {name} with moff {start} in struct {} with off {off} size {size}",
                    btf.name(outer)
                ));
            }
            return Ok(Step::Done(Walked::Found(pointer(btf, name, *target, in_union))));
        }
        if u64::from(end) > true_end && !in_union {
            return Err(format!(
                "access beyond the end of member {name} (mend:{true_end}) in struct {} with off {off} size {size}",
                btf.name(outer)
            ));
        }
        return number;
    }
    Err(format!("struct {} doesn't have field at offset {off}", btf.name(outer)))
}

fn pointer<'a>(btf: &'a Btf, name: &'a str, target: TypeId, in_union: bool) -> Found<'a> {
    let Some((to, _)) = composite(btf, target) else { return Found::Other };
    let mut trust = if in_union { Trust::UNTRUSTED } else { Trust::PLAIN };
    if let Kind::TypeTag(_) = btf.kind(target) {
        trust = trust.with(tagged(btf.name(target)));
    }
    Found::Object { to, trust, name }
}

/// What a tag on the target of a pointer says.
pub(crate) fn tagged(tag: &str) -> Trust {
    match tag {
        "user" => Trust::USER,
        "percpu" => Trust::PERCPU,
        "rcu" => Trust::RCU,
        _ => Trust::PLAIN,
    }
}
