//! Connections from their opening to their end, apart from the questions on them: which address is dialed, when a second one beside
//! it, who takes over from an old connection, and what is learned from an idle one.

use core::net::SocketAddr;
use core::time::Duration;

use smallvec::SmallVec;

use super::event::{Action, Event};
use super::warm::is_restless;
use super::{Engine, Owner};
use crate::limits::{
    CONNECTIONS_PER_UPSTREAM_MAX, DATAGRAMS_PER_UPSTREAM_MAX, DIAL_BESIDE_AFTER, DIAL_TIMEOUT,
    DRAINING_PER_UPSTREAM_MAX, GROWTH_PAUSE, IDLE_RTT_FACTOR,
};
use crate::time::Moment;
use crate::upstream::{CloseReason, Connection, ConnectionId, Due, Protocol, UpstreamId, Warmth};

impl<C> Engine<C> {
    /// Opens a stream, unless there are enough, or enough are being opened already: a third dial is begun only when the latest has
    /// taken long, so that the bound is not used up at once by dials that hang. The address is one to which none is being opened
    /// yet, if there is one.
    pub(super) fn open(&mut self, upstream: UpstreamId, now: Moment) -> Option<ConnectionId> {
        self.may_dial(upstream, now)?;
        self.make_room(upstream, now);
        // Questions that moved because of that may have opened what was missing.
        let busy = self.may_dial(upstream, now)?;
        let state = self.upstreams.get_mut(upstream.0)?;
        let endpoint = state.endpoints.next(&busy, now)?;
        // What an upstream for datagrams has to say at length, it says over TCP (RFC 7766 section 5).
        let protocol = match state.protocol {
            Protocol::Tls => Protocol::Tls,
            Protocol::Tcp | Protocol::Udp => Protocol::Tcp,
        };
        let mut connection = Connection::new(upstream, endpoint, protocol, now);
        connection.idle_after = state.retire_after();
        let connection = self.connections.insert(connection);
        state.connections.push(connection);
        self.actions.push_back(Action::Open {
            connection,
            upstream,
            endpoint,
            protocol,
        });
        self.events.push(Event::ConnectionOpening {
            connection,
            upstream,
            endpoint,
        });
        Some(connection)
    }

    /// Where connections are being opened to, when one more may be.
    fn may_dial(&self, upstream: UpstreamId, now: Moment) -> Option<SmallVec<[SocketAddr; 4]>> {
        let state = self.upstreams.get(upstream.0)?;
        let busy = opening_endpoints(&self.connections, &state.connections);
        let dials = state
            .connections
            .iter()
            .filter_map(|id| self.connections.get(*id)?.dialing_since());
        let latest = dials.max().unwrap_or_default();
        let patient = busy.len() > 1 && now.since(latest) < DIAL_BESIDE_AFTER;
        (!self.is_full(upstream) && !patient).then_some(busy)
    }

    /// Whether an upstream has as many connections as it may. Those that drain do not count: what they wait for may never come, and
    /// their successors cannot wait for that.
    pub(super) fn is_full(&self, upstream: UpstreamId) -> bool {
        let Some(state) = self.upstreams.get(upstream.0) else {
            return true;
        };
        let serving = |id: &&ConnectionId| {
            self.connections
                .get(**id)
                .is_some_and(|connection| !connection.is_draining())
        };
        state.connections.iter().filter(serving).count() >= CONNECTIONS_PER_UPSTREAM_MAX
    }

    /// Ends the oldest connections that drain when there are more than may drain at a time; their questions move.
    fn make_room(&mut self, upstream: UpstreamId, now: Moment) {
        let Some(state) = self.upstreams.get(upstream.0) else {
            return;
        };
        let draining = |id: &ConnectionId| {
            self.connections
                .get(*id)
                .is_some_and(Connection::is_draining)
        };
        let draining = state.connections.iter().copied().filter(draining);
        let draining: SmallVec<[ConnectionId; 8]> = draining.collect();
        let more = draining.len().saturating_sub(DRAINING_PER_UPSTREAM_MAX);
        for oldest in draining.into_iter().take(more) {
            self.close(oldest, CloseReason::Aged, now);
        }
    }

    /// Opens a socket for one datagram, unless there are too many.
    pub(super) fn open_datagram(
        &mut self,
        upstream: UpstreamId,
        now: Moment,
    ) -> Option<ConnectionId> {
        let state = self.upstreams.get_mut(upstream.0)?;
        if state.datagrams >= DATAGRAMS_PER_UPSTREAM_MAX {
            return None;
        }
        let endpoint = state.endpoints.next(&[], now)?;
        let protocol = Protocol::Udp;
        state.datagrams += 1;
        let connection = self
            .connections
            .insert(Connection::new(upstream, endpoint, protocol, now));
        self.actions.push_back(Action::Open {
            connection,
            upstream,
            endpoint,
            protocol,
        });
        Some(connection)
    }

