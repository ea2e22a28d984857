//! What the end of a connection, and what comes or does not come on one, says about its upstream.
//!
//! Deliberately absent: what becomes of the questions that waited (see [`attempt`](super::attempt)).

use core::net::SocketAddr;
use core::time::Duration;

use super::Engine;
use super::event::Event;
use crate::limits::{GROWTH_PAUSE, KEEP_WARM_IDLE_MIN};
use crate::time::Moment;
use crate::upstream::{Back, CloseReason, Connection, ConnectionId, Protocol, UpstreamId};

/// How a connection ended.
pub(super) struct End {
    pub(super) upstream: UpstreamId,
    pub(super) endpoint: SocketAddr,
    pub(super) reason: CloseReason,
    pub(super) datagram: bool,
    /// Whether it was open.
    pub(super) was_ready: bool,
    /// Since when it was open, or being opened.
    pub(super) began: Moment,
    /// How long that is.
    pub(super) age: Duration,
    /// How long it had been of no use to anybody.
    pub(super) idle: Duration,
    /// Responses that came on it.
    pub(super) answered: u64,
    /// Queries that still waited.
    pub(super) unanswered: usize,
}

impl End {
    /// Whether nothing was reached. ICMP tells of a datagram what a dial tells of a stream.
    fn is_unreached(&self) -> bool {
        let icmp = matches!(self.reason, CloseReason::Refused | CloseReason::Unreachable);
        self.reason.is_failure() && (!self.was_ready || (self.datagram && icmp))
    }

    /// Whether it was opened in vain, and the next one is likely to be as well.
    fn is_vain(&self) -> bool {
        let brief = !self.was_ready || self.age < KEEP_WARM_IDLE_MIN;
        !self.datagram && self.answered == 0 && brief && self.reason.speaks_against_dialing()
    }

    /// Whether the upstream, and not we or the network, ended it because nobody asked anything.
    fn is_idle(&self) -> bool {
        let peers = matches!(self.reason, CloseReason::Ended | CloseReason::Reset);
        self.was_ready && self.unanswered == 0 && self.answered > 0 && peers
    }

    /// Whether it was open, asked, and good for nothing. Not so when a datagram was written by somebody else.
    fn is_silent(&self) -> bool {
        let asked = self.was_ready && self.answered == 0 && self.unanswered > 0;
        let forged = self.datagram && self.reason == CloseReason::Misbehaved;
        asked && self.reason.is_failure() && !forged
    }
}

impl<C> Engine<C> {
    /// A connection has ended.
    pub(super) fn judge(&mut self, end: &End, now: Moment) {
        let upstream = end.upstream;
        let state = self.upstreams.get_mut(upstream.0);
        if let Some(state) = state.filter(|state| state.keep_warm > 0) {
            if end.is_vain() {
                self.handle_opened_in_vain(upstream, now);
            } else if end.answered > 0 {
                state.warmth.handle_served();
            }
        }
        let aside = self.is_aside(upstream, end.datagram);
        if end.reason == CloseReason::NoResources || (aside && end.is_unreached()) {
            self.pause_growth(upstream, now);
        } else if end.is_unreached() {
            self.handle_dial_failed(end, now);
        } else if end.is_idle() {
            self.learn_idle_limit(upstream, end.idle, now);
        } else if end.is_silent() && !aside {
            if let Some(state) = self.upstreams.get_mut(upstream.0) {
                state.health.note_outage();
            }
            self.judge_silent(end, now);
            self.handle_upstream_silence(upstream, now);
        }
    }

    /// Whether a connection, or one `datagram`, is a stream to an upstream for datagrams: what it cannot do says nothing about those.
    pub(super) fn is_aside(&self, upstream: UpstreamId, datagram: bool) -> bool {
        let state = self.upstreams.get(upstream.0);
        !datagram && state.is_some_and(|state| state.protocol == Protocol::Udp)
    }

    fn handle_dial_failed(&mut self, end: &End, now: Moment) {
        let (upstream, reason) = (end.upstream, end.reason);
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        let works = |id: &ConnectionId| self.connections.get(*id).is_some_and(Connection::works);
        let all_failed = state
            .endpoints
            .handle_failed(end.endpoint, reason, end.began, now);
        if state.connections.iter().any(works) {
            // Many upstreams bound the connections of a client: no more is wrong than that there are enough.
            self.pause_growth(upstream, now);
        } else if all_failed {
            self.handle_upstream_failure(upstream, reason, now);
        }
    }

    /// Nothing came on a connection for a query sent at `asked`: who asks next is asked at another address, if there is one. Not so when
    /// something came from this address meanwhile, and it is the name that is slow, or the datagram that is lost.
    pub(super) fn note_mute(&mut self, id: ConnectionId, asked: Moment, now: Moment) {
        let Some(connection) = self.connections.get(id).filter(|it| it.is_ready()) else {
            return;
        };
        let (upstream, endpoint) = (connection.upstream, connection.endpoint);
        let datagram = connection.is_datagram();
        if !self.is_aside(upstream, datagram) && !self.answers(upstream, endpoint, Some(asked)) {
            let state = &mut self.upstreams[upstream.0];
            let reason = CloseReason::Silent;
            state.endpoints.handle_mute(endpoint, reason, asked, now);
        }
    }

    /// A connection ended without a response. Many upstreams bound the connections of a client: where another one to the same address
    /// works, that is all it says.
    fn judge_silent(&mut self, end: &End, now: Moment) {
        let asked = end.datagram.then_some(end.began);
        if !self.answers(end.upstream, end.endpoint, asked) {
            let state = &mut self.upstreams[end.upstream.0];
            let (endpoint, reason, began) = (end.endpoint, end.reason, end.began);
            state.endpoints.handle_mute(endpoint, reason, began, now);
        }
    }

    /// Whether an address of an upstream responds on some connection, and has since `asked`.
    fn answers(&self, upstream: UpstreamId, endpoint: SocketAddr, asked: Option<Moment>) -> bool {
        let state = &self.upstreams[upstream.0];
        // A socket of one datagram is gone with its answer.
        if state.protocol == Protocol::Udp {
            return asked.is_some_and(|asked| state.heard.is_some_and(|heard| heard > asked));
        }
        let mut connections = state
            .connections
            .iter()
            .filter_map(|id| self.connections.get(*id));
        connections.any(|it| {
            let since = asked.is_none_or(|asked| it.heard_since(asked));
            it.endpoint == endpoint && it.works() && it.answered > 0 && since
        })
    }

    /// No connection is opened beside one that works for a while.
    fn pause_growth(&mut self, upstream: UpstreamId, now: Moment) {
        if let Some(state) = self.upstreams.get_mut(upstream.0) {
            state.grow_after = now + GROWTH_PAUSE;
        }
    }

    pub(super) fn handle_upstream_success(&mut self, upstream: UpstreamId, now: Moment) {
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        state.heard = Some(now);
        let back = state.health.handle_success(now);
        if back == Back::Never {
            return;
        }
        self.events.push(Event::UpstreamUp { upstream });
        if back == Back::FromOutage {
            self.forget_failures(Some(upstream), now);
        }
        self.keep_warm(upstream, now);
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

    pub(super) fn handle_upstream_silence(&mut self, upstream: UpstreamId, now: Moment) {
        let jitter = self.jitter();
        let Some(state) = self.upstreams.get_mut(upstream.0) else {
            return;
        };
        if state.health.handle_silence(now, jitter) {
            let reason = state.why_silent();
            self.events
                .push(Event::UpstreamSuspect { upstream, reason });
        }
    }
}
