//! Connections that are kept open though nobody asks: opened ahead of the first question, and again when one has ended.
//!
//! Deliberately absent: who takes over from one that is old or has been idle (see [`lifecycle`](super::lifecycle)).

use super::Engine;
use crate::limits::KEEP_WARM_IDLE_MIN;
use crate::time::Moment;
use crate::upstream::{Upstream, UpstreamId};

impl<C> Engine<C> {
    /// Opens the connections that are to be kept open. Call it once, when questions can come.
    pub fn start(&mut self, now: Moment) {
        for place in 0..self.upstreams.len() {
            self.keep_warm(UpstreamId(place), now);
        }
    }

    /// Opens what is missing to the connections that are to be kept open.
    pub(super) fn keep_warm(&mut self, upstream: UpstreamId, now: Moment) {
        loop {
            let Some(state) = self.upstreams.get(upstream.0) else {
                return;
            };
            let missing = state.connections.len() < state.keep_warm;
            let pauses = state.warmth.pauses() || !state.health.is_up();
            if !missing || pauses || is_restless(state) || self.open(upstream, now).is_none() {
                return;
            }
        }
    }

    /// A connection could not be opened, or ended before it was of any use.
    pub(super) fn handle_opened_in_vain(&mut self, upstream: UpstreamId, now: Moment) {
        let jitter = self.jitter();
        if let Some(state) = self.upstreams.get_mut(upstream.0) {
            state.warmth.handle_vain(now, jitter);
        }
    }

    /// Opens what is missing where a pause has ended.
    pub(super) fn fire_warm(&mut self, now: Moment) {
        for place in 0..self.upstreams.len() {
            if self.upstreams[place].warmth.end_pause(now) {
                self.keep_warm(UpstreamId(place), now);
            }
        }
    }
}

/// Whether an upstream ends idle connections at once, so that it would be dialed without end.
pub(super) fn is_restless(state: &Upstream) -> bool {
    state.idle.retire_after() < KEEP_WARM_IDLE_MIN
}
