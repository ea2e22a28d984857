//! The life of one question after it could not be answered here: an *exchange*, from the first client who asks to the reply.
//!
//! An exchange belongs to one question (name, type, class, DO, CD). Clients who ask the same while it runs join it and wait, each
//! with its own deadline; the question goes out once (RFC 5452: several equal questions in flight help a forger). Who comes when it has
//! had half of its time begins another exchange, which goes over a stream while the first is out. Signed queries are each an exchange of
//! their own.
//!
//! Deliberately absent: where the question goes and when it goes again (see [`engine`](crate::engine)).

mod deadlines;
mod key;
mod share;
mod signed;
mod table;
mod waiters;

use core::time::Duration;

use smallvec::SmallVec;

use crate::limits::{GUESSES_MAX, WAITERS_PER_EXCHANGE_MAX};
use crate::time::Moment;
use crate::upstream::{CloseReason, ConnectionId, GroupId, UpstreamId};
use crate::wire::{
    AsQuestion, Asker, QueryOptions, Question, ReplyOrigin, ResponseView, Transport,
};

use share::Shares;
pub use share::Source;
pub use signed::SignedQuery;

pub(crate) use key::{ExchangeKey, KeyHasher};
pub(crate) use table::{ExchangeId, ExchangeTable, Joined};
use waiters::TakenOut;
pub(crate) use waiters::Waiters;

/// A question to be forwarded, and what its reply needs.
#[derive(Debug)]
pub struct Request {
    /// Who asks what.
    pub asker: Asker,
    /// Which upstreams may be asked.
    pub group: GroupId,
    /// Who counts as its client when room is short.
    pub source: Source,
    /// When it arrived, which may be a while before it was read: its budget counts from then.
    pub since: Moment,
    /// The query itself, when it is signed: it goes out as it is, for this client alone.
    pub signed: Option<SignedQuery>,
    /// Whether an answer past its time is kept, for the case that nobody has a newer one.
    pub stale: bool,
}

impl Request {
    /// Whether who asks is known to be at its address: it came over a stream, or showed a good cookie (RFC 7873 section 5.2.5).
    #[must_use]
    pub fn is_proven(&self) -> bool {
        let cookie = self.asker.options.cookie;
        self.asker.transport != Transport::Udp || cookie.is_some_and(|cookie| cookie.proven)
    }
}

/// What is asked of whom, whoever wants to know: all that makes two questions the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The question.
    pub question: Question,
    /// DO: signatures are to be in the answer (RFC 4035 section 3.2.1).
    pub dnssec_ok: bool,
    /// CD: data found bogus is to be in the answer (RFC 4035 section 3.2.2).
    pub checking_disabled: bool,
    /// Which upstreams may be asked.
    pub group: GroupId,
}

impl Asked {
    /// What `asker` asks of `group`.
    #[must_use]
    pub fn new<Q: AsQuestion>(asker: &Asker<Q>, group: GroupId) -> Self {
        Self {
            question: asker.question.as_question().to_owned(),
            dnssec_ok: asker.dnssec_ok(),
            checking_disabled: asker.flags.checking_disabled(),
            group,
        }
    }
}

/// One client who waits.
#[derive(Debug)]
pub(crate) struct Waiter<C> {
    pub(crate) asker: Asker,
    pub(crate) client: C,
    pub(crate) deadline: Moment,
    pub(crate) source: Source,
    /// Whether it would rather have an answer past its time than wait until its deadline.
    pub(crate) stale: bool,
}

/// One time the question was given to a connection, still without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) upstream: UpstreamId,
    pub(crate) connection: ConnectionId,
    pub(crate) id: u16,
    pub(crate) sent: Moment,
    /// Whether it went out with an OPT record.
    pub(crate) edns: bool,
}

/// What was tried with one upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tried {
    upstream: UpstreamId,
    /// Times the question went out.
    pub(crate) sends: u8,
    /// Times a connection it waited for did not come to be.
    pub(crate) failed_dials: u8,
    /// Whether it gave a poor answer.
    pub(crate) declined: bool,
    /// Whether it refused the question for its OPT record, as it seems.
    pub(crate) refused_edns: bool,
}

