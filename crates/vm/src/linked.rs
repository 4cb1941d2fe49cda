//! A program linked to a machine: references resolved to guest addresses, ready for an engine.

use std::sync::Arc;

use skep_bpf::insn::{Callee, Imm64, Insn};
use skep_bpf::platform::ProgType;
use skep_bpf::program::{Pc, Program};
use skep_bpf::text::c_like::Decimal;
use skep_verifier::Verified;

use crate::fast::Steps;
use crate::helpers::kfunc_number;
use crate::machine::{LoadError, Machine, MapId};
use crate::native::Native;
use crate::region::END_ADDR;
use crate::trap::{Trap, TrapKind};

/// A program with everything it refers to. It does not keep its machine alive: a map of programs
/// belongs to the machine and holds these.
#[derive(Debug)]
pub struct Linked {
    name: String,
    prog_type: ProgType,
    program: Program,
    insns: Vec<Insn<Pc>>,
    steps: Steps,
    verified: Option<Arc<Verified>>,
    native: Native,
}

impl Linked {
    /// Resolves a program's references against a machine. `maps` are the machine's maps that the
    /// program's indices mean.
    pub(crate) fn new(
        machine: &Machine,
        name: String,
        prog_type: ProgType,
        program: Program,
        maps: &[MapId],
    ) -> Result<Linked, LoadError> {
        let functions = program.functions().len();
        if functions > MAX_FUNCTIONS {
            return Err(LoadError::TooManyFunctions { functions, limit: MAX_FUNCTIONS });
        }
        for (index, id) in maps.iter().enumerate() {
            let Some(map) = machine.map(*id) else { continue };
            map.used_by(prog_type).map_err(|errno| LoadError::OtherType {
                index: index as u32,
                name: map.spec().name.to_string(),
                prog_type,
                errno,
            })?;
        }
        check_kernel_functions(&program)?;
        let mut insns = Vec::with_capacity(program.insns().len());
        for (index, insn) in program.insns().iter().enumerate() {
            let insn = match insn {
                Insn::LoadImm64 { dst, imm } => {
                    let value = resolve(machine, &program, maps, Pc::from_index(index), imm)?;
                    Insn::LoadImm64 { dst: *dst, imm: Imm64::Value(value) }
                }
                Insn::Call { callee } => {
                    Insn::Call { callee: kernel_function(&program, *callee).unwrap_or(*callee) }
                }
                other => *other,
            };
            insns.push(insn);
        }
        let steps = Steps::bind(machine, &insns);
        Ok(Linked {
            name,
            prog_type,
            program,
            insns,
            steps,
            verified: None,
            native: Native::default(),
        })
    }

    /// The program's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's type.
    #[must_use]
    pub fn prog_type(&self) -> ProgType {
        self.prog_type
    }

    /// The program as it was given.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The proof that the program is safe, if it was loaded with one.
    #[must_use]
    pub fn verified(&self) -> Option<&Arc<Verified>> {
        self.verified.as_ref()
    }

    /// Remembers the proof that the program was made from.
    pub(crate) fn set_proof(&mut self, verified: Arc<Verified>) {
        self.verified = Some(verified);
    }

    /// The instructions with 64-bit immediates resolved to numbers.
    #[must_use]
    pub fn insns(&self) -> &[Insn<Pc>] {
        &self.insns
    }

    /// The program in the fast interpreter's form.
    pub(crate) fn steps(&self) -> &Steps {
        &self.steps
    }

    /// The program as machine code.
    pub(crate) fn native(&self) -> &Native {
        &self.native
    }

    /// A trap at an instruction.
    pub(crate) fn trap(&self, pc: Pc, kind: TrapKind) -> Box<Trap> {
        let slot = self.program.slot(pc);
        let debug = self.program.debug();
        Box::new(Trap {
            kind,
            program: self.name.clone(),
            function: self.program.function_of(pc).name.clone(),
            slot,
            insn: Decimal(&self.program.offsets(pc)).to_string(),
            source: debug.line_at(slot).cloned(),
        })
    }

    /// The function that a reference made by `ld_imm64` means.
    pub(crate) fn function_at(&self, value: u64) -> Option<Pc> {
        let index = value.checked_sub(u64::from(END_ADDR))?;
        let function = self.program.functions().get(usize::try_from(index).ok()?)?;
        Some(function.entry)
    }
}

/// Function references are addresses in the last 64 KiB of the window, which is never mapped: they
/// can be passed on, never loaded from.
const MAX_FUNCTIONS: usize = (u32::MAX - END_ADDR) as usize;

/// The helper that a call of a kernel function by name is bound to.
fn kernel_function(program: &Program, callee: Callee<Pc>) -> Option<Callee<Pc>> {
    let Callee::Kfunc { btf_id, .. } = callee else { return None };
    let name = program.kernel_functions().get(usize::try_from(btf_id).ok()?)?;
    Some(Callee::Helper(kfunc_number(name)?))
}

/// Whether all kernel functions that the program calls are implemented.
fn check_kernel_functions(program: &Program) -> Result<(), LoadError> {
    let absent = program.kernel_functions().iter().filter(|name| kfunc_number(name).is_none());
    let names: Vec<String> = absent.cloned().collect();
    if names.is_empty() { Ok(()) } else { Err(LoadError::NoKernelFunctions { names }) }
}

fn resolve(
    machine: &Machine,
    program: &Program,
    maps: &[MapId],
    pc: Pc,
    imm: &Imm64<Pc>,
) -> Result<u64, LoadError> {
    let at = program.slot(pc);
    let map = |index: u32| {
        let found = maps.get(index as usize).copied();
        found.ok_or(LoadError::NoSuchMap { at, index, maps: maps.len() })
    };
    match *imm {
        Imm64::Value(value) => Ok(value),
        Imm64::Code(target) => {
            let index = program.functions().partition_point(|f| f.entry < target);
            Ok(u64::from(END_ADDR) + index as u64)
        }
        Imm64::MapByIdx(index) => Ok(machine.handle(map(index)?).into()),
        Imm64::MapValueByIdx { index, offset } => {
            let id = map(index)?;
            let data = machine.map(id).and_then(|map| map.data_addr());
            let data = data.ok_or(LoadError::NoDirectValue { at, index })?;
            Ok(data.wrapping_add(offset as u32).into())
        }
        Imm64::MapByFd(_) | Imm64::MapValueByFd { .. } | Imm64::Variable { .. } => {
            Err(LoadError::Unresolved { at })
        }
    }
}
