//! The types of objects that a program allocates, and whether the kernel takes them.
//!
//! The kernel looks at all types with special fields before it takes any of them; what it would
//! refuse has no objects here. (Linux 6.18, `btf_parse_fields`, `btf_parse_struct_metas`.)

use crate::explore::Walk;
use crate::input::{MapFacts, SpecialField, SpecialKind, object_fields};
use crate::rejection::{Check, Rule, fault, unsupported};
use core::cell::{OnceCell, RefCell};
use skep_bpf::platform::{MapFlags, MapType};
use skep_btf::{Btf, Kind, TypeId};
use std::collections::HashMap;
use std::rc::Rc;

/// The most special fields that a type may have.
const MAX_FIELDS: usize = 11;

/// How deeply objects may own others.
const MAX_OWNERS: usize = 8;

/// Objects of the kernel that it can give back for a map's value, and that RCU protects.
pub(crate) const PROTECTED: &[&str] =
    &["task_struct", "cgroup", "bpf_cpumask", "bpf_crypto_ctx", "prog_test_ref_kfunc"];

/// Others that it can give back.
const OWNABLE: &[&str] = &["prog_test_member"];

/// What was found out about the types of objects.
#[derive(Default)]
pub(crate) struct AllocatedTypes {
    valid: OnceCell<bool>,
    fields: RefCell<HashMap<TypeId, Rc<[SpecialField]>>>,
}

impl<'a> Walk<'a> {
    /// The types of the program.
    pub(crate) fn program_types(&self) -> Check<&'a Btf> {
        match self.input.types {
            Some(types) => Ok(types),
            None => fault(Rule::Object, "bpf_obj_new/bpf_percpu_obj_new requires prog BTF"),
        }
    }

    /// The kernel takes the types of the program, if that matters: maps and functions have none
    /// otherwise.
    pub(crate) fn check_types(&self) -> Check {
        let has_fields = |map: &MapFacts| {
            let inner = map.inner.as_ref().is_some_and(|inner| !inner.fields.is_empty());
            !map.fields.is_empty() || inner
        };
        let matters = self.input.maps.iter().any(has_fields) || self.input.functions.len() > 1;
        match self.input.types {
            Some(types) if matters => self.check_valid(types),
            _ => Ok(()),
        }
    }

    fn check_valid(&self, types: &Btf) -> Check {
        let valid = || are_valid(types, &|field| self.is_ownable(field));
        if *self.allocated_types.valid.get_or_init(valid) {
            return Ok(());
        }
        // What a pointer owns is an object of the kernel if its types say so.
        self.kernel_types()?;
        unsupported("types whose special fields the kernel refuses")
    }

    /// The special fields of objects of a type.
    pub(crate) fn fields_of(&self, type_id: TypeId) -> Check<Rc<[SpecialField]>> {
        let types = self.program_types()?;
        self.check_valid(types)?;
        let mut known = self.allocated_types.fields.borrow_mut();
        let fields = known.entry(type_id).or_insert_with(|| object_fields(types, type_id).into());
        Ok(Rc::clone(fields))
    }

    /// Whether the kernel can give back what a pointer owns: any object of the program, and some of
    /// its own. Without its types that is not known.
    fn is_ownable(&self, field: &SpecialField) -> bool {
        if field.kind != SpecialKind::OwningPointer {
            return true;
        }
        let Some(target) = &field.target else { return false };
        let name = target.type_name.as_str();
        OWNABLE.contains(&name)
            || PROTECTED.contains(&name)
            || self.kernel_types().is_ok_and(|types| types.find_struct(name).is_none())
    }

    /// The special fields of a map's values. The kernel forgets all of them where it does not
    /// understand one.
    pub(crate) fn fields_of_value<'f>(&self, facts: &'f MapFacts) -> &'f [SpecialField] {
        let known = |id| match self.input.types {
            Some(types) => object_fields(types, id),
            None => Vec::new(),
        };
        let is_taken =
            facts.fields.iter().all(|field| may_hold(facts, field.kind) && self.is_ownable(field));
        let points_well = match self.input.types {
            Some(types) => point_to_structures(types, &facts.fields),
            None => !facts.fields.iter().any(|field| field.kind.is_pointer()),
        };
        let is_valid = is_taken && points_well && is_valid_record(&facts.fields, &known);
        if is_valid { &facts.fields } else { &[] }
    }
}

/// Whether values of a map may have a field: else the kernel makes the map without types.
fn may_hold(facts: &MapFacts, kind: SpecialKind) -> bool {
    use SpecialKind as K;
    const ELEMENTS: &[MapType] = &[MapType::HASH, MapType::LRU_HASH, MapType::ARRAY];
    const STORAGE: &[MapType] = &[
        MapType::SK_STORAGE,
        MapType::INODE_STORAGE,
        MapType::TASK_STORAGE,
        MapType::CGRP_STORAGE,
    ];
    const PERCPU: &[MapType] =
        &[MapType::PERCPU_HASH, MapType::LRU_PERCPU_HASH, MapType::PERCPU_ARRAY];
    let of = |lists: &[&[MapType]]| lists.iter().any(|list| list.contains(&facts.map_type));
    if facts.flags.contains(MapFlags::RDONLY_PROG) || facts.flags.contains(MapFlags::WRONLY_PROG) {
        return false;
    }
    match kind {
        K::SpinLock | K::ResilientSpinLock => {
            of(&[&[MapType::HASH, MapType::ARRAY, MapType::CGROUP_STORAGE], STORAGE])
        }
        K::OwningPointer | K::UntrustedPointer | K::PercpuPointer | K::Refcount => {
            of(&[ELEMENTS, STORAGE, PERCPU])
        }
        K::Timer | K::Workqueue | K::TaskWork | K::ListHead | K::TreeRoot => of(&[ELEMENTS]),
        K::UserPointer => facts.map_type == MapType::TASK_STORAGE,
        K::ListNode | K::TreeNode | K::UnknownPointer => false,
    }
}

