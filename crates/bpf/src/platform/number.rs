//! Numbers the kernel hands out, with their names.
//!
//! `named_numbers!` makes a newtype over `u32` with named constants, one row per named value,
//! look-up by number and by name, and `Display`. Values without a row are valid.

use core::fmt;

/// A release of Linux, such as 5.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// The number before the point.
    pub major: u16,
    /// The number after the point.
    pub minor: u16,
}

impl KernelVersion {
    /// The release `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What is known about one named number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberRow<T: 'static> {
    /// The number itself.
    pub number: T,
    /// The name that libbpf and bpftool print, such as `percpu_array`.
    pub name: &'static str,
    /// The name of the constant in `linux/bpf.h`, such as `BPF_MAP_TYPE_PERCPU_ARRAY`.
    pub constant: &'static str,
    /// The first release that knows it.
    pub since: KernelVersion,
    /// What it is, in a sentence.
    pub meaning: &'static str,
}

/// Defines an open set of numbers: newtype, constants, rows, look-ups, `Display`.
macro_rules! named_numbers {
    (
        $(#[$type_doc:meta])*
        pub struct $type:ident, $what:literal, $prefix:literal;
        $( $constant:ident = $number:literal, $name:literal, ($major:literal, $minor:literal),
            $meaning:literal; )*
    ) => {
        $(#[$type_doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $type(pub u32);

        impl $type {
            $(
                #[doc = concat!("`", $prefix, stringify!($constant), "`. ", $meaning)]
                pub const $constant: Self = Self($number);
            )*

            /// One row per named number, in ascending order.
            pub const ROWS: &'static [$crate::platform::NumberRow<Self>] = &[
                $( $crate::platform::NumberRow {
                    number: Self::$constant,
                    name: $name,
                    constant: concat!($prefix, stringify!($constant)),
                    since: $crate::platform::KernelVersion::new($major, $minor),
                    meaning: $meaning,
                }, )*
            ];

            /// The row of this number, if it has a name.
            pub fn row(self) -> Option<&'static $crate::platform::NumberRow<Self>> {
                let place = Self::ROWS.binary_search_by_key(&self, |row| row.number).ok()?;
                Self::ROWS.get(place)
            }

            /// The number of this name: bpftool's (`$name`) or the constant of `linux/bpf.h`.
            pub fn named(name: &str) -> Option<Self> {
                Self::ROWS
                    .iter()
                    .find(|row| row.name == name || row.constant == name)
                    .map(|row| row.number)
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.row() {
                    Some(row) => f.pad(row.name),
                    None => write!(f, concat!($what, " {}"), self.0),
                }
            }
        }

        impl core::fmt::Debug for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.row() {
                    Some(row) => f.write_str(row.constant),
                    None => write!(f, concat!(stringify!($type), "({})"), self.0),
                }
            }
        }
    };
}
