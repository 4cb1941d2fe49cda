//! Tests of the whole crate on sections built word by word.

use alloc::string::String;
use alloc::vec::Vec;

use crate::test_build::Builder;
use crate::{
    Btf, BtfError, BtfExt, CoreRelocation, ExtSection, FuncInfo, Kind, LineInfo, Linkage,
    ResolveError, Str, TypeId, TypeProblem,
};

const SIGNED_32: u32 = 1 << 24 | 32;

/// `struct node { int value; struct node *next; int bits: 3; char name[4]; int (*get)(struct
/// node *, ...); union { int a; const volatile int b; }; }` and what belongs to it. Struct is 5.
fn sample() -> Builder {
    let mut b = Builder::new();
    let int = b.ty("int", 1, 0, &[4, SIGNED_32]);
    let char = b.ty("char", 1, 0, &[1, 1 << 24 | 8]);
    let array = b.ty("", 3, 0, &[0, char, int, 4]);
    let node = 5;
    let next = b.ty("", 2, 0, &[node]);
    let names = ["value", "next", "bits", "name", "get", ""].map(|name| b.string(name));
    let (proto, get, volatile, konst, anonymous) = (6, 7, 8, 9, 10);
    let mut words = Vec::from([48]);
    let fields =
        [(int, 0), (next, 64), (int, 128 | 3 << 24), (array, 160), (get, 192), (anonymous, 256)];
    for (name, (ty, offset)) in names.into_iter().zip(fields) {
        words.extend([name, ty, offset]);
    }
    assert_eq!(b.ty("node", 4, 6 | 1 << 31, &words), node);
    assert_eq!(b.ty("", 13, 2, &[int, 0, next, 0, 0]), proto);
    assert_eq!(b.ty("", 2, 0, &[proto]), get);
    assert_eq!(b.ty("", 9, 0, &[int]), volatile);
    assert_eq!(b.ty("", 10, 0, &[volatile]), konst);
    let (a_name, b_name) = (b.string("a"), b.string("b"));
    assert_eq!(b.ty("", 5, 2, &[4, a_name, int, 0, b_name, konst, 0]), anonymous);
    b
}

#[test]
fn prints_structs_as_c() {
    let btf = sample().parse();
    let (id, node) = btf.find_struct("node").expect("it was added");
    assert_eq!(id, TypeId(5));
    assert_eq!(node.size, 48);
    let expected = "struct node {\n\tint value;\n\tstruct node *next;\n\tint bits: 3;\n\tchar \
                    name[4];\n\tint (*get)(struct node *, ...);\n\tunion {\n\t\tint a;\n\t\tconst \
                    volatile int b;\n\t};\n};";
    assert_eq!(btf.definition(id), expected);
    assert_eq!(btf.declaration(id, "head"), "struct node head");
    assert_eq!(btf.declaration(TypeId(7), ""), "int (*)(struct node *, ...)");
    assert_eq!(btf.declaration(TypeId(7), "f"), "int (*f)(struct node *, ...)");
}