impl Tried {
    fn new(upstream: UpstreamId) -> Self {
        Self {
            upstream,
            sends: 0,
            failed_dials: 0,
            declined: false,
            refused_edns: false,
        }
    }
}

/// A response that is kept in case nobody has a better one.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    message: Box<[u8]>,
    pub(crate) origin: ReplyOrigin,
    pub(crate) truncated: bool,
    /// Whether its additional records are not to be told.
    alone: bool,
}

impl Held {
    pub(crate) fn new(response: &ResponseView<'_>, origin: ReplyOrigin) -> Self {
        Self {
            message: response.message().into(),
            origin,
            truncated: response.header().flags.truncated(),
            alone: response.is_alone(),
        }
    }

    /// The response, as far as it is to be told.
    pub(crate) fn view(&self) -> Option<ResponseView<'_>> {
        let view = ResponseView::parse(&self.message).ok()?;
        Some(match self.alone {
            true => view.without_additionals(),
            false => view,
        })
    }
}

/// One question on its way.
#[derive(Debug)]
pub(crate) struct Exchange<C> {
    key: ExchangeKey,
    /// Who may be asked; changes once at most, see [`Exchange::fall_back`].
    pub(crate) group: GroupId,
    /// Times the question had gone out when its group gave up; `None` while that is at work.
    sends_before: Option<usize>,
    /// When its first client asked.
    pub(crate) began: Moment,
    /// What its first client asked of which group; it stays so when another group takes over.
    pub(crate) asked: Asked,
    pub(crate) waiters: Waiters<C>,
    /// Who its first client was.
    pub(crate) source: Source,
    /// What each client has of the places for waiters, once half of them are taken. Before that everybody has less than what is left.
    crowd: Option<Box<Shares>>,
    pub(crate) attempts: SmallVec<[Attempt; 2]>,
    tried: SmallVec<[Tried; 2]>,
    /// What goes out in place of a query of ours.
    signed: Option<SignedQuery>,
    /// A response that is an answer, but a poor one: kept in case nobody has a better.
    held: Option<Held>,
    /// Whether the configuration it was asked under has changed so that its answer is for those who wait and nobody else.
    left_behind: bool,
    /// Nobody joins it any more.
    closed: bool,
    /// An equal question was out when it began.
    beside_equal: bool,
    /// Whether its answer may lack DNSSEC records that were asked for.
    without_dnssec: bool,
    /// Whether it has to go over a stream: a datagram was truncated or disputed, or is nothing for a signed query.
    pub(crate) needs_stream: bool,
    /// Whether a message came that should have been the response and was not.
    pub(crate) disputed: bool,
    /// Datagrams that came for it without its ID.
    guesses: u8,
    /// The connection that was too slow, when the question was sent elsewhere for that.
    pub(crate) hedged_on: Option<ConnectionId>,
    /// Why the last connection it relied on ended.
    pub(crate) lost_to: Option<CloseReason>,
}

/// How long an exchange goes on at least while it has something to wait for. A client that waited for less than the eighth that is missing,
/// as all do a little, ends it with its own time.
fn own_time(budget: Duration) -> Duration {
    budget - budget / 8
}

impl<C> Exchange<C> {
    /// An exchange for which nobody waits yet.
    pub(crate) fn new(
        key: ExchangeKey,
        asked: Asked,
        signed: Option<SignedQuery>,
        transport: Transport,
        source: Source,
        now: Moment,
    ) -> Self {
        // What its client signed and sent over a stream may be about more than fits into a datagram.
        let needs_stream = signed
            .as_ref()
            .is_some_and(|it| it.needs_stream() || transport != Transport::Udp);
        Self {
            key,
            group: asked.group,
            sends_before: None,
            began: now,
            asked,
            waiters: Waiters::default(),
            source,
            crowd: None,
            attempts: SmallVec::new(),
            tried: SmallVec::new(),
            signed,
            held: None,
            left_behind: false,
            closed: false,
            beside_equal: false,
            without_dnssec: false,
            needs_stream,
            disputed: false,
            guesses: 0,
            hedged_on: None,
            lost_to: None,
        }
    }

