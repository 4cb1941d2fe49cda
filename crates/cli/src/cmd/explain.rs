//! `skep explain`: what something of BPF means. The sentences are the tables' own.

use std::io;

use clap::Args;
use serde_json::{Value, json};
use skep::errno::Errno;
use skep_bpf::codec::{SLOT_BYTES, Slot, encode};
use skep_bpf::platform::helper::HELPERS;
use skep_bpf::platform::retval::returns_of;
use skep_bpf::platform::{
    AttachType, HelperId, HelperRow, MapType, ProgType, SectionKind, context_of, helper_allowed,
    helpers_of, section_rule,
};
use skep_bpf::text::explain::{Explanation, explain, parse_slots};
use skep_bpf::text::parse::parse_insn;
use skep_verifier::Rule;
use skep_verifier::report::{self, Explained};

use crate::failure::Failure;
use crate::input::Target;
use crate::listing::name_at;
use crate::render::Render;

/// Explains an instruction, a helper, a section name, a map type or a rule of the verifier.
#[derive(Args, Debug)]
pub struct Explain {
    /// Raw bytes ("b7 02 00 00 0f 00 00 00"), an instruction ("r2 = 15"), FILE.o:NAME:INDEX with
    /// INDEX in slots, a helper (bpf_redirect), a section name or program type (xdp), a map type
    /// (percpu_array), an error number (EINVAL, -22), the code of a verifier's rule (E0009)
    #[arg(value_name = "X", required = true, num_args = 1.., allow_negative_numbers = true)]
    what: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Something that can be explained.
enum Subject {
    Instructions(Vec<Explanation>),
    InObject(Box<Explanation>, Place),
    Helper(&'static HelperRow),
    Map(MapType),
    Errno(Errno),
    Rule(Explained),
    Program { name: String, prog_type: ProgType, attach_type: AttachType, note: String },
}

/// Where an instruction stands.
struct Place {
    name: Option<String>,
    source: Option<(String, u32, String)>,
}

/// Runs the command.
///
/// # Errors
///
/// If it is nothing that is known.
pub fn run(arguments: &Explain, render: &mut Render<'_>) -> Result<(), Failure> {
    let text = arguments.what.join(" ");
    let subject = recognise(text.trim())?;
    if arguments.json {
        return Ok(render.json(&document(&subject))?);
    }
    Ok(show(&subject, render)?)
}

fn recognise(text: &str) -> Result<Subject, Failure> {
    if let Some(subject) = in_object(text)? {
        return Ok(subject);
    }
    let helper = HelperId::named(text).or_else(|| HelperId::named(&format!("bpf_{text}")));
    if let Some(row) = helper.and_then(HelperId::row) {
        return Ok(Subject::Helper(row));
    }
    if let Some(map_type) = MapType::named(text) {
        return Ok(Subject::Map(map_type));
    }
    if let Some(subject) = program(text) {
        return Ok(subject);
    }
    if let Some(rule) = rule(text) {
        return Ok(Subject::Rule(rule?));
    }
    if let Some(errno) = error_number(text) {
        return Ok(Subject::Errno(errno));
    }
    let bytes = parse_slots(text);
    if let Ok(slots) = &bytes {
        return Ok(Subject::Instructions(explain_all(slots)));
    }
    let is_hexadecimal = |c: char| c.is_ascii_hexdigit() || c.is_whitespace() || c == ',';
    match (parse_insn(text), bytes) {
        (Ok(insn), _) => {
            let encoded = encode(&insn).map_err(|error| Failure::Usage(error.to_string()))?;
            let slots: Vec<Slot> = encoded.slots().collect();
            Ok(Subject::Instructions(explain_all(&slots)))
        }
        (Err(_), Err(error)) if text.chars().all(is_hexadecimal) => {
            Err(Failure::Usage(format!("{text:?} as bytes: {error}")))
        }
        (Err(error), _) => Err(Failure::Usage(format!(
            "{text:?} is no helper, map type, program type, section name, error number or rule's code, \
             nor bytes; as an instruction: {error}"
        ))),
    }
}

fn explain_all(slots: &[Slot]) -> Vec<Explanation> {
    let mut rest = slots;
    let mut all = Vec::new();
    while let Some(explanation) = explain(rest) {
        rest = rest.get(explanation.bytes.len() / SLOT_BYTES..).unwrap_or(&[]);
        all.push(explanation);
    }
    all
}

/// A rule of the verifier by its code, as rejections print it: `E0009`.
fn rule(text: &str) -> Option<Result<Explained, Failure>> {
    let digits = text.strip_prefix('E')?;
    let is_number = digits.len() == 4 && digits.chars().all(|c| c.is_ascii_digit());
    let number: u16 = digits.parse().ok().filter(|_| is_number)?;
    let rule = Rule::ALL.iter().find(|rule| rule.number() == number);
    Some(rule.map(|rule| report::explain(*rule)).ok_or_else(|| {
        let last = Rule::ALL.last().map(ToString::to_string).unwrap_or_default();
        Failure::Usage(format!("{text} is no rule of the verifier; their codes go up to {last}"))
    }))
}

/// An error number as helpers return it: `EINVAL`, `-EINVAL` or `-22`.
fn error_number(text: &str) -> Option<Errno> {
    let name = text.strip_prefix('-').unwrap_or(text);
    let by_name = |errno: &Errno| errno.known().is_some_and(|(known, _)| known == name);
    match name.parse() {
        Ok(number) if name != text => Some(Errno(number)).filter(|errno| errno.known().is_some()),
        // The numbers that the kernel returns instead of pointers end here (`MAX_ERRNO`).
        _ => (1..4096).map(Errno).find(by_name),
    }
}

/// `FILE.o:NAME:INDEX`.
fn in_object(text: &str) -> Result<Option<Subject>, Failure> {
    let Some((target, index)) = text.rsplit_once(':') else { return Ok(None) };
    let Ok(index) = index.parse::<usize>() else { return Ok(None) };
    let Ok(target) = target.parse::<Target>();
    if !target.path.is_file() {
        return Ok(None);
    }
    let object = target.object()?;
    let function = target.program(&object)?;
    let code = object.code(function);
    let (slots, _) = code.as_chunks::<SLOT_BYTES>();
    let slots: Vec<Slot> = slots.iter().map(|bytes| Slot::from_bytes(*bytes)).collect();
    let explanation = slots.get(index..).and_then(explain).ok_or_else(|| {
        Failure::Usage(format!(
            "{} has slots 0 to {}, there is no slot {index}",
            function.name,
            slots.len().saturating_sub(1)
        ))
    })?;
    let offset = function.offset + (index * SLOT_BYTES) as u64;
    let name = name_at(&object, function.section, offset);
    let lines = object.lines(function);
    let after = lines.partition_point(|line| u64::from(line.insn_offset) <= offset);
    let line = after.checked_sub(1).and_then(|before| lines.get(before));
    let source = line.zip(object.btf()).map(|(line, btf)| {
        (btf.str(line.file).to_owned(), line.line, btf.str(line.text).trim().to_owned())
    });
    Ok(Some(Subject::InObject(Box::new(explanation), Place { name, source })))
}

/// A section name or a program type.
fn program(text: &str) -> Option<Subject> {
    if let Some(section) = section_rule(text) {
        let mut notes = Vec::new();
        match section.kind {
            SectionKind::Rule(rule) => notes.push(format!("libbpf's rule {:?}", rule.name)),
            SectionKind::Prefix(rule) => {
                notes.push(format!("by prefix {:?}, as before libbpf 1.0", rule.name));
            }
            SectionKind::TailCall { map_id, slot } => notes.push(format!(
                "iproute2's form: slot {slot} of the program array with id {map_id}; the type is \
                 its caller's"
            )),
        }
        if let Some(target) = section.target {
            notes.push(format!("attaches to {target}"));
        }
        let traits = section.traits();
        for (holds, note) in [
            (traits.sleepable, "may sleep"),
            (traits.xdp_frags, "copes with packets in fragments"),
            (traits.typed_target, "its target is found by BTF"),
            (!section.autoload, "not loaded unless asked for"),
        ] {
            if holds {
                notes.push(note.to_owned());
            }
        }
        return Some(Subject::Program {
            name: text.to_owned(),
            prog_type: section.prog_type(),
            attach_type: section.attach_type(),
            note: notes.join("; "),
        });
    }
    let prog_type = ProgType::named(text)?;
    let attach_type = AttachType::UNSPECIFIED;
    Some(Subject::Program { name: text.to_owned(), prog_type, attach_type, note: String::new() })
}

/// The program types that may call a helper.
fn callers(id: HelperId) -> Vec<&'static str> {
    let may_call = |prog_type: ProgType| {
        helper_allowed(prog_type, AttachType::UNSPECIFIED, id)
            || AttachType::ROWS.iter().any(|row| helper_allowed(prog_type, row.number, id))
    };
    ProgType::ROWS.iter().filter(|row| may_call(row.number)).map(|row| row.name).collect()
}

/// What is special about a helper, in words.
fn traits_of(row: &HelperRow) -> Vec<&'static str> {
    let traits = row.traits;
    [
        (traits.gpl_only, "only for programs under a licence compatible with the GPL"),
        (traits.packet_access, "memory arguments may point into the packet"),
        (traits.changes_packet, "pointers into the packet are invalid afterwards"),
        (traits.acquires, "what it returns must be given back"),
        (traits.may_sleep, "only for sleepable programs"),
    ]
    .into_iter()
    .filter_map(|(holds, words)| holds.then_some(words))
    .collect()
}

