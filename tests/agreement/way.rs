//! The ways to run a program.

use std::fmt;

use skep::run::{Engine, Options};
use skep_jit::ssa::Passes;

/// A way to run a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// What executes it.
    pub engine: Engine,
    /// Whether the engine is told the proof.
    pub proof: bool,
    /// Whether instructions are counted although the proof bounds the run.
    pub metered: bool,
    /// The passes of the optimising compiler, and what is said of them.
    passes: (String, Passes),
}

impl Way {
    const fn new(engine: Engine, proof: bool, metered: bool) -> Way {
        Way { engine, proof, metered, passes: (String::new(), Passes::ALL) }
    }

    /// All ways: the checked interpreter first, whose runs the others must repeat.
    #[must_use]
    pub fn all() -> Vec<Way> {
        let mut ways =
            vec![Way::new(Engine::Checked, false, true), Way::new(Engine::Fast, false, true)];
        let kinds = [(false, true), (true, true), (true, false)];
        for engine in [Engine::Template, Engine::Optimising] {
            ways.extend(kinds.map(|(proof, metered)| Way::new(engine, proof, metered)));
        }
        for passes in Passes::reduced() {
            for (proof, metered) in kinds {
                let passes = passes.clone();
                ways.push(Way { passes, ..Way::new(Engine::Optimising, proof, metered) });
            }
        }
        ways.retain(|way| way.engine.is_available());
        ways
    }

    /// The passes of the optimising compiler.
    #[must_use]
    pub fn passes(&self) -> Passes {
        self.passes.1
    }

    /// How a run with so much fuel is made.
    pub(super) fn options(&self, fuel: u64) -> Options {
        Options { engine: self.engine, fuel, count: self.metered }
    }

    /// Whether what the program leaves on its stack is what interpreters leave there. Optimised
    /// code need not keep in memory what nobody reads.
    pub(super) fn keeps_stack(&self) -> bool {
        self.engine != Engine::Optimising
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Way { engine, proof, metered, passes: (passes, _) } = self;
        write!(f, "{engine:?}")?;
        if *proof {
            f.write_str(if *metered { ", proved, metered" } else { ", proved" })?;
        }
        let comma = if passes.is_empty() { "" } else { ", " };
        write!(f, "{comma}{passes}")
    }
}
