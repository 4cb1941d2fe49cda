//! What is printed: a table for people, JSON for programs.

use serde_json::{Value, json};
use skep_cli::measure::{Spread, geometric_mean, ratio};

/// The engines that run machine code, which ours are compared to run by run.
const MACHINE_CODE: [&str; 4] = ["native", "linux", "rbpf-jit", "sbpf-v4-jit"];

/// Kernels that the main figure leaves out: one is all entry and exit, the other a loop of 16-bit
/// loads, which no other kernel has.
pub(crate) const APART: [&str; 2] = ["empty", "ipcsum"];

/// An engine's samples on a kernel.
pub(crate) struct Measured {
    pub(crate) name: String,
    /// Nanoseconds per run.
    pub(crate) samples: Vec<f64>,
    /// The instructions executed per run, where the engine needed other code.
    pub(crate) executed: u64,
}

/// A kernel on all engines; the first is the one that others are compared to.
pub(crate) struct Row {
    pub(crate) kernel: &'static str,
    pub(crate) insns: u64,
    pub(crate) engines: Vec<Measured>,
}

impl Row {
    pub(crate) fn engine(&self, name: &str) -> Option<&Measured> {
        self.engines.iter().find(|engine| engine.name == name)
    }

    fn ns_per_insn(&self, engine: &Measured) -> f64 {
        engine.spread().median / engine.executed as f64
    }

    /// How many times as long as the first engine another takes for an instruction.
    fn slower(&self, engine: &Measured) -> f64 {
        let Some(first) = self.engines.first() else { return f64::NAN };
        ratio(&engine.samples, &first.samples) * self.insns as f64 / engine.executed as f64
    }
}

impl Measured {
    fn spread(&self) -> Spread {
        let none = Spread { p10: f64::NAN, median: f64::NAN, p90: f64::NAN };
        Spread::of(&self.samples).unwrap_or(none)
    }
}

/// The engines that ran some kernel, in order.
pub(crate) fn names(rows: &[Row]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for engine in rows.iter().flat_map(|row| &row.engines) {
        if !names.contains(&engine.name.as_str()) {
            names.push(&engine.name);
        }
    }
    names
}

/// A mean over kernels: all, or those that are not apart.
fn mean(rows: &[Row], all: bool, value: impl Fn(&Row) -> Option<f64>) -> f64 {
    let values: Vec<f64> =
        rows.iter().filter(|row| all || !APART.contains(&row.kernel)).filter_map(value).collect();
    geometric_mean(&values)
}

fn per_insn(row: &Row, name: &str) -> Option<f64> {
    row.engine(name).map(|engine| row.ns_per_insn(engine))
}

fn slower(row: &Row, name: &str) -> Option<f64> {
    row.engine(name).map(|engine| row.slower(engine))
}

/// How many times as long as another engine one takes for a run.
fn times(row: &Row, name: &str, other: &str) -> Option<f64> {
    let (engine, other) = (row.engine(name)?, row.engine(other)?);
    Some(ratio(&engine.samples, &other.samples))
}

/// Prints tables.
pub(crate) fn table(rows: &[Row]) {
    let names = names(rows);
    let Some((first, peers)) = names.split_first() else { return };
    println!("ns per run: median (10th to 90th percentile)\n");
    print!("{:<10}{:>9}", "kernel", "insns");
    names.iter().for_each(|name| print!("{name:>30}"));
    println!();
    for row in rows {
        print!("{:<10}{:>9}", row.kernel, row.insns);
        for name in &names {
            let Some(engine) = row.engine(name) else {
                print!("{:>30}", "-");
                continue;
            };
            let Spread { p10, median, p90 } = engine.spread();
            let mark = if engine.executed == row.insns { "" } else { "*" };
            print!("{:>30}", format!("{median:.1} ({p10:.1}-{p90:.1}){mark}"));
        }
        println!();
    }
    println!("\n* with zero extensions that the engine needs; charged per instruction executed.");
    section(rows, "ns per instruction", &names, per_insn);
    section(rows, &format!("times as long as {first}, per instruction"), peers, slower);
    for base in MACHINE_CODE.into_iter().filter(|base| names.contains(base)) {
        let others: Vec<&str> = names.iter().copied().filter(|&name| name != base).collect();
        let title = format!("times as long as {base}, per run");
        section(rows, &title, &others, |row, name| times(row, name, base));
    }
}

fn section(rows: &[Row], title: &str, names: &[&str], value: impl Fn(&Row, &str) -> Option<f64>) {
    println!("\n{title}\n");
    let widths: Vec<usize> = names.iter().map(|name| name.len().max(8) + 2).collect();
    let line = |label: &str, values: &mut dyn Iterator<Item = f64>| {
        print!("{label:<22}");
        for (value, width) in values.zip(&widths) {
            // What does not run there has no figure.
            match value.is_nan() {
                true => print!("{:>width$}", "-"),
                false => print!("{value:>width$.2}"),
            }
        }
        println!();
    };
    print!("{:<22}", "");
    names.iter().zip(&widths).for_each(|(name, &width)| print!("{name:>width$}"));
    println!();
    for row in rows {
        line(row.kernel, &mut names.iter().map(|name| value(row, name).unwrap_or(f64::NAN)));
    }
    for (label, all) in [("geometric mean *", false), ("geometric mean of all", true)] {
        line(label, &mut names.iter().map(|name| mean(rows, all, |row| value(row, name))));
    }
    println!("* without {}", APART.join(" and "));
}

/// Prints one JSON object.
pub(crate) fn json(rows: &[Row], lookups: Value) {
    let names = names(rows);
    let engines = |row: &Row| -> Value {
        let engine = |engine: &Measured| {
            let Spread { p10, median, p90 } = engine.spread();
            json!({
                "engine": engine.name,
                "insns": engine.executed,
                "ns_per_run": { "median": median, "p10": p10, "p90": p90 },
                "ns_per_insn": row.ns_per_insn(engine),
                "times_first_per_insn": row.slower(engine),
                "times_native_per_run": times(row, &engine.name, "native"),
            })
        };
        row.engines.iter().map(engine).collect()
    };
    let kernels: Value = rows
        .iter()
        .map(|row| json!({ "kernel": row.kernel, "insns": row.insns, "engines": engines(row) }))
        .collect();
    let means = |all: bool| -> Value {
        let engine = |name: &&str| {
            json!({
                "engine": name,
                "ns_per_insn": mean(rows, all, |row| per_insn(row, name)),
                "times_first_per_insn": mean(rows, all, |row| slower(row, name)),
                "times_native_per_run": mean(rows, all, |row| times(row, name, "native")),
            })
        };
        names.iter().map(engine).collect()
    };
    let report = json!({
        "kernels": kernels,
        "lookups": lookups,
        "geometric_means": { "without": APART, "engines": means(false), "engines_all": means(true) },
    });
    println!("{report:#}");
}
