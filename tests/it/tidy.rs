//! Keeps the house as `ARCHITECTURE.md` describes it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file below a folder, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the project") {
            let path = entry.expect("an entry of it").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// The packages that each package may depend on.
const LAYERS: [(&str, &[&str]); 9] = [
    ("crates/bpf", &[]),
    ("crates/btf", &[]),
    ("crates/object", &["skep-bpf", "skep-btf"]),
    ("crates/verifier", &["skep-bpf", "skep-btf"]),
    ("crates/jit", &["skep-bpf", "skep-verifier"]),
    ("crates/vm", &["skep-bpf", "skep-btf", "skep-jit", "skep-object", "skep-verifier"]),
    ("crates/net", &[]),
    ("crates/kernel", &[]),
    (
        "crates/cli",
        &[
            "skep",
            "skep-bpf",
            "skep-btf",
            "skep-jit",
            "skep-kernel",
            "skep-net",
            "skep-object",
            "skep-verifier",
        ],
    ),
];

#[test]
fn dependencies_point_down() {
    let mut listed = BTreeSet::new();
    for (folder, allowed) in LAYERS {
        let manifest = root().join(folder).join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).expect("a manifest");
        let dependencies = text.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let ours = name == "skep" || name.starts_with("skep-");
            assert!(!ours || allowed.contains(&name), "{folder} must not depend on {name}");
        }
        listed.insert(folder.to_owned());
    }
    for entry in std::fs::read_dir(root().join("crates")).expect("the packages") {
        let name = entry.expect("a package").file_name();
        let folder = format!("crates/{}", name.to_string_lossy());
        assert!(listed.contains(&folder), "{folder} has no place among the layers");
    }
}

#[test]
fn files_say_what_they_are() {
    let mut read = 0;
    for folder in ["crates", "tests", "benches", "fuzz"] {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
            read += 1;
        }
    }
    assert!(read > 100, "only {read} files were found");
}

/// The first words of a line that no file may have, with what to do instead. In pieces, so that
/// this file does not have them.
#[test]
fn nothing_is_left_over() {
    let banned = [
        (["dbg", "!("].concat(), "remove it"),
        (["todo", "!("].concat(), "write it or return an error"),
        (["unimplemented", "!("].concat(), "write it or return an error"),
        (["#[ign", "ore]"].concat(), "give the reason, and say how to run it"),
        (["FIX", "ME"].concat(), "fix it, or open an issue"),
    ];
    for folder in ["crates", "tests", "benches", "fuzz"] {
        for (path, text) in sources(folder) {
            for (index, line) in text.lines().enumerate() {
                for (word, instead) in &banned {
                    let place = format!("{}:{}", path.display(), index + 1);
                    assert!(!line.contains(word.as_str()), "{place}: {word}: {instead}");
                }
            }
        }
    }
}

/// A file that no `mod` names is not compiled, and nobody notices.
#[test]
fn every_file_is_a_module() {
    for (folder, _) in LAYERS {
        let files = sources(&format!("{folder}/src"));
        for (path, _) in &files {
            let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
            let name = match name.as_str() {
                "lib" | "main" => continue,
                "mod" => {
                    let parent = path.parent().and_then(Path::file_name).expect("a folder");
                    parent.to_string_lossy().into_owned()
                }
                _ => name,
            };
            let declared = files.iter().any(|(_, text)| {
                text.lines().any(|line| {
                    let line = line.trim_start();
                    let line = line.strip_prefix("pub ").unwrap_or(line);
                    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
                    let line = line.strip_prefix("pub(super) ").unwrap_or(line);
                    line.strip_prefix("mod ").is_some_and(|rest| {
                        rest.strip_prefix(&name).is_some_and(|end| end.starts_with([';', ' ']))
                    })
                })
            });
            assert!(declared, "no mod names {}", path.display());
        }
    }
}
