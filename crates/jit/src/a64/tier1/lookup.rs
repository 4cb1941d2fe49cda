//! Lookups of elements of maps that are known.

use skep_bpf::insn::{Extend, Mem, Reg};
use skep_bpf::op::{Size, Width};

use super::{Compiler, StubKind};
use crate::a64::encode::{AddSub, Condition, Multiply, Select, ZR, add, mov, multiply, select};
use crate::a64::host::load_state;
use crate::a64::regs::{RESULT, SCRATCH, SCRATCH2, SCRATCH3, gpr};
use crate::abi::{TrapCode, offset};
use crate::source::{Array, Lookup};

impl Compiler<'_> {
    pub(super) fn lookup(&mut self, lookup: Lookup) {
        match lookup {
            Lookup::Array(array) => self.element(array),
            Lookup::Call { address, object } => {
                self.asm.set(gpr(Reg::R1), object);
                self.asm.set(SCRATCH, address);
                self.asm.call_c();
                let trap = self.stub(StubKind::Trap(TrapCode::Runtime));
                self.asm.branch_bit(true, RESULT, 63, trap);
                self.asm.put(mov(Width::W64, gpr(Reg::R0), RESULT));
            }
        }
        self.zero(self.flow.zeroed_after(self.at));
    }

    /// The address of an array's element, or 0.
    fn element(&mut self, array: Array) {
        let (key, width) = (gpr(Reg::R0), Width::W32);
        self.load(Size::W, Extend::Zero, Reg::R0, Mem { base: Reg::R2, offset: 0 });
        let asm = &mut self.asm;
        asm.set(SCRATCH, array.start.into());
        if let Some((_, bytes)) = array.per_cpu {
            asm.put(load_state(SCRATCH2, offset::PROCESSOR));
            asm.set(SCRATCH3, bytes.into());
            asm.put(multiply(width, Multiply::Madd, SCRATCH, SCRATCH2, SCRATCH3, SCRATCH));
        }
        asm.set(SCRATCH2, array.stride.into());
        asm.put(multiply(width, Multiply::Madd, SCRATCH, key, SCRATCH2, SCRATCH));
        asm.set(SCRATCH2, array.entries.into());
        asm.put(add(width, AddSub::Subs, ZR, key, SCRATCH2));
        asm.put(select(width, Select::Csel, key, SCRATCH, ZR, Condition::Lo));
    }
}
