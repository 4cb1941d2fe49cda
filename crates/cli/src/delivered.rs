//! What programs hand over to the host: records of ring buffers and of perf events.

use serde::Serialize;
use skep::maps::Map;
use skep::prepare::Prepared;

use crate::value::{Typed, hex};

/// The most bytes of the records of one run that are kept.
const MAX_KEPT: usize = 16 << 20;

/// The buffer of a perf event in bytes: as much as is kept.
const EVENT_BYTES: usize = MAX_KEPT;

/// The records of a run.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// They, map by map in the order in which they came.
    pub records: Vec<DeliveredRecord>,
    /// How many more there were than were kept or than buffers had room for.
    pub lost: u64,
    bytes: usize,
}

/// A record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeliveredRecord {
    /// The map, by its place in the object.
    pub map: usize,
    /// The processor whose perf event it is from; none of a ring buffer.
    pub cpu: Option<u32>,
    /// What the program wrote.
    pub bytes: Vec<u8>,
}

/// A record in a document.
#[derive(Serialize, Clone, Debug)]
pub struct RecordDocument {
    map: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<u32>,
    data: String,
}

/// The maps of an object that are in its machine, with their places.
fn maps(prepared: &Prepared) -> impl Iterator<Item = (usize, &dyn Map)> {
    prepared.maps.iter().enumerate().filter_map(|(place, map)| {
        let id = map.result.as_ref().ok()?;
        Some((place, prepared.machine.map(*id)?.as_ref()))
    })
}

/// Opens a perf event for every processor in every array of them, as far as it has room.
pub fn listen(prepared: &Prepared) {
    let cpus = prepared.machine.host().cpus;
    for (_, map) in maps(prepared) {
        let Some(events) = map.perf_events() else { continue };
        for cpu in 0..cpus {
            if events.open(cpu, cpu, EVENT_BYTES).is_err() {
                break;
            }
        }
    }
}

/// Takes what was handed over since this was last asked.
#[must_use]
pub fn take(prepared: &Prepared) -> Delivered {
    let mut delivered = Delivered::default();
    for (map, found) in maps(prepared) {
        if let Some(ring) = found.ring_buffer() {
            ring.consume(|record| delivered.add(map, None, record));
        }
        let Some(events) = found.perf_events() else { continue };
        for (index, cpu) in events.opened() {
            let lost = events.consume(index, |record| delivered.add(map, Some(cpu), record));
            delivered.lost += lost.unwrap_or(0);
        }
    }
    delivered
}

impl Delivered {
    fn add(&mut self, map: usize, cpu: Option<u32>, record: &[u8]) {
        self.bytes = self.bytes.saturating_add(record.len() + size_of::<DeliveredRecord>());
        match self.bytes <= MAX_KEPT {
            true => self.records.push(DeliveredRecord { map, cpu, bytes: record.to_vec() }),
            false => self.lost += 1,
        }
    }

    /// The records as lines of text.
    pub fn lines(&self, prepared: &Prepared) -> impl Iterator<Item = String> {
        let lines = self.records.iter().filter_map(|record| {
            let def = prepared.object.maps().get(record.map)?;
            let typed = Typed::new(prepared.object.btf(), def.value_type);
            let value = typed.text(&record.bytes);
            let cpu = record.cpu.map_or(String::new(), |cpu| format!(" on cpu {cpu}"));
            Some(format!("{}{cpu} <- {value} ({} bytes)", def.name, record.bytes.len()))
        });
        let lost = (self.lost != 0).then(|| format!("... {} more records", self.lost));
        lines.chain(lost)
    }

    /// The records as they stand in a document.
    #[must_use]
    pub fn documents(&self, prepared: &Prepared) -> Vec<RecordDocument> {
        let document = |record: &DeliveredRecord| {
            let def = prepared.object.maps().get(record.map)?;
            let (map, data) = (def.name.clone(), hex(&record.bytes));
            Some(RecordDocument { map, cpu: record.cpu, data })
        };
        self.records.iter().filter_map(document).collect()
    }
}
