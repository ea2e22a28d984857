//! The engine's side of the cache that several instances share: a question waits for it a moment before it goes out, and whoever has
//! usable data first answers.
//!
//! Deliberately absent: refreshing of what is kept here. It is asked for because it is old, and the others' is hardly younger.

use core::time::Duration;

use super::Engine;
use super::attempt::Among;
use crate::exchange::ExchangeId;
use crate::policy::Judgement;
use crate::shared::{
    HeadStart, Shared, SharedAction, SharedAnswer, SharedConfig, SharedStats, SharedTicket, Usable,
};
use crate::time::Moment;

impl<C> Engine<C> {
    /// From now on questions are looked up in a cache that several instances share.
    pub fn share(&mut self, config: SharedConfig) {
        self.shared = Some(Box::new(Shared::new(config)));
    }

    /// How the shared cache is doing; `None` when there is none.
    #[must_use]
    pub fn shared_stats(&self) -> Option<SharedStats> {
        self.shared.as_ref().map(|shared| shared.stats())
    }

    /// The next thing to do with the shared cache; `wall` is the time since 1970.
    pub fn poll_shared(&mut self, wall: Duration, now: Moment) -> Option<SharedAction> {
        self.shared.as_mut()?.poll(wall, now)
    }

    /// What became of writes: so many the store has, so many it has not, because too many wait or it failed.
    pub fn handle_shared_writes(&mut self, kept: u64, dropped: u64) {
        if let Some(shared) = &mut self.shared {
            shared.note_writes(kept, dropped);
        }
    }

    /// A lookup has come to its end. What was found is used if it answers the question and has time left, unless the question is
    /// answered already.
    pub fn handle_shared_answer(
        &mut self,
        ticket: SharedTicket,
        answer: SharedAnswer<'_>,
        wall: Duration,
        now: Moment,
    ) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let Some(waits) = shared.end(ticket, answer, now) else {
            return;
        };
        let id = ticket.exchange();
        if let SharedAnswer::Found(octets) = answer
            && self.conclude_from_shared(id, octets, wall, now)
        {
            return;
        }
        if waits {
            self.send_out(id, now);
        }
    }

    /// A question begins: it is looked up in the shared cache, or goes out.
    pub(super) fn begin(&mut self, id: ExchangeId, now: Moment) {
        self.hedges.handle_question();
        self.leave_behind_if_retired(id);
        if !self.waits_for_shared(id, now) {
            self.send_out(id, now);
        }
    }

    /// A question that was decided by a configuration of before brings nothing for those of now.
    pub(super) fn leave_behind_if_retired(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let group = self.groups.get(exchange.asked.group.0);
        if group.is_none_or(|group| group.retired.is_some()) {
            exchange.leave_behind();
        }
    }

    /// Questions whose head start has run out go out.
    pub(super) fn fire_head_starts(&mut self, now: Moment) {
        while let Some(id) = self.shared.as_mut().and_then(|it| it.take_late(now)) {
            self.send_out(id, now);
        }
    }

    fn waits_for_shared(&mut self, id: ExchangeId, now: Moment) -> bool {
        let (Some(shared), Some(exchange)) = (&mut self.shared, self.exchanges.get(id)) else {
            return false;
        };
        // The answer to a signed query is for its client alone.
        exchange.signed().is_none() && shared.look_up(id, &exchange.asked, now) == HeadStart::Given
    }

    fn send_out(&mut self, id: ExchangeId, now: Moment) {
        if self.exchanges.get(id).is_some() {
            self.send_or_fail(id, Among::Any, now);
            self.race(id, now);
        }
    }

    /// Ends an exchange with what the shared cache has, and keeps that here too. `false` when it cannot be used.
    fn conclude_from_shared(
        &mut self,
        id: ExchangeId,
        octets: &[u8],
        wall: Duration,
        now: Moment,
    ) -> bool {
        let Some(shared) = &mut self.shared else {
            return false;
        };
        let Some(exchange) = self.exchanges.get(id) else {
            shared.note_outrun();
            return true;
        };
        let usable = shared.usable(octets, &exchange.asked, wall);
        // What may not be told as it is is asked for: the upstream's answer is judged, and others may keep this one.
        let good = |usable: &Usable<'_>| {
            self.judge_addresses(id, None, &usable.response) == Judgement::Good
        };
        let usable = usable.filter(good);
        let settled = usable.filter(|usable| {
            self.settled.settle(&usable.response, self.cache.rules());
            // An answer that may not be kept is nothing that anybody has kept.
            let young = self.settled.lifetime() > usable.age;
            if young {
                self.settled.grow_older(usable.age);
            }
            young
        });
        if let Some(shared) = &mut self.shared {
            shared.note_found(settled.is_some());
        }
        let Some(usable) = settled else {
            return false;
        };
        let Some(exchange) = self.exchanges.remove(id) else {
            return false;
        };
        self.abandon(&exchange.attempts);
        let settled = core::mem::take(&mut self.settled);
        if exchange.may_be_kept() {
            self.cache
                .store(&exchange.asked, &settled, usable.origin, now);
        }
        self.tell_settled(exchange.waiters, settled, usable.origin);
        true
    }
}
