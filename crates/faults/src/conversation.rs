//! What one connection asks and is answered, and when: queries in, outputs out, the clock as an argument.
//!
//! Promises: no socket and no clock in here; what is held back is bounded by [`crate::limits`]. A query is answered
//! by the mode in force when it is taken into service.
//!
//! Not here: the octets of a response (`lies`, `framing`), reading and writing (`connection`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::answers::{self, Steering};
use crate::counters::Book;
use crate::dns::{self, Query, QueryFault};
use crate::framing::{self, Framed, Piece};
use crate::lies::{self, Part};
use crate::limits;
use crate::mode::{Batch, Choice, Closing, Ending, Late, Mode, Order};
use crate::server::Orders;

/// Something for the writer to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) pieces: Vec<Piece>,
    /// Responses among the pieces.
    pub(crate) responses: u64,
    /// Whether it may share a TLS record with what is ready at the same moment.
    pub(crate) coalesce: bool,
    /// How the connection ends afterwards.
    pub(crate) then: Option<Ending>,
}

impl Output {
    fn end(ending: Ending) -> Self {
        Self {
            pieces: Vec::new(),
            responses: 0,
            coalesce: false,
            then: Some(ending),
        }
    }
}

/// A response that waits for its time.
#[derive(Debug)]
struct Prepared {
    /// The ID of the query it answers; none for a message that was never counted as a query.
    id: Option<u16>,
    frames: Vec<Framed>,
    delay: Duration,
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Conversation<'a> {
    book: &'a Book,
    number: u64,
    mode: Arc<Mode>,
    releases: u64,
    /// Octets of a query that is not complete.
    input: Vec<u8>,
    /// Queries beyond `in_flight_max`.
    waiting: VecDeque<Query>,
    /// Responses of an incomplete batch, and when the first of them came.
    held: Vec<Prepared>,
    held_since: Option<Instant>,
    /// Responses by the time they are due, and within it in order of service.
    schedule: BTreeMap<(Instant, u64), Prepared>,
    scheduled: u64,
    /// How often each ID is in flight.
    ids: HashMap<u16, u32>,
    in_service: usize,
    /// Queries read, queries taken into service, queries answered.
    queries: u64,
    served: u64,
    answered: u64,
    began: Instant,
    active: Instant,
    ended: Option<Ending>,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(book: &'a Book, number: u64, orders: &Orders, now: Instant) -> Self {
        Self {
            book,
            number,
            mode: Arc::clone(&orders.mode),
            releases: orders.releases,
            input: Vec::new(),
            waiting: VecDeque::new(),
            held: Vec::new(),
            held_since: None,
            schedule: BTreeMap::new(),
            scheduled: 0,
            ids: HashMap::new(),
            in_service: 0,
            queries: 0,
            served: 0,
            answered: 0,
            began: now,
            active: now,
            ended: None,
        }
    }

    /// Whether octets from the client are wanted.
    pub(crate) fn may_read(&self) -> bool {
        !self.mode.deaf && self.waiting.len() < limits::QUERIES_WAITING
    }

    /// Orders from outside have changed.
    pub(crate) fn obey(&mut self, orders: &Orders, now: Instant) {
        if orders.releases != self.releases || orders.mode != self.mode {
            self.release(now);
        }
        self.releases = orders.releases;
        self.mode = Arc::clone(&orders.mode);
        self.ended = self.ended.or(orders.close);
        self.admit(now);
    }

    /// Octets came from the client.
    pub(crate) fn take(&mut self, octets: &[u8], now: Instant) {
        self.active = now;
        self.input.extend_from_slice(octets);
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        while let Some((prefix, after)) = rest.split_first_chunk() {
            let Some(message) = after.get(..usize::from(u16::from_be_bytes(*prefix))) else {
                break;
            };
            rest = &after[message.len()..];
            self.take_message(message, now);
        }
        self.input = rest.to_vec();
    }

    fn take_message(&mut self, message: &[u8], now: Instant) {
        match dns::parse_query(message) {
            Ok(query) => {
                self.note_query(&query);
                self.waiting.push_back(query);
                self.admit(now);
            }
            Err(fault) => self.answer_fault(fault, now),
        }
    }

