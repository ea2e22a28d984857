//! From an upstream's octets to replies.

use super::attempt::Among;
use super::event::Event;
use super::{Engine, Owner};
use crate::exchange::{Attempt, Exchange, ExchangeId};
use crate::limits::QUESTION_BUDGET;
use crate::policy::Judgement;
use crate::time::Moment;
use crate::upstream::{Accepted, CloseReason, ConnectionId, Protocol, UpstreamId, refuses_edns};
use crate::wire::edns::{EdeCode, Edns};
use crate::wire::{Rcode, ReplyOrigin, ResponseView};

impl<C> Engine<C> {
    /// Takes plaintext from a connection, in pieces of any size.
    pub fn handle_bytes(&mut self, id: ConnectionId, octets: &[u8], now: Moment) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.handle_received(now);
        // The reader is taken out so that its messages can be borrowed while the engine changes.
        let mut reader = core::mem::take(&mut connection.reader);
        reader.push(octets);
        while let Some(message) = reader.next_message() {
            self.handle_message(id, message, now);
        }
        // Gone when a message made us close it.
        if let Some(connection) = self.connections.get_mut(id) {
            connection.reader = reader;
        }
        let exchanges = &self.exchanges;
        self.hedges
            .drop_finished(|watch| exchanges.runs(watch.exchange, watch.attempt));
    }

    /// Takes a datagram from a socket opened for [`Protocol::Udp`].
    pub fn handle_datagram(&mut self, id: ConnectionId, message: &[u8], now: Moment) {
        self.handle_message(id, message, now);
        let answered = self
            .connections
            .get(id)
            .is_some_and(|connection| connection.answered > 0);
        if answered {
            self.close(id, CloseReason::Aged, now);
        }
    }

    fn handle_message(&mut self, id: ConnectionId, message: &[u8], now: Moment) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let (upstream, endpoint) = (connection.upstream, connection.endpoint);
        // Nobody could tell who said it (RFC 7828 section 3.2.1).
        let datagram = connection.is_datagram();
        match connection.accept(message) {
            Accepted::Response {
                owner,
                sent,
                response,
            } => {
                if connection.was_ready_at(sent) {
                    // An answer that came after everybody's budget says that, not how late it was.
                    let sample = now.since(sent).min(QUESTION_BUDGET);
                    self.upstreams[upstream.0].rtt.handle_sample(sample, now);
                }
                let state = &mut self.upstreams[upstream.0];
                state.counts.duration.add_duration(now.since(sent));
                state.endpoints.handle_response(endpoint, datagram, now);
                self.handle_upstream_success(upstream, now);
                let keepalive = response.edns().and_then(Edns::keepalive);
                if let Some(limit) = keepalive.filter(|_| !datagram) {
                    self.handle_keepalive(id, upstream, limit);
                }
                match owner {
                    Some(Owner::Exchange(exchange)) => {
                        self.handle_response(exchange, id, &response, now);
                    }
                    Some(Owner::Probe(upstream)) => self.upstreams[upstream.0].probe = None,
                    None => {}
                }
            }
            Accepted::Disputed { owner } => {
                self.upstreams[upstream.0].counts.disputed += 1;
                self.events.push(Event::ResponseDisputed { upstream });
                if let Some(Owner::Exchange(exchange)) = owner {
                    self.handle_dispute(exchange, now);
                }
            }
            Accepted::Stray(owner) => {
                self.upstreams[upstream.0].counts.stray += 1;
                self.events.push(Event::ResponseStray { upstream });
                if let Some(Owner::Exchange(exchange)) = owner.filter(|_| datagram) {
                    self.handle_guess(exchange, now);
                }
            }
            Accepted::Misbehaved => {
                self.upstreams[upstream.0].counts.disputed += 1;
                self.events.push(Event::ResponseDisputed { upstream });
                self.close(id, CloseReason::Misbehaved, now);
            }
        }
    }

    fn handle_response(
        &mut self,
        exchange_id: ExchangeId,
        connection: ConnectionId,
        response: &ResponseView<'_>,
        now: Moment,
    ) {
        let Some(exchange) = self.exchanges.get_mut(exchange_id) else {
            return;
        };
        let Some(attempt) = exchange.end_attempt(connection) else {
            return;
        };
        let overtook = exchange.hedged_on.is_some_and(|slow| slow != connection);
        let origin = self.origin_of(attempt.upstream);
        let trimmed;
        let response = match self.judge_addresses(exchange_id, Some(attempt.upstream), response) {
            Judgement::Good => response,
            Judgement::GoodAlone => {
                self.counts.trimmed += 1;
                trimmed = response.without_additionals();
                &trimmed
            }
            Judgement::Private => return self.withhold(exchange_id, response, origin, now),
        };
        if response.header().flags.truncated() && self.asks_over_stream(exchange_id, attempt, now) {
            if let Some(exchange) = self.exchanges.get_mut(exchange_id) {
                exchange.hold(response, origin);
            }
            return;
        }
        if self.asks_without_edns(exchange_id, attempt, response, now) {
            return;
        }
        let Some(exchange) = self.exchanges.get_mut(exchange_id) else {
            return;
        };
        if is_poor(response) {
            let first = !exchange.has_held();
            exchange.hold(response, origin);
            exchange.note_declined(attempt.upstream);
            let idle = exchange.attempts.is_empty();
            // The first one is not waited for alone any more; from then on one is asked after the other.
            // Somebody who was asked may still have no say, when his connection was taken from under the question.
            let asked_another = (first || idle) && self.send(exchange_id, Among::Untried, now)
                || (idle && self.send(exchange_id, Among::Undeclined, now));
            let waits = self
                .exchanges
                .get(exchange_id)
                .is_some_and(|e| !e.attempts.is_empty());
            if asked_another || waits || self.fall_back(exchange_id, now) {
                return;
            }
        }
        self.counts.hedges_won += u64::from(overtook);
        if self.lacks_dnssec(exchange_id, attempt)
            && let Some(exchange) = self.exchanges.get_mut(exchange_id)
        {
            exchange.note_without_dnssec();
        }
        self.finish(exchange_id, response, origin, now);
    }

    /// Asks the same upstream over a stream after a truncated datagram. `false` when it was asked over a stream already, or cannot
    /// be: none could be opened a moment ago.
    fn asks_over_stream(&mut self, id: ExchangeId, attempt: Attempt, now: Moment) -> bool {
        let upstream = attempt.upstream;
        let streams = self.upstreams.get(upstream.0).is_some_and(|state| {
            let some = !state.connections.is_empty() || now >= state.grow_after;
            state.protocol == Protocol::Udp && some
        });
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return false;
        };
        if !streams || exchange.needs_stream {
            return false;
        }
        exchange.needs_stream = true;
        let connection = self.connection_for(id, upstream, now);
        connection.is_some_and(|connection| self.submit_to(id, upstream, connection, now))
    }

    /// Asks an upstream that seems to know nothing of EDNS once more, without, and remembers it when that was the reason (RFC 6891
    /// section 7). `false` when the response stands.
    fn asks_without_edns(
        &mut self,
        id: ExchangeId,
        attempt: Attempt,
        response: &ResponseView<'_>,
        now: Moment,
    ) -> bool {
        let upstream = attempt.upstream;
        // What is signed cannot be written in another way.
        let unsigned = |exchange: &&mut Exchange<C>| exchange.signed().is_none();
        let Some(exchange) = self.exchanges.get_mut(id).filter(unsigned) else {
            return false;
        };
        match (attempt.edns, refuses_edns(response)) {
            (true, true) if !exchange.tried(upstream).refused_edns => {
                exchange.note_refused_edns(upstream);
                let connection = self.connection_for(id, upstream, now);
                connection.is_some_and(|connection| self.submit_to(id, upstream, connection, now))
            }
            (true, false) => {
                if response.edns().is_some() {
                    self.upstreams[upstream.0].opt.handle_seen();
                }
                false
            }
            (false, false) if exchange.tried(upstream).refused_edns => {
                let opt = &mut self.upstreams[upstream.0].opt;
                if opt.handle_answered_without(exchange.qname(), now) {
                    self.events.push(Event::UpstreamWithoutEdns { upstream });
                }
                false
            }
            (true, true) | (false, true | false) => false,
        }
    }

    /// Whether an answer may have come without the DNSSEC records that were asked for, only because the upstream did not take an OPT record
    /// (RFC 3225 section 3). When queries are to have none, there is nothing better.
    fn lacks_dnssec(&self, id: ExchangeId, attempt: Attempt) -> bool {
        let asked = self.exchanges.get(id).map(|exchange| &exchange.asked);
        let state = self.upstreams.get(attempt.upstream.0);
        let wanted = state.is_some_and(|state| state.opt.is_wanted());
        !attempt.edns && wanted && asked.is_some_and(|asked| asked.dnssec_ok)
    }

    fn origin_of(&self, upstream: UpstreamId) -> ReplyOrigin {
        match self
            .upstreams
            .get(upstream.0)
            .map(|upstream| upstream.protocol)
        {
            Some(Protocol::Tls) => ReplyOrigin::Upstream,
            Some(Protocol::Tcp | Protocol::Udp) | None => ReplyOrigin::ClearText,
        }
    }

    /// Somebody may be guessing the ID of a datagram: what comes of it is not to be kept, and a stream cannot be guessed at.
    fn handle_guess(&mut self, id: ExchangeId, now: Moment) {
        let exchange = self.exchanges.get_mut(id);
        if exchange.is_some_and(Exchange::note_guess) {
            self.handle_dispute(id, now);
        }
    }

    /// The upstream sent something else than the response, or somebody in its place. The real one may still come, but nobody waits
    /// for it alone; after a datagram a stream is asked, where nobody can write without seeing (RFC 5452 section 9.3).
    fn handle_dispute(&mut self, id: ExchangeId, now: Moment) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let first = !exchange.disputed;
        exchange.disputed = true;
        if first {
            let among = if exchange.needs_stream {
                Among::Untried
            } else {
                Among::Any
            };
            let datagrams = exchange.attempts.iter().any(|attempt| {
                self.upstreams
                    .get(attempt.upstream.0)
                    .is_some_and(|u| u.protocol == Protocol::Udp)
            });
            exchange.needs_stream = true;
            self.send(id, if datagrams { among } else { Among::Untried }, now);
        }
    }
}

/// Whether another upstream may have a better answer: the upstream failed or refused (RFC 2308 section 7), or sent a truncated answer
/// over a stream, where there is nothing to truncate for. Data that was found bogus is not one upstream's opinion (RFC 8914 sections 4.7
/// to 4.13): asking on would only find somebody who does not look.
pub(super) fn is_poor(response: &ResponseView<'_>) -> bool {
    let flags = response.header().flags;
    match response.rcode() {
        Rcode::SERVFAIL
        | Rcode::REFUSED
        | Rcode::NOTIMP
        | Rcode::FORMERR
        | Rcode::BADVERS
        | Rcode::BADCOOKIE => !response.extended_errors().any(|error| is_bogus(error.code)),
        _ => flags.truncated(),
    }
}

fn is_bogus(code: EdeCode) -> bool {
    matches!(code.0, 6..=12)
}
