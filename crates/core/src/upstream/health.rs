//! How an upstream is doing, from what happens to real questions.
//!
//! ```text
//!                 silence               dial failed
//!        ┌─────────────────────▶ Suspect ─────────────▶ Down
//!        Up ◀─────────────────── Suspect ◀───────────── Down
//!        │        response                connected       ▲
//!        └────────────────────────────────────────────────┘
//!                            dial failed
//! ```
//!
//! A failed upstream is tried again by one real question at a time, after a pause that doubles; that question goes to an upstream
//! that works as well. One response clears everything.

use core::time::Duration;

use super::CloseReason;
use crate::limits::{
    OUTAGE_AFTER, PROBE_AFTER_MIN, PROBE_AWAY_SHARE, RETRY_AFTER_ALONE_MAX, RETRY_AFTER_MAX,
    RETRY_AFTER_MIN,
};
use crate::time::Moment;

/// The state an operator sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthState {
    /// It responds, or nothing speaks against it.
    #[default]
    Up,
    /// Questions wait longer than usual and nothing comes back.
    Suspect,
    /// No connection can be made.
    Down,
    /// It was suspect or down, and is being tried at this moment. For whoever looks from outside: being tried changes nothing about what
    /// an upstream is good for.
    Probing,
}

/// What an upstream is good for at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// For any question.
    Good,
    /// One question may find out whether it works again.
    Trial,
    /// Only when there is nothing better.
    Poor,
}

/// The health of one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    state: HealthState,
    reason: Option<CloseReason>,
    /// Since when it is in its state.
    since: Moment,
    /// When the last failure or trial was.
    last_try: Moment,
    /// The pause after it.
    pause: Duration,
    /// The pause before a probe while the upstream is missed; not longer.
    pause_missed: Duration,
    /// Whether it could not be reached, was good for nothing, or was not up on another network, since it last responded.
    outage: bool,
}

/// What a response says about what was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Back {
    /// Nothing: it was up.
    Never,
    /// It was slow for a moment. Nobody was told that there is no answer for it.
    FromDoubt,
    /// It did not answer for as long as questions wait, or could not: what failed before deserves another try.
    FromOutage,
}

impl Health {
    pub(crate) fn state(&self) -> HealthState {
        self.state
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state == HealthState::Up
    }

    /// Since when it is in its state.
    pub(crate) fn since(&self) -> Moment {
        self.since
    }

    /// When it should be probed if no question tries it before; `None` while it is up. `missed` says that those who ask are given
    /// what is kept past its time: only a probe finds out that there is something newer.
    pub(crate) fn probe_due(&self, missed: bool) -> Option<Moment> {
        let down = self.state != HealthState::Up;
        let pause = if missed {
            self.pause_missed
        } else {
            self.pause
        };
        down.then(|| self.last_try + pause.max(PROBE_AFTER_MIN))
    }

    /// Why no connection could be made, while down.
    pub(crate) fn reason(&self) -> Option<CloseReason> {
        self.reason
    }

    /// A connection was made. That is not yet a response: an upstream that accepts and stays mute must not look well.
    pub(crate) fn handle_connected(&mut self, now: Moment) {
        if self.state == HealthState::Down {
            self.since = now;
            self.state = HealthState::Suspect;
            self.reason = None;
        }
    }

    /// A response came. Where it comes back from, when it was not up before, be that on another network.
    pub(crate) fn handle_success(&mut self, now: Moment) -> Back {
        let doubted = self.state != HealthState::Up;
        let back = if self.outage || (doubted && now.since(self.since) >= OUTAGE_AFTER) {
            Back::FromOutage
        } else if doubted {
            Back::FromDoubt
        } else {
            Back::Never
        };
        if back != Back::Never {
            *self = Self {
                since: now,
                ..Self::default()
            };
        }
        back
    }

    /// It took a question and was good for nothing.
    pub(crate) fn note_outage(&mut self) {
        self.outage = true;
    }

    /// What was known is worth nothing any more: the network is another one. Only that it was not up is remembered, for those who were
    /// told so and wait for word that it is.
    pub(crate) fn forget(&mut self, now: Moment) {
        *self = Self {
            since: now,
            outage: self.outage || self.state != HealthState::Up,
            ..Self::default()
        };
    }

    /// A question waits longer than usual on a connection where nothing comes. `true` when the state changed.
    pub(crate) fn handle_silence(&mut self, now: Moment, jitter: f32) -> bool {
        let changed = self.state == HealthState::Up;
        if changed {
            self.state = HealthState::Suspect;
            self.since = now;
            self.pause_from(now, jitter);
        }
        changed
    }

    /// No connection could be made. `true` when the state changed.
    pub(crate) fn handle_failure(&mut self, reason: CloseReason, now: Moment, jitter: f32) -> bool {
        let changed = self.state != HealthState::Down;
        if changed {
            self.since = now;
        }
        self.state = HealthState::Down;
        self.reason = Some(reason);
        self.outage = true;
        self.pause_from(now, jitter);
        changed
    }

    /// A question is about to find out; the next one has to wait another pause.
    pub(crate) fn begin_trial(&mut self, now: Moment, jitter: f32) {
        self.pause_from(now, jitter);
    }

