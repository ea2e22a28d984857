//! Where a question goes, and when it goes again.
//!
//! The order of preference: upstreams not asked yet about this question, then the better standing, then the order of the
//! configuration. Within an upstream the emptiest connection that can be used; a new one is opened when there is none, or
//! when the others are crowded.

use core::cmp::Reverse;

use smallvec::SmallVec;

use super::event::{Action, Event};
use super::hedge::Watch;
use super::{Engine, UpstreamId};
use crate::exchange::{Attempt, ExchangeId, Waiter};
use crate::limits::{
    CONNECTIONS_PER_UPSTREAM_MAX, DIAL_BESIDE_AFTER, SENDS_MAX, SENDS_PER_UPSTREAM_MAX,
};
use crate::outcome::{Failure, Told};
use crate::time::Moment;
use crate::upstream::{CloseReason, Connection, ConnectionId, HealthState, Standing, Upstream};
use crate::wire::{ReplyOrigin, ResponseView, render_reply, write_query};

/// Which upstreams come into question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// All.
    Any,
    /// Those this question was not sent to yet.
    Untried,
}

impl<C> Engine<C> {
    /// Sends the question, or replies with why it cannot be sent.
    pub(super) fn send_or_fail(&mut self, id: ExchangeId, among: Among, now: Moment) {
        if !self.send(id, among, now) {
            self.fail_if_idle(id);
        }
    }

    /// Sends the question once more. `false` when there is nowhere to send it to.
    pub(super) fn send(&mut self, id: ExchangeId, among: Among, now: Moment) -> bool {
        let mut full: SmallVec<[UpstreamId; 4]> = SmallVec::new();
        while let Some((upstream, standing)) = self.choose(id, among, &full, now) {
            if standing == Standing::Trial {
                let jitter = self.jitter();
                self.upstreams[upstream.0].health.begin_trial(now, jitter);
            }
            let connection = self.connection_for(id, upstream, now);
            if connection.is_some_and(|connection| self.submit_to(id, upstream, connection, now)) {
                return true;
            }
            // It has no connection to offer; another upstream may.
            full.push(upstream);
        }
        false
    }

    fn choose(
        &mut self,
        id: ExchangeId,
        among: Among,
        full: &[UpstreamId],
        now: Moment,
    ) -> Option<(UpstreamId, Standing)> {
        let exchange = self.exchanges.get_mut(id)?;
        if exchange.sends() >= SENDS_MAX {
            return None;
        }
        let up = self
            .upstreams
            .iter()
            .filter(|u| u.health.state() == HealthState::Up)
            .count();
        let candidates = self
            .upstreams
            .iter()
            .enumerate()
            .filter_map(|(place, upstream)| {
                let tried = exchange.tried(UpstreamId(place));
                let worn = tried.sends >= SENDS_PER_UPSTREAM_MAX
                    || usize::from(tried.failed_dials) >= upstream.endpoints().len()
                    || (among == Among::Untried && tried.sends > 0)
                    || full.contains(&UpstreamId(place));
                let standing = upstream.health.standing(now, up == 0);
                // A trial costs its question a delay, so a question that already waits does not make one while others can help.
                let standing = match standing {
                    Standing::Trial if tried.sends > 0 && up > 0 => Standing::Poor,
                    Standing::Good | Standing::Trial | Standing::Poor => standing,
                };
                let eligible = !worn && can_carry(upstream, standing);
                eligible.then_some((tried.sends, rank(standing), place, standing))
            });
        let (_, _, place, standing) =
            candidates.min_by_key(|(sends, rank, place, _)| (*sends, *rank, *place))?;
        Some((UpstreamId(place), standing))
    }

