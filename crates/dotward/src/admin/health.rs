//! Alive, ready, and how it is in detail.
//!
//! Promises:
//! - Alive says that every worker turned lately and nothing about upstreams: a process that is started again does not mend those.
//! - Ready says that queries are taken and an upstream was found to work; what happens to upstreams later changes nothing unless the
//!   configuration says so, because all instances would leave their service together, and a stale answer or SERVFAIL is better than silence.
//! - Not ready from the moment on at which the proxy begins to drain.

use std::time::Duration;

use serde_json::{Value, json};

use super::board::{Board, Report, UpstreamReport};
use crate::config::ReadyRequires;
use crate::limits::UPSTREAM_ANSWERS;
use dotward_core::upstream::{CloseReason, HealthState};

/// Why the proxy is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unready {
    /// It is about to end.
    Draining,
    /// The worker with the engine does not answer.
    Stuck,
    /// No upstream was found to work yet.
    NoUpstreamYet,
    /// No upstream works now, and the configuration asks for one.
    NoUpstreamNow,
}

impl Unready {
    /// What people read.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Stuck => "a worker does not answer",
            Self::NoUpstreamYet => "no upstream was found to work yet",
            Self::NoUpstreamNow => "no upstream works",
        }
    }
}

/// Whether queries are taken and can be answered.
pub(super) fn readiness(board: &Board, report: Option<&Report>) -> Result<(), Unready> {
    if board.is_draining() {
        return Err(Unready::Draining);
    }
    let Some(report) = report else {
        return Err(Unready::Stuck);
    };
    if !board.is_verified() {
        return Err(Unready::NoUpstreamYet);
    }
    match board.ready_requires {
        ReadyRequires::Start => Ok(()),
        ReadyRequires::Upstream => {
            let mut general = report.upstreams.iter().filter(|upstream| upstream.general);
            if general.any(works) {
                Ok(())
            } else {
                Err(Unready::NoUpstreamNow)
            }
        }
    }
}

/// Whether an upstream answers, as far as one can know without waiting.
fn works(upstream: &UpstreamReport) -> bool {
    let status = &upstream.status;
    let waits = upstream.probed.unwrap_or_default();
    status.state == HealthState::Up && upstream.is_verified() && waits < UPSTREAM_ANSWERS
}

/// The word for a state.
pub(super) fn state_word(state: HealthState) -> &'static str {
    match state {
        HealthState::Up => "up",
        HealthState::Suspect => "suspect",
        HealthState::Down => "down",
        HealthState::Probing => "probing",
    }
}

/// Everything there is to know about health.
pub(super) fn detail(board: &Board, report: Option<&Report>) -> Value {
    let ready = readiness(board, report);
    let alive = board.alive();
    let uptime = board.started.elapsed().unwrap_or_default();
    let upstreams: Vec<Value> = report
        .into_iter()
        .flat_map(|report| report.upstreams.iter())
        .map(|report| upstream(report, uptime))
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "live": alive.iter().all(|alive| *alive),
        "ready": ready.is_ok(),
        "not_ready_because": ready.err().map(Unready::text),
        "draining": board.is_draining(),
        "uptime_seconds": uptime.as_secs(),
        "workers": alive.iter().map(|alive| json!({"live": alive})).collect::<Vec<_>>(),
        "in_flight": report.map(|report| report.in_flight),
        "upstreams": upstreams,
    })
}

fn upstream(report: &UpstreamReport, uptime: Duration) -> Value {
    let status = &report.status;
    let addresses = report.addresses.iter();
    let addresses: Vec<Value> = addresses
        .map(|it| it.to_json(CloseReason::word, uptime))
        .collect();
    json!({
        "name": report.name,
        "state": state_word(status.state),
        "reason": status.reason.map(CloseReason::word),
        "seconds_in_state": report.since.map(|since| since.as_secs()),
        "connections": {"ready": status.ready, "opening": status.opening},
        "in_flight": status.in_flight,
        "usual_response_ms": millis(status.rtt),
        "idle_limit_ms": status.idle_limit.map(millis),
        "certificate_ends": report.theirs_ends,
        "addresses": addresses,
    })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
