//! The first worker: a whole proxy on one thread.
//!
//! Everything that happens (a batch of datagrams, octets of a client or an upstream, a timer, a connection that is up) enters through
//! [`Worker::turn`], which ends with [`State::settle`]: what the engine wants done is done, queries are written once per
//! connection, replies once per client stream and once per UDP socket. So a datagram and the write of its query are in one
//! turn, with no task, no channel and no await between them. Input of clients enters through [`Host::near_turn`], which leaves out
//! what concerns the engine when nothing was given to it: a cached answer pays for no upstream.
//!
//! Promises: no DNS decision is made here; the state is borrowed for one turn and never across an await.
//!
//! Deliberately absent: waiting. The tasks in `listen` and `upstream` wait, one per socket, and call `turn`. Workers beside the first
//! are in `crew`.

mod timer;

use std::cell::RefCell;
use std::mem;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dotward_core::engine::{Action, Engine, Replies};
use dotward_core::exchange::{self, Request};
use dotward_core::time::Moment;
use dotward_core::upstream::{ConnectionId, Protocol};
use slotmap::SecondaryMap;

use crate::clock::{self, SleepWatch};
use crate::config::Binding;
#[cfg(test)]
use crate::crew::Supplies;
use crate::crew::busy::BusyWatch;
use crate::crew::link::{Handed, Instruction, Link};
use crate::events::EventLog;
use crate::limits::SLEEP_NOTICED;
use crate::listen::stream;
use crate::near::{Far, Host, Near, ReplyTo};
use crate::network::news::{Listener, News};
use crate::reload::Reloads;
use crate::shared::SharedCache;
use crate::signal::{Ready, Signal};
use crate::tally::Handshakes;
use crate::tls::client::UpstreamTls;
use crate::trust::TrustStatus;
use crate::upstream::datagram;
use crate::upstream::driver::{self, UpstreamConnection};
use crate::upstream::listed::Listed;

/// Whose question it is, and where its reply goes.
#[derive(Debug)]
pub(crate) enum AskedBy {
    /// A client of this worker.
    Here(ReplyTo),
    /// A client of a further worker.
    Further {
        /// Which: its place among the links.
        worker: usize,
        /// Where the reply goes there.
        to: ReplyTo,
    },
}

impl Far for Engine<AskedBy> {
    fn forward(&mut self, request: Request, to: ReplyTo, now: Moment) {
        self.submit(request, AskedBy::Here(to), now);
    }

    fn refresh(&mut self, asked: exchange::Asked, now: Moment) {
        Self::refresh(self, asked, now);
    }
}

/// The way to a further worker, and what is on it in this turn.
pub(crate) struct Further {
    pub(crate) link: Arc<Link>,
    replies: Replies<ReplyTo>,
}

/// The state of a worker and what its tasks share besides.
pub(crate) struct Worker {
    state: RefCell<State>,
    /// Pokes the timer task when a deadline came closer, or something waits to be flushed.
    timer: Rc<Signal>,
    /// Pokes whoever waits for the end of the work.
    quiet: Signal,
    /// Pokes the task that watches the network, and ends it.
    network: Signal,
    /// Pokes the task of the crew: it is time to see how busy everybody is.
    crew: Signal,
}

