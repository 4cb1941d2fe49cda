//! Proves eBPF programs safe as Linux does, and says why when it cannot.
//!
//! [`verify`] walks every path of a program and keeps what is known of registers and stack;
//! [`domain`] is what is known about numbers; [`kernel_log`] reads the log of the kernel's own
//! verifier, against which ours is compared. The profile is Linux 6.18: where the kernel's written
//! rules and its behaviour part, behaviour decides. What is not modelled is refused, with a
//! message that says so.
#![forbid(unsafe_code)]

mod assumptions;
mod check;
mod checkpoints;
mod compare;
pub mod domain;
mod explore;
pub mod history;
mod ids;
pub mod input;
mod kernel;
pub mod kernel_log;
mod known;
mod liveness;
mod loops;
mod observe;
mod precision;
mod rejection;
pub mod report;
mod stack_liveness;
mod state;
mod structure;
mod transfer;
mod verified;

use explore::Walk;
use skep_bpf::codec::SlotIndex;
use structure::Code;

pub use input::{Input, MapFacts, Profile};
pub use kernel::KernelTypes;
pub use known::{Known, Origin, PointerRegion};
pub use observe::{Event, Observed};
pub use rejection::{Decision, Rejection, Rule};
pub use verified::{Region, Stats, Verified};

/// Proves a program safe, or says why it is refused.
///
/// ```
/// use skep_bpf::{codec::Slot, platform::{AttachType, ProgType}, program::Bytecode};
/// use skep_verifier::{Input, Profile, verify};
/// // r0 = 2; exit
/// let code = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
/// let bytecode = Bytecode::from(Slot::from_code(&code).expect("two slots"));
/// let input = Input {
///     bytecode: &bytecode,
///     prog_type: ProgType::XDP,
///     attach_type: AttachType::UNSPECIFIED,
///     attach_target: None,
///     maps: &[],
///     functions: &[],
///     kernel: None,
///     gpl_compatible: false,
///     sleepable: false,
///     types: None,
///     profile: Profile::linux(4),
/// };
/// assert_eq!(verify(&input)?.stats().insns_processed, 2);
/// # Ok::<(), Box<skep_verifier::Rejection>>(())
/// ```
///
/// # Errors
///
/// The first rule that is broken, in the order in which Linux finds them.
pub fn verify(input: &Input<'_>) -> Result<Verified, Box<Rejection>> {
    run(input, None)
}

/// The same, watched: `observer` sees every instruction of every path in the order of the walk.
///
/// # Errors
///
/// As for [`verify`].
pub fn verify_observed<'a>(
    input: &'a Input<'a>,
    observer: &'a mut (dyn FnMut(&Observed<'_>) + 'a),
) -> Result<Verified, Box<Rejection>> {
    run(input, Some(observer))
}

fn run<'a>(
    input: &'a Input<'a>,
    observer: Option<&'a mut explore::Observer<'a>>,
) -> Result<Verified, Box<Rejection>> {
    let code = match Code::new(input) {
        Ok(code) => code,
        Err((fault, at)) => {
            return Err(Box::new(Rejection {
                rule: fault.rule,
                message: fault.message,
                details: fault.details,
                at: at.map(SlotIndex),
                path: Vec::new(),
                focus: None,
                related: Vec::new(),
                stats: Stats::default(),
            }));
        }
    };
    let mut walk = Walk::new(input, code, observer);
    let outcome = walk.check_prog_type().and_then(|()| walk.run());
    if let Err(fault) = outcome {
        return Err(Box::new(walk.reject(*fault, Some(walk.at))));
    }
    let stack_depth =
        walk.check_stack_depth().map_err(|(fault, at)| Box::new(walk.reject(*fault, at)))?;
    Ok(Verified {
        bytecode: input.bytecode.clone(),
        maps: input.maps.to_vec(),
        prog_type: input.prog_type,
        attach_type: input.attach_type,
        profile: input.profile,
        stats: walk.stats(),
        visited: walk.visits.iter().map(|visits| *visits > 0).collect(),
        regions: walk.regions,
        stack_depth,
    })
}
