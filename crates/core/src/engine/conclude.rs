//! How a question ends: with a response, with an answer past its time, or with a failure; and what is kept of it.
//!
//! A response is settled once and told to everybody who waits as it is kept. Where there is only a failure to tell, an answer past its time is
//! better (RFC 8767 section 5); where there is none, the failure is kept for a moment, so that a question nobody can answer does not go
//! out again with every client (RFC 9520 section 3.2).
//!
//! Not kept is what was signed, what was disputed, and what a group said that was not asked in the first place: that of another group to a private name is
//! mostly a wrong one.

use super::receive::is_poor;
use super::tell::Best;
use super::{Engine, UpstreamId};
use crate::exchange::{Exchange, ExchangeId, Held, SignedQuery, Waiter};
use crate::limits::LATENESS_MAX;
use crate::outcome::Failure;
use crate::time::Moment;
use crate::upstream::{CloseReason, GroupId, HealthState, Upstream};
use crate::wire::{Canonical, Rcode, ReplyOrigin, ResponseView, relay_reply, write_error};

impl<C> Engine<C> {
    /// Replies to everybody who waits; with a poor response only when none better was held before it.
    pub(super) fn finish(
        &mut self,
        id: ExchangeId,
        response: &ResponseView<'_>,
        origin: ReplyOrigin,
        now: Moment,
    ) {
        let Some(mut exchange) = self.exchanges.remove(id) else {
            return;
        };
        self.abandon(&exchange.attempts);
        if is_poor(response) {
            exchange.hold(response, origin);
            return self.conclude_poorly(exchange, now);
        }
        if exchange.signed().is_some() {
            return self.pass(exchange.waiters, response, origin);
        }
        if response.rcode() == Rcode::SERVFAIL {
            return self.conclude_bogus(exchange, response, origin, now);
        }
        if !self.cache.is_on() && self.shared.is_none() {
            return self.tell_response(exchange.waiters, response, origin);
        }
        let mut settled = core::mem::take(&mut self.settled);
        settled.settle(response, self.cache.rules());
        if exchange.may_be_kept() {
            self.cache.store(&exchange.asked, &settled, origin, now);
            if let Some(shared) = &mut self.shared {
                shared.keep(&exchange.asked, &settled, origin, now);
            }
        }
        self.tell_settled(exchange.waiters, settled, origin);
    }

    /// Replies to who signed the query. A signed response is theirs who signed both, and nothing of it is kept.
    fn pass(
        &mut self,
        waiters: impl IntoIterator<Item = Waiter<C>>,
        response: &ResponseView<'_>,
        origin: ReplyOrigin,
    ) {
        for waiter in waiters {
            if response.is_signed() {
                relay_reply(response, &waiter.asker, &mut self.scratch);
                self.replies.push(waiter.client, &self.scratch);
            } else {
                self.reply_with(waiter, Canonical::from(response), origin);
            }
        }
    }

    /// The data was found bogus, which is no less true for the next client (RFC 9520 section 2.5), and what is kept past its time is no
    /// better.
    fn conclude_bogus(
        &mut self,
        exchange: Exchange<C>,
        response: &ResponseView<'_>,
        origin: ReplyOrigin,
        now: Moment,
    ) {
        if exchange.may_be_kept() {
            let error = response.extended_errors().next();
            self.cache
                .store_bogus(&exchange.asked, response.rcode(), error, now);
        }
        self.tell_response(exchange.waiters, response, origin);
    }

    /// Everybody who was asked failed, refused, or was cut short.
    fn conclude_poorly(&mut self, mut exchange: Exchange<C>, now: Moment) {
        let failure = Failure::InvalidResponse;
        let held = exchange.take_held();
        let end = self.exchanges.end_of(&exchange);
        self.keep_failure(&exchange, held.as_ref(), failure, (end, now));
        let best = Best {
            kept_of: exchange.kept_of(),
            held,
            told: failure.told(),
        };
        self.tell_best(exchange.waiters, best, now);
    }

