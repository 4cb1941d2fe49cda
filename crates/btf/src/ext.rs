//! `.BTF.ext`: which function starts at which instruction, which source line it comes from, and
//! which instructions want CO-RE relocation.
//!
//! Records are kept as they are, per ELF section of code; strings and types are numbers of the
//! `.BTF` section that belongs to it, and are checked when they are read there. Layout:
//! <https://docs.kernel.org/bpf/btf.html>, section 4.2, and `struct btf_ext_header` of libbpf.

use alloc::vec::Vec;

use crate::bytes::Reader;
use crate::error::BtfError;
use crate::parse::{check_header, part};
use crate::types::{Str, TypeId};

/// The header up to the line information, and with the CO-RE relocations.
const HEADER_LEN: usize = 24;
const HEADER_LEN_WITH_CORE: usize = 32;

/// A parsed `.BTF.ext` section.
#[derive(Clone, Debug, Default)]
pub struct BtfExt {
    /// Which function starts where.
    pub funcs: Vec<ExtSection<FuncInfo>>,
    /// Which source line starts where.
    pub lines: Vec<ExtSection<LineInfo>>,
    /// Which instructions depend on the layout of the kernel's types.
    pub core_relocations: Vec<ExtSection<CoreRelocation>>,
}

/// The records for one ELF section of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtSection<R> {
    /// The name of the ELF section.
    pub section: Str,
    /// Its records, in the order of the file.
    pub records: Vec<R>,
}

/// The function that starts at an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncInfo {
    /// Where it starts, in bytes from the start of the ELF section.
    pub insn_offset: u32,
    /// The [`Kind::Func`](crate::Kind::Func) that describes it.
    pub func: TypeId,
}

/// The source line of an instruction and of those that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// Where the line starts, in bytes from the start of the ELF section.
    pub insn_offset: u32,
    /// The name of the source file.
    pub file: Str,
    /// The text of the line.
    pub text: Str,
    /// The number of the line, from 1; 0 if there is none.
    pub line: u32,
    /// The column, from 1; 0 if there is none.
    pub column: u32,
}

/// An instruction that depends on the layout of a type of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreRelocation {
    /// The instruction, in bytes from the start of the ELF section.
    pub insn_offset: u32,
    /// The type as the program was compiled with.
    pub ty: TypeId,
    /// Which member, as a path of indices such as `0:1:2`.
    pub access: Str,
    /// What is asked: `enum bpf_core_relo_kind` of include/uapi/linux/bpf.h.
    pub kind: u32,
}

impl BtfExt {
    /// Parses a `.BTF.ext` section. Records longer than known are cut, as newer compilers may
    /// append fields.
    ///
    /// # Errors
    ///
    /// If the header or the lists of records are malformed.
    pub fn parse(bytes: &[u8]) -> Result<BtfExt, BtfError> {
        let body = check_header(bytes, HEADER_LEN)?;
        let truncated = BtfError::HeaderTruncated { needed: HEADER_LEN, found: bytes.len() };
        let mut reader = Reader::new(bytes);
        let fields = reader.take(4).and_then(|_| {
            Some((reader.u32()?, (reader.u32()?, reader.u32()?), (reader.u32()?, reader.u32()?)))
        });
        let (header_len, funcs, lines) = fields.ok_or(truncated)?;
        let has_core = usize::try_from(header_len).is_ok_and(|len| len >= HEADER_LEN_WITH_CORE);
        let core = match (has_core, reader.u32(), reader.u32()) {
            (true, Some(offset), Some(len)) => (offset, len),
            _ => (0, 0),
        };
        Ok(BtfExt {
            funcs: read_part(body, "function records", funcs, |[at, func]| FuncInfo {
                insn_offset: at,
                func: TypeId(func),
            })?,
            lines: read_part(body, "line records", lines, |[at, file, text, packed]| LineInfo {
                insn_offset: at,
                file: Str(file),
                text: Str(text),
                line: packed >> 10,
                column: packed & 0x3ff,
            })?,
            core_relocations: read_part(body, "CO-RE records", core, |[at, ty, access, kind]| {
                CoreRelocation { insn_offset: at, ty: TypeId(ty), access: Str(access), kind }
            })?,
        })
    }
}

/// Reads one of the three lists, whose records have at least `N` words.
fn read_part<R, const N: usize>(
    body: &[u8],
    name: &'static str,
    place: (u32, u32),
    record: impl Fn([u32; N]) -> R,
) -> Result<Vec<ExtSection<R>>, BtfError> {
    let bytes = part(body, name, place)?;
    let mut reader = Reader::new(bytes);
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let needed = u32::try_from(N * 4).unwrap_or(u32::MAX);
    let record_size = read_word(&mut reader, name)?;
    if record_size < needed || !record_size.is_multiple_of(4) {
        return Err(BtfError::RecordSize { part: name, needed, found: record_size });
    }
    let mut sections = Vec::new();
    while reader.remaining() > 0 {
        let section = Str(read_word(&mut reader, name)?);
        let count = read_word(&mut reader, name)?;
        let offset = reader.position();
        let total = u64::from(count) * u64::from(record_size);
        let truncated = BtfError::RecordsTruncated {
            part: name,
            offset,
            needed: total,
            found: reader.remaining(),
        };
        let bytes = usize::try_from(total).ok().and_then(|total| reader.take(total));
        let bytes = bytes.ok_or(truncated)?;
        let stride = usize::try_from(record_size).unwrap_or(usize::MAX);
        let records = bytes
            .chunks_exact(stride)
            .filter_map(|chunk| {
                let mut reader = Reader::new(chunk);
                let mut words = [0; N];
                for word in &mut words {
                    *word = reader.u32()?;
                }
                Some(record(words))
            })
            .collect();
        sections.push(ExtSection { section, records });
    }
    Ok(sections)
}

fn read_word(reader: &mut Reader<'_>, part: &'static str) -> Result<u32, BtfError> {
    let (offset, found) = (reader.position(), reader.remaining());
    reader.u32().ok_or(BtfError::RecordsTruncated { part, offset, needed: 4, found })
}
