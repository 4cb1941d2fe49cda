//! From instructions to [`Func`]: one pass over the blocks in reverse postorder.
//!
//! Registers and stack slots are variables. The values that variables have at the end of each
//! block are kept; a block with one predecessor starts with its values, another has a parameter
//! for each variable that is live and for which its predecessors disagree, or may disagree
//! because one of them comes later. `cleanup` removes the parameters that were not needed after
//! all. Fuel is paid as `payment` says.

mod callback;

mod lookup;

mod stack;

mod ways;

use skep_bpf::insn::{Extend, Imm64, Insn, Mem, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp, Endian, Movsx, Size, SwapBits, Width};
use skep_bpf::program::Pc;

use super::eval::undefined_at_entry;
use super::ir::{Bin, Block, BlockId, Edge, Func, Op, Term, Un, Val};
use super::payment::Debts;
use super::slots::{self, Slot};
use crate::abi::MAY_GOTO_LIMIT;
use crate::flow::{self, Flow};
use crate::source::Source;

/// The variable that counts what is left of `may_goto`'s budget; `r10` never changes.
const MAY_GOTO: usize = 10;
/// The first stack slot's variable.
const SLOTS: usize = 11;

/// No value: of variables that nothing reads.
const NONE: Val = Val(u32::MAX);

/// Makes the SSA form of a function.
#[must_use]
pub(crate) fn build(source: &Source<'_>, flow: &Flow, function: usize, promote: bool) -> Func {
    let slots = if promote { stack::slots_of(source, flow, function) } else { Vec::new() };
    Builder::new(source, flow, function, slots).build()
}

struct Builder<'a> {
    source: &'a Source<'a>,
    flow: &'a Flow,
    /// The function's blocks in `flow`.
    first: usize,
    count: usize,
    function: usize,
    slots: Vec<Slot>,
    live_slots: Vec<u128>,
    debts: Debts,
    func: Func,
    /// For each block of `flow`, the values of variables at its end.
    ends: Vec<Val>,
    variables: usize,
    /// For each block of `flow`, the variables that its parameters stand for.
    params: Vec<Vec<u8>>,
    /// For each block of the result, the block of `flow` whose end it is.
    origin: Vec<usize>,
    /// The values of the variables where the builder is.
    now: Vec<Val>,
    /// The block that the builder adds to.
    block: usize,
    /// The instruction that the builder is at.
    pc: u32,
    frame: Val,
    /// What the block stored to the frame so far.
    stored: lookup::Stored,
}

/// No block of `flow`.
const NOWHERE: usize = usize::MAX;

fn empty_block(pc: u32) -> Block {
    Block {
        params: Vec::new(),
        nodes: Vec::new(),
        term: Term::Unsupported { pc: Pc::from_index(pc as usize) },
        pc,
    }
}

const fn edge(to: BlockId) -> Edge {
    Edge { to, args: Vec::new() }
}

impl<'a> Builder<'a> {
    fn new(source: &'a Source<'a>, flow: &'a Flow, function: usize, slots: Vec<Slot>) -> Self {
        let (first, after) = flow.functions[function].blocks;
        let (first, count) = (first as usize, (after - first) as usize);
        let live_slots = stack::live_slots(source, flow, function, &slots);
        let variables = SLOTS + slots.len();
        let mut func = Func::default();
        let entry_pc = flow.functions[function].entry;
        func.blocks.push(empty_block(entry_pc));
        for block in &flow.blocks[first..first + count] {
            func.blocks.push(empty_block(block.start));
        }
        let origin = std::iter::once(NOWHERE).chain(first..first + count).collect();
        let frame = func.make(Op::Entry(Reg::R10), entry_pc);
        Builder {
            source,
            flow,
            first,
            count,
            function,
            slots,
            live_slots,
            debts: Debts::new(source, flow, function),
            func,
            ends: vec![NONE; count * variables],
            variables,
            params: vec![Vec::new(); count],
            origin,
            now: vec![NONE; variables],
            block: 0,
            pc: entry_pc,
            frame,
            stored: lookup::Stored::default(),
        }
    }