/// Everything the worker owns.
pub(crate) struct State {
    pub(crate) near: Near,
    pub(crate) engine: Engine<AskedBy>,
    /// The workers beside this one.
    pub(crate) further: Vec<Further>,
    /// How many workers get new clients, this one included.
    pub(crate) active: usize,
    /// By upstream; `None` for those spoken to in the clear.
    pub(crate) upstreams: Vec<Option<Rc<UpstreamTls>>>,
    /// The upstreams of the configuration, in its order. Those that were part of it before have places in the other lists and none here.
    pub(crate) listed: Vec<Listed>,
    /// How the configuration was read again.
    pub(crate) reloads: Reloads,
    /// Ways to upstreams are not to be compared with those of before.
    pub(crate) ways_are_others: bool,
    /// From where each upstream is connected to.
    pub(crate) bindings: Vec<Rc<Binding>>,
    pub(crate) trust: TrustStatus,
    /// By upstream.
    pub(crate) handshakes: Vec<Handshakes>,
    pub(crate) connections: SecondaryMap<ConnectionId, UpstreamConnection>,
    pub(crate) events: EventLog,
    /// Wakes those who could not reach anybody.
    pub(crate) news: News,
    /// The way to the cache that several instances share.
    pub(crate) shared: Option<SharedCache>,
    replies: Replies<AskedBy>,
    /// Questions of a further worker, being taken.
    handed: Vec<Handed>,
    sleep: SleepWatch,
    /// When the last turn was.
    last_turn: Moment,
    /// When the timer task wakes next.
    armed: Option<Moment>,
    /// Whether sockets had their turns since something became long overdue: from then on each turn works on what is left of it.
    looked: bool,
    /// No more queries are taken; what is in flight is answered.
    draining: bool,
    /// How busy this thread is.
    pub(crate) busy: BusyWatch,
}

impl State {
    /// A state without sockets.
    pub(crate) fn new(
        near: Near,
        engine: Engine<AskedBy>,
        upstreams: Vec<Option<Rc<UpstreamTls>>>,
        bindings: Vec<Rc<Binding>>,
        events: EventLog,
    ) -> Self {
        Self {
            near,
            engine,
            handshakes: vec![Handshakes::default(); events.names().len()],
            further: Vec::new(),
            active: 1,
            trust: TrustStatus::new(events.names().to_vec(), &upstreams),
            upstreams,
            bindings,
            listed: Vec::new(),
            reloads: Reloads::default(),
            ways_are_others: false,
            connections: SecondaryMap::new(),
            events,
            news: News::default(),
            shared: None,
            replies: Replies::default(),
            handed: Vec::new(),
            sleep: SleepWatch::default(),
            last_turn: Moment::ZERO,
            armed: None,
            looked: false,
            draining: false,
            busy: BusyWatch::default(),
        }
    }

    /// A state without sockets in front of one upstream, in which loopback may ask.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        use dotward_core::engine::EngineConfig;
        use dotward_core::upstream::{Strategy, UpstreamConfig};

