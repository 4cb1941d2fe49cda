//! Measuring several engines against each other on a machine that others use as well.
//!
//! Engines take turns within one process, in an order that rotates from round to round; a sample
//! is the thread's CPU time over so many runs that the clock's grain does not matter; figures are
//! medians, and ratios are medians of the ratios within a round. Where runs do not depend on
//! earlier ones, results and memory of all engines are compared in every round.

mod sample;

pub use sample::{Spread, geometric_mean, median, percentile, ratio};

use std::fmt;
use std::time::Duration;

/// What a run gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The value of `r0` at the exit.
    pub r0: u64,
    /// The number of instructions executed, if the engine counts them.
    pub insns: Option<u64>,
}

/// A program on an engine.
pub trait Subject {
    /// Runs the program once.
    ///
    /// # Errors
    ///
    /// What the engine says if the run does not reach its exit.
    fn run(&mut self) -> Result<Outcome, String>;

    /// Runs the program several times; the outcome is the last run's.
    ///
    /// # Errors
    ///
    /// As [`Subject::run`].
    fn repeat(&mut self, runs: u64) -> Result<Outcome, String> {
        for _ in 1..runs {
            self.run()?;
        }
        self.run()
    }

    /// The memory that the program was given, as it is now: none by default.
    ///
    /// # Errors
    ///
    /// What the engine says if it cannot be read.
    fn memory(&self) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

/// A function that runs the program as often as it is told.
impl<F: FnMut(u64) -> Result<Outcome, String>> Subject for F {
    fn run(&mut self) -> Result<Outcome, String> {
        self(1)
    }

    fn repeat(&mut self, runs: u64) -> Result<Outcome, String> {
        self(runs)
    }
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many samples are taken of each subject.
    pub rounds: usize,
    /// The least CPU time of a sample.
    pub sample: Duration,
    /// Whether subjects must have the same results and memory after every round. Not so where a
    /// run depends on those before, of which faster subjects have more.
    pub compare: bool,
}

/// What was measured of a subject.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// Nanoseconds of CPU time per run, one sample a round.
    pub samples: Vec<f64>,
    /// What the last run gave.
    pub outcome: Outcome,
}

/// Why figures cannot be trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Disagreement {
    /// A run failed.
    Failed {
        /// The subject.
        subject: String,
        /// What the engine says.
        message: String,
    },
    /// Two engines computed different results.
    Result {
        /// The subject.
        subject: String,
        /// Its `r0`.
        found: u64,
        /// The first subject's.
        needed: u64,
    },
    /// Two engines left different bytes in memory.
    Memory {
        /// The subject.
        subject: String,
        /// The offset of the first byte that differs from the first subject's.
        offset: usize,
    },
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disagreement::Failed { subject, message } => write!(f, "{subject}: {message}"),
            Disagreement::Result { subject, found, needed } => {
                write!(f, "{subject}: r0 is {found:#x}, but the first engine's {needed:#x}")
            }
            Disagreement::Memory { subject, offset } => {
                write!(f, "{subject}: memory differs from the first engine's at byte {offset}")
            }
        }
    }
}

impl std::error::Error for Disagreement {}

/// The CPU time that this thread has used; elsewhere than on Unix, the time that has passed.
fn now_ns() -> u64 {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
    }
    #[cfg(not(unix))]
    {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64
    }
}

/// More runs than any sample needs; the kernel counts those of a call in an `int`.
const MOST_RUNS: u64 = 1 << 30;

/// A named subject, how many of its runs fill a sample, and the samples.
struct Paced<'a> {
    name: &'a str,
    subject: &'a mut dyn Subject,
    runs: u64,
    samples: Vec<f64>,
}

impl Paced<'_> {
    fn failed(&self, message: String) -> Disagreement {
        Disagreement::Failed { subject: self.name.to_owned(), message }
    }

    /// Runs the subject as often as its pace says: the result and nanoseconds per run.
    fn sample(&mut self) -> Result<(Outcome, f64), Disagreement> {
        let start = now_ns();
        let outcome = self.subject.repeat(self.runs);
        let spent = now_ns().saturating_sub(start);
        let outcome = outcome.map_err(|message| self.failed(message))?;
        Ok((outcome, spent as f64 / self.runs as f64))
    }

    /// Doubles the runs until they fill a sample; gives the last outcome.
    fn warm_up(&mut self, sample: Duration) -> Result<Outcome, Disagreement> {
        loop {
            let (outcome, ns) = self.sample()?;
            if ns * self.runs as f64 >= sample.as_nanos() as f64 || self.runs >= MOST_RUNS {
                return Ok(outcome);
            }
            self.runs *= 2;
        }
    }
}

