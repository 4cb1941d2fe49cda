//! The fields of a structure that have a meaning for the kernel: locks, timers, pointers to kernel
//! objects, lists and trees.
//!
//! One walk over types, for values of maps and for objects that a program allocates. What the
//! fields allow is left to the rules.

use skep_btf::{Btf, Kind, TypeId};

/// A part of a map's value, or of an allocated object, that has a meaning for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialField {
    /// What it is.
    pub kind: SpecialKind,
    /// Where it begins, in bytes.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
    /// What a pointer points to, or a list or tree holds.
    pub target: Option<FieldTarget>,
}

/// What a pointer points to, or what a list or tree holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTarget {
    /// The structure, in the types that the field was found in.
    pub type_id: TypeId,
    /// Its name.
    pub type_name: String,
    /// Of a list or tree, where its elements have the node, in bytes.
    pub node_offset: Option<u32>,
}

/// The kinds of special fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialKind {
    /// `struct bpf_spin_lock`.
    SpinLock,
    /// `struct bpf_res_spin_lock`.
    ResilientSpinLock,
    /// `struct bpf_timer`.
    Timer,
    /// `struct bpf_wq`.
    Workqueue,
    /// `struct bpf_task_work`.
    TaskWork,
    /// `struct bpf_list_head`.
    ListHead,
    /// `struct bpf_list_node`.
    ListNode,
    /// `struct bpf_rb_root`.
    TreeRoot,
    /// `struct bpf_rb_node`.
    TreeNode,
    /// `struct bpf_refcount`.
    Refcount,
    /// A pointer with the type tag `kptr`: it owns a reference.
    OwningPointer,
    /// A pointer with the type tag `kptr_untrusted`.
    UntrustedPointer,
    /// A pointer with the type tag `percpu_kptr`.
    PercpuPointer,
    /// A pointer with the type tag `uptr`: to memory of the user.
    UserPointer,
    /// A pointer with a type tag that Linux 6.18 does not know.
    UnknownPointer,
}

impl SpecialKind {
    const STRUCTURES: [(&'static str, SpecialKind); 10] = [
        ("bpf_spin_lock", SpecialKind::SpinLock),
        ("bpf_res_spin_lock", SpecialKind::ResilientSpinLock),
        ("bpf_timer", SpecialKind::Timer),
        ("bpf_wq", SpecialKind::Workqueue),
        ("bpf_task_work", SpecialKind::TaskWork),
        ("bpf_list_head", SpecialKind::ListHead),
        ("bpf_list_node", SpecialKind::ListNode),
        ("bpf_rb_root", SpecialKind::TreeRoot),
        ("bpf_rb_node", SpecialKind::TreeNode),
        ("bpf_refcount", SpecialKind::Refcount),
    ];

    const TAGS: [(&'static str, SpecialKind); 4] = [
        ("kptr", SpecialKind::OwningPointer),
        ("kptr_untrusted", SpecialKind::UntrustedPointer),
        ("percpu_kptr", SpecialKind::PercpuPointer),
        ("uptr", SpecialKind::UserPointer),
    ];

    /// The kind of a C structure.
    pub(crate) fn named(structure: &str) -> Option<SpecialKind> {
        Self::STRUCTURES.iter().find(|row| row.0 == structure).map(|row| row.1)
    }

    /// The kernel's name: that of the C structure, or of the pointer.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SpecialKind::PercpuPointer => "percpu_kptr",
            SpecialKind::UserPointer => "uptr",
            other => Self::STRUCTURES.iter().find(|row| row.1 == other).map_or("kptr", |row| row.0),
        }
    }

    /// Whether it is a pointer.
    #[must_use]
    pub fn is_pointer(self) -> bool {
        self == SpecialKind::UnknownPointer || Self::TAGS.iter().any(|row| row.1 == self)
    }
}

/// The special fields in values of a map, as Linux 6.18 finds them (`btf_parse_fields`): those of
/// nested structures and arrays of them count, those in unions do not. Of a section of global data
/// the offsets of its variables must be filled in, which compilers leave to the loader; else ask
/// for each variable.
#[must_use]
pub fn special_fields(btf: &Btf, value_type: TypeId) -> Vec<SpecialField> {
    find(btf, value_type, |kind| !matches!(kind, SpecialKind::ListNode | SpecialKind::TreeNode))
}

/// The special fields of an object that a program allocates.
#[must_use]
pub fn object_fields(btf: &Btf, structure: TypeId) -> Vec<SpecialField> {
    find(btf, structure, |kind| {
        !matches!(
            kind,
            SpecialKind::Timer
                | SpecialKind::Workqueue
                | SpecialKind::TaskWork
                | SpecialKind::UserPointer
        )
    })
}

