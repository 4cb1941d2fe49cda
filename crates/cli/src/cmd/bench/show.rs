//! What was measured, for people and for programs.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::subject::Field;
use crate::context::action;
use crate::measure::{Measured, percentile, ratio};
use crate::render::Render;

/// An engine and what was measured of it.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// How long it took to make the program ready for the engine, if that is known.
    pub(super) compile: Option<Duration>,
    pub(super) measured: Measured,
}

impl Row {
    fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.measured.samples, percent)
    }

    /// How many times as long as the first engine this one takes.
    fn times(&self, first: &Row) -> f64 {
        ratio(&self.measured.samples, &first.measured.samples)
    }
}

/// Prints a table.
pub(super) fn table(render: &mut Render<'_>, field: &Field, rows: &[Row]) -> io::Result<()> {
    let insns = rows.iter().find_map(|row| row.measured.outcome.insns);
    let executed = insns.map_or(String::new(), |insns| format!(", {insns} instructions per run"));
    render.line(format_args!("{}{executed}\n", field.name))?;
    render.heading(&format!(
        "{:<9}{:>12}{:>14}{:>14}{:>9}{:>10}  result",
        "engine", "compile us", "ns (p50)", "ns (p99)", "times", "ns/insn"
    ))?;
    for engine in rows {
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
            engine.times(&rows[0]),
            result(field, engine),
        ))?;
    }
    Ok(())
}

/// What the last run returned.
fn result(field: &Field, engine: &Row) -> String {
    match action(field.prog_type, engine.measured.outcome.r0) {
        Some(name) => name.to_owned(),
        None => format!("{:#x}", engine.measured.outcome.r0),
    }
}

/// The same as one document.
pub(super) fn document(field: &Field, rows: &[Row]) -> Value {
    let engine = |engine: &Row| {
        json!({
            "engine": engine.name,
            "compile_us": engine.compile.map(|time| time.as_secs_f64() * 1e6),
            "ns_per_run": { "p50": engine.percentile(50), "p99": engine.percentile(99) },
            "times_first": engine.times(&rows[0]),
            "insns": engine.measured.outcome.insns,
            "r0": format!("{:#x}", engine.measured.outcome.r0),
        })
    };
    let engines: Vec<Value> = rows.iter().map(engine).collect();
    json!({ "program": field.name, "engines": engines })
}
