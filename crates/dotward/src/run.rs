//! From a checked configuration to a proxy at work, and to its orderly end.
//!
//! Promises:
//! - Nothing is served before everything is bound and every file read, and all faults are told at once.
//! - The end drops nothing it can answer: accepting stops, what is in flight is answered within `drain`, then everybody gets
//!   a goodbye.
//!
//! Deliberately absent: reading configurations, exit codes.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dotward_core::upstream::Protocol;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::watch;

use crate::config::load::DEFAULT_FILE;
use crate::config::{Config, Disk, ListenAddress, ListenTransport};
use crate::gather;
use crate::group_names::GroupNames;
use crate::listen::sockets::Bound;
use crate::privileges;
use crate::reload::{self, Calls, ConfigSource};
use crate::sandbox::{self, Enforced, Inside, Needs};
use crate::service;
use crate::tls::client::UpstreamTls;
use crate::tls::server::ListenerTls;
use crate::trust::{Stamped, TrustPace};
use crate::upstream::bootstrap::Helpers;

pub(crate) mod checks;
mod companions;
mod drain;
mod fault;
mod ports;
mod proxy;
mod serving;
mod takeover;

use companions::{Companions, OrderDesk, Plans, Provisions};
pub(crate) use drain::Drain;
pub use fault::{AdminFault, StartError, StartFault};
use ports::Ports;
pub use proxy::{Proxy, Running};
use serving::Service;
pub(crate) use serving::places_for;
pub(crate) use takeover::Predecessor;

/// What the order to stop looks like to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Serve,
    /// Take no more, answer what is in flight, end.
    Drain,
    /// End at once.
    Abort,
}

/// How a proxy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Questions that were in flight and got no answer of their own.
    pub unanswered: usize,
}

/// A proxy with all its sockets bound, not serving yet.
#[derive(Debug)]
pub struct Prepared {
    config: Config,
    sockets: Vec<(ListenAddress, Bound)>,
    provisions: Provisions,
    listen_tls: Option<ListenerTls>,
    /// One for each upstream of the configuration; `None` for those spoken to in the clear.
    upstreams: Vec<Option<UpstreamTls>>,
    /// Who is asked for the addresses of upstreams that have only a name.
    helpers: Helpers,
    /// The files TLS was read from, as they were before; `None` when it was not read from any.
    files: Option<Stamped>,
    pace: TrustPace,
    seed: [u8; 32],
    /// Processes that had the ports before, to be told to drain.
    predecessors: Vec<Predecessor>,
    /// The sockets are the service manager's.
    activated: bool,
    /// What the process has given up.
    sandbox: sandbox::Status,
    /// As it was read.
    started: Arc<Config>,
    reloading: Reloading,
    /// What the sandbox leaves; `None` outside.
    inside: Option<Arc<Inside>>,
}

/// How the configuration is read again.
#[derive(Debug)]
struct Reloading {
    source: Option<ConfigSource>,
    handle: reload::Handle,
    calls: Calls,
}

impl Default for Reloading {
    /// Nobody said where the configuration comes from.
    fn default() -> Self {
        let (handle, calls) = reload::channel();
        Self {
            source: None,
            handle,
            calls,
        }
    }
}

/// Where a proxy listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// What is spoken there.
    pub transport: ListenTransport,
    /// The address, with the port the system chose where the configuration said 0.
    pub address: SocketAddr,
}

impl Prepared {
    /// Binds every socket and reads every file.
    ///
    /// # Errors
    ///
    /// [`StartError`] with every fault there is.
    pub fn new(config: Config) -> Result<Self, StartError> {
        Self::with_sockets(config, Vec::new())
    }

    /// The same, with sockets the service manager made in the place of all listening addresses of the configuration, unless there are
    /// none.
    ///
    /// # Errors
    ///
    /// [`StartError`] with every fault there is.
    pub fn with_sockets(
        mut config: Config,
        passed: Vec<(ListenAddress, Bound)>,
    ) -> Result<Self, StartError> {
        let mut faults = Vec::new();
        let activated = !passed.is_empty();
        let started = Arc::new(config.clone());
        if activated {
            ports::take_over_addresses(&mut config, &passed, &mut faults);
        }
        // Before they are read: what changes meanwhile is seen as a change.
        let files = Stamped::now(&config);
        let listen_tls = config.listen_tls.as_ref().and_then(|identity| {
            ListenerTls::from_files(identity)
                .map_err(|error| faults.push(StartFault::ListenTls(error)))
                .ok()
        });
        let upstreams = tls_of_upstreams(&config, &mut faults);
        let helpers = Helpers::new(&config.bootstrap, &Disk, &mut faults);
        checks::bindings(&config, true, &mut faults);
        let ports = match activated {
            true => Ports::passed(passed),
            false => Ports::wanted(&config, &mut faults),
        };
        let prepared = Self::assemble(config, ports, listen_tls, upstreams, faults)?;
        Ok(Self {
            helpers,
            files: Some(files),
            activated,
            started,
            ..prepared
        })
    }

