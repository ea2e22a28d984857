//! The server: binding, accepting, the TLS configurations, and the handle a test holds.
//!
//! Promises: [`Server::start`] has bound its address when it returns; all tasks run in the caller's tokio runtime and
//! end with [`Running::stop`] or when the handle is dropped, sockets included.
//!
//! Not here: what happens on a connection (`opening`, `connection`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::answers;
use crate::certificates::{CertificateError, CertificateKind, Identity, TestCa};
use crate::connection;
use crate::counters::{Book, Counters, WaitTimedOut};
use crate::limits;
use crate::mode::{Ending, Mode};
use crate::tls::TlsConfigs;

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// What the server is called in its certificates: a DNS name or an IP address.
    pub name: String,
    /// Who signs the certificates.
    pub ca: TestCa,
    /// The first mode.
    pub mode: Mode,
}

impl Config {
    /// A correct server called `name` on a free port of 127.0.0.1.
    pub fn new(ca: &TestCa, name: &str) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            name: name.to_owned(),
            ca: ca.clone(),
            mode: Mode::default(),
        }
    }
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// The address could not be bound.
    Bind(SocketAddr, std::io::Error),
    /// A certificate could not be made.
    Certificate(CertificateError),
    /// rustls refused the configuration.
    Tls(rustls::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Certificate(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "TLS configuration refused: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<CertificateError> for StartError {
    fn from(error: CertificateError) -> Self {
        Self::Certificate(error)
    }
}

impl From<rustls::Error> for StartError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

/// The entry point.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Binds the address and serves it in the background of the current tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] when the address is taken or `name` cannot stand in a certificate.
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O and time drivers on.
    pub fn start(config: Config) -> Result<Running, StartError> {
        let bind = |error| StartError::Bind(config.address, error);
        let listener = std::net::TcpListener::bind(config.address).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let listener = TcpListener::from_std(listener).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let shared = Arc::new(Shared {
            book: Book::new(),
            tls: TlsConfigs::new(config.ca, config.name),
            crew: Mutex::new(Crew {
                fresh: Arc::new(config.mode),
                live: BTreeMap::new(),
            }),
        });
        shared.tls.identity(CertificateKind::Good)?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, Arc::clone(&shared), stopped));
        Ok(Running {
            address,
            shared,
            task,
            stop: Some(stop),
        })
    }
}

