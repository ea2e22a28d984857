//! Upstreams: the resolvers the operator trusts, their connections, and how they are doing.
//!
//! Everything here is bookkeeping about one upstream or one connection; which upstream gets a question is decided by the
//! [`engine`](crate::engine). Ruled by RFC 7858 section 3, RFC 7766 section 6.2, RFC 9520 section 3.
//!
//! Deliberately absent: TLS, dialing, names of certificates (the shell's).

mod close;
mod connection;
mod endpoints;
mod health;
mod idle;
mod in_flight;
mod opt_use;
mod rtt;
mod select;
mod warmth;

use core::net::SocketAddr;
use core::time::Duration;

use slotmap::new_key_type;
use smallvec::SmallVec;

use crate::counts::UpstreamCounts;
use crate::limits::{
    CONNECTIONS_PER_UPSTREAM_MAX, KEEP_WARM_MAX, PROBE_TIMEOUT, QUERY_PADDING_BLOCK,
    QUERY_PADDING_BLOCK_MAX,
};
use crate::time::Moment;

pub use close::{CloseReason, TlsFault};
pub(crate) use connection::{Accepted, Connection, Due};
pub use endpoints::EndpointStatus;
pub(crate) use endpoints::Endpoints;
pub use health::HealthState;
pub(crate) use health::{Back, Health, Standing};
pub(crate) use idle::IdleLimit;
pub(crate) use opt_use::{OptUse, refuses_edns};
pub(crate) use rtt::Rtt;
pub use select::Strategy;
pub(crate) use select::{Candidate, Selector};
pub(crate) use warmth::Warmth;

new_key_type! {
    /// Names one connection for as long as the process lives: an ID is never given to a second one.
    pub struct ConnectionId;
}

/// Names an upstream for as long as it is asked: at first its place in the configuration. When another configuration takes its place, who
/// stays keeps the name ([`Engine::reconfigure`](crate::engine::Engine::reconfigure)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId(pub usize);

/// Names a group of upstreams, in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub usize);

impl GroupId {
    /// The group that is asked unless a route says otherwise.
    pub const DEFAULT: Self = Self(0);
}

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// DNS over TLS: authenticated, and nobody reads along.
    #[default]
    Tls,
    /// Clear text over TCP; only for routes inside a network one trusts.
    Tcp,
    /// Clear text over UDP, and over TCP when a response is truncated or somebody seems to forge.
    Udp,
}

/// One upstream as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// For people.
    pub name: String,
    /// What says who it is, in whatever form: an upstream of another configuration is the same one when name, protocol and this are the
    /// same.
    pub identity: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Addresses of the same provider, in order of preference; empty until found by name.
    pub endpoints: Vec<SocketAddr>,
    /// Upstreams of a higher tier are asked only while none of a lower one is well.
    pub tier: u8,
    /// Share of its tier's questions relative to the others; 0 counts as 1.
    pub weight: u32,
    /// Connections kept open though nobody asks; at most [`KEEP_WARM_MAX`].
    pub keep_warm: usize,
    /// Whether queries carry an OPT record (RFC 6891); without one there is no padding either.
    pub edns: bool,
    /// Octets to whose multiple encrypted queries are padded (RFC 8467 section 4.1), at most [`QUERY_PADDING_BLOCK_MAX`]; 0 for no padding.
    /// Clear-text ones never are.
    pub padding: usize,
}

impl UpstreamConfig {
    /// An upstream of the first tier and weight 1.
    #[must_use]
    pub fn new(name: impl Into<String>, endpoints: Vec<SocketAddr>) -> Self {
        Self {
            name: name.into(),
            identity: String::new(),
            protocol: Protocol::Tls,
            endpoints,
            tier: 0,
            weight: 1,
            keep_warm: 0,
            edns: true,
            padding: QUERY_PADDING_BLOCK,
        }
    }
}

