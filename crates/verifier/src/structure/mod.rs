//! What must hold of the code before it is walked: functions, jumps, opcodes, maps, control flow.
//!
//! The checks come in the kernel's order, so that of several faults the same one is reported.
//! Reserved fields and most register numbers are left to the walk, which alone knows whether an
//! instruction is reached.

mod cycles;
pub(crate) mod edges;
mod flow;
mod maps;
pub(crate) mod reserved;

use crate::check::callback::{Callback, callback_of};
use crate::input::Input;
use crate::liveness::{Regs, live_registers};
use crate::rejection::{Check, Rule, fault, unsupported};
use edges::Edges;
use skep_bpf::codec::{DecodeErrorKind, Slot, SlotIndex, decode};
use skep_bpf::insn::{Callee, HelperId, Imm64, Insn, Offset};
use skep_bpf::op::{
    AluOp, CODE_BITS, Cond, Imm64Kind, SIZE_BITS, SOURCE_X, call, class, code, mode,
};
use skep_bpf::platform::kfunc::{IteratorStep, KfuncReturn, KfuncRow};
use skep_bpf::platform::object::{ObjectCall, ObjectRow};
use skep_bpf::platform::typed_kfunc::{KfuncEffect, KfuncFlags, TypedKfuncRow};

/// The largest number of functions in a program.
const MAX_FUNCTIONS: usize = 256;

/// A function: a run of slots.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) entry: usize,
    pub(crate) end: usize,
    pub(crate) has_tail_call: bool,
    pub(crate) has_packet_load: bool,
    /// Its place in the list of functions that are known by their types.
    pub(crate) facts: Option<usize>,
    pub(crate) global: bool,
    /// Whether it, or a function that it calls, may change the packet.
    pub(crate) changes_packet: bool,
    /// Whether it, or a function that it calls, may end the program with an exception.
    pub(crate) throws: bool,
    /// Whether it, or a function that it calls, may sleep; true if that is not known.
    pub(crate) may_sleep: bool,
}

impl Function {
    /// Of some slots in the order of the code, those in the function.
    fn of_its_slots<'a>(&self, slots: &'a [usize]) -> &'a [usize] {
        let begin = |end: usize| slots.partition_point(|at| *at < end);
        &slots[begin(self.entry)..begin(self.end)]
    }
}

/// Code whose structure was checked.
pub(crate) struct Code {
    pub(crate) slots: Vec<Slot>,
    /// By slot; the second half of a wide instruction is whatever it decodes to.
    pub(crate) insns: Vec<Result<Insn<Offset>, DecodeErrorKind>>,
    pub(crate) functions: Vec<Function>,
    /// Where states may be remembered and compared.
    pub(crate) prune_points: Vec<bool>,
    /// Where the history of a path has an entry.
    pub(crate) history_points: Vec<bool>,
    /// Where states are always remembered: loops that end by reaching a known state.
    pub(crate) force_points: Vec<bool>,
    pub(crate) edges: Edges,
    /// By slot, the number of the cycle it is in, 0 if in none.
    pub(crate) cycles: Vec<u32>,
    pub(crate) live: Vec<Regs>,
    /// The kernel functions that calls refer to by number.
    kfuncs: Vec<Option<&'static KfuncRow>>,
    object_kfuncs: Vec<Option<&'static ObjectRow>>,
    typed_kfuncs: Vec<Option<&'static TypedKfuncRow>>,
}

impl Code {
    /// Checks the structure of a program.
    pub(crate) fn new(
        input: &Input<'_>,
    ) -> Result<Code, (Box<crate::rejection::Fault>, Option<usize>)> {
        let mut at = None;
        Self::build(input, &mut at).map_err(|fault| (fault, at))
    }

    fn build(input: &Input<'_>, at: &mut Option<usize>) -> Check<Code> {
        const MAX_SLOTS: usize = 1_000_000;
        let slots = input.bytecode.slots.clone();
        if slots.is_empty() || slots.len() > MAX_SLOTS {
            return fault(
                Rule::Structure,
                format!("a program has 1 to {MAX_SLOTS} instructions, this one {}", slots.len()),
            );
        }
        let functions = find_functions(&slots, input, at)?;
        let len = slots.len();
        let insns = (0..len).map(|i| decode_slot(&slots, i)).collect();
        let names = &input.bytecode.kernel_functions;
        let mut code = Code {
            slots,
            insns,
            functions,
            prune_points: vec![false; len],
            history_points: vec![false; len],
            force_points: vec![false; len],
            edges: Edges::default(),
            cycles: Vec::new(),
            live: Vec::new(),
            kfuncs: names.iter().map(|name| KfuncRow::named(name)).collect(),
            object_kfuncs: names.iter().map(|name| ObjectRow::named(name)).collect(),
            typed_kfuncs: names.iter().map(|name| TypedKfuncRow::named(name)).collect(),
        };
        code.check_functions(input, at)?;
        code.check_opcodes(input, at)?;
        flow::check(&mut code, at)?;
        code.edges = Edges::of(&code);
        let calls = code.calls();
        code.find_packet_changes(&calls);
        code.find_exceptions(&calls);
        let within_loops = code.edges.within_loops();
        code.live = live_registers(&code, within_loops.contains(&true));
        code.cycles = cycles::find(&code, &within_loops);
        Ok(code)
    }

