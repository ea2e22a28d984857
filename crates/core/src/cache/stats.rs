//! What a cache has done so far, in numbers.

use core::sync::atomic::{AtomicU64, Ordering};

use super::shard::Stored;
use super::{Cache, Shard, read};

/// Counters since the start, and sizes of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Questions answered from data within its lifetime.
    pub hits: u64,
    /// Questions that had to be asked, or joined one that was.
    pub misses: u64,
    /// Questions answered from data past its lifetime.
    pub stale: u64,
    /// Answers that were refreshed ahead of their end.
    pub prefetches: u64,
    /// Questions that joined an equal one in flight.
    pub coalesced: u64,
    /// Questions answered with a failure that was kept.
    pub failures: u64,
    /// Answers stored, failures included.
    pub inserts: u64,
    /// Answers that had to make room.
    pub evictions: u64,
    /// Answers kept now.
    pub entries: usize,
    /// Octets they take, with their place in the index.
    pub octets: usize,
    /// Octets there are for them.
    pub limit: usize,
}

/// The counters of a shard.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) prefetches: AtomicU64,
    pub(super) failures: AtomicU64,
    inserts: AtomicU64,
    evictions: AtomicU64,
}

impl Counters {
    pub(super) fn note(&self, stored: Stored) {
        let relaxed = Ordering::Relaxed;
        self.inserts.fetch_add(stored.stored.into(), relaxed);
        self.evictions.fetch_add(stored.evicted, relaxed);
    }
}

impl Cache {
    /// Questions answered from data past its lifetime so far.
    pub(crate) fn stale_given(&self) -> u64 {
        let shards = self.shards.iter();
        let given = |shard: &Shard| shard.counters.stale.load(Ordering::Relaxed);
        shards.map(given).sum()
    }

    /// What it has done so far. Shards are read one after the other, so the sum is of no single moment.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = CacheStats {
            coalesced: of(&self.coalesced),
            limit: self.size,
            ..CacheStats::default()
        };
        for shard in &self.shards {
            let counters = &shard.counters;
            stats.hits += of(&counters.hits);
            stats.misses += of(&counters.misses);
            stats.stale += of(&counters.stale);
            stats.prefetches += of(&counters.prefetches);
            stats.failures += of(&counters.failures);
            stats.inserts += of(&counters.inserts);
            stats.evictions += of(&counters.evictions);
            let store = read(&shard.store);
            stats.entries += store.entries();
            stats.octets += store.octets();
        }
        stats
    }
}
