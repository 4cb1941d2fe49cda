//! The native frame of a function: from its lowest word up the state pointer, the fuel during
//! calls and spilled values, and above them the preserved registers.

use regalloc2::{Allocation, Edit, Output};

use super::super::inst::{Flags, Inst};
use super::super::select::Machine;
use crate::x64::asm::{Gpr, Mem};
use crate::x64::regs::PRESERVED;

/// Where things are in the native frame, in bytes from its lowest word.
#[derive(Clone, Debug, Default)]
pub(in crate::x64::tier2) struct Frame {
    /// The preserved registers that are pushed.
    pub(super) saved: Vec<Gpr>,
    /// The size without those and the return address.
    pub(super) bytes: i32,
    pub(super) fuel: i32,
    pub(super) spills: i32,
}

impl Frame {
    pub(in crate::x64::tier2) fn fuel(&self) -> Mem {
        Mem::at(Gpr::Rsp, self.fuel)
    }

    pub(super) fn new(machine: &Machine, output: &Output, metered: bool) -> Frame {
        let mut used = [false; 16];
        let mut see = |allocation: &Allocation| {
            if let Some(reg) = allocation.as_reg() {
                used[reg.hw_enc() & 15] = true;
            }
        };
        output.allocs.iter().for_each(&mut see);
        for (_, Edit::Move { from, to }) in &output.edits {
            see(from);
            see(to);
        }
        let preserved = PRESERVED.into_iter().chain([Gpr::Rbp]);
        let saved: Vec<Gpr> = preserved.filter(|reg| used[usize::from(reg.number())]).collect();
        let (mut calls, mut needs_state) = (false, false);
        for chosen in &machine.insts {
            calls |= matches!(chosen.inst, Inst::Call(_));
            needs_state |= needs_frame(&chosen.inst);
        }
        let mut frame = Frame { saved, ..Frame::default() };
        let mut bytes = if needs_state || output.num_spillslots > 0 { 8 } else { 0 };
        if metered && calls {
            frame.fuel = bytes;
            bytes += 8;
        }
        frame.spills = bytes;
        bytes += 8 * output.num_spillslots as i32;
        // The return address and the saved registers lie above; C wants multiples of 16.
        let above = 8 + 8 * frame.saved.len() as i32;
        frame.bytes = if bytes == 0 { 0 } else { bytes + (bytes + above) % 16 };
        frame
    }
}

/// Whether an instruction may need the state pointer.
fn needs_frame(inst: &Inst) -> bool {
    match inst {
        Inst::Args | Inst::Imm(_) | Inst::FrameAddress(_) | Inst::Zext | Inst::Add(_) => false,
        Inst::AddImm(..) | Inst::Lea(..) | Inst::LeaIndex(..) | Inst::Alu(..) => false,
        Inst::AluImm(..) | Inst::Imul(_) | Inst::ImulImm(..) | Inst::ShiftImm(..) => false,
        Inst::Rorx(..) | Inst::Shiftx(..) | Inst::ShiftCl(..) | Inst::Unary(..) => false,
        Inst::Bswap(_) | Inst::Swap16 | Inst::Movsx(..) | Inst::Movzx(_) => false,
        Inst::Count(..) | Inst::MulHigh | Inst::Divide { .. } | Inst::Charge(_) => false,
        Inst::ChargeBy | Inst::Fuel => false,
        Inst::Jump | Inst::Return => false,
        Inst::Select(test, _) | Inst::Branch(test, _) => {
            matches!(test, Flags::CmpMem(..) | Flags::CmpMemImm(..) | Flags::TestMemImm(..))
        }
        _ => true,
    }
}
