//! What an interpreter does with a program: memory, calls, outcome.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use skep::context::Context;
use skep::cpu::Cpu;
use skep::helpers::{Call, Implementation, standard};
use skep::host::Host;
use skep::linked::Linked;
use skep::machine::{Loaded, Machine};
use skep::memory::{PAGE_BYTES, Perm};
use skep::region::{FIRST_ADDR, Purpose};
use skep::run::{Engine, Finished, Observer, Options, RunError};
use skep::trap::{Trap, TrapKind};
use skep_bpf::insn::{Callee, HelperId, Insn, PacketIndex, Reg};
use skep_bpf::program::{Pc, Program};

/// The pages of guest memory that are mapped, by address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pages(pub BTreeMap<u32, Page>);

/// One page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Whether programs may write to it.
    pub writable: bool,
    /// Whether it belongs to a stack, of which only programs know what the bytes mean.
    pub is_stack: bool,
    /// Its bytes, none if all are zero and stay so.
    pub bytes: Vec<u8>,
}

/// Areas lie a page apart; after so many pages that are not mapped there is nothing more.
const MOST_GAP: u32 = 16;

/// The pages of the table of maps that tests can fill: those of the first 16 maps.
const TABLE_PAGES: u32 = 1;

impl Pages {
    /// The pages of a machine.
    #[must_use]
    pub fn of(machine: &Machine) -> Pages {
        let mut pages = Pages::default();
        let memory = machine.memory();
        let (mut addr, mut gap) = (FIRST_ADDR, 0);
        while gap < MOST_GAP {
            let Some(area) = memory.area_at(addr) else {
                addr += PAGE_BYTES;
                gap += 1;
                continue;
            };
            gap = 0;
            // A ring buffer's second half is its first once more, which the runner does not map.
            let len = match area.purpose {
                Purpose::RingBuffer { .. } => area.len / 2,
                _ => area.len,
            };
            let after = area.start + area.len.next_multiple_of(PAGE_BYTES);
            let end = area.start + len;
            let table_end = area.start + TABLE_PAGES * PAGE_BYTES;
            while addr < end {
                let mut bytes = Vec::new();
                if area.purpose != Purpose::MapHandles || addr < table_end {
                    bytes.resize(PAGE_BYTES as usize, 0);
                    memory.window().read(addr, &mut bytes).expect("areas can be read");
                }
                let writable = area.perm == Perm::ReadWrite;
                let is_stack = area.purpose == Purpose::Stack;
                pages.0.insert(addr, Page { writable, is_stack, bytes });
                addr += PAGE_BYTES;
            }
            addr = after;
        }
        pages
    }

    /// The pieces in which these pages differ from earlier ones.
    fn changed_since(&self, before: &Pages) -> Vec<(u32, Vec<u8>)> {
        let mut pieces = Vec::new();
        for (addr, page) in &self.0 {
            let old = before.0.get(addr).map(|page| &page.bytes[..]).unwrap_or_default();
            if old == page.bytes {
                continue;
            }
            let differs = |at: &usize| old.get(*at) != Some(&page.bytes[*at]);
            let mut at = 0;
            while let Some(start) = (at..page.bytes.len()).find(differs) {
                let end = (start..page.bytes.len()).find(|at| !differs(at));
                let end = end.unwrap_or(page.bytes.len());
                pieces.push((addr + start as u32, page.bytes[start..end].to_vec()));
                at = end;
            }
        }
        pieces
    }
}

/// What a call calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// A helper, by its number.
    Helper(HelperId),
    /// A deprecated packet load.
    Packet,
    /// A tail call.
    TailCall,
}

/// What came of a call.
#[derive(Clone, PartialEq, Debug)]
pub enum EventOutcome {
    /// A value for `r0`.
    Value(u64),
    /// A trap.
    Trap(TrapKind),
    /// A packet load outside the packet, or a tail call that goes on in the program of an index.
    Other(u64),
}

/// A call that leaves the program.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// What is called.
    pub kind: EventKind,
    /// The index of the program that calls, of tail calls.
    pub site: u64,
    /// The arguments that it reads.
    pub args: Vec<u64>,
    /// What came of it.
    pub outcome: EventOutcome,
    /// The pieces of memory that it changed, by address.
    pub writes: Vec<(u32, Vec<u8>)>,
}

