//! Seeded simulation: random clients and upstreams around the core, and laws that hold at every step.
//!
//! A world begins with a storm, in which upstreams answer, delay, drop, lie, duplicate, refuse and hang up, addresses change and the
//! clock leaps, and upstreams leave the configuration and come back; then it calms down and has to recover. Some worlds have an upstream that is healthy all the time: there every
//! question has to be answered. The laws:
//!
//! - every question gets exactly one reply, within its budget, with the client's ID, question and letter case, and the data of that question;
//! - who comes back into the configuration has the name of before, and no other upstream has it;
//! - IDs are unique among what may still be answered on a connection;
//! - a question is sent at most 3 times to one upstream and 6 times in all; an upstream has at most 4 connections, and as
//!   many again that only wait for their last answers;
//! - the engine counts exactly the clients who wait, and its queues hold no more than what came within a budget;
//! - it never asks to be called again and again at one moment, but for a crowd of questions that it deals with in turns;
//! - within 1.7 s after the faults have stopped somebody is answered, from then on everybody.

mod ask;
mod chance;
mod change;
mod check;
mod ledger;
mod upstream;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use dotward_core::limits::{CONNECTIONS_PER_UPSTREAM_MAX, DRAINING_PER_UPSTREAM_MAX};
use dotward_core::time::Moment;
use dotward_core::upstream::{CloseReason, ConnectionId, UpstreamConfig, UpstreamId};
use dotward_core::wire::frame::{FrameReader, append_frame};
use dotward_core::wire::{QueryView, Question, ResponseView};

use crate::harness::{Harness, Opened, START, TURNS_AT_ONCE};
use crate::laws;
pub use chance::Chance;
use ledger::Ledger;
use upstream::Weather;

/// How long after the faults have stopped somebody has to be answered, at worst: four dials hang, the first two begun together and the
/// others 0.7 s apart, so that the next one is begun when the first is given up after 3 s; and then a dial has to succeed.
const RECOVERY: Duration = Duration::from_millis(1_700);

/// How long the calm lasts in which questions are asked.
const CALM: Duration = Duration::from_secs(4);

/// What a world came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Questions asked.
    pub questions: u64,
    /// Answered with data.
    pub good: u64,
    /// Answered with an error.
    pub failed: u64,
    /// Connections opened.
    pub connections: u64,
    /// How long it was, for those inside; leaps of the clock are not counted.
    pub span: Duration,
}

/// An upstream and its weather.
struct Site {
    weather: Weather,
    /// Whether it is healthy from beginning to end.
    healthy: bool,
}

/// A connection, seen from the upstream.
struct Flow {
    site: usize,
    /// Nothing passes any more, and nobody says so.
    dead: bool,
    open: bool,
    queries: FrameReader,
    /// IDs written and not answered.
    outstanding: BTreeMap<u16, Question>,
    /// Octets on their way to the engine, and what they become there.
    pending: Vec<u8>,
    delivered: FrameReader,
}

/// Something that is going to happen.
enum Happening {
    Ask,
    Dialed(ConnectionId),
    Ends(ConnectionId, CloseReason),
    Sends(ConnectionId, Vec<u8>),
    Continues(ConnectionId),
    Flush(ConnectionId),
    Weather(usize),
    Addresses(usize),
    Reconfigure,
    Leap,
    Calm,
}

struct World<'a> {
    chance: Chance<'a>,
    harness: Harness,
    sites: Vec<Site>,
    flows: BTreeMap<ConnectionId, Flow>,
    queue: BTreeMap<(Moment, u64), Happening>,
    numbered: u64,
    ledger: Ledger,
    /// Times of the questions of the last budget.
    recent: VecDeque<Moment>,
    rush: u64,
    leapt: Duration,
    /// Somebody is not part of the configuration at the moment.
    absent: bool,
    calm_since: Option<Moment>,
    /// When the first question after the storm was answered.
    recovered: bool,
    summary: Summary,
}

