//! The cache that several instances share, as one of them sees it: what is being looked for there, what is to be kept there, and whether it
//! is worth asking.
//!
//! It is a second level: a question that is not answered here and begins an exchange is looked for there first, with a head start of
//! [`SHARED_HEAD_START`] before its upstream is asked; from then on whoever has usable data first wins. It is never needed: whatever it does,
//! or does not do, costs a question no more than the head start, and after [`SHARED_FAILURES_MAX`] failures in a row nothing
//! (see [`BreakerState`]).
//!
//! Promises: lookups and writes that wait are bounded, and dropped and counted beyond; what comes back is untrusted and goes through the
//! same rules as a response from an upstream.
//!
//! Deliberately absent: the protocol of the store, connections, and locks of any kind: instances that learn the same at the same time
//! write it twice.

mod breaker;

use core::fmt::Write as _;
use core::time::Duration;
use std::collections::VecDeque;

use slotmap::SecondaryMap;

use crate::cache::{Kept, Kind, PORTABLE_VERSION, Portable, Settled, write_portable};
use crate::counts::Histogram;
use crate::exchange::{Asked, ExchangeId};
#[cfg(doc)]
use crate::limits::SHARED_FAILURES_MAX;
use crate::limits::{
    SHARED_HEAD_START, SHARED_LOOKUPS_MAX, SHARED_WRITE_OCTETS_MAX, SHARED_WRITES_MAX,
};
use crate::time::Moment;
use crate::wire::edns::EdeCode;
use crate::wire::edns::ExtendedError;
use crate::wire::{Rcode, ReplyOrigin, ResponseView};

pub use breaker::BreakerState;
use breaker::{Breaker, Permit};

/// What the shared level works from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedConfig {
    /// By group of upstreams: the label of its route, the same in every instance; empty for the group of no route. Groups beyond the end are
    /// not shared, and labels too long either.
    pub labels: Vec<Box<[u8]>>,
    /// Whether what comes back can only have been written by who may: then AD is believed if it was believed when it was written.
    pub authenticated: bool,
}

/// Names one lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedTicket(ExchangeId);

impl SharedTicket {
    pub(crate) fn exchange(self) -> ExchangeId {
        self.0
    }
}

/// Something to do with the store. Keys and values mean nothing to the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedAction {
    /// Look this key up; each is answered by one `handle_shared_answer`.
    Fetch {
        /// For the answer.
        ticket: SharedTicket,
        /// The key.
        key: Vec<u8>,
    },
    /// Keep this; what became of it is told by `handle_shared_writes`.
    Keep {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
        /// For how many seconds; at least 1.
        seconds: u64,
    },
}

/// What became of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedAnswer<'a> {
    /// This is there. Nothing of it is trusted.
    Found(&'a [u8]),
    /// Nothing is there.
    NotThere,
    /// The store could not be asked, or failed.
    Failed,
}

/// What the shared level has done so far, and how it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedStats {
    /// Its state.
    pub breaker: BreakerState,
    /// Lookups that found usable data.
    pub hits: u64,
    /// Lookups that found nothing.
    pub misses: u64,
    /// Lookups that found what could not be used: garbage, another version, another question, too old.
    pub unusable: u64,
    /// Lookups that found something when the question was answered already.
    pub outrun: u64,
    /// Lookups whose head start ran out before an answer.
    pub late: u64,
    /// Lookups that failed.
    pub failures: u64,
    /// Questions that were not looked up, because the breaker was open or too many lookups waited.
    pub skipped: u64,
    /// Answers that the store took.
    pub writes: u64,
    /// Answers that it did not get: too many waited, the breaker was open, or it failed.
    pub writes_dropped: u64,
    /// How long it took to answer those lookups that it answered, whether or not their question still waited.
    pub duration: Histogram,
}

impl SharedStats {
    const NONE: Self = Self {
        breaker: BreakerState::Closed,
        hits: 0,
        misses: 0,
        unusable: 0,
        outrun: 0,
        late: 0,
        failures: 0,
        skipped: 0,
        writes: 0,
        writes_dropped: 0,
        duration: Histogram::of_durations(),
    };
}

/// A lookup under way.
#[derive(Clone, Copy, Debug)]
struct Lookup {
    began: Moment,
    /// Whether its question waits for it.
    waits: bool,
}

/// What is to be kept in the store.
#[derive(Debug)]
struct Write {
    asked: Asked,
    message: Box<[u8]>,
    error: Option<(EdeCode, Box<str>)>,
    rcode: Rcode,
    lifetime: u32,
    origin: ReplyOrigin,
    stored: Moment,
}

