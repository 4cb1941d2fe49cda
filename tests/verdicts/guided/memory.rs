//! Loads, stores and atomics: context, stack, map values, packets.

use super::Guide;
use super::model::{Holds, SLOTS, value_bytes};
use crate::verdicts::maps::{MAPS, place};
use skep_bpf::insn::{Extend, Insn, Mem, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp, Cond, Size, Width};
use skep_bpf::platform::{Access, FieldKind, MapFlags, ProgType, context_for};

impl Guide {
    /// A load from the context, perhaps a part of a field.
    pub(super) fn load_context(&mut self) {
        let Some(base) = self.find(|holds| holds == Holds::Context) else {
            return self.arithmetic();
        };
        let dst = self.destination();
        let size = self.size();
        let Some(access) = context_for(self.prog_type, self.attach_type) else {
            let offset = (8 * self.random.below(8)) as i16;
            self.code.load(size, dst, base, offset);
            self.state.set(dst, Holds::UNKNOWN);
            return;
        };
        let grant = self.random.of(access.fields.grants);
        let field = grant.field;
        let offset = field.offset + self.random.below(field.size() as usize) as u32;
        let size = Size::of_bytes(field.element_size.min(8))
            .filter(|_| self.random.one_in(2))
            .unwrap_or(size);
        let offset = offset - offset % size.bytes();
        let bytes = size.bytes();
        if access.allows(offset, bytes, Access::Write).is_some() && self.random.one_in(4) {
            let src = self.scalar();
            self.code.store(size, base, offset as i16, Src::Reg(src));
            return;
        }
        let Some(field) = access.allows(offset, bytes, Access::Read) else {
            return self.arithmetic();
        };
        let extend = if size != Size::Dw
            && field.kind_of_load(offset, bytes) == FieldKind::Scalar
            && self.random.one_in(12)
        {
            Extend::Sign
        } else {
            Extend::Zero
        };
        let mem = Mem { base, offset: offset as i16 };
        self.code.emit(Insn::Load { size, extend, dst, mem });
        let holds = match field.kind_of_load(offset, bytes) {
            FieldKind::Scalar => Holds::UNKNOWN,
            FieldKind::Packet => Holds::Packet { id: 0, off: 0 },
            FieldKind::PacketEnd => Holds::PacketEnd,
            _ => Holds::Opaque,
        };
        self.state.set(dst, holds);
    }

    /// The offsets that an access through a register may have, as the first and the last.
    fn reachable(&self, holds: Holds, size: Size) -> Option<(i32, i32)> {
        let bytes = size.bytes() as i32;
        let (first, last) = match holds {
            Holds::Value { map, off, spread } => {
                (-off, value_bytes(map) - off - spread as i32 - bytes)
            }
            Holds::Stack { up: 0, off } => (-8 * SLOTS as i32 - off, -off - bytes),
            Holds::Stack { off, .. } => (-8 * SLOTS as i32 - off, -off - bytes),
            Holds::Packet { id, off } => (-off, self.state.reach_of(id) - off - bytes),
            _ => return None,
        };
        (first <= last).then_some((first, last))
    }

    /// A register that an access of a size can go through, and an offset.
    fn place(&mut self, size: Size) -> Option<(Reg, Holds, i32)> {
        let found: Vec<Reg> = Reg::ALL[..10]
            .iter()
            .copied()
            .filter(|reg| self.reachable(self.state.get(*reg), size).is_some())
            .collect();
        let own = Holds::Stack { up: 0, off: 0 };
        let (reg, holds) = if found.is_empty() || self.random.one_in(4) {
            (Reg::R10, own)
        } else {
            let reg = self.random.of(&found);
            (reg, self.state.get(reg))
        };
        let (first, last) = self.reachable(holds, size)?;
        let edge = match self.random.below(6) {
            0 => last,
            1 => first,
            _ => first + self.random.below((last - first + 1) as usize) as i32,
        };
        let mut offset = edge;
        if matches!(holds, Holds::Stack { .. }) {
            let at = match holds {
                Holds::Stack { off, .. } => off,
                _ => 0,
            };
            offset -= (at + offset).rem_euclid(size.bytes() as i32);
        }
        i16::try_from(offset).ok().map(|_| (reg, holds, offset))
    }

    fn may_write(&self, holds: Holds) -> bool {
        match holds {
            Holds::Value { map, .. } => !MAPS[map].flags.contains(MapFlags::RDONLY_PROG),
            Holds::Packet { .. } => self.prog_type != ProgType::CGROUP_SKB,
            _ => true,
        }
    }

