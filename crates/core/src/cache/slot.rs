//! One kept answer: 64 octets beside its message, so that a look-up touches an index, one cache line, and the message.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::Key;
use super::settle::Layout;
use crate::time::Moment;
use crate::wire::edns::{EdeCode, ExtendedError};
use crate::wire::{Canonical, HEADER_LEN, Header, QuestionRef, Rcode, ReplyOrigin, Ttls};

/// An answer and what is known of it. Vacant when `data` is empty.
///
/// `data` holds the offsets of the TTLs, the message up to its last relayed record, and behind it the extended error: its code and its
/// text.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) hash: u64,
    data: Box<[u8]>,
    /// When it was stored.
    pub(super) stored: Moment,
    /// When a refresh of it failed last; zero: never.
    failed: AtomicU64,
    /// How long it is fresh, in seconds.
    pub(super) lifetime: u32,
    /// The next one of the queue it stands in, or of the vacant ones.
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

/// The end of a queue, or no slot.
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
    /// It stands in the main queue.
    pub(super) const MAIN: u8 = 32;
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

impl Content<'_> {
    fn data_len(&self) -> usize {
        let error = self.error.map_or(0, |error| 2 + error.text.len());
        2 * self.ttls.len() + self.message.len() + error
    }

    fn data(&self) -> Box<[u8]> {
        let mut data = Vec::with_capacity(self.data_len());
        data.extend_from_slice(self.ttls.as_flattened());
        data.extend_from_slice(self.message);
        if let Some(error) = self.error {
            data.extend_from_slice(&error.code.0.to_be_bytes());
            data.extend_from_slice(error.text.as_bytes());
        }
        data.into_boxed_slice()
    }

    /// Octets the slot will take with all that belongs to it.
    pub(super) fn weight(&self) -> usize {
        weight(self.data_len())
    }
}

/// Octets of a slot in a table that grows by an eighth, and of its place in the index at the worst load.
const SLOT_OCTETS: usize = size_of::<Slot>() / 8 * 9 + 12;

/// What `data_len` octets cost: allocators round up and keep a word of their own.
fn weight(data_len: usize) -> usize {
    SLOT_OCTETS + (data_len + 8).next_multiple_of(16).max(32)
}

impl Slot {
    pub(super) fn fill(&mut self, key: &Key<'_>, content: &Content<'_>, now: Moment) {
        self.hash = key.hash;
        self.data = content.data();
        self.stored = now;
        *self.failed.get_mut() = 0;
        self.lifetime = content.lifetime;
        self.layout = content.layout;
        self.ttls = u16::try_from(content.ttls.len()).unwrap_or(u16::MAX);
        self.group = key.group;
        self.traits = (self.traits & Traits::MAIN) | content.traits | key.traits();
        self.failures = content.failures;
        *self.hits.get_mut() = 0;
    }

    pub(super) fn clear(&mut self) {
        self.data = Box::default();
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.data.is_empty()
    }

    pub(super) fn weight(&self) -> usize {
        weight(self.data.len())
    }

    pub(super) fn has(&self, bit: u8) -> bool {
        self.traits & bit != 0
    }

    pub(super) fn set_main(&mut self) {
        self.traits |= Traits::MAIN;
    }

    pub(super) fn reset(&mut self) {
        self.traits = 0;
        *self.frequency.get_mut() = 0;
    }

    /// Whether it answers the question of `key`. Compared in full: two questions may have one hash.
    pub(super) fn matches(&self, key: &Key<'_>) -> bool {
        const KEY: u8 = Traits::DNSSEC_OK | Traits::CHECKING_DISABLED;
        self.hash == key.hash
            && self.group == key.group
            && self.traits & KEY == key.traits()
            && self
                .question()
                .is_some_and(|question| question.same_as(key.question))
    }

    pub(super) fn group(&self) -> u16 {
        self.group
    }

    fn ttls(&self) -> &[[u8; 2]] {
        let octets = self.data.get(..2 * usize::from(self.ttls));
        octets.unwrap_or_default().as_chunks::<2>().0
    }

    /// The message, without a TTL changed.
    pub(super) fn message(&self) -> &[u8] {
        let start = 2 * usize::from(self.ttls);
        let end = start + usize::from(self.layout.additionals_end);
        self.data.get(start..end).unwrap_or_default()
    }

    pub(super) fn question(&self) -> Option<QuestionRef<'_>> {
        let octets = self.message();
        QuestionRef::from_octets(octets.get(HEADER_LEN..self.layout.records_at.into())?)
    }

    pub(super) fn error(&self) -> Option<ExtendedError<'_>> {
        let start = 2 * usize::from(self.ttls) + usize::from(self.layout.additionals_end);
        let (code, text) = self.data.get(start..)?.split_first_chunk::<2>()?;
        Some(ExtendedError {
            code: EdeCode(u16::from_be_bytes(*code)),
            text: core::str::from_utf8(text).unwrap_or_default(),
        })
    }

    /// What a reply within its lifetime is rendered from.
    pub(super) fn fresh(&self, now: Moment) -> Canonical<'_> {
        let by = u32::try_from(now.since(self.stored).as_secs()).unwrap_or(u32::MAX);
        let at = self.ttls();
        self.canonical(Ttls::Lowered { at, by }, self.error())
    }

    /// What a reply past its lifetime is rendered from.
    pub(super) fn stale(&self, ttl: u32) -> Canonical<'_> {
        let code = if self.rcode() == Rcode::NXDOMAIN {
            EdeCode::STALE_NXDOMAIN
        } else {
            EdeCode::STALE_ANSWER
        };
        let error = ExtendedError { code, text: "" };
        let at = self.ttls();
        self.canonical(Ttls::Fixed { at, ttl }, Some(error))
    }

    fn canonical<'a>(&'a self, ttls: Ttls<'a>, error: Option<ExtendedError<'a>>) -> Canonical<'a> {
        let message = self.message();
        let header = Header::parse(message);
        Canonical {
            message,
            flags: header.map(|header| header.flags).unwrap_or_default(),
            rcode: self.rcode(),
            error,
            records_at: self.layout.records_at.into(),
            authorities_end: self.layout.authorities_end.into(),
            additionals_end: self.layout.additionals_end.into(),
            counts: header.map(|header| header.counts()).unwrap_or_default(),
            ttls,
        }
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

const _: () = assert!(size_of::<Slot>() == 64, "a slot is a cache line");
