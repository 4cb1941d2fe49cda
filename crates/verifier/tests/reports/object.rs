//! Programs of objects, as the verifier takes them.

use skep_bpf::platform::{MapFlags, ProgType, section_rule};
use skep_btf::{Btf, Kind, TypeId};
use skep_object::{
    Binding, CoreRelocations, GlobalData, KernelFunctions, LinkOptions, Linked, MapDef, MapOrigin,
    Object,
};
use skep_verifier::input::{FunctionFacts, SpecialField, special_fields};
use skep_verifier::{Input, MapFacts, Profile};
use std::path::Path;

/// A program of an object, with what the verifier must know of it.
pub(crate) struct Program {
    pub(crate) name: String,
    section: String,
    linked: Linked,
    maps: Vec<MapFacts>,
    functions: Vec<FunctionFacts>,
    gpl_compatible: bool,
}

/// The programs of an object.
pub(crate) fn programs(path: &Path) -> Vec<Program> {
    let bytes = std::fs::read(path).expect("the object can be read");
    let name = path.file_name().expect("a file").to_string_lossy();
    let object = Object::parse_named(&bytes, &name).expect("an object");
    let programs = object.functions().iter().filter(|function| function.is_program);
    programs
        .map(|function| {
            let options = LinkOptions {
                core_relocations: CoreRelocations::AsCompiled,
                kernel_functions: KernelFunctions::ByName,
            };
            let linked = object.link(function.index, options).expect("the program can be linked");
            let maps = linked.maps.iter().filter_map(|index| object.map(*index));
            Program {
                name: function.name.clone(),
                section: function.section_name.clone(),
                maps: maps.map(|def| map_facts(&object, def)).collect(),
                functions: functions(&object, &linked, function.prog_type()),
                gpl_compatible: object.license().is_some_and(|licence| licence.contains("GPL")),
                linked,
            }
        })
        .collect()
}

impl Program {
    /// What the verifier takes.
    pub(crate) fn input(&self) -> Input<'_> {
        let rule = section_rule(&self.section).expect("a section name that says the type");
        Input {
            bytecode: &self.linked.bytecode,
            prog_type: rule.prog_type(),
            attach_type: rule.attach_type(),
            maps: &self.maps,
            functions: &self.functions,
            gpl_compatible: self.gpl_compatible,
            sleepable: rule.traits().sleepable,
            profile: Profile::linux(2),
        }
    }
}

fn functions(object: &Object, linked: &Linked, prog_type: ProgType) -> Vec<FunctionFacts> {
    let Some(btf) = object.btf() else { return Vec::new() };
    let facts = |part: &skep_object::Part| {
        let function = object.function(part.function)?;
        let global = function.binding != Binding::Local && !function.hidden;
        let id = btf.find_func(&function.name)?;
        Some(FunctionFacts::from_btf(btf, id, part.start, global, prog_type))
    };
    linked.parts.iter().filter_map(facts).collect()
}

fn map_facts(object: &Object, def: &MapDef) -> MapFacts {
    let types = object.btf().zip(def.value_type);
    let read_only = def.flags.contains(MapFlags::RDONLY_PROG);
    let frozen = match def.origin {
        MapOrigin::Global(GlobalData::ReadOnly) => Some(object.initial_bytes(def).to_vec()),
        _ => None,
    };
    MapFacts {
        name: def.name.clone(),
        flags: def.flags,
        has_types: types.is_some(),
        fields: types.map_or(Vec::new(), |(btf, id)| fields(btf, def, id)),
        frozen: frozen.filter(|_| read_only),
        inner: def.inner.as_ref().map(|inner| Box::new(map_facts(object, inner))),
        ..MapFacts::new(def.map_type, def.key_size, def.value_size, def.max_entries)
    }
}

/// The special fields in a map's values; of global data, those of its variables.
fn fields(btf: &Btf, def: &MapDef, value_type: TypeId) -> Vec<SpecialField> {
    if !def.is_global_data() {
        return special_fields(btf, value_type);
    }
    let mut found = Vec::new();
    for variable in &def.variables {
        let Some(Kind::Var { ty, .. }) = variable.var.map(|var| btf.kind(var)) else { continue };
        let shift = |field: SpecialField| SpecialField {
            offset: field.offset + variable.offset as u32,
            ..field
        };
        found.extend(special_fields(btf, *ty).into_iter().map(shift));
    }
    found
}
