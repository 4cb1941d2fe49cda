//! What one instruction refers to: a map, global data, a function, or something of the kernel.
//!
//! The instruction decides how it is relocated, as in libbpf; the kind of the relocation is only
//! checked. Immediates add to the value of the symbol: bytes for wide instructions, slots (and
//! one, for the next instruction) for calls.

use skep_bpf::codec::{SLOT_BYTES, Slot};
use skep_bpf::op::{Imm64Kind, call, class, code};

use super::error::{CodePlace, ExternKind, LinkProblem};
use super::{Frame, KernelFunctions, Linker, Site};
use crate::elf::{Binding, Place, Relocation, RelocationKind, SectionIndex, Symbol};
use crate::functions::FunctionIndex;
use crate::maps::{MapIndex, declares_maps};

/// A function and how many slots into it.
type Target = Option<(FunctionIndex, usize)>;

const SLOT: u64 = SLOT_BYTES as u64;

impl<'a> Linker<'a> {
    /// The relocation of the instruction at `offset`, which ends at `end`.
    pub(super) fn take_relocation(
        &self,
        frame: &mut Frame<'a>,
        offset: u64,
        end: u64,
    ) -> Result<Option<Relocation>, LinkProblem> {
        let mut taken = None;
        while let Some((relocation, rest)) = frame.relocations.split_first()
            && relocation.offset < end
        {
            frame.relocations = rest;
            if relocation.kind == RelocationKind::NONE {
                continue;
            }
            let place = CodePlace::new(self.object, frame.function, relocation.offset);
            if relocation.offset != offset || taken.is_some() {
                return Err(LinkProblem::RelocationOffset { place });
            }
            if !matches!(relocation.kind, RelocationKind::INSN_64 | RelocationKind::INSN_32) {
                return Err(LinkProblem::RelocationKind { kind: relocation.kind, place });
            }
            taken = Some(*relocation);
        }
        Ok(taken)
    }

    /// Writes what an instruction refers to into its slots; a function is the result, as its
    /// distance is not known yet.
    pub(super) fn resolve(&mut self, site: &Site<'a>) -> Result<Target, LinkProblem> {
        let Some(relocation) = site.relocation else {
            return self.resolve_local(site);
        };
        let place = || CodePlace::new(self.object, site.function, site.offset);
        let Some(symbol) = self.object.symbol(relocation.symbol) else {
            return Err(LinkProblem::NoSuchSymbol { place: place() });
        };
        if symbol.place == Place::Undefined {
            let kind = ExternKind::of(self.object, &symbol.name);
            if kind == ExternKind::KernelFunction
                && self.options.kernel_functions == KernelFunctions::ByName
                && is_call(site.slot)
            {
                self.call_kernel(site, &symbol.name);
                return Ok(None);
            }
            return Err(LinkProblem::Extern {
                name: symbol.name.clone(),
                kind,
                is_weak: symbol.binding == Binding::Weak,
                place: place(),
            });
        }
        if site.is_pair {
            return self.resolve_wide(site, symbol);
        }
        if is_call(site.slot) && site.slot.src() == call::LOCAL {
            let distance = (i64::from(site.slot.imm) + 1) * SLOT as i64;
            let Place::Section(section) = symbol.place else {
                return Err(self.bad_target(site, symbol));
            };
            return self.locate(site, section, symbol.value.checked_add_signed(distance)).map(Some);
        }
        let symbol = self.object.symbol_label(symbol);
        Err(LinkProblem::RelocationInsn { opcode: site.slot.opcode, symbol, place: place() })
    }

    /// Calls and function addresses within a section need no relocation: the distance is there.
    fn resolve_local(&self, site: &Site<'a>) -> Result<Target, LinkProblem> {
        let is_call = is_call(site.slot) && site.slot.src() == call::LOCAL;
        let is_address = site.is_pair && site.slot.src() == Imm64Kind::Code.row().src;
        if !is_call && !is_address {
            return Ok(None);
        }
        let distance = (i64::from(site.slot.imm) + 1) * SLOT as i64;
        let target = site.offset.checked_add_signed(distance);
        self.locate(site, site.function.section, target).map(Some)
    }

