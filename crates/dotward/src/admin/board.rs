//! What all threads know of the process as a whole, and how to ask the workers for the rest.
//!
//! Promises: reading it holds nobody up. The first worker answers by an errand; further ones count where it can read, and give signs
//! of life when it asks for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use dotward_core::cache::CacheStats;
use dotward_core::counts::EngineCounts;
use dotward_core::shared::SharedStats;
use dotward_core::time::Moment;
use dotward_core::upstream::{GroupId, UpstreamId, UpstreamStatus};

use crate::config::ReadyRequires;
use crate::crew::link::Instruction;
use crate::limits::{UPSTREAM_ANSWERS, UPSTREAM_LOOK, WORKER_ANSWERS, WORKER_STUCK};
use crate::post::Post;
use crate::reload::ReloadCounts;
use crate::sandbox;
use crate::tally::{Handshakes, Totals};
use crate::upstream::addresses::AddressReport;
use crate::worker::State;

/// What all threads know of the process.
#[derive(Debug)]
pub(crate) struct Board {
    /// To the worker with the engine.
    post: Post,
    signs: Mutex<Signs>,
    /// No more queries are taken.
    draining: AtomicBool,
    /// An upstream was found to work once.
    verified: AtomicBool,
    pub(super) ready_requires: ReadyRequires,
    /// When the process began to serve.
    pub(super) started: SystemTime,
    /// What it has given up.
    pub(super) sandbox: sandbox::Status,
}

/// Signs of life of the workers, the one with the engine first.
#[derive(Debug)]
struct Signs {
    /// When they were asked for last.
    asked: Instant,
    /// Since when each worker owes one; `None` while it owes none.
    owing: Vec<Option<Instant>>,
}

/// What the first worker tells of itself and the others.
#[derive(Debug)]
pub(crate) struct Report {
    pub(super) totals: Totals,
    pub(super) counts: EngineCounts,
    pub(super) cache: CacheStats,
    /// `None` where no cache is shared.
    pub(super) shared_cache: Option<SharedStats>,
    /// Clients who wait for an upstream.
    pub(super) in_flight: usize,
    pub(super) upstreams: Vec<UpstreamReport>,
    /// How the configuration was read again.
    pub(super) reloads: ReloadCounts,
    /// When the certificate of the TLS listeners ends, in seconds since 1970.
    pub(super) listener_ends: Option<i64>,
    /// For each worker whether it has given all signs of life that it was asked for before.
    pub(super) signs: Vec<bool>,
    /// How many workers get new clients.
    pub(super) active: usize,
}

/// What a worker tells of an upstream.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamReport {
    pub(super) name: String,
    /// Whether it is asked about names that no route claims.
    pub(super) general: bool,
    pub(super) status: UpstreamStatus,
    pub(super) addresses: Vec<AddressReport>,
    /// How long it has been in its state; `None` when it never changed.
    pub(super) since: Option<Duration>,
    /// How long a question of ours has waited for its answer, where we asked whether it works.
    pub(super) probed: Option<Duration>,
    pub(super) handshakes: Handshakes,
    /// When its certificate ends, in seconds since 1970.
    pub(super) theirs_ends: Option<i64>,
    /// When the certificate that it is shown ends.
    pub(super) ours_ends: Option<i64>,
}

impl Report {
    /// Copies out what is told, and asks the further workers for signs of life.
    fn of(state: &State, now: Moment) -> Self {
        let engine = &state.engine;
        let mut totals = Totals::default();
        totals.add(&state.near.counters);
        let mut signs = vec![true];
        for further in &state.further {
            let counters = &further.link.counters;
            totals.add(counters);
            signs.push(counters.beats.get() >= counters.beats_asked.get());
            // One at a time: a worker that does not turn is not to find a heap of them.
            if signs.last() == Some(&true) {
                counters.beats_asked.add(1);
                further.link.tell(Instruction::Beat);
            }
        }
        Self {
            totals,
            counts: engine.counts(),
            cache: engine.cache_stats(),
            shared_cache: engine.shared_stats(),
            in_flight: engine.in_flight(),
            upstreams: state
                .listed
                .iter()
                .filter_map(|it| UpstreamReport::of(state, it.id, now))
                .collect(),
            reloads: state.reloads.counts(),
            listener_ends: state.trust.listener_ends(),
            signs,
            active: state.active,
        }
    }
}

