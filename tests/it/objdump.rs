//! `skep objdump` against `llvm-objdump` 19, byte for byte, on our objects and on those that
//! distributions install (xdp-tools, libxdp, ir-keytable).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{objects_in, programs, skep};

const LLVM_OBJDUMP: &str = "llvm-objdump-19";
const LLVM_STRIP: &str = "llvm-strip-19";

/// The objects that Debian's packages install.
const INSTALLED: usize = 24;

/// Lines that were equal when all of those and our own were there: fewer mean that the comparison
/// has shrunk.
const LINES_FLOOR: usize = 40_000;

fn installed_objects() -> Vec<PathBuf> {
    let mut objects = objects_in(Path::new("/usr/lib/udev/rc_keymaps/protocols"));
    let Ok(folders) = std::fs::read_dir("/usr/lib") else { return objects };
    let mut folders: Vec<PathBuf> =
        folders.filter_map(|entry| Some(entry.ok()?.path().join("bpf"))).collect();
    folders.sort();
    for folder in folders {
        objects.extend(objects_in(&folder));
    }
    objects
}

/// What a tool prints, if it is there.
fn output(tool: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new(tool).args(arguments).output().ok()?;
    assert!(output.status.success(), "{tool} {arguments:?}: {:?}", output.status);
    Some(output.stdout)
}

/// Compares, and counts the lines.
fn compare(path: &str, options: &[&str]) -> usize {
    let mut arguments = options.to_vec();
    arguments.push(path);
    let theirs = output(LLVM_OBJDUMP, &arguments).expect("it was there before");
    let mut ours = vec!["objdump"];
    ours.extend(&arguments);
    let ran = skep(&ours);
    assert_eq!(ran.code, 0, "{ours:?}: {}", ran.err);
    if ran.out == theirs {
        return theirs.iter().filter(|byte| **byte == b'\n').count();
    }
    let theirs = String::from_utf8_lossy(&theirs).into_owned();
    let text = ran.text();
    let differ = text.lines().zip(theirs.lines()).enumerate().find(|(_, (a, b))| a != b);
    panic!("{arguments:?}: first different line (ours, theirs): {differ:?}");
}

#[test]
fn disassembly_equals_llvm_objdump() {
    if output(LLVM_OBJDUMP, &["--version"]).is_none()
        || output(LLVM_STRIP, &["--version"]).is_none()
    {
        println!("SKIPPED: {LLVM_OBJDUMP} and {LLVM_STRIP} are not both installed");
        return;
    }
    let installed = installed_objects();
    let own = programs();
    assert!(own.len() >= 7, "our own objects are missing");
    let scratch = std::env::temp_dir().join(format!("skep-objdump-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("a folder for temporary files");
    let mut lines = 0;
    for (number, object) in own.iter().chain(&installed).enumerate() {
        let path = object.display().to_string();
        for options in [&["-d"][..], &["-r"], &["-d", "-r"], &["-d", "--no-show-raw-insn"]] {
            lines += compare(&path, options);
        }
        // Without DWARF llvm-objdump reads source lines from BTF, as we do.
        let stripped = scratch.join(format!("{number}.o")).display().to_string();
        output(LLVM_STRIP, &["-g", &path, "-o", &stripped]).expect("it was there before");
        for options in [&["-S"][..], &["-d", "-S", "-r"]] {
            lines += compare(&stripped, options);
        }
    }
    std::fs::remove_dir_all(&scratch).expect("the folder is ours");
    println!(
        "compared with {LLVM_OBJDUMP}: {} objects of ours, {} installed, {lines} lines",
        own.len(),
        installed.len()
    );
    if installed.len() < INSTALLED {
        println!("SKIPPED in part: {} of {INSTALLED} installed objects found", installed.len());
        return;
    }
    assert!(lines >= LINES_FLOOR, "only {lines} lines were compared");
}
