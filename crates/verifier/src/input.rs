//! What the verifier is told about a program beside its instructions.
//!
//! Everything a verdict depends on is here: types, maps, licence, functions and the profile of the
//! machine. What is proved holds for that and nothing else.

mod fields;

pub use fields::{FieldTarget, SpecialField, SpecialKind, object_fields, special_fields};

use crate::kernel::KernelTypes;
use skep_bpf::codec::SlotIndex;
use skep_bpf::platform::{AttachType, HelperId, MapFlags, MapType, ProgType, context_of};
use skep_bpf::program::Bytecode;
use skep_btf::{Btf, Kind, Param, TypeId};

/// A program to verify. Maps are named by their index in `maps`
/// ([`MapByIdx`](skep_bpf::insn::Imm64::MapByIdx)).
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The instructions, the main function first.
    pub bytecode: &'a Bytecode,
    /// The program type.
    pub prog_type: ProgType,
    /// Where it is to be attached; [`AttachType::UNSPECIFIED`] if the type leaves nothing open.
    pub attach_type: AttachType,
    /// What it is to be attached to, by name, for types whose rules depend on it.
    pub attach_target: Option<&'a str>,
    /// The maps that the instructions refer to.
    pub maps: &'a [MapFacts],
    /// What is known of the functions; empty without type information, which makes all but the
    /// main function static.
    pub functions: &'a [FunctionFacts],
    /// The types of the kernel, for programs that deal with its objects.
    pub kernel: Option<&'a KernelTypes>,
    /// Whether the licence is compatible with the GPL.
    pub gpl_compatible: bool,
    /// Whether the program may sleep (`BPF_F_SLEEPABLE`).
    pub sleepable: bool,
    /// The types of the program, for objects that it allocates.
    pub types: Option<&'a Btf>,
    /// The machine.
    pub profile: Profile,
}

impl<'a> Input<'a> {
    /// A program that uses no maps, has no types and no place to be attached to, and does not
    /// sleep, under a licence that is compatible with the GPL.
    #[must_use]
    pub const fn new(bytecode: &'a Bytecode, prog_type: ProgType, profile: Profile) -> Self {
        Input {
            bytecode,
            prog_type,
            attach_type: AttachType::UNSPECIFIED,
            attach_target: None,
            maps: &[],
            functions: &[],
            kernel: None,
            gpl_compatible: true,
            sleepable: false,
            types: None,
            profile,
        }
    }
}

/// What a verdict assumes about the machine, and how the walk is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The number of processors (the kernel's `nr_cpu_ids`), at least 1.
    pub cpus: u32,
    /// Whether the loader may see kernel addresses (`CAP_PERFMON`). The rules for those who may
    /// not are not modelled: without it every program is refused.
    pub perfmon: bool,
    /// Which of the [`OPTIONAL_HELPERS`](skep_bpf::platform::OPTIONAL_HELPERS) the kernel has.
    pub optional_helpers: &'static [HelperId],
    /// Whether all accesses must be aligned (`BPF_F_STRICT_ALIGNMENT`).
    pub strict_alignment: bool,
    /// Whether a checkpoint is made wherever one may be (`BPF_F_TEST_STATE_FREQ`).
    pub checkpoint_everywhere: bool,
    /// Whether states that are covered end a path. Without it only short programs end within the
    /// budget; their verdict must be the same.
    pub pruning: bool,
    /// The largest number of instructions that are walked.
    pub max_insns: u64,
    /// The largest number of branches that wait to be walked.
    pub max_pending: usize,
}

impl Profile {
    /// Linux 6.18 on x86-64 with this many processors, for a privileged loader; it has no helpers
    /// that others do not have.
    #[must_use]
    pub const fn linux(cpus: u32) -> Self {
        Self {
            cpus,
            perfmon: true,
            optional_helpers: &[],
            strict_alignment: false,
            checkpoint_everywhere: false,
            pruning: true,
            max_insns: 1_000_000,
            max_pending: 8192,
        }
    }
}

