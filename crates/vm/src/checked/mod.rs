//! The checked interpreter: the reference, one instruction at a time.
//!
//! It computes what the fast interpreter computes and watches more: every value knows the object
//! that its address came from ([`value::Origin`]), and an access must lie in that object. An
//! address of unknown origin must lie in some object. A violation names instruction, object and
//! what was allowed there.

mod calls;
mod objects;
mod value;

use std::collections::HashMap;
use std::sync::Arc;

use skep_bpf::eval;
use skep_bpf::insn::{Extend, Imm64, Insn, Mem, PacketIndex, Reg, Src};
use skep_bpf::op::{AtomicOp, Size, Width};
use skep_bpf::program::{Pc, Program};

use self::value::{Origin, Value};
use crate::cpu::{CpuState, FRAME_BYTES};
use crate::linked::Linked;
use crate::machine::Machine;
use crate::memory::Access;
use crate::region::Purpose;
use crate::run::{Finished, MAY_GOTO_LIMIT, Start};
use crate::trap::{Trap, TrapKind};

/// How many instructions run before the outside is asked whether to stop.
const SLICE: u64 = 1 << 20;

/// Watches a checked run: what debuggers, profilers and tests of the verifier are made of.
pub trait Observer {
    /// An instruction is about to be executed. `depth` is the number of frames above the first.
    fn before(&mut self, program: &Program, pc: Pc, registers: &[u64; 11], depth: usize);
}

/// Runs a program from its start to its exit or a trap.
pub(crate) fn run(
    linked: &Arc<Linked>,
    machine: &Machine,
    cpu: &mut CpuState,
    start: Start,
    observer: Option<&mut dyn Observer>,
) -> Result<Finished, Box<Trap>> {
    let mut run = Checked::new(linked, machine, cpu, start);
    if let Some(observer) = observer {
        run.observer = Some(observer);
    }
    loop {
        match run.advance() {
            Ok(Flow::Continue) => {}
            Ok(Flow::Exit) => {
                return Ok(Finished { r0: run.get(Reg::R0).bits, insns: Some(run.executed) });
            }
            Err(kind) => return Err(run.program.trap(run.pc, kind)),
        }
    }
}

/// Whether there is a next instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    Continue,
    Exit,
}

/// A caller's frame.
struct Frame {
    return_to: Pc,
    program: Arc<Linked>,
    saved: [Value; 5],
    may_goto: u32,
    serial: u32,
}

