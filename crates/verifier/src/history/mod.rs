//! How a value came to be what it is: the path to a fault, walked a second time and written down.
//!
//! The walk itself keeps nothing but the turns of each path. Only when a program is refused is its
//! path walked again, alone, with the state before every instruction kept; what matters of it is
//! then found backwards from the fault. So history costs nothing as long as programs are accepted.

pub(crate) mod cause;
pub(crate) mod model;
mod origin;
pub(crate) mod replay;

pub use model::{Base, Called, Focus, Known, Related, RelatedKind};