fn is_implemented(id: HelperId) -> bool {
    skep::helpers::implemented().any(|known| known == id)
}

fn show(subject: &Subject, render: &mut Render<'_>) -> io::Result<()> {
    match subject {
        Subject::Instructions(all) => {
            for (index, explanation) in all.iter().enumerate() {
                if index > 0 {
                    render.line(format_args!(""))?;
                }
                render.line(format_args!("{explanation}"))?;
            }
            Ok(())
        }
        Subject::InObject(explanation, place) => {
            render.line(format_args!("{explanation}"))?;
            if let Some(name) = &place.name {
                render.line(format_args!("refers to {name}"))?;
            }
            if let Some((file, line, text)) = &place.source {
                render.line(format_args!("source    {file}:{line}: {text}"))?;
            }
            Ok(())
        }
        Subject::Helper(row) => show_helper(row, render),
        Subject::Map(map_type) => {
            let Some(row) = map_type.row() else { return Ok(()) };
            let name = row.name;
            render.heading(&format!("{name}, map type {} ({})", map_type.0, row.constant))?;
            render.line(format_args!("{}", row.meaning))?;
            render.line(format_args!("since Linux {}", row.since))?;
            let is_implemented = skep::maps::implemented().any(|known| known == *map_type);
            render.line(format_args!("{}", implemented(is_implemented)))
        }
        Subject::Errno(errno) => {
            let (name, meaning) = errno.known().unwrap_or(("", "unknown"));
            render.heading(&format!("{name}, error number {}", errno.0))?;
            render.line(format_args!("{meaning}; helpers return -{}", errno.0))
        }
        Subject::Rule(rule) => show_rule(rule, render),
        Subject::Program { name, prog_type, attach_type, note } => {
            show_program(render, name, *prog_type, *attach_type, note)
        }
    }
}

