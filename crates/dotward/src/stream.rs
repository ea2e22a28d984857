//! A non-blocking stream of octets, plain TCP or TLS, for clients and upstreams alike.
//!
//! Promises:
//! - Whatever waits to be written when [`Stream::flush`] is called leaves with one write where the socket has room; over TLS it goes
//!   into as few records as there can be (RFC 8446 section 5.1: 2^14 octets each), which is where the cost is.
//! - A read takes a bounded number of octets, so one busy peer does not hold up the others.
//! - An idle stream owns no read buffer: octets pass through one that all streams of a worker share.
//! - FIN and close_notify are the same end; an end without close_notify loses nothing, because messages carry their length
//!   (RFC 7858 section 3.3).
//!
//! rustls is driven directly rather than through an async wrapper, because the wrapper decides about records and writes.
//!
//! Deliberately absent: waiting (see `signal`), messages, deadlines.

use std::io::{self, Read, Write};
use std::rc::Rc;

use dotward_core::wire::proxy::{self, ProxyFault, ProxyHeader};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, Shutdown};
use rustls::Connection;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::limits::{IDLE_WRITE_BUFFER, READ_BUFFER};

/// Why a stream is at its end.
#[derive(Debug)]
pub(crate) enum StreamEnd {
    /// The peer has nothing more to say: FIN or close_notify.
    Ended,
    /// The socket failed.
    Failed(io::Error),
    /// The peer broke TLS, or its certificate was refused.
    Tls(rustls::Error),
}

/// What a read brought, besides the octets.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The stream's reading side is over.
    pub(crate) end: Option<StreamEnd>,
    /// The turn was over before the socket was empty.
    pub(crate) more: bool,
}

/// What was found where a PROXY header is due.
#[derive(Debug)]
pub(crate) enum HeaderRead {
    /// Not enough to tell.
    Waiting,
    /// A header, which is taken off the stream.
    Taken(ProxyHeader),
    /// Something else.
    Refused(ProxyFault),
    /// The end.
    Ended(StreamEnd),
}

/// What became of the octets that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// The socket took everything.
    Done,
    /// The socket is full; flush again when it is writable.
    Blocked,
}

/// Buffers that all streams of a worker share, one at a time.
#[derive(Debug)]
pub(crate) struct ReadBuffers {
    raw: Box<[u8]>,
    /// The octets of the last read, TLS taken off.
    pub(crate) plain: Vec<u8>,
}

impl ReadBuffers {
    /// Where a datagram is received: as much room as for a record, several times what we say we take.
    pub(crate) fn datagram(&mut self) -> &mut [u8] {
        &mut self.raw
    }

    /// The first octets of what was received there.
    pub(crate) fn received(&self, octets: usize) -> &[u8] {
        self.raw.get(..octets).unwrap_or_default()
    }
}

impl Default for ReadBuffers {
    fn default() -> Self {
        Self {
            raw: vec![0; READ_BUFFER].into_boxed_slice(),
            plain: Vec::new(),
        }
    }
}

/// One TCP connection, with TLS or without.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Shared with the task that waits for the socket; only this type reads and writes it.
    socket: Rc<TcpStream>,
    tls: Option<Box<Connection>>,
    /// Plain octets not yet given to TLS or the socket.
    waiting: Outgoing,
    blocked: bool,
}

/// Octets on their way out.
#[derive(Debug, Default)]
struct Outgoing {
    octets: Vec<u8>,
    /// Octets at the front that are gone. At most half of all, so that each is moved over once on average, however small the
    /// pieces are in which they leave, and no more memory is held than twice what waits.
    taken: usize,
}

