//! Tier 2 before instructions are chosen: SSA form and the passes over it.

mod build;

mod cleanup;

mod demand;

mod dominators;

pub mod eval;

pub(crate) mod hash;

pub mod ir;

mod number;

mod prepare;

mod print;

mod simplify;

mod slots;

mod widths;

use crate::flow::Flow;
use crate::source::Source;
use ir::Func;

/// Which passes run; all of them unless a test or a measurement says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Passes {
    /// Bytes of the stack become variables.
    pub slots: bool,
    /// Local rules and value numbering.
    pub number: bool,
    /// Operations compute no more bits than are looked at.
    pub demand: bool,
}

impl Passes {
    /// Every pass.
    pub const ALL: Passes = Passes { slots: true, number: true, demand: true };
    /// None of them: construction alone.
    pub const NONE: Passes = Passes { slots: false, number: false, demand: false };

    /// For each pass, what switches it on and off.
    pub const SETTERS: &'static [fn(&mut Passes, bool)] = &[
        |passes, on| passes.slots = on,
        |passes, on| passes.number = on,
        |passes, on| passes.demand = on,
    ];
}

impl Default for Passes {
    fn default() -> Passes {
        Passes::ALL
    }
}

/// The SSA form of a function after the passes.
#[must_use]
pub fn optimise(source: &Source<'_>, flow: &Flow, function: usize, passes: Passes) -> Func {
    let proved = source.proof.is_some();
    let mut func = build::build(source, flow, function, passes.slots);
    cleanup::cleanup(&mut func, proved);
    if passes.number {
        number::number(&mut func);
        cleanup::cleanup(&mut func, proved);
    }
    if passes.demand {
        demand::narrow(&mut func);
    }
    if passes.number {
        number::number(&mut func);
        cleanup::cleanup(&mut func, proved);
    }
    func
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
