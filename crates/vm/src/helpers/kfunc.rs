//! Kernel functions (kfuncs) that a machine has, which programs call by name.
//!
//! A call of one is bound when the program is linked and from then on is a call of a helper, whose
//! number lies above those that Linux gives. What is no computation of its own finds nothing here:
//! a machine has no tasks and no control groups. Behaviour: Linux, `kernel/bpf/helpers.c`,
//! `bpf_iter.c`.

use skep_bpf::op::Size;
use skep_bpf::platform::HelperId;

use super::{Call, Implementation, kfunc_dynptr, kfunc_text};
use crate::errno::Errno;
use crate::memory::Access;
use crate::run::MAX_LOOPS;
use crate::trap::TrapKind;

/// A kernel function: its name and what it does.
pub(super) type Kfunc = (&'static str, fn(&mut Call<'_>) -> Result<u64, TrapKind>);

const OWN: &[Kfunc] = &[
    ("bpf_iter_num_new", num_new),
    ("bpf_iter_num_next", num_next),
    ("bpf_iter_num_destroy", num_destroy),
    ("bpf_iter_bits_new", bits_new),
    ("bpf_iter_bits_next", bits_next),
    ("bpf_iter_bits_destroy", bits_destroy),
    ("bpf_rcu_read_lock", nothing),
    ("bpf_rcu_read_unlock", nothing),
    ("bpf_preempt_disable", nothing),
    ("bpf_preempt_enable", nothing),
    ("bpf_local_irq_save", save_interrupts),
    ("bpf_local_irq_restore", nothing),
    ("bpf_task_from_pid", nothing),
    ("bpf_task_from_vpid", nothing),
    ("bpf_cgroup_from_id", nothing),
];

/// The first number that stands for a kernel function.
const FIRST: u32 = 1 << 31;

fn all() -> impl Iterator<Item = &'static Kfunc> {
    OWN.iter().chain(kfunc_text::KFUNCS).chain(kfunc_dynptr::KFUNCS)
}

/// The kernel functions that are implemented, under the numbers that calls of them get.
pub(super) fn standard() -> impl Iterator<Item = (HelperId, Implementation)> {
    (FIRST..).zip(all()).map(|(id, (_, run))| (HelperId(id), Implementation::Standard(*run)))
}

/// The number that stands for a kernel function, if it is implemented.
pub(crate) fn number(name: &str) -> Option<HelperId> {
    (FIRST..).zip(all()).find(|(_, kfunc)| kfunc.0 == name).map(|(id, _)| HelperId(id))
}

/// The name of the kernel function that a number stands for.
pub(crate) fn name(id: HelperId) -> Option<&'static str> {
    let index = id.0.checked_sub(FIRST)?;
    all().nth(index as usize).map(|kfunc| kfunc.0)
}

/// The names of the kernel functions that are implemented.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|kfunc| kfunc.0)
}

/// Runs do not wait for one another, and what is looked for is not there.
fn nothing(_call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok(0)
}

/// Nothing interrupts a run: what is saved means nothing.
fn save_interrupts(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let saved = call.guest(0, 8, Access::Write)?;
    call.machine.memory().window().store(saved, Size::Dw, 0)?;
    Ok(0)
}

/// What a function returns as an `int`.
pub(super) fn int(value: i32) -> u64 {
    u64::from(value as u32)
}

/// `errno` as a function returns it.
pub(super) fn failed(errno: Errno) -> u64 {
    int(-errno.0)
}

/// Where the current number of `struct bpf_iter_num` lies, and the one after the last.
const CURRENT: u32 = 0;
const END: u32 = 4;

fn num_new(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let it = call.guest(0, 8, Access::Write)?;
    let (start, end) = (call.scalar(1) as i32, call.scalar(2) as i32);
    let count = i64::from(end) - i64::from(start);
    let (current, end, result) = if count < 0 {
        (0, 0, failed(Errno::EINVAL))
    } else if count > i64::from(MAX_LOOPS) {
        (0, 0, failed(Errno::E2BIG))
    } else {
        // One before the first, whatever it is.
        (start.wrapping_sub(1), end, 0)
    };
    set_num(call, it, current, end)?;
    Ok(result)
}

