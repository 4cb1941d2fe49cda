//! Contexts: the structure r1 points to when a program starts, and what it may do with it.
//!
//! A [`ContextRow`] is a structure field by field, as `linux/bpf.h` lays it out on a 64-bit
//! machine. A [`ContextAccess`] says which fields the programs of some types may read and write,
//! and in what parts. A context that the kernel types by BTF (`TRACING`, `LSM`, `STRUCT_OPS`)
//! is a row of arguments whose kinds only the BTF of the target knows.

mod access;
mod rows;

use super::prog_type::{AttachType, ProgType};

pub use access::{COMMON_SOCKET, CONTEXT_ACCESS, FULL_SOCKET, TCP_SOCKET};
pub use rows::*;

/// A structure, field by field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextRow {
    /// Its C type, such as `struct xdp_md`.
    pub c_type: &'static str,
    /// Its size in bytes.
    pub size: u32,
    /// What it is, in a sentence.
    pub meaning: &'static str,
    /// Its fields by offset; members of a union follow each other.
    pub fields: &'static [FieldRow],
}

impl ContextRow {
    /// The field that byte `offset` lies in, if any; of a union, its first member.
    pub fn field_at(&self, offset: u32) -> Option<&'static FieldRow> {
        self.fields.iter().find(|field| field.contains(offset))
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&'static FieldRow> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// One field of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRow {
    /// Its name in C.
    pub name: &'static str,
    /// Where it begins, in bytes.
    pub offset: u32,
    /// Its C type; of an array, that of its elements.
    pub c_type: &'static str,
    /// Its size in bytes; of an array, that of its elements.
    pub element_size: u32,
    /// How many elements the array has; 1 if it is none.
    pub count: u32,
    /// What a load of the field gives.
    pub kind: FieldKind,
}

impl FieldRow {
    /// The size of the field in bytes.
    pub const fn size(&self) -> u32 {
        self.element_size * self.count
    }

    /// Whether byte `offset` of the context lies in the field.
    pub const fn contains(&self, offset: u32) -> bool {
        offset >= self.offset && offset - self.offset < self.size()
    }

    /// What a load of `size` bytes at `offset` of the context gives: a part of a pointer is only
    /// a number.
    pub fn kind_of_load(&self, offset: u32, size: u32) -> FieldKind {
        let whole = size == self.element_size
            && offset.checked_sub(self.offset).is_some_and(|start| start.is_multiple_of(size));
        if whole { self.kind } else { FieldKind::Scalar }
    }
}

/// What a load of a field gives the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A number.
    Scalar,
    /// The start of the packet or of other data with an end.
    Packet,
    /// The end of the packet or data.
    PacketEnd,
    /// The start of the metadata in front of the packet.
    PacketMeta,
    /// A socket of any kind, or NULL.
    SockCommonOrNull,
    /// A full socket.
    Socket,
    /// A full socket, or NULL.
    SocketOrNull,
    /// A `struct bpf_flow_keys`.
    FlowKeys,
    /// The writable buffer of a tracepoint.
    TracepointBuffer,
    /// A kernel object of this type.
    Btf(&'static str),
    /// Whatever the BTF of the attach target says.
    ByTarget,
}

/// Reading or writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
}

/// In which parts a field may be accessed. All accesses must be aligned to their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A whole element.
    Whole,
    /// A whole element, or two that are together aligned to 8 bytes.
    WholeOrPair,
    /// Any part of an element.
    Narrow,
    /// Any part of an element, or two elements that are together aligned to 8 bytes.
    NarrowOrPair,
    /// A part that begins where the field begins.
    AtStart,
    /// A part of at least two bytes.
    AtLeastTwo,
    /// Any part, but where the field begins only the whole.
    WholeAtStart,
    /// Any part, or 4 bytes where the field begins, although it is smaller.
    NarrowOrWord,
    /// Any part of the 4 bytes where the field begins, although it is smaller.
    NarrowOfWord,
}

impl Part {
    /// Whether `size` bytes at `start` in the field are such a part.
    fn covers(self, field: &FieldRow, start: u32, size: u32) -> bool {
        let element = field.element_size;
        let whole = size == element && start.is_multiple_of(element);
        let narrow = start % element + size <= element;
        let pair = size == 8 && element == 4 && start + size <= field.size();
        match self {
            Self::Whole => whole,
            Self::WholeOrPair => whole || pair,
            Self::Narrow => narrow,
            Self::NarrowOrPair => narrow || pair,
            Self::AtStart => narrow && start == 0,
            Self::AtLeastTwo => narrow && size >= 2,
            Self::WholeAtStart => narrow && (start != 0 || whole),
            Self::NarrowOrWord => narrow || (start == 0 && size == 4),
            Self::NarrowOfWord => start + size <= 4,
        }
    }

    /// How many bytes from the start of the field the rule speaks of.
    fn span(self, field: &FieldRow) -> u32 {
        if self == Self::NarrowOfWord { 4 } else { field.size() }
    }
}

/// How a field may be accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The field.
    pub field: &'static FieldRow,
    /// In what parts it may be read, if at all.
    pub read: Option<Part>,
    /// In what parts it may be written, if at all.
    pub write: Option<Part>,
}

/// What may be done with the fields of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldAccess {
    /// The structure.
    pub layout: &'static ContextRow,
    /// The fields that may be accessed.
    pub grants: &'static [Grant],
}

impl FieldAccess {
    /// The field accessed by `size` bytes at `offset`, or `None` if that is not allowed.
    pub fn allows(&self, offset: u32, size: u32, access: Access) -> Option<&'static FieldRow> {
        if !matches!(size, 1 | 2 | 4 | 8) || !offset.is_multiple_of(size) {
            return None;
        }
        let granted = |grant: &&Grant| {
            let part = match access {
                Access::Read => grant.read,
                Access::Write => grant.write,
            };
            let (Some(part), Some(start)) = (part, offset.checked_sub(grant.field.offset)) else {
                return false;
            };
            start < part.span(grant.field) && part.covers(grant.field, start, size)
        };
        self.grants.iter().find(granted).map(|grant| grant.field)
    }

    /// What may be done with a field, if anything.
    pub fn grant(&self, field: &FieldRow) -> Option<&'static Grant> {
        self.grants.iter().find(|grant| grant.field == field)
    }
}

/// What programs of some types may do with their context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextAccess {
    /// The program types.
    pub prog_types: &'static [ProgType],
    /// The attach types; empty if it holds for all.
    pub attach_types: &'static [AttachType],
    /// The context and its fields.
    pub fields: FieldAccess,
}

impl ContextAccess {
    /// As [`FieldAccess::allows`].
    pub fn allows(&self, offset: u32, size: u32, access: Access) -> Option<&'static FieldRow> {
        self.fields.allows(offset, size, access)
    }
}

/// The context of a program type.
///
/// `None` for numbers without a name, and for `EXT`, which has the context of the program it
/// replaces.
pub fn context_of(prog_type: ProgType) -> Option<&'static ContextRow> {
    let access = CONTEXT_ACCESS.iter().find(|access| access.prog_types.contains(&prog_type))?;
    Some(access.fields.layout)
}

/// What a program of these types may do with its context; `None` as for [`context_of`].
///
/// If the attach type is not one that the program type knows, nothing is known either.
pub fn context_for(prog_type: ProgType, attach_type: AttachType) -> Option<&'static ContextAccess> {
    CONTEXT_ACCESS.iter().find(|access| {
        access.prog_types.contains(&prog_type)
            && (access.attach_types.is_empty() || access.attach_types.contains(&attach_type))
    })
}

#[cfg(test)]
mod tests;
