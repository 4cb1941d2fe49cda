//! Objects that programs allocate, and the lists and trees that hold them: the kernel functions
//! that deal with them.
//!
//! They go by name, as all kernel functions. Which program types may call them was found by
//! loading programs into Linux 6.18; it is the same for all.

use super::prog_type::ProgType;

/// What a kernel function does to objects of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectCall {
    /// Allocates an object of the type of the program with a constant number, or gives NULL.
    New {
        /// Whether every processor has one.
        percpu: bool,
    },
    /// Gives an object back.
    Drop {
        /// Whether every processor has one.
        percpu: bool,
    },
    /// Gives another reference to a counted object, or NULL.
    Acquire,
    /// Puts an object into a list.
    ListPush,
    /// Takes the first or last object out of a list, or gives NULL.
    ListPop,
    /// Shows the first or last object of a list, or gives NULL.
    ListPeek,
    /// Puts an object into a tree; a function of the program says where.
    TreeAdd,
    /// Takes an object out of a tree, or gives NULL.
    TreeRemove,
    /// Shows the first object of a tree, or its root, or gives NULL.
    TreePeek,
    /// Shows what is below an object in a tree, or gives NULL.
    TreeWalk,
}

impl ObjectCall {
    /// Whether it deals with a list or a tree, or counts references: allowed while a lock is held.
    #[must_use]
    pub fn is_allowed_under_lock(self) -> bool {
        !matches!(self, ObjectCall::New { .. } | ObjectCall::Drop { .. })
    }
}

/// A kernel function that deals with objects of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectRow {
    /// The name.
    pub name: &'static str,
    /// What it does.
    pub call: ObjectCall,
}

impl ObjectRow {
    /// The kernel function of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static ObjectRow> {
        OBJECT_KFUNCS.iter().find(|row| row.name == name)
    }
}

/// The types of programs that may call them.
pub static OBJECT_PROG_TYPES: &[ProgType] = &[
    ProgType::SCHED_CLS,
    ProgType::TRACEPOINT,
    ProgType::XDP,
    ProgType::PERF_EVENT,
    ProgType::CGROUP_SKB,
    ProgType::CGROUP_SOCK,
    ProgType::SOCK_OPS,
    ProgType::CGROUP_DEVICE,
    ProgType::CGROUP_SOCK_ADDR,
    ProgType::CGROUP_SYSCTL,
    ProgType::CGROUP_SOCKOPT,
    ProgType::TRACING,
    ProgType::STRUCT_OPS,
    ProgType::LSM,
    ProgType::SYSCALL,
];

const fn row(name: &'static str, call: ObjectCall) -> ObjectRow {
    ObjectRow { name, call }
}

/// The kernel functions that deal with objects of a program.
pub static OBJECT_KFUNCS: &[ObjectRow] = &[
    row("bpf_obj_new_impl", ObjectCall::New { percpu: false }),
    row("bpf_percpu_obj_new_impl", ObjectCall::New { percpu: true }),
    row("bpf_obj_drop_impl", ObjectCall::Drop { percpu: false }),
    row("bpf_percpu_obj_drop_impl", ObjectCall::Drop { percpu: true }),
    row("bpf_refcount_acquire_impl", ObjectCall::Acquire),
    row("bpf_list_push_front_impl", ObjectCall::ListPush),
    row("bpf_list_push_back_impl", ObjectCall::ListPush),
    row("bpf_list_pop_front", ObjectCall::ListPop),
    row("bpf_list_pop_back", ObjectCall::ListPop),
    row("bpf_list_front", ObjectCall::ListPeek),
    row("bpf_list_back", ObjectCall::ListPeek),
    row("bpf_rbtree_add_impl", ObjectCall::TreeAdd),
    row("bpf_rbtree_remove", ObjectCall::TreeRemove),
    row("bpf_rbtree_first", ObjectCall::TreePeek),
    row("bpf_rbtree_root", ObjectCall::TreePeek),
    row("bpf_rbtree_left", ObjectCall::TreeWalk),
    row("bpf_rbtree_right", ObjectCall::TreeWalk),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::kfunc::KfuncRow;

    #[test]
    fn rows_are_consistent() {
        for row in OBJECT_KFUNCS {
            assert!(core::ptr::eq(ObjectRow::named(row.name).unwrap(), row), "{} twice", row.name);
            assert!(KfuncRow::named(row.name).is_none(), "{} in two tables", row.name);
        }
    }
}
