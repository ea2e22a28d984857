//! Queries on streams: TCP (RFC 7766) and DNS over TLS (RFC 7858).
//!
//! Promises:
//! - Queries are pipelined and answered in the order in which answers come (RFC 7766 sections 6.2.1.1 and 7); length and body
//!   leave in one write, all replies of a turn together.
//! - When the process is about to end a client that waits for nothing is told at once that nothing more will come, so that it asks
//!   elsewhere and no question is left unread; one that waits is told so behind its last reply.
//! - A client that closes its sending side still gets what is in flight, then the stream ends.
//! - What comes before the first query (a PROXY header, the TLS handshake) has its own time and cannot be left out: see
//!   [`super::opening`].
//! - Memory per stream is bounded: nothing is read while whole queries wait or replies are not read, and a client that completes no
//!   query for `CLIENT_IDLE` is closed (RFC 7766 section 6.2.3), whatever octets drip in. That of all together is bounded as well: see [`debts`].
//! - One source takes a bounded part of all places.
//! - When all places are taken somebody makes room: see [`room`].
//!
//! Deliberately absent: accepting (`accept`); any look into messages.

mod debts;
mod room;

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dotward_core::exchange::Source;
use dotward_core::front::Client;
use dotward_core::policy::Acl;
use dotward_core::time::Moment;
use dotward_core::wire::frame::FrameReader;
use rustls::Connection;
use slotmap::{SlotMap, new_key_type};
use tokio::net::TcpStream;

use super::handshakes::Turnstile;
use super::opening::{self, Opening};
use super::places::Places;
use super::source::Sources;
use super::{Later, Taken, take_query};
use crate::clock;
use crate::limits::{
    CLIENT_BACKLOG, CLIENT_IN_FLIGHT, CLIENT_READ_LAST, CLIENT_READ_LEAST, CLIENT_READ_PER_TURN,
    CLIENTS_READ_IN_FULL,
};
use crate::near::{Far, Host, Near, Way};
use crate::signal::{Ready, Signal, Wants};
use crate::stream::{Flush, Stream, StreamEnd};

new_key_type! {
    /// Names one client stream; never names another one later.
    pub(crate) struct ClientKey;
}

/// All client streams of a worker.
#[derive(Debug)]
pub(crate) struct Clients {
    /// Who may have a stream.
    allow: Acl,
    /// How many streams there may be, of all workers.
    places: Arc<Places>,
    streams: SlotMap<ClientKey, ClientStream>,
    sources: Sources,
    /// Streams with something to write, each once.
    touched: Vec<ClientKey>,
    /// No more is read. What was read already is still taken.
    draining: bool,
    /// Octets of replies that wait in all streams. Invariant: the sum of their backlogs.
    owed: usize,
    /// Octets of memory for messages that are not whole. Invariant: the sum of what each stream is said to have.
    unread: usize,
}

#[derive(Debug)]
pub(super) struct ClientStream {
    pub(super) stream: Stream,
    messages: FrameReader,
    /// Octets of memory they take, as last seen.
    unread: usize,
    signal: Rc<Signal>,
    pub(super) client: Client,
    /// Whether it has asked something.
    has_asked: bool,
    pub(super) opening: Opening,
    /// What counts the handshake that is to begin, where that is not done yet.
    pub(super) uncounted: Option<Arc<Turnstile>>,
    /// Queries the engine has.
    in_flight: usize,
    /// When the last whole query came, or the stream began.
    last_query: Moment,
    /// The client has nothing more to say.
    ended: bool,
    /// The client was full when its messages were last taken: whole ones may wait inside. Nothing is read meanwhile.
    waiting: bool,
    /// Whether the stream is in `Clients::touched`.
    touched: bool,
    /// The client was told that nothing more will come.
    finished: bool,
}

