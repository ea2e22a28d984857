//! Answers that are kept: as received, correct for every client, bounded in octets, shared by all workers.
//!
//! An answer is found by its question (name with ASCII letters folded, type, class, DO, CD) and the group that was asked, and rendered for each client
//! through the one exit ([`render_reply`]), so ID, spelling, flags, EDNS and size are the client's own (RFC 8906 section 6).
//!
//! Promises
//!
//! - A hit allocates nothing, walks no record and waits for nobody but a writer of the same shard, who holds it for microseconds, or for as long
//!   as a page of answers, a thousand or so, takes to be removed at an operator's word.
//! - All that is kept, with index and slots, stays within the limit, in whatever order it comes.
//! - Two questions are never taken for one another: the hash is keyed and secret, and a match is compared in full.
//! - A failure never replaces data that may still be given out (RFC 8767 section 4), and ends when the upstreams recover (RFC 9520 section 3.2).
//! - Past its lifetime data is given only while no newer one is to be had, and at most for [`CacheRules::stale`] (RFC 8767).
//! - A group's answers never answer questions that go to another group.
//! - What the guard against rebinding does not let pass is neither put back nor kept on when the guard is another.
//! - Failures are kept even where answers are not (RFC 9520 section 3.2 asks for it without exception): it is what ends a question that
//!   goes around between forwarders.
//!
//! Ruled by RFC 2181 sections 5 and 8, RFC 2308, RFC 8767, RFC 9520.
//!
//! Deliberately absent: records as such. Additional data never becomes an answer (RFC 2181 section 5.4.1), nothing is merged or concluded
//! (RFC 8020, RFC 8198): that is for those who validate.

mod guarded;
mod inspect;
mod outcome;
mod portable;
mod rules;
mod segments;
mod settle;
mod shard;
mod slot;
mod slots;
mod stats;

use core::fmt;
use core::hash::Hasher as _;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use siphasher::sip::SipHasher13;

use crate::exchange::Asked;
use crate::limits::{
    CACHE_SHARD_OCTETS_MIN, CACHE_SHARDS_MAX, FAILURES_OCTETS, PREFETCH_HITS,
    PREFETCH_LIFETIME_MIN, PREFETCH_SHARE, STALE_AT_ONCE, STALE_RECHECK, STALE_TTL,
};
use crate::policy::RebindingGuard;
use crate::time::Moment;
use crate::upstream::GroupId;
use crate::wire::{AsQuestion, Asker, QuestionRef, ReplyOrigin, render_reply};

pub use inspect::{Kept, Kind, Progress, RestoreFault, Restored};
pub use portable::{PORTABLE_VERSION, Portable, PortableFault, write_portable};
pub use rules::CacheRules;
pub use settle::Settled;
pub use stats::CacheStats;

use rules::Rules;
use shard::Store;
use slot::{Entry, Slot, Traits};
use stats::Counters;

/// What a [`Cache`] works from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Octets for all that is kept; 0: failures are, in [`FAILURES_OCTETS`], and no answers.
    pub size: usize,
    /// What is kept for how long.
    pub rules: CacheRules,
    /// How many groups of upstreams there may ever be.
    pub groups: usize,
    /// The secret of the hash.
    pub key: [u8; 16],
}

impl CacheConfig {
    /// A cache of `size` octets for one group, with defaults for the rest. `key` must be unpredictable.
    #[must_use]
    pub fn new(size: usize, key: [u8; 16]) -> Self {
        Self {
            size,
            rules: CacheRules::default(),
            groups: 1,
            key,
        }
    }
}

/// What the cache made of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Nothing: ask an upstream.
    No,
    /// Nothing, but there is an answer past its time, should nobody have a newer one.
    Stale,
    /// The reply is written.
    Yes,
    /// The reply is written, and the answer should be refreshed in the background.
    AndRefresh,
}

