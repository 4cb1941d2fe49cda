//! Linux's error numbers, as helpers and map operations return them.

use std::fmt;

/// An error number, positive; helpers return it negated.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)+) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Errno = Errno($number);)+

            /// The symbol and what it means, for the numbers that BPF operations return.
            #[must_use]
            pub const fn known(self) -> Option<(&'static str, &'static str)> {
                match self.0 {
                    $($number => Some((stringify!($name), $text)),)+
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    /// Operation not permitted.
    EPERM = 1, "operation not permitted";
    /// No such element.
    ENOENT = 2, "no such element";
    /// Argument list, or number of elements, too large.
    E2BIG = 7, "too many or too large";
    /// Not an open file.
    EBADF = 9, "not an open file";
    /// Try again.
    EAGAIN = 11, "try again";
    /// Out of memory.
    ENOMEM = 12, "out of memory";
    /// Permission denied.
    EACCES = 13, "permission denied";
    /// Bad address.
    EFAULT = 14, "bad address";
    /// Busy.
    EBUSY = 16, "busy";
    /// The element exists already.
    EEXIST = 17, "the element exists already";
    /// No such device.
    ENODEV = 19, "no such device";
    /// Invalid argument.
    EINVAL = 22, "invalid argument";
    /// No space left.
    ENOSPC = 28, "no space left";
    /// Out of range.
    ERANGE = 34, "out of range";
    /// Not implemented.
    ENOSYS = 38, "not implemented";
    /// Too large for its type.
    EOVERFLOW = 75, "too large for its type";
    /// Not supported.
    ENOTSUPP = 524, "not supported";
    /// Protocol error.
    EPROTO = 71, "protocol error";
    /// Address family not supported.
    EAFNOSUPPORT = 97, "address family not supported";
    /// Already under way.
    EALREADY = 114, "already under way";
    /// Operation not supported.
    EOPNOTSUPP = 95, "operation not supported";
}

impl Errno {
    /// The value that a helper returns for the error.
    #[must_use]
    pub const fn to_return(self) -> u64 {
        (-(self.0 as i64)) as u64
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((symbol, text)) => write!(f, "{symbol} ({text})"),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}
