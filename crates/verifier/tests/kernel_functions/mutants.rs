//! Programs like those of the rows, changed at random: none may be accepted that the kernel refuses.
//!
//! `SKEP_MUTANTS` says how many are made of each row.

use super::{Row, bytecode, input_facts, kernel, kernels_refusal, numbered, ours};
use skep_bpf::codec::Slot;
use skep_bpf::program::Bytecode;

/// Functions that mutants may call beside those of their row.
const FUNCTIONS: &[&str] = &[
    "bpf_local_irq_save",
    "bpf_local_irq_restore",
    "bpf_rcu_read_lock",
    "bpf_rcu_read_unlock",
    "bpf_preempt_disable",
    "bpf_preempt_enable",
    "bpf_iter_task_new",
    "bpf_iter_task_next",
    "bpf_iter_task_destroy",
    "bpf_iter_task_vma_next",
    "bpf_iter_css_task_destroy",
    "bpf_iter_num_new",
    "bpf_iter_num_next",
    "bpf_iter_num_destroy",
    "bpf_task_acquire",
    "bpf_task_release",
    "bpf_rdonly_cast",
];

/// A sequence of numbers that looks random (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

/// Changes one thing.
fn mutate(code: &mut Bytecode, numbers: &mut Numbers) {
    const OFFSETS: [i32; 6] = [-32, -24, -16, -8, 0, 8];
    let at = numbers.next(code.slots.len());
    let slot = code.slots[at];
    let is_kfunc = slot.opcode == 0x85 && slot.src() == 2;
    let with = |dst, src, offset, imm| Slot::new(slot.opcode, dst, src, offset, imm);
    match numbers.next(7) {
        0 => {
            code.slots.remove(at);
        }
        1 => code.slots.insert(at, slot),
        2 if at > 0 => code.slots.swap(at, at - 1),
        3 => {
            let name = FUNCTIONS[numbers.next(FUNCTIONS.len())].to_owned();
            let known = code.kernel_functions.iter().position(|other| *other == name);
            let place = known.unwrap_or_else(|| {
                code.kernel_functions.push(name);
                code.kernel_functions.len() - 1
            });
            let call = Slot::new(0x85, 0, 2, 0, place as i32);
            if is_kfunc {
                code.slots[at] = call;
            } else {
                code.slots.insert(at, call);
            }
        }
        4 if !is_kfunc && !slot.is_wide() => {
            code.slots[at] =
                with(slot.dst(), slot.src(), slot.offset, OFFSETS[numbers.next(OFFSETS.len())]);
        }
        5 if !is_kfunc && !slot.is_wide() => {
            let dst = numbers.next(10) as u8;
            code.slots[at] = with(dst, slot.src(), slot.offset, slot.imm);
        }
        6 if slot.opcode & 7 == 5 && !is_kfunc => {
            let offset = numbers.next(9) as i16 - 4;
            code.slots[at] =
                with(slot.dst(), slot.src(), slot.offset.wrapping_add(offset), slot.imm);
        }
        _ if matches!(slot.opcode & 7, 1..=3) => {
            let offset = OFFSETS[numbers.next(OFFSETS.len())] as i16;
            code.slots[at] = with(slot.dst(), slot.src(), offset, slot.imm);
        }
        _ => {}
    }
}

#[test]
fn mutants_are_accepted_only_where_the_kernel_accepts_them() {
    let Some(kernel) = kernel() else { return };
    let types = kernel.types().expect("the types were read");
    if let Err(reason) = skep_kernel::available() {
        println!("skipped: {reason}");
        return;
    }
    let count = std::env::var("SKEP_MUTANTS").ok().and_then(|count| count.parse().ok());
    let count: usize = count.unwrap_or(4);
    let maps = input_facts();
    let all: [&[Row]; 8] = [
        super::buffers::ROWS,
        super::casts::ROWS,
        super::interrupts::ROWS,
        super::iterators::ROWS,
        super::map_fields::ROWS,
        super::objects::ROWS,
        super::strings::ROWS,
        super::tasks::ROWS,
    ];
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut asked, mut both, mut unsound) = (0, 0, Vec::new());
    for row in all.into_iter().flatten() {
        let original = bytecode(&numbered(types, row.code));
        for _ in 0..count {
            let mut code = original.clone();
            for _ in 0..=numbers.next(3) {
                if code.slots.len() > 1 {
                    mutate(&mut code, &mut numbers);
                }
            }
            asked += 1;
            if ours(&code, row.form, &kernel, &maps).is_empty() {
                match kernels_refusal(types, row.form, &code) {
                    None => both += 1,
                    Some(log) => unsound.push(format!("{}: {:?}: {log}", row.what, code.slots)),
                }
            }
        }
    }
    println!("{asked} mutants, {both} accepted by both");
    assert!(both > 0, "no mutant was accepted");
    assert!(unsound.is_empty(), "{}", unsound.join("\n"));
}
