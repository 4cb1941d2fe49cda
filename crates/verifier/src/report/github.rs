//! The report as a command of GitHub's workflows, which marks the line in the view of a change.

use super::Report;

/// One line without line feed, such as `::error file=a.c,line=3,title=E0009::...`.
///
/// The format is GitHub's "Workflow commands for GitHub Actions": in values of properties `%`, line
/// ends, `:` and `,` are escaped, in messages `%` and line ends.
#[must_use]
pub fn github(report: &Report) -> String {
    let mut properties = Vec::new();
    let primary = report.primary();
    if let Some(source) = primary.and_then(|span| span.place.source.as_ref()) {
        properties.push(format!("file={}", property(&source.file)));
        properties.push(format!("line={}", source.line));
        properties.push(format!("col={}", source.column));
        properties.push(format!("endColumn={}", source.end_column));
    }
    let title = format!("{} in {}", report.rule, report.program);
    properties.push(format!("title={}", property(&title)));
    let mut lines = report.log.clone();
    lines.extend(primary.map(|span| match span.place.source {
        Some(_) => span.label.clone(),
        None => format!("instruction {}: {}", span.place.insn, span.label),
    }));
    lines.extend(report.help.iter().map(|help| format!("help: {help}")));
    format!("::error {}::{}", properties.join(","), message(&lines.join("\n")))
}

fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_the_format_reserves() {
        assert_eq!(property("a:b,c\n5%"), "a%3Ab%2Cc%0A5%25");
        assert_eq!(message("a:b,c\r\n5%"), "a:b,c%0D%0A5%25");
    }
}
