//! Support for the integration tests.
//!
//! [`corpus`] reads the conformance cases, [`engines`] lists who must agree with them, [`oracle`]
//! asks the live kernel, [`random`] makes programs to compare with it, [`hostile`] programs that
//! nothing vouches for; [`verdicts`] compares what the verifiers say of them, [`membership`] what
//! they hold when they run with what was proved of them, [`turns`] makes programs with functions
//! that are called back for it. [`agreement`] runs programs in every way there is; [`aarch64`]
//! runs machine code for that target in an emulator.

pub mod aarch64;
pub mod agreement;
pub mod corpus;
pub mod engines;
pub mod hostile;
pub mod membership;
pub mod oracle;
pub mod random;
pub mod robustness;
pub mod turns;
pub mod verdicts;
