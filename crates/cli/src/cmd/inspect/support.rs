//! What is implemented, found out by asking: instructions by running each form, map types,
//! helpers, program types and relocations from the tables and registries that the machine uses.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use serde::Serialize;
use skep::context::RawMemory;
use skep::cpu::Cpu;
use skep::host::Host;
use skep::machine::{Machine, MapId};
use skep::maps::MapSpec;
use skep::run::{Engine, Options, RunError};
use skep::trap::TrapKind;
use skep_bpf::codec::{Slot, SlotIndex, decode};
use skep_bpf::insn::{Insn, Offset};
use skep_bpf::op::Group;
use skep_bpf::platform::helper::HELPERS;
use skep_bpf::platform::{MapFlags, MapType, ProgType};
use skep_bpf::program::{Bytecode, Program};
use skep_bpf::text::mnemonic::Mnemonic;
use skep_object::RelocationKind;

use crate::context::Input;
use crate::render::Render;

/// What is implemented, what loads but traps, and what is absent.
#[derive(Serialize, Debug)]
pub(super) struct Support {
    instructions: Vec<GroupSupport>,
    map_types: Listed,
    helpers: Listed,
    kernel_functions: Vec<&'static str>,
    program_types: Listed,
    relocations: Vec<&'static str>,
    engines: Vec<&'static str>,
}

/// The instructions of a conformance group. A form is an opcode with a name.
#[derive(Serialize, Debug)]
struct GroupSupport {
    group: &'static str,
    opcodes: usize,
    forms: usize,
    implemented: usize,
    /// Forms that load, but whose execution is a trap.
    traps: Vec<String>,
    /// Forms that do not load.
    absent: Vec<String>,
}

/// Names by whether they are implemented.
#[derive(Serialize, Debug)]
struct Listed {
    implemented: Vec<&'static str>,
    absent: Vec<&'static str>,
}

/// How far a form gets, best last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Reach {
    Absent,
    Traps,
    Runs,
}

impl Support {
    /// Asks.
    pub(super) fn find() -> Result<Support, String> {
        let program_types = ProgType::ROWS.iter().filter(|row| row.number != ProgType::UNSPEC);
        Ok(Support {
            instructions: instructions()?,
            map_types: Listed::new(
                MapType::ROWS
                    .iter()
                    .filter(|row| row.number != MapType::UNSPEC)
                    .map(|row| (row.name, skep::maps::implemented().any(|t| t == row.number))),
            ),
            helpers: Listed::new(
                HELPERS
                    .iter()
                    .map(|row| (row.name, skep::helpers::implemented().any(|id| id == row.id))),
            ),
            kernel_functions: skep::helpers::kernel_functions().collect(),
            program_types: Listed::new(program_types.map(|row| {
                let input = Input::new(row.number, None);
                (row.name, matches!(input, Ok(Some(_))))
            })),
            relocations: RelocationKind::ROWS.iter().map(|row| row.name).collect(),
            engines: vec!["interp", "checked"],
        })
    }

    pub(super) fn show(&self, render: &mut Render<'_>) -> io::Result<()> {
        render.heading("instructions by conformance group")?;
        let mut total = (0, 0, 0);
        for group in &self.instructions {
            let GroupSupport { group: name, opcodes, forms, implemented, .. } = group;
            render.line(format_args!(
                "  {name:10} {opcodes:3} opcodes, {forms:3} forms, {implemented:3} implemented"
            ))?;
            total = (total.0 + opcodes, total.1 + forms, total.2 + implemented);
            for (word, forms) in [("load, but trap", &group.traps), ("absent", &group.absent)] {
                if !forms.is_empty() {
                    render.line(format_args!("    {word}: {}", forms.join(", ")))?;
                }
            }
        }
        let (opcodes, forms, implemented) = total;
        render.line(format_args!(
            "  {:10} {opcodes:3} opcodes, {forms:3} forms, {implemented:3} implemented",
            "all"
        ))?;
        self.map_types.show("map types", render)?;
        self.helpers.show("helpers", render)?;
        render.heading("\nkernel functions that are implemented")?;
        render.line(format_args!("  {}", self.kernel_functions.join(", ")))?;
        self.program_types.show("program types that can be run", render)?;
        render.heading(&format!("\nrelocations: {} kinds implemented", self.relocations.len()))?;
        render.line(format_args!("  {}", self.relocations.join(", ")))?;
        render.heading("\nengines")?;
        render.line(format_args!("  {}", self.engines.join(", ")))
    }
}

