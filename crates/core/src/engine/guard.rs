//! Private addresses in what public upstreams say (DNS rebinding): each answer is judged once, when it comes, so that whoever waits, what is
//! kept and what is shared all have what may be told.
//!
//! Not judged is what an upstream says that the route of the name leads to: the operator has named it for those names, and addresses inside are what it
//! is for. When such a question falls back to the upstreams of all other names, theirs are judged. Neither is the answer to a signed query, which
//! nobody between the two who signed may change (RFC 8945 section 5.5).
//!
//! Deliberately absent: what is private, and which names may have it (`policy::rebinding`); what is kept already
//! ([`Cache::judge_again`](crate::cache::Cache::judge_again)).

use std::sync::Arc;

use super::event::Event;
use super::{Engine, UpstreamId};
use crate::exchange::ExchangeId;
use crate::outcome::Withheld;
use crate::policy::{Judgement, RebindingGuard};
use crate::time::Moment;
use crate::upstream::GroupId;
use crate::wire::{ReplyOrigin, ResponseView};

impl<C> Engine<C> {
    /// Answers that come from now on pass this guard, and what is put back into the cache does; `None`: all pass. What is held of poor answers is
    /// given up when it is another one.
    pub fn set_guard(&mut self, guard: Option<Arc<RebindingGuard>>) {
        if self.guard == guard {
            return;
        }
        self.cache.set_guard(guard.clone());
        self.guard = guard;
        self.exchanges.forget_held();
    }

    /// Judges a response from `upstream`, or without one that of another instance.
    pub(super) fn judge_addresses(
        &self,
        id: ExchangeId,
        upstream: Option<UpstreamId>,
        response: &ResponseView<'_>,
    ) -> Judgement {
        let Some(guard) = &self.guard else {
            return Judgement::Good;
        };
        let Some(exchange) = self.exchanges.get(id) else {
            return Judgement::Good;
        };
        if exchange.signed().is_some() || self.is_of_route(exchange.asked.group, upstream) {
            return Judgement::Good;
        }
        guard.judge(exchange.qname(), response)
    }

    /// Whether a route leads to `group`, and the upstream is one of it.
    fn is_of_route(&self, group: GroupId, upstream: Option<UpstreamId>) -> bool {
        let members = self.groups.get(group.0).map(|group| &group.members);
        let among = |upstream| members.is_some_and(|members| members.contains(&upstream));
        group != GroupId::DEFAULT && upstream.is_none_or(among)
    }

    /// Ends an exchange whose answer may not be told. The store of several instances does not learn of it: others may tell.
    #[cold]
    pub(super) fn withhold(
        &mut self,
        id: ExchangeId,
        response: &ResponseView<'_>,
        origin: ReplyOrigin,
        now: Moment,
    ) {
        let Some(exchange) = self.exchanges.remove(id) else {
            return;
        };
        self.abandon(&exchange.attempts);
        self.counts.withheld += 1;
        self.events.push(Event::AnswerWithheld);
        let mut settled = core::mem::take(&mut self.settled);
        let rules = self.cache.rules();
        settled.settle(response, rules);
        settled.withhold(Withheld::PrivateAddress.told(), rules);
        if exchange.may_be_kept() {
            self.cache.store(&exchange.asked, &settled, origin, now);
        }
        self.tell_settled(exchange.waiters, settled, origin);
    }
}
