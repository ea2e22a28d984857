//! The addresses of one upstream, and which of them work.
//!
//! Each address is tracked apart, so that a broken IPv6 path does not speak against the IPv4 one (RFC 8305). The one with the
//! fewest failures in a row is next, in the order of the configuration.

use core::net::SocketAddr;

use super::CloseReason;
use crate::time::Moment;

/// One address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Endpoint {
    address: SocketAddr,
    /// Times in a row that no connection could be made, or not as fast as to another one.
    failures: u32,
    /// Whether no connection could be made since one last was, to whichever address.
    failed: bool,
    /// Why none could be made the last time; `None` when one was made since, or none was tried.
    reason: Option<CloseReason>,
    /// Since when `reason` has been there, or not.
    since: Moment,
}

/// How one address of an upstream is doing, for people and metrics. Addresses of one upstream stand in for each other, so that one of
/// them may be out of reach while the upstream is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Which.
    pub address: SocketAddr,
    /// Why no connection could be made the last time; `None` when one could, or none was tried.
    pub reason: Option<CloseReason>,
    /// Since when that is so; the engine's epoch when it never changed.
    pub since: Moment,
    /// Times in a row that no connection could be made, or not as fast as to another address of the upstream.
    pub failures: u32,
    /// Connections to it that can be used.
    pub ready: usize,
    /// Connections to it that are being opened.
    pub opening: usize,
}

/// All addresses of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    all: Vec<Endpoint>,
}

impl Endpoints {
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> Self {
        let endpoint = |address| Endpoint {
            address,
            failures: 0,
            failed: false,
            reason: None,
            since: Moment::ZERO,
        };
        Self {
            all: addresses.into_iter().map(endpoint).collect(),
        }
    }

    /// Takes other addresses; `false`, and nothing forgotten, when they are the same ones in whatever order.
    pub(crate) fn replace(&mut self, addresses: Vec<SocketAddr>) -> bool {
        let same = addresses.len() == self.all.len()
            && addresses.iter().all(|address| self.contains(*address));
        if !same {
            *self = Self::new(addresses);
        }
        !same
    }

    /// Takes other addresses in another order; what is known of those that stay is kept.
    pub(crate) fn adopt(&mut self, addresses: Vec<SocketAddr>) {
        let mut adopted = Self::new(addresses);
        for endpoint in &mut adopted.all {
            let known = self.all.iter().find(|it| it.address == endpoint.address);
            *endpoint = known.copied().unwrap_or(*endpoint);
        }
        *self = adopted;
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.all.iter().map(|endpoint| endpoint.address)
    }