    fn may_read(&self, holds: Holds) -> bool {
        match holds {
            Holds::Value { map, .. } => !MAPS[map].flags.contains(MapFlags::WRONLY_PROG),
            _ => true,
        }
    }

    /// A load or store through a pointer, at a fixed offset.
    pub(super) fn access(&mut self) {
        let size = self.size();
        let Some((base, holds, offset)) = self.place(size) else { return self.arithmetic() };
        self.access_at(size, base, holds, offset);
    }

    fn access_at(&mut self, size: Size, base: Reg, holds: Holds, offset: i32) {
        let mem = Mem { base, offset: offset as i16 };
        let at = match holds {
            Holds::Value { off, spread: 0, .. } | Holds::Stack { off, .. } => Some(off + offset),
            _ => None,
        };
        let aligned = at.is_some_and(|at| at.rem_euclid(size.bytes() as i32) == 0);
        if self.may_write(holds) && (!self.may_read(holds) || self.random.one_in(2)) {
            let src = self.operand();
            match src {
                Src::Reg(src) if aligned && self.random.one_in(8) => {
                    self.code.emit(Insn::StoreRelease { size, mem, src });
                }
                _ => {
                    self.code.emit(Insn::Store { size, mem, src });
                }
            }
            if let Holds::Stack { up: 0, off } = holds {
                self.state.dirty(off + offset, size.bytes() as i32);
            }
        } else if self.may_read(holds) {
            // Pointers in slots come back by fills alone.
            if let Holds::Stack { up, off } = holds {
                let slot = ((-(off + offset) - 1) / 8) as usize;
                let readable = matches!(self.state.slots.get(slot), Some(Holds::Scalar { .. }));
                if up > 0 || !readable {
                    return;
                }
            }
            let dst = self.destination();
            let sign = size != Size::Dw && self.random.one_in(3);
            if !sign && aligned && self.random.one_in(8) {
                self.code.emit(Insn::LoadAcquire { size, dst, mem });
            } else {
                let extend = if sign { Extend::Sign } else { Extend::Zero };
                self.code.emit(Insn::Load { size, extend, dst, mem });
            }
            let max = match size {
                _ if sign => u64::MAX,
                Size::B => 0xff,
                Size::H => 0xffff,
                Size::W => u32::MAX.into(),
                Size::Dw => u64::MAX,
            };
            self.state.set(dst, Holds::Scalar { max });
        }
    }

    /// An access to a map's value or the stack at an offset that only the run decides.
    pub(super) fn access_variable(&mut self) {
        let Some(index) = self.scalar_register() else { return self.mask() };
        let max = self.state.max(index);
        let on_stack = self.random.one_in(4) && max < 8 * SLOTS as u64 - 8;
        if on_stack {
            let Some(dst) = self.destination_beside(&[index]) else { return };
            let size = self.size();
            let offset = -((max as i32) + size.bytes() as i32);
            self.code.copy(dst, Reg::R10);
            self.code.alu(AluOp::Add, dst, Src::Reg(index));
            self.state.set(dst, Holds::Nothing);
            if self.random.one_in(2) {
                let src = self.operand();
                self.code.store(size, dst, offset as i16, src);
                self.state.dirty(offset, max as i32 + 8);
            } else if self.state.slots.iter().all(|slot| matches!(slot, Holds::Scalar { .. })) {
                self.code.load(size, dst, dst, offset as i16);
                self.state.set(dst, Holds::UNKNOWN);
            }
            return;
        }
        let base = self.find(|holds| matches!(holds, Holds::Value { .. }));
        let base = match base {
            Some(base) => base,
            None => {
                let Some(base) = self.destination_beside(&[index]) else { return };
                let off = self.random.below(16) as i32;
                self.code.map_value(base, place::ARRAY, off);
                self.state.set(base, Holds::Value { map: place::ARRAY, off, spread: 0 });
                base
            }
        };
        let Holds::Value { map, off, spread } = self.state.get(base) else { return };
        let Ok(added) = u32::try_from(max) else { return self.mask() };
        let spread = spread.saturating_add(added);
        if i64::from(off) + i64::from(spread) + 8 > i64::from(value_bytes(map)) {
            return self.mask();
        }
        let Some(dst) = self.destination_beside(&[index, base]) else { return };
        self.code.copy(dst, base);
        self.code.alu(AluOp::Add, dst, Src::Reg(index));
        let holds = Holds::Value { map, off, spread };
        self.state.set(dst, holds);
        let size = self.size();
        if let Some((_, last)) = self.reachable(holds, size) {
            let offset = self.random.below((last + 1).max(1) as usize) as i32;
            let offset = if self.random.one_in(2) { last } else { offset };
            self.access_at(size, dst, holds, offset);
        }
    }

