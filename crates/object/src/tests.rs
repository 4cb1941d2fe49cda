//! Tests of the whole crate on committed objects; `testdata/` has their sources.

mod hostile;
mod linking;
mod maps;
mod oracle;
mod parts;
mod type_ids;

use crate::{Function, LinkError, LinkOptions, Linked, Object};

pub(crate) const FEATURES: &[u8] = include_bytes!("../testdata/features.bpf.o");
pub(crate) const EXTERNS: &[u8] = include_bytes!("../testdata/externs.bpf.o");
pub(crate) const BAD_MAPS: &[u8] = include_bytes!("../testdata/bad_maps.bpf.o");
pub(crate) const IPROUTE2: &[u8] = include_bytes!("../testdata/iproute2.bpf.o");
pub(crate) const OLD: &[u8] = include_bytes!("../testdata/old.o");
pub(crate) const SMALL: &[u8] = include_bytes!("../testdata/small.bpf.o");
pub(crate) const TYPE_IDS: &[u8] = include_bytes!("../testdata/type_ids.bpf.o");

pub(crate) fn parse(bytes: &[u8], name: &str) -> Object {
    Object::parse_named(bytes, name).expect("a committed object is readable")
}

pub(crate) fn function<'a>(object: &'a Object, name: &str) -> &'a Function {
    object.functions_named(name).first().copied().expect("the object has the function")
}

pub(crate) fn link(object: &Object, name: &str) -> Result<Linked, LinkError> {
    object.link(function(object, name).index, LinkOptions::default())
}
