//! A raw program with its surroundings, as a line of JSON has it, and the machine that it asks for.

mod machine;

use std::sync::Arc;

use serde::Deserialize;
use skep::maps::MapSpec;
use skep_bpf::codec::{Slot, SlotIndex, decode};
use skep_bpf::insn::{Callee, Insn};
use skep_bpf::op::Imm64Kind;
use skep_bpf::platform::{AttachType, MapFlags, MapType, ProgType};
use skep_bpf::program::Bytecode;
use skep_btf::{Btf, Kind, Linkage, TypeId};
use skep_verifier::input::{FunctionFacts, special_fields};
use skep_verifier::{Input, KernelTypes, MapFacts, Profile};

use crate::input::parse_hex;

/// The most slots that the kernel takes (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MAX_SLOTS: usize = 1_000_000;

/// `BPF_F_STRICT_ALIGNMENT`
const STRICT_ALIGNMENT: u32 = 1;
/// `BPF_F_TEST_STATE_FREQ`
const STATE_FREQUENCY: u32 = 8;
/// `BPF_F_SLEEPABLE`
const SLEEPABLE: u32 = 16;
/// All flags that Linux 6.18 has for loading programs.
const KNOWN_FLAGS: u32 = 0xff;

/// A line. Members that are not named here are left alone.
#[derive(Deserialize, Debug)]
pub struct Record {
    /// What the program is called.
    pub name: Option<String>,
    prog_type: u32,
    #[serde(default)]
    expected_attach_type: u32,
    #[serde(default)]
    load_flags: u32,
    insns: Option<String>,
    insns_rle: Option<Vec<(String, usize)>>,
    #[serde(default)]
    relocs: Vec<Reloc>,
    #[serde(default)]
    kfunc_relocs: Vec<KernelCall>,
    #[serde(default)]
    maps: Vec<Map>,
    #[serde(default)]
    aux_progs: Vec<Auxiliary>,
    #[serde(default)]
    map_updates: Vec<Update>,
    #[serde(default)]
    btfs: Vec<String>,
    prog_btf: Option<i64>,
    #[serde(default)]
    func_info: Vec<(usize, u32)>,
    license: Option<String>,
    /// The runs that are asked for, one after the other in the same maps.
    #[serde(default)]
    pub runs: Vec<Run>,
}

/// An `ld_imm64` whose immediate is the index of a map.
#[derive(Deserialize, Debug)]
struct Reloc {
    insn: usize,
}

/// A call of a kernel function, by name.
#[derive(Deserialize, Debug)]
struct KernelCall {
    insn: usize,
    kfunc: String,
}

#[derive(Deserialize, Debug)]
struct Map {
    #[serde(rename = "type")]
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    #[serde(default)]
    map_flags: u32,
    inner_map: Option<usize>,
    btf: Option<i64>,
    btf_value_type_id: Option<u32>,
}

/// A program that is loaded before, for a map of programs.
#[derive(Deserialize, Debug)]
struct Auxiliary {
    prog_type: u32,
    insns: String,
    #[serde(default)]
    relocs: Vec<Reloc>,
}

/// What is put into a map before the runs.
#[derive(Deserialize, Debug)]
struct Update {
    map: usize,
    key: String,
    value: Option<String>,
    aux_prog: Option<usize>,
}

/// A run.
#[derive(Deserialize, Debug)]
pub struct Run {
    /// The packet in hexadecimal digits; if empty, 64 zeros.
    #[serde(default)]
    pub data: String,
}

/// A program as the verifier takes it.
#[derive(Debug)]
pub struct Case {
    bytecode: Bytecode,
    /// Its type.
    pub prog_type: ProgType,
    attach_type: AttachType,
    functions: Vec<FunctionFacts>,
    sleepable: bool,
    strict_alignment: bool,
    checkpoint_everywhere: bool,
}

/// What the programs of a line have in common.
#[derive(Debug)]
pub struct Surroundings {
    facts: Vec<MapFacts>,
    specs: Vec<MapSpec>,
    gpl_compatible: bool,
    kernel: Arc<KernelTypes>,
    cpus: u32,
}

impl Case {
    /// What the verifier is asked.
    #[must_use]
    pub fn input<'a>(&'a self, around: &'a Surroundings) -> Input<'a> {
        Input {
            bytecode: &self.bytecode,
            prog_type: self.prog_type,
            attach_type: self.attach_type,
            attach_target: None,
            maps: &around.facts,
            functions: &self.functions,
            kernel: Some(&around.kernel),
            gpl_compatible: around.gpl_compatible,
            sleepable: self.sleepable,
            types: None,
            profile: Profile {
                strict_alignment: self.strict_alignment,
                checkpoint_everywhere: self.checkpoint_everywhere,
                ..Profile::linux(around.cpus)
            },
        }
    }
}

