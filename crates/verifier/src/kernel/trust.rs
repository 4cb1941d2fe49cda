//! How much is known of a pointer to an object of the kernel: that it lives, where, for how long.

use core::fmt;

/// A set of properties. None at all is a pointer of old: it is not NULL, as far as programs are
/// concerned, loads through it are safe, and old helpers take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Trust(u8);

impl Trust {
    /// Nothing is known.
    pub(crate) const PLAIN: Trust = Trust(0);
    /// The object lives as long as the program runs.
    pub(crate) const TRUSTED: Trust = Trust(1);
    /// The object lives until the end of the section of `bpf_rcu_read_lock`.
    pub(crate) const RCU: Trust = Trust(2);
    /// It may point anywhere.
    pub(crate) const UNTRUSTED: Trust = Trust(4);
    /// It points to memory of a user.
    pub(crate) const USER: Trust = Trust(8);
    /// Every processor has an object of its own behind it.
    pub(crate) const PERCPU: Trust = Trust(16);

    const PREFIXES: [(Trust, &'static str); 5] = [
        (Trust::USER, "user_"),
        (Trust::PERCPU, "percpu_"),
        (Trust::RCU, "rcu_"),
        (Trust::UNTRUSTED, "untrusted_"),
        (Trust::TRUSTED, "trusted_"),
    ];

    /// Whether it has any of the properties.
    pub(crate) const fn has(self, any: Trust) -> bool {
        self.0 & any.0 != 0
    }

    /// It, and the other properties.
    pub(crate) const fn with(self, more: Trust) -> Trust {
        Trust(self.0 | more.0)
    }

    /// It, without the other properties.
    pub(crate) const fn without(self, less: Trust) -> Trust {
        Trust(self.0 & !less.0)
    }

    /// Whether an object behind a pointer like this certainly lives.
    pub(crate) const fn is_trusted(self) -> bool {
        self.has(Trust::TRUSTED) && !self.is_unsafe()
    }

    /// Whether there is something that keeps it from being used as an object that lives.
    pub(crate) const fn is_unsafe(self) -> bool {
        self.without(Trust::TRUSTED).0 != 0
    }
}

impl fmt::Display for Trust {
    /// As the kernel's names of types begin.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut prefixes = Trust::PREFIXES.iter().filter(|(property, _)| self.has(*property));
        prefixes.try_for_each(|(_, prefix)| f.write_str(prefix))
    }
}