/// The shared level at work.
#[derive(Debug)]
pub(crate) struct Shared {
    /// By group: what it is called in the store; `None` for one whose answers are not shared.
    labels: Vec<Option<Box<[u8]>>>,
    /// Whether what comes back can be believed, see [`SharedConfig::authenticated`].
    authenticated: bool,
    breaker: Breaker,
    lookups: SecondaryMap<ExchangeId, Lookup>,
    /// How many of them there are.
    under_way: usize,
    /// When head starts run out, in order, because all are equally long.
    head_starts: VecDeque<(Moment, ExchangeId)>,
    fetches: VecDeque<(ExchangeId, Vec<u8>)>,
    writes: VecDeque<Write>,
    write_octets: usize,
    stats: SharedStats,
}

/// What a question has to do after it was to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadStart {
    /// Wait.
    Given,
    /// Ask its upstream now.
    Refused,
}

/// A usable answer out of the store.
pub(crate) struct Usable<'a> {
    pub(crate) response: ResponseView<'a>,
    pub(crate) origin: ReplyOrigin,
    /// How old it is, in seconds.
    pub(crate) age: u32,
}

impl Shared {
    pub(crate) fn new(config: SharedConfig) -> Self {
        Self {
            labels: config.labels.into_iter().map(fitting).collect(),
            authenticated: config.authenticated,
            breaker: Breaker::default(),
            lookups: SecondaryMap::new(),
            under_way: 0,
            head_starts: VecDeque::new(),
            fetches: VecDeque::new(),
            writes: VecDeque::new(),
            write_octets: 0,
            stats: SharedStats::NONE,
        }
    }

    pub(crate) fn stats(&self) -> SharedStats {
        SharedStats {
            breaker: self.breaker.state(),
            ..self.stats
        }
    }

    /// Begins to look for the answer to a question that has just begun its exchange.
    pub(crate) fn look_up(&mut self, id: ExchangeId, asked: &Asked, now: Moment) -> HeadStart {
        let Some(key) = self.key(asked) else {
            return HeadStart::Refused;
        };
        let full = self.under_way >= SHARED_LOOKUPS_MAX;
        let permit = if full {
            Permit::No
        } else {
            self.breaker.permit(now)
        };
        let waits = match permit {
            Permit::Wait => true,
            Permit::Try => false,
            Permit::No => {
                self.stats.skipped += 1;
                return HeadStart::Refused;
            }
        };
        self.lookups.insert(id, Lookup { began: now, waits });
        self.under_way += 1;
        self.fetches.push_back((id, key));
        if !waits {
            return HeadStart::Refused;
        }
        self.head_starts.push_back((now + SHARED_HEAD_START, id));
        HeadStart::Given
    }

