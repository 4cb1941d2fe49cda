//! Whether what a run holds in its registers is among what the verifier knows of them.
//!
//! [`Proof`] keeps every state that the walk had before an instruction; [`Watch`] looks, for each
//! instruction of a run, for one that describes the registers. With pruning off every register
//! counts. With pruning on a state stands for others that were never walked: of those, registers
//! that are not live and numbers that nothing depended on may be anything.

use skep::run::Observer;
use skep_bpf::insn::{Insn, Reg};
use skep_bpf::program::{Pc, Program};
use skep_verifier::{Event, Input, Known, Observed, Origin, PointerRegion, Rejection};
use skep_verifier::{Stats, verify_observed};
use std::collections::{HashMap, HashSet};

/// An instruction's slot and the calls that led to its function, the outermost first.
type Place = (usize, Vec<usize>);

/// What one state says of the registers; `None` of those that may be anything.
type Registers = [Option<Known>; 11];

/// The states of a walk that found nothing wrong.
#[derive(Debug)]
pub struct Proof {
    states: HashMap<Place, Vec<Registers>>,
    /// What the walk cost.
    pub stats: Stats,
}

impl Proof {
    /// Verifies a program and keeps the states.
    ///
    /// # Errors
    ///
    /// The rejection.
    pub fn new(input: &Input<'_>) -> Result<Proof, Box<Rejection>> {
        let pruning = input.profile.pruning;
        let mut states: HashMap<Place, Vec<Registers>> = HashMap::new();
        let mut precise: HashSet<Origin> = HashSet::new();
        let mut observer = |observed: &Observed<'_>| match observed.event() {
            Event::Before => {
                let registers = Reg::ALL.map(|reg| {
                    let counts = !pruning || observed.is_live(reg);
                    Some(observed.register(reg)).filter(|_| counts)
                });
                let calls = observed.calls().map(|call| call.0).collect();
                states.entry((observed.at().0, calls)).or_default().push(registers);
            }
            Event::Finished => {
                let all = states.values().flatten().flatten().flatten();
                let origins = all.filter_map(|known| match known {
                    Known::Number { origin, .. } => Some(*origin),
                    _ => None,
                });
                precise = origins.filter(|origin| observed.is_precise(*origin)).collect();
            }
            Event::After | Event::Covered | Event::Waiting | Event::Resumed => {}
        };
        let verified = verify_observed(input, &mut observer)?;
        if pruning {
            for known in states.values_mut().flatten().flatten() {
                if let Some(Known::Number { origin, .. }) = known
                    && !precise.contains(origin)
                {
                    *known = None;
                }
            }
        }
        Ok(Proof { states, stats: verified.stats() })
    }

    /// The number of states.
    #[must_use]
    pub fn len(&self) -> usize {
        self.states.values().map(Vec::len).sum()
    }

    /// Whether there are no states, which no program has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }
}

/// Watches one run of the program of a proof.
#[derive(Debug)]
pub struct Watch<'a> {
    proof: &'a Proof,
    /// Instructions whose registers were found among what is known.
    pub found: u64,
    /// The first one whose registers were not.
    pub violation: Option<String>,
    calls: Vec<usize>,
    frame_pointers: Vec<u64>,
    context: u64,
    /// Where the packet begins, once a pointer at a known distance from it was seen.
    packet: Option<u64>,
    previous: Option<usize>,
    program: *const Program,
}

impl<'a> Watch<'a> {
    /// Before the run.
    #[must_use]
    pub fn new(proof: &'a Proof) -> Watch<'a> {
        Watch {
            proof,
            found: 0,
            violation: None,
            calls: Vec::new(),
            frame_pointers: Vec::new(),
            context: 0,
            packet: None,
            previous: None,
            program: std::ptr::null(),
        }
    }

    /// The states that describe the registers, by chains of calls: functions that are verified by
    /// themselves begin one.
    fn search(&self, at: usize, registers: &[u64; 11]) -> impl Iterator<Item = &'a Registers> {
        let proof = self.proof;
        (0..=self.calls.len()).flat_map(move |first| {
            let states = proof.states.get(&(at, self.calls[first..].to_vec()));
            let states = states.map(Vec::as_slice).unwrap_or_default();
            states.iter().filter(move |state| self.describes(state, first, registers))
        })
    }

