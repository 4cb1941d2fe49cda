//! Tries of bit prefixes: a look-up finds the value of the longest prefix of what it asks for.
//!
//! A key is the number of bits that count, in four bytes, and the bits, most significant first. A
//! node has at most two children, by the first bit after its own; nodes without a value always
//! have both. Order of keys, results and errors: Linux, `kernel/bpf/lpm_trie.c`.

use parking_lot::RwLock;

use super::pool::{self, Pool};
use super::rules::{self, Expect, HostRights};
use super::values::{Layout, Values};
use super::{CpuIndex, Map, MapSpec, Value};
use crate::errno::Errno;
use crate::machine::{Machine, MapError};

/// The bytes that say how many bits count.
const LENGTH_BYTES: usize = 4;

/// `BPF_MAP_TYPE_LPM_TRIE`
#[derive(Debug)]
pub(super) struct LpmTrie {
    spec: MapSpec,
    rights: HostRights,
    values: Values,
    trie: RwLock<Trie>,
}

/// The nodes and the elements that their values lie in.
#[derive(Debug)]
struct Trie {
    /// Nodes in use and free ones.
    nodes: Vec<Node>,
    free: Vec<u32>,
    root: Option<u32>,
    pool: Pool,
}

#[derive(Clone, Debug)]
struct Node {
    /// How many bits count.
    len: u32,
    bits: Box<[u8]>,
    children: [Option<u32>; 2],
    /// The element that its value lies in; none if it only joins its children.
    element: Option<u32>,
}

/// A key taken apart.
#[derive(Clone, Copy, Debug)]
struct Prefix<'a> {
    len: u32,
    bits: &'a [u8],
}

impl<'a> Prefix<'a> {
    /// Takes a key apart; none if more bits count than there are.
    fn new(key: &'a [u8]) -> Option<Prefix<'a>> {
        let (len, bits) = key.split_first_chunk::<LENGTH_BYTES>()?;
        let len = u32::from_le_bytes(*len);
        (len as usize <= bits.len() * 8).then_some(Prefix { len, bits })
    }

    /// A bit, counted from the most significant of the first byte. Zero behind the end, where a
    /// node cannot have children.
    fn bit(self, index: u32) -> usize {
        let byte = self.bits.get((index / 8) as usize).copied().unwrap_or(0);
        usize::from(byte >> (7 - index % 8) & 1)
    }

    /// How many of the bits that count in both are the same.
    fn common(self, other: Prefix<'_>) -> u32 {
        let limit = self.len.min(other.len);
        let mut same = 0;
        for (a, b) in self.bits.iter().zip(other.bits) {
            let differing = (a ^ b).leading_zeros();
            same += differing;
            if differing < 8 || same >= limit {
                break;
            }
        }
        same.min(limit)
    }
}

/// A place that leads to a node: a child of another, or the root.
#[derive(Clone, Copy, Debug)]
struct Link {
    parent: Option<(u32, usize)>,
    to: Option<u32>,
}

impl Trie {
    fn node(&self, index: u32) -> &Node {
        &self.nodes[index as usize]
    }

    fn prefix(&self, index: u32) -> Prefix<'_> {
        let node = self.node(index);
        Prefix { len: node.len, bits: &node.bits }
    }

    fn child(&self, index: u32, bit: usize) -> Option<u32> {
        self.node(index).children[bit]
    }

    /// The element of the longest prefix of a key.
    fn find(&self, key: Prefix<'_>) -> Option<u32> {
        let (mut found, mut next) = (None, self.root);
        while let Some(index) = next {
            let node = self.node(index);
            if self.prefix(index).common(key) < node.len {
                break;
            }
            found = node.element.or(found);
            if node.len as usize == node.bits.len() * 8 {
                break;
            }
            next = node.children[key.bit(node.len)];
        }
        found
    }

