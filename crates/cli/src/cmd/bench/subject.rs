//! What is measured: a program of an object or raw code, on each of our engines.

use std::cell::RefCell;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use skep::context::{Context, ContextError, RawMemory};
use skep::cpu::{Cpu, CpuState};
use skep::machine::{Loaded, Machine};
use skep::memory::Perm;
use skep::region::Purpose;
use skep::run::{Engine, Options};
use skep_bpf::codec::Slot;
use skep_bpf::platform::{AttachType, ProgType};
use skep_bpf::program::{Bytecode, Program};
use skep_object::Linked;

use super::measure::{Outcome, Subject};
use super::{Bench, live};
use crate::cmd::conformance::missing_helpers;
use crate::cmd::run::EngineName;
use crate::context::Input;
use crate::failure::Failure;
use crate::input::{read_code, read_file, read_input};
use crate::session::{Opened, Printed, Session, Wanted, host, type_named};

/// A program that engines can be measured on.
pub(super) struct Field {
    /// What it is called.
    pub(super) name: String,
    /// Its type, which says what results mean.
    pub(super) prog_type: ProgType,
    runner: Rc<RefCell<Runner>>,
    live: Live,
}

/// What the live kernel needs.
enum Live {
    Object { linked: Linked, types: (ProgType, AttachType), packet: Vec<u8> },
    Raw { slots: Vec<Slot>, memory: Vec<u8> },
    Nothing(String),
}

/// The program in its machine; engines use it in turn.
enum Runner {
    Object { session: Box<Session>, input: Input },
    Raw { loaded: Loaded, cpu: Cpu, memory: Resident, copied: RawMemory },
}

impl Runner {
    fn run(&mut self, runs: u64, options: Options) -> Result<Outcome, String> {
        let (loaded, cpu, context): (&Loaded, &mut Cpu, &mut dyn Context) = match self {
            Runner::Object { session, input } => {
                // What is printed is not shown, and would fill memory.
                session.take_printed();
                let (loaded, cpu) = session.parts();
                (loaded, cpu, input.context())
            }
            // The checked interpreter knows only inputs as objects, and takes so long that the
            // copies do not matter.
            Runner::Raw { loaded, cpu, copied, .. } if options.engine == Engine::Checked => {
                (loaded, cpu, copied)
            }
            Runner::Raw { loaded, cpu, memory, .. } => (loaded, cpu, memory),
        };
        let mut last = Err("there are no runs".to_owned());
        for _ in 0..runs {
            let finished = loaded.run(cpu, context, options).map_err(|error| error.to_string())?;
            last = Ok(Outcome { r0: finished.r0, insns: finished.insns });
        }
        last
    }
}

/// Memory that stays in the guest between runs: its address and length.
struct Resident {
    start: u32,
    len: u32,
}

impl Context for Resident {
    fn suits(&self, prog_type: ProgType) -> bool {
        prog_type == ProgType::UNSPEC
    }

    fn enter(&mut self, _: &Machine, _: &mut CpuState) -> Result<[u64; 2], ContextError> {
        Ok([self.start.into(), self.len.into()])
    }

    fn leave(&mut self, _: &Machine, _: &mut CpuState) -> Result<(), ContextError> {
        Ok(())
    }
}

impl Field {
    /// One of our engines on the program.
    pub(super) fn own(&mut self, engine: EngineName) -> Result<Subject, String> {
        let options = Options { engine: engine.engine(), ..Options::default() };
        let runner = Rc::clone(&self.runner);
        // What does not run at all is left out rather than ends the measurement.
        runner.borrow_mut().run(1, options)?;
        let run = move |runs| runner.borrow_mut().run(runs, options);
        Ok(Subject { name: engine.name(), compile: None, run: Box::new(run) })
    }

    /// The live kernel on the program.
    pub(super) fn live(&self) -> Result<Subject, String> {
        match (&self.live, &*self.runner.borrow()) {
            (Live::Object { linked, types, packet }, Runner::Object { session, .. }) => {
                live::object(&session.prepared.object, linked, *types, packet)
            }
            (Live::Raw { slots, memory }, _) => live::raw(slots, memory),
            (Live::Nothing(why), _) => Err(why.clone()),
            (Live::Object { .. }, Runner::Raw { .. }) => Err("it has no object".to_owned()),
        }
    }
}