/// Upstreams that may stand in for each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupConfig {
    /// Who belongs to it, the preferred ones first.
    pub members: Vec<UpstreamId>,
    /// How questions are shared among them.
    pub strategy: Strategy,
    /// The group that is asked when nobody of this one can answer; its own fallback is not followed. `None` keeps the
    /// questions of a private zone from everybody else: they fail.
    pub fallback: Option<GroupId>,
    /// What it is called outside of this process: a group of another configuration is the same one when this is the same. Empty for the
    /// default group.
    pub label: Box<[u8]>,
}

/// A group at work.
pub(crate) struct Group {
    pub(crate) members: Vec<UpstreamId>,
    pub(crate) selector: Selector,
    pub(crate) fallback: Option<GroupId>,
    pub(crate) label: Box<[u8]>,
    /// Since when it is part of no configuration. Who was given to it before is still served.
    pub(crate) retired: Option<Moment>,
}

impl Group {
    /// `upstreams` is the number of all there are.
    pub(crate) fn new(config: GroupConfig, upstreams: usize) -> Self {
        let mut members = config.members;
        members.retain(|member| member.0 < upstreams);
        Self {
            members,
            selector: Selector::new(config.strategy, upstreams),
            fallback: config.fallback,
            label: config.label,
            retired: None,
        }
    }

    /// Takes another configuration of the same group, whose members are those of `config`.
    pub(crate) fn adopt(&mut self, config: GroupConfig, upstreams: usize) {
        let Self {
            members,
            selector,
            fallback,
            label: _,
            retired,
        } = self;
        if selector.strategy() == config.strategy {
            selector.grow(upstreams);
        } else {
            *selector = Selector::new(config.strategy, upstreams);
        }
        *members = config.members;
        *fallback = config.fallback;
        *retired = None;
    }
}

/// How an upstream is doing, for people and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamStatus {
    /// Its state.
    pub state: HealthState,
    /// Since when; the engine's epoch when it never changed.
    pub since: Moment,
    /// Why it is not up: why no connection can be made, or [`CloseReason::Silent`] when one can and nothing comes back. `None`
    /// while up.
    pub reason: Option<CloseReason>,
    /// When it is tried again at the latest, by a probe if no question does before; `None` while up.
    pub next_try: Option<Moment>,
    /// Connections that can be used.
    pub ready: usize,
    /// Connections being opened.
    pub opening: usize,
    /// Questions it is at work on.
    pub in_flight: usize,
    /// Usual response time; zero while nobody knows.
    pub rtt: Duration,
    /// How long it keeps idle connections, as far as it has shown.
    pub idle_limit: Option<Duration>,
    /// When it last responded.
    pub heard: Option<Moment>,
    /// Since when a probe waits for its response.
    pub probed: Option<Moment>,
    /// What was counted of it.
    pub counts: UpstreamCounts,
    /// Whether it is asked with EDNS.
    pub edns: bool,
}

/// A question of our own that finds out whether an upstream works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) connection: ConnectionId,
    pub(crate) id: u16,
    pub(crate) sent: Moment,
}

/// One upstream at work.
pub(crate) struct Upstream {
    name: String,
    identity: String,
    /// Since when it is part of no configuration. What was given to it before is still waited for.
    pub(crate) retired: Option<Moment>,
    pub(crate) protocol: Protocol,
    pub(crate) tier: u8,
    weight: u32,
    pub(crate) keep_warm: usize,
    fingerprint: u64,
    pub(crate) endpoints: Endpoints,
    pub(crate) connections: SmallVec<[ConnectionId; CONNECTIONS_PER_UPSTREAM_MAX]>,
    /// Sockets of one query each, while their answer is to come.
    pub(crate) datagrams: usize,
    pub(crate) health: Health,
    pub(crate) rtt: Rtt,
    pub(crate) idle: IdleLimit,
    pub(crate) opt: OptUse,
    /// Octets of a block of padding; `None` where queries are not padded.
    pub(crate) padding: Option<usize>,
    pub(crate) probe: Option<Probe>,
    /// Questions answered from what was past its time when it was last probed.
    stale_given: u64,
    /// Whether there were any since the probe before.
    pub(crate) stale_wanted: bool,
    /// When it last responded.
    pub(crate) heard: Option<Moment>,
    pub(crate) counts: UpstreamCounts,
    /// From when on a connection may be opened beside one that works.
    pub(crate) grow_after: Moment,
    /// When connections that are to be kept open may be opened again.
    pub(crate) warmth: Warmth,
}

