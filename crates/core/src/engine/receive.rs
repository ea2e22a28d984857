//! From an upstream's octets to replies.

use super::attempt::Among;
use super::event::Event;
use super::{Engine, Owner};
use crate::exchange::ExchangeId;
use crate::limits::QUESTION_BUDGET;
use crate::time::Moment;
use crate::upstream::{Accepted, CloseReason, ConnectionId};
use crate::wire::edns::{EdeCode, Edns};
use crate::wire::{Rcode, ReplyOrigin, ResponseView, render_reply};

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

    fn handle_message(&mut self, id: ConnectionId, message: &[u8], now: Moment) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let upstream = connection.upstream;
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
                self.handle_upstream_success(upstream, now);
                if let Some(limit) = response.edns().and_then(Edns::keepalive) {
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
                self.events.push(Event::ResponseDisputed { upstream });
                if let Some(Owner::Exchange(exchange)) = owner {
                    self.handle_dispute(exchange, now);
                }
            }
            Accepted::Stray => self.events.push(Event::ResponseStray { upstream }),
            Accepted::Misbehaved => {
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
        exchange.end_attempt(connection);
        if is_poor(response) {
            let first = !exchange.has_held();
            exchange.hold(response);
            let asked_another = first && self.send(exchange_id, Among::Untried, now);
            let waits = self
                .exchanges
                .get_mut(exchange_id)
                .is_some_and(|e| !e.attempts.is_empty());
            if asked_another || waits {
                return;
            }
        }
        self.finish(exchange_id, response);
    }

    /// Replies to everybody who waits; a poor response only when none better was held before it.
    fn finish(&mut self, exchange_id: ExchangeId, response: &ResponseView<'_>) {
        let Some(mut exchange) = self.exchanges.remove(exchange_id) else {
            return;
        };
        self.abandon(&exchange.attempts);
        let held = exchange.take_held().filter(|_| is_poor(response));
        let held = held
            .as_deref()
            .and_then(|octets| ResponseView::parse(octets).ok());
        let best = held.as_ref().unwrap_or(response);
        for waiter in exchange.waiters {
            render_reply(
                best,
                &waiter.asker,
                ReplyOrigin::Upstream,
                &mut self.scratch,
            );
            self.replies.push(waiter.client, &self.scratch);
        }
    }

    /// The upstream sent something else than the response. The real one may still come, but nobody waits for it alone.
    fn handle_dispute(&mut self, exchange_id: ExchangeId, now: Moment) {
        let Some(exchange) = self.exchanges.get_mut(exchange_id) else {
            return;
        };
        let first = !exchange.disputed;
        exchange.disputed = true;
        if first {
            self.send(exchange_id, Among::Untried, now);
        }
    }
}

/// Whether another upstream may have a better answer: the upstream failed or refused (RFC 2308 section 7), or sent a truncated answer
/// over a stream, where there is nothing to truncate for. Data that was found bogus is not one upstream's opinion (RFC 8914 sections 4.7
/// to 4.13): asking on would only find somebody who does not look.
fn is_poor(response: &ResponseView<'_>) -> bool {
    let flags = response.header().flags;
    match response.rcode() {
        Rcode::SERVFAIL | Rcode::REFUSED | Rcode::NOTIMP | Rcode::FORMERR => {
            !response.extended_errors().any(|error| is_bogus(error.code))
        }
        _ => flags.truncated(),
    }
}

fn is_bogus(code: EdeCode) -> bool {
    matches!(code.0, 6..=12)
}