/// Lives through one world.
///
/// # Errors
///
/// The law that was broken, and the moment.
pub fn live(chance: Chance<'_>, storm: Duration) -> Result<Summary, String> {
    let mut world = World::new(chance, storm);
    let result = world.run();
    let at = world.harness.now.since(START);
    result.map_err(|fault| format!("after {at:?}: {fault}"))?;
    world.summary.questions = world.ledger.asked();
    world.summary.good = world.ledger.good;
    world.summary.failed = world.ledger.failed;
    world.summary.span = at.saturating_sub(world.leapt);
    Ok(world.summary)
}

impl<'a> World<'a> {
    fn new(mut chance: Chance<'a>, storm: Duration) -> Self {
        let count = chance.size(1..=3);
        let healthy = chance.percent(40).then(|| chance.size(0..=count - 1));
        let mut sites = Vec::new();
        let mut configs = Vec::new();
        for place in 0..count {
            let fine = healthy == Some(place);
            let weather = if fine {
                Weather::FINE
            } else {
                Weather::storm(&mut chance)
            };
            sites.push(Site {
                weather,
                healthy: fine,
            });
            configs.push(UpstreamConfig::new(
                format!("u{place}"),
                endpoints(&mut chance, place),
            ));
        }
        let mut seed = [0; 32];
        for octet in &mut seed {
            *octet = u8::try_from(chance.number(0..=255)).unwrap_or_default();
        }
        let rush = chance.pick(&[2, 20, 100, 500]);
        let mut world = Self {
            chance,
            harness: Harness::new(laws::front(), configs, seed),
            sites,
            flows: BTreeMap::new(),
            queue: BTreeMap::new(),
            numbered: 0,
            ledger: Ledger::default(),
            recent: VecDeque::new(),
            rush,
            leapt: Duration::ZERO,
            absent: false,
            calm_since: None,
            recovered: false,
            summary: Summary::default(),
        };
        world.later(Duration::ZERO, Happening::Ask);
        world.later(storm, Happening::Calm);
        for place in 0..count {
            world.later(Duration::from_millis(500), Happening::Weather(place));
            world.later(Duration::from_millis(900), Happening::Addresses(place));
        }
        world.later(Duration::from_secs(3), Happening::Leap);
        world.later(Duration::from_millis(1_500), Happening::Reconfigure);
        world
    }

    fn later(&mut self, after: Duration, what: Happening) {
        self.numbered += 1;
        self.queue
            .insert((self.harness.now + after, self.numbered), what);
    }

    fn run(&mut self) -> Result<(), String> {
        let mut stuck = 0;
        loop {
            let happens = self.queue.first_key_value().map(|((at, _), _)| *at);
            let due = self.harness.engine.poll_timeout();
            let Some(next) = happens.into_iter().chain(due).min() else {
                break;
            };
            stuck = if next <= self.harness.now && due == Some(next) {
                stuck + 1
            } else {
                0
            };
            if stuck > TURNS_AT_ONCE {
                return Err("a busy loop: it wants to be called again at once".into());
            }
            self.harness.now = self.harness.now.max(next);
            if due.is_some_and(|due| due <= next) {
                self.harness.timeout();
            } else if let Some((_, what)) = self.queue.pop_first() {
                stuck = 0;
                self.happen(what)?;
            }
            self.turn()?;
        }
        self.check_end()
    }

    fn happen(&mut self, what: Happening) -> Result<(), String> {
        match what {
            Happening::Ask => self.ask()?,
            Happening::Dialed(id) => {
                if let Some(flow) = self.flows.get_mut(&id) {
                    flow.open = true;
                    self.harness.connect(id);
                }
            }
            Happening::Ends(id, reason) => {
                if self.flows.get(&id).is_some_and(|flow| !flow.dead) {
                    self.flows.remove(&id);
                    self.harness.close(id, reason);
                }
            }
            Happening::Sends(id, message) => {
                if let Some(flow) = self.flows.get_mut(&id) {
                    append_frame(&message, &mut flow.pending);
                    self.deliver(id)?;
                }
            }
            Happening::Continues(id) => self.deliver(id)?,
            Happening::Flush(id) => self.flush(id)?,
            Happening::Weather(place) => self.change_weather(place),
            Happening::Addresses(place) => self.change_addresses(place),
            Happening::Reconfigure => self.reconfigure()?,
            Happening::Leap => self.leap(),
            Happening::Calm => self.calm_down()?,
        }
        Ok(())
    }

