//! Subjects and the rounds in which they are measured.

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

    /// The memory that the program was given, as it is now.
    ///
    /// # Errors
    ///
    /// What the engine says if it cannot be read.
    fn memory(&self) -> Result<Vec<u8>, String>;
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many samples are taken of each subject.
    pub rounds: usize,
    /// The least CPU time of a sample.
    pub sample: Duration,
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
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
    #[cfg(not(unix))]
    {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64
    }
}

/// A named subject and how many of its runs fill a sample.
struct Paced<'a> {
    name: &'a str,
    subject: &'a mut dyn Subject,
    runs: u64,
}

impl Paced<'_> {
    fn failed(&self, message: String) -> Disagreement {
        Disagreement::Failed { subject: self.name.to_owned(), message }
    }

    /// Runs the subject as often as its pace says: the result and nanoseconds per run.
    fn sample(&mut self) -> Result<(u64, f64), Disagreement> {
        let start = now_ns();
        let outcome = self.subject.repeat(self.runs);
        let spent = now_ns() - start;
        let outcome = outcome.map_err(|message| self.failed(message))?;
        Ok((outcome.r0, spent as f64 / self.runs as f64))
    }

    /// Doubles the runs until they fill a sample.
    fn warm_up(&mut self, sample: Duration) -> Result<(), Disagreement> {
        loop {
            let (_, ns) = self.sample()?;
            if ns * self.runs as f64 >= sample.as_nanos() as f64 || self.runs >= 1 << 40 {
                return Ok(());
            }
            self.runs *= 2;
        }
    }
}

/// Measures subjects against each other: for each, nanoseconds per run, one sample a round.
///
/// # Errors
///
/// If a run fails, or subjects disagree in their result or the memory they leave.
pub fn measure(
    subjects: &mut [(&str, Box<dyn Subject>)],
    settings: Settings,
) -> Result<Vec<Vec<f64>>, Disagreement> {
    let mut paced: Vec<Paced<'_>> = subjects
        .iter_mut()
        .map(|(name, subject)| Paced { name, subject: subject.as_mut(), runs: 1 })
        .collect();
    for subject in &mut paced {
        subject.warm_up(settings.sample)?;
    }
    let count = paced.len();
    let mut samples = vec![Vec::with_capacity(settings.rounds); count];
    for round in 0..settings.rounds {
        let mut results = vec![0; count];
        for turn in 0..count {
            let index = (round + turn) % count;
            let (r0, ns) = paced[index].sample()?;
            results[index] = r0;
            samples[index].push(ns);
        }
        compare(&paced, &results)?;
    }
    Ok(samples)
}

fn compare(paced: &[Paced<'_>], results: &[u64]) -> Result<(), Disagreement> {
    let Some((first, &needed)) = paced.first().zip(results.first()) else { return Ok(()) };
    let memory = first.subject.memory().map_err(|message| first.failed(message))?;
    for (other, &found) in paced.iter().zip(results).skip(1) {
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

    fn run(a: Constant, b: Constant) -> Result<Vec<Vec<f64>>, Disagreement> {
        let settings = Settings { rounds: 3, sample: Duration::from_micros(10) };
        measure(&mut [("a", Box::new(a)), ("b", Box::new(b))], settings)
    }

    #[test]
    fn every_round_gives_a_sample_of_every_subject() {
        let samples = run(Constant(1, vec![1]), Constant(1, vec![1])).unwrap();
        assert_eq!(samples.len(), 2);
        assert!(samples.iter().all(|samples| samples.len() == 3));
        assert!(samples.iter().flatten().all(|&ns| ns > 0.0));
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
