//! Who gives up a stream when another client wants one and there is no place (RFC 7766 section 6.2.2, RFC 9210 section 4.4).
//!
//! Promises:
//! - Who has asked something is not pushed out by those who only connect, however many they are: those have one place of
//!   [`PLACES_PER_SILENT`], and beyond it make room among themselves.
//! - Of either kind the source with the most streams gives one up first, and of its streams the one idle longest; one that waits for a reply
//!   comes last. So a source with few streams keeps them while others have many.
//!
//! - Making room does not look at all streams: see [`source`](super::super::source).
//!
//! Deliberately absent: how many places there are (`places`), who is a source (`source`).

use std::net::{IpAddr, SocketAddr};

use super::super::source::{Kind, Standing};
use super::{ClientKey, Clients, Source};
use crate::limits::PLACES_PER_SILENT;

impl Clients {
    /// Lets go of a stream when everybody together has as many as there may be.
    pub(super) fn make_room(&mut self) {
        if self.places.are_full()
            && let Some(key) = self.first_to_go(None)
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
        if let Some(key) = self.first_to_go(Some(source)) {
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
        let (source, since) = (Source::of(address.ip()), client.last_query);
        self.sources.leave(key);
        self.sources.enter(key, source, since);
        true
    }

    /// Of all sources, or of one.
    fn first_to_go(&mut self, among: Option<Source>) -> Option<ClientKey> {
        let (all, silent) = self.sources.counts(among);
        let kind = match silent > all / PLACES_PER_SILENT {
            true => Kind::Silent,
            false => Kind::Asking,
        };
        let streams = &self.streams;
        self.sources.first(kind, among, |key| {
            let client = streams.get(key)?;
            Some(Standing {
                waits: client.in_flight > 0,
                since: client.last_query,
            })
        })
    }
}
