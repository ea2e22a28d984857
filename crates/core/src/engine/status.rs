//! What can be seen of the engine from outside: how upstreams and their addresses are doing, how much is held, and what was counted.
//!
//! Deliberately absent: every change.

use core::net::SocketAddr;

use super::Engine;
use crate::cache::CacheStats;
use crate::counts::EngineCounts;
use crate::time::Moment;
use crate::upstream::{
    Connection, ConnectionId, EndpointStatus, GroupId, HealthState, Upstream, UpstreamId,
    UpstreamStatus,
};

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

impl<C> Engine<C> {
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

    /// What was counted, but for what belongs to one upstream.
    #[must_use]
    pub fn counts(&self) -> EngineCounts {
        self.counts
    }

    /// What the cache has done so far.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// How many upstreams there are.
    #[must_use]
    pub fn upstreams(&self) -> usize {
        self.upstreams.len()
    }

    /// Who belongs to a group.
    #[must_use]
    pub fn members_of(&self, group: GroupId) -> &[UpstreamId] {
        self.groups.get(group.0).map_or(&[], |group| &group.members)
    }

    /// How an upstream is doing; `None` when there is no such upstream.
    #[must_use]
    pub fn status(&self, upstream: UpstreamId, now: Moment) -> Option<UpstreamStatus> {
        let state = self.upstreams.get(upstream.0)?;
        let connections = || {
            let ids = state.connections.iter();
            ids.filter_map(|id| self.connections.get(*id))
        };
        let ready = connections().filter(|it| it.is_ready()).count();
        let opening = state.connections.len().saturating_sub(ready);
        let suspect = state.health.state() == HealthState::Suspect;
        let silent = suspect.then(|| state.why_silent());
        Some(UpstreamStatus {
            state: shown_state(state, opening),
            since: state.health.since(),
            reason: state.health.reason().or(silent),
            next_try: state.health.probe_due(self.is_missed(upstream)),
            ready,
            opening,
            in_flight: connections().map(Connection::load).sum(),
            rtt: state.rtt.estimate(now),
            idle_limit: state.idle.learned(),
            heard: state.heard,
            probed: state.probe.map(|probe| probe.sent),
            counts: state.counts,
            edns: state.opt.is_on(now),
        })
    }

    /// How the addresses of an upstream are doing, in the order of the configuration.
    pub fn endpoint_statuses(&self, upstream: UpstreamId) -> impl Iterator<Item = EndpointStatus> {
        let states = self.upstreams.get(upstream.0).into_iter();
        states.flat_map(|state| {
            let statuses = state.endpoints.statuses();
            statuses.map(|status| self.with_connections(status, &state.connections))
        })
    }

    fn with_connections(&self, status: EndpointStatus, ids: &[ConnectionId]) -> EndpointStatus {
        let connections = ids.iter().filter_map(|id| self.connections.get(*id));
        let (ready, opening): (Vec<_>, Vec<_>) = connections
            .filter(|it| it.endpoint == status.address)
            .partition(|it| it.is_ready());
        EndpointStatus {
            ready: ready.len(),
            opening: opening.len(),
            ..status
        }
    }

    /// The addresses of an upstream, as far as they are known.
    pub fn endpoints(&self, upstream: UpstreamId) -> impl Iterator<Item = SocketAddr> {
        let upstream = self.upstreams.get(upstream.0).into_iter();
        upstream.flat_map(|upstream| upstream.endpoints.addresses())
    }
}

/// An upstream that is not up and to which a probe or a connection is under way is being tried.
fn shown_state(upstream: &Upstream, opening: usize) -> HealthState {
    match upstream.health.state() {
        HealthState::Up => HealthState::Up,
        HealthState::Suspect | HealthState::Down | HealthState::Probing
            if upstream.probe.is_some() || opening > 0 =>
        {
            HealthState::Probing
        }
        other @ (HealthState::Suspect | HealthState::Down | HealthState::Probing) => other,
    }
}