/// A program of an object.
pub(super) fn object(arguments: &Bench) -> Result<Field, Failure> {
    let target = arguments.target.as_ref();
    let target = target.ok_or_else(|| Failure::Usage("FILE.o or --raw is needed".to_owned()))?;
    let types = arguments.type_name.as_deref().map(type_named).transpose()?;
    let wanted = Wanted {
        target,
        types,
        verification: arguments.verification(),
        settings: &arguments.set,
        sizes: &[],
        maps: &arguments.map,
        btf: None,
    };
    let session = match Session::open(&wanted)? {
        Opened::Ready(session) => session,
        Opened::Rejected(rejected) => {
            let name = &rejected.program().name;
            return Err(Failure::Load(format!(
                "{name} is not measured because it may be unsafe: `skep verify` says why; \
                 --unverified measures it all the same"
            )));
        }
    };
    let input = input(arguments, &session)?;
    let live = match session.linked() {
        Some((linked, types)) => {
            Live::Object { linked: linked.clone(), types, packet: input.bytes().to_vec() }
        }
        None => Live::Nothing("the program is not linked".to_owned()),
    };
    Ok(Field {
        name: session.name().to_owned(),
        prog_type: session.prog_type(),
        runner: Rc::new(RefCell::new(Runner::Object { session, input })),
        live,
    })
}

/// What a program of an object runs on.
fn input(arguments: &Bench, session: &Session) -> Result<Input, Failure> {
    if arguments.memory.is_some() {
        let memory = Input::Memory(RawMemory::default());
        return Ok(memory.with_bytes(&arguments.memory()?));
    }
    let fields = match &arguments.ctx {
        Some(path) => Some(String::from_utf8_lossy(&read_file(path)?).into_owned()),
        None => None,
    };
    let prog_type = session.prog_type();
    let input = Input::new(prog_type, fields.as_deref());
    let input = input.map_err(|why| Failure::Load(format!("the context: {why}")))?;
    let input = input.ok_or_else(|| {
        Failure::Load(format!(
            "{} is of type {prog_type}, which takes no packets; give the bytes that r1 leads to \
             with --memory HEX, or another type with --type",
            session.place()
        ))
    })?;
    Ok(input.with_bytes(&arguments.packet()?))
}

/// Raw code on memory.
pub(super) fn raw(arguments: &Bench, path: &Path, input: &mut dyn Read) -> Result<Field, Failure> {
    let name = path.display().to_string();
    let fail = |reason: String| Failure::Load(format!("{name}: {reason}"));
    let slots = read_code(&read_input(path, input)?, &name)?;
    let program = Program::new(&Bytecode::from(slots.clone()));
    let program = program.map_err(|error| fail(error.to_string()))?;
    let printed = Arc::new(Mutex::new(Printed::default()));
    let machine = Machine::with_helpers(host(&printed), missing_helpers(&program));
    let machine = Arc::new(machine.map_err(|error| fail(error.to_string()))?);
    let bytes = arguments.memory()?;
    let memory = resident(&machine, &bytes).map_err(fail)?;
    let copied = RawMemory { bytes: bytes.clone() };
    let cpu = Cpu::new(&machine).map_err(|error| fail(error.to_string()))?;
    let loaded = machine.load("raw", ProgType::UNSPEC, program, &[]);
    let loaded = loaded.map_err(|error| fail(error.to_string()))?;
    Ok(Field {
        runner: Rc::new(RefCell::new(Runner::Raw { loaded, cpu, memory, copied })),
        live: Live::Raw { slots, memory: bytes },
        prog_type: ProgType::UNSPEC,
        name,
    })
}

/// Puts bytes where a program can reach them.
fn resident(machine: &Machine, bytes: &[u8]) -> Result<Resident, String> {
    let len = u32::try_from(bytes.len()).map_err(|_| "too much memory".to_owned())?;
    if len == 0 {
        return Ok(Resident { start: 0, len });
    }
    let start = machine.memory().alloc(len, Perm::ReadWrite, Purpose::Memory);
    let start = start.map_err(|error| error.to_string())?;
    machine.memory().window().write(start, bytes).map_err(|fault| fault.to_string())?;
    Ok(Resident { start, len })
}
