//! Support for the integration tests.
//!
//! [`corpus`] reads the conformance cases, [`engines`] lists who must agree with them, [`oracle`]
//! asks the live kernel, [`random`] makes programs to compare with it; [`verdicts`] compares what
//! the verifiers say of them.

pub mod corpus;
pub mod engines;
pub mod oracle;
pub mod random;
pub mod robustness;
pub mod verdicts;
