//! Tier 2 before instructions are chosen: SSA form and the passes over it.

mod balance;

mod build;

mod cleanup;

mod demand;

mod divide;

mod dominators;

pub mod eval;

mod exits;

mod found;

pub(crate) mod hash;

mod idioms;

mod inline;

mod invariant;

pub mod ir;

mod latch;

mod memory;

mod number;

mod payment;

mod prepare;

mod print;

mod ranges;

mod rounds;

mod simplify;

mod slots;

mod table;

mod widths;

use crate::flow::Flow;
use crate::source::Source;
use dominators::Dominators;
pub use idioms::Counts;
use ir::Func;

macro_rules! passes {
    ($($(#[$meta:meta])* $name:ident;)+) => {
        /// Which passes run; all of them unless a test or a measurement says otherwise.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub struct Passes {
            $($(#[$meta])* pub $name: bool,)+
        }

        impl Passes {
            /// Every pass.
            pub const ALL: Passes = Passes { $($name: true,)+ };
            /// None of them: construction alone.
            pub const NONE: Passes = Passes { $($name: false,)+ };
            /// For each pass, its name and what switches it on and off.
            pub const SETTERS: &'static [(&'static str, fn(&mut Passes, bool))] =
                &[$((stringify!($name), |passes, on| passes.$name = on),)+];

            /// Every pass but one, for each; and none.
            #[must_use]
            pub fn reduced() -> Vec<(String, Passes)> {
                let without = |(name, set): &(&str, fn(&mut Passes, bool))| {
                    let mut passes = Passes::ALL;
                    set(&mut passes, false);
                    (format!("without {name}"), passes)
                };
                let mut all: Vec<_> = Passes::SETTERS.iter().map(without).collect();
                all.push(("without passes".to_owned(), Passes::NONE));
                all
            }
        }
    };
}

passes! {
    /// Bytes of the stack become variables.
    slots;
    /// Local rules and value numbering.
    number;
    /// Division by constants is multiplication. Needs `number`.
    divide;
    /// What lookups found is not asked twice. Needs `number`.
    found;
    /// Bits are counted by the operations that count bits.
    idioms;
    /// What was just loaded or stored is not loaded, what is overwritten not stored.
    memory;
    /// Masks, extensions and comparisons that change or decide nothing disappear.
    ranges;
    /// Operations compute no more bits than are looked at.
    demand;
    /// Small functions take the place of their calls.
    inline;
    /// What is the same in every round is computed in front of the loop.
    invariant;
    /// Loops make rounds that cannot be the last without looking.
    rounds;
    /// Sums over rounds are made in pairs.
    balance;
    /// Loops with two bounds end at the smaller one.
    exits;
    /// Loop counters are compared after they count.
    latch;
}

impl Default for Passes {
    fn default() -> Passes {
        Passes::ALL
    }
}

/// A function and what is known of its blocks.
#[derive(Clone, Debug)]
pub(crate) struct Optimised {
    pub(crate) func: Func,
    dominators: Dominators,
}

/// The SSA form of all functions, in their order, after the passes.
#[must_use]
pub fn optimise(source: &Source<'_>, flow: &Flow, passes: Passes, counts: Counts) -> Vec<Func> {
    functions(source, flow, passes, counts).into_iter().map(|done| done.func).collect()
}

/// The same, to be made ready for the choice of instructions.
pub(crate) fn functions(
    source: &Source<'_>,
    flow: &Flow,
    passes: Passes,
    counts: Counts,
) -> Vec<Optimised> {
    let mut done: Vec<Option<Optimised>> = flow.functions.iter().map(|_| None).collect();
    let mut small = vec![false; done.len()];
    for function in inline::callees_first(source, flow) {
        let func = build::build(source, flow, function, passes.slots);
        let dominators = Dominators::new(&func);
        let mut pass = Pass { func, dominators, source, passes };
        pass.cleanup();
        if passes.inline && flow.functions[function].nests {
            let body = |entry| {
                let callee = flow.function_at(entry)?;
                done[callee].as_ref().filter(|_| small[callee]).map(|done| &done.func)
            };
            if inline::inline(&mut pass.func, source.proof.is_none(), body) {
                pass.changed_edges();
                pass.cleanup();
            }
        }
        pass.improve(counts);
        let Pass { func, dominators, .. } = pass;
        small[function] = inline::is_small(&func, &dominators.order);
        done[function] = Some(Optimised { func, dominators });
    }
    let improve_loops = |done: Optimised| {
        let Optimised { func, dominators } = done;
        let mut pass = Pass { func, dominators, source, passes };
        pass.improve_loops();
        Optimised { func: pass.func, dominators: pass.dominators }
    };
    // Every function has its turn above, so none is missing.
    done.into_iter().flatten().map(improve_loops).collect()
}

/// A function in the passes, and what is known of its blocks until a pass changes them.
struct Pass<'a> {
    func: Func,
    dominators: Dominators,
    source: &'a Source<'a>,
    passes: Passes,
}

impl Pass<'_> {
    fn changed_edges(&mut self) {
        self.dominators = Dominators::new(&self.func);
    }

    fn cleanup(&mut self) {
        cleanup::cleanup(&mut self.func, &mut self.dominators, self.source.proof.is_some());
    }

    fn number(&mut self, reassociates: bool) {
        if number::number(&mut self.func, self.passes, reassociates, &self.dominators) {
            self.changed_edges();
        }
        self.cleanup();
    }

    fn improve(&mut self, counts: Counts) {
        let passes = self.passes;
        if passes.number {
            self.number(false);
        }
        if passes.found && passes.number && found::follow(&mut self.func, &self.dominators) {
            self.cleanup();
        }
        if passes.idioms && idioms::find(&mut self.func, &self.dominators.order, counts) {
            self.cleanup();
        }
        if passes.memory {
            memory::forward(&mut self.func, self.source, &self.dominators);
        }
        if passes.ranges {
            match ranges::apply(&mut self.func, &self.dominators) {
                ranges::Changed::Nothing => {}
                ranges::Changed::Values => self.cleanup(),
                ranges::Changed::Edges => {
                    self.changed_edges();
                    self.cleanup();
                }
            }
        }
        if passes.demand {
            demand::narrow(&mut self.func, &self.dominators.order);
        }
        if passes.number {
            self.number(true);
        }
    }

    fn improve_loops(&mut self) {
        let passes = self.passes;
        if self.dominators.has_loops() {
            if passes.invariant {
                invariant::hoist(&mut self.func, &self.dominators);
            }
            if passes.rounds && rounds::split(&mut self.func, &self.dominators, self.source.metered)
            {
                self.changed_edges();
                self.cleanup();
                if passes.number {
                    self.number(true);
                }
            }
            if passes.balance {
                balance::balance(&mut self.func, &self.dominators.order);
            }
            if passes.exits && exits::merge_exits(&mut self.func, &self.dominators) {
                self.changed_edges();
                self.cleanup();
            }
        }
        if passes.latch && latch::latches(&mut self.func, &self.dominators) {
            self.cleanup();
        }
    }
}

impl Optimised {
    /// Makes the function ready for the choice of instructions.
    pub(crate) fn prepare(mut self, contained: bool) -> Func {
        if contained {
            prepare::contain(&mut self.func, &self.dominators);
        }
        prepare::split_critical_edges(&mut self.func, &self.dominators);
        self.func
    }
}

#[cfg(test)]
mod tests;
