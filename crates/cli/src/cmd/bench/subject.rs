//! What is measured: a program of an object or raw code, on each of our engines.

use std::cell::RefCell;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use skep::context::RawMemory;
use skep::cpu::Cpu;
use skep::machine::{Loaded, Machine};
use skep::memory::Perm;
use skep::region::Purpose;
use skep::run::{Engine, Finished, Options};
use skep_bpf::codec::Slot;
use skep_bpf::platform::{AttachType, ProgType};
use skep_bpf::program::{Bytecode, Program};
use skep_object::Linked;

use super::{Bench, live};
use crate::cmd::conformance::missing_helpers;
use crate::cmd::run::EngineName;
use crate::context::Input;
use crate::failure::Failure;
use crate::input::{read_code, read_file, read_input};
use crate::measure::{Outcome, Subject};
use crate::session::{Opened, Printed, Session, Wanted, host, type_named};

/// A program made ready for an engine, and how long that took, if it is known.
pub(super) struct Made {
    pub(super) subject: Box<dyn Subject>,
    pub(super) compile: Option<Duration>,
}

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
    Object {
        session: Box<Session>,
        input: Input,
    },
    /// The memory's address and length in the guest, where it stays between runs.
    Raw {
        loaded: Loaded,
        cpu: Cpu,
        memory: (u32, u32),
        copied: RawMemory,
    },
}

impl Runner {
    fn run(&mut self, runs: u64, options: Options) -> Result<Outcome, String> {
        match self {
            Runner::Object { session, input } => {
                // What is printed is not shown, and would fill memory.
                session.take_printed();
                let (loaded, cpu) = session.parts();
                repeat(runs, || loaded.run(cpu, input.context(), options))
            }
            // The checked interpreter knows only inputs as objects, and takes so long that the
            // copies do not matter.
            Runner::Raw { loaded, cpu, copied, .. } if options.engine == Engine::Checked => {
                repeat(runs, || loaded.run(cpu, copied, options))
            }
            Runner::Raw { loaded, cpu, memory: (start, len), .. } => {
                let runner = loaded.runner(cpu, options);
                let mut runner = runner.map_err(|error| error.to_string())?;
                let args = [u64::from(*start), u64::from(*len)];
                repeat(runs, || {
                    let result = runner.run(args);
                    let insns = runner.insns();
                    result.map(|r0| Finished { r0, insns })
                })
            }
        }
    }

    /// Compiles the program for an engine: how long it took, if the engine compiles.
    fn compile(&mut self, options: Options) -> Result<Option<Duration>, String> {
        let loaded = match self {
            Runner::Object { session, .. } => session.parts().0,
            Runner::Raw { loaded, .. } => loaded,
        };
        if matches!(options.engine, Engine::Fast | Engine::Checked) {
            return Ok(None);
        }
        let start = Instant::now();
        loaded.compile(options).map_err(|error| error.to_string())?;
        Ok(Some(start.elapsed()))
    }
}

/// Runs as often as is said; gives what the last run gave.
fn repeat<E: ToString>(
    runs: u64,
    mut run: impl FnMut() -> Result<Finished, E>,
) -> Result<Outcome, String> {
    for _ in 1..runs {
        run().map_err(|error| error.to_string())?;
    }
    let Finished { r0, insns } = run().map_err(|error| error.to_string())?;
    Ok(Outcome { r0, insns })
}

impl Field {
    /// One of our engines on the program.
    pub(super) fn own(&mut self, engine: EngineName) -> Result<Made, String> {
        let options = Options { engine: engine.engine(), ..Options::default() };
        let runner = Rc::clone(&self.runner);
        // What does not run at all is left out rather than ends the measurement.
        let compile = runner.borrow_mut().compile(options)?;
        runner.borrow_mut().run(1, options)?;
        let run = move |runs| runner.borrow_mut().run(runs, options);
        Ok(Made { subject: Box::new(run), compile })
    }

    /// The live kernel on the program.
    pub(super) fn live(&self) -> Result<Made, String> {
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
        profilers: None,
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
    let machine = Machine::with_helpers(host(&printed, None), missing_helpers(&program));
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

/// Puts bytes where a program can reach them: their address and length.
fn resident(machine: &Machine, bytes: &[u8]) -> Result<(u32, u32), String> {
    let len = u32::try_from(bytes.len()).map_err(|_| "too much memory".to_owned())?;
    if len == 0 {
        return Ok((0, len));
    }
    let start = machine.memory().alloc(len, Perm::ReadWrite, Purpose::Memory);
    let start = start.map_err(|error| error.to_string())?;
    machine.memory().window().write(start, bytes).map_err(|fault| fault.to_string())?;
    Ok((start, len))
}
