//! Moves the octets of upstream connections: TLS, and plain TCP for the routes that ask for it.
//!
//! Promises:
//! - All queries that wait for a connection in a turn leave in one write, over TLS in one record where they fit.
//! - An idle connection has a reader: FIN, close_notify and reset reach the engine at once.
//! - A connection is reported up when its handshake is over and the upstream is who it has to be, on resumed sessions too.
//!
//! Deliberately absent: every decision (see `dotward_core::engine`); datagrams (see `datagram`).

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use dotward_core::time::Moment;
use dotward_core::upstream::{CloseReason, ConnectionId, Protocol, UpstreamId};
use rustls::Connection;
use rustls::pki_types::UnixTime;
use tokio::net::{TcpStream, UdpSocket};

use super::{datagram, dial};
use crate::config::Binding;
use crate::limits::{READ_PER_TURN, TRANSMIT_CHUNK};
use crate::signal::{Ready, Signal, Wants};
use crate::stream::{Stream, StreamEnd};
use crate::tally::HandshakeFacts;
use crate::tls::client::UpstreamTls;
use crate::tls::verify::fault_of;
use crate::tls::words::words;
use crate::worker::{State, Worker};

/// One connection the engine asked for.
#[derive(Debug)]
pub(crate) struct UpstreamConnection {
    pub(super) upstream: UpstreamId,
    pub(super) endpoint: SocketAddr,
    pub(super) signal: Rc<Signal>,
    /// When it was asked for.
    pub(super) began: Moment,
    /// What TLS was begun with; may have been replaced since.
    pub(super) tls: Option<Rc<UpstreamTls>>,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// TCP is being set up by the connection's task.
    Connecting,
    /// TLS is being set up.
    Handshaking(Stream),
    /// Reported to the engine as connected.
    Up(Stream),
    /// No stream at all: one datagram each way.
    Datagram(Rc<UdpSocket>),
}

impl UpstreamConnection {
    /// Says goodbye, if there is anybody to say it to, and ends the task.
    pub(crate) fn close(self) {
        self.signal.stop();
        match self.phase {
            Phase::Connecting | Phase::Datagram(_) => {}
            Phase::Handshaking(stream) | Phase::Up(stream) => stream.close(),
        }
    }

    /// What has to be looked at again when trust changes: whose connection, where to, and its TLS once that is up.
    pub(crate) fn tls(&self) -> Option<(UpstreamId, IpAddr, &Connection)> {
        match &self.phase {
            Phase::Connecting | Phase::Handshaking(_) | Phase::Datagram(_) => None,
            Phase::Up(stream) => Some((self.upstream, self.endpoint.ip(), stream.connection()?)),
        }
    }

    fn stream(&mut self) -> Option<&mut Stream> {
        match &mut self.phase {
            Phase::Connecting | Phase::Datagram(_) => None,
            Phase::Handshaking(stream) | Phase::Up(stream) => Some(stream),
        }
    }
}

/// Begins to open a connection.
pub(crate) fn open(
    state: &mut State,
    worker: &Rc<Worker>,
    connection: ConnectionId,
    (upstream, protocol): (UpstreamId, Protocol),
    endpoint: SocketAddr,
    now: Moment,
) {
    let signal = Rc::new(Signal::default());
    let opened = UpstreamConnection {
        upstream,
        endpoint,
        signal: Rc::clone(&signal),
        began: now,
        tls: None,
        phase: Phase::Connecting,
    };
    state.connections.insert(connection, opened);
    let binding = state.bindings.get(upstream.0).cloned().unwrap_or_default();
    let task = run(
        Rc::clone(worker),
        connection,
        (endpoint, protocol),
        binding,
        signal,
    );
    tokio::task::spawn_local(task);
}

