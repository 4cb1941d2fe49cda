//! What nodes compute, and an evaluator that runs a function on it: the reference that passes are
//! tested against, and what constants are folded by. The arithmetic that BPF has is
//! `skep_bpf::eval`'s; only what BPF lacks is stated here.

use skep_bpf::eval;
use skep_bpf::insn::{Extend, Reg};
use skep_bpf::op::{AluOp, AtomicOp, Endian, Movsx, Size, SwapBits, Width};
use skep_bpf::program::Pc;

use super::ir::{Bin, BlockId, CallSite, Edge, Func, Op, Term, Un, Val};

impl Bin {
    /// BPF's operation, if it has it.
    #[must_use]
    pub const fn alu(self) -> Option<AluOp> {
        Some(match self {
            Bin::Add => AluOp::Add,
            Bin::Sub => AluOp::Sub,
            Bin::Mul => AluOp::Mul,
            Bin::Div => AluOp::Div,
            Bin::Sdiv => AluOp::Sdiv,
            Bin::Mod => AluOp::Mod,
            Bin::Smod => AluOp::Smod,
            Bin::Or => AluOp::Or,
            Bin::And => AluOp::And,
            Bin::Xor => AluOp::Xor,
            Bin::Lsh => AluOp::Lsh,
            Bin::Rsh => AluOp::Rsh,
            Bin::Arsh => AluOp::Arsh,
            Bin::MulHigh | Bin::Rotl => return None,
        })
    }

    /// The value.
    #[must_use]
    pub const fn eval(self, width: Width, a: u64, b: u64) -> u64 {
        match (self.alu(), width) {
            (Some(op), _) => op.eval(width, a, b),
            (None, Width::W64) if matches!(self, Bin::Rotl) => a.rotate_left((b & 63) as u32),
            (None, Width::W32) if matches!(self, Bin::Rotl) => {
                (a as u32).rotate_left((b & 31) as u32) as u64
            }
            (None, Width::W64) => ((a as u128 * b as u128) >> 64) as u64,
            (None, Width::W32) => (a as u32 as u64 * b as u32 as u64) >> 32,
        }
    }
}

impl Un {
    /// The value.
    #[must_use]
    pub const fn eval(self, width: Width, a: u64) -> u64 {
        match (self, width) {
            (Un::Neg, _) => eval::neg(width, a),
            (Un::Zext, _) => a as u32 as u64,
            (Un::Sext8, Width::W32) => Movsx::W32From8.eval(a),
            (Un::Sext8, Width::W64) => Movsx::W64From8.eval(a),
            (Un::Sext16, Width::W32) => Movsx::W32From16.eval(a),
            (Un::Sext16, Width::W64) => Movsx::W64From16.eval(a),
            (Un::Sext32, _) => Movsx::W64From32.eval(a),
            (Un::Swap16, _) => Endian::Bswap.eval(SwapBits::B16, a),
            (Un::Swap, Width::W32) => Endian::Bswap.eval(SwapBits::B32, a),
            (Un::Swap, Width::W64) => Endian::Bswap.eval(SwapBits::B64, a),
            (Un::Popcnt, Width::W32) => (a as u32).count_ones() as u64,
            (Un::Popcnt, Width::W64) => a.count_ones() as u64,
            (Un::Lzcnt, Width::W32) => (a as u32).leading_zeros() as u64,
            (Un::Lzcnt, Width::W64) => a.leading_zeros() as u64,
            (Un::Tzcnt, Width::W32) => (a as u32).trailing_zeros() as u64,
            (Un::Tzcnt, Width::W64) => a.trailing_zeros() as u64,
        }
    }
}

/// What an evaluated function sees of the world.
pub trait World {
    /// Loads the bytes at an address; `None` is a trap.
    fn load(&mut self, addr: u32, size: Size) -> Option<u64>;
    /// Stores bytes; `None` is a trap.
    fn store(&mut self, addr: u32, size: Size, value: u64) -> Option<()>;
    /// Makes a call; `None` is a trap.
    fn call(&mut self, site: &CallSite, args: &[u64]) -> Option<u64>;
    /// The outside is asked for more fuel, there being less than none; `None` is a trap.
    fn refuel(&mut self, pc: u32) -> Option<i64>;
}

/// How an evaluation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The function returned.
    Returned(u64),
    /// It trapped at an instruction.
    Trapped(u32),
    /// It ran for longer than it was allowed to.
    TooLong,
}

