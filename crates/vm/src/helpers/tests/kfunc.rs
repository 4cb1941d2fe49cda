//! Kernel functions against the live kernel, which knows them by the numbers in its BTF.

use skep_bpf::codec::Slot;
use skep_bpf::platform::ProgType;
use skep_bpf::program::{Bytecode, Program};
use skep_btf::Btf;

use super::{Bench, kernel_is_here, kernel_load, kernel_run, slots};
use crate::context::Skb;
use crate::machine::LoadError;

/// A program in which `call NAME` of kernel functions was written as `call local`-free helper
/// calls cannot be: the text has `kfunc NAME` lines, which become calls of the names' list.
fn program(text: &str) -> (Vec<Slot>, Vec<String>) {
    let mut names: Vec<String> = Vec::new();
    let lines = text.lines().map(|line| match line.trim().strip_prefix("kfunc ") {
        Some(name) => {
            let place = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            });
            // Marked by a number that no helper has.
            format!("call {}", 1_000_000 + place)
        }
        None => line.to_owned(),
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut slots = slots(&text);
    for slot in &mut slots {
        if slot.opcode == 0x85 && slot.imm >= 1_000_000 {
            *slot = Slot::new(0x85, 0, 2, 0, slot.imm - 1_000_000);
        }
    }
    (slots, names)
}

struct Kernel(Btf);

impl Kernel {
    /// None where the kernel cannot be asked or does not say what it has.
    fn new() -> Option<Kernel> {
        if !kernel_is_here() {
            return None;
        }
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            eprintln!("skipped the comparison with the kernel: it has no BTF");
            return None;
        };
        Some(Kernel(Btf::parse(&bytes).expect("BTF")))
    }

    fn compare(&self, bench: &mut Bench, text: &str) {
        let (slots, names) = program(text);
        let insns: Vec<[u8; 8]> = slots
            .iter()
            .map(|slot| {
                let mut slot = *slot;
                if slot.opcode == 0x85 && slot.src() == 2 {
                    let name = &names[slot.imm as usize];
                    let id =
                        self.0.find_func(name).unwrap_or_else(|| panic!("{name} is not there"));
                    slot = Slot::new(0x85, 0, 2, 0, id.0 as i32);
                }
                slot.to_bytes()
            })
            .collect();
        let kernel =
            kernel_load(ProgType::SCHED_CLS, &insns).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let there = kernel_run(&kernel, &[0; 64], &[]).unwrap().retval;
        let code = Bytecode { slots, kernel_functions: names, ..Bytecode::default() };
        let program = Program::new(&code).unwrap();
        let loaded = bench.machine.load("test", ProgType::SCHED_CLS, program, &[]).unwrap();
        let mut packet = Skb::new(ProgType::SCHED_CLS, vec![0; 64]);
        assert_eq!(bench.run(&loaded, &mut packet).r0 as u32, there, "{text}");
    }
}

#[test]
fn numbers_are_counted_as_in_the_kernel() {
    let Some(kernel) = Kernel::new() else { return };
    let mut bench = Bench::new();
    let bounds = [
        (0, 5),
        (3, 3),
        (5, 3),
        (-3, 4),
        (i32::MIN, i32::MIN + 3),
        (0, 8 * 1024 * 1024 + 1),
        (i32::MIN, i32::MAX),
        (i32::MAX - 2, i32::MAX),
    ];
    for (start, end) in bounds {
        kernel.compare(
            &mut bench,
            &format!(
                "r1 = r10
                 r1 += -8
                 r2 = {start}
                 r3 = {end}
                 kfunc bpf_iter_num_new
                 r6 = r0
                 r7 = 0
                 next:
                 r1 = r10
                 r1 += -8
                 kfunc bpf_iter_num_next
                 if r0 == 0 goto done
                 r1 = *(u32 *)(r0 + 0)
                 r6 *= 31
                 r6 += r1
                 goto next
                 done:
                 r1 = r10
                 r1 += -8
                 kfunc bpf_iter_num_destroy
                 r0 = r6
                 exit"
            ),
        );
    }
}

#[test]
fn sections_without_interrupts_are_left_again() {
    let Some(kernel) = Kernel::new() else { return };
    kernel.compare(
        &mut Bench::new(),
        "r6 = 5
         r1 = r10
         r1 += -8
         kfunc bpf_local_irq_save
         r6 += 2
         r1 = r10
         r1 += -8
         kfunc bpf_local_irq_restore
         r0 = r6
         exit",
    );
}

#[test]
fn bits_are_found_as_in_the_kernel() {
    let Some(kernel) = Kernel::new() else { return };
    let mut bench = Bench::new();
    let words =
        [(0_i64, 0_i64), (1, 0), (-1, -1), (0x10_0001, 1 << 63), (0, i64::MIN), (1 << 62, 5)];
    for (first, second) in words {
        for (count, from) in
            [(0, "r10"), (1, "r10"), (2, "r10"), (3, "r10"), (512, "r10"), (1, "0")]
        {
            kernel.compare(
                &mut bench,
                &format!(
                    "r1 = {first} ll
                     *(u64 *)(r10 - 40) = r1
                     r1 = {second} ll
                     *(u64 *)(r10 - 32) = r1
                     *(u64 *)(r10 - 24) = 3
                     r1 = r10
                     r1 += -16
                     r2 = {from}
                     if r2 == 0 goto null
                     r2 += -40
                     null:
                     r3 = {count}
                     kfunc bpf_iter_bits_new
                     r6 = r0
                     next:
                     r1 = r10
                     r1 += -16
                     kfunc bpf_iter_bits_next
                     if r0 == 0 goto done
                     r1 = *(u32 *)(r0 + 0)
                     r6 *= 31
                     r6 += r1
                     goto next
                     done:
                     r1 = r10
                     r1 += -16
                     kfunc bpf_iter_bits_destroy
                     r0 = r6
                     exit"
                ),
            );
        }
    }
}

