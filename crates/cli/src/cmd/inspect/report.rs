//! What an object holds and needs, collected once for people and for programs.

use std::collections::BTreeMap;

use serde::Serialize;
use skep::prepare::{PrepareOptions, Prepared, PreparedProgram, Verification, prepare};
use skep_bpf::codec::decode_all;
use skep_bpf::insn::{Callee, HelperId, Insn};
use skep_bpf::platform::{AttachType, KernelVersion, MapFlags, ProgType};
use skep_btf::Btf;
use skep_object::{
    Binding, CoreRelocations, Function, LinkOptions, MapDef, MapOrigin, MapValue, Object,
};

use crate::failure::Failure;
use crate::input::{Target, read_file};
use crate::value::{Typed, hex};

/// The largest variable whose value is shown, in bytes.
const MAX_SHOWN: usize = 64 << 10;

/// Everything about an object.
#[derive(Serialize, Debug)]
pub(super) struct Report {
    pub(super) object: String,
    pub(super) bytes: usize,
    pub(super) machine: u16,
    pub(super) license: Option<String>,
    pub(super) version: Option<u32>,
    pub(super) programs: Vec<Program>,
    pub(super) functions: Vec<FunctionReport>,
    pub(super) maps: Vec<MapReport>,
    pub(super) globals: Vec<Global>,
    pub(super) externs: Vec<Extern>,
    pub(super) btf: Option<BtfReport>,
    pub(super) sections: Vec<SectionReport>,
    pub(super) diagnostics: Vec<String>,
}

/// A program.
#[derive(Serialize, Debug)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) section: String,
    #[serde(rename = "type")]
    pub(super) prog_type: String,
    pub(super) attach_type: Option<String>,
    pub(super) target: Option<String>,
    /// The number of slots, its own and with those it calls.
    pub(super) slots: usize,
    pub(super) linked_slots: Option<usize>,
    pub(super) functions: Vec<String>,
    pub(super) maps: Vec<String>,
    pub(super) helpers: Vec<Helper>,
    /// How many of which kind, in its own code.
    pub(super) relocations: BTreeMap<String, usize>,
    pub(super) core_relocations: usize,
    /// The first release that has its type, its helpers and its map types.
    pub(super) since: Option<String>,
    pub(super) loads: bool,
    pub(super) problem: Option<String>,
}

/// A helper that a program calls.
#[derive(Serialize, Debug)]
pub(super) struct Helper {
    pub(super) id: u32,
    pub(super) name: Option<&'static str>,
    pub(super) since: Option<String>,
    pub(super) implemented: bool,
    pub(super) allowed: bool,
}

/// A function.
#[derive(Serialize, Debug)]
pub(super) struct FunctionReport {
    pub(super) name: String,
    pub(super) section: String,
    pub(super) offset: u64,
    pub(super) slots: usize,
    pub(super) binding: &'static str,
    pub(super) program: bool,
    pub(super) prototype: Option<String>,
}

/// A map.
#[derive(Serialize, Debug)]
pub(super) struct MapReport {
    pub(super) name: String,
    pub(super) declared: &'static str,
    #[serde(rename = "type")]
    pub(super) map_type: String,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: Vec<String>,
    pub(super) map_extra: u64,
    pub(super) numa_node: Option<u32>,
    pub(super) pinning: u32,
    pub(super) key_type: Option<String>,
    pub(super) value_type: Option<String>,
    pub(super) inner: Option<Box<MapReport>>,
    pub(super) values: Vec<Value>,
    pub(super) problem: Option<String>,
}

/// What a map holds at first.
#[derive(Serialize, Debug)]
pub(super) struct Value {
    pub(super) index: u32,
    pub(super) map: Option<String>,
    pub(super) program: Option<String>,
}

/// A global variable.
#[derive(Serialize, Debug)]
pub(super) struct Global {
    pub(super) map: String,
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) declaration: Option<String>,
    /// Not those of variables that are too large.
    pub(super) value: Option<String>,
    pub(super) bytes: Option<String>,
}

/// Something that the kernel must provide.
#[derive(Serialize, Debug)]
pub(super) struct Extern {
    pub(super) name: String,
    pub(super) kind: String,
}

/// What the type information holds.
#[derive(Serialize, Debug)]
pub(super) struct BtfReport {
    pub(super) types: usize,
    pub(super) strings_bytes: usize,
    pub(super) kinds: BTreeMap<&'static str, usize>,
    pub(super) function_records: usize,
    pub(super) line_records: usize,
    pub(super) core_relocations: usize,
}

/// A section.
#[derive(Serialize, Debug)]
pub(super) struct SectionReport {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) size: u64,
    /// How many of which kind apply to it.
    pub(super) relocations: BTreeMap<String, usize>,
}