    /// When the next head start runs out.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        self.head_starts.front().map(|(due, _)| *due)
    }

    /// The next question whose head start has run out.
    pub(crate) fn take_late(&mut self, now: Moment) -> Option<ExchangeId> {
        while let Some(&(due, id)) = self.head_starts.front() {
            let waits = self.lookups.get(id).is_some_and(|lookup| lookup.waits);
            if waits && due > now {
                return None;
            }
            self.head_starts.pop_front();
            if let Some(lookup) = self.lookups.get_mut(id).filter(|_| waits) {
                lookup.waits = false;
                self.stats.late += 1;
                self.breaker.handle_failure(now);
                return Some(id);
            }
        }
        None
    }

    /// Ends a lookup. Gives back whether its question still waits for it; `None` when there was none.
    pub(crate) fn end(
        &mut self,
        ticket: SharedTicket,
        answer: SharedAnswer<'_>,
        now: Moment,
    ) -> Option<bool> {
        // Whatever became of its question, whose place in the table may be another's by now, this one is no more under way.
        self.under_way = self.under_way.saturating_sub(1);
        let lookup = self.lookups.remove(ticket.0)?;
        let took = now.since(lookup.began);
        if answer == SharedAnswer::Failed {
            self.stats.failures += 1;
            self.breaker.handle_failure(now);
        } else {
            self.stats.duration.add_duration(took);
            if took <= SHARED_HEAD_START {
                self.breaker.handle_answer();
            } else if !lookup.waits && self.breaker.state() == BreakerState::HalfOpen {
                // A trial that was too slow; one whose head start ran out was counted then.
                self.breaker.handle_failure(now);
            }
        }
        if answer == SharedAnswer::NotThere {
            self.stats.misses += 1;
        }
        Some(lookup.waits)
    }

    /// Something was found for a question that had its answer already.
    pub(crate) fn note_outrun(&mut self) {
        self.stats.outrun += 1;
    }

    /// Something was found: whether it was of use.
    pub(crate) fn note_found(&mut self, usable: bool) {
        self.stats.hits += u64::from(usable);
        self.stats.unusable += u64::from(!usable);
    }

    /// What was found for `asked`, if it is an answer to that very question that has time left.
    pub(crate) fn usable<'a>(
        &self,
        octets: &'a [u8],
        asked: &Asked,
        wall: Duration,
    ) -> Option<Usable<'a>> {
        let portable = Portable::read(octets).ok()?;
        let same = self.label(asked) == Some(portable.label)
            && portable.dnssec_ok == asked.dnssec_ok
            && portable.checking_disabled == asked.checking_disabled;
        let response = ResponseView::parse(portable.message).ok()?;
        if !same || !response.answers(asked.question.view()) || portable.remaining(wall) == 0 {
            return None;
        }
        let origin = if self.authenticated {
            portable.origin
        } else {
            ReplyOrigin::ClearText
        };
        let age = u32::try_from(portable.age(wall).as_secs()).ok()?;
        Some(Usable {
            response,
            origin,
            age,
        })
    }

    /// Notes an answer that is to be kept in the store.
    pub(crate) fn keep(
        &mut self,
        asked: &Asked,
        settled: &Settled,
        origin: ReplyOrigin,
        now: Moment,
    ) {
        if self.label(asked).is_none() || settled.lifetime() == 0 {
            return;
        }
        let canonical = settled.canonical();
        let message = canonical
            .message
            .get(..canonical.additionals_end)
            .unwrap_or_default();
        if self.breaker.state() != BreakerState::Closed
            || self.writes.len() >= SHARED_WRITES_MAX
            || self.write_octets + message.len() > SHARED_WRITE_OCTETS_MAX
        {
            self.stats.writes_dropped += 1;
            return;
        }
        self.write_octets += message.len();
        self.writes.push_back(Write {
            asked: asked.clone(),
            message: message.into(),
            error: canonical.error.map(|it| (it.code, it.text.into())),
            rcode: canonical.rcode,
            lifetime: settled.lifetime(),
            origin,
            stored: now,
        });
    }

    /// What became of writes.
    pub(crate) fn note_writes(&mut self, kept: u64, dropped: u64) {
        self.stats.writes += kept;
        self.stats.writes_dropped += dropped;
    }

    /// The next thing to do; `wall` is the time since 1970.
    pub(crate) fn poll(&mut self, wall: Duration, now: Moment) -> Option<SharedAction> {
        if let Some((id, key)) = self.fetches.pop_front() {
            let ticket = SharedTicket(id);
            return Some(SharedAction::Fetch { ticket, key });
        }
        loop {
            let write = self.writes.pop_front()?;
            self.write_octets = self.write_octets.saturating_sub(write.message.len());
            if let Some(action) = self.write_action(&write, wall, now) {
                return Some(action);
            }
            self.stats.writes_dropped += 1;
        }
    }

    fn write_action(&self, write: &Write, wall: Duration, now: Moment) -> Option<SharedAction> {
        let asked = &write.asked;
        let kept = Kept {
            question: asked.question.view(),
            group: asked.group,
            dnssec_ok: asked.dnssec_ok,
            checking_disabled: asked.checking_disabled,
            origin: write.origin,
            // Failures are not among what is kept here, and the form does not tell data from its absence.
            kind: Kind::Positive,
            rcode: write.rcode,
            error: write
                .error
                .as_ref()
                .map(|(code, text)| ExtendedError { code: *code, text }),
            age: now.since(write.stored),
            lifetime: Duration::from_secs(write.lifetime.into()),
            message: &write.message,
        };
        let seconds = kept.remaining().as_secs();
        let mut value = Vec::with_capacity(write.message.len() + 64);
        let written = write_portable(&kept, self.label(asked)?, wall, &mut value);
        let key = self.key(asked)?;
        (written && seconds > 0).then_some(SharedAction::Keep {
            key,
            value,
            seconds,
        })
    }

    /// Groups are called by these labels from now on; `None` for one that is part of no configuration any more.
    pub(crate) fn set_labels(&mut self, labels: impl Iterator<Item = Option<Box<[u8]>>>) {
        self.labels = labels.map(|label| label.and_then(fitting)).collect();
    }

    fn label(&self, asked: &Asked) -> Option<&[u8]> {
        self.labels.get(asked.group.0)?.as_deref()
    }

    /// `dotward:VERSION:LABEL:FLAGS:TYPE:NAME`, the name in lower case; bounded, because names and labels are. Two questions never have one
    /// key but by a label made for it, and then the value says whose it is.
    fn key(&self, asked: &Asked) -> Option<Vec<u8>> {
        let label = self.label(asked)?;
        let flags = u8::from(asked.dnssec_ok) | u8::from(asked.checking_disabled) << 1;
        let name = asked.question.qname().folded();
        let mut tail = String::new();
        write!(tail, ":{flags}:{}:{name}", asked.question.qtype().0).ok()?;
        let mut key = format!("dotward:{PORTABLE_VERSION}:").into_bytes();
        key.extend_from_slice(label);
        key.extend_from_slice(tail.as_bytes());
        Some(key)
    }
}
/// A label that has its place in a key.
fn fitting(label: Box<[u8]>) -> Option<Box<[u8]>> {
    (label.len() <= crate::limits::ROUTE_LABEL_MAX).then_some(label)
}