    /// What is known of each address; who asks fills in the connections.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = EndpointStatus> {
        self.all.iter().map(|endpoint| EndpointStatus {
            address: endpoint.address,
            reason: endpoint.reason,
            since: endpoint.since,
            failures: endpoint.failures,
            ready: 0,
            opening: 0,
        })
    }

    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        self.all.iter().any(|endpoint| endpoint.address == address)
    }

    /// Where the next connection goes. Addresses in `busy`, to which connections are being opened, come last, and so does
    /// their family: what keeps one from answering may keep its neighbour.
    pub(crate) fn next(&self, busy: &[SocketAddr]) -> Option<SocketAddr> {
        let rank = |endpoint: &&Endpoint| {
            let same = busy.contains(&endpoint.address);
            let same_family = busy
                .iter()
                .any(|b| b.is_ipv4() == endpoint.address.is_ipv4());
            (same, endpoint.failures, same_family)
        };
        self.all
            .iter()
            .min_by_key(rank)
            .map(|endpoint| endpoint.address)
    }

    /// Whether an address is left to which no connection is being opened.
    pub(crate) fn has_other_than(&self, busy: &[SocketAddr]) -> bool {
        self.all
            .iter()
            .any(|endpoint| !busy.contains(&endpoint.address))
    }

    pub(crate) fn handle_connected(&mut self, address: SocketAddr, now: Moment) {
        self.set_failures(address, |_| 0);
        for endpoint in self.at(address) {
            if endpoint.reason.take().is_some() {
                endpoint.since = now;
            }
        }
        self.begin_round();
    }

    /// No connection could be made; `true` when that is so for every address in a row. A dial to an address that is none of ours any
    /// more says nothing.
    pub(crate) fn handle_failed(
        &mut self,
        address: SocketAddr,
        reason: CloseReason,
        now: Moment,
    ) -> bool {
        self.set_failures(address, |failures| failures.saturating_add(1));
        for endpoint in self.at(address) {
            endpoint.failed = true;
            if endpoint.reason.replace(reason).is_none() {
                endpoint.since = now;
            }
        }
        let all = self.contains(address) && self.all.iter().all(|endpoint| endpoint.failed);
        if all {
            self.begin_round();
        }
        all
    }

    /// Another address answered first: the next connection goes there at once.
    pub(crate) fn handle_overtaken(&mut self, address: SocketAddr) {
        self.set_failures(address, |failures| failures.saturating_add(1));
    }

    /// Nothing is known about any of them any more.
    pub(crate) fn forget(&mut self, now: Moment) {
        for endpoint in &mut self.all {
            endpoint.failures = 0;
            if endpoint.reason.take().is_some() {
                endpoint.since = now;
            }
        }
        self.begin_round();
    }

    /// From here on every address has to fail again before it can be said of all.
    fn begin_round(&mut self) {
        for endpoint in &mut self.all {
            endpoint.failed = false;
        }
    }

    fn set_failures(&mut self, address: SocketAddr, change: impl Fn(u32) -> u32) {
        for endpoint in self.at(address) {
            endpoint.failures = change(endpoint.failures);
        }
    }

    fn at(&mut self, address: SocketAddr) -> impl Iterator<Item = &mut Endpoint> {
        self.all
            .iter_mut()
            .filter(move |endpoint| endpoint.address == address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: CloseReason = CloseReason::Refused;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_first_that_works_is_next() {
        let list = addresses(&["[2001:db8::1]:853", "[2001:db8::2]:853", "192.0.2.1:853"]);
        let mut endpoints = Endpoints::new(list.clone());
        assert_eq!(endpoints.next(&[]), Some(list[0]));
        assert!(!endpoints.handle_failed(list[0], REFUSED, Moment::ZERO));
        assert_eq!(endpoints.next(&[]), Some(list[1]));
        assert!(
            !endpoints.handle_failed(list[1], REFUSED, Moment::ZERO)
                && endpoints.handle_failed(list[2], REFUSED, Moment::ZERO)
        );
        assert_eq!(endpoints.next(&[]), Some(list[0]));
        endpoints.handle_connected(list[2], Moment::ZERO);
        assert_eq!(endpoints.next(&[]), Some(list[2]));
        endpoints.forget(Moment::ZERO);
        assert_eq!(endpoints.next(&[]), Some(list[0]));
        assert_eq!(Endpoints::default().next(&[]), None);
    }

    #[test]
    fn a_dial_that_fails_late_does_not_turn_away_from_the_endpoint_that_works() {
        let list = addresses(&["192.0.2.1:853", "192.0.2.2:853"]);
        let mut endpoints = Endpoints::new(list.clone());
        endpoints.handle_connected(list[1], Moment::ZERO);
        assert!(!endpoints.handle_failed(list[0], REFUSED, Moment::ZERO));
        assert_eq!(endpoints.next(&[]), Some(list[1]));
    }

    #[test]
    fn a_dial_to_an_address_of_before_says_nothing() {
        let list = addresses(&["192.0.2.1:853", "192.0.2.9:853"]);
        let mut endpoints = Endpoints::new(list[1..].to_vec());
        assert!(!endpoints.handle_failed(list[0], REFUSED, Moment::ZERO));
        assert!(
            endpoints.handle_failed(list[1], REFUSED, Moment::ZERO)
                && !endpoints.handle_failed(list[0], REFUSED, Moment::ZERO)
        );
    }

    #[test]
    fn what_failed_before_somebody_answered_does_not_count_for_all() {
        let list = addresses(&["192.0.2.1:853", "192.0.2.2:853"]);
        let mut endpoints = Endpoints::new(list.clone());
        assert!(!endpoints.handle_failed(list[1], REFUSED, Moment::ZERO));
        endpoints.handle_connected(list[0], Moment::ZERO);
        endpoints.handle_overtaken(list[1]);
        assert!(
            !endpoints.handle_failed(list[0], REFUSED, Moment::ZERO),
            "the other one was not tried since"
        );
        assert!(endpoints.handle_failed(list[1], REFUSED, Moment::ZERO));
    }

    #[test]
    fn while_one_is_dialed_the_other_family_is_next() {
        let list = addresses(&["[2001:db8::1]:853", "[2001:db8::2]:853", "192.0.2.1:853"]);
        let endpoints = Endpoints::new(list.clone());
        assert_eq!(endpoints.next(&list[..1]), Some(list[2]));
        assert_eq!(endpoints.next(&[list[0], list[2]]), Some(list[1]));
        assert!(endpoints.has_other_than(&list[..2]) && !endpoints.has_other_than(&list));
    }

    #[test]
    fn each_address_says_why_it_cannot_be_reached_and_since_when() {
        let list = addresses(&["192.0.2.1:853", "[2001:db8::1]:853"]);
        let at = |secs| Moment::ZERO + core::time::Duration::from_secs(secs);
        let mut endpoints = Endpoints::new(list.clone());
        endpoints.handle_failed(list[1], CloseReason::Unreachable, at(3));
        endpoints.handle_failed(list[1], REFUSED, at(5));
        let told: Vec<_> = endpoints
            .statuses()
            .map(|it| (it.reason, it.since))
            .collect();
        assert_eq!(told, [(None, at(0)), (Some(REFUSED), at(3))]);
        endpoints.handle_connected(list[1], at(7));
        let told = endpoints.statuses().nth(1).unwrap();
        assert_eq!((told.reason, told.since, told.failures), (None, at(7), 0));
    }
}