/// A question in the form in which it is looked for.
#[derive(Clone, Copy)]
struct Key<'a> {
    question: QuestionRef<'a>,
    dnssec_ok: bool,
    checking_disabled: bool,
    group: u16,
    hash: u64,
}

impl Key<'_> {
    fn traits(&self) -> u8 {
        let dnssec_ok = u8::from(self.dnssec_ok) * Traits::DNSSEC_OK;
        let checking_disabled = u8::from(self.checking_disabled) * Traits::CHECKING_DISABLED;
        dnssec_ok | checking_disabled
    }
}

/// One part: locked alone, counted alone, on cache lines of its own.
#[repr(align(128))]
struct Shard {
    store: RwLock<Store>,
    counters: Counters,
}

/// The answers that are kept.
pub struct Cache {
    size: usize,
    /// Whether answers are kept too, and not failures alone.
    keeps_answers: bool,
    /// The secret of the hash.
    key: [u8; 16],
    rules: Rules,
    /// A power of two of them, or none.
    shards: Box<[Shard]>,
    /// By group: when an upstream of it began to answer again last.
    recovered: Box<[AtomicU64]>,
    coalesced: AtomicU64,
    /// What may not be put back; who asks for what is kept does not look at it.
    guard: RwLock<Option<Arc<RebindingGuard>>>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(config: CacheConfig) -> Self {
        let keeps_answers = config.size > 0;
        let size = match keeps_answers {
            true => config.size,
            false => FAILURES_OCTETS,
        };
        let wished = (size / CACHE_SHARD_OCTETS_MIN).clamp(1, CACHE_SHARDS_MAX);
        // The power of two below.
        let shards = 1 << wished.ilog2();
        let shard = |_| Shard {
            store: RwLock::new(Store::new(size / shards, config.rules.stale)),
            counters: Counters::default(),
        };
        Self {
            shards: (0..shards).map(shard).collect(),
            recovered: (0..config.groups).map(|_| AtomicU64::new(0)).collect(),
            coalesced: AtomicU64::new(0),
            guard: RwLock::new(None),
            size,
            keeps_answers,
            key: config.key,
            rules: Rules::new(config.rules),
        }
    }

    /// A cache that keeps nothing, not even failures.
    #[must_use]
    pub fn off() -> Self {
        let failures = Self::new(CacheConfig::new(0, [0; 16]));
        Self {
            shards: Box::default(),
            size: 0,
            ..failures
        }
    }

    /// Whether anything is kept, be it failures alone.
    #[must_use]
    pub fn keeps_anything(&self) -> bool {
        !self.shards.is_empty()
    }

