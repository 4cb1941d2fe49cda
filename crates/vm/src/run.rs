//! Running a program: which engine, how long, and what came out.

use crate::context::{Context, ContextError};
use crate::cpu::{Cpu, FRAME_BYTES, MAX_FRAMES};
use crate::machine::{Loaded, Machine};
use crate::trap::Trap;
use crate::{checked, fast, native};
use skep_jit::{CompileOptions, Target, Tier};

pub use crate::checked::Observer;

/// How often what drives a loop may repeat it (Linux, `BPF_MAX_LOOPS`).
pub(crate) const MAX_LOOPS: u32 = 8 * 1024 * 1024;

/// How often a frame may pass `may_goto` instructions before they jump.
pub(crate) const MAY_GOTO_LIMIT: u32 = MAX_LOOPS;

/// What executes a program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Engine {
    /// The fast interpreter: window semantics.
    Fast,
    /// The checked interpreter: region semantics, exact reports.
    Checked,
    /// Machine code by the template compiler: window semantics.
    Template,
    /// Machine code by the optimising compiler: window semantics.
    Optimising,
    /// Machine code where there is a compiler that takes the program, else the fast interpreter.
    /// The template compiler's comes first; once the program has run often, the optimising
    /// compiler works on a thread of its own, and later runs use what it made.
    #[default]
    Auto,
}

impl Engine {
    /// Whether programs run in this engine on this computer.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Engine::Fast | Engine::Checked | Engine::Auto => true,
            Engine::Template | Engine::Optimising => Target::host().is_some(),
        }
    }

    /// The compiler whose machine code it runs; none for interpreters, and where that is to be
    /// decided.
    pub(crate) fn tier(self) -> Option<Tier> {
        match self {
            Engine::Fast | Engine::Checked | Engine::Auto => None,
            Engine::Template => Some(Tier::Template),
            Engine::Optimising => Some(Tier::Optimising),
        }
    }
}

/// How a program is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What executes it.
    pub engine: Engine,
    /// The most instructions. The run stops at the first backward jump or call after them.
    pub fuel: u64,
    /// Whether instructions are counted where they need not be. Machine code of a program whose
    /// proof says that it ends within the fuel leaves that out, and is the faster for it;
    /// interpreters always count.
    pub count: bool,
}

impl Options {
    /// What a run may take.
    pub(crate) fn budget(self) -> Budget {
        Budget { fuel: self.fuel, count: self.count }
    }
}

/// How many instructions a run may take, and whether it has to count them at any rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// The most instructions.
    pub(crate) fuel: u64,
    /// As [`Options::count`].
    pub(crate) count: bool,
}

impl Default for Options {
    /// Whatever is fastest, with a limit that an endless loop reaches within seconds.
    fn default() -> Self {
        Options { engine: Engine::default(), fuel: DEFAULT_FUEL, count: false }
    }
}

/// The fuel of a run that asks for no other: a billion instructions.
pub const DEFAULT_FUEL: u64 = 1_000_000_000;

/// What a run gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finished {
    /// The value of `r0` at the exit.
    pub r0: u64,
    /// The number of instructions executed, if it was counted: machine code of a program whose
    /// proof bounds it does not count.
    pub insns: Option<u64>,
}

/// Why a run gave nothing.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The input does not fit the program.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The run stopped at an instruction.
    #[error(transparent)]
    Trap(#[from] Box<Trap>),
    /// There is no machine code.
    #[error("program {program} was not compiled")]
    Compile {
        /// The program's name.
        program: String,
        /// Why.
        #[source]
        why: CompileFailure,
    },
    /// The processor belongs to another machine than the program.
    #[error("the processor belongs to another machine than program {program}")]
    OtherMachine {
        /// The program's name.
        program: String,
    },
}

/// Why there is no machine code of a program.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileFailure {
    /// There is no compiler for this computer.
    #[error("there is no compiler for this processor and system")]
    NoTarget,
    /// The compiler refused.
    #[error(transparent)]
    Refused(#[from] skep_jit::CompileError),
    /// The system gave no executable memory.
    #[error("the system gave no executable memory: {reason}")]
    NoMemory {
        /// What it said.
        reason: String,
    },
}

/// How many instructions run before the outside is asked whether to stop.
pub(crate) const SLICE: u64 = 1 << 20;

/// Says that a run is under way, so that what it may see is not reused before it ends.
struct UnderWay<'a> {
    machine: &'a Machine,
    cpu: u32,
}