impl Outgoing {
    fn rest(&self) -> &[u8] {
        self.octets.get(self.taken..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    fn take(&mut self, octets: usize) {
        self.taken = self.octets.len().min(self.taken + octets);
        if self.taken > self.octets.len() / 2 {
            self.octets.drain(..self.taken);
            self.taken = 0;
        }
        if self.octets.is_empty() && self.octets.capacity() > IDLE_WRITE_BUFFER {
            self.octets = Vec::new();
        }
    }
}

impl Stream {
    /// A stream without TLS.
    pub(crate) fn plain(socket: TcpStream) -> Self {
        Self {
            socket: Rc::new(socket),
            tls: None,
            waiting: Outgoing::default(),
            blocked: false,
        }
    }

    /// A stream whose TLS handshake is still to come.
    pub(crate) fn tls(socket: TcpStream, connection: Connection) -> Self {
        Self {
            tls: Some(Box::new(connection)),
            ..Self::plain(socket)
        }
    }

    /// The socket, to wait on.
    pub(crate) fn socket(&self) -> Rc<TcpStream> {
        Rc::clone(&self.socket)
    }

    /// The TLS connection, for its facts.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.tls.as_deref()
    }

    /// Whether the TLS handshake is not over.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether the last flush found the socket full.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Where octets for the peer are appended; they leave with the next [`Stream::flush`].
    pub(crate) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.waiting.octets
    }

    /// Octets appended and not yet taken by TLS or the socket.
    pub(crate) fn backlog(&self) -> usize {
        self.waiting.rest().len()
    }

    /// Reads what is there, `most` octets at most. What came is in `buffers.plain` afterwards, also what came
    /// before an end. Flush afterwards: TLS may have to reply.
    pub(crate) fn read(&mut self, buffers: &mut ReadBuffers, most: usize) -> Received {
        buffers.plain.clear();
        let mut taken = 0;
        while taken < most {
            let room = buffers.raw.len().min(most - taken);
            let room = buffers.raw.get_mut(..room).unwrap_or_default();
            let (octets, drained) = match read_socket(&self.socket, room) {
                Ok((0, _)) => return Received::ended(StreamEnd::Ended),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Received::default();
                }
                Err(error) => return Received::ended(StreamEnd::Failed(error)),
            };
            taken += octets;
            let raw = buffers.raw.get(..octets).unwrap_or_default();
            match &mut self.tls {
                None => buffers.plain.extend_from_slice(raw),
                Some(tls) => {
                    if let Err(end) = decrypt(tls, raw, &mut buffers.plain) {
                        return Received::ended(end);
                    }
                }
            }
            if drained {
                return Received::default();
            }
        }
        Received {
            end: None,
            more: true,
        }
    }

    /// Takes a PROXY header off the stream before anything else is read. Until it is whole its octets stay in the kernel, so that
    /// whoever sends it slowly costs no memory; what is behind it is the client's, TLS included.
    pub(crate) fn take_header(&self, buffers: &mut ReadBuffers) -> HeaderRead {
        let room = buffers.raw.len().min(proxy::HEADER_LEN_MAX);
        let look = buffers.raw.get_mut(..room).unwrap_or_default();
        let seen = self.socket.try_io(Interest::READABLE, || {
            let octets = rustix::net::recv(&*self.socket, &mut *look, RecvFlags::PEEK)?.0;
            if octets == 0 {
                return Ok(None);
            }
            match proxy::parse_stream(look.get(..octets).unwrap_or_default()) {
                // Whoever has said all he says will not complete it, and the event loop goes on telling that he has.
                Err(ProxyFault::Incomplete) if self.peer_is_done() => Ok(None),
                // Readiness is cleared by this, and comes back with the next octets.
                Err(ProxyFault::Incomplete) => Err(io::ErrorKind::WouldBlock.into()),
                parsed => Ok(Some(parsed)),
            }
        });
        match seen {
            Ok(None) => HeaderRead::Ended(StreamEnd::Ended),
            Ok(Some(Ok(header))) => self.skip(header, buffers),
            Ok(Some(Err(fault))) => HeaderRead::Refused(fault),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => HeaderRead::Waiting,
            Err(error) => HeaderRead::Ended(StreamEnd::Failed(error)),
        }
    }

    /// Whether the peer has ended its side, whatever is still to be read.
    fn peer_is_done(&self) -> bool {
        let mut sockets = [PollFd::new(&*self.socket, PollFlags::RDHUP)];
        let now = Timespec::default();
        // What cannot be asked ends with the time a header has.
        poll(&mut sockets, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Takes octets off the front that were seen to be there.
    fn skip(&self, header: ProxyHeader, buffers: &mut ReadBuffers) -> HeaderRead {
        let octets = buffers.raw.get_mut(..header.len).unwrap_or_default();
        match rustix::net::recv(&*self.socket, octets, RecvFlags::empty()) {
            Ok((taken, _)) if taken == header.len => HeaderRead::Taken(header),
            Ok(_) => HeaderRead::Ended(StreamEnd::Ended),
            Err(error) => HeaderRead::Ended(StreamEnd::Failed(error.into())),
        }
    }

    /// Writes what waits, until the socket is full.
    ///
    /// # Errors
    ///
    /// The failure of the socket; the stream is of no use then.
    pub(crate) fn flush(&mut self) -> io::Result<Flush> {
        let written = match &mut self.tls {
            None => write_plain(&self.socket, &mut self.waiting),
            Some(tls) => write_tls(&self.socket, tls, &mut self.waiting),
        };
        let flush = match written {
            Ok(()) => Flush::Done,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Flush::Blocked,
            Err(error) => return Err(error),
        };
        self.blocked = flush == Flush::Blocked;
        Ok(flush)
    }

    /// Says that nothing more will come, behind everything that waits. The stream stays open: closing it while the peer sends has what is
    /// on its way to him thrown away (RST).
    ///
    /// # Errors
    ///
    /// The failure of the socket; the stream is of no use then.
    pub(crate) fn finish(&mut self) -> io::Result<Flush> {
        let flush = self.say_goodbye()?;
        if flush == Flush::Done {
            rustix::net::shutdown(&*self.socket, Shutdown::Write)?;
        }
        Ok(flush)
    }

    /// Says goodbye as far as the socket takes it, and closes.
    pub(crate) fn close(mut self) {
        match self.say_goodbye() {
            // The peer learns of the end from FIN or RST in any case.
            Ok(_) | Err(_) => {}
        }
    }

    fn say_goodbye(&mut self) -> io::Result<Flush> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush()
    }
}

