//! The addresses of one upstream, and which of them work.
//!
//! Each address is tracked apart, so that a broken IPv6 path does not speak against the IPv4 one (RFC 8305). The one with the
//! fewest failures in a row is next, in the order of the configuration. A failure is a connection that could not be made, one that was
//! not as fast as another, and one that was made and on which nothing came: an address that accepts and stays mute is no better than
//! one that refuses. After a pause that doubles, one connection finds out whether an address is of use again.
//!
//! Deliberately absent: whether the upstream as a whole is well (see [`health`](super::health)).

use core::net::SocketAddr;
use core::time::Duration;

use super::CloseReason;
use crate::limits::{ADDRESS_AGAIN_MAX, ADDRESS_AGAIN_MIN};
use crate::time::Moment;

/// One address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Endpoint {
    address: SocketAddr,
    /// Times in a row that it was of no use.
    failures: u32,
    /// When the latest of them was.
    failed_at: Moment,
    /// From when on it is tried again as if it had not failed.
    again_at: Moment,
    /// Pauses in a row after which it was of no use again; each is twice as long as the one before.
    pauses: u32,
    /// When the latest of them ends.
    pause_ends: Moment,
    /// Whether nothing came on a connection to it since it last responded: that another connection can be made proves nothing.
    mute: bool,
    /// Whether it was of use since all was forgotten.
    used: bool,
    /// Whether no connection could be made since one last was, to whichever address.
    failed: bool,
    /// Why it was of no use the last time; `None` when it was since, or was not tried.
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
    /// Why others are preferred: why no connection could be made the last time, why nothing came on it ([`CloseReason::Silent`] while
    /// that is waited for), or that another address was faster ([`CloseReason::Superseded`], which is no fault). `None` when nothing
    /// speaks against it, or it was not tried.
    pub reason: Option<CloseReason>,
    /// Since when there is a reason, or none; the engine's epoch when that never changed.
    pub since: Moment,
    /// From when on the next connection goes there again to find out whether it is of use; `None` without a reason.
    pub next_try: Option<Moment>,
    /// Whether a connection to it was made, or a datagram came from it, since the network was another one.
    pub used: bool,
    /// Times in a row that no connection could be made, not as fast as to another address of the upstream, or in vain because nothing came.
    pub failures: u32,
    /// Connections to it that can be used.
    pub ready: usize,
    /// Connections to it that are being opened.
    pub opening: usize,
}

impl EndpointStatus {
    /// Whether nothing is wrong with it, as far as one knows: it was of use the last time, no worse than slow, or not tried.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !self.reason.is_some_and(CloseReason::is_failure)
    }
}

impl Endpoint {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            failures: 0,
            failed_at: Moment::ZERO,
            again_at: Moment::ZERO,
            pauses: 0,
            pause_ends: Moment::ZERO,
            mute: false,
            used: false,
            failed: false,
            reason: None,
            since: Moment::ZERO,
        }
    }

    /// What speaks against it now.
    fn doubts(&self, now: Moment) -> u32 {
        if now < self.again_at {
            self.failures
        } else {
            0
        }
    }

    /// What was begun at `began` was of no use. What was begun before the latest failure says nothing new.
    fn count_failure(&mut self, began: Moment, now: Moment) {
        if self.failures > 0 && began < self.failed_at {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
        // Where no other address is left it is dialed during its pause too, which is no reason for a longer one.
        if self.pauses == 0 || began >= self.pause_ends {
            self.pauses = self.pauses.saturating_add(1);
            self.pause_ends = now + self.pause();
            self.again_at = self.pause_ends;
        }
    }

    /// How long others are preferred.
    fn pause(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.pauses.saturating_sub(1));
        let pause = doubled.and_then(|factor| ADDRESS_AGAIN_MIN.checked_mul(factor));
        pause.map_or(ADDRESS_AGAIN_MAX, |pause| pause.min(ADDRESS_AGAIN_MAX))
    }

    fn set_reason(&mut self, reason: Option<CloseReason>, now: Moment) {
        if self.reason.is_some() != reason.is_some() {
            self.since = now;
        }
        self.reason = reason;
    }

    /// Nothing speaks against it any more.
    fn clear(&mut self, now: Moment) {
        self.failures = 0;
        self.pauses = 0;
        self.again_at = Moment::ZERO;
        self.mute = false;
        self.set_reason(None, now);
    }
}

