//! How busy the workers are, and how many of them that calls for.
//!
//! Promises:
//! - An idle worker is not looked at: a thread looks at its own processor time now and then while it turns, so that a machine nobody
//!   asks sleeps.
//! - Workers join at once when the active ones have too much to do, and leave one at a time after the rest could have done
//!   everything for [`LEAVE_AFTER`]: joining late costs queries, leaving late costs wake-ups.
//!
//! Deliberately absent: threads and sockets; the reading of wall-clock time.

use std::time::Duration;

use dotward_core::time::Moment;

use crate::clock;
use crate::counters::Counters;
use crate::limits::{BUSY_LOOK, BUSY_SHARE, BUSY_TURNS, IDLE_SHARE, LEAVE_AFTER};

/// Notes the processor time of the thread it is used on.
#[derive(Debug, Default)]
pub(crate) struct BusyWatch {
    turns: u32,
    looked: Moment,
}

impl BusyWatch {
    /// After each turn. True when the counters have news.
    pub(crate) fn handle_turn(&mut self, now: Moment, counters: &Counters) -> bool {
        self.turns += 1;
        if self.turns < BUSY_TURNS {
            return false;
        }
        self.turns = 0;
        if now.since(self.looked) < BUSY_LOOK {
            return false;
        }
        self.look(now, counters);
        true
    }

    /// Brings the counters up to date.
    pub(crate) fn look(&mut self, now: Moment, counters: &Counters) {
        self.looked = now;
        let spent = clock::thread_cpu().as_nanos();
        counters.cpu.set(u64::try_from(spent).unwrap_or(u64::MAX));
    }
}

/// Decides how many workers are to be active.
#[derive(Debug)]
pub(crate) struct Balance {
    most: usize,
    active: usize,
    looked: Moment,
    /// Processor time of all workers at the last look.
    spent: Duration,
    /// Since when one worker less would have been enough.
    spare_since: Option<Moment>,
    /// Nobody joins before.
    alone_until: Moment,
}

impl Balance {
    /// One worker is active, and there may be `most`.
    pub(crate) fn new(most: usize, now: Moment) -> Self {
        Self {
            most,
            active: 1,
            looked: now,
            spent: Duration::ZERO,
            spare_since: None,
            alone_until: now,
        }
    }

    /// How many are active.
    pub(crate) fn active(&self) -> usize {
        self.active
    }

    /// Looks at what all workers have spent so far. True when another number of them is to be active.
    pub(crate) fn look(&mut self, spent: Duration, now: Moment) -> bool {
        let passed = now.since(self.looked);
        if passed < BUSY_LOOK {
            return false;
        }
        let share =
            spent.saturating_sub(self.spent).as_secs_f32() / passed.as_secs_f32().max(f32::EPSILON);
        self.looked = now;
        self.spent = spent;
        let before = self.active;
        let may_join = self.active < self.most && now >= self.alone_until;
        if share > BUSY_SHARE * count(self.active) && may_join {
            self.active += 1;
            self.spare_since = None;
        } else if self.active > 1 && share < IDLE_SHARE * count(self.active - 1) {
            let since = *self.spare_since.get_or_insert(now);
            if now.since(since) >= LEAVE_AFTER {
                self.active -= 1;
                self.spare_since = None;
            }
        } else {
            self.spare_since = None;
        }
        self.active != before
    }

    /// No more than the first worker can be had before `until`.
    pub(crate) fn stay_alone(&mut self, until: Moment) {
        self.active = 1;
        self.spare_since = None;
        self.alone_until = until;
    }
}

/// Workers are few.
fn count(workers: usize) -> f32 {
    f32::from(u16::try_from(workers).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    /// Looks each 100 ms from `from` on while all workers together are busy by `share`; says when the number changed.
    fn live(balance: &mut Balance, from: u64, share: f32, looks: u64) -> Vec<(u64, usize)> {
        let mut changes = Vec::new();
        for look in 1..=looks {
            let millis = from + look * 100;
            let spent = balance.spent + Duration::from_millis(100).mul_f32(share);
            if balance.look(spent, at(millis)) {
                changes.push((millis, balance.active()));
            }
        }
        changes
    }

    #[test]
    fn a_busy_worker_gets_help_at_the_next_look_and_never_more_than_there_may_be() {
        let mut balance = Balance::new(3, at(0));
        assert_eq!(live(&mut balance, 0, 0.95, 20), [(100, 2)]);
        assert_eq!(live(&mut balance, 2_000, 1.9, 20), [(2_100, 3)]);
        assert_eq!(live(&mut balance, 4_000, 3.0, 20), []);
    }

    #[test]
    fn who_could_not_be_had_is_not_asked_for_again_at_once_and_is_later() {
        let mut balance = Balance::new(2, at(0));
        live(&mut balance, 0, 1.0, 1);
        balance.stay_alone(at(10_000));
        assert_eq!(balance.active(), 1);
        assert_eq!(live(&mut balance, 1_000, 1.0, 200), [(10_000, 2)]);
    }

    #[test]
    fn workers_leave_one_at_a_time_and_late() {
        let mut balance = Balance::new(3, at(0));
        live(&mut balance, 0, 3.0, 2);
        assert_eq!(balance.active(), 3);
        let wait = u64::try_from(LEAVE_AFTER.as_millis()).unwrap();
        let changes = live(&mut balance, 1_000, 0.05, 3 * wait / 100);
        assert_eq!(changes, [(1_100 + wait, 2), (1_200 + 2 * wait, 1)]);
    }

    #[test]
    fn a_load_between_the_bounds_changes_nothing() {
        let mut balance = Balance::new(2, at(0));
        live(&mut balance, 0, 1.0, 1);
        assert_eq!(live(&mut balance, 1_000, 0.6, 1_000), []);
        assert_eq!(balance.active(), 2);
    }

    #[test]
    fn a_pause_in_the_quiet_begins_the_wait_anew() {
        let mut balance = Balance::new(2, at(0));
        live(&mut balance, 0, 1.0, 1);
        let half = u64::try_from(LEAVE_AFTER.as_millis()).unwrap() / 200;
        let looks = half + 10;
        let between = 1_000 + looks * 100;
        assert_eq!(live(&mut balance, 1_000, 0.1, looks), []);
        assert_eq!(live(&mut balance, between, 0.6, 1), []);
        assert_eq!(live(&mut balance, between + 100, 0.1, looks), []);
    }
}
