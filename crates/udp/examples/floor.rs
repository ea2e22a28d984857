//! The floors of what is measured over streams: programs that move the same octets between the same sockets as a DNS proxy, and do nothing
//! else. No server that waits with epoll on one thread can do less. (The floor over UDP alone is `echo.rs`.)
//!
//! ```text
//! floor tcp ADDRESS                                    each message goes back over its TCP connection
//! floor tls ADDRESS CERTIFICATE KEY                    the same over TLS
//! floor relay ADDRESS UPSTREAM NAME AUTHORITY          UDP in, TLS out to UPSTREAM; TLS in, UDP out
//! ```
//!
//! What is read with one call is answered with one write, over TLS in one record. Messages come back as they are but for the QR bit; the relay
//! replaces the ID, since it has many clients and one upstream. Nothing is parsed, kept, checked or counted, no time is looked at, and whoever
//! breaks a rule ends the program.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dotward_udp::{BatchSocket, LocalAddress, PushError, RecvBatch, SendBatch};
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Octets of one read: a TLS record and more.
const READ: usize = 17 * 1024;

/// Sockets told of by one wait.
const EVENTS: usize = 256;

/// How the first socket is known; streams are known by their place in a list.
const FIRST: u64 = u64::MAX;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        ["tcp", address] => echo(&TcpListener::bind(address)?, None),
        ["tls", address, certificate, key] => {
            let tls = Arc::new(server_config(certificate, key)?);
            echo(&TcpListener::bind(address)?, Some(&tls))
        }
        ["relay", address, upstream, name, authority] => {
            let config = Arc::new(client_config(authority)?);
            let name = ServerName::try_from(name.to_owned())?;
            let connect = || {
                let tls = ClientConnection::new(Arc::clone(&config), name.clone())?;
                Ok(Stream::new(
                    TcpStream::connect(upstream)?,
                    Some(tls.into()),
                )?)
            };
            Relay::new(UdpSocket::bind(address)?, connect()?)?.run(connect)
        }
        _ => Err("say `tcp`, `tls` or `relay`, and what belongs to it".into()),
    }
}

fn server_config(certificate: &str, key: &str) -> Outcome<ServerConfig> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)?.collect();
    let key = PrivateKeyDer::from_pem_file(key)?;
    Ok(ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain?, key)?)
}

fn client_config(authority: &str) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(File::open(authority)?)) {
        roots.add(certificate?)?;
    }
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// A connection and what is still to be read or written of it.
struct Stream {
    socket: TcpStream,
    tls: Option<Connection>,
    /// Read, and no whole message yet.
    inbound: Vec<u8>,
    outbound: Vec<u8>,
}

impl Stream {
    fn new(socket: TcpStream, tls: Option<Connection>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            tls,
            inbound: Vec::new(),
            outbound: Vec::new(),
        })
    }

    /// Reads once. False at the end of the stream.
    fn read(&mut self, buffer: &mut [u8]) -> Outcome<bool> {
        let octets = match self.socket.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(_) => return Ok(false),
        };
        let mut raw = buffer.get(..octets).unwrap_or_default();
        let Some(tls) = &mut self.tls else {
            self.inbound.extend_from_slice(raw);
            return Ok(true);
        };
        while !raw.is_empty() {
            tls.read_tls(&mut raw)?;
            let state = tls.process_new_packets()?;
            let start = self.inbound.len();
            self.inbound
                .resize(start + state.plaintext_bytes_to_read(), 0);
            tls.reader()
                .read_exact(self.inbound.get_mut(start..).unwrap_or_default())?;
            if state.peer_has_closed() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes the whole messages that were read, without their lengths.
    fn take_messages(&mut self, mut take: impl FnMut(&mut [u8], &mut Vec<u8>)) {
        let mut rest = self.inbound.as_mut_slice();
        let mut taken = 0;
        while let Some((length, behind)) = rest.split_first_chunk_mut()
            && let Some((message, behind)) =
                behind.split_at_mut_checked(usize::from(u16::from_be_bytes(*length)))
        {
            taken += length.len() + message.len();
            take(message, &mut self.outbound);
            rest = behind;
        }
        self.inbound.drain(..taken);
    }

    /// Writes everything that waits.
    fn write(&mut self) -> Outcome<()> {
        match &mut self.tls {
            None => write_all(&self.socket, &mut self.outbound)?,
            Some(tls) => {
                if !self.outbound.is_empty() {
                    tls.writer().write_all(&self.outbound)?;
                    self.outbound.clear();
                }
                while tls.wants_write() {
                    match tls.write_tls(&mut self.socket) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            wait_for_room(&self.socket)?;
                        }
                        Err(error) => return Err(error.into()),
                        Ok(_) => {}
                    }
                }
            }
        }
        Ok(())
    }
}