impl Record {
    /// The program.
    ///
    /// # Errors
    ///
    /// Which member is wrong.
    pub fn case(&self) -> Result<Case, String> {
        let unknown = self.load_flags & !KNOWN_FLAGS;
        if unknown != 0 {
            return Err(format!("load_flags: {unknown:#x} are no flags of Linux 6.18"));
        }
        Ok(Case {
            bytecode: self.bytecode()?,
            prog_type: ProgType(self.prog_type),
            attach_type: AttachType(self.expected_attach_type),
            functions: self.functions()?,
            sleepable: self.load_flags & SLEEPABLE != 0,
            strict_alignment: self.load_flags & STRICT_ALIGNMENT != 0,
            checkpoint_everywhere: self.load_flags & STATE_FREQUENCY != 0,
        })
    }

    /// The code, with maps by index and kernel functions by name.
    fn bytecode(&self) -> Result<Bytecode, String> {
        let mut code = bytecode(self.bytes()?, &self.relocs)?;
        for KernelCall { insn, kfunc } in &self.kfunc_relocs {
            let call = decode(&code.slots, SlotIndex(*insn));
            let Ok(Insn::Call { callee: Callee::Kfunc { .. } }) = call else {
                return Err(format!("kfunc_relocs: slot {insn} does not call a kernel function"));
            };
            let names = &mut code.kernel_functions;
            let known = names.iter().position(|name| name == kfunc);
            let index = known.unwrap_or_else(|| {
                names.push(kfunc.clone());
                names.len() - 1
            });
            if let Some(slot) = code.slots.get_mut(*insn) {
                // There are at most as many as slots.
                slot.imm = i32::try_from(index).unwrap_or(i32::MAX);
            }
        }
        Ok(code)
    }

    /// The programs that are loaded before.
    fn auxiliary(&self) -> Result<Vec<Case>, String> {
        let case = |(index, program): (usize, &Auxiliary)| {
            let fail = |why| format!("aux_progs[{index}]: {why}");
            Ok(Case {
                bytecode: hex("insns", &program.insns)
                    .and_then(|bytes| bytecode(bytes, &program.relocs))
                    .map_err(fail)?,
                prog_type: ProgType(program.prog_type),
                attach_type: AttachType::UNSPECIFIED,
                functions: Vec::new(),
                sleepable: false,
                strict_alignment: false,
                checkpoint_everywhere: false,
            })
        };
        self.aux_progs.iter().enumerate().map(case).collect()
    }

    /// Maps, licence and machine.
    ///
    /// # Errors
    ///
    /// Which member is wrong.
    pub fn surroundings(
        &self,
        cpus: u32,
        kernel: &Arc<KernelTypes>,
    ) -> Result<Surroundings, String> {
        let btfs = self.btfs()?;
        let maps = self.maps.iter().enumerate();
        let specs = maps.clone().map(|(index, map)| self.spec(index, map));
        let facts = maps.map(|(index, map)| self.facts(index, map, &btfs));
        let licence = self.license.as_deref().unwrap_or("GPL");
        Ok(Surroundings {
            specs: specs.collect::<Result<_, _>>()?,
            facts: facts.collect::<Result<_, _>>()?,
            gpl_compatible: skep_bpf::platform::is_gpl_compatible(licence),
            kernel: kernel.clone(),
            cpus,
        })
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        let runs = match (&self.insns, &self.insns_rle) {
            (Some(text), None) => return hex("insns", text),
            (None, Some(runs)) => runs,
            _ => return Err("one of insns and insns_rle is needed".to_owned()),
        };
        let mut bytes = Vec::new();
        for (text, count) in runs {
            let piece = hex("insns_rle", text)?;
            let len = piece.len().saturating_mul(*count).saturating_add(bytes.len());
            if len > MAX_SLOTS * 8 {
                return Err(format!("insns_rle: more than the {MAX_SLOTS} slots that may be"));
            }
            bytes.extend(piece.repeat(*count));
        }
        Ok(bytes)
    }

    fn btfs(&self) -> Result<Vec<Btf>, String> {
        let parse = |(index, text): (usize, &String)| {
            let bytes = hex("btfs", text)?;
            Btf::parse(&bytes).map_err(|error| format!("btfs[{index}]: {error}"))
        };
        self.btfs.iter().enumerate().map(parse).collect()
    }

