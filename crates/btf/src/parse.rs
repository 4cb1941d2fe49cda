//! From the bytes of a `.BTF` section to [`Btf`].
//!
//! One pass reads the types into flat arenas, a second checks every reference and name; memory
//! is proportional to the section. Layout: <https://docs.kernel.org/bpf/btf.html>, section 2.

use alloc::string::String;
use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::bytes::{Reader, slice};
use crate::error::{BtfError, TypeProblem};
use crate::names::NameIndex;
use crate::types::{
    Array, Composite, DatasecVar, Enum, EnumValue, Int, Kind, Linkage, List, Member, Param, Str,
    Type, TypeId,
};

/// The kernel's limit (`BTF_MAX_TYPE` in include/uapi/linux/btf.h).
const MAX_TYPES: u32 = 0x000f_ffff;

/// The longest name that is read. The kernel stops at 512; compilers of other languages exceed
/// that with mangled names.
const MAX_NAME: usize = 1024;

const MAGIC: u16 = 0xeb9f;

/// The length of the header of `.BTF` in version 1.
const HEADER_LEN: usize = 24;

/// A parsed `.BTF` section: types that refer to each other by number.
#[derive(Clone, Debug)]
pub struct Btf {
    /// The types; number 0 is `void`.
    pub(crate) types: Vec<Type>,
    pub(crate) members: Vec<Member>,
    pub(crate) values: Vec<EnumValue>,
    pub(crate) params: Vec<Param>,
    pub(crate) vars: Vec<DatasecVar>,
    strings: String,
    pub(crate) by_name: NameIndex,
}

impl Btf {
    /// Parses a `.BTF` section. Bytes of names that are not UTF-8 read as `?`.
    ///
    /// # Errors
    ///
    /// If the header, the strings or any type is malformed, or refers to something that does
    /// not exist.
    pub fn parse(bytes: &[u8]) -> Result<Btf, BtfError> {
        let (types, strings) = split(bytes)?;
        let mut btf = Btf {
            types: Vec::from([Type { name: Str(0), kind: Kind::Void }]),
            members: Vec::new(),
            values: Vec::new(),
            params: Vec::new(),
            vars: Vec::new(),
            strings: read_strings(strings)?,
            by_name: NameIndex::default(),
        };
        let mut offsets = Vec::from([0]);
        let mut reader = Reader::new(types);
        while reader.remaining() > 0 {
            let offset = reader.position();
            let id = TypeId(u32::try_from(btf.types.len()).unwrap_or(u32::MAX));
            if id.0 > MAX_TYPES {
                return Err(BtfError::TooManyTypes { limit: MAX_TYPES });
            }
            let ty = btf.read_type(&mut reader).map_err(|problem| BtfError::Type {
                id,
                offset,
                problem,
            })?;
            btf.types.push(ty);
            offsets.push(offset);
        }
        for ((index, ty), offset) in (0u32..).zip(&btf.types).zip(offsets) {
            btf.check_type(ty).map_err(|problem| BtfError::Type {
                id: TypeId(index),
                offset,
                problem,
            })?;
        }
        btf.index_names();
        Ok(btf)
    }

    /// The text at an offset of the strings: from there to the next NUL. Empty if the offset
    /// lies outside.
    pub fn str(&self, at: Str) -> &str {
        self.get_str(at).unwrap_or("")
    }

    /// The length of the strings in bytes.
    pub fn strings_len(&self) -> usize {
        self.strings.len()
    }

    pub(crate) fn get_str(&self, at: Str) -> Option<&str> {
        let rest = self.strings.get(usize::try_from(at.0).ok()?..)?;
        rest.split('\0').next()
    }

