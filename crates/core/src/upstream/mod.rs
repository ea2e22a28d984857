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

use core::net::SocketAddr;

use slotmap::new_key_type;
use smallvec::SmallVec;

use crate::limits::CONNECTIONS_PER_UPSTREAM_MAX;

pub use close::{CloseReason, TlsFault};
pub(crate) use connection::{Accepted, Connection};
pub use health::HealthState;
pub(crate) use health::{Health, Standing};
pub(crate) use rtt::Rtt;

new_key_type! {
    /// Names one connection for as long as the process lives: an ID is never given to a second one.
    pub struct ConnectionId;
}

/// Names an upstream: its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId(pub usize);

/// One upstream as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// For people.
    pub name: String,
    /// Addresses of the same provider, in order of preference; empty until found by name.
    pub endpoints: Vec<SocketAddr>,
}

/// One upstream at work.
pub(crate) struct Upstream {
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
    pub(crate) fn new(endpoints: Vec<SocketAddr>) -> Self {
        Self {
            endpoints,
            cursor: 0,
            failed_dials: 0,
            connections: SmallVec::new(),
            health: Health::default(),
            rtt: Rtt::default(),
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

    /// Notes that `endpoint` could not be reached; `true` when it was the last one in a row. A dial to an address that is none of ours
    /// any more says nothing.
    pub(crate) fn handle_dial_failed(&mut self, endpoint: SocketAddr) -> bool {
        if !self.endpoints.contains(&endpoint) {
            return false;
        }
        // When the next connection goes elsewhere already, it stays so: that may be the one that works.
        if self.next_endpoint() == Some(endpoint) {
            self.turn_to_next_endpoint();
        }
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
        let mut upstream = Upstream::new(endpoints.clone());
        assert_eq!(upstream.next_endpoint(), Some(endpoints[0]));
        assert!(!upstream.handle_dial_failed(endpoints[0]));
        assert_eq!(upstream.next_endpoint(), Some(endpoints[1]));
        assert!(upstream.handle_dial_failed(endpoints[1]));
        assert_eq!(upstream.next_endpoint(), Some(endpoints[0]));
        assert_eq!(Upstream::new(Vec::new()).next_endpoint(), None);
    }

    #[test]
    fn a_dial_that_fails_late_does_not_turn_away_from_the_endpoint_that_works() {
        let endpoints: Vec<SocketAddr> = vec![
            "192.0.2.1:853".parse().unwrap(),
            "192.0.2.2:853".parse().unwrap(),
        ];
        let mut upstream = Upstream::new(endpoints.clone());
        upstream.turn_to_next_endpoint();
        upstream.handle_dialed();
        assert!(!upstream.handle_dial_failed(endpoints[0]));
        assert_eq!(upstream.next_endpoint(), Some(endpoints[1]));
    }

    #[test]
    fn a_dial_to_an_address_of_before_says_nothing() {
        let before: SocketAddr = "192.0.2.1:853".parse().unwrap();
        let after: SocketAddr = "192.0.2.9:853".parse().unwrap();
        let mut upstream = Upstream::new(vec![before]);
        upstream.set_endpoints(vec![after]);
        assert!(!upstream.handle_dial_failed(before));
        assert_eq!(upstream.next_endpoint(), Some(after));
    }
}