    fn describes(&self, state: &Registers, first: usize, registers: &[u64; 11]) -> bool {
        let mut pairs = state.iter().zip(registers);
        pairs.all(|(known, bits)| known.is_none_or(|known| self.contains(&known, first, *bits)))
            && (self.packet.is_some() || is_of_one_packet(state, registers))
    }

    fn contains(&self, known: &Known, first: usize, bits: u64) -> bool {
        match known {
            Known::Number { scalar, .. } => scalar.contains(bits),
            Known::Pointer { region, offset, variable, or_null } => {
                let begin = match region {
                    PointerRegion::Stack(frame) => self.frame_pointers.get(first + frame).copied(),
                    PointerRegion::Context => Some(self.context),
                    PointerRegion::Packet => self.packet,
                    _ => None,
                };
                let distance = |begin: u64| {
                    let distance = bits.wrapping_sub(begin);
                    distance.wrapping_sub(i64::from(*offset).cast_unsigned())
                };
                // A run on nothing has a context at 0.
                let is_possible = |begin| variable.contains(distance(begin));
                bits == 0 && *or_null || begin.map_or(bits != 0, is_possible)
            }
            _ => true,
        }
    }

    /// Where the packet begins, if all states that describe the registers say the same of it: the
    /// run may have taken the path of any of them.
    fn learn_packet(&self, at: usize, registers: &[u64; 11]) -> Option<u64> {
        let mut states = self.search(at, registers);
        let first = starts(states.next()?, registers).next()?;
        states.all(|state| starts(state, registers).next() == Some(first)).then_some(first)
    }

    fn follow_calls(&mut self, at: usize, registers: &[u64; 11], depth: usize) {
        let frame_pointer = registers[Reg::R10.index()];
        if depth > self.calls.len() {
            self.calls.push(self.previous.unwrap_or(at));
            self.frame_pointers.push(frame_pointer);
        }
        self.calls.truncate(depth);
        self.frame_pointers.truncate(depth + 1);
    }
}

/// Where the packet begins, as each register with a pointer at a known distance from it says.
fn starts(state: &Registers, registers: &[u64; 11]) -> impl Iterator<Item = u64> {
    state.iter().zip(registers).filter_map(|(known, bits)| match known {
        Some(Known::Pointer {
            region: PointerRegion::Packet,
            offset,
            variable,
            or_null: false,
        }) => {
            let offset = i64::from(*offset).cast_unsigned();
            Some(bits.wrapping_sub(offset).wrapping_sub(variable.as_constant()?))
        }
        _ => None,
    })
}

/// Whether all registers that are said to point into the packet can.
fn is_of_one_packet(state: &Registers, registers: &[u64; 11]) -> bool {
    let mut starts = starts(state, registers);
    let first = starts.next();
    starts.all(|start| Some(start) == first)
}

impl Observer for Watch<'_> {
    fn before(&mut self, program: &Program, pc: Pc, registers: &[u64; 11], depth: usize) {
        if self.program.is_null() {
            self.program = program;
            self.context = registers[Reg::R1.index()];
            self.frame_pointers.push(registers[Reg::R10.index()]);
        }
        // What a tail call led to has another proof.
        if self.violation.is_some() || !std::ptr::eq(self.program, program) {
            return;
        }
        let at = program.slot(pc).0;
        self.follow_calls(at, registers, depth);
        let found = self.search(at, registers).next().is_some();
        match found {
            true => {
                self.found += 1;
                self.packet = self.packet.or_else(|| self.learn_packet(at, registers));
            }
            false => {
                let states = self.proof.states.get(&(at, self.calls.clone()));
                self.violation = Some(format!(
                    "at {at} after calls at {:?}: registers {registers:x?} are in none of {states:#?}",
                    self.calls
                ));
            }
        }
        // A helper may move the packet.
        if matches!(program.insns().get(pc.index()), Some(Insn::Call { .. })) {
            self.packet = None;
        }
        self.previous = Some(at);
    }
}
