//! What comes on a client's stream before its first query: a PROXY header where a load balancer connects, the TLS handshake.
//!
//! Promises:
//! - A balancer's connection begins with a header or ends, and nothing behind a header is looked at before the client it names is
//!   known to be one that may ask.
//! - Nobody but a balancer says who it is: a header from elsewhere ends the connection.
//! - No query is taken from a client whose certificate would not be believed now, its session resumed or not.
//! - All of it has to be over within [`CLIENT_OPENING`].
//!
//! Deliberately absent: the form of headers (`dotward_core::wire::proxy`), whose certificates are good (`tls::server`).

use std::net::SocketAddr;
use std::time::Duration;

use dotward_core::time::Moment;
use dotward_core::wire::proxy::{self, ProxyHeader};

use super::stream::ClientKey;
use crate::limits::{CLIENT_IDLE, CLIENT_OPENING};
use crate::near::{Near, SharedListenerTls};
use crate::stream::{HeaderRead, Stream, StreamEnd};

/// What is to come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A PROXY header.
    Header,
    /// The TLS handshake.
    Handshake,
    /// Octets in the clear, which must not be a PROXY header.
    Octets,
    /// Queries.
    Over,
}

impl Opening {
    /// What comes first from a client itself.
    pub(super) fn of(stream: &Stream) -> Self {
        match stream.connection() {
            Some(_) => Self::Handshake,
            None => Self::Octets,
        }
    }

    /// How long the stream may last without a whole query.
    pub(super) fn patience(self) -> Duration {
        match self {
            Self::Header | Self::Handshake => CLIENT_OPENING,
            Self::Octets | Self::Over => CLIENT_IDLE,
        }
    }
}

/// Takes a header where one is due. False when nothing is to be read now, because it is not whole yet or the stream is closed.
pub(super) fn take_header(near: &mut Near, key: ClientKey, now: Moment) -> bool {
    let Some(client) = near.clients.stream_mut(key) else {
        return false;
    };
    if client.opening != Opening::Header {
        return true;
    }
    let address = client.client.address;
    match client.stream.take_header(&mut near.buffers) {
        HeaderRead::Waiting => return false,
        HeaderRead::Taken(header) => return enter(near, key, header, now),
        HeaderRead::Refused(fault) => {
            tracing::debug!(%address, %fault, "a load balancer is let go");
            near.note_headless(address.ip(), now);
        }
        HeaderRead::Ended(StreamEnd::Ended) => {}
        HeaderRead::Ended(end @ (StreamEnd::Failed(_) | StreamEnd::Tls(_))) => {
            tracing::debug!(%address, ?end, "client stream broken");
        }
    }
    near.clients.close(key);
    false
}

/// The client is known now. False when it may not ask.
fn enter(near: &mut Near, key: ClientKey, header: ProxyHeader, now: Moment) -> bool {
    let Some(client) = near.clients.stream_mut(key) else {
        return false;
    };
    client.opening = match client.stream.connection() {
        Some(_) => Opening::Handshake,
        None => Opening::Over,
    };
    let is_handshake = client.opening == Opening::Handshake;
    let uncounted = client.uncounted.take();
    // Without a source the balancer speaks for itself.
    let address = header.source.unwrap_or(client.client.address);
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    if !near.clients.allows(address.ip()) {
        tracing::debug!(%address, "a client that may not ask is let go");
        near.clients.close(key);
        return false;
    }
    if is_handshake && !near.admits_handshake(address.ip(), now) {
        near.clients.close(key);
        return false;
    }
    if let Some(turnstile) = uncounted {
        turnstile.pass(now);
    }
    if header.source.is_some() {
        near.clients.make_room_of(address.ip());
    }
    near.clients.rename(key, address)
}

/// Looks at what was read before anything is made of it. False when the stream is closed for it.
pub(super) fn judge(near: &mut Near, key: ClientKey) -> bool {
    let Some(client) = near.clients.stream_mut(key) else {
        return false;
    };
    let address = client.client.address;
    match client.opening {
        Opening::Over | Opening::Header => return true,
        Opening::Octets if proxy::is_announced(&near.buffers.plain) => {
            tracing::debug!(%address, "a PROXY header from an address that is not in listen.proxy_from");
        }
        Opening::Octets => {
            if !near.buffers.plain.is_empty() {
                client.opening = Opening::Over;
            }
            return true;
        }
        Opening::Handshake if client.stream.is_handshaking() => return true,
        Opening::Handshake => match check(&near.listen_tls, &client.stream) {
            Ok(()) => {
                client.opening = Opening::Over;
                return true;
            }
            Err(error) => {
                tracing::debug!(%address, %error, "the certificate of an earlier session is good no longer");
            }
        },
    }
    near.clients.close(key);
    false
}

/// What is left to check of a handshake that is over.
fn check(tls: &SharedListenerTls, stream: &Stream) -> Result<(), rustls::Error> {
    stream.connection().map_or(Ok(()), |it| tls.check(it))
}
