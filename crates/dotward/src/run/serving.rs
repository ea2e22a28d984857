//! The workers, what listens for them, and what changes their configuration: from sockets that are bound to the end.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dotward_core::cache::Cache;
use dotward_core::engine::Engine;
use dotward_core::front::Front;
use dotward_core::policy::Acl;
use dotward_core::upstream::{Protocol, UpstreamId};
use tokio::task::AbortHandle;

use super::{Drain, Prepared, bound, random};
use crate::config::{Binding, Config, ListenAddress};
use crate::crew::{self, Crew, Supplies};
use crate::descriptors::{self, Others};
use crate::events::EventLog;
use crate::group_names::GroupNames;
use crate::limits::{ADMIN_CONNECTIONS, CONTROL_CONNECTIONS, SHARED_RESOLVERS, SHARED_SEEDS};
use crate::listen::doors::Doors;
use crate::listen::follow;
use crate::listen::places::Places;
use crate::near::{SharedListenerTls, Terms};
use crate::network;
use crate::plan;
use crate::presets;
use crate::reload::{self, Basis, Reloader};
use crate::trust::{self, FileWatch};
use crate::upstream::bootstrap::Finders;
use crate::upstream::listed::Listed;
use crate::worker::{State, Worker};

/// The workers and what listens for them.
pub(super) struct Service {
    pub(super) crew: Rc<Crew>,
    pub(super) cache: Arc<Cache>,
    /// What is listened on.
    doors: Rc<Doors>,
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
            helpers,
            files,
            pace,
            seed,
            predecessors: _,
            activated,
            started,
            reloading,
            inside,
            sandbox: _,
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
        let crew = Crew::start(Rc::clone(&worker), config.workers, supplies)?;
        let doors = Rc::new(Doors::new(Rc::clone(&crew)));
        for (listen, socket) in sockets {
            doors.open(listen, socket)?;
        }
        follow::start(&doors, &config);
        tell_presets(&config);
        worker.turn(|state, _, now| state.engine.start(now));
        let mut finders = Finders::default();
        finders.set(&worker, &config, &ids, helpers);
        trust::start(&worker, pace);
        network::start(&worker);
        if let Some(source) = reloading.source.as_ref().filter(|_| config.watch) {
            reload::watch(source, reloading.handle, pace.files);
        }
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
            files: files.map(|it| FileWatch::start(&worker, finders.helpers(), it, &ids, pace)),
            finders,
            pace,
            drain: drain.clone(),
        };
        let reloading = tokio::task::spawn_local(reload::serve(reloader, reloading.calls));
        let serving = Self { crew, cache, doors };
        Ok((serving, reloading.abort_handle()))
    }

    pub(super) async fn drain(&self, limit: Duration) -> usize {
        let began = Instant::now();
        // Who connected before the order is served as far as he asked, so all of them are admitted, and what they sent is known to the event
        // loop, before what was sent is read for the last time.
        self.doors.stop().await;
        tokio::task::yield_now().await;
        let unanswered = self.crew.drain(limit).await;
        tracing::info!(unanswered, took = ?began.elapsed(), "drained");
        unanswered
    }
}

fn tell_presets(config: &Config) {
    for line in presets::start_lines(config) {
        tracing::info!("{line}");
    }
}

/// How many client streams there may be, in all and of one source.
pub(crate) fn places_for(config: &Config) -> (usize, usize) {
    let upstreams = config.upstreams.iter();
    let by_datagrams = upstreams.filter(|it| it.protocol == Protocol::Udp).count();
    // An interface has an address of either family, mostly.
    let listeners = config.listeners.len() + 2 * config.interfaces.len();
    let workers = crew::most(config.workers);
    let others = Others {
        listeners: listeners * workers,
        upstreams: config.upstreams.len() + config.bootstrap.len(),
        by_datagrams,
        workers,
        beside: config.admin.map_or(0, |_| ADMIN_CONNECTIONS)
            + config.control.as_ref().map_or(0, |_| CONTROL_CONNECTIONS)
            + config
                .shared_cache
                .as_ref()
                .map_or(0, |_| SHARED_SEEDS + SHARED_RESOLVERS),
    };
    let wanted = config.limits.clients;
    let places = descriptors::client_streams(wanted, others);
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
            handshakes: Arc::new(plan::handshakes(config, secrets)),
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
        handshakes: random()?,
    })
}
