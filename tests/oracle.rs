//! The live kernel's answer to a case of the corpus.
//!
//! A test run returns 32 bits of `r0`, so the case is wrapped: before it, `r1` and `r2` are set to
//! the address and length of its memory, the value of a map; every exit of its main function leads
//! to an epilogue that stores all of `r0` in a second map.

use skep_bpf::codec::{Slot, encode};
use skep_bpf::insn::{Imm64, Insn, Mem, Offset, Reg, Src};
use skep_bpf::op::{AluOp, Size, Width};
use skep_bpf::program::Program;
use skep_kernel::uapi::{log_level, map_flag, map_type, prog_type, update_flag};
use skep_kernel::{Map, MapSpec, ProgSpec, TestRun, relocate};

use crate::corpus::{Case, Expect, Input, KernelSays};

/// What became of asking the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It ran the case and agrees.
    Confirmed,
    /// It refuses the case for the reason that the case states.
    Refused,
}

/// Has the kernel confirm a case, or refuse it as the case says it does.
///
/// # Errors
///
/// How the kernel's answer differs from what the case says.
pub fn ask(case: &Case) -> Result<Verdict, String> {
    let program = case.program().map_err(|error| error.to_string())?;
    let maps = Maps::new(case)?;
    let mut insns = wrap(case, &program)?;
    relocate(&mut insns, &maps.all()).map_err(|error| error.to_string())?;
    let prog_type = match case.input {
        Input::Memory(_) => prog_type::XDP,
        Input::Packet(_) => prog_type::SCHED_CLS,
    };
    let spec =
        ProgSpec { prog_type, insns: &insns, licence: "Dual MIT/GPL", ..ProgSpec::default() };
    if let Ok(program) = skep_kernel::Program::load(&spec) {
        return match &case.kernel {
            KernelSays::Same => confirm(case, &program, &maps),
            KernelSays::Refuses(_) => Err("the kernel loads it after all".to_owned()),
        };
    }
    // Once more for the reason; writing the log takes time.
    let spec = ProgSpec { log_level: log_level::TRACE, ..spec };
    let log = skep_kernel::Program::load(&spec).err().map(|error| error.log).unwrap_or_default();
    let end = || {
        let lines: Vec<_> = log.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    };
    match &case.kernel {
        KernelSays::Refuses(reason) if log.contains(reason.as_str()) => Ok(Verdict::Refused),
        KernelSays::Refuses(reason) => {
            Err(format!("the kernel refuses it, but not with {reason:?}:\n{}", end()))
        }
        KernelSays::Same => Err(format!("the kernel refuses it:\n{}", end())),
    }
}

/// The case's maps, its memory and where the result goes.
struct Maps {
    own: Vec<Map>,
    memory: Option<Map>,
    result: Map,
}

const KEY: [u8; 4] = [0; 4];
const RESULT_BYTES: u32 = 16;

impl Maps {
    fn new(case: &Case) -> Result<Maps, String> {
        let create = |spec: &MapSpec<'_>| Map::create(spec).map_err(|error| error.to_string());
        let array = |value_size| MapSpec {
            map_type: map_type::ARRAY,
            key_size: 4,
            value_size,
            max_entries: 1,
            ..MapSpec::default()
        };
        let own = case
            .maps
            .iter()
            .map(|map| {
                let spec = MapSpec {
                    map_type: map.map_type,
                    key_size: map.key_bytes,
                    max_entries: map.max_entries,
                    flags: if map.read_only { map_flag::RDONLY_PROG } else { 0 },
                    ..array(map.value_bytes)
                };
                create(&spec)
            })
            .collect::<Result<_, _>>()?;
        let memory = match case.memory() {
            [] => None,
            bytes => {
                let map = create(&array(bytes.len() as u32))?;
                map.update(&KEY, bytes, update_flag::ANY).map_err(|error| error.to_string())?;
                Some(map)
            }
        };
        Ok(Maps { own, memory, result: create(&array(RESULT_BYTES))? })
    }

    /// All maps, in the order of the wrapped program's indices.
    fn all(&self) -> Vec<&Map> {
        self.own.iter().chain(&self.memory).chain([&self.result]).collect()
    }
}