    /// Follows a key to where it is or would be: the links from the root on, the last of which
    /// leads nowhere, to a node that shares fewer bits than it has, or to one as long as the key.
    fn path(&self, key: Prefix<'_>) -> Vec<Link> {
        let mut link = Link { parent: None, to: self.root };
        let mut path = vec![link];
        while let Some(index) = link.to {
            let len = self.node(index).len;
            if self.prefix(index).common(key) != len || len == key.len {
                break;
            }
            let bit = key.bit(len);
            link = Link { parent: Some((index, bit)), to: self.child(index, bit) };
            path.push(link);
        }
        path
    }

    /// The node of exactly a key, if the last link of its path leads there.
    fn exact(&self, key: Prefix<'_>, link: Link) -> Option<u32> {
        let index = link.to?;
        let is_it = self.node(index).len == key.len && self.prefix(index).common(key) == key.len;
        is_it.then_some(index)
    }

    fn set(&mut self, link: Link, to: Option<u32>) {
        match link.parent {
            Some((parent, bit)) => self.nodes[parent as usize].children[bit] = to,
            None => self.root = to,
        }
    }

    fn add(&mut self, node: Node) -> u32 {
        match self.free.pop() {
            Some(index) => {
                self.nodes[index as usize] = node;
                index
            }
            None => {
                self.nodes.push(node);
                // There are at most two nodes for each of fewer than 2^31 elements.
                (self.nodes.len() - 1) as u32
            }
        }
    }

    fn put(
        &mut self,
        key: Prefix<'_>,
        expect: Expect,
        write: impl FnOnce(u32) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let path = self.path(key);
        let link = path[path.len() - 1];
        let exact = self.exact(key, link);
        let old = exact.and_then(|index| self.node(index).element);
        match (old, expect) {
            (Some(_), Expect::Absent) => return Err(Errno::EEXIST),
            (None, Expect::Present) => return Err(Errno::ENOENT),
            (_, Expect::Any | Expect::Absent | Expect::Present) => {}
        }
        let full = |error| if error == Errno::E2BIG { Errno::ENOSPC } else { error };
        let element = self.pool.take(old.is_some()).map_err(full)?.ok_or(Errno::ENOMEM)?;
        if let Err(error) = write(element) {
            self.pool.give_back(element, old.is_some());
            return Err(error);
        }
        if let Some(index) = exact {
            self.nodes[index as usize].element = Some(element);
            self.nodes[index as usize].bits = key.bits.into();
            if let Some(old) = old {
                self.pool.retire(old, true);
            }
            return Ok(());
        }
        let (len, bits) = (key.len, Box::from(key.bits));
        let mut new = Node { len, bits, children: [None; 2], element: Some(element) };
        let to = match link.to {
            None => self.add(new),
            Some(below) => {
                let common = self.prefix(below).common(key);
                let bit = self.prefix(below).bit(common);
                if common == len {
                    new.children[bit] = Some(below);
                    self.add(new)
                } else {
                    let mut children = [Some(below); 2];
                    children[1 - bit] = Some(self.add(new));
                    let bits = self.node(below).bits.clone();
                    self.add(Node { len: common, bits, children, element: None })
                }
            }
        };
        self.set(link, Some(to));
        Ok(())
    }

    fn remove(&mut self, key: Prefix<'_>) -> Result<(), Errno> {
        let path = self.path(key);
        let link = path[path.len() - 1];
        let index = self.exact(key, link).ok_or(Errno::ENOENT)?;
        let element = self.nodes[index as usize].element.take().ok_or(Errno::ENOENT)?;
        self.pool.retire(element, false);
        match self.node(index).children {
            // It still joins its children.
            [Some(_), Some(_)] => return Ok(()),
            [Some(child), None] | [None, Some(child)] => self.set(link, Some(child)),
            [None, None] => {
                self.set(link, None);
                self.drop_joint(link, &path);
            }
        }
        self.free.push(index);
        Ok(())
    }