/// What is known of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFacts {
    /// The name, for messages; empty if there is none.
    pub name: String,
    /// The type.
    pub map_type: MapType,
    /// The size of a key in bytes.
    pub key_size: u32,
    /// The size of a value in bytes.
    pub value_size: u32,
    /// The largest number of elements.
    pub max_entries: u32,
    /// The flags it was made with.
    pub flags: MapFlags,
    /// The first value, if user space has frozen the map: no system call changes it any more.
    pub frozen: Option<Vec<u8>>,
    /// Whether the map has types (BTF) for its values.
    pub has_types: bool,
    /// The fields of a value that only the kernel may touch.
    pub fields: Vec<SpecialField>,
    /// For a map of maps, what all its maps are like.
    pub inner: Option<Box<MapFacts>>,
}

impl MapFacts {
    /// A map without types, not frozen.
    #[must_use]
    pub fn new(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Self {
        Self {
            name: String::new(),
            map_type,
            key_size,
            value_size,
            max_entries,
            flags: MapFlags::default(),
            frozen: None,
            has_types: false,
            fields: Vec::new(),
            inner: None,
        }
    }

    /// The bytes of the first value, if neither program nor user space can change them.
    pub(crate) fn constant_bytes(&self) -> Option<&[u8]> {
        let read_only = self.flags.contains(MapFlags::RDONLY_PROG);
        self.frozen.as_deref().filter(|_| read_only)
    }

    /// Whether a value has a field of this kind.
    pub(crate) fn has_field(&self, kind: SpecialKind) -> bool {
        self.fields.iter().any(|field| field.kind == kind)
    }
}

/// What is known of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionFacts {
    /// Its name.
    pub name: String,
    /// Its first instruction.
    pub entry: SlotIndex,
    /// Whether other objects could call it: it is then verified by itself, for all arguments of
    /// its type, and calls only check what they pass.
    pub global: bool,
    /// Whether it returns a number: an integer or enumeration.
    pub returns_number: bool,
    /// Its parameters.
    pub params: Vec<ParamKind>,
    /// Whether it declares a function that handles exceptions of the program.
    pub handles_exceptions: bool,
}

/// What a global function takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// A number.
    Number,
    /// The context.
    Context,
    /// Memory of a size, in bytes.
    Memory {
        /// The size.
        size: u32,
        /// NULL may be passed.
        or_null: bool,
    },
    /// A dynamic pointer.
    Dynptr,
    /// An object of the kernel that certainly lives.
    Object {
        /// The name of its structure.
        type_name: String,
        /// NULL may be passed.
        or_null: bool,
    },
    /// The context of programs of type `TRACING` that are loaded for this; others are refused.
    ContextFor(AttachType),
    /// Something else, as it is declared; programs that need it are refused.
    Other(String),
}

impl FunctionFacts {
    /// What type information says of a function of a program.
    #[must_use]
    pub fn from_btf(
        btf: &Btf,
        function: TypeId,
        entry: SlotIndex,
        global: bool,
        prog_type: ProgType,
    ) -> FunctionFacts {
        let types = match btf.kind(function) {
            Kind::Func { proto, .. } => match btf.kind(*proto) {
                Kind::FuncProto { returns, params } => Some((*returns, btf.params(*params))),
                _ => None,
            },
            _ => None,
        };
        let (returns, params) = types.unwrap_or((TypeId::VOID, &[]));
        let kind = |(index, param): (usize, &Param)| {
            // A function has few parameters.
            let tags = btf.decl_tags(function, Some(index as u32));
            let tags: Vec<&str> = tags.filter_map(|tag| tag.strip_prefix("arg:")).collect();
            param_kind(btf, param.ty, &tags, prog_type)
        };
        FunctionFacts {
            name: btf.name(function).to_owned(),
            entry,
            global,
            returns_number: is_number(btf, returns),
            params: params.iter().enumerate().map(kind).collect(),
            handles_exceptions: btf
                .decl_tags(function, None)
                .any(|tag| tag.starts_with("exception_callback:")),
        }
    }
}

fn is_number(btf: &Btf, id: TypeId) -> bool {
    let kind = btf.resolve(id).map(|id| btf.kind(id));
    matches!(kind, Ok(Kind::Int(_) | Kind::Enum(_) | Kind::Enum64(_)))
}

/// Whether a type is a typedef of this name, perhaps qualified.
fn is_typedef_of(btf: &Btf, mut id: TypeId, name: &str) -> bool {
    const MAX_STEPS: usize = 32;
    for _ in 0..MAX_STEPS {
        id = match btf.kind(id) {
            Kind::Typedef(_) if btf.name(id) == name => return true,
            Kind::Typedef(next)
            | Kind::Const(next)
            | Kind::Volatile(next)
            | Kind::Restrict(next)
            | Kind::TypeTag(next) => *next,
            _ => return false,
        };
    }
    false
}

