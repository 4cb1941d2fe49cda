//! Small programs that call kernel functions, each with the sentence that Linux 6.18 refuses it
//! with, or accepted.
//!
//! They need the types of a kernel. Where that kernel can be asked, it is asked for every row.

mod buffers;
mod casts;
mod interrupts;
mod iterators;
mod map_fields;
mod mutants;
mod objects;
mod strings;
mod tasks;

use skep_bpf::codec::Slot;
use skep_bpf::platform::{AttachType, MapFlags, MapType, ProgType};
use skep_bpf::program::Bytecode;
use skep_bpf::text::parse::assemble;
use skep_btf::{Btf, Kind};
use skep_kernel::{Map, MapSpec, ProgSpec, Program, uapi};
use skep_verifier::{Input, KernelTypes, MapFacts, Profile, verify};

/// A program, and the sentence of its refusal; an empty one is acceptance.
struct Row {
    what: &'static str,
    form: Form,
    /// Assembly, with `kfunc NAME` as calls of kernel functions, and `@NAME` as the number of a
    /// structure of the kernel. Map 0 is an array, map 1 a hash, map 2 a tree of prefixes,
    /// map 3 an array of programs.
    code: &'static str,
    sentence: &'static str,
}

const fn row(what: &'static str, form: Form, code: &'static str, sentence: &'static str) -> Row {
    Row { what, form, code, sentence }
}

/// What a program is loaded as.
#[derive(Clone, Copy)]
struct Form {
    prog_type: ProgType,
    attach_type: AttachType,
    target: Option<&'static str>,
    sleepable: bool,
}

const fn form(prog_type: ProgType) -> Form {
    Form { prog_type, attach_type: AttachType::UNSPECIFIED, target: None, sleepable: false }
}

const TC: Form = form(ProgType::SCHED_CLS);
const SYSCALL: Form = Form { sleepable: true, ..form(ProgType::SYSCALL) };

/// An iterator over elements.
const fn iterator_program(target: &'static str) -> Form {
    Form { attach_type: AttachType::TRACE_ITER, target: Some(target), ..form(ProgType::TRACING) }
}

/// The maps of all programs: type, size of a key and of a value, flags.
const MAPS: &[(MapType, u32, u32, MapFlags)] = &[
    (MapType::ARRAY, 4, 8, MapFlags(0)),
    (MapType::HASH, 4, 8, MapFlags(0)),
    (MapType::LPM_TRIE, 8, 8, MapFlags::NO_PREALLOC),
    (MapType::PROG_ARRAY, 4, 4, MapFlags(0)),
];

/// Sets numbers of structures.
fn numbered(types: &Btf, text: &str) -> String {
    let mut parts = text.split('@');
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        let id = types.find_struct(name).unwrap_or_else(|| panic!("the kernel has no {name}")).0;
        numbered.push_str(&format!("{}{rest}", id.0));
    }
    numbered
}

fn bytecode(text: &str) -> Bytecode {
    let mut names: Vec<String> = Vec::new();
    let lines = text.lines().map(|line| match line.trim().split_once("kfunc ") {
        Some((label, name)) => {
            let place = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            });
            // Marked by a number that no helper has.
            format!("{label}call {}", 1_000_000 + place)
        }
        None => line.to_owned(),
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut slots: Vec<Slot> = match assemble(&text) {
        Ok(assembly) => assembly.slots,
        Err(error) => panic!("{text}: {error}"),
    };
    for slot in &mut slots {
        if slot.opcode == 0x85 && slot.imm >= 1_000_000 {
            *slot = Slot::new(0x85, 0, 2, 0, slot.imm - 1_000_000);
        }
    }
    Bytecode { slots, kernel_functions: names, ..Bytecode::default() }
}

/// The types of the kernel of this machine, if it gives them.
fn kernel() -> Option<KernelTypes> {
    let kernel = KernelTypes::new(|| {
        std::fs::read("/sys/kernel/btf/vmlinux").map_err(|error| error.to_string())
    });
    if let Err(why) = kernel.types() {
        println!("skipped: {why}");
        return None;
    }
    Some(kernel)
}

