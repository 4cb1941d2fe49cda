//! Timers in values of maps.
//!
//! A timer is a field of a map's value; who arms it names the map it is in. What it calls is
//! walked by itself. (Linux 6.18, `process_timer_func`.)

use crate::explore::Walk;
use crate::input::SpecialKind;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::value::{Kind, MapRef, Value};
use skep_bpf::insn::Reg;
use skep_bpf::platform::MapType;

/// The map types whose values may hold timers; for others the kernel ignores their types.
const WITH_TIMERS: &[MapType] = &[MapType::HASH, MapType::LRU_HASH, MapType::ARRAY];

impl Walk<'_> {
    /// A pointer to the timer of a map's value; gives the map.
    pub(crate) fn check_timer(&self, reg: Reg, value: &Value) -> Check<MapRef> {
        let kind = SpecialKind::Timer;
        let map = self.check_field(reg, value, kind)?;
        if map.inner {
            return unsupported("timers in maps of maps");
        }
        Ok(map)
    }

    /// A pointer to the one field of a kind in a map's value; gives the map.
    pub(crate) fn check_field(&self, reg: Reg, value: &Value, kind: SpecialKind) -> Check<MapRef> {
        let (number, name) = (reg.index(), kind.name());
        let Kind::MapValue(map) = value.kind else {
            return fault(Rule::HelperArgument, format!("R{number} is not a map value"));
        };
        let Some(off) = value.fixed_offset() else {
            return fault(
                Rule::HelperArgument,
                format!(
                    "R{number} doesn't have constant offset. {name} has to be at the constant offset"
                ),
            );
        };
        let facts = self.map(map)?;
        if !facts.has_types || !WITH_TIMERS.contains(&facts.map_type) {
            return fault(
                Rule::Map,
                format!("map '{}' has to have BTF in order to use {name}", facts.name),
            );
        }
        let Some(field) = self.fields_of_value(facts).iter().find(|field| field.kind == kind)
        else {
            return fault(Rule::Map, format!("map '{}' has no valid {name}", facts.name));
        };
        if i64::from(field.offset) != off {
            return fault(
                Rule::HelperArgument,
                format!("off {off} doesn't point to 'struct {name}' that is at {}", field.offset),
            );
        }
        Ok(map)
    }

    /// A timer is armed with the map that it is in.
    pub(crate) fn check_timer_map(&self, timer: Option<MapRef>, map: MapRef) -> Check {
        if timer.is_none_or(|timer| timer == map) {
            return Ok(());
        }
        fault(
            Rule::HelperArgument,
            "timer pointer in R1 map_uid=0 doesn't match map pointer in R2 map_uid=0",
        )
    }
}