    /// Becomes who the configuration says, for good and for all threads.
    ///
    /// # Errors
    ///
    /// [`StartError`] when that is not possible, or when something that needs privileges later would fail then.
    pub fn drop_privileges(self) -> Result<Self, StartError> {
        let Some(run_as) = &self.config.run_as else {
            return Ok(self);
        };
        // Addresses of interfaces that come later are bound then.
        let ports = self.config.interfaces.iter().map(|it| it.port);
        let keep = privileges::Keep::for_ports(ports);
        let hand_over = |who: &privileges::Identity| self.provisions.give_to(who);
        if let Err(error) = privileges::drop_to(run_as, keep, hand_over) {
            let faults = vec![StartFault::Privileges(error)];
            return Err(StartError { faults });
        }
        let mut faults = Vec::new();
        checks::bindings(&self.config, true, &mut faults);
        if !faults.is_empty() {
            return Err(StartError { faults });
        }
        privileges::tell_unwritable(&self.config);
        Ok(self)
    }

    /// Now that the process may do what it will for ever: what it cannot read again is kept for reloads, and told.
    fn settle_files(&self) {
        if let Some(source) = &self.reloading.source {
            for file in source.files.keep_out_of_reach() {
                privileges::tell_unreadable(&file);
            }
            source.tell_unreadable();
        }
    }

    /// The same with trust looked at as often as `pace` says.
    #[must_use]
    pub fn with_pace(self, pace: TrustPace) -> Self {
        Self { pace, ..self }
    }

    /// Binds every socket and takes TLS as it is given, for what never was in files: `listen_tls` for the TLS listeners, and
    /// in `upstreams` one for each upstream of the configuration that speaks TLS.
    ///
    /// # Errors
    ///
    /// [`StartError`] with every fault there is.
    pub fn with_tls(
        config: Config,
        listen_tls: Option<ListenerTls>,
        upstreams: Vec<UpstreamTls>,
    ) -> Result<Self, StartError> {
        let mut faults = Vec::new();
        let ports = Ports::wanted(&config, &mut faults);
        let mut given = upstreams.into_iter();
        let of = |protocol| match protocol {
            Protocol::Tls => given.next(),
            Protocol::Tcp | Protocol::Udp => None,
        };
        let upstreams = config.upstreams.iter().map(|it| it.protocol).map(of);
        let upstreams = upstreams.collect();
        Self::assemble(config, ports, listen_tls, upstreams, faults)
    }

    /// Makes what is left to be made: the ports come last, and are heard when nothing can be wrong any more. What arrives there, in the
    /// place of a process that is at work, would be lost by a start that fails.
    fn assemble(
        config: Config,
        mut ports: Ports,
        listen_tls: Option<ListenerTls>,
        upstreams: Vec<Option<UpstreamTls>>,
        mut faults: Vec<StartFault>,
    ) -> Result<Self, StartError> {
        let mut provisions = Provisions::new(&config, &mut faults);
        let seed = random().map_err(|error| faults.push(StartFault::System(error)));
        ports.bind(&config, &mut faults);
        if faults.is_empty() {
            provisions.open(&config, &mut faults);
            ports.listen(&mut faults);
        }
        match (faults.is_empty(), seed) {
            (true, Ok(seed)) => Ok(Self {
                started: Arc::new(config.clone()),
                config,
                sockets: ports.bound,
                provisions,
                listen_tls,
                upstreams,
                helpers: Helpers::default(),
                files: None,
                pace: TrustPace::default(),
                seed,
                predecessors: ports.predecessors,
                activated: false,
                reloading: Reloading::default(),
                inside: None,
                sandbox: sandbox::Status::OFF,
            }),
            (_, Ok(_) | Err(())) => Err(StartError { faults }),
        }
    }

    /// Gives up what is not needed to serve, unless the configuration says not to: this thread and those it makes, and with some
    /// of it the whole process.
    ///
    /// Who had the ports before is told first, which is not possible afterwards; what is asked meanwhile waits in our sockets.
    pub(crate) fn enter_sandbox(&mut self) {
        self.predecessors.iter().for_each(Predecessor::relieve);
        if self.config.sandbox {
            self.enter();
        }
        tracing::info!(files = %self.sandbox.files, calls = %self.sandbox.calls, "sandbox");
        self.settle_files();
    }

    /// What is needed to serve, and to read the configuration again: every file that was read for it, whichever setting names it.
    fn needs(&self) -> Needs {
        let mut needs = Needs::of(&self.config);
        needs.abstract_sockets = service::is_told_without_a_file();
        if let Some(source) = &self.reloading.source {
            let default = || PathBuf::from(DEFAULT_FILE);
            needs.read_file(&source.file.clone().unwrap_or_else(default));
            for file in source.files.read_so_far() {
                needs.read_file(&file);
            }
        }
        needs
    }

