//! How long the verifier takes beside the live kernel's, on objects that are given.
//!
//! `cargo bench -p skep-benches --bench verifier -- OBJECT.o ..` verifies every program of the
//! objects in turn with both and prints medians; ratios are medians of the ratios of a round. All
//! figures are processor time: ours that of `verify` in its thread; the kernel's what it says
//! itself (`log_level` 4, which includes its fix-ups), or the time of the thread in the call if
//! that is less, because the kernel's figure also counts what ran instead of it. Memory is the peak
//! of this process while it verified a program, the object included.

use std::sync::Arc;
use std::time::Duration;

use skep::prepare::{PrepareOptions, Prepared, PreparedProgram, prepare};
use skep_bpf::op::{call, class, code};
use skep_cli::live;
use skep_cli::measure::median;
use skep_kernel::{Btf, Map, ProgBtf, ProgSpec, relocate, uapi};
use skep_object::{CoreRelocations, KernelFunctions, LinkOptions, Linked, Object};
use skep_verifier::KernelTypes;

const ROUNDS: usize = 9;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let files: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if files.is_empty() {
        println!(
            "give objects to verify: cargo bench -p skep-benches --bench verifier -- FILE.o .."
        );
        return Ok(());
    }
    if let Err(reason) = skep_kernel::available() {
        println!("skipped: {reason}");
        return Ok(());
    }
    println!(
        "{:40} {:>9} {:>12} {:>12} {:>8} {:>10} {:>6}",
        "program", "insns", "kernel us", "skep us", "ratio", "spread", "MiB"
    );
    let kernel = Arc::new(KernelTypes::new(|| {
        std::fs::read("/sys/kernel/btf/vmlinux").map_err(|error| error.to_string())
    }));
    // The kernel has read its own types before.
    kernel.types()?;
    for file in &files {
        let bytes = std::fs::read(file)?;
        let count = prepared(&bytes, file, &kernel)?.programs.len();
        for index in 0..count {
            if let Err(failure) = compare(&bytes, file, index, &kernel) {
                println!("{file}, program {index}: {failure}");
            }
        }
    }
    Ok(())
}

fn prepared(bytes: &[u8], file: &str, kernel: &Arc<KernelTypes>) -> Result<Prepared, Failure> {
    let link = LinkOptions {
        core_relocations: CoreRelocations::AsCompiled,
        kernel_functions: KernelFunctions::ByName,
    };
    let kernel_types = Some(kernel.clone());
    Ok(prepare(bytes, file, PrepareOptions { link, kernel_types, ..PrepareOptions::default() })?)
}