/// How a run ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Reference {
    /// With an exit: `r0` and the number of instructions.
    Finished {
        /// `r0`
        r0: u64,
        /// How many instructions were executed, if they were counted.
        insns: Option<u64>,
    },
    /// With a trap.
    Trap(Box<Trap>),
}

/// A run, noted.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Memory at the first instruction.
    pub before: Pages,
    /// Memory after the run.
    pub after: Pages,
    /// The registers at the first instruction.
    pub registers: [u64; 11],
    /// The calls, in order.
    pub events: Vec<Event>,
    /// The end.
    pub end: Reference,
}

/// A machine that notes calls of helpers.
#[derive(Debug)]
pub struct Recorder {
    /// The machine.
    pub machine: Arc<Machine>,
    log: Arc<Mutex<Vec<Event>>>,
}

fn lock(log: &Mutex<Vec<Event>>) -> MutexGuard<'_, Vec<Event>> {
    log.lock().expect("nothing panics while it is locked")
}

/// How many arguments a helper reads.
pub(super) fn helper_args(id: HelperId) -> u8 {
    id.row().map_or(5, |row| row.params.len() as u8)
}

/// A world in which every run is the same, but for time, which passes.
fn host() -> Host {
    let now = std::sync::atomic::AtomicU64::new(1);
    Host {
        ktime_ns: Box::new(move || now.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
        boot_ns: Box::new(|| 2),
        tai_ns: Box::new(|| 3),
        random: Box::new(|| 4),
        cpus: 2,
        pid_tgid: Box::new(|| 5),
        uid_gid: Box::new(|| 6),
        comm: Box::new(|| *b"comm\0\0\0\0\0\0\0\0\0\0\0\0"),
        printk: Box::new(|_| {}),
        ..Host::default()
    }
}

impl Recorder {
    /// Makes the machine. Two of them have everything at the same addresses.
    ///
    /// # Errors
    ///
    /// If the host does not give the memory.
    pub fn new() -> Result<Recorder, String> {
        let log = Arc::<Mutex<Vec<Event>>>::default();
        let own = standard().map(|(id, implementation)| {
            let log = Arc::clone(&log);
            let run = move |call: &mut Call<'_>| note(&log, id, &implementation, call);
            (id, Implementation::Own(Box::new(run)))
        });
        let machine = Machine::with_helpers(host(), own.collect());
        let machine = machine.map_err(|error| error.to_string())?;
        Ok(Recorder { machine: Arc::new(machine), log })
    }

    /// The calls that were noted since they were taken before.
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *lock(&self.log))
    }
}

/// A program on its machine, ready to run.
#[allow(missing_debug_implementations, reason = "a context has none")]
pub struct Prepared<'a> {
    /// The program.
    pub loaded: Loaded,
    /// The programs that it may go on in.
    pub others: Vec<Loaded>,
    /// What it runs on.
    pub context: Box<dyn Context + 'a>,
}

impl Recording {
    /// Runs a program in the checked interpreter, and if that does not run to its end, again in
    /// the fast one on a machine like the first: its traps are those of generated code. Gives
    /// the program, too; `None` if the second makes calls that only the first shows, packet loads
    /// and tail calls, or if it goes on in a program that is not named.
    ///
    /// # Errors
    ///
    /// If the program cannot be run at all.
    pub fn new<'a>(
        prepare: &dyn Fn(&Arc<Machine>) -> Result<Prepared<'a>, String>,
        fuel: u64,
    ) -> Result<Option<(Recording, Loaded)>, String> {
        let recorder = Recorder::new()?;
        let Prepared { loaded, others, mut context } = prepare(&recorder.machine)?;
        let mut cpu = Cpu::new(&recorder.machine).map_err(|error| error.to_string())?;
        let options = Options { engine: Engine::Fast, fuel, ..Options::default() };
        let programs = std::iter::once(&loaded).chain(&others);
        let programs = programs.map(|loaded| Arc::clone(loaded.linked())).collect();
        let mut watch =
            Watch { recorder: &recorder, programs, start: None, pending: None, lost: false };
        let result = loaded.observe(&mut cpu, &mut *context, options, &mut watch);
        if watch.lost {
            return Ok(None);
        }
        watch.settle(None);
        let (before, registers) = watch.start.ok_or("the run did not start")?;
        let events = recorder.take();
        if let Ok(Finished { r0, insns }) = result {
            let (after, end) = (Pages::of(&recorder.machine), Reference::Finished { r0, insns });
            return Ok(Some((Recording { before, after, registers, events, end }, loaded)));
        }
        let recorder = Recorder::new()?;
        let Prepared { loaded, mut context, others: _others } = prepare(&recorder.machine)?;
        let mut cpu = Cpu::new(&recorder.machine).map_err(|error| error.to_string())?;
        let end = match loaded.run(&mut cpu, &mut *context, options) {
            Ok(Finished { r0, insns }) => Reference::Finished { r0, insns },
            Err(RunError::Trap(trap)) => Reference::Trap(trap),
            Err(error) => return Err(error.to_string()),
        };
        let is_shown = |insn: &Insn<Pc>| {
            let tail_call = Insn::Call { callee: Callee::Helper(HelperId::TAIL_CALL) };
            matches!(insn, Insn::LoadPacket { .. }) || *insn == tail_call
        };
        let hidden = loaded.linked().insns().iter().any(is_shown);
        let no_packet =
            matches!(&end, Reference::Trap(trap) if trap.kind == TrapKind::NoSocketBuffer);
        if hidden && !no_packet {
            return Ok(None);
        }
        let (after, events) = (Pages::of(&recorder.machine), recorder.take());
        Ok(Some((Recording { before, after, registers, events, end }, loaded)))
    }
}

