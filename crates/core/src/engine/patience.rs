//! What becomes of a question that has waited for as long as answers usually take: whether it goes out once more, and to whom.

use super::Engine;
use super::attempt::Among;
use super::hedge::Watch;
use crate::exchange::{Attempt, ExchangeId};
use crate::limits::{OVERDUE_AFTER_MAX, OVERDUE_FACTOR};
use crate::time::Moment;
use crate::upstream::{HealthState, UpstreamId};

impl<C> Engine<C> {
    /// Looks at the attempts whose patience has passed, at most at so many.
    pub(super) fn fire_hedges(&mut self, most: usize, now: Moment) {
        for _ in 0..most {
            let exchanges = &self.exchanges;
            let watch = self
                .hedges
                .pop_due(now, |watch| exchanges.runs(watch.exchange, watch.attempt));
            let Some((watch, costs)) = watch else {
                return;
            };
            self.fire_hedge(watch, costs, now);
        }
    }

    fn fire_hedge(&mut self, watch: Watch, costs: bool, now: Moment) {
        let attempt = watch.attempt;
        let patience = self.upstreams[attempt.upstream.0].rtt.hedge_after();
        let heard = self
            .connections
            .get_mut(attempt.connection)
            .and_then(|connection| connection.handle_impatience(attempt.sent, patience, now));
        let silent = heard.is_none();
        if silent {
            self.note_mute(attempt.connection, attempt.sent, now);
        }
        // A connection on which other answers come is alive: its upstream is at work on the question, and asking it again
        // would only double its work. With nowhere else to go, the question waits where it is.
        let among = if silent { Among::Any } else { Among::Untried };
        let worthwhile = silent || costs || self.is_worth_more(watch, now);
        let sent = worthwhile && self.send(watch.exchange, among, now);
        let fell_back = silent
            && self.is_time_to_fall_back(watch.exchange, now)
            && self.fall_back(watch.exchange, now);
        let sent = sent || fell_back;
        if sent && let Some(exchange) = self.exchanges.get_mut(watch.exchange) {
            self.counts.hedged += 1;
            exchange.hedged_on = Some(attempt.connection);
        }
        if sent && costs {
            self.hedges.spend();
        }
        if !(sent && silent) {
            // Nobody else will notice when the connection dies after what was heard last.
            let due = heard.unwrap_or(now) + patience;
            self.look_again(watch.exchange, attempt, due, now);
        }
    }

    /// Whether handshakes are all that was ever heard of an upstream. Whoever waits for its first answer does not stand behind younger
    /// questions; where it has answered, a look that early would ask slow upstreams everything twice.
    fn has_never_answered(&self, upstream: UpstreamId) -> bool {
        let upstream = self.upstreams.get(upstream.0);
        upstream.is_some_and(|upstream| upstream.heard.is_none())
    }

    /// Looks at an attempt again at `due`, or somewhat later where the upstream has answered before, but once its answer is overdue no
    /// later than that.
    pub(super) fn look_again(
        &mut self,
        id: ExchangeId,
        attempt: Attempt,
        due: Moment,
        now: Moment,
    ) {
        let exactly = self.has_never_answered(attempt.upstream);
        let queued = self.hedges.queued(attempt, due);
        let looked_at = if exactly { due } else { queued };
        match self.overdue_at(id) {
            Some(overdue) if now < overdue && overdue < looked_at => {
                self.hedges.watch_exactly(id, attempt, overdue);
            }
            Some(_) | None if exactly => self.hedges.watch_exactly(id, attempt, due),
            Some(_) | None => self.hedges.watch(id, attempt, due),
        }
    }

    /// From when on the answer to a question is overdue whoever was asked: what is left of its budget is for somebody else.
    fn overdue_at(&self, id: ExchangeId) -> Option<Moment> {
        let exchange = self.exchanges.get(id);
        exchange.map(|exchange| exchange.began + OVERDUE_AFTER_MAX)
    }

    /// Whether the answer to a question is overdue whoever was asked.
    pub(super) fn is_overdue(&self, id: ExchangeId, now: Moment) -> bool {
        self.overdue_at(id).is_some_and(|at| at <= now)
    }

    /// Whether a question that waits on a living connection is worth a second try beyond their share of traffic: its answer is
    /// overdue, or another upstream is likely to answer sooner. Otherwise two slow upstreams would be asked everything twice.
    fn is_worth_more(&self, watch: Watch, now: Moment) -> bool {
        let attempt = watch.attempt;
        let waited = now.since(attempt.sent);
        let usual = self.upstreams[attempt.upstream.0].rtt.estimate(now);
        let group = self
            .exchanges
            .get(watch.exchange)
            .and_then(|exchange| self.groups.get(exchange.group.0));
        waited >= usual * OVERDUE_FACTOR
            || self.is_overdue(watch.exchange, now)
            || group.is_some_and(|group| {
                group.members.iter().any(|member| {
                    let other = &self.upstreams[member.0];
                    *member != attempt.upstream
                        && other.health.state() == HealthState::Up
                        && waited + other.rtt.estimate(now) < usual
                })
            })
    }
}