fn show_rule(rule: &Explained, render: &mut Render<'_>) -> io::Result<()> {
    render.heading(&format!("{}: {}", rule.rule, rule.title))?;
    render.line(format_args!("{}", rule.what))?;
    render.line(format_args!(""))?;
    render.line(format_args!("Why: {}", rule.why))?;
    for (what, example) in [("Rejected:", rule.failing), ("Accepted:", rule.fixed)] {
        render.line(format_args!(""))?;
        render.line(format_args!("{what}"))?;
        for line in example.lines() {
            // An empty line keeps no blanks.
            let indent = if line.is_empty() { "" } else { "    " };
            render.line(format_args!("{indent}{line}"))?;
        }
    }
    Ok(())
}

fn implemented(is_implemented: bool) -> &'static str {
    if is_implemented { "implemented here" } else { "not implemented here" }
}

fn show_helper(row: &HelperRow, render: &mut Render<'_>) -> io::Result<()> {
    render.heading(&format!("{}, helper function {}", row.name, row.id.0))?;
    render.line(format_args!("{}", row.prototype()))?;
    render.line(format_args!("{}", row.meaning))?;
    render.line(format_args!("since Linux {}", row.since))?;
    for words in traits_of(row) {
        render.line(format_args!("{words}"))?;
    }
    let callers = callers(row.id);
    match callers.len() == ProgType::ROWS.len() - 1 {
        true => render.line(format_args!("allowed in programs of every type"))?,
        false => render.line(format_args!("allowed in programs of type {}", callers.join(", ")))?,
    }
    render.line(format_args!("{}", implemented(is_implemented(row.id))))
}

