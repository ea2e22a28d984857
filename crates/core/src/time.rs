//! Points on the monotonic clock, as the shell hands them in.
//!
//! A [`Moment`] is a plain number, so tests and simulations make one from nothing, and the shell may choose a clock
//! that goes on counting while a laptop sleeps (`CLOCK_BOOTTIME`), which [`std::time::Instant`] does not.
//!
//! Deliberately absent: reading any clock, and wall-clock time.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in time: nanoseconds since an epoch of the caller's choice, always the same one within a process.
///
/// Arithmetic saturates at both ends; a span of 584 years is representable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The epoch itself.
    pub const ZERO: Self = Self(0);

    /// The moment `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this moment is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let late = Moment::from_nanos(u64::MAX);
        assert_eq!(late + Duration::from_secs(1), late);
        assert_eq!(Moment::ZERO - Duration::from_secs(1), Moment::ZERO);
        assert_eq!(Moment::ZERO.since(late), Duration::ZERO);
        assert_eq!(
            (Moment::ZERO + Duration::from_millis(3))
                .since(Moment::ZERO)
                .as_millis(),
            3
        );
    }
}
