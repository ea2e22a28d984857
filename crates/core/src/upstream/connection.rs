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
use super::{CloseReason, Protocol, UpstreamId};
use crate::limits::{
    CONNECTION_AGE_MAX, DATAGRAM_TIMEOUT, DIAL_HEAD_START, DIAL_TIMEOUT, IDLE_TIMEOUT, IMPATIENCE,
    IN_FLIGHT_BEFORE_CONGESTION, IN_FLIGHT_BEFORE_GROWTH, MISMATCHES_MAX, QUESTION_BUDGET,
};
use crate::time::Moment;
use crate::wire::frame::{FrameReader, append_frame};
use crate::wire::{Header, QuestionRef, ResponseView};

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// TCP and TLS are being set up.
    Opening {
        /// Whether it was given its head start and another address is tried beside it.
        overtaken: bool,
    },
    /// Queries and responses flow.
    Ready(Phase),
}

/// How far a ready connection is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It takes questions.
    Serving,
    /// It takes questions until its successor is ready.
    Aged,
    /// It takes no more questions and ends with its last response.
    Draining,
}

/// What time asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Close it.
    Close(CloseReason),
    /// It is slow to open: try another address beside it.
    Overtake,
    /// It is old: open its successor.
    Succeed,
    /// It has left a question waiting for so long that its upstream is in doubt.
    Doubt,
    /// Its successor is late: leave it all the same.
    Leave,
}

/// A connection; `T` says who waits for a response.
pub(crate) struct Connection<T> {
    pub(crate) upstream: UpstreamId,
    pub(crate) endpoint: SocketAddr,
    pub(crate) protocol: Protocol,
    state: State,
    /// When it was asked for, and from when on it is ready.
    since: Moment,
    /// When it is old and its successor is opened; once that was tried, when it is tried again.
    succeed_at: Moment,
    /// When it takes no more questions, whether a successor is ready or not.
    leave_at: Option<Moment>,
    /// How long it may be without a query in flight.
    pub(crate) idle_after: Duration,
    in_flight: InFlight<T>,
    outbound: Vec<u8>,
    pub(crate) reader: FrameReader,
    /// Responses accepted.
    pub(crate) answered: u64,
    mismatches: u32,
    last_received: Moment,
    last_used: Moment,
    suspect_since: Option<Moment>,
    /// Whether its upstream was put in doubt for it.
    doubted: bool,
    /// Whether the upstream was asked for its idle limit (RFC 7828 section 3.2.1: once a connection is enough).
    pub(crate) asked_keepalive: bool,
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
    /// An ID that is not in flight, or a datagram without one; and who waits, when one does alone.
    Stray(Option<T>),
    /// Not DNS, or one mismatch too many: the connection cannot be trusted to keep answers apart.
    Misbehaved,
}