    fn build(mut self) -> Func {
        let order = self.order();
        let mut position = vec![usize::MAX; self.count];
        for (index, block) in order.iter().enumerate() {
            position[block - self.first] = index;
        }
        let predecessors = self.predecessors(&order);
        let at_entry = self.start();
        for &block in &order {
            let earlier =
                |other: &usize| position[other - self.first] < position[block - self.first];
            let mut before: Vec<&[Val]> = Vec::new();
            let mut all_known = true;
            if block == self.first {
                before.push(&at_entry);
            }
            for predecessor in &predecessors[block - self.first] {
                if earlier(predecessor) {
                    let from = (predecessor - self.first) * self.variables;
                    before.push(&self.ends[from..from + self.variables]);
                } else {
                    all_known = false;
                }
            }
            let now = self.values_at_start(block, &before, all_known);
            self.now = now;
            self.block = block - self.first + 1;
            self.instructions(block);
            let from = (block - self.first) * self.variables;
            self.ends[from..from + self.variables].copy_from_slice(&self.now);
        }
        self.connect(&at_entry);
        self.func
    }

    /// The successors that the proof leaves.
    fn successors(&self, block: usize) -> [Option<usize>; 2] {
        let (jump, next) = self.flow.successors(block);
        let reached = |block: &usize| self.flow.blocks[*block].is_reached;
        let (live_jump, live_next) = (jump.filter(reached), next.filter(reached));
        // A proof that leaves no way out would be wrong; all stay then.
        if live_jump.is_none() && live_next.is_none() {
            return [jump, next];
        }
        [live_jump, live_next]
    }