    /// The instruction at a slot, if it is one.
    pub(crate) fn insn(&self, at: usize) -> Option<Insn<Offset>> {
        self.insns.get(at)?.ok()
    }

    /// The kernel function that an instruction calls, if it is a known one.
    pub(crate) fn kfunc(&self, insn: &Insn<Offset>) -> Option<&'static KfuncRow> {
        match insn {
            Insn::Call { callee: Callee::Kfunc { btf_id, btf_index: 0 } } => {
                self.kfuncs.get(usize::try_from(*btf_id).ok()?).copied().flatten()
            }
            _ => None,
        }
    }

    /// Whether an instruction steps an iterator.
    pub(crate) fn is_iterator_step(&self, at: usize) -> bool {
        let Some(insn) = self.insn(at) else { return false };
        let step = match self.typed_kfunc(&insn).map(|row| row.effect) {
            Some(KfuncEffect::Iterator(_, step)) => Some(step),
            _ => self.kfunc(&insn).and_then(|row| row.iterator).map(|iterator| iterator.1),
        };
        step == Some(IteratorStep::Next)
    }

    fn typed_kfunc(&self, insn: &Insn<Offset>) -> Option<&'static TypedKfuncRow> {
        match insn {
            Insn::Call { callee: Callee::Kfunc { btf_id, btf_index: 0 } } => {
                self.typed_kfuncs.get(usize::try_from(*btf_id).ok()?).copied().flatten()
            }
            _ => None,
        }
    }

    /// How many arguments the kernel function takes that an instruction calls, if that is known
    /// without the kernel's types.
    pub(crate) fn kfunc_arguments(&self, insn: &Insn<Offset>) -> Option<usize> {
        if let Some(row) = self.kfunc(insn) {
            return Some(row.params.len());
        }
        match self.typed_kfunc(insn)?.effect {
            KfuncEffect::Iterator(_, IteratorStep::Next | IteratorStep::Destroy)
            | KfuncEffect::InterruptsSave
            | KfuncEffect::InterruptsRestore => Some(1),
            KfuncEffect::RcuLock
            | KfuncEffect::RcuUnlock
            | KfuncEffect::PreemptDisable
            | KfuncEffect::PreemptEnable => Some(0),
            KfuncEffect::None
            | KfuncEffect::Iterator(_, IteratorStep::New)
            | KfuncEffect::KernelContext
            | KfuncEffect::ReadOnlyCast
            | KfuncEffect::WritableResult
            | KfuncEffect::ChangesPacket => None,
        }
    }

    /// Whether an instruction calls a helper that calls a function back before it returns.
    pub(crate) fn calls_back(&self, at: usize) -> bool {
        let Some(Insn::Call { callee: Callee::Helper(id) }) = self.insn(at) else {
            return self.adds_to_tree(at);
        };
        callback_of(id) == Some(Callback::Now)
    }

    /// What a call does to objects of the program, if it calls such a kernel function.
    fn object_call(&self, at: usize) -> Option<ObjectCall> {
        match self.insn(at)? {
            Insn::Call { callee: Callee::Kfunc { btf_id, btf_index: 0 } } => {
                let row = self.object_kfuncs.get(usize::try_from(btf_id).ok()?)?;
                row.map(|row| row.call)
            }
            _ => None,
        }
    }

    /// Whether an instruction puts an object into a tree, which a function of the program orders.
    pub(crate) fn adds_to_tree(&self, at: usize) -> bool {
        self.object_call(at) == Some(ObjectCall::TreeAdd)
    }

    /// Whether a kernel function may be called while a lock is held.
    pub(crate) fn is_allowed_under_lock(&self, at: usize) -> bool {
        let counts = self.insn(at).and_then(|insn| self.kfunc(&insn)).and_then(|row| row.iterator);
        counts.is_some_and(|iterator| iterator.0.name == "num")
            || self.object_call(at).is_some_and(ObjectCall::is_allowed_under_lock)
    }

    /// Where a distance from a slot leads, if that is in the code.
    pub(crate) fn target(&self, at: usize, offset: Offset) -> Option<usize> {
        let target = i64::try_from(at).ok()? + 1 + i64::from(offset.0);
        usize::try_from(target).ok().filter(|target| *target < self.slots.len())
    }

    /// The function that begins at a slot.
    pub(crate) fn function_at(&self, entry: usize) -> Option<usize> {
        self.functions.binary_search_by_key(&entry, |function| function.entry).ok()
    }

    /// No jump leaves its function, and no function runs off its end.
    fn check_functions(&mut self, input: &Input<'_>, at: &mut Option<usize>) -> Check {
        for function in &mut self.functions {
            for i in function.entry..function.end {
                *at = Some(i);
                let slot = self.slots[i];
                check_slot_of_function(function, i, slot)?;
            }
        }
        *at = None;
        for function in self.functions.iter().skip(1) {
            let what = match function {
                Function { has_packet_load: true, .. } => "LD_ABS",
                Function { has_tail_call: true, .. } => "tail_call",
                _ => continue,
            };
            let facts = function.facts.map(|place| &input.functions[place]);
            let sentence = match facts {
                Some(facts) if facts.returns_number => continue,
                Some(_) => format!("{what} is only allowed in functions that return 'int'."),
                None => format!("{what} is not allowed in subprogs without BTF"),
            };
            return fault(Rule::Structure, sentence);
        }
        Ok(())
    }

    /// The slots that call something, or take the address of a function.
    fn calls(&self) -> Vec<usize> {
        let calls = |insn: &Result<Insn<Offset>, DecodeErrorKind>| {
            matches!(insn, Ok(Insn::Call { .. } | Insn::LoadImm64 { imm: Imm64::Code(_), .. }))
        };
        let slots = self.insns.iter().enumerate();
        slots.filter(|(_, insn)| calls(insn)).map(|(at, _)| at).collect()
    }

    /// Which functions may change the packet, by a helper or by a function they call.
    fn find_packet_changes(&mut self, calls: &[usize]) {
        let mut changed = true;
        while changed {
            changed = false;
            for index in 0..self.functions.len() {
                let function = &self.functions[index];
                let Function { changes_packet, may_sleep, .. } = *function;
                let calls = function.of_its_slots(calls);
                if !changes_packet && calls.iter().any(|at| self.may_change_packet(*at)) {
                    self.functions[index].changes_packet = true;
                    changed = true;
                }
                if !may_sleep && calls.iter().any(|at| self.may_sleep(*at)) {
                    self.functions[index].may_sleep = true;
                    changed = true;
                }
            }
        }
    }

    /// Which functions may end the program with an exception.
    fn find_exceptions(&mut self, calls: &[usize]) {
        let mut changed = true;
        while changed {
            changed = false;
            for index in 0..self.functions.len() {
                let function = &self.functions[index];
                let calls = function.of_its_slots(calls);
                if !function.throws && calls.iter().any(|at| self.may_throw(*at)) {
                    self.functions[index].throws = true;
                    changed = true;
                }
            }
        }
    }

    fn may_throw(&self, at: usize) -> bool {
        let Some(insn) = self.insn(at) else { return false };
        let callee = insn.function_target().and_then(|target| self.target(at, *target));
        let callee = callee.and_then(|entry| self.function_at(entry));
        self.is_throw(at) || callee.is_some_and(|callee| self.functions[callee].throws)
    }

    /// Whether an instruction ends the program with an exception.
    pub(crate) fn is_throw(&self, at: usize) -> bool {
        let row = self.insn(at).and_then(|insn| self.kfunc(&insn));
        row.is_some_and(|row| row.returns == KfuncReturn::Never)
    }

    fn may_sleep(&self, at: usize) -> bool {
        match self.insn(at) {
            Some(Insn::Call { callee: Callee::Helper(id) }) => {
                id.row().is_some_and(|row| row.traits.may_sleep)
            }
            Some(
                Insn::Call { callee: Callee::Local(target) }
                | Insn::LoadImm64 { imm: Imm64::Code(target), .. },
            ) => {
                let entry = self.target(at, target);
                let function = entry.and_then(|entry| self.function_at(entry));
                function.is_some_and(|function| self.functions[function].may_sleep)
            }
            Some(Insn::Call { callee: Callee::Kfunc { btf_id, .. } }) => {
                let number = usize::try_from(btf_id).unwrap_or(usize::MAX);
                let is_known = |known: Option<&bool>| known.copied().unwrap_or(false);
                let typed = self.typed_kfuncs.get(number).copied().flatten();
                let plain = self.kfuncs.get(number).map(Option::is_some);
                // What functions that are not known do is not known.
                !is_known(plain.as_ref())
                    && typed.is_none_or(|row| row.flags.contains(KfuncFlags::SLEEPABLE))
            }
            Some(Insn::Call { .. }) => true,
            _ => false,
        }
    }

    fn may_change_packet(&self, at: usize) -> bool {
        match self.insn(at) {
            Some(Insn::Call { callee: Callee::Helper(id) }) => {
                id.row().is_some_and(|row| row.traits.changes_packet)
            }
            Some(Insn::Call { callee: Callee::Local(target) }) => {
                let entry = self.target(at, target);
                let function = entry.and_then(|entry| self.function_at(entry));
                function.is_some_and(|function| self.functions[function].changes_packet)
            }
            Some(Insn::LoadImm64 { imm: Imm64::Code(target), .. }) => {
                let entry = self.target(at, target);
                let function = entry.and_then(|entry| self.function_at(entry));
                function.is_some_and(|function| self.functions[function].changes_packet)
            }
            // What other functions do is not known.
            Some(Insn::Call { .. }) => true,
            _ => false,
        }
    }

    /// Wide instructions are whole and name maps that exist; all other opcodes are known.
    fn check_opcodes(&self, input: &Input<'_>, at: &mut Option<usize>) -> Check {
        let mut maps = maps::UsedMaps::default();
        let mut i = 0;
        while let Some(&slot) = self.slots.get(i) {
            *at = Some(i);
            if slot.class() == class::LDX
                && (!matches!(slot.opcode & mode::BITS, mode::MEM | mode::MEMSX) || slot.imm != 0)
            {
                return fault(Rule::Structure, "BPF_LDX uses reserved fields");
            }
            if slot.is_wide() {
                let second = self.slots.get(i + 1).copied();
                self.check_wide(slot, second, input, &mut maps)?;
                i += 2;
                continue;
            }
            if !is_known_opcode(slot.opcode) {
                return fault(Rule::Structure, format!("unknown opcode {:02x}", slot.opcode));
            }
            i += 1;
        }
        *at = None;
        Ok(())
    }

    fn check_wide(
        &self,
        slot: Slot,
        second: Option<Slot>,
        input: &Input<'_>,
        maps: &mut maps::UsedMaps,
    ) -> Check {
        let blank = |second: &Slot| (second.opcode, second.regs, second.offset) == (0, 0, 0);
        let Some(second) = second.filter(blank) else {
            return fault(Rule::Structure, "invalid bpf_ld_imm64 insn");
        };
        let kind = Imm64Kind::ALL.iter().find(|kind| kind.row().src == slot.src());
        match kind {
            Some(Imm64Kind::Value | Imm64Kind::Code) => Ok(()),
            Some(Imm64Kind::Variable) => unsupported("kernel variables, which need kernel BTF"),
            Some(kind) if kind.row().uses_next_imm || second.imm == 0 => {
                maps.refer(*kind, slot.imm, second.imm, input)
            }
            _ => fault(Rule::Structure, "unrecognized bpf_ld_imm64 insn"),
        }
    }
}

