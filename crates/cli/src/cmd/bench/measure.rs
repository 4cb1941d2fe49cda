//! Samples and what is made of them.

use std::time::Duration;

/// What executes the program: a name, and a way to run it several times.
pub(super) struct Subject {
    pub(super) name: &'static str,
    /// How long it took to make the program ready for the engine, if that is known.
    pub(super) compile: Option<Duration>,
    /// Runs the program so many times; gives the last run's result and, if it is counted, how many
    /// instructions that run executed.
    pub(super) run: Box<dyn FnMut(u64) -> Result<Outcome, String>>,
}

/// What a run gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    pub(super) r0: u64,
    pub(super) insns: Option<u64>,
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) rounds: usize,
    pub(super) sample: Duration,
}

/// An engine's samples.
pub(super) struct Measured {
    pub(super) name: &'static str,
    pub(super) compile: Option<Duration>,
    pub(super) outcome: Outcome,
    /// Nanoseconds per run, sorted.
    sorted: Vec<f64>,
    /// The median of the ratios to the first engine's sample of the same round.
    pub(super) times_first: f64,
}

impl Measured {
    /// The sample that so many percent of the samples are not above.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        at(&self.sorted, percent)
    }
}

/// More runs than any sample needs.
const MOST_RUNS: u64 = 1 << 30;

/// Measures subjects against each other, one sample a round, in an order that rotates.
///
/// # Errors
///
/// What a run failed with.
pub(super) fn measure(subjects: &mut [Subject], pace: Pace) -> Result<Vec<Measured>, String> {
    let mut paced = Vec::with_capacity(subjects.len());
    for subject in subjects.iter_mut() {
        paced.push(warm_up(subject, pace.sample)?);
    }
    let count = subjects.len();
    let mut samples = vec![Vec::with_capacity(pace.rounds); count];
    for round in 0..pace.rounds {
        for turn in 0..count {
            let index = (round + turn) % count;
            let (runs, outcome) = &mut paced[index];
            let (ns, last) = sample(&mut subjects[index], *runs)?;
            *outcome = last;
            samples[index].push(ns);
        }
    }
    let first = samples.first().cloned().unwrap_or_default();
    let measured =
        subjects.iter().zip(samples).zip(paced).map(|((subject, samples), (_, last))| {
            let mut ratios: Vec<f64> = samples.iter().zip(&first).map(|(of, to)| of / to).collect();
            ratios.sort_by(f64::total_cmp);
            let mut sorted = samples;
            sorted.sort_by(f64::total_cmp);
            Measured {
                name: subject.name,
                compile: subject.compile,
                outcome: last,
                sorted,
                times_first: at(&ratios, 50),
            }
        });
    Ok(measured.collect())
}

fn at(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last * percent + 50) / 100).copied().unwrap_or(f64::NAN)
}

/// Doubles the runs until they fill a sample.
fn warm_up(subject: &mut Subject, least: Duration) -> Result<(u64, Outcome), String> {
    let mut runs = 1;
    loop {
        let (ns, outcome) = sample(subject, runs)?;
        if ns * runs as f64 >= least.as_nanos() as f64 || runs >= MOST_RUNS {
            return Ok((runs, outcome));
        }
        runs *= 2;
    }
}

fn sample(subject: &mut Subject, runs: u64) -> Result<(f64, Outcome), String> {
    let start = now_ns();
    let outcome = (subject.run)(runs);
    let spent = now_ns().saturating_sub(start);
    let outcome = outcome.map_err(|why| format!("{}: {why}", subject.name))?;
    Ok((spent as f64 / runs as f64, outcome))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &'static str, work: u64) -> Subject {
        let run = move |runs: u64| {
            let mut sum = 0_u64;
            for n in 0..runs * work {
                sum = std::hint::black_box(sum.wrapping_add(n));
            }
            Ok(Outcome { r0: 7, insns: None })
        };
        Subject { name, compile: None, run: Box::new(run) }
    }

    #[test]
    fn ten_times_the_work_takes_longer() {
        let pace = Pace { rounds: 9, sample: Duration::from_micros(200) };
        let measured = measure(&mut [subject("a", 100), subject("b", 1000)], pace).unwrap();
        let [a, b] = &measured[..] else { panic!("two subjects were measured") };
        assert_eq!((a.times_first, a.outcome.r0), (1.0, 7));
        assert!(b.times_first > 2.0, "{}", b.times_first);
        assert!(a.percentile(50) <= a.percentile(99));
    }

    #[test]
    fn a_failing_run_names_its_engine() {
        let run = |_| Err("broken".to_owned());
        let failing = Subject { name: "c", compile: None, run: Box::new(run) };
        let pace = Pace { rounds: 1, sample: Duration::from_micros(1) };
        assert_eq!(measure(&mut [failing], pace).err().as_deref(), Some("c: broken"));
    }
}
