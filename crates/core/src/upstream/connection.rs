//! One connection to an upstream, without the I/O.
//!
//! Plaintext goes in and out as octets; the shell's driver moves it through TLS. Questions are taken from the moment the
//! connection is asked for: they wait in the outbound buffer and leave together in the first TLS record.
//!
//! Promises
//!
//! - A response is accepted only when its ID, name, type and class are those of a query in flight here (RFC 7766 section 7, RFC 7858
//!   section 3.3). A right ID with another question is dropped and counted; an unknown ID is dropped: it is what a late answer
//!   looks like.
//! - Whatever is accepted is taken out of the table once, so nothing is delivered twice.
//!
//! Deliberately absent: retries and the choice of upstream (see [`engine`](crate::engine)), TLS.

use core::net::SocketAddr;
use core::time::Duration;

use rand_core::Rng;

use super::in_flight::InFlight;
use super::{CloseReason, UpstreamId};
use crate::limits::{
    DIAL_TIMEOUT, IDLE_TIMEOUT, IN_FLIGHT_BEFORE_GROWTH, MISMATCHES_MAX, QUESTION_BUDGET,
};
use crate::time::Moment;
use crate::wire::frame::{FrameReader, append_frame};
use crate::wire::{Header, QuestionRef, ResponseView};

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    /// TCP and TLS are being set up.
    Opening {
        /// Since when.
        since: Moment,
    },
    /// Queries and responses flow.
    Ready {
        /// Since when.
        since: Moment,
    },
}

/// A connection; `T` says who waits for a response.
pub(crate) struct Connection<T> {
    pub(crate) upstream: UpstreamId,
    pub(crate) endpoint: SocketAddr,
    pub(crate) state: ConnectionState,
    in_flight: InFlight<T>,
    outbound: Vec<u8>,
    pub(crate) reader: FrameReader,
    /// Responses accepted.
    pub(crate) answered: u64,
    mismatches: u32,
    last_received: Moment,
    last_used: Moment,
    suspect_since: Option<Moment>,
    /// Whether the engine has put it on the list of connections with something to write.
    pub(crate) listed: bool,
}

/// What a message from the upstream turned out to be.
pub(crate) enum Accepted<'a, T> {
    /// The response to a query in flight.
    Response {
        /// Who waits for it; `None` when nobody does any more.
        owner: Option<T>,
        /// When the query was given to the connection.
        sent: Moment,
        /// The message.
        response: ResponseView<'a>,
    },
    /// An ID in flight with an unreadable message or another question. The query still waits.
    Disputed {
        /// Who waits.
        owner: Option<T>,
    },
    /// An ID that is not in flight.
    Stray,
    /// Not DNS, or one mismatch too many: the connection cannot be trusted to keep answers apart.
    Misbehaved,
}

impl<T: Copy + Ord> Connection<T> {
    pub(crate) fn new(upstream: UpstreamId, endpoint: SocketAddr, now: Moment) -> Self {
        Self {
            upstream,
            endpoint,
            state: ConnectionState::Opening { since: now },
            in_flight: InFlight::default(),
            outbound: Vec::new(),
            reader: FrameReader::default(),
            answered: 0,
            mismatches: 0,
            last_received: now,
            last_used: now,
            suspect_since: None,
            listed: false,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, ConnectionState::Ready { .. })
    }

    /// Since when it is being opened.
    pub(crate) fn dialing_since(&self) -> Option<Moment> {
        match self.state {
            ConnectionState::Opening { since } => Some(since),
            ConnectionState::Ready { .. } => None,
        }
    }

    /// Queries in flight that somebody waits for.
    pub(crate) fn load(&self) -> usize {
        self.in_flight.owned()
    }

    /// Whether new questions may go here.
    pub(crate) fn is_usable(&self) -> bool {
        self.suspect_since.is_none() && self.has_room()
    }