#[test]
fn prints_every_kind() {
    let mut b = Builder::new();
    let int = b.ty("unsigned int", 1, 0, &[4, 32]);
    let typedef = b.ty("__u32", 8, 0, &[int]);
    let konst = b.ty("", 10, 0, &[typedef]);
    let pointer = b.ty("", 2, 0, &[konst]);
    let const_pointer = b.ty("", 10, 0, &[pointer]);
    let array = b.ty("", 3, 0, &[0, const_pointer, int, 8]);
    let to_array = b.ty("", 2, 0, &[array]);
    let tag = b.ty("user", 18, 0, &[int]);
    let to_tag = b.ty("", 2, 0, &[tag]);
    let names = ["MINUS", "PLUS"].map(|name| b.string(name));
    let signed = b.ty("sign", 6, 2 | 1 << 31, &[4, names[0], u32::MAX, names[1], 1]);
    let wide = b.ty("wide", 19, 1, &[8, names[1], 7, 1]);
    let forward = b.ty("later", 7, 0, &[0]);
    let forward_union = b.ty("or_this", 7, 1 << 31, &[0]);
    let proto = b.ty("", 13, 0, &[0]);
    let func = b.ty("setup", 12, 0, &[proto]);
    let var = b.ty("limit", 14, 0, &[konst, 1]);
    let data = b.ty(".rodata", 15, 1, &[0, var, 4, 4]);
    let float = b.ty("double", 16, 0, &[8]);
    let restrict = b.ty("", 11, 0, &[pointer]);
    let decl_tag = b.ty("test:1", 17, 0, &[func, u32::MAX]);
    let btf = b.parse();

    let declared = [
        (pointer, "const __u32 *x"),
        (const_pointer, "const __u32 * const x"),
        (array, "const __u32 * const x[8]"),
        (to_array, "const __u32 * const (*x)[8]"),
        (to_tag, "unsigned int __attribute__((btf_type_tag(\"user\"))) *x"),
        (signed, "enum sign x"),
        (forward, "struct later x"),
        (forward_union, "union or_this x"),
        (proto, "void x(void)"),
        (float, "double x"),
        (restrict, "const __u32 * restrict x"),
        (0, "void x"),
    ];
    for (id, text) in declared {
        assert_eq!(btf.declaration(TypeId(id), "x"), text);
    }
    let defined = [
        (typedef, "typedef unsigned int __u32;"),
        (signed, "enum sign {\n\tMINUS = -1,\n\tPLUS = 1,\n};"),
        (wide, "enum wide {\n\tPLUS = 4294967303,\n};"),
        (func, "static void setup(void);"),
        (var, "const __u32 limit;"),
        (data, "const __u32 limit;"),
        (forward, "struct later;"),
    ];
    for (id, text) in defined {
        assert_eq!(btf.definition(TypeId(id)), text);
    }
    assert_eq!(btf.decl_tags(TypeId(func), None).collect::<Vec<_>>(), ["test:1"]);
    assert_eq!(btf.decl_tags(TypeId(func), Some(0)).count(), 0);
    assert_eq!(btf.kind(TypeId(decl_tag)).name(), "DECL_TAG");
    let vars = btf.find_datasec(".rodata").expect("it was added");
    assert_eq!((vars[0].ty, vars[0].offset, vars[0].size), (TypeId(var), 4, 4));
    assert!(matches!(btf.kind(TypeId(var)), Kind::Var { linkage: Linkage::Global, .. }));
}

#[test]
fn sizes_and_alignments() {
    let btf = sample().parse();
    let sizes = [(1, 4, 4), (3, 4, 1), (4, 8, 8), (5, 48, 8), (7, 8, 8), (9, 4, 4), (10, 4, 4)];
    for (id, size, align) in sizes {
        assert_eq!(btf.size_of(TypeId(id)), Ok(size), "size of {id}");
        assert_eq!(btf.align_of(TypeId(id)), Ok(align), "alignment of {id}");
    }
    assert_eq!(btf.size_of(TypeId(6)), Err(ResolveError::Unsized { id: TypeId(6) }));
    assert_eq!(btf.size_of(TypeId::VOID), Err(ResolveError::Unsized { id: TypeId::VOID }));
    assert_eq!(btf.resolve(TypeId(9)), Ok(TypeId(1)));
}

