//! What lies where in the window: areas with a purpose, and the objects in them.
//!
//! The window knows pages; this file knows that a page belongs to a map's values, a stack or a
//! packet, how large each object there is, and which addresses are free. The checked interpreter
//! reads it to say what an access missed; areas are never adjacent, so that running off the end
//! of one faults.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::memory::{Access, PAGE_BYTES, Perm, Window};

/// The first address that can be mapped: programs and tests may count on low addresses faulting.
pub const FIRST_ADDR: u32 = 0x1_0000;
/// The address after the last that can be mapped. Function references lie above.
pub const END_ADDR: u32 = 0xffff_0000;

/// What an area is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The frames of a processor.
    Stack,
    /// The context of the program that runs.
    Context,
    /// A packet with its headroom and tailroom.
    Packet,
    /// Memory that the caller gave a program.
    Memory,
    /// Values of a map, each an object of its own.
    MapValues {
        /// The map's name.
        map: Arc<str>,
        /// The size of a value in bytes.
        value_bytes: u32,
        /// The distance between two values in bytes.
        stride_bytes: u32,
    },
    /// Records of a ring buffer: the same memory twice in a row.
    RingBuffer {
        /// The map's name.
        map: Arc<str>,
    },
    /// The key of an element, for a function that is called back with it.
    MapKey,
    /// What map references in registers lead to.
    MapHandles,
}

/// A piece of the window in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Area {
    /// The first address.
    pub start: u32,
    /// The number of bytes that were asked for; the rest of the last page is zero and unused.
    pub len: u32,
    /// What programs may do with it.
    pub perm: Perm,
    /// What it is for.
    pub purpose: Purpose,
}

/// One object: what a pointer may be moved about in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    /// The first address.
    pub start: u32,
    /// The number of bytes.
    pub len: u32,
    /// What programs may do with it.
    pub perm: Perm,
    /// What it is for.
    pub purpose: Purpose,
}

impl Region {
    /// Whether an access of `len` bytes at `addr` lies in the region and is permitted.
    #[must_use]
    pub fn allows(&self, addr: u32, len: u32, access: Access) -> bool {
        let offset = u64::from(addr.wrapping_sub(self.start));
        addr >= self.start
            && offset + u64::from(len) <= u64::from(self.len)
            && self.perm.allows(access)
    }
}

/// Why guest memory could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AllocError {
    /// The window has no gap that is large enough.
    #[error("no room for {needed} bytes: guest memory is 4 GiB, of which {free} bytes are free")]
    Full {
        /// The number of bytes asked for.
        needed: u64,
        /// The number of bytes not in use.
        free: u64,
    },
    /// The host refused.
    #[error("the host gave no memory")]
    Host(#[from] io::Error),
}

/// Guest memory: the window and what lies in it.
#[derive(Debug)]
pub struct Memory {
    window: Window,
    areas: RwLock<BTreeMap<u32, Area>>,
}

impl Memory {
    /// Empty guest memory.
    ///
    /// # Errors
    ///
    /// If the host does not give the address space.
    pub fn new() -> io::Result<Memory> {
        Ok(Memory { window: Window::new()?, areas: RwLock::default() })
    }

    /// The window, for access.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Maps zeroed memory of a length in bytes. Areas start at a page and have an unmapped page
    /// behind them; the lowest gap that fits is taken, so the same requests give the same
    /// addresses.
    ///
    /// # Errors
    ///
    /// If the window is full or the host refuses.
    pub fn alloc(&self, len: u32, perm: Perm, purpose: Purpose) -> Result<u32, AllocError> {
        let mut areas = self.areas.write();
        let (start, needed) = self.gap(&areas, len)?;
        self.window.protect(start, needed, perm)?;
        if matches!(purpose, Purpose::MapValues { .. }) {
            self.window.prefer_huge(start, needed);
        }
        areas.insert(start, Area { start, len, perm, purpose });
        Ok(start)
    }

