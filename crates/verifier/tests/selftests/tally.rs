//! Counting agreement, and the table of what is missing.

use crate::record::Record;
use skep_verifier::{Rejection, Rule, Verified};
use std::collections::BTreeMap;

/// What came of comparing verdicts.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) agree: usize,
    pub(crate) accepted: usize,
    same_insns: usize,
    same_sentence: usize,
    pub(crate) unsound: Vec<String>,
    /// Rejected, but the kernel accepts: by our sentence.
    imprecise: BTreeMap<String, Vec<String>>,
    /// Not linkable, by cause.
    unlinked: BTreeMap<String, Vec<String>>,
    /// Details, one a line, of what agrees in verdict only.
    details: Vec<String>,
}

impl Tally {
    pub(crate) fn count(&mut self, record: &Record, verdict: &Result<Verified, Box<Rejection>>) {
        let name = record.name();
        match (record.is_accepted(), verdict) {
            (true, Ok(verified)) => {
                self.agree += 1;
                self.accepted += 1;
                let walked = verified.stats().insns_processed;
                let same = walked == record.insns_processed;
                self.same_insns += usize::from(same);
                if !same {
                    let kernel = record.insns_processed;
                    self.details.push(format!("walk {name}: {walked} for {kernel}"));
                }
            }
            (true, Err(rejection)) => {
                let at = rejection.at.map_or(String::new(), |at| format!(" at {at}"));
                self.imprecise.entry(class(rejection)).or_default().push(name + &at);
            }
            (false, Ok(_)) => {
                let reason = record.message.as_deref().unwrap_or("no message");
                self.unsound.push(format!("{name}: {reason}"));
            }
            (false, Err(rejection)) => {
                self.agree += 1;
                let theirs = record.message.as_deref().unwrap_or_default();
                let same = rejection.message == theirs;
                self.same_sentence += usize::from(same);
                if !same {
                    self.details.push(format!("sentence {name}: {rejection}, kernel: {theirs}"));
                }
            }
        }
    }

    pub(crate) fn cannot_link(&mut self, record: &Record, cause: String) {
        self.unlinked.entry(cause).or_default().push(record.name());
    }

    pub(crate) fn decided(&self) -> usize {
        let count = |by: &BTreeMap<String, Vec<String>>| by.values().map(Vec::len).sum::<usize>();
        self.agree + self.unsound.len() + count(&self.imprecise) + count(&self.unlinked)
    }

    pub(crate) fn agreement(&self) -> f64 {
        self.agree as f64 / self.decided().max(1) as f64
    }

    /// The table; with `all`, the sentences and walks that differ as well.
    pub(crate) fn print(&self, all: bool) {
        let percent = 100.0 * self.agreement();
        println!("{} decided, {} agree ({percent:.2} %)", self.decided(), self.agree);
        let rejected = self.agree - self.accepted;
        println!(
            "{rejected} rejected by both, {} with the same sentence; {} accepted by both, {} with \
             the same number of instructions; {} unsound",
            self.same_sentence,
            self.accepted,
            self.same_insns,
            self.unsound.len()
        );
        for (what, by) in [("imprecise", &self.imprecise), ("not linkable", &self.unlinked)] {
            let mut causes: Vec<_> = by.iter().collect();
            causes.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
            for (cause, names) in causes {
                let shown = if all { names.len() } else { 3 };
                let examples = names[..names.len().min(shown)].join(", ");
                println!("  {what} {:4} {cause} ({examples})", names.len());
            }
        }
        for name in &self.unsound {
            println!("UNSOUND {name}");
        }
        if all {
            self.details.iter().for_each(|line| println!("{line}"));
        }
    }
}

fn class(rejection: &Rejection) -> String {
    match rejection.rule {
        Rule::Unsupported => rejection.message.clone(),
        rule => format!("{rule}: {rejection}"),
    }
}
