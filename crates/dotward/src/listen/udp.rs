//! Queries in datagrams.
//!
//! Promises: a batch is received with one system call and its replies leave with one; a reply leaves from the address its query was
//! sent to (RFC 2181 section 4.1); of replies that a socket has no room for the oldest are dropped first, and those that have waited
//! for half a second; receiving never ends because of an error, nor spins; a datagram that was cut is dropped; a query
//! that waited in the socket for as long as a client waits for its reply (the process was stopped, or flooded) is discarded,
//! because nobody would believe the reply to be in time, and one that waited for less has so much less time left; a datagram from port 0 or from ourselves is dropped unread; one of a load balancer begins with a PROXY header or is dropped.
//!
//! Deliberately absent: fragments, larger sizes and truncation, which the front and the engine decide.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;
use std::{fmt, io};

use dotward_core::front::Client;
use dotward_core::limits::QUESTION_BUDGET;
use dotward_core::time::Moment;
use dotward_core::wire::{Transport, proxy};
use dotward_udp::{BatchSocket, Datagram, LocalAddress, PushError, RecvBatch, SendBatch};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::backlog::Backlog;
use super::{Later, Taken, take_query};
use crate::clock;
use crate::counters::Counters;
use crate::limits::{LAST_BATCHES, RECEIVE_PAUSE, ROOM_MADE_OF, ROOM_PAUSE, WAIT_NOTICED};
use crate::near::{Far, Host, Near, PortKey, Way};
use crate::signal::{Ready, Signal, Waitable, Wants};

/// A socket in the event loop of the worker that reads it.
///
/// It is waited on for datagrams only: every datagram sent makes room in the socket's send buffer, and an event loop told to
/// watch for room would be woken by each reply. Room is waited for through a second descriptor, while it is wanted.
struct Socket {
    batched: AsyncFd<Arc<BatchSocket>>,
}

impl Socket {
    #[expect(
        deprecated,
        reason = "the other constructors are unsafe for descriptors that change behind the event loop's back; a \
                  BatchSocket keeps the one it was made with"
    )]
    fn new(socket: Arc<BatchSocket>) -> io::Result<Self> {
        Ok(Self {
            batched: AsyncFd::with_interest(socket, Interest::READABLE)?,
        })
    }
}

impl Waitable for Socket {
    fn poll_readable(&self, cx: &mut Context<'_>) -> bool {
        self.batched.poll_read_ready(cx).is_ready()
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> bool {
        // The task that `wait_for_room` starts does this.
        false
    }
}

/// The replies of one worker that leave from one UDP address.
///
/// The address may have several sockets, one for each worker there may be. Any of them can send any reply, so all replies of a turn leave
/// through the worker's own, whichever their queries came through.
pub(crate) struct UdpPort {
    socket: Arc<BatchSocket>,
    /// Where it is bound, as far as the kernel says.
    bound: Option<SocketAddr>,
    replies: SendBatch,
    /// How long those have waited that the socket had no room for.
    backlog: Backlog,
    /// Asks for a turn.
    nudge: Rc<Signal>,
    /// A task waits for room in the socket.
    waits_for_room: Rc<Cell<bool>>,
    /// There was said to be room, and nothing was taken since.
    in_vain: Rc<Cell<bool>>,
    counters: Arc<Counters>,
}

impl fmt::Debug for UdpPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpPort")
            .field("waiting", &self.replies.len())
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
                while self.replies.push(message, peer, local).is_err() {
                    // Who has waited longest is likeliest to have given up. Several at once, because those behind them have to be moved.
                    let count = self.replies.len().div_ceil(ROOM_MADE_OF);
                    self.lose_first(count, clock::now());
                }
            }
            Err(PushError::TooLong) => self.counters.lost.add(1),
        }
    }

    /// Sends the batch. What the socket has no room for waits until it has.
    pub(crate) fn flush(&mut self) {
        if self.replies.is_empty() {
            return;
        }
        if !self.backlog.is_empty() {
            let now = clock::now();
            self.lose_first(self.backlog.too_old(now), now);
        }
        match self.socket.send(&mut self.replies) {
            Ok(outcome) => {
                let gone = outcome.sent + outcome.skipped;
                if gone > 0 {
                    self.in_vain.set(false);
                }
                if outcome.left > 0 || !self.backlog.is_empty() {
                    self.backlog.note(gone, outcome.left, clock::now());
                }
                self.count_lost(outcome.skipped);
                if let Some(error) = outcome.fault {
                    tracing::debug!(%error, skipped = outcome.skipped, "UDP replies not sent");
                }
            }
            Err(error) => {
                tracing::debug!(%error, lost = self.replies.len(), "UDP replies not sent");
                self.lose_first(self.replies.len(), clock::now());
            }
        }
        if !self.replies.is_empty() && !self.waits_for_room.get() {
            self.wait_for_room();
        }
    }

    fn lose_first(&mut self, count: usize, now: Moment) {
        if count > 0 {
            self.replies.drop_first(count);
            self.backlog.note(count, self.replies.len(), now);
            self.count_lost(count);
        }
    }

    fn count_lost(&self, replies: usize) {
        if replies > 0 {
            self.counters
                .lost
                .add(u64::try_from(replies).unwrap_or_default());
        }
    }

    /// Has the worker's next turn, which flushes, come when the socket has room.
    fn wait_for_room(&self) {
        let room = match self.for_room() {
            Ok(room) => room,
            Err(error) => {
                tracing::debug!(%error, "cannot wait for room to send UDP replies");
                return;
            }
        };
        self.waits_for_room.set(true);
        let (waits, nudge) = (Rc::clone(&self.waits_for_room), Rc::clone(&self.nudge));
        let in_vain = Rc::clone(&self.in_vain);
        tokio::task::spawn_local(async move {
            // A socket that has room and takes nothing would have a loop without pause spin.
            if in_vain.replace(true) {
                tokio::time::sleep(ROOM_PAUSE).await;
            }
            if let Err(error) = room.writable().await {
                tracing::debug!(%error, "waiting for room to send UDP replies failed");
            }
            waits.set(false);
            nudge.poke();
        });
    }

    /// A second descriptor, to wait for room.
    fn for_room(&self) -> io::Result<UdpSocket> {
        UdpSocket::from_std(self.socket.socket().try_clone()?)
    }

    /// Whether no reply waits.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.replies.is_empty()
    }
}

