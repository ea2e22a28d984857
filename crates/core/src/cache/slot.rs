//! One kept answer: 64 octets beside its message, so that a look-up touches an index, one cache line, and the message.
//!
//! A [`Slot`] is what is known of an answer without its octets, an [`Entry`] both.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::Key;
use super::segments::Location;
use super::settle::{Layout, Settled};
use crate::time::Moment;
use crate::wire::edns::{EdeCode, ExtendedError};
use crate::wire::{Canonical, HEADER_LEN, Header, QuestionRef, Rcode, ReplyOrigin, Ttls};

/// What is known of an answer. Vacant when it has no octets.
///
/// Its octets are the offsets of the TTLs, the message up to its last relayed record, and behind it the extended error: its code and its
/// text.
#[derive(Debug, Default)]
#[repr(align(16))]
pub(super) struct Slot {
    pub(super) hash: u64,
    /// Where its octets are.
    pub(super) data: Location,
    /// When it was stored.
    pub(super) stored: Moment,
    /// When a refresh of it failed last; zero: never.
    failed: AtomicU64,
    /// How long it is fresh, in seconds.
    pub(super) lifetime: u32,
    /// The next one of the vacant ones.
    pub(super) next: u32,
    layout: Layout,
    ttls: u16,
    group: u16,
    traits: u8,
    /// How often a failure followed on a failure.
    pub(super) failures: u8,
    /// How often it was asked for of late, for who has to go.
    frequency: AtomicU8,
    /// How often it was asked for since it was stored, for who is refreshed ahead of time.
    hits: AtomicU8,
}

/// No slot.
pub(super) const NO_SLOT: u32 = u32::MAX;

/// Times asked for that are told apart.
const FREQUENCY_MAX: u8 = 3;

/// In `Slot::hits`: somebody was sent to refresh it.
const REFRESH_BEGUN: u8 = u8::MAX;

/// What an answer is, one bit each.
pub(super) struct Traits;

impl Traits {
    pub(super) const DNSSEC_OK: u8 = 1;
    pub(super) const CHECKING_DISABLED: u8 = 2;
    pub(super) const CLEAR_TEXT: u8 = 4;
    pub(super) const NEGATIVE: u8 = 8;
    pub(super) const FAILURE: u8 = 16;
    /// It lies in the main queue.
    pub(super) const MAIN: u8 = 32;
    /// It stands for an answer that is not told.
    pub(super) const WITHHELD: u8 = 64;
}

/// What there is to store.
pub(super) struct Content<'a> {
    pub(super) message: &'a [u8],
    pub(super) ttls: &'a [[u8; 2]],
    pub(super) error: Option<ExtendedError<'a>>,
    pub(super) layout: Layout,
    pub(super) lifetime: u32,
    /// [`Traits`] beside those of the key.
    pub(super) traits: u8,
    pub(super) failures: u8,
}

impl<'a> Content<'a> {
    /// What `settled` is to be kept as.
    pub(super) fn of(settled: &'a Settled, origin: ReplyOrigin) -> Self {
        let clear_text = u8::from(origin != ReplyOrigin::Upstream) * Traits::CLEAR_TEXT;
        let negative = u8::from(settled.is_negative()) * Traits::NEGATIVE;
        let withheld = u8::from(settled.is_withheld()) * Traits::WITHHELD;
        Self {
            message: settled.message(),
            ttls: settled.ttls(),
            error: settled.error(),
            layout: settled.layout(),
            lifetime: settled.lifetime(),
            traits: clear_text | negative | withheld,
            failures: 0,
        }
    }

    pub(super) fn data_len(&self) -> usize {
        let error = self.error.map_or(0, |error| 2 + error.text.len());
        2 * self.ttls.len() + self.message.len() + error
    }

