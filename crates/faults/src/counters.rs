//! What the server saw: totals, and one record per connection in order of accept.
//!
//! Promises: every figure only grows, except those called `open` and `in_flight`; each change wakes whoever waits on
//! a condition, so that a test needs no sleep; memory is bounded by [`crate::limits`].
//!
//! Not here: any judgement of the figures.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::limits;

/// Totals since the start, with one record per connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// TCP connections accepted, refused ones not counted.
    pub connections_accepted: u64,
    /// TCP connections reset because of `connections=N`.
    pub connections_refused: u64,
    /// TCP connections open.
    pub connections_open: u64,
    /// TLS handshakes finished, resumed ones included.
    pub handshakes_completed: u64,
    /// TLS handshakes that resumed a session.
    pub handshakes_resumed: u64,
    /// TLS handshakes that failed, by the client's doing or ours.
    pub handshakes_failed: u64,
    /// Queries read.
    pub queries: u64,
    /// Responses written, lies, strays and copies included.
    pub responses: u64,
    /// Octets the client sent that were neither TLS nor inside TLS.
    pub octets_before_handshake: u64,
    /// Octets the client sent inside TLS, length prefixes included.
    pub octets_after_handshake: u64,
    /// TLS application-data records read. Fewer than `queries` means that the client coalesces.
    pub records: u64,
    /// Queries read whose question (letter case apart) was asked before.
    pub questions_repeated: u64,
    /// Queries whose ID was in flight on the same connection already.
    pub ids_reused: u64,
    /// Frames that are no query.
    pub malformed: u64,
    /// Largest number of queries in flight on one connection.
    pub in_flight_max: u64,
    /// One record per accepted connection, in order.
    pub connections: Vec<ConnectionCounters>,
}

/// What one connection saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionCounters {
    /// Whether it is open.
    pub open: bool,
    /// Whether the TLS handshake finished.
    pub handshake_completed: bool,
    /// Whether the TLS session was resumed.
    pub resumed: bool,
    /// Server name of the ClientHello, once the handshake is finished.
    pub server_name: Option<String>,
    /// ALPN protocol agreed on.
    pub alpn: Option<String>,
    /// Ticket (identity of the first pre-shared key) that the ClientHello offered.
    pub ticket: Option<Vec<u8>>,
    /// Whether the ClientHello announced early data (0-RTT).
    pub early_data: bool,
    /// TLS version and key exchange group, for people.
    pub tls: Option<String>,
    /// Queries read.
    pub queries: u64,
    /// Responses written.
    pub responses: u64,
    /// TLS application-data records read.
    pub records: u64,
    /// Queries that wait for their response.
    pub in_flight: u64,
    /// Largest value of `in_flight`.
    pub in_flight_max: u64,
    /// IDs in order of arrival, bounded by [`limits::IDS_REMEMBERED`].
    pub ids: Vec<u16>,
}

/// A condition was not met in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitTimedOut {
    /// How long it was waited for.
    pub waited: Duration,
    /// What had been seen by then.
    pub counters: Box<Counters>,
}

impl fmt::Display for WaitTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "condition not met within {:?}; seen: {:?}",
            self.waited, self.counters
        )
    }
}

impl std::error::Error for WaitTimedOut {}

impl Counters {
    /// The totals as one line of JSON, with the queries of each connection.
    pub fn to_json(&self) -> String {
        let totals = [
            ("connections_accepted", self.connections_accepted),
            ("connections_refused", self.connections_refused),
            ("connections_open", self.connections_open),
            ("handshakes_completed", self.handshakes_completed),
            ("handshakes_resumed", self.handshakes_resumed),
            ("handshakes_failed", self.handshakes_failed),
            ("queries", self.queries),
            ("responses", self.responses),
            ("octets_before_handshake", self.octets_before_handshake),
            ("octets_after_handshake", self.octets_after_handshake),
            ("records", self.records),
            ("questions_repeated", self.questions_repeated),
            ("ids_reused", self.ids_reused),
            ("malformed", self.malformed),
            ("in_flight_max", self.in_flight_max),
        ];
        let totals: Vec<String> = totals
            .iter()
            .map(|(word, figure)| format!("\"{word}\":{figure}"))
            .collect();
        let each: Vec<String> = self
            .connections
            .iter()
            .map(|c| c.queries.to_string())
            .collect();
        format!(
            "{{{},\"queries_per_connection\":[{}]}}",
            totals.join(","),
            each.join(",")
        )
    }
}

/// The place where everything seen is written down.
#[derive(Debug)]
pub(crate) struct Book {
    counters: watch::Sender<Counters>,
    /// How often each question was asked, keyed by lower-cased name, type and class on the wire.
    questions: Mutex<BTreeMap<Vec<u8>, u64>>,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self {
            counters: watch::Sender::default(),
            questions: Mutex::default(),
        }
    }

    pub(crate) fn snapshot(&self) -> Counters {
        self.counters.borrow().clone()
    }

    /// Changes the totals and, where the connection is remembered, its record.
    pub(crate) fn note(
        &self,
        connection: u64,
        change: impl FnOnce(&mut Counters, &mut ConnectionCounters),
    ) {
        self.counters.send_modify(|counters| {
            let place = usize::try_from(connection).unwrap_or(usize::MAX);
            let mut record = counters.connections.get_mut(place).map(std::mem::take);
            change(counters, record.get_or_insert_default());
            if let (Some(record), Some(kept)) = (record, counters.connections.get_mut(place)) {
                *kept = record;
            }
        });
    }

    /// A connection was accepted; the answer is its number, counted from 0.
    pub(crate) fn accepted(&self) -> u64 {
        let mut number = 0;
        self.counters.send_modify(|counters| {
            number = counters.connections_accepted;
            counters.connections_accepted += 1;
            counters.connections_open += 1;
            if counters.connections.len() < limits::CONNECTIONS_REMEMBERED {
                counters.connections.push(ConnectionCounters {
                    open: true,
                    ..ConnectionCounters::default()
                });
            }
        });
        number
    }

    pub(crate) fn refused(&self) {
        self.counters
            .send_modify(|counters| counters.connections_refused += 1);
    }

    /// Remembers a question and tells whether it was asked before.
    pub(crate) fn asked_before(&self, question: Vec<u8>) -> bool {
        let mut questions = self
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = questions.get_mut(&question) {
            *times += 1;
            return true;
        }
        if questions.len() < limits::QUESTIONS_REMEMBERED {
            questions.insert(question, 1);
        }
        false
    }

    pub(crate) fn times_asked(&self, question: &[u8]) -> u64 {
        let questions = self
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        questions.get(question).copied().unwrap_or_default()
    }

    pub(crate) async fn wait_until(
        &self,
        bound: Duration,
        condition: impl FnMut(&Counters) -> bool,
    ) -> Result<Counters, WaitTimedOut> {
        let mut receiver = self.counters.subscribe();
        match tokio::time::timeout(bound, receiver.wait_for(condition)).await {
            Ok(Ok(counters)) => Ok(counters.clone()),
            // The sender lives as long as `self`, so the first arm is never the closed channel.
            Ok(Err(_)) | Err(_) => Err(WaitTimedOut {
                waited: bound,
                counters: Box::new(self.snapshot()),
            }),
        }
    }
}
