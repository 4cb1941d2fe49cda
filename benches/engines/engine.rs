//! The engines: their names on the command line, and how a kernel gets onto each.

use skep::run::Engine as Own;
use skep_cli::measure::{Outcome, Subject};

use crate::kernel::Kernel;
use crate::linux::Linux;
use crate::native::Native;
use crate::ours::Ours;
use crate::rbpf_engine::Rbpf;
use crate::sbpf_engine::{Sbpf, Version};

/// What executes a kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Skep(Own),
    Proved(Own),
    /// Proved, and not contained.
    Bare(Own),
    Rbpf {
        compiled: bool,
    },
    Sbpf {
        version: Version,
        compiled: bool,
    },
    Linux,
    Native,
}

/// An engine by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    kind: Kind,
}

const fn engine(name: &'static str, kind: Kind) -> Engine {
    Engine { name, kind }
}

/// All engines; the first of a measurement is the one that others are compared to.
pub(crate) const ENGINES: &[Engine] = &[
    engine("skep", Kind::Skep(Own::Fast)),
    engine("skep-jit1", Kind::Skep(Own::Template)),
    engine("skep-jit", Kind::Skep(Own::Optimising)),
    engine("skep-jit1-proved", Kind::Proved(Own::Template)),
    engine("skep-jit-proved", Kind::Proved(Own::Optimising)),
    engine("skep-jit1-uncontained", Kind::Bare(Own::Template)),
    engine("skep-jit-uncontained", Kind::Bare(Own::Optimising)),
    engine("skep-checked", Kind::Skep(Own::Checked)),
    engine("rbpf", Kind::Rbpf { compiled: false }),
    engine("rbpf-jit", Kind::Rbpf { compiled: true }),
    engine("sbpf-v3", Kind::Sbpf { version: Version::V3, compiled: false }),
    engine("sbpf-v4", Kind::Sbpf { version: Version::V4, compiled: false }),
    engine("sbpf-v4-jit", Kind::Sbpf { version: Version::V4, compiled: true }),
    engine("linux", Kind::Linux),
    engine("native", Kind::Native),
];

/// What every engine has to compute: what the fast interpreter did.
pub(crate) struct Expected {
    pub(crate) outcome: Outcome,
    pub(crate) memory: Vec<u8>,
}

impl Expected {
    pub(crate) fn of(kernel: &Kernel) -> Result<Expected, String> {
        let mut fast = Ours::new(kernel, Own::Fast)?;
        Ok(Expected { outcome: fast.run()?, memory: fast.memory()? })
    }
}

impl Engine {
    /// A kernel on this engine.
    pub(crate) fn subject(
        self,
        kernel: &Kernel,
        expected: &Expected,
        native: Option<&Native>,
    ) -> Result<Box<dyn Subject>, String> {
        let mut subject: Box<dyn Subject> = match self.kind {
            Kind::Skep(engine) => Box::new(Ours::new(kernel, engine)?),
            Kind::Proved(engine) => Box::new(Ours::proved(kernel, engine)?),
            Kind::Bare(engine) => Box::new(Ours::uncontained(kernel, engine)?),
            Kind::Rbpf { compiled } => Box::new(Rbpf::new(kernel, compiled)?),
            Kind::Sbpf { version, compiled } => {
                let Expected { outcome, memory } = expected;
                Box::new(Sbpf::new(kernel, version, compiled, *outcome, memory)?)
            }
            Kind::Linux => Box::new(Linux::new(kernel)?),
            Kind::Native => {
                let native = native.ok_or("there is no native code")?;
                Box::new(native.kernel(kernel)?)
            }
        };
        let Outcome { r0, .. } = subject.run()?;
        let needed = expected.outcome.r0;
        if r0 == needed { Ok(subject) } else { Err(format!("r0 is {r0:#x}, not {needed:#x}")) }
    }
}
