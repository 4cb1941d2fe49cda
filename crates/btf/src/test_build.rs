//! Builds `.BTF` sections for tests.

use alloc::vec::Vec;

use crate::parse::Btf;

/// Types and strings of a section under construction.
#[derive(Default)]
pub(crate) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Builder { types: Vec::new(), strings: Vec::from([0]), count: 0 }
    }

    pub(crate) fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    /// Adds a type: its name, kind, number of elements and the words that follow.
    pub(crate) fn ty(&mut self, name: &str, kind: u32, vlen: u32, words: &[u32]) -> u32 {
        let name = self.string(name);
        for word in [name, kind << 24 | vlen].iter().chain(words) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let types_len = self.types.len() as u32;
        let mut bytes = Vec::from([0x9f, 0xeb, 1, 0, 24, 0, 0, 0]);
        for word in [0, types_len, types_len, self.strings.len() as u32] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }

    pub(crate) fn parse(&self) -> Btf {
        Btf::parse(&self.bytes()).expect("the test's section is well-formed")
    }
}
