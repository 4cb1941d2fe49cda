//! Kernel functions that programs may call (kfuncs): what they take and give, who may call them.
//!
//! Linux numbers them anew in every build; here, as in objects, they go by name. A row says what
//! the kernel's verifier asks of a call. Functions without a row are not known. Program types are
//! those of Linux 6.18, found by loading programs.

use super::prog_type::ProgType;

/// An open-coded iterator: an object on the stack, stepped by calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IteratorRow {
    /// The name, such as `num`: its functions are `bpf_iter_num_new` and so on.
    pub name: &'static str,
    /// The size of the object in slots of eight bytes.
    pub slots: u8,
}

/// What a call does to an iterator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IteratorStep {
    /// Begins an iteration.
    New,
    /// Gives the next element, or NULL at the end.
    Next,
    /// Ends an iteration.
    Destroy,
}

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KfuncParam {
    /// A number.
    Scalar,
    /// Anything: the function copes with any bits.
    Ignored,
    /// The iterator that the function is for.
    Iterator,
    /// An object of the kernel that is certain to live.
    Object {
        /// The C structures that it may be.
        type_names: &'static [&'static str],
    },
}

/// What `r0` holds after the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KfuncReturn {
    /// Nothing.
    Void,
    /// A number.
    Integer,
    /// Memory of so many bytes that the program may read, or NULL.
    MemoryOrNull(u32),
    /// A reference to an object of the kernel.
    Object(&'static str),
    /// A reference to an object of the kernel, or NULL.
    ObjectOrNull(&'static str),
}

/// A kernel function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KfuncRow {
    /// The name.
    pub name: &'static str,
    /// The parameters.
    pub params: &'static [KfuncParam],
    /// What it returns.
    pub returns: KfuncReturn,
    /// Whether it takes back the reference that it is passed.
    pub releases: bool,
    /// For functions of iterators, which and what they do.
    pub iterator: Option<(&'static IteratorRow, IteratorStep)>,
    /// The types of programs that may call it; `None` is all.
    pub prog_types: Option<&'static [ProgType]>,
}

impl KfuncRow {
    /// The kernel function of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static KfuncRow> {
        KFUNCS.iter().find(|row| row.name == name)
    }

    /// Whether programs of a type may call it.
    #[must_use]
    pub fn is_allowed(&self, prog_type: ProgType) -> bool {
        self.prog_types.is_none_or(|types| types.contains(&prog_type))
    }
}

const NUM: IteratorRow = IteratorRow { name: "num", slots: 1 };
const BITS: IteratorRow = IteratorRow { name: "bits", slots: 2 };

/// Tracing, packets, control groups and `syscall`.
const GENERIC: &[ProgType] = &[
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

/// Tracing and `syscall`.
const TRACING: &[ProgType] = &[
    ProgType::TRACEPOINT,
    ProgType::PERF_EVENT,
    ProgType::TRACING,
    ProgType::STRUCT_OPS,
    ProgType::LSM,
    ProgType::SYSCALL,
];

const SCALAR: KfuncParam = KfuncParam::Scalar;
const ITERATOR: KfuncParam = KfuncParam::Iterator;

const fn iterator(
    name: &'static str,
    which: &'static IteratorRow,
    step: IteratorStep,
    params: &'static [KfuncParam],
) -> KfuncRow {
    let returns = match step {
        IteratorStep::New => KfuncReturn::Integer,
        IteratorStep::Next => KfuncReturn::MemoryOrNull(4),
        IteratorStep::Destroy => KfuncReturn::Void,
    };
    let iterator = Some((which, step));
    KfuncRow { name, params, returns, releases: false, iterator, prog_types: None }
}

const fn generic(
    name: &'static str,
    params: &'static [KfuncParam],
    returns: KfuncReturn,
) -> KfuncRow {
    KfuncRow { name, params, returns, releases: false, iterator: None, prog_types: Some(GENERIC) }
}

const fn tracing(
    name: &'static str,
    params: &'static [KfuncParam],
    returns: KfuncReturn,
) -> KfuncRow {
    KfuncRow { prog_types: Some(TRACING), ..generic(name, params, returns) }
}

const fn releasing(row: KfuncRow) -> KfuncRow {
    KfuncRow { releases: true, ..row }
}

const TASK: KfuncParam = KfuncParam::Object { type_names: &["task_struct"] };
const CGROUP: KfuncParam = KfuncParam::Object { type_names: &["cgroup"] };
const CPUMASK: KfuncParam = KfuncParam::Object { type_names: &["bpf_cpumask"] };
/// `struct bpf_cpumask` begins with a `struct cpumask`.
const ANY_CPUMASK: KfuncParam = KfuncParam::Object { type_names: &["cpumask", "bpf_cpumask"] };
const VOID: KfuncReturn = KfuncReturn::Void;
const INTEGER: KfuncReturn = KfuncReturn::Integer;
const TASK_OR_NULL: KfuncReturn = KfuncReturn::ObjectOrNull("task_struct");
const CGROUP_OR_NULL: KfuncReturn = KfuncReturn::ObjectOrNull("cgroup");
const CPUMASK_OR_NULL: KfuncReturn = KfuncReturn::ObjectOrNull("bpf_cpumask");

/// The kernel functions that are known.
pub static KFUNCS: &[KfuncRow] = &[
    iterator("bpf_iter_num_new", &NUM, IteratorStep::New, &[ITERATOR, SCALAR, SCALAR]),
    iterator("bpf_iter_num_next", &NUM, IteratorStep::Next, &[ITERATOR]),
    iterator("bpf_iter_num_destroy", &NUM, IteratorStep::Destroy, &[ITERATOR]),
    iterator(
        "bpf_iter_bits_new",
        &BITS,
        IteratorStep::New,
        &[ITERATOR, KfuncParam::Ignored, SCALAR],
    ),
    iterator("bpf_iter_bits_next", &BITS, IteratorStep::Next, &[ITERATOR]),
    iterator("bpf_iter_bits_destroy", &BITS, IteratorStep::Destroy, &[ITERATOR]),
    generic("bpf_task_from_pid", &[SCALAR], TASK_OR_NULL),
    generic("bpf_task_acquire", &[TASK], TASK_OR_NULL),
    releasing(generic("bpf_task_release", &[TASK], VOID)),
    generic("bpf_cgroup_from_id", &[SCALAR], CGROUP_OR_NULL),
    generic("bpf_cgroup_acquire", &[CGROUP], CGROUP_OR_NULL),
    releasing(generic("bpf_cgroup_release", &[CGROUP], VOID)),
    tracing("bpf_cpumask_create", &[], CPUMASK_OR_NULL),
    tracing("bpf_cpumask_acquire", &[CPUMASK], KfuncReturn::Object("bpf_cpumask")),
    releasing(tracing("bpf_cpumask_release", &[CPUMASK], VOID)),
    tracing("bpf_cpumask_set_cpu", &[SCALAR, CPUMASK], VOID),
    tracing("bpf_cpumask_test_cpu", &[SCALAR, ANY_CPUMASK], INTEGER),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_consistent() {
        for row in KFUNCS {
            assert!(core::ptr::eq(KfuncRow::named(row.name).unwrap(), row), "{} twice", row.name);
            assert!(row.params.len() <= 5);
            let iterators = row.params.iter().filter(|param| **param == ITERATOR).count();
            assert_eq!(iterators, usize::from(row.iterator.is_some()));
            assert!(row.iterator.is_none() || row.params.first() == Some(&ITERATOR));
        }
    }
}
