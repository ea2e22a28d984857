//! The families of the cache: of the memory of this process, and of what several instances share.
//!
//! Both are levels of one cache and share their families. Where no cache is shared there is no series of that level.

use std::fmt;

use dotward_core::shared::{BreakerState, SharedStats};

use super::Facts;
use super::writer::{NANOS, ONE, Page, count_f64, yes_no};

const MEMORY: (&str, &str) = ("level", "memory");
const SHARED: (&str, &str) = ("level", "shared");

impl Facts {
    pub(super) fn cache(&self, page: &mut Page<'_>) -> fmt::Result {
        let shared = self.report.shared_cache.as_ref();
        self.cache_lookups(page, shared)?;
        self.cache_writes(page, shared)?;
        let stats = &self.report.cache;
        let help = "Answers refreshed ahead of their end";
        let mut family = page.counter("dotward_cache_prefetches", help)?;
        family.counter([MEMORY], stats.prefetches)?;
        let help = "Answers that had to make room";
        let mut family = page.counter("dotward_cache_evictions", help)?;
        family.counter([MEMORY], stats.evictions)?;
        let mut family = page.gauge("dotward_cache_entries", "Answers kept")?;
        family.gauge([MEMORY], count_f64(stats.entries))?;
        let mut family = page.gauge("dotward_cache_size_bytes", "Memory they take")?;
        family.gauge([MEMORY], count_f64(stats.octets))?;
        let mut family = page.gauge("dotward_cache_limit_bytes", "Memory there is for them")?;
        family.gauge([MEMORY], count_f64(stats.limit))?;
        shared_state(page, shared)
    }

    fn cache_lookups(&self, page: &mut Page<'_>, shared: Option<&SharedStats>) -> fmt::Result {
        let stats = &self.report.cache;
        let help = "Questions looked up in the cache, by what was found; failure is one that was kept in memory, and one of the shared level itself";
        let mut family = page.counter("dotward_cache_requests", help)?;
        let results = [
            ("hit", stats.hits),
            ("stale", stats.stale),
            ("failure", stats.failures),
            ("miss", stats.misses),
        ];
        for (result, number) in results {
            family.counter([MEMORY, ("result", result)], number)?;
        }
        let results = shared.map(|stats| {
            [
                ("hit", stats.hits),
                ("miss", stats.misses),
                ("unusable", stats.unusable),
                ("outrun", stats.outrun),
                ("failure", stats.failures),
                ("skipped", stats.skipped),
            ]
        });
        for (result, number) in results.into_iter().flatten() {
            family.counter([SHARED, ("result", result)], number)?;
        }
        let help = "Lookups that had no answer when the upstream was asked; what came later counts as what it was";
        let mut family = page.counter("dotward_cache_requests_late", help)?;
        if let Some(stats) = shared {
            family.counter([SHARED], stats.late)?;
        }
        let help = "From a lookup to the answer of the shared level";
        let mut family = page.histogram("dotward_cache_request_duration_seconds", help)?;
        match shared {
            Some(stats) => family.histogram([SHARED], &stats.duration, NANOS),
            None => Ok(()),
        }
    }

    fn cache_writes(&self, page: &mut Page<'_>, shared: Option<&SharedStats>) -> fmt::Result {
        let mut family = page.counter("dotward_cache_inserts", "Answers stored")?;
        family.counter([MEMORY], self.report.cache.inserts)?;
        if let Some(stats) = shared {
            family.counter([SHARED], stats.writes)?;
        }
        let help = "Answers not stored because too many waited, or the shared level failed";
        let mut family = page.counter("dotward_cache_inserts_dropped", help)?;
        match shared {
            Some(stats) => family.counter([SHARED], stats.writes_dropped),
            None => Ok(()),
        }
    }
}

fn shared_state(page: &mut Page<'_>, shared: Option<&SharedStats>) -> fmt::Result {
    let help = "1 while the shared level is asked, 0 while it is left alone because it failed";
    let mut family = page.gauge("dotward_cache_healthy", help)?;
    if let Some(stats) = shared {
        let healthy = stats.breaker == BreakerState::Closed;
        family.gauge([SHARED], yes_no(healthy))?;
    }
    let mut family = page.gauge("dotward_cache_state", "The state of the shared level")?;
    match shared {
        Some(stats) => {
            let state = stats.breaker.word().replace(' ', "_");
            family.gauge([SHARED, ("state", &state)], ONE)
        }
        None => Ok(()),
    }
}
