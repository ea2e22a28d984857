//! The one clock of the shell.
//!
//! Promises: moments never go backwards, and a time asleep counts (`CLOCK_BOOTTIME`), so that deadlines of a laptop
//! that was closed for an hour are over when it opens. [`std::time::Instant`] stands still in that hour.
//!
//! A machine that slept is found out by comparing the two clocks ([`SleepWatch`]): connections of before may look alive and not be.
//!
//! Deliberately absent: wall-clock time for anything that lasts. Certificates ask for it themselves; [`WallClock`] is for the age of
//! what the kernel has stamped and of cookies, which other machines read too.

use std::time::Duration;

use dotward_core::time::Moment;
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::limits::{SLEEP_NOTICED, WALL_CLOCK_KEPT};

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
    #[cfg(test)]
    return read(CLOCK) + tests::slept();
    #[cfg(not(test))]
    read(CLOCK)
}

/// Time awake, on a scale of its own.
pub(crate) fn awake() -> Moment {
    read(ClockId::Monotonic)
}

/// Knows the wall clock from the other one, so that not both have to be read for each batch.
#[derive(Debug, Default)]
pub(crate) struct WallClock {
    /// The wall clock as it was read last, and when that was.
    read: Option<(Duration, Moment)>,
}

impl WallClock {
    /// About what the wall clock shows at `now`: wrong by as much as it was set during the last [`WALL_CLOCK_KEPT`].
    pub(crate) fn about(&mut self, now: Moment) -> Duration {
        match self.read {
            Some((wall, then)) if now.since(then) < WALL_CLOCK_KEPT => wall + now.since(then),
            Some(_) | None => self.exactly(now),
        }
    }

    /// What the wall clock shows.
    pub(crate) fn exactly(&mut self, now: Moment) -> Duration {
        let wall = wall();
        self.read = Some((wall, now));
        wall
    }
}

/// Processor time this thread has spent.
pub(crate) fn thread_cpu() -> Duration {
    read(ClockId::ThreadCPUTime).since(Moment::ZERO)
}

/// Notices that the machine slept.
#[derive(Debug, Default)]
pub(crate) struct SleepWatch {
    /// All time asleep that was seen.
    asleep: Option<Duration>,
}

impl SleepWatch {
    /// How long the machine slept since the last look, if it did. `now` has to be read before `awake`: a pause between the two
    /// readings then makes sleep look shorter and never longer, and the longest that was seen is the truth.
    pub(crate) fn look(&mut self, now: Moment, awake: Moment) -> Option<Duration> {
        let asleep = now.since(awake);
        let known = self
            .asleep
            .replace(asleep.max(self.asleep.unwrap_or_default()))?;
        let slept = asleep.saturating_sub(known);
        (slept > SLEEP_NOTICED).then_some(slept)
    }
}

fn read(clock: ClockId) -> Moment {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    let seconds = u64::try_from(tv_sec).unwrap_or_default();
    let nanos = u64::try_from(tv_nsec).unwrap_or_default();
    Moment::from_nanos(
        seconds
            .saturating_mul(NANOS_PER_SECOND)
            .saturating_add(nanos),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// How long the machine slept, as this thread sees it, beside what it really did.
    pub(super) fn slept() -> Duration {
        SLEPT.get()
    }

    /// To this thread the machine slept for so long: one clock went on, the other did not.
    pub(crate) fn sleep(duration: Duration) {
        SLEPT.set(SLEPT.get() + duration);
    }

    #[test]
    fn the_clock_does_not_go_backwards() {
        let earlier = now();
        assert!(now() >= earlier);
        assert!(earlier.as_nanos() > 0);
    }

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn sleep_is_noticed_once_and_for_as_long_as_it_was() {
        let mut watch = SleepWatch::default();
        // Asleep for a minute before the program began.
        assert_eq!(watch.look(at(70_000), at(10_000)), None);
        assert_eq!(watch.look(at(80_000), at(20_000)), None);
        let hour = 3_600_000;
        let slept = watch.look(at(90_000 + hour), at(30_000));
        assert_eq!(slept, Some(Duration::from_millis(hour)));
        assert_eq!(watch.look(at(91_000 + hour), at(31_000)), None);
    }

    #[test]
    fn the_wall_clock_goes_on_between_two_readings() {
        let mut clock = WallClock::default();
        let first = clock.about(at(1_000));
        assert_eq!(clock.about(at(1_400)), first + Duration::from_millis(400));
        assert!(clock.about(at(5_000)) < first + Duration::from_secs(4));
    }

    #[test]
    fn a_pause_between_the_two_readings_is_no_sleep() {
        let mut watch = SleepWatch::default();
        assert_eq!(watch.look(at(70_000), at(10_000)), None);
        assert_eq!(watch.look(at(71_000), at(16_000)), None);
        assert_eq!(watch.look(at(77_000), at(17_000)), None);
    }

    #[test]
    fn a_nap_is_no_sleep() {
        let mut watch = SleepWatch::default();
        assert_eq!(watch.look(at(10_000), at(10_000)), None);
        assert_eq!(watch.look(at(11_900), at(11_000)), None);
    }
}