impl ClientStream {
    /// Whether the client has to read replies, or wait for some, before it may ask more; it may be owed so many octets.
    fn is_full(&self, backlog: usize) -> bool {
        self.in_flight >= CLIENT_IN_FLIGHT || self.stream.backlog() >= backlog
    }

    /// Whether the client has everything it asked for.
    fn owes_nothing(&self) -> bool {
        !self.waiting
            && self.in_flight == 0
            && self.stream.backlog() == 0
            && !self.stream.is_blocked()
    }

    /// Tells the client, once, that nothing more will come.
    fn finish(&mut self) -> io::Result<()> {
        if !self.finished {
            self.finished = self.stream.finish()? == Flush::Done;
        }
        Ok(())
    }

    fn update_wants(&self, draining: bool, backlog: usize) {
        self.signal.want(Wants {
            read: !self.ended && !draining && !self.is_full(backlog),
            write: self.stream.is_blocked(),
        });
    }
}

impl Clients {
    /// No streams yet, never more than there are `places`, and only of clients in `allow`.
    pub(crate) fn new(allow: Acl, places: Arc<Places>) -> Self {
        Self {
            allow,
            places,
            streams: SlotMap::default(),
            sources: Sources::default(),
            touched: Vec::new(),
            draining: false,
            owed: 0,
            unread: 0,
        }
    }