impl<T: Copy + Ord> Connection<T> {
    pub(crate) fn new(
        upstream: UpstreamId,
        endpoint: SocketAddr,
        protocol: Protocol,
        now: Moment,
    ) -> Self {
        let state = match protocol {
            Protocol::Tls | Protocol::Tcp => State::Opening { overtaken: false },
            // A datagram needs nobody's consent.
            Protocol::Udp => State::Ready(Phase::Serving),
        };
        Self {
            upstream,
            endpoint,
            protocol,
            state,
            since: now,
            succeed_at: now + CONNECTION_AGE_MAX,
            leave_at: None,
            idle_after: IDLE_TIMEOUT,
            in_flight: InFlight::default(),
            outbound: Vec::new(),
            reader: FrameReader::default(),
            answered: 0,
            mismatches: 0,
            last_received: now,
            last_used: now,
            suspect_since: None,
            doubted: false,
            asked_keepalive: false,
            listed: false,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// Whether it is open and nothing speaks against it.
    pub(crate) fn works(&self) -> bool {
        self.is_ready() && self.suspect_since.is_none()
    }

    /// Whether it is still being opened after its head start.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.state == State::Opening { overtaken: true }
    }

    /// Whether it will be here tomorrow: neither old nor about to end.
    pub(crate) fn is_lasting(&self) -> bool {
        !matches!(self.state, State::Ready(Phase::Aged | Phase::Draining))
    }

    /// Whether it takes no more questions and ends with its last response.
    pub(crate) fn is_draining(&self) -> bool {
        self.state == State::Ready(Phase::Draining)
    }

    pub(crate) fn set_overtaken(&mut self) {
        if let State::Opening { overtaken } = &mut self.state {
            *overtaken = true;
        }
    }

    /// Its successor is being opened; until `again_at` that is waited for, and then another one is opened.
    pub(crate) fn set_aged(&mut self, again_at: Moment) {
        if self.state == State::Ready(Phase::Serving) {
            self.state = State::Ready(Phase::Aged);
        }
        self.succeed_at = again_at;
    }

    /// Its successor is being opened, and is waited for no longer than until `leave_at`.
    pub(crate) fn set_distrusted(&mut self, leave_at: Moment) {
        self.set_aged(leave_at);
        self.leave_at.get_or_insert(leave_at);
    }

    /// It takes no more questions.
    pub(crate) fn drain(&mut self) {
        if self.is_ready() {
            self.state = State::Ready(Phase::Draining);
        }
    }

    /// The path is gone: it takes no more questions, and nothing that waits on it will be answered.
    pub(crate) fn lose(&mut self) {
        self.suspect_since = Some(self.last_used);
    }

    /// When it was asked for; once it is ready, when it became so.
    pub(crate) fn since(&self) -> Moment {
        self.since
    }

    /// Since when it has been of no use to anybody.
    pub(crate) fn idle_since(&self) -> Moment {
        self.last_used.max(self.last_received)
    }

    /// Whether it carries one datagram each way and no more.
    pub(crate) fn is_datagram(&self) -> bool {
        self.protocol == Protocol::Udp
    }

    /// Since when it is being opened.
    pub(crate) fn dialing_since(&self) -> Option<Moment> {
        (!self.is_ready()).then_some(self.since)
    }

    /// Queries in flight that somebody waits for.
    pub(crate) fn load(&self) -> usize {
        self.in_flight.owned()
    }

    /// Whether new questions may go here.
    pub(crate) fn is_usable(&self) -> bool {
        self.suspect_since.is_none() && self.has_room() && !self.is_draining()
    }

    /// Whether another query can be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.has_room()
    }

    /// Whether a question given to it is surely being worked at: nothing speaks against its being alive. A datagram may be lost.
    pub(crate) fn is_at_work(&self) -> bool {
        self.is_ready() && self.suspect_since.is_none() && !self.is_datagram()
    }

    /// Since when it has been ready, asked, and mute.
    pub(crate) fn silent_since(&self) -> Option<Moment> {
        self.suspect_since.filter(|_| self.is_ready())
    }

    /// Whether another connection should be opened beside this one; `congested` says that responses show a queue.
    pub(crate) fn is_crowded(&self, congested: bool) -> bool {
        let bound = if congested {
            IN_FLIGHT_BEFORE_CONGESTION
        } else {
            IN_FLIGHT_BEFORE_GROWTH
        };
        self.load() >= bound
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
        self.enqueue(message, now);
        Some(id)
    }

    /// Takes a query under the message ID it has. `None` when that is taken, or the connection is full.
    pub(crate) fn submit_as_it_is(
        &mut self,
        owner: T,
        question: QuestionRef<'_>,
        message: &[u8],
        now: Moment,
    ) -> Option<u16> {
        let id = u16::from_be_bytes(*message.first_chunk()?);
        self.in_flight
            .insert_as(id, owner, question.to_owned(), now)?;
        self.enqueue(message, now);
        Some(id)
    }

    fn enqueue(&mut self, message: &[u8], now: Moment) {
        match self.protocol {
            Protocol::Tls | Protocol::Tcp => {
                append_frame(message, &mut self.outbound);
            }
            Protocol::Udp => self.outbound.extend_from_slice(message),
        }
        self.last_used = now;
        if !self.has_room() {
            // What nobody answers would block it for as long as it lives.
            self.drain();
        }
    }

    pub(crate) fn abandon(&mut self, id: u16) {
        self.in_flight.abandon(id);
    }

    /// It is open. `age_jitter`, between 0 and 1, spreads the ages over a tenth around the bound.
    pub(crate) fn handle_ready(&mut self, now: Moment, age_jitter: f32) {
        self.state = State::Ready(Phase::Serving);
        self.since = now;
        self.succeed_at = now + CONNECTION_AGE_MAX.mul_f32(0.9 + 0.2 * age_jitter.clamp(0.0, 1.0));
        self.last_received = now;
        self.suspect_since = None;
        self.doubted = false;
    }