    /// The blocks in reverse postorder, those of a branch that falls through behind those of its
    /// jump, so that what follows comes later.
    fn order(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.count);
        let mut seen = vec![false; self.count];
        let mut path = vec![(self.first, 0)];
        seen[0] = true;
        while let Some((block, followed)) = path.last_mut() {
            let successors = self.successors(*block);
            *followed += 1;
            match successors.get(*followed - 1) {
                Some(Some(next)) if !seen[next - self.first] => {
                    seen[next - self.first] = true;
                    path.push((*next, 0));
                }
                Some(_) => {}
                None => {
                    order.push(*block);
                    path.pop();
                }
            }
        }
        order.reverse();
        order
    }

    fn predecessors(&self, order: &[usize]) -> Vec<Vec<usize>> {
        let mut predecessors = vec![Vec::new(); self.count];
        for &block in order {
            for next in self.successors(block).into_iter().flatten() {
                predecessors[next - self.first].push(block);
            }
        }
        predecessors
    }

    /// The values of the variables at the entry.
    fn start(&mut self) -> Vec<Val> {
        let zero = self.func.make_const(0);
        let mut values = vec![zero; self.variables];
        let live = self.flow.functions[self.function].live_in;
        for reg in live.iter().filter(|reg| *reg != Reg::R10 && !undefined_at_entry(*reg)) {
            values[reg.index()] = self.add(Op::Entry(reg));
        }
        if self.flow.functions[self.function].may_goto {
            values[MAY_GOTO] = self.func.make_const(MAY_GOTO_LIMIT.into());
        }
        let live = self.live_slots[0];
        for index in 0..self.slots.len() {
            if live & (1 << index) != 0 {
                values[SLOTS + index] = self.load_slot(self.slots[index]);
            }
        }
        self.func.blocks[0].term = Term::Jump(edge(BlockId(1)));
        values
    }

    /// The bytes of a slot that are in memory when the function starts.
    fn load_slot(&mut self, slot: Slot) -> Val {
        let mut value = self.func.make_const(0);
        let mut done = 0;
        while done < slot.bytes {
            // The largest power of two that fits.
            let bytes = 1 << (slot.bytes - done).ilog2();
            let size = Size::of_bytes(bytes).unwrap_or(Size::B);
            let disp = slot.start + done as i32;
            let part = self.add(Op::Load { size, extend: Extend::Zero, addr: self.frame, disp });
            value = self.with_part(value, part, done);
            done += bytes;
        }
        value
    }

    /// Sets bytes of a value that are 0.
    fn with_part(&mut self, value: Val, part: Val, at: u32) -> Val {
        if at == 0 {
            return part;
        }
        let amount = self.func.make_const((8 * at).into());
        let shifted = self.add(Op::Binary(Bin::Lsh, Width::W64, part, amount));
        self.add(Op::Binary(Bin::Or, Width::W64, value, shifted))
    }

    fn is_live(&self, block: usize, variable: usize) -> bool {
        match variable {
            MAY_GOTO => self.flow.functions[self.function].may_goto,
            slot if slot >= SLOTS => {
                self.live_slots[block - self.first] & (1 << (slot - SLOTS)) != 0
            }
            reg => self.flow.blocks[block].live_in.has(Reg::ALL[reg]),
        }
    }

    fn values_at_start(&self, block: usize, before: &[&[Val]], all_known: bool) -> Vec<Val> {
        if let ([only], true) = (before, all_known) {
            return only.to_vec();
        }
        // Parameters are made afterwards, since `before` borrows; they are marked here.
        (0..self.variables)
            .map(|variable| {
                let first = before.first().map_or(NONE, |values| values[variable]);
                let agree = before.iter().all(|values| values[variable] == first);
                if !self.is_live(block, variable) || (all_known && agree) { first } else { NONE }
            })
            .collect()
    }

    fn add(&mut self, op: Op) -> Val {
        if let Op::Const(number) = op {
            return self.func.make_const(number);
        }
        let value = self.func.make(op, self.pc);
        self.func.blocks[self.block].nodes.push(value);
        value
    }

    fn get(&mut self, reg: Reg) -> Val {
        if reg == Reg::R10 {
            return self.frame;
        }
        let value = self.now[reg.index()];
        // Only registers that no path reads are without a value.
        if value == NONE { self.func.make_const(0) } else { value }
    }

    fn set(&mut self, reg: Reg, value: Val) {
        self.now[reg.index()] = value;
    }

    fn operand(&mut self, src: Src) -> Val {
        match src {
            Src::Imm(imm) => self.func.make_const(i64::from(imm) as u64),
            Src::Reg(reg) => self.get(reg),
        }
    }

    fn new_block(&mut self, origin: usize) -> BlockId {
        self.func.blocks.push(empty_block(self.pc));
        self.origin.push(origin);
        BlockId(self.func.blocks.len() as u32 - 1)
    }

    fn block_of(&self, block: usize) -> BlockId {
        BlockId((block - self.first + 1) as u32)
    }

    fn finish(&mut self, term: Term) {
        self.func.blocks[self.block].term = term;
    }

    fn charge(&mut self, count: i32) {
        if count != 0 {
            self.add(Op::Charge(count));
        }
    }

    /// The instructions of a block and the edges that leave it.
    fn instructions(&mut self, block: usize) {
        self.make_params(block);
        self.stored.forget();
        let range = self.flow.blocks[block].range();
        let mut debt = self.debts.at_start(block);
        for index in range {
            self.pc = index as u32;
            let insn = self.source.insns[index];
            debt += 1;
            match insn {
                Insn::Call { callee } => {
                    if !self.call(index, callee, debt) {
                        return;
                    }
                    if flow::pays(&insn) {
                        debt = 0;
                    }
                }
                Insn::LoadPacket { size, index, imm } => {
                    self.load_packet((size.size(), index, imm), debt);
                }
                Insn::AddrSpaceCast { .. } => {
                    self.finish(Term::Unsupported { pc: Pc::from_index(self.pc as usize) });
                    return;
                }
                Insn::Jump { .. } | Insn::Branch { .. } | Insn::MayGoto { .. } | Insn::Exit => {}
                insn => self.straight(insn),
            }
        }
        self.leave(block);
    }

    /// Gives a value to the variables whose value at the start was left open.
    fn make_params(&mut self, block: usize) {
        for variable in 0..self.variables {
            if self.now[variable] == NONE && self.is_live(block, variable) {
                let param = self.func.make(Op::Param, self.flow.blocks[block].start);
                self.func.blocks[self.block].params.push(param);
                self.params[block - self.first].push(variable as u8);
                self.now[variable] = param;
            }
        }
    }

    fn straight(&mut self, insn: Insn<Pc>) {
        match insn {
            Insn::Alu { op, width, dst, src } => {
                let src = self.operand(src);
                let value = self.alu(op, width, dst, src);
                self.set(dst, value);
            }
            Insn::Neg { width, dst } => self.unary(Un::Neg, width, dst, dst),
            Insn::Movsx { op, dst, src } => {
                let width = op.row().width;
                let un = match op {
                    Movsx::W32From8 | Movsx::W64From8 => Un::Sext8,
                    Movsx::W32From16 | Movsx::W64From16 => Un::Sext16,
                    Movsx::W64From32 => Un::Sext32,
                };
                self.unary(un, width, dst, src);
            }
            Insn::Endian { op, bits, dst } => self.endian(op, bits, dst),
            Insn::LoadImm64 { dst, imm } => {
                // References were resolved to numbers.
                let number = if let Imm64::Value(number) = imm { number } else { 0 };
                let value = self.func.make_const(number);
                self.set(dst, value);
            }
            Insn::Load { size, extend, dst, mem } => {
                let value = self.load(size, extend, mem);
                self.set(dst, value);
            }
            Insn::Store { size, mem, src } => {
                let value = self.operand(src);
                self.store(size, mem, value);
            }
            Insn::LoadAcquire { size, dst, mem } => {
                let addr = self.get(mem.base);
                let value = self.add(Op::LoadAcquire { size, addr, disp: mem.offset.into() });
                self.set(dst, value);
            }
            Insn::StoreRelease { size, mem, src } => {
                let (addr, value) = (self.get(mem.base), self.get(src));
                self.stored.forget();
                self.add(Op::StoreRelease { size, addr, disp: mem.offset.into(), value });
            }
            Insn::Atomic { op, width, mem, src } => self.atomic(op, width, mem, src),
            Insn::AddrSpaceCast { .. }
            | Insn::LoadPacket { .. }
            | Insn::Jump { .. }
            | Insn::Branch { .. }
            | Insn::MayGoto { .. }
            | Insn::Call { .. }
            | Insn::Exit => {}
        }
    }

    fn alu(&mut self, op: AluOp, width: Width, dst: Reg, src: Val) -> Val {
        let bin = match op {
            AluOp::Mov if width == Width::W64 => return src,
            AluOp::Mov => return self.add(Op::Unary(Un::Zext, Width::W32, src)),
            AluOp::Add => Bin::Add,
            AluOp::Sub => Bin::Sub,
            AluOp::Mul => Bin::Mul,
            AluOp::Div => Bin::Div,
            AluOp::Sdiv => Bin::Sdiv,
            AluOp::Or => Bin::Or,
            AluOp::And => Bin::And,
            AluOp::Lsh => Bin::Lsh,
            AluOp::Rsh => Bin::Rsh,
            AluOp::Mod => Bin::Mod,
            AluOp::Smod => Bin::Smod,
            AluOp::Xor => Bin::Xor,
            AluOp::Arsh => Bin::Arsh,
        };
        let dst = self.get(dst);
        self.add(Op::Binary(bin, width, dst, src))
    }

    fn unary(&mut self, op: Un, width: Width, dst: Reg, src: Reg) {
        let src = self.get(src);
        let value = self.add(Op::Unary(op, width, src));
        self.set(dst, value);
    }

    fn endian(&mut self, op: Endian, bits: SwapBits, dst: Reg) {
        match (op, bits) {
            (Endian::Le, SwapBits::B64) => {}
            (Endian::Le, SwapBits::B32) => self.unary(Un::Zext, Width::W32, dst, dst),
            (Endian::Le, SwapBits::B16) => {
                let value = self.get(dst);
                let value = self.masked(value, 2);
                self.set(dst, value);
            }
            (Endian::Be | Endian::Bswap, SwapBits::B16) => {
                self.unary(Un::Swap16, Width::W32, dst, dst);
            }
            (Endian::Be | Endian::Bswap, SwapBits::B32) => {
                self.unary(Un::Swap, Width::W32, dst, dst);
            }
            (Endian::Be | Endian::Bswap, SwapBits::B64) => {
                self.unary(Un::Swap, Width::W64, dst, dst);
            }
        }
    }

    /// The low bytes of a value.
    fn masked(&mut self, value: Val, bytes: u32) -> Val {
        match bytes {
            1 | 2 => {
                let mask = self.func.make_const((1 << (8 * bytes)) - 1);
                self.add(Op::Binary(Bin::And, Width::W32, value, mask))
            }
            4 => self.add(Op::Unary(Un::Zext, Width::W32, value)),
            3 | 5..8 => {
                let mask = self.func.make_const((1 << (8 * bytes)) - 1);
                self.add(Op::Binary(Bin::And, Width::W64, value, mask))
            }
            _ => value,
        }
    }

    fn load(&mut self, size: Size, extend: Extend, mem: Mem) -> Val {
        let bytes = size.bytes();
        let slot = if mem.base == Reg::R10 {
            slots::slot_of(&self.slots, mem.offset, bytes)
        } else {
            None
        };
        let Some((slot, at)) = slot else {
            let addr = self.get(mem.base);
            return self.add(Op::Load { size, extend, addr, disp: mem.offset.into() });
        };
        let mut value = self.now[SLOTS + slot];
        if at != 0 {
            let amount = self.func.make_const((8 * at).into());
            value = self.add(Op::Binary(Bin::Rsh, Width::W64, value, amount));
        }
        match (extend, size) {
            (Extend::Sign, Size::B) => self.add(Op::Unary(Un::Sext8, Width::W64, value)),
            (Extend::Sign, Size::H) => self.add(Op::Unary(Un::Sext16, Width::W64, value)),
            (Extend::Sign, Size::W) => self.add(Op::Unary(Un::Sext32, Width::W64, value)),
            // Bits above a slot's bytes are 0.
            _ if at + bytes == self.slots[slot].bytes => value,
            _ => self.masked(value, bytes),
        }
    }

    fn store(&mut self, size: Size, mem: Mem, value: Val) {
        let bytes = size.bytes();
        let slot = if mem.base == Reg::R10 {
            slots::slot_of(&self.slots, mem.offset, bytes)
        } else {
            None
        };
        let Some((slot, at)) = slot else {
            let addr = self.get(mem.base);
            self.add(Op::Store { size, addr, disp: mem.offset.into(), value });
            if mem.base == Reg::R10 {
                self.stored.note(mem.offset.into(), size, value);
            } else {
                self.stored.forget();
            }
            return;
        };
        let part = self.masked(value, bytes);
        let new = if bytes == self.slots[slot].bytes {
            part
        } else {
            let hole = !(((1_u64 << (8 * bytes)) - 1) << (8 * at));
            let hole = self.func.make_const(hole);
            let old = self.now[SLOTS + slot];
            let old = if old == NONE { self.func.make_const(0) } else { old };
            let old = self.add(Op::Binary(Bin::And, Width::W64, old, hole));
            if at == 0 {
                self.add(Op::Binary(Bin::Or, Width::W64, old, part))
            } else {
                self.with_part(old, part, at)
            }
        };
        self.now[SLOTS + slot] = new;
    }

    fn atomic(&mut self, op: AtomicOp, width: Width, mem: Mem, src: Reg) {
        let compares = matches!(op, AtomicOp::Cmpxchg);
        self.stored.forget();
        let (addr, operand) = (self.get(mem.base), self.get(src));
        let expected = if compares { self.get(Reg::R0) } else { operand };
        let disp = mem.offset.into();
        let old = self.add(Op::Atomic { op, width, addr, disp, src: operand, expected });
        if compares {
            self.set(Reg::R0, old);
        } else if op.row().fetch {
            self.set(src, old);
        }
    }

    /// Gives every edge to a block of `flow` the values of its parameters.
    fn connect(&mut self, at_entry: &[Val]) {
        let zero = self.func.make_const(0);
        for (index, block) in self.func.blocks.iter_mut().enumerate() {
            let origin = self.origin[index];
            for edge in block.term.edges_mut() {
                let to = edge.to.index();
                if to == 0 || to > self.count {
                    continue;
                }
                let params = &self.params[to - 1];
                if params.is_empty() {
                    continue;
                }
                let values = match origin.checked_sub(self.first) {
                    Some(from) if origin != NOWHERE => {
                        &self.ends[from * self.variables..(from + 1) * self.variables]
                    }
                    _ => at_entry,
                };
                // Blocks that nothing leads to have no values; they are removed.
                edge.args = params
                    .iter()
                    .map(|variable| values[usize::from(*variable)])
                    .map(|value| if value == NONE { zero } else { value })
                    .collect();
            }
        }
    }
}
