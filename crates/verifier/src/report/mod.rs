//! A rejection as people and tools read it.
//!
//! A [`Report`] is made once of a rejection and what is known of the program; [`text`] shows it as
//! rustc shows errors, [`json`], [`sarif`] and [`github`] hand it to tools. All of them say the
//! same. Places are lines of C where the program has line information, else instructions.

mod drawing;
mod events;
mod github;
mod help;
mod json;
mod place;
mod rules;
mod sarif;
mod text;
mod wording;

pub use github::github;
pub use json::{json, json_name};
pub use place::{Place, Source};
pub use rules::{Explained, explain};
pub use sarif::sarif;
pub use text::{Style, text};

use crate::history::{Related, RelatedKind};
use crate::input::Input;
use crate::rejection::{Rejection, Rule};
use crate::verified::Stats;
use place::Places;
use skep_bpf::codec::SlotIndex;
use std::collections::BTreeSet;

/// A rejection with everything that is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The program's name.
    pub program: String,
    /// The rule that is broken; prints as its code.
    pub rule: Rule,
    /// What the kernel's log says after the last instruction, line by line; never empty.
    pub log: Vec<String>,
    /// The place of the fault, and what is wrong there; first, if there is one. Then places on the
    /// way to it.
    pub spans: Vec<Span>,
    /// Single lines between those of the spans, as far as they are known.
    pub between: Vec<Place>,
    /// What is known of the registers that the fault is about, a sentence each.
    pub notes: Vec<String>,
    /// A drawing of memory and access, in lines of at most 72 columns.
    pub drawing: Option<String>,
    /// What to do about it; C text where that can be said.
    pub help: Vec<String>,
    /// The numbers of the walk up to the fault.
    pub stats: Stats,
}

/// A place in a report, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The place.
    pub place: Place,
    /// What is said of it.
    pub label: String,
    /// Whether this is where the fault is.
    pub primary: bool,
    /// A short stable name of what happened there, for tools.
    pub kind: &'static str,
}

impl Report {
    /// A report on a rejection of a program.
    #[must_use]
    pub fn new(rejection: &Rejection, input: &Input<'_>, program: &str) -> Report {
        let places = Places { bytecode: input.bytecode };
        let mut log = rejection.details.clone();
        log.extend(rejection.message.lines().map(str::to_owned));
        let mut report = Report {
            program: program.to_owned(),
            rule: rejection.rule,
            log,
            spans: Vec::new(),
            between: Vec::new(),
            notes: wording::notes(rejection, input, &places),
            drawing: drawing::draw(rejection, input),
            help: help::help(rejection, input, &places),
            stats: rejection.stats,
        };
        if let Some(at) = primary_place(rejection) {
            report.spans.push(Span {
                place: places.place(at),
                label: wording::primary(rejection, input),
                primary: true,
                kind: "fault",
            });
        }
        for (index, related) in rejection.related.iter().enumerate() {
            let next = rejection.related.get(index + 1);
            if !next.is_some_and(|next| supersedes(next, related, &places)) {
                report.add(related, input, &places);
            }
        }
        report.between = between(&report.spans, &places);
        report
    }

    /// The first line: the kernel's sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        self.log.first().map_or("", String::as_str)
    }

    /// The place of the fault.
    #[must_use]
    pub fn primary(&self) -> Option<&Span> {
        self.spans.iter().find(|span| span.primary)
    }

    fn add(&mut self, related: &Related, input: &Input<'_>, places: &Places<'_>) {
        let place = places.place(related.at);
        let Some(label) = events::label(related, input, places) else { return };
        let kind = events::kind_name(&related.what);
        let same_spot = |span: &&mut Span| {
            span.place.insn == place.insn
                || place.source.is_some() && span.place.source == place.source
        };
        let Some(span) = self.spans.iter_mut().find(same_spot) else {
            self.spans.push(Span { place, label, primary: false, kind });
            return;
        };
        match &related.what {
            RelatedKind::Loop { .. } if span.primary => span.label = label,
            // How a value was computed in between is of interest only where nothing else happens.
            RelatedKind::Computed { .. } | RelatedKind::Loaded { .. } if span.primary => {}
            RelatedKind::Given(_) | RelatedKind::Went { .. } => {}
            _ if span.label.contains(&label) => {}
            _ => span.label = format!("{}; {label}", span.label),
        }
    }
}

/// The lines that lie alone between lines of the same file that are shown, or the instructions.
fn between(spans: &[Span], places: &Places<'_>) -> Vec<Place> {
    let shown = |place: &Place| match &place.source {
        Some(source) => (Some(source.file.clone()), source.line as usize),
        None => (None, place.insn),
    };
    let lines: BTreeSet<_> = spans.iter().map(|span| shown(&span.place)).collect();
    let alone = lines.iter().filter_map(|(file, line)| {
        let (middle, end) = (line.checked_add(1)?, line.checked_add(2)?);
        let gap = lines.contains(&(file.clone(), end)) && !lines.contains(&(file.clone(), middle));
        if gap { places.on_line(file.as_deref(), middle) } else { None }
    });
    alone.collect()
}

/// Whether what happened next at the same place says all: a computation in several steps, a
/// comparison with several constants.
fn supersedes(next: &Related, related: &Related, places: &Places<'_>) -> bool {
    let further = matches!(
        (&related.what, &next.what),
        (RelatedKind::Computed { .. }, RelatedKind::Computed { .. } | RelatedKind::Moved { .. },)
            | (RelatedKind::Narrowed { .. }, RelatedKind::Narrowed { .. })
    );
    let (here, there) = (places.line(related.at), places.line(next.at));
    let spot = |line: &skep_bpf::debug_info::SourceLine| (line.line, line.column);
    further && here.is_some() && here.map(spot) == there.map(spot)
}

/// Where the fault is. A loop that is too long is where it closes, whatever instruction was the
/// last one that was allowed.
fn primary_place(rejection: &Rejection) -> Option<SlotIndex> {
    let closes = rejection.related.iter().find(|related| {
        matches!(related.what, RelatedKind::Loop { .. }) && rejection.rule == Rule::Budget
    });
    closes.map(|related| related.at).or(rejection.at)
}
