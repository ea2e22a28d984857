//! Where choices come from: a seed, or octets that a fuzzer makes up.

use core::ops::RangeInclusive;
use core::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A source of choices.
#[derive(Debug)]
pub enum Chance<'a> {
    /// Endless, from a seed.
    Seed(Box<ChaCha12Rng>),
    /// One octet a choice; then the first choice for ever.
    Octets(&'a [u8]),
}

impl Chance<'_> {
    /// Choices that follow from a number.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::Seed(Box::new(ChaCha12Rng::seed_from_u64(seed)))
    }

    /// A number from the range, ends included.
    pub fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        let span = range.end() - range.start() + 1;
        let drawn = match self {
            Self::Seed(rng) => rng.next_u64(),
            Self::Octets(octets) => {
                let Some((first, rest)) = octets.split_first() else {
                    return *range.start();
                };
                *octets = rest;
                if span > 256 {
                    u64::from(*first) * span / 256
                } else {
                    u64::from(*first)
                }
            }
        };
        range.start() + drawn % span
    }

    /// As [`Chance::number`], for sizes.
    pub fn size(&mut self, range: RangeInclusive<usize>) -> usize {
        let (start, end) = (*range.start() as u64, *range.end() as u64);
        usize::try_from(self.number(start..=end)).unwrap_or_default()
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: u8) -> bool {
        // Never without asking: otherwise what is drawn next would depend on the percentage.
        self.number(0..=99) >= 100 - u64::from(percent.min(100))
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.size(0..=of.len() - 1)]
    }

    /// A time, in milliseconds.
    pub fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(range))
    }

    /// Whether there is nothing left to choose from.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        matches!(self, Self::Octets(octets) if octets.is_empty())
    }
}