    /// Whether one more of `source` may wait for this one too: as many as there are places left, so that who asks the same again and
    /// again leaves half of them to others.
    pub(crate) fn admits(&self, source: Source) -> bool {
        let left = WAITERS_PER_EXCHANGE_MAX.saturating_sub(self.waiters.len());
        match &self.crowd {
            None => left > 0,
            Some(crowd) => crowd.admits(source, left),
        }
    }

    /// Another client waits, or one that was taken out waits again.
    pub(crate) fn join(&mut self, waiter: Waiter<C>, hasher: &KeyHasher) {
        let source = waiter.source;
        self.waiters.push(waiter);
        self.note_come(source, hasher);
    }

    fn note_come(&mut self, source: Source, hasher: &KeyHasher) {
        if let Some(crowd) = &mut self.crowd {
            crowd.take(source);
        } else if self.waiters.len() >= WAITERS_PER_EXCHANGE_MAX / 2 {
            let mut crowd = Shares::new(hasher.clone());
            self.waiters.iter().for_each(|it| crowd.take(it.source));
            self.crowd = Some(Box::new(crowd));
        }
    }

    fn note_gone(&mut self, waiters: &[Waiter<C>]) {
        if let Some(crowd) = &mut self.crowd {
            waiters.iter().for_each(|it| crowd.give_back(it.source));
        }
    }

    /// The name in folded wire form.
    pub(crate) fn qname(&self) -> &[u8] {
        self.key.qname()
    }

    /// How the question is written for an upstream.
    pub(crate) fn query_options(&self, keepalive: bool, padding: Option<usize>) -> QueryOptions {
        QueryOptions {
            checking_disabled: self.asked.checking_disabled,
            dnssec_ok: self.asked.dnssec_ok,
            keepalive,
            padding,
        }
    }

    /// The query that goes out as it is.
    pub(crate) fn signed(&self) -> Option<&SignedQuery> {
        self.signed.as_ref()
    }

    /// What it brings is for those who wait for it and nobody else.
    pub(crate) fn leave_behind(&mut self) {
        self.left_behind = true;
    }

    /// Whether its failure says something about the next one who asks the same.
    pub(crate) fn speaks_for_others(&self) -> bool {
        self.signed.is_none() && !self.left_behind
    }

    /// A datagram came for it without its ID. True when there were so many that it may be somebody who guesses.
    pub(crate) fn note_guess(&mut self) -> bool {
        self.guesses = self.guesses.saturating_add(1);
        self.guesses >= GUESSES_MAX
    }

    /// Its answer may lack DNSSEC records that were asked for.
    pub(crate) fn note_without_dnssec(&mut self) {
        self.without_dnssec = true;
    }

    /// Whether its answer may be kept: it is that of the group that was asked, all that was asked for, and nobody disputed it.
    pub(crate) fn may_be_kept(&self) -> bool {
        self.speaks_for_others() && !self.without_dnssec && !self.disputed && !self.fell_back()
    }

    /// The group whose kept answers are an answer to this; `None` when the query is signed, because those are not.
    pub(crate) fn kept_of(&self) -> Option<GroupId> {
        self.signed.is_none().then_some(self.asked.group)
    }

    /// Whether the question is asked with CD.
    pub(crate) fn checking_disabled(&self) -> bool {
        self.asked.checking_disabled
    }

    /// Whether it goes to `upstream` over a stream only. A second datagram with an equal question would help a forger (CVE-2020-25684), so there
    /// is none, unless no stream came to be; `has_stream` says whether one is ready.
    pub(crate) fn keeps_to_streams(
        &self,
        upstream: UpstreamId,
        has_stream: impl FnOnce() -> bool,
    ) -> bool {
        let tried = self.tried(upstream);
        let untried = tried.sends == 0 && tried.failed_dials == 0;
        self.needs_stream || self.beside_equal && (untried || has_stream())
    }

    /// What was tried with `upstream` so far.
    pub(crate) fn tried(&self, upstream: UpstreamId) -> Tried {
        let found = self.tried.iter().find(|tried| tried.upstream == upstream);
        found.copied().unwrap_or_else(|| Tried::new(upstream))
    }