impl UpstreamReport {
    fn of(state: &State, upstream: UpstreamId, now: Moment) -> Option<Self> {
        let status = state.engine.status(upstream, now)?;
        let trust = state.trust.of(upstream);
        let general = state.engine.members_of(GroupId::DEFAULT);
        let handshakes = state.handshakes.get(upstream.0);
        Some(Self {
            name: state.trust.name(upstream).to_owned(),
            general: general.contains(&upstream),
            addresses: AddressReport::all(state, upstream, now),
            since: (status.since > Moment::ZERO).then(|| now.since(status.since)),
            probed: status.probed.map(|at| now.since(at)),
            handshakes: handshakes.cloned().unwrap_or_default(),
            theirs_ends: trust.and_then(|trust| trust.theirs.ends()),
            ours_ends: trust.and_then(|trust| trust.ours.ends()),
            status,
        })
    }

    /// Whether it was ever found to work: it answered, or proved over TLS who it is.
    pub(super) fn is_verified(&self) -> bool {
        self.status.heard.is_some() || self.status.counts.opened > 0
    }
}

impl Signs {
    fn handle_report(&mut self, report: Option<&Report>, began: Instant) {
        let asked = std::mem::replace(&mut self.asked, began);
        let Some(report) = report else {
            if let Some(first) = self.owing.first_mut() {
                first.get_or_insert(began);
            }
            return;
        };
        self.owing.resize(report.signs.len(), None);
        for (owing, given) in self.owing.iter_mut().zip(&report.signs) {
            *owing = if *given { None } else { owing.or(Some(asked)) };
        }
    }
}

impl Board {
    /// A board about the workers of the one whose errands are left at `post`.
    pub(crate) fn new(post: Post, ready_requires: ReadyRequires, sandbox: sandbox::Status) -> Self {
        Self {
            post,
            signs: Mutex::new(Signs {
                asked: Instant::now(),
                owing: vec![None],
            }),
            draining: AtomicBool::new(false),
            verified: AtomicBool::new(false),
            ready_requires,
            started: SystemTime::now(),
            sandbox,
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

    /// What there is to tell; `None` when the first worker does not answer.
    pub(super) async fn report(&self) -> Option<Report> {
        let began = Instant::now();
        let asked = self
            .post
            .ask(WORKER_ANSWERS, |state, now| Report::of(state, now));
        let report = asked.await;
        self.signs().handle_report(report.as_ref(), began);
        let mut upstreams = report.iter().flat_map(|report| &report.upstreams);
        if upstreams.any(UpstreamReport::is_verified) {
            self.verified.store(true, Ordering::Release);
        }
        report
    }

    fn signs(&self) -> std::sync::MutexGuard<'_, Signs> {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For each worker whether it turned lately, as of the last report.
    pub(super) fn alive(&self) -> Vec<bool> {
        let is_alive =
            |since: &Option<Instant>| since.is_none_or(|since| since.elapsed() < WORKER_STUCK);
        self.signs().owing.iter().map(is_alive).collect()
    }

    /// Asks upstreams that were quiet whether they work.
    pub(super) async fn look_at_upstreams(&self) {
        let probe = |state: &mut State, now| {
            let (quiet, patience) = (UPSTREAM_LOOK, UPSTREAM_ANSWERS);
            state.engine.probe_quiet(quiet, patience, now);
        };
        // One that does not answer is found out by who asks about its health.
        let (Some(()) | None) = self.post.ask(WORKER_ANSWERS, probe).await;
    }
}