    fn functions(&self) -> Result<Vec<FunctionFacts>, String> {
        let btfs = self.btfs()?;
        let Some(btf) = find(&btfs, self.prog_btf, "prog_btf")? else { return Ok(Vec::new()) };
        let function = |&(entry, id): &(usize, u32)| {
            let id = TypeId(id);
            let Some(Kind::Func { linkage, .. }) = btf.get(id).map(|_| btf.kind(id)) else {
                return Err(format!("func_info: type {} is no function", id.0));
            };
            let (entry, global) = (SlotIndex(entry), *linkage == Linkage::Global);
            let prog_type = ProgType(self.prog_type);
            Ok(FunctionFacts::from_btf(btf, id, entry, global, prog_type))
        };
        self.func_info.iter().map(function).collect()
    }

    /// The map that a map of maps is like.
    fn inner(&self, index: usize, map: &Map) -> Result<Option<&Map>, String> {
        let Some(inner) = map.inner_map else { return Ok(None) };
        let found = self.maps.get(inner).filter(|inner| inner.inner_map.is_none());
        let found = found.ok_or_else(|| {
            format!("maps[{index}]: inner_map {inner} is no map that can be in another")
        })?;
        Ok(Some(found))
    }

    fn spec(&self, index: usize, map: &Map) -> Result<MapSpec, String> {
        let inner = self.inner(index, map)?.map(|inner| self.spec(index, inner)).transpose()?;
        Ok(MapSpec {
            name: format!("maps[{index}]").into(),
            map_type: MapType(map.map_type),
            key_bytes: map.key_size,
            value_bytes: map.value_size,
            max_entries: map.max_entries,
            flags: MapFlags(map.map_flags),
            extra: 0,
            inner: inner.map(Box::new),
        })
    }

    fn facts(&self, index: usize, map: &Map, btfs: &[Btf]) -> Result<MapFacts, String> {
        let inner = self.inner(index, map)?.map(|inner| self.facts(index, inner, btfs));
        let btf = find(btfs, map.btf, "btf of a map")?;
        let fields = match btf.zip(map.btf_value_type_id) {
            Some((btf, id)) if btf.get(TypeId(id)).is_some() => special_fields(btf, TypeId(id)),
            Some((_, id)) => return Err(format!("maps[{index}]: there is no type {id}")),
            None => Vec::new(),
        };
        let (key_size, value_size) = (map.key_size, map.value_size);
        Ok(MapFacts {
            flags: MapFlags(map.map_flags),
            has_types: btf.is_some(),
            fields,
            inner: inner.transpose()?.map(Box::new),
            ..MapFacts::new(MapType(map.map_type), key_size, value_size, map.max_entries)
        })
    }
}

/// The BTF that an index means; -1 is none.
fn find<'a>(btfs: &'a [Btf], index: Option<i64>, what: &str) -> Result<Option<&'a Btf>, String> {
    let Some(index) = index.filter(|index| *index != -1) else { return Ok(None) };
    let btf = usize::try_from(index).ok().and_then(|index| btfs.get(index));
    btf.map(Some).ok_or_else(|| format!("{what}: there is no btfs[{index}]"))
}

/// Code whose loads of maps name them by index instead of by file descriptor.
fn bytecode(bytes: Vec<u8>, relocs: &[Reloc]) -> Result<Bytecode, String> {
    let len = bytes.len();
    let slots = Slot::from_code(&bytes);
    let mut slots = slots.ok_or_else(|| format!("insns: {len} bytes are no whole slots"))?;
    if slots.len() > MAX_SLOTS {
        return Err(format!("insns: {} slots, at most {MAX_SLOTS} may be", slots.len()));
    }
    for Reloc { insn } in relocs {
        let slot = slots.get_mut(*insn).filter(|slot| slot.is_wide());
        let by_index = slot.as_ref().and_then(|slot| {
            let pairs = [
                (Imm64Kind::MapByFd, Imm64Kind::MapByIdx),
                (Imm64Kind::MapValueByFd, Imm64Kind::MapValueByIdx),
            ];
            pairs.into_iter().find(|(by_fd, _)| by_fd.row().src == slot.src())
        });
        let (Some(slot), Some((_, by_index))) = (slot, by_index) else {
            return Err(format!("relocs: slot {insn} does not load a map"));
        };
        let src = by_index.row().src;
        *slot = Slot::new(slot.opcode, slot.dst(), src, slot.offset, slot.imm);
    }
    Ok(Bytecode::from(slots))
}

/// Bytes in hexadecimal digits; none if there are no digits.
///
/// # Errors
///
/// That there are other characters, or an odd number.
pub fn hex(what: &str, text: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    parse_hex(text).ok_or_else(|| format!("{what}: no hexadecimal digits, two for each byte"))
}
