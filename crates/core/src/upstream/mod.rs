//! Upstreams: the resolvers the operator trusts, their connections, and how they are doing.
//!
//! Everything here is bookkeeping about one upstream or one connection; which upstream gets a question is decided by the
//! [`engine`](crate::engine). Ruled by RFC 7858 section 3, RFC 7766 section 6.2, RFC 9520 section 3.
//!
//! Deliberately absent: TLS, dialing, names of certificates (the shell's).

mod close;
mod connection;
mod health;
mod in_flight;
mod rtt;
mod select;

use core::net::SocketAddr;

use slotmap::new_key_type;
use smallvec::SmallVec;

use crate::limits::CONNECTIONS_PER_UPSTREAM_MAX;
use crate::time::Moment;

pub use close::{CloseReason, TlsFault};
pub(crate) use connection::{Accepted, Connection};
pub use health::HealthState;
pub(crate) use health::{Health, Standing};
pub(crate) use rtt::Rtt;
pub use select::Strategy;
pub(crate) use select::{Candidate, Selector};

new_key_type! {
    /// Names one connection for as long as the process lives: an ID is never given to a second one.
    pub struct ConnectionId;
}

/// Names an upstream: its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId(pub usize);

/// Names a group of upstreams: its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub usize);

impl GroupId {
    /// The group that is asked unless a route says otherwise.
    pub const DEFAULT: Self = Self(0);
}

/// One upstream as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// For people.
    pub name: String,
    /// Addresses of the same provider, in order of preference; empty until found by name.
    pub endpoints: Vec<SocketAddr>,
    /// Upstreams of a higher tier are asked only while none of a lower one is well.
    pub tier: u8,
    /// Share of its tier's questions relative to the others; 0 counts as 1.
    pub weight: u32,
}

impl UpstreamConfig {
    /// An upstream of the first tier and weight 1.
    #[must_use]
    pub fn new(name: impl Into<String>, endpoints: Vec<SocketAddr>) -> Self {
        Self {
            name: name.into(),
            endpoints,
            tier: 0,
            weight: 1,
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
}

/// A group at work.
pub(crate) struct Group {
    pub(crate) members: Vec<UpstreamId>,
    pub(crate) selector: Selector,
}

impl Group {
    /// `upstreams` is the number of all there are.
    pub(crate) fn new(config: GroupConfig, upstreams: usize) -> Self {
        let mut members = config.members;
        members.retain(|member| member.0 < upstreams);
        Self {
            members,
            selector: Selector::new(config.strategy, upstreams),
        }
    }
}

/// One upstream at work.
pub(crate) struct Upstream {
    pub(crate) tier: u8,
    weight: u32,
    fingerprint: u64,
    endpoints: Vec<SocketAddr>,
    /// Which endpoint the next connection goes to.
    cursor: usize,
    /// Endpoints that could not be reached since one last was.
    failed_dials: usize,
    pub(crate) connections: SmallVec<[ConnectionId; CONNECTIONS_PER_UPSTREAM_MAX]>,
    pub(crate) health: Health,
    pub(crate) rtt: Rtt,
}

impl Upstream {
    pub(crate) fn new(config: UpstreamConfig) -> Self {
        Self {
            tier: config.tier,
            weight: config.weight.max(1),
            fingerprint: select::fingerprint(&config.name),
            endpoints: config.endpoints,
            cursor: 0,
            failed_dials: 0,
            connections: SmallVec::new(),
            health: Health::default(),
            rtt: Rtt::default(),
        }
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

    pub(crate) fn endpoints(&self) -> &[SocketAddr] {
        &self.endpoints
    }

    pub(crate) fn set_endpoints(&mut self, endpoints: Vec<SocketAddr>) {
        self.endpoints = endpoints;
        self.cursor = 0;
        self.failed_dials = 0;
    }

    /// Where the next connection goes.
    pub(crate) fn next_endpoint(&self) -> Option<SocketAddr> {
        let place = self.cursor.checked_rem(self.endpoints.len())?;
        self.endpoints.get(place).copied()
    }

    /// The current endpoint is not good; the next connection tries another one, if there is one.
    pub(crate) fn turn_to_next_endpoint(&mut self) {
        self.cursor = self.cursor.wrapping_add(1);
    }

    /// Notes that the current endpoint could not be reached; `true` when that was the last one in a row.
    pub(crate) fn handle_dial_failed(&mut self) -> bool {
        self.turn_to_next_endpoint();
        self.failed_dials = self.failed_dials.saturating_add(1);
        let all = self.failed_dials >= self.endpoints.len();
        if all {
            self.failed_dials = 0;
        }
        all
    }

    pub(crate) fn handle_dialed(&mut self) {
        self.failed_dials = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_take_turns_and_the_last_failure_in_a_row_is_told() {
        let endpoints: Vec<SocketAddr> = vec![
            "192.0.2.1:853".parse().unwrap(),
            "[2001:db8::1]:853".parse().unwrap(),
        ];
        let mut upstream = Upstream::new(UpstreamConfig::new("two", endpoints.clone()));
        assert_eq!(upstream.next_endpoint(), Some(endpoints[0]));
        assert!(!upstream.handle_dial_failed());
        assert_eq!(upstream.next_endpoint(), Some(endpoints[1]));
        assert!(upstream.handle_dial_failed());
        assert_eq!(upstream.next_endpoint(), Some(endpoints[0]));
        assert_eq!(
            Upstream::new(UpstreamConfig::new("none", vec![])).next_endpoint(),
            None
        );
    }
}