    /// Writes the octets into `to`, which has room for exactly so many.
    pub(super) fn write(&self, to: &mut [u8]) {
        let (ttls, rest) = to.split_at_mut(2 * self.ttls.len());
        ttls.copy_from_slice(self.ttls.as_flattened());
        let (message, rest) = rest.split_at_mut(self.message.len());
        message.copy_from_slice(self.message);
        if let (Some(error), Some((code, text))) = (self.error, rest.split_first_chunk_mut::<2>()) {
            *code = error.code.0.to_be_bytes();
            text.copy_from_slice(error.text.as_bytes());
        }
    }
}

impl Slot {
    pub(super) fn fill(
        &mut self,
        key: &Key<'_>,
        content: &Content<'_>,
        data: Location,
        now: Moment,
    ) {
        self.hash = key.hash;
        self.data = data;
        self.stored = now;
        *self.failed.get_mut() = 0;
        self.lifetime = content.lifetime;
        self.layout = content.layout;
        self.ttls = u16::try_from(content.ttls.len()).unwrap_or(u16::MAX);
        self.group = key.group;
        self.traits = content.traits | key.traits();
        self.failures = content.failures;
        *self.hits.get_mut() = 0;
    }

    pub(super) fn clear(&mut self) {
        self.data = Location::default();
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.data.len == 0
    }

    pub(super) fn has(&self, bit: u8) -> bool {
        self.traits & bit != 0
    }

    pub(super) fn set_main(&mut self, main: bool) {
        self.traits &= !Traits::MAIN;
        self.traits |= u8::from(main) * Traits::MAIN;
    }

    pub(super) fn reset(&mut self) {
        self.traits = 0;
        *self.frequency.get_mut() = 0;
    }

    /// Whether all but the question itself is that of `key`; two questions may have one hash.
    pub(super) fn may_match(&self, key: &Key<'_>) -> bool {
        const KEY: u8 = Traits::DNSSEC_OK | Traits::CHECKING_DISABLED;
        self.hash == key.hash && self.group == key.group && self.traits & KEY == key.traits()
    }

    pub(super) fn group(&self) -> u16 {
        self.group
    }

    pub(super) fn rcode(&self) -> Rcode {
        Rcode(self.layout.rcode)
    }

    pub(super) fn origin(&self) -> ReplyOrigin {
        if self.has(Traits::CLEAR_TEXT) {
            ReplyOrigin::ClearText
        } else {
            ReplyOrigin::Upstream
        }
    }

    /// The moment from which on it is stale.
    pub(super) fn expires(&self) -> Moment {
        self.stored + core::time::Duration::from_secs(self.lifetime.into())
    }

    /// Whether it is data that is stale.
    pub(super) fn is_past(&self, now: Moment) -> bool {
        now >= self.expires() && !self.has(Traits::FAILURE)
    }

    /// It was asked for.
    pub(super) fn touch(&self) {
        let frequency = self.frequency.load(Ordering::Relaxed);
        if frequency < FREQUENCY_MAX {
            self.frequency.store(frequency + 1, Ordering::Relaxed);
        }
    }

    pub(super) fn frequency(&self) -> u8 {
        self.frequency.load(Ordering::Relaxed)
    }

    pub(super) fn set_frequency(&mut self, frequency: u8) {
        *self.frequency.get_mut() = frequency;
    }

    /// Counts a hit. True once, when there were `enough` of them and `due`: it is time to refresh.
    pub(super) fn hit(&self, enough: u8, due: bool) -> bool {
        let hits = self.hits.load(Ordering::Relaxed);
        if hits < enough {
            self.hits.store(hits + 1, Ordering::Relaxed);
            return false;
        }
        let exchange = |hits, to| {
            let relaxed = Ordering::Relaxed;
            self.hits
                .compare_exchange(hits, to, relaxed, relaxed)
                .is_ok()
        };
        due && hits != REFRESH_BEGUN && exchange(hits, REFRESH_BEGUN)
    }