fn show_program(
    render: &mut Render<'_>,
    name: &str,
    prog_type: ProgType,
    attach_type: AttachType,
    note: &str,
) -> io::Result<()> {
    match prog_type.row() {
        Some(row) if prog_type != ProgType::UNSPEC => {
            let constant = row.constant;
            render.heading(&format!("{name}: programs of type {} ({constant})", row.name))?;
            render.line(format_args!("{}", row.meaning))?;
            render.line(format_args!("since Linux {}", row.since))?;
        }
        _ => render.heading(&format!("{name}: a program"))?,
    }
    if attach_type != AttachType::UNSPECIFIED {
        render.line(format_args!("attach type {attach_type}"))?;
    }
    if !note.is_empty() {
        render.line(format_args!("{note}"))?;
    }
    if let Some(context) = context_of(prog_type) {
        let name = context.c_type;
        render.line(format_args!(
            "r1 leads to {name}, {} bytes: {}",
            context.size, context.meaning
        ))?;
        for field in context.fields {
            let count = if field.count > 1 { format!("[{}]", field.count) } else { String::new() };
            let (offset, c_type, name) = (field.offset, field.c_type, field.name);
            render.line(format_args!("  {offset:4}  {c_type} {name}{count}"))?;
        }
    }
    for value in returns_of(prog_type) {
        let number = value.value.cast_signed();
        render.line(format_args!("returns {number:2}  {}: {}", value.name, value.meaning))?;
    }
    let allowed = helpers_of(prog_type, attach_type);
    let helpers: Vec<&HelperRow> = HELPERS.iter().filter(|row| allowed.contains(row.id)).collect();
    let here = helpers.iter().filter(|row| is_implemented(row.id)).count();
    render.line(format_args!("may call {} helpers, {here} of them implemented here", helpers.len()))
}

fn document(subject: &Subject) -> Value {
    match subject {
        Subject::Instructions(all) => {
            json!({"kind": "instructions", "instructions": all.iter().map(insn).collect::<Vec<_>>()})
        }
        Subject::InObject(explanation, place) => json!({
            "kind": "instructions",
            "instructions": [insn(explanation)],
            "refers_to": place.name,
            "source": place.source.as_ref().map(|(file, line, text)| json!({
                "file": file, "line": line, "text": text,
            })),
        }),
        Subject::Helper(row) => json!({
            "kind": "helper",
            "id": row.id.0,
            "name": row.name,
            "prototype": row.prototype(),
            "meaning": row.meaning,
            "since": row.since.to_string(),
            "notes": traits_of(row),
            "program_types": callers(row.id),
            "implemented": is_implemented(row.id),
        }),
        Subject::Map(map_type) => json!({
            "kind": "map_type",
            "id": map_type.0,
            "name": map_type.row().map(|row| row.name),
            "constant": map_type.row().map(|row| row.constant),
            "meaning": map_type.row().map(|row| row.meaning),
            "since": map_type.row().map(|row| row.since.to_string()),
            "implemented": skep::maps::implemented().any(|known| known == *map_type),
        }),
        Subject::Errno(errno) => json!({
            "kind": "errno",
            "number": errno.0,
            "name": errno.known().map(|(name, _)| name),
            "meaning": errno.known().map(|(_, meaning)| meaning),
        }),
        Subject::Rule(rule) => json!({
            "kind": "rule",
            "code": rule.rule.to_string(),
            "name": report::json_name(rule.rule),
            "title": rule.title,
            "what": rule.what,
            "why": rule.why,
            "rejected": rule.failing,
            "accepted": rule.fixed,
        }),
        Subject::Program { name, prog_type, attach_type, note } => json!({
            "kind": "program_type",
            "name": name,
            "type": prog_type.to_string(),
            "attach_type": (*attach_type != AttachType::UNSPECIFIED).then(|| attach_type.to_string()),
            "meaning": prog_type.row().map(|row| row.meaning),
            "since": prog_type.row().map(|row| row.since.to_string()),
            "note": note,
            "context": context_of(*prog_type).map(|context| context.c_type),
            "returns": returns_of(*prog_type).iter().map(|value| json!({
                "value": value.value.cast_signed(), "name": value.name, "meaning": value.meaning,
            })).collect::<Vec<_>>(),
        }),
    }
}

fn insn(explanation: &Explanation) -> Value {
    let fields: Vec<Value> = explanation
        .fields
        .iter()
        .map(|field| {
            json!({
                "name": field.name,
                "byte": field.place.byte,
                "len": field.place.len_bytes,
                "bits": field.place.bits.map(|(lowest, count)| json!({"lowest": lowest, "count": count})),
                "value": field.value,
                "meaning": field.meaning,
            })
        })
        .collect();
    let found = explanation.insn.as_ref();
    json!({
        "bytes": crate::value::hex(&explanation.bytes),
        "fields": fields,
        "c_like": found.ok().map(|insn| insn.c_like.as_str()),
        "mnemonic": found.ok().map(|insn| insn.mnemonic.as_str()),
        "meaning": found.ok().map(|insn| insn.meaning.as_str()),
        "group": found.ok().map(|insn| insn.group.name()),
        "section": found.ok().and_then(|insn| insn.section).map(|section| section.number),
        "error": found.err().map(ToString::to_string),
    })
}
