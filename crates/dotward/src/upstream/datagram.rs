//! Clear-text DNS in datagrams, for the routes that ask for it: one socket for each query.
//!
//! Promises:
//! - The socket is connected and its port is the kernel's choice, so a forger has to guess the port besides the ID (RFC 5452 section 9.2), and
//!   nobody but the upstream's address is heard.
//! - What ICMP says about a query ends it at once: nobody waits for a host that is known not to answer.
//!
//! Deliberately absent: repeating, judging, time limits and what a truncated response leads to (see `dotward_core::engine`).

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use dotward_core::time::Moment;
use dotward_core::upstream::{CloseReason, ConnectionId, UpstreamId};
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::dial;
use super::driver::{Phase, UpstreamConnection, fail};
use crate::config::Binding;
use crate::signal::Signal;
use crate::worker::{State, Worker};

/// What ICMP says does not make a socket readable: it is an event of its own.
const ANSWER_OR_ERROR: Interest = Interest::READABLE.add(Interest::ERROR);

/// Makes the socket of one query; it can be sent on at once.
pub(crate) fn open(
    state: &mut State,
    worker: &Rc<Worker>,
    connection: ConnectionId,
    upstream: UpstreamId,
    endpoint: SocketAddr,
    now: Moment,
) {
    let binding = state.bindings.get(upstream.0).cloned().unwrap_or_default();
    let socket = match connect(endpoint, &binding) {
        Ok(socket) => Rc::new(socket),
        Err(error) => {
            state.events.note_fault(Some(upstream), &error);
            let reason = reason_of(&error, endpoint);
            return state.engine.handle_closed(connection, reason, now);
        }
    };
    let signal = Rc::new(Signal::default());
    let opened = UpstreamConnection {
        upstream,
        endpoint,
        signal: Rc::clone(&signal),
        began: now,
        tls: None,
        phase: Phase::Datagram(Rc::clone(&socket)),
    };
    state.connections.insert(connection, opened);
    let task = run(Rc::clone(worker), connection, socket, signal);
    tokio::task::spawn_local(task);
}

/// A socket for datagrams to and from `endpoint` and nobody else.
pub(super) fn connect(endpoint: SocketAddr, binding: &Binding) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(endpoint);
    let socket = Socket::new(domain, Type::DGRAM, Some(socket2::Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    dial::bind(&socket, endpoint, binding)?;
    // Without a port so far, the kernel chooses one by chance.
    socket.connect(&endpoint.into())?;
    UdpSocket::from_std(socket.into())
}

async fn run(
    worker: Rc<Worker>,
    connection: ConnectionId,
    socket: Rc<UdpSocket>,
    signal: Rc<Signal>,
) {
    loop {
        tokio::select! {
            () = signal.stopped() => return,
            // A broken socket tells its error when it is read.
            Ok(_) | Err(_) = socket.ready(ANSWER_OR_ERROR) => {}
        }
        worker.turn(|state, _, now| receive(state, connection, &socket, now));
    }
}

/// Takes one datagram, or the error; the socket stays ready while there is more.
fn receive(state: &mut State, connection: ConnectionId, socket: &UdpSocket, now: Moment) {
    let room = state.near.buffers.datagram();
    let mut try_for = |interest| {
        socket.try_io(interest, || {
            let (octets, _) = rustix::net::recv(socket, &mut *room, RecvFlags::empty())?;
            Ok(octets)
        })
    };
    // Either readiness is cleared only by a try of its own.
    let received = match try_for(Interest::READABLE) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => try_for(Interest::ERROR),
        received => received,
    };
    match received {
        Ok(octets) => {
            let message = state.near.buffers.received(octets);
            state.engine.handle_datagram(connection, message, now);
        }
        Err(error) => end(state, connection, &error, now),
    }
}

/// Sends the query that waits for the socket.
pub(super) fn send(state: &mut State, connection: ConnectionId, socket: &UdpSocket, now: Moment) {
    let message = state.engine.outbound(connection);
    // The kernel is asked without waiting for readiness, which a socket made in this turn cannot have yet.
    let sent = rustix::net::send(socket, message, SendFlags::empty());
    let octets = message.len();
    state.engine.handle_transmitted(connection, octets);
    if let Err(error) = sent {
        end(state, connection, &error.into(), now);
    }
}

/// A full buffer loses the datagram, as the network may; it is repeated like any other that is lost.
fn end(state: &mut State, connection: ConnectionId, error: &io::Error, now: Moment) {
    if error.kind() == io::ErrorKind::WouldBlock {
        return;
    }
    let Some(open) = state.connections.get(connection) else {
        return;
    };
    let reason = reason_of(error, open.endpoint);
    state.events.note_fault(Some(open.upstream), error);
    fail(state, connection, reason, now);
}

/// A failure in the words of the engine. On a connected socket a refusal is what ICMP says about the port.
fn reason_of(error: &io::Error, endpoint: SocketAddr) -> CloseReason {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        CloseReason::Refused
    } else if dial::is_shortage(error, endpoint) {
        CloseReason::NoResources
    } else {
        CloseReason::Unreachable
    }
}
