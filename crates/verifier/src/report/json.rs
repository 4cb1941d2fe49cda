//! The report for programs.

use super::{Report, Span};
use crate::rejection::Rule;
use serde_json::{Value, json};

/// The report as the value of `error` in the output of `skep verify --json`.
#[must_use]
pub fn json(report: &Report) -> Value {
    let primary = report.primary();
    json!({
        "code": report.rule.to_string(),
        "rule": json_name(report.rule),
        "message": report.message(),
        "log": report.log,
        "insn": primary.map(|span| span.place.insn),
        "source": primary.and_then(source),
        "spans": report.spans.iter().map(span).collect::<Vec<_>>(),
        "notes": report.notes,
        "drawing": report.drawing,
        "help": report.help,
    })
}

/// A rule's name in JSON: `packet_bounds`.
#[must_use]
pub fn json_name(rule: Rule) -> String {
    let mut name = String::new();
    for c in format!("{rule:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

fn span(span: &Span) -> Value {
    json!({
        "kind": span.kind,
        "label": span.label,
        "primary": span.primary,
        "insn": span.place.insn,
        "text": span.place.text,
        "source": source(span),
    })
}

fn source(span: &Span) -> Option<Value> {
    let source = span.place.source.as_ref()?;
    Some(json!({
        "file": source.file,
        "line": source.line,
        "column": source.column,
        "end_column": source.end_column,
        "text": source.text,
    }))
}
