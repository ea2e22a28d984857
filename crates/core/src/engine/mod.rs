//! The far side: owns every question in flight and every upstream connection.
//!
//! Questions come in by [`Engine::submit`], octets by [`Engine::handle_bytes`], the passing of time by [`Engine::handle_timeout`]; what is
//! to be done comes out of the `poll_*` methods and [`Engine::take_replies`]. After any input, ask in this order: actions,
//! transmits, replies, events, and last [`Engine::poll_timeout`].
//!
//! Promises
//!
//! - Every submitted question gets exactly one reply, at the latest when its budget has passed.
//! - A connection that ends takes no question with it: its questions go to another one, within their budget.
//! - No client waits for a dead connection: a question without a response for a few usual response times is sent elsewhere
//!   too, and the first answer wins.
//! - The same inputs in the same order give the same outputs: randomness comes from the seed.
//!
//! Ruled by RFC 7766 section 6.2, RFC 7858 section 3.4, RFC 9520 section 3.1.
//!
//! Deliberately absent: TLS, sockets, a clock; the cache.

mod attempt;
mod event;
mod hedge;
mod receive;
mod replies;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use slotmap::SlotMap;

use crate::exchange::{ExchangeId, ExchangeTable, Joined, KeyHasher, Request, Waiter};
use crate::limits::QUESTION_BUDGET;
use crate::outcome::{Failure, Told};
use crate::time::Moment;
use crate::upstream::{
    CloseReason, Connection, ConnectionId, HealthState, Upstream, UpstreamConfig, UpstreamId,
};
use crate::wire::write_error;

pub use event::{Action, Event};
pub use replies::Replies;

use attempt::Among;
use event::Events;
use hedge::Hedges;

/// What an [`Engine`] works from.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The upstreams, the preferred ones first.
    pub upstreams: Vec<UpstreamConfig>,
    /// How long a question may take.
    pub budget: Duration,
}

impl EngineConfig {
    /// These upstreams, and defaults for the rest.
    #[must_use]
    pub fn new(upstreams: Vec<UpstreamConfig>) -> Self {
        Self {
            upstreams,
            budget: QUESTION_BUDGET,
        }
    }
}

/// How much an [`Engine`] holds; all of it returns to nothing when nobody asks for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Connections, open or being opened.
    pub connections: usize,
    /// Questions in flight, equal ones once.
    pub exchanges: usize,
    /// Deadlines noted, one a client who waits; those of finished questions stay until the ones before them have passed.
    pub deadlines: usize,
    /// Attempts watched, finished ones likewise.
    pub watches: usize,
}

/// The far side. `C` is the shell's token for where a reply goes.
pub struct Engine<C> {
    upstreams: Vec<Upstream>,
    connections: SlotMap<ConnectionId, Connection<ExchangeId>>,
    exchanges: ExchangeTable<C>,
    hedges: Hedges,
    actions: VecDeque<Action>,
    transmits: VecDeque<ConnectionId>,
    events: Events,
    replies: Replies<C>,
    rng: ChaCha12Rng,
    /// A message being written; kept to keep its memory.
    scratch: Vec<u8>,
}

impl<C> Engine<C> {
    /// An engine without connections. `seed` must be unpredictable: message IDs come from it.
    #[must_use]
    pub fn new(config: EngineConfig, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let mut key = [0; 16];
        rng.fill_bytes(&mut key);
        let upstreams: Vec<Upstream> = config
            .upstreams
            .into_iter()
            .map(|upstream| Upstream::new(upstream.endpoints))
            .collect();
        Self {
            hedges: Hedges::new(upstreams.len()),
            upstreams,
            connections: SlotMap::with_key(),
            exchanges: ExchangeTable::new(config.budget, KeyHasher::new(key)),
            actions: VecDeque::new(),
            transmits: VecDeque::new(),
            events: Events::default(),
            replies: Replies::default(),
            rng,
            scratch: Vec::new(),
        }
    }