    fn resolve_wide(&mut self, site: &Site<'a>, symbol: &Symbol) -> Result<Target, LinkProblem> {
        let Place::Section(section) = symbol.place else {
            return Err(self.bad_target(site, symbol));
        };
        let high = self.slots.get(site.at + 1).map_or(0, |slot| slot.imm);
        let addend = i64::from(high) << 32 | i64::from(site.slot.imm.cast_unsigned());
        let from_symbol = |addend| symbol.value.checked_add_signed(addend);
        let is_code = self.object.section(section).is_some_and(|section| section.is_code());
        if is_code {
            self.write_wide(site, Imm64Kind::Code, 0, 0);
            return self.locate(site, section, from_symbol(addend)).map(Some);
        }
        if let Some(map) = self.object.global_data(section) {
            // Compilers write addends below zero as 32 bits.
            let offset = from_symbol(i64::from(site.slot.imm)).or_else(|| from_symbol(addend));
            let Some(offset) = offset.and_then(|offset| i32::try_from(offset).ok()) else {
                return Err(self.bad_target(site, symbol));
            };
            if self.is_infrared {
                let value = self.parameter(map, offset);
                let value = value.ok_or_else(|| self.bad_target(site, symbol))?;
                self.write_wide(site, Imm64Kind::Value, value, 0);
                return Ok(None);
            }
            let number = self.map_number(map);
            self.write_wide(site, Imm64Kind::MapValueByIdx, number, offset);
            return Ok(None);
        }
        let map = from_symbol(addend).and_then(|at| self.object.map_declared_at(section, at));
        if let Some(map) = map {
            let number = self.map_number(map);
            self.write_wide(site, Imm64Kind::MapByIdx, number, 0);
            return Ok(None);
        }
        match declares_maps(self.object.elf(), section) {
            true => Err(LinkProblem::NoUsableMap {
                name: self.object.symbol_label(symbol),
                place: CodePlace::new(self.object, site.function, site.offset),
            }),
            false => Err(self.bad_target(site, symbol)),
        }
    }

    fn call_kernel(&mut self, site: &Site<'a>, name: &str) {
        let known = self.kernel_functions.iter().position(|known| known == name);
        let number = known.unwrap_or_else(|| {
            self.kernel_functions.push(name.to_owned());
            self.kernel_functions.len() - 1
        });
        if let Some(slot) = self.slots.get_mut(site.at) {
            // There are fewer functions than slots, of which there are at most a million.
            let number = i32::try_from(number).unwrap_or(i32::MAX);
            *slot = Slot::new(slot.opcode, 0, call::KFUNC, 0, number);
        }
    }

    /// The number that a decoder's parameter has in the object.
    fn parameter(&self, map: MapIndex, offset: i32) -> Option<i32> {
        let map = self.object.map(map)?;
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(size_of::<i32>())?;
        if end > usize::try_from(map.value_size).ok()? {
            return None;
        }
        let mut number = [0; 4];
        // Zeros at the end of a section, or all of it, may have no bytes.
        let bytes = self.object.initial_bytes(map).iter().skip(start);
        number.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        Some(i32::from_le_bytes(number))
    }

    fn write_wide(&mut self, site: &Site<'a>, kind: Imm64Kind, imm: i32, next_imm: i32) {
        if let Some(first) = self.slots.get_mut(site.at) {
            let (dst, src) = (first.dst(), kind.row().src);
            *first = Slot::new(first.opcode, dst, src, first.offset, imm);
        }
        if let Some(second) = self.slots.get_mut(site.at + 1) {
            second.imm = next_imm;
        }
    }

    /// The function at an offset of a section, and how far into it that is.
    fn locate(
        &self,
        site: &Site<'a>,
        section: SectionIndex,
        offset: Option<u64>,
    ) -> Result<(FunctionIndex, usize), LinkProblem> {
        let found = offset
            .filter(|offset| offset.is_multiple_of(SLOT))
            .and_then(|offset| Some((self.object.function_around(section, offset)?, offset)));
        let Some((function, offset)) = found else {
            return Err(LinkProblem::NoFunctionAt {
                section: self.object.section_name(section).to_owned(),
                offset,
                place: CodePlace::new(self.object, site.function, site.offset),
            });
        };
        let into = (offset - function.offset) / SLOT;
        Ok((function.index, usize::try_from(into).unwrap_or(usize::MAX)))
    }

    fn bad_target(&self, site: &Site<'a>, symbol: &Symbol) -> LinkProblem {
        LinkProblem::Target {
            symbol: self.object.symbol_label(symbol),
            section: match symbol.place {
                Place::Section(section) => self.object.section_name(section).to_owned(),
                _ => String::new(),
            },
            place: CodePlace::new(self.object, site.function, site.offset),
        }
    }
}

fn is_call(slot: Slot) -> bool {
    slot.opcode == class::JMP | code::CALL
}