/// Makes `socket` the one through which the worker replies from its address. Gives back the port's place.
pub(crate) fn open(near: &mut Near, socket: Arc<BatchSocket>) -> PortKey {
    let bound = socket.local_addr().ok();
    near.ports.insert(UdpPort {
        socket,
        bound,
        replies: SendBatch::new(),
        backlog: Backlog::default(),
        nudge: Rc::clone(&near.nudge),
        waits_for_room: Rc::default(),
        in_vain: Rc::default(),
        counters: Arc::clone(&near.counters),
    })
}

/// The reading of one socket.
#[derive(Debug)]
pub(crate) struct Reading {
    signal: Rc<Signal>,
    task: JoinHandle<()>,
}

impl Reading {
    /// Takes what had arrived, and ends.
    pub(crate) fn stop(&self) {
        self.signal.stop();
    }

    /// Goes on, also after an order to stop that was not followed yet. False when the reading has ended.
    pub(crate) fn go_on(&self) -> bool {
        let goes_on = !self.task.is_finished();
        if goes_on {
            self.signal.go_on();
        }
        goes_on
    }

    /// Waits for the end, after [`Reading::stop`].
    pub(crate) async fn ended(self) {
        match self.task.await {
            // One that panicked reads nothing either.
            Ok(()) | Err(_) => {}
        }
    }
}

/// Reads `socket` until told to stop, and replies through `port`.
pub(crate) fn read<H: Host>(
    host: &Rc<H>,
    socket: Arc<BatchSocket>,
    port: PortKey,
) -> io::Result<Reading> {
    let socket = Socket::new(socket)?;
    let signal = Rc::new(Signal::default());
    signal.want(Wants {
        read: true,
        write: false,
    });
    let task = run(Rc::clone(host), socket, Rc::clone(&signal), port);
    let task = tokio::task::spawn_local(task);
    Ok(Reading { signal, task })
}

/// Takes a socket out of the choice the kernel has among the sockets of an address, so that what arrives from now on goes to another
/// process that has the address too. What waits in it stays there and can be answered.
///
/// A connected socket is chosen for its peer only. Closing it instead would lose what waits, and what arrives until it is closed.
pub(crate) fn depart(socket: &BatchSocket) {
    let socket = socket.socket();
    let away = socket.local_addr().and_then(|address| {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        // The discard port: nobody asks from there.
        socket.connect((ip, 9))
    });
    if let Err(error) = away {
        tracing::debug!(%error, "a UDP socket does not leave before it is closed");
    }
}

