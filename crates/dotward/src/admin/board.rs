//! What all threads know of the process as a whole, and how to ask the workers for the rest.
//!
//! Promises: reading it holds nobody up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use dotward_core::counts::EngineCounts;
use dotward_core::time::Moment;
use dotward_core::upstream::{GroupId, UpstreamId, UpstreamStatus};
use tokio::task::JoinSet;

use crate::config::ReadyRequires;
use crate::limits::{UPSTREAM_ANSWERS, UPSTREAM_LOOK, WORKER_ANSWERS, WORKER_STUCK};
use crate::listen::udp::UdpPort;
use crate::post::Post;
use crate::tally::{Handshakes, Tally};
use crate::worker::State;

/// What all threads know of the process.
#[derive(Debug)]
pub(crate) struct Board {
    /// The workers; the first one has the engine.
    posts: Vec<Post>,
    /// Since when each worker owes a sign of life; `None` while it owes none.
    owing: Mutex<Vec<Option<Instant>>>,
    /// No more queries are taken.
    draining: AtomicBool,
    /// An upstream was found to work once.
    verified: AtomicBool,
    pub(super) ready_requires: ReadyRequires,
    /// When the process began to serve.
    pub(super) started: SystemTime,
}

/// What a worker tells of itself.
#[derive(Debug)]
pub(crate) struct Report {
    pub(super) tally: Tally,
    pub(super) counts: EngineCounts,
    /// Clients who wait for an upstream.
    pub(super) in_flight: usize,
    /// Streams of clients.
    pub(super) clients: usize,
    /// UDP replies that could not be sent.
    pub(super) lost: u64,
    pub(super) upstreams: Vec<UpstreamReport>,
    /// When the certificate of the TLS listeners ends, in seconds since 1970.
    pub(super) listener_ends: Option<i64>,
}

/// What a worker tells of an upstream.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamReport {
    pub(super) name: String,
    /// Whether it is asked about names that no route claims.
    pub(super) general: bool,
    pub(super) status: UpstreamStatus,
    /// How long it has been in its state; `None` when it never changed.
    pub(super) since: Option<std::time::Duration>,
    /// How long ours has waited for an answer, where we asked whether it works.
    pub(super) probed: Option<std::time::Duration>,
    pub(super) handshakes: Handshakes,
    /// When its certificate ends, in seconds since 1970.
    pub(super) theirs_ends: Option<i64>,
    /// When the certificate that it is shown ends.
    pub(super) ours_ends: Option<i64>,
}

impl Report {
    /// Copies out what is told.
    fn of(state: &State, now: Moment) -> Self {
        let engine = &state.engine;
        Self {
            tally: state.tally.clone(),
            counts: engine.counts(),
            in_flight: engine.in_flight(),
            clients: state.clients.len(),
            lost: state.ports.iter().map(UdpPort::lost).sum(),
            upstreams: (0..engine.upstreams())
                .filter_map(|place| UpstreamReport::of(state, UpstreamId(place), now))
                .collect(),
            listener_ends: state.trust.listener_ends(),
        }
    }
}

impl UpstreamReport {
    fn of(state: &State, upstream: UpstreamId, now: Moment) -> Option<Self> {
        let status = state.engine.status(upstream, now)?;
        let trust = state.trust.of(upstream);
        let general = state.engine.members_of(GroupId::DEFAULT);
        Some(Self {
            name: state.trust.name(upstream).to_owned(),
            general: general.contains(&upstream),
            since: (status.since > Moment::ZERO).then(|| now.since(status.since)),
            probed: status.probed.map(|at| now.since(at)),
            handshakes: state
                .tally
                .handshakes
                .get(upstream.0)
                .cloned()
                .unwrap_or_default(),
            theirs_ends: trust.and_then(|trust| trust.theirs.ends()),
            ours_ends: trust.and_then(|trust| trust.ours.ends()),
            status,
        })
    }

    /// Adds what another worker's engine tells of the same upstream.
    pub(super) fn merge(&mut self, other: &Self) {
        self.status.ready += other.status.ready;
        self.status.opening += other.status.opening;
        self.status.in_flight += other.status.in_flight;
        self.status.counts.merge(&other.status.counts);
        self.handshakes.merge(&other.handshakes);
    }

    /// Whether it was ever found to work: it answered, or proved over TLS who it is.
    pub(super) fn is_verified(&self) -> bool {
        self.status.heard.is_some() || self.status.counts.opened > 0
    }
}

impl Board {
    /// A board about these workers, the one with the engine first.
    pub(crate) fn new(posts: Vec<Post>, ready_requires: ReadyRequires) -> Self {
        Self {
            owing: Mutex::new(vec![None; posts.len()]),
            posts,
            draining: AtomicBool::new(false),
            verified: AtomicBool::new(false),
            ready_requires,
            started: SystemTime::now(),
        }
    }

    /// From now on no more queries are taken.
    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether an upstream was found to work once, as far as anybody looked.
    pub(super) fn is_verified(&self) -> bool {
        self.verified.load(Ordering::Acquire)
    }

    /// Where errands for the engine are left.
    pub(super) fn engine(&self) -> Option<&Post> {
        self.posts.first()
    }

    /// What each worker tells of itself; `None` for one that does not answer.
    pub(super) async fn reports(&self) -> Vec<Option<Report>> {
        let began = Instant::now();
        let mut asked = JoinSet::new();
        for (place, post) in self.posts.iter().cloned().enumerate() {
            asked.spawn(async move {
                let report = post.ask(WORKER_ANSWERS, |state, now| Report::of(state, now));
                (place, report.await)
            });
        }
        let mut reports: Vec<Option<Report>> = self.posts.iter().map(|_| None).collect();
        while let Some(answered) = asked.join_next().await {
            if let Ok((place, report)) = answered
                && let Some(known) = reports.get_mut(place)
            {
                *known = report;
            }
        }
        self.note(&reports, began);
        reports
    }

    fn note(&self, reports: &[Option<Report>], began: Instant) {
        let mut owing = self.owing.lock().unwrap_or_else(PoisonError::into_inner);
        for (owing, report) in owing.iter_mut().zip(reports) {
            *owing = match report {
                Some(_) => None,
                None => owing.or(Some(began)),
            };
        }
        let mut upstreams = reports.iter().flatten().flat_map(|it| &it.upstreams);
        if upstreams.any(UpstreamReport::is_verified) {
            self.verified.store(true, Ordering::Release);
        }
    }

    /// For each worker whether it turned lately, as far as it was asked.
    pub(super) fn alive(&self) -> Vec<bool> {
        let owing = self.owing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_alive =
            |since: &Option<Instant>| since.is_none_or(|since| since.elapsed() < WORKER_STUCK);
        owing.iter().map(is_alive).collect()
    }

    /// Asks upstreams that were quiet whether they work.
    pub(super) async fn look_at_upstreams(&self) {
        if let Some(engine) = self.engine() {
            let probe = |state: &mut State, now| {
                let (quiet, patience) = (UPSTREAM_LOOK, UPSTREAM_ANSWERS);
                state.engine.probe_quiet(quiet, patience, now);
            };
            // One that does not answer is found out by who asks about its health.
            let (Some(()) | None) = engine.ask(WORKER_ANSWERS, probe).await;
        }
    }
}
