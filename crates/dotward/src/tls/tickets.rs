//! Keys of session tickets (RFC 8446 section 4.6.1, RFC 5077), which change.
//!
//! Promises: a key makes tickets for [`TICKET_KEY_LIFE`] and opens them for as long again, then it is gone; keys are in memory only. So
//! whoever takes a key out of the process reads what was said in the hours around, and no more (RFC 9325 section 3.4).
//!
//! rustls's own rotation keeps the last key for as long as nobody calls; here it dies in time however quiet it was.
//!
//! Deliberately absent: what is in a ticket and how it is sealed (aws-lc-rs by rustls), keys shared between machines.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::Error;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use crate::limits::TICKET_KEY_LIFE;

/// The key that makes tickets and the one before it.
pub(crate) struct TicketKeys {
    life: Duration,
    clock: Arc<dyn TimeProvider>,
    keys: Mutex<Keys>,
}

struct Keys {
    /// Made at `since`. What rustls gives here changes its key by itself, by the same rule and no sooner.
    current: Arc<dyn ProducesTickets>,
    since: Duration,
    /// Opens tickets only, until the moment beside it.
    previous: Option<(Arc<dyn ProducesTickets>, Duration)>,
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys")
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

impl TicketKeys {
    /// A first key, by the wall clock.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub(crate) fn new() -> Result<Self, Error> {
        Self::with_clock(Arc::new(DefaultTimeProvider))
    }

    /// A first key, by `clock`.
    pub(super) fn with_clock(clock: Arc<dyn TimeProvider>) -> Result<Self, Error> {
        let keys = Keys {
            current: Ticketer::new()?,
            since: now(&*clock).unwrap_or_default(),
            previous: None,
        };
        Ok(Self {
            life: TICKET_KEY_LIFE,
            clock,
            keys: Mutex::new(keys),
        })
    }

    /// Uses the keys as they are to be at this moment.
    fn with_keys<R>(&self, take: impl FnOnce(&Keys) -> Option<R>) -> Option<R> {
        let now = now(&*self.clock)?;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back makes a key younger than it is, by as much as it was set back.
        if now.saturating_sub(keys.since) >= self.life {
            let next = Ticketer::new().ok()?;
            let last = std::mem::replace(&mut keys.current, next);
            keys.previous = Some((last, keys.since + 2 * self.life));
            keys.since = now;
        }
        keys.previous.take_if(|(_, until)| *until <= now);
        take(&keys)
    }
}

fn now(clock: &dyn TimeProvider) -> Option<Duration> {
    clock
        .current_time()
        .map(|time: UnixTime| Duration::from_secs(time.as_secs()))
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(2 * self.life.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.with_keys(|keys| keys.current.encrypt(plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.with_keys(|keys| {
            let previous = keys.previous.as_ref();
            let opened = keys.current.decrypt(cipher);
            opened.or_else(|| previous.and_then(|(key, _)| key.decrypt(cipher)))
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    pub(in super::super) struct Clock(pub(in super::super) AtomicU64);

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            let seconds = self.0.load(Ordering::Relaxed);
            Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
        }
    }

    fn keys() -> (Arc<Clock>, TicketKeys) {
        let clock = Arc::new(Clock::default());
        let keys = TicketKeys::with_clock(Arc::<Clock>::clone(&clock)).unwrap();
        (clock, keys)
    }

    const LIFE: u64 = TICKET_KEY_LIFE.as_secs();

    #[test]
    fn a_ticket_is_opened_until_its_key_is_two_lives_old_and_no_longer() {
        let (clock, keys) = keys();
        let early = keys.encrypt(b"early").unwrap();
        clock.0.store(LIFE - 1, Ordering::Relaxed);
        let late = keys.encrypt(b"late").unwrap();
        for age in [LIFE + LIFE / 2, 2 * LIFE - 1] {
            clock.0.store(age, Ordering::Relaxed);
            assert_eq!(keys.decrypt(&early).as_deref(), Some(&b"early"[..]));
            assert_eq!(keys.decrypt(&late).as_deref(), Some(&b"late"[..]));
        }
        let next = keys.encrypt(b"next").unwrap();
        clock.0.store(2 * LIFE, Ordering::Relaxed);
        assert_eq!(keys.decrypt(&early), None);
        assert_eq!(keys.decrypt(&late), None);
        assert_eq!(keys.decrypt(&next).as_deref(), Some(&b"next"[..]));
    }

    #[test]
    fn a_key_nobody_used_for_two_lives_is_gone_at_the_next_call() {
        let (clock, keys) = keys();
        let ticket = keys.encrypt(b"x").unwrap();
        clock.0.store(2 * LIFE, Ordering::Relaxed);
        assert_eq!(keys.decrypt(&ticket), None);
    }

    #[test]
    fn clients_are_told_the_longest_that_a_ticket_can_be_good() {
        let (_, keys) = keys();
        assert_eq!(u64::from(keys.lifetime()), 2 * LIFE);
    }
}