    /// Whether a client with this address may have a stream.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        self.allow.contains(address)
    }

    /// These may have streams from now on.
    pub(crate) fn set_allowed(&mut self, allow: Acl) {
        self.allow = allow;
    }

    /// Who has the stream, if it still exists.
    pub(crate) fn address_of(&self, key: ClientKey) -> Option<IpAddr> {
        self.streams.get(key).map(|it| it.client.address.ip())
    }

    /// The stream of a client, if it still exists.
    pub(super) fn stream_mut(&mut self, key: ClientKey) -> Option<&mut ClientStream> {
        self.streams.get_mut(key)
    }

    /// Closes the streams over TLS that `is_good` says are not, those in the handshake included. Gives back how many.
    pub(crate) fn retain_tls(&mut self, is_good: impl Fn(&Connection) -> bool) -> usize {
        let bad = |client: &ClientStream| client.stream.connection().is_some_and(|it| !is_good(it));
        let streams = self.streams.iter();
        let bad: Vec<_> = streams
            .filter(|(_, it)| bad(it))
            .map(|(key, _)| key)
            .collect();
        for key in &bad {
            self.close(*key);
        }
        bad.len()
    }

    /// Streams of all workers open at the moment.
    pub(crate) fn count_of_all(&self) -> usize {
        self.places.taken()
    }

    /// Streams of this worker open at the moment.
    pub(crate) fn count(&self) -> usize {
        self.streams.len()
    }

    /// Whether somebody has to go before the next stream comes, of whichever worker.
    pub(crate) fn are_full(&self) -> bool {
        self.places.are_full()
    }

    /// Whether clients are asked to close when they have what they want: the process is about to end, or places are scarce. Who closes first
    /// bears what TCP remembers of a connection (TIME_WAIT; RFC 7828 section 3.4, RFC 9210 section 4.3).
    fn are_urged_to_close(&self) -> bool {
        self.draining || self.places.are_scarce()
    }

    /// Appends a reply to the stream of a client, if it still exists.
    pub(crate) fn reply(&mut self, key: ClientKey, message: &[u8]) {
        let Some(client) = self.streams.get_mut(key) else {
            return;
        };
        client.in_flight = client.in_flight.saturating_sub(1);
        if client.in_flight == 0 {
            self.sources.note_answered(key, client.last_query);
        }
        self.append(key, message);
    }

    fn touch(&mut self, key: ClientKey) {
        if let Some(client) = self.streams.get_mut(key)
            && !client.touched
        {
            client.touched = true;
            self.touched.push(key);
        }
    }

    /// Writes what the touched streams have, and lets go of those that are over.
    pub(crate) fn flush(&mut self) {
        while let Some(key) = self.touched.pop() {
            let most = self.backlog_of_one();
            let Some(client) = self.streams.get_mut(key) else {
                continue;
            };
            client.touched = false;
            let before = client.stream.backlog();
            let mut broken = client.stream.flush().is_err();
            self.owed = self.owed + client.stream.backlog() - before;
            if client.waiting && !client.is_full(most) {
                client.signal.poke();
            }
            let done = client.owes_nothing();
            if done && self.draining {
                broken |= client.finish().is_err();
            }
            client.update_wants(self.draining, most);
            if broken || done && client.ended {
                self.close(key);
            }
        }
    }

    pub(super) fn close(&mut self, key: ClientKey) {
        if let Some(client) = self.streams.remove(key) {
            self.owed -= client.stream.backlog();
            self.unread -= client.unread;
            self.sources.leave(key);
            self.places.give_back(1);
            client.signal.stop();
            client.stream.close();
        }
    }

    /// Stops reading from all clients, and has the next flush tell those who wait for nothing.
    fn stop_reading(&mut self) {
        self.draining = true;
        let keys: Vec<_> = self.streams.keys().collect();
        for key in keys {
            self.touch(key);
        }
    }

    /// Closes all streams.
    pub(crate) fn close_all(&mut self) {
        (self.owed, self.unread) = (0, 0);
        self.places.give_back(self.streams.len());
        self.sources = Sources::default();
        for (_, client) in self.streams.drain() {
            client.signal.stop();
            client.stream.close();
        }
    }

    /// Whether no reply waits to be written and no query that was read waits to be taken.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.owed == 0
            && self
                .streams
                .values()
                .all(|client| !client.stream.is_blocked() && !client.waiting)
    }

    /// Gives a client its place.
    pub(super) fn admit(
        &mut self,
        stream: Stream,
        client: Client,
        (opening, uncounted): (Opening, Option<Arc<Turnstile>>),
        now: Moment,
    ) -> (ClientKey, Rc<Signal>) {
        // Behind a load balancer the source is not known yet.
        if opening == Opening::Header || !self.make_room_of(client.address.ip()) {
            self.make_room();
        }
        let signal = Rc::new(Signal::default());
        let source = Source::of(client.address.ip());
        let client = ClientStream {
            stream,
            has_asked: false,
            opening,
            uncounted,
            messages: FrameReader::default(),
            unread: 0,
            signal: Rc::clone(&signal),
            client,
            in_flight: 0,
            last_query: now,
            ended: false,
            waiting: false,
            touched: false,
            finished: false,
        };
        client.update_wants(self.draining, CLIENT_BACKLOG);
        self.places.take();
        let key = self.streams.insert(client);
        self.sources.enter(key, source, now);
        (key, signal)
    }
}

/// Waits for one client's socket, at most `patience` before the worker is asked how long more.
pub(super) async fn run<H: Host>(
    host: Rc<H>,
    key: ClientKey,
    source: Rc<TcpStream>,
    signal: Rc<Signal>,
    patience: Duration,
) {
    let mut idle = pin!(tokio::time::sleep(patience));
    loop {
        match signal.ready(&*source, Some(idle.as_mut())).await {
            Ready::Stopped => return,
            Ready::Io => {
                let in_turn = Reading::InTurn;
                if host.near_turn(|near, far, now| serve(near, far, key, in_turn, now)) {
                    tokio::task::yield_now().await;
                }
            }
            Ready::Deadline => match host.near_turn(|near, _, now| expire(near, key, now)) {
                None => return,
                Some(due) => {
                    let left = due.since(clock::now());
                    idle.as_mut().reset(tokio::time::Instant::now() + left);
                }
            },
        }
    }
}

/// Ends a stream that is idle, or says when it will be.
fn expire(near: &mut Near, key: ClientKey, now: Moment) -> Option<Moment> {
    let client = near.clients.streams.get(key)?;
    let due = client.last_query + client.opening.patience();
    if now < due {
        return Some(due);
    }
    near.clients.close(key);
    None
}