fn confirm(case: &Case, program: &skep_kernel::Program, maps: &Maps) -> Result<Verdict, String> {
    let packet = match &case.input {
        Input::Memory(_) => &[0; 64][..],
        Input::Packet(bytes) => bytes,
    };
    let run = program
        .test_run(&TestRun { data_in: packet, ..TestRun::default() })
        .map_err(|error| error.to_string())?;
    let read = |map: &Map| match map.lookup(&KEY) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err("the map is empty".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let result = read(&maps.result)?;
    let (words, _) = result.as_chunks::<8>();
    let [reached, r0] = words else { return Err("the result has two words".to_owned()) };
    // A packet load outside the packet ends the program without the epilogue.
    let r0 = match u64::from_ne_bytes(*reached) {
        0 => run.retval.into(),
        _ => u64::from_ne_bytes(*r0),
    };
    let Expect::Result(expected) = case.expect else {
        return Err(format!("the kernel runs it to its end, with {r0:#x}"));
    };
    if r0 != expected {
        return Err(format!("the kernel's r0 is {r0:#x}, expected {expected:#x}"));
    }
    if let Some(map) = &maps.memory {
        let memory = read(map)?;
        if memory != case.memory_after {
            let expected = &case.memory_after;
            return Err(format!("the kernel's memory is {memory:02x?}, expected {expected:02x?}"));
        }
    }
    Ok(Verdict::Confirmed)
}

/// The case with prologue and epilogue, as the kernel takes it. Maps are named by index.
fn wrap(case: &Case, program: &Program) -> Result<Vec<[u8; 8]>, String> {
    let memory_index = case.maps.len() as u32;
    let has_memory = !case.memory().is_empty();
    let result_index = memory_index + u32::from(has_memory);
    let value = |dst, index| {
        let imm = Imm64::MapValueByIdx { index, offset: 0 };
        Insn::LoadImm64 { dst, imm }
    };
    let mov = |dst, imm| {
        let src = Src::Imm(imm);
        Insn::Alu { op: AluOp::Mov, width: Width::W64, dst, src }
    };
    let store = |offset, src| {
        let mem = Mem { base: Reg::R1, offset };
        Insn::Store { size: Size::Dw, mem, src }
    };
    let prologue: Vec<Insn<usize>> = match case.input {
        Input::Memory(_) if has_memory => {
            vec![value(Reg::R1, memory_index), mov(Reg::R2, case.memory().len() as i32)]
        }
        Input::Memory(_) => vec![mov(Reg::R1, 0), mov(Reg::R2, 0)],
        Input::Packet(_) => Vec::new(),
    };
    let main_end = program.functions()[0].end.index();
    let (main, functions) = program.insns().split_at(main_end);
    let exits = main.contains(&Insn::Exit);
    let epilogue = [
        value(Reg::R1, result_index),
        store(0, Src::Imm(1)),
        store(8, Src::Reg(Reg::R0)),
        mov(Reg::R0, 0),
        Insn::Exit,
    ];
    // Without an exit the epilogue could not be reached, which the kernel would refuse.
    let epilogue = if exits { &epilogue[..] } else { &[] };

    let epilogue_at = prologue.len() + main_end;
    let moved = |index: usize| {
        let skipped = if index < main_end { 0 } else { epilogue.len() };
        Ok::<_, String>(prologue.len() + skipped + index)
    };
    let mut insns = prologue.clone();
    for insn in main {
        insns.push(match insn {
            Insn::Exit => Insn::Jump { wide: true, target: epilogue_at },
            other => other.try_map(|pc| moved(pc.index()))?,
        });
    }
    insns.extend_from_slice(epilogue);
    for insn in functions {
        insns.push(insn.try_map(|pc| moved(pc.index()))?);
    }
    let slots = encode_all(&insns)?;
    Ok(slots.into_iter().map(Slot::to_bytes).collect())
}

/// Encodes instructions whose targets are indices.
///
/// # Errors
///
/// If a jump is too far for its field.
pub fn encode_all(insns: &[Insn<usize>]) -> Result<Vec<Slot>, String> {
    let starts: Vec<usize> = insns
        .iter()
        .scan(0, |next, insn| {
            let start = *next;
            *next += insn.len_slots();
            Some(start)
        })
        .collect();
    let mut slots = Vec::new();
    for (insn, start) in insns.iter().zip(&starts) {
        let insn = insn.try_map(|index| {
            let target = starts.get(index).ok_or("a target outside the program")?;
            Ok::<_, String>(Offset((*target as i64 - *start as i64 - 1) as i32))
        })?;
        slots.extend(encode(&insn).map_err(|error| error.to_string())?.slots());
    }
    Ok(slots)
}