    fn deliver(&mut self, id: ConnectionId) -> Result<(), String> {
        let Some(flow) = self
            .flows
            .get_mut(&id)
            .filter(|flow| !flow.dead && flow.open)
        else {
            return Ok(());
        };
        if flow.pending.is_empty() {
            return Ok(());
        }
        let count = if self.chance.percent(20) {
            self.chance.size(1..=flow.pending.len())
        } else {
            flow.pending.len()
        };
        let octets: Vec<u8> = flow.pending.drain(..count).collect();
        // What the engine is going to accept frees its ID.
        flow.delivered.push(&octets);
        while let Some(message) = flow.delivered.next_message() {
            let Ok(view) = ResponseView::parse(message) else {
                continue;
            };
            let id = view.header().id;
            let asked = flow.outstanding.get(&id);
            if asked.is_some_and(|question| view.answers(question.view())) {
                flow.outstanding.remove(&id);
            }
        }
        if !flow.pending.is_empty() {
            let after = self.chance.millis(0..=5);
            self.later(after, Happening::Continues(id));
        }
        self.harness.receive(id, &octets);
        Ok(())
    }

    /// What the core wants done, and what can be seen of it.
    fn turn(&mut self) -> Result<(), String> {
        let closed: Vec<ConnectionId> = self.harness.closed.drain(..).collect();
        self.flows.retain(|id, _| !closed.contains(id));
        while let Some(opened) = self.harness.opened.pop_front() {
            // It may have been closed in the same turn in which it was asked for.
            if !closed.contains(&opened.connection) {
                self.open(opened)?;
            }
        }
        for id in self.harness.poll_transmits() {
            self.flush(id)?;
        }
        let now = self.harness.now;
        while let Some((token, reply)) = self.harness.replies.pop_front() {
            self.ledger.settle(token, &reply, now)?;
        }
        self.harness.events.clear();
        self.check_queues(now)?;
        self.check_recovery(now)
    }

    fn open(&mut self, opened: Opened) -> Result<(), String> {
        self.summary.connections += 1;
        let UpstreamId(site) = opened.upstream;
        let here = self.flows.values().filter(|flow| flow.site == site);
        if here.count() > CONNECTIONS_PER_UPSTREAM_MAX + DRAINING_PER_UPSTREAM_MAX {
            return Err(format!(
                "more than {CONNECTIONS_PER_UPSTREAM_MAX} connections beside those that drain to one upstream"
            ));
        }
        let flow = Flow {
            site,
            dead: false,
            open: false,
            queries: FrameReader::default(),
            outstanding: BTreeMap::new(),
            pending: Vec::new(),
            delivered: FrameReader::default(),
        };
        let id = opened.connection;
        self.flows.insert(id, flow);
        match self.sites[site].weather.dial(&mut self.chance) {
            Some((after, None)) => self.later(after, Happening::Dialed(id)),
            Some((after, Some(reason))) => self.later(after, Happening::Ends(id, reason)),
            None => {}
        }
        Ok(())
    }