impl Listed {
    fn new(names: impl Iterator<Item = (&'static str, bool)>) -> Listed {
        let (implemented, absent): (Vec<_>, Vec<_>) = names.partition(|(_, is_there)| *is_there);
        let names = |list: Vec<(&'static str, bool)>| list.into_iter().map(|(n, _)| n).collect();
        Listed { implemented: names(implemented), absent: names(absent) }
    }

    fn show(&self, what: &str, render: &mut Render<'_>) -> io::Result<()> {
        let (here, all) = (self.implemented.len(), self.implemented.len() + self.absent.len());
        render.heading(&format!("\n{what}: {here} of {all} implemented"))?;
        for (word, names) in [("implemented", &self.implemented), ("absent", &self.absent)] {
            if !names.is_empty() {
                render.line(format_args!("  {word}: {}", names.join(", ")))?;
            }
        }
        Ok(())
    }
}

/// The values of fields by which forms differ; of each form at least one combination is valid.
const OFFSETS: [i16; 6] = [0, 1, 8, 16, 32, 2];
const SOURCES: [u8; 7] = [0, 1, 2, 3, 4, 5, 6];
const IMMEDIATES: [i32; 20] = [
    0,
    1,
    2,
    0x40,
    0x50,
    0xa0,
    0x01,
    0x41,
    0x51,
    0xa1,
    0xe1,
    0xf1,
    0x100,
    0x110,
    16,
    32,
    64,
    0x0001_0000,
    3,
    4,
];

/// Tries all forms of all instructions.
fn instructions() -> Result<Vec<GroupSupport>, String> {
    let lab = Lab::new().map_err(|error| error.to_string())?;
    let mut cpu = Cpu::new(&lab.machine).map_err(|error| error.to_string())?;
    // By group: opcode and name of each form, and the farthest that a program with it got.
    let mut forms: BTreeMap<Group, BTreeMap<(u8, String), Reach>> = BTreeMap::new();
    for opcode in 0..=u8::MAX {
        for src in SOURCES {
            for offset in OFFSETS {
                for imm in IMMEDIATES {
                    let slot = Slot::new(opcode, 0, src, offset, imm);
                    let Ok(insn) = decode(&[slot, Slot::default()], SlotIndex(0)) else { continue };
                    let form = (opcode, form_name(&insn));
                    let reach =
                        forms.entry(insn.group()).or_default().entry(form).or_insert(Reach::Absent);
                    if *reach != Reach::Runs {
                        *reach = lab.reach(&mut cpu, slot).max(*reach);
                    }
                }
            }
        }
    }
    Ok(Group::ALL
        .iter()
        .map(|group| {
            let of_group = forms.remove(group).unwrap_or_default();
            let opcodes: BTreeSet<u8> = of_group.keys().map(|(opcode, _)| *opcode).collect();
            let names = |wanted: Reach| {
                let found = of_group.iter().filter(|(_, reach)| **reach == wanted);
                found.map(|((opcode, name), _)| format!("{name} ({opcode:#04x})")).collect()
            };
            GroupSupport {
                group: group.name(),
                opcodes: opcodes.len(),
                forms: of_group.len(),
                implemented: of_group.values().filter(|reach| **reach == Reach::Runs).count(),
                traps: names(Reach::Traps),
                absent: names(Reach::Absent),
            }
        })
        .collect())
}

/// The name of an instruction without its operands; of a wide load also what it loads.
fn form_name(insn: &Insn<Offset>) -> String {
    let text = Mnemonic(insn).to_string();
    let is_word = |word: &&str| word.starts_with(|c: char| c.is_ascii_alphabetic());
    let mut name = text.split_whitespace().take_while(is_word).collect::<Vec<_>>().join(" ");
    if let Insn::LoadImm64 { imm, .. } = insn {
        name += &format!(" {}", imm.kind().row().name);
    }
    name
}

/// Where forms are tried.
struct Lab {
    machine: Arc<Machine>,
    map: MapId,
}

impl Lab {
    fn new() -> Result<Lab, skep::machine::MachineError> {
        let machine = Arc::new(Machine::new(Host { cpus: 1, ..Host::default() })?);
        let map = machine.create_map(MapSpec {
            name: "map".into(),
            map_type: MapType::ARRAY,
            key_bytes: 4,
            value_bytes: 64,
            max_entries: 1,
            flags: MapFlags::default(),
            extra: 0,
            inner: None,
        })?;
        Ok(Lab { machine, map })
    }

    /// How far a program gets whose first instruction starts with this slot.
    fn reach(&self, cpu: &mut Cpu, slot: Slot) -> Reach {
        /// r0 = 0
        const CLEAR: Slot = Slot::new(0xb7, 0, 0, 0, 0);
        /// exit
        const EXIT: Slot = Slot::new(0x95, 0, 0, 0, 0);
        let mut slots = vec![slot];
        if slot.is_wide() {
            slots.push(Slot::default());
        }
        // Enough places for jumps and calls to lead to.
        slots.extend([CLEAR, EXIT, CLEAR, EXIT]);
        let Ok(program) = Program::new(&Bytecode::from(slots)) else { return Reach::Absent };
        let maps = [self.map; 8];
        let Ok(loaded) = self.machine.load("form", ProgType::UNSPEC, program, &maps) else {
            return Reach::Absent;
        };
        let mut memory = RawMemory { bytes: vec![0; 64] };
        let options = Options { engine: Engine::Checked, fuel: 1000, ..Options::default() };
        match loaded.run(cpu, &mut memory, options) {
            Err(RunError::Trap(trap)) if matches!(trap.kind, TrapKind::Unsupported { .. }) => {
                Reach::Traps
            }
            _ => Reach::Runs,
        }
    }
}
