//! What helpers ask the world for: time, randomness, who runs, where text goes.
//!
//! Real by default, replaceable field by field. Given the same host, a run is deterministic.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::profile::MadeCode;

/// A question that helpers ask without arguments.
pub type Ask<T> = Box<dyn Fn() -> T + Send + Sync>;

/// The world outside a machine.
///
/// ```
/// use skep::host::Host;
/// let host = Host { ktime_ns: Box::new(|| 42), cpus: 2, ..Host::default() };
/// assert_eq!((host.ktime_ns)(), 42);
/// ```
pub struct Host {
    /// Nanoseconds since the machine started, without time spent suspended (`CLOCK_MONOTONIC`).
    pub ktime_ns: Ask<u64>,
    /// Nanoseconds since the machine started, with time spent suspended (`CLOCK_BOOTTIME`).
    pub boot_ns: Ask<u64>,
    /// Nanoseconds of International Atomic Time (`CLOCK_TAI`).
    pub tai_ns: Ask<u64>,
    /// Random numbers.
    pub random: Ask<u32>,
    /// The number of processors: how many values per-CPU maps have, and how many
    /// [`Cpu`](crate::cpu::Cpu)s there may be.
    pub cpus: u32,
    /// The process (thread group) id in the upper, the thread id in the lower 32 bits.
    pub pid_tgid: Ask<u64>,
    /// The group id in the upper, the user id in the lower 32 bits.
    pub uid_gid: Ask<u64>,
    /// The command's name, padded with zeros.
    pub comm: Ask<[u8; 16]>,
    /// The longest packet in bytes, without its link header, that an interface takes; none if
    /// there is no such interface.
    pub mtu: Box<dyn Fn(u32) -> Option<u32> + Send + Sync>,
    /// Answers a look-up of a route (`bpf_fib_lookup`): it is given the program's
    /// `struct bpf_fib_lookup`, which it may fill in, and the flags, and gives what the helper
    /// returns. Lengths, families and flags that Linux refuses never get here.
    pub route: Box<Route>,
    /// Where `bpf_printk` goes: one call per text, without a line feed being added.
    pub printk: Box<dyn Fn(&str) + Send + Sync>,
    /// Is told of machine code when it is made, before it is executed: for profilers
    /// ([`crate::profile`]). With it, compilers note which instruction code was made from.
    pub code_made: Option<Box<CodeMade>>,
}

/// What is told of machine code. It may be called from any thread, also from the optimising
/// compiler's.
pub type CodeMade = dyn Fn(&MadeCode<'_>) + Send + Sync;

/// What answers a look-up of a route.
pub type Route = dyn Fn(&mut [u8; ROUTE_BYTES], u32) -> i64 + Send + Sync;

/// The size of `struct bpf_fib_lookup`.
pub const ROUTE_BYTES: usize = 64;

/// The answer to a look-up of a route at an interface that does not forward
/// (`BPF_FIB_LKUP_RET_FWD_DISABLED`).
pub const FORWARDING_DISABLED: i64 = 5;

/// The index of the loopback interface, which is the first in every network namespace of Linux.
const LOOPBACK: u32 = 1;
/// Its longest packet in bytes.
const LOOPBACK_MTU: u32 = 65536;

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("cpus", &self.cpus).finish_non_exhaustive()
    }
}

impl Default for Host {
    /// The clocks, the process and the number of processors of this computer; the loopback interface
    /// and no other, which does not forward; text is dropped.
    fn default() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        Host {
            ktime_ns: Box::new(|| clock(real::MONOTONIC)),
            boot_ns: Box::new(|| clock(real::BOOTTIME)),
            tai_ns: Box::new(|| clock(real::TAI)),
            random: random(),
            cpus,
            pid_tgid: Box::new(real::pid_tgid),
            uid_gid: Box::new(real::uid_gid),
            comm: Box::new(real::comm),
            mtu: Box::new(|ifindex| (ifindex == LOOPBACK).then_some(LOOPBACK_MTU)),
            route: Box::new(|_, _| FORWARDING_DISABLED),
            printk: Box::new(|_| {}),
            code_made: None,
        }
    }
}

/// A generator (SplitMix64) that starts at a number from the operating system.
fn random() -> Ask<u32> {
    let state = AtomicU64::new(real::seed());
    Box::new(move || {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    })
}

fn clock(id: real::Clock) -> u64 {
    real::now_ns(id)
}

#[cfg(target_os = "linux")]
mod real {
    use rustix::process;
    use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};

    pub(super) type Clock = DynamicClockId<'static>;
    pub(super) const MONOTONIC: Clock = DynamicClockId::Known(ClockId::Monotonic);
    pub(super) const BOOTTIME: Clock = DynamicClockId::Boottime;
    pub(super) const TAI: Clock = DynamicClockId::Tai;

    pub(super) fn now_ns(id: Clock) -> u64 {
        // A clock that this kernel lacks reads as zero, as its helper would.
        let Ok(now) = clock_gettime_dynamic(id) else { return 0 };
        (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
    }

    pub(super) fn seed() -> u64 {
        let mut bytes = [0; 8];
        // Before the kernel's pool is ready there is less than asked for; the clock must do then.
        match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
            Ok(_) => u64::from_le_bytes(bytes),
            Err(_) => now_ns(MONOTONIC),
        }
    }

    pub(super) fn pid_tgid() -> u64 {
        let process = process::getpid().as_raw_nonzero().get() as u64;
        let thread = rustix::thread::gettid().as_raw_nonzero().get() as u64;
        process << 32 | thread
    }

    pub(super) fn uid_gid() -> u64 {
        u64::from(process::getgid().as_raw()) << 32 | u64::from(process::getuid().as_raw())
    }

    pub(super) fn comm() -> [u8; 16] {
        let mut comm = [0; 16];
        if let Ok(name) = std::fs::read("/proc/thread-self/comm") {
            let name = name.strip_suffix(b"\n").unwrap_or(&name);
            let len = name.len().min(15);
            comm[..len].copy_from_slice(&name[..len]);
        }
        comm
    }
}

#[cfg(not(target_os = "linux"))]
mod real {
    use std::sync::OnceLock;
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    #[derive(Clone, Copy)]
    pub(super) enum Clock {
        SinceStart,
        SinceEpoch,
    }
    pub(super) const MONOTONIC: Clock = Clock::SinceStart;
    pub(super) const BOOTTIME: Clock = Clock::SinceStart;
    pub(super) const TAI: Clock = Clock::SinceEpoch;

    pub(super) fn now_ns(clock: Clock) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        match clock {
            Clock::SinceStart => START.get_or_init(Instant::now).elapsed().as_nanos() as u64,
            Clock::SinceEpoch => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
            }
        }
    }

    pub(super) fn seed() -> u64 {
        now_ns(TAI)
    }

    pub(super) fn pid_tgid() -> u64 {
        let process = u64::from(std::process::id());
        process << 32 | process
    }

    pub(super) fn uid_gid() -> u64 {
        0
    }

    pub(super) fn comm() -> [u8; 16] {
        [0; 16]
    }
}
