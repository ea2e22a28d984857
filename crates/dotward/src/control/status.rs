//! How a running program is doing, gathered on the worker that has the engine.
//!
//! Promises: what is gathered is a copy of a moment; gathering it takes no longer than reading a few fields of each upstream.

use std::rc::Rc;
use std::sync::Arc;

use dotward_core::cache::Cache;
use dotward_core::time::Moment;
use dotward_core::upstream::HealthState;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::{cache, counts};
use crate::clock;
use crate::config::protocol_word;
use crate::events;
use crate::listen::sockets::transport_word;
use crate::logging;
use crate::run::Listening;
use crate::sandbox;
use crate::shared::SharedCache;
use crate::unix_signals::StateAsked;
use crate::upstream::addresses::{AddressReport, rounded, seconds};
use crate::upstream::listed::Listed;
use crate::worker::{State, Worker};

/// What a worker is asked, with where the answer goes.
#[derive(Debug)]
pub(crate) enum Inquiry {
    /// How things are.
    Status(oneshot::Sender<Value>),
    /// How the cache that several instances share is doing; null without one.
    Shared(oneshot::Sender<Value>),
}

/// What does not change while the program runs.
#[derive(Debug)]
pub(crate) struct Facts {
    began: Moment,
    cache: Arc<Cache>,
    listening: Vec<Listening>,
    sandbox: sandbox::Status,
}

impl Facts {
    /// The facts of a program that listens there.
    pub(crate) fn new(
        listening: Vec<Listening>,
        sandbox: sandbox::Status,
        cache: Arc<Cache>,
    ) -> Self {
        Self {
            began: clock::now(),
            cache,
            listening,
            sandbox,
        }
    }
}

impl Facts {
    /// What is kept.
    pub(crate) fn cache(&self) -> Arc<Cache> {
        Arc::clone(&self.cache)
    }
}

/// Writes the state into the log whenever USR1 asks for it: a line about the whole, and one for each upstream. For ever.
pub(crate) async fn log_when_asked(worker: Rc<Worker>, facts: Rc<Facts>, mut asked: StateAsked) {
    loop {
        asked.next().await;
        let mut state = worker.turn(|state, _, now| status(state, &facts, now));
        let upstreams = state["upstreams"].take();
        if let Some(whole) = state.as_object_mut() {
            whole.remove("upstreams");
        }
        tracing::info!(%state, "state");
        for upstream in upstreams.as_array().into_iter().flatten() {
            tracing::info!(%upstream, "state of an upstream");
        }
    }
}

/// Answers what is asked of a worker until nobody can ask any more.
pub(crate) async fn answer_questions(
    worker: Rc<Worker>,
    facts: Rc<Facts>,
    mut questions: mpsc::Receiver<Inquiry>,
) {
    while let Some(asked) = questions.recv().await {
        match asked {
            Inquiry::Status(answer) => {
                let status = worker.turn(|state, _, now| status(state, &facts, now));
                // Who has given up waiting needs no answer.
                drop(answer.send(status));
            }
            Inquiry::Shared(answer) => {
                let shared = worker.turn(|state, _, _| shared_status(state));
                drop(answer.send(shared));
            }
        }
    }
}

fn status(state: &State, facts: &Facts, now: Moment) -> Value {
    let mut degraded = Vec::new();
    let mut upstreams = Vec::new();
    for upstream in &state.listed {
        let id = upstream.id;
        if state
            .engine
            .status(id, now)
            .is_none_or(|it| it.state != HealthState::Up)
        {
            degraded.push(format!("upstream {} does not answer", upstream.name));
        }
        upstreams.push(upstream_status(state, upstream, facts.began, now));
    }
    if state.reloads.last_was_refused() {
        degraded.push("the configuration that was read last was refused".to_owned());
    }
    if state.is_draining() {
        degraded.push("the program is ending".to_owned());
    }
    let shared = shared_status(state);
    if shared["state"] == "left alone" {
        degraded.push("the shared cache does not answer".to_owned());
    }
    let load = state.engine.load();
    let listening = facts.listening.iter().map(|it| {
        json!({ "transport": transport_word(it.transport), "address": it.address.to_string() })
    });
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_seconds": seconds(now.since(facts.began)),
        "degraded": degraded,
        "configuration": state.reloads.status(),
        "log_level": logging::level().map(|it| it.to_string()),
        "listening": listening.collect::<Vec<_>>(),
        "sandbox": { "files": facts.sandbox.files.word(), "calls": facts.sandbox.calls.word() },
        "upstreams": upstreams,
        "questions_in_flight": load.exchanges,
        "clients_waiting": state.engine.in_flight(),
        "client_streams": state.near.clients.count_of_all(),
        "upstream_connections": load.connections,
        "cache": cache::stats(&facts.cache),
        "shared_cache": shared,
    });
    counts::add(&mut status, state);
    status
}

/// Null without one.
fn shared_status(state: &State) -> Value {
    let Some(stats) = state.engine.shared_stats() else {
        return Value::Null;
    };
    let fault = state.shared.as_ref().and_then(SharedCache::fault);
    cache::shared_stats(&stats, fault.as_deref())
}

fn upstream_status(state: &State, facts: &Listed, began: Moment, now: Moment) -> Value {
    let id = facts.id;
    let addresses = AddressReport::all(state, id, now);
    let endpoints: Vec<_> = addresses.iter().map(|it| it.address.to_string()).collect();
    let uptime = now.since(began);
    let addresses: Vec<_> = addresses
        .iter()
        .map(|it| it.to_json(events::words, uptime))
        .collect();
    let Some(status) = state.engine.status(id, now) else {
        return json!({ "name": facts.name });
    };
    // What never changed has been so since the beginning.
    let since = status.since.max(began);
    let lost: u64 = status.counts.lost.iter().map(|(_, number)| number).sum();
    let lost = lost + status.counts.timed_out;
    json!({
        "name": facts.name,
        "protocol": protocol_word(facts.protocol),
        "tier": facts.tier,
        "endpoints": endpoints,
        "state": state_word(status.state),
        "reason": status.reason.map(events::words),
        "since_seconds": seconds(now.since(since)),
        "next_try_seconds": status.next_try.map(|it| seconds(it.since(now))),
        "connections": status.ready,
        "connections_opening": status.opening,
        "in_flight": status.in_flight,
        "answered": status.counts.duration.count(),
        "lost": lost,
        "rtt_ms": (!status.rtt.is_zero()).then(|| rounded(status.rtt.as_secs_f64() * 1e3)),
        "idle_limit_seconds": status.idle_limit.map(seconds),
        "addresses": addresses,
    })
}

fn state_word(state: HealthState) -> &'static str {
    match state {
        HealthState::Up => "up",
        HealthState::Suspect => "suspect",
        HealthState::Down => "down",
        HealthState::Probing => "probing",
    }
}
