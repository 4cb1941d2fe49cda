//! Rejections for machines that annotate source code: SARIF and GitHub's workflow commands.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use skep_verifier::Rule;

use crate::failure::Failure;
use crate::input::Target;
use crate::render::Render;
use crate::verdict::{ErrorDocument, ProgramDocument};

/// The id of what is no rule of the verifier: a program that could not be prepared.
const NOT_LOADED: &str = "not-loaded";

/// A SARIF log (OASIS, Static Analysis Results Interchange Format 2.1.0) with a result for each
/// program that is not accepted.
pub(super) fn sarif(target: &Target, programs: &[ProgramDocument]) -> Value {
    let errors = programs.iter().filter_map(|program| Some((program, program.error.as_ref()?)));
    let used: BTreeSet<&str> = errors.clone().map(|(_, error)| rule_id(error)).collect();
    let rules: Vec<Value> = used.iter().map(|id| rule(id)).collect();
    let results: Vec<Value> =
        errors.map(|(program, error)| result(target, program, error)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "skep",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule_id(error: &ErrorDocument) -> &str {
    error.code.as_deref().unwrap_or(NOT_LOADED)
}

fn rule(id: &str) -> Value {
    let name = Rule::ALL.iter().find(|rule| rule.to_string() == id);
    let name = name.map_or_else(|| "NotLoaded".to_owned(), |rule| format!("{rule:?}"));
    json!({"id": id, "name": name})
}

fn result(target: &Target, program: &ProgramDocument, error: &ErrorDocument) -> Value {
    let physical = match &error.source {
        Some(source) => {
            let mut region = json!({"startLine": source.line});
            if source.column > 0 {
                region["startColumn"] = json!(source.column);
            }
            if !source.text.is_empty() {
                region["snippet"] = json!({"text": source.text});
            }
            json!({"artifactLocation": {"uri": source.file}, "region": region})
        }
        None => json!({"artifactLocation": {"uri": target.path.display().to_string()}}),
    };
    let function = error.function.as_deref().unwrap_or(&program.name);
    json!({
        "ruleId": rule_id(error),
        "level": "error",
        "message": {"text": message(program, error)},
        "locations": [{
            "physicalLocation": physical,
            "logicalLocations": [{"name": function, "kind": "function"}],
        }],
    })
}

fn message(program: &ProgramDocument, error: &ErrorDocument) -> String {
    let mut message = format!("{} ({}): {}", program.name, program.prog_type, error.message);
    if let (Some(insn), Some(text)) = (error.insn, &error.text) {
        message += &format!(" at instruction {insn}: {text}");
    }
    message
}

/// A workflow command for each program that is not accepted:
/// `::error file=F,line=L,col=C,title=T::message`.
pub(super) fn github(
    target: &Target,
    programs: &[ProgramDocument],
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    for program in programs {
        let Some(error) = &program.error else { continue };
        let mut properties = match &error.source {
            Some(source) if source.column > 0 => {
                format!(
                    "file={},line={},col={}",
                    property(&source.file),
                    source.line,
                    source.column
                )
            }
            Some(source) => format!("file={},line={}", property(&source.file), source.line),
            None => format!("file={}", property(&target.path.display().to_string())),
        };
        properties += &format!(",title={}", property(rule_id(error)));
        let text = escape(&message(program, error));
        render.line(format_args!("::error {properties}::{text}"))?;
    }
    Ok(())
}

/// Text in a command: line ends are written as percent signs with digits.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Text in a command's property, which colon and comma would end.
fn property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::{escape, property};

    #[test]
    fn commands_are_not_cut_short() {
        assert_eq!(escape("100 %: a,\nb"), "100 %25: a,%0Ab");
        assert_eq!(property("C:\\a,b"), "C%3A\\a%2Cb");
    }
}