fn write_all(mut socket: &TcpStream, octets: &mut Vec<u8>) -> io::Result<()> {
    while !octets.is_empty() {
        match socket.write(octets) {
            Ok(written) => drop(octets.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_room(socket)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_for_room(socket: &TcpStream) -> io::Result<()> {
    poll(&mut [PollFd::new(socket, PollFlags::OUT)], None)?;
    Ok(())
}

fn append_frame(message: &[u8], out: &mut Vec<u8>) -> Outcome<()> {
    out.extend_from_slice(&u16::try_from(message.len())?.to_be_bytes());
    out.extend_from_slice(message);
    Ok(())
}

/// Sends each message back over the stream it came from.
fn echo(listener: &TcpListener, tls: Option<&Arc<ServerConfig>>) -> Outcome<()> {
    listener.set_nonblocking(true)?;
    let waiter = Waiter::new()?;
    waiter.add(listener, FIRST)?;
    let (mut streams, mut buffer) = (HashMap::new(), vec![0; READ]);
    let (mut ready, mut next) = (Vec::new(), 0);
    loop {
        waiter.wait(&mut ready)?;
        for place in ready.drain(..) {
            if place == FIRST {
                while let Ok((socket, _)) = listener.accept() {
                    let tls = tls.map(|tls| ServerConnection::new(Arc::clone(tls)));
                    let stream = Stream::new(socket, tls.transpose()?.map(Connection::from))?;
                    waiter.add(&stream.socket, next)?;
                    streams.insert(next, stream);
                    next += 1;
                }
            } else if let Some(stream) = streams.get_mut(&place) {
                let goes_on = stream.read(&mut buffer)?;
                stream.take_messages(|message, out| {
                    if let Some(octet) = message.get_mut(2) {
                        *octet |= 0x80;
                    }
                    let appended = append_frame(message, out);
                    debug_assert!(appended.is_ok(), "it came with its length");
                });
                if stream.write().is_err() || !goes_on {
                    streams.remove(&place);
                }
            }
        }
    }
}

/// The relay and who waits for what.
struct Relay {
    clients: BatchSocket,
    upstream: Stream,
    /// By the ID the upstream sees: whose it is, and the ID the client sees.
    waiting: Vec<Option<(SocketAddr, LocalAddress, [u8; 2])>>,
    next: u16,
}

impl Relay {
    fn new(clients: UdpSocket, upstream: Stream) -> io::Result<Self> {
        Ok(Self {
            clients: BatchSocket::new(clients)?,
            upstream,
            waiting: vec![None; 1 << 16],
            next: 0,
        })
    }

    /// Carries messages for ever; an upstream that has ended the connection is connected to again.
    fn run(mut self, connect: impl Fn() -> Outcome<Stream>) -> Outcome<()> {
        let waiter = Waiter::new()?;
        waiter.add(&self.clients, FIRST)?;
        waiter.add(&self.upstream.socket, 0)?;
        let (mut queries, mut replies) = (RecvBatch::new(), SendBatch::new());
        let (mut ready, mut buffer) = (Vec::new(), vec![0; READ]);
        self.upstream.write()?;
        loop {
            waiter.wait(&mut ready)?;
            for place in ready.drain(..) {
                if place == FIRST {
                    self.take_queries(&mut queries)?;
                } else if !self.upstream.read(&mut buffer)? {
                    self.upstream = connect()?;
                    waiter.add(&self.upstream.socket, 0)?;
                }
            }
            self.upstream.write()?;
            self.deliver(&mut replies)?;
        }
    }

    fn take_queries(&mut self, queries: &mut RecvBatch) -> Outcome<()> {
        if let Err(error) = self.clients.recv(queries) {
            return if error.kind() == io::ErrorKind::WouldBlock {
                Ok(())
            } else {
                Err(error.into())
            };
        }
        for query in &*queries {
            let Some((id, rest)) = query.bytes.split_first_chunk() else {
                continue;
            };
            self.next = self.next.wrapping_add(1);
            if let Some(place) = self.waiting.get_mut(usize::from(self.next)) {
                *place = Some((query.meta.peer, query.meta.local, *id));
            }
            let out = &mut self.upstream.outbound;
            append_frame(query.bytes, out)?;
            let start = out.len() - rest.len() - id.len();
            out.splice(start..start + id.len(), self.next.to_be_bytes());
        }
        Ok(())
    }

    fn deliver(&mut self, replies: &mut SendBatch) -> Outcome<()> {
        let (clients, waiting) = (&self.clients, &mut self.waiting);
        let mut full = Ok(());
        self.upstream.take_messages(|message, _| {
            let Some((id, _)) = message.split_first_chunk_mut::<2>() else {
                return;
            };
            let place = waiting.get_mut(usize::from(u16::from_be_bytes(*id)));
            let Some((peer, local, own)) = place.and_then(Option::take) else {
                return;
            };
            *id = own;
            if replies.push(message, peer, local) == Err(PushError::Full) {
                if full.is_ok() {
                    full = send_all(clients, replies);
                }
                let pushed = replies.push(message, peer, local);
                debug_assert!(pushed.is_ok(), "everything left");
            }
        });
        full?;
        Ok(send_all(clients, replies)?)
    }
}

/// Sends a batch; waits while the socket is full.
fn send_all(clients: &BatchSocket, replies: &mut SendBatch) -> io::Result<()> {
    while !replies.is_empty() && clients.send(replies)?.left > 0 {
        clients.wait_writable(None)?;
    }
    Ok(())
}

/// The kernel's list of sockets that are waited for.
struct Waiter(OwnedFd);

impl Waiter {
    fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    fn add(&self, socket: &impl std::os::fd::AsFd, place: u64) -> io::Result<()> {
        Ok(epoll::add(
            &self.0,
            socket,
            epoll::EventData::new_u64(place),
            epoll::EventFlags::IN,
        )?)
    }

    /// Waits until sockets can be read, and says which.
    fn wait(&self, ready: &mut Vec<u64>) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut events), None)?;
        ready.extend(events.iter().map(|event: &epoll::Event| event.data.u64()));
        Ok(())
    }
}
