//! Programs of objects, as the verifier takes them.

use skep::prepare::{function_facts, map_facts};
use skep_bpf::platform::section_rule;
use skep_btf::Btf;
use skep_object::{CoreRelocations, KernelFunctions, LinkOptions, Linked, Object};
use skep_verifier::input::FunctionFacts;
use skep_verifier::{Input, KernelTypes, MapFacts, Profile};
use std::path::Path;
use std::sync::LazyLock;

const CPUS: u32 = 2;

/// A program of an object, with what the verifier must know of it.
pub(crate) struct Program {
    pub(crate) name: String,
    section: String,
    linked: Linked,
    maps: Vec<MapFacts>,
    functions: Vec<FunctionFacts>,
    gpl_compatible: bool,
    types: Option<Btf>,
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
                maps: maps.map(|def| map_facts(&object, CPUS, def)).collect(),
                functions: function_facts(&object, &linked, function.prog_type()),
                gpl_compatible: object.license().is_some_and(|licence| licence.contains("GPL")),
                types: object.btf().cloned(),
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
            attach_target: rule.target,
            maps: &self.maps,
            functions: &self.functions,
            kernel: Some(kernel_types()),
            gpl_compatible: self.gpl_compatible,
            sleepable: rule.traits().sleepable,
            types: self.types.as_ref(),
            profile: Profile::linux(CPUS),
        }
    }
}

/// The types of the kernel that runs here; if it does not show them, none: then all types are the
/// program's own.
pub(crate) fn kernel_types() -> &'static KernelTypes {
    // The header, and the empty string.
    const NONE: [u8; 25] =
        [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    static TYPES: LazyLock<KernelTypes> = LazyLock::new(|| {
        KernelTypes::new(|| {
            Ok(std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_else(|_| NONE.to_vec()))
        })
    });
    &TYPES
}
