//! Infrared: a pulse, a space or another event of a receiver (Linux, `LIRC_MODE2`).
//!
//! A decoder runs once for every event, keeps its state in maps and says with its helpers what it
//! has decoded.

use std::fmt;

use skep_bpf::platform::ProgType;

use super::{Context, ContextError, CpuState, Kind, Machine};

/// What a receiver saw, with a duration in microseconds of up to 24 bits
/// ([`MAX_VALUE`](Signal::MAX_VALUE)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// No light.
    Space(u32),
    /// Light.
    Pulse(u32),
    /// No light for so long that a message has ended.
    Timeout(u32),
    /// Not a duration: the frequency of the carrier, in hertz.
    Carrier(u32),
}

impl Signal {
    /// The longest duration in microseconds, and the highest frequency in hertz.
    pub const MAX_VALUE: u32 = 0x00ff_ffff;

    /// The number that a program's context holds: the kind in the upper 8, the duration in the
    /// lower 24 bits (`linux/lirc.h`).
    #[must_use]
    pub fn sample(self) -> u32 {
        match self {
            Signal::Space(us) => us & Self::MAX_VALUE,
            Signal::Pulse(us) => 0x0100_0000 | us & Self::MAX_VALUE,
            Signal::Carrier(hz) => 0x0200_0000 | hz & Self::MAX_VALUE,
            Signal::Timeout(us) => 0x0300_0000 | us & Self::MAX_VALUE,
        }
    }
}

/// As recordings have it ([`parse_pulses`](super::parse_pulses)): `+560`, `timeout 20000`.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signal::Space(us) => write!(f, "-{us}"),
            Signal::Pulse(us) => write!(f, "+{us}"),
            Signal::Timeout(us) => write!(f, "timeout {us}"),
            Signal::Carrier(hz) => write!(f, "carrier {hz}"),
        }
    }
}

/// What a decoder made of the signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// A key was pressed (`bpf_rc_keydown`).
    Key {
        /// The protocol's number.
        protocol: u32,
        /// The code of the key.
        scancode: u64,
        /// The bit that changes with every press.
        toggle: u32,
    },
    /// The last key is still held (`bpf_rc_repeat`).
    Repeat,
    /// A pointer was moved (`bpf_rc_pointer_rel`).
    Pointer {
        /// To the right.
        x: i32,
        /// Downwards.
        y: i32,
    },
}

impl fmt::Display for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decoded::Key { protocol, scancode, toggle } => {
                write!(f, "key protocol {protocol} scancode {scancode:#x} toggle {toggle}")
            }
            Decoded::Repeat => f.write_str("repeat"),
            Decoded::Pointer { x, y } => write!(f, "pointer x {x} y {y}"),
        }
    }
}

/// An event for a decoder. After a run it says what was decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lirc {
    /// What the receiver saw.
    pub signal: Signal,
    /// What the program said of it, in order.
    pub decoded: Vec<Decoded>,
}

impl Lirc {
    /// An event of which nothing is known yet.
    #[must_use]
    pub fn new(signal: Signal) -> Lirc {
        Lirc { signal, decoded: Vec::new() }
    }
}

impl Context for Lirc {
    fn suits(&self, prog_type: ProgType) -> bool {
        prog_type == ProgType::LIRC_MODE2 || prog_type == ProgType::UNSPEC
    }

    fn enter(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<[u64; 2], ContextError> {
        cpu.input.begin(Kind::Lirc, cpu.context);
        let window = machine.memory().window();
        let sample = self.signal.sample().to_le_bytes();
        window.write(cpu.context, &sample).map_err(ContextError::fault)?;
        Ok([cpu.context.into(), 0])
    }

    fn leave(&mut self, _: &Machine, cpu: &mut CpuState) -> Result<(), ContextError> {
        self.decoded = std::mem::take(&mut cpu.input.decoded);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helpers::tests::{Bench, load};
    use crate::run::{Options, RunError};
    use crate::trap::TrapKind;

    #[test]
    fn decoders_see_a_sample_and_are_heard() {
        let mut bench = Bench::new();
        let text = "
            r6 = r1
            r7 = *(u32 *)(r1 + 0)
            r2 = 64
            r3 = r7
            r4 = 2048
            call bpf_rc_keydown
            r1 = r6
            call bpf_rc_repeat
            r1 = r6
            r2 = -4
            r3 = 2
            call bpf_rc_pointer_rel
            r0 = 0
            exit";
        let decoder = load(&bench.machine, ProgType::LIRC_MODE2, text);
        for (signal, sample) in [
            (Signal::Space(4500), 4500),
            (Signal::Pulse(Signal::MAX_VALUE), 0x01ff_ffff),
            (Signal::Carrier(38_000), 0x0200_9470),
            (Signal::Timeout(20_000), 0x0300_4e20),
        ] {
            let mut event = Lirc::new(signal);
            bench.run(&decoder, &mut event);
            let key = Decoded::Key { protocol: 64, scancode: sample, toggle: 1 };
            let pointer = Decoded::Pointer { x: -4, y: 2 };
            assert_eq!(event.decoded, [key, Decoded::Repeat, pointer], "{signal}");
        }
    }

    #[test]
    fn helpers_of_decoders_need_the_event() {
        let mut bench = Bench::new();
        let text = "r1 = r10\ncall bpf_rc_repeat\nr0 = 0\nexit";
        let decoder = load(&bench.machine, ProgType::LIRC_MODE2, text);
        let mut event = Lirc::new(Signal::Pulse(1));
        let error = decoder.run(&mut bench.cpu, &mut event, Options::default());
        let Err(RunError::Trap(trap)) = error else { panic!("{error:?}") };
        assert!(matches!(trap.kind, TrapKind::HelperContext { .. }), "{}", trap.kind);
        assert_eq!(event.decoded, []);
    }
}