    /// The connection of `upstream` that the question goes to; opened when there is none fit. Connections the question
    /// already waits on do not count.
    fn connection_for(
        &mut self,
        id: ExchangeId,
        upstream: UpstreamId,
        now: Moment,
    ) -> Option<ConnectionId> {
        let exchange = self.exchanges.get_mut(id)?;
        let state = self.upstreams.get(upstream.0)?;
        let waits_on = |id: ConnectionId| exchange.attempts.iter().any(|a| a.connection == id);
        let fit = state
            .connections
            .iter()
            .copied()
            .filter(|id| !waits_on(*id))
            .filter_map(|id| {
                let connection = self
                    .connections
                    .get(id)
                    .filter(|connection| connection.is_usable())?;
                Some((id, connection))
            });
        let best =
            fit.min_by_key(|(_, connection)| (Reverse(connection.is_ready()), connection.load()));
        let crowded = best.is_none_or(|(_, connection)| connection.is_crowded());
        let best = best.map(|(id, _)| id);
        if crowded && let Some(opened) = self.open(upstream, now) {
            // The crowd waits for nobody: it goes on using what is ready while the new connection is being opened.
            return best.or(Some(opened));
        }
        best.or_else(|| self.slow_dial(id, upstream))
            .or_else(|| self.replace_silent(id, upstream, now))
    }

    /// A connection that takes long to open: worth waiting for when there is nothing else, unless the upstream is known to be down.
    fn slow_dial(&mut self, id: ExchangeId, upstream: UpstreamId) -> Option<ConnectionId> {
        let exchange = self.exchanges.get_mut(id)?;
        let state = self.upstreams.get(upstream.0)?;
        if state.health.state() == HealthState::Down {
            return None;
        }
        let dials = state.connections.iter().copied().filter(|id| {
            self.connections
                .get(*id)
                .is_some_and(|connection| !connection.is_ready() && connection.has_room())
        });
        dials
            .into_iter()
            .find(|id| exchange.attempts.iter().all(|a| a.connection != *id))
    }

    /// All the connections there may be are silent: the one that has been so longest makes room for a new one.
    fn replace_silent(
        &mut self,
        id: ExchangeId,
        upstream: UpstreamId,
        now: Moment,
    ) -> Option<ConnectionId> {
        let exchange = self.exchanges.get_mut(id)?;
        let state = self.upstreams.get(upstream.0)?;
        if state.connections.len() < CONNECTIONS_PER_UPSTREAM_MAX {
            return None;
        }
        let silent = state.connections.iter().copied().filter_map(|id| {
            let since = self.connections.get(id)?.silent_since()?;
            let waited_on = exchange.attempts.iter().any(|a| a.connection == id);
            (!waited_on).then_some((since, id))
        });
        let (_, oldest) = silent.min()?;
        // Its questions move, and may open the new connection themselves.
        self.close(oldest, CloseReason::Silent, now);
        self.connection_for(id, upstream, now)
    }

    /// Opens a connection, unless there are enough, or enough are being opened already: a third dial is begun only when the latest
    /// has taken long, so that the bound is not used up at once by dials that hang.
    fn open(&mut self, upstream: UpstreamId, now: Moment) -> Option<ConnectionId> {
        let state = self.upstreams.get_mut(upstream.0)?;
        let dials = state
            .connections
            .iter()
            .filter_map(|id| self.connections.get(*id)?.dialing_since());
        let (dials, latest) = dials.fold((0, Moment::ZERO), |(count, latest), since| {
            (count + 1, latest.max(since))
        });
        let patient = dials > 1 && now.since(latest) < DIAL_BESIDE_AFTER;
        if state.connections.len() >= CONNECTIONS_PER_UPSTREAM_MAX || patient {
            return None;
        }
        if dials > 0 {
            // Somebody waits for this endpoint already; another one may be nearer.
            state.turn_to_next_endpoint();
        }
        let endpoint = state.next_endpoint()?;
        let connection = self
            .connections
            .insert(Connection::new(upstream, endpoint, now));
        state.connections.push(connection);
        self.actions.push_back(Action::Open {
            connection,
            upstream,
            endpoint,
        });
        self.events.push(Event::ConnectionOpening {
            connection,
            upstream,
            endpoint,
        });
        Some(connection)
    }

