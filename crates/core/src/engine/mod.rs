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
//! Deliberately absent: TLS, sockets, a clock; looking for an answer that is kept before asking, which the front does.

mod attempt;
mod bereaved;
mod choice;
mod conclude;
mod event;
mod fallback;
mod guard;
mod hedge;
mod judge;
mod lifecycle;
mod patience;
mod probe;
mod receive;
mod reconfigure;
mod replies;
mod shared;
mod status;
mod tell;
mod warm;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use slotmap::SlotMap;

use crate::cache::{Cache, Settled};
use crate::counts::{EngineCounts, UpstreamCounts};
use crate::exchange::{Asked, ExchangeId, ExchangeTable, Joined, KeyHasher, Request};
use crate::limits::{QUESTION_BUDGET, QUESTIONS_PER_TURN};
use crate::outcome::Failure;
use crate::policy::RebindingGuard;
use crate::shared::Shared;
use crate::time::Moment;
use crate::upstream::{
    CloseReason, Connection, ConnectionId, Group, GroupConfig, Strategy, Upstream, UpstreamConfig,
    UpstreamId,
};
use crate::wire::write_error;

pub use event::{Action, Event};
pub use reconfigure::{Reconfigured, TooManyGroups};
pub use replies::Replies;
pub use status::Load;

use attempt::Among;
use bereaved::Bereaved;
use event::Events;
use hedge::Hedges;
use judge::End;
use tell::Telling;

/// What an [`Engine`] works from.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The upstreams, the preferred ones first.
    pub upstreams: Vec<UpstreamConfig>,
    /// The groups they form; the first one is the default.
    pub groups: Vec<GroupConfig>,
    /// How long a question may take.
    pub budget: Duration,
    /// Where answers are kept, and the guard that they pass.
    pub cache: Arc<Cache>,
}

impl EngineConfig {
    /// These upstreams in one group, nothing kept, and defaults for the rest.
    #[must_use]
    pub fn new(upstreams: Vec<UpstreamConfig>, strategy: Strategy) -> Self {
        let members = (0..upstreams.len()).map(UpstreamId).collect();
        let groups = vec![GroupConfig {
            members,
            strategy,
            fallback: None,
            label: Box::default(),
        }];
        Self {
            upstreams,
            groups,
            budget: QUESTION_BUDGET,
            cache: Arc::new(Cache::off()),
        }
    }
}

/// Who waits for the response to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// Clients, by way of an exchange.
    Exchange(ExchangeId),
    /// We ourselves: does the upstream work?
    Probe(UpstreamId),
}

