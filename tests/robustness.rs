//! What must hold for any bytes whatever: nothing panics, and what is read back is what was
//! written. Tests feed these functions damaged objects, fuzzers feed them anything.

use std::cell::RefCell;
use std::sync::Arc;

use skep::context::{Context, RawMemory, Skb, Xdp};
use skep::cpu::Cpu;
use skep::host::Host;
use skep::machine::Machine;
use skep::prepare::{PrepareOptions, Prepared, Verdict, Verification, prepare};
use skep::run::{Engine, Finished, Options, RunError};
use skep_bpf::codec::{Slot, decode_all, encode};
use skep_bpf::platform::ProgType;
use skep_bpf::program::{Bytecode, Program};
use skep_bpf::text::c_like::Decimal;
use skep_bpf::text::mnemonic::Mnemonic;
use skep_bpf::text::parse::{assemble, parse_insn};
use skep_verifier::Profile;

/// The fuel of every run here: enough to reach everything, and little enough to be quick.
pub const FUEL: u64 = 10_000;

/// Whatever decodes encodes back and is read back from its text in both dialects.
pub fn codec(data: &[u8]) {
    let (chunks, _) = data.as_chunks::<8>();
    let code: Vec<Slot> = chunks.iter().map(|bytes| Slot::from_bytes(*bytes)).collect();
    for (at, result) in decode_all(&code) {
        let Ok(insn) = result else { continue };
        let back: Vec<Slot> = encode(&insn).expect("it was decoded").slots().collect();
        assert_eq!(back, code[at.0..at.0 + insn.len_slots()], "{insn:?}");
        for text in [Decimal(&insn).to_string(), Mnemonic(&insn).to_string()] {
            assert_eq!(parse_insn(&text), Ok(insn), "{text}");
        }
    }
}

/// Whatever assembles prints to text that assembles to the same code.
pub fn text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(assembly) = assemble(text) else { return };
    let mut printed = String::new();
    for (_, result) in decode_all(&assembly.slots) {
        let insn = result.expect("the assembler makes valid code");
        printed.push_str(&Decimal(&insn).to_string());
        printed.push('\n');
    }
    let again = assemble(&printed).expect("what is printed can be read");
    assert_eq!(again.slots, assembly.slots, "{printed}");
}

/// The most instructions that are walked for a verdict here.
pub const VERIFY_BUDGET: u64 = 20_000;

/// An object goes all the way to checked runs of its programs, and all of them are verified.
pub fn object(data: &[u8]) {
    let unverified = PrepareOptions {
        host: host(),
        verification: Verification::Off,
        ..PrepareOptions::default()
    };
    let Ok(prepared) = prepare(data, "object.bpf.o", unverified) else { return };
    run_all(&prepared, Engine::Checked);
    let host = host();
    let profile = Profile { max_insns: VERIFY_BUDGET, ..Profile::linux(host.cpus) };
    let verified =
        PrepareOptions { host, verification: Verification::By(profile), ..Default::default() };
    let prepared = prepare(data, "object.bpf.o", verified).expect("it was prepared before");
    for program in &prepared.programs {
        assert!(!matches!(program.verdict(), Verdict::Unverified), "{}", program.name);
        if let Err(failure) = &program.result {
            assert!(!failure.to_string().is_empty());
        }
    }
}

/// Runs every program that loaded on an input that suits its type; gives how many ran.
pub fn run_all(prepared: &Prepared, engine: Engine) -> usize {
    let Ok(mut cpu) = Cpu::new(&prepared.machine) else { return 0 };
    let mut ran = 0;
    for program in &prepared.programs {
        let Ok(loaded) = &program.result else { continue };
        let packet = vec![0x45; 64];
        let mut input: Box<dyn Context> = match program.prog_type {
            ProgType::XDP => Box::new(Xdp::new(packet)),
            ProgType::SCHED_CLS | ProgType::SOCKET_FILTER => {
                Box::new(Skb::new(program.prog_type, packet))
            }
            _ => Box::new(RawMemory { bytes: packet }),
        };
        let outcome =
            loaded.run(&mut cpu, &mut *input, Options { engine, fuel: FUEL, ..Options::default() });
        if let Err(error) = outcome {
            // An error must be printable as well.
            assert!(!error.to_string().is_empty());
        }
        ran += 1;
    }
    ran
}

/// Code that decodes runs in both engines without harm, and where the checked interpreter
/// finishes, the fast one gives the same result and leaves the same memory.
pub fn run(data: &[u8]) {
    thread_local! {
        static CPU: RefCell<Cpu> = RefCell::new({
            let machine = Arc::new(Machine::new(host()).expect("guest memory"));
            Cpu::new(&machine).expect("a processor")
        });
    }
    let Some((memory, code)) = data.split_at_checked(64) else { return };
    let (chunks, _) = code.as_chunks::<8>();
    let slots: Vec<Slot> = chunks.iter().map(|bytes| Slot::from_bytes(*bytes)).collect();
    let Ok(program) = Program::new(&Bytecode::from(slots)) else { return };
    CPU.with_borrow_mut(|cpu| {
        let machine = Arc::clone(cpu.machine());
        let Ok(loaded) = machine.load("fuzz", ProgType::UNSPEC, program, &[]) else { return };
        let mut run = |engine| -> (Result<Finished, RunError>, Vec<u8>) {
            let mut input = RawMemory { bytes: memory.to_vec() };
            let result =
                loaded.run(cpu, &mut input, Options { engine, fuel: FUEL, ..Options::default() });
            (result, input.bytes)
        };
        let checked = run(Engine::Checked);
        let fast = run(Engine::Fast);
        if checked.0.is_ok() {
            assert_eq!(fast, checked);
        }
        for engine in [Engine::Template, Engine::Optimising] {
            if engine.is_available() {
                assert_eq!(run(engine), fast);
            }
        }
    });
}

/// A world in which every run is the same.
fn host() -> Host {
    Host {
        ktime_ns: Box::new(|| 1),
        boot_ns: Box::new(|| 2),
        tai_ns: Box::new(|| 3),
        random: Box::new(|| 4),
        cpus: 2,
        pid_tgid: Box::new(|| 5),
        uid_gid: Box::new(|| 6),
        comm: Box::new(|| *b"comm\0\0\0\0\0\0\0\0\0\0\0\0"),
        mtu: Box::new(|_| Some(1500)),
        route: Box::new(|_, _| 0),
        printk: Box::new(|_| {}),
        code_made: None,
    }
}