/// The task of one connection: connects, then waits for the socket until the stream is gone.
async fn run(
    worker: Rc<Worker>,
    connection: ConnectionId,
    (endpoint, protocol): (SocketAddr, Protocol),
    binding: Rc<Binding>,
    signal: Rc<Signal>,
) {
    let connected = tokio::select! {
        () = signal.stopped() => return,
        connected = dial::connect(endpoint, &binding) => connected,
    };
    let source = worker.turn(|state, _, now| match connected {
        Ok(socket) if protocol == Protocol::Tls => begin_tls(state, connection, socket, now),
        Ok(socket) => begin_plain(state, connection, socket, now),
        Err(error) => {
            state.events.note_fault(
                state.connections.get(connection).map(|c| c.upstream),
                &error,
            );
            fail(state, connection, dial::reason_of(&error, endpoint), now);
            None
        }
    });
    let Some(source) = source else { return };
    while signal.ready(&*source, None).await != Ready::Stopped {
        if worker.turn(|state, _, now| serve(state, connection, now)) {
            tokio::task::yield_now().await;
        }
    }
}

fn begin_tls(
    state: &mut State,
    connection: ConnectionId,
    socket: TcpStream,
    now: Moment,
) -> Option<Rc<TcpStream>> {
    let open = state.connections.get_mut(connection)?;
    open.tls = state.upstreams.get(open.upstream.0).cloned().flatten();
    let tls = open.tls.as_ref();
    let Some(tls) = tls.and_then(|tls| tls.connect(open.endpoint.ip()).ok()) else {
        fail(state, connection, CloseReason::Unreachable, now);
        return None;
    };
    let stream = Stream::tls(socket, tls);
    let source = stream.socket();
    open.phase = Phase::Handshaking(stream);
    flush(state, connection, now).then_some(source)
}

/// A connection without TLS is up when TCP is.
fn begin_plain(
    state: &mut State,
    connection: ConnectionId,
    socket: TcpStream,
    now: Moment,
) -> Option<Rc<TcpStream>> {
    let open = state.connections.get_mut(connection)?;
    let stream = Stream::plain(socket);
    let source = stream.socket();
    open.phase = Phase::Up(stream);
    state.engine.handle_connected(connection, now);
    flush(state, connection, now).then_some(source)
}

/// Reads what the upstream sent. True when there is more to read.
fn serve(state: &mut State, connection: ConnectionId, now: Moment) -> bool {
    let Some(stream) = state
        .connections
        .get_mut(connection)
        .and_then(UpstreamConnection::stream)
    else {
        return false;
    };
    let received = stream.read(&mut state.near.buffers, READ_PER_TURN);
    if !complete_handshake(state, connection, now) {
        return false;
    }
    if !state.near.buffers.plain.is_empty() {
        let octets = &state.near.buffers.plain;
        state.engine.handle_bytes(connection, octets, now);
    }
    if let Some(end) = received.end {
        end_of(state, connection, &end, now);
        return false;
    }
    // What waits for room goes first, or a stream that just got some would take no more queries, and nothing would wake it later.
    let blocked = is_blocked(state, connection);
    if blocked && !flush(state, connection, now) {
        return false;
    }
    // Queries before the flush: what TLS has to say (the end of the handshake, most often) leaves in the same write.
    transmit(state, connection, now);
    flush(state, connection, now) && received.more
}

/// Reports the connection up once its handshake is over. False when the connection is gone.
fn complete_handshake(state: &mut State, connection: ConnectionId, now: Moment) -> bool {
    let Some(open) = state.connections.get_mut(connection) else {
        return false;
    };
    let stream = match std::mem::replace(&mut open.phase, Phase::Connecting) {
        Phase::Handshaking(stream) if !stream.is_handshaking() => stream,
        other @ (Phase::Connecting | Phase::Handshaking(_) | Phase::Up(_) | Phase::Datagram(_)) => {
            open.phase = other;
            return true;
        }
    };
    let tls = state
        .upstreams
        .get(open.upstream.0)
        .and_then(Option::as_ref);
    let checked = match (tls, stream.connection()) {
        (Some(tls), Some(connection)) => check(tls, open, connection),
        // Who could not be examined is nobody we know.
        (None, _) | (_, None) => Err(rustls::Error::General("no TLS to examine".to_owned())),
    };
    tell_handshake(open, &stream);
    match (&checked, tls, stream.connection()) {
        (Ok(()), Some(tls), Some(connection)) => {
            if let Some(handshakes) = state.handshakes.get_mut(open.upstream.0) {
                handshakes.add(HandshakeFacts::of(connection), now.since(open.began));
            }
            state
                .trust
                .handle_handshake(open.upstream, tls, connection, now);
        }
        (Err(_), _, _) | (_, None, _) | (_, _, None) => {}
    }
    open.phase = Phase::Up(stream);
    match checked {
        Ok(()) => {
            state.engine.handle_connected(connection, now);
            true
        }
        Err(error) => {
            end_of(state, connection, &StreamEnd::Tls(error), now);
            false
        }
    }
}