    /// Maps zeroed memory of a length in bytes, a multiple of the size of a page, twice in a row.
    ///
    /// # Errors
    ///
    /// If the window is full or the host refuses, as it does where it is not Linux.
    pub(crate) fn alloc_ring(&self, len: u32, map: Arc<str>) -> Result<u32, AllocError> {
        let mut areas = self.areas.write();
        let twice = len.checked_mul(2).ok_or_else(|| full(&areas, 2 * u64::from(len)))?;
        let (start, _) = self.gap(&areas, twice)?;
        self.window.map_twice(start, len)?;
        let purpose = Purpose::RingBuffer { map };
        areas.insert(start, Area { start, len: twice, perm: Perm::ReadWrite, purpose });
        Ok(start)
    }

    /// Where the lowest gap that fits a length begins, and the length in whole pages.
    fn gap(&self, areas: &BTreeMap<u32, Area>, len: u32) -> Result<(u32, u32), AllocError> {
        let needed = pages_bytes(len.max(1));
        let mut start = u64::from(FIRST_ADDR);
        for area in areas.values() {
            if u64::from(area.start) >= start + needed + u64::from(PAGE_BYTES) {
                break;
            }
            start = u64::from(area.start) + pages_bytes(area.len.max(1)) + u64::from(PAGE_BYTES);
        }
        if start + needed > u64::from(END_ADDR) {
            return Err(full(areas, len.into()));
        }
        // Both lie below the end of the window.
        Ok((start as u32, needed as u32))
    }

    /// Unmaps the area that starts at an address; nothing happens if none does.
    pub fn free(&self, start: u32) {
        let mut areas = self.areas.write();
        if let Some(area) = areas.get(&start) {
            let released = match area.purpose {
                Purpose::RingBuffer { .. } => self.window.unmap_twice(start, area.len / 2),
                Purpose::Stack
                | Purpose::Context
                | Purpose::Packet
                | Purpose::Memory
                | Purpose::MapValues { .. }
                | Purpose::MapKey
                | Purpose::MapHandles => {
                    self.window.release(start, pages_bytes(area.len.max(1)) as u32)
                }
            };
            // A host that refuses leaves the pages inaccessible but in use: they stay listed.
            if released.is_ok() {
                areas.remove(&start);
            }
        }
    }

    /// Changes what programs may do with the area that starts at an address.
    ///
    /// # Errors
    ///
    /// If the host refuses.
    pub fn protect(&self, start: u32, perm: Perm) -> io::Result<()> {
        let mut areas = self.areas.write();
        if let Some(area) = areas.get_mut(&start) {
            self.window.protect(start, pages_bytes(area.len.max(1)) as u32, perm)?;
            area.perm = perm;
        }
        Ok(())
    }

    /// The area that an address lies in.
    #[must_use]
    pub fn area_at(&self, addr: u32) -> Option<Area> {
        let areas = self.areas.read();
        let (_, area) = areas.range(..=addr).next_back()?;
        (addr - area.start < area.len).then(|| area.clone())
    }

    /// The object that an address lies in, as far as the areas tell: one value of a map, or the
    /// whole area.
    #[must_use]
    pub fn region_at(&self, addr: u32) -> Option<Region> {
        let area = self.area_at(addr)?;
        let (start, len) = match area.purpose {
            Purpose::MapValues { value_bytes, stride_bytes, .. } if stride_bytes != 0 => {
                let index = (addr - area.start) / stride_bytes;
                let start = area.start + index * stride_bytes;
                if addr - start >= value_bytes {
                    return None;
                }
                (start, value_bytes)
            }
            Purpose::MapValues { .. }
            | Purpose::Stack
            | Purpose::Context
            | Purpose::Packet
            | Purpose::Memory
            | Purpose::RingBuffer { .. }
            | Purpose::MapKey
            | Purpose::MapHandles => (area.start, area.len),
        };
        Some(Region { start, len, perm: area.perm, purpose: area.purpose })
    }
}

