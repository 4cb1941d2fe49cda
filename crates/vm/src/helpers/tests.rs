//! Helpers called directly, and whole programs run here and by the live kernel.

mod callback;

mod checksum;

mod dynptr;
mod kfunc;

mod lookup;

mod map;

mod plain;

mod print;

mod skb;

mod skb_link;

mod skb_room;

mod tail_call;

mod tunnel;

mod with_maps;

mod xdp;

use std::sync::Arc;

use parking_lot::Mutex;
use skep_bpf::codec::Slot;
use skep_bpf::platform::{HelperId, MapFlags, MapType, ProgType};
use skep_bpf::program::Program;
use skep_bpf::text::parse::assemble;
use skep_kernel::{ProgSpec, TestRun, TestRunResult, available};

use super::Call;
use crate::context::{Context, Skb, Xdp};
use crate::cpu::Cpu;
use crate::host::Host;
use crate::linked::Linked;
use crate::machine::{Loaded, Machine, MapId};
use crate::maps::MapSpec;
use crate::memory::Perm;
use crate::region::Purpose;
use crate::run::{CompileFailure, Engine, Finished, Options, RunError};
use crate::trap::TrapKind;

/// A machine with a processor, on which helpers can be called without a program.
pub(crate) struct Bench {
    pub(crate) machine: Arc<Machine>,
    pub(crate) cpu: Cpu,
    caller: Arc<Linked>,
    pub(crate) printed: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let printed = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&printed);
        let host = Host {
            ktime_ns: Box::new(|| 1_000_000_007),
            boot_ns: Box::new(|| 2_000_000_007),
            tai_ns: Box::new(|| 3_000_000_007),
            random: Box::new(|| 0xdead_beef),
            cpus: 4,
            pid_tgid: Box::new(|| 7 << 32 | 8),
            uid_gid: Box::new(|| 9 << 32 | 10),
            comm: Box::new(|| *b"fifteen bytes..\0"),
            mtu: Box::new(|ifindex| (ifindex == 1).then_some(65536)),
            route: Box::new(|_, _| crate::host::FORWARDING_DISABLED),
            printk: Box::new(move |text| sink.lock().push(text.to_owned())),
            code_made: None,
        };
        let machine = Arc::new(Machine::new(host).unwrap());
        let cpu = Cpu::new(&machine).unwrap();
        let caller = Arc::clone(load(&machine, ProgType::UNSPEC, "exit").linked());
        Bench { machine, cpu, caller, printed }
    }

    pub(crate) fn call(&mut self, helper: HelperId, args: [u64; 5]) -> Result<u64, TrapKind> {
        let implementation = self.machine.helper(helper).ok_or(TrapKind::NoSuchHelper(helper))?;
        implementation.call(&mut Call {
            machine: &self.machine,
            cpu: &mut self.cpu.state,
            program: &self.caller,
            helper,
            args,
        })
    }

    /// Puts bytes into guest memory of their own; gives the address.
    pub(crate) fn place(&self, bytes: &[u8]) -> u64 {
        let len = bytes.len() as u32;
        let at = self.machine.memory().alloc(len, Perm::ReadWrite, Purpose::Memory).unwrap();
        self.machine.memory().window().write(at, bytes).unwrap();
        at.into()
    }

    pub(crate) fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.machine.memory().window().read(at as u32, &mut bytes).unwrap();
        bytes
    }

    /// Runs a program on all engines, which must agree.
    pub(crate) fn run<C: Context + Clone + PartialEq + std::fmt::Debug>(
        &mut self,
        loaded: &Loaded,
        context: &mut C,
    ) -> Finished {
        let before = context.clone();
        let mut run = |context: &mut C, engine| {
            let options = Options { engine, ..Options::default() };
            match loaded.run(&mut self.cpu, context, options) {
                Ok(finished) => Some(finished),
                Err(RunError::Compile { why: CompileFailure::NoTarget, .. }) => None,
                Err(error) => panic!("{error}"),
            }
        };
        let finished = run(context, Engine::Fast).unwrap();
        for engine in [Engine::Checked, Engine::Template, Engine::Optimising] {
            let mut again = before.clone();
            if let Some(found) = run(&mut again, engine) {
                assert_eq!(found, finished, "{engine:?}");
                assert_eq!(again, *context, "{engine:?}");
            }
        }
        finished
    }

    /// Runs code on a socket buffer here and in the kernel: results and packets are equal, but for
    /// the Ethernet header, which the kernel clears for programs that do not see it.
    pub(crate) fn compare_skb(
        &mut self,
        prog_type: ProgType,
        code: Vec<Slot>,
        packet: &[u8],
    ) -> u32 {
        let insns: Vec<[u8; 8]> = code.iter().map(|slot| slot.to_bytes()).collect();
        let program = Program::new(&code.into()).unwrap();
        let loaded = self.machine.load("test", prog_type, program, &[]).unwrap();
        let mut here = Skb::new(prog_type, packet);
        let r0 = self.run(&loaded, &mut here).r0 as u32;
        let kernel = kernel_load(prog_type, &insns).unwrap_or_else(|error| panic!("{error}"));
        let there = kernel_run(&kernel, packet, &[]).unwrap();
        assert_eq!(r0, there.retval, "{insns:02x?}");
        let header = if prog_type == ProgType::SCHED_CLS { 0 } else { 14 };
        assert_eq!(here.packet[header..], there.data_out[header..], "{insns:02x?}");
        r0
    }
}

