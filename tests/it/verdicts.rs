//! Random programs: our verdict and the live kernel's, and runs of what is accepted.
//!
//! `cargo test` compares a few thousand; the full number takes one environment variable:
//! `SKEP_VERDICTS=200000 cargo test --release -p skep-tests verdicts -- --nocapture`.
//! `SKEP_VERDICTS_GENERATOR=Guided` leaves out the others, `SKEP_VERDICTS_SEED=SEED` says where
//! the seeds begin, and with it `SKEP_VERDICTS_SHOW=1` prints every program. Of programs that only
//! the kernel accepts, `SKEP_VERDICTS_SHOW=imprecise` prints the smallest of each class.

use skep_kernel::uapi::log_level;
use skep_tests::random::Random;
use skep_tests::verdicts::{Answer, Case, Generator, Judge, Opinion, Ran, Runner, shrink};
use std::collections::BTreeMap;
use std::env;
use std::time::{Duration, Instant};

/// How many programs are compared, of each generator, unless the environment says otherwise.
const PROGRAMS: u64 = 1_000;
/// One in so many rejected programs is compared by its sentence as well, which takes time.
const SENTENCES: u64 = 16;
/// Of a hundred programs that both accept, so many must take as many instructions at least.
const LEAST_SAME_WALKS: u64 = 98;
/// How often an accepted program is run.
const RUNS: usize = 2;

/// What is demanded of a generator's programs.
struct Floor {
    generator: Generator,
    /// The most programs in a thousand that only the kernel accepts.
    imprecise: u64,
    /// The least in a hundred that both accept.
    accepted: u64,
    /// The least in a hundred that both reject.
    rejected: u64,
}

const FLOORS: [Floor; 4] = [
    Floor { generator: Generator::Guided, imprecise: 5, accepted: 90, rejected: 0 },
    Floor { generator: Generator::Mutant, imprecise: 20, accepted: 15, rejected: 15 },
    Floor { generator: Generator::Precision, imprecise: 20, accepted: 15, rejected: 15 },
    Floor { generator: Generator::Pruning, imprecise: 20, accepted: 15, rejected: 15 },
];