    /// Whether another query can be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.has_room()
    }

    /// Since when it has been ready, asked, and mute.
    pub(crate) fn silent_since(&self) -> Option<Moment> {
        self.suspect_since.filter(|_| self.is_ready())
    }

    /// Whether another connection should be opened beside this one.
    pub(crate) fn is_crowded(&self) -> bool {
        self.load() >= IN_FLIGHT_BEFORE_GROWTH
    }

    /// Takes a query, whose ID it overwrites; gives the ID, or `None` when full. `message` is a whole query.
    pub(crate) fn submit(
        &mut self,
        owner: T,
        question: QuestionRef<'_>,
        message: &mut [u8],
        now: Moment,
        rng: &mut impl Rng,
    ) -> Option<u16> {
        let id = self
            .in_flight
            .insert(owner, question.to_owned(), now, rng)?;
        if let Some(head) = message.first_chunk_mut::<2>() {
            *head = id.to_be_bytes();
        }
        append_frame(message, &mut self.outbound);
        self.last_used = now;
        Some(id)
    }

    pub(crate) fn abandon(&mut self, id: u16) {
        self.in_flight.abandon(id);
    }

    pub(crate) fn handle_ready(&mut self, now: Moment) {
        self.state = ConnectionState::Ready { since: now };
        self.last_received = now;
        self.suspect_since = None;
    }

    /// Octets came; whatever they are, the path is alive.
    pub(crate) fn handle_received(&mut self, now: Moment) {
        self.last_received = now;
        self.suspect_since = None;
    }

    /// A query sent at `sent` waits longer than usual. `None` when nothing came since, or nothing for as long as `patience`: the connection
    /// is suspect and takes no new questions until something comes. Otherwise when something came last.
    pub(crate) fn handle_impatience(
        &mut self,
        sent: Moment,
        patience: Duration,
        now: Moment,
    ) -> Option<Moment> {
        let heard = self.last_received;
        if heard > sent && now.since(heard) < patience {
            return Some(heard);
        }
        self.suspect_since.get_or_insert(now);
        None
    }

    /// What waits to be written; nothing while opening.
    pub(crate) fn outbound(&self) -> &[u8] {
        if self.is_ready() { &self.outbound } else { &[] }
    }

    pub(crate) fn handle_transmitted(&mut self, octets: usize) {
        if octets >= self.outbound.len() {
            self.outbound.clear();
            self.outbound.shrink_to(crate::wire::frame::IDLE_CAPACITY);
        } else {
            self.outbound.drain(..octets);
        }
    }

    /// Judges one message from the upstream.
    pub(crate) fn accept<'a>(&mut self, message: &'a [u8]) -> Accepted<'a, T> {
        let Some(header) = Header::parse(message) else {
            return Accepted::Misbehaved;
        };
        let Some(slot) = self.in_flight.find(header.id) else {
            return Accepted::Stray;
        };
        let (owner, sent) = (slot.owner, slot.sent);
        match ResponseView::parse(message) {
            Ok(response) if response.answers(slot.question.view()) => {
                self.in_flight.remove(header.id);
                self.answered += 1;
                Accepted::Response {
                    owner,
                    sent,
                    response,
                }
            }
            Ok(_) | Err(_) => {
                self.mismatches += 1;
                if self.mismatches < MISMATCHES_MAX {
                    Accepted::Disputed { owner }
                } else {
                    Accepted::Misbehaved
                }
            }
        }
    }

    /// When [`Connection::expired`] will be true if nothing happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        match (self.state, self.suspect_since) {
            (ConnectionState::Opening { since }, _) => Some(since + DIAL_TIMEOUT),
            (ConnectionState::Ready { .. }, Some(since)) => Some(since + QUESTION_BUDGET),
            (ConnectionState::Ready { .. }, None) if self.load() == 0 => {
                Some(self.last_used.max(self.last_received) + IDLE_TIMEOUT)
            }
            (ConnectionState::Ready { .. }, None) => None,
        }
    }

    /// Why the connection has to be closed now, if it has to.
    pub(crate) fn expired(&self, now: Moment) -> Option<CloseReason> {
        if self.poll_timeout()? > now {
            return None;
        }
        Some(match (self.state, self.suspect_since) {
            (ConnectionState::Opening { .. }, _) => CloseReason::DialTimedOut,
            (ConnectionState::Ready { .. }, Some(_)) => CloseReason::Silent,
            (ConnectionState::Ready { .. }, None) => CloseReason::Idle,
        })
    }

    /// Whether `sent` lies in the time when queries went straight out, so that the response time means something.
    pub(crate) fn was_ready_at(&self, sent: Moment) -> bool {
        matches!(self.state, ConnectionState::Ready { since } if since <= sent)
    }

    /// Ends it: who still waited, oldest first.
    pub(crate) fn into_owners(self) -> Vec<T> {
        self.in_flight.into_owners()
    }
}

#[cfg(test)]
mod tests;
