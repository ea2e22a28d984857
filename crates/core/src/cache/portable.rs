//! One kept answer as octets that mean the same in another process, on another day: for the snapshot file and for the cache that several
//! instances share.
//!
//! ```text
//! octets  1     version, 1
//!         1     flags: 1 DO, 2 CD, 4 came in the clear
//!         1, n  the label of the route that was asked, of n octets; empty: none
//!         8     when it ceases to be fresh, in seconds since 1970
//!         4     how long it was fresh in all, in seconds
//!         2, n  the message: a whole response of n octets, its TTLs as they were when it came; an extended error stands in its OPT record
//! ```
//!
//! Numbers are big-endian. Groups of upstreams have no number in here, because numbers change with the configuration: they have labels.
//!
//! Promises: what was written reads as the same; reading believes nothing and allocates nothing; an answer never gets younger on the way,
//! and a clock that is wrong makes it no longer-lived than its TTLs. What is read is still untrusted: [`Cache::restore`](super::Cache::restore)
//! and the engine look at the message itself.
//!
//! Deliberately absent: failures, and what is told in the place of an answer. They belong to the moment and the place in which they happened.

use core::time::Duration;

use super::{Kept, Kind, Restored};
use crate::limits::ROUTE_LABEL_MAX;
use crate::upstream::GroupId;
use crate::wire::edns::{ExtendedError, OPT_LEN, OPTION_HEADER_LEN, OptionCode, UDP_PAYLOAD_MAX};
use crate::wire::{HEADER_LEN, RecordType, ReplyOrigin};

/// The version of the form, which is its first octet.
pub const PORTABLE_VERSION: u8 = 1;

const DNSSEC_OK: u8 = 1;
const CHECKING_DISABLED: u8 = 2;
const CLEAR_TEXT: u8 = 4;

/// One answer on its way. Times are wall-clock, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portable<'a> {
    /// The route that was asked, at most [`ROUTE_LABEL_MAX`] octets; empty for none.
    pub label: &'a [u8],
    /// Whether it is for clients who set DO.
    pub dnssec_ok: bool,
    /// Whether it is for clients who set CD.
    pub checking_disabled: bool,
    /// Whether it came in the clear.
    pub origin: ReplyOrigin,
    /// When it ceases to be fresh.
    pub expires: u64,
    /// How long it was fresh in all, in seconds.
    pub lifetime: u32,
    /// The response.
    pub message: &'a [u8],
}

/// Why octets are no portable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortableFault {
    /// Another version than this one wrote them.
    Version,
    /// They end too early, or say of themselves what cannot be.
    Malformed,
}

impl core::fmt::Display for PortableFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Version => "written by another version",
            Self::Malformed => "malformed",
        })
    }
}

impl core::error::Error for PortableFault {}