#[test]
fn endless_and_huge_types_end() {
    let mut b = Builder::new();
    let own = b.ty("own", 8, 0, &[1]);
    let int = b.ty("int", 1, 0, &[4, SIGNED_32]);
    let mut huge = b.ty("", 3, 0, &[0, int, int, u32::MAX]);
    for _ in 0..3 {
        huge = b.ty("", 3, 0, &[0, huge, int, u32::MAX]);
    }
    let anonymous_self = b.ty("", 4, 2, &[4, 0, huge + 1, 0, 0, huge + 1, 0]);
    let pointer_self = b.ty("", 2, 0, &[anonymous_self + 1]);
    let data_of_itself = pointer_self + 1;
    assert_eq!(b.ty(".data", 15, 1, &[0, data_of_itself, 0, 4]), data_of_itself);
    let btf = b.parse();
    assert_eq!(btf.definition(TypeId(data_of_itself)), "/* section .data */ .data;");
    for id in [own, anonymous_self] {
        let id = TypeId(id);
        assert!(btf.declaration(id, "x").len() < 4_000_000);
        assert!(matches!(btf.align_of(id), Err(ResolveError::Endless { .. })));
    }
    // What is left out shows.
    for id in [anonymous_self, pointer_self] {
        assert!(btf.declaration(TypeId(id), "x").contains("..."));
    }
    assert_eq!(btf.size_of(TypeId(own)), Err(ResolveError::Endless { id: TypeId(own) }));
    assert!(matches!(
        btf.size_of(TypeId(huge)),
        Err(ResolveError::Unsized { .. } | ResolveError::Overflow { .. })
    ));
    assert_eq!(btf.resolve(TypeId(own)), Err(ResolveError::Endless { id: TypeId(own) }));
}

#[test]
fn names_are_found_in_order() {
    let mut b = Builder::new();
    for name in ["b", "a", "b", "", "c", "b"] {
        b.ty(name, 16, 0, &[8]);
    }
    let btf = b.parse();
    let found = |name| btf.named(name).map(|(id, _)| id.0).collect::<Vec<_>>();
    assert_eq!(found("b"), [1, 3, 6]);
    assert_eq!(found("a"), [2]);
    assert_eq!(found(""), []);
    assert_eq!(found("d"), []);
    assert_eq!(btf.len(), 6);
}

#[test]
fn malformed_headers_are_named() {
    let good = sample().bytes();
    let patched = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Btf::parse(&bytes).expect_err("the section is malformed")
    };
    assert_eq!(patched(0, 0x7f), BtfError::Magic { found: 0xeb7f });
    assert_eq!(patched(2, 2), BtfError::Version { found: 2 });
    assert_eq!(patched(3, 1), BtfError::Flags { found: 1 });
    assert_eq!(patched(4, 8), BtfError::HeaderTruncated { needed: 24, found: 8 });
    assert!(matches!(patched(15, 0xff), BtfError::PartOutside { part: "types", .. }));
    assert!(matches!(patched(23, 0xff), BtfError::PartOutside { part: "strings", .. }));
    assert_eq!(patched(good.len() - 1, b'x'), BtfError::Strings);
    assert_eq!(Btf::parse(&[0xeb, 0x9f, 0, 1]).expect_err("big"), BtfError::BigEndian);
    assert!(matches!(Btf::parse(&[]), Err(BtfError::HeaderTruncated { found: 0, .. })));
}

#[test]
fn malformed_types_are_named() {
    let problem = |b: &Builder| match Btf::parse(&b.bytes()) {
        Err(BtfError::Type { id, problem, .. }) => (id.0, problem),
        other => panic!("expected an error about a type, got {other:?}"),
    };
    let mut b = Builder::new();
    b.ty("int", 1, 0, &[4, SIGNED_32]);
    b.ty("", 2, 0, &[9]);
    assert_eq!(problem(&b), (2, TypeProblem::Reference { to: 9, count: 3 }));

    let mut b = Builder::new();
    b.ty("", 25, 0, &[9]);
    assert_eq!(problem(&b), (1, TypeProblem::UnknownKind(25)));

    let mut b = Builder::new();
    b.ty("s", 4, 3, &[8, 0, 0, 0]);
    assert_eq!(problem(&b), (1, TypeProblem::Truncated { needed: 12, found: 0 }));

    let mut b = Builder::new();
    b.ty("s", 4, 1, &[8, 77, 0, 0]);
    assert_eq!(problem(&b), (1, TypeProblem::Name { offset: 77 }));

    let mut b = Builder::new();
    b.ty(&"x".repeat(5000), 16, 0, &[8]);
    assert_eq!(problem(&b), (1, TypeProblem::NameTooLong { len: 5000, limit: 1024 }));
}