    /// Ends an exchange that waits for nothing, with the best there is to tell.
    pub(super) fn fail_if_idle(&mut self, id: ExchangeId, now: Moment) {
        if self.waits_for_its_id(id) {
            return;
        }
        if self
            .exchanges
            .get_mut(id)
            .is_none_or(|exchange| !exchange.attempts.is_empty())
        {
            return;
        }
        let Some(mut exchange) = self.exchanges.remove(id) else {
            return;
        };
        let failure = if exchange.disputed {
            Failure::InvalidResponse
        } else if exchange.lost_to == Some(CloseReason::NoResources) {
            Failure::NoResources
        } else {
            exchange
                .lost_to
                .or_else(|| self.down_reason(exchange.group))
                .map_or_else(
                    || self.failure_without_reason(exchange.group),
                    Failure::Unreachable,
                )
        };
        let held = exchange.take_held();
        let kept_of = exchange.kept_of();
        let end = self.exchanges.end_of(&exchange);
        self.keep_failure(&exchange, held.as_ref(), failure, (end, now));
        let told = failure.told();
        let best = Best {
            kept_of,
            held,
            told,
        };
        self.tell_best(exchange.waiters, best, now);
    }

    /// Tells those who have waited long enough, `most` clients at most. Gives back how many fewer there were.
    pub(super) fn end_waits(&mut self, most: usize, now: Moment) -> usize {
        let mut left = most;
        while left > 0
            && let Some((id, waiters)) = self.exchanges.take_expired(left, now)
        {
            left = left.saturating_sub(waiters.len().max(1));
            self.expire(id, waiters, now);
        }
        while left > 0
            && let Some((id, waiters)) = self.exchanges.take_stale(left, now)
        {
            left = left.saturating_sub(waiters.len().max(1));
            self.give_stale(id, waiters, now);
        }
        left
    }