    /// Whether answers are kept.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.keeps_answers
    }

    /// Octets for all that is kept.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many groups of upstreams there may be.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.recovered.len()
    }

    /// What is kept for how long.
    #[must_use]
    pub fn rules(&self) -> CacheRules {
        self.rules.all()
    }

    /// Changes what is kept for how long: lifetimes of what comes from now on, and how long past them data stays.
    pub fn set_rules(&self, rules: CacheRules) {
        self.rules.set(rules);
        for shard in &self.shards {
            write(&shard.store).set_stale(rules.stale);
        }
    }

    /// Answers from what is fresh, or from what is stale while a refresh has just failed. To a client that does not ask for recursion only
    /// what is fresh is told, and no failure.
    pub fn answer<Q: AsQuestion>(
        &self,
        asker: &Asker<Q>,
        group: GroupId,
        now: Moment,
        reply: &mut Vec<u8>,
    ) -> Answered {
        let Some((key, shard)) = self.key_of(asker, group) else {
            return Answered::No;
        };
        let store = read(&shard.store);
        let recursive = asker.flags.recursion_desired();
        let Some(slot) = store.find(&key) else {
            count(&shard.counters.misses, u64::from(recursive));
            return Answered::No;
        };
        if now < slot.expires() {
            return self.answer_fresh(shard, slot, asker, now, reply);
        }
        let stale = self.is_stale(&slot, now) && recursive;
        if stale && let Some(failed) = self.failed_lately(&slot, now) {
            slot.touch();
            render_reply(slot.stale(STALE_TTL), asker, ReplyOrigin::ClearText, reply);
            count(&shard.counters.stale, 1);
            let due = now.since(failed) >= STALE_RECHECK;
            return if due && slot.claim_refresh(failed, now) {
                Answered::AndRefresh
            } else {
                Answered::Yes
            };
        }
        count(&shard.counters.misses, u64::from(recursive));
        if stale { Answered::Stale } else { Answered::No }
    }

    fn answer_fresh<Q: AsQuestion>(
        &self,
        shard: &Shard,
        slot: Entry<'_>,
        asker: &Asker<Q>,
        now: Moment,
        reply: &mut Vec<u8>,
    ) -> Answered {
        let recursive = asker.flags.recursion_desired();
        let failure = slot.has(Traits::FAILURE);
        if failure && (!recursive || slot.stored <= self.recovered(&slot)) {
            count(&shard.counters.misses, u64::from(recursive));
            return Answered::No;
        }
        render_reply(slot.fresh(now), asker, slot.origin(), reply);
        let counters = &shard.counters;
        let counter = match failure {
            true => &counters.failures,
            false => &counters.hits,
        };
        count(counter, 1);
        // Who only looks changes nothing of what is kept: neither how long it stays, nor whether it is asked for again.
        if failure || !recursive {
            return Answered::Yes;
        }
        slot.touch();
        let left = slot.expires().since(now).as_secs();
        let due = self.rules.prefetch()
            && slot.lifetime >= PREFETCH_LIFETIME_MIN
            && left * PREFETCH_SHARE <= u64::from(slot.lifetime);
        if slot.hit(PREFETCH_HITS, due) {
            count(&shard.counters.prefetches, 1);
            Answered::AndRefresh
        } else {
            Answered::Yes
        }
    }

    /// Answers with a failure that is kept, where that is all that is. `false` when there is none, and where answers are kept as well: there
    /// [`Cache::answer`] has looked.
    pub(crate) fn answer_failure(
        &self,
        asker: &Asker,
        group: GroupId,
        now: Moment,
        reply: &mut Vec<u8>,
    ) -> bool {
        let [only] = &*self.shards else {
            return false;
        };
        if self.keeps_answers || read(&only.store).entries() == 0 {
            return false;
        }
        let question = asker.question.as_question();
        let flags = (asker.dnssec_ok(), asker.flags.checking_disabled());
        let Some((key, shard)) = self.key_from(question, flags, group) else {
            return false;
        };
        let store = read(&shard.store);
        let found = store.find(&key).filter(|slot| now < slot.expires());
        found.is_some_and(|slot| self.answer_fresh(shard, slot, asker, now, reply) == Answered::Yes)
    }

    /// Answers from data past its time because nobody has newer one. `false` when there is none.
    pub fn answer_stale(
        &self,
        asker: &Asker,
        group: GroupId,
        now: Moment,
        reply: &mut Vec<u8>,
    ) -> bool {
        let Some((key, shard)) = self.key_of(asker, group) else {
            return false;
        };
        let store = read(&shard.store);
        let found = store.find(&key);
        let Some(slot) = found.filter(|slot| self.is_usable(slot, now)) else {
            return false;
        };
        if !asker.flags.recursion_desired() {
            return false;
        }
        if now < slot.expires() {
            // Somebody else had it refreshed meanwhile.
            render_reply(slot.fresh(now), asker, slot.origin(), reply);
            count(&shard.counters.hits, 1);
        } else {
            let canonical = slot.stale(STALE_TTL);
            render_reply(canonical, asker, ReplyOrigin::ClearText, reply);
            count(&shard.counters.stale, 1);
        }
        true
    }

    /// An upstream of `group` answers again, or the network changed: what failed before is asked again.
    pub(crate) fn handle_recovery(&self, group: GroupId, now: Moment) {
        if let Some(recovered) = self.recovered.get(group.0) {
            recovered.fetch_max(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// A question joined one that was in flight.
    pub(crate) fn note_coalesced(&self) {
        count(&self.coalesced, 1);
    }

    /// Whether it is data that may be given out, fresh or stale.
    fn is_usable(&self, slot: &Slot, now: Moment) -> bool {
        !slot.has(Traits::FAILURE) && now < slot.expires() + self.rules.stale()
    }

    fn is_stale(&self, slot: &Slot, now: Moment) -> bool {
        now >= slot.expires() && self.is_usable(slot, now)
    }

    /// When a refresh failed, if that is not long ago and the upstreams did not recover since.
    fn failed_lately(&self, slot: &Slot, now: Moment) -> Option<Moment> {
        let failed = slot.failed()?;
        let counts = now.since(failed) < STALE_AT_ONCE && failed > self.recovered(slot);
        counts.then_some(failed)
    }

    fn recovered(&self, slot: &Slot) -> Moment {
        let recovered = self.recovered.get(usize::from(slot.group()));
        let nanos = recovered.map_or(0, |it| it.load(Ordering::Relaxed));
        Moment::from_nanos(nanos)
    }

    fn key_of<'a, Q: AsQuestion>(
        &self,
        asker: &'a Asker<Q>,
        group: GroupId,
    ) -> Option<(Key<'a>, &Shard)> {
        if !self.keeps_answers {
            return None;
        }
        self.key_from(
            asker.question.as_question(),
            (asker.dnssec_ok(), asker.flags.checking_disabled()),
            group,
        )
    }

    fn key<'a>(&self, asked: &'a Asked) -> Option<(Key<'a>, &Shard)> {
        self.key_from(
            asked.question.view(),
            (asked.dnssec_ok, asked.checking_disabled),
            asked.group,
        )
    }

    fn key_from<'a>(
        &self,
        question: QuestionRef<'a>,
        (dnssec_ok, checking_disabled): (bool, bool),
        group: GroupId,
    ) -> Option<(Key<'a>, &Shard)> {
        if self.shards.is_empty() {
            return None;
        }
        let group = u16::try_from(group.0).ok()?;
        let mut key = Key {
            question,
            dnssec_ok,
            checking_disabled,
            group,
            hash: 0,
        };
        key.hash = self.hash(&key);
        // The index of a shard uses the lowest and the highest bits.
        let place = (key.hash >> 40) as usize & (self.shards.len() - 1);
        Some((key, &self.shards[place]))
    }

    fn hash(&self, key: &Key<'_>) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        // By words, and folded with type and class: what differs in those alone shares a hash with few others, and is told apart
        // when keys are compared.
        let (words, rest) = key.question.octets().as_chunks::<8>();
        for word in words {
            hasher.write_u64(folded(u64::from_le_bytes(*word)));
        }
        let mut last = [0; 8];
        for (octet, of_rest) in last.iter_mut().zip(rest) {
            *octet = *of_rest;
        }
        hasher.write_u64(folded(u64::from_le_bytes(last)));
        hasher.write_u64(u64::from(key.traits()) << 16 | u64::from(key.group));
        hasher.finish()
    }
}

/// Eight octets with their ASCII capital letters made small.
fn folded(octets: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let seven = octets & (0x7F * EACH);
    // The highest bit of an octet is set in the first from `A` on, in the second behind `Z`; no octet runs over.
    let from_a = seven + (0x80 - 0x41) * EACH;
    let behind_z = seven + (0x7F - 0x5A) * EACH;
    let capital = !octets & (from_a ^ behind_z) & (0x80 * EACH);
    octets | capital >> 2
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// A panic while the lock was held leaves a cache that may miss, not one that may lie.
fn read<T>(store: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    store.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(store: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    store.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