/// Strings of up to seven characters, or without an end within what is initialised.
#[test]
fn strings_are_searched_as_in_the_kernel() {
    let Some(kernel) = Kernel::new() else { return };
    let mut bench = Bench::new();
    let texts =
        [&b""[..], b"a", b"abcabc", b"bc", b"abd", b"ABC", b"\xe4b", b"cab", b"aaab", b"aab"];
    let two = ["bpf_strcmp", "bpf_strcasecmp", "bpf_strspn", "bpf_strcspn", "bpf_strstr"];
    let word = |text: &[u8]| {
        let mut bytes = [0; 8];
        bytes[..text.len()].copy_from_slice(text);
        i64::from_le_bytes(bytes)
    };
    let strings = |one: &[u8], other: &[u8]| {
        format!(
            "r1 = {} ll
             *(u64 *)(r10 - 8) = r1
             r1 = {} ll
             *(u64 *)(r10 - 16) = r1
             r1 = r10
             r1 += -8
             r2 = r10
             r2 += -16",
            word(one),
            word(other)
        )
    };
    for one in texts {
        for other in texts {
            for name in two {
                kernel.compare(&mut bench, &format!("{}\nkfunc {name}\nexit", strings(one, other)));
            }
            for len in [0, 1, 2, 3, 6] {
                let start = strings(one, other);
                let text = format!("{start}\nr3 = {len}\nkfunc bpf_strnstr\nexit");
                kernel.compare(&mut bench, &text);
            }
        }
        for wanted in [0, 97, 98, 228, -28, 256 + 97] {
            for name in ["bpf_strchr", "bpf_strchrnul", "bpf_strrchr"] {
                let start = strings(one, b"");
                kernel.compare(&mut bench, &format!("{start}\nr2 = {wanted}\nkfunc {name}\nexit"));
            }
            for count in [0, 1, 3, 8] {
                let text = format!(
                    "{}\nr2 = {count}\nr3 = {wanted}\nkfunc bpf_strnchr\nexit",
                    strings(one, b"")
                );
                kernel.compare(&mut bench, &text);
            }
        }
        for count in [0, 1, 3, 7] {
            let start = strings(one, b"");
            kernel.compare(&mut bench, &format!("{start}\nr2 = {count}\nkfunc bpf_strnlen\nexit"));
        }
        kernel.compare(&mut bench, &format!("{}\nkfunc bpf_strlen\nexit", strings(one, b"")));
    }
    for name in ["bpf_strcmp", "bpf_strlen", "bpf_strspn", "bpf_strstr"] {
        for bad in ["r1 = 0", "r1 = 4096"] {
            kernel.compare(
                &mut bench,
                &format!("{}\n{bad}\nkfunc {name}\nexit", strings(b"a", b"a")),
            );
        }
    }
}

/// Slices of a packet, moved and cloned; what they find goes into what is returned.
#[test]
fn packets_are_sliced_as_in_the_kernel() {
    let Some(kernel) = Kernel::new() else { return };
    let mut bench = Bench::new();
    for (start, end) in [(0, 64), (10, 30), (64, 64), (0, 65), (5, 4)] {
        for (offset, name) in [
            (0, "slice"),
            (1, "slice_rdwr"),
            (12, "slice"),
            (13, "slice"),
            (60, "slice"),
            (-1, "slice"),
        ] {
            kernel.compare(
                &mut bench,
                &format!(
                    "r6 = r1
                     r2 = 0
                     r3 = r10
                     r3 += -16
                     kfunc bpf_dynptr_from_skb
                     r7 = r0
                     r1 = r10
                     r1 += -16
                     r2 = {start}
                     r3 = {end}
                     kfunc bpf_dynptr_adjust
                     r7 *= 31
                     r7 += r0
                     r1 = r10
                     r1 += -16
                     r2 = r10
                     r2 += -32
                     kfunc bpf_dynptr_clone
                     r7 *= 31
                     r7 += r0
                     r1 = r10
                     r1 += -32
                     kfunc bpf_dynptr_size
                     r7 *= 31
                     r7 += r0
                     r1 = r10
                     r1 += -32
                     kfunc bpf_dynptr_is_rdonly
                     r7 *= 31
                     r7 += r0
                     r1 = r10
                     r1 += -32
                     r2 = {offset}
                     *(u64 *)(r10 - 40) = 5
                     r3 = r10
                     r3 += -40
                     r4 = 8
                     kfunc bpf_dynptr_{name}
                     if r0 == 0 goto out
                     r1 = *(u8 *)(r0 + 7)
                     r7 += r1
                     r7 += 1
                     out:
                     r0 = r7
                     exit"
                ),
            );
        }
    }
}

#[test]
fn functions_that_are_absent_are_named() {
    let bench = Bench::new();
    let (slots, kernel_functions) =
        program("kfunc bpf_rcu_read_lock\nkfunc bpf_no_such\nkfunc bpf_obj_new_impl\nexit");
    let program =
        Program::new(&Bytecode { slots, kernel_functions, ..Bytecode::default() }).unwrap();
    let error = bench.machine.load("test", ProgType::SCHED_CLS, program, &[]).unwrap_err();
    assert!(matches!(error, LoadError::NoKernelFunctions { .. }));
    assert_eq!(error.to_string(), "it calls bpf_no_such, bpf_obj_new_impl: not implemented");
}