fn find(btf: &Btf, id: TypeId, counts: fn(SpecialKind) -> bool) -> Vec<SpecialField> {
    let mut search = Search { btf, counts, fields: Vec::new() };
    let place = Place { offset: 0, depth: 0, declared: (id, None) };
    match btf.get(id).map(|ty| &ty.kind) {
        Some(Kind::Datasec { vars, .. }) => {
            for var in btf.datasec_vars(*vars) {
                let Kind::Var { ty, .. } = btf.kind(var.ty) else { continue };
                let declared = (var.ty, None);
                search.collect(*ty, Place { offset: var.offset, declared, ..place });
            }
        }
        Some(Kind::Var { ty, .. }) => search.collect(*ty, place),
        Some(Kind::Struct(_)) => search.members(id, place),
        _ => {}
    }
    search.fields
}

/// Where a type lies in the value.
#[derive(Clone, Copy)]
struct Place {
    offset: u32,
    depth: u32,
    /// The declaration that may carry tags: a structure and its member, or a variable.
    declared: (TypeId, Option<u32>),
}

struct Search<'a> {
    btf: &'a Btf,
    counts: fn(SpecialKind) -> bool,
    fields: Vec<SpecialField>,
}

impl Search<'_> {
    fn members(&mut self, id: TypeId, place: Place) {
        let Kind::Struct(composite) = self.btf.kind(id) else { return };
        for (index, member) in (0..).zip(self.btf.members(composite)) {
            self.collect(
                member.ty,
                Place {
                    offset: place.offset.saturating_add(member.bit_offset / 8),
                    depth: place.depth + 1,
                    declared: (id, Some(index)),
                },
            );
        }
    }

    /// Names count as they are written: behind a `typedef` or `const` the kernel does not look.
    fn collect(&mut self, id: TypeId, place: Place) {
        const MAX_DEPTH: u32 = 15;
        const MAX_ELEMENTS: u32 = 64;
        let btf = self.btf;
        if place.depth > MAX_DEPTH {
            return;
        }
        match btf.kind(id) {
            Kind::Struct(composite) => {
                let mut rows = SpecialKind::STRUCTURES.iter().filter(|row| (self.counts)(row.1));
                match rows.find(|row| row.0 == btf.name(id)) {
                    Some((_, kind)) => {
                        let target = self.elements(*kind, place.declared);
                        self.add(*kind, place.offset, composite.size, target);
                    }
                    None => self.members(id, place),
                }
            }
            Kind::Array(array) => {
                let Ok(Ok(size)) = btf.size_of(array.element).map(u32::try_from) else { return };
                for index in 0..array.count.min(MAX_ELEMENTS) {
                    let offset = place.offset.saturating_add(index.saturating_mul(size));
                    self.collect(array.element, Place { offset, depth: place.depth + 1, ..place });
                }
            }
            Kind::Volatile(inner) => {
                if let Kind::Ptr(target) = btf.kind(*inner) {
                    self.pointer(*target, place.offset);
                }
            }
            Kind::Ptr(target) => self.pointer(*target, place.offset),
            _ => {}
        }
    }

    fn add(&mut self, kind: SpecialKind, offset: u32, size: u32, target: Option<FieldTarget>) {
        self.fields.push(SpecialField { kind, offset, size, target });
    }

    fn pointer(&mut self, pointee: TypeId, offset: u32) {
        const POINTER_BYTES: u32 = 8;
        let btf = self.btf;
        let Kind::TypeTag(tagged) = btf.kind(pointee) else { return };
        let known = SpecialKind::TAGS.iter().find(|row| row.0 == btf.name(pointee));
        let kind = known.map_or(SpecialKind::UnknownPointer, |row| row.1);
        let structure = btf.resolve(*tagged).ok();
        let target = structure.map(|id| FieldTarget {
            type_id: id,
            type_name: btf.name(id).to_owned(),
            node_offset: None,
        });
        self.add(kind, offset, POINTER_BYTES, target);
    }

    /// What a list or tree holds: the declaration says so with the tag `contains:TYPE:MEMBER`.
    fn elements(
        &self,
        kind: SpecialKind,
        (on, component): (TypeId, Option<u32>),
    ) -> Option<FieldTarget> {
        if !matches!(kind, SpecialKind::ListHead | SpecialKind::TreeRoot) {
            return None;
        }
        let mut tags = self.btf.decl_tags(on, component);
        let (type_name, member) =
            tags.find_map(|tag| tag.strip_prefix("contains:")?.split_once(':'))?;
        let (type_id, element) = self.btf.find_struct(type_name)?;
        let mut members = self.btf.members(element).iter();
        let node = members.find(|found| self.btf.str(found.name) == member)?;
        Some(FieldTarget {
            type_id,
            type_name: type_name.to_owned(),
            node_offset: Some(node.bit_offset / 8),
        })
    }
}