    /// The connection is ready: slower dials beside it are pointless, and those it succeeds drain.
    pub(super) fn settle_rivals(&mut self, id: ConnectionId, upstream: UpstreamId, now: Moment) {
        let Some(state) = self.upstreams.get(upstream.0) else {
            return;
        };
        let rivals: SmallVec<[ConnectionId; 4]> = state
            .connections
            .iter()
            .copied()
            .filter(|rival| *rival != id)
            .collect();
        for rival in rivals {
            let Some(connection) = self.connections.get_mut(rival) else {
                continue;
            };
            if connection.is_overtaken() {
                let (slow, began) = (connection.endpoint, connection.since());
                let endpoints = &mut self.upstreams[upstream.0].endpoints;
                endpoints.handle_overtaken(slow, began, now);
                self.close(rival, CloseReason::Superseded, now);
            } else if connection.is_ready() && !connection.is_lasting() {
                connection.drain();
            }
        }
    }

    /// Does what time asks of the connections.
    pub(super) fn fire_connections(&mut self, now: Moment) {
        let dues: SmallVec<[(ConnectionId, Due); 8]> = self
            .connections
            .iter()
            .filter_map(|(id, connection)| Some((id, connection.due(now)?)))
            .collect();
        for (id, due) in dues {
            // What was done for another one may have changed it.
            if self
                .connections
                .get(id)
                .and_then(|connection| connection.due(now))
                != Some(due)
            {
                continue;
            }
            match due {
                Due::Overtake => self.overtake(id, now),
                Due::Succeed => self.succeed(id, now),
                Due::Doubt => self.doubt(id, now),
                Due::Leave => self.leave(id),
                Due::Close(CloseReason::Idle) => self.retire(id, now),
                Due::Close(reason) => self.close(id, reason, now),
            }
        }
    }