/// Kernel functions must be there even where they are never called, except for the number that
/// stands for one that was not found.
fn check_kfunc_number(slot: Slot, input: &Input<'_>) -> Check {
    let count = input.bytecode.kernel_functions.len();
    let is_named = usize::try_from(slot.imm).is_ok_and(|number| number < count);
    if slot.offset != 0 || !is_named && slot.imm != 0 {
        return unsupported("calls of kernel functions by the numbers of a kernel");
    }
    Ok(())
}

/// What a slot is. The offset of an exit is not looked at.
fn decode_slot(slots: &[Slot], i: usize) -> Result<Insn<Offset>, DecodeErrorKind> {
    let slot = slots[i];
    let is_exit = slot.opcode == class::JMP | code::EXIT;
    let decoded = if is_exit && slot.offset != 0 {
        let plain = Slot::new(slot.opcode, slot.dst(), slot.src(), 0, slot.imm);
        decode(&[plain], SlotIndex(0))
    } else {
        decode(slots, SlotIndex(i))
    };
    decoded.map_err(|error| error.kind)
}

/// The functions, in the order of the code: where calls and function addresses lead.
fn find_functions(
    slots: &[Slot],
    input: &Input<'_>,
    at: &mut Option<usize>,
) -> Check<Vec<Function>> {
    let mut entries = std::collections::BTreeSet::from([0]);
    for (i, slot) in slots.iter().enumerate() {
        let is_address = slot.is_wide() && slot.src() == Imm64Kind::Code.row().src;
        let callee = (slot.opcode == class::JMP | code::CALL).then(|| slot.src());
        *at = Some(i);
        if callee == Some(call::KFUNC) {
            check_kfunc_number(*slot, input)?;
        }
        if !is_address && callee != Some(call::LOCAL) {
            continue;
        }
        let target = i64::try_from(i).unwrap_or(i64::MAX).saturating_add(1 + i64::from(slot.imm));
        match usize::try_from(target).ok().filter(|target| *target < slots.len()) {
            Some(target) => entries.insert(target),
            None => return fault(Rule::Structure, "call to invalid destination"),
        };
        if entries.len() > MAX_FUNCTIONS {
            return fault(Rule::Structure, "too many subprograms");
        }
    }
    *at = None;
    let entries: Vec<usize> = entries.into_iter().collect();
    let ends = entries.iter().skip(1).copied().chain([slots.len()]);
    let function = |(&entry, end)| {
        let facts = input.functions.iter().position(|function| function.entry.0 == entry);
        let is_global = facts.is_some_and(|place| input.functions[place].global);
        Function {
            entry,
            end,
            has_tail_call: false,
            has_packet_load: false,
            facts,
            global: entry != 0 && is_global,
            changes_packet: false,
            throws: false,
            may_sleep: false,
        }
    };
    Ok(entries.iter().zip(ends).map(function).collect())
}