/// The state of a run between two instructions.
struct Checked<'a> {
    registers: [Value; 11],
    pc: Pc,
    program: Arc<Linked>,
    callers: Vec<Frame>,
    /// Tells the frame that runs from others that lay at the same addresses.
    serial: u32,
    serials: u32,
    may_goto: u32,
    /// Where values with an origin were stored, with the bits that were stored.
    spilled: HashMap<u32, Value>,
    executed: u64,
    fuel: u64,
    ask_at: u64,
    machine: &'a Machine,
    cpu: &'a mut CpuState,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a> Checked<'a> {
    fn new(
        linked: &Arc<Linked>,
        machine: &'a Machine,
        cpu: &'a mut CpuState,
        start: Start,
    ) -> Checked<'a> {
        let mut registers = [const { Value { bits: 0, origin: None } }; 11];
        let [r1, r2] = start.args;
        let input = cpu.input.regions().into_iter().find(|region| u64::from(region.start) == r1);
        let origin = input.map(|region| Origin::Input(region.purpose));
        registers[Reg::R1.index()] = Value { bits: r1, origin };
        registers[Reg::R2.index()] = Value::number(r2);
        let frame = Origin::Frame { depth: 0, serial: 0 };
        let top = u64::from(cpu.frame_top());
        registers[Reg::R10.index()] = Value { bits: top, origin: Some(frame) };
        Checked {
            registers,
            pc: Pc::START,
            program: Arc::clone(linked),
            callers: Vec::new(),
            serial: 0,
            serials: 0,
            may_goto: MAY_GOTO_LIMIT,
            spilled: HashMap::new(),
            executed: 0,
            fuel: start.budget.fuel,
            ask_at: 0,
            machine,
            cpu,
            observer: None,
        }
    }

    fn get(&self, reg: Reg) -> &Value {
        &self.registers[reg.index()]
    }

    fn set(&mut self, reg: Reg, value: Value) {
        self.registers[reg.index()] = value;
    }

    fn operand(&self, src: Src) -> Value {
        match src {
            Src::Imm(imm) => Value::number(i64::from(imm) as u64),
            Src::Reg(reg) => self.get(reg).clone(),
        }
    }

    /// Executes one instruction before the observer's eyes.
    fn advance(&mut self) -> Result<Flow, TrapKind> {
        if let Some(observer) = &mut self.observer {
            let registers = self.registers.each_ref().map(|value| value.bits);
            observer.before(self.program.program(), self.pc, &registers, self.callers.len());
        }
        self.step()
    }

    /// Executes one instruction.
    fn step(&mut self) -> Result<Flow, TrapKind> {
        let insn = self.program.insns()[self.pc.index()];
        self.executed += 1;
        let next = Pc::from_index(self.pc.index() + 1);
        match insn {
            Insn::Alu { op, width, dst, src } => {
                let value = self.get(dst).alu(op, width, &self.operand(src));
                self.set(dst, value);
            }
            Insn::Neg { width, dst } => {
                self.set(dst, Value::number(eval::neg(width, self.get(dst).bits)));
            }
            Insn::Movsx { op, dst, src } => {
                self.set(dst, Value::number(op.eval(self.get(src).bits)));
            }
            Insn::Endian { op, bits, dst } => {
                self.set(dst, Value::number(op.eval(bits, self.get(dst).bits)));
            }
            Insn::AddrSpaceCast { .. } => {
                return Err(TrapKind::Unsupported { what: "an address space cast" });
            }
            Insn::LoadImm64 { dst, imm } => {
                let value = self.immediate(imm);
                self.set(dst, value);
            }
            Insn::Load { size, extend, dst, mem } => {
                let value = self.load(size, extend, mem)?;
                self.set(dst, value);
            }
            Insn::Store { size, mem, src } => self.store(size, mem, self.operand(src))?,
            Insn::Atomic { op, width, mem, src } => self.atomic(op, width, mem, src)?,
            Insn::LoadAcquire { size, dst, mem } => {
                self.aligned(mem, size)?;
                let value = self.load(size, Extend::Zero, mem)?;
                self.set(dst, value);
            }
            Insn::StoreRelease { size, mem, src } => {
                self.aligned(mem, size)?;
                self.store(size, mem, self.get(src).clone())?;
            }
            Insn::LoadPacket { size, index, imm } => {
                let register = match index {
                    PacketIndex::Absolute => 0,
                    PacketIndex::Indirect(reg) => self.get(reg).bits as i32,
                };
                let offset = register.wrapping_add(imm);
                let memory = self.machine.memory();
                match self.cpu.input.load_packet(memory, offset, size.size()) {
                    Some(Some(value)) => self.set(Reg::R0, Value::number(value)),
                    Some(None) => {
                        // As in the fast interpreter: outside the packet, return 0.
                        self.set(Reg::R0, Value::number(0));
                        return Ok(self.leave());
                    }
                    None => return Err(TrapKind::NoSocketBuffer),
                }
            }
            Insn::Jump { target, .. } => return self.jump(target),
            Insn::Branch { cond, width, dst, src, target } => {
                if cond.eval(width, self.get(dst).bits, self.operand(src).bits) {
                    return self.jump(target);
                }
            }
            Insn::MayGoto { target } => {
                if self.may_goto == 0 {
                    return self.jump(target);
                }
                self.may_goto -= 1;
            }
            Insn::Call { callee } => return self.call(callee),
            Insn::Exit => return Ok(self.leave()),
        }
        self.pc = next;
        Ok(Flow::Continue)
    }

    /// Only backward jumps can repeat, so only they ask for fuel.
    fn jump(&mut self, target: Pc) -> Result<Flow, TrapKind> {
        if target <= self.pc {
            self.ask()?;
        }
        self.pc = target;
        Ok(Flow::Continue)
    }

    /// Asks whether the run may go on.
    fn ask(&mut self) -> Result<(), TrapKind> {
        if self.executed >= self.ask_at {
            if self.cpu.take_stop() {
                return Err(TrapKind::Stopped);
            }
            self.ask_at = self.executed + SLICE;
        }
        if self.executed > self.fuel {
            return Err(TrapKind::OutOfFuel { fuel: self.fuel });
        }
        Ok(())
    }

    /// The value of a wide immediate. Linking replaced references by their values; that of a map
    /// or its data belongs to what lies there.
    fn immediate(&self, imm: Imm64<Pc>) -> Value {
        let Imm64::Value(bits) = imm else { return Value::default() };
        let original = &self.program.program().insns()[self.pc.index()];
        match original {
            Insn::LoadImm64 { imm: Imm64::Value(_), .. } => Value::number(bits),
            _ => self.pointer(bits),
        }
    }

    fn load(&mut self, size: Size, extend: Extend, mem: Mem) -> Result<Value, TrapKind> {
        let addr = self.check(mem, size.bytes(), Access::Read)?;
        let bits = size.extend(extend, self.machine.memory().window().load(addr, size)?);
        let origin = match (size, &self.get(mem.base).origin) {
            (Size::Dw, _) => self
                .spilled
                .get(&addr)
                .filter(|have| have.bits == bits)
                .and_then(|v| v.origin.clone()),
            (Size::W, Some(Origin::Input(Purpose::Context))) => self.packet_pointer(addr, size),
            _ => None,
        };
        Ok(Value { bits, origin })
    }

    fn store(&mut self, size: Size, mem: Mem, value: Value) -> Result<(), TrapKind> {
        let addr = self.check(mem, size.bytes(), Access::Write)?;
        self.machine.memory().window().store(addr, size, value.bits)?;
        if size == Size::Dw && value.origin.is_some() {
            self.spilled.insert(addr, value);
        }
        Ok(())
    }

    fn atomic(&mut self, op: AtomicOp, width: Width, mem: Mem, src: Reg) -> Result<(), TrapKind> {
        let addr = self.check(mem, width.bits() / 8, Access::Write)?;
        let view = self.machine.memory().window().view();
        let (operand, expected) = (self.get(src).bits, self.get(Reg::R0).bits);
        let old = view.atomic(addr, width, op, operand, expected)?;
        if op.row().fetch {
            let to = if op == AtomicOp::Cmpxchg { Reg::R0 } else { src };
            self.set(to, Value::number(old));
        }
        Ok(())
    }

    fn aligned(&self, mem: Mem, size: Size) -> Result<(), TrapKind> {
        let addr = self.address(mem);
        let len = size.bytes();
        if addr.is_multiple_of(len) {
            Ok(())
        } else {
            Err(TrapKind::MisalignedAtomic { addr, len })
        }
    }

    fn address(&self, mem: Mem) -> u32 {
        (self.get(mem.base).bits as u32).wrapping_add(mem.offset as i32 as u32)
    }

    /// The frame pointer of the frame that runs.
    fn frame_pointer(&self) -> Value {
        let depth = self.callers.len() as u32;
        let bits = u64::from(self.cpu.frame_top() - depth * FRAME_BYTES);
        Value { bits, origin: Some(Origin::Frame { depth, serial: self.serial }) }
    }
}