/// The far side. `C` is the shell's token for where a reply goes.
pub struct Engine<C> {
    upstreams: Vec<Upstream>,
    groups: Vec<Group>,
    connections: SlotMap<ConnectionId, Connection<Owner>>,
    exchanges: ExchangeTable<C>,
    hedges: Hedges,
    bereaved: Bereaved,
    tellings: VecDeque<Telling<C>>,
    actions: VecDeque<Action>,
    transmits: VecDeque<ConnectionId>,
    events: Events,
    replies: Replies<C>,
    counts: EngineCounts,
    rng: ChaCha12Rng,
    cache: Arc<Cache>,
    /// What answers have to pass; the same as the cache's.
    guard: Option<Arc<RebindingGuard>>,
    shared: Option<Box<Shared>>,
    /// A response being settled; kept to keep its memory.
    settled: Settled,
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
        let upstreams: Vec<Upstream> = config.upstreams.into_iter().map(Upstream::new).collect();
        Self {
            hedges: Hedges::new(upstreams.len()),
            groups: config
                .groups
                .into_iter()
                .map(|group| Group::new(group, upstreams.len()))
                .collect(),
            upstreams,
            connections: SlotMap::with_key(),
            exchanges: ExchangeTable::new(config.budget, KeyHasher::new(key)),
            bereaved: Bereaved::default(),
            tellings: VecDeque::new(),
            actions: VecDeque::new(),
            transmits: VecDeque::new(),
            events: Events::default(),
            replies: Replies::default(),
            counts: EngineCounts::default(),
            rng,
            guard: config.cache.guard(),
            cache: config.cache,
            shared: None,
            settled: Settled::default(),
            scratch: Vec::new(),
        }
    }

    /// Takes a question. Exactly one reply for `client` follows, at once or later.
    pub fn submit(&mut self, request: Request, client: C, now: Moment) {
        if request.stale && self.is_down(request.group) {
            let asked = Asked::new(&request.asker, request.group);
            let (cache, scratch) = (&self.cache, &mut self.scratch);
            if cache.answer_stale(&request.asker, request.group, now, scratch) {
                self.replies.push(client, &self.scratch);
                self.cache.note_unrefreshed(&asked, now);
                return self.refresh(asked, now);
            }
        }
        if request.signed.is_none() {
            let (cache, scratch) = (&self.cache, &mut self.scratch);
            if cache.answer_failure(&request.asker, request.group, now, scratch) {
                return self.replies.push(client, &self.scratch);
            }
        }
        if let Some(oldest) = self.exchanges.oldest_in_the_way(&request, now) {
            self.shed(oldest, now);
        }
        let kept_of = request.stale.then_some(request.group);
        match self.exchanges.join(request, client, now) {
            Joined::Began(id) => self.begin(id, now),
            Joined::Waits => self.cache.note_coalesced(),
            Joined::Full(asker, client) => {
                self.counts.overloaded += 1;
                let (cache, scratch) = (&self.cache, &mut self.scratch);
                let given = |group| cache.answer_stale(&asker, group, now, scratch);
                if !kept_of.is_some_and(given) {
                    let told = Failure::Overloaded.told();
                    write_error(&asker, told.rcode, Some(told.error), &mut self.scratch);
                }
                self.replies.push(client, &self.scratch);
            }
        }
    }

    /// Asks a question for the sake of the answer that is kept. Nobody gets a reply. Nothing happens when it is in flight already, or when
    /// there is hardly room for those who wait.
    pub fn refresh(&mut self, asked: Asked, now: Moment) {
        if let Some(id) = self.exchanges.begin(asked, now) {
            self.leave_behind_if_retired(id);
            self.send_or_fail(id, Among::Any, now);
        }
    }

    /// The connection the shell was told to open is open, encrypted, and its other end proven.
    pub fn handle_connected(&mut self, id: ConnectionId, now: Moment) {
        let jitter = self.jitter();
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.handle_ready(now, jitter);
        let upstream = connection.upstream;
        let endpoint = connection.endpoint;
        self.list_for_transmit(id);
        self.events.push(Event::ConnectionReady {
            connection: id,
            upstream,
            endpoint,
        });
        if let Some(state) = self.upstreams.get_mut(upstream.0) {
            state.counts.opened += 1;
            state.endpoints.handle_connected(endpoint, now);
            state.health.handle_connected(now);
        }
        self.settle_rivals(id, upstream, now);
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
        let datagram = connection.is_datagram();
        let idle = now.since(connection.idle_since());
        let began = connection.since();
        let age = now.since(began);
        let owners = connection.into_owners();
        if let Some(state) = self.upstreams.get_mut(upstream.0) {
            count_closed(
                &mut state.counts,
                reason,
                (datagram, was_ready),
                age,
                answered,
            );
            state.counts.lost.add(reason, owners.len() as u64);
        }
        if !datagram {
            self.events.push(Event::ConnectionClosed {
                connection: id,
                upstream,
                endpoint,
                reason,
                answered,
                unanswered: owners.len(),
            });
        }
        self.forget_connection(id, upstream, datagram);
        let end = End {
            upstream,
            endpoint,
            reason,
            datagram,
            was_ready,
            began,
            age,
            idle,
            answered,
            unanswered: owners.len(),
        };
        self.judge(&end, now);
        self.bereaved.extend(owners, id, was_ready, reason);
        self.move_bereaved(now);
        self.keep_warm(upstream, now);
    }

    /// Time has passed. Call it when [`Engine::poll_timeout`] says so; earlier does no harm. It does a bounded part of what is due
    /// ([`QUESTIONS_PER_TURN`]): others get their turn before it is called for the rest.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.tell_on(now);
        // Deadlines first: who cannot be helped any more is not asked for again, as after a sleep of the machine.
        let left = self.end_waits(QUESTIONS_PER_TURN, now);
        if left == 0 {
            return;
        }
        self.move_bereaved(now);
        self.fire_head_starts(now);
        self.fire_hedges(left, now);
        self.fire_connections(now);
        self.fire_probes(now);
        self.fire_warm(now);
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
        let warmth = self.upstreams.iter();
        connections
            .chain(warmth.filter_map(|state| state.warmth.poll_timeout()))
            .chain((!self.tellings.is_empty()).then_some(Moment::ZERO))
            .chain(self.bereaved.poll_timeout())
            .chain(self.exchanges.poll_timeout())
            .chain(self.hedges.poll_timeout())
            .chain(self.shared.as_ref().and_then(|it| it.poll_timeout()))
            .chain(self.poll_probes())
            .min()
    }

    /// Clients who wait for a reply.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.exchanges.waiters()
    }

    /// The addresses of an upstream became known or changed. Connections to addresses that are gone take no more questions.
    pub fn set_endpoints(&mut self, upstream: UpstreamId, endpoints: Vec<SocketAddr>, now: Moment) {
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        if !state.endpoints.replace(endpoints) {
            return;
        }
        self.leave_gone_endpoints(upstream, now);
        self.keep_warm(upstream, now);
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

    fn forget_connection(&mut self, id: ConnectionId, upstream: UpstreamId, datagram: bool) {
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        state.datagrams -= usize::from(datagram);
        state.connections.retain(|connection| *connection != id);
        state.probe.take_if(|probe| probe.connection == id);
    }

    /// A number from 0 to 1.
    fn jitter(&mut self) -> f32 {
        let [octet, ..] = self.rng.next_u32().to_le_bytes();
        f32::from(octet) / 255.0
    }
}

fn count_closed(
    counts: &mut UpstreamCounts,
    reason: CloseReason,
    (datagram, was_ready): (bool, bool),
    age: Duration,
    answered: u64,
) {
    if datagram {
        return;
    }
    counts.closed.add(reason, 1);
    if was_ready {
        counts.age.add_duration(age);
        counts.queries.add(answered, 1);
    }
}

#[cfg(test)]
mod tests;