    fn enter(&mut self) {
        let needs = self.needs();
        needs.tell_alone();
        self.sandbox = sandbox::enter(&needs);
        if self.sandbox.files != Enforced::Not {
            self.inside = Some(Arc::new(Inside::new(needs)));
        }
    }

    /// Whether this is the program itself, and not something embedded in another one: it knows then where its configuration comes from.
    fn is_the_program(&self) -> bool {
        self.reloading.source.is_some()
    }

    /// Has the configuration read again from `source` whenever that is asked for.
    pub(crate) fn with_source(
        self,
        source: ConfigSource,
        (handle, calls): (reload::Handle, Calls),
    ) -> Self {
        let reloading = Reloading {
            source: Some(source),
            handle,
            calls,
        };
        Self { reloading, ..self }
    }

    /// Where it listens, in the order of the configuration.
    pub fn listening(&self) -> Vec<Listening> {
        self.sockets
            .iter()
            .filter_map(|(listen, socket)| {
                Some(Listening {
                    transport: listen.transport,
                    address: socket.local_addr().ok()?,
                })
            })
            .collect()
    }

    /// Where metrics and health are told.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.provisions.admin()
    }

    /// Serves until `orders` says otherwise. To be run within the runtime of [`local_runtime`].
    ///
    /// # Errors
    ///
    /// When the system refuses a socket its place in the event loop.
    pub async fn serve(mut self, mut orders: watch::Receiver<Order>) -> io::Result<Ended> {
        let drain = Drain::new(self.config.drain);
        let reload = self.reloading.handle.clone();
        let names = GroupNames::new(&self.config);
        let (by_control, mut asked) = watch::channel(Order::Serve);
        let plans = Plans::of(&mut self);
        let (serving, reloading) = Service::start(self, &names, &drain)?;
        let desk = OrderDesk {
            orders: by_control.clone(),
            reload,
            drain: drain.clone(),
            names,
        };
        let mut companions = plans.start(serving.crew.first(), &serving.cache, desk)?;
        service::tell_ready();
        let order = tokio::select! {
            order = next_order(&mut orders) => order,
            order = next_order(&mut asked) => order,
        };
        // The configuration that is in force is the last one.
        reloading.abort();
        service::tell_stopping();
        companions.tell_draining();
        let unanswered = match order {
            Order::Serve | Order::Drain => tokio::select! {
                unanswered = end_in_order(&serving, &mut companions, drain.limit()) => unanswered,
                () = aborted(&mut orders) => serving.crew.first().in_flight(),
            },
            Order::Abort => serving.crew.first().in_flight(),
        };
        serving.crew.close();
        drop(companions);
        Ok(Ended { unanswered })
    }
}

/// Answers what is in flight, within `limit`, says goodbye, and saves what is kept. Gives back how many questions got no answer.
async fn end_in_order(serving: &Service, companions: &mut Companions, limit: Duration) -> usize {
    let unanswered = serving.drain(limit).await;
    serving.crew.close();
    companions.save().await;
    unanswered
}

/// The first order but to go on. A handle that was dropped asks for an orderly end like one that was told so.
async fn next_order(orders: &mut watch::Receiver<Order>) -> Order {
    match orders.wait_for(|order| *order != Order::Serve).await {
        Ok(order) => *order,
        Err(_) => Order::Drain,
    }
}

async fn aborted(orders: &mut watch::Receiver<Order>) {
    if orders
        .wait_for(|order| *order == Order::Abort)
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
}

/// One for each upstream; `None` for those spoken to in the clear.
fn tls_of_upstreams(config: &Config, faults: &mut Vec<StartFault>) -> Vec<Option<UpstreamTls>> {
    let mut upstreams = Vec::new();
    for settings in &config.upstreams {
        if settings.protocol != Protocol::Tls {
            upstreams.push(None);
            continue;
        }
        match UpstreamTls::new(settings) {
            Ok(tls) => upstreams.push(Some(tls)),
            Err(error) => faults.push(StartFault::UpstreamTls {
                upstream: settings.name.clone(),
                error,
            }),
        }
    }
    upstreams
}

/// Where sockets are bound, with the ports the system chose.
fn bound(sockets: &[(ListenAddress, Bound)]) -> Vec<ListenAddress> {
    let bound = |(listen, socket): &(ListenAddress, Bound)| {
        let address = socket.local_addr().ok()?;
        Some(ListenAddress { address, ..*listen })
    };
    sockets.iter().filter_map(bound).collect()
}

fn random<const LEN: usize>() -> io::Result<[u8; LEN]> {
    let mut octets = [0; LEN];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| io::Error::other("no randomness"))?;
    Ok(octets)
}

/// A runtime for one worker on this thread, which pauses when it is busy (see `gather`).
///
/// # Errors
///
/// When the system gives no event loop.
pub fn local_runtime() -> io::Result<LocalRuntime> {
    gather::keep_time();
    Builder::new_current_thread()
        .enable_all()
        .on_thread_park(gather::before_look)
        .build_local(LocalOptions::default())
}

#[cfg(test)]
mod tests;
