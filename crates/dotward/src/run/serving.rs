//! The workers, what listens for them, and what changes their configuration: from sockets that are bound to the end.

use std::io;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dotward_core::cache::Cache;
use dotward_core::engine::Engine;
use dotward_core::front::Front;
use dotward_core::policy::Acl;
use dotward_core::upstream::UpstreamId;
use dotward_udp::BatchSocket;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::{Drain, Prepared, bound, random};
use crate::config::{Binding, Config, ListenAddress, ListenTransport};
use crate::crew::{self, Crew, Supplies};
use crate::descriptors;
use crate::events::EventLog;
use crate::group_names::GroupNames;
use crate::listen::accept;
use crate::listen::places::Places;
use crate::listen::sockets::{self, Bound};
use crate::near::{SharedListenerTls, Terms};
use crate::network;
use crate::plan;
use crate::presets;
use crate::reload::{self, Basis, Reloader};
use crate::signal::Signal;
use crate::trust::{self, FileWatch};
use crate::upstream::bootstrap::Finders;
use crate::upstream::listed::Listed;
use crate::worker::{State, Worker};

/// The workers and what listens for them.
pub(super) struct Service {
    pub(super) crew: Rc<Crew>,
    pub(super) cache: Arc<Cache>,
    /// The listeners of streams.
    listeners: Vec<Rc<Signal>>,
}

impl Service {
    /// Starts them, and the task that changes their configuration.
    pub(super) fn start(
        prepared: Prepared,
        names: &GroupNames,
        drain: &Drain,
    ) -> io::Result<(Self, AbortHandle)> {
        let listening: Arc<[ListenAddress]> = bound(&prepared.sockets).into();
        let Prepared {
            config,
            sockets,
            provisions: _,
            listen_tls,
            upstreams,
            from_files,
            pace,
            seed,
            predecessors: _,
            activated,
            started,
            reloading,
            inside,
        } = prepared;
        let cache = plan::cache(&config, random()?);
        let secrets = secrets()?;
        let mut supplies = supplies(&config, &secrets, Arc::clone(&cache));
        supplies.keeps_ports = activated;
        let ids: Vec<UpstreamId> = (0..config.upstreams.len()).map(UpstreamId).collect();
        let mut state = State::new(
            supplies.near(Arc::default()),
            Engine::new(plan::engine(&config, Arc::clone(&cache)), seed),
            upstreams.into_iter().map(|tls| tls.map(Rc::new)).collect(),
            bindings(&config),
            EventLog::new(config.upstreams.iter().map(|u| u.name.clone()).collect()),
        );
        state.listed = Listed::of(&config, &ids);
        let worker = Worker::start(state);
        if let Some(tls) = listen_tls {
            worker.turn(|state, _, now| trust::replace_listener(state, tls, now));
        }
        let (udp, listeners) = open(&worker, sockets)?;
        for line in presets::start_lines(&config) {
            tracing::info!("{line}");
        }
        worker.turn(|state, _, now| state.engine.start(now));
        let crew = Crew::start(Rc::clone(&worker), config.workers, udp.into(), supplies)?;
        let mut finders = Finders::default();
        finders.set(&worker, &config, &ids);
        trust::start(&worker, pace);
        network::start(&worker);
        let basis = |source| Basis {
            source,
            started,
            listeners: listening,
            activated,
            inside,
            secrets,
            cache: Arc::clone(&cache),
            running: Arc::new(config.clone()),
        };
        let reloader = Reloader {
            basis: reloading.source.map(basis),
            crew: Rc::clone(&crew),
            cache: Arc::clone(&cache),
            names: names.clone(),
            finders,
            files: from_files.then(|| FileWatch::start(&worker, &config, &ids, pace)),
            pace,
            drain: drain.clone(),
        };
        let reloading = tokio::task::spawn_local(reload::serve(reloader, reloading.calls));
        let serving = Self {
            crew,
            cache,
            listeners,
        };
        Ok((serving, reloading.abort_handle()))
    }

    pub(super) async fn drain(&self, limit: Duration) -> usize {
        let began = Instant::now();
        for listener in &self.listeners {
            listener.stop();
        }
        let unanswered = self.crew.drain(limit).await;
        tracing::info!(unanswered, took = ?began.elapsed(), "drained");
        unanswered
    }
}

/// What is read of datagrams, and what stops the accepting of streams, which begins.
type Opened = (Vec<Vec<Arc<BatchSocket>>>, Vec<Rc<Signal>>);

fn open(worker: &Rc<Worker>, sockets: Vec<(ListenAddress, Bound)>) -> io::Result<Opened> {
    let (mut udp, mut listeners) = (Vec::new(), Vec::new());
    for (listen, socket) in sockets {
        tell_listening(listen.transport, &socket);
        match socket {
            Bound::Udp(sockets) => udp.push(batched(sockets)?),
            Bound::Stream(socket) => {
                let tls = listen.transport == ListenTransport::Tls;
                let signal = Rc::new(Signal::default());
                let listener = TcpListener::from_std(socket)?;
                let accept = accept::accept(Rc::clone(worker), listener, tls, Rc::clone(&signal));
                tokio::task::spawn_local(accept);
                listeners.push(signal);
            }
        }
    }
    Ok((udp, listeners))
}

fn batched(sockets: Vec<UdpSocket>) -> io::Result<Vec<Arc<BatchSocket>>> {
    let sockets = sockets.into_iter();
    sockets
        .map(|socket| BatchSocket::new(socket).map(Arc::new))
        .collect()
}

fn tell_listening(transport: ListenTransport, socket: &Bound) {
    if let Ok(address) = socket.local_addr() {
        let transport = sockets::transport_word(transport);
        tracing::info!(%address, transport, "listening");
    }
}

/// How many client streams there may be, in all and of one source.
pub(crate) fn places_for(config: &Config) -> (usize, usize) {
    let upstreams = config.upstreams.len() + config.bootstrap.len();
    let listeners = config.listeners.len() * crew::most(config.workers);
    let wanted = config.limits.clients;
    let places = descriptors::client_streams(wanted, listeners, upstreams);
    if places < wanted {
        tracing::warn!(
            clients = places,
            "few descriptors (RLIMIT_NOFILE): so many clients may be connected at once"
        );
    }
    (places, config.limits.clients_per_source)
}

fn supplies(config: &Config, secrets: &plan::Secrets, cache: Arc<Cache>) -> Supplies {
    let (places, per_source) = places_for(config);
    Supplies {
        terms: Terms {
            front: Arc::new(Front::new(plan::front(config, secrets, cache))),
            allow: Acl::new(&config.allow),
            balancers: Acl::new(&config.proxy_from),
        },
        keeps_ports: false,
        places: Arc::new(Places::new(places, per_source)),
        listen_tls: SharedListenerTls::default(),
    }
}

fn bindings(config: &Config) -> Vec<Rc<Binding>> {
    let upstreams = config.upstreams.iter();
    upstreams
        .map(|upstream| Rc::new(upstream.binding.clone()))
        .collect()
}

fn secrets() -> io::Result<plan::Secrets> {
    Ok(plan::Secrets {
        cookies: random()?,
        rate: random()?,
    })
}
