//! From the TCP accept to the first octet of DNS, or to where the mode lets it get stuck.
//!
//! Promises: octets that are neither TLS nor inside TLS are counted whatever the mode, so that a client which falls
//! back to clear text is found out (RFC 7858 section 3.1); a client that never finishes is let go after
//! [`limits::HANDSHAKE`].

use std::io;

use rustls::{HandshakeKind, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::answers;
use crate::dns::{self, Question, Response};
use crate::framing;
use crate::hello;
use crate::lies::{self, Part};
use crate::limits;
use crate::mode::{Framing, Mode, Opening};
use crate::server::Shared;
use crate::tap::Tap;

/// First octet of a TLS record that carries a handshake.
const HANDSHAKE_RECORD: u8 = 0x16;
/// Octets read at once from a client that gets no handshake.
const GLANCE: usize = 4_096;

/// What the opening led to.
pub(crate) enum Opened {
    /// TLS is up.
    Tls(Box<TlsStream<Tap>>),
    /// The client speaks, and is to be answered, in clear.
    Clear(TcpStream),
    /// The connection is over.
    Over,
}

/// Opens a connection as the mode says.
pub(crate) async fn open(socket: TcpStream, number: u64, mode: &Mode, shared: &Shared) -> Opened {
    tokio::time::sleep(mode.handshake_delay).await;
    if mode.opening == Opening::Reset {
        crate::connection::reset(&socket);
        return Opened::Over;
    }
    // A client that says nothing is told nothing: TLS begins with the client.
    let mut first = [0];
    if mode.opening != Opening::AcceptOnly && !matches!(socket.peek(&mut first).await, Ok(1)) {
        return Opened::Over;
    }
    let clear = first[0] != HANDSHAKE_RECORD;
    let opened = match mode.opening {
        Opening::Tls if clear => refuse_clear(socket, number, shared).await,
        Opening::Tls => return handshake(socket, number, mode, shared).await,
        Opening::PlainText if clear => return Opened::Clear(socket),
        Opening::PlainText => stuck(socket, number, shared, &clear_response(mode)).await,
        Opening::Garbage => stuck(socket, number, shared, &lies::noise()).await,
        Opening::ServerHelloOnly => server_hello(socket, mode, shared).await,
        Opening::Close => swallow_hello(socket).await,
        Opening::AcceptOnly | Opening::Reset => stuck(socket, number, shared, &[]).await,
    };
    // What became of a client that was to be disappointed changes nothing for the others.
    drop(opened);
    Opened::Over
}

async fn handshake(socket: TcpStream, number: u64, mode: &Mode, shared: &Shared) -> Opened {
    let accepted = match shared.tls.config(mode) {
        Ok(config) => {
            let tap = Tap::new(socket, mode.tcp_chunk);
            let accept = TlsAcceptor::from(config).accept(tap);
            tokio::time::timeout(limits::HANDSHAKE, accept)
                .await
                .ok()
                .and_then(Result::ok)
        }
        Err(_) => None,
    };
    let Some(stream) = accepted else {
        shared
            .book
            .note(number, |counters, _| counters.handshakes_failed += 1);
        return Opened::Over;
    };
    let (tap, session) = stream.get_ref();
    note_handshake(session, tap.hello(), number, shared);
    Opened::Tls(Box::new(stream))
}

fn note_handshake(session: &ServerConnection, hello: &[u8], number: u64, shared: &Shared) {
    let offer = hello::read(hello);
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    let group = session
        .negotiated_key_exchange_group()
        .map(|group| group.name());
    shared.book.note(number, |counters, record| {
        counters.handshakes_completed += 1;
        counters.handshakes_resumed += u64::from(resumed);
        record.handshake_completed = true;
        record.resumed = resumed;
        record.ticket = offer.ticket;
        record.early_data = offer.early_data;
        record.server_name = session.server_name().map(str::to_owned);
        record.alpn = session
            .alpn_protocol()
            .map(|alpn| String::from_utf8_lossy(alpn).into_owned());
        record.tls = session.protocol_version().map(|version| match group {
            Some(group) => format!("{version:?} {group:?}"),
            None => format!("{version:?}"),
        });
    });
}

/// Clear DNS to a server that wants TLS: counted and closed (RFC 7858 section 3.1).
async fn refuse_clear(mut socket: TcpStream, number: u64, shared: &Shared) -> io::Result<()> {
    let mut glance = [0; GLANCE];
    let read = socket.read(&mut glance).await?;
    note_clear(number, shared, read);
    Ok(())
}

pub(crate) fn note_clear(number: u64, shared: &Shared, octets: usize) {
    let octets = u64::try_from(octets).unwrap_or(u64::MAX);
    shared.book.note(number, |counters, _| {
        counters.octets_before_handshake += octets;
    });
}

/// Sends these octets, then nothing; reads until the client leaves.
async fn stuck(
    mut socket: TcpStream,
    number: u64,
    shared: &Shared,
    octets: &[u8],
) -> io::Result<()> {
    socket.write_all(octets).await?;
    let mut glance = [0; GLANCE];
    let mut first = None;
    loop {
        let read = socket.read(&mut glance).await?;
        if read == 0 {
            return Ok(());
        }
        if *first.get_or_insert(glance[0]) != HANDSHAKE_RECORD {
            note_clear(number, shared, read);
        }
    }
}

/// Answers the ClientHello with the first record of the real flight, which is the ServerHello.
async fn server_hello(mut socket: TcpStream, mode: &Mode, shared: &Shared) -> io::Result<()> {
    let config = shared
        .tls
        .config(mode)
        .map_err(|error| io::Error::other(error.to_string()))?;
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut glance = [0; GLANCE];
    while !session.wants_write() {
        let read = socket.read(&mut glance).await?;
        if read == 0 {
            return Ok(());
        }
        let mut rest = &glance[..read];
        while !rest.is_empty() {
            session.read_tls(&mut rest)?;
            session.process_new_packets().map_err(io::Error::other)?;
        }
    }
    let mut flight = Vec::new();
    session.write_tls(&mut flight)?;
    let length = match flight.get(3..5) {
        Some(length) => 5 + usize::from(u16::from_be_bytes([length[0], length[1]])),
        None => 0,
    };
    flight.truncate(length);
    socket.write_all(&flight).await?;
    while socket.read(&mut glance).await? > 0 {}
    Ok(())
}

/// Reads the ClientHello, so that the close is a FIN and no RST.
async fn swallow_hello(mut socket: TcpStream) -> io::Result<()> {
    let mut header = [0; 5];
    socket.read_exact(&mut header).await?;
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    socket.read_exact(&mut hello).await?;
    socket.shutdown().await
}

/// A DNS response in clear that nobody asked for.
fn clear_response(mode: &Mode) -> Vec<u8> {
    let name = dns::name_of([answers::POISON_TXT.as_bytes(), b"invalid"]);
    let poison = answers::poison(&name, dns::A, dns::IN, mode.ttl);
    let response = Response {
        id: 0,
        flags: dns::QR | dns::RA,
        rcode: dns::NOERROR,
        question: Some(Question {
            name,
            qtype: dns::A,
            qclass: dns::IN,
        }),
        answers: vec![poison],
        authorities: Vec::new(),
        additionals: Vec::new(),
        opt: None,
        answers_claimed: 0,
    };
    framing::frame(Part::Aside(response.encode()), Framing::Honest).octets
}
