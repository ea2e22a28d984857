//! The bare echo: sets the QR bit of each datagram and sends it back. It is the floor under every
//! measurement of a DNS server on this machine, since no server can do less.
//!
//! ```text
//! echo [ADDRESS] [--loop batch|one-by-one]
//! ```
//!
//! Listens on ADDRESS (default `127.0.0.1:0`), prints the address it got as its only line on
//! standard output, and runs in one thread until a signal ends it. `batch` waits with `poll` and
//! moves up to 64 datagrams per system call; `one-by-one` waits likewise and moves one per call.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use dotward_udp::{BatchSocket, Datagram, PushError, RecvBatch, SendBatch};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Octets of kernel buffer asked for in each direction, so that bursts of a load generator wait
/// rather than vanish. The kernel gives as much of it as `net.core.rmem_max` allows.
const SOCKET_BUFFER_SIZE: usize = 4 * 1024 * 1024;

/// Where the QR bit is (RFC 1035 section 4.1.1).
const QR_OCTET: usize = 2;
const QR_BIT: u8 = 0x80;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let socket = bind(options.address)?;
    let socket = if options.one_by_one {
        BatchSocket::one_by_one(socket)?
    } else {
        BatchSocket::new(socket)?
    };
    announce(socket.local_addr()?);
    echo(&socket)
}

/// What the command line says.
struct Options {
    address: SocketAddr,
    one_by_one: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            one_by_one: false,
        };
        while let Some(argument) = arguments.next() {
            if argument == "--loop" {
                options.one_by_one = match arguments.next().as_deref() {
                    Some("batch") => false,
                    Some("one-by-one") => true,
                    other => return Err(format!("no such loop: {other:?}").into()),
                };
            } else {
                options.address = argument
                    .parse()
                    .map_err(|error| format!("{argument}: {error}"))?;
            }
        }
        Ok(options)
    }
}

/// A bound socket; a wildcard IPv6 address serves both families.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_recv_buffer_size(SOCKET_BUFFER_SIZE)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_SIZE)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket.into())
}

#[expect(clippy::print_stdout, reason = "the address is this program's output")]
fn announce(address: SocketAddr) {
    println!("{address}");
}

/// Echoes for ever; ends only on an error of the socket.
fn echo(socket: &BatchSocket) -> Result<(), Box<dyn Error>> {
    let mut queries = RecvBatch::new();
    let mut replies = SendBatch::new();
    loop {
        match socket.recv(&mut queries) {
            Ok(_received) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket.wait_readable(None)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        for query in &queries {
            if push(&mut replies, &query) == Err(PushError::Full) {
                flush(socket, &mut replies)?;
                push(&mut replies, &query)?;
            }
        }
        flush(socket, &mut replies)?;
        if !queries.is_full() {
            socket.wait_readable(None)?;
        }
    }
}

/// Adds the echo of `query`.
fn push(replies: &mut SendBatch, query: &Datagram<'_>) -> Result<(), PushError> {
    let Datagram { bytes, meta } = query;
    replies.push_with(bytes.len(), meta.peer, meta.local, |reply| {
        reply.copy_from_slice(bytes);
        if let Some(octet) = reply.get_mut(QR_OCTET) {
            *octet |= QR_BIT;
        }
        bytes.len()
    })
}

/// Sends all of `replies`; waits while the socket is full.
fn flush(socket: &BatchSocket, replies: &mut SendBatch) -> io::Result<()> {
    while socket.send(replies)?.left > 0 {
        socket.wait_writable(None)?;
    }
    Ok(())
}