    /// Takes a question. Exactly one reply for `client` follows, at once or later.
    pub fn submit(&mut self, request: Request, client: C, now: Moment) {
        match self.exchanges.join(request.asker, client, now) {
            Joined::Began(id) => {
                self.hedges.handle_question();
                self.send_or_fail(id, Among::Any, now);
            }
            Joined::Waits => {}
            Joined::Full(asker, client) => {
                let told = Failure::Overloaded.told();
                let (replies, scratch) = (&mut self.replies, &mut self.scratch);
                write_error(&asker, told.rcode, Some(told.error), scratch);
                replies.push(client, scratch);
            }
        }
    }

    /// The connection the shell was told to open is open, encrypted, and its other end proven.
    pub fn handle_connected(&mut self, id: ConnectionId, now: Moment) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.handle_ready(now);
        let upstream = connection.upstream;
        let endpoint = connection.endpoint;
        self.list_for_transmit(id);
        self.events.push(Event::ConnectionReady {
            connection: id,
            upstream,
            endpoint,
        });
        if let Some(state) = self.upstreams.get_mut(upstream.0) {
            state.handle_dialed();
            state.health.handle_connected();
        }
    }

    /// The connection ended, or could not be opened. Its ID means nothing from then on.
    pub fn handle_closed(&mut self, id: ConnectionId, reason: CloseReason, now: Moment) {
        let Some(connection) = self.connections.remove(id) else {
            return;
        };
        let upstream = connection.upstream;
        let was_ready = connection.is_ready();
        let answered = connection.answered;
        let endpoint = connection.endpoint;
        let owners = connection.into_owners();
        self.events.push(Event::ConnectionClosed {
            connection: id,
            upstream,
            endpoint,
            reason,
            answered,
            unanswered: owners.len(),
        });
        let failed_dial = (!was_ready).then_some(endpoint);
        if self.forget(id, upstream, failed_dial) {
            self.handle_upstream_failure(upstream, reason, now);
        }
        if was_ready && answered == 0 && !owners.is_empty() {
            self.handle_upstream_silence(upstream, now);
        }
        for owner in owners {
            self.move_exchange(owner, id, was_ready, reason, now);
        }
    }

    /// Time has passed. Call it when [`Engine::poll_timeout`] says so; earlier does no harm.
    pub fn handle_timeout(&mut self, now: Moment) {
        // Deadlines first: who cannot be helped any more is not asked for again, as after a sleep of the machine.
        while let Some((id, waiters)) = self.exchanges.take_expired(now) {
            self.expire(id, waiters);
        }
        self.fire_hedges(now);
        let expired: Vec<(ConnectionId, CloseReason)> = self
            .connections
            .iter()
            .filter_map(|(id, connection)| Some((id, connection.expired(now)?)))
            .collect();
        for (id, reason) in expired {
            self.close(id, reason, now);
        }
    }

    /// The next thing to do to a connection.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next connection with something to write; each is given once, and again when more has come. A connection that
    /// could not take everything has to be asked through [`Engine::outbound`] when it can take more.
    pub fn poll_transmit(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.transmits.pop_front()?;
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            connection.listed = false;
            if !connection.outbound().is_empty() {
                return Some(id);
            }
        }
    }

    /// What the connection has to write: framed queries, to be written together.
    #[must_use]
    pub fn outbound(&self, id: ConnectionId) -> &[u8] {
        self.connections.get(id).map_or(&[], Connection::outbound)
    }

    /// The first `octets` of [`Engine::outbound`] were taken.
    pub fn handle_transmitted(&mut self, id: ConnectionId, octets: usize) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.handle_transmitted(octets);
        }
    }

    /// Moves the replies into `replies`, which should be empty: its memory is used for the next ones.
    pub fn take_replies(&mut self, replies: &mut Replies<C>) {
        replies.clear();
        core::mem::swap(&mut self.replies, replies);
    }

    /// The next thing worth counting or logging.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// When [`Engine::handle_timeout`] should be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let connections = self
            .connections
            .values()
            .filter_map(Connection::poll_timeout);
        connections
            .chain(self.exchanges.poll_timeout())
            .chain(self.hedges.poll_timeout())
            .min()
    }

    /// Clients who wait for a reply.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.exchanges.waiters()
    }

    /// How much the engine holds at the moment.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            connections: self.connections.len(),
            exchanges: self.exchanges.len(),
            deadlines: self.exchanges.deadlines(),
            watches: self.hedges.len(),
        }
    }

    /// How an upstream is doing.
    #[must_use]
    pub fn health(&self, upstream: UpstreamId) -> Option<HealthState> {
        self.upstreams
            .get(upstream.0)
            .map(|upstream| upstream.health.state())
    }

    /// The addresses of an upstream became known or changed. Connections to the old ones are kept while they work.
    pub fn set_endpoints(&mut self, upstream: UpstreamId, endpoints: Vec<SocketAddr>) {
        if let Some(upstream) = self.upstreams.get_mut(upstream.0) {
            upstream.set_endpoints(endpoints);
        }
    }

    fn list_for_transmit(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.listed
            && !connection.outbound().is_empty()
        {
            connection.listed = true;
            self.transmits.push_back(id);
        }
    }

    /// Closes a connection for a reason of ours.
    fn close(&mut self, id: ConnectionId, reason: CloseReason, now: Moment) {
        if self.connections.contains_key(id) {
            self.actions.push_back(Action::Close { connection: id });
            self.handle_closed(id, reason, now);
        }
    }

    /// Takes a connection out of its upstream's list. `true` when all endpoints of the upstream have failed in a row.
    fn forget(
        &mut self,
        id: ConnectionId,
        upstream: UpstreamId,
        failed_dial: Option<SocketAddr>,
    ) -> bool {
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return false;
        };
        state.connections.retain(|connection| *connection != id);
        failed_dial.is_some_and(|endpoint| state.handle_dial_failed(endpoint))
    }

    /// Clients whose time has passed get the failure; an exchange nobody waits for ends.
    fn expire(&mut self, id: ExchangeId, waiters: impl IntoIterator<Item = Waiter<C>>) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let failure = match exchange.lost_to {
            _ if exchange.disputed => Failure::InvalidResponse,
            Some(reason) if exchange.attempts.is_empty() => Failure::Unreachable(reason),
            Some(_) | None => Failure::TimedOut,
        };
        let abandoned = exchange.waiters.is_empty();
        let held = exchange.take_held();
        for waiter in waiters {
            self.reply_held_or(waiter, held.as_deref(), failure.told());
        }
        if abandoned && let Some(exchange) = self.exchanges.remove(id) {
            self.abandon(&exchange.attempts);
        } else if let (Some(held), Some(exchange)) = (held, self.exchanges.get_mut(id)) {
            exchange.hold_octets(held);
        }
    }

    fn reply_error(&mut self, waiter: Waiter<C>, told: Told) {
        let (replies, scratch) = (&mut self.replies, &mut self.scratch);
        write_error(&waiter.asker, told.rcode, Some(told.error), scratch);
        replies.push(waiter.client, scratch);
    }

    fn handle_upstream_success(&mut self, upstream: UpstreamId) {
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        if state.health.handle_success() {
            self.events.push(Event::UpstreamUp { upstream });
        }
    }

    fn handle_upstream_failure(&mut self, upstream: UpstreamId, reason: CloseReason, now: Moment) {
        let jitter = self.jitter();
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        if state.health.handle_failure(reason, now, jitter) {
            self.events.push(Event::UpstreamDown { upstream, reason });
        }
    }

    fn handle_upstream_silence(&mut self, upstream: UpstreamId, now: Moment) {
        let jitter = self.jitter();
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        if state.health.handle_silence(now, jitter) {
            self.events.push(Event::UpstreamSuspect { upstream });
        }
    }

    /// A number from 0 to 1.
    fn jitter(&mut self) -> f32 {
        let [octet, ..] = self.rng.next_u32().to_le_bytes();
        f32::from(octet) / 255.0
    }
}

#[cfg(test)]
mod tests;