fn check_slot_of_function(function: &mut Function, i: usize, slot: Slot) -> Check {
    let is_jump = matches!(slot.class(), class::JMP | class::JMP32);
    let operation = slot.opcode & CODE_BITS;
    if slot.opcode == class::JMP | code::CALL
        && slot.src() == call::HELPER
        && HelperId(slot.imm as u32) == HelperId::TAIL_CALL
    {
        function.has_tail_call = true;
    }
    if slot.class() == class::LD && matches!(slot.opcode & mode::BITS, mode::ABS | mode::IND) {
        function.has_packet_load = true;
    }
    if is_jump && !matches!(operation, code::EXIT | code::CALL) {
        let is_wide_jump = slot.opcode == class::JMP32 | code::JA;
        let distance = if is_wide_jump { slot.imm } else { i32::from(slot.offset) };
        // Slots are at most a million.
        let target = i as i64 + 1 + i64::from(distance);
        if target < function.entry as i64 || target >= function.end as i64 {
            return fault(Rule::Structure, format!("jump out of range from insn {i} to {target}"));
        }
    }
    let ends = [class::JMP | code::EXIT, class::JMP | code::JA, class::JMP32 | code::JA];
    if i + 1 == function.end && !ends.contains(&slot.opcode) {
        return fault(Rule::Structure, "last insn is not an exit or jmp");
    }
    Ok(())
}

