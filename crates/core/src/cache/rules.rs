//! What is kept for how long, which may change while the cache is in use.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use crate::limits::{NEGATIVE_TTL_MAX, STALE_KEPT, TTL_MAX};

/// What is kept for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheRules {
    /// How long past its lifetime data is kept for the time when nobody answers; zero: not at all.
    pub stale: Duration,
    /// TTLs of data are at least so many seconds; not those of negative answers and failures, and not a TTL of 0.
    pub min_ttl: u32,
    /// TTLs are at most so many seconds.
    pub max_ttl: u32,
    /// Negative answers are kept for so many seconds at most.
    pub negative_ttl: u32,
    /// Whether hot answers are refreshed before their end.
    pub prefetch: bool,
}

impl Default for CacheRules {
    fn default() -> Self {
        Self {
            stale: STALE_KEPT,
            min_ttl: 0,
            max_ttl: TTL_MAX,
            negative_ttl: NEGATIVE_TTL_MAX,
            prefetch: true,
        }
    }
}

/// The rules where several threads read them. Each is whole for itself; who reads in the middle of a change sees some of the new ones.
#[derive(Debug)]
pub(super) struct Rules {
    /// In nanoseconds, so that a hit reads one number and adds it.
    stale: AtomicU64,
    min_ttl: AtomicU32,
    max_ttl: AtomicU32,
    negative_ttl: AtomicU32,
    prefetch: AtomicBool,
}

impl Rules {
    pub(super) fn new(rules: CacheRules) -> Self {
        let own = Self {
            stale: AtomicU64::new(0),
            min_ttl: AtomicU32::new(0),
            max_ttl: AtomicU32::new(0),
            negative_ttl: AtomicU32::new(0),
            prefetch: AtomicBool::new(false),
        };
        own.set(rules);
        own
    }

    pub(super) fn set(&self, rules: CacheRules) {
        let stale = u64::try_from(rules.stale.as_nanos()).unwrap_or(u64::MAX);
        self.stale.store(stale, Ordering::Relaxed);
        self.min_ttl.store(rules.min_ttl, Ordering::Relaxed);
        self.max_ttl.store(rules.max_ttl, Ordering::Relaxed);
        self.negative_ttl
            .store(rules.negative_ttl, Ordering::Relaxed);
        self.prefetch.store(rules.prefetch, Ordering::Relaxed);
    }

    pub(super) fn all(&self) -> CacheRules {
        CacheRules {
            stale: self.stale(),
            min_ttl: self.min_ttl.load(Ordering::Relaxed),
            max_ttl: self.max_ttl.load(Ordering::Relaxed),
            negative_ttl: self.negative_ttl.load(Ordering::Relaxed),
            prefetch: self.prefetch(),
        }
    }

    pub(super) fn stale(&self) -> Duration {
        Duration::from_nanos(self.stale.load(Ordering::Relaxed))
    }

    pub(super) fn prefetch(&self) -> bool {
        self.prefetch.load(Ordering::Relaxed)
    }
}