    /// A question has waited on it, and nothing has come: that may be the upstream's doing.
    fn doubt(&mut self, id: ConnectionId, now: Moment) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.set_doubted();
        let (upstream, datagram) = (connection.upstream, connection.is_datagram());
        // Where others were answered meanwhile it is the name that is slow, the connection that is lost, or one address that is mute.
        let since = connection.since();
        let asked = connection.silent_since().unwrap_or(since);
        let heard = self.upstreams.get(upstream.0).and_then(|it| it.heard);
        let alive = heard.is_some_and(|heard| heard > asked);
        if !alive && !self.is_aside(upstream, datagram) {
            self.handle_upstream_silence(upstream, now);
        }
    }

    /// A dial is slow: a second address, of the other family if there is one, is tried beside it (RFC 8305).
    fn overtake(&mut self, id: ConnectionId, now: Moment) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.set_overtaken();
        let upstream = connection.upstream;
        let Some(state) = self.upstreams.get(upstream.0) else {
            return;
        };
        let busy = opening_endpoints(&self.connections, &state.connections);
        if state.endpoints.has_other_than(&busy)
            && let Some(beside) = self.open(upstream, now)
            && let Some(connection) = self.connections.get_mut(beside)
        {
            // Its own head start would bring a third; two are enough for one impatience.
            connection.set_overtaken();
        }
    }

    /// A connection is old: its successor is opened before it goes, so that nobody waits for the change. One that does not come to be is tried
    /// again after [`GROWTH_PAUSE`], as long as the connection is in use.
    fn succeed(&mut self, id: ConnectionId, now: Moment) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let (upstream, idle) = (connection.upstream, connection.load() == 0);
        connection.set_aged(now + GROWTH_PAUSE);
        let keep_warm = self
            .upstreams
            .get(upstream.0)
            .map_or(0, |state| state.keep_warm);
        if idle && keep_warm == 0 {
            return self.close(id, CloseReason::Aged, now);
        }
        if self.open(upstream, now).is_none()
            && self.is_full(upstream)
            && self.has_other(id, upstream)
        {
            // There are enough others to take over.
            self.leave(id);
        }
    }

    /// Whether an upstream has another connection that can be used, and is not only being opened.
    fn has_other(&self, id: ConnectionId, upstream: UpstreamId) -> bool {
        let state = self.upstreams.get(upstream.0);
        let mut others = state.into_iter().flat_map(|state| &state.connections);
        others.any(|other| {
            let works = |it: &Connection<Owner>| it.works() && it.is_usable();
            *other != id && self.connections.get(*other).is_some_and(works)
        })
    }

    /// What the connection was opened with holds no longer: its certificate has expired or is not trusted any more. A successor is
    /// opened first, so that nobody waits for the change; the connection goes when that is ready, and after
    /// [`DIAL_TIMEOUT`] in any case. One that is still being opened is left alone: whoever opens it examines it at the end. So is a socket of
    /// one datagram, which ends with its answer.
    pub fn renew(&mut self, id: ConnectionId, now: Moment) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if !connection.is_ready() || connection.is_datagram() {
            return;
        }
        connection.set_distrusted(now + DIAL_TIMEOUT);
        let upstream = connection.upstream;
        let Some(state) = self.upstreams.get(upstream.0) else {
            return;
        };
        // One successor is enough for all that go at the same time: it makes them drain, and the load decides about more.
        let busy = opening_endpoints(&self.connections, &state.connections);
        if busy.is_empty() && self.open(upstream, now).is_none() {
            self.leave(id);
        }
    }

    /// What every connection of an upstream was opened with holds no longer: it is connected to from elsewhere, or shown another
    /// certificate of ours. Those that are ready are renewed. Those being opened end at once, since nobody would look at them again, and
    /// what waits for them goes into new ones.
    pub fn renew_all(&mut self, upstream: UpstreamId, now: Moment) {
        let Some(state) = self.upstreams.get(upstream.0) else {
            return;
        };
        let before = state.connections.clone();
        for id in &before {
            let opening = |connection: &Connection<Owner>| !connection.is_ready();
            if self.connections.get(*id).is_some_and(opening) {
                self.close(*id, CloseReason::Superseded, now);
            }
        }
        for id in before {
            self.renew(id, now);
        }
    }

    fn leave(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.drain();
        }
    }

    /// A connection was idle for as long as the upstream is known to bear.
    fn retire(&mut self, id: ConnectionId, now: Moment) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let upstream = connection.upstream;
        let lasting = connection.is_lasting();
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        state.idle.handle_retired();
        if lasting && state.connections.len() <= state.keep_warm && !is_restless(state) {
            self.succeed(id, now);
        } else {
            self.close(id, CloseReason::Idle, now);
        }
    }

    /// The upstream ended an idle connection: that may be its limit.
    pub(super) fn learn_idle_limit(&mut self, upstream: UpstreamId, idle: Duration, now: Moment) {
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        if idle >= state.rtt.estimate(now) * IDLE_RTT_FACTOR {
            state.idle.handle_closed(idle);
            self.apply_idle_limit(upstream);
        }
    }

    /// The upstream announced its idle limit; zero asks to be left (RFC 7828 section 3.2.2).
    pub(super) fn handle_keepalive(
        &mut self,
        id: ConnectionId,
        upstream: UpstreamId,
        limit: Duration,
    ) {
        if limit.is_zero() {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.drain();
            }
            return;
        }
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        state.idle.handle_announced(limit);
        self.apply_idle_limit(upstream);
    }

    pub(super) fn apply_idle_limit(&mut self, upstream: UpstreamId) {
        let Some(state) = self.upstreams.get(upstream.0) else {
            return;
        };
        let idle_after = state.retire_after();
        for id in &state.connections {
            if let Some(connection) = self.connections.get_mut(*id) {
                connection.idle_after = idle_after;
            }
        }
    }

    /// The network changed, or the machine slept: what stood before may look alive and not be. Every connection is left, every
    /// pause and every kept failure forgotten, and who was in use is probed at once.
    pub fn handle_network_change(&mut self, now: Moment) {
        let mut used: SmallVec<[UpstreamId; 8]> = SmallVec::new();
        for (place, state) in self.upstreams.iter_mut().enumerate() {
            let in_use = !state.connections.is_empty() || !state.health.is_up();
            if in_use && state.retired.is_none() {
                used.push(UpstreamId(place));
            }
            state.endpoints.forget(now);
            state.health.forget(now);
            state.opt.forget();
            state.warmth = Warmth::default();
            state.probe = None;
        }
        let all: Vec<ConnectionId> = self.connections.keys().collect();
        for id in &all {
            // First of all none may be chosen, so that no question moves from one lost connection to the next.
            if let Some(connection) = self.connections.get_mut(*id) {
                connection.lose();
            }
        }
        for id in all {
            self.close(id, CloseReason::NetworkChanged, now);
        }
        self.forget_failures(None, now);
        for upstream in used {
            self.probe(upstream, now);
        }
    }
}

/// The addresses to which connections are being opened.
fn opening_endpoints(
    connections: &slotmap::SlotMap<ConnectionId, Connection<Owner>>,
    ids: &[ConnectionId],
) -> SmallVec<[SocketAddr; 4]> {
    let opening = |id: &ConnectionId| {
        connections
            .get(*id)
            .filter(|connection| !connection.is_ready())
            .map(|c| c.endpoint)
    };
    ids.iter().filter_map(opening).collect()
}