/// What a pointer to the context may point to where it is tagged as such, besides the structure
/// itself (Linux 6.18, `btf_validate_prog_ctx_type`).
fn is_context(btf: &Btf, declared: TypeId, target: TypeId, prog_type: ProgType) -> bool {
    let name = btf.name(target);
    let is_registers = matches!(btf.kind(target), Kind::Struct(_)) && name == "pt_regs";
    let is_u64 = matches!(btf.kind(target), Kind::Int(_)) && btf.size_of(target) == Ok(8);
    match prog_type {
        _ if target == TypeId::VOID => true,
        ProgType::KPROBE => is_registers,
        ProgType::PERF_EVENT => is_registers || is_typedef_of(btf, declared, "bpf_user_pt_regs_t"),
        ProgType::RAW_TRACEPOINT | ProgType::RAW_TRACEPOINT_WRITABLE => is_u64,
        ProgType::LSM | ProgType::STRUCT_OPS => is_u64,
        ProgType::TRACEPOINT | ProgType::SYSCALL | ProgType::EXT => !name.is_empty(),
        _ => false,
    }
}

/// What programs of type `TRACING` are loaded for whose context a type may be tagged as.
fn tracing_context(btf: &Btf, target: TypeId) -> Option<AttachType> {
    match btf.kind(target) {
        Kind::Struct(_) if btf.name(target).starts_with("bpf_iter__") => {
            Some(AttachType::TRACE_ITER)
        }
        Kind::Struct(_) if btf.name(target) == "bpf_raw_tracepoint_args" => {
            Some(AttachType::TRACE_RAW_TP)
        }
        Kind::Int(_) if btf.size_of(target) == Ok(8) => Some(AttachType::TRACE_RAW_TP),
        _ => None,
    }
}

fn param_kind(btf: &Btf, id: TypeId, tags: &[&str], prog_type: ProgType) -> ParamKind {
    let other = || ParamKind::Other(format!("{} {}", btf.declaration(id, ""), tags.join(" ")));
    if tags.is_empty() && is_number(btf, id) {
        return ParamKind::Number;
    }
    let Ok(Kind::Ptr(declared)) = btf.resolve(id).map(|id| btf.kind(id)) else { return other() };
    let Ok(target) = btf.resolve(*declared) else { return other() };
    let name = btf.name(target);
    let is_struct = matches!(btf.kind(target), Kind::Struct(_));
    let context = context_of(prog_type).map_or("", |row| row.c_type);
    // Probes name the registers by the type that is the same on all machines.
    const USER_REGS: &str = "bpf_user_pt_regs_t";
    let is_user_regs = prog_type == ProgType::KPROBE
        && (name == USER_REGS || is_typedef_of(btf, *declared, USER_REGS));
    if is_user_regs || is_struct && context.strip_prefix("struct ") == Some(name) {
        return if matches!(tags, [] | ["ctx"]) { ParamKind::Context } else { other() };
    }
    if tags == ["ctx"] && is_context(btf, *declared, target, prog_type) {
        return ParamKind::Context;
    }
    if tags == ["ctx"]
        && prog_type == ProgType::TRACING
        && let Some(attach_type) = tracing_context(btf, target)
    {
        return ParamKind::ContextFor(attach_type);
    }
    if is_struct && name == "bpf_dynptr" {
        return if tags.is_empty() { ParamKind::Dynptr } else { other() };
    }
    if is_struct && matches!(tags, ["trusted"] | ["trusted", "nullable"] | ["nullable", "trusted"])
    {
        // What follows three underscores tells apart versions of a declaration (libbpf).
        let type_name = name.split("___").next().unwrap_or(name).to_owned();
        return ParamKind::Object { type_name, or_null: tags.contains(&"nullable") };
    }
    let or_null = match tags {
        [] => true,
        ["nonnull"] => false,
        _ => return other(),
    };
    match btf.size_of(target).map(u32::try_from) {
        Ok(Ok(size)) if target != TypeId::VOID => ParamKind::Memory { size, or_null },
        _ => other(),
    }
}