    /// Doubles the pause, give or take a quarter (`jitter` is between 0 and 1), so that many proxies do not return at once.
    fn pause_from(&mut self, now: Moment, jitter: f32) {
        let doubled = (self.pause * 2).clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX);
        let spread = 0.75 + 0.5 * jitter.clamp(0.0, 1.0);
        self.pause = doubled.mul_f32(spread).min(RETRY_AFTER_MAX);
        let away = now.since(self.since) / PROBE_AWAY_SHARE;
        self.pause_missed = away.mul_f32(spread).min(self.pause);
        self.last_try = now;
    }

    /// What the upstream is good for. `alone` says that no other upstream is up: then it is tried more often.
    pub(crate) fn standing(&self, now: Moment, alone: bool) -> Standing {
        let pause = if alone {
            self.pause.min(RETRY_AFTER_ALONE_MAX)
        } else {
            self.pause
        };
        match self.state {
            HealthState::Up => Standing::Good,
            HealthState::Suspect | HealthState::Down | HealthState::Probing
                if now.since(self.last_try) >= pause =>
            {
                Standing::Trial
            }
            HealthState::Suspect | HealthState::Down | HealthState::Probing => Standing::Poor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn one_success_clears_everything() {
        let mut health = Health::default();
        assert!(health.handle_failure(CloseReason::Refused, at(0), 0.5));
        assert!(!health.handle_failure(CloseReason::Refused, at(10), 0.5));
        assert_eq!(health.reason(), Some(CloseReason::Refused));
        assert_eq!(health.handle_success(at(9)), Back::FromOutage);
        assert_eq!(
            (health.state(), health.reason(), health.probe_due(true)),
            (HealthState::Up, None, None)
        );
        assert_eq!(health.since(), at(9));
        assert_eq!(health.handle_success(at(9)), Back::Never);
    }

    #[test]
    fn being_slow_for_a_moment_is_no_outage() {
        for (silent, back) in [(1_399, Back::FromDoubt), (1_400, Back::FromOutage)] {
            let mut health = Health::default();
            health.handle_silence(at(10), 0.5);
            health.handle_silence(at(10 + silent), 0.5);
            assert_eq!(health.handle_success(at(10 + silent)), back);
        }
        let mut health = Health::default();
        health.handle_silence(at(10), 0.5);
        health.note_outage();
        assert_eq!(health.handle_success(at(11)), Back::FromOutage);
    }

    #[test]
    fn what_was_told_to_be_down_is_told_to_be_up_though_the_network_changed_between() {
        let mut health = Health::default();
        health.handle_failure(CloseReason::Refused, at(0), 0.5);
        health.forget(at(1));
        health.forget(at(2));
        assert_eq!((health.state(), health.reason()), (HealthState::Up, None));
        assert_eq!(health.handle_success(at(3)), Back::FromOutage);
        assert_eq!(health.handle_success(at(4)), Back::Never);
        health.forget(at(5));
        assert_eq!(health.handle_success(at(6)), Back::Never);
    }

    #[test]
    fn a_connection_alone_does_not_make_an_upstream_well() {
        let mut health = Health::default();
        health.handle_failure(CloseReason::Refused, at(0), 0.5);
        health.handle_connected(at(9));
        assert_eq!(
            (health.state(), health.reason()),
            (HealthState::Suspect, None)
        );
        health.handle_connected(at(9));
        assert_eq!(health.state(), HealthState::Suspect);
        assert_eq!(health.handle_success(at(9)), Back::FromOutage);
    }

    #[test]
    fn the_pause_doubles_up_to_its_bound() {
        let mut health = Health::default();
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            health.handle_failure(CloseReason::Refused, now, 0.5);
            pauses.push(health.pause.as_millis());
            assert_eq!(health.standing(now, false), Standing::Poor);
            now = now + health.pause;
            assert_eq!(health.standing(now, false), Standing::Trial);
        }
        assert_eq!(
            pauses,
            [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]
        );
    }

    #[test]
    fn the_only_upstream_is_tried_again_within_a_second_however_long_it_was_gone() {
        let mut health = Health::default();
        for _ in 0..20 {
            health.handle_failure(CloseReason::Unreachable, at(5), 1.0);
        }
        assert_eq!(health.standing(at(5 + 800), true), Standing::Trial);
        assert_eq!(health.standing(at(5 + 800), false), Standing::Poor);
    }

    #[test]
    fn an_upstream_that_is_missed_is_probed_within_a_tenth_of_the_time_it_was_away() {
        let mut health = Health::default();
        for (away, pauses) in [
            (0, 1_000),
            (9_000, 1_000),
            (50_000, 5_000),
            (900_000, 30_000),
        ] {
            for _ in 0..9 {
                health.handle_failure(CloseReason::Unreachable, at(away), 0.5);
            }
            let due = |missed| health.probe_due(missed).map(|due| due.since(at(away)));
            assert_eq!(due(true), Some(Duration::from_millis(pauses)));
            assert_eq!(due(false), Some(RETRY_AFTER_MAX));
        }
    }

    #[test]
    fn a_trial_makes_the_next_question_wait() {
        let mut health = Health::default();
        assert!(health.handle_silence(at(0), 0.5));
        assert!(!health.handle_silence(at(1), 0.5));
        assert_eq!(health.standing(at(250), false), Standing::Trial);
        health.begin_trial(at(250), 0.5);
        assert_eq!(health.standing(at(260), false), Standing::Poor);
        assert_eq!(health.standing(at(750), false), Standing::Trial);
    }
}