impl Received {
    fn ended(end: StreamEnd) -> Self {
        Self {
            end: Some(end),
            more: false,
        }
    }
}

/// Reads once. True says that the socket is empty: fewer octets came than there was room for, and readiness was
/// cleared for that, which saves the read that would only say so. A FIN behind them keeps the socket readable.
fn read_socket(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut short = None;
    let read = socket.try_io(Interest::READABLE, || {
        let octets = rustix::net::recv(socket, &mut *buffer, RecvFlags::empty())?.0;
        if octets > 0 && octets < buffer.len() {
            short = Some(octets);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(octets)
    });
    match short {
        Some(octets) => Ok((octets, true)),
        None => read.map(|octets| (octets, false)),
    }
}

/// Takes TLS off `raw`. An error leaves the alert for the peer in the connection's buffer; the records before it count.
fn decrypt(tls: &mut Connection, mut raw: &[u8], plain: &mut Vec<u8>) -> Result<(), StreamEnd> {
    while !raw.is_empty() {
        if tls.read_tls(&mut raw).map_err(StreamEnd::Failed)? == 0 {
            return Err(StreamEnd::Ended);
        }
        let state = match tls.process_new_packets() {
            Ok(state) => state,
            Err(error) => {
                match tls.reader().read_to_end(plain) {
                    // Everything there is ends with the word that more may come.
                    Ok(_) | Err(_) => {}
                }
                return Err(StreamEnd::Tls(error));
            }
        };
        let start = plain.len();
        plain.resize(start + state.plaintext_bytes_to_read(), 0);
        tls.reader()
            .read_exact(plain.get_mut(start..).unwrap_or_default())
            .map_err(StreamEnd::Failed)?;
        if state.peer_has_closed() {
            return Err(StreamEnd::Ended);
        }
    }
    Ok(())
}

fn write_plain(socket: &TcpStream, waiting: &mut Outgoing) -> io::Result<()> {
    while !waiting.is_empty() {
        waiting.take(socket.try_write(waiting.rest())?);
    }
    Ok(())
}

fn write_tls(socket: &TcpStream, tls: &mut Connection, waiting: &mut Outgoing) -> io::Result<()> {
    loop {
        if !waiting.is_empty() && !tls.is_handshaking() {
            waiting.take(tls.writer().write(waiting.rest())?);
        }
        if !tls.wants_write() {
            return Ok(());
        }
        while tls.wants_write() {
            tls.write_tls(&mut Socket(socket))?;
        }
    }
}

/// Gives rustls the socket to write to.
struct Socket<'a>(&'a TcpStream);