/// What the handshake itself did not look at. When the settings were replaced in the middle of it, that is everything.
fn check(
    tls: &Rc<UpstreamTls>,
    open: &UpstreamConnection,
    connection: &Connection,
) -> Result<(), rustls::Error> {
    let address = open.endpoint.ip();
    match &open.tls {
        Some(begun_with) if Rc::ptr_eq(begun_with, tls) => tls.check(connection, address),
        Some(_) | None => tls.examine(connection, address, UnixTime::now()),
    }
}

fn tell_handshake(open: &UpstreamConnection, stream: &Stream) {
    let tls = stream.connection();
    let alpn = tls.and_then(|tls| tls.alpn_protocol());
    tracing::debug!(
        endpoint = %open.endpoint,
        version = tls.and_then(|tls| tls.protocol_version()).map(|it| format!("{it:?}").replace("TLSv1_", "TLS 1.")),
        group = tls.and_then(|tls| tls.negotiated_key_exchange_group()).map(|it| format!("{:?}", it.name())),
        handshake = tls.and_then(|tls| tls.handshake_kind()).map(|it| format!("{it:?}")),
        alpn = alpn.map(|it| String::from_utf8_lossy(it).into_owned()),
        "connected"
    );
}

fn end_of(state: &mut State, connection: ConnectionId, end: &StreamEnd, now: Moment) {
    let upstream = state.connections.get(connection).map(|c| c.upstream);
    let reason = match end {
        StreamEnd::Ended => CloseReason::Ended,
        StreamEnd::Failed(error) => {
            state.events.note_fault(upstream, error);
            CloseReason::Reset
        }
        StreamEnd::Tls(error) => {
            state.events.note_fault(upstream, &words(error));
            CloseReason::Tls(fault_of(error))
        }
    };
    fail(state, connection, reason, now);
}

/// Lets go of a connection and tells the engine.
pub(super) fn fail(state: &mut State, connection: ConnectionId, reason: CloseReason, now: Moment) {
    if let Some(open) = state.connections.remove(connection) {
        open.close();
        state.engine.handle_closed(connection, reason, now);
    }
}

fn is_blocked(state: &mut State, connection: ConnectionId) -> bool {
    let open = state.connections.get_mut(connection);
    open.and_then(UpstreamConnection::stream)
        .is_some_and(|stream| stream.is_blocked())
}

/// Writes what waits in the stream. False when the connection is gone.
fn flush(state: &mut State, connection: ConnectionId, now: Moment) -> bool {
    let Some(open) = state.connections.get_mut(connection) else {
        return false;
    };
    let signal = Rc::clone(&open.signal);
    let Some(stream) = open.stream() else {
        return true;
    };
    match stream.flush() {
        Ok(_) => {
            signal.want(Wants {
                read: true,
                write: stream.is_blocked(),
            });
            true
        }
        Err(error) => {
            end_of(state, connection, &StreamEnd::Failed(error), now);
            false
        }
    }
}

/// Hands the queries that wait for a connection to its stream, as long as the socket has room.
pub(crate) fn transmit(state: &mut State, connection: ConnectionId, now: Moment) {
    if let Some(open) = state.connections.get(connection)
        && let Phase::Datagram(socket) = &open.phase
    {
        let socket = Rc::clone(socket);
        return datagram::send(state, connection, &socket, now);
    }
    while let Some(open) = state.connections.get_mut(connection)
        && let Phase::Up(stream) = &mut open.phase
        && !stream.is_blocked()
    {
        let octets = state.engine.outbound(connection);
        let octets = octets.get(..TRANSMIT_CHUNK).unwrap_or(octets);
        if octets.is_empty() {
            return;
        }
        stream.outgoing().extend_from_slice(octets);
        let taken = octets.len();
        state.engine.handle_transmitted(connection, taken);
        if !flush(state, connection, now) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
