//! The types of a `.BTF` section, one enum variant per kind.
//!
//! Lists (members, enumerators, parameters, variables) live in arenas of [`Btf`](crate::Btf);
//! a type holds a [`List`] that only its own `Btf` can turn into a slice. Names are [`Str`],
//! offsets into its strings. Source: <https://docs.kernel.org/bpf/btf.html>, section 2.2.

use core::fmt;
use core::marker::PhantomData;

/// The number of a type within its [`Btf`](crate::Btf); 0 is `void`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

impl TypeId {
    /// The type `void`, which is in no section and in every one.
    pub const VOID: TypeId = TypeId(0);
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An offset into the strings; [`Btf::str`](crate::Btf::str) reads it. 0 is the empty string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Str(pub u32);

/// A list in an arena of its [`Btf`](crate::Btf).
pub struct List<T> {
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) of: PhantomData<fn() -> T>,
}

impl<T> List<T> {
    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn of(self, arena: &[T]) -> &[T] {
        let start = self.start as usize;
        arena.get(start..start.saturating_add(self.len as usize)).unwrap_or(&[])
    }
}

// Derives would ask the same of `T`, which the list does not hold.
impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for List<T> {}
impl<T> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.start, self.len) == (other.start, other.len)
    }
}
impl<T> Eq for List<T> {}
impl<T> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "List({}..+{})", self.start, self.len)
    }
}

/// One type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// Its name; empty for pointers, arrays, qualifiers, prototypes and anonymous types. The
    /// text of a tag.
    pub name: Str,
    /// What it is.
    pub kind: Kind,
}

/// What a type is. The variants are the kinds of BTF, and `void`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `void`, the type number 0.
    Void,
    /// An integer, `char` and `bool` included.
    Int(Int),
    /// A pointer to the type.
    Ptr(TypeId),
    /// An array.
    Array(Array),
    /// A struct.
    Struct(Composite),
    /// A union.
    Union(Composite),
    /// An enumeration whose values have 32 bits.
    Enum(Enum),
    /// A struct or union that is declared and not defined.
    Forward {
        /// Whether it is a union.
        union: bool,
    },
    /// A `typedef` of the type.
    Typedef(TypeId),
    /// `volatile` of the type.
    Volatile(TypeId),
    /// `const` of the type.
    Const(TypeId),
    /// `restrict` of the type.
    Restrict(TypeId),
    /// A function: not its type, the function itself.
    Func {
        /// Its prototype, a [`Kind::FuncProto`] in BTF that the kernel accepts.
        proto: TypeId,
        /// Whether it is static, global or defined elsewhere.
        linkage: Linkage,
    },
    /// The type of a function.
    FuncProto {
        /// What it returns; `void` is type 0.
        returns: TypeId,
        /// Its parameters. A last one without name and type stands for `...`.
        params: List<Param>,
    },
    /// A variable.
    Var {
        /// Its type.
        ty: TypeId,
        /// Whether it is static, global or defined elsewhere.
        linkage: Linkage,
    },
    /// The variables of a section; the name of the type is the name of the section.
    Datasec {
        /// Size of the section in bytes; 0 in objects that a compiler wrote.
        size: u32,
        /// What lies in the section.
        vars: List<DatasecVar>,
    },
    /// A floating-point number of `size` bytes.
    Float {
        /// Size in bytes.
        size: u32,
    },
    /// A tag (`btf_decl_tag`) on a declaration; its text is the name.
    DeclTag {
        /// The struct, union, function, variable or typedef it is on.
        target: TypeId,
        /// The index of the member or parameter it is on, if on one.
        component: Option<u32>,
    },
    /// A tag (`btf_type_tag`) on the type; its text is the name.
    TypeTag(TypeId),
    /// An enumeration whose values have 64 bits.
    Enum64(Enum),
}

impl Kind {
    /// The kernel's name of the kind, as `bpftool btf dump` prints it.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Void => "VOID",
            Kind::Int(_) => "INT",
            Kind::Ptr(_) => "PTR",
            Kind::Array(_) => "ARRAY",
            Kind::Struct(_) => "STRUCT",
            Kind::Union(_) => "UNION",
            Kind::Enum(_) => "ENUM",
            Kind::Forward { .. } => "FWD",
            Kind::Typedef(_) => "TYPEDEF",
            Kind::Volatile(_) => "VOLATILE",
            Kind::Const(_) => "CONST",
            Kind::Restrict(_) => "RESTRICT",
            Kind::Func { .. } => "FUNC",
            Kind::FuncProto { .. } => "FUNC_PROTO",
            Kind::Var { .. } => "VAR",
            Kind::Datasec { .. } => "DATASEC",
            Kind::Float { .. } => "FLOAT",
            Kind::DeclTag { .. } => "DECL_TAG",
            Kind::TypeTag(_) => "TYPE_TAG",
            Kind::Enum64(_) => "ENUM64",
        }
    }
}

/// An integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int {
    /// Size in bytes.
    pub size: u32,
    /// Whether it is signed.
    pub signed: bool,
    /// Whether it is a character (compilers do not set this).
    pub char: bool,
    /// Whether it is a truth value.
    pub bool: bool,
    /// The first bit used, for bit-fields of old compilers.
    pub bit_offset: u8,
    /// How many bits are used.
    pub bits: u8,
}

/// An array type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    /// The type of an element.
    pub element: TypeId,
    /// The type of an index.
    pub index: TypeId,
    /// The number of elements; 0 for flexible array members.
    pub count: u32,
}

/// A struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Composite {
    /// Size in bytes.
    pub size: u32,
    /// Its members, in order.
    pub members: List<Member>,
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name; empty for anonymous structs and unions.
    pub name: Str,
    /// Its type.
    pub ty: TypeId,
    /// Where it starts, in bits from the start of the struct.
    pub bit_offset: u32,
    /// The width of a bit-field in bits; 0 for other members.
    pub bit_size: u8,
}

/// An enumeration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enum {
    /// Size in bytes.
    pub size: u32,
    /// Whether the values are signed.
    pub signed: bool,
    /// Its enumerators, in order.
    pub values: List<EnumValue>,
}

/// An enumerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnumValue {
    /// Its name.
    pub name: Str,
    /// Its value, sign-extended if the enumeration is signed and zero-extended if not.
    pub value: u64,
}

/// A parameter of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name; often empty.
    pub name: Str,
    /// Its type.
    pub ty: TypeId,
}

/// A variable (or function) in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatasecVar {
    /// A [`Kind::Var`], or a [`Kind::Func`] for functions defined elsewhere.
    pub ty: TypeId,
    /// Where it lies, in bytes from the start of the section. In objects that a compiler wrote,
    /// a relocation has to be applied first.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

/// Where a function or variable can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// Within its file.
    Static,
    /// Everywhere.
    Global,
    /// It is defined elsewhere: by the kernel, or by whoever loads the program.
    Extern,
    /// A number without a meaning.
    Other(u32),
}

impl Linkage {
    pub(crate) fn from_raw(raw: u32) -> Linkage {
        match raw {
            0 => Linkage::Static,
            1 => Linkage::Global,
            2 => Linkage::Extern,
            other => Linkage::Other(other),
        }
    }
}

impl fmt::Display for Linkage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Linkage::Static => f.write_str("static"),
            Linkage::Global => f.write_str("global"),
            Linkage::Extern => f.write_str("extern"),
            Linkage::Other(raw) => write!(f, "linkage {raw}"),
        }
    }
}