    /// A parent without a value that has lost a child gives way to the other.
    fn drop_joint(&mut self, link: Link, path: &[Link]) {
        let Some((parent, bit)) = link.parent else { return };
        if self.node(parent).element.is_none() {
            let other = self.child(parent, 1 - bit);
            self.set(path[path.len() - 2], other);
            self.free.push(parent);
        }
    }

    /// The key after another in the order in which longer prefixes come before those they begin
    /// with; the first after none and after one that is not there.
    fn next(&self, key: Option<Prefix<'_>>) -> Option<Vec<u8>> {
        let found = key.and_then(|key| {
            let path = self.path(key);
            let index = self.exact(key, path[path.len() - 1])?;
            self.node(index).element.map(|_| path)
        });
        let Some(path) = found else { return self.first(self.root) };
        for link in path.iter().rev() {
            let (parent, bit) = link.parent?;
            if bit == 0
                && let Some(other) = self.child(parent, 1)
            {
                return self.first(Some(other));
            }
            if self.node(parent).element.is_some() {
                return Some(self.key(parent));
            }
        }
        None
    }

    /// The first key of what hangs on a node.
    fn first(&self, from: Option<u32>) -> Option<Vec<u8>> {
        let mut index = from?;
        while let [Some(child), _] | [None, Some(child)] = self.node(index).children {
            index = child;
        }
        Some(self.key(index))
    }

    fn key(&self, index: u32) -> Vec<u8> {
        let node = self.node(index);
        [&node.len.to_le_bytes()[..], &node.bits].concat()
    }
}

impl LpmTrie {
    /// An empty trie.
    pub(super) fn new(machine: &Machine, spec: MapSpec) -> Result<LpmTrie, MapError> {
        rules::check_lpm_trie(&spec)?;
        let layout = Layout::Shared;
        let elements = pool::elements(spec.max_entries, layout.element_bytes(spec.value_bytes));
        let values = Values::new(machine, &spec, elements, layout)?;
        let pool = Pool::new(machine.epochs().clone(), spec.max_entries, elements);
        let trie = Trie { nodes: Vec::new(), free: Vec::new(), root: None, pool };
        Ok(LpmTrie { rights: HostRights::new(&spec), spec, values, trie: RwLock::new(trie) })
    }

    fn put(&self, key: &[u8], value: Value<'_>, flags: u64) -> Result<(), Errno> {
        let expect = Expect::from_flags(flags)?;
        let key = Prefix::new(key).ok_or(Errno::EINVAL)?;
        self.trie.write().put(key, expect, |element| self.values.set(0, element, value))
    }

    fn drop_key(&self, key: &[u8]) -> Result<(), Errno> {
        self.trie.write().remove(Prefix::new(key).ok_or(Errno::EINVAL)?)
    }
}

impl Map for LpmTrie {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    fn lookup(&self, _cpu: CpuIndex, key: &[u8]) -> Option<u32> {
        let element = self.trie.read().find(Prefix::new(key)?)?;
        self.values.addr(0, element)
    }

    fn update(&self, _: CpuIndex, key: &[u8], value: Value<'_>, flags: u64) -> Result<(), Errno> {
        rules::program_may_write(&self.spec)?;
        rules::check_key(&self.spec, key)?;
        self.put(key, value, flags)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        rules::program_may_write(&self.spec)?;
        rules::check_key(&self.spec, key)?;
        self.drop_key(key)
    }

    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        rules::check_key(&self.spec, key)?;
        let key = Prefix::new(key).ok_or(Errno::ENOENT)?;
        // Held while it is read: a retired element could be written to again.
        let trie = self.trie.read();
        self.values.get_all(trie.find(key).ok_or(Errno::ENOENT)?)
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_host_flags(flags)?;
        rules::check_key(&self.spec, key)?;
        self.put(key, Value::Host(value), flags)
    }

    fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_key(&self.spec, key)?;
        self.drop_key(key)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        self.rights.read()?;
        if let Some(key) = key {
            rules::check_key(&self.spec, key)?;
        }
        Ok(self.trie.read().next(key.and_then(Prefix::new)))
    }
}