impl Write for Socket<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.try_write(octets)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use dotward_faults::TestCa;

    use super::*;
    use crate::config::{ServerIdentity, UpstreamSettings};
    use crate::tls::client::UpstreamTls;
    use crate::tls::server::ListenerTls;

    /// Both sides of a handshake that is over.
    fn shaken_hands() -> (Connection, Connection) {
        let ca = TestCa::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let at = |name| directory.path().join(name);
        let identity = ca.good("dot.example").unwrap();
        std::fs::write(at("own.pem"), identity.chain_pem()).unwrap();
        std::fs::write(at("own.key"), identity.key_pem()).unwrap();
        ca.write_pem(&at("ca.pem")).unwrap();
        let listener = ListenerTls::from_files(&ServerIdentity {
            certificate_file: at("own.pem"),
            key_file: at("own.key"),
            client_ca_file: None,
        });
        let upstream = UpstreamTls::new(&UpstreamSettings {
            tls_name: Some("dot.example".try_into().unwrap()),
            ca_file: Some(at("ca.pem")),
            ..UpstreamSettings::new("test".to_owned(), Vec::new(), 853)
        });
        let mut near = upstream.unwrap().connect([127, 0, 0, 1].into()).unwrap();
        let mut far = listener.unwrap().accept().unwrap();
        while near.wants_write() || far.wants_write() {
            pass(&mut near, &mut far);
            pass(&mut far, &mut near);
        }
        (near, far)
    }

    fn pass(from: &mut Connection, to: &mut Connection) {
        let mut octets = Vec::new();
        from.write_tls(&mut octets).unwrap();
        decrypt(to, &octets, &mut Vec::new()).unwrap();
    }

    #[test]
    fn whole_records_before_a_broken_one_are_not_lost() {
        let (mut near, mut far) = shaken_hands();
        let mut octets = Vec::new();
        for text in ["one", "two"] {
            far.writer().write_all(text.as_bytes()).unwrap();
            far.write_tls(&mut octets).unwrap();
        }
        // A record of application data that nobody encrypted.
        octets.extend([23, 3, 3, 0, 32]);
        octets.extend([0; 32]);
        let mut plain = Vec::new();
        let end = decrypt(&mut near, &octets, &mut plain).unwrap_err();
        assert!(matches!(end, StreamEnd::Tls(_)), "{end:?}");
        assert_eq!(plain, b"onetwo");
    }

    #[test]
    fn octets_leave_in_order_and_few_that_left_are_kept() {
        let mut outgoing = Outgoing::default();
        let all: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        let (mut left, mut moves) = (Vec::new(), 0);
        for piece in all.chunks(5000) {
            outgoing.octets.extend_from_slice(piece);
            // Less leaves than comes.
            let rest = outgoing.rest();
            let size = rest.len().min(3000);
            left.extend_from_slice(rest.get(..size).unwrap());
            outgoing.take(size);
            moves += usize::from(outgoing.taken == 0);
            assert!(outgoing.taken <= outgoing.octets.len() / 2);
        }
        while !outgoing.is_empty() {
            left.extend(outgoing.rest().first());
            outgoing.take(1);
            moves += usize::from(outgoing.taken == 0);
        }
        assert_eq!(left, all);
        assert!(moves < 100, "moved {moves} times");
        assert!(outgoing.octets.capacity() <= IDLE_WRITE_BUFFER);
    }
}
