//! What the verifier is told about the programs of an object.

use skep_bpf::codec::SlotIndex;
use skep_bpf::platform::{AttachType, MapFlags, ProgType, is_gpl_compatible};
use skep_btf::{Btf, Kind, Linkage, TypeId};
use skep_object::{GlobalData, Linked, MapDef, MapOrigin, Object, Part};
use skep_verifier::input::{FunctionFacts, SpecialField, special_fields};
use skep_verifier::{Input, KernelTypes, MapFacts, Profile};
use std::sync::Arc;

use super::maps::{initial_bytes, spec};

/// A program that is to be verified.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) name: &'a str,
    pub(super) linked: &'a Linked,
    pub(super) prog_type: ProgType,
    pub(super) attach_type: AttachType,
    pub(super) sleepable: bool,
    pub(super) attach_target: Option<&'a str>,
}

/// What all programs of an object have in common.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) object: &'a Object,
    pub(super) cpus: u32,
    pub(super) profile: Profile,
    pub(super) kernel: Option<&'a Arc<KernelTypes>>,
}

/// What the verifier is told of a program.
pub struct Facts<'a> {
    task: Task<'a>,
    maps: Vec<MapFacts>,
    functions: Vec<FunctionFacts>,
    gpl_compatible: bool,
    types: Option<&'a Btf>,
    profile: Profile,
    kernel: Option<Arc<KernelTypes>>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(around: &Surroundings<'a>, task: Task<'a>) -> Facts<'a> {
        let object = around.object;
        let maps = task.linked.maps.iter().filter_map(|index| {
            let def = object.map(*index)?;
            Some(map_facts(object, around.cpus, def))
        });
        Facts {
            task,
            maps: maps.collect(),
            functions: function_facts(object, task.linked, task.prog_type),
            gpl_compatible: object.license().is_some_and(is_gpl_compatible),
            types: object.btf(),
            profile: around.profile,
            kernel: around.kernel.cloned(),
        }
    }

    /// The same, as the verifier takes it.
    #[must_use]
    pub fn input(&self) -> Input<'_> {
        Input {
            bytecode: &self.task.linked.bytecode,
            prog_type: self.task.prog_type,
            attach_type: self.task.attach_type,
            attach_target: self.task.attach_target,
            maps: &self.maps,
            functions: &self.functions,
            kernel: self.kernel.as_deref(),
            gpl_compatible: self.gpl_compatible,
            sleepable: self.task.sleepable,
            types: self.types,
            profile: self.profile,
        }
    }
}

/// What an object says of a map, on a machine with so many processors.
#[must_use]
pub fn map_facts(object: &Object, cpus: u32, def: &MapDef) -> MapFacts {
    let types = object.btf().zip(def.value_type);
    let spec = spec(cpus, def);
    let is_constant = def.origin == MapOrigin::Global(GlobalData::ReadOnly)
        && def.flags.contains(MapFlags::RDONLY_PROG);
    MapFacts {
        name: def.name.clone(),
        flags: spec.flags,
        has_types: types.is_some(),
        fields: types.map_or(Vec::new(), |(btf, id)| fields(btf, def, id)),
        frozen: is_constant.then(|| initial_bytes(object, def).unwrap_or_default()),
        inner: def.inner.as_deref().map(|inner| Box::new(map_facts(object, cpus, inner))),
        ..MapFacts::new(spec.map_type, spec.key_bytes, spec.value_bytes, spec.max_entries)
    }
}

/// The special fields of a map's values; of global data, those of its variables, whose offsets
/// compilers leave to the loader.
fn fields(btf: &Btf, def: &MapDef, value_type: TypeId) -> Vec<SpecialField> {
    if !def.is_global_data() {
        return special_fields(btf, value_type);
    }
    let of_variable = |variable: &skep_object::Variable| {
        let start = u32::try_from(variable.offset).unwrap_or(u32::MAX);
        let mut fields = variable.var.map_or(Vec::new(), |var| special_fields(btf, var));
        for field in &mut fields {
            field.offset = field.offset.saturating_add(start);
        }
        fields
    };
    def.variables.iter().flat_map(of_variable).collect()
}

/// What BTF says of the functions of a program; nothing if it does not describe every one of them,
/// which makes all but the first static.
#[must_use]
pub fn function_facts(object: &Object, linked: &Linked, prog_type: ProgType) -> Vec<FunctionFacts> {
    let facts = |part: &Part| {
        let (btf, function) = (object.btf()?, object.function(part.function)?);
        let records = object.func_records(&function.section_name);
        let record = records.iter().find(|record| u64::from(record.insn_offset) == part.offset)?;
        let Kind::Func { linkage, .. } = btf.get(record.func).map(|_| btf.kind(record.func))?
        else {
            return None;
        };
        // libbpf makes hidden functions static.
        let global = *linkage == Linkage::Global && !function.hidden;
        let entry = SlotIndex(part.start.0);
        Some(FunctionFacts::from_btf(btf, record.func, entry, global, prog_type))
    };
    linked.parts.iter().map(facts).collect::<Option<Vec<_>>>().unwrap_or_default()
}
