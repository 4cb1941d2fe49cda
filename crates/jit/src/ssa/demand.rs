//! Which bits of a value anybody looks at, and what need not be computed because of that.
//!
//! Addresses look at 32 bits, stores at as many as they store, 32-bit operations at the low half.
//! Where nobody looks at the upper half of a sum, the sum is made with 32 bits: then its upper
//! half is known to be 0, and the address that it is needs no truncation. Masks and extensions
//! whose effect nobody sees disappear.

use skep_bpf::insn::Extend;
use skep_bpf::op::{Cond, Size, Width};

use super::ir::{Bin, BlockId, Func, Op, Term, Un, Val};

const LOW: u64 = u32::MAX as u64;

/// All bits up to the highest one that is set.
const fn up_to(bits: u64) -> u64 {
    if bits == 0 { 0 } else { u64::MAX >> bits.leading_zeros() }
}

const fn of_width(width: Width) -> u64 {
    match width {
        Width::W32 => LOW,
        Width::W64 => u64::MAX,
    }
}

const fn of_size(size: Size) -> u64 {
    u64::MAX >> (64 - 8 * size.bytes())
}

/// The demanded bits of every value, and values whose demand has grown.
struct Demand {
    bits: Vec<u64>,
    queue: Vec<Val>,
}

impl Demand {
    fn add(&mut self, value: Val, bits: u64) {
        let have = &mut self.bits[value.index()];
        if bits & !*have != 0 {
            *have |= bits;
            self.queue.push(value);
        }
    }
}

/// Narrows operations to what is looked at.
pub(crate) fn narrow(func: &mut Func, order: &[BlockId]) {
    let demand = demanded(func, order);
    let mut replaced: Vec<Val> = Vec::new();
    for &id in order {
        for index in 0..func.blocks[id.index()].nodes.len() {
            let value = func.blocks[id.index()].nodes[index];
            let bits = demand[value.index()];
            match narrowed(func, func.op(value), bits) {
                Narrowed::Same => {}
                Narrowed::Op(op) => func.nodes[value.index()].op = op,
                Narrowed::Value(other) => {
                    replaced.extend((replaced.len() as u32..func.nodes.len() as u32).map(Val));
                    replaced[value.index()] = other;
                }
            }
        }
    }
    if !replaced.is_empty() {
        super::cleanup::replace(func, order, &mut replaced);
    }
}

enum Narrowed {
    Same,
    Op(Op),
    Value(Val),
}

fn narrowed(func: &Func, op: Op, bits: u64) -> Narrowed {
    let low = bits & !LOW == 0;
    match op {
        // Only what nobody looks at counts here, not what is known to be 0: the operand may be
        // replaced by something whose other bits differ.
        Op::Binary(Bin::And, width, a, b)
            if func.constant(b).is_some_and(|mask| bits & !(mask & of_width(width)) == 0) =>
        {
            Narrowed::Value(a)
        }
        Op::Binary(Bin::Or | Bin::Xor, _, a, b)
            if func.constant(b).is_some_and(|number| number & bits == 0) && low =>
        {
            Narrowed::Value(a)
        }
        Op::Binary(..) if low => narrow_binary(func, op),
        Op::Unary(Un::Zext | Un::Sext32, _, a) if low => Narrowed::Value(a),
        Op::Unary(Un::Sext16, _, a) if bits & !0xffff == 0 => Narrowed::Value(a),
        Op::Unary(Un::Sext8, _, a) if bits & !0xff == 0 => Narrowed::Value(a),
        Op::Unary(op @ (Un::Neg | Un::Sext8 | Un::Sext16), Width::W64, a) if low => {
            Narrowed::Op(Op::Unary(op, Width::W32, a))
        }
        Op::Load { size: Size::W, extend: Extend::Sign, addr, disp } if low => {
            Narrowed::Op(Op::Load { size: Size::W, extend: Extend::Zero, addr, disp })
        }
        _ => Narrowed::Same,
    }
}

fn narrow_binary(func: &Func, op: Op) -> Narrowed {
    let Op::Binary(bin, Width::W64, a, b) = op else { return Narrowed::Same };
    let narrows = match bin {
        Bin::Add | Bin::Sub | Bin::Mul | Bin::And | Bin::Or | Bin::Xor => true,
        Bin::Lsh => func.constant(b).is_some_and(|amount| amount < 32),
        _ => false,
    };
    if narrows { Narrowed::Op(Op::Binary(bin, Width::W32, a, b)) } else { Narrowed::Same }
}

