//! What the engine tells, as log lines.
//!
//! Promises: a change of state is one line that says what happened, why in full, and what it means; names of questions and addresses
//! of clients are never above debug.
//!
//! Deliberately absent: deciding what is worth telling. The engine does.

use std::fmt::Display;
use std::time::Instant;

use dotward_core::engine::Event;
use dotward_core::time::Moment;
use dotward_core::upstream::{CloseReason, TlsFault, UpstreamId};

use crate::limits::{REPEATS_TOLD, SHORTAGE_REPEAT};

/// Turns events into log lines.
#[derive(Debug)]
pub(crate) struct EventLog {
    /// What the upstreams are called.
    names: Vec<String>,
    /// When want of resources was told last.
    shortage_told: Option<Instant>,
    /// Answers that were not told.
    withheld: Repeats,
    /// The last fault of each upstream in full: what TLS or the socket said.
    faults: Vec<Option<String>>,
}

/// Something that happens again and again and is told as a number: at once, then every [`REPEATS_TOLD`].
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    told: Option<Moment>,
    count: u64,
}

impl Repeats {
    /// It happened. How often since it was told last, when it is to be told.
    pub(crate) fn note(&mut self, now: Moment) -> Option<u64> {
        self.count += 1;
        if self.told.is_some_and(|told| now < told + REPEATS_TOLD) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

impl EventLog {
    /// A log that calls the upstreams by `names`.
    pub(crate) fn new(names: Vec<String>) -> Self {
        let faults = names.iter().map(|_| None).collect();
        Self {
            names,
            shortage_told: None,
            withheld: Repeats::default(),
            faults,
        }
    }

    /// Remembers what exactly was wrong with an upstream, for the line about its state.
    pub(crate) fn note_fault(&mut self, upstream: Option<UpstreamId>, fault: &dyn Display) {
        let Some(upstream) = upstream else {
            return;
        };
        tracing::debug!(upstream = self.name(upstream), %fault, "connection failed");
        if let Some(last) = self.faults.get_mut(upstream.0) {
            *last = Some(fault.to_string());
        }
    }

    /// `upstream` is another one than before.
    pub(crate) fn replace(&mut self, upstream: UpstreamId, name: String) {
        let count = self.names.len().max(upstream.0 + 1);
        self.names.resize(count, String::new());
        self.faults.resize(count, None);
        if let (Some(known), Some(fault)) = (
            self.names.get_mut(upstream.0),
            self.faults.get_mut(upstream.0),
        ) {
            *known = name;
            *fault = None;
        }
    }

    /// What the upstreams are called.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    fn name(&self, upstream: UpstreamId) -> &str {
        self.names.get(upstream.0).map_or("?", String::as_str)
    }

    /// Writes one event.
    pub(crate) fn write(&mut self, event: &Event, now: Moment) {
        match *event {
            Event::AnswerWithheld => self.write_withheld(now),
            Event::ConnectionOpening {
                upstream, endpoint, ..
            } => tracing::debug!(upstream = self.name(upstream), %endpoint, "connecting"),
            Event::ConnectionReady {
                upstream, endpoint, ..
            } => tracing::debug!(upstream = self.name(upstream), %endpoint, "connection ready"),
            Event::ConnectionClosed {
                upstream,
                endpoint,
                reason,
                answered,
                unanswered,
                ..
            } => {
                tracing::debug!(
                    upstream = self.name(upstream), %endpoint, ?reason, answered, unanswered,
                    "connection closed"
                );
                if reason == CloseReason::NoResources {
                    self.write_shortage(upstream);
                }
            }
            Event::ResponseDisputed { upstream } => tracing::debug!(
                upstream = self.name(upstream),
                "a response did not match its query and was not used"
            ),
            Event::ResponseStray { upstream } => tracing::debug!(
                upstream = self.name(upstream),
                "a response nobody waits for was dropped"
            ),
            Event::UpstreamUp { upstream } => {
                tracing::info!(upstream = self.name(upstream), "upstream answers again");
            }
            Event::UpstreamSuspect { upstream, reason } => tracing::warn!(
                upstream = self.name(upstream),
                why = words(reason),
                "no answers from this upstream; questions are tried on other connections and upstreams too"
            ),
            Event::UpstreamWithoutEdns { upstream } => tracing::warn!(
                upstream = self.name(upstream),
                "upstream knows no EDNS; it is asked without, so no DNSSEC records and no padding"
            ),
            Event::UpstreamDown { upstream, reason } => self.write_down(upstream, reason),
        }
    }

    fn write_withheld(&mut self, now: Moment) {
        if let Some(answers) = self.withheld.note(now) {
            tracing::warn!(
                answers,
                "answers with private addresses withheld (privacy.block_private); list domains that may have them in privacy.private_domain"
            );
        }
    }

    /// Want of resources, which lasts: told again only after [`SHORTAGE_REPEAT`].
    fn write_shortage(&mut self, upstream: UpstreamId) {
        let now = Instant::now();
        let told = self.shortage_told;
        if told.is_none_or(|told| now.duration_since(told) >= SHORTAGE_REPEAT) {
            self.shortage_told = Some(now);
            let detail = self.faults.get_mut(upstream.0).and_then(Option::take);
            tracing::warn!(
                upstream = self.name(upstream),
                why = words(CloseReason::NoResources),
                detail = detail.as_deref(),
                "no connection to an upstream can be opened; look at the limits of this machine"
            );
        }
    }

    fn write_down(&mut self, upstream: UpstreamId, reason: CloseReason) {
        let detail = self.faults.get_mut(upstream.0).and_then(Option::take);
        tracing::warn!(
            upstream = self.name(upstream),
            why = words(reason),
            detail = detail.as_deref(),
            "upstream set aside; it is tried again in the background"
        );
    }
}

/// What a reason means to people.
pub(crate) fn words(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Aged => "it was old",
        CloseReason::NetworkChanged => "the network changed",
        CloseReason::NoResources => "this machine has no descriptor, port or memory left for it",
        CloseReason::Superseded => "another address answered first",
        CloseReason::DialTimedOut => "no connection within the time for it",
        CloseReason::Ended => "it closes connections before they can be used",
        CloseReason::Idle => "nobody asked anything",
        CloseReason::Misbehaved => "what it sends is not DNS, or answers other questions",
        CloseReason::Refused => "nobody listens at the address",
        CloseReason::Reset => "connections to it break",
        CloseReason::Silent => "it does not answer",
        CloseReason::Tls(TlsFault::Expired) => "its certificate has expired",
        CloseReason::Tls(TlsFault::NotYetValid) => {
            "its certificate is not valid yet: look at this machine's clock"
        }
        CloseReason::Tls(TlsFault::PinMismatch) => "its key is none of the pinned ones",
        CloseReason::Tls(TlsFault::Protocol) => "TLS failed",
        CloseReason::Tls(TlsFault::UnknownIssuer) => {
            "its certificate does not lead to a trusted root: something may be in between"
        }
        CloseReason::Tls(TlsFault::WrongName) => {
            "its certificate is for another name: something may be in between"
        }
        CloseReason::Unreachable => "there is no way to the address",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_happens_again_and_again_is_told_at_once_and_then_once_a_minute_with_its_number() {
        let mut repeats = Repeats::default();
        let at = |millis| Moment::ZERO + Duration::from_millis(millis);
        let told: Vec<u64> = (0..180_000)
            .step_by(10)
            .filter_map(|it| repeats.note(at(it)))
            .collect();
        assert_eq!(told, [1, 6_000, 6_000]);
    }
}