        let endpoints = vec![std::net::SocketAddr::from(([127, 0, 0, 1], 9))];
        let upstreams = vec![UpstreamConfig::new("test".to_owned(), endpoints)];
        let engine = Engine::new(EngineConfig::new(upstreams, Strategy::Ordered), [7; 32]);
        let events = EventLog::new(vec!["test".to_owned()]);
        let near = Supplies::for_test().near(Arc::default());
        Self::new(near, engine, Vec::new(), Vec::new(), events)
    }

    /// The machine is not where it was: connections are made anew, from sessions nobody saw before.
    pub(crate) fn handle_network_change(&mut self, now: Moment) {
        for tls in self.upstreams.iter_mut().flatten() {
            *tls = Rc::new(tls.without_sessions());
        }
        self.engine.handle_network_change(now);
        self.news.change();
    }

    /// Closes the streams of clients, of all workers, whose certificates would not be believed now.
    pub(crate) fn let_go_of_clients(&mut self, same_trust: bool) {
        self.near.let_go_of_distrusted(same_trust);
        for further in &self.further {
            further.link.tell(Instruction::LetGo { same_trust });
        }
    }

    /// Before anything else in a turn: what stood before a sleep may look alive and not be. The second clock is read only when so
    /// much time has passed since the last turn that there may have been a sleep. True when there was one, which gave the engine
    /// something to do.
    fn notice_sleep(&mut self, now: Moment) -> bool {
        let passed = now.since(mem::replace(&mut self.last_turn, now));
        if passed > SLEEP_NOTICED
            && let Some(slept) = self.sleep.look(now, clock::awake())
        {
            tracing::info!(?slept, "the machine slept; connections are made anew");
            self.handle_network_change(now);
            return true;
        }
        false
    }

    /// Does all there is to do after an input.
    fn settle(&mut self, worker: &Rc<Worker>, now: Moment) {
        let overdue = self.is_overdue(now);
        self.looked &= overdue;
        if overdue && !self.looked {
            worker.timer.poke();
        } else if self.engine.poll_timeout().is_some_and(|due| due <= now) {
            self.engine.handle_timeout(now);
        }
        while self.act(worker, now) | self.transmit(now) | self.share(now) {}
        self.route_replies(now);
        self.near.flush();
        self.near.end_turn(now);
        while let Some(event) = self.engine.poll_event() {
            self.events.write(&event, now);
        }
        let next = self.engine.poll_timeout();
        if let Some(next) = next
            && self.armed.is_none_or(|armed| next < armed)
        {
            self.armed = Some(next);
            worker.timer.poke();
        }
        self.tell_quiet(worker);
    }

    fn tell_quiet(&self, worker: &Worker) {
        if self.draining && self.is_quiet() {
            worker.quiet.poke();
        }
    }

    /// Whether no more queries are taken.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Opens and closes connections as the engine says. True when there was something to do.
    fn act(&mut self, worker: &Rc<Worker>, now: Moment) -> bool {
        let mut acted = false;
        while let Some(action) = self.engine.poll_action() {
            acted = true;
            match action {
                Action::Open {
                    connection,
                    upstream,
                    endpoint,
                    protocol: Protocol::Udp,
                } => datagram::open(self, worker, connection, upstream, endpoint, now),
                Action::Open {
                    connection,
                    upstream,
                    endpoint,
                    protocol: protocol @ (Protocol::Tls | Protocol::Tcp),
                } => {
                    let whose = (upstream, protocol);
                    driver::open(self, worker, connection, whose, endpoint, now);
                }
                Action::Close { connection } => {
                    if let Some(open) = self.connections.remove(connection) {
                        open.close();
                    }
                }
            }
        }
        acted
    }

    /// Writes what connections have, each once. True when there was something to do.
    fn transmit(&mut self, now: Moment) -> bool {
        let mut acted = false;
        while let Some(connection) = self.engine.poll_transmit() {
            acted = true;
            driver::transmit(self, connection, now);
        }
        acted
    }

    /// Hands over what the engine wants of the shared cache. True when it could not be and the engine has to go on without.
    fn share(&mut self, now: Moment) -> bool {
        let shared = self.shared.as_mut();
        shared.is_some_and(|shared| shared.exchange(&mut self.engine, now))
    }

    fn route_replies(&mut self, now: Moment) {
        self.engine.take_replies(&mut self.replies);
        if self.replies.is_empty() {
            return;
        }
        let (near, further) = (&mut self.near, &mut self.further);
        self.replies.drain(|asked, message| match asked {
            AskedBy::Here(to) => near.deliver(to, message, now),
            AskedBy::Further { worker, to } => {
                if let Some(further) = further.get_mut(worker) {
                    further.replies.push(to, message);
                }
            }
        });
        for further in further {
            if !further.replies.is_empty() {
                further.link.hand_back(&mut further.replies);
            }
        }
    }

    /// Takes the questions that further workers handed over.
    pub(crate) fn take_handed(&mut self, now: Moment) {
        for (worker, further) in self.further.iter().enumerate() {
            further.link.take_questions(&mut self.handed);
            for handed in self.handed.drain(..) {
                match handed {
                    Handed::Question(request, to) => {
                        let asked = AskedBy::Further { worker, to };
                        self.engine.submit(request, asked, now);
                    }
                    Handed::Refresh(asked) => self.engine.refresh(asked, now),
                }
            }
        }
    }

    /// Whether nothing is owed to any client, of whichever worker.
    fn is_quiet(&self) -> bool {
        self.engine.in_flight() == 0
            && self.near.owes_nothing()
            && self.further.iter().all(|further| further.link.is_quiet())
    }
}

impl Further {
    /// A worker that nothing is on the way to.
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            replies: Replies::default(),
        }
    }
}