/// A program with maps, here and in the live kernel.
pub(crate) struct Twins {
    prog_type: ProgType,
    loaded: Loaded,
    pub(crate) here: Vec<MapId>,
    kernel: skep_kernel::Program,
    pub(crate) there: Vec<skep_kernel::Map>,
}

impl Bench {
    /// Loads a program whose `map_by_idx(N)` mean maps that are made on both sides.
    pub(crate) fn twins(&self, prog_type: ProgType, text: &str, specs: &[MapSpec]) -> Twins {
        let create = |spec: &MapSpec| self.machine.create_map(spec.clone()).unwrap();
        let here: Vec<MapId> = specs.iter().map(create).collect();
        let create = |spec: &MapSpec| kernel_map(spec).unwrap_or_else(|error| panic!("{error}"));
        let there: Vec<_> = specs.iter().map(create).collect();
        let program = Program::new(&slots(text).into()).unwrap();
        let loaded = self.machine.load("test", prog_type, program, &here).unwrap();
        let mut insns: Vec<[u8; 8]> = slots(text).into_iter().map(Slot::to_bytes).collect();
        skep_kernel::relocate(&mut insns, &there).unwrap();
        let kernel = kernel_load(prog_type, &insns).unwrap_or_else(|error| panic!("{error}"));
        Twins { prog_type, loaded, here, kernel, there }
    }

    /// Runs both on a packet: results and packets are equal. Gives the result.
    pub(crate) fn compare(&mut self, twins: &Twins, packet: &[u8], what: &str) -> u32 {
        let there = kernel_run(&twins.kernel, packet, &[]).unwrap();
        // Each engine would change the maps, so that only one of them runs.
        let options = Options { engine: Engine::Checked, ..Options::default() };
        let mut run = |context: &mut dyn Context| {
            let finished = twins.loaded.run(&mut self.cpu, context, options);
            finished.unwrap_or_else(|error| panic!("{what}: {error}")).r0 as u32
        };
        let (r0, bytes) = match twins.prog_type {
            ProgType::XDP => {
                let mut here = Xdp::new(packet);
                (run(&mut here), here.packet)
            }
            prog_type => {
                let mut here = Skb::new(prog_type, packet);
                (run(&mut here), here.packet)
            }
        };
        assert_eq!(r0, there.retval, "{what}");
        assert_eq!(bytes, there.data_out, "{what}");
        r0
    }
}

impl Bench {
    /// As [`Bench::compare`], without the packet: what programs that are no part of traffic
    /// control see of it begins elsewhere.
    pub(crate) fn compare_result(&mut self, twins: &Twins, packet: &[u8]) -> u32 {
        let there = kernel_run(&twins.kernel, packet, &[]).unwrap();
        let r0 = self.run(&twins.loaded, &mut Skb::new(twins.prog_type, packet)).r0 as u32;
        assert_eq!(r0, there.retval);
        r0
    }
}

/// The map in the live kernel.
pub(crate) fn kernel_map(spec: &MapSpec) -> Result<skep_kernel::Map, skep_kernel::Error> {
    let inner = spec.inner.as_deref().map(kernel_map).transpose()?;
    skep_kernel::Map::create(&skep_kernel::MapSpec {
        map_type: spec.map_type.0,
        key_size: spec.key_bytes,
        value_size: spec.value_bytes,
        max_entries: spec.max_entries,
        flags: spec.flags.0,
        extra: spec.extra,
        inner: inner.as_ref(),
        ..skep_kernel::MapSpec::default()
    })
}

/// What a map is, without flags.
pub(crate) fn map_spec(map_type: MapType, key: u32, value: u32, max_entries: u32) -> MapSpec {
    MapSpec {
        name: "map".into(),
        map_type,
        key_bytes: key,
        value_bytes: value,
        max_entries,
        flags: MapFlags::default(),
        extra: 0,
        inner: None,
    }
}

fn slots(text: &str) -> Vec<Slot> {
    assemble(text).unwrap_or_else(|error| panic!("{error}\n{text}")).slots
}

pub(crate) fn load(machine: &Arc<Machine>, prog_type: ProgType, text: &str) -> Loaded {
    let program = Program::new(&slots(text).into()).unwrap();
    machine.load("test", prog_type, program, &[]).unwrap()
}

/// Whether bpf(2) can be used; prints why not.
pub(crate) fn kernel_is_here() -> bool {
    match available() {
        Ok(()) => true,
        Err(reason) => {
            eprintln!("skipped the comparison with the kernel: {reason}");
            false
        }
    }
}

/// A program in the live kernel.
pub(crate) fn kernel_program(prog_type: ProgType, text: &str) -> skep_kernel::Program {
    let insns: Vec<[u8; 8]> = slots(text).into_iter().map(Slot::to_bytes).collect();
    kernel_load(prog_type, &insns).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn kernel_load(
    prog_type: ProgType,
    insns: &[[u8; 8]],
) -> Result<skep_kernel::Program, skep_kernel::LoadError> {
    let spec = ProgSpec { prog_type: prog_type.0, insns, licence: "GPL", ..ProgSpec::default() };
    skep_kernel::Program::load(&ProgSpec { log_level: 1, ..spec })
}

/// Runs a program in the live kernel.
pub(crate) fn kernel_run(
    program: &skep_kernel::Program,
    packet: &[u8],
    context: &[u8],
) -> Result<TestRunResult, skep_kernel::Error> {
    program.test_run(&TestRun {
        data_in: packet,
        ctx_in: context,
        ctx_size_out: context.len() as u32,
        // Programs can make packets longer.
        data_size_out: Some(packet.len() as u32 + 20_000),
        ..TestRun::default()
    })
}

/// Numbers that look random and are the same every time.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}
