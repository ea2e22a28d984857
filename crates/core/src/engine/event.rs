//! What the engine tells the shell: things to do and things that happened.

use core::net::SocketAddr;
use std::collections::VecDeque;

use crate::limits::EVENTS_MAX;
use crate::upstream::{CloseReason, ConnectionId, Protocol, UpstreamId};

/// Something to do to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to `endpoint` and set TLS up as `upstream` demands; then call [`Engine::handle_connected`](super::Engine::handle_connected) or
    /// [`Engine::handle_closed`](super::Engine::handle_closed).
    Open {
        /// The connection's name from here on.
        connection: ConnectionId,
        /// Whose TLS settings apply.
        upstream: UpstreamId,
        /// Where to.
        endpoint: SocketAddr,
        /// What to speak there. For [`Protocol::Udp`] the socket has to have a random port and be connected; it is used at once, each
        /// message is one datagram without a length, and responses come in by [`Engine::handle_datagram`](super::Engine::handle_datagram).
        protocol: Protocol,
    },
    /// Close it, or stop opening it. The engine has forgotten it; nothing needs to be reported back.
    Close {
        /// Which.
        connection: ConnectionId,
    },
}

/// Something worth counting or logging. No names and no client addresses in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An answer had a private address where none may be, and was not told.
    AnswerWithheld,
    /// A connection is being opened.
    ConnectionOpening {
        /// Which.
        connection: ConnectionId,
        /// Of whom.
        upstream: UpstreamId,
        /// Where to.
        endpoint: SocketAddr,
    },
    /// A connection can be used.
    ConnectionReady {
        /// Which.
        connection: ConnectionId,
        /// Of whom.
        upstream: UpstreamId,
        /// Where to.
        endpoint: SocketAddr,
    },
    /// A connection ended or could not be opened.
    ConnectionClosed {
        /// Which.
        connection: ConnectionId,
        /// Of whom.
        upstream: UpstreamId,
        /// Where to.
        endpoint: SocketAddr,
        /// Why.
        reason: CloseReason,
        /// Responses it brought.
        answered: u64,
        /// Questions that had to move.
        unanswered: usize,
    },
    /// A message with the ID of a query in flight that was not its response.
    ResponseDisputed {
        /// Whose.
        upstream: UpstreamId,
    },
    /// A message with an ID nobody waits for.
    ResponseStray {
        /// Whose.
        upstream: UpstreamId,
    },
    /// The upstream responds again.
    UpstreamUp {
        /// Which.
        upstream: UpstreamId,
    },
    /// Questions to the upstream wait longer than usual and nothing comes back.
    UpstreamSuspect {
        /// Which.
        upstream: UpstreamId,
        /// What keeps it from answering: [`CloseReason::Silent`] unless no address of it can be used.
        reason: CloseReason,
    },
    /// The upstream knows nothing of EDNS and is asked without it for a while.
    UpstreamWithoutEdns {
        /// Which.
        upstream: UpstreamId,
    },
    /// No connection to the upstream can be made.
    UpstreamDown {
        /// Which.
        upstream: UpstreamId,
        /// Why.
        reason: CloseReason,
    },
}

/// Events that wait to be fetched; the oldest go first when there are too many.
#[derive(Debug, Default)]
pub(super) struct Events {
    waiting: VecDeque<Event>,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        if self.waiting.len() >= EVENTS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.waiting.pop_front()
    }
}
