//! The answers of other tools for the same objects: LLVM's readelf, bpftool and libbpf. Where a
//! tool is not installed, its test says so and passes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use skep_bpf::codec::Slot;
use skep_bpf::op::Imm64Kind;
use skep_bpf::platform::MapType;
use skep_btf::{Btf, Kind, Linkage, TypeId};

use super::parse;
use crate::{Binding, CoreRelocations, KernelFunctions, LinkOptions, Object, Place, SymbolKind};

/// The objects to compare: those of this repository, and those that xdp-tools and ir-keytable
/// install.
fn objects() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let arch = format!("/usr/lib/{}-linux-gnu/bpf", std::env::consts::ARCH);
    let folders = [
        root.join("testdata"),
        root.join("../../programs"),
        PathBuf::from(arch),
        PathBuf::from("/usr/lib/udev/rc_keymaps/protocols"),
    ];
    let mut found = Vec::new();
    for entry in folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "o") {
            found.push(path);
        }
    }
    found.sort();
    assert!(found.len() >= 5, "the objects of this crate are there");
    found
}

fn read(path: &Path) -> Object {
    let bytes = std::fs::read(path).expect("the object is readable");
    parse(&bytes, &path.to_string_lossy())
}

/// What a tool prints, or `None` with a message if there is no such tool. The second is whether
/// it was content.
fn output(tool: &str, arguments: &[&str], path: &Path) -> Option<(String, bool)> {
    match Command::new(tool).args(arguments).arg(path).output() {
        Ok(output) => {
            Some((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success()))
        }
        Err(error) => {
            println!("skipped: {tool} cannot be run ({error})");
            None
        }
    }
}

