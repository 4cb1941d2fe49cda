//! CO-RE relocations as text: `<byte_off> [17] struct xdp_buff::data (0:0)`.
//!
//! The form is that of `llvm-objdump`, which names what a relocation asks for and spells out the
//! path to the member. What cannot be followed is shown as it stands, with the reason.

use std::fmt::Write;

use skep_btf::{Btf, CoreRelocation, Kind, Str, TypeId};
use skep_object::Object;

/// The longest chain of qualifiers that is followed.
const MAX_CHAIN: usize = 32;

/// The relocation of the instruction at a byte of a section, if it has one.
pub(super) fn describe(object: &Object, section: &str, at: usize) -> Option<String> {
    let records = object.core_records(section);
    let first = records.partition_point(|record| (record.insn_offset as usize) < at);
    let record = records.get(first).filter(|record| record.insn_offset as usize == at)?;
    Some(text(object.btf()?, record))
}

fn text(btf: &Btf, record: &CoreRelocation) -> String {
    let access = btf.str(record.access);
    try_text(btf, record, access).unwrap_or_else(|reason| {
        format!("{} [{}] '{access}' <{reason}>", kind_name(record.kind), record.ty.0)
    })
}

/// What a path in a relocation leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Field,
    Type,
    EnumValue,
}

/// What relocations ask for, by number (`enum bpf_core_relo_kind`), in `llvm-objdump`'s words.
const KINDS: [(&str, Subject); 13] = [
    ("byte_off", Subject::Field),
    ("byte_sz", Subject::Field),
    ("field_exists", Subject::Field),
    ("signed", Subject::Field),
    ("lshift_u64", Subject::Field),
    ("rshift_u64", Subject::Field),
    ("local_type_id", Subject::Type),
    ("target_type_id", Subject::Type),
    ("type_exists", Subject::Type),
    ("type_size", Subject::Type),
    ("enumval_exists", Subject::EnumValue),
    ("enumval_value", Subject::EnumValue),
    ("type_matches", Subject::Type),
];

fn kind(number: u32) -> Option<(&'static str, Subject)> {
    KINDS.get(usize::try_from(number).ok()?).copied()
}

fn kind_name(number: u32) -> String {
    match kind(number) {
        Some((name, _)) => format!("<{name}>"),
        None => format!("<reloc kind #{number}>"),
    }
}

fn try_text(btf: &Btf, record: &CoreRelocation, access: &str) -> Result<String, String> {
    let path = parse_path(access)?;
    let mut text = format!("{} [{}]", kind_name(record.kind), record.ty.0);
    let mut id = record.ty;
    btf.get(id).ok_or_else(|| format!("unknown type id: {}", id.0))?;
    for chain in 0.. {
        let (word, next) = match btf.kind(id) {
            Kind::Const(next) => ("const", next),
            Kind::Volatile(next) => ("volatile", next),
            Kind::Restrict(next) => ("restrict", next),
            Kind::TypeTag(next) => ("type_tag", next),
            _ => break,
        };
        if chain >= MAX_CHAIN {
            return Err("modifiers chain is too long".to_owned());
        }
        match word {
            "type_tag" => put(&mut text, format_args!(" type_tag(\"{}\")", btf.name(id))),
            _ => put(&mut text, format_args!(" {word}")),
        }
        id = *next;
    }
    text.push_str(match btf.kind(id) {
        Kind::Typedef(_) => " typedef",
        Kind::Struct(_) => " struct",
        Kind::Union(_) => " union",
        Kind::Enum(_) | Kind::Enum64(_) => " enum",
        Kind::Forward { union: true } => " fwd union",
        Kind::Forward { union: false } => " fwd struct",
        _ => "",
    });
    let name =
        if id == TypeId::VOID { "void".to_owned() } else { named(btf, btf.ty(id).name, None) };
    put(&mut text, format_args!(" {name}"));
    match kind(record.kind).map(|(_, subject)| subject) {
        Some(Subject::Type) if path == [0] => {}
        Some(Subject::Type) => {
            return Err("unexpected type-based relocation spec: should be '0'".to_owned());
        }
        Some(Subject::EnumValue) => text.push_str(&enum_value(btf, id, &path)?),
        Some(Subject::Field) | None => {
            text.push_str(&field(btf, id, &path)?);
            put(&mut text, format_args!(" ({access})"));
        }
    }
    Ok(text)
}

/// The steps of a path such as `0:1:2`.
fn parse_path(access: &str) -> Result<Vec<u32>, String> {
    let mut path = Vec::new();
    let mut rest = access;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        path.push(number.parse().map_err(|_| "spec string is not a number".to_owned())?);
        let mut chars = after.chars();
        match chars.next() {
            None | Some(':') => rest = chars.as_str(),
            Some(other) => return Err(format!("unexpected spec string delimiter: '{other}'")),
        }
    }
    Ok(path)
}

/// The enumerator that a path of one step means, with its value.
fn enum_value(btf: &Btf, ty: TypeId, path: &[u32]) -> Result<String, String> {
    let &[index] = path else {
        return Err("unexpected enumval relocation spec size".to_owned());
    };
    let ty = btf.resolve(ty).map_err(|error| error.to_string())?;
    let (Kind::Enum(enumeration) | Kind::Enum64(enumeration)) = btf.kind(ty) else {
        let kind = btf.kind(ty).name();
        return Err(format!("unexpected type kind for enum relocation: {kind}"));
    };
    let values = btf.enum_values(enumeration);
    let value = usize::try_from(index).ok().and_then(|index| values.get(index));
    let value = value.ok_or_else(|| format!("bad value index: {index}"))?;
    let name = named(btf, value.name, Some(index));
    Ok(match enumeration.signed {
        true => format!("::{name} = {}", value.value.cast_signed()),
        false => format!("::{name} = {}", value.value),
    })
}

/// The member that a path means, whose first step indexes an array of the type.
fn field(btf: &Btf, ty: TypeId, path: &[u32]) -> Result<String, String> {
    let (first, rest) = path.split_first().ok_or("field spec too short")?;
    let mut text = "::".to_owned();
    if *first != 0 {
        put(&mut text, format_args!("[{first}]"));
    }
    let mut id = ty;
    for (step, index) in rest.iter().enumerate() {
        id = btf.resolve(id).map_err(|error| error.to_string())?;
        match btf.kind(id) {
            Kind::Struct(composite) | Kind::Union(composite) => {
                let members = btf.members(composite);
                let member = usize::try_from(*index).ok().and_then(|index| members.get(index));
                let member = member.ok_or_else(|| {
                    let place = step + 1;
                    format!("member index {index} for spec sub-string {place} is out of range")
                })?;
                if step > 0 || *first != 0 {
                    text.push('.');
                }
                text.push_str(&named(btf, member.name, Some(*index)));
                id = member.ty;
            }
            Kind::Array(array) => {
                put(&mut text, format_args!("[{index}]"));
                id = array.element;
            }
            other => {
                let (kind, place) = (other.name(), step + 1);
                return Err(format!("unexpected type kind {kind} for spec sub-string {place}"));
            }
        }
    }
    Ok(text)
}

/// A name, or what stands for a missing one.
fn named(btf: &Btf, name: Str, index: Option<u32>) -> String {
    match (btf.str(name), index) {
        ("", None) => "<anon>".to_owned(),
        ("", Some(index)) => format!("<anon {index}>"),
        (name, _) => name.to_owned(),
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a String takes any text");
}