    fn read_type(&mut self, reader: &mut Reader<'_>) -> Result<Type, TypeProblem> {
        let [name, info, size_or_type] = words(reader)?;
        let vlen = info & 0xffff;
        let kind_flag = info >> 31 != 0;
        let target = TypeId(size_or_type);
        let kind = match info >> 24 & 0x1f {
            1 => Kind::Int(read_int(reader, size_or_type)?),
            2 => Kind::Ptr(target),
            3 => {
                let [element, index, count] = words(reader)?;
                Kind::Array(Array { element: TypeId(element), index: TypeId(index), count })
            }
            4 => Kind::Struct(self.read_members(reader, size_or_type, vlen, kind_flag)?),
            5 => Kind::Union(self.read_members(reader, size_or_type, vlen, kind_flag)?),
            6 => Kind::Enum(self.read_enum(reader, size_or_type, vlen, kind_flag)?),
            7 => Kind::Forward { union: kind_flag },
            8 => Kind::Typedef(target),
            9 => Kind::Volatile(target),
            10 => Kind::Const(target),
            11 => Kind::Restrict(target),
            12 => Kind::Func { proto: target, linkage: Linkage::from_raw(vlen) },
            13 => {
                let params = read_list(reader, vlen, &mut self.params, |[name, ty]| Param {
                    name: Str(name),
                    ty: TypeId(ty),
                })?;
                Kind::FuncProto { returns: target, params }
            }
            14 => {
                let [linkage] = words(reader)?;
                Kind::Var { ty: target, linkage: Linkage::from_raw(linkage) }
            }
            15 => {
                let vars = read_list(reader, vlen, &mut self.vars, |[ty, offset, size]| {
                    DatasecVar { ty: TypeId(ty), offset, size }
                })?;
                Kind::Datasec { size: size_or_type, vars }
            }
            16 => Kind::Float { size: size_or_type },
            17 => {
                let [component] = words(reader)?;
                let component = (component != u32::MAX).then_some(component);
                Kind::DeclTag { target, component }
            }
            18 => Kind::TypeTag(target),
            19 => Kind::Enum64(self.read_enum64(reader, size_or_type, vlen, kind_flag)?),
            unknown => return Err(TypeProblem::UnknownKind(unknown)),
        };
        Ok(Type { name: Str(name), kind })
    }

    fn read_members(
        &mut self,
        reader: &mut Reader<'_>,
        size: u32,
        vlen: u32,
        bit_fields: bool,
    ) -> Result<Composite, TypeProblem> {
        let members = read_list(reader, vlen, &mut self.members, |[name, ty, offset]| {
            let [low, mid, high, width] = offset.to_le_bytes();
            let (bit_offset, bit_size) = match bit_fields {
                true => (u32::from_le_bytes([low, mid, high, 0]), width),
                false => (offset, 0),
            };
            Member { name: Str(name), ty: TypeId(ty), bit_offset, bit_size }
        })?;
        Ok(Composite { size, members })
    }

    fn read_enum(
        &mut self,
        reader: &mut Reader<'_>,
        size: u32,
        vlen: u32,
        signed: bool,
    ) -> Result<Enum, TypeProblem> {
        let values = read_list(reader, vlen, &mut self.values, |[name, value]| {
            let value = match signed {
                true => i64::from(value.cast_signed()).cast_unsigned(),
                false => u64::from(value),
            };
            EnumValue { name: Str(name), value }
        })?;
        Ok(Enum { size, signed, values })
    }

    fn read_enum64(
        &mut self,
        reader: &mut Reader<'_>,
        size: u32,
        vlen: u32,
        signed: bool,
    ) -> Result<Enum, TypeProblem> {
        let values = read_list(reader, vlen, &mut self.values, |[name, low, high]| EnumValue {
            name: Str(name),
            value: u64::from(high) << 32 | u64::from(low),
        })?;
        Ok(Enum { size, signed, values })
    }

    /// Checks that all names and types a type refers to exist.
    fn check_type(&self, ty: &Type) -> Result<(), TypeProblem> {
        self.check_name(ty.name)?;
        match &ty.kind {
            Kind::Void | Kind::Int(_) | Kind::Forward { .. } | Kind::Float { .. } => {}
            Kind::Ptr(to)
            | Kind::Typedef(to)
            | Kind::Volatile(to)
            | Kind::Const(to)
            | Kind::Restrict(to)
            | Kind::TypeTag(to)
            | Kind::Func { proto: to, .. }
            | Kind::Var { ty: to, .. }
            | Kind::DeclTag { target: to, .. } => self.check_reference(*to)?,
            Kind::Array(array) => {
                self.check_reference(array.element)?;
                self.check_reference(array.index)?;
            }
            Kind::Struct(composite) | Kind::Union(composite) => {
                for member in self.members(composite) {
                    self.check_name(member.name)?;
                    self.check_reference(member.ty)?;
                }
            }
            Kind::Enum(enumeration) | Kind::Enum64(enumeration) => {
                for value in self.enum_values(enumeration) {
                    self.check_name(value.name)?;
                }
            }
            Kind::FuncProto { returns, params } => {
                self.check_reference(*returns)?;
                for param in self.params(*params) {
                    self.check_name(param.name)?;
                    self.check_reference(param.ty)?;
                }
            }
            Kind::Datasec { vars, .. } => {
                for var in self.datasec_vars(*vars) {
                    self.check_reference(var.ty)?;
                }
            }
        }
        Ok(())
    }

    fn check_reference(&self, to: TypeId) -> Result<(), TypeProblem> {
        let count = u32::try_from(self.types.len()).unwrap_or(u32::MAX);
        match to.0 < count {
            true => Ok(()),
            false => Err(TypeProblem::Reference { to: to.0, count }),
        }
    }

