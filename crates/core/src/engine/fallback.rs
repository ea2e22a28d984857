//! Who is asked when nobody of a question's group can answer: the group's fallback, once, if it has one.
//!
//! That is so when the group has nowhere left to send the question, when all it says is that it failed or refuses, and when it has been
//! silent for [`FALLBACK_AFTER`]. An answer that was cut short is an answer, though the whole of it cannot be had. What is under way in the group goes on, and the first answer wins.
//!
//! Deliberately absent: falling back early. The answer of another group to the name of a private zone is mostly a wrong one, so a
//! group that is merely slow is waited for.

use super::Engine;
use super::attempt::Among;
use crate::exchange::ExchangeId;
use crate::limits::FALLBACK_AFTER;
use crate::time::Moment;

impl<C> Engine<C> {
    /// Sends the question to the fallback of its group. `false` when there is none, it has its turn already, or nobody of
    /// it can be asked either.
    pub(super) fn fall_back(&mut self, id: ExchangeId, now: Moment) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return false;
        };
        let group = self.groups.get(exchange.group.0);
        let fallback = group.and_then(|group| group.fallback);
        let Some(fallback) = fallback.filter(|_| !exchange.holds_truncated()) else {
            return false;
        };
        exchange.fall_back(fallback) && self.send(id, Among::Any, now)
    }

    /// Whether a group that is silent about the question has been waited for long enough.
    pub(super) fn is_time_to_fall_back(&self, id: ExchangeId, now: Moment) -> bool {
        let exchange = self.exchanges.get(id);
        exchange.is_some_and(|exchange| now.since(exchange.began) >= FALLBACK_AFTER)
    }
}
