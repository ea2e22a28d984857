//! What all client streams of a worker together hold: replies that their clients do not read, and messages that those do not send whole.
//!
//! Promises: both are bounded ([`CLIENTS_BACKLOG`], [`CLIENTS_UNREAD`]), and who holds most goes first: who holds little is not
//! concerned by what others do.
//!
//! Deliberately absent: the bounds of one stream.

use core::cmp::Reverse;

use dotward_core::wire::frame::append_frame;

use super::{ClientKey, Clients};
use crate::limits::{CLIENT_BACKLOG, CLIENT_BACKLOG_SCARCE, CLIENTS_BACKLOG, CLIENTS_UNREAD};

impl Clients {
    /// Octets that one client may be owed: fewer while all together are owed much. Who is owed anything does not read as fast as it asks, and
    /// is looked at again when it reads.
    pub(super) fn backlog_of_one(&self) -> usize {
        match self.owed > CLIENTS_BACKLOG / 2 {
            true => CLIENT_BACKLOG_SCARCE,
            false => CLIENT_BACKLOG,
        }
    }

    /// Has a message leave on a stream.
    pub(super) fn append(&mut self, key: ClientKey, message: &[u8]) {
        let Some(client) = self.streams.get_mut(key) else {
            return;
        };
        let before = client.stream.backlog();
        append_frame(message, client.stream.outgoing());
        self.owed += client.stream.backlog() - before;
        self.touch(key);
        while self.owed > CLIENTS_BACKLOG {
            self.close_deepest_in_debt();
        }
    }

    fn close_deepest_in_debt(&mut self) {
        let all = self.streams.iter();
        let deepest = all.max_by_key(|(_, client)| client.stream.backlog());
        if let Some((key, client)) = deepest {
            tracing::debug!(address = %client.client.address, "client does not read its replies");
            self.close(key);
        } else {
            debug_assert_eq!(self.owed, 0, "nobody is left to be owed anything");
            self.owed = 0;
        }
    }

    /// The messages of a client take more memory than before, or less.
    pub(super) fn note_unread(&mut self, key: ClientKey) {
        let Some(client) = self.streams.get_mut(key) else {
            return;
        };
        let now = client.messages.excess();
        self.unread = self.unread + now - client.unread;
        client.unread = now;
        if self.unread > CLIENTS_UNREAD {
            self.close_largest_unread();
        }
    }

    fn close_largest_unread(&mut self) {
        let all = self.streams.iter().filter(|(_, client)| client.unread > 0);
        let mut largest: Vec<_> = all.map(|(key, client)| (client.unread, key)).collect();
        largest.sort_unstable_by_key(|(unread, _)| Reverse(*unread));
        for (octets, key) in largest {
            if self.unread <= CLIENTS_UNREAD - CLIENTS_UNREAD / 8 {
                return;
            }
            tracing::debug!(
                address = self.address_of(key).map(tracing::field::display),
                octets,
                "client does not send a message whole, and others want the room"
            );
            self.close(key);
        }
    }
}