#[test]
fn every_installed_object_is_read_and_links() {
    let options = LinkOptions {
        core_relocations: CoreRelocations::AsCompiled,
        kernel_functions: KernelFunctions::ByName,
    };
    let is_sound =
        |path: &&PathBuf| !path.ends_with("externs.bpf.o") && !path.ends_with("bad_maps.bpf.o");
    for path in objects().iter().filter(is_sound) {
        let object = read(path);
        assert_eq!(object.diagnostics(), [], "{}", path.display());
        assert!(object.programs().count() > 0, "{}", path.display());
        for function in object.functions() {
            let linked = object.link(function.index, options);
            let linked = linked.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let program = linked.program();
            program.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}

#[test]
fn symbols_and_relocations_as_readelf_shows_them() {
    for path in objects() {
        let object = read(&path);
        let arguments = ["--symbols", "--relocations", "--wide"];
        let Some((text, _)) = output("llvm-readelf-19", &arguments, &path) else { return };
        let columns = || text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        // Num: Value Size Type Bind Vis Ndx Name
        let symbols: Vec<String> = columns()
            .filter(|c| c.first().is_some_and(|c| c.ends_with(':')) && c.len() >= 7)
            .filter(|c| c[0].trim_end_matches(':').parse::<usize>().is_ok())
            .map(|c| [&c[1..5], &c[6..]].concat().join(" "))
            .collect();
        let ours: Vec<String> =
            object.symbols().iter().map(|symbol| show_symbol(&object, symbol)).collect();
        assert_eq!(ours, symbols, "{}", path.display());
        // Offset Info Type Value Name
        let mut relocations: Vec<(u64, String)> = columns()
            .filter(|c| c.get(2).is_some_and(|kind| kind.starts_with("R_BPF")))
            .map(|c| (u64::from_str_radix(c[0], 16).expect("hexadecimal"), c[2].to_owned()))
            .collect();
        let mut ours: Vec<(u64, String)> = object
            .sections()
            .iter()
            .flat_map(|section| object.relocations(section.index))
            .map(|relocation| (relocation.offset, relocation.kind.to_string()))
            .collect();
        relocations.sort();
        ours.sort();
        assert_eq!(ours, relocations, "{}", path.display());
    }
}

fn show_symbol(object: &Object, symbol: &crate::Symbol) -> String {
    let kind = match symbol.kind {
        SymbolKind::NoType => "NOTYPE",
        SymbolKind::Object => "OBJECT",
        SymbolKind::Function => "FUNC",
        SymbolKind::Section => "SECTION",
        SymbolKind::File => "FILE",
        SymbolKind::Other(_) => "OTHER",
    };
    let binding = match symbol.binding {
        Binding::Local => "LOCAL",
        Binding::Global => "GLOBAL",
        Binding::Weak => "WEAK",
        Binding::Other(_) => "OTHER",
    };
    let place = match symbol.place {
        Place::Undefined => "UND".to_owned(),
        Place::Section(index) => index.0.to_string(),
        Place::Absolute => "ABS".to_owned(),
        Place::Other(number) => number.to_string(),
    };
    let name = object.symbol_label(symbol);
    let line = format!("{:016x} {} {kind} {binding} {place} {name}", symbol.value, symbol.size);
    line.trim_end().to_owned()
}

#[test]
fn types_as_bpftool_dumps_them() {
    for path in objects() {
        let object = read(&path);
        let Some(btf) = object.btf() else { continue };
        let Some((text, true)) = output("bpftool", &["btf", "dump", "file"], &path) else {
            println!("skipped: bpftool does not dump {}", path.display());
            continue;
        };
        // The offsets and sizes in sections differ: the linker's relocations are ours.
        let shown: Vec<&str> =
            text.lines().filter(|line| !line.starts_with("\ttype_id=")).collect();
        let ours = dump(btf);
        assert_eq!(ours.lines().collect::<Vec<_>>(), shown, "{}", path.display());
    }
}

/// The types in the words of `bpftool btf dump`.
fn dump(btf: &Btf) -> String {
    let mut text = String::new();
    let named = |name: &str| match name {
        "" => "(anon)".to_owned(),
        name => name.to_owned(),
    };
    for (id, ty) in btf.types() {
        let name = named(btf.name(id));
        let _ = write!(text, "[{id}] {} '{name}'", ty.kind.name());
        let _ = match &ty.kind {
            Kind::Void => Ok(()),
            Kind::Int(int) => {
                let encoding = match (int.signed, int.char, int.bool) {
                    (true, _, _) => "SIGNED",
                    (_, true, _) => "CHAR",
                    (_, _, true) => "BOOL",
                    _ => "(none)",
                };
                let (size, offset, bits) = (int.size, int.bit_offset, int.bits);
                writeln!(
                    text,
                    " size={size} bits_offset={offset} nr_bits={bits} encoding={encoding}"
                )
            }
            Kind::Ptr(to)
            | Kind::Typedef(to)
            | Kind::Volatile(to)
            | Kind::Const(to)
            | Kind::Restrict(to)
            | Kind::TypeTag(to) => writeln!(text, " type_id={to}"),
            Kind::Array(array) => {
                let (element, index, count) = (array.element, array.index, array.count);
                writeln!(text, " type_id={element} index_type_id={index} nr_elems={count}")
            }
            Kind::Struct(composite) | Kind::Union(composite) => {
                let members = btf.members(composite);
                let _ = writeln!(text, " size={} vlen={}", composite.size, members.len());
                members.iter().try_for_each(|member| {
                    let name = named(btf.str(member.name));
                    let _ = write!(text, "\t'{name}' type_id={}", member.ty);
                    let _ = write!(text, " bits_offset={}", member.bit_offset);
                    match member.bit_size {
                        0 => writeln!(text),
                        bits => writeln!(text, " bitfield_size={bits}"),
                    }
                })
            }
            Kind::Enum(enumeration) | Kind::Enum64(enumeration) => {
                let values = btf.enum_values(enumeration);
                let signed = if enumeration.signed { "SIGNED" } else { "UNSIGNED" };
                let _ = writeln!(
                    text,
                    " encoding={signed} size={} vlen={}",
                    enumeration.size,
                    values.len()
                );
                let suffix = match (&ty.kind, enumeration.signed) {
                    (Kind::Enum(_), _) => "",
                    (_, true) => "LL",
                    (_, false) => "ULL",
                };
                values.iter().try_for_each(|value| {
                    let name = btf.str(value.name);
                    let _ = write!(text, "\t'{name}' val=");
                    match enumeration.signed {
                        true => writeln!(text, "{}{suffix}", value.value.cast_signed()),
                        false => writeln!(text, "{}{suffix}", value.value),
                    }
                })
            }
            Kind::Forward { union } => {
                writeln!(text, " fwd_kind={}", if *union { "union" } else { "struct" })
            }
            Kind::Func { proto, linkage } => writeln!(text, " type_id={proto} linkage={linkage}"),
            Kind::FuncProto { returns, params } => {
                let params = btf.params(*params);
                let _ = writeln!(text, " ret_type_id={returns} vlen={}", params.len());
                params.iter().try_for_each(|param| {
                    let name = named(btf.str(param.name));
                    writeln!(text, "\t'{name}' type_id={}", param.ty)
                })
            }
            Kind::Var { ty, linkage } => {
                let linkage = match linkage {
                    Linkage::Extern => "extern".to_owned(),
                    other => other.to_string(),
                };
                writeln!(text, " type_id={ty}, linkage={linkage}")
            }
            Kind::Datasec { size, vars } => {
                writeln!(text, " size={size} vlen={}", btf.datasec_vars(*vars).len())
            }
            Kind::Float { size } => writeln!(text, " size={size}"),
            Kind::DeclTag { target, component } => {
                let component = component.map_or(-1, i64::from);
                writeln!(text, " type_id={target} component_idx={component}")
            }
        };
    }
    text
}

#[test]
fn definitions_as_bpftool_prints_them() {
    let mut compared = 0;
    for path in objects() {
        let object = read(&path);
        let Some(btf) = object.btf() else { continue };
        let arguments = ["btf", "dump", "file"];
        let output =
            Command::new("bpftool").args(arguments).arg(&path).args(["format", "c"]).output();
        let Ok(output) = output else {
            println!("skipped: bpftool cannot be run");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        for (id, ty) in btf.types() {
            let is_defined = matches!(
                ty.kind,
                Kind::Struct(_)
                    | Kind::Union(_)
                    | Kind::Enum(_)
                    | Kind::Enum64(_)
                    | Kind::Typedef(_)
            );
            if !is_defined || btf.name(id).is_empty() || id == TypeId::VOID {
                continue;
            }
            let ours = btf.definition(id);
            assert!(text.contains(&ours), "{}:\n{ours}\nis not in\n{text}", path.display());
            compared += 1;
        }
    }
    println!("{compared} definitions compared");
}

#[test]
fn linked_as_by_libbpf() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let tool = std::env::temp_dir().join(format!("skep-libbpf-link-{}", std::process::id()));
    let source = root.join("libbpf_link.c");
    let built = Command::new("cc").arg("-o").arg(&tool).arg(source).arg("-lbpf").output();
    if !built.is_ok_and(|output| output.status.success()) {
        println!("skipped: no C compiler, or no libbpf to link with");
        return;
    }
    let mut compared = 0;
    for path in objects() {
        let object = read(&path);
        let Some((text, true)) = output(&tool.to_string_lossy(), &[], &path) else {
            println!("skipped: libbpf does not open {}", path.display());
            continue;
        };
        compared += compare_with_libbpf(&object, &text, &path);
    }
    let _ = std::fs::remove_file(&tool);
    println!("{compared} programs linked as by libbpf");
}

/// The number of entries that the tool printed; at least one.
fn entries_of(declaration: &str) -> u32 {
    let entries = declaration.split_once(" entries ").and_then(|(_, rest)| rest.split(' ').next());
    let entries = entries.and_then(|entries| entries.parse().ok()).expect("a number of entries");
    assert!(entries > 0, "{declaration}");
    entries
}

fn compare_with_libbpf(object: &Object, text: &str, path: &Path) -> usize {
    let mut by_fd: BTreeMap<i32, &str> = BTreeMap::new();
    let mut maps = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("map ")) {
        let (declaration, fd) = line.rsplit_once(" fd ").expect("the tool prints the number");
        maps.push(declaration);
        let name = line.split(' ').nth(1).expect("the tool prints the name");
        by_fd.insert(fd.parse().expect("a number"), name);
    }
    if by_fd.contains_key(&-1) {
        println!("skipped: libbpf may not create the maps of {}", path.display());
        return 0;
    }
    let ours: Vec<String> = object
        .maps()
        .iter()
        .zip(&maps)
        .map(|(map, theirs)| {
            // An array of perf events that declares no size gets one for each processor, which
            // here is the machine's affair.
            let by_processors = map.map_type == MapType::PERF_EVENT_ARRAY && map.max_entries == 0;
            let entries = match by_processors {
                true => entries_of(theirs),
                false => map.max_entries,
            };
            format!(
                "map {} type {} key {} value {} entries {} flags {} extra {}",
                map.name,
                map.map_type.0,
                map.key_size,
                map.value_size,
                entries,
                map.flags.0,
                map.map_extra
            )
        })
        .collect();
    assert_eq!(ours, maps, "{}", path.display());
    let mut compared = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("program ")) {
        let (name, code) = line.split_once(' ').expect("the tool prints name and code");
        let bytes: Vec<u8> = (0..code.len() / 2)
            .map(|at| u8::from_str_radix(&code[at * 2..at * 2 + 2], 16).expect("hexadecimal"))
            .collect();
        let theirs = Slot::from_code(&bytes).expect("whole slots");
        let options =
            LinkOptions { kernel_functions: KernelFunctions::ByName, ..LinkOptions::default() };
        let linked = object.link(super::function(object, name).index, options);
        let linked = linked.expect("what libbpf links, we link");
        if !linked.bytecode.kernel_functions.is_empty() {
            println!("skipped: {name} calls kernel functions, which libbpf numbers as the kernel");
            continue;
        }
        let name_of = |index: i32| {
            let index = linked.maps[usize::try_from(index).expect("an index")];
            object.map(index).expect("it exists").name.as_str()
        };
        let theirs =
            with_names(&theirs, Imm64Kind::MapByFd, Imm64Kind::MapValueByFd, |fd| by_fd[&fd]);
        let ours = with_names(
            &linked.bytecode.slots,
            Imm64Kind::MapByIdx,
            Imm64Kind::MapValueByIdx,
            name_of,
        );
        assert_eq!(ours, theirs, "{}: {name}", path.display());
        compared += 1;
    }
    compared
}

/// Slots as text, with the names of maps in place of their numbers.
fn with_names<'a>(
    slots: &[Slot],
    map: Imm64Kind,
    value: Imm64Kind,
    name: impl Fn(i32) -> &'a str,
) -> Vec<String> {
    let (map, value) = (map.row().src, value.row().src);
    slots
        .iter()
        .map(|slot| match slot.is_wide() {
            true if slot.src() == map => format!("r{} = map {}", slot.dst(), name(slot.imm)),
            true if slot.src() == value => format!("r{} = value {}", slot.dst(), name(slot.imm)),
            _ => format!("{slot:?}"),
        })
        .collect()
}
