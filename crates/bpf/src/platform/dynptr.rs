//! Dynamic pointers: what they can point to, and the kernel functions that deal with them.
//!
//! Helpers for dynamic pointers are rows of the table of helpers. The kernel functions go by name,
//! as all of them; which program types may call them was found by loading programs into Linux
//! 6.18.

use super::prog_type::ProgType;

/// What a dynamic pointer points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynptrClass {
    /// Memory of the program: a map's value.
    Local,
    /// A record of a ring buffer, which must be submitted or discarded.
    Ringbuf,
    /// The packet of a socket buffer, which need not lie in one piece.
    Skb,
    /// The packet of an XDP frame, which need not lie in one piece.
    Xdp,
    /// The metadata before the packet of a socket buffer.
    SkbMeta,
}

impl DynptrClass {
    /// The kernel's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DynptrClass::Local => "local",
            DynptrClass::Ringbuf => "ringbuf",
            DynptrClass::Skb => "skb",
            DynptrClass::Xdp => "xdp",
            DynptrClass::SkbMeta => "skb_meta",
        }
    }

    /// Whether it must be given back.
    #[must_use]
    pub fn is_counted(self) -> bool {
        self == DynptrClass::Ringbuf
    }

    /// Whether it points to data of the packet, which moves when the packet is changed.
    #[must_use]
    pub fn is_packet(self) -> bool {
        matches!(self, DynptrClass::Skb | DynptrClass::Xdp | DynptrClass::SkbMeta)
    }
}

/// What a kernel function does to dynamic pointers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynptrCall {
    /// Makes one to the packet of the context: context, flags, new one.
    FromContext(DynptrClass),
    /// Gives memory of a constant size, in place or copied to a buffer, or NULL: existing one,
    /// offset, buffer or NULL, its size.
    Slice {
        /// Whether the memory may be written.
        writable: bool,
    },
    /// Copies the pointer: existing one, new one.
    Clone,
    /// Uses one and some numbers.
    Use {
        /// How many numbers follow it.
        numbers: u8,
        /// Whether it writes to the memory.
        writes: bool,
    },
    /// Copies memory: existing one, offset, existing one, offset, size.
    Copy,
}

/// A kernel function that deals with dynamic pointers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DynptrRow {
    /// The name.
    pub name: &'static str,
    /// What it does.
    pub call: DynptrCall,
    /// The types of programs that may call it; `None` is all.
    pub prog_types: Option<&'static [ProgType]>,
}

impl DynptrRow {
    /// The kernel function of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static DynptrRow> {
        DYNPTR_KFUNCS.iter().find(|row| row.name == name)
    }
}

/// Program types whose context is a socket buffer, or which are passed the kernel's own.
const SOCKET_BUFFERS: &[ProgType] = &[
    ProgType::SOCKET_FILTER,
    ProgType::SCHED_CLS,
    ProgType::SCHED_ACT,
    ProgType::CGROUP_SKB,
    ProgType::LWT_IN,
    ProgType::LWT_OUT,
    ProgType::LWT_XMIT,
    ProgType::LWT_SEG6LOCAL,
    ProgType::SK_SKB,
    ProgType::NETFILTER,
    ProgType::TRACING,
];
const TRAFFIC_CONTROL: &[ProgType] = &[ProgType::SCHED_CLS, ProgType::SCHED_ACT];
const XDP: &[ProgType] = &[ProgType::XDP];

const fn of_context(
    name: &'static str,
    class: DynptrClass,
    prog_types: &'static [ProgType],
) -> DynptrRow {
    DynptrRow { name, call: DynptrCall::FromContext(class), prog_types: Some(prog_types) }
}

const fn of_all(name: &'static str, call: DynptrCall) -> DynptrRow {
    DynptrRow { name, call, prog_types: None }
}

const fn asks(numbers: u8) -> DynptrCall {
    DynptrCall::Use { numbers, writes: false }
}

/// Offset, size, and an address that may be anything.
const READ_IN: DynptrCall = DynptrCall::Use { numbers: 2, writes: true };

/// The kernel functions that deal with dynamic pointers.
pub static DYNPTR_KFUNCS: &[DynptrRow] = &[
    of_context("bpf_dynptr_from_skb", DynptrClass::Skb, SOCKET_BUFFERS),
    of_context("bpf_dynptr_from_skb_meta", DynptrClass::SkbMeta, TRAFFIC_CONTROL),
    of_context("bpf_dynptr_from_xdp", DynptrClass::Xdp, XDP),
    of_all("bpf_dynptr_slice", DynptrCall::Slice { writable: false }),
    of_all("bpf_dynptr_slice_rdwr", DynptrCall::Slice { writable: true }),
    of_all("bpf_dynptr_clone", DynptrCall::Clone),
    of_all("bpf_dynptr_adjust", asks(2)),
    of_all("bpf_dynptr_is_null", asks(0)),
    of_all("bpf_dynptr_is_rdonly", asks(0)),
    of_all("bpf_dynptr_size", asks(0)),
    of_all("bpf_probe_read_user_dynptr", READ_IN),
    of_all("bpf_probe_read_user_str_dynptr", READ_IN),
    of_all("bpf_probe_read_kernel_dynptr", READ_IN),
    of_all("bpf_probe_read_kernel_str_dynptr", READ_IN),
    of_all("bpf_dynptr_copy", DynptrCall::Copy),
    of_all("bpf_dynptr_memset", DynptrCall::Use { numbers: 3, writes: true }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::kfunc::KfuncRow;

    #[test]
    fn rows_are_consistent() {
        for row in DYNPTR_KFUNCS {
            assert!(core::ptr::eq(DynptrRow::named(row.name).unwrap(), row), "{} twice", row.name);
            assert!(KfuncRow::named(row.name).is_none(), "{} in two tables", row.name);
        }
    }
}