    /// Takes what a connection has to write, not always all of it, and lets the upstream read it.
    fn flush(&mut self, id: ConnectionId) -> Result<(), String> {
        let Some(flow) = self.flows.get_mut(&id) else {
            return Ok(());
        };
        let limit = if self.chance.percent(10) {
            self.chance.size(1..=300)
        } else {
            usize::MAX
        };
        let octets = self.harness.transmit(id, limit);
        if !flow.open && !octets.is_empty() {
            return Err("octets before the connection was open".into());
        }
        flow.queries.push(&octets);
        let mut queries = Vec::new();
        while let Some(message) = flow.queries.next_message() {
            let view = QueryView::parse(message).map_err(|fault| format!("written: {fault:?}"))?;
            queries.push((view.header().id, view.question().to_owned()));
        }
        if !self.harness.engine.outbound(id).is_empty() {
            let after = self.chance.millis(0..=10);
            self.later(after, Happening::Flush(id));
        }
        for (message_id, question) in queries {
            self.serve(id, message_id, &question)?;
        }
        Ok(())
    }

    fn serve(
        &mut self,
        id: ConnectionId,
        message_id: u16,
        question: &Question,
    ) -> Result<(), String> {
        let Some(flow) = self.flows.get_mut(&id) else {
            return Ok(());
        };
        let unique = question.qname().as_octets().get(1) == Some(&b'U');
        self.ledger.note_send(question, flow.site, unique)?;
        if flow
            .outstanding
            .insert(message_id, question.clone())
            .is_some()
        {
            return Err(format!("ID {message_id} was given twice"));
        }
        if flow.dead {
            return Ok(());
        }
        let weather = self.sites[flow.site].weather;
        for sent in weather.answers(&mut self.chance, message_id, question) {
            self.later(sent.after, Happening::Sends(id, sent.message));
        }
        if let Some(after) = weather.hang_up(&mut self.chance) {
            let reason = self.chance.pick(&[CloseReason::Ended, CloseReason::Reset]);
            self.later(after, Happening::Ends(id, reason));
        }
        Ok(())
    }

    /// The weather turns; sometimes flows die without a word when it does.
    fn change_weather(&mut self, place: usize) {
        if self.calm_since.is_some() || self.sites[place].healthy {
            return;
        }
        self.sites[place].weather = Weather::storm(&mut self.chance);
        if self.chance.percent(30) {
            for flow in self.flows.values_mut().filter(|flow| flow.site == place) {
                flow.dead = true;
            }
        }
        let after = self.chance.millis(50..=4_000);
        self.later(after, Happening::Weather(place));
    }

    fn change_addresses(&mut self, place: usize) {
        if self.calm_since.is_some() {
            return;
        }
        if self.chance.percent(30) {
            let endpoints = endpoints(&mut self.chance, place);
            self.harness.set_endpoints(UpstreamId(place), endpoints);
        }
        let after = self.chance.millis(200..=5_000);
        self.later(after, Happening::Addresses(place));
    }

    /// The machine slept.
    fn leap(&mut self) {
        if self.calm_since.is_some() {
            return;
        }
        if self.chance.percent(30) {
            self.ledger.leap();
            let span = self.chance.pick(&[500, 5_000, 60_000, 7_200_000]);
            let span = Duration::from_millis(span);
            self.leapt += span;
            self.harness.jump(span);
            // What was recent before is so still to the queues, which are looked at when they come due.
            for at in &mut self.recent {
                *at = self.harness.now;
            }
        }
        let after = self.chance.millis(1_000..=20_000);
        self.later(after, Happening::Leap);
    }

    /// The faults stop. Flows that have died stay dead, and dials that hang go on hanging.
    fn calm_down(&mut self) -> Result<(), String> {
        self.calm_since = Some(self.harness.now);
        for site in &mut self.sites {
            site.weather = Weather::FINE;
        }
        if self.absent {
            let all: Vec<usize> = (0..self.sites.len()).collect();
            self.configure(&all)?;
        }
        self.later(Duration::ZERO, Happening::Ask);
        Ok(())
    }
}

/// One to three addresses.
fn endpoints(chance: &mut Chance<'_>, place: usize) -> Vec<core::net::SocketAddr> {
    let place = u8::try_from(place).unwrap_or_default();
    let count = chance.number(1..=3);
    (0..count)
        .map(|_| {
            let last = u8::try_from(chance.number(1..=9)).unwrap_or_default();
            ([192, 0, place, last], 853).into()
        })
        .collect()
}
