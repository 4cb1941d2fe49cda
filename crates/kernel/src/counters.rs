//! The counters that the verifier prints at the end of its log.

/// What the verifier counted, from the line that starts with `processed` at the end of its log
/// (`print_verification_stats` in `kernel/bpf/verifier.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Instructions that were walked, over all paths.
    pub processed_insns: u32,
    /// The most that may be walked.
    pub limit: u32,
    /// The most states kept for one instruction.
    pub max_states_per_insn: u32,
    /// States kept, over the whole walk.
    pub total_states: u32,
    /// States kept at one time, at most.
    pub peak_states: u32,
    /// The longest chain of parents along which a read was marked.
    pub mark_read: u32,
}

impl Counters {
    /// Finds the counters in a log; nothing if the log has none.
    pub fn find(log: &str) -> Option<Self> {
        let line = log.lines().rev().find(|line| line.starts_with(PROCESSED))?;
        let mut words = line.split([' ', '(', ')']).filter(|word| !word.is_empty());
        let mut number = |label: &str| {
            words.find(|&word| word == label)?;
            words.next()?.parse().ok()
        };
        Some(Self {
            processed_insns: number("processed")?,
            limit: number("limit")?,
            max_states_per_insn: number("max_states_per_insn")?,
            total_states: number("total_states")?,
            peak_states: number("peak_states")?,
            mark_read: number("mark_read")?,
        })
    }
}

const PROCESSED: &str = "processed ";

/// Whether a line of a log belongs to the verifier's counters and times.
pub(crate) fn is_counter_line(line: &str) -> bool {
    let starts = [PROCESSED, "verification time ", "stack depth ", "insns processed"];
    starts.iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_at_the_end() {
        let log = "0: (95) exit\nprocessed 7 insns (limit 1000000) max_states_per_insn 1 \
                   total_states 2 peak_states 3 mark_read 4\n";
        let counters = Counters {
            processed_insns: 7,
            limit: 1_000_000,
            max_states_per_insn: 1,
            total_states: 2,
            peak_states: 3,
            mark_read: 4,
        };
        assert_eq!(Counters::find(log), Some(counters));
        assert_eq!(Counters::find("processed x insns (limit 1)"), None);
        assert_eq!(Counters::find(""), None);
    }
}
