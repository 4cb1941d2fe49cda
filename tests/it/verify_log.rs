//! `skep verify --log kernel` against the log of the live kernel's verifier, line by line.
//!
//! What the kernel says of its analyses (live registers, stack liveness, precision) is left out on
//! both sides.

use skep_bpf::text::parse::assemble;
use skep_kernel::{ProgSpec, Program, available, uapi};

use crate::command::{skep, skep_with_input};

/// Socket filters, with what they are to show.
const PROGRAMS: [(&str, &str); 6] = [
    (
        "branches that meet",
        "r0 = *(u32 *)(r1 + 0)\nif r0 > 7 goto far\nr0 += 1\nfar: r0 &= 15\nexit\n",
    ),
    (
        "the stack",
        "r2 = *(u32 *)(r1 + 0)\n*(u64 *)(r10 - 8) = r2\n*(u8 *)(r10 - 9) = 1\nr3 = *(u64 *)(r10 - 8)\nr0 = 0\nexit\n",
    ),
    ("a call", "r1 = 5\ncall double\nr0 += 1\nexit\ndouble: r0 = r1\nr0 *= 2\nexit\n"),
    (
        "long lines",
        "r1 = 1\nr2 = 0x1122334455667788 ll\n*(u64 *)(r10 - 256) = r1\n\
         r1 = atomic_fetch_add((u64 *)(r10 - 256), r1)\nr0 = 0\nexit\n",
    ),
    ("a loop", "r0 = 0\nagain: r0 += 1\nif r0 < 3 goto again\nexit\n"),
    (
        "a mistake on the second path",
        "r0 = 0\nr2 = *(u32 *)(r1 + 0)\nif r2 == 0 goto bad\nexit\nbad: r0 = *(u64 *)(r3 + 0)\nexit\n",
    ),
];

#[test]
fn logs_are_the_kernels() {
    if let Err(reason) = available() {
        println!("skipped: {reason}");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("program.o").display().to_string();
    let mut lines = 0;
    for (what, text) in PROGRAMS {
        let options = ["asm", "-", "-o", &path, "--section", "socket", "--license", "GPL"];
        let written = skep_with_input(&options, text.as_bytes());
        assert_eq!(written.code, 0, "{}", written.err);
        for (level, option) in
            [(uapi::log_level::REASON, "kernel=1"), (uapi::log_level::TRACE, "kernel=2")]
        {
            let ran = skep(&["verify", "--log", option, &path]);
            let ours = ran.text();
            let ours = ours.split_once("-- BEGIN PROG LOAD LOG --\n").expect("a log").1;
            let ours = ours.split_once("-- END PROG LOAD LOG --\n").expect("its end").0;
            let theirs = comparable(&log(text, level));
            lines += theirs.lines().count();
            assert_eq!(comparable(ours), theirs, "{what}, {option}");
        }
    }
    println!("{lines} lines compared");
}

fn log(text: &str, log_level: u32) -> String {
    let slots = assemble(text).expect("an assembly").slots;
    let insns: Vec<[u8; 8]> = slots.iter().map(|slot| slot.to_bytes()).collect();
    let loaded = Program::load(&ProgSpec {
        prog_type: 1,
        insns: &insns,
        licence: "GPL",
        log_level,
        log_size: 1 << 20,
        ..ProgSpec::default()
    });
    match loaded {
        Ok(program) => program.log().to_owned(),
        Err(error) => error.log,
    }
}

/// The lines that both have. A state that stands on its own, because an analysis came between, goes
/// back to its instruction.
fn comparable(log: &str) -> String {
    let is_analysis = |line: &str| {
        ["func#", "Live regs", "  ", "mark_precise", "(", "stack depth", "verification time"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let mut lines: Vec<String> = Vec::new();
    // Where the kernel goes back in its log, a line feed is lost.
    let log = log.replace("goto pc+1 4: R", "goto pc+1\n4: R");
    for line in log.lines().filter(|line| !is_analysis(line)) {
        let number = line.split_once(": R").map(|(number, _)| format!("{number}: ("));
        match (lines.last_mut(), number) {
            (Some(last), Some(number)) if last.starts_with(&number) && !last.contains(';') => {
                let state = line.split_once(": ").map_or("", |(_, state)| state);
                *last = format!("{last:<38}; {state}");
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}
