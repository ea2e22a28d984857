//! Where a question goes, and where it goes when what it waited on is lost.
//!
//! Within the upstream that was chosen (see [`choice`](super::choice)), the emptiest connection that can be used; a new one is opened
//! when there is none, or when the others are crowded.

use core::cmp::Reverse;

use smallvec::SmallVec;

use super::choice::{goes_in_a_datagram, is_undialable};
use super::{Engine, Owner, UpstreamId};
use crate::exchange::{Attempt, ExchangeId};
use crate::limits::{SENDS_MAX, SENDS_PER_UPSTREAM_MAX};
use crate::time::Moment;
use crate::upstream::{CloseReason, Connection, ConnectionId, HealthState, Standing, Strategy};
use crate::wire::{write_query, write_query_without_edns};

/// Which upstreams come into question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// All.
    Any,
    /// Those this question was not sent to yet.
    Untried,
    /// Those that did not give a poor answer to it.
    Undeclined,
}

impl<C> Engine<C> {
    /// Sends the question, or replies with why it cannot be sent.
    pub(super) fn send_or_fail(&mut self, id: ExchangeId, among: Among, now: Moment) {
        if !self.send(id, among, now) && !self.fall_back(id, now) {
            self.fail_if_idle(id, now);
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
                if standing == Standing::Trial {
                    self.accompany_trial(id, now);
                }
                return true;
            }
            // It has no connection to offer; another upstream may.
            full.push(upstream);
        }
        false
    }

    /// A question that tries a failed upstream goes to one that works as well: whoever asked it is not made to wait for the outcome.
    fn accompany_trial(&mut self, id: ExchangeId, now: Moment) {
        let chosen = self.choose(id, Among::Untried, &[], now);
        if let Some((upstream, Standing::Good)) = chosen
            && let Some(connection) = self.connection_for(id, upstream, now)
        {
            self.submit_to(id, upstream, connection, now);
        }
    }

    /// Sends a question that has just gone out to a second upstream too, where the group races.
    pub(super) fn race(&mut self, id: ExchangeId, now: Moment) {
        let group = self
            .exchanges
            .get(id)
            .and_then(|exchange| self.groups.get(exchange.group.0));
        if group.is_some_and(|group| group.selector.strategy() == Strategy::Race) {
            self.send(id, Among::Untried, now);
        }
    }

    /// The connection of `upstream` that the question goes to; opened when there is none fit. Connections the question
    /// already waits on do not count.
    pub(super) fn connection_for(
        &mut self,
        id: ExchangeId,
        upstream: UpstreamId,
        now: Moment,
    ) -> Option<ConnectionId> {
        let exchange = self.exchanges.get(id)?;
        let state = self.upstreams.get(upstream.0)?;
        let ready = |id: &ConnectionId| self.connections.get(*id).is_some_and(Connection::is_ready);
        let has_stream = || state.connections.iter().any(ready);
        if goes_in_a_datagram(exchange, upstream, state, has_stream)
            && let Some(socket) = self.open_datagram(upstream, now)
        {
            return Some(socket);
        }
        let exchange = self.exchanges.get(id)?;
        let state = self.upstreams.get(upstream.0)?;
        let waits_on = |id: ConnectionId| exchange.attempts.iter().any(|a| a.connection == id);
        // When one path to this upstream is silent, another one counts only if something came on it since: what took the first may have
        // taken them all.
        let waiting = exchange
            .attempts
            .iter()
            .filter(|attempt| attempt.upstream == upstream);
        let silent_since = waiting.map(|attempt| attempt.sent).max();
        // A dial to an upstream that is down is for the question that began it, and one that hangs for those who wait for it already: whoever
        // joined them would mostly wait for nothing.
        let down = state.health.state() == HealthState::Down;
        let undialable = is_undialable(exchange.tried(upstream), state);
        let alive = |connection: &Connection<Owner>| {
            if !connection.is_ready() && (down || undialable || connection.is_overtaken()) {
                return false;
            }
            silent_since.is_none_or(|since| !connection.is_ready() || connection.heard_since(since))
        };
        let fit = state
            .connections
            .iter()
            .copied()
            .filter(|id| !waits_on(*id))
            .filter_map(|id| {
                let connection = self
                    .connections
                    .get(id)
                    .filter(|connection| connection.is_usable() && alive(connection))?;
                Some((id, connection))
            });
        let best = fit.min_by_key(|(_, connection)| {
            (
                Reverse(connection.is_ready()),
                Reverse(connection.is_lasting()),
                connection.load(),
            )
        });
        let congested = state.rtt.is_congested();
        let crowded = best.is_none_or(|(_, connection)| connection.is_crowded(congested));
        let best = best.map(|(id, _)| id);
        if undialable {
            return best;
        }
        let may_open = best.is_none() || now >= state.grow_after;
        if crowded
            && may_open
            && let Some(opened) = self.open(upstream, now)
        {
            // The crowd waits for nobody: it goes on using what is ready while the new connection is being opened.
            return best.or(Some(opened));
        }
        best.or_else(|| self.slow_dial(id, upstream))
            .or_else(|| self.replace_silent(id, upstream, now))
    }

    /// A connection that takes long to open: worth waiting for when there is nothing else, unless the upstream is known to be down. The
    /// youngest, which has the most time left.
    fn slow_dial(&mut self, id: ExchangeId, upstream: UpstreamId) -> Option<ConnectionId> {
        let exchange = self.exchanges.get_mut(id)?;
        let state = self.upstreams.get(upstream.0)?;
        if state.health.state() == HealthState::Down {
            return None;
        }
        let dials = state.connections.iter().filter_map(|id| {
            let connection = self.connections.get(*id)?;
            let waited_on = exchange.attempts.iter().any(|a| a.connection == *id);
            let since = connection.dialing_since()?;
            (connection.has_room() && !waited_on).then_some((since, *id))
        });
        dials.max_by_key(|(since, _)| *since).map(|(_, id)| id)
    }

    /// All the connections there may be are silent: the one that has been so longest makes room for a new one.
    fn replace_silent(
        &mut self,
        id: ExchangeId,
        upstream: UpstreamId,
        now: Moment,
    ) -> Option<ConnectionId> {
        let exchange = self.exchanges.get(id)?;
        let state = self.upstreams.get(upstream.0)?;
        if !self.is_full(upstream) {
            return None;
        }
        let silent = state.connections.iter().copied().filter_map(|id| {
            let since = self.connections.get(id)?.silent_since()?;
            let waited_on = exchange.attempts.iter().any(|a| a.connection == id);
            (!waited_on).then_some((since, id))
        });
        let (_, oldest) = silent.min()?;
        // It goes before its time to be doubted has come, and so may every one after it; all of them silent say as much.
        if !self.is_aside(upstream, false) {
            self.handle_upstream_silence(upstream, now);
        }
        // Its questions move, and may open the new connection themselves.
        self.close(oldest, CloseReason::Silent, now);
        self.connection_for(id, upstream, now)
    }

    pub(super) fn submit_to(
        &mut self,
        id: ExchangeId,
        upstream: UpstreamId,
        connection: ConnectionId,
        now: Moment,
    ) -> bool {
        let (opt_used, padding) = self.opt_for(upstream, now);
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return false;
        };
        // Making room for it may have moved the question already.
        let tried = exchange.tried(upstream);
        if exchange.sends() >= SENDS_MAX || tried.sends >= SENDS_PER_UPSTREAM_MAX {
            return false;
        }
        let Some(state) = self.connections.get_mut(connection) else {
            return false;
        };
        let question = exchange.asked.question.view();
        let edns = opt_used && !tried.refused_edns;
        let message = &mut self.scratch;
        let mut keeps_id = false;
        if let Some(signed) = exchange.signed() {
            message.clear();
            message.extend_from_slice(signed.octets());
            keeps_id = signed.keeps_id();
        } else if edns {
            let keepalive = !state.asked_keepalive && !state.is_datagram();
            let options = exchange.query_options(keepalive, padding);
            write_query(question, options, message);
            state.asked_keepalive = true;
        } else {
            let checking_disabled = exchange.checking_disabled();
            write_query_without_edns(question, checking_disabled, message);
        }
        let owner = Owner::Exchange(id);
        let message_id = if keeps_id {
            state.submit_as_it_is(owner, question, message, now)
        } else {
            state.submit(owner, question, message, now, &mut self.rng)
        };
        let Some(message_id) = message_id else {
            return false;
        };
        let attempt = Attempt {
            upstream,
            connection,
            id: message_id,
            sent: now,
            edns,
        };
        exchange.begin_attempt(attempt);
        let patience = self.upstreams[upstream.0].rtt.hedge_after();
        self.hedges.watch(id, attempt, now + patience);
        self.list_for_transmit(connection);
        true
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
            exchange.take_back_send(attempt.upstream, reason.speaks_against_dialing());
        }
        // Who has said no already is not asked a second time only because another one cannot be reached.
        let among = if exchange.has_held() {
            Among::Undeclined
        } else {
            Among::Any
        };
        // Whatever else it waits for has been waited for longer than usual, so what was lost is replaced. There is no hurry when we
        // ended it ourselves and the question waits on a connection that is ready, unless its answer is overdue there.
        let other = exchange.attempts.first().copied();
        let hurry =
            reason.speaks_against_dialing() || !self.waits_on_ready(id) || self.is_overdue(id, now);
        match other {
            None => self.send_or_fail(id, among, now),
            Some(other) => {
                if !hurry || !self.send(id, among, now) {
                    let patience = self.upstreams[other.upstream.0].rtt.hedge_after();
                    self.look_again(id, other, now + patience, now);
                }
            }
        }
    }

    /// Whether one of the connections the question waits on is ready.
    fn waits_on_ready(&self, id: ExchangeId) -> bool {
        let attempts = self
            .exchanges
            .get(id)
            .map(|exchange| exchange.attempts.iter());
        attempts.into_iter().flatten().any(|attempt| {
            self.connections
                .get(attempt.connection)
                .is_some_and(Connection::is_ready)
        })
    }

    /// Whether a query to `upstream` carries an OPT record, and to what it is padded if so.
    pub(super) fn opt_for(&self, upstream: UpstreamId, now: Moment) -> (bool, Option<usize>) {
        let state = self.upstreams.get(upstream.0);
        state.map_or((true, None), |state| (state.opt.is_on(now), state.padding))
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
