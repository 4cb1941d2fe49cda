//! The report for people, in the form of rustc's.

use super::{Place, Report, Span};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::collections::BTreeMap;

/// How the text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Without colours.
    #[default]
    Plain,
    /// With the colours of a terminal.
    Coloured,
}

/// A file, or the program's instructions: lines with the columns that are marked, and labels.
struct Excerpt<'a> {
    name: String,
    lines: BTreeMap<usize, &'a str>,
    marks: Vec<Mark<'a>>,
}

/// Columns of a line, from 0.
struct Mark<'a> {
    line: usize,
    columns: core::ops::Range<usize>,
    span: &'a Span,
}

/// The report as text, with a line feed at its end.
#[must_use]
pub fn text(report: &Report, style: Style) -> String {
    let excerpts = excerpts(report);
    let code = report.rule.to_string();
    let title = Level::ERROR.primary_title(report.message()).id(code.as_str());
    let mut group = Group::with_title(title);
    for excerpt in &excerpts {
        // One excerpt for each run of lines that are known: those in between are not.
        for run in runs(excerpt) {
            group = group.element(snippet(excerpt, &run));
        }
    }
    for line in report.log.iter().skip(1) {
        group = group.element(Level::NOTE.message(line.as_str()));
    }
    if let Some(drawing) = &report.drawing {
        group = group.element(Level::NOTE.message(drawing.as_str()));
    }
    for note in &report.notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    for help in &report.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Coloured => Renderer::styled(),
    };
    let mut text = renderer.render(&[group]);
    text.push('\n');
    text
}

/// The files with their lines, the one with the fault first.
fn excerpts(report: &Report) -> Vec<Excerpt<'_>> {
    let mut excerpts: Vec<Excerpt<'_>> = Vec::new();
    for span in &report.spans {
        let (name, line, text) = shown(report, &span.place);
        let columns = match &span.place.source {
            Some(source) if !source.text.is_empty() => {
                let start = (source.column as usize).saturating_sub(1);
                start..(source.end_column as usize).saturating_sub(1)
            }
            _ => 0..text.len(),
        };
        let excerpt = match excerpts.iter_mut().find(|excerpt| excerpt.name == name) {
            Some(excerpt) => excerpt,
            None => {
                let (lines, marks) = (BTreeMap::new(), Vec::new());
                excerpts.push(Excerpt { name: name.to_owned(), lines, marks });
                let Some(last) = excerpts.last_mut() else { continue };
                last
            }
        };
        excerpt.lines.insert(line, text);
        excerpt.marks.push(Mark { line, columns, span });
    }
    for place in &report.between {
        let (name, line, text) = shown(report, place);
        if let Some(excerpt) = excerpts.iter_mut().find(|excerpt| excerpt.name == name) {
            excerpt.lines.entry(line).or_insert(text);
        }
    }
    excerpts
}

/// Where a place is shown: the file, the line, its text.
fn shown<'a>(report: &'a Report, place: &'a Place) -> (&'a str, usize, &'a str) {
    match &place.source {
        Some(source) if !source.text.is_empty() => {
            (source.file.as_str(), source.line as usize, source.text.as_str())
        }
        _ => (report.program.as_str(), place.insn, place.text.as_str()),
    }
}

/// Lines that are shown in one piece. Those in between are not known, and empty; as many as lie
/// between lines of one function.
fn runs(excerpt: &Excerpt<'_>) -> Vec<core::ops::RangeInclusive<usize>> {
    const MAX_GAP: usize = 1000;
    let mut runs: Vec<core::ops::RangeInclusive<usize>> = Vec::new();
    for &line in excerpt.lines.keys() {
        match runs.last_mut() {
            Some(run) if line - run.end() <= MAX_GAP => *run = *run.start()..=line,
            _ => runs.push(line..=line),
        }
    }
    runs
}

fn snippet<'a>(
    excerpt: &'a Excerpt<'a>,
    run: &core::ops::RangeInclusive<usize>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let mut source = String::new();
    let mut starts = BTreeMap::new();
    for line in run.clone() {
        starts.insert(line, source.len());
        let text = excerpt.lines.get(&line).copied().unwrap_or_default();
        // A line is one line, whatever is recorded of it.
        source.push_str(&text.replace(['\n', '\r'], " "));
        source.push('\n');
    }
    let marks = excerpt.marks.iter().filter(|mark| run.contains(&mark.line));
    let annotations = marks.map(|mark| {
        let start = starts.get(&mark.line).copied().unwrap_or(0);
        let kind =
            if mark.span.primary { AnnotationKind::Primary } else { AnnotationKind::Context };
        let columns = start + mark.columns.start..start + mark.columns.end;
        kind.span(columns).label(mark.span.label.as_str())
    });
    let annotations: Vec<_> = annotations.collect();
    Snippet::source(source)
        .line_start(*run.start())
        .path(excerpt.name.as_str())
        .annotations(annotations)
}