    fn tried_mut(&mut self, upstream: UpstreamId) -> &mut Tried {
        let place = self
            .tried
            .iter()
            .position(|tried| tried.upstream == upstream);
        let place = place.unwrap_or_else(|| {
            self.tried.push(Tried::new(upstream));
            self.tried.len() - 1
        });
        &mut self.tried[place]
    }

    /// The upstream gave a poor answer.
    pub(crate) fn note_declined(&mut self, upstream: UpstreamId) {
        self.tried_mut(upstream).declined = true;
    }

    /// The upstream seems to know nothing of EDNS.
    pub(crate) fn note_refused_edns(&mut self, upstream: UpstreamId) {
        self.tried_mut(upstream).refused_edns = true;
    }

    /// Times the question went out for its group, to whomever.
    pub(crate) fn sends(&self) -> usize {
        let before = self.sends_before.unwrap_or_default();
        self.all_sends().saturating_sub(before)
    }

    /// Whether a group it was not asked of has taken over.
    pub(crate) fn fell_back(&self) -> bool {
        self.sends_before.is_some()
    }

    fn all_sends(&self) -> usize {
        self.tried
            .iter()
            .map(|tried| usize::from(tried.sends))
            .sum()
    }

    /// Lets another group take over. What is under way goes on. `false` when that has happened before.
    pub(crate) fn fall_back(&mut self, group: GroupId) -> bool {
        let first = self.sends_before.is_none();
        if first {
            self.sends_before = Some(self.all_sends());
            self.group = group;
        }
        first
    }

    pub(crate) fn begin_attempt(&mut self, attempt: Attempt) {
        self.tried_mut(attempt.upstream).sends += 1;
        self.attempts.push(attempt);
    }

    /// The attempt on `connection` has ended; `None` when there was none.
    pub(crate) fn end_attempt(&mut self, connection: ConnectionId) -> Option<Attempt> {
        let place = self
            .attempts
            .iter()
            .position(|attempt| attempt.connection == connection)?;
        Some(self.attempts.remove(place))
    }

    /// The question was never sent, because its connection did not come to be; `failed` unless that was our own doing.
    pub(crate) fn take_back_send(&mut self, upstream: UpstreamId, failed: bool) {
        let tried = self.tried_mut(upstream);
        tried.sends = tried.sends.saturating_sub(1);
        tried.failed_dials = tried.failed_dials.saturating_add(u8::from(failed));
    }

    /// Keeps the first poor response, but rather one that was only cut short.
    pub(crate) fn hold(&mut self, response: &ResponseView<'_>, origin: ReplyOrigin) {
        let truncated = response.header().flags.truncated();
        if !self.holds_truncated() && (self.held.is_none() || truncated) {
            self.held = Some(Held::new(response, origin));
        }
    }

    /// Whether an answer that was cut short is held: somebody has the whole of it.
    pub(crate) fn holds_truncated(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.truncated)
    }

    /// Puts back what [`Exchange::take_held`] took.
    pub(crate) fn put_back(&mut self, held: Held) {
        self.held = Some(held);
    }

    pub(crate) fn has_held(&self) -> bool {
        self.held.is_some()
    }

    pub(crate) fn take_held(&mut self) -> Option<Held> {
        self.held.take()
    }

    /// Whether nobody waits for it any more, and it has had its own time.
    fn is_over(&self, budget: Duration, now: Moment) -> bool {
        self.waiters.is_empty() && now >= self.began + own_time(budget)
    }

    /// When it has had its time, and those who wait now have had theirs.
    fn ends(&self, budget: Duration) -> Moment {
        let own = self.began + own_time(budget);
        self.waiters.last_deadline().map_or(own, |it| it.max(own))
    }

    /// Takes out clients who have waited long enough for something newer than what is kept, `most` at most.
    pub(crate) fn take_stale(&mut self, asked_until: Moment, most: usize) -> TakenOut<C> {
        let due = self.waiters.take_stale(asked_until, most);
        self.note_gone(&due);
        due
    }

    /// Takes out clients whose time has passed, `most` at most.
    pub(crate) fn take_expired(&mut self, now: Moment, most: usize) -> TakenOut<C> {
        let due = self.waiters.take_until(now, most);
        self.note_gone(&due);
        due
    }
}
