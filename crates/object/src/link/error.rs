//! Why a program cannot be linked.
//!
//! What is wrong with one program is not wrong with the object: the others link.

use std::fmt;

use skep_btf::{Kind, Linkage};

use super::MAX_LINKED_SLOTS;
use crate::elf::RelocationKind;
use crate::functions::Function;
use crate::object::Object;

/// Why a function cannot be linked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot link {function}: {problem}")]
pub struct LinkError {
    /// The function that was to be linked.
    pub function: String,
    /// What it, or a function that it calls, lacks.
    pub problem: LinkProblem,
}

/// What keeps a function from being linked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkProblem {
    /// The object has no such function.
    #[error("the object has no such function")]
    NoSuchFunction,
    /// The function and those it calls are too long together.
    #[error("with the functions it calls it has more than {limit} slots")]
    TooLong {
        /// The limit, [`MAX_LINKED_SLOTS`].
        limit: usize,
    },
    /// A relocation has a kind that code does not use.
    #[error("{place}: {kind} does not apply to code")]
    RelocationKind {
        /// The kind.
        kind: RelocationKind,
        /// Where.
        place: Box<CodePlace>,
    },
    /// A relocation is not at the start of an instruction, or the second one there.
    #[error("{place}: the relocation does not belong to one instruction")]
    RelocationOffset {
        /// Where.
        place: Box<CodePlace>,
    },
    /// A relocation is on an instruction that cannot refer to anything.
    #[error(
        "{place}: opcode {opcode:#04x} cannot refer to {symbol}; only 64-bit immediate loads and \
         calls of functions can"
    )]
    RelocationInsn {
        /// The opcode of the instruction.
        opcode: u8,
        /// What it should refer to.
        symbol: String,
        /// Where.
        place: Box<CodePlace>,
    },
    /// A relocation names a symbol that does not exist.
    #[error("{place}: the relocation names a symbol that does not exist")]
    NoSuchSymbol {
        /// Where.
        place: Box<CodePlace>,
    },
    /// Something that somebody else must provide.
    #[error("{place}: {name} is not defined in the object: {kind}")]
    Extern {
        /// Its name.
        name: String,
        /// What it is.
        kind: ExternKind,
        /// Whether the program works without it.
        is_weak: bool,
        /// Where it is used.
        place: Box<CodePlace>,
    },
    /// A map whose declaration could not be used; [`Object::diagnostics`] says why.
    #[error("{place}: {name} is declared as a map, but the declaration cannot be used")]
    NoUsableMap {
        /// Its name.
        name: String,
        /// Where it is used.
        place: Box<CodePlace>,
    },
    /// A symbol that is neither a map nor global data nor a function.
    #[error(
        "{place}: {symbol} is in section \"{section}\", which holds neither maps nor .data, \
         .rodata, .bss nor code"
    )]
    Target {
        /// The symbol.
        symbol: String,
        /// The section it lies in; empty if in none.
        section: String,
        /// Where it is used.
        place: Box<CodePlace>,
    },
    /// A call or function address leads to where no function is.
    #[error("{place}: the function it leads to is not in section {section}{}", at(*offset))]
    NoFunctionAt {
        /// The section it leads to.
        section: String,
        /// The offset in that section, in bytes, unless it is out of all range.
        offset: Option<u64>,
        /// Where.
        place: Box<CodePlace>,
    },
    /// Instructions depend on the layout of the kernel's types.
    #[error(
        "{place}: the {kind} of {ty} ({access}) depends on the kernel (CO-RE); instructions of \
         this function that do: {count}"
    )]
    NeedsKernelTypes {
        /// How many do, in this function.
        count: usize,
        /// The first of them.
        place: Box<CodePlace>,
        /// The type in question, as C.
        ty: String,
        /// The member in question, as a path of indices.
        access: String,
        /// What is asked.
        kind: CoreKind,
    },
}

fn at(offset: Option<u64>) -> String {
    offset.map_or_else(String::new, |offset| format!(" at offset {offset}"))
}

const _: () = assert!(MAX_LINKED_SLOTS < i32::MAX as usize, "distances fit an immediate");

/// Where something stands in the code of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodePlace {
    /// The function.
    pub function: String,
    /// The section.
    pub section: String,
    /// Bytes from the start of the section.
    pub offset: u64,
    /// The source file and line, if known.
    pub line: Option<(String, u32)>,
}

impl CodePlace {
    pub(super) fn new(object: &Object, function: &Function, offset: u64) -> Box<Self> {
        Box::new(CodePlace {
            function: function.name.clone(),
            section: function.section_name.clone(),
            offset,
            line: object.line_at(function, offset).map(|(file, line)| (file.to_owned(), line)),
        })
    }
}

impl fmt::Display for CodePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, offset {} of section {}", self.function, self.offset, self.section)?;
        match &self.line {
            Some((file, line)) => write!(f, " ({file}:{line})"),
            None => Ok(()),
        }
    }
}

/// What somebody else must provide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExternKind {
    /// A value of the kernel's configuration, declared in `.kconfig`.
    Kconfig,
    /// A variable of the kernel, declared in `.ksyms`.
    KernelVariable,
    /// A function of the kernel (kfunc), declared in `.ksyms`.
    KernelFunction,
    /// The object does not say.
    Unknown,
}

impl ExternKind {
    pub(crate) fn of(object: &Object, name: &str) -> ExternKind {
        let Some(btf) = object.btf() else { return ExternKind::Unknown };
        let in_section = |section: &str| {
            let vars = btf.find_datasec(section).unwrap_or(&[]);
            vars.iter().any(|var| btf.name(var.ty) == name)
        };
        let is_function =
            || btf.find(name, |kind| matches!(kind, Kind::Func { linkage: Linkage::Extern, .. }));
        match (in_section(".ksyms"), in_section(".kconfig")) {
            (true, _) if is_function().is_some() => ExternKind::KernelFunction,
            (true, _) => ExternKind::KernelVariable,
            (false, true) => ExternKind::Kconfig,
            (false, false) => ExternKind::Unknown,
        }
    }
}

impl fmt::Display for ExternKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExternKind::Kconfig => "it is a value of the kernel configuration",
            ExternKind::KernelVariable => "it is a variable of the kernel",
            ExternKind::KernelFunction => "it is a function of the kernel (kfunc)",
            ExternKind::Unknown => "no object is linked to it that defines it",
        })
    }
}

/// What a CO-RE relocation asks: `enum bpf_core_relo_kind` of include/uapi/linux/bpf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreKind(pub u32);

impl CoreKind {
    /// The number of the type in the object's own BTF, for which no kernel is needed.
    pub const TYPE_ID_LOCAL: CoreKind = CoreKind(6);
    /// The number of the type in the kernel's BTF.
    pub const TYPE_ID_TARGET: CoreKind = CoreKind(7);
}

impl fmt::Display for CoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "offset of the field",
            1 => "size of the field",
            2 => "existence of the field",
            3 => "signedness of the field",
            4 => "left shift for the bit-field",
            5 => "right shift for the bit-field",
            6 => "local number of the type",
            7 => "number of the type",
            8 => "existence of the type",
            9 => "size of the type",
            10 => "existence of the enumerator",
            11 => "value of the enumerator",
            12 => "likeness of the type",
            other => return write!(f, "CO-RE relocation {other}"),
        };
        f.write_str(name)
    }
}
