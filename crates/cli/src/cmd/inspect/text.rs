//! The report on an object for people.

use std::collections::BTreeMap;
use std::io;

use super::report::{Global, Helper, MapReport, Program, Report};
use crate::render::{BAD, GOOD, NOTE, Render};

pub(super) fn show(report: &Report, render: &mut Render<'_>) -> io::Result<()> {
    render.heading(&format!(
        "{}: ELF 64-bit little-endian relocatable, eBPF, {} bytes",
        report.object, report.bytes
    ))?;
    render.line(format_args!("licence {}", report.license.as_deref().unwrap_or("none")))?;
    if let Some(version) = report.version {
        let (major, minor, patch) = (version >> 16, version >> 8 & 0xff, version & 0xff);
        render.line(format_args!("for Linux {major}.{minor}.{patch}"))?;
    }
    render.heading("\nprograms")?;
    for program in &report.programs {
        show_program(program, render)?;
    }
    let others: Vec<_> = report.functions.iter().filter(|function| !function.program).collect();
    if !others.is_empty() {
        render.heading("\nfunctions that are only called")?;
        for function in others {
            let (slots, section) = (function.slots, &function.section);
            let what = function.prototype.as_deref().unwrap_or(&function.name);
            render.line(format_args!("  {what}: {slots} slots in {section}"))?;
        }
    }
    if !report.maps.is_empty() {
        render.heading("\nmaps")?;
        for map in &report.maps {
            show_map(map, 2, render)?;
        }
    }
    show_globals(&report.globals, render)?;
    if !report.externs.is_empty() {
        render.heading("\nneeded from the kernel")?;
        for external in &report.externs {
            render.line(format_args!("  {}: {}", external.name, external.kind))?;
        }
    }
    if let Some(btf) = &report.btf {
        render.heading("\nBTF")?;
        render.line(format_args!(
            "  {} types, {} bytes of strings; {} functions, {} lines, {} CO-RE relocations",
            btf.types,
            btf.strings_bytes,
            btf.function_records,
            btf.line_records,
            btf.core_relocations
        ))?;
        render.line(format_args!("  {}", counts(&btf.kinds)))?;
    }
    render.heading("\nsections")?;
    for section in &report.sections {
        let (index, size) = (section.index, section.size);
        let relocations = match section.relocations.is_empty() {
            true => String::new(),
            false => format!("  {}", counts(&section.relocations)),
        };
        render
            .line(format_args!("  {index:3}  {:20} {size:8} bytes{relocations}", section.name))?;
    }
    if !report.diagnostics.is_empty() {
        render.heading("\nwhat is wrong with it")?;
        for diagnostic in &report.diagnostics {
            let text = render.paint(NOTE, diagnostic);
            render.line(format_args!("  {text}"))?;
        }
    }
    Ok(())
}

fn counts<K: std::fmt::Display>(counts: &BTreeMap<K, usize>) -> String {
    let all: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    all.join(", ")
}

fn show_program(program: &Program, render: &mut Render<'_>) -> io::Result<()> {
    let name = &program.name;
    let attach =
        program.attach_type.as_ref().map_or(String::new(), |a| format!(", attach type {a}"));
    let target = program.target.as_ref().map_or(String::new(), |t| format!(", target {t}"));
    let since = program.since.as_ref().map_or(String::new(), |v| format!("; since Linux {v}"));
    render.line(format_args!(
        "  {name}: {} in section {}{attach}{target}; {} slots{}{since}",
        program.prog_type,
        program.section,
        program.slots,
        match program.linked_slots {
            Some(linked) if linked != program.slots => format!(" ({linked} with what it calls)"),
            _ => String::new(),
        }
    ))?;
    let mut list = |what: &str, items: &[String]| match items.is_empty() {
        true => Ok(()),
        false => render.line(format_args!("    {what:12} {}", items.join(", "))),
    };
    list("calls", &program.functions)?;
    list("maps", &program.maps)?;
    list("helpers", &program.helpers.iter().map(helper).collect::<Vec<_>>())?;
    if !program.relocations.is_empty() {
        list("relocations", &[counts(&program.relocations)])?;
    }
    if program.core_relocations != 0 {
        list("CO-RE", &[format!("{} relocations", program.core_relocations)])?;
    }
    match &program.problem {
        None => {
            let word = render.paint(GOOD, "yes");
            render.line(format_args!("    {:12} {word}", "loads"))
        }
        Some(problem) => {
            let word = render.paint(BAD, "no");
            render.line(format_args!("    {:12} {word}: {problem}", "loads"))
        }
    }
}

fn helper(helper: &Helper) -> String {
    let name = helper.name.map_or_else(|| format!("number {}", helper.id), str::to_owned);
    let since = helper.since.as_ref().map_or(String::new(), |since| format!("Linux {since}"));
    let mut notes = vec![since];
    if !helper.implemented {
        notes.push("not implemented here".to_owned());
    }
    if helper.name.is_some() && !helper.allowed {
        notes.push("not allowed in this type".to_owned());
    }
    notes.retain(|note| !note.is_empty());
    format!("{name} ({})", notes.join(", "))
}

fn show_map(map: &MapReport, indent: usize, render: &mut Render<'_>) -> io::Result<()> {
    let MapReport { name, map_type, key_size, value_size, max_entries, .. } = map;
    let typed = |size: u32, ty: &Option<String>| match ty {
        Some(ty) => format!("{ty} ({size} bytes)"),
        None => format!("{size} bytes"),
    };
    let mut notes = Vec::new();
    if !map.flags.is_empty() {
        notes.push(map.flags.join(" | "));
    }
    if map.map_extra != 0 {
        notes.push(format!("map_extra {:#x}", map.map_extra));
    }
    if let Some(node) = map.numa_node {
        notes.push(format!("NUMA node {node}"));
    }
    match map.pinning {
        0 => {}
        1 => notes.push("pinned by name".to_owned()),
        other => notes.push(format!("pinning {other}")),
    }
    if map.declared == "legacy" {
        notes.push("legacy declaration".to_owned());
    }
    let notes = notes.iter().map(|note| format!("; {note}")).collect::<String>();
    render.line(format_args!(
        "{:indent$}{name}: {map_type}, key {}, value {}, {max_entries} entries{notes}",
        "",
        typed(*key_size, &map.key_type),
        typed(*value_size, &map.value_type),
    ))?;
    for value in &map.values {
        let what = value.program.as_ref().or(value.map.as_ref());
        let what = what.map_or("nothing known", String::as_str);
        render.line(format_args!("{:indent$}  [{}] = {what}", "", value.index))?;
    }
    if let Some(inner) = &map.inner {
        render.line(format_args!("{:indent$}  holds maps like", ""))?;
        show_map(inner, indent + 4, render)?;
    }
    match &map.problem {
        Some(problem) => {
            let word = render.paint(BAD, "not made");
            render.line(format_args!("{:indent$}  {word}: {problem}", ""))
        }
        None => Ok(()),
    }
}

fn show_globals(globals: &[Global], render: &mut Render<'_>) -> io::Result<()> {
    if globals.is_empty() {
        return Ok(());
    }
    render.heading("\nglobal variables")?;
    let mut map = "";
    for global in globals {
        if global.map != map {
            map = &global.map;
            render.line(format_args!("  {map}"))?;
        }
        let what = global.declaration.as_deref().unwrap_or(&global.name);
        match &global.value {
            Some(value) => render.line(format_args!("    {what} = {value}"))?,
            None => render.line(format_args!("    {what}: {} bytes", global.size))?,
        }
    }
    Ok(())
}