impl<'a> UnderWay<'a> {
    fn begin(machine: &'a Machine, cpu: u32) -> UnderWay<'a> {
        machine.epochs().enter(cpu);
        UnderWay { machine, cpu }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.machine.epochs().leave(self.cpu);
    }
}

/// What an engine is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// The values of `r1` and `r2`.
    pub(crate) args: [u64; 2],
    /// What it may take.
    pub(crate) budget: Budget,
}

impl Loaded {
    /// Runs the program on a processor. Registers that the calling convention leaves undefined
    /// are 0: `r3` to `r9` and `r0` at the start and at the entry of a function, `r1` to `r5`
    /// after a call. The stack is zeroed.
    ///
    /// # Errors
    ///
    /// If the input does not fit or the run stops before its exit. The input is read back from
    /// guest memory in both cases.
    pub fn run(
        &self,
        cpu: &mut Cpu,
        context: &mut dyn Context,
        options: Options,
    ) -> Result<Finished, RunError> {
        self.run_with(cpu, context, options, None)
    }

    /// Compiles the program now, as a run with such options would want it; else the first such
    /// run does. Engines that compile nothing are ready.
    ///
    /// # Errors
    ///
    /// If there is no compiler for this computer or no memory.
    pub fn compile(&self, options: Options) -> Result<(), CompileFailure> {
        let engine = options.engine;
        if engine == Engine::Auto {
            // Where it cannot be compiled it is interpreted.
            let _ =
                native::prepare(self.linked(), self.machine(), Tier::Template, options.budget());
        }
        let Some(tier) = engine.tier() else { return Ok(()) };
        native::prepare(self.linked(), self.machine(), tier, options.budget())
    }

    /// The machine code that a compiler makes of the program for a computer, which need not be
    /// this one: to look at. It holds addresses of this process.
    ///
    /// # Errors
    ///
    /// If there is no such compiler, or the code would be too large.
    pub fn machine_code(
        &self,
        target: Target,
        tier: Tier,
        options: &CompileOptions,
    ) -> Result<skep_jit::code::Code, CompileFailure> {
        let with = (target, tier);
        let budget = Options::default().budget();
        native::machine_code(self.linked(), self.machine(), with, options, budget)
    }

    /// The optimising compiler's form of every function after some of its passes: to look at.
    ///
    /// # Errors
    ///
    /// If there is no compiler for this computer.
    pub fn ssa(
        &self,
        passes: skep_jit::ssa::Passes,
    ) -> Result<Vec<skep_jit::ssa::ir::Func>, CompileFailure> {
        native::ssa(self.linked(), self.machine(), passes)
    }

    /// Runs the program in the checked interpreter, whatever the options name, and shows an
    /// observer every instruction.
    ///
    /// # Errors
    ///
    /// As [`Loaded::run`].
    pub fn observe(
        &self,
        cpu: &mut Cpu,
        context: &mut dyn Context,
        options: Options,
        observer: &mut dyn Observer,
    ) -> Result<Finished, RunError> {
        let options = Options { engine: Engine::Checked, ..options };
        self.run_with(cpu, context, options, Some(observer))
    }

    /// The engine that a run with such options uses now.
    pub(crate) fn engine_now(&self, options: Options) -> Engine {
        if options.engine != Engine::Auto {
            return options.engine;
        }
        match native::choose(self.linked(), self.machine(), options.budget()) {
            Some(Tier::Optimising) => Engine::Optimising,
            Some(_) => Engine::Template,
            None => Engine::Fast,
        }
    }