    fn submit_to(
        &mut self,
        id: ExchangeId,
        upstream: UpstreamId,
        connection: ConnectionId,
        now: Moment,
    ) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return false;
        };
        let Some(state) = self.connections.get_mut(connection) else {
            return false;
        };
        let question = exchange.question.view();
        write_query(question, exchange.query_options(), &mut self.scratch);
        let Some(message_id) = state.submit(id, question, &mut self.scratch, now, &mut self.rng)
        else {
            return false;
        };
        let attempt = Attempt {
            upstream,
            connection,
            id: message_id,
            sent: now,
        };
        exchange.begin_attempt(attempt);
        let patience = self.upstreams[upstream.0].rtt.hedge_after();
        self.hedges.watch(id, attempt, now + patience);
        self.list_for_transmit(connection);
        true
    }

    /// Looks at the attempts whose patience has passed.
    pub(super) fn fire_hedges(&mut self, now: Moment) {
        loop {
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
            self.handle_upstream_silence(attempt.upstream, now);
        }
        // A connection on which other answers come is alive: its upstream is at work on the question, and asking it again
        // would only double its work. With nowhere else to go, the question waits where it is.
        let among = if silent { Among::Any } else { Among::Untried };
        let sent = self.send(watch.exchange, among, now);
        if sent && costs {
            self.hedges.spend();
        }
        if !(sent && silent) {
            // Nobody else will notice when the connection dies after what was heard last.
            let due = heard.unwrap_or(now) + patience;
            self.hedges.watch(watch.exchange, attempt, due);
        }
    }

    /// The question's attempt on `connection` is lost; it is sent elsewhere, or fails.
    pub(super) fn move_exchange(
        &mut self,
        id: ExchangeId,
        connection: ConnectionId,
        was_ready: bool,
        reason: CloseReason,
        now: Moment,
    ) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let Some(attempt) = exchange.end_attempt(connection) else {
            return;
        };
        exchange.lost_to = Some(reason);
        if !was_ready {
            exchange.take_back_send(attempt.upstream);
        }
        // Who has said no already is not asked a second time only because another one cannot be reached.
        let among = if exchange.has_held() {
            Among::Untried
        } else {
            Among::Any
        };
        // Whatever else it waits for has been waited for longer than usual, so what was lost is replaced.
        let other = exchange.attempts.first().copied();
        match other {
            None => self.send_or_fail(id, among, now),
            Some(other) => {
                if !self.send(id, among, now) {
                    let patience = self.upstreams[other.upstream.0].rtt.hedge_after();
                    self.hedges.watch(id, other, now + patience);
                }
            }
        }
    }

    /// Ends an exchange that waits for nothing, with the best there is to tell.
    pub(super) fn fail_if_idle(&mut self, id: ExchangeId) {
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
        let held = exchange.take_held();
        let failure = if exchange.disputed {
            Failure::InvalidResponse
        } else {
            exchange
                .lost_to
                .or_else(|| self.down_reason())
                .map_or_else(|| self.failure_without_reason(), Failure::Unreachable)
        };
        for waiter in exchange.waiters {
            self.reply_held_or(waiter, held.as_deref(), failure.told());
        }
    }

    fn down_reason(&self) -> Option<CloseReason> {
        self.upstreams
            .iter()
            .find_map(|upstream| upstream.health.reason())
    }

    fn failure_without_reason(&self) -> Failure {
        if self
            .upstreams
            .iter()
            .all(|upstream| upstream.endpoints().is_empty())
        {
            Failure::NotReady
        } else {
            Failure::TimedOut
        }
    }

    pub(super) fn reply_held_or(&mut self, waiter: Waiter<C>, held: Option<&[u8]>, told: Told) {
        let Some(Ok(response)) = held.map(ResponseView::parse) else {
            return self.reply_error(waiter, told);
        };
        render_reply(
            &response,
            &waiter.asker,
            ReplyOrigin::Upstream,
            &mut self.scratch,
        );
        self.replies.push(waiter.client, &self.scratch);
    }

    /// Nobody waits for these any more.
    pub(super) fn abandon(&mut self, attempts: &[Attempt]) {
        for attempt in attempts {
            if let Some(connection) = self.connections.get_mut(attempt.connection) {
                connection.abandon(attempt.id);
            }
        }
    }
}

/// A trial comes first, so that a preferred upstream is found again; nothing but a real question finds out.
fn rank(standing: Standing) -> u8 {
    match standing {
        Standing::Good | Standing::Trial => 0,
        Standing::Poor => 1,
    }
}

/// Whether an upstream can take a question at all: one that is down, and not due for a trial, only over a connection it has.
fn can_carry(upstream: &Upstream, standing: Standing) -> bool {
    let closed = upstream.health.state() == HealthState::Down && standing == Standing::Poor;
    !upstream.endpoints().is_empty() && (!closed || !upstream.connections.is_empty())
}