    /// When a refresh failed last.
    pub(super) fn failed(&self) -> Option<Moment> {
        let nanos = self.failed.load(Ordering::Relaxed);
        (nanos > 0).then(|| Moment::from_nanos(nanos))
    }

    /// A refresh failed.
    pub(super) fn note_failed(&self, now: Moment) {
        self.failed.store(now.as_nanos().max(1), Ordering::Relaxed);
    }

    /// Claims the next refresh after the one that failed at `failed`. True for one of all who try.
    pub(super) fn claim_refresh(&self, failed: Moment, now: Moment) -> bool {
        let (from, to) = (failed.as_nanos(), now.as_nanos().max(1));
        let relaxed = Ordering::Relaxed;
        self.failed
            .compare_exchange(from, to, relaxed, relaxed)
            .is_ok()
    }
}

/// An answer that is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) slot: &'a Slot,
    pub(super) data: &'a [u8],
}

impl core::ops::Deref for Entry<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        self.slot
    }
}

impl<'a> Entry<'a> {
    /// Whether it is of the very question of `key`. Compared in full.
    pub(super) fn is_of(&self, key: &Key<'_>) -> bool {
        let question = self.question();
        question.is_some_and(|question| question.same_as(key.question))
    }

    fn ttls(&self) -> &'a [[u8; 2]] {
        let octets = self.data.get(..2 * usize::from(self.slot.ttls));
        octets.unwrap_or_default().as_chunks::<2>().0
    }

    /// The message, without a TTL changed.
    pub(super) fn message(&self) -> &'a [u8] {
        let start = 2 * usize::from(self.slot.ttls);
        let end = start + usize::from(self.slot.layout.additionals_end);
        self.data.get(start..end).unwrap_or_default()
    }

    pub(super) fn question(&self) -> Option<QuestionRef<'a>> {
        let octets = self.message();
        QuestionRef::from_octets(octets.get(HEADER_LEN..self.slot.layout.records_at.into())?)
    }

    pub(super) fn error(&self) -> Option<ExtendedError<'a>> {
        let start = 2 * usize::from(self.slot.ttls) + usize::from(self.slot.layout.additionals_end);
        let (code, text) = self.data.get(start..)?.split_first_chunk::<2>()?;
        Some(ExtendedError {
            code: EdeCode(u16::from_be_bytes(*code)),
            text: core::str::from_utf8(text).unwrap_or_default(),
        })
    }

    /// What a reply within its lifetime is rendered from.
    pub(super) fn fresh(&self, now: Moment) -> Canonical<'a> {
        let by = u32::try_from(now.since(self.slot.stored).as_secs()).unwrap_or(u32::MAX);
        let at = self.ttls();
        self.canonical(Ttls::Lowered { at, by }, self.error())
    }

    /// What a reply past its lifetime is rendered from.
    pub(super) fn stale(&self, ttl: u32) -> Canonical<'a> {
        let code = if self.rcode() == Rcode::NXDOMAIN {
            EdeCode::STALE_NXDOMAIN
        } else {
            EdeCode::STALE_ANSWER
        };
        let error = ExtendedError { code, text: "" };
        let at = self.ttls();
        self.canonical(Ttls::Fixed { at, ttl }, Some(error))
    }

    fn canonical(&self, ttls: Ttls<'a>, error: Option<ExtendedError<'a>>) -> Canonical<'a> {
        let message = self.message();
        let header = Header::parse(message);
        Canonical {
            message,
            flags: header.map(|header| header.flags).unwrap_or_default(),
            rcode: self.rcode(),
            error,
            records_at: self.slot.layout.records_at.into(),
            authorities_end: self.slot.layout.authorities_end.into(),
            additionals_end: self.slot.layout.additionals_end.into(),
            counts: header.map(|header| header.counts()).unwrap_or_default(),
            ttls,
        }
    }
}

const _: () = assert!(size_of::<Slot>() == 64, "a slot is a cache line");