/// Whether an opcode is one of Linux's, whatever the other fields are. Wide loads are not asked.
fn is_known_opcode(opcode: u8) -> bool {
    let operation = opcode & CODE_BITS;
    let is_x = opcode & SOURCE_X != 0;
    let (size, memory_mode) = (opcode & SIZE_BITS, opcode & mode::BITS);
    const DW: u8 = 0x18;
    let opcode_class = opcode & 7;
    match opcode_class {
        class::ALU | class::ALU64 => match operation {
            code::NEG => !is_x,
            code::END => opcode_class == class::ALU || !is_x,
            other => AluOp::ALL.iter().any(|op| op.row().code == other),
        },
        class::JMP | class::JMP32 => match (operation, opcode_class) {
            (code::JA, _) => !is_x,
            (code::CALL | code::EXIT | code::JCOND, jump_class) => {
                jump_class == class::JMP && !is_x
            }
            (other, _) => Cond::ALL.iter().any(|cond| cond.row().code == other),
        },
        class::LD => matches!(memory_mode, mode::ABS | mode::IND) && size != DW,
        class::LDX => memory_mode == mode::MEM || memory_mode == mode::MEMSX && size != DW,
        class::ST => memory_mode == mode::MEM,
        _ => matches!(memory_mode, mode::MEM | mode::ATOMIC),
    }
}
