//! How long an upstream lets an idle connection live, learned from what it does.
//!
//! Resolvers close idle connections after anything from a second to minutes, seldom announce it (RFC 7828), and a question that is
//! on its way at that moment costs a handshake. So the limit is learned from the closes seen, or taken from the announcement,
//! and we close a little earlier ourselves. Now and then a connection is left alone a little longer, because limits change too.
//!
//! One close says little: an upstream that restarts, or has answered as much as it wants to on one connection, ends it at any time. A limit is
//! what two closes agree on, with no connection between them that lived longer. Not believing it yet costs nothing but the chance that a question is on its way; believing a
//! wrong one costs handshakes for hours.

use core::time::Duration;

use crate::limits::{IDLE_LIMIT_MIN, IDLE_TIMEOUT, IDLE_TRUST, IDLE_TRUST_STRETCHED};

/// The idle limit of one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdleLimit {
    learned: Option<Duration>,
    /// How long the last connection that the upstream closed was idle; once a limit was announced or stretched, that limit.
    seen: Option<Duration>,
    /// Connections we retired since the limit was last confirmed or stretched.
    unconfirmed: u32,
    /// Whether it was stretched since it was last confirmed.
    stretched: bool,
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
        let seen = self.seen.replace(idle);
        if let Some(seen) = seen.filter(|seen| agree(*seen, idle)) {
            let shortest = seen.min(idle);
            self.confirm(
                self.learned
                    .map_or(shortest, |learned| learned.min(shortest)),
            );
        }
    }

    /// The upstream announced its limit (RFC 7828 section 3.3.2).
    pub(crate) fn handle_announced(&mut self, limit: Duration) {
        let limit = limit.max(IDLE_LIMIT_MIN);
        self.seen = Some(limit);
        self.confirm(limit);
    }

    fn confirm(&mut self, limit: Duration) {
        self.learned = Some(limit);
        self.unconfirmed = 0;
        self.stretched = false;
    }

    /// We retired an idle connection that the upstream still kept.
    pub(crate) fn handle_retired(&mut self) {
        // It has outlived what was no limit then.
        let outlived = self.retire_after();
        self.seen = self.seen.filter(|seen| *seen >= outlived);
        self.unconfirmed += 1;
        let (trust, factor) = if self.stretched {
            // It was wrong, and may be so by far.
            (IDLE_TRUST_STRETCHED, 8)
        } else {
            (IDLE_TRUST, 5)
        };
        if self.unconfirmed >= trust {
            self.unconfirmed = 0;
            self.stretched = true;
            self.seen = self.learned;
            // Past the bound there is nothing to learn: we retire at the bound anyhow.
            self.learned = self
                .learned
                .map(|learned| learned * factor / 4)
                .filter(|longer| *longer < IDLE_TIMEOUT * 2);
        }
    }
}

/// Whether two idle times may be the same limit: timers of servers are coarse, and connections closed together were last used at different times.
fn agree(one: Duration, other: Duration) -> bool {
    one.max(other) * 4 <= one.min(other) * 5
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_shorter_of_two_closes_that_agree_is_the_limit_and_is_undercut() {
        let mut limit = IdleLimit::default();
        assert_eq!(limit.retire_after(), IDLE_TIMEOUT);
        limit.handle_closed(ms(11_000));
        assert_eq!(limit.learned(), None);
        limit.handle_closed(ms(10_000));
        limit.handle_closed(ms(11_000));
        assert_eq!(
            (limit.learned(), limit.retire_after()),
            (Some(ms(10_000)), ms(9_000))
        );
    }

    #[test]
    fn one_early_close_is_no_limit_and_two_are() {
        let mut limit = IdleLimit::default();
        limit.handle_announced(ms(10_000));
        for early in [3, 2_000, 700, 9_500, 100] {
            limit.handle_closed(ms(early));
            assert_eq!(limit.learned(), Some(ms(10_000)), "{early} ms");
        }
        limit.handle_retired();
        limit.handle_closed(ms(105));
        assert_eq!(limit.learned(), Some(ms(10_000)), "one was kept longer");
        limit.handle_closed(ms(100));
        assert_eq!(limit.learned(), Some(ms(100)));
        limit.handle_closed(ms(3));
        limit.handle_closed(ms(4));
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
        limit.handle_announced(ms(1_000));
        for _ in 0..IDLE_TRUST {
            limit.handle_retired();
        }
        assert_eq!(limit.learned(), Some(ms(1_250)));
        let mut retired = 0;
        while limit.learned().is_some() && retired < 1_000 {
            limit.handle_retired();
            retired += 1;
        }
        assert_eq!(limit.retire_after(), IDLE_TIMEOUT);
        assert!(retired <= 14, "{retired} more handshakes");
    }

    #[test]
    fn a_limit_that_was_stretched_in_vain_is_back_with_the_next_close() {
        let mut limit = IdleLimit::default();
        limit.handle_announced(ms(10_000));
        for _ in 0..IDLE_TRUST {
            limit.handle_retired();
        }
        assert_eq!(limit.learned(), Some(ms(12_500)));
        limit.handle_closed(ms(10_200));
        assert_eq!(limit.learned(), Some(ms(10_000)));
        for _ in 1..IDLE_TRUST {
            limit.handle_retired();
        }
        assert_eq!(limit.learned(), Some(ms(10_000)));
    }
}
