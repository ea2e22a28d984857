//! Who gives up a stream when another client wants one and there is no place (RFC 7766 section 6.2.2, RFC 9210 section 4.4).
//!
//! Promises:
//! - Who has asked something is not pushed out by those who only connect, however many they are: those have one place of
//!   [`PLACES_PER_SILENT`], and beyond it make room among themselves.
//! - Of either kind the source with the most streams gives one up first, and of its streams the one idle longest; one that waits for a reply
//!   comes last. So a source with few streams keeps them while others have many.
//!
//! Deliberately absent: how many places there are (`places`), who is a source (`source`).

use core::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use super::{ClientKey, ClientStream, Clients, Source};
use crate::limits::PLACES_PER_SILENT;

impl Clients {
    /// Lets go of a stream when everybody together has as many as there may be.
    pub(super) fn make_room(&mut self) {
        if self.places.are_full()
            && let Some(key) = self.first_to_go(|_| true)
        {
            self.close(key);
        }
    }

    /// Lets go of a stream when the source of `address` has as many as there may be. True if it had.
    pub(in super::super) fn make_room_of(&mut self, address: IpAddr) -> bool {
        let source = Source::of(address);
        if self.sources.count(source) < self.places.per_source() {
            return false;
        }
        if let Some(key) = self.first_to_go(|client| client.share.source() == source) {
            self.close(key);
        }
        true
    }

    /// The client of a stream is another one than who connected. False when the stream is gone.
    pub(in super::super) fn rename(&mut self, key: ClientKey, address: SocketAddr) -> bool {
        let Some(client) = self.streams.get_mut(key) else {
            return false;
        };
        client.client.address = address;
        self.sources.leave(&client.share);
        client.share = self.sources.enter(Source::of(address.ip()));
        true
    }

    fn first_to_go(&self, among: impl Fn(&ClientStream) -> bool) -> Option<ClientKey> {
        let streams = || self.streams.iter().filter(|(_, client)| among(client));
        let (mut all, mut silent) = (0, 0);
        for (_, client) in streams() {
            all += 1;
            silent += usize::from(!client.share.has_asked());
        }
        let too_many_silent = silent > all / PLACES_PER_SILENT;
        streams()
            .filter(|(_, client)| client.share.has_asked() != too_many_silent)
            .min_by_key(|(_, client)| {
                let of_its_source = Reverse(client.share.alike());
                (client.in_flight > 0, of_its_source, client.last_query)
            })
            .map(|(key, _)| key)
    }
}
