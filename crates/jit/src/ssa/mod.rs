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

mod widths;

use crate::flow::Flow;
use crate::source::Source;
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

/// The SSA form of all functions, in their order, after the passes.
#[must_use]
pub fn optimise(source: &Source<'_>, flow: &Flow, passes: Passes, counts: Counts) -> Vec<Func> {
    let mut done: Vec<Option<Func>> = flow.functions.iter().map(|_| None).collect();
    let mut small = vec![false; done.len()];
    for function in inline::callees_first(source, flow) {
        let mut func = build::build(source, flow, function, passes.slots);
        cleanup::cleanup(&mut func, source.proof.is_some());
        if passes.inline && flow.functions[function].nests {
            let body = |entry| {
                let callee = flow.function_at(entry)?;
                done[callee].as_ref().filter(|_| small[callee])
            };
            if inline::inline(&mut func, source.proof.is_none(), body) {
                cleanup::cleanup(&mut func, source.proof.is_some());
            }
        }
        improve(&mut func, source, passes, counts);
        small[function] = inline::is_small(&func);
        done[function] = Some(func);
    }
    let mut done: Vec<Func> = done.into_iter().map(Option::unwrap_or_default).collect();
    for func in &mut done {
        improve_loops(func, source, passes);
    }
    done
}

fn improve(func: &mut Func, source: &Source<'_>, passes: Passes, counts: Counts) {
    let proved = source.proof.is_some();
    if passes.number {
        number::number(func, passes, false);
        cleanup::cleanup(func, proved);
    }
    if passes.found && passes.number && found::follow(func) {
        cleanup::cleanup(func, proved);
    }
    if passes.idioms {
        idioms::apply(func, counts, proved);
    }
    if passes.memory {
        memory::forward(func, source);
    }
    if passes.ranges && ranges::apply(func) {
        cleanup::cleanup(func, proved);
    }
    if passes.demand {
        demand::narrow(func);
    }
    if passes.number {
        number::number(func, passes, true);
        cleanup::cleanup(func, proved);
    }
}

fn improve_loops(func: &mut Func, source: &Source<'_>, passes: Passes) {
    let proved = source.proof.is_some();
    if passes.invariant {
        invariant::hoist(func);
    }
    if passes.rounds && rounds::split(func, source.metered) {
        cleanup::cleanup(func, proved);
        if passes.number {
            number::number(func, passes, true);
            cleanup::cleanup(func, proved);
        }
    }
    if passes.balance {
        balance::balance(func);
    }
    if passes.exits && exits::merge_exits(func) {
        cleanup::cleanup(func, proved);
    }
    if passes.latch {
        latch::latches(func);
        cleanup::cleanup(func, proved);
    }
}

/// Makes a function ready for the choice of instructions.
pub(crate) fn prepare(func: &mut Func, contained: bool) {
    if contained {
        prepare::contain(func);
    }
    prepare::split_critical_edges(func);
}

#[cfg(test)]
mod tests;
