//! Random numbers with many corners among them.

/// A generator (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Numbers at which operations change what they do.
const CORNERS: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0x7fff,
    0x8000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];

impl Random {
    /// A generator that starts at a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a limit, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit as u64) as usize
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A 64-bit operand: a corner, one beside it, a small or any number.
    pub fn word(&mut self) -> u64 {
        match self.below(6) {
            0 => self.of(&CORNERS),
            1 => self.of(&CORNERS).wrapping_add(self.below(3) as u64).wrapping_sub(1),
            2 => self.below(256) as u64,
            3 => (self.bits() as i32) as u64,
            _ => self.bits(),
        }
    }

    /// A 32-bit immediate.
    pub fn imm(&mut self) -> i32 {
        self.word() as i32
    }
}
