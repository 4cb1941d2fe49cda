//! Lookups of elements of maps that are known: without the helper, and of arrays without a call.

use skep_bpf::insn::{Extend, HelperId, Reg};
use skep_bpf::op::{Cond, Size, Width};

use super::super::ir::{Bin, CallSite, Op, Target, Un, Val};
use super::Builder;
use crate::flow::RegSet;
use crate::source::{Array, Lookup};

/// Words that were stored to the frame in the block so far and that nothing may have changed
/// since: distances from `r10`, sizes and values. Keys of lookups are found among them.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored(Vec<(i32, Size, Val)>);

impl Stored {
    /// Anything may have changed.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// A word was stored at a distance from `r10`.
    pub(super) fn note(&mut self, disp: i32, size: Size, value: Val) {
        let end = disp + size.bytes() as i32;
        self.0.retain(|(at, size, _)| *at >= end || *at + size.bytes() as i32 <= disp);
        self.0.push((disp, size, value));
    }

    fn get(&self, disp: i32, size: Size) -> Option<Val> {
        let found = self.0.iter().find(|(at, other, _)| (*at, *other) == (disp, size));
        found.map(|(_, _, value)| *value)
    }
}

impl Builder<'_> {
    /// Looks up an element without the helper, if the map is known.
    pub(super) fn lookup(&mut self, id: HelperId) -> bool {
        if id != HelperId::MAP_LOOKUP_ELEM {
            return false;
        }
        let map = self.get(Reg::R1);
        let lookup = self.func.constant(map).and_then(|map| (self.source.lookup)(map));
        let found = match lookup {
            None => return false,
            Some(Lookup::Array(array)) => self.element(array),
            Some(Lookup::Call { address, object }) => {
                let (object, key) = (self.func.make_const(object), self.get(Reg::R2));
                let site = CallSite {
                    target: Target::Lookup(address),
                    regs: RegSet::arguments(2),
                    args: vec![object, key],
                };
                self.func.calls.push(site);
                self.add(Op::Call(self.func.calls.len() as u32 - 1))
            }
        };
        self.after_call(found);
        true
    }

    /// The address of an array's element, or 0.
    fn element(&mut self, array: Array) -> Val {
        let width = Width::W32;
        let key = self.key();
        let stride = self.func.make_const(array.stride.into());
        let mut distance = self.add(Op::Binary(Bin::Mul, width, key, stride));
        if let Some((processors, bytes)) = array.per_cpu {
            let processor = self.add(Op::Processor(processors));
            let bytes = self.func.make_const(bytes.into());
            let part = self.add(Op::Binary(Bin::Mul, width, processor, bytes));
            distance = self.add(Op::Binary(Bin::Add, width, distance, part));
        }
        let start = self.func.make_const(array.start.into());
        let address = self.add(Op::Binary(Bin::Add, width, distance, start));
        let (entries, none) = (self.func.make_const(array.entries.into()), self.func.make_const(0));
        self.add(Op::Select(Cond::Lt, width, [key, entries, address, none]))
    }

    /// The word that `r2` leads to.
    fn key(&mut self) -> Val {
        let addr = self.get(Reg::R2);
        let disp = match self.func.op(addr) {
            _ if addr == self.frame => Some(0),
            Op::Binary(Bin::Add, Width::W64, base, disp) if base == self.frame => {
                self.func.constant(disp).and_then(|disp| i32::try_from(disp as i64).ok())
            }
            _ => None,
        };
        let stored = disp.and_then(|disp| self.stored.get(disp, Size::W));
        match stored {
            Some(value) => self.add(Op::Unary(Un::Zext, Width::W32, value)),
            None => self.add(Op::Load { size: Size::W, extend: Extend::Zero, addr, disp: 0 }),
        }
    }
}
