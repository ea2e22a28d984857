//! How many TLS handshakes clients get, each of which costs as much as a hundred answers.
//!
//! Promises:
//! - One client network gets `limits.handshakes` a second, and one second's worth at once; above that it is hung up on before anything is
//!   read. Memory is that of the rates over UDP.
//! - One listener begins [`HANDSHAKES`] a second, whoever asks for them: more wait in the kernel's queue, where they cost nothing. What is
//!   asked over UDP and TCP, and by clients who have their connection, is answered meanwhile. A load balancer's connection counts when its header
//!   has named a client that may have one.
//!
//! Deliberately absent: telling full from resumed handshakes, which is known only after a part of the work.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dotward_core::rate::{Pace, RateConfig, RateLimiter};
use dotward_core::time::Moment;

use crate::limits::{HANDSHAKES, HANDSHAKES_AT_ONCE, HANDSHAKES_OWED};

/// What client networks get, for all workers; without a bound by default.
#[derive(Debug, Default)]
pub(crate) struct HandshakeRate(Option<RateLimiter>);

impl HandshakeRate {
    /// So many a second for one network, told apart and exempted as `like` says.
    pub(crate) fn new(per_second: u32, like: RateConfig) -> Self {
        let config = RateConfig {
            queries: per_second,
            octets: 0,
            slip: 0,
            ..like
        };
        Self((per_second > 0).then(|| RateLimiter::new(config)))
    }

    /// Whether the bounds are those of `other`.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let config = |it: &Self| it.0.as_ref().map(|limiter| limiter.config().clone());
        config(self) == config(other)
    }

    /// Whether a client with this address gets a handshake now.
    pub(crate) fn admit(&self, address: IpAddr, now: Moment) -> bool {
        let limiter = self.0.as_ref();
        limiter.is_none_or(|it| it.admit(address, now) == Pace::Within)
    }
}

/// What one listener gets, whichever workers its clients are served by.
#[derive(Debug, Default)]
pub(crate) struct Turnstile {
    /// When everybody who was let in will have had their time, in nanoseconds.
    free: AtomicU64,
}

impl Turnstile {
    /// Somebody is let in.
    pub(super) fn pass(&self, now: Moment) {
        const STEP: u64 = 1_000_000_000 / HANDSHAKES as u64;
        // Of those behind a load balancer any number may be let in at once: they are counted when their headers come.
        let most = (now + HANDSHAKES_OWED).as_nanos();
        let next = |free: u64| Some(free.max(now.as_nanos()).saturating_add(STEP).min(most));
        // What is done always is never refused.
        let (Ok(_) | Err(_)) = self
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// How long the next one has to wait.
    pub(super) fn pause(&self, now: Moment) -> Option<Duration> {
        let ahead = Moment::from_nanos(self.free.load(Ordering::Relaxed)).since(now);
        let most = Duration::from_secs(1) / HANDSHAKES * HANDSHAKES_AT_ONCE;
        ahead.checked_sub(most).filter(|it| !it.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_were_let_in_at_once_the_next_waits_a_bounded_time() {
        let turnstile = Turnstile::default();
        let now = Moment::ZERO + Duration::from_secs(1);
        for _ in 0..10 * HANDSHAKES {
            turnstile.pass(now);
        }
        let pause = turnstile.pause(now).unwrap();
        assert!(pause <= HANDSHAKES_OWED, "{pause:?}");
        assert_eq!(turnstile.pause(now + HANDSHAKES_OWED), None);
    }

    #[test]
    fn a_listener_lets_in_a_few_at_once_and_then_its_rate_and_who_pauses_gets_the_few_again() {
        let turnstile = Turnstile::default();
        let mut now = Moment::ZERO + Duration::from_secs(1);
        for _ in 0..2 {
            for _ in 0..HANDSHAKES_AT_ONCE {
                turnstile.pass(now);
                assert_eq!(turnstile.pause(now), None);
            }
            let began = now;
            for _ in 0..HANDSHAKES {
                turnstile.pass(now);
                if let Some(pause) = turnstile.pause(now) {
                    now = now + pause;
                }
            }
            assert_eq!(now.since(began), Duration::from_secs(1));
            now = now + Duration::from_secs(1);
        }
    }
}