/// A server at work. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    /// Never sent on: the accept loop ends when it is dropped.
    stop: Option<oneshot::Sender<()>>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who signs its certificates.
    pub fn ca(&self) -> &TestCa {
        &self.shared.tls.ca
    }

    /// The certificate chain and key it shows for a kind; made at the first use of the kind and kept.
    ///
    /// # Errors
    /// [`CertificateError::Making`] when the server's name cannot stand in such a certificate.
    pub fn identity(&self, kind: CertificateKind) -> Result<Identity, CertificateError> {
        self.shared.tls.identity(kind)
    }

    /// What was seen so far.
    pub fn counters(&self) -> Counters {
        self.shared.book.snapshot()
    }

    /// How often a question of class IN was read, letter case apart. `qtype` is the number of the type.
    pub fn times_asked(&self, name: &str, qtype: u16) -> u64 {
        self.shared
            .book
            .times_asked(&answers::question_key(name, qtype))
    }

    /// Sets the mode of fresh connections and of live ones, which answer what they hold back first.
    pub fn set_mode(&self, mode: Mode) {
        let mode = Arc::new(mode);
        let mut crew = self.shared.crew();
        crew.fresh = Arc::clone(&mode);
        crew.order(|orders| orders.mode = Arc::clone(&mode));
    }

    /// Sets the mode of fresh connections; live ones keep theirs.
    pub fn set_mode_of_fresh(&self, mode: Mode) {
        self.shared.crew().fresh = Arc::new(mode);
    }

    /// Sets the mode of live connections; fresh ones begin as before.
    pub fn set_mode_of_live(&self, mode: Mode) {
        let mode = Arc::new(mode);
        self.shared
            .crew()
            .order(|orders| orders.mode = Arc::clone(&mode));
    }

    /// The mode of fresh connections.
    pub fn mode(&self) -> Mode {
        Mode::clone(&self.shared.crew().fresh)
    }

    /// Sends all responses held back by `hold` or an incomplete batch, in the order the mode says.
    pub fn release(&self) {
        self.shared.crew().order(|orders| orders.releases += 1);
    }

    /// Ends every live connection.
    pub fn close_connections(&self, ending: Ending) {
        self.shared
            .crew()
            .order(|orders| orders.close = Some(ending));
    }

    /// Waits until `condition` holds, at most [`limits::WAIT`].
    ///
    /// # Errors
    /// [`WaitTimedOut`] with what was seen instead.
    pub async fn wait_until(
        &self,
        condition: impl FnMut(&Counters) -> bool,
    ) -> Result<Counters, WaitTimedOut> {
        self.wait_until_within(limits::WAIT, condition).await
    }

    /// Waits until `condition` holds, at most `bound`.
    ///
    /// # Errors
    /// [`WaitTimedOut`] with what was seen instead.
    pub async fn wait_until_within(
        &self,
        bound: Duration,
        condition: impl FnMut(&Counters) -> bool,
    ) -> Result<Counters, WaitTimedOut> {
        self.shared.book.wait_until(bound, condition).await
    }

    /// Waits until this many queries were read.
    ///
    /// # Errors
    /// As [`Running::wait_until`].
    pub async fn wait_for_queries(&self, queries: u64) -> Result<Counters, WaitTimedOut> {
        self.wait_until(|counters| counters.queries >= queries)
            .await
    }

    /// Waits until this many responses were written.
    ///
    /// # Errors
    /// As [`Running::wait_until`].
    pub async fn wait_for_responses(&self, responses: u64) -> Result<Counters, WaitTimedOut> {
        self.wait_until(|counters| counters.responses >= responses)
            .await
    }

    /// Waits until this many connections were accepted.
    ///
    /// # Errors
    /// As [`Running::wait_until`].
    pub async fn wait_for_connections(&self, accepted: u64) -> Result<Counters, WaitTimedOut> {
        self.wait_until(|counters| counters.connections_accepted >= accepted)
            .await
    }

    /// Waits until this many TLS handshakes were finished.
    ///
    /// # Errors
    /// As [`Running::wait_until`].
    pub async fn wait_for_handshakes(&self, completed: u64) -> Result<Counters, WaitTimedOut> {
        self.wait_until(|counters| counters.handshakes_completed >= completed)
            .await
    }

    /// Waits until no connection is open.
    ///
    /// # Errors
    /// As [`Running::wait_until`].
    pub async fn wait_for_all_closed(&self) -> Result<Counters, WaitTimedOut> {
        self.wait_until(|counters| counters.connections_open == 0)
            .await
    }

    /// Closes the listening socket and every connection as the death of a process would, and returns when that is
    /// done, so that the address can be bound again.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        drop((&mut self.task).await);
    }
}

/// What all connections of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) book: Book,
    pub(crate) tls: TlsConfigs,
    /// Protects the mode of fresh connections and the list of live ones; held for a few instructions, never across
    /// an await.
    crew: Mutex<Crew>,
}

impl Shared {
    fn crew(&self) -> MutexGuard<'_, Crew> {
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in: its orders, beginning with the mode of fresh connections.
    fn enlist(&self, number: u64, mode: &Arc<Mode>) -> watch::Receiver<Orders> {
        let orders = Orders {
            mode: Arc::clone(mode),
            releases: 0,
            close: None,
        };
        let (sender, receiver) = watch::channel(orders);
        self.crew().live.insert(number, sender);
        receiver
    }

    /// Strikes a connection off; the second time does nothing.
    pub(crate) fn dismiss(&self, number: u64) {
        if self.crew().live.remove(&number).is_none() {
            return;
        }
        self.book.note(number, |counters, record| {
            counters.connections_open -= 1;
            record.open = false;
            record.in_flight = 0;
        });
    }
}

/// What a live connection is told from outside.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) mode: Arc<Mode>,
    pub(crate) releases: u64,
    pub(crate) close: Option<Ending>,
}

#[derive(Debug)]
struct Crew {
    fresh: Arc<Mode>,
    live: BTreeMap<u64, watch::Sender<Orders>>,
}

impl Crew {
    fn order(&mut self, change: impl Fn(&mut Orders)) {
        for sender in self.live.values() {
            sender.send_modify(&change);
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => admit(socket, &shared, &mut connections),
                // A client that left again, or no descriptors: either passes, and others must not suffer.
                Err(_) => tokio::time::sleep(limits::ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
            Err(_) = &mut stopped => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

fn admit(socket: TcpStream, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    let (mode, open) = {
        let crew = shared.crew();
        (Arc::clone(&crew.fresh), crew.live.len())
    };
    if mode.connections_max.is_some_and(|most| open >= most) {
        shared.book.refused();
        connection::reset(&socket);
        return;
    }
    let number = shared.book.accepted();
    let orders = shared.enlist(number, &mode);
    let shared = Arc::clone(shared);
    connections.spawn(async move {
        connection::run(socket, number, orders, &shared).await;
        shared.dismiss(number);
    });
}