    /// Octets came; whatever they are, the path is alive.
    pub(crate) fn handle_received(&mut self, now: Moment) {
        self.last_received = now;
        self.suspect_since = None;
        self.doubted = false;
    }

    /// Whether anything came since.
    pub(crate) fn heard_since(&self, since: Moment) -> bool {
        self.last_received > since
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
        // Not from now on: who asked first has waited since then, and is given up with the connection.
        self.suspect_since.get_or_insert_with(|| sent.max(heard));
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
            // Anybody who guesses the port can send a datagram (RFC 5452 section 9.1).
            return match self.protocol {
                Protocol::Udp => Accepted::Stray(self.in_flight.only_owner()),
                Protocol::Tls | Protocol::Tcp => Accepted::Misbehaved,
            };
        };
        let Some(slot) = self.in_flight.find(header.id) else {
            return Accepted::Stray(self.in_flight.only_owner());
        };
        let (owner, sent) = (slot.owner, slot.sent);
        match ResponseView::parse(message) {
            Ok(response)
                if response.answers(slot.question.view())
                    || (!self.is_datagram() && response.is_bare_error()) =>
            {
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

    /// When [`Connection::due`] will ask for something if nothing happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        self.next_due().map(|(moment, _)| moment)
    }

    /// What time asks of it now.
    pub(crate) fn due(&self, now: Moment) -> Option<Due> {
        self.next_due()
            .filter(|(moment, _)| *moment <= now)
            .map(|(_, due)| due)
    }

    /// Its upstream was put in doubt.
    pub(crate) fn set_doubted(&mut self) {
        self.doubted = true;
    }

    fn next_due(&self) -> Option<(Moment, Due)> {
        let doubt = self.unheard_since().filter(|_| !self.doubted);
        let doubt = doubt.map(|since| (since + IMPATIENCE, Due::Doubt));
        let other = self.next_due_but_doubt();
        doubt
            .into_iter()
            .chain(other)
            .min_by_key(|(moment, _)| *moment)
    }

    /// Since when somebody has waited and nothing has come.
    fn unheard_since(&self) -> Option<Moment> {
        if self.is_ready() {
            self.suspect_since
        } else {
            (self.load() > 0).then_some(self.since)
        }
    }

    fn next_due_but_doubt(&self) -> Option<(Moment, Due)> {
        let phase = match self.state {
            State::Opening { overtaken: false } => {
                return Some((self.since + DIAL_HEAD_START, Due::Overtake));
            }
            State::Opening { overtaken: true } => {
                return Some((
                    self.since + DIAL_TIMEOUT,
                    Due::Close(CloseReason::DialTimedOut),
                ));
            }
            State::Ready(phase) => phase,
        };
        if self.protocol == Protocol::Udp {
            let lost = Due::Close(CloseReason::Silent);
            return Some((self.since + DATAGRAM_TIMEOUT, lost));
        }
        if let Some(since) = self.suspect_since {
            return Some((since + QUESTION_BUDGET, Due::Close(CloseReason::Silent)));
        }
        let idle = (self.load() == 0).then(|| match phase {
            Phase::Serving => (
                self.idle_since() + self.idle_after,
                Due::Close(CloseReason::Idle),
            ),
            // It waits for its successor as long as one may take.
            Phase::Aged => {
                let patience = self.idle_after + DIAL_TIMEOUT;
                (self.idle_since() + patience, Due::Close(CloseReason::Idle))
            }
            Phase::Draining => (self.idle_since(), Due::Close(CloseReason::Aged)),
        });
        let age = match (phase, self.leave_at) {
            (Phase::Aged, Some(leave_at)) => Some((leave_at, Due::Leave)),
            (Phase::Serving | Phase::Aged, _) => Some((self.succeed_at, Due::Succeed)),
            (Phase::Draining, _) => None,
        };
        idle.into_iter()
            .chain(age)
            .min_by_key(|(moment, _)| *moment)
    }

    /// Whether a query given to it at `sent` went straight out, so that its response time means something.
    pub(crate) fn was_ready_at(&self, sent: Moment) -> bool {
        self.is_ready() && self.since <= sent
    }

    /// Ends it: who still waited, oldest first.
    pub(crate) fn into_owners(self) -> Vec<T> {
        self.in_flight.into_owners()
    }
}

#[cfg(test)]
mod tests;