#[test]
fn verdicts() {
    if let Err(reason) = skep_kernel::available() {
        println!("skipped: {reason}");
        return;
    }
    let number = |name: &str| {
        let text = env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
    };
    let programs = number("SKEP_VERDICTS").unwrap_or(PROGRAMS);
    let first = number("SKEP_VERDICTS_SEED").unwrap_or(1);
    let only = env::var("SKEP_VERDICTS_GENERATOR").ok();
    let show = env::var("SKEP_VERDICTS_SHOW").unwrap_or_default();
    let judge = Judge::new().unwrap();
    let mut runner = Runner::new().unwrap();
    let mut failures = Vec::new();
    for floor in &FLOORS {
        let name = format!("{:?}", floor.generator);
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let mut tally = Tally::new(floor.generator);
        for seed in first..first + programs {
            tally.judge(seed, &judge, &mut runner, show == "1");
        }
        tally.print(&judge, show == "imprecise");
        failures.extend(tally.failures(floor));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What was found about the programs of a generator.
struct Tally {
    generator: Generator,
    programs: u64,
    opinions: BTreeMap<Opinion, u64>,
    unmade: u64,
    same_count: u64,
    sentences: u64,
    same_sentence: u64,
    other_sentences: BTreeMap<(String, String), (u64, u64)>,
    imprecise: BTreeMap<String, (u64, u64)>,
    rejected: BTreeMap<String, (u64, u64)>,
    unsound: Vec<u64>,
    /// Of accepted programs that are walked otherwise: length and seed.
    walks: Vec<(usize, u64)>,
    ran: u64,
    not_run: BTreeMap<String, u64>,
    trapped: Vec<(u64, String)>,
    kernel_time: Duration,
    our_time: Duration,
}

impl Tally {
    fn new(generator: Generator) -> Tally {
        Tally {
            generator,
            programs: 0,
            opinions: BTreeMap::new(),
            unmade: 0,
            same_count: 0,
            sentences: 0,
            same_sentence: 0,
            other_sentences: BTreeMap::new(),
            imprecise: BTreeMap::new(),
            rejected: BTreeMap::new(),
            unsound: Vec::new(),
            walks: Vec::new(),
            ran: 0,
            not_run: BTreeMap::new(),
            trapped: Vec::new(),
            kernel_time: Duration::ZERO,
            our_time: Duration::ZERO,
        }
    }

    fn judge(&mut self, seed: u64, judge: &Judge, runner: &mut Runner, show: bool) {
        let Ok(case) = self.generator.case(seed, judge.prover()) else {
            self.unmade += 1;
            return;
        };
        let start = Instant::now();
        let ours = judge.ours(&case);
        self.our_time += start.elapsed();
        let start = Instant::now();
        let Ok(kernel) = judge.kernel(&case) else {
            self.unmade += 1;
            return;
        };
        self.kernel_time += start.elapsed();
        if show {
            println!("seed {seed}: ours {ours:?}, the kernel's {kernel:?}\n{case}");
            println!("{}", log(&case, judge));
        }
        self.programs += 1;
        let opinion = Opinion::of(ours.as_ref(), &kernel);
        *self.opinions.entry(opinion.clone()).or_default() += 1;
        match (&opinion, &ours) {
            (Opinion::Accepted, _) => {
                let same = ours.as_ref() == Some(&kernel);
                self.same_count += u64::from(same);
                if !same {
                    self.walks.push((case.slots.len(), seed));
                }
                self.execute(seed, &case, runner);
            }
            (Opinion::Rejected, Some(Answer::Rejects(sentence))) => {
                self.rejected.entry(class_of(sentence)).or_insert((0, seed)).0 += 1;
                if seed.is_multiple_of(SENTENCES) {
                    self.compare_sentence(seed, &case, sentence, judge);
                }
            }
            (Opinion::Imprecise, Some(Answer::Rejects(sentence))) => {
                let class = class_of(sentence);
                self.imprecise.entry(class).or_insert((0, seed)).0 += 1;
            }
            (Opinion::Unsound | Opinion::Panicked, _) => self.unsound.push(seed),
            _ => {}
        }
    }

    fn execute(&mut self, seed: u64, case: &Case, runner: &mut Runner) {
        let mut random = Random::new(seed);
        match runner.run(case, &mut random, RUNS) {
            Ok(Ran::Finished) => self.ran += 1,
            Ok(Ran::Unsupported(why)) => *self.not_run.entry(class_of(&why)).or_default() += 1,
            Ok(Ran::Trapped(why)) => self.trapped.push((seed, why)),
            Err(error) => panic!("{:?} seed {seed}: {error}", self.generator),
        }
    }

    fn compare_sentence(&mut self, seed: u64, case: &Case, ours: &str, judge: &Judge) {
        let Ok((Answer::Rejects(theirs), log)) = judge.kernel_log(case, log_level::REASON) else {
            return;
        };
        self.sentences += 1;
        // Some messages have several lines.
        if theirs == ours || log.contains(ours) {
            self.same_sentence += 1;
        } else {
            let key = (class_of(&theirs), class_of(ours));
            self.other_sentences.entry(key).or_insert((0, seed)).0 += 1;
        }
    }

    fn count(&self, opinion: &Opinion) -> u64 {
        self.opinions.get(opinion).copied().unwrap_or(0)
    }

    fn print(&self, judge: &Judge, show: bool) {
        let accepted = self.count(&Opinion::Accepted);
        println!(
            "{:?}: {} programs, {accepted} accepted and {} rejected by both, {} imprecise, {} unsound, {} \
             not made; kernel {:.2?}, ours {:.2?}",
            self.generator,
            self.programs,
            self.count(&Opinion::Rejected),
            self.count(&Opinion::Imprecise),
            self.unsound.len(),
            self.unmade,
            self.kernel_time,
            self.our_time,
        );
        println!(
            "  {} of {accepted} accepted with the same number of instructions, {} of {} rejected with the \
             same sentence; {} run without a trap",
            self.same_count, self.same_sentence, self.sentences, self.ran
        );
        for (why, count) in &self.not_run {
            println!("  not run {count}: {why}");
        }
        for ((theirs, ours), (count, seed)) in &self.other_sentences {
            println!("  sentence {count} (seed {seed}): kernel {theirs:?}, ours {ours:?}");
        }
        if show {
            let shortest = self.walks.iter().min();
            println!("  walked otherwise: length and seed {shortest:?}");
            for (class, (count, seed)) in &self.rejected {
                println!("  rejected {count} (seed {seed}): {class}");
            }
        }
        for (class, (count, seed)) in &self.imprecise {
            println!("  imprecise {count} (seed {seed}): {class}");
            if show && let Ok(case) = self.generator.case(*seed, judge.prover()) {
                println!("{}", describe(&case, judge, &Opinion::Imprecise));
            }
        }
        for seed in self.unsound.iter().take(6) {
            if let Ok(case) = self.generator.case(*seed, judge.prover())
                && let Ok(opinion) = judge.opinion(&case)
            {
                println!("  seed {seed}: {}", describe(&case, judge, &opinion));
            }
        }
        for (seed, why) in self.trapped.iter().take(6) {
            println!("  seed {seed} trapped: {why}");
        }
    }

    fn failures(&self, floor: &Floor) -> Vec<String> {
        let name = self.generator;
        let mut failures = Vec::new();
        if !self.unsound.is_empty() {
            failures.push(format!("{name:?}: only we accept seeds {:?}", self.unsound));
        }
        if !self.trapped.is_empty() {
            failures.push(format!("{name:?}: accepted programs trap: {:?}", self.trapped));
        }
        // Of few programs shares say little.
        if self.programs < 1_000 {
            return failures;
        }
        let imprecise = self.count(&Opinion::Imprecise);
        if imprecise * 1000 > floor.imprecise * self.programs {
            failures.push(format!("{name:?}: {imprecise} only the kernel accepts"));
        }
        for (opinion, least) in
            [(Opinion::Accepted, floor.accepted), (Opinion::Rejected, floor.rejected)]
        {
            let count = self.count(&opinion);
            if count * 100 < least * self.programs {
                failures.push(format!("{name:?}: {opinion:?} by both are only {count}"));
            }
        }
        let accepted = self.count(&Opinion::Accepted);
        if self.same_count * 100 < accepted * LEAST_SAME_WALKS {
            let same = self.same_count;
            failures.push(format!("{name:?}: of {accepted} only {same} are walked alike"));
        }
        if self.ran == 0 {
            failures.push(format!("{name:?}: no accepted program was run"));
        }
        failures
    }
}

/// A disagreement, made small, with what both say.
fn describe(case: &Case, judge: &Judge, opinion: &Opinion) -> String {
    let small = shrink(case, judge, opinion);
    let (ours, theirs) = (judge.ours(&small), log(&small, judge));
    format!("{opinion:?}\n{small}ours: {ours:?}\nthe kernel:\n{theirs}")
}

/// The kernel's log of a case, or why there is none.
fn log(case: &Case, judge: &Judge) -> String {
    match judge.kernel_log(case, log_level::TRACE) {
        Ok((_, log)) => log,
        Err(error) => error,
    }
}

/// A sentence without its numbers.
fn class_of(sentence: &str) -> String {
    let mut class = String::new();
    for word in sentence.chars() {
        if word.is_ascii_digit() {
            if !class.ends_with('N') {
                class.push('N');
            }
        } else {
            class.push(word);
        }
    }
    class
}
