//! When a question that waits is sent a second time, and how often that may happen.
//!
//! The queues a question passes: after the upstream's usual patience it is sent elsewhere if the budget allows; after
//! [`IMPATIENCE`] it is sent elsewhere in any case; what waits where others are answered is sent elsewhere when any answer would be
//! overdue. All are in order of time, so no question has a timer of its own. An attempt that was
//! left where it is, because its connection is alive, is watched again: a connection may die at any time.

use std::collections::VecDeque;

use crate::exchange::{Attempt, ExchangeId};
use crate::limits::{HEDGE_BURST, IMPATIENCE, QUESTIONS_PER_HEDGE};
use crate::time::Moment;

/// An attempt that is to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    pub(super) due: Moment,
    pub(super) exchange: ExchangeId,
    pub(super) attempt: Attempt,
}

/// The queues and the budget.
#[derive(Debug)]
pub(super) struct Hedges {
    /// By upstream: attempts within the usual patience.
    early: Vec<VecDeque<Watch>>,
    /// Attempts that found no budget.
    late: VecDeque<Watch>,
    /// Attempts whose next look comes with the moment from which on any answer is overdue.
    overdue: VecDeque<Watch>,
    /// Early second tries allowed, in parts of [`QUESTIONS_PER_HEDGE`].
    credit: u32,
}

impl Hedges {
    pub(super) fn new(upstreams: usize) -> Self {
        Self {
            early: (0..upstreams).map(|_| VecDeque::new()).collect(),
            late: VecDeque::new(),
            overdue: VecDeque::new(),
            credit: HEDGE_BURST * QUESTIONS_PER_HEDGE,
        }
    }

    /// There are so many upstreams now.
    pub(super) fn grow(&mut self, upstreams: usize) {
        let missing = upstreams.saturating_sub(self.early.len());
        self.early
            .extend(std::iter::repeat_with(VecDeque::new).take(missing));
    }

    /// A question came: the budget grows by its share.
    pub(super) fn handle_question(&mut self) {
        self.credit = (self.credit + 1).min(HEDGE_BURST * QUESTIONS_PER_HEDGE);
    }

    /// Watches an attempt until `due`.
    pub(super) fn watch(&mut self, exchange: ExchangeId, attempt: Attempt, due: Moment) {
        let Some(queue) = self.early.get_mut(attempt.upstream.0) else {
            return;
        };
        // A queue stays in order when patience shrinks: a question never overtakes an older one.
        let due = queue.back().map_or(due, |watch| watch.due.max(due));
        queue.push_back(Watch {
            due,
            exchange,
            attempt,
        });
    }

    /// Watches an attempt until `due`, from which on its answer is overdue: not later because others of its upstream are looked at later.
    pub(super) fn watch_overdue(&mut self, exchange: ExchangeId, attempt: Attempt, due: Moment) {
        let due = self.overdue.back().map_or(due, |watch| watch.due.max(due));
        self.overdue.push_back(Watch {
            due,
            exchange,
            attempt,
        });
    }

    /// An early second try was made: the budget shrinks.
    pub(super) fn spend(&mut self) {
        self.credit = self.credit.saturating_sub(QUESTIONS_PER_HEDGE);
    }

    /// The next attempt that may be hedged now, the budget allowing; with it whether a second try has to be paid for by
    /// [`Hedges::spend`].
    pub(super) fn pop_due(
        &mut self,
        now: Moment,
        runs: impl Fn(&Watch) -> bool,
    ) -> Option<(Watch, bool)> {
        for place in 0..self.early.len() {
            while let Some(watch) = pop_front_due(&mut self.early[place], now, &runs) {
                if self.credit >= QUESTIONS_PER_HEDGE {
                    return Some((watch, true));
                }
                let due = watch.due.max(watch.attempt.sent + IMPATIENCE);
                let after = self.late.back().map_or(Moment::ZERO, |watch| watch.due);
                self.late.push_back(Watch {
                    due: due.max(after),
                    ..watch
                });
            }
        }
        pop_front_due(&mut self.late, now, &runs)
            .or_else(|| pop_front_due(&mut self.overdue, now, &runs))
            .map(|watch| (watch, false))
    }

    /// Drops finished attempts from the front, so that the queues hold what waits and little more.
    pub(super) fn drop_finished(&mut self, runs: impl Fn(&Watch) -> bool) {
        let others = [&mut self.late, &mut self.overdue];
        for queue in self.early.iter_mut().chain(others) {
            while queue.front().is_some_and(|watch| !runs(watch)) {
                queue.pop_front();
            }
        }
    }

    /// Attempts watched.
    pub(super) fn len(&self) -> usize {
        let early: usize = self.early.iter().map(VecDeque::len).sum();
        early + self.late.len() + self.overdue.len()
    }

    /// When the next attempt is to be looked at.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let fronts = self
            .early
            .iter()
            .chain([&self.late, &self.overdue])
            .filter_map(VecDeque::front);
        fronts.map(|watch| watch.due).min()
    }
}

fn pop_front_due(
    queue: &mut VecDeque<Watch>,
    now: Moment,
    runs: &impl Fn(&Watch) -> bool,
) -> Option<Watch> {
    while queue.front()?.due <= now {
        let watch = queue.pop_front()?;
        if runs(&watch) {
            return Some(watch);
        }
    }
    None
}
