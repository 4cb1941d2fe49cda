//! Writing an object: code, the names of its functions, a licence.
//!
//! What an assembler needs so that loaders take its output. Maps, relocations and BTF are the
//! compiler's business.

use object::write::{Object as Output, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};
use skep_bpf::codec::{SLOT_BYTES, Slot, SlotIndex};

/// Code to be written as an object.
#[derive(Clone, Copy, Debug)]
pub struct NewObject<'a> {
    /// The section of the code, which says the program's type.
    pub section: &'a str,
    /// The code; functions other than the first are called by distance.
    pub code: &'a [Slot],
    /// The first slot and the name of every function, by slot.
    pub functions: &'a [(SlotIndex, String)],
    /// The licence.
    pub license: Option<&'a str>,
}

impl NewObject<'_> {
    /// The bytes of the object.
    ///
    /// # Errors
    ///
    /// What the ELF writer says, such as that there are too many symbols.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut output = Output::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let name = self.section.as_bytes().to_vec();
        let section = output.add_section(Vec::new(), name, SectionKind::Text);
        let code: Vec<u8> = self.code.iter().flat_map(|slot| slot.to_bytes()).collect();
        output.append_section_data(section, &code, SLOT_BYTES as u64);
        for (index, (start, name)) in self.functions.iter().enumerate() {
            let next = self.functions.get(index + 1).map_or(self.code.len(), |(next, _)| next.0);
            let size = next.min(self.code.len()).saturating_sub(start.0);
            // Only the first function is a program; the others are called by it.
            let scope = match index {
                0 => SymbolScope::Dynamic,
                _ => SymbolScope::Compilation,
            };
            output.add_symbol(Symbol {
                name: name.as_bytes().to_vec(),
                value: (start.0 * SLOT_BYTES) as u64,
                size: (size * SLOT_BYTES) as u64,
                kind: SymbolKind::Text,
                scope,
                weak: false,
                section: SymbolSection::Section(section),
                flags: SymbolFlags::None,
            });
        }
        if let Some(license) = self.license {
            let section = output.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
            let mut text = license.as_bytes().to_vec();
            text.push(0);
            output.append_section_data(section, &text, 1);
        }
        output.write().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Object;

    #[test]
    fn what_is_written_is_read() {
        let exit = Slot::new(0x95, 0, 0, 0, 0);
        let call = Slot::new(0x85, 0, 1, 0, 1);
        let functions = [(SlotIndex(0), "main".to_owned()), (SlotIndex(2), "callee".to_owned())];
        let written = NewObject {
            section: "xdp",
            code: &[call, exit, exit],
            functions: &functions,
            license: Some("GPL"),
        };
        let object = Object::parse(&written.to_bytes().expect("small")).expect("an object");
        assert!(object.diagnostics().is_empty(), "{:?}", object.diagnostics());
        assert_eq!(object.license(), Some("GPL"));
        let programs: Vec<_> = object.programs().map(|program| program.name.as_str()).collect();
        assert_eq!(programs, ["main"]);
        let linked = object
            .link(object.functions()[0].index, crate::LinkOptions::default())
            .expect("nothing is missing");
        assert_eq!(linked.bytecode.slots, [call, exit, exit]);
    }
}