impl Upstream {
    pub(crate) fn new(config: UpstreamConfig) -> Self {
        Self {
            identity: config.identity,
            retired: None,
            protocol: config.protocol,
            tier: config.tier,
            weight: config.weight.max(1),
            keep_warm: config.keep_warm.min(KEEP_WARM_MAX),
            fingerprint: select::fingerprint(&config.name),
            name: config.name,
            endpoints: Endpoints::new(config.endpoints),
            connections: SmallVec::new(),
            datagrams: 0,
            health: Health::default(),
            rtt: Rtt::default(),
            idle: IdleLimit::default(),
            opt: OptUse::new(config.edns),
            padding: padding_of(config.protocol, config.padding),
            probe: None,
            stale_given: 0,
            stale_wanted: false,
            heard: None,
            counts: UpstreamCounts::default(),
            grow_after: Moment::ZERO,
            warmth: Warmth::default(),
        }
    }

    /// What makes an upstream of another configuration the same one.
    pub(crate) fn key(&self) -> (&str, Protocol, &str) {
        (&self.name, self.protocol, &self.identity)
    }

    /// Takes another configuration of the same upstream, but for its addresses.
    pub(crate) fn adopt(&mut self, config: &UpstreamConfig) {
        self.retired = None;
        self.tier = config.tier;
        self.weight = config.weight.max(1);
        self.keep_warm = config.keep_warm.min(KEEP_WARM_MAX);
        self.opt.set_wanted(config.edns);
        self.padding = padding_of(config.protocol, config.padding);
    }

    /// How long a connection may be idle before we close it. One that nobody is to ask any more is closed when it has nothing left to do.
    pub(crate) fn retire_after(&self) -> Duration {
        match self.retired {
            None => self.idle.retire_after(),
            Some(_) => Duration::ZERO,
        }
    }

    /// Whether it can be asked and nothing speaks against it.
    pub(crate) fn is_well(&self) -> bool {
        !self.endpoints.is_empty() && self.health.state() == HealthState::Up
    }

    /// Why nothing comes back from it: no address of it can be used, or one can and stays silent.
    pub(crate) fn why_silent(&self) -> CloseReason {
        self.endpoints.failure().unwrap_or(CloseReason::Silent)
    }

    /// It is being probed; so many questions were answered from what was past its time so far.
    pub(crate) fn note_stale_given(&mut self, given: u64) {
        self.stale_wanted = given != self.stale_given;
        self.stale_given = given;
    }

    /// What a selector has to know of it.
    pub(crate) fn candidate(&self, id: UpstreamId, load: usize, now: Moment) -> Candidate {
        let (weight, fingerprint) = (self.weight, self.fingerprint);
        Candidate {
            id,
            weight,
            rtt: self.rtt.estimate(now),
            load,
            fingerprint,
        }
    }

    /// When a probe is due, or the one under way is given up. `missed` is explained at
    /// [`Health::probe_due`].
    pub(crate) fn poll_probe(&self, missed: bool) -> Option<Moment> {
        match self.probe {
            Some(probe) => Some(probe.sent + PROBE_TIMEOUT),
            None if self.endpoints.is_empty() || self.retired.is_some() => None,
            None => self.health.probe_due(missed),
        }
    }
}

/// Queries are padded where nobody can read them, and nowhere else (RFC 7830 section 6).
fn padding_of(protocol: Protocol, block: usize) -> Option<usize> {
    let padded = protocol == Protocol::Tls && block > 0;
    padded.then_some(block.min(QUERY_PADDING_BLOCK_MAX))
}
