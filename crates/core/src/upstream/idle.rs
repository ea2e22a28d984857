//! How long an upstream lets an idle connection live, learned from what it does.
//!
//! Resolvers close idle connections after anything from a second to minutes, seldom announce it (RFC 7828), and a question that is
//! on its way at that moment costs a handshake. So the limit is learned from the closes seen, or taken from the announcement,
//! and we close a little earlier ourselves. Now and then a connection is left alone a little longer, because limits change too.

use core::time::Duration;

use crate::limits::{IDLE_LIMIT_MIN, IDLE_TIMEOUT, IDLE_TRUST};

/// The idle limit of one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdleLimit {
    learned: Option<Duration>,
    /// Connections we retired since the limit was last confirmed.
    unconfirmed: u32,
}

impl IdleLimit {
    /// The limit as learned; `None` while the upstream never closed an idle connection.
    pub(crate) fn learned(&self) -> Option<Duration> {
        self.learned
    }

    /// How long a connection may be idle before we close it ourselves: nine tenths of the limit.
    pub(crate) fn retire_after(&self) -> Duration {
        self.learned
            .map_or(IDLE_TIMEOUT, |learned| (learned * 9 / 10).min(IDLE_TIMEOUT))
    }

    /// The upstream closed a connection that had been idle for `idle`.
    pub(crate) fn handle_closed(&mut self, idle: Duration) {
        let idle = idle.max(IDLE_LIMIT_MIN);
        self.learned = Some(self.learned.map_or(idle, |learned| learned.min(idle)));
        self.unconfirmed = 0;
    }

    /// The upstream announced its limit (RFC 7828 section 3.3.2).
    pub(crate) fn handle_announced(&mut self, limit: Duration) {
        self.learned = Some(limit.max(IDLE_LIMIT_MIN));
        self.unconfirmed = 0;
    }

    /// We retired an idle connection that the upstream still kept.
    pub(crate) fn handle_retired(&mut self) {
        self.unconfirmed += 1;
        if self.unconfirmed >= IDLE_TRUST {
            self.unconfirmed = 0;
            // Past the bound there is nothing to learn: we retire at the bound anyhow.
            self.learned = self
                .learned
                .map(|learned| learned * 5 / 4)
                .filter(|longer| *longer < IDLE_TIMEOUT * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_shortest_life_seen_is_the_limit_and_is_undercut() {
        let mut limit = IdleLimit::default();
        assert_eq!(limit.retire_after(), IDLE_TIMEOUT);
        limit.handle_closed(ms(12_000));
        limit.handle_closed(ms(10_000));
        limit.handle_closed(ms(11_000));
        assert_eq!(
            (limit.learned(), limit.retire_after()),
            (Some(ms(10_000)), ms(9_000))
        );
        limit.handle_closed(ms(3));
        assert_eq!(limit.learned(), Some(IDLE_LIMIT_MIN));
    }

    #[test]
    fn an_announcement_counts_at_once() {
        let mut limit = IdleLimit::default();
        limit.handle_closed(ms(2_000));
        limit.handle_announced(ms(20_000));
        assert_eq!(limit.retire_after(), ms(18_000));
    }

    #[test]
    fn a_limit_nobody_confirms_is_stretched_until_it_is_forgotten() {
        let mut limit = IdleLimit::default();
        limit.handle_closed(ms(1_000));
        for _ in 0..IDLE_TRUST {
            limit.handle_retired();
        }
        assert_eq!(limit.learned(), Some(ms(1_250)));
        for _ in 0..IDLE_TRUST * 40 {
            limit.handle_retired();
        }
        assert_eq!(
            (limit.learned(), limit.retire_after()),
            (None, IDLE_TIMEOUT)
        );
    }
}
