//! When the connections that are to be kept open to an upstream are opened again: at once when one that answered has ended, and after a pause
//! that doubles when one could not be opened, or ended before it was of any use.
//!
//! The pause is apart from the health of the upstream, because there may be nothing wrong with it: it allows fewer connections than are to be kept open, or
//! we have no descriptors left.
//!
//! Deliberately absent: connections that a question needs; they are opened whatever is said here.

use core::time::Duration;

use crate::limits::{KEEP_WARM_AGAIN_MAX, KEEP_WARM_AGAIN_MIN};
use crate::time::Moment;

/// The opening of connections that nobody waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Warmth {
    pause: Duration,
    /// Until when none is opened.
    again_at: Option<Moment>,
}

impl Warmth {
    /// Whether none is opened at the moment.
    pub(crate) fn pauses(&self) -> bool {
        self.again_at.is_some()
    }

    /// When the pause ends.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        self.again_at
    }

    /// Ends a pause that is over; `true` when there was one.
    pub(crate) fn end_pause(&mut self, now: Moment) -> bool {
        self.again_at.take_if(|again_at| *again_at <= now).is_some()
    }

    /// One was opened in vain. `jitter`, between 0 and 1, spreads the pause by a quarter, so that many proxies do not return at once.
    pub(crate) fn handle_vain(&mut self, now: Moment, jitter: f32) {
        let doubled = (self.pause * 2).clamp(KEEP_WARM_AGAIN_MIN, KEEP_WARM_AGAIN_MAX);
        self.pause = doubled;
        let spread = doubled.mul_f32(0.75 + 0.5 * jitter.clamp(0.0, 1.0));
        self.again_at = Some(now + spread);
    }

    /// One that answered has ended: the next one is worth as much.
    pub(crate) fn handle_served(&mut self) {
        self.pause = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_bound_until_a_connection_was_of_use() {
        let mut warmth = Warmth::default();
        let mut now = Moment::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            warmth.handle_vain(now, 0.5);
            let again_at = warmth.poll_timeout().unwrap();
            pauses.push(again_at.since(now).as_secs());
            assert!(!warmth.end_pause(now) && warmth.pauses());
            now = again_at;
            assert!(warmth.end_pause(now) && !warmth.pauses());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        warmth.handle_served();
        warmth.handle_vain(now, 0.5);
        assert_eq!(warmth.poll_timeout(), Some(now + KEEP_WARM_AGAIN_MIN));
    }
}
