//! What an exchange leaves in the cache: its answer, that nobody could answer, or that what was kept is over.
//!
//! Promises: a failure never replaces data that may still be given out (RFC 8767 section 4); data past its time stands in for failures
//! only, neither for an answer that may not be kept nor for data found bogus (RFC 9520 section 2.5).
//!
//! Deliberately absent: which outcome an exchange has (`engine::conclude`).

use core::time::Duration;

use super::settle::{Layout, Settled};
use super::slot::{Content, Traits};
use super::{Cache, read, write};
use crate::exchange::Asked;
use crate::limits::{FAILURE_KEPT_MAX, FAILURE_KEPT_MIN};
use crate::time::Moment;
use crate::wire::edns::ExtendedError;
use crate::wire::{Flags, Header, Rcode, ReplyOrigin};

impl Cache {
    /// Keeps a response that was settled by this cache's rules, if it may be kept.
    pub(crate) fn store(&self, asked: &Asked, settled: &Settled, origin: ReplyOrigin, now: Moment) {
        if !self.is_on() {
            return;
        }
        if settled.lifetime() == 0 {
            return self.drop_past(asked, now);
        }
        if let Some((key, shard)) = self.key(asked) {
            let content = Content::of(settled, origin);
            let stored = write(&shard.store).insert(&key, &content, now);
            shard.counters.note(stored);
        }
    }

    /// Ends data past its time: there is an answer again, and though that may not be kept, the old one is no stand-in for it.
    fn drop_past(&self, asked: &Asked, now: Moment) {
        let Some((key, shard)) = self.key(asked) else {
            return;
        };
        let known = read(&shard.store)
            .find(&key)
            .is_some_and(|slot| slot.is_past(now));
        if known {
            write(&shard.store).remove_past(&key, now);
        }
    }

    /// Remembers that the data was found bogus, like a failure; what is past its time is no better and does not stand in for it.
    pub(crate) fn store_bogus(
        &self,
        asked: &Asked,
        rcode: Rcode,
        error: Option<ExtendedError<'_>>,
        now: Moment,
    ) {
        self.drop_past(asked, now);
        self.store_failure(asked, rcode, error, now);
    }

    /// Remembers that nobody could answer: for a second, and for twice as long each time it follows on another failure. While there is data
    /// that may be given out, only that it could not be refreshed.
    pub(crate) fn store_failure(
        &self,
        asked: &Asked,
        rcode: Rcode,
        error: Option<ExtendedError<'_>>,
        now: Moment,
    ) {
        let Some((key, shard)) = self.key(asked) else {
            return;
        };
        let mut store = write(&shard.store);
        let known = store.find(&key);
        if let Some(slot) = known.filter(|slot| self.is_usable(slot, now)) {
            slot.note_failed(now);
            return;
        }
        let since = known.filter(|slot| {
            let lately = now.since(slot.expires()) < Duration::from_secs(FAILURE_KEPT_MAX.into());
            slot.has(Traits::FAILURE) && lately && slot.stored > self.recovered(slot)
        });
        let failures = since.map_or(0, |slot| slot.failures.saturating_add(1));
        let lifetime = FAILURE_KEPT_MIN
            .saturating_mul(1 << failures.min(16))
            .min(FAILURE_KEPT_MAX);
        let header = Header {
            id: 0,
            flags: Flags::NONE.with_response(true),
            questions: 1,
            answers: 0,
            authorities: 0,
            additionals: 0,
        };
        let message = [&header.octets()[..], asked.question.octets()].concat();
        let end = u16::try_from(message.len()).unwrap_or(u16::MAX);
        let content = Content {
            message: &message,
            ttls: &[],
            error,
            layout: Layout {
                rcode: rcode.0,
                records_at: end,
                authorities_end: end,
                additionals_end: end,
            },
            lifetime,
            traits: Traits::FAILURE,
            failures,
        };
        shard.counters.note(store.insert(&key, &content, now));
    }

    /// A refresh of `asked` takes too long: its data is given at once for a while.
    pub(crate) fn note_unrefreshed(&self, asked: &Asked, now: Moment) {
        let Some((key, shard)) = self.key(asked) else {
            return;
        };
        let store = read(&shard.store);
        let found = store.find(&key);
        if let Some(slot) = found.filter(|slot| now >= slot.expires()) {
            slot.note_failed(now);
        }
    }
}
