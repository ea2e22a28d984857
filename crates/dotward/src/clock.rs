//! The one clock of the shell.
//!
//! Promises: moments never go backwards, and a time asleep counts (`CLOCK_BOOTTIME`), so that deadlines of a laptop
//! that was closed for an hour are over when it opens. [`std::time::Instant`] stands still in that hour.
//!
//! Deliberately absent: wall-clock time for anything that lasts. Certificates ask for it themselves; [`wall`] is for the age of what the
//! kernel has stamped.

use std::time::Duration;

use dotward_core::time::Moment;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The clock that counts while the machine sleeps, where the system has one.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The wall clock since 1970, as the kernel stamps datagrams with it.
pub(crate) fn wall() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
    let seconds = u64::try_from(tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(tv_nsec).unwrap_or_default())
}

/// Reads the clock. Called once per batch of input, not once per query.
pub(crate) fn now() -> Moment {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(CLOCK);
    let seconds = u64::try_from(tv_sec).unwrap_or_default();
    let nanos = u64::try_from(tv_nsec).unwrap_or_default();
    Moment::from_nanos(
        seconds
            .saturating_mul(NANOS_PER_SECOND)
            .saturating_add(nanos),
    )
}

#[cfg(test)]
mod tests {
    use super::now;

    #[test]
    fn the_clock_does_not_go_backwards() {
        let earlier = now();
        assert!(now() >= earlier);
        assert!(earlier.as_nanos() > 0);
    }
}
