//! One instruction: what it requires, what it changes, where it goes.

use crate::check::memory::Stored;
use crate::explore::{Step, Walk};
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::value::{Kind, MapRef, Value};
use crate::structure::reserved;
use skep_bpf::insn::{Callee, HelperId, Imm64, Insn, Offset, Reg, Src};

impl Walk<'_> {
    /// Carries out the instruction at `self.at` on the current state.
    pub(crate) fn step(&mut self) -> Check<Step> {
        let insn = match self.code.insns[self.at] {
            Ok(insn) => insn,
            Err(kind) => return reserved::refuse(self.code.slots[self.at], kind),
        };
        match insn {
            Insn::Alu { op, width, dst, src } => self.alu(op, width, dst, src)?,
            Insn::Neg { width, dst } => self.neg(width, dst)?,
            Insn::Movsx { op, dst, src } => self.movsx(op, dst, src)?,
            Insn::Endian { op, bits, dst } => self.swap_bytes(op, bits, dst)?,
            Insn::AddrSpaceCast { .. } => {
                return fault(
                    Rule::Structure,
                    "addr_space_cast insn can only be used in a program that has an associated arena",
                );
            }
            Insn::LoadImm64 { dst, imm } => self.load_imm64(dst, imm)?,
            Insn::Load { size, extend, dst, mem } => self.load_insn(dst, mem, size, extend)?,
            Insn::Store { size, mem, src } => {
                let stored = match src {
                    Src::Reg(reg) => {
                        self.check_readable(reg)?;
                        Stored::Reg(reg)
                    }
                    Src::Imm(imm) => Stored::Imm(imm),
                };
                self.check_readable(mem.base)?;
                self.store_insn(mem, size, stored)?;
            }
            Insn::Atomic { op, width, mem, src } => self.atomic(op, width, mem, src)?,
            Insn::LoadAcquire { size, dst, mem } => self.load_acquire(dst, mem, size)?,
            Insn::StoreRelease { size, mem, src } => self.store_release(mem, size, src)?,
            Insn::LoadPacket { index, .. } => return self.load_packet(index),
            Insn::Jump { target, .. } => {
                self.count_jump();
                return self.goto(target);
            }
            Insn::Branch { cond, width, dst, src, target } => {
                self.count_jump();
                let target = self.target_of(target)?;
                return self.branch(cond, width, dst, src, target);
            }
            Insn::MayGoto { target } => {
                self.count_jump();
                let target = self.target_of(target)?;
                let mut turn = self.state.clone();
                turn.may_goto += 1;
                if let Some(earlier) = self.earlier_turn() {
                    self.widen(earlier, &mut turn);
                }
                self.push(turn, self.at + 1, None)?;
                return Ok(Step::Jump(target));
            }
            Insn::Call { callee } => {
                self.count_jump();
                return self.call(callee);
            }
            Insn::Exit => {
                self.count_jump();
                return self.exit();
            }
        }
        Ok(Step::Next)
    }

    fn goto(&self, target: Offset) -> Check<Step> {
        Ok(Step::Jump(self.target_of(target)?))
    }

    fn target_of(&self, target: Offset) -> Check<usize> {
        match self.code.target(self.at, target) {
            Some(target) => Ok(target),
            None => fault(Rule::Structure, format!("jump out of range from insn {}", self.at)),
        }
    }

    fn call(&mut self, callee: Callee<Offset>) -> Check<Step> {
        let unlocks = |id| id == HelperId::SPIN_UNLOCK;
        if self.state.lock.is_some() {
            let allowed = match callee {
                Callee::Helper(id) => unlocks(id),
                Callee::Local(_) => true,
                Callee::Kfunc { .. } => self.code.is_allowed_under_lock(self.at),
                Callee::Reg(_) => false,
            };
            if !allowed {
                return fault(Rule::Lock, "function calls are not allowed while holding a lock");
            }
        }
        match callee {
            Callee::Helper(id) => {
                self.helper_call(id)?;
                if id == HelperId::TAIL_CALL && self.state.depth() > 0 {
                    return self.return_from_tail_call();
                }
                Ok(Step::Next)
            }
            Callee::Local(target) => {
                let target = self.target_of(target)?;
                self.local_call(target)
            }
            Callee::Kfunc { btf_id, btf_index: 0 } => self.kfunc_call(btf_id),
            Callee::Kfunc { .. } => unsupported("calls of functions of kernel modules"),
            Callee::Reg(_) => fault(Rule::Structure, "BPF_CALL uses reserved fields"),
        }
    }

    fn load_imm64(&mut self, dst: Reg, imm: Imm64<Offset>) -> Check {
        self.check_writable(dst)?;
        let map = |index: u32| {
            // Structural checks found the map; there are at most 64.
            MapRef { index: index as u16, inner: false }
        };
        let value = match imm {
            Imm64::Value(x) => Value::constant(x),
            Imm64::MapByIdx(index) => Value::pointer(Kind::ConstMap(map(index))),
            Imm64::MapValueByIdx { index, offset } => {
                Value { off: offset, ..Value::pointer(Kind::MapValue(map(index))) }
            }
            Imm64::Code(_) if self.input.functions.is_empty() => {
                return fault(Rule::Structure, "missing btf func_info");
            }
            Imm64::Code(target) => self.function_pointer(target)?,
            Imm64::Variable { .. } => return unsupported("kernel variables"),
            Imm64::MapByFd(fd) | Imm64::MapValueByFd { fd, .. } => {
                return fault(Rule::Map, format!("fd {fd} is not pointing to valid bpf_map"));
            }
        };
        self.write(dst, value)
    }
}