fn compare(
    bytes: &[u8],
    file: &str,
    index: usize,
    kernel_types: &Arc<KernelTypes>,
) -> Result<(), Failure> {
    let (mut ours, mut kernels, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut name, mut insns, mut memory) = (String::new(), 0, 0);
    for _ in 0..ROUNDS {
        forget_peak_memory()?;
        let prepared = prepared(bytes, file, kernel_types)?;
        memory = memory.max(peak_memory_mib());
        let program = &prepared.programs[index];
        let verified = match (&program.verified, &program.result) {
            (Some(verified), _) => verified,
            (None, Err(why)) => return Err(why.to_string().into()),
            (None, Ok(_)) => return Err("it was not verified".into()),
        };
        name.clone_from(&program.name);
        insns = verified.stats().insns_processed;
        let our = program.verify_time.map_or(0.0, micros);
        let kernel = kernel_micros(&prepared.object, program, kernel_types)?;
        ours.push(our);
        kernels.push(kernel);
        ratios.push(our / kernel);
    }
    let file = std::path::Path::new(file).file_name().unwrap_or_default().to_string_lossy();
    ratios.sort_by(f64::total_cmp);
    println!(
        "{:40} {insns:>9} {:>12.0} {:>12.0} {:>8.3} {:>10} {memory:>6}",
        format!("{}:{name}", file.trim_end_matches(".bpf.o")),
        median(&kernels),
        median(&ours),
        ratios[ROUNDS / 2],
        format!("{:.2}-{:.2}", ratios[1], ratios[ROUNDS - 2]),
    );
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// What the kernel's verification took.
fn kernel_micros(
    object: &Object,
    program: &PreparedProgram,
    kernel_types: &KernelTypes,
) -> Result<f64, Failure> {
    let linked = program.linked.as_ref().ok_or("it was not linked")?;
    let maps = linked
        .maps
        .iter()
        .map(|index| Ok(live::map(object, object.map(*index).ok_or("no such map")?)?))
        .collect::<Result<Vec<Map>, Failure>>()?;
    let mut slots = linked.bytecode.slots.clone();
    for slot in &mut slots {
        if slot.opcode == class::JMP | code::CALL && slot.src() == call::KFUNC {
            let names = &linked.bytecode.kernel_functions;
            let name = names.get(usize::try_from(slot.imm)?).ok_or("a call of no function")?;
            let id = kernel_types.types()?.find_func(name).ok_or("no such function")?;
            slot.imm = i32::try_from(id.0)?;
        }
    }
    let mut insns: Vec<[u8; 8]> = slots.iter().map(|slot| slot.to_bytes()).collect();
    relocate(&mut insns, &maps)?;
    let (btf, func_info) = described(object, linked)?;
    let spec = ProgSpec {
        prog_type: program.prog_type.0,
        expected_attach_type: program.attach_type.0,
        insns: &insns,
        licence: "GPL",
        btf: Some(ProgBtf {
            btf: &btf,
            func_info: &func_info,
            func_info_rec_size: FUNC_INFO_BYTES,
            line_info: &[],
            line_info_rec_size: 0,
        }),
        log_level: uapi::log_level::STATS,
        ..ProgSpec::default()
    };
    let start = thread_micros();
    let loaded = skep_kernel::Program::load(&spec)?;
    let call = thread_micros() - start;
    let line = loaded.log().lines().find_map(|line| line.strip_prefix("verification time "));
    let number = line.and_then(|line| line.split(' ').next()?.parse().ok());
    let number: f64 =
        number.ok_or_else(|| format!("no time in the kernel's log: {}", loaded.log()))?;
    Ok(number.min(call))
}

/// The size of a record of where a function begins.
const FUNC_INFO_BYTES: u32 = 8;

/// Types and places of the functions of a program, which the kernel wants of those with callbacks:
/// all static, so that it walks them as they are called.
fn described(object: &Object, linked: &Linked) -> Result<(Btf, Vec<u8>), Failure> {
    const INT: u32 = 1;
    const PROTO: u32 = 2;
    let kind = |number: u32, len: u32| number << 24 | len;
    let mut strings = b"\0int\0".to_vec();
    let mut words = vec![1, kind(1, 0), 4, 1 << 24 | 32, 0, kind(13, 0), INT];
    let mut func_info = Vec::new();
    for (index, part) in linked.parts.iter().enumerate() {
        let function = object.function(part.function).ok_or("no such function")?;
        if index > 0 && function.is_global() {
            return Err(format!("{} is global, which is not measured", function.name).into());
        }
        words.extend([u32::try_from(strings.len())?, kind(12, 0), PROTO]);
        strings.extend(function.name.bytes());
        strings.push(0);
        let (slot, id) = (u32::try_from(part.start.0)?, PROTO + 1 + u32::try_from(index)?);
        func_info.extend([slot, id].iter().flat_map(|word| word.to_le_bytes()));
    }
    let types = u32::try_from(words.len() * 4)?;
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    let header = [24, 0, types, types, u32::try_from(strings.len())?];
    bytes.extend(header.iter().chain(&words).flat_map(|word| word.to_le_bytes()));
    bytes.extend(strings);
    Ok((Btf::load(&bytes)?, func_info))
}

/// The processor time of this thread so far.
fn thread_micros() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

/// Lets the peak memory of this process be what it uses now.
fn forget_peak_memory() -> Result<(), Failure> {
    Ok(std::fs::write("/proc/self/clear_refs", "5")?)
}

fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