/// The kernel's log, if it refuses the program.
fn kernels_refusal(types: &Btf, form: Form, code: &Bytecode) -> Option<String> {
    let maps: Vec<Map> = MAPS
        .iter()
        .map(|(map_type, key_size, value_size, flags)| {
            let spec = MapSpec {
                map_type: map_type.0,
                key_size: *key_size,
                value_size: *value_size,
                max_entries: 1,
                flags: flags.0,
                ..MapSpec::default()
            };
            Map::create(&spec).expect("a small map can be made")
        })
        .collect();
    let mut insns: Vec<[u8; 8]> = code
        .slots
        .iter()
        .map(|slot| {
            if slot.opcode != 0x85 || slot.src() != 2 {
                return slot.to_bytes();
            }
            let name = &code.kernel_functions[slot.imm as usize];
            let id = types.find_func(name).unwrap_or_else(|| panic!("the kernel has no {name}"));
            Slot::new(0x85, 0, 2, 0, id.0 as i32).to_bytes()
        })
        .collect();
    skep_kernel::relocate(&mut insns, &maps).expect("the maps are there");
    let attach_btf_id = form.target.map_or(0, |name| {
        let id = match form.attach_type {
            AttachType::TRACE_ITER => types.find_func(&format!("bpf_iter_{name}")),
            _ => types.find(&format!("btf_trace_{name}"), |kind| matches!(kind, Kind::Typedef(_))),
        };
        id.unwrap_or_else(|| panic!("the kernel has no {name}")).0
    });
    let loaded = Program::load(&ProgSpec {
        prog_type: form.prog_type.0,
        expected_attach_type: form.attach_type.0,
        insns: &insns,
        licence: "GPL",
        flags: if form.sleepable { uapi::prog_flag::SLEEPABLE } else { 0 },
        log_level: 1,
        attach_btf_id,
        ..ProgSpec::default()
    });
    loaded.err().map(|error| format!("{} {}", error.error, error.log))
}

/// The maps as the verifier knows them.
fn input_facts() -> Vec<MapFacts> {
    let facts = |(map_type, key_size, value_size, flags): &(MapType, u32, u32, MapFlags)| {
        MapFacts { flags: *flags, ..MapFacts::new(*map_type, *key_size, *value_size, 1) }
    };
    MAPS.iter().map(facts).collect()
}

/// The sentence that we refuse a program with; empty if it is accepted.
fn ours(code: &Bytecode, form: Form, kernel: &KernelTypes, maps: &[MapFacts]) -> String {
    let input = Input {
        attach_type: form.attach_type,
        attach_target: form.target,
        sleepable: form.sleepable,
        kernel: Some(kernel),
        maps,
        ..Input::new(code, form.prog_type, Profile::linux(2))
    };
    verify(&input).map_or_else(|rejection| rejection.message, |_| String::new())
}

/// Compares all rows and reports all that differ.
fn check(rows: &[Row]) {
    let Some(kernel) = kernel() else { return };
    let types = kernel.types().expect("the types were read");
    let asked = skep_kernel::available();
    if let Err(reason) = &asked {
        println!("the kernel is not asked: {reason}");
    }
    let maps = input_facts();
    let mut wrong = Vec::new();
    for Row { what, form, code: text, sentence } in rows {
        let code = bytecode(&numbered(types, text));
        let ours = ours(&code, *form, &kernel, &maps);
        if ours != *sentence {
            wrong.push(format!("{what}: we say {ours:?}, not {sentence:?}"));
        }
        if asked.is_ok() {
            let log = kernels_refusal(types, *form, &code);
            let same = log.is_none() == sentence.is_empty();
            // The sentence need not be the last line.
            if !same || !log.as_deref().unwrap_or_default().contains(sentence) {
                wrong.push(format!("{what}: the kernel says {log:?}, not {sentence:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