impl Worker {
    /// A worker that owns `state`, and its timer task. To be called within a local runtime.
    pub(crate) fn start(state: State) -> Rc<Self> {
        let worker = Rc::new(Self {
            timer: Rc::clone(&state.near.nudge),
            state: RefCell::new(state),
            quiet: Signal::default(),
            network: Signal::default(),
            crew: Signal::default(),
        });
        tokio::task::spawn_local(timer::run(Rc::clone(&worker)));
        worker
    }

    /// Takes an input and does everything that follows from it.
    pub(crate) fn turn<R>(
        self: &Rc<Self>,
        input: impl FnOnce(&mut State, &Rc<Self>, Moment) -> R,
    ) -> R {
        let now = clock::now();
        let mut state = self.state.borrow_mut();
        state.notice_sleep(now);
        let result = input(&mut state, self, now);
        state.settle(self, now);
        result
    }

    /// Takes no more queries and waits until what is in flight is answered, at most `limit`. Gives back how many
    /// questions were not.
    pub(crate) async fn drain(self: &Rc<Self>, limit: Duration) -> usize {
        self.near_turn(stream::read_last);
        self.turn(|state, _, _| state.draining = true);
        let mut deadline = std::pin::pin!(tokio::time::sleep(limit));
        loop {
            let unanswered =
                self.turn(|state, _, _| (!state.is_quiet()).then(|| state.engine.in_flight()));
            match unanswered {
                None => return 0,
                Some(unanswered) => {
                    if self.quiet.poked(Some(deadline.as_mut())).await == Ready::Deadline {
                        return unanswered;
                    }
                }
            }
        }
    }

    /// Whether whoever connects from this address is heard: a client that may ask, or a load balancer.
    pub(crate) fn hears(&self, address: IpAddr) -> bool {
        let near = &self.state.borrow().near;
        near.clients.allows(address) || near.balancers.contains(address)
    }

    /// Whether whoever connects from this address speaks for others, whom its headers name.
    pub(crate) fn is_balancer(&self, address: IpAddr) -> bool {
        self.state.borrow().near.balancers.contains(address)
    }

    /// Whether a client with this address gets a TLS handshake now.
    pub(crate) fn admits_handshake(&self, address: IpAddr) -> bool {
        let near = &mut self.state.borrow_mut().near;
        near.admits_handshake(address, clock::now())
    }

    /// What the task that watches the network waits for.
    pub(crate) fn network(&self) -> &Signal {
        &self.network
    }

    /// What the task of the crew waits for.
    pub(crate) fn crew(&self) -> &Signal {
        &self.crew
    }

    /// Listens to news of the network from now on.
    pub(crate) fn listen_to_news(&self) -> Listener {
        self.state.borrow().news.listener()
    }

    /// An upstream has addresses it did not have.
    pub(crate) fn look_at_network(&self) {
        self.network.poke();
    }

    /// Questions the engine has.
    pub(crate) fn in_flight(&self) -> usize {
        self.state.borrow().engine.in_flight()
    }

    /// Says goodbye to everybody.
    pub(crate) fn close(&self) {
        let mut state = self.state.borrow_mut();
        state.near.clients.close_all();
        state.shared = None;
        for (_, connection) in state.connections.drain() {
            connection.close();
        }
        self.timer.stop();
        self.network.stop();
        self.crew.stop();
    }
}

impl Host for Worker {
    type Far = Engine<AskedBy>;

    fn near_turn<R>(
        self: &Rc<Self>,
        input: impl FnOnce(&mut Near, &mut Self::Far, Moment) -> R,
    ) -> R {
        let now = clock::now();
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let slept = state.notice_sleep(now);
        let result = input(&mut state.near, &mut state.engine, now);
        if state.busy.handle_turn(now, &state.near.counters) {
            self.crew.poke();
        }
        if state.near.take_forwarded() || slept {
            state.settle(self, now);
        } else {
            state.near.flush();
            state.near.end_turn(now);
            state.tell_quiet(self);
        }
        result
    }
}

#[cfg(test)]
mod tests;
