//! What was measured, for people and for programs.

use std::io;

use serde_json::{Value, json};

use super::measure::Measured;
use super::subject::Field;
use crate::context::action;
use crate::render::Render;

/// Prints a table.
pub(super) fn table(
    render: &mut Render<'_>,
    field: &Field,
    measured: &[Measured],
) -> io::Result<()> {
    let insns = measured.iter().find_map(|engine| engine.outcome.insns);
    let executed = insns.map_or(String::new(), |insns| format!(", {insns} instructions per run"));
    render.line(format_args!("{}{executed}\n", field.name))?;
    render.heading(&format!(
        "{:<9}{:>12}{:>14}{:>14}{:>9}{:>10}  result",
        "engine", "compile us", "ns (p50)", "ns (p99)", "times", "ns/insn"
    ))?;
    for engine in measured {
        let compile = engine
            .compile
            .map_or("-".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1e6));
        let per_insn = insns
            .map_or("-".to_owned(), |insns| format!("{:.3}", engine.percentile(50) / insns as f64));
        render.line(format_args!(
            "{:<9}{compile:>12}{:>14.1}{:>14.1}{:>9.2}{per_insn:>10}  {}",
            engine.name,
            engine.percentile(50),
            engine.percentile(99),
            engine.times_first,
            result(field, engine),
        ))?;
    }
    Ok(())
}

/// What the last run returned.
fn result(field: &Field, engine: &Measured) -> String {
    match action(field.prog_type, engine.outcome.r0) {
        Some(name) => name.to_owned(),
        None => format!("{:#x}", engine.outcome.r0),
    }
}

/// The same as one document.
pub(super) fn document(field: &Field, measured: &[Measured]) -> Value {
    let engine = |engine: &Measured| {
        json!({
            "engine": engine.name,
            "compile_us": engine.compile.map(|time| time.as_secs_f64() * 1e6),
            "ns_per_run": { "p50": engine.percentile(50), "p99": engine.percentile(99) },
            "times_first": engine.times_first,
            "insns": engine.outcome.insns,
            "r0": format!("{:#x}", engine.outcome.r0),
        })
    };
    let engines: Vec<Value> = measured.iter().map(engine).collect();
    json!({ "program": field.name, "engines": engines })
}
