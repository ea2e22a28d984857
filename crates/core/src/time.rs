//! Points on the monotonic clock, as the shell hands them in.
//!
//! A [`Moment`] is a plain number, so tests and simulations make one from nothing, and the shell may choose a clock
//! that goes on counting while a laptop sleeps (`CLOCK_BOOTTIME`), which [`std::time::Instant`] does not.
//!
//! What servers have to agree on, the age of a cookie, is told by the wall clock instead: [`WallSeconds`].
//!
//! Deliberately absent: reading any clock.

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

/// Seconds since 1970 by the wall clock, modulo 2^32 (RFC 9018 section 4.3). Only for what other machines read too: it may jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WallSeconds(pub u32);

impl WallSeconds {
    /// How many seconds after `earlier` this is, negative when before it, in serial number arithmetic (RFC 1982).
    #[must_use]
    pub const fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
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