/// Calls a helper and notes what it was given, gave and changed.
fn note(
    log: &Mutex<Vec<Event>>,
    id: HelperId,
    implementation: &Implementation,
    call: &mut Call<'_>,
) -> Result<u64, TrapKind> {
    let args = (0..helper_args(id).into()).map(|arg| call.scalar(arg)).collect();
    let before = Pages::of(call.machine);
    let result = implementation.call(call);
    let outcome = match &result {
        Ok(value) => EventOutcome::Value(*value),
        Err(kind) => EventOutcome::Trap(kind.clone()),
    };
    let writes = Pages::of(call.machine).changed_since(&before);
    lock(log).push(Event { kind: EventKind::Helper(id), site: 0, args, outcome, writes });
    result
}

/// Notes the calls that are not helpers', and what there is before the first instruction.
struct Watch<'a> {
    recorder: &'a Recorder,
    /// The program and those that it goes on in.
    programs: Vec<Arc<Linked>>,
    start: Option<(Pages, [u64; 11])>,
    pending: Option<Pending>,
    /// Whether the run went on in a program that is not among those.
    lost: bool,
}

/// A call whose outcome the next instruction shows.
struct Pending {
    kind: EventKind,
    site: u64,
    args: Vec<u64>,
    next: Pc,
}

impl Watch<'_> {
    /// Notes the call before, given the program and where in it the run goes on, and its `r0`, if
    /// it does.
    fn settle(&mut self, next: Option<(u64, Pc, u64)>) {
        let Some(Pending { kind, site, args, next: expected }) = self.pending.take() else {
            return;
        };
        let outcome = match next {
            Some((_, at, r0)) if at == expected => EventOutcome::Value(r0),
            Some((program, ..)) => EventOutcome::Other(program),
            None => EventOutcome::Other(0),
        };
        let event = Event { kind, site, args, outcome, writes: Vec::new() };
        lock(&self.recorder.log).push(event);
    }
}

impl Observer for Watch<'_> {
    fn before(&mut self, program: &Program, pc: Pc, registers: &[u64; 11], _depth: usize) {
        if self.start.is_none() {
            self.start = Some((Pages::of(&self.recorder.machine), *registers));
        }
        let same = |linked: &Arc<Linked>| std::ptr::eq(linked.program(), program);
        let Some(site) = self.programs.iter().position(same).filter(|_| !self.lost) else {
            self.lost = true;
            return;
        };
        let site = site as u64;
        self.settle(Some((site, pc, registers[0])));
        let next = Pc::from_index(pc.index() + 1);
        self.pending = match program.insns()[pc.index()] {
            Insn::LoadPacket { size, index, imm } => {
                let register = match index {
                    PacketIndex::Absolute => 0,
                    PacketIndex::Indirect(reg) => registers[reg.index()] as u32,
                };
                let offset = register.wrapping_add(imm as u32);
                let args = vec![offset.into(), size.size().bytes().into()];
                Some(Pending { kind: EventKind::Packet, site, args, next })
            }
            Insn::Call { callee: Callee::Helper(HelperId::TAIL_CALL) } => {
                let args = registers[Reg::R1.index()..=Reg::R3.index()].to_vec();
                Some(Pending { kind: EventKind::TailCall, site, args, next })
            }
            _ => None,
        };
    }
}
