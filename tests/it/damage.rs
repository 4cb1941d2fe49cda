//! Damaged objects: every prefix, and every byte replaced by 0, 0xff and its complement.
//!
//! A damaged object goes through parsing, preparing and checked runs, and one in a hundred through
//! the command, which must answer with the right exit code and a message that names the place.
//! `cargo test` takes a sample of the positions; `SKEP_DAMAGE=1 cargo test --release damage` takes
//! them all and says how many, how long and how much memory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use skep_tests::robustness;

/// How many positions `cargo test` takes of each object.
const SAMPLE: usize = 40;

#[test]
fn damaged_objects_are_survived() {
    let full = std::env::var_os("SKEP_DAMAGE").is_some();
    let mut tried = Tried::default();
    for path in objects() {
        let bytes = std::fs::read(&path).expect("the object was just listed");
        let step = if full { 1 } else { (bytes.len() / SAMPLE).max(1) };
        for at in (0..bytes.len()).step_by(step) {
            tried.one(&bytes[..at], full);
            for value in [0, 0xff, !bytes[at]] {
                if value != bytes[at] {
                    let mut damaged = bytes.clone();
                    damaged[at] = value;
                    tried.one(&damaged, full);
                }
            }
        }
        if full {
            println!("{}: {tried:?}, peak memory {} MiB", path.display(), peak_memory_mib());
        }
    }
    println!("{tried:?}, peak memory {} MiB", peak_memory_mib());
    if full {
        let peak = peak_memory_mib();
        assert!(peak < 100, "{peak} MiB");
    }
}

/// Our examples, and five objects of xdp-tools where they are installed.
fn objects() -> Vec<PathBuf> {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs");
    let mut found = objects_in(&programs);
    assert!(found.len() >= 7, "the examples are committed, but {programs:?} has {found:?}");
    let installed = [
        "xdpfilt_alw_all.o",
        "xdpfilt_dny_ip.o",
        "xdp-dispatcher.o",
        "xsk_def_xdp_prog.o",
        "xdpdump_xdp.o",
    ];
    let folder = std::env::consts::ARCH.to_owned() + "-linux-gnu";
    for name in installed {
        let path = Path::new("/usr/lib").join(&folder).join("bpf").join(name);
        if path.exists() {
            found.push(path);
        } else {
            println!("skipped: {} is not there (Debian: xdp-tools, libxdp1)", path.display());
        }
    }
    found
}

fn objects_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder of the examples");
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "o"))
        .collect();
    found.sort();
    found
}

#[derive(Debug, Default)]
struct Tried {
    objects: usize,
    /// How many of them went through the command.
    commands: usize,
}

impl Tried {
    fn one(&mut self, bytes: &[u8], full: bool) {
        robustness::object(bytes);
        self.objects += 1;
        if self.objects.is_multiple_of(if full { 100 } else { 20 }) {
            self.commands += 1;
            command(bytes);
        }
    }
}

/// Runs the command on a damaged object, in each way that reads one.
fn command(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("damaged.bpf.o");
    std::fs::write(&path, bytes).expect("a file in it");
    let packet = "00".repeat(64);
    let ways: [&[&str]; 5] = [
        &["inspect"],
        &["objdump", "-d", "-S", "-r"],
        &["run", "--engine", "checked", "--fuel", "10000", "--packet", &packet],
        &["run", "--unverified", "--engine", "checked", "--fuel", "10000", "--packet", &packet],
        &["verify"],
    ];
    for way in ways {
        let mut arguments = vec![OsString::from("skep")];
        arguments.extend(way.iter().map(OsString::from));
        arguments.push(path.clone().into());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let streams = skep_cli::Streams {
            input: &mut std::io::empty(),
            out: &mut out,
            err: &mut err,
            colour: false,
            terminal: false,
        };
        let code = skep_cli::run(arguments, streams);
        let message = String::from_utf8_lossy(&err);
        match code {
            0 => {}
            // A rejection or a trap is an answer.
            1 => {
                let text = String::from_utf8_lossy(&out).into_owned() + &message;
                assert!(text.contains("error[E") || text.contains("trap:"), "{way:?}: {text}");
            }
            // An object of several programs wants one to be named.
            2 | 3 => assert!(message.contains("damaged.bpf.o"), "{way:?}: {code}: {message}"),
            other => panic!("{way:?}: exit code {other}: {message}"),
        }
    }
}

/// The most memory that this process had at any time (`VmHWM`), 0 where that is not known.
fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
