//! Running what the kernel accepted, on the packets that the kernel ran it on.

use crate::record::Record;
use skep::context::{Context, RawMemory, Skb, Xdp};
use skep::cpu::Cpu;
use skep::prepare::{
    PrepareOptions, Prepared, PreparedProgram, ProgramFailure, Verification, prepare,
};
use skep::run::{Engine, Options, RunError};
use skep::trap::TrapKind;
use skep_bpf::platform::{ProgType, context_of};
use skep_object::{CoreRelocations, KernelFunctions, LinkOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// What came of the runs.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Programs that ran as often as in the kernel.
    pub(crate) programs: usize,
    /// Those of them that returned the same each time.
    pub(crate) same_programs: usize,
    pub(crate) compared: usize,
    pub(crate) agree: usize,
    pub(crate) differ: Vec<String>,
    /// Not run, by cause.
    pub(crate) absent: BTreeMap<String, usize>,
    /// Accepted by the verifier, but the checked interpreter stopped.
    pub(crate) traps: Vec<String>,
}

/// The packets by name, as the tool beside the records makes them; `None` without the tool.
pub(crate) fn packets(tool: &Path) -> Option<BTreeMap<String, Vec<u8>>> {
    let made = Command::new("python3").arg("-B").arg(tool).output().ok()?;
    let text = String::from_utf8(made.stdout).ok()?;
    let mut packets = BTreeMap::new();
    // A line is {"name", (const unsigned char *)"\x00...", 64},
    for line in text.lines() {
        let mut quoted = line.split('"');
        let (Some(name), Some(bytes)) = (quoted.nth(1), quoted.nth(1)) else { continue };
        let byte = |digits: &str| u8::from_str_radix(digits, 16).expect("two digits");
        packets.insert(name.to_owned(), bytes.split("\\x").skip(1).map(byte).collect());
    }
    (!packets.is_empty()).then_some(packets)
}

impl Outcome {
    /// Runs a program as often as the kernel did, its maps keeping their contents.
    pub(crate) fn run(
        &mut self,
        object: &[u8],
        record: &Record,
        packets: &BTreeMap<String, Vec<u8>>,
        accepted: bool,
    ) {
        let zeros = [("zeros".to_owned(), vec![0; 64], record.live_retval)];
        let recorded = record.runs.iter().map(|run| {
            let packet = packets.get(&run.packet).expect("a packet of the tool");
            (run.packet.clone(), packet.clone(), run.retval)
        });
        let runs: Vec<_> = zeros.into_iter().chain(recorded).collect();
        let link = LinkOptions {
            core_relocations: CoreRelocations::AsCompiled,
            kernel_functions: KernelFunctions::ByName,
        };
        // Verified before: only this one program, as the record says.
        let prepare_with = |verification| {
            let options = PrepareOptions { link, verification, ..PrepareOptions::default() };
            prepare(object, &record.object, options).expect("the verifier had it")
        };
        let mut prepared = prepare_with(Verification::Off);
        let is_it = |program: &&PreparedProgram| program.name == record.program();
        let found = prepared.programs.iter().find(is_it).map(|program| &program.result);
        if accepted && matches!(found, Some(Err(ProgramFailure::Code(_) | ProgramFailure::Load(_))))
        {
            // What no path reaches may be no code; the proof knows what that is.
            prepared = prepare_with(Verification::Linux);
        }
        fill_maps(&prepared, record);
        let found = prepared.programs.iter().find(is_it);
        let program = match found.map(|program| &program.result) {
            Some(Ok(program)) => program,
            Some(Err(ProgramFailure::Link(_))) => return self.skip("needs kernel functions"),
            Some(Err(why)) => return self.skip(&why.to_string()),
            None => return self.skip("no such program"),
        };
        let mut cpu = Cpu::new(&prepared.machine).expect("a processor is free");
        let differ = self.differ.len();
        for (name, packet, expected) in runs {
            let Some(expected) = expected else { continue };
            let Some(mut context) = context(record.prog_type(), packet) else {
                return self.skip(&format!("no input for programs of type {}", record.prog_type()));
            };
            let options = Options { engine: Engine::Checked, ..Options::default() };
            let name = format!("{} on {name}", record.name());
            match program.run(&mut cpu, &mut *context, options) {
                Ok(finished) => {
                    self.compared += 1;
                    if finished.r0 as u32 == expected {
                        self.agree += 1;
                    } else {
                        self.differ.push(format!("{name}: {} for {expected}", finished.r0 as u32));
                    }
                }
                Err(why) if accepted && !is_missing(&why) => {
                    self.traps.push(format!("{name}: {why}"));
                }
                Err(why) => return self.skip(&why_not(&why)),
            }
        }
        self.programs += 1;
        self.same_programs += usize::from(self.differ.len() == differ);
    }

    fn skip(&mut self, cause: &str) {
        *self.absent.entry(cause.to_owned()).or_default() += 1;
    }
}

/// Whether a run did not start, for want of an input that suits the program, or stopped for want
/// of a helper that the machine does not have.
fn is_missing(why: &RunError) -> bool {
    match why {
        RunError::Trap(trap) => matches!(trap.kind, TrapKind::NoSuchHelper(_)),
        _ => true,
    }
}

/// Why a run stopped, without its place.
fn why_not(why: &RunError) -> String {
    match why {
        RunError::Trap(trap) => trap.kind.to_string(),
        other => other.to_string(),
    }
}

fn context(prog_type: ProgType, packet: Vec<u8>) -> Option<Box<dyn Context>> {
    let takes_skb = context_of(prog_type).is_some_and(|row| row.c_type.contains("__sk_buff"));
    match prog_type {
        ProgType::XDP => Some(Box::new(Xdp::new(packet))),
        // The kernel runs them on the headers alone.
        ProgType::FLOW_DISSECTOR | ProgType::SK_SKB => None,
        // Without an argument.
        ProgType::SYSCALL => Some(Box::new(RawMemory { bytes: Vec::new() })),
        _ if takes_skb => Some(Box::new(Skb::new(prog_type, packet))),
        _ => None,
    }
}

/// What the selftests' own loader puts into maps of two files before a run: an index, and a number
/// at offset 28.
fn fill_maps(prepared: &Prepared, record: &Record) {
    let map = match record.object.as_str() {
        "verifier_array_access.bpf.o" => prepared.map("map_array_ro"),
        "verifier_value_ptr_arith.bpf.o" => prepared.map("map_array_48b"),
        _ => None,
    };
    let mut value = [0; 48];
    value[0] = 28;
    value[28..32].copy_from_slice(&0xabcd_ef12_u32.to_le_bytes());
    if let Some(map) = map {
        map.write(&0_u32.to_le_bytes(), &value, 0).expect("the map has an element 0");
    }
}