/// Whether the kernel takes all types with special fields.
fn are_valid(types: &Btf, is_ownable: &dyn Fn(&SpecialField) -> bool) -> bool {
    let is_special = |id: TypeId| match types.kind(id) {
        Kind::Struct(_) => SpecialKind::named(types.name(id)).is_some(),
        Kind::Ptr(target) => matches!(types.kind(*target), Kind::TypeTag(_)),
        Kind::Volatile(inner) => matches!(types.kind(*inner), Kind::Ptr(target)
            if matches!(types.kind(*target), Kind::TypeTag(_))),
        _ => false,
    };
    let has_fields = |id: &TypeId| match types.kind(*id) {
        Kind::Struct(composite) => {
            types.members(composite).iter().any(|member| is_special(member.ty))
        }
        _ => false,
    };
    let found = types.types().map(|(id, _)| id).filter(has_fields);
    let records: HashMap<TypeId, Vec<SpecialField>> =
        found.map(|id| (id, object_fields(types, id))).collect();
    let known = |id: TypeId| records.get(&id).cloned().unwrap_or_default();
    records.iter().all(|(id, fields)| {
        is_valid_record(fields, &known)
            && fields.iter().all(is_ownable)
            && point_to_structures(types, fields)
            && !owns_deeper_than(*id, MAX_OWNERS, &known)
            && !is_owned_owner_of_owners(fields, &known)
    })
}

/// Pointers are to structures, of which the types say more than the name.
fn point_to_structures(types: &Btf, fields: &[SpecialField]) -> bool {
    let is_structure = |id: TypeId| matches!(types.kind(id), Kind::Struct(_));
    let points_well = |field: &SpecialField| {
        let target = field.target.as_ref();
        !field.kind.is_pointer() || target.is_some_and(|target| is_structure(target.type_id))
    };
    fields.iter().all(points_well)
}

/// Whether the kernel understands the special fields of a type.
fn is_valid_record(fields: &[SpecialField], known: &dyn Fn(TypeId) -> Vec<SpecialField>) -> bool {
    use SpecialKind as K;
    let count = |kind: K| fields.iter().filter(|field| field.kind == kind).count();
    let unique =
        [K::SpinLock, K::ResilientSpinLock, K::Timer, K::Workqueue, K::TaskWork, K::Refcount];
    let locks = count(K::SpinLock) + count(K::ResilientSpinLock);
    let roots = count(K::ListHead) + count(K::TreeRoot);
    let shared = count(K::ListNode) > 0 && count(K::TreeNode) > 0;
    let holds = |field: &SpecialField| {
        let node = match field.kind {
            K::ListHead => K::ListNode,
            K::TreeRoot => K::TreeNode,
            _ => return true,
        };
        let Some(target) = &field.target else { return false };
        let is_node =
            |inner: &SpecialField| inner.kind == node && Some(inner.offset) == target.node_offset;
        known(target.type_id).iter().any(is_node)
    };
    let mut ends: Vec<(u64, u64)> = fields
        .iter()
        .map(|field| (u64::from(field.offset), u64::from(field.offset) + u64::from(field.size)))
        .collect();
    ends.sort_unstable();
    fields.len() <= MAX_FIELDS
        && unique.into_iter().all(|kind| count(kind) <= 1)
        && locks <= 1
        && (roots == 0 || locks == 1)
        && (!shared || count(K::Refcount) == 1)
        && count(K::UnknownPointer) == 0
        && ends.windows(2).all(|pair| pair[0].1 <= pair[1].0)
        && fields.iter().all(holds)
}

/// The types that an object of one owns: in lists, trees and pointers.
fn owned(fields: &[SpecialField]) -> impl Iterator<Item = TypeId> {
    use SpecialKind as K;
    let owns = |field: &&SpecialField| {
        matches!(field.kind, K::ListHead | K::TreeRoot | K::OwningPointer | K::PercpuPointer)
    };
    fields.iter().filter(owns).filter_map(|field| Some(field.target.as_ref()?.type_id))
}

fn owns_deeper_than(
    id: TypeId,
    levels: usize,
    known: &dyn Fn(TypeId) -> Vec<SpecialField>,
) -> bool {
    let fields = known(id);
    if fields.is_empty() {
        return false;
    }
    levels == 0 || owned(&fields).any(|inner| owns_deeper_than(inner, levels - 1, known))
}

/// What is held in a list or tree may itself have lists and trees, but not of such objects.
fn is_owned_owner_of_owners(
    fields: &[SpecialField],
    known: &dyn Fn(TypeId) -> Vec<SpecialField>,
) -> bool {
    use SpecialKind as K;
    let is_root = |field: &SpecialField| matches!(field.kind, K::ListHead | K::TreeRoot);
    let is_node = |field: &SpecialField| matches!(field.kind, K::ListNode | K::TreeNode);
    let mut targets =
        fields.iter().filter(|field| is_root(field)).filter_map(|field| field.target.as_ref());
    fields.iter().any(is_node) && targets.any(|target| known(target.type_id).iter().any(is_root))
}
