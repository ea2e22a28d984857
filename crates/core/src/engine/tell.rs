//! Telling everybody who waits what came of their question.
//!
//! Mostly one client waits and is told at once. Thousands may, and each may be owed the largest message, so of one question no more than
//! [`TOLD_AT_ONCE`] clients and [`TOLD_OCTETS_AT_ONCE`] are told in one go. The others are told as soon as those replies have left, before
//! anything else that time asks for; what they are told is kept until then, once for all of them. They count as waiting meanwhile.
//!
//! Deliberately absent: what there is to tell (see [`conclude`](super::conclude)).

use super::Engine;
use crate::cache::Settled;
use crate::exchange::{Held, Waiter, Waiters};
use crate::limits::{TOLD_AT_ONCE, TOLD_OCTETS_AT_ONCE};
use crate::outcome::Told;
use crate::time::Moment;
use crate::upstream::GroupId;
use crate::wire::{Canonical, ReplyOrigin, ResponseView, render_reply};

/// Clients who are still to be told. One at least, who counts as waiting, so there are never more of these than
/// [`WAITERS_MAX`](crate::limits::WAITERS_MAX).
#[derive(Debug)]
pub(super) struct Telling<C> {
    waiters: Waiters<C>,
    what: What,
}

/// What they are told.
#[derive(Debug)]
enum What {
    /// An answer that was settled.
    Settled(Settled, ReplyOrigin),
    /// An answer as it came.
    Response(Held),
    /// The best there is when nobody has an answer.
    Best(Best),
}

/// What is kept of a group past its time, or else a poor response, or else an error.
#[derive(Debug)]
pub(super) struct Best {
    pub(super) kept_of: Option<GroupId>,
    pub(super) held: Option<Held>,
    pub(super) told: Told,
}

/// How many may be told until others have their turn.
#[derive(Clone, Copy)]
struct Go {
    replies: usize,
    octets: usize,
}

impl<C> Engine<C> {
    /// Tells everybody an answer that was settled, which is given back to be used again.
    pub(super) fn tell_settled(
        &mut self,
        mut waiters: Waiters<C>,
        settled: Settled,
        origin: ReplyOrigin,
    ) {
        let go = self.go();
        let answer = settled.canonical();
        self.tell(&mut waiters, go, |engine, waiter| {
            engine.reply_with(waiter, answer, origin);
        });
        if waiters.is_empty() {
            self.settled = settled;
        } else {
            self.tell_later(waiters, What::Settled(settled, origin));
        }
    }

    /// Tells everybody an answer as it came.
    pub(super) fn tell_response(
        &mut self,
        mut waiters: Waiters<C>,
        response: &ResponseView<'_>,
        origin: ReplyOrigin,
    ) {
        let go = self.go();
        let answer = Canonical::from(response);
        self.tell(&mut waiters, go, |engine, waiter| {
            engine.reply_with(waiter, answer, origin);
        });
        if !waiters.is_empty() {
            let held = Held::new(response, origin);
            self.tell_later(waiters, What::Response(held));
        }
    }

    /// Tells everybody the best there is.
    pub(super) fn tell_best(&mut self, mut waiters: Waiters<C>, best: Best, now: Moment) {
        let go = self.go();
        self.tell(&mut waiters, go, |engine, waiter| {
            engine.reply_best(waiter, &best, now);
        });
        if !waiters.is_empty() {
            self.tell_later(waiters, What::Best(best));
        }
    }

    /// Goes on telling those who could not be told in one go.
    pub(super) fn tell_on(&mut self, now: Moment) {
        let go = self.go();
        while self.is_within(go)
            && let Some(mut telling) = self.tellings.pop_front()
        {
            self.go_on(&mut telling, go, now);
            if !telling.waiters.is_empty() {
                self.tellings.push_front(telling);
            }
        }
    }

    fn go_on(&mut self, telling: &mut Telling<C>, go: Go, now: Moment) {
        let waiters = &mut telling.waiters;
        let parsed;
        let (answer, origin) = match &telling.what {
            What::Best(best) => {
                return self.tell(waiters, go, |engine, waiter| {
                    engine.exchanges.count_out(&waiter);
                    engine.reply_best(waiter, best, now);
                });
            }
            What::Settled(settled, origin) => (settled.canonical(), *origin),
            What::Response(held) => {
                let Some(response) = held.view() else {
                    debug_assert!(false, "it was parsed before");
                    return;
                };
                parsed = response;
                (Canonical::from(&parsed), held.origin)
            }
        };
        self.tell(waiters, go, |engine, waiter| {
            engine.exchanges.count_out(&waiter);
            engine.reply_with(waiter, answer, origin);
        });
    }

    fn tell_later(&mut self, waiters: Waiters<C>, what: What) {
        self.exchanges.count_in(waiters.iter());
        self.tellings.push_back(Telling { waiters, what });
    }

    fn tell(
        &mut self,
        waiters: &mut Waiters<C>,
        go: Go,
        mut each: impl FnMut(&mut Self, Waiter<C>),
    ) {
        while self.is_within(go)
            && let Some(waiter) = waiters.pop()
        {
            each(self, waiter);
        }
    }

    fn go(&self) -> Go {
        Go {
            replies: self.replies.len() + TOLD_AT_ONCE,
            octets: self.replies.octets() + TOLD_OCTETS_AT_ONCE,
        }
    }

    fn is_within(&self, go: Go) -> bool {
        self.replies.len() < go.replies && self.replies.octets() < go.octets
    }

    pub(super) fn reply_with(
        &mut self,
        waiter: Waiter<C>,
        answer: Canonical<'_>,
        origin: ReplyOrigin,
    ) {
        render_reply(answer, &waiter.asker, origin, &mut self.scratch);
        self.replies.push(waiter.client, &self.scratch);
    }
}
