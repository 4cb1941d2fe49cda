//! Kernel functions that programs may call (kfuncs), those that need no types of the kernel: what
//! they take and give.
//!
//! Linux numbers them anew in every build; here, as in objects, they go by name. A row says what
//! the kernel's verifier asks of a call.

use super::prog_type::ProgType;

/// An open-coded iterator: an object on the stack, stepped by calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IteratorRow {
    /// The name, such as `num`: its functions are `bpf_iter_num_new` and so on.
    pub name: &'static str,
    /// The size of the object in slots of eight bytes.
    pub slots: u8,
    /// Which one of all iterators it is.
    pub number: u8,
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
}

/// What `r0` holds after the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KfuncReturn {
    /// Nothing.
    Void,
    /// It does not return: the program ends with an exception, of which the number that is passed
    /// is the result.
    Never,
    /// A number.
    Integer,
    /// Memory of so many bytes that the program may read, or NULL.
    MemoryOrNull(u32),
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

const NUM: IteratorRow = IteratorRow { name: "num", slots: 1, number: 0 };
const BITS: IteratorRow = IteratorRow { name: "bits", slots: 2, number: 1 };

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
    KfuncRow { name, params, returns, iterator, prog_types: None }
}

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
    KfuncRow {
        name: "bpf_throw",
        params: &[SCALAR],
        returns: KfuncReturn::Never,
        iterator: None,
        prog_types: super::typed_kfunc::GENERIC,
    },
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