    fn check_name(&self, name: Str) -> Result<(), TypeProblem> {
        let outside = TypeProblem::Name { offset: name.0 };
        let start = usize::try_from(name.0).map_err(|_| outside.clone())?;
        let rest = self.strings.get(start..).filter(|rest| !rest.is_empty()).ok_or(outside)?;
        // Looking no further than the limit keeps a section with one long string and many types
        // from taking time out of proportion.
        let limit = rest.len().min(MAX_NAME + 1);
        match rest.as_bytes().iter().take(limit).any(|&byte| byte == 0) {
            true => Ok(()),
            false => Err(TypeProblem::NameTooLong {
                len: rest.split('\0').next().map_or(0, str::len),
                limit: MAX_NAME,
            }),
        }
    }
}

/// The types and the strings of a section, as its header says.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), BtfError> {
    let body = check_header(bytes, HEADER_LEN)?;
    let truncated = BtfError::HeaderTruncated { needed: HEADER_LEN, found: bytes.len() };
    let mut reader = Reader::new(bytes);
    let parts = reader
        .take(8)
        .and_then(|_| Some([(reader.u32()?, reader.u32()?), (reader.u32()?, reader.u32()?)]));
    let [types, strings] = parts.ok_or(truncated)?;
    Ok((part(body, "types", types)?, part(body, "strings", strings)?))
}

/// Checks the fields with which the headers of `.BTF` and `.BTF.ext` start, and gives what
/// follows the header.
pub(crate) fn check_header(bytes: &[u8], needed: usize) -> Result<&[u8], BtfError> {
    let found = bytes.len();
    let truncated = BtfError::HeaderTruncated { needed, found };
    let mut reader = Reader::new(bytes);
    let magic = reader.u16().ok_or_else(|| truncated.clone())?;
    if magic == MAGIC.swap_bytes() {
        return Err(BtfError::BigEndian);
    }
    if magic != MAGIC {
        return Err(BtfError::Magic { found: magic });
    }
    let fields = (|| Some((reader.u8()?, reader.u8()?, reader.u32()?)))();
    let (version, flags, header_len) = fields.ok_or_else(|| truncated.clone())?;
    if version != 1 {
        return Err(BtfError::Version { found: version });
    }
    if flags != 0 {
        return Err(BtfError::Flags { found: flags });
    }
    let header_len = usize::try_from(header_len).unwrap_or(usize::MAX);
    if header_len < needed {
        return Err(BtfError::HeaderTruncated { needed, found: header_len });
    }
    bytes.get(header_len..).ok_or(BtfError::HeaderTruncated { needed: header_len, found })
}

/// A part of a section that its header places `offset` bytes after the header.
pub(crate) fn part<'a>(
    body: &'a [u8],
    part: &'static str,
    (offset, len): (u32, u32),
) -> Result<&'a [u8], BtfError> {
    slice(body, offset, len).ok_or(BtfError::PartOutside {
        part,
        offset,
        len,
        available: body.len(),
    })
}

fn read_strings(bytes: &[u8]) -> Result<String, BtfError> {
    if bytes.first() != Some(&0) || bytes.last() != Some(&0) {
        return Err(BtfError::Strings);
    }
    if let Ok(strings) = core::str::from_utf8(bytes) {
        return Ok(String::from(strings));
    }
    // Offsets must keep their meaning, so every bad byte becomes exactly one character of one
    // byte.
    let mut strings = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        strings.push_str(chunk.valid());
        strings.extend(chunk.invalid().iter().map(|_| '?'));
    }
    Ok(strings)
}

fn read_int(reader: &mut Reader<'_>, size: u32) -> Result<Int, TypeProblem> {
    let [word] = words(reader)?;
    let [bits, _, bit_offset, encoding] = word.to_le_bytes();
    Ok(Int {
        size,
        signed: encoding & 1 != 0,
        char: encoding & 2 != 0,
        bool: encoding & 4 != 0,
        bit_offset,
        bits,
    })
}

/// Reads `len` elements of `N` words each to the end of an arena.
fn read_list<T, const N: usize>(
    reader: &mut Reader<'_>,
    len: u32,
    arena: &mut Vec<T>,
    element: impl Fn([u32; N]) -> T,
) -> Result<List<T>, TypeProblem> {
    // The section is at most 4 GiB long and an element has at least 8 bytes: no arena has more
    // elements than a u32 counts.
    let start = u32::try_from(arena.len()).unwrap_or(u32::MAX);
    for _ in 0..len {
        arena.push(element(words(reader)?));
    }
    Ok(List { start, len, of: PhantomData })
}

fn words<const N: usize>(reader: &mut Reader<'_>) -> Result<[u32; N], TypeProblem> {
    let truncated = TypeProblem::Truncated { needed: N * 4, found: reader.remaining() };
    let mut words = [0; N];
    for word in &mut words {
        *word = reader.u32().ok_or_else(|| truncated.clone())?;
    }
    Ok(words)
}
