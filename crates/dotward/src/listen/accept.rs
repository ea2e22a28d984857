//! Accepts clients on streams.
//!
//! Promises:
//! - A client that may not ask is let go at once and takes nobody's place; a load balancer, which speaks for others, is heard first.
//! - Accepting never ends because of an error; want of descriptors slows it down, and so do more TLS handshakes than one listener gets.
//!   Who is let go begins none, so that strangers take no handshake from those who may ask; behind a load balancer neither.
//!
//! Deliberately absent: what clients say (`opening`, `stream`).

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dotward_core::front::Client;
use dotward_core::wire::Transport;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};

use super::handshakes::Turnstile;
use super::opening::Opening;
use super::stream;
use crate::clock;
use crate::crew;
use crate::events::Repeats;
use crate::limits::{ACCEPT_FAILURES, ACCEPT_PAUSE, CLIENT_IDLE, LISTEN_BACKLOG};
use crate::near::Host;
use crate::signal::Signal;
use crate::stream::Stream;
use crate::worker::Worker;

/// Accepts clients of one listener, with TLS or without, until `signal` is stopped. Accepted by the first worker for all, because
/// connections that wait in a listener of its own are lost when a worker leaves; which of them serves a client is decided by
/// [`crew::place`].
pub(crate) async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    tls: bool,
    signal: Rc<Signal>,
) {
    let tls = tls.then(|| Arc::new(Turnstile::default()));
    let mut shortage = Repeats::default();
    let mut failures = 0;
    loop {
        let pause = tokio::select! {
            () = signal.stopped() => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => {
                    failures = 0;
                    welcome(&worker, socket, address, tls.as_ref());
                    // A stream that had to go gives its descriptor back when its task ends, which is to be before the next comes.
                    tokio::task::yield_now().await;
                    tls.as_ref().and_then(|it| it.pause(clock::now()))
                }
                Err(error) => {
                    failures += 1;
                    pause_after(&error, failures, &mut shortage)
                }
            }
        };
        if let Some(pause) = pause {
            tokio::select! {
                () = signal.stopped() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
    accept_last(&worker, listener, tls.as_ref());
}

/// Who had connected before the order to stop is served, as far as it asked already. Asked of the kernel: the event loop may not know yet
/// of who came last.
fn accept_last(worker: &Rc<Worker>, listener: TcpListener, tls: Option<&Arc<Turnstile>>) {
    let Ok(listener) = listener.into_std() else {
        return;
    };
    // The kernel keeps one more than it is told.
    for _ in 0..=LISTEN_BACKLOG {
        let (socket, address) = match listener.accept() {
            Ok(accepted) => accepted,
            // One who is gone already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(_) => return,
        };
        match socket
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(socket))
        {
            Ok(socket) => welcome(worker, socket, address, tls),
            Err(error) => tracing::debug!(%error, %address, "a client is let go"),
        }
    }
}

/// Finds a place for who may ask. `tls` counts the handshake that begins with that.
fn welcome(
    worker: &Rc<Worker>,
    socket: TcpStream,
    address: SocketAddr,
    tls: Option<&Arc<Turnstile>>,
) {
    if !worker.hears(address.ip()) {
        tracing::debug!(%address, "a client that may not ask is let go");
        return;
    }
    // An IPv4 client of a dual-stack socket is the same client to every list.
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    if let Some(turnstile) = tls
        && !worker.is_balancer(address.ip())
    {
        if !worker.admits_handshake(address.ip()) {
            return;
        }
        turnstile.pass(clock::now());
    }
    crew::place(worker, socket, address, tls.cloned());
}

/// A failed accept mostly concerns one connection, which is gone; want of descriptors or memory lasts longer, and so does whatever comes
/// again and again.
fn pause_after(error: &io::Error, failures: u32, told: &mut Repeats) -> Option<Duration> {
    let shortage = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    let is_shortage = Errno::from_io_error(error).is_some_and(|errno| shortage.contains(&errno));
    if is_shortage && let Some(times) = told.note(clock::now()) {
        tracing::warn!(
            %error, times,
            "clients over TCP and TLS have to wait; look at the limits of this machine (RLIMIT_NOFILE, fs.file-max, memory)"
        );
    }
    (is_shortage || failures >= ACCEPT_FAILURES).then_some(ACCEPT_PAUSE)
}

/// Serves a client that connected and may be heard.
pub(crate) fn admit<H: Host>(
    host: &Rc<H>,
    socket: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<Turnstile>>,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set for a client");
    }
    let admitted = host.near_turn(|near, _, now| {
        let is_balancer = near.balancers.contains(address.ip());
        let (stream, transport) = match tls.as_ref().map(|_| near.listen_tls.accept()) {
            None => (Stream::plain(socket), Transport::Tcp),
            Some(None) => return None,
            Some(Some(Ok(connection))) => (Stream::tls(socket, connection), Transport::Tls),
            Some(Some(Err(error))) => {
                tracing::debug!(%error, "no TLS for a client");
                return None;
            }
        };
        let (opening, uncounted) = if is_balancer {
            (Opening::Header, tls)
        } else {
            (Opening::of(&stream), None)
        };
        let client = Client {
            address,
            transport,
            idle: CLIENT_IDLE,
        };
        let source = stream.socket();
        let (key, signal) = near
            .clients
            .admit(stream, client, (opening, uncounted), now);
        Some((key, source, signal, opening.patience()))
    });
    if let Some((key, source, signal, patience)) = admitted {
        let run = stream::run(Rc::clone(host), key, source, signal, patience);
        tokio::task::spawn_local(run);
    }
}