    /// Clients whose time has passed get the best there is to tell; an exchange that has had its time and nobody waits for ends.
    fn expire(
        &mut self,
        id: ExchangeId,
        waiters: impl IntoIterator<Item = Waiter<C>>,
        now: Moment,
    ) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let failure = match exchange.lost_to {
            _ if exchange.disputed => Failure::InvalidResponse,
            Some(CloseReason::NoResources) if exchange.attempts.is_empty() => Failure::NoResources,
            Some(reason) if exchange.attempts.is_empty() => Failure::Unreachable(reason),
            Some(_) | None => Failure::TimedOut,
        };
        let best = Best {
            kept_of: exchange.kept_of(),
            held: exchange.take_held(),
            told: failure.told(),
        };
        let mut last = None;
        for waiter in waiters {
            last = Some(waiter.deadline);
            self.reply_best(waiter, &best, now);
        }
        let held = best.held;
        if self.exchanges.is_over(id, now)
            && let Some(exchange) = self.exchanges.remove(id)
        {
            for attempt in &exchange.attempts {
                if let Some(state) = self.upstreams.get_mut(attempt.upstream.0) {
                    state.counts.timed_out += 1;
                }
            }
            self.abandon(&exchange.attempts);
            let own = self.exchanges.end_of(&exchange);
            let end = last.map_or(own, |last| last.max(own));
            self.keep_failure(&exchange, held.as_ref(), failure, (end, now));
        } else if let (Some(held), Some(exchange)) = (held, self.exchanges.get_mut(id)) {
            exchange.put_back(held);
        }
    }

    /// Gives an exchange up for another one.
    pub(super) fn shed(&mut self, id: ExchangeId, now: Moment) {
        let Some(mut exchange) = self.exchanges.remove(id) else {
            return;
        };
        let held = exchange.take_held();
        let kept_of = exchange.kept_of();
        self.counts.overloaded += exchange.waiters.len() as u64;
        self.abandon(&exchange.attempts);
        let told = Failure::Overloaded.told();
        let best = Best {
            kept_of,
            held,
            told,
        };
        self.tell_best(exchange.waiters, best, now);
    }

    /// Remembers that there was no answer, to a question that was to be over at `end`. What was not the upstreams' doing is not remembered: want of
    /// resources, or that nobody here looked for their answers in time.
    fn keep_failure(
        &self,
        exchange: &Exchange<C>,
        held: Option<&Held>,
        failure: Failure,
        (end, now): (Moment, Moment),
    ) {
        if !exchange.speaks_for_others() {
            return;
        }
        // A truncated answer is none to keep, and no failure either.
        if held.is_some_and(|held| held.truncated) {
            return;
        }
        let held = held.and_then(Held::view);
        let asked = &exchange.asked;
        match (held, failure) {
            (Some(held), _) => {
                let error = held.extended_errors().next();
                self.cache.store_failure(asked, held.rcode(), error, now);
            }
            (None, Failure::NotReady | Failure::NoResources | Failure::Overloaded) => {}
            (None, _) if now.since(end) > LATENESS_MAX => {}
            (None, Failure::InvalidResponse | Failure::TimedOut | Failure::Unreachable(_)) => {
                let told = failure.told();
                self.cache
                    .store_failure(asked, told.rcode, Some(told.error), now);
            }
        }
    }

    /// Clients who have waited long enough for something newer get what is kept; the question goes on without them, to have it refreshed.
    fn give_stale(
        &mut self,
        id: ExchangeId,
        waiters: impl IntoIterator<Item = Waiter<C>>,
        now: Moment,
    ) {
        let Some(exchange) = self.exchanges.get(id) else {
            return;
        };
        let group = exchange.asked.group;
        self.cache.note_unrefreshed(&exchange.asked, now);
        let mut left = Vec::new();
        for waiter in waiters {
            left.extend(self.reply_stale(waiter, group, now));
        }
        self.exchanges.wait_on(id, left);
    }

    /// Replies with what is kept past its time; gives the client back when there is nothing.
    fn reply_stale(&mut self, waiter: Waiter<C>, group: GroupId, now: Moment) -> Option<Waiter<C>> {
        let (cache, scratch) = (&self.cache, &mut self.scratch);
        if !cache.answer_stale(&waiter.asker, group, now, scratch) {
            return Some(waiter);
        }
        self.replies.push(waiter.client, &self.scratch);
        None
    }

    /// Replies with what is kept of a group past its time, or else with a poor response, or else with an error. What is kept is not for who
    /// signed the query: `None`.
    pub(super) fn reply_best(&mut self, waiter: Waiter<C>, best: &Best, now: Moment) {
        let waiter = match best.kept_of {
            None => Some(waiter),
            Some(group) => self.reply_stale(waiter, group, now),
        };
        let Some(waiter) = waiter else {
            return;
        };
        let held = best.held.as_ref();
        let held = held.and_then(|held| Some((held.view()?, held.origin)));
        if let Some((response, origin)) = held {
            return match best.kept_of {
                None => self.pass([waiter], &response, origin),
                Some(_) => self.reply_with(waiter, Canonical::from(&response), origin),
            };
        }
        let error = Some(best.told.error);
        write_error(&waiter.asker, best.told.rcode, error, &mut self.scratch);
        self.replies.push(waiter.client, &self.scratch);
    }

    /// What failed before is asked again: of the groups of this upstream, which answers again, or of all.
    pub(super) fn forget_failures(&self, upstream: Option<UpstreamId>, now: Moment) {
        for (place, group) in self.groups.iter().enumerate() {
            let fallback = group.fallback.and_then(|group| self.groups.get(group.0));
            let can_help = |upstream| {
                let mut groups = std::iter::once(group).chain(fallback);
                groups.any(|group| group.members.contains(&upstream))
            };
            if upstream.is_none_or(can_help) {
                self.cache.handle_recovery(GroupId(place), now);
            }
        }
    }

    /// Whether nobody of a group, nor of its fallback, answers at the moment.
    pub(super) fn is_down(&self, group: GroupId) -> bool {
        let fallback = self.groups.get(group.0).and_then(|group| group.fallback);
        let groups = [Some(group), fallback];
        groups.into_iter().flatten().all(|group| {
            self.members(group)
                .all(|upstream| upstream.health.state() == HealthState::Down)
        })
    }

    /// Whether a query that cannot have another message ID only meets itself on its way: a client asks again, and the answer it waits for
    /// would be overtaken by an error. Nothing else keeps it from being sent; its deadline ends it.
    fn waits_for_its_id(&self, id: ExchangeId) -> bool {
        self.exchanges.get(id).is_some_and(|exchange| {
            exchange.signed().is_some_and(SignedQuery::keeps_id)
                && exchange.sends() == 0
                && exchange.lost_to.is_none()
                && self
                    .members(exchange.group)
                    .any(|it| it.health.reason().is_none() && !it.connections.is_empty())
        })
    }

    fn members(&self, group: GroupId) -> impl Iterator<Item = &Upstream> {
        let members = self.groups.get(group.0).map(|group| group.members.iter());
        members
            .into_iter()
            .flatten()
            .filter_map(|id| self.upstreams.get(id.0))
    }

    fn down_reason(&self, group: GroupId) -> Option<CloseReason> {
        self.members(group)
            .find_map(|upstream| upstream.health.reason())
    }

    fn failure_without_reason(&self, group: GroupId) -> Failure {
        let mut members = self.members(group);
        if members.all(|upstream| upstream.endpoints.is_empty()) {
            Failure::NotReady
        } else {
            Failure::TimedOut
        }
    }
}
