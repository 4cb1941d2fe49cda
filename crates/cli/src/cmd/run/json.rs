//! What a run did, as a document; its shape is described in `docs/json.md`.

use serde::Serialize;
use serde_json::{Map, Value};
use skep::run::{Engine, RunError};
use skep::trap::Trap;

use super::engine_name;
use crate::contents::{Change, to_json};
use crate::context::{Input, action};
use crate::delivered::RecordDocument;
use crate::input::Target;
use crate::session::{Record, Session};
use crate::value::hex;
use crate::verdict::{ProgramDocument, Source};

/// The document.
#[derive(Serialize, Debug)]
pub(super) struct Document {
    object: String,
    program: String,
    #[serde(rename = "type")]
    prog_type: String,
    engine: &'static str,
    runs: u64,
    retval: Option<u32>,
    action: Option<&'static str>,
    insns: Option<u64>,
    time_ns: u128,
    printk: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<RecordDocument>,
    packet_out: Option<String>,
    context: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trap: Option<TrapDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    maps: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<Vec<PacketDocument>>,
    #[serde(skip)]
    runs_of_packets: Vec<PacketDocument>,
}

/// A program that was not run because the verifier refuses it.
#[derive(Serialize, Debug)]
pub(super) struct Refused {
    pub(super) object: String,
    pub(super) program: ProgramDocument,
}

/// What became of one packet.
#[derive(Serialize, Debug)]
struct PacketDocument {
    index: usize,
    retval: Option<u32>,
    action: Option<&'static str>,
    insns: Option<u64>,
    time_ns: u128,
    printk: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<RecordDocument>,
    packet_out: Option<String>,
    context: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trap: Option<TrapDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Where a run stopped, and why.
#[derive(Serialize, Clone, Debug)]
pub(super) struct TrapDocument {
    kind: String,
    message: String,
    program: String,
    function: Option<String>,
    insn: usize,
    text: String,
    source: Option<Source>,
}

impl TrapDocument {
    pub(super) fn new(trap: &Trap) -> TrapDocument {
        // The name of the variant: `Memory`, `OutOfFuel`.
        let kind = format!("{:?}", trap.kind);
        let end = kind.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(kind.len());
        TrapDocument {
            kind: kind.get(..end).unwrap_or(&kind).to_owned(),
            message: trap.kind.to_string(),
            program: trap.program.clone(),
            function: trap.function.clone(),
            insn: trap.slot.0,
            text: trap.insn.clone(),
            source: trap.source.as_ref().map(Source::from),
        }
    }
}

impl Document {
    pub(super) fn new(target: &Target, session: &Session, engine: Engine) -> Document {
        Document {
            object: target.file_name(),
            program: session.name().to_owned(),
            prog_type: session.prog_type().to_string(),
            engine: engine_name(engine),
            runs: 0,
            retval: None,
            action: None,
            insns: None,
            time_ns: 0,
            printk: Vec::new(),
            records: Vec::new(),
            packet_out: None,
            context: Map::new(),
            trap: None,
            error: None,
            maps: Value::Null,
            packets: None,
            runs_of_packets: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, session: &Session, input: &Input, record: &Record) {
        let (before, after) = (input.bytes(), record.input.bytes());
        let finished = record.result.as_ref().ok();
        let fields = record.input.changed_fields(input).into_iter();
        let (trap, error) = match &record.result {
            Ok(_) => (None, None),
            Err(RunError::Trap(trap)) => (Some(TrapDocument::new(trap)), None),
            Err(other) => (None, Some(other.to_string())),
        };
        self.runs_of_packets.push(PacketDocument {
            index: self.runs_of_packets.len(),
            retval: finished.map(|finished| finished.r0 as u32),
            action: finished.and_then(|finished| action(session.prog_type(), finished.r0)),
            insns: finished.and_then(|finished| finished.insns),
            time_ns: record.time.as_nanos(),
            printk: record.printed.lines.clone(),
            records: record.delivered.documents(&session.prepared),
            packet_out: (before != after).then(|| hex(after)),
            context: fields.map(|(name, _, new)| (name.to_owned(), new)).collect(),
            trap,
            error,
        });
    }

    /// The whole document: of several packets the last one's result, and all of them in a list.
    pub(super) fn finish(
        mut self,
        session: &Session,
        repeat: u32,
        many: bool,
        changes: &[Change],
    ) -> Document {
        let records = std::mem::take(&mut self.runs_of_packets);
        self.runs = (records.len() as u64).saturating_mul(u64::from(repeat));
        self.maps = to_json(&session.prepared, changes);
        self.printk = records.iter().flat_map(|record| record.printk.iter().cloned()).collect();
        self.records = records.iter().flat_map(|record| record.records.iter().cloned()).collect();
        self.trap = records.iter().find_map(|record| record.trap.clone());
        if let Some(last) = records.last() {
            self.retval = last.retval;
            self.action = last.action;
            self.insns = last.insns;
            self.time_ns = last.time_ns;
            self.packet_out.clone_from(&last.packet_out);
            self.context = last.context.clone();
            self.error.clone_from(&last.error);
        }
        self.packets = many.then_some(records);
        self
    }
}
