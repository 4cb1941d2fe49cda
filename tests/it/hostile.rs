//! Hostile programs on every engine with window semantics: see `skep_tests::hostile`.
//!
//! A million: `SKEP_HOSTILE_PROGRAMS=1000000 cargo test --release -p skep-tests hostile -- --nocapture`.
//! The first of them under valgrind, which sees every access that is made:
//! `SKEP_HOSTILE_VALGRIND=200 cargo test --release -p skep-tests hostile -- --nocapture`.

use std::collections::HashSet;
use std::env;
use std::ops::Range;
use std::process::Command;

use skep_bpf::text::c_like::Decimal;
use skep_tests::hostile::{Arena, Ran, program};
use skep_tests::random::Random;

/// Set where an emulator runs this process.
const EMULATED: &str = "SKEP_HOSTILE_EMULATED";

/// How many programs run unless the environment says otherwise.
const PROGRAMS: u64 = 3_000;

fn setting(name: &str, otherwise: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")),
        Err(_) => otherwise,
    }
}

#[test]
fn hostile_programs_are_contained() {
    let programs = setting("SKEP_HOSTILE_PROGRAMS", PROGRAMS);
    let first = setting("SKEP_HOSTILE_SEED", 1);
    let make = if env::var_os(EMULATED).is_some() { Arena::emulated } else { Arena::new };
    let mut arena = make().unwrap();
    let (mut finished, mut dropped, mut shapes) = (0, 0, HashSet::new());
    for seed in first..first + programs {
        let mut random = Random::new(seed);
        let program = program(&mut random);
        for insn in program.insns() {
            shapes.insert(std::mem::discriminant(insn));
        }
        match arena.check(&program, &mut random) {
            Ok(Ran::Exited) => finished += 1,
            Ok(Ran::Trapped) => {}
            Ok(Ran::LoadDropped) => {
                dropped += 1;
                arena = make().unwrap();
            }
            Err(difference) => {
                let mut listing = String::new();
                for index in 0..program.insns().len() {
                    let pc = skep_bpf::program::Pc::from_index(index);
                    let insn = Decimal(&program.offsets(pc)).to_string();
                    listing += &format!("{:4}: {insn}\n", program.slot(pc).0);
                }
                panic!("seed {seed}: {difference}\n{listing}");
            }
        }
    }
    println!(
        "{programs} programs, {finished} ran to their exit, {dropped} without the load that traps"
    );
    assert!(finished * 100 >= programs, "only {finished} of {programs} programs ended by an exit");
    assert!(shapes.len() >= 15, "only {} shapes of instructions", shapes.len());
}

/// Valgrind sees every access to memory, whoever makes it: machine code may only touch what the
/// machines have reserved, the rest of the process nothing that it should not.
#[test]
fn valgrind_sees_no_access_outside() {
    let programs = setting("SKEP_HOSTILE_VALGRIND", 0);
    if programs == 0 {
        println!("skipped: SKEP_HOSTILE_VALGRIND does not say how many programs to run");
        return;
    }
    // Machine code is new at old addresses, and the handler of faults reads registers: all of them,
    // also after jumps that the emulator would follow while it translates.
    let output = Command::new("valgrind")
        .args(["--smc-check=all", "--vex-iropt-register-updates=allregs-at-mem-access"])
        .args(["--vex-guest-chase=no", "--undef-value-errors=no", "--error-limit=no"])
        .arg(env::current_exe().expect("a process has a program"))
        .args(["--exact", "hostile::hostile_programs_are_contained", "--nocapture"])
        .args(["--test-threads=1"])
        .env("SKEP_HOSTILE_PROGRAMS", programs.to_string())
        .env(EMULATED, "1")
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: valgrind cannot be run: {error}");
            return;
        }
    };
    let (out, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{log}");
    let (accesses, others) = invalid_accesses(&log);
    assert!(others.is_empty(), "{others:#?}");
    let ran = out.lines().find(|line| line.contains("ran to their exit"));
    println!("{}; {accesses} faults, all in reserved memory", ran.unwrap_or(&out));
    assert!(accesses > 0, "no program accessed what it must not: {log}");
}

/// How many of valgrind's reports are of accesses of machine code to memory that the process
/// reserved in very large pieces; and all other reports.
fn invalid_accesses(log: &str) -> (usize, Vec<String>) {
    let text: Vec<&str> = log
        .lines()
        .filter_map(|line| line.strip_prefix("==")?.split_once("== ").map(|(_, text)| text))
        .collect();
    let number = |text: &str| u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok();
    let reserved = |line: &&str| -> Option<Range<u64>> {
        let range = line.split_once("large range [")?.1.split_once(')')?.0;
        let (start, end) = range.split_once(',')?;
        line.contains("(noaccess)").then_some(number(start)?..number(end)?)
    };
    let reserved: Vec<_> = text.iter().filter_map(reserved).collect();
    let (mut accesses, mut others) = (0, Vec::new());
    for (index, line) in text.iter().enumerate() {
        let is_report =
            ["Invalid ", "Syscall ", "Jump to "].iter().any(|start| line.starts_with(start));
        if !is_report {
            continue;
        }
        let frame = text.get(index + 1).copied().unwrap_or_default();
        let rest = text[index..].iter().take(40);
        let addr = rest.clone().find_map(|line| {
            number(line.trim_start().strip_prefix("Address ")?.split_whitespace().next()?)
        });
        let in_code = frame.contains("memfd:skep-code");
        if in_code && addr.is_some_and(|addr| reserved.iter().any(|range| range.contains(&addr))) {
            accesses += 1;
        } else {
            others.push(rest.take(12).copied().collect::<Vec<_>>().join("\n"));
        }
    }
    (accesses, others)
}

#[test]
fn reports_of_valgrind_are_read() {
    let log = "==1== Warning: set address range perms: large range [0x1000, 0x259c8b000) (noaccess)\n\
        ==1== Invalid read of size 2\n\
        ==1==    at 0x6060233: ??? (in /memfd:skep-code (deleted))\n\
        ==1==  Address 0x2000 is in a --- anonymous segment\n\
        ==1== Invalid write of size 8\n\
        ==1==    at 0x6060233: ??? (in /memfd:skep-code (deleted))\n\
        ==1==  Address 0x300000000 is not stack'd, malloc'd or (recently) free'd\n\
        ==1== Invalid read of size 1\n\
        ==1==    at 0x10923: main (in /bin/program)\n\
        ==1==  Address 0x2000 is in a --- anonymous segment\n";
    let (accesses, others) = invalid_accesses(log);
    assert_eq!((accesses, others.len()), (1, 2), "{others:?}");
}
