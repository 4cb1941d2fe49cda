//! The records: read, and turned into what the verifier takes.

use flate2::read::GzDecoder;
use serde::Deserialize;
use skep_bpf::codec::{Slot, SlotIndex};
use skep_bpf::platform::{AttachType, MapFlags, MapType, ProgType};
use skep_bpf::program::Bytecode;
use skep_btf::{Btf, Kind, Linkage, TypeId};
use skep_verifier::input::{FunctionFacts, special_fields};
use skep_verifier::{Input, KernelTypes, MapFacts, Profile};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::LazyLock;

/// One test. Fields that are not named here do not decide anything.
#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    prog_type: u32,
    expected_attach_type: u32,
    attach_func: Option<String>,
    pub(crate) load_flags: u32,
    insns: Option<String>,
    insns_rle: Option<Vec<(String, usize)>>,
    relocs: Vec<Reloc>,
    maps: Vec<Map>,
    btfs: Vec<String>,
    prog_btf: i64,
    #[serde(default)]
    func_info: Vec<(u64, u32)>,
    pub(crate) live: Live,
}

#[derive(Debug, Deserialize)]
struct Reloc {
    insn: usize,
}

#[derive(Debug, Deserialize)]
struct Map {
    #[serde(rename = "type")]
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map: Option<usize>,
    btf: Option<usize>,
    btf_value_type_id: Option<u32>,
}

/// What the kernel said.
#[derive(Debug, Deserialize)]
pub(crate) struct Live {
    pub(crate) verdict: String,
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) insns_processed: u64,
    #[serde(default)]
    pub(crate) total_states: u64,
    missing: Option<serde_json::Value>,
}

/// What the verifier takes, owned.
pub(crate) struct Case {
    bytecode: Bytecode,
    maps: Vec<MapFacts>,
    functions: Vec<FunctionFacts>,
    prog_type: ProgType,
    attach_type: AttachType,
    attach_target: Option<String>,
    sleepable: bool,
    pub(crate) profile: Profile,
}

/// The records of a file, or `None` if it is not there.
pub(crate) fn records(name: &str) -> Option<Vec<Record>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/kernel-vectors");
    let file = File::open(folder.join(name)).ok()?;
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    let read =
        |line: Result<String, _>| serde_json::from_str(&line.expect("text")).expect("a record");
    Some(lines.map(read).collect())
}

impl Record {
    /// Whether the kernel's verdict says something about the verifier.
    pub(crate) fn is_decided(&self) -> bool {
        matches!(self.live.verdict.as_str(), "accept" | "reject") && self.live.missing.is_none()
    }

    /// What the verifier takes.
    pub(crate) fn case(&self) -> Case {
        const STRICT_ALIGNMENT: u32 = 1;
        const STATE_FREQUENCY: u32 = 8;
        const SLEEPABLE: u32 = 16;
        let btfs: Vec<Btf> =
            self.btfs.iter().map(|btf| Btf::parse(&unhex(btf)).expect("BTF")).collect();
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
        Case {
            bytecode: Bytecode::from(self.slots()),
            maps: self.maps.iter().map(|map| map.facts(&self.maps, &btfs)).collect(),
            functions: self.functions(&btfs),
            prog_type: ProgType(self.prog_type),
            attach_type: AttachType(self.expected_attach_type),
            attach_target: self.attach_func.clone(),
            sleepable: self.load_flags & SLEEPABLE != 0,
            profile: Profile {
                strict_alignment: self.load_flags & STRICT_ALIGNMENT != 0,
                checkpoint_everywhere: self.load_flags & STATE_FREQUENCY != 0,
                ..Profile::linux(cpus)
            },
        }
    }

    fn slots(&self) -> Vec<Slot> {
        let mut bytes = Vec::new();
        match (&self.insns, &self.insns_rle) {
            (Some(hex), _) => bytes = unhex(hex),
            (None, Some(runs)) => {
                for (hex, count) in runs {
                    bytes.extend(unhex(hex).repeat(*count));
                }
            }
            (None, None) => {}
        }
        let mut slots = Slot::from_code(&bytes).expect("whole slots");
        // Relocated loads name a map by its index in the record.
        for reloc in &self.relocs {
            let slot = &mut slots[reloc.insn];
            let (by_fd, by_index) = if slot.src() == 1 { (1, 5) } else { (2, 6) };
            assert_eq!(slot.src(), by_fd);
            *slot = Slot::new(slot.opcode, slot.dst(), by_index, slot.offset, slot.imm);
        }
        slots
    }

    fn functions(&self, btfs: &[Btf]) -> Vec<FunctionFacts> {
        let Some(btf) = usize::try_from(self.prog_btf).ok().and_then(|index| btfs.get(index))
        else {
            return Vec::new();
        };
        let function = |&(entry, id): &(u64, u32)| {
            let Kind::Func { linkage, .. } = btf.kind(TypeId(id)) else { panic!("no function") };
            let global = *linkage == Linkage::Global;
            let entry = SlotIndex(entry as usize);
            FunctionFacts::from_btf(btf, TypeId(id), entry, global, ProgType(self.prog_type))
        };
        self.func_info.iter().map(function).collect()
    }
}

impl Map {
    fn facts(&self, maps: &[Map], btfs: &[Btf]) -> MapFacts {
        let btf = self.btf.and_then(|index| btfs.get(index));
        let fields = btf.zip(self.btf_value_type_id);
        let fields = fields.map_or(Vec::new(), |(btf, id)| special_fields(btf, TypeId(id)));
        MapFacts {
            flags: MapFlags(self.map_flags),
            has_types: btf.is_some(),
            fields,
            inner: self
                .inner_map
                .and_then(|index| maps.get(index))
                .map(|inner| Box::new(inner.facts(maps, btfs))),
            ..MapFacts::new(
                MapType(self.map_type),
                self.key_size,
                self.value_size,
                self.max_entries,
            )
        }
    }
}

impl Case {
    /// The input, borrowing from this.
    pub(crate) fn input(&self) -> Input<'_> {
        Input {
            bytecode: &self.bytecode,
            prog_type: self.prog_type,
            attach_type: self.attach_type,
            attach_target: self.attach_target.as_deref(),
            maps: &self.maps,
            functions: &self.functions,
            kernel: Some(kernel_types()),
            gpl_compatible: true,
            sleepable: self.sleepable,
            types: None,
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

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits");
    (0..text.len()).step_by(2).map(digit).collect()
}