    /// Makes, copies and moves pointers.
    pub(super) fn pointer_moves(&mut self) {
        let dst = self.destination();
        match self.random.below(4) {
            0 => {
                let off = self.random.below(48) as i32;
                let map = self.random.of(&[place::ARRAY, 9, 10]);
                let off = off.min(value_bytes(map) - 1);
                self.code.map_value(dst, map, off);
                self.state.set(dst, Holds::Value { map, off, spread: 0 });
            }
            1 => {
                let off = -(self.random.below(8 * SLOTS) as i32);
                self.code.copy(dst, Reg::R10);
                self.code.add(dst, off);
                self.state.set(dst, Holds::Stack { up: 0, off });
            }
            2 => {
                if let Some(src) = self.find(Holds::is_pointer) {
                    self.code.copy(dst, src);
                    self.state.set(dst, self.state.get(src));
                }
            }
            _ => {
                let moves = |holds| {
                    matches!(
                        holds,
                        Holds::Value { .. } | Holds::Stack { .. } | Holds::Packet { .. }
                    )
                };
                let Some(reg) = self.find(moves) else { return };
                if self.reserved.contains(&reg) {
                    return;
                }
                let by = self.random.below(24) as i32 - 8;
                self.code.add(reg, by);
                match &mut self.state.regs[reg.index()] {
                    Holds::Value { off, .. }
                    | Holds::Stack { off, .. }
                    | Holds::Packet { off, .. } => {
                        *off += by;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Stores a register of any kind in its own slot.
    pub(super) fn spill(&mut self) {
        let slot = self.random.below(SLOTS);
        let offset = -8 * (slot as i16 + 1);
        let pointer = self.find(Holds::is_pointer);
        match pointer {
            Some(src) if self.random.one_in(2) => {
                self.code.store(Size::Dw, Reg::R10, offset, Src::Reg(src));
                self.state.slots[slot] = self.state.get(src);
            }
            _ => {
                let src = self.scalar();
                let size = self.size();
                let high = if size != Size::Dw && self.random.one_in(4) { size.bytes() } else { 0 };
                self.code.store(size, Reg::R10, offset + high as i16, Src::Reg(src));
                let max = if size == Size::Dw { self.state.max(src) } else { u64::MAX };
                self.state.slots[slot] = Holds::Scalar { max };
            }
        }
    }

    /// Loads a slot.
    pub(super) fn fill(&mut self) {
        let slot = self.random.below(SLOTS);
        let offset = -8 * (slot as i16 + 1);
        let dst = self.destination();
        match self.state.slots[slot] {
            Holds::Nothing => {}
            Holds::Scalar { max } => {
                let size = self.size();
                let at = 8 - size.bytes() as i16;
                let within = if self.random.one_in(3) { at } else { 0 };
                self.code.load(size, dst, Reg::R10, offset + within);
                let max = if size == Size::Dw { max } else { u64::MAX >> (64 - 8 * size.bytes()) };
                self.state.set(dst, Holds::Scalar { max });
            }
            pointer => {
                self.code.load(Size::Dw, dst, Reg::R10, offset);
                self.state.set(dst, pointer);
            }
        }
    }

    /// Loads start and end of the packet and proves some bytes.
    pub(super) fn packet_start(&mut self) {
        let (data, end, size) = match self.prog_type {
            ProgType::XDP => (0, 4, Size::W),
            ProgType::SCHED_CLS | ProgType::CGROUP_SKB => (76, 80, Size::W),
            _ => return self.arithmetic(),
        };
        let Some(base) = self.find(|holds| holds == Holds::Context) else { return };
        let Some(start) = self.destination_beside(&[base]) else { return };
        let Some(stop) = self.destination_beside(&[base, start]) else { return };
        let Some(probe) = self.destination_beside(&[start, stop]) else { return };
        self.code.load(size, start, base, data);
        self.code.load(size, stop, base, end);
        self.state.set(start, Holds::Packet { id: 0, off: 0 });
        self.state.set(stop, Holds::PacketEnd);
        self.prove(start, stop, probe);
    }

    /// Compares a packet pointer with the end.
    fn prove(&mut self, start: Reg, stop: Reg, probe: Reg) {
        let Holds::Packet { id, off } = self.state.get(start) else { return };
        let bytes = 1 + self.random.below(40) as i32;
        self.code.copy(probe, start);
        self.code.add(probe, bytes);
        self.state.set(probe, Holds::Packet { id, off: off + bytes });
        let to = off + bytes;
        let (cond, left, right, to) = match self.random.below(4) {
            0 => (Cond::Lt, stop, probe, to),
            1 => (Cond::Ge, probe, stop, to + 1),
            2 => (Cond::Le, stop, probe, to + 1),
            _ => (Cond::Gt, probe, stop, to),
        };
        if self.random.one_in(4) {
            // The other way round: the branch is taken if the bytes exist.
            let inverse = match cond {
                Cond::Lt => Cond::Ge,
                Cond::Ge => Cond::Lt,
                Cond::Le => Cond::Gt,
                _ => Cond::Le,
            };
            let branch = self.code.branch(inverse, left, Src::Reg(right));
            let bail = self.code.jump();
            self.bails.push(bail);
            self.code.lands(branch);
        } else {
            let bail = self.code.branch(cond, left, Src::Reg(right));
            self.bails.push(bail);
        }
        self.state.extend_reach(id, to);
    }

    /// A packet pointer plus a number, proved anew.
    pub(super) fn packet_variable(&mut self) {
        let Some(packet) = self.find(|holds| matches!(holds, Holds::Packet { .. })) else {
            return self.packet_start();
        };
        let Some(stop) = self.find(|holds| holds == Holds::PacketEnd) else { return };
        let Some(index) = self.find(|holds| matches!(holds, Holds::Scalar { max } if max < 0x7fff))
        else {
            return self.mask();
        };
        let Some(dst) = self.destination_beside(&[packet, stop, index]) else { return };
        let Some(probe) = self.destination_beside(&[packet, stop, dst]) else { return };
        let Holds::Packet { off, .. } = self.state.get(packet) else { return };
        self.code.copy(dst, packet);
        self.code.alu(AluOp::Add, dst, Src::Reg(index));
        let id = self.new_id();
        self.state.set(dst, Holds::Packet { id, off });
        self.prove(dst, stop, probe);
    }

    /// An atomic operation on stack or map value.
    pub(super) fn atomic(&mut self) {
        let width = self.random.of(Width::ALL);
        let size = if width == Width::W32 { Size::W } else { Size::Dw };
        let Some((base, holds, offset)) = self.place(size) else { return };
        let at = match holds {
            Holds::Value { off, spread: 0, .. } => off,
            Holds::Stack { up: 0, off } => off,
            _ => return,
        };
        let offset = offset - (at + offset).rem_euclid(size.bytes() as i32);
        if at + offset < 0 && !matches!(holds, Holds::Stack { .. }) {
            return;
        }
        if !self.may_read(holds) || !self.may_write(holds) {
            return;
        }
        let op = self.random.of(AtomicOp::ALL);
        let src = self.changeable_scalar();
        if matches!(holds, Holds::Stack { .. }) {
            let slot = ((-(at + offset) - 1) / 8) as usize;
            if !matches!(self.state.slots.get(slot), Some(Holds::Scalar { .. })) {
                return;
            }
            self.state.dirty(at + offset, size.bytes() as i32);
        }
        if op == AtomicOp::Cmpxchg && !matches!(self.state.get(Reg::R0), Holds::Scalar { .. }) {
            self.code.set(Reg::R0, 0);
        }
        if op == AtomicOp::Cmpxchg {
            self.state.set(Reg::R0, Holds::UNKNOWN);
            if base == Reg::R0 {
                return;
            }
        }
        self.code.emit(Insn::Atomic { op, width, mem: Mem { base, offset: offset as i16 }, src });
        if op.row().fetch && op != AtomicOp::Cmpxchg {
            self.state.set(src, Holds::UNKNOWN);
        }
    }

    /// Finds out whether a look-up gave a value.
    pub(super) fn check_null(&mut self) {
        let Some(reg) = self.find(|holds| matches!(holds, Holds::ValueOrNull { .. })) else {
            return self.lookup();
        };
        let Holds::ValueOrNull { map, id } = self.state.get(reg) else { return };
        if self.random.one_in(3) {
            let branch = self.code.branch(Cond::Ne, reg, Src::Imm(0));
            let bail = self.code.jump();
            self.bails.push(bail);
            self.code.lands(branch);
        } else {
            let bail = self.code.branch(Cond::Eq, reg, Src::Imm(0));
            self.bails.push(bail);
        }
        for holds in self.state.values_mut() {
            if matches!(holds, Holds::ValueOrNull { id: other, .. } if *other == id) {
                *holds = Holds::Value { map, off: 0, spread: 0 };
            }
        }
    }
}