/// How a client is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// In turn with others, when no query of it waits.
    InTurn,
    /// For the last time, whether queries of it wait or not.
    Last,
}

impl Reading {
    /// Octets read from one of so many clients.
    fn most(self, clients: usize) -> usize {
        let shared = CLIENT_READ_PER_TURN * CLIENTS_READ_IN_FULL / clients.max(1);
        match self {
            Self::InTurn => shared.clamp(CLIENT_READ_LEAST, CLIENT_READ_PER_TURN),
            Self::Last => CLIENT_READ_LAST,
        }
    }
}

/// Takes the queries a client sent, reads what it sends, and has its replies written. True when there is more to read.
fn serve(
    near: &mut Near,
    far: &mut impl Far,
    key: ClientKey,
    reading: Reading,
    now: Moment,
) -> bool {
    if !opening::take_header(near, key, now) {
        return false;
    }
    // What was read already comes first, or a client that never pauses has each freed place read a turn's worth more.
    take_messages(near, far, key, now);
    let clients = near.clients.count();
    let Some(client) = near.clients.streams.get_mut(key) else {
        return false;
    };
    let mut more = false;
    let may_read = !client.waiting || reading == Reading::Last;
    if !client.ended && !near.clients.draining && may_read {
        let received = client.stream.read(&mut near.buffers, reading.most(clients));
        client.messages.push(&near.buffers.plain);
        more = received.more;
        match received.end {
            None => {}
            Some(StreamEnd::Ended) => client.ended = true,
            Some(end @ (StreamEnd::Failed(_) | StreamEnd::Tls(_))) => {
                tracing::debug!(address = %client.client.address, ?end, "client stream broken");
                near.clients.close(key);
                return false;
            }
        }
        if !opening::judge(near, key) {
            return false;
        }
        take_messages(near, far, key, now);
    }
    // Also without a reply: TLS may have something to say.
    near.clients.touch(key);
    more
}

/// Takes what clients had sent before the order to stop; nothing is read from them afterwards.
pub(crate) fn read_last(near: &mut Near, far: &mut impl Far, now: Moment) {
    let keys: Vec<_> = near.clients.streams.keys().collect();
    for key in keys {
        serve(near, far, key, Reading::Last, now);
    }
    near.clients.stop_reading();
}

fn take_messages(near: &mut Near, far: &mut impl Far, key: ClientKey, now: Moment) {
    // The reader leaves its place while the front and the engine use the rest of the near.
    let Some(client) = near.clients.streams.get_mut(key) else {
        return;
    };
    let mut messages = std::mem::take(&mut client.messages);
    let mut who = client.client;
    if near.clients.are_urged_to_close() {
        who.idle = Duration::ZERO;
    }
    while let Some(client) = near.clients.streams.get(key)
        && !client.is_full(near.clients.backlog_of_one())
        && let Some(message) = messages.next_message()
    {
        let way = Way::Stream(key);
        let to = || Later { way, since: now };
        let taken = take_query(near, far, message, &who, to, now);
        let Some(client) = near.clients.streams.get_mut(key) else {
            return;
        };
        // What nobody answers is no query: it keeps no place.
        if taken != Taken::Dropped {
            client.last_query = now;
            if !client.has_asked {
                client.has_asked = true;
                near.clients.sources.note_asked(key, now);
            }
        }
        match taken {
            Taken::Reply => near.clients.append(key, &near.reply),
            Taken::Forwarded => client.in_flight += 1,
            Taken::Dropped => {}
        }
    }
    let most = near.clients.backlog_of_one();
    if let Some(client) = near.clients.streams.get_mut(key) {
        client.messages = messages;
        client.waiting = client.is_full(most);
    }
    near.clients.note_unread(key);
}

#[cfg(test)]
mod tests;
