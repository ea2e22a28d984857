//! How the addresses of an upstream are doing, as status, health and metrics tell it.
//!
//! Promise: a copy of a moment, so that it can be told by another thread later.
//!
//! Deliberately absent: how the upstream as a whole is doing. One of its addresses may be out of reach while it is well.

use std::net::SocketAddr;
use std::time::Duration;

use dotward_core::time::Moment;
use dotward_core::upstream::{CloseReason, EndpointStatus, UpstreamId};
use serde_json::{Value, json};

use crate::worker::State;

/// How one address is doing.
#[derive(Clone, Debug)]
pub(crate) struct AddressReport {
    pub(crate) address: SocketAddr,
    /// Whether nothing is wrong with it. One that is slower than another is well.
    pub(crate) well: bool,
    /// Connections to it that can be used.
    pub(crate) ready: usize,
    opening: usize,
    /// Whether it was of use since the network was another one.
    used: bool,
    /// Why others are preferred.
    reason: Option<CloseReason>,
    /// How long that has been so, or not; `None` when it never changed.
    since: Option<Duration>,
    /// How long until a connection tries it again.
    next_try: Option<Duration>,
}

impl AddressReport {
    /// All addresses of an upstream, each once, in the order of the configuration.
    pub(crate) fn all(state: &State, upstream: UpstreamId, now: Moment) -> Vec<Self> {
        let mut reports: Vec<Self> = Vec::new();
        for status in state.engine.endpoint_statuses(upstream) {
            if reports.iter().all(|it| it.address != status.address) {
                reports.push(Self::of(&status, now));
            }
        }
        reports
    }

    fn of(status: &EndpointStatus, now: Moment) -> Self {
        Self {
            address: status.address,
            well: status.is_well(),
            ready: status.ready,
            opening: status.opening,
            used: status.used,
            reason: status.reason,
            since: (status.since > Moment::ZERO).then(|| now.since(status.since)),
            next_try: status.next_try.map(|at| at.since(now)),
        }
    }

    /// For programs, with the reason in the words that its reader uses for others. What never changed has been so for `uptime`.
    pub(crate) fn to_json(
        &self,
        words: impl Fn(CloseReason) -> &'static str,
        uptime: Duration,
    ) -> Value {
        json!({
            "address": self.address.to_string(),
            "state": self.state_word(),
            "reason": self.reason.map(words),
            "since_seconds": seconds(self.since.unwrap_or(uptime)),
            "next_try_seconds": self.next_try.map(seconds),
            "connections": self.ready,
            "connections_opening": self.opening,
        })
    }

    fn state_word(&self) -> &'static str {
        match (self.reason, self.well) {
            (None, _) if self.used => "up",
            (None, _) => "untried",
            (Some(_), true) => "slower",
            (Some(_), false) => "set aside",
        }
    }
}

/// Three digits behind the point.
pub(crate) fn seconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64())
}

/// Three digits behind the point.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slower_is_told_apart_from_what_is_wrong() {
        let at = |seconds| Moment::ZERO + Duration::from_secs(seconds);
        let mut status = EndpointStatus {
            address: "192.0.2.1:853".parse().unwrap(),
            reason: None,
            since: Moment::ZERO,
            next_try: None,
            used: false,
            failures: 0,
            ready: 1,
            opening: 0,
        };
        let told = |status: &EndpointStatus| {
            let json =
                AddressReport::of(status, at(9)).to_json(CloseReason::word, Duration::from_secs(7));
            (
                json["state"].clone(),
                json["reason"].clone(),
                json["since_seconds"].clone(),
            )
        };
        let untold = |word| (json!(word), Value::Null, json!(7.0));
        assert_eq!(
            told(&status),
            untold("untried"),
            "for as long as the program runs"
        );
        status.used = true;
        assert_eq!(told(&status), untold("up"));
        (status.since, status.next_try) = (at(4), Some(at(14)));
        status.reason = Some(CloseReason::Superseded);
        assert_eq!(
            told(&status),
            (json!("slower"), json!("superseded"), json!(5.0))
        );
        status.reason = Some(CloseReason::Silent);
        assert_eq!(
            told(&status),
            (json!("set aside"), json!("silent"), json!(5.0))
        );
    }
}
