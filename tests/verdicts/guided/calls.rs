//! Helper calls: any helper of the program type whose arguments are of kinds that can be made
//! here, look-ups, locks and ring buffer records.

use super::Guide;
use super::model::{Holds, SLOTS, value_bytes};
use crate::verdicts::maps::{MAPS, place};
use skep_bpf::insn::{Imm64, Insn, Reg, Src};
use skep_bpf::op::{AluOp, Cond, Size};
use skep_bpf::platform::helper::MemoryUse;
use skep_bpf::platform::{
    ArgKind, HelperId, HelperRow, MapFlags, MapType, OPTIONAL_HELPERS, ProgType, ReturnKind,
    helpers_of,
};

/// Which maps go with helpers that take a map.
fn suits(helper: HelperId, map: MapType) -> bool {
    match map {
        MapType::PROG_ARRAY => helper == HelperId::TAIL_CALL,
        MapType::RINGBUF => helper == HelperId::RINGBUF_OUTPUT || helper == HelperId::RINGBUF_QUERY,
        MapType::QUEUE => {
            [HelperId::MAP_PUSH_ELEM, HelperId::MAP_POP_ELEM, HelperId::MAP_PEEK_ELEM]
                .contains(&helper)
        }
        MapType::PERF_EVENT_ARRAY => {
            [HelperId::PERF_EVENT_OUTPUT, HelperId::PERF_EVENT_READ_VALUE].contains(&helper)
        }
        MapType::PERCPU_ARRAY | MapType::PERCPU_HASH
            if helper == HelperId::MAP_LOOKUP_PERCPU_ELEM =>
        {
            true
        }
        _ => [HelperId::MAP_LOOKUP_ELEM, HelperId::MAP_UPDATE_ELEM, HelperId::MAP_DELETE_ELEM]
            .contains(&helper),
    }
}

/// Whether a helper may change or read a map as it wants to.
fn is_permitted(helper: HelperId, map: usize) -> bool {
    let read_only = MAPS[map].flags.contains(MapFlags::RDONLY_PROG);
    let writes = [HelperId::MAP_UPDATE_ELEM, HelperId::MAP_DELETE_ELEM].contains(&helper);
    !(read_only && writes) && map != place::LOCKED
}

/// Whether arguments and result are of kinds that the model knows.
fn is_known(row: &HelperRow, prog_type: ProgType) -> bool {
    let known = |index| {
        matches!(
            row.arg_kind(index, prog_type),
            Some(
                ArgKind::Unchecked
                    | ArgKind::Anything
                    | ArgKind::Scalar
                    | ArgKind::Context { .. }
                    | ArgKind::ConstMap
                    | ArgKind::MapKey
                    | ArgKind::MapValue { .. }
                    | ArgKind::Memory { .. }
                    | ArgKind::FixedMemory { .. }
                    | ArgKind::Size { .. }
            )
        )
    };
    let returns =
        matches!(row.returns, ReturnKind::Integer | ReturnKind::Void | ReturnKind::MapValue { .. });
    // Not at every place that programs of a type may be attached to.
    row.id != HelperId::GET_FUNC_IP
        && !OPTIONAL_HELPERS.contains(&row.id)
        && !row.traits.acquires
        && !row.traits.may_sleep
        && returns
        && (0..row.params.len()).all(known)
}

impl Guide {
    /// A call of any helper.
    pub(super) fn helper(&mut self) {
        let set = helpers_of(self.prog_type, self.attach_type);
        let rows: Vec<&'static HelperRow> = set
            .iter()
            .filter_map(|id| id.row())
            .filter(|row| is_known(row, self.prog_type))
            .collect();
        if rows.is_empty() {
            return self.arithmetic();
        }
        let row = self.random.of(&rows);
        let moves_packet = row.traits.changes_packet && (self.loops > 0 || self.function > 0);
        let tail_call_below = row.id == HelperId::TAIL_CALL && self.may_have_functions();
        if moves_packet || tail_call_below || row.id == HelperId::MAP_LOOKUP_ELEM {
            return self.lookup();
        }
        let fits = |map: &usize| suits(row.id, MAPS[*map].map_type) && is_permitted(row.id, *map);
        let maps: Vec<usize> = (0..MAPS.len()).filter(fits).collect();
        let takes_map = row.params.iter().any(|param| param.kind == ArgKind::ConstMap);
        if takes_map && maps.is_empty() {
            return self.lookup();
        }
        let map = if maps.is_empty() { 0 } else { self.random.of(&maps) };
        self.call(row, map);
    }

    /// Tail calls in functions need types.
    fn may_have_functions(&self) -> bool {
        self.function > 0
    }