    fn answer_fault(&mut self, fault: QueryFault, now: Instant) {
        self.book
            .note(self.number, |counters, _| counters.malformed += 1);
        if let Some(response) = answers::respond_to_fault(fault, &self.mode) {
            let part = Part::Aside(response.encode());
            let frames = vec![framing::frame(part, self.mode.framing)];
            self.put(
                Prepared {
                    id: None,
                    frames,
                    delay: Duration::ZERO,
                },
                now,
            );
        }
    }

    fn note_query(&mut self, query: &Query) {
        self.queries += 1;
        let times = self.ids.entry(query.id).or_default();
        *times += 1;
        let reused = u64::from(*times > 1);
        let repeated = u64::from(self.book.asked_before(query.question.key()));
        let in_flight = self.queries - self.answered;
        self.book.note(self.number, |counters, record| {
            counters.queries += 1;
            counters.ids_reused += reused;
            counters.questions_repeated += repeated;
            counters.in_flight_max = counters.in_flight_max.max(in_flight);
            record.queries += 1;
            record.in_flight = in_flight;
            record.in_flight_max = record.in_flight_max.max(in_flight);
            if record.ids.len() < limits::IDS_REMEMBERED {
                record.ids.push(query.id);
            }
        });
    }

    /// Takes waiting queries into service, as many as the mode allows at a time.
    fn admit(&mut self, now: Instant) {
        let most = self.mode.in_flight_max.unwrap_or(usize::MAX);
        while self.in_service < most
            && let Some(query) = self.waiting.pop_front()
        {
            self.serve(&query, now);
        }
    }

    fn serve(&mut self, query: &Query, now: Instant) {
        let place = self.served;
        self.served += 1;
        let steering = Steering::of(&query.question.name);
        let full = self.held.len() + self.schedule.len() >= limits::RESPONSES_HELD;
        if steering.mute || full || !self.chosen(place) {
            return;
        }
        let foreign = self.foreign_ids(query.id);
        let frames = lies::compose(query, &steering, &self.mode, &foreign)
            .into_iter()
            .map(|part| framing::frame(part, self.mode.framing))
            .collect();
        let late = match self.mode.late {
            Some(Late { by, one_of }) if place.is_multiple_of(one_of.max(1)) => by,
            Some(_) | None => Duration::ZERO,
        };
        let delay = self.mode.delay + steering.delay + late;
        self.in_service += 1;
        self.arrange(
            Prepared {
                id: Some(query.id),
                frames,
                delay,
            },
            now,
        );
    }

    /// Whether the query in this place of the connection is answered.
    fn chosen(&self, place: u64) -> bool {
        let within = match self.mode.closing {
            Closing::After { replies, .. } => place < replies,
            Closing::Never | Closing::EachReply => true,
        };
        within
            && match self.mode.choice {
                Choice::All => true,
                Choice::Mute => false,
                Choice::OneOf(n) => place.is_multiple_of(n.max(1)),
                Choice::First(n) => place < n,
            }
    }

    /// IDs not in flight here, for strays and false IDs; fewer when nearly all are in flight.
    fn foreign_ids(&self, id: u16) -> Vec<u16> {
        let wanted = self.mode.strays + usize::from(self.mode.lie.is_some());
        if wanted == 0 {
            return Vec::new();
        }
        // An odd step visits every ID once.
        (1..=u16::MAX)
            .map(|step| id.wrapping_add(step.wrapping_mul(0x9e37)))
            .filter(|candidate| !self.ids.contains_key(candidate))
            .take(wanted)
            .collect()
    }

    fn arrange(&mut self, prepared: Prepared, now: Instant) {
        let depth = match self.mode.order {
            Order::Asked => return self.put(prepared, now),
            Order::Hold => usize::MAX,
            Order::Reversed(Batch { depth, .. }) | Order::Shuffled(Batch { depth, .. }) => depth,
        };
        self.held_since.get_or_insert(now);
        self.held.push(prepared);
        if self.held.len() >= depth {
            self.release(now);
        }
    }

