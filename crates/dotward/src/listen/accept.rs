//! Accepts clients on streams.
//!
//! Promises:
//! - A client that may not ask is let go at once and takes nobody's place; a load balancer, which speaks for others, is heard first.
//! - Accepting never ends because of an error; want of descriptors slows it down.
//!
//! Deliberately absent: what clients say (`opening`, `stream`).

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use dotward_core::front::Client;
use dotward_core::wire::Transport;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};

use super::opening::Opening;
use super::stream;
use crate::limits::ACCEPT_PAUSE;
use crate::signal::Signal;
use crate::stream::Stream;
use crate::worker::{State, Worker};

/// Accepts clients of one listener, with TLS or without, until `signal` is stopped.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    tls: bool,
    signal: Rc<Signal>,
) {
    loop {
        tokio::select! {
            () = signal.stopped() => return,
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => {
                    admit(&worker, socket, address, tls);
                    // A stream that had to go gives its descriptor back when its task ends, which is to be before the next comes.
                    tokio::task::yield_now().await;
                }
                Err(error) => pause_after(&error).await,
            }
        }
    }
}

/// A failed accept mostly concerns one connection, which is gone; want of descriptors or memory lasts longer.
async fn pause_after(error: &std::io::Error) {
    let shortage = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    if Errno::from_io_error(error).is_some_and(|errno| shortage.contains(&errno)) {
        tracing::debug!(%error, "accepting is slowed down");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

fn admit(worker: &Rc<Worker>, socket: TcpStream, address: SocketAddr, tls: bool) {
    // An IPv4 client of a dual-stack socket is the same client to an access list.
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let Some(opening) = worker.look(|state| opening_of(state, address.ip(), tls)) else {
        tracing::debug!(%address, "a client that may not ask is let go");
        return;
    };
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set for a client");
    }
    let (stream, transport) = match tls.then(|| worker.accept_tls()) {
        None => (Stream::plain(socket), Transport::Tcp),
        Some(None) => return,
        Some(Some(Ok(connection))) => (Stream::tls(socket, connection), Transport::Tls),
        Some(Some(Err(error))) => {
            tracing::debug!(%error, "no TLS for a client");
            return;
        }
    };
    let client = Client { address, transport };
    let source = stream.socket();
    let (key, signal) =
        worker.turn(|state, _, now| state.clients.admit(stream, client, opening, now));
    let patience = opening.patience();
    let run = stream::run(Rc::clone(worker), key, source, signal, patience);
    tokio::task::spawn_local(run);
}

/// What has to come first from `address`; `None` when it may not have a stream.
fn opening_of(state: &State, address: IpAddr, tls: bool) -> Option<Opening> {
    if state.balancers.contains(address) {
        return Some(Opening::Header);
    }
    let opening = if tls {
        Opening::Handshake
    } else {
        Opening::Octets
    };
    state.clients.allows(address).then_some(opening)
}
