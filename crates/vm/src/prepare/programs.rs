//! The programs of an object on their way into the machine: linked, verified, loaded.

use std::sync::Arc;
use std::time::Duration;

use skep_bpf::platform::{AttachType, ProgType, SectionKind};
use skep_object::{Function, Linked, Object};
use skep_verifier::Verified;
use skep_verifier::report::Report;

use super::facts::{Surroundings, Task};
use super::verification::verify_all;
use super::{
    MAX_TOTAL_SLOTS, MapFailure, PrepareOptions, PreparedMap, PreparedProgram, ProgramFailure,
};
use crate::machine::{Loaded, Machine, MachineError, MapError, MapId};

/// A program that may yet fail.
pub(super) struct Candidate<'a> {
    function: &'a Function,
    prog_type: ProgType,
    attach_type: AttachType,
    sleepable: bool,
    code: Result<Linked, ProgramFailure>,
    verified: Option<Arc<Verified>>,
    report: Option<Box<Report>>,
    verify_time: Option<Duration>,
    /// Why it must not be loaded, although it has code.
    refusal: Option<ProgramFailure>,
}

/// The programs of an object with their code.
pub(super) fn link_all<'a>(object: &'a Object, options: &PrepareOptions) -> Vec<Candidate<'a>> {
    let mut total_slots = 0;
    let link = |function: &'a Function| {
        let (prog_type, attach_type) = types(object, function, options);
        let code = object.link(function.index, options.link).map_err(Into::into);
        let code = code.and_then(|linked| {
            let before = total_slots;
            let with_it = before + linked.bytecode.slots.len();
            if with_it > MAX_TOTAL_SLOTS {
                return Err(ProgramFailure::TooMuchCode { before });
            }
            total_slots = with_it;
            Ok(linked)
        });
        Candidate {
            function,
            prog_type,
            attach_type,
            sleepable: is_sleepable(function),
            code,
            verified: None,
            report: None,
            verify_time: None,
            refusal: None,
        }
    };
    object.programs().map(link).collect()
}

/// Whether the name of its section says that a program may sleep.
pub(super) fn is_sleepable(function: &Function) -> bool {
    function.section_rule().is_some_and(|rule| rule.traits().sleepable)
}

/// What the name of its section says that a program is attached to.
pub(super) fn attach_target(function: &Function) -> Option<&str> {
    function.section_rule().and_then(|rule| rule.target)
}

/// The types of a program: as the options say, or the name of its section.
fn types(object: &Object, function: &Function, options: &PrepareOptions) -> (ProgType, AttachType) {
    let own = match function.section_rule().map(|rule| rule.kind) {
        Some(SectionKind::TailCall { .. }) => type_of_callers(object),
        _ => (function.prog_type(), function.attach_type()),
    };
    match (options.prog_type, options.attach_type) {
        (Some(prog_type), None) if prog_type != own.0 => (prog_type, AttachType::UNSPECIFIED),
        (prog_type, attach_type) => (prog_type.unwrap_or(own.0), attach_type.unwrap_or(own.1)),
    }
}

/// The type of the programs that tail calls of an object come from, if all that have a type have
/// the same.
fn type_of_callers(object: &Object) -> (ProgType, AttachType) {
    let mut typed = object
        .programs()
        .map(|function| (function.prog_type(), function.attach_type()))
        .filter(|types| types.0 != ProgType::UNSPEC);
    let none = (ProgType::UNSPEC, AttachType::UNSPECIFIED);
    let first = typed.next().unwrap_or(none);
    if typed.all(|types| types == first) { first } else { none }
}

/// Asks the verifier about every program that has code and a type, and whose maps a kernel would
/// make.
pub(super) fn verify(
    around: &Surroundings<'_>,
    maps: &[PreparedMap],
    programs: &mut [Candidate<'_>],
) {
    let mut asked: Vec<&mut Candidate<'_>> = Vec::new();
    for program in programs {
        let Ok(linked) = &program.code else { continue };
        if program.prog_type == ProgType::UNSPEC {
            let section = program.function.section_name.clone();
            program.refusal = Some(ProgramFailure::NoType { section });
        } else if let Some(failure) = invalid_map(maps, linked) {
            program.refusal = Some(failure);
        } else {
            asked.push(program);
        }
    }
    let answers = {
        let tasks = asked.iter().filter_map(|program| {
            Some(Task {
                name: &program.function.name,
                linked: program.code.as_ref().ok()?,
                prog_type: program.prog_type,
                attach_type: program.attach_type,
                sleepable: program.sleepable,
                attach_target: attach_target(program.function),
            })
        });
        verify_all(around, &tasks.collect::<Vec<_>>())
    };
    for (program, answer) in asked.into_iter().zip(answers) {
        program.verify_time = Some(answer.time);
        program.report = answer.report;
        match answer.verdict {
            Ok(verified) => program.verified = Some(Arc::new(verified)),
            Err(rejection) => program.refusal = Some(rejection.into()),
        }
    }
}

/// The first map of a program that no kernel would make. A map that only this machine lacks is
/// no reason not to verify the program.
fn invalid_map(maps: &[PreparedMap], linked: &Linked) -> Option<ProgramFailure> {
    let invalid = |map: &&PreparedMap| {
        let Err(MapFailure::Create(MachineError::Map { source, .. })) = &map.result else {
            return false;
        };
        matches!(source, MapError::Invalid { .. })
    };
    let map = linked.maps.iter().filter_map(|index| maps.get(index.0)).find(invalid)?;
    Some(missing(map))
}

/// Why a program cannot have a map.
fn missing(map: &PreparedMap) -> ProgramFailure {
    // The message names the map already.
    let why = match &map.result {
        Err(MapFailure::Create(MachineError::Map { source, .. })) => source.to_string(),
        Err(other) => other.to_string(),
        Ok(_) => String::new(),
    };
    ProgramFailure::Map { map: map.name.clone(), why }
}

impl Candidate<'_> {
    /// Loads the program, unless something is wrong with it.
    pub(super) fn load(self, machine: &Arc<Machine>, maps: &[PreparedMap]) -> PreparedProgram {
        let (linked, result) = match self.code {
            Err(failure) => (None, Err(failure)),
            Ok(linked) => {
                let result = match self.refusal {
                    Some(refusal) => Err(refusal),
                    None => {
                        let name = &self.function.name;
                        load(machine, maps, name, self.prog_type, &linked, self.verified.as_ref())
                    }
                };
                (Some(linked), result)
            }
        };
        PreparedProgram {
            function: self.function.index,
            name: self.function.name.clone(),
            section: self.function.section_name.clone(),
            prog_type: self.prog_type,
            attach_type: self.attach_type,
            linked,
            verified: self.verified,
            report: self.report,
            verify_time: self.verify_time,
            result,
        }
    }
}

fn load(
    machine: &Arc<Machine>,
    maps: &[PreparedMap],
    name: &str,
    prog_type: ProgType,
    linked: &Linked,
    verified: Option<&Arc<Verified>>,
) -> Result<Loaded, ProgramFailure> {
    let mut ids: Vec<MapId> = Vec::with_capacity(linked.maps.len());
    for index in &linked.maps {
        let map = maps.get(index.0).ok_or_else(|| ProgramFailure::Map {
            map: format!("number {}", index.0),
            why: "it is not declared".to_owned(),
        })?;
        ids.push(*map.result.as_ref().map_err(|_| missing(map))?);
    }
    let loaded = match verified {
        Some(verified) => machine.load_verified(name, Arc::clone(verified), &ids),
        None => machine.load(name, prog_type, linked.program()?, &ids),
    };
    Ok(loaded?)
}
