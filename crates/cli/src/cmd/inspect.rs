//! `skep inspect`: what an object holds and needs, and what this machine supports.

mod report;
mod support;
mod text;

use clap::Args;

use crate::failure::Failure;
use crate::input::Target;
use crate::render::Render;
use crate::session::type_named;

/// Shows what an object holds and needs.
#[derive(Args, Debug)]
pub struct Inspect {
    /// The object: FILE.o, or FILE.o:NAME for some of its programs
    #[arg(value_name = "FILE.o", required_unless_present = "support", conflicts_with = "support")]
    target: Option<Target>,
    /// Show what is implemented: instructions, map types, helpers, program types, relocations
    #[arg(long)]
    support: bool,
    /// The type of all programs, in place of what their sections say
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "support")]
    type_name: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
///
/// If the object cannot be read.
pub fn run(arguments: &Inspect, render: &mut Render<'_>) -> Result<(), Failure> {
    let Some(target) = &arguments.target else {
        let support = support::Support::find().map_err(Failure::Load)?;
        let shown = match arguments.json {
            true => render.json(&support),
            false => support.show(render),
        };
        return Ok(shown?);
    };
    let prog_type = match &arguments.type_name {
        Some(name) => Some(type_named(name)?.0),
        None => None,
    };
    let report = report::Report::new(target, prog_type)?;
    let shown = match arguments.json {
        true => render.json(&report),
        false => text::show(&report, render),
    };
    Ok(shown?)
}