#[test]
fn strings_keep_their_offsets() {
    let mut bytes = Builder::new().bytes();
    bytes.extend_from_slice(b"caf\xe9\xff\0line\0");
    bytes[20] += 11;
    let btf = Btf::parse(&bytes).expect("bad UTF-8 is no error");
    assert_eq!(btf.str(Str(1)), "caf??");
    assert_eq!(btf.str(Str(7)), "line");
    assert_eq!(btf.str(Str(8)), "ine");
    assert_eq!(btf.str(Str(4000)), "");
}

fn ext_bytes(core: bool) -> Vec<u8> {
    let header_len: u32 = if core { 32 } else { 24 };
    let funcs = [8u32, 1, 2, 0, 3, 16, 4];
    // Records of 20 bytes: a field this parser does not know.
    let lines = [20u32, 1, 1, 8, 5, 6, 42 << 10 | 7, 99];
    let relocations = [16u32, 1, 1, 24, 3, 9, 0];
    let mut words = Vec::from([0x0001_eb9f, header_len, 0, 28, 28, 32]);
    if core {
        words.extend([60, 28]);
    }
    words.extend(funcs.into_iter().chain(lines));
    if core {
        words.extend(relocations);
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn reads_ext_records() {
    let ext = BtfExt::parse(&ext_bytes(true)).expect("the section is well-formed");
    let funcs =
        [(0, 3), (16, 4)].map(|(insn_offset, func)| FuncInfo { insn_offset, func: TypeId(func) });
    assert_eq!(ext.funcs, [ExtSection { section: Str(1), records: funcs.to_vec() }]);
    let line = LineInfo { insn_offset: 8, file: Str(5), text: Str(6), line: 42, column: 7 };
    assert_eq!(ext.lines, [ExtSection { section: Str(1), records: Vec::from([line]) }]);
    let relocation = CoreRelocation { insn_offset: 24, ty: TypeId(3), access: Str(9), kind: 0 };
    assert_eq!(
        ext.core_relocations,
        [ExtSection { section: Str(1), records: Vec::from([relocation]) }]
    );
    let old = BtfExt::parse(&ext_bytes(false)).expect("old compilers write no CO-RE records");
    assert_eq!(old.lines, ext.lines);
    assert!(old.core_relocations.is_empty());
}

#[test]
fn malformed_ext_is_named() {
    let patched = |word: usize, value: u32| {
        let mut bytes = ext_bytes(true);
        bytes[word * 4..word * 4 + 4].copy_from_slice(&value.to_le_bytes());
        BtfExt::parse(&bytes).expect_err("the section is malformed")
    };
    assert!(matches!(
        patched(8, 4),
        BtfError::RecordSize { part: "function records", needed: 8, found: 4 }
    ));
    assert!(matches!(patched(8, 10), BtfError::RecordSize { found: 10, .. }));
    assert!(matches!(
        patched(10, u32::MAX),
        BtfError::RecordsTruncated { part: "function records", offset: 12, found: 16, .. }
    ));
    assert!(matches!(patched(5, 4000), BtfError::PartOutside { part: "line records", .. }));
}

/// Parses, and walks all that was parsed.
fn walk(bytes: &[u8]) -> usize {
    let mut shown = 0;
    if let Ok(btf) = Btf::parse(bytes) {
        for (id, _) in btf.types() {
            let texts: [String; 2] = [btf.definition(id), btf.declaration(id, "x")];
            shown += texts.iter().map(String::len).sum::<usize>();
            shown += btf.initializer(id, bytes).len();
            let _ = (btf.size_of(id), btf.align_of(id));
        }
    }
    let _ = BtfExt::parse(bytes);
    shown
}

#[test]
fn prefixes_and_replaced_bytes_do_not_panic() {
    for bytes in [sample().bytes(), ext_bytes(true)] {
        for len in 0..bytes.len() {
            walk(&bytes[..len]);
        }
        for at in 0..bytes.len() {
            for byte in [0, 0xff, !bytes[at], bytes[at].wrapping_add(1)] {
                let mut bytes = bytes.clone();
                bytes[at] = byte;
                walk(&bytes);
            }
        }
    }
    assert!(walk(&sample().bytes()) > 0);
}

#[test]
fn values_as_initializers() {
    let mut b = Builder::new();
    let int = b.ty("int", 1, 0, &[4, SIGNED_32]);
    let char = b.ty("char", 1, 0, &[1, 1 << 24 | 8]);
    let bool = b.ty("_Bool", 1, 0, &[1, 4 << 24 | 8]);
    let names = ["OFF", "ON"].map(|name| b.string(name));
    let state = b.ty("state", 6, 2, &[4, names[0], 0, names[1], 1]);
    let text = b.ty("", 3, 0, &[0, char, int, 4]);
    let pair = b.ty("", 3, 0, &[0, int, int, 2]);
    let double = b.ty("double", 16, 0, &[8]);
    let pointer = b.ty("", 2, 0, &[0]);
    let fields = ["low", "high", "set", "state", "text"].map(|name| b.string(name));
    let all = b.ty(
        "all",
        4,
        5 | 1 << 31,
        &[
            16,
            fields[0],
            int,
            3 << 24,
            fields[1],
            int,
            5 << 24 | 3,
            fields[2],
            bool,
            32,
            fields[3],
            state,
            64,
            fields[4],
            text,
            96,
        ],
    );
    let var = b.ty("v", 14, 0, &[all, 1]);
    let own = b.ty("own", 4, 2, &[4, 0, 11, 0, 0, 11, 0]);
    let btf = b.parse();
    let shown = |id: u32, bytes: &[u8]| btf.initializer(TypeId(id), bytes);

    assert_eq!(shown(int, &(-7i32).to_le_bytes()), "-7");
    assert_eq!(shown(int, &[1, 2]), "...");
    assert_eq!(shown(bool, &[1]), "true");
    assert_eq!(shown(bool, &[2]), "2");
    assert_eq!(shown(state, &[1, 0, 0, 0]), "ON");
    assert_eq!(shown(state, &[9, 0, 0, 0]), "9");
    assert_eq!(shown(text, b"hi\0\0"), "\"hi\"");
    assert_eq!(shown(text, b"a\"\n!"), "\"a\\\"\\n!\"");
    assert_eq!(shown(text, &[0, 1, 2, 3]), "{ 0, 1, 2, 3 }");
    assert_eq!(shown(pair, &[1, 0, 0, 0, 2, 0, 0, 0]), "{ 1, 2 }");
    assert_eq!(shown(pair, &[1, 0, 0, 0]), "{ 1, ... }");
    assert_eq!(shown(double, &1.5f64.to_le_bytes()), "1.5");
    assert_eq!(shown(pointer, &[0, 16, 0, 0, 0, 0, 0, 0]), "0x1000");
    // low is the lowest three bits (-1), high the five above (2).
    let bytes = [0b0001_0111, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'x', 0, 0, 0];
    let expected = "{ .low = -1, .high = 2, .set = true, .state = ON, .text = \"x\" }";
    assert_eq!(shown(all, &bytes), expected);
    assert_eq!(shown(var, &bytes), expected);
    assert_eq!(shown(0, &bytes), "...");
    assert_eq!(own, 11);
    let endless = shown(own, &[0; 4]);
    assert!(endless.contains("...") && endless.len() < 1 << 20, "{} bytes", endless.len());
}
