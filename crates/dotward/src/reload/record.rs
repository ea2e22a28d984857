//! How the configuration was read again so far: for the status and the metrics.

use std::time::Duration;

use serde_json::{Value, json};

use super::Outcome;
use crate::clock;

/// What came of all reloads.
#[derive(Debug)]
pub(crate) struct Reloads {
    applied: u64,
    refused: u64,
    /// When the configuration in force was applied, since 1970.
    in_force_since: Duration,
    /// The faults of the last one, if it was refused.
    faults: Vec<String>,
    /// Settings of the configuration in force that need a restart.
    awaiting_restart: Vec<String>,
}

/// The same in numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReloadCounts {
    pub(crate) applied: u64,
    pub(crate) refused: u64,
    pub(crate) last_applied: bool,
    pub(crate) in_force_since: Duration,
    pub(crate) awaiting_restart: usize,
}

impl Default for Reloads {
    /// As of the start.
    fn default() -> Self {
        Self {
            applied: 0,
            refused: 0,
            in_force_since: clock::wall(),
            faults: Vec::new(),
            awaiting_restart: Vec::new(),
        }
    }
}

impl Reloads {
    /// Notes what came of one.
    pub(super) fn note(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Applied(applied) => {
                self.applied += 1;
                self.in_force_since = clock::wall();
                self.faults.clear();
                self.awaiting_restart.clone_from(&applied.awaiting_restart);
            }
            Outcome::Refused(refusal) => {
                self.refused += 1;
                self.faults.clone_from(&refusal.faults);
            }
        }
    }

    /// Whether the last one was refused.
    pub(crate) fn last_was_refused(&self) -> bool {
        !self.faults.is_empty()
    }

    pub(crate) fn counts(&self) -> ReloadCounts {
        ReloadCounts {
            applied: self.applied,
            refused: self.refused,
            last_applied: !self.last_was_refused(),
            in_force_since: self.in_force_since,
            awaiting_restart: self.awaiting_restart.len(),
        }
    }

    /// For the control socket.
    pub(crate) fn status(&self) -> Value {
        json!({
            "reloads_applied": self.applied,
            "reloads_refused": self.refused,
            "in_force_since": self.in_force_since.as_secs(),
            "in_force_seconds": clock::wall().saturating_sub(self.in_force_since).as_secs(),
            "faults": self.faults,
            "awaiting_restart": self.awaiting_restart,
        })
    }
}