    /// Lets the batch go, in the order of the mode.
    fn release(&mut self, now: Instant) {
        self.held_since = None;
        let mut batch = std::mem::take(&mut self.held);
        match self.mode.order {
            Order::Asked => {}
            Order::Hold | Order::Reversed(_) => batch.reverse(),
            Order::Shuffled(_) => shuffle(&mut batch),
        }
        batch
            .into_iter()
            .for_each(|prepared| self.put(prepared, now));
    }

    fn put(&mut self, prepared: Prepared, now: Instant) {
        self.schedule
            .insert((now + prepared.delay, self.scheduled), prepared);
        self.scheduled += 1;
    }

    /// When an incomplete batch leaves.
    fn batch_due(&self) -> Option<Instant> {
        match self.mode.order {
            Order::Asked | Order::Hold => None,
            Order::Reversed(Batch { linger, .. }) | Order::Shuffled(Batch { linger, .. }) => {
                self.held_since.map(|since| since + linger)
            }
        }
    }

    /// When the connection has been idle or alive for too long.
    fn close_due(&self) -> Option<Instant> {
        let quiet = self.schedule.is_empty() && self.held.is_empty() && self.waiting.is_empty();
        let idle = self
            .mode
            .idle
            .filter(|_| quiet)
            .map(|idle| self.active + idle);
        let aged = self.mode.lifetime.map(|lifetime| self.began + lifetime);
        idle.into_iter().chain(aged).min()
    }

    /// The earliest moment at which [`Conversation::due`] has something.
    pub(crate) fn next_moment(&self) -> Option<Instant> {
        let response = self
            .schedule
            .first_key_value()
            .map(|(&(moment, _), _)| moment);
        [response, self.batch_due(), self.close_due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What is to be written at this moment; asked again until there is nothing.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Output> {
        if let Some(ending) = self.ended {
            return Some(Output::end(ending));
        }
        if self.batch_due().is_some_and(|moment| moment <= now) {
            self.release(now);
        }
        if let Some(entry) = self.schedule.first_entry()
            && entry.key().0 <= now
        {
            let prepared = entry.remove();
            return Some(self.reply(prepared, now));
        }
        let over = self.satisfied() || self.close_due().is_some_and(|moment| moment <= now);
        over.then(|| Output::end(self.mode.ending.unwrap_or(Ending::Notify)))
    }

    fn reply(&mut self, prepared: Prepared, now: Instant) -> Output {
        self.active = now;
        if let Some(id) = prepared.id {
            self.note_answer(id);
        }
        self.admit(now);
        let closes = self.mode.closing == Closing::EachReply || self.satisfied();
        let mut then = closes.then_some(Ending::Notify);
        let responses = u64::try_from(prepared.frames.len()).unwrap_or(u64::MAX);
        let mut pieces = Vec::new();
        for frame in prepared.frames {
            then = frame.then.or(then);
            pieces.extend(framing::pieces(frame.octets, &self.mode.writing));
        }
        let coalesce = self.mode.writing == crate::mode::Writing::Coalesced;
        Output {
            pieces,
            responses,
            coalesce,
            then: then.map(|e| self.mode.ending.unwrap_or(e)),
        }
    }

    fn note_answer(&mut self, id: u16) {
        if let Some(times) = self.ids.get_mut(&id) {
            *times -= 1;
            if *times == 0 {
                self.ids.remove(&id);
            }
        }
        self.in_service = self.in_service.saturating_sub(1);
        self.answered += 1;
        let in_flight = self.queries - self.answered;
        self.book
            .note(self.number, |_, record| record.in_flight = in_flight);
    }

    /// Whether `close-after` has both its replies and its unanswered queries.
    fn satisfied(&self) -> bool {
        match self.mode.closing {
            Closing::After { replies, pending } => {
                self.answered >= replies && self.queries - self.answered >= pending
            }
            Closing::Never | Closing::EachReply => false,
        }
    }
}

/// Fisher-Yates with xorshift from a fixed seed: the same disorder each time.
fn shuffle<T>(items: &mut [T]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
        items.swap(last, usize::try_from(state % bound).unwrap_or_default());
    }
}