    fn run_with(
        &self,
        cpu: &mut Cpu,
        context: &mut dyn Context,
        options: Options,
        observer: Option<&mut dyn Observer>,
    ) -> Result<Finished, RunError> {
        let machine = self.machine();
        if !std::sync::Arc::ptr_eq(machine, cpu.machine()) {
            return Err(RunError::OtherMachine { program: self.linked().name().to_owned() });
        }
        let prog_type = self.linked().prog_type();
        if !context.suits(prog_type) {
            let what = format!("the input is not what programs of type {prog_type} take");
            return Err(ContextError::Mismatch { what }.into());
        }
        let state = &mut cpu.state;
        let args = context.enter(machine, state)?;
        let frames =
            if self.linked().program().functions().len() > 1 { MAX_FRAMES as u32 } else { 1 };
        let window = machine.memory().window();
        state.begin(window, frames * FRAME_BYTES).map_err(ContextError::fault)?;
        let start = Start { args, budget: options.budget() };
        let under_way = UnderWay::begin(machine, state.index);
        let result = match self.engine_now(options) {
            Engine::Fast | Engine::Auto => {
                fast::run(self.linked(), machine, state, start).map_err(RunError::from)
            }
            Engine::Checked => {
                checked::run(self.linked(), machine, state, start, observer).map_err(RunError::from)
            }
            Engine::Template => native::run(self.linked(), machine, state, Tier::Template, start),
            Engine::Optimising => {
                native::run(self.linked(), machine, state, Tier::Optimising, start)
            }
        };
        drop(under_way);
        crate::helpers::release_lock(machine, state);
        context.leave(machine, state)?;
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use skep_bpf::codec::Slot;
    use skep_bpf::platform::ProgType;
    use skep_bpf::program::{Bytecode, Pc, Program};

    use super::*;
    use crate::context::RawMemory;
    use crate::host::Host;
    use crate::trap::TrapKind;

    fn run(slots: &[Slot], memory: &mut RawMemory, fuel: u64) -> Vec<Result<Finished, RunError>> {
        let machine = Arc::new(Machine::new(Host::default()).unwrap());
        let program = Program::new(&Bytecode::from(slots.to_vec())).unwrap();
        let loaded = machine.load("test", ProgType::UNSPEC, program, &[]).unwrap();
        let before = memory.clone();
        ENGINES
            .into_iter()
            .map(|engine| {
                *memory = before.clone();
                let mut cpu = Cpu::new(&machine).unwrap();
                loaded.run(&mut cpu, memory, Options { engine, fuel, ..Options::default() })
            })
            .collect()
    }

    const ENGINES: [Engine; 4] =
        [Engine::Fast, Engine::Checked, Engine::Template, Engine::Optimising];
    const EXIT: Slot = Slot::new(0x95, 0, 0, 0, 0);

    /// r0 = 0; r3 = n; loop: r0 += r3; r3 -= 1; if r3 != 0 goto loop; exit
    fn countdown(n: i32) -> Vec<Slot> {
        vec![
            Slot::new(0xb7, 0, 0, 0, 0),
            Slot::new(0xb7, 3, 0, 0, n),
            Slot::new(0x0f, 0, 3, 0, 0),
            Slot::new(0x17, 3, 0, 0, 1),
            Slot::new(0x55, 3, 0, -3, 0),
            EXIT,
        ]
    }

    #[test]
    fn instructions_are_counted_exactly() {
        for result in run(&countdown(1000), &mut RawMemory::default(), DEFAULT_FUEL) {
            assert_eq!(result, Ok(Finished { r0: 500_500, insns: Some(3003) }));
        }
    }

    /// Ten million instructions do not grow the stack, whatever the engine does for a loop.
    #[test]
    fn long_runs_end() {
        for result in run(&countdown(3_500_000), &mut RawMemory::default(), DEFAULT_FUEL) {
            assert_eq!(result.unwrap().insns, Some(10_500_003));
        }
    }

    #[test]
    fn fuel_ends_a_run_at_a_backward_jump() {
        // 2 + 3 n instructions have run at the n-th backward jump.
        for (fuel, ends) in [(3003, true), (2999, true), (2998, false), (5, false), (0, false)] {
            for result in run(&countdown(1000), &mut RawMemory::default(), fuel) {
                match result {
                    Ok(_) => assert!(ends, "fuel {fuel}"),
                    Err(RunError::Trap(trap)) => {
                        assert_eq!(trap.kind, TrapKind::OutOfFuel { fuel });
                        assert_eq!(trap.slot.0, 4);
                        assert!(!ends, "fuel {fuel}");
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }

    /// The fast interpreter merges moves and additions with what follows; nobody must notice.
    #[test]
    fn merged_instructions_keep_their_places() {
        // r0 = 0; r3 = 0; goto +1; top: r3 += 1 (merged); r4 = r3; r4 <<= 1; r0 += r4;
        // r3 += 1 (merged); if r3 < 9 goto top; exit. The first jump leads into a merged pair.
        let code = [
            Slot::new(0xb7, 0, 0, 0, 0),
            Slot::new(0xb7, 3, 0, 0, 0),
            Slot::new(0x05, 0, 0, 1, 0),
            Slot::new(0x07, 3, 0, 0, 1),
            Slot::new(0xbf, 4, 3, 0, 0),
            Slot::new(0x67, 4, 0, 0, 1),
            Slot::new(0x0f, 0, 4, 0, 0),
            Slot::new(0x07, 3, 0, 0, 1),
            Slot::new(0xa5, 3, 0, -6, 9),
            EXIT,
        ];
        // r3 is 0, 2, 4, 6 and 8 when it is doubled.
        for result in run(&code, &mut RawMemory::default(), DEFAULT_FUEL) {
            assert_eq!(result, Ok(Finished { r0: 40, insns: Some(3 + 5 + 4 * 6 + 1) }));
        }
        for result in run(&code, &mut RawMemory::default(), 10) {
            let Err(RunError::Trap(trap)) = result else { panic!("{result:?}") };
            assert_eq!((trap.kind, trap.slot.0), (TrapKind::OutOfFuel { fuel: 10 }, 8));
        }
    }

    /// A register that is the destination of one instruction and anything of the next.
    #[test]
    fn merged_instructions_see_each_other() {
        // r1 = 5; r2 = 7; r2 = r1; r2 += r2; r1 = r2; r2 *= r1; r0 = r2; w0 = w2; w0 += r1; exit
        let code = [
            Slot::new(0xb7, 1, 0, 0, 5),
            Slot::new(0xb7, 2, 0, 0, 7),
            Slot::new(0xbf, 2, 1, 0, 0),
            Slot::new(0x0f, 2, 2, 0, 0),
            Slot::new(0xbf, 1, 2, 0, 0),
            Slot::new(0x2f, 2, 1, 0, 0),
            Slot::new(0xbf, 0, 2, 0, 0),
            Slot::new(0xbc, 0, 2, 0, 0),
            Slot::new(0x0c, 0, 1, 0, 0),
            EXIT,
        ];
        for result in run(&code, &mut RawMemory::default(), DEFAULT_FUEL) {
            assert_eq!(result, Ok(Finished { r0: 110, insns: Some(10) }));
        }
    }

    #[test]
    fn a_fault_of_a_merged_instruction_is_its_own() {
        for second in [Slot::new(0x79, 0, 2, 8, 0), Slot::new(0x7b, 2, 0, 8, 0)] {
            // r3 = 0; r2 = r3; r0 = *(u64 *)(r2 + 8), or the store
            let code = [Slot::new(0xb7, 3, 0, 0, 0), Slot::new(0xbf, 2, 3, 0, 0), second, EXIT];
            for result in run(&code, &mut RawMemory::default(), DEFAULT_FUEL) {
                let Err(RunError::Trap(trap)) = result else { panic!("{result:?}") };
                assert_eq!(trap.slot.0, 2);
            }
        }
    }

    #[test]
    fn an_observer_sees_every_instruction() {
        struct Seen(Vec<(usize, u64)>);
        impl Observer for Seen {
            fn before(&mut self, _: &Program, pc: Pc, registers: &[u64; 11], _: usize) {
                self.0.push((pc.index(), registers[0]));
            }
        }
        let machine = Arc::new(Machine::new(Host::default()).unwrap());
        let program = Program::new(&Bytecode::from(countdown(2))).unwrap();
        let loaded = machine.load("test", ProgType::UNSPEC, program, &[]).unwrap();
        let (mut cpu, mut seen) = (Cpu::new(&machine).unwrap(), Seen(Vec::new()));
        let input = &mut RawMemory::default();
        let finished = loaded.observe(&mut cpu, input, Options::default(), &mut seen).unwrap();
        assert_eq!(finished.insns, Some(seen.0.len() as u64));
        let expected = [(0, 0), (1, 0), (2, 0), (3, 2), (4, 2), (2, 2), (3, 3), (4, 3), (5, 3)];
        assert_eq!(seen.0, expected);
    }

    #[test]
    fn another_thread_stops_an_endless_run() {
        // loop: goto loop
        let code = [Slot::new(0x05, 0, 0, -1, 0), EXIT];
        let machine = Arc::new(Machine::new(Host::default()).unwrap());
        let program = Program::new(&Bytecode::from(code.to_vec())).unwrap();
        let loaded = machine.load("test", ProgType::UNSPEC, program, &[]).unwrap();
        for engine in ENGINES {
            let mut cpu = Cpu::new(&machine).unwrap();
            let stopper = cpu.stopper();
            let stopping = std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                stopper.stop();
            });
            let options = Options { engine, fuel: u64::MAX, ..Options::default() };
            let result = loaded.run(&mut cpu, &mut RawMemory::default(), options);
            let Err(RunError::Trap(trap)) = result else { panic!("{result:?}") };
            assert_eq!((trap.kind, trap.slot.0), (TrapKind::Stopped, 0));
            stopping.join().unwrap();
            // One request stops one run.
            let bounded = Options { engine, fuel: 10, ..Options::default() };
            let result = loaded.run(&mut cpu, &mut RawMemory::default(), bounded);
            let Err(RunError::Trap(trap)) = result else { panic!("{result:?}") };
            assert_eq!(trap.kind, TrapKind::OutOfFuel { fuel: 10 });
        }
    }

    /// Runs in the automatic engine give the same before and after the code is optimised.
    #[test]
    fn the_automatic_engine_agrees_with_itself() {
        let machine = Arc::new(Machine::new(Host::default()).unwrap());
        let program = Program::new(&Bytecode::from(countdown(10))).unwrap();
        let loaded = machine.load("test", ProgType::UNSPEC, program, &[]).unwrap();
        let mut cpu = Cpu::new(&machine).unwrap();
        let options = Options { engine: Engine::Auto, ..Options::default() };
        let mut engines = Vec::new();
        let start = std::time::Instant::now();
        let last = match Engine::Optimising.is_available() {
            true => Engine::Optimising,
            false => Engine::Fast,
        };
        while engines.last() != Some(&last) && start.elapsed().as_secs() < 60 {
            let result = loaded.run(&mut cpu, &mut RawMemory::default(), options);
            assert_eq!(result, Ok(Finished { r0: 55, insns: Some(33) }));
            let engine = loaded.engine_now(options);
            if engines.last() != Some(&engine) {
                engines.push(engine);
            }
        }
        assert_eq!(engines.last(), Some(&last), "{engines:?}");
    }

    #[test]
    fn memory_is_read_and_written_back() {
        // r0 = *(u8 *)(r1 + 2); *(u32 *)(r1 + 4) = 7; exit
        let code = [Slot::new(0x71, 0, 1, 2, 0), Slot::new(0x62, 1, 0, 4, 7), EXIT];
        let mut memory = RawMemory { bytes: vec![1, 2, 3, 4, 5, 6, 7, 8] };
        for result in run(&code, &mut memory, DEFAULT_FUEL) {
            assert_eq!(result, Ok(Finished { r0: 3, insns: Some(3) }));
        }
        assert_eq!(memory.bytes, [1, 2, 3, 4, 7, 0, 0, 0]);
    }

    #[test]
    fn a_null_pointer_traps() {
        let code = [Slot::new(0xb7, 2, 0, 0, 0), Slot::new(0x79, 0, 2, 8, 0), EXIT];
        for result in run(&code, &mut RawMemory::default(), DEFAULT_FUEL) {
            let Err(RunError::Trap(trap)) = result else { panic!("{result:?}") };
            assert_eq!(trap.slot.0, 1);
        }
    }

    #[test]
    fn functions_have_frames_of_their_own() {
        // r6 = 5; r1 = 3; call f; r0 += r6; exit;  f: *(u64 *)(r10 - 8) = r1; r0 = r1; exit
        let code = [
            Slot::new(0xb7, 6, 0, 0, 5),
            Slot::new(0x7a, 10, 0, -8, 40),
            Slot::new(0xb7, 1, 0, 0, 3),
            Slot::new(0x85, 0, 1, 0, 4),
            Slot::new(0x0f, 0, 6, 0, 0),
            Slot::new(0x79, 1, 10, -8, 0),
            Slot::new(0x0f, 0, 1, 0, 0),
            EXIT,
            Slot::new(0x7b, 10, 1, -8, 0),
            Slot::new(0xbf, 0, 1, 0, 0),
            EXIT,
        ];
        for result in run(&code, &mut RawMemory::default(), DEFAULT_FUEL) {
            assert_eq!(result, Ok(Finished { r0: 48, insns: Some(11) }));
        }
        // f: call f; exit
        let endless = [Slot::new(0x85, 0, 1, 0, 1), EXIT, Slot::new(0x85, 0, 1, 0, -1), EXIT];
        for result in run(&endless, &mut RawMemory::default(), DEFAULT_FUEL) {
            let Err(RunError::Trap(trap)) = result else { panic!("{result:?}") };
            assert_eq!(trap.kind, TrapKind::CallDepth { limit: 8 });
        }
    }
}
