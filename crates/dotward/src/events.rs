//! What the engine tells, as log lines.
//!
//! Promises: a change of state is one line; names of questions and addresses of clients are never above debug.
//!
//! Deliberately absent: deciding what is worth telling. The engine does.

use std::fmt::Display;

use dotward_core::engine::Event;
use dotward_core::upstream::UpstreamId;

/// Turns events into log lines.
#[derive(Debug)]
pub(crate) struct EventLog {
    /// What the upstreams are called.
    names: Vec<String>,
    /// The last fault of each upstream in full: what TLS or the socket said.
    faults: Vec<Option<String>>,
}

impl EventLog {
    /// A log that calls the upstreams by `names`.
    pub(crate) fn new(names: Vec<String>) -> Self {
        let faults = names.iter().map(|_| None).collect();
        Self { names, faults }
    }

    /// Remembers what exactly was wrong with an upstream, for the line about its state.
    pub(crate) fn note_fault(&mut self, upstream: Option<UpstreamId>, fault: &dyn Display) {
        let Some(index) = upstream.map(|upstream| upstream.0) else {
            return;
        };
        let name = self.names.get(index).map_or("?", String::as_str);
        tracing::debug!(upstream = name, %fault, "connection ended");
        if let Some(last) = self.faults.get_mut(index) {
            *last = Some(fault.to_string());
        }
    }

    /// Writes one event.
    pub(crate) fn write(&mut self, event: &Event) {
        tracing::info!(?event);
    }
}