impl Report {
    /// Reads an object and prepares it, so that what does not load says why.
    pub(super) fn new(target: &Target, prog_type: Option<ProgType>) -> Result<Report, Failure> {
        let bytes = read_file(&target.path)?;
        // A file that is no object is told apart from one that cannot be prepared.
        let object = target.object()?;
        let wanted = match target.name {
            Some(_) => Some(target.functions(&object)?.iter().map(|f| f.index).collect::<Vec<_>>()),
            None => None,
        };
        let verification = Verification::Off;
        let options = PrepareOptions { prog_type, verification, ..PrepareOptions::default() };
        let prepared = prepare(&bytes, &target.file_name(), options)
            .map_err(|error| Failure::Load(format!("{}: {error}", target.path.display())))?;
        let programs = prepared
            .programs
            .iter()
            .filter(|p| wanted.as_ref().is_none_or(|wanted| wanted.contains(&p.function)))
            .filter_map(|p| Some(program(&prepared, p, object.function(p.function)?)))
            .collect();
        let object = &prepared.object;
        Ok(Report {
            object: target.file_name(),
            bytes: bytes.len(),
            machine: object.machine(),
            license: object.license().map(str::to_owned),
            version: object.version(),
            programs,
            functions: object.functions().iter().map(|f| function(object, f)).collect(),
            maps: maps(&prepared),
            globals: globals(object),
            externs: object
                .externs()
                .map(|(name, kind)| Extern { name: name.to_owned(), kind: kind.to_string() })
                .collect(),
            btf: object.btf().map(|btf| btf_report(object, btf)),
            sections: sections(object),
            diagnostics: object.diagnostics().iter().map(ToString::to_string).collect(),
        })
    }
}

fn program(prepared: &Prepared, program: &PreparedProgram, function: &Function) -> Program {
    let object = &prepared.object;
    // What it needs can be seen even where the kernel's types are missing.
    let as_compiled =
        LinkOptions { core_relocations: CoreRelocations::AsCompiled, ..LinkOptions::default() };
    let linked = program.linked.clone().or_else(|| object.link(function.index, as_compiled).ok());
    let own = |code: &[u8]| skep_bpf::codec::Slot::from_code(code).unwrap_or_default();
    let slots = linked
        .as_ref()
        .map_or_else(|| own(object.code(function)), |linked| linked.bytecode.slots.clone());
    let helpers = helpers(&slots, program.prog_type, program.attach_type);
    let used: Vec<&MapDef> = linked
        .iter()
        .flat_map(|linked| linked.maps.iter().filter_map(|map| object.map(*map)))
        .collect();
    let ids = helpers.iter().filter_map(|helper| HelperId(helper.id).row());
    let since: Option<KernelVersion> = ids
        .map(|row| row.since)
        .chain(program.prog_type.row().map(|row| row.since))
        .chain(used.iter().filter_map(|map| map.map_type.row().map(|row| row.since)))
        .max();
    let end = function.offset.saturating_add(function.size);
    let mut relocations = BTreeMap::new();
    for relocation in object.relocations(function.section) {
        if (function.offset..end).contains(&relocation.offset) {
            *relocations.entry(relocation.kind.to_string()).or_insert(0) += 1;
        }
    }
    let is_open = program.attach_type == AttachType::UNSPECIFIED;
    Program {
        name: program.name.clone(),
        section: program.section.clone(),
        prog_type: program.prog_type.to_string(),
        attach_type: (!is_open).then(|| program.attach_type.to_string()),
        target: function.section_rule().and_then(|rule| rule.target).map(str::to_owned),
        slots: function.len_slots(),
        linked_slots: linked.as_ref().map(|linked| linked.bytecode.slots.len()),
        functions: linked
            .iter()
            .flat_map(|linked| linked.parts.iter().skip(1))
            .filter_map(|part| object.function(part.function).map(|f| f.name.clone()))
            .collect(),
        maps: used.iter().map(|map| map.name.clone()).collect(),
        helpers,
        relocations,
        core_relocations: object.core_relocations(function).len(),
        since: since.map(|version| version.to_string()),
        loads: program.result.is_ok(),
        problem: program.result.as_ref().err().map(ToString::to_string),
    }
}

/// The helpers that code calls, in the order of their numbers.
fn helpers(
    slots: &[skep_bpf::codec::Slot],
    prog_type: ProgType,
    attach_type: AttachType,
) -> Vec<Helper> {
    let mut ids: Vec<HelperId> = decode_all(slots)
        .filter_map(|(_, insn)| match insn {
            Ok(Insn::Call { callee: Callee::Helper(id) }) => Some(id),
            _ => None,
        })
        .collect();
    ids.sort();
    ids.dedup();
    ids.into_iter()
        .map(|id| Helper {
            id: id.0,
            name: id.row().map(|row| row.name),
            since: id.row().map(|row| row.since.to_string()),
            implemented: skep::helpers::implemented().any(|known| known == id),
            allowed: skep_bpf::platform::helper_allowed(prog_type, attach_type, id),
        })
        .collect()
}

