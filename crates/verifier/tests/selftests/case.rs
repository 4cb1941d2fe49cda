//! From a program of an object to what the verifier takes, as libbpf hands it to the kernel.

use crate::record::Record;
use skep::prepare::{function_facts, map_facts};
use skep_bpf::platform::{AttachType, ProgType};
use skep_btf::Btf;
use skep_object::{
    CoreRelocations, ExternKind, KernelFunctions, LinkOptions, LinkProblem, Linked, Object,
};
use skep_verifier::input::FunctionFacts;
use skep_verifier::{Input, KernelTypes, MapFacts, Profile};
use std::sync::LazyLock;

const STRICT_ALIGNMENT: u32 = 1;
const STATE_FREQUENCY: u32 = 8;
const SLEEPABLE: u32 = 16;

/// What the verifier takes, owned.
pub(crate) struct Case {
    linked: Linked,
    maps: Vec<MapFacts>,
    functions: Vec<FunctionFacts>,
    prog_type: ProgType,
    attach_type: AttachType,
    attach_target: Option<String>,
    gpl_compatible: bool,
    sleepable: bool,
    types: Option<Btf>,
    profile: Profile,
}

impl Case {
    /// Links the program of a record and takes types and flags from there; the error says in a few
    /// words why it cannot be linked.
    pub(crate) fn new(object: &Object, record: &Record) -> Result<Case, String> {
        let case = Case::of_section(object, record.program())?;
        if case.linked.bytecode.slots.len() != record.n_insns {
            return Err("linked code of another length than recorded".to_owned());
        }
        Ok(Case {
            prog_type: record.prog_type(),
            attach_type: record.attach_type(),
            // Records lack the flags that libbpf sets last, by the name of the section.
            sleepable: case.sleepable || record.has_flag(SLEEPABLE),
            profile: Profile {
                strict_alignment: record.has_flag(STRICT_ALIGNMENT),
                checkpoint_everywhere: record.has_flag(STATE_FREQUENCY),
                ..case.profile
            },
            ..case
        })
    }

    /// Links a program; types are those that the name of its section says.
    pub(crate) fn of_section(object: &Object, program: &str) -> Result<Case, String> {
        let named = object.functions_named(program);
        let function = named.iter().find(|function| function.is_program).or(named.first());
        let function = function.ok_or("no such program")?;
        let options = LinkOptions {
            core_relocations: CoreRelocations::AsCompiled,
            kernel_functions: KernelFunctions::ByName,
        };
        let mut linked =
            object.link(function.index, options).map_err(|error| cause(&error.problem))?;
        if let Ok(types) = kernel_types().types() {
            object.resolve_type_ids(&mut linked, types);
        }
        let maps = linked.maps.iter().filter_map(|index| object.map(*index));
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
        let target = function.section_rule().and_then(|rule| rule.target);
        Ok(Case {
            maps: maps.map(|def| map_facts(object, cpus, def)).collect(),
            functions: function_facts(object, &linked, function.prog_type()),
            linked,
            prog_type: function.prog_type(),
            attach_type: function.attach_type(),
            attach_target: target.map(str::to_owned),
            gpl_compatible: object.license().is_some_and(|licence| licence.contains("GPL")),
            sleepable: function.section_rule().is_some_and(|rule| rule.traits().sleepable),
            types: object.btf().cloned(),
            profile: Profile::linux(cpus),
        })
    }

    /// Lets a checkpoint be made wherever one may be.
    pub(crate) fn remember_everywhere(&mut self) {
        self.profile.checkpoint_everywhere = true;
    }

    /// Sets the size of a map's values, as a loader does that knows better than the object.
    pub(crate) fn set_value_size(&mut self, object: &Object, map: &str, bytes: u32) {
        for (index, facts) in self.linked.maps.iter().zip(&mut self.maps) {
            if object.map(*index).is_some_and(|def| def.name == map) {
                facts.value_size = bytes;
            }
        }
    }

    /// The input, borrowing from this.
    pub(crate) fn input(&self) -> Input<'_> {
        Input {
            bytecode: &self.linked.bytecode,
            prog_type: self.prog_type,
            attach_type: self.attach_type,
            attach_target: self.attach_target.as_deref(),
            maps: &self.maps,
            functions: &self.functions,
            kernel: Some(kernel_types()),
            gpl_compatible: self.gpl_compatible,
            sleepable: self.sleepable,
            types: self.types.as_ref(),
            profile: self.profile,
        }
    }
}

/// The types of the kernel that the verdicts are of, if this machine runs it.
fn kernel_types() -> &'static KernelTypes {
    static TYPES: LazyLock<KernelTypes> = LazyLock::new(|| {
        KernelTypes::new(|| {
            std::fs::read("/sys/kernel/btf/vmlinux").map_err(|error| error.to_string())
        })
    });
    &TYPES
}

fn cause(problem: &LinkProblem) -> String {
    match problem {
        LinkProblem::Extern { kind: ExternKind::KernelFunction, name, .. } => {
            format!("kernel function {name}")
        }
        LinkProblem::Extern { kind: ExternKind::KernelVariable, .. } => {
            "kernel variable".to_owned()
        }
        LinkProblem::Extern { kind: ExternKind::Kconfig, .. } => "kernel configuration".to_owned(),
        other => other.to_string(),
    }
}