/// Appends what is kept, at the wall-clock time `wall` since 1970. `false`, and nothing appended, for what does not travel: failures,
/// what stands for an answer that is not told, and labels or messages too long for the form.
pub fn write_portable(kept: &Kept<'_>, label: &[u8], wall: Duration, out: &mut Vec<u8>) -> bool {
    let option = kept.error.map_or(0, |it| opt_len(&it));
    let (Ok(label_len), Ok(length)) = (
        u8::try_from(label.len()),
        u16::try_from(kept.message.len() + option),
    ) else {
        return false;
    };
    if matches!(kept.kind, Kind::Failure | Kind::Withheld) || label.len() > ROUTE_LABEL_MAX {
        return false;
    }
    let clear_text = kept.origin == ReplyOrigin::ClearText;
    let flags = (u8::from(kept.dnssec_ok) * DNSSEC_OK)
        | (u8::from(kept.checking_disabled) * CHECKING_DISABLED)
        | (u8::from(clear_text) * CLEAR_TEXT);
    let lifetime = u32::try_from(kept.lifetime.as_secs()).unwrap_or(u32::MAX);
    // Down to the second: rather too old than too young.
    let expires = (wall + kept.lifetime).saturating_sub(kept.age).as_secs();
    out.extend_from_slice(&[PORTABLE_VERSION, flags, label_len]);
    out.extend_from_slice(label);
    out.extend_from_slice(&expires.to_be_bytes());
    out.extend_from_slice(&lifetime.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    let message_at = out.len();
    out.extend_from_slice(kept.message);
    if let Some(error) = kept.error {
        append_opt(&error, out);
        count_additional(out.get_mut(message_at..).unwrap_or_default());
    }
    true
}

fn opt_len(error: &ExtendedError<'_>) -> usize {
    OPT_LEN + OPTION_HEADER_LEN + 2 + error.text.len()
}

/// An OPT record that carries `error` (RFC 6891 section 6.1.2, RFC 8914 section 2).
fn append_opt(error: &ExtendedError<'_>, out: &mut Vec<u8>) {
    let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    out.push(0);
    out.extend_from_slice(&RecordType::OPT.0.to_be_bytes());
    out.extend_from_slice(&UDP_PAYLOAD_MAX.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&short(OPTION_HEADER_LEN + 2 + error.text.len()));
    out.extend_from_slice(&OptionCode::EXTENDED_ERROR.0.to_be_bytes());
    out.extend_from_slice(&short(2 + error.text.len()));
    out.extend_from_slice(&error.code.0.to_be_bytes());
    out.extend_from_slice(error.text.as_bytes());
}

/// One more record in the additional section of `message`.
fn count_additional(message: &mut [u8]) {
    let count = message.get_mut(HEADER_LEN - 2..HEADER_LEN);
    if let Some(count) = count.and_then(<[u8]>::first_chunk_mut::<2>) {
        *count = u16::from_be_bytes(*count).saturating_add(1).to_be_bytes();
    }
}

impl<'a> Portable<'a> {
    /// Reads one answer, which is all of `octets`.
    ///
    /// # Errors
    ///
    /// [`PortableFault`].
    pub fn read(octets: &'a [u8]) -> Result<Self, PortableFault> {
        let (&version, rest) = octets.split_first().ok_or(PortableFault::Malformed)?;
        if version != PORTABLE_VERSION {
            return Err(PortableFault::Version);
        }
        Self::read_fields(rest).ok_or(PortableFault::Malformed)
    }

    fn read_fields(octets: &'a [u8]) -> Option<Self> {
        let (&[flags, label_len], rest) = octets.split_first_chunk::<2>()?;
        let (label, rest) = rest.split_at_checked(label_len.into())?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let (lifetime, rest) = rest.split_first_chunk::<4>()?;
        let (length, message) = rest.split_first_chunk::<2>()?;
        let known = DNSSEC_OK | CHECKING_DISABLED | CLEAR_TEXT;
        let whole = message.len() == usize::from(u16::from_be_bytes(*length));
        let fits = label.len() <= ROUTE_LABEL_MAX && message.len() >= HEADER_LEN;
        (whole && fits && flags & !known == 0).then_some(Self {
            label,
            dnssec_ok: flags & DNSSEC_OK != 0,
            checking_disabled: flags & CHECKING_DISABLED != 0,
            origin: if flags & CLEAR_TEXT == 0 {
                ReplyOrigin::Upstream
            } else {
                ReplyOrigin::ClearText
            },
            expires: u64::from_be_bytes(*expires),
            lifetime: u32::from_be_bytes(*lifetime),
            message,
        })
    }

    /// How old it is at the wall-clock time `wall` since 1970. One that claims to be from the future has just come.
    #[must_use]
    pub fn age(&self, wall: Duration) -> Duration {
        // Up to the second: rather too old than too young.
        let now = wall
            .as_secs()
            .saturating_add(u64::from(wall.subsec_nanos() > 0));
        let came = self.expires.saturating_sub(self.lifetime.into());
        Duration::from_secs(now.saturating_sub(came))
    }

    /// For how many seconds it is still fresh.
    #[must_use]
    pub fn remaining(&self, wall: Duration) -> u64 {
        u64::from(self.lifetime).saturating_sub(self.age(wall).as_secs())
    }

    /// In the form in which a cache takes it back; `group` is what the label means here.
    #[must_use]
    pub fn restored(&self, group: GroupId, wall: Duration) -> Restored<'a> {
        Restored {
            group,
            dnssec_ok: self.dnssec_ok,
            checking_disabled: self.checking_disabled,
            origin: self.origin,
            age: self.age(wall),
            message: self.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::{Cache, CacheConfig, RestoreFault};
    use crate::time::Moment;
    use crate::wire::edns::EdeCode;
    use crate::wire::{Class, Name, Question, Rcode, RecordType, ResponseComposer, ResponseView};

    const WALL: Duration = Duration::from_secs(1_800_000_000);

    fn question(name: &str) -> Question {
        Question::new(&name.parse().unwrap(), RecordType::A, Class::IN)
    }

    fn response(name: &str, ttl: u32) -> Vec<u8> {
        let owner: Name = name.parse().unwrap();
        let mut composer = ResponseComposer::new(&question(name));
        composer.answer(&owner, RecordType::A, ttl, &[192, 0, 2, 1]);
        composer.finish()
    }

    fn kept<'a>(question: &'a Question, message: &'a [u8]) -> Kept<'a> {
        Kept {
            question: question.view(),
            group: GroupId(0),
            dnssec_ok: true,
            checking_disabled: false,
            origin: ReplyOrigin::Upstream,
            kind: Kind::Positive,
            rcode: Rcode::NOERROR,
            error: None,
            age: Duration::from_millis(20_500),
            lifetime: Duration::from_secs(300),
            message,
        }
    }

    fn written(kept: &Kept<'_>, label: &[u8]) -> Vec<u8> {
        let mut octets = Vec::new();
        assert!(write_portable(kept, label, WALL, &mut octets));
        octets
    }

    #[test]
    fn what_is_written_reads_as_the_same_and_ages_while_nobody_looks() {
        let (question, message) = (question("a.example"), response("a.example", 300));
        let octets = written(&kept(&question, &message), b"corp.example.");
        let read = Portable::read(&octets).unwrap();
        assert_eq!(read.label, b"corp.example.");
        assert_eq!(read.message, message);
        assert!(read.dnssec_ok && !read.checking_disabled);
        assert_eq!((read.expires, read.lifetime), (1_800_000_279, 300));
        assert_eq!(read.age(WALL), Duration::from_secs(21));
        assert_eq!(read.remaining(WALL + Duration::from_secs(100)), 179);
        assert_eq!(read.remaining(WALL + Duration::from_secs(1_000)), 0);
        // A clock that was set back makes nothing longer-lived than it was.
        assert_eq!(read.remaining(Duration::from_secs(5)), 300);
    }

    #[test]
    fn an_extended_error_travels_in_the_message() {
        let (question, message) = (question("a.example"), response("a.example", 300));
        let error = ExtendedError {
            code: EdeCode(4),
            text: "forged",
        };
        let kept = Kept {
            error: Some(error),
            ..kept(&question, &message)
        };
        let octets = written(&kept, b"");
        let read = Portable::read(&octets).unwrap();
        let view = ResponseView::parse(read.message).unwrap();
        let errors: Vec<_> = view.extended_errors().collect();
        assert_eq!(errors, [error]);
        assert_eq!(view.records().flatten().count(), 2);
    }

    #[test]
    fn failures_and_what_is_too_long_do_not_travel() {
        let (question, message) = (question("a.example"), response("a.example", 300));
        let mut out = Vec::new();
        let failure = Kept {
            kind: Kind::Failure,
            ..kept(&question, &message)
        };
        assert!(!write_portable(&failure, b"", WALL, &mut out));
        let long = [b'x'; ROUTE_LABEL_MAX + 1];
        assert!(!write_portable(
            &kept(&question, &message),
            &long,
            WALL,
            &mut out
        ));
        let huge = vec![0; 65_536];
        assert!(!write_portable(
            &kept(&question, &huge),
            b"",
            WALL,
            &mut out
        ));
        assert!(out.is_empty());
    }

    #[test]
    fn every_cut_and_every_other_version_is_refused() {
        let (question, message) = (question("a.example"), response("a.example", 300));
        let octets = written(&kept(&question, &message), b"x");
        for end in 0..octets.len() {
            assert_eq!(
                Portable::read(&octets[..end]),
                Err(PortableFault::Malformed)
            );
        }
        let longer = [&octets[..], &[0]].concat();
        assert_eq!(Portable::read(&longer), Err(PortableFault::Malformed));
        let mut other = octets;
        other[0] = 2;
        assert_eq!(Portable::read(&other), Err(PortableFault::Version));
    }

    #[test]
    fn a_cache_takes_back_what_another_gave_away() {
        let cache = Cache::new(CacheConfig::new(1 << 20, [7; 16]));
        let (question, message) = (question("a.example"), response("a.example", 300));
        let octets = written(&kept(&question, &message), b"");
        let now = Moment::ZERO + Duration::from_secs(10_000);
        let restored = |wall| {
            let read = Portable::read(&octets).unwrap();
            cache.restore(&read.restored(GroupId(0), wall), now)
        };
        assert_eq!(restored(WALL + Duration::from_secs(100)), Ok(()));
        let mut seen = Vec::new();
        cache.visit(now, |kept| seen.push(kept.remaining()));
        assert_eq!(seen, [Duration::from_secs(179)]);
        cache.flush(None);
        let years = Duration::from_secs(10 * 365 * 86_400);
        assert_eq!(restored(WALL + years), Err(RestoreFault::TooOld));
    }

    proptest! {
        #[test]
        fn no_octets_make_reading_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut octets = octets;
            if let Some(first) = octets.first_mut() {
                *first = PORTABLE_VERSION;
            }
            if let Ok(read) = Portable::read(&octets) {
                let cache = Cache::new(CacheConfig::new(1 << 20, [7; 16]));
                let restored = read.restored(GroupId(0), WALL);
                let now = Moment::ZERO + Duration::from_secs(10_000);
                prop_assert!(cache.restore(&restored, now).is_err());
            }
        }
    }
}