/// All addresses of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    all: Vec<Endpoint>,
}

impl Endpoints {
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> Self {
        Self {
            all: addresses.into_iter().map(Endpoint::new).collect(),
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
            next_try: endpoint.reason.map(|_| endpoint.again_at),
            used: endpoint.used,
            failures: endpoint.failures,
            ready: 0,
            opening: 0,
        })
    }

    /// Why none of them is of use, as the one says that failed last; `None` while nothing speaks against one.
    pub(crate) fn failure(&self) -> Option<CloseReason> {
        let failed = |it: &&Endpoint| it.reason.is_some_and(CloseReason::is_failure);
        let last = self
            .all
            .iter()
            .filter(failed)
            .max_by_key(|it| it.failed_at)?;
        self.all
            .iter()
            .all(|it| failed(&it))
            .then_some(last.reason)?
    }

    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        self.all.iter().any(|endpoint| endpoint.address == address)
    }

    /// Where the next connection goes. Addresses in `busy`, to which connections are being opened, come last, and so does
    /// their family: what keeps one from answering may keep its neighbour. One that failed and whose pause is over is given to this
    /// connection alone: those after it go elsewhere until it is known what became of it.
    pub(crate) fn next(&mut self, busy: &[SocketAddr], now: Moment) -> Option<SocketAddr> {
        let rank = |endpoint: &&mut Endpoint| {
            let same = busy.contains(&endpoint.address);
            let same_family = busy
                .iter()
                .any(|b| b.is_ipv4() == endpoint.address.is_ipv4());
            (same, endpoint.doubts(now), same_family)
        };
        let next = self.all.iter_mut().min_by_key(rank)?;
        if next.failures > 0 && next.doubts(now) == 0 {
            next.again_at = now + next.pause();
        }
        Some(next.address)
    }

    /// Whether an address is left to which no connection is being opened.
    pub(crate) fn has_other_than(&self, busy: &[SocketAddr]) -> bool {
        self.all
            .iter()
            .any(|endpoint| !busy.contains(&endpoint.address))
    }

    /// A connection was made. Of an address that was mute that is no proof.
    pub(crate) fn handle_connected(&mut self, address: SocketAddr, now: Moment) {
        for endpoint in self.at(address).filter(|endpoint| !endpoint.mute) {
            endpoint.clear(now);
            endpoint.used = true;
        }
        self.begin_round();
    }

    /// A response came from there; `datagram` when without a connection.
    pub(crate) fn handle_response(&mut self, address: SocketAddr, datagram: bool, now: Moment) {
        for endpoint in self.at(address) {
            endpoint.used = true;
            // A connection of before says nothing about how fast another one is made.
            if endpoint.mute || (datagram && endpoint.failures > 0) {
                endpoint.clear(now);
            }
        }
        if datagram {
            self.begin_round();
        }
    }

    /// No connection could be made, tried from `began` on; `true` when that is so for every address in a row. A dial to an address that is
    /// none of ours any more says nothing.
    pub(crate) fn handle_failed(
        &mut self,
        address: SocketAddr,
        reason: CloseReason,
        began: Moment,
        now: Moment,
    ) -> bool {
        for endpoint in self.at(address) {
            endpoint.count_failure(began, now);
            endpoint.failed = true;
            endpoint.set_reason(Some(reason), now);
        }
        let all = self.contains(address) && self.all.iter().all(|endpoint| endpoint.failed);
        if all {
            self.begin_round();
        }
        all
    }

    /// Nothing came for a query that was sent there at `asked`.
    pub(crate) fn handle_mute(
        &mut self,
        address: SocketAddr,
        reason: CloseReason,
        asked: Moment,
        now: Moment,
    ) {
        for endpoint in self.at(address) {
            endpoint.count_failure(asked, now);
            endpoint.mute = true;
            endpoint.set_reason(Some(reason), now);
        }
    }

    /// Another address answered first while this one was dialed, from `began` on: the next connection goes there at once.
    pub(crate) fn handle_overtaken(&mut self, address: SocketAddr, began: Moment, now: Moment) {
        for endpoint in self.at(address) {
            endpoint.count_failure(began, now);
            // What was wrong before is worse than being slow.
            let reason = endpoint.reason.unwrap_or(CloseReason::Superseded);
            endpoint.set_reason(Some(reason), now);
        }
    }

    /// Nothing is known about any of them any more.
    pub(crate) fn forget(&mut self, now: Moment) {
        for endpoint in &mut self.all {
            endpoint.clear(now);
            endpoint.used = false;
        }
        self.begin_round();
    }

    /// From here on every address has to fail again before it can be said of all.
    fn begin_round(&mut self) {
        for endpoint in &mut self.all {
            endpoint.failed = false;
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
        assert_eq!(endpoints.next(&[], Moment::ZERO), Some(list[0]));
        assert!(!endpoints.handle_failed(list[0], REFUSED, Moment::ZERO, Moment::ZERO));
        assert_eq!(endpoints.next(&[], Moment::ZERO), Some(list[1]));
        assert!(
            !endpoints.handle_failed(list[1], REFUSED, Moment::ZERO, Moment::ZERO)
                && endpoints.handle_failed(list[2], REFUSED, Moment::ZERO, Moment::ZERO)
        );
        assert_eq!(endpoints.next(&[], Moment::ZERO), Some(list[0]));
        endpoints.handle_connected(list[2], Moment::ZERO);
        assert_eq!(endpoints.next(&[], Moment::ZERO), Some(list[2]));
        endpoints.forget(Moment::ZERO);
        assert_eq!(endpoints.next(&[], Moment::ZERO), Some(list[0]));
        assert_eq!(Endpoints::default().next(&[], Moment::ZERO), None);
    }

    #[test]
    fn a_dial_that_fails_late_does_not_turn_away_from_the_endpoint_that_works() {
        let list = addresses(&["192.0.2.1:853", "192.0.2.2:853"]);
        let mut endpoints = Endpoints::new(list.clone());
        endpoints.handle_connected(list[1], Moment::ZERO);
        assert!(!endpoints.handle_failed(list[0], REFUSED, Moment::ZERO, Moment::ZERO));
        assert_eq!(endpoints.next(&[], Moment::ZERO), Some(list[1]));
    }

    #[test]
    fn a_dial_to_an_address_of_before_says_nothing() {
        let list = addresses(&["192.0.2.1:853", "192.0.2.9:853"]);
        let mut endpoints = Endpoints::new(list[1..].to_vec());
        assert!(!endpoints.handle_failed(list[0], REFUSED, Moment::ZERO, Moment::ZERO));
        assert!(
            endpoints.handle_failed(list[1], REFUSED, Moment::ZERO, Moment::ZERO)
                && !endpoints.handle_failed(list[0], REFUSED, Moment::ZERO, Moment::ZERO)
        );
    }

    #[test]
    fn what_failed_before_somebody_answered_does_not_count_for_all() {
        let list = addresses(&["192.0.2.1:853", "192.0.2.2:853"]);
        let mut endpoints = Endpoints::new(list.clone());
        assert!(!endpoints.handle_failed(list[1], REFUSED, Moment::ZERO, Moment::ZERO));
        endpoints.handle_connected(list[0], Moment::ZERO);
        endpoints.handle_overtaken(list[1], Moment::ZERO, Moment::ZERO);
        assert!(
            !endpoints.handle_failed(list[0], REFUSED, Moment::ZERO, Moment::ZERO),
            "the other one was not tried since"
        );
        assert!(endpoints.handle_failed(list[1], REFUSED, Moment::ZERO, Moment::ZERO));
    }

    #[test]
    fn while_one_is_dialed_the_other_family_is_next() {
        let list = addresses(&["[2001:db8::1]:853", "[2001:db8::2]:853", "192.0.2.1:853"]);
        let mut endpoints = Endpoints::new(list.clone());
        assert_eq!(endpoints.next(&list[..1], Moment::ZERO), Some(list[2]));
        assert_eq!(
            endpoints.next(&[list[0], list[2]], Moment::ZERO),
            Some(list[1])
        );
        assert!(endpoints.has_other_than(&list[..2]) && !endpoints.has_other_than(&list));
    }

    #[test]
    fn each_address_says_why_it_cannot_be_reached_and_since_when() {
        let list = addresses(&["192.0.2.1:853", "[2001:db8::1]:853"]);
        let at = |secs| Moment::ZERO + Duration::from_secs(secs);
        let mut endpoints = Endpoints::new(list.clone());
        endpoints.handle_failed(list[1], CloseReason::Unreachable, at(3), at(3));
        endpoints.handle_failed(list[1], REFUSED, at(5), at(5));
        let told: Vec<_> = endpoints
            .statuses()
            .map(|it| (it.reason, it.since, it.next_try))
            .collect();
        let again = at(3) + ADDRESS_AGAIN_MIN;
        assert_eq!(
            told,
            [(None, at(0), None), (Some(REFUSED), at(3), Some(again))]
        );
        assert_eq!(endpoints.failure(), None, "the first was not tried");
        endpoints.handle_failed(list[0], CloseReason::Reset, at(6), at(6));
        assert_eq!(endpoints.failure(), Some(CloseReason::Reset));
        endpoints.handle_connected(list[1], at(7));
        assert_eq!(endpoints.failure(), None);
        let told = endpoints.statuses().nth(1).unwrap();
        assert_eq!((told.reason, told.since, told.failures), (None, at(7), 0));
        assert_eq!((told.next_try, told.used), (None, true));
        endpoints.forget(at(8));
        assert!(endpoints.statuses().all(|it| !it.used));
    }

    #[test]
    fn a_pause_doubles_when_a_dial_after_it_fails_and_not_for_dials_during_it() {
        let list = addresses(&["192.0.2.1:853"]);
        let mut endpoints = Endpoints::new(list.clone());
        let (mut now, mut pause) = (Moment::ZERO, ADDRESS_AGAIN_MIN);
        for _ in 0..8 {
            let again = now + pause;
            while now < again {
                assert_eq!(endpoints.next(&[], now), Some(list[0]));
                endpoints.handle_failed(list[0], REFUSED, now, now);
                let status = endpoints.statuses().next().unwrap();
                assert_eq!(status.next_try, Some(again));
                now = now + pause / 4;
            }
            pause = (pause * 2).min(ADDRESS_AGAIN_MAX);
        }
        assert_eq!(pause, ADDRESS_AGAIN_MAX);
    }

    #[test]
    fn an_address_that_is_slower_than_another_is_well() {
        let list = addresses(&["192.0.2.1:853", "192.0.2.2:853"]);
        let mut endpoints = Endpoints::new(list.clone());
        let reason = |endpoints: &Endpoints| {
            let status = endpoints.statuses().next().unwrap();
            (status.reason, status.is_well())
        };
        assert_eq!(reason(&endpoints), (None, true));
        endpoints.handle_overtaken(list[0], Moment::ZERO, Moment::ZERO);
        let slow = (Some(CloseReason::Superseded), true);
        assert_eq!(reason(&endpoints), slow);
        endpoints.handle_failed(list[0], REFUSED, Moment::ZERO, Moment::ZERO);
        endpoints.handle_overtaken(list[0], Moment::ZERO, Moment::ZERO);
        assert_eq!(reason(&endpoints), (Some(REFUSED), false));
    }
}