fn full(areas: &BTreeMap<u32, Area>, needed: u64) -> AllocError {
    let used: u64 = areas.values().map(|area| pages_bytes(area.len)).sum();
    AllocError::Full { needed, free: u64::from(END_ADDR - FIRST_ADDR) - used }
}

/// The number of bytes in whole pages.
fn pages_bytes(len: u32) -> u64 {
    u64::from(len).next_multiple_of(PAGE_BYTES.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_kept_apart_and_reused() {
        let memory = Memory::new().unwrap();
        let a = memory.alloc(10, Perm::ReadWrite, Purpose::Memory).unwrap();
        let b = memory.alloc(2 * PAGE_BYTES, Perm::ReadWrite, Purpose::Memory).unwrap();
        assert_eq!((a, b), (FIRST_ADDR, FIRST_ADDR + 2 * PAGE_BYTES));
        memory.window().write(a, b"guest").unwrap();
        let mut bytes = [0; 5];
        memory.window().read(a, &mut bytes).unwrap();
        assert_eq!(&bytes, b"guest");
        assert!(memory.window().read(a + PAGE_BYTES - 1, &mut bytes).is_err());
        memory.free(a);
        assert!(memory.window().read(a, &mut bytes).is_err());
        let again = memory.alloc(1, Perm::ReadWrite, Purpose::Memory).unwrap();
        assert_eq!(again, a);
        memory.window().read(a, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 5], "released memory comes back zeroed");
    }

    #[test]
    fn a_full_window_is_an_error() {
        let memory = Memory::new().unwrap();
        let error = memory.alloc(u32::MAX, Perm::Read, Purpose::Memory).unwrap_err();
        assert!(matches!(error, AllocError::Full { .. }), "{error}");
        let big = memory.alloc(0xf000_0000, Perm::Read, Purpose::Memory).unwrap();
        assert!(memory.alloc(0x1000_0000, Perm::Read, Purpose::Memory).is_err());
        memory.free(big);
    }

    #[test]
    fn a_read_only_area_can_only_be_read() {
        let memory = Memory::new().unwrap();
        let at = memory.alloc(8, Perm::Read, Purpose::Memory).unwrap();
        assert!(memory.window().check(at, 8, Access::Read).is_ok());
        assert!(memory.window().write(at, &[1]).is_err());
        memory.protect(at, Perm::ReadWrite).unwrap();
        memory.window().write(at, &[1]).unwrap();
    }

    #[test]
    fn a_ring_is_there_twice_and_goes_away() {
        let memory = Memory::new().unwrap();
        let at = memory.alloc_ring(PAGE_BYTES, "ring".into()).unwrap();
        let window = memory.window();
        window.write(at + PAGE_BYTES - 2, &[1, 2, 3]).unwrap();
        let mut bytes = [0; 1];
        window.read(at, &mut bytes).unwrap();
        assert_eq!(bytes, [3], "its end runs over into its start");
        assert!(window.write(at + 2 * PAGE_BYTES - 1, &[1, 2]).is_err());
        memory.free(at);
        assert!(window.read(at, &mut bytes).is_err());
        let plain = memory.alloc(2 * PAGE_BYTES, Perm::ReadWrite, Purpose::Memory).unwrap();
        assert_eq!(plain, at);
        window.write(plain, &[7]).unwrap();
        window.read(plain + PAGE_BYTES, &mut bytes).unwrap();
        assert_eq!(bytes, [0], "plain memory again");
        assert!(memory.alloc_ring(1 << 31, "ring".into()).is_err());
    }

    #[test]
    fn each_map_value_is_a_region() {
        let memory = Memory::new().unwrap();
        let purpose = Purpose::MapValues { map: "m".into(), value_bytes: 6, stride_bytes: 8 };
        let at = memory.alloc(24, Perm::ReadWrite, purpose).unwrap();
        let region = memory.region_at(at + 9).unwrap();
        assert_eq!((region.start, region.len), (at + 8, 6));
        assert!(memory.region_at(at + 7).is_none(), "padding belongs to no value");
    }
}
