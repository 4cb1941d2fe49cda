//! Which program runs are under way, so that memory is reused only after all that may know it left.
//!
//! Time is a counter. A run notes it on entry and clears its note on exit: one plain store each.
//! What is unlinked is retired at a moment, which moves the counter on; it is free once no run
//! that is under way entered at that moment or before. Entering needs its note to be visible
//! before it reads any map. Where the system has `membarrier`, that cost falls on those who ask,
//! seldom, what is free; elsewhere each entry pays for a fence.

use std::sync::atomic::{AtomicU64, Ordering, compiler_fence, fence};

/// A moment. Things retired at one are free when all runs that entered no later have left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Epoch(u64);

/// The runs under way on the processors of a machine.
#[derive(Debug)]
pub struct Epochs {
    now: AtomicU64,
    cpus: Box<[Slot]>,
    asymmetric: bool,
}

/// The moment at which a processor's run entered, or [`IDLE`]. On cache lines of its own: two,
/// since processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Slot(AtomicU64);

const IDLE: u64 = u64::MAX;

impl Epochs {
    /// For a number of processors, on none of which a program runs.
    #[must_use]
    pub fn new(cpus: u32) -> Epochs {
        Epochs::with(cpus, barrier::register())
    }

    fn with(cpus: u32, asymmetric: bool) -> Epochs {
        let cpus = (0..cpus).map(|_| Slot(AtomicU64::new(IDLE))).collect();
        Epochs { now: AtomicU64::new(0), cpus, asymmetric }
    }

    /// Notes that a run begins on a processor. Runs on one processor do not nest.
    ///
    /// # Panics
    ///
    /// If there is no such processor.
    #[inline]
    pub fn enter(&self, cpu: u32) {
        self.place(cpu).enter();
    }

    /// Where a processor's runs are noted, for one that runs often.
    ///
    /// # Panics
    ///
    /// If there is no such processor.
    #[inline]
    pub(crate) fn place(&self, cpu: u32) -> Place<'_> {
        let Epochs { now, cpus, asymmetric } = self;
        Place { now, entered: &cpus[cpu as usize].0, asymmetric: *asymmetric }
    }

    /// Notes that the run on a processor is over.
    ///
    /// # Panics
    ///
    /// If there is no such processor.
    #[inline]
    pub fn leave(&self, cpu: u32) {
        self.place(cpu).leave();
    }

    /// Retires everything that the caller has unlinked so far, and moves time on. One call serves
    /// many elements; it takes an atomic read-modify-write.
    #[must_use]
    pub fn retire(&self) -> Epoch {
        // Whoever reads a later moment synchronises with this and sees the unlinking.
        Epoch(self.now.fetch_add(1, Ordering::AcqRel))
    }

    /// What runs may still see: everything retired before the moment returned is free. Costs a
    /// system call that interrupts running threads; ask for many elements at once.
    #[must_use]
    pub fn oldest(&self) -> Epoch {
        if self.asymmetric {
            barrier::all_threads();
        }
        fence(Ordering::SeqCst);
        let entered = self.cpus.iter().map(|slot| slot.0.load(Ordering::Acquire));
        Epoch(entered.min().unwrap_or(IDLE))
    }
}

/// Where the runs of one processor are noted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    now: &'a AtomicU64,
    entered: &'a AtomicU64,
    asymmetric: bool,
}

impl Place<'_> {
    /// As [`Epochs::enter`].
    #[inline]
    pub(crate) fn enter(self) {
        // A moment that has passed by the time it is stored only makes others wait longer.
        // Acquire: who enters after a moment sees what was unlinked before it.
        let now = self.now.load(Ordering::Acquire);
        self.entered.store(now, Ordering::Relaxed);
        if self.asymmetric {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    /// As [`Epochs::leave`].
    #[inline]
    pub(crate) fn leave(self) {
        // Release: the run's accesses come before the reuse of what it accessed.
        self.entered.store(IDLE, Ordering::Release);
    }
}

#[cfg(target_os = "linux")]
mod barrier {
    use rustix::thread::{MembarrierCommand, membarrier};

    /// Whether [`all_threads`] can be used.
    pub(super) fn register() -> bool {
        membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
    }

    /// A full fence on every running thread of the process.
    pub(super) fn all_threads() {
        // Fails only for a process that has not registered, and this one has.
        let done = membarrier(MembarrierCommand::PrivateExpedited);
        debug_assert!(done.is_ok(), "{done:?}");
    }
}

#[cfg(not(target_os = "linux"))]
mod barrier {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn all_threads() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    #[test]
    fn what_a_run_may_see_waits_for_it() {
        let epochs = Epochs::new(2);
        assert!(epochs.retire() < epochs.oldest(), "nothing runs");
        epochs.enter(0);
        let seen = epochs.retire();
        assert!(seen >= epochs.oldest());
        epochs.enter(1);
        let seen_by_both = epochs.retire();
        epochs.leave(0);
        assert!(seen < epochs.oldest(), "processor 1 entered after it was retired");
        assert!(seen_by_both >= epochs.oldest());
        epochs.leave(1);
        assert!(seen_by_both < epochs.oldest());
    }

    /// One thread replaces a published cell and poisons the old one as soon as it is free; others
    /// must never find poison in a cell that they reached during a run.
    fn nothing_is_reused_under_a_run(asymmetric: bool) {
        const POISON: usize = 0;
        let epochs = Epochs::with(3, asymmetric);
        let cells: Vec<AtomicUsize> = (0..64).map(|_| AtomicUsize::new(1)).collect();
        let published = AtomicUsize::new(0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for cpu in 0..2 {
                let (epochs, cells, published, done) = (&epochs, &cells, &published, &done);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        epochs.enter(cpu);
                        let cell = &cells[published.load(Ordering::Acquire)];
                        for _ in 0..20 {
                            assert_ne!(cell.load(Ordering::Relaxed), POISON);
                        }
                        epochs.leave(cpu);
                    }
                });
            }
            let mut free: Vec<usize> = (1..cells.len()).collect();
            let mut waiting = std::collections::VecDeque::new();
            let start = std::time::Instant::now();
            let mut reused = 0;
            // A busy computer may stop a reader within its run for long.
            while reused < 100 || start.elapsed().as_millis() < 80 {
                if start.elapsed().as_secs() >= 60 {
                    break;
                }
                if let Some(next) = free.pop() {
                    cells[next].store(1, Ordering::Relaxed);
                    let old = published.swap(next, Ordering::AcqRel);
                    waiting.push_back((epochs.retire(), old));
                }
                let oldest = epochs.oldest();
                while waiting.front().is_some_and(|(epoch, _)| *epoch < oldest) {
                    let (_, cell) = waiting.pop_front().unwrap();
                    cells[cell].store(POISON, Ordering::Relaxed);
                    free.insert(0, cell);
                    reused += 1;
                }
            }
            done.store(true, Ordering::Relaxed);
            assert!(reused >= 100, "only {reused} cells became free");
        });
    }

    #[test]
    fn nothing_is_reused_under_a_run_with_fences() {
        nothing_is_reused_under_a_run(false);
    }

    #[test]
    fn nothing_is_reused_under_a_run_with_membarrier() {
        nothing_is_reused_under_a_run(barrier::register());
    }
}
