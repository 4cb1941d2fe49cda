//! Reports in SARIF 2.1.0, the format of results of static analysis (OASIS standard).

use super::rules::explain;
use super::{Report, Span, json_name};
use crate::rejection::Rule;
use serde_json::{Value, json};

/// A SARIF log with one run and a result for each report.
#[must_use]
pub fn sarif<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Value {
    let reports: Vec<&Report> = reports.into_iter().collect();
    let mut rules: Vec<Rule> = reports.iter().map(|report| report.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    let results: Vec<Value> = reports.iter().map(|report| result(report, &rules)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "skep",
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": rules.iter().map(|rule| descriptor(*rule)).collect::<Vec<_>>(),
                }
            },
            "columnKind": "utf16CodeUnits",
            "results": results,
        }],
    })
}

fn descriptor(rule: Rule) -> Value {
    let explained = explain(rule);
    json!({
        "id": rule.to_string(),
        "name": json_name(rule),
        "shortDescription": { "text": explained.title },
        "fullDescription": { "text": explained.what },
        "help": { "text": explained.why },
        "defaultConfiguration": { "level": "error" },
    })
}

fn result(report: &Report, rules: &[Rule]) -> Value {
    let mut lines = report.log.clone();
    lines.extend(report.primary().map(|span| span.label.clone()));
    lines.extend(report.help.iter().map(|help| format!("help: {help}")));
    let related = report.spans.iter().filter(|span| !span.primary).enumerate();
    let related: Vec<Value> = related
        .map(|(id, span)| {
            let mut location = location(report, span);
            location["id"] = json!(id);
            location["message"] = json!({ "text": span.label });
            location
        })
        .collect();
    json!({
        "ruleId": report.rule.to_string(),
        "ruleIndex": rules.iter().position(|rule| *rule == report.rule),
        "level": "error",
        "message": { "text": lines.join("\n") },
        "locations": report.primary().map(|span| location(report, span)).into_iter().collect::<Vec<_>>(),
        "relatedLocations": related,
    })
}

fn location(report: &Report, span: &Span) -> Value {
    let logical = json!([{ "name": report.program, "kind": "function" }]);
    let Some(source) = &span.place.source else {
        return json!({
            "logicalLocations": logical,
            "message": { "text": format!("instruction {}: {}", span.place.insn, span.place.text) },
        });
    };
    // Columns count UTF-16 code units here, bytes in ours.
    let column = |at: u32| {
        let before = source.text.get(..(at as usize).saturating_sub(1)).unwrap_or(&source.text);
        before.encode_utf16().count() + 1
    };
    let mut region = json!({
        "startLine": source.line,
        "startColumn": column(source.column),
        "endColumn": column(source.end_column),
    });
    if !source.text.is_empty() {
        region["snippet"] = json!({ "text": source.text });
    }
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(&source.file) },
            "region": region,
        },
        "logicalLocations": logical,
    })
}

/// A file's name as a URI reference: everything but unreserved characters and `/` is escaped (RFC
/// 3986, section 2.3).
fn uri(file: &str) -> String {
    let mut uri = String::new();
    for byte in file.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    if uri.starts_with('/') { format!("file://{uri}") } else { uri }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_become_uris() {
        assert_eq!(uri("a b/c.c"), "a%20b/c.c");
        assert_eq!(uri("/src/ä.c"), "file:///src/%C3%A4.c");
    }
}