    /// A look-up in any map that has values.
    pub(super) fn lookup(&mut self) {
        let maps = [0, 1, 2, 3, 4, 9, 10, 12];
        let map = self.random.of(&maps);
        if let Some(row) = HelperId::MAP_LOOKUP_ELEM.row() {
            self.call(row, map);
            if self.state.get(Reg::R0).is_pointer() && self.random.one_in(2) {
                let Some(dst) = self.destination_beside(&[Reg::R0]) else { return };
                self.code.copy(dst, Reg::R0);
                self.state.set(dst, self.state.get(Reg::R0));
            }
        }
    }

    /// A call with arguments made for it.
    fn call(&mut self, row: &'static HelperRow, map: usize) {
        let start = self.code.here();
        let before = self.state.clone();
        let mut size = 0;
        for index in 0..row.params.len() {
            let Some(kind) = row.arg_kind(index, self.prog_type) else { continue };
            let reg = Reg::ALL[index + 1];
            if self.reserved.contains(&reg)
                || self.argument(row, kind, reg, map, &mut size).is_none()
            {
                // What was begun has no jumps and can be taken back.
                self.code.insns.truncate(start);
                self.state = before;
                return;
            }
        }
        self.code.helper(row.id);
        self.state.clobber();
        if row.traits.changes_packet {
            self.state.forget_packets();
        }
        let result = match row.returns {
            ReturnKind::Integer => Holds::UNKNOWN,
            ReturnKind::MapValue { .. } => Holds::ValueOrNull { map, id: self.new_id() },
            _ => Holds::Nothing,
        };
        self.state.set(Reg::R0, result);
    }

    /// Makes one argument; nothing that needs what later arguments overwrite.
    fn argument(
        &mut self,
        row: &HelperRow,
        kind: ArgKind,
        reg: Reg,
        map: usize,
        size: &mut i32,
    ) -> Option<()> {
        match kind {
            ArgKind::Unchecked | ArgKind::Anything | ArgKind::Scalar => self.number(reg),
            ArgKind::Context { .. } => {
                let src = self.find(|holds| holds == Holds::Context)?;
                self.code.copy(reg, src);
                self.state.set(reg, Holds::Context);
            }
            ArgKind::ConstMap => {
                self.code.map(reg, map);
                self.state.set(reg, Holds::Opaque);
            }
            ArgKind::MapKey => self.memory(row, reg, MAPS[map].key_bytes as i32, false)?,
            ArgKind::MapValue { uses, .. } => {
                let writes = uses != MemoryUse::Read;
                self.memory(row, reg, value_bytes(map), writes)?;
            }
            ArgKind::Memory { uses, or_null } => {
                *size = 1 + self.random.below(40) as i32;
                if or_null && self.random.one_in(4) {
                    *size = 0;
                    self.code.set(reg, 0);
                    self.state.set(reg, Holds::Scalar { max: 0 });
                } else {
                    self.memory(row, reg, *size, uses != MemoryUse::Read)?;
                }
            }
            ArgKind::FixedMemory { uses, size } => {
                self.memory(row, reg, size as i32, uses != MemoryUse::Read)?;
            }
            ArgKind::Size { or_zero } => self.length(reg, *size, or_zero),
            _ => return None,
        }
        Some(())
    }

    fn number(&mut self, reg: Reg) {
        match self.scalar_register() {
            Some(src) if self.random.one_in(2) => self.code.copy(reg, src),
            _ => {
                let imm = self.random.below(16) as i32;
                self.code.set(reg, imm);
            }
        }
        self.state.set(reg, Holds::UNKNOWN);
    }

    /// The size of the memory before: a constant, or a number that is at most that.
    fn length(&mut self, reg: Reg, size: i32, or_zero: bool) {
        let small = |holds| matches!(holds, Holds::Scalar { max } if max < size as u64);
        match self.find(small) {
            Some(src) if size > 0 && self.random.one_in(2) => {
                self.code.copy(reg, src);
                if !or_zero {
                    self.code.add(reg, 1);
                }
            }
            _ => self.code.set(reg, size),
        }
        self.state.set(reg, Holds::UNKNOWN);
    }