/// Measures subjects against each other, one sample of each a round.
///
/// # Errors
///
/// If a run fails, or subjects that are compared disagree.
pub fn measure<S: AsRef<str>>(
    subjects: &mut [(S, Box<dyn Subject>)],
    settings: Settings,
) -> Result<Vec<Measured>, Disagreement> {
    let mut paced = Vec::with_capacity(subjects.len());
    let mut outcomes = Vec::with_capacity(subjects.len());
    for (name, subject) in subjects {
        let samples = Vec::with_capacity(settings.rounds);
        let name = (*name).as_ref();
        let mut subject = Paced { name, subject: subject.as_mut(), runs: 1, samples };
        outcomes.push(subject.warm_up(settings.sample)?);
        paced.push(subject);
    }
    let count = paced.len();
    for round in 0..settings.rounds {
        for turn in 0..count {
            let index = (round + turn) % count;
            let (outcome, ns) = paced[index].sample()?;
            outcomes[index] = outcome;
            paced[index].samples.push(ns);
        }
        if settings.compare {
            compare(&paced, &outcomes)?;
        }
    }
    let measured = paced.into_iter().zip(outcomes);
    Ok(measured.map(|(Paced { samples, .. }, outcome)| Measured { samples, outcome }).collect())
}

fn compare(paced: &[Paced<'_>], outcomes: &[Outcome]) -> Result<(), Disagreement> {
    let Some((first, needed)) = paced.first().zip(outcomes.first()) else { return Ok(()) };
    let needed = needed.r0;
    let memory = first.subject.memory().map_err(|message| first.failed(message))?;
    for (other, found) in paced.iter().zip(outcomes).skip(1) {
        let found = found.r0;
        let subject = || other.name.to_owned();
        if found != needed {
            return Err(Disagreement::Result { subject: subject(), found, needed });
        }
        let theirs = other.subject.memory().map_err(|message| other.failed(message))?;
        let length = memory.len().min(theirs.len());
        let differs = memory.iter().zip(&theirs).position(|(a, b)| a != b);
        let differs = differs.or((memory.len() != theirs.len()).then_some(length));
        if let Some(offset) = differs {
            return Err(Disagreement::Memory { subject: subject(), offset });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Constant(u64, Vec<u8>);

    impl Subject for Constant {
        fn run(&mut self) -> Result<Outcome, String> {
            if self.0 == 0 { Err("zero".into()) } else { Ok(Outcome { r0: self.0, insns: None }) }
        }

        fn memory(&self) -> Result<Vec<u8>, String> {
            Ok(self.1.clone())
        }
    }

    struct Work(u64);

    impl Subject for Work {
        fn run(&mut self) -> Result<Outcome, String> {
            let mut sum = 0_u64;
            for n in 0..self.0 {
                sum = std::hint::black_box(sum.wrapping_add(n));
            }
            Ok(Outcome { r0: 7, insns: None })
        }
    }

    fn run(a: Constant, b: Constant) -> Result<Vec<Measured>, Disagreement> {
        let settings = Settings { rounds: 3, sample: Duration::from_micros(10), compare: true };
        measure(&mut [("a", Box::new(a)), ("b", Box::new(b))], settings)
    }

    #[test]
    fn every_round_gives_a_sample_of_every_subject() {
        let measured = run(Constant(1, vec![1]), Constant(1, vec![1])).unwrap();
        assert_eq!(measured.len(), 2);
        assert!(measured.iter().all(|subject| subject.samples.len() == 3));
        assert!(measured.iter().flat_map(|subject| &subject.samples).all(|&ns| ns > 0.0));
    }

    #[test]
    fn ten_times_the_work_takes_longer() {
        let settings = Settings { rounds: 9, sample: Duration::from_micros(200), compare: true };
        let mut subjects: [(_, Box<dyn Subject>); 2] =
            [("a", Box::new(Work(100))), ("b", Box::new(Work(1000)))];
        let measured = measure(&mut subjects, settings).unwrap();
        let [a, b] = &measured[..] else { panic!("two subjects were measured") };
        assert_eq!(a.outcome, Outcome { r0: 7, insns: None });
        assert!(ratio(&b.samples, &a.samples) > 2.0);
    }

    #[test]
    fn runs_that_depend_on_earlier_ones_are_not_compared() {
        let settings = Settings { rounds: 3, sample: Duration::from_micros(10), compare: false };
        let mut subjects: [(_, Box<dyn Subject>); 2] =
            [("a", Box::new(Constant(1, vec![]))), ("b", Box::new(Constant(2, vec![1])))];
        let measured = measure(&mut subjects, settings).unwrap();
        assert_eq!(measured.iter().map(|subject| subject.outcome.r0).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn disagreement_is_found() {
        let subject = || "b".to_owned();
        let result = run(Constant(1, vec![]), Constant(2, vec![]));
        let needed = Disagreement::Result { subject: subject(), found: 2, needed: 1 };
        assert_eq!(result, Err(needed));
        let result = run(Constant(1, vec![1, 2]), Constant(1, vec![1, 3]));
        assert_eq!(result, Err(Disagreement::Memory { subject: subject(), offset: 1 }));
        let result = run(Constant(1, vec![1, 2]), Constant(1, vec![1]));
        assert_eq!(result, Err(Disagreement::Memory { subject: subject(), offset: 1 }));
        let result = run(Constant(1, vec![]), Constant(0, vec![]));
        let needed = Disagreement::Failed { subject: subject(), message: "zero".into() };
        assert_eq!(result, Err(needed));
    }
}