/// Runs a function: the values of the registers at its entry, its fuel, and how many nodes and
/// blocks it may execute.
pub fn evaluate(
    func: &Func,
    entry: [u64; 11],
    fuel: i64,
    mut steps: u64,
    world: &mut dyn World,
) -> (End, i64) {
    let mut run = Run { func, entry, fuel, values: vec![0; func.nodes.len()], world };
    for (index, node) in func.nodes.iter().enumerate() {
        match node.op {
            Op::Const(number) => run.values[index] = number,
            Op::Entry(reg) => run.values[index] = entry[reg.index()],
            _ => {}
        }
    }
    let mut block = BlockId::ENTRY;
    loop {
        let current = &func.blocks[block.index()];
        for &value in &current.nodes {
            if steps == 0 {
                return (End::TooLong, run.fuel);
            }
            steps -= 1;
            match run.node(value) {
                Some(result) => run.values[value.index()] = result,
                None => return (End::Trapped(func.nodes[value.index()].pc), run.fuel),
            }
        }
        if steps == 0 {
            return (End::TooLong, run.fuel);
        }
        steps -= 1;
        let edge = match &current.term {
            Term::Jump(edge) => edge,
            Term::Branch { cond, width, a, b, then, other } => {
                if cond.eval(*width, run.get(*a), run.get(*b)) { then } else { other }
            }
            Term::Return(value) => return (End::Returned(run.get(*value)), run.fuel),
            Term::Unsupported { pc } => return (End::Trapped(pc.index() as u32), run.fuel),
        };
        run.follow(edge);
        block = edge.to;
    }
}

struct Run<'a> {
    func: &'a Func,
    entry: [u64; 11],
    fuel: i64,
    values: Vec<u64>,
    world: &'a mut dyn World,
}

impl Run<'_> {
    fn get(&self, value: Val) -> u64 {
        self.values[value.index()]
    }

    fn follow(&mut self, edge: &Edge) {
        let args: Vec<u64> = edge.args.iter().map(|arg| self.get(*arg)).collect();
        let params = &self.func.blocks[edge.to.index()].params;
        for (param, arg) in params.iter().zip(args) {
            self.values[param.index()] = arg;
        }
    }

    fn address(&self, addr: Val, disp: i32) -> u32 {
        (self.get(addr) as u32).wrapping_add(disp as u32)
    }

    fn node(&mut self, value: Val) -> Option<u64> {
        let node = self.func.nodes[value.index()];
        Some(match node.op {
            Op::Const(number) => number,
            Op::Param => self.get(value),
            Op::Entry(reg) => self.entry[reg.index()],
            // Evaluated functions run on the first.
            Op::Processor(_) => 0,
            Op::Binary(op, width, a, b) => op.eval(width, self.get(a), self.get(b)),
            Op::Unary(op, width, a) => op.eval(width, self.get(a)),
            Op::Select(cond, width, [a, b, then, other]) => {
                let holds = cond.eval(width, self.get(a), self.get(b));
                self.get(if holds { then } else { other })
            }
            Op::Load { size, extend, addr, disp } => {
                let addr = self.address(addr, disp);
                size.extend(extend, self.world.load(addr, size)?)
            }
            Op::LoadAcquire { size, addr, disp } => {
                let addr = self.address(addr, disp);
                size.extend(Extend::Zero, self.world.load(addr, size)?)
            }
            Op::Store { size, addr, disp, value }
            | Op::StoreRelease { size, addr, disp, value } => {
                let addr = self.address(addr, disp);
                self.world.store(addr, size, self.get(value))?;
                0
            }
            Op::Atomic { op, width, addr, disp, src, expected } => {
                let addr = self.address(addr, disp);
                self.atomic(op, width, addr, (src, expected))?
            }
            Op::Call(site) => {
                let site = &self.func.calls[site as usize];
                let args: Vec<u64> = site.args.iter().map(|arg| self.get(*arg)).collect();
                self.world.call(site, &args)?
            }
            Op::Charge(count) => {
                self.fuel -= i64::from(count);
                0
            }
            Op::ChargeBy(amount) => {
                self.fuel -= self.get(amount) as i64;
                0
            }
            Op::Fuel => self.fuel as u64,
            // Evaluated functions are entered by nobody else.
            Op::CheckDepth(_) => 0,
            Op::ChargeAndCheck(count) => {
                self.fuel -= i64::from(count);
                while self.fuel < 0 {
                    self.fuel += self.world.refuel(node.pc)?;
                }
                0
            }
        })
    }

    fn atomic(
        &mut self,
        op: AtomicOp,
        width: Width,
        addr: u32,
        (src, expected): (Val, Val),
    ) -> Option<u64> {
        let size = if width == Width::W64 { Size::Dw } else { Size::W };
        let old = self.world.load(addr, size)?;
        let new = op.eval(width, old, self.get(src), self.get(expected));
        self.world.store(addr, size, new)?;
        Some(old)
    }
}

/// What a register holds at the entry of a function where nothing says otherwise.
#[must_use]
pub const fn undefined_at_entry(reg: Reg) -> bool {
    matches!(reg, Reg::R0 | Reg::R6 | Reg::R7 | Reg::R8 | Reg::R9)
}

/// The position of an instruction as nodes keep it.
#[must_use]
pub const fn position(pc: Pc) -> u32 {
    pc.index() as u32
}