    /// A pointer to memory of a size.
    fn memory(&mut self, row: &HelperRow, reg: Reg, bytes: i32, writes: bool) -> Option<()> {
        let packets = row.traits.packet_access && self.prog_type != ProgType::CGROUP_SKB;
        let fits = |holds| match holds {
            Holds::Value { map, off, spread } => {
                off >= 0
                    && MAPS[map].flags.0 == 0
                    && i64::from(off) + i64::from(spread) + i64::from(bytes)
                        <= i64::from(value_bytes(map))
            }
            _ => false,
        };
        let in_packet = |state: &super::State, holds| match holds {
            Holds::Packet { id, off } => off >= 0 && off + bytes <= state.reach_of(id),
            _ => false,
        };
        let state = self.state.clone();
        let found = self.find(|holds| fits(holds) || (packets && in_packet(&state, holds)));
        if let Some(src) = found
            && !self.random.one_in(3)
        {
            self.code.copy(reg, src);
            self.state.set(reg, self.state.get(src));
            return Some(());
        }
        let slots = (bytes + 7) / 8;
        if slots > SLOTS as i32 {
            return None;
        }
        let off = -8 * (slots + self.random.below(SLOTS + 1 - slots as usize) as i32);
        self.code.copy(reg, Reg::R10);
        self.code.add(reg, off);
        self.state.set(reg, Holds::Stack { up: 0, off });
        if writes {
            self.state.dirty(off, bytes);
        } else if self.random.one_in(2) {
            // Keys that are known constants are looked up differently.
            let imm = self.random.below(6) as i32;
            self.code.store(Size::W, Reg::R10, off as i16, Src::Imm(imm));
            self.state.dirty(off, 4);
        }
        Some(())
    }

    /// A section under a lock.
    pub(super) fn locked(&mut self) {
        const NONE: [ProgType; 3] =
            [ProgType::SOCKET_FILTER, ProgType::TRACEPOINT, ProgType::KPROBE];
        let keeper = Reg::R9;
        if NONE.contains(&self.prog_type) || self.reserved.contains(&keeper) || self.loops > 0 {
            return self.arithmetic();
        }
        let Some(row) = HelperId::MAP_LOOKUP_ELEM.row() else { return };
        self.call(row, place::LOCKED);
        if !self.state.get(Reg::R0).is_pointer() {
            return;
        }
        let absent = self.code.branch(Cond::Eq, Reg::R0, Src::Imm(0));
        self.bails.push(absent);
        self.code.copy(keeper, Reg::R0);
        self.code.copy(Reg::R1, Reg::R0);
        self.code.helper(HelperId::SPIN_LOCK);
        self.state.clobber();
        self.state.set(keeper, Holds::Opaque);
        self.reserved.push(keeper);
        for _ in 0..self.random.below(3) {
            let offset = 4 + 4 * self.random.below(3) as i16;
            if self.random.one_in(2) {
                let src = self.operand();
                self.code.store(Size::W, keeper, offset, src);
            } else {
                let dst = self.destination();
                self.code.load(Size::W, dst, keeper, offset);
                self.state.set(dst, Holds::Scalar { max: u32::MAX.into() });
            }
        }
        self.reserved.pop();
        self.code.copy(Reg::R1, keeper);
        self.code.helper(HelperId::SPIN_UNLOCK);
        self.state.clobber();
    }

    /// A record of the ring buffer, written and given back.
    pub(super) fn ring_record(&mut self) {
        let keeper = Reg::R8;
        if self.reserved.contains(&keeper) {
            return self.arithmetic();
        }
        let bytes = 8 * (1 + self.random.below(4) as i32);
        self.code.map(Reg::R1, place::RING);
        self.code.set(Reg::R2, bytes);
        self.code.set(Reg::R3, 0);
        self.code.helper(HelperId::RINGBUF_RESERVE);
        self.state.clobber();
        let absent = self.code.branch(Cond::Eq, Reg::R0, Src::Imm(0));
        let before = self.state.clone();
        self.code.copy(keeper, Reg::R0);
        self.state.set(keeper, Holds::Opaque);
        self.reserved.push(keeper);
        for _ in 0..self.random.below(3) {
            let size = self.size();
            let last = bytes - size.bytes() as i32;
            let offset = self.random.below(last as usize + 1) as i16;
            let src = self.operand();
            self.code.store(size, keeper, offset, src);
        }
        if self.random.one_in(3) {
            self.arithmetic();
        }
        if self.random.one_in(4) {
            let dst = self.destination();
            self.code.emit(Insn::LoadImm64 { dst, imm: Imm64::Value(1) });
            self.code.alu(AluOp::Add, dst, Src::Imm(1));
            self.state.set(dst, Holds::UNKNOWN);
        }
        self.reserved.pop();
        self.code.copy(Reg::R1, keeper);
        self.code.set(Reg::R2, 0);
        let give_back = if self.random.one_in(2) {
            HelperId::RINGBUF_SUBMIT
        } else {
            HelperId::RINGBUF_DISCARD
        };
        self.code.helper(give_back);
        self.state.clobber();
        self.state.set(keeper, Holds::Nothing);
        self.code.lands(absent);
        self.state.join(&before);
    }
}