async fn run<H: Host>(host: Rc<H>, socket: Socket, signal: Rc<Signal>, port: PortKey) {
    let mut batch = RecvBatch::new();
    let mut failed = false;
    while signal.ready(&socket, None).await != Ready::Stopped {
        let received = receive(&host, &socket, &mut batch, port);
        match received {
            Received::All => {}
            Received::Failed if failed => pause(&signal).await,
            Received::Some | Received::Failed => tokio::task::yield_now().await,
        }
        failed = received == Received::Failed;
    }
    // What had arrived before the order to stop is answered.
    for _ in 0..LAST_BATCHES {
        // Asked of the kernel: the event loop may not know yet of what arrived last.
        let received = socket.batched.get_ref().recv(&mut batch);
        if received.is_err() || batch.is_empty() {
            return;
        }
        take_all(&host, &batch, port);
    }
}

/// Lets time pass after an error that lasts, unless the end comes.
async fn pause(signal: &Signal) {
    tokio::select! {
        () = signal.stopped() => {}
        () = tokio::time::sleep(RECEIVE_PAUSE) => {}
    }
}

/// What a look into the socket brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Received {
    /// Everything there was.
    All,
    /// A full batch; there may be more.
    Some,
    /// An error.
    Failed,
}

/// Receives one batch and has it served.
fn receive<H: Host>(
    host: &Rc<H>,
    socket: &Socket,
    batch: &mut RecvBatch,
    port: PortKey,
) -> Received {
    // The batch still holds the datagrams of the last call when this one is not made at all, for want of readiness.
    let mut fresh = false;
    let received = socket.batched.try_io(Interest::READABLE, |socket| {
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
            return Received::Failed;
        }
        Ok(()) | Err(_) => {}
    }
    if fresh {
        take_all(host, batch, port);
    }
    if fresh && batch.is_full() {
        Received::Some
    } else {
        Received::All
    }
}

/// Takes every query of a batch.
fn take_all<H: Host>(host: &Rc<H>, batch: &RecvBatch, port: PortKey) {
    host.near_turn(|near, far, now| {
        let (mut wall, mut is_exact) = (near.wall.about(now), false);
        for datagram in batch.iter() {
            let mut waited = waited(&datagram, wall);
            // Once for a batch: in a flood everything has waited.
            if waited >= WAIT_NOTICED && !is_exact {
                (wall, is_exact) = (near.wall.exactly(now), true);
                waited = self::waited(&datagram, wall);
            }
            if datagram.meta.truncated {
                near.counters.cut.add(1);
            } else if waited > QUESTION_BUDGET {
                near.counters.stale.add(1);
            } else {
                take(near, far, port, (datagram, waited), now);
            }
        }
    });
}

/// How long the datagram was in the socket. After a jump of the wall clock that is wrong for what waits there at that moment, and for nothing
/// else.
fn waited(datagram: &Datagram<'_>, wall: Duration) -> Duration {
    let arrived = datagram.meta.arrived;
    arrived.map_or(Duration::ZERO, |arrived| wall.saturating_sub(arrived))
}

