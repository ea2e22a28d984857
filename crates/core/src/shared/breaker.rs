//! Whether the shared cache is worth asking at the moment.
//!
//! ```text
//!            SHARED_FAILURES_MAX in a row              the pause is over
//!   Closed ───────────────────────────────▶ Open ──────────────────────▶ HalfOpen
//!     ▲                                       ▲    failed, or no outcome      │
//!     │                                       └───────────────────────────────┤
//!     └───────────────────────────────────────────────────────────────────────┘
//!                                   answered in time
//! ```
//!
//! While it is closed questions wait for the shared cache, for a few milliseconds. While it is open it is not asked. Half open, one
//! question at a time finds out, and waits for nothing: it goes to its upstream at once.

use core::time::Duration;

use crate::limits::{
    SHARED_FAILURES_MAX, SHARED_PAUSE_MAX, SHARED_PAUSE_MIN, SHARED_TRIAL_TIMEOUT,
};
use crate::time::Moment;

/// The state an operator sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// The shared cache is asked.
    #[default]
    Closed,
    /// It is not asked.
    Open,
    /// One question finds out whether it answers again.
    HalfOpen,
}

impl BreakerState {
    /// What it is called wherever somebody reads it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "asked",
            Self::Open => "left alone",
            Self::HalfOpen => "being tried",
        }
    }
}

/// What a question may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Ask the shared cache and give it a head start.
    Wait,
    /// Ask it, and the upstream at once.
    Try,
    /// Leave it alone.
    No,
}

/// The breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    state: BreakerState,
    /// Failures in a row.
    failures: u32,
    /// Until when it is open, or the trial may take.
    until: Moment,
    /// The pause it is open for.
    pause: Duration,
}

impl Breaker {
    pub(crate) fn state(&self) -> BreakerState {
        self.state
    }

    /// What a question that would ask may do.
    pub(crate) fn permit(&mut self, now: Moment) -> Permit {
        match self.state {
            BreakerState::Closed => Permit::Wait,
            BreakerState::Open if now >= self.until => {
                self.state = BreakerState::HalfOpen;
                self.until = now + SHARED_TRIAL_TIMEOUT;
                Permit::Try
            }
            BreakerState::HalfOpen if now >= self.until => {
                self.open(now);
                Permit::No
            }
            BreakerState::Open | BreakerState::HalfOpen => Permit::No,
        }
    }

    /// It answered in time, if only that it has nothing.
    pub(crate) fn handle_answer(&mut self) {
        // Whatever is late from before it opened proves little; a trial in time proves enough.
        if self.state != BreakerState::Open {
            *self = Self::default();
        }
    }

    /// It failed, or did not answer in time.
    pub(crate) fn handle_failure(&mut self, now: Moment) {
        match self.state {
            BreakerState::Closed => {
                self.failures += 1;
                if self.failures >= SHARED_FAILURES_MAX {
                    self.open(now);
                }
            }
            BreakerState::HalfOpen => self.open(now),
            BreakerState::Open => {}
        }
    }

    fn open(&mut self, now: Moment) {
        self.pause = (self.pause * 2).clamp(SHARED_PAUSE_MIN, SHARED_PAUSE_MAX);
        self.state = BreakerState::Open;
        self.until = now + self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(millis)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..SHARED_FAILURES_MAX {
            assert_eq!(breaker.permit(at(0)), Permit::Wait);
            breaker.handle_failure(at(0));
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker
    }

    #[test]
    fn single_failures_do_not_open_it() {
        let mut breaker = Breaker::default();
        for _ in 0..10 * SHARED_FAILURES_MAX {
            breaker.handle_failure(at(0));
            breaker.handle_answer();
        }
        assert_eq!(breaker.permit(at(1)), Permit::Wait);
    }

    #[test]
    fn one_question_at_a_time_tries_it_again_and_closes_it() {
        let mut breaker = opened();
        assert_eq!(breaker.permit(at(499)), Permit::No);
        assert_eq!(breaker.permit(at(500)), Permit::Try);
        assert_eq!(breaker.permit(at(501)), Permit::No);
        breaker.handle_answer();
        assert_eq!(breaker.permit(at(502)), Permit::Wait);
        // The pause begins anew.
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn the_pause_doubles_up_to_its_bound_while_trials_fail_or_come_to_nothing() {
        let mut breaker = opened();
        let mut now = at(0);
        let mut pauses = Vec::new();
        for round in 0..9 {
            pauses.push(breaker.pause.as_millis());
            now = now + breaker.pause;
            assert_eq!(breaker.permit(now), Permit::Try);
            if round % 2 == 0 {
                breaker.handle_failure(now);
            } else {
                now = now + SHARED_TRIAL_TIMEOUT;
                assert_eq!(breaker.permit(now), Permit::No);
            }
            assert_eq!(breaker.state(), BreakerState::Open);
        }
        assert_eq!(
            pauses,
            [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]
        );
    }

    #[test]
    fn what_comes_late_while_it_is_open_does_not_close_it() {
        let mut breaker = opened();
        breaker.handle_answer();
        breaker.handle_failure(at(1));
        assert_eq!(breaker.permit(at(2)), Permit::No);
    }
}