fn demanded(func: &Func, order: &[BlockId]) -> Vec<u64> {
    let mut demand = Demand { bits: vec![0; func.nodes.len()], queue: Vec::new() };
    // For each parameter, what edges bring.
    let mut brought: Vec<(Val, Val)> = Vec::new();
    for &id in order {
        let block = &func.blocks[id.index()];
        for &value in &block.nodes {
            let op = func.op(value);
            if !op.is_pure() {
                roots(func, &op, &mut demand);
            }
        }
        match block.term {
            Term::Branch { cond, width, a, b, .. } => {
                let mut all = of_width(width);
                if let (Cond::Set, Some(mask)) = (cond, func.constant(b)) {
                    all &= mask;
                }
                demand.add(a, all);
                demand.add(b, of_width(width));
            }
            Term::Return(value) => demand.add(value, u64::MAX),
            Term::Jump(_) | Term::Unsupported { .. } => {}
        }
        for edge in block.term.edges() {
            let params = &func.blocks[edge.to.index()].params;
            brought.extend(params.iter().copied().zip(edge.args.iter().copied()));
        }
    }
    brought.sort_unstable();
    while let Some(value) = demand.queue.pop() {
        let bits = demand.bits[value.index()];
        match func.op(value) {
            Op::Param => {
                let first = brought.partition_point(|(param, _)| *param < value);
                for (_, arg) in brought[first..].iter().take_while(|(param, _)| *param == value) {
                    demand.add(*arg, bits);
                }
            }
            op => operands(func, &op, bits, &mut demand),
        }
    }
    demand.bits
}

/// What nodes with effects look at.
fn roots(func: &Func, op: &Op, demand: &mut Demand) {
    match *op {
        Op::Load { addr, .. } | Op::LoadAcquire { addr, .. } => demand.add(addr, LOW),
        Op::Store { size, addr, value, .. } | Op::StoreRelease { size, addr, value, .. } => {
            demand.add(addr, LOW);
            demand.add(value, of_size(size));
        }
        Op::Atomic { width, addr, src, expected, .. } => {
            demand.add(addr, LOW);
            demand.add(src, of_width(width));
            demand.add(expected, of_width(width));
        }
        _ => func.for_each_use(op, |value| demand.add(value, u64::MAX)),
    }
}

/// What a pure node looks at when some of its bits are looked at.
fn operands(func: &Func, op: &Op, bits: u64, demand: &mut Demand) {
    match *op {
        Op::Binary(bin, width, a, b) => {
            let bits = bits & of_width(width);
            let all = of_width(width);
            let constant = func.constant(b);
            let amount = constant.map(|number| number & u64::from(width.bits() - 1));
            let (left, right) = match (bin, amount) {
                (Bin::Add | Bin::Sub | Bin::Mul, _) => (up_to(bits), up_to(bits)),
                (Bin::And, Some(_)) => (bits & constant.unwrap_or(all), bits),
                (Bin::Or, Some(_)) => (bits & !constant.unwrap_or(0), bits),
                (Bin::And | Bin::Or | Bin::Xor, _) => (bits, bits),
                (Bin::Lsh, Some(amount)) => (bits >> amount, all),
                (Bin::Rsh, Some(amount)) => ((bits << amount) & all, all),
                (Bin::Arsh, Some(amount)) => {
                    let sign = (all >> 1) + 1;
                    (((bits << amount) & all) | sign, all)
                }
                _ => (all, all),
            };
            demand.add(a, left);
            demand.add(b, right);
        }
        Op::Unary(op, width, a) => {
            let all = of_width(width);
            let sign =
                |from: u64| bits & from | if bits & !from == 0 { 0 } else { (from >> 1) + 1 };
            let looked_at = match op {
                Un::Zext => bits & LOW,
                Un::Sext8 => sign(0xff),
                Un::Sext16 => sign(0xffff),
                Un::Sext32 => sign(LOW),
                Un::Neg => up_to(bits) & all,
                Un::Swap16 => 0xffff,
                Un::Swap | Un::Popcnt | Un::Lzcnt | Un::Tzcnt => all,
            };
            demand.add(a, looked_at);
        }
        Op::Select(cond, width, [a, b, then, other]) => {
            let mut all = of_width(width);
            demand.add(b, all);
            if let (Cond::Set, Some(mask)) = (cond, func.constant(b)) {
                all &= mask;
            }
            demand.add(a, all);
            demand.add(then, bits);
            demand.add(other, bits);
        }
        _ => {}
    }
}