fn take(
    near: &mut Near,
    far: &mut impl Far,
    port: PortKey,
    (datagram, waited): (Datagram<'_>, Duration),
    now: Moment,
) {
    let (peer, local) = (datagram.meta.peer, datagram.meta.local);
    let own = near.ports.values().filter_map(|port| port.bound);
    if !can_be_answered(own, peer, local) {
        tracing::trace!(%peer, "a sender that cannot be a client");
        near.counters.unanswerable.add(1);
        return;
    }
    let (mut message, mut address) = (datagram.bytes, peer);
    if near.balancers.contains(peer.ip()) {
        let Ok(header) = proxy::parse_datagram(message) else {
            near.note_headless(peer.ip(), now);
            return;
        };
        message = message.get(header.len..).unwrap_or_default();
        let source = header.source.unwrap_or(peer);
        address = SocketAddr::new(source.ip().to_canonical(), source.port());
    }
    let client = Client {
        address,
        transport: Transport::Udp,
        idle: Duration::ZERO,
    };
    let to = || Later {
        way: Way::Udp {
            port,
            peer,
            local,
            client: address.ip(),
        },
        since: now - waited,
    };
    if take_query(near, far, message, &client, to, now) == Taken::Reply
        && let Some(port) = near.ports.get_mut(port)
    {
        port.push(&near.reply, peer, local);
    }
}

/// Port 0 is nobody's, and a datagram that says to come from one of our own sockets is forged: the reply would come back to us.
fn can_be_answered(
    mut own: impl Iterator<Item = SocketAddr>,
    peer: SocketAddr,
    local: LocalAddress,
) -> bool {
    let is_own = |own: SocketAddr| {
        own.port() == peer.port()
            && (own.ip() == peer.ip() || own.ip().is_unspecified() && local.ip() == Some(peer.ip()))
    };
    peer.port() != 0 && !own.any(is_own)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;

    use rustix::time::{ClockId, clock_gettime};

    use super::*;
    use crate::limits::ROOM_WAIT_MAX;
    use crate::run::local_runtime;
    use crate::worker::{State, Worker};

    #[test]
    fn who_cannot_be_a_client_is_not_answered() {
        let own = ["127.0.0.1:53", "0.0.0.0:5353"].map(|text| text.parse().unwrap());
        let cases = [
            ("127.0.0.1:53", "127.0.0.1", false),
            ("127.0.0.1:53", "192.0.2.1", false),
            ("192.0.2.1:5353", "192.0.2.1", false),
            ("192.0.2.2:5353", "192.0.2.1", true),
            ("192.0.2.1:53", "192.0.2.1", true),
            ("127.0.0.1:4000", "127.0.0.1", true),
            ("127.0.0.1:0", "127.0.0.1", false),
        ];
        for (peer, to, expected) in cases {
            let local = LocalAddress::new(to.parse().unwrap(), 0);
            let answered = can_be_answered(own.into_iter(), peer.parse().unwrap(), local);
            assert_eq!(answered, expected, "{peer} to {to}");
        }
    }

    /// A port whose socket is a stream, which tells of want of room as a socket of datagrams does; the stream's other end; and how many octets
    /// are before those of replies.
    fn full_port(near: &mut Near) -> (PortKey, TcpStream, usize) {
        use std::io::Write as _;

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut before = 0;
        for octets in [1 << 16, 1] {
            while let Ok(octets) = ours.write(&vec![0; octets]) {
                before += octets;
            }
        }
        let socket = std::net::UdpSocket::from(OwnedFd::from(ours));
        let port = open(near, Arc::new(BatchSocket::new(socket).unwrap()));
        (port, theirs, before)
    }

    #[test]
    fn of_replies_without_room_the_oldest_go_first_and_the_old_never_leave() {
        use std::io::Read as _;

        local_runtime().unwrap().block_on(async {
            let worker = Worker::start(State::for_test());
            worker.near_turn(|near, _, _| {
                let (port, mut theirs, before) = full_port(near);
                let port = &mut near.ports[port];
                let (peer, local) = ("127.0.0.1:9".parse().unwrap(), LocalAddress::UNKNOWN);
                for number in 0..100 {
                    port.push(&[number], peer, local);
                }
                port.flush();
                assert_eq!((port.replies.len(), port.counters.lost.get()), (60, 40));
                theirs.read_exact(&mut vec![0; before]).unwrap();
                while !port.owes_nothing() {
                    port.flush();
                }
                let mut left = vec![0; 60];
                theirs.read_exact(&mut left).unwrap();
                assert_eq!(left, (40..100).collect::<Vec<u8>>());

                let (port, _theirs, _) = full_port(near);
                let port = &mut near.ports[port];
                for (wait, left) in [(ROOM_WAIT_MAX / 2, 1), (ROOM_WAIT_MAX * 3 / 4, 1)] {
                    port.push(&[0], peer, local);
                    port.flush();
                    clock::tests::sleep(wait);
                    port.flush();
                    assert_eq!(port.replies.len(), left);
                }
                assert_eq!(port.counters.lost.get(), 41);
            });
        });
    }

    fn cpu_time() -> Duration {
        let spent = clock_gettime(ClockId::ThreadCPUTime);
        spent.try_into().unwrap()
    }

    #[test]
    fn an_error_that_lasts_does_not_make_it_spin() {
        // A socket that listens is readable when somebody connects, and to receive from it fails each time.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = std::net::UdpSocket::from(OwnedFd::from(listener));
        local_runtime().unwrap().block_on(async {
            let worker = Worker::start(State::for_test());
            let socket = Arc::new(BatchSocket::new(socket).unwrap());
            let port = worker.near_turn(|near, _, _| open(near, Arc::clone(&socket)));
            let reading = read(&worker, socket, port).unwrap();
            let before = cpu_time();
            // What is measured is what is spent in a given time.
            tokio::time::sleep(Duration::from_millis(400)).await;
            let spent = cpu_time().saturating_sub(before);
            assert!(spent < Duration::from_millis(100), "{spent:?}");
            reading.stop();
        });
        drop(client);
    }
}
