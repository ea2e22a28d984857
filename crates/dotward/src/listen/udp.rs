//! Queries in datagrams.
//!
//! Promises: a batch is received with one system call and its replies leave with one; a reply leaves from the address its query was
//! sent to (RFC 2181 section 4.1); receiving never ends because of an error.
//!
//! Deliberately absent: fragments, larger sizes and truncation, which the front and the engine decide.

use std::net::SocketAddr;
use std::rc::Rc;
use std::{fmt, io};

use dotward_core::front::Client;
use dotward_core::time::Moment;
use dotward_core::wire::Transport;
use dotward_udp::{BatchSocket, Datagram, LocalAddress, PushError, RecvBatch, SendBatch};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{Taken, take_query};
use crate::limits::LAST_BATCHES;
use crate::signal::{Ready, Signal, Wants};
use crate::worker::{ReplyTo, State, Worker};

/// A socket in the event loop and the same socket for batches.
#[derive(Debug)]
struct Socket {
    /// A second descriptor of the socket. tokio waits on sockets of its own types; on a descriptor it was merely lent it
    /// waits only through an unsafe function.
    waited: UdpSocket,
    batched: BatchSocket,
}

impl Socket {
    fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let second = socket.try_clone()?;
        // Batches first: that makes the socket non-blocking, which the event loop takes for granted.
        let batched = BatchSocket::new(socket)?;
        Ok(Self {
            waited: UdpSocket::from_std(second)?,
            batched,
        })
    }

    /// Runs `call` if the socket is ready for it; [`io::ErrorKind::WouldBlock`] from it ends that readiness.
    fn call<R>(
        &self,
        interest: Interest,
        call: impl FnOnce(&BatchSocket) -> io::Result<R>,
    ) -> io::Result<R> {
        self.waited.try_io(interest, || call(&self.batched))
    }
}

/// One UDP socket and the replies that wait to leave it.
pub(crate) struct UdpPort {
    socket: Rc<Socket>,
    replies: SendBatch,
    signal: Rc<Signal>,
    /// Replies that found no room or that the kernel refused.
    lost: u64,
}

impl fmt::Debug for UdpPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpPort")
            .field("waiting", &self.replies.len())
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl UdpPort {
    /// Appends a reply to the batch.
    pub(crate) fn push(&mut self, message: &[u8], peer: SocketAddr, local: LocalAddress) {
        match self.replies.push(message, peer, local) {
            Ok(()) => {}
            Err(PushError::Full) => {
                self.flush();
                if self.replies.push(message, peer, local).is_err() {
                    self.lost += 1;
                }
            }
            Err(PushError::TooLong) => self.lost += 1,
        }
    }

    /// Sends the batch. What the socket has no room for waits until it has.
    pub(crate) fn flush(&mut self) {
        if self.replies.is_empty() {
            return;
        }
        let replies = &mut self.replies;
        let sent = self.socket.call(Interest::WRITABLE, |socket| {
            let outcome = socket.send(replies)?;
            if outcome.left > 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(outcome)
        });
        match sent {
            Ok(outcome) => {
                self.lost += u64::try_from(outcome.skipped).unwrap_or_default();
                if let Some(error) = outcome.fault {
                    tracing::debug!(%error, skipped = outcome.skipped, "UDP replies not sent");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::debug!(%error, lost = self.replies.len(), "UDP replies not sent");
                self.lost += u64::try_from(self.replies.len()).unwrap_or_default();
                self.replies.clear();
            }
        }
        self.signal.want(Wants {
            read: true,
            write: !self.replies.is_empty(),
        });
    }

    /// Whether no reply waits.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.replies.is_empty()
    }
}

/// Serves `socket`. Ends when the returned signal is stopped.
pub(crate) fn serve(worker: &Rc<Worker>, socket: std::net::UdpSocket) -> io::Result<Rc<Signal>> {
    let socket = Rc::new(Socket::new(socket)?);
    let signal = Rc::new(Signal::default());
    signal.want(Wants {
        read: true,
        write: false,
    });
    let port = worker.turn(|state, _, _| {
        state.ports.push(UdpPort {
            socket: Rc::clone(&socket),
            replies: SendBatch::new(),
            signal: Rc::clone(&signal),
            lost: 0,
        });
        state.ports.len() - 1
    });
    let task = run(Rc::clone(worker), socket, Rc::clone(&signal), port);
    tokio::task::spawn_local(task);
    Ok(signal)
}

async fn run(worker: Rc<Worker>, socket: Rc<Socket>, signal: Rc<Signal>, port: usize) {
    let mut batch = RecvBatch::new();
    while signal.ready(&socket.waited, None).await != Ready::Stopped {
        if receive(&worker, &socket, &mut batch, port) {
            tokio::task::yield_now().await;
        }
    }
    // What had arrived before the order to stop is answered.
    for _ in 0..LAST_BATCHES {
        if !receive(&worker, &socket, &mut batch, port) {
            return;
        }
    }
}

/// Receives one batch and has it served. True when there may be more.
fn receive(worker: &Rc<Worker>, socket: &Socket, batch: &mut RecvBatch, port: usize) -> bool {
    // The batch still holds the datagrams of the last call when this one is not made at all, for want of readiness.
    let mut fresh = false;
    let received = socket.call(Interest::READABLE, |socket| {
        socket.recv(batch)?;
        fresh = true;
        if batch.is_full() {
            return Ok(());
        }
        // A short batch emptied the socket; this clears its readiness and saves the call that would only say so.
        Err(io::ErrorKind::WouldBlock.into())
    });
    match received {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            tracing::debug!(%error, "receiving over UDP failed");
            return true;
        }
        Ok(()) | Err(_) => {}
    }
    worker.turn(|state, _, now| {
        for datagram in batch.iter().filter(|_| fresh) {
            take(state, port, datagram, now);
        }
    });
    fresh && batch.is_full()
}

fn take(state: &mut State, port: usize, datagram: Datagram<'_>, now: Moment) {
    let (peer, local) = (datagram.meta.peer, datagram.meta.local);
    let client = Client {
        address: peer,
        transport: Transport::Udp,
    };
    let to = || ReplyTo::Udp { port, peer, local };
    if take_query(state, datagram.bytes, &client, to, now) == Taken::Reply
        && let Some(port) = state.ports.get_mut(port)
    {
        port.push(&state.reply, peer, local);
    }
}
