//! When a certificate ends, and when that is worth a line.
//!
//! Promises: told from [`EXPIRY_NOTICE`] before the end on, once a day; a certificate made to live shorter is told in the last third
//! of its life, because renewing it later than that is what went wrong.

use std::time::Duration;

use dotward_core::time::Moment;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::limits::{EXPIRY_NOTICE, EXPIRY_REPEAT};

const DAY: i64 = 24 * 60 * 60;

/// The life of one certificate in use, and when its end was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Expiry {
    life: Option<Life>,
    told: Option<Moment>,
}

/// Seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    begins: i64,
    ends: i64,
}

impl Expiry {
    /// Another certificate is in use, or none.
    pub(crate) fn set(&mut self, certificate: Option<&CertificateDer<'_>>) {
        let life = certificate.and_then(|octets| {
            let (_, parsed) = X509Certificate::from_der(octets).ok()?;
            let validity = parsed.validity();
            Some(Life {
                begins: validity.not_before.timestamp(),
                ends: validity.not_after.timestamp(),
            })
        });
        if life != self.life {
            *self = Self { life, told: None };
        }
    }

    /// When it ends, in seconds since 1970. `None` when there is no certificate.
    pub(crate) fn ends(&self) -> Option<i64> {
        self.life.map(|life| life.ends)
    }

    /// Whole days left at `date`, in seconds since 1970; negative once it is over. `None` when there is no certificate.
    pub(crate) fn days_left(&self, date: i64) -> Option<i64> {
        let left = self.life?.ends.saturating_sub(date);
        Some(left.div_euclid(DAY))
    }

    /// The days left, if that is to be told now.
    pub(crate) fn tell(&mut self, date: i64, now: Moment) -> Option<i64> {
        let life = self.life?;
        let near = life.ends.saturating_sub(date) <= life.notice();
        let again = self
            .told
            .is_none_or(|told| now.since(told) >= EXPIRY_REPEAT);
        if !near || !again {
            return None;
        }
        self.told = Some(now);
        self.days_left(date)
    }
}

impl Life {
    /// Seconds before the end from which on it is told.
    fn notice(self) -> i64 {
        let third = self.ends.saturating_sub(self.begins) / 3;
        third.min(seconds(EXPIRY_NOTICE))
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(life_days: i64) -> Expiry {
        let life = Life {
            begins: 0,
            ends: life_days * DAY,
        };
        Expiry {
            life: Some(life),
            told: None,
        }
    }

    fn hours(hours: u64) -> Moment {
        Moment::from_nanos(0) + Duration::from_secs(hours * 3600)
    }

    #[test]
    fn the_end_is_told_from_fourteen_days_on_and_once_a_day() {
        let mut expiry = expiry(90);
        assert_eq!(expiry.tell(75 * DAY, hours(0)), None);
        assert_eq!(expiry.tell(76 * DAY, hours(1)), Some(14));
        assert_eq!(expiry.tell(76 * DAY + 3600, hours(2)), None);
        assert_eq!(expiry.tell(77 * DAY, hours(25)), Some(13));
        assert_eq!(expiry.tell(91 * DAY, hours(100)), Some(-1));
    }

    #[test]
    fn a_short_life_is_told_in_its_last_third() {
        let mut expiry = expiry(6);
        assert_eq!(expiry.tell(3 * DAY, hours(0)), None);
        assert_eq!(expiry.tell(4 * DAY, hours(24)), Some(2));
    }

    #[test]
    fn octets_that_are_no_certificate_have_no_end() {
        let mut expiry = expiry(6);
        expiry.set(Some(&CertificateDer::from_slice(b"garbage")));
        assert_eq!(expiry.days_left(0), None);
        assert_eq!(expiry.tell(0, hours(0)), None);
    }
}
