//! Verifies the programs of an object, all at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use skep_verifier::report::Report;
use skep_verifier::{Rejection, Verified, verify};

use super::facts::{Facts, Surroundings, Task};

/// What the verifier said of a program.
pub(super) struct Answer {
    pub(super) verdict: Result<Verified, Box<Rejection>>,
    /// What is to be told of a rejection.
    pub(super) report: Option<Box<Report>>,
    /// How long the verdict took.
    pub(super) time: Duration,
}

/// The answers in the order of the tasks. As many threads as there are processors take the tasks
/// one by one; each answer depends on its program alone.
pub(super) fn verify_all(around: &Surroundings<'_>, tasks: &[Task<'_>]) -> Vec<Answer> {
    let processors = thread::available_parallelism().map_or(1, |count| count.get());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut answers = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(index) else { return answers };
            answers.push((index, answer(around, *task)));
        }
    };
    let mut answers = thread::scope(|scope| {
        let others = processors.min(tasks.len()).saturating_sub(1);
        // If there are no more threads to be had, those that there are do the work.
        let others: Vec<_> = (0..others)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut answers = work();
        for other in others {
            match other.join() {
                Ok(more) => answers.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        answers
    });
    answers.sort_unstable_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn answer(around: &Surroundings<'_>, task: Task<'_>) -> Answer {
    let start = thread_time();
    let facts = Facts::new(around, task);
    let input = facts.input();
    let verdict = verify(&input);
    let time = thread_time().saturating_sub(start);
    let report = verdict.as_ref().err();
    let report = report.map(|rejection| Box::new(Report::new(rejection, &input, task.name)));
    Answer { verdict, report, time }
}

/// How long this thread has run. What runs beside it does not count.
#[cfg(unix)]
fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// How long this thread has run, or waited to run.
#[cfg(not(unix))]
fn thread_time() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}
