//! How many CPUs the kernel keeps values for in per-CPU maps.

use crate::Error;
use std::fs;

/// Where the kernel lists the CPUs that may ever come online.
const POSSIBLE: &str = "/sys/devices/system/cpu/possible";

/// The number of CPUs that may ever come online: a value of a per-CPU map has this many parts.
///
/// # Errors
///
/// [`Error::Cpus`] if the kernel's list cannot be read or understood.
pub fn possible_cpus() -> Result<usize, Error> {
    let list = fs::read_to_string(POSSIBLE)
        .map_err(|error| Error::Cpus { found: format!("{POSSIBLE}: {error}") })?;
    count(list.trim()).ok_or(Error::Cpus { found: list })
}

/// Counts a list of numbers and inclusive ranges such as `0-3,8,10-11`.
fn count(list: &str) -> Option<usize> {
    let mut cpus = 0usize;
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        cpus = cpus.checked_add(last.checked_sub(first)? as usize)?.checked_add(1)?;
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn lists_of_cpus_are_counted() {
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-3"), Some(4));
        assert_eq!(count("0-3,8,10-11"), Some(7));
        for wrong in ["", "3-1", "a", "0-", "0,,1"] {
            assert_eq!(count(wrong), None, "{wrong:?}");
        }
    }
}
