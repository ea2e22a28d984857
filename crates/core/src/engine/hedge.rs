//! When a question that waits is sent a second time, and how often that may happen.
//!
//! After the upstream's usual patience it is sent elsewhere if the budget allows; after [`IMPATIENCE`] it is sent elsewhere in any case; what
//! waits where others are answered is sent elsewhere when any answer would be overdue. Looks within the usual patience stand in a queue of
//! their upstream, in order of time, so no question has a timer of its own. What is due in any case is looked at exactly when it is: behind
//! a younger question, an old one would have no time left for anybody else. An attempt that was left where it is, because its connection
//! is alive, is watched again: a connection may die at any time.

use std::collections::{BTreeMap, VecDeque};

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
    /// Attempts whose next look is due in any case, by when, and told apart by a number.
    exact: BTreeMap<(Moment, u64), Watch>,
    /// The number of the latest one.
    numbered: u64,
    /// Early second tries allowed, in parts of [`QUESTIONS_PER_HEDGE`].
    credit: u32,
}

impl Hedges {
    pub(super) fn new(upstreams: usize) -> Self {
        Self {
            early: (0..upstreams).map(|_| VecDeque::new()).collect(),
            exact: BTreeMap::new(),
            numbered: 0,
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

    /// When an attempt that is to be watched until `due` is looked at. A queue stays in order when patience shrinks: a question never overtakes an
    /// older one.
    pub(super) fn queued(&self, attempt: Attempt, due: Moment) -> Moment {
        let queue = self.early.get(attempt.upstream.0);
        let last = queue.and_then(VecDeque::back);
        last.map_or(due, |watch| watch.due.max(due))
    }

    /// Watches an attempt until `due`.
    pub(super) fn watch(&mut self, exchange: ExchangeId, attempt: Attempt, due: Moment) {
        let due = self.queued(attempt, due);
        if let Some(queue) = self.early.get_mut(attempt.upstream.0) {
            queue.push_back(Watch {
                due,
                exchange,
                attempt,
            });
        }
    }

    /// Watches an attempt until `due`, when it is looked at whatever the others of its upstream wait for and whatever budget there is.
    pub(super) fn watch_exactly(&mut self, exchange: ExchangeId, attempt: Attempt, due: Moment) {
        self.numbered += 1;
        let watch = Watch {
            due,
            exchange,
            attempt,
        };
        self.exact.insert((due, self.numbered), watch);
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
                let due = watch.attempt.sent + IMPATIENCE;
                if due <= now {
                    return Some((watch, false));
                }
                self.watch_exactly(watch.exchange, watch.attempt, due);
            }
        }
        while let Some(entry) = self.exact.first_entry()
            && entry.key().0 <= now
        {
            let watch = entry.remove();
            if runs(&watch) {
                return Some((watch, false));
            }
        }
        None
    }

    /// Drops finished attempts from the front, so that the queues hold what waits and little more.
    pub(super) fn drop_finished(&mut self, runs: impl Fn(&Watch) -> bool) {
        for queue in &mut self.early {
            while queue.front().is_some_and(|watch| !runs(watch)) {
                queue.pop_front();
            }
        }
        while let Some(entry) = self.exact.first_entry()
            && !runs(entry.get())
        {
            entry.remove();
        }
    }

    /// Attempts watched.
    pub(super) fn len(&self) -> usize {
        let early: usize = self.early.iter().map(VecDeque::len).sum();
        early + self.exact.len()
    }

    /// When the next attempt is to be looked at.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let early = self.early.iter().filter_map(VecDeque::front);
        let exact = self.exact.first_key_value().map(|((due, _), _)| *due);
        early.map(|watch| watch.due).chain(exact).min()
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::upstream::{ConnectionId, UpstreamId};

    fn at(millis: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(millis)
    }

    fn attempt(upstream: usize, sent: u64) -> Attempt {
        Attempt {
            upstream: UpstreamId(upstream),
            connection: ConnectionId::default(),
            id: 0,
            sent: at(sent),
            edns: true,
        }
    }

    /// The attempts that may be hedged at a moment, and whether each is paid for.
    fn due(hedges: &mut Hedges, now: u64) -> Vec<(Attempt, bool)> {
        let pop = || hedges.pop_due(at(now), |_| true);
        let due = std::iter::from_fn(pop);
        due.map(|(watch, costs)| (watch.attempt, costs)).collect()
    }

    #[test]
    fn what_found_no_budget_is_looked_at_in_time_whoever_else_found_none() {
        let mut hedges = Hedges::new(2);
        for _ in 0..HEDGE_BURST {
            hedges.spend();
        }
        let (slow, quick) = (attempt(0, 0), attempt(1, 300));
        hedges.watch(ExchangeId::default(), slow, at(399));
        hedges.watch(ExchangeId::default(), quick, at(375));
        assert_eq!(
            (due(&mut hedges, 375), due(&mut hedges, 399)),
            (vec![], vec![])
        );
        assert_eq!(hedges.poll_timeout(), Some(at(400)));
        assert_eq!(due(&mut hedges, 400), [(slow, false)]);
        assert_eq!(due(&mut hedges, 699), []);
        assert_eq!(due(&mut hedges, 700), [(quick, false)]);
        // One whose time has come before there was a look at it does not wait behind younger ones.
        hedges.watch(ExchangeId::default(), slow, at(800));
        hedges.watch(ExchangeId::default(), attempt(1, 790), at(799));
        assert_eq!(due(&mut hedges, 800), [(slow, false)]);
        assert_eq!((hedges.len(), hedges.poll_timeout()), (1, Some(at(1_190))));
    }
}
