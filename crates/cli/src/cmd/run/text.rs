//! What a run did, for people.

use std::io;

use serde_json::Value;
use skep::run::RunError;
use skep::trap::Trap;
use skep_net::Packet;

use super::Totals;
use crate::contents::{Change, describe};
use crate::context::{Input, action, goes_on};
use crate::packet;
use crate::render::{BAD, FAINT, GOOD, HEADING, Render};
use crate::session::{Record, Session};

/// What a program said of its packet, in a word.
pub(super) fn verdict(session: &Session, record: &Record) -> String {
    match &record.result {
        Ok(finished) => match action(session.prog_type(), finished.r0) {
            Some(name) => name.to_owned(),
            None => format!("{}", finished.r0 as u32),
        },
        Err(RunError::Trap(_)) => "trap".to_owned(),
        Err(_) => "refused".to_owned(),
    }
}

fn painted_verdict(render: &Render<'_>, session: &Session, record: &Record) -> String {
    let is_good =
        matches!(&record.result, Ok(finished) if goes_on(session.prog_type(), finished.r0));
    render.paint(if is_good { GOOD } else { BAD }, &verdict(session, record))
}

/// What runs are counted by: the verdict, or where returned numbers have no names, whether it is 0.
pub(super) fn count_as(session: &Session, record: &Record) -> String {
    match &record.result {
        Ok(finished) if action(session.prog_type(), finished.r0).is_none() => {
            let kind = if finished.r0 as u32 == 0 { "0" } else { "another number" };
            format!("returned {kind}")
        }
        _ => verdict(session, record),
    }
}

/// What it printed, its packet and the verdict, and what went wrong.
pub(super) fn packet_line(
    render: &mut Render<'_>,
    session: &Session,
    index: usize,
    packet: &Packet,
    input: &Input,
    record: &Record,
) -> io::Result<()> {
    printed(render, record)?;
    delivered(render, session, record)?;
    let verdict = painted_verdict(render, session, record);
    let number = render.paint(FAINT, &format!("{index:>4}"));
    let time = render.paint(FAINT, &packet::time(packet));
    let summary = packet::summary(&packet.bytes, packet.link_type);
    let (before, after) = (input.bytes(), record.input.bytes());
    let changed = match (before == after, before.len() == after.len()) {
        (true, _) => String::new(),
        (false, true) => ", changed".to_owned(),
        (false, false) => format!(", now {} bytes", after.len()),
    };
    render.line(format_args!("{number}  {time}  {summary}: {verdict}{changed}"))?;
    problem(render, record)
}

/// All of a single run.
pub(super) fn single(
    render: &mut Render<'_>,
    session: &Session,
    input: &Input,
    record: &Record,
) -> io::Result<()> {
    printed(render, record)?;
    delivered(render, session, record)?;
    if let Ok(finished) = &record.result {
        let name = session.name();
        let verdict = painted_verdict(render, session, record);
        let number = match action(session.prog_type(), finished.r0) {
            Some(_) => format!(" ({})", finished.r0 as u32),
            None => String::new(),
        };
        let insns = finished.insns.map(|insns| format!(" after {insns} instructions"));
        let (insns, time) = (insns.unwrap_or_default(), record.time);
        render.line(format_args!("{name} returned {verdict}{number}{insns} in {time:.0?}"))?;
    }
    problem(render, record)?;
    for (field, old, new) in record.input.changed_fields(input) {
        render.line(format_args!("{field} = {} (was {})", plain(&new), plain(&old)))?;
    }
    let what = if matches!(input, Input::Memory(_)) { "memory" } else { "packet" };
    bytes(render, what, input.bytes(), record.input.bytes())
}

/// The rows of a packet or of memory that changed.
pub(super) fn bytes(
    render: &mut Render<'_>,
    what: &str,
    before: &[u8],
    after: &[u8],
) -> io::Result<()> {
    let rows = packet::changes(before, after);
    if rows.is_empty() {
        return Ok(());
    }
    render.heading(&format!("{what} changed"))?;
    for row in rows {
        let style = match row.chars().next() {
            Some('+') => GOOD,
            Some('-') => BAD,
            _ => HEADING,
        };
        let row = render.paint(style, &row);
        render.line(format_args!("{row}"))?;
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The records that it handed over to the host.
pub(super) fn delivered(
    render: &mut Render<'_>,
    session: &Session,
    record: &Record,
) -> io::Result<()> {
    for line in record.delivered.lines(&session.prepared) {
        render.line(format_args!("{line}"))?;
    }
    Ok(())
}

/// The lines that `bpf_printk` printed.
pub(super) fn printed(render: &mut Render<'_>, record: &Record) -> io::Result<()> {
    for line in &record.printed.lines {
        render.line(format_args!("{line}"))?;
    }
    match record.printed.dropped {
        0 => Ok(()),
        more => render.line(format_args!("... {more} more lines")),
    }
}

fn problem(render: &mut Render<'_>, record: &Record) -> io::Result<()> {
    match &record.result {
        Ok(_) => Ok(()),
        Err(RunError::Trap(trap)) => show_trap(render, trap),
        Err(other) => render.line(format_args!("      {other}")),
    }
}

/// A trap: where, which instruction, which source, what was needed and found.
pub(super) fn show_trap(render: &mut Render<'_>, trap: &Trap) -> io::Result<()> {
    let word = render.paint(BAD, "trap");
    let function = match &trap.function {
        Some(function) if *function != trap.program => format!(" (called by {})", trap.program),
        _ => String::new(),
    };
    let name = trap.function.as_deref().unwrap_or(&trap.program);
    let place = match &trap.source {
        Some(line) => format!(" ({}:{})", line.file, line.line),
        None => String::new(),
    };
    render.line(format_args!("{word}: {name}{function}, instruction {}{place}", trap.slot))?;
    render.line(format_args!("  instruction  {}", trap.insn))?;
    if let Some(line) = trap.source.as_ref().filter(|line| !line.text.is_empty()) {
        render.line(format_args!("  source       {}", line.text.trim()))?;
    }
    render.line(format_args!("  reason       {}", trap.kind))
}

/// What all packets did together.
pub(super) fn totals(render: &mut Render<'_>, totals: &Totals) -> io::Result<()> {
    let verdicts: Vec<String> =
        totals.verdicts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let plural = if totals.records == 1 { "packet" } else { "packets" };
    let mean = |sum: u128| sum.checked_div(u128::from(totals.records)).unwrap_or(0);
    let insns = match totals.insns {
        (_, 0) if totals.traps < totals.records => String::new(),
        (sum, _) => format!("{} instructions and ", mean(sum)),
    };
    if totals.records == 0 {
        return render.line(format_args!("the capture has no packets"));
    }
    render.line(format_args!(
        "{} {plural}: {}; {insns}{} ns each on average",
        totals.records,
        verdicts.join(", "),
        mean(totals.time_ns)
    ))
}

/// What is different in the maps.
pub(super) fn changes(
    render: &mut Render<'_>,
    session: &Session,
    changes: &[Change],
) -> io::Result<()> {
    for change in changes {
        for line in describe(&session.prepared, change) {
            render.line(format_args!("{line}"))?;
        }
    }
    Ok(())
}
