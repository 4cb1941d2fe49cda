//! Which object an access must lie in, and what to say if it does not.

use std::sync::Arc;

use skep_bpf::insn::Mem;
use skep_bpf::op::Size;
use skep_bpf::platform::context::{FieldKind, context_of};

use super::Checked;
use super::value::{Origin, Value};
use crate::cpu::FRAME_BYTES;
use crate::memory::{Access, Perm};
use crate::region::{Purpose, Region};
use crate::trap::{TrapKind, Violation};

impl Checked<'_> {
    /// The address of a memory operand, if the access lies in an object that allows it.
    pub(super) fn check(&self, mem: Mem, len: u32, access: Access) -> Result<u32, TrapKind> {
        let addr = self.address(mem);
        self.check_at(self.get(mem.base).origin.as_ref(), addr, len, access)?;
        Ok(addr)
    }

    /// Checks an access through an address of an origin.
    pub(super) fn check_at(
        &self,
        origin: Option<&Origin>,
        addr: u32,
        len: u32,
        access: Access,
    ) -> Result<(), TrapKind> {
        let region = match origin {
            Some(origin) => self.region_of(origin),
            None => self.region_at(addr),
        };
        if region.as_ref().is_some_and(|region| region.allows(addr, len, access)) {
            return Ok(());
        }
        let name = match (&region, origin) {
            (Some(region), _) => Some(self.name(region)),
            (None, Some(Origin::Frame { .. })) => Some("a frame that was left".to_owned()),
            (None, _) => None,
        };
        Err(TrapKind::Region(Box::new(Violation { addr, len, access, region, name })))
    }

    /// An address with the object that lies there.
    pub(super) fn pointer(&self, bits: u64) -> Value {
        let object =
            u32::try_from(bits).ok().and_then(|addr| self.machine.memory().region_at(addr));
        Value { bits, origin: object.map(|region| Origin::Object(Arc::new(region))) }
    }

    /// An address of an object that is the first bytes of what lies there.
    pub(super) fn part(&self, bits: u64, len: u64) -> Value {
        let object =
            u32::try_from(bits).ok().and_then(|addr| self.machine.memory().region_at(addr));
        let part = object.map(|region| {
            let start = bits as u32;
            let len = u64::from(region.start + region.len - start).min(len) as u32;
            Origin::Object(Arc::new(Region { start, len, ..region }))
        });
        Value { bits, origin: part }
    }

    /// What a load of a context's field leads to: the packet, if it is one of its pointers.
    pub(super) fn packet_pointer(&self, addr: u32, size: Size) -> Option<Origin> {
        let row = context_of(self.program.prog_type())?;
        let context = self.region_of(&Origin::Input(Purpose::Context))?;
        let offset = addr - context.start;
        match row.field_at(offset)?.kind_of_load(offset, size.bytes()) {
            FieldKind::Packet | FieldKind::PacketEnd | FieldKind::PacketMeta => {
                Some(Origin::Input(Purpose::Packet))
            }
            FieldKind::Scalar
            | FieldKind::SockCommonOrNull
            | FieldKind::Socket
            | FieldKind::SocketOrNull
            | FieldKind::FlowKeys
            | FieldKind::TracepointBuffer
            | FieldKind::Btf(_)
            | FieldKind::ByTarget => None,
        }
    }

    fn region_of(&self, origin: &Origin) -> Option<Region> {
        match origin {
            Origin::Frame { depth, serial } => {
                let is_caller = |frame: &super::Frame| frame.serial == *serial;
                let alive = match self.callers.get(*depth as usize) {
                    Some(frame) => is_caller(frame),
                    None => *depth as usize == self.callers.len() && self.serial == *serial,
                };
                alive.then(|| self.frame(*depth))
            }
            Origin::Input(purpose) => {
                self.cpu.input.regions().into_iter().find(|region| region.purpose == *purpose)
            }
            Origin::Object(region) => Some(Region::clone(region)),
        }
    }

    /// The object that an address of unknown origin lies in.
    fn region_at(&self, addr: u32) -> Option<Region> {
        let holds = |region: &Region| addr >= region.start && addr - region.start < region.len;
        let frames = (0..=self.callers.len() as u32).map(|depth| self.frame(depth));
        if let Some(frame) = frames.into_iter().find(holds) {
            return Some(frame);
        }
        if let Some(input) = self.cpu.input.regions().into_iter().find(holds) {
            return Some(input);
        }
        let region = self.machine.memory().region_at(addr)?;
        match region.purpose {
            // Known more exactly above; what is left of these areas is no object.
            Purpose::Stack | Purpose::Context | Purpose::Packet | Purpose::Memory => None,
            Purpose::MapValues { .. }
            | Purpose::RingBuffer { .. }
            | Purpose::MapKey
            | Purpose::MapHandles => Some(region),
        }
    }

    fn frame(&self, depth: u32) -> Region {
        let start = self.cpu.frame_top() - (depth + 1) * FRAME_BYTES;
        Region { start, len: FRAME_BYTES, perm: Perm::ReadWrite, purpose: Purpose::Stack }
    }

    /// An object as people call it.
    fn name(&self, region: &Region) -> String {
        match &region.purpose {
            Purpose::Stack => "a frame's stack".to_owned(),
            Purpose::Context => match context_of(self.program.prog_type()) {
                Some(row) => format!("the context ({})", row.c_type),
                None => "the context".to_owned(),
            },
            Purpose::Packet => "the packet".to_owned(),
            Purpose::Memory => "the memory".to_owned(),
            Purpose::MapValues { map, .. } => format!("a value of map {map}"),
            Purpose::RingBuffer { map } => format!("a record of ring buffer {map}"),
            Purpose::MapKey => "the key of an element".to_owned(),
            Purpose::MapHandles => "the maps' descriptors".to_owned(),
        }
    }
}