fn function(object: &Object, function: &Function) -> FunctionReport {
    let prototype = object.btf().and_then(|btf| {
        let ty = btf.find_func(&function.name)?;
        Some(btf.definition(ty).trim_end_matches(';').to_owned())
    });
    FunctionReport {
        name: function.name.clone(),
        section: function.section_name.clone(),
        offset: function.offset,
        slots: function.len_slots(),
        binding: match function.binding {
            Binding::Local => "static",
            Binding::Global => "global",
            Binding::Weak => "weak",
            Binding::Other(_) => "other",
        },
        program: function.is_program,
        prototype,
    }
}

fn maps(prepared: &Prepared) -> Vec<MapReport> {
    let object = &prepared.object;
    object
        .maps()
        .iter()
        .zip(&prepared.maps)
        .map(|(def, made)| {
            let problem = made.result.as_ref().err().map(ToString::to_string);
            MapReport { problem, ..map(object, def) }
        })
        .collect()
}

fn map(object: &Object, def: &MapDef) -> MapReport {
    let declaration = |ty| object.btf().zip(ty).map(|(btf, ty)| btf.declaration(ty, ""));
    let is_global = def.is_global_data();
    MapReport {
        name: def.name.clone(),
        declared: match def.origin {
            MapOrigin::Btf => "btf",
            MapOrigin::Legacy => "legacy",
            MapOrigin::Global(_) => "global data",
        },
        map_type: def.map_type.to_string(),
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries: def.max_entries,
        flags: flags(def.flags),
        map_extra: def.map_extra,
        numa_node: def.numa_node,
        pinning: def.pinning,
        key_type: declaration(def.key_type),
        value_type: declaration(def.value_type.filter(|_| !is_global)),
        inner: def.inner.as_deref().map(|inner| Box::new(map(object, inner))),
        values: def
            .values
            .iter()
            .map(|(index, value)| {
                let (map, program) = match value {
                    MapValue::Map(map) => (object.map(*map).map(|map| map.name.clone()), None),
                    MapValue::Program(function) => {
                        (None, object.function(*function).map(|f| f.name.clone()))
                    }
                };
                Value { index: *index, map, program }
            })
            .collect(),
        problem: None,
    }
}

/// The names of flags; bits without a name as a number.
fn flags(flags: MapFlags) -> Vec<String> {
    let mut rest = flags.0;
    let mut names = Vec::new();
    for (flag, name, _) in MapFlags::ROWS {
        if rest & flag.0 != 0 {
            names.push((*name).to_owned());
            rest &= !flag.0;
        }
    }
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names
}

fn globals(object: &Object) -> Vec<Global> {
    let mut globals = Vec::new();
    for def in object.maps().iter().filter(|def| def.is_global_data()) {
        let initial = object.initial_bytes(def);
        for variable in &def.variables {
            let start = usize::try_from(variable.offset).unwrap_or(usize::MAX);
            let size = usize::try_from(variable.size).ok().filter(|size| *size <= MAX_SHOWN);
            let bytes = size.map(|size| {
                // What the file does not hold is zero.
                let rest = initial.get(start..).unwrap_or(&[]);
                let mut bytes = rest.get(..size).unwrap_or(rest).to_vec();
                bytes.resize(size, 0);
                bytes
            });
            let var = object.btf().zip(variable.var);
            globals.push(Global {
                map: def.name.clone(),
                name: variable.name.clone(),
                offset: variable.offset,
                size: variable.size,
                declaration: var
                    .map(|(btf, ty)| btf.definition(ty).trim_end_matches(';').to_owned()),
                value: bytes
                    .as_deref()
                    .map(|bytes| Typed::new(object.btf(), variable.var).text(bytes)),
                bytes: bytes.as_deref().map(hex),
            });
        }
    }
    globals
}

fn btf_report(object: &Object, btf: &Btf) -> BtfReport {
    let mut kinds = BTreeMap::new();
    for (_, ty) in btf.types() {
        *kinds.entry(ty.kind.name()).or_insert(0) += 1;
    }
    let mut names: Vec<&str> = object.sections().iter().map(|s| s.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    BtfReport {
        types: btf.len(),
        strings_bytes: btf.strings_len(),
        kinds,
        function_records: names.iter().map(|name| object.func_records(name).len()).sum(),
        line_records: names.iter().map(|name| object.line_records(name).len()).sum(),
        core_relocations: names.iter().map(|name| object.core_records(name).len()).sum(),
    }
}

fn sections(object: &Object) -> Vec<SectionReport> {
    object
        .sections()
        .iter()
        .skip(1)
        .map(|section| {
            let mut relocations = BTreeMap::new();
            for relocation in object.relocations(section.index) {
                *relocations.entry(relocation.kind.to_string()).or_insert(0) += 1;
            }
            SectionReport {
                index: section.index.0,
                name: section.name.clone(),
                kind: section.kind,
                flags: section.flags,
                size: section.size,
                relocations,
            }
        })
        .collect()
}