fn set_num(call: &Call<'_>, it: u32, current: i32, end: i32) -> Result<(), TrapKind> {
    let window = call.machine.memory().window();
    window.store(it + CURRENT, Size::W, current as u64)?;
    Ok(window.store(it + END, Size::W, end as u64)?)
}

/// Gives the address of the current number, which lies in the iterator.
fn num_next(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let it = call.guest(0, 8, Access::Write)?;
    let window = call.machine.memory().window();
    let next = (window.load(it + CURRENT, Size::W)? as i32).wrapping_add(1);
    let end = window.load(it + END, Size::W)? as i32;
    if next >= end {
        set_num(call, it, 0, 0)?;
        return Ok(0);
    }
    window.store(it + CURRENT, Size::W, next as u64)?;
    Ok((it + CURRENT).into())
}

fn num_destroy(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let it = call.guest(0, 8, Access::Write)?;
    set_num(call, it, 0, 0)?;
    Ok(0)
}

/// The most words whose bits can be iterated over (`BITS_ITER_NR_WORDS_MAX`).
const MOST_WORDS: u32 = 511;
/// `struct bpf_iter_bits`: one word itself, or where more are; their bits; the current bit.
const WORD: u32 = 0;
const COUNT: u32 = 8;
const BIT: u32 = 12;
const BITS_BYTES: u32 = 16;

fn bits_new(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let it = call.guest(0, BITS_BYTES, Access::Write)?;
    let (from, words) = (call.scalar(1), call.scalar(2) as u32);
    let window = call.machine.memory().window();
    window.fill(it, BITS_BYTES, 0)?;
    window.store(it + BIT, Size::W, u64::MAX)?;
    if from == 0 || words == 0 {
        return Ok(failed(Errno::EINVAL));
    }
    if words > MOST_WORDS {
        return Ok(failed(Errno::E2BIG));
    }
    let mut bytes = vec![0; 8 * words as usize];
    if !u32::try_from(from).is_ok_and(|from| window.read(from, &mut bytes).is_ok()) {
        return Ok(failed(Errno::EFAULT));
    }
    let bits: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let word = match bits.as_slice() {
        [word] => *word,
        // More do not fit; the iterator says which they are.
        _ => match call.cpu.input.keep_bits(bits) {
            Some(place) => place,
            None => return Ok(failed(Errno::ENOMEM)),
        },
    };
    window.store(it + WORD, Size::Dw, word)?;
    window.store(it + COUNT, Size::W, u64::from(64 * words))?;
    Ok(0)
}

/// Gives the address of the number of the next bit that is set, which lies in the iterator.
fn bits_next(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let it = call.guest(0, BITS_BYTES, Access::Write)?;
    let window = call.machine.memory().window();
    let word = window.load(it + WORD, Size::Dw)?;
    let count = window.load(it + COUNT, Size::W)? as u32;
    let bit = window.load(it + BIT, Size::W)? as i32;
    if count == 0 || i64::from(bit) >= i64::from(count) {
        return Ok(0);
    }
    let one = [word];
    let words = if count == 64 { &one[..] } else { call.cpu.input.kept_bits(word) };
    let start = bit.wrapping_add(1) as u32;
    let next = (start..count).find(|bit| {
        let word = words.get((bit / 64) as usize).copied().unwrap_or(0);
        word >> (bit % 64) & 1 != 0
    });
    window.store(it + BIT, Size::W, next.unwrap_or(count).into())?;
    Ok(next.map_or(0, |_| (it + BIT).into()))
}

fn bits_destroy(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let it = call.guest(0, BITS_BYTES, Access::Write)?;
    let window = call.machine.memory().window();
    let count = window.load(it + COUNT, Size::W)?;
    if count > 64 {
        let word = window.load(it + WORD, Size::Dw)?;
        call.cpu.input.drop_bits(word);
    }
    window.fill(it, BITS_BYTES, 0)?;
    Ok(0)
}
