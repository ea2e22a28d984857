//! One worker: a whole proxy on one thread.
//!
//! Everything that happens (a batch of datagrams, octets of a client or an upstream, a timer, a connection that is up) enters through
//! [`Worker::turn`], which ends with [`State::settle`]: what the engine wants done is done, queries are written once per
//! connection, replies once per client stream and once per UDP socket. So a datagram and the write of its query are in one
//! turn, with no task, no channel and no await between them.
//!
//! Promises: no DNS decision is made here; the state is borrowed for one turn and never across an await.
//!
//! Deliberately absent: waiting. The tasks in `listen` and `upstream` wait, one per socket, and call `turn`.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dotward_core::engine::{Action, Engine, Replies};
use dotward_core::front::Front;
use dotward_core::time::Moment;
use dotward_core::upstream::{ConnectionId, Protocol};
use dotward_core::wire::Transport;
use dotward_udp::LocalAddress;
use slotmap::SecondaryMap;

use crate::clock::{self, SleepWatch};
use crate::config::Binding;
use crate::events::EventLog;
use crate::listen::stream::{ClientKey, Clients};
use crate::listen::udp::UdpPort;
use crate::signal::{Ready, Signal};
use crate::stream::ReadBuffers;
use crate::tally::{Source, Tally};
use crate::tls::client::UpstreamTls;
use crate::tls::server::ListenerTls;
use crate::trust::TrustStatus;
use crate::upstream::datagram;
use crate::upstream::driver::{self, UpstreamConnection};

/// Where a reply goes.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// Out of a UDP socket.
    Udp {
        /// Which of the worker's sockets.
        port: usize,
        /// To whom.
        peer: SocketAddr,
        /// From which address of ours.
        local: LocalAddress,
    },
    /// Into a client's stream, if it still exists.
    Stream(ClientKey),
}

/// What the engine keeps of a client who waits.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Where the reply goes.
    pub(crate) to: ReplyTo,
    /// Over what the query came.
    pub(crate) transport: Transport,
    /// When it was read.
    pub(crate) since: Moment,
}

/// The state of a worker and what its tasks share besides.
pub(crate) struct Worker {
    state: RefCell<State>,
    /// Pokes the timer task when a deadline came closer.
    timer: Signal,
    /// Pokes whoever waits for the end of the work.
    quiet: Signal,
    /// Pokes the task that watches the network, and ends it.
    network: Signal,
}

/// Everything a worker owns.
pub(crate) struct State {
    pub(crate) front: Arc<Front>,
    pub(crate) engine: Engine<Asked>,
    /// By upstream; `None` for those spoken to in the clear.
    pub(crate) upstreams: Vec<Option<Rc<UpstreamTls>>>,
    /// From where each upstream is connected to.
    pub(crate) bindings: Vec<Rc<Binding>>,
    /// What TLS listeners show.
    pub(crate) listen_tls: Option<ListenerTls>,
    pub(crate) trust: TrustStatus,
    pub(crate) connections: SecondaryMap<ConnectionId, UpstreamConnection>,
    pub(crate) ports: Vec<UdpPort>,
    pub(crate) clients: Clients,
    pub(crate) buffers: ReadBuffers,
    pub(crate) events: EventLog,
    /// A reply that needs no upstream, being written.
    pub(crate) reply: Vec<u8>,
    pub(crate) tally: Tally,
    replies: Replies<Asked>,
    sleep: SleepWatch,
    /// When the timer task wakes next.
    armed: Option<Moment>,
    /// No more queries are taken; what is in flight is answered.
    draining: bool,
}

impl State {
    /// A state without sockets.
    pub(crate) fn new(
        front: Arc<Front>,
        engine: Engine<Asked>,
        upstreams: Vec<Option<Rc<UpstreamTls>>>,
        bindings: Vec<Rc<Binding>>,
        events: EventLog,
        clients: Clients,
    ) -> Self {
        Self {
            front,
            engine,
            tally: Tally::new(events.names().len()),
            trust: TrustStatus::new(events.names().to_vec(), &upstreams),
            upstreams,
            bindings,
            listen_tls: None,
            connections: SecondaryMap::new(),
            ports: Vec::new(),
            clients,
            buffers: ReadBuffers::default(),
            events,
            reply: Vec::new(),
            replies: Replies::default(),
            sleep: SleepWatch::default(),
            armed: None,
            draining: false,
        }
    }

    /// A state without sockets in front of one upstream, in which loopback may ask.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        use dotward_core::engine::EngineConfig;
        use dotward_core::front::FrontConfig;
        use dotward_core::policy::{Acl, PolicyConfig};
        use dotward_core::upstream::{Strategy, UpstreamConfig};

        let endpoints = vec![SocketAddr::from(([127, 0, 0, 1], 9))];
        let upstreams = vec![UpstreamConfig::new("test".to_owned(), endpoints)];
        let allow = vec!["127.0.0.0/8".parse().unwrap()];
        let front = Front::new(FrontConfig {
            allow: Acl::new(&allow),
            policy: PolicyConfig::default(),
        });
        let engine = Engine::new(EngineConfig::new(upstreams, Strategy::Ordered), [7; 32]);
        let events = EventLog::new(vec!["test".to_owned()]);
        Self::new(
            Arc::new(front),
            engine,
            Vec::new(),
            Vec::new(),
            events,
            Clients::new(Acl::new(&allow), 8),
        )
    }

    /// The machine is not where it was: connections are made anew, from sessions nobody saw before.
    pub(crate) fn handle_network_change(&mut self, now: Moment) {
        for tls in self.upstreams.iter_mut().flatten() {
            *tls = Rc::new(tls.without_sessions());
        }
        self.engine.handle_network_change(now);
    }

    /// Before anything else in a turn: what stood before a sleep may look alive and not be.
    fn notice_sleep(&mut self, now: Moment) {
        if let Some(slept) = self.sleep.look(now, clock::awake()) {
            tracing::info!(?slept, "the machine slept; connections are made anew");
            self.handle_network_change(now);
        }
    }

    /// Does all there is to do after an input.
    fn settle(&mut self, worker: &Rc<Worker>, now: Moment) {
        if self.engine.poll_timeout().is_some_and(|due| due <= now) {
            self.engine.handle_timeout(now);
        }
        while self.act(worker, now) | self.transmit(now) {}
        self.route_replies(now);
        self.clients.flush();
        for port in &mut self.ports {
            port.flush();
        }
        if self.tally.has_replied_at_once() {
            self.tally.end_turn(clock::now().since(now));
        }
        while let Some(event) = self.engine.poll_event() {
            self.events.write(&event);
        }
        let next = self.engine.poll_timeout();
        if let Some(next) = next
            && self.armed.is_none_or(|armed| next < armed)
        {
            self.armed = Some(next);
            worker.timer.poke();
        }
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

    fn route_replies(&mut self, now: Moment) {
        self.engine.take_replies(&mut self.replies);
        let (ports, clients, tally) = (&mut self.ports, &mut self.clients, &mut self.tally);
        self.replies.drain(|asked, message| {
            let took = now.since(asked.since);
            tally.add_reply(asked.transport, Source::Upstream, message, took);
            match asked.to {
                ReplyTo::Udp { port, peer, local } => {
                    if let Some(port) = ports.get_mut(port) {
                        port.push(message, peer, local);
                    }
                }
                ReplyTo::Stream(key) => clients.reply(key, message),
            }
        });
    }

    /// Whether nothing is owed to any client.
    fn is_quiet(&self) -> bool {
        self.engine.in_flight() == 0
            && self.clients.owes_nothing()
            && self.ports.iter().all(UdpPort::owes_nothing)
    }
}

impl Worker {
    /// A worker that owns `state`, and its timer task. To be called within a local runtime.
    pub(crate) fn start(state: State) -> Rc<Self> {
        let worker = Rc::new(Self {
            state: RefCell::new(state),
            timer: Signal::default(),
            quiet: Signal::default(),
            network: Signal::default(),
        });
        tokio::task::spawn_local(run_timer(Rc::clone(&worker)));
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
        self.turn(|state, _, _| {
            state.draining = true;
            state.clients.stop_reading();
        });
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

    /// Whether a client with this address may have a stream.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        self.state.borrow().clients.allows(address)
    }

    /// The server's side of a connection, for a client of a TLS listener.
    pub(crate) fn accept_tls(&self) -> Option<Result<rustls::Connection, rustls::Error>> {
        self.state
            .borrow()
            .listen_tls
            .as_ref()
            .map(ListenerTls::accept)
    }

    /// What the task that watches the network waits for.
    pub(crate) fn network(&self) -> &Signal {
        &self.network
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
        state.clients.close_all();
        for (_, connection) in state.connections.drain() {
            connection.close();
        }
        self.timer.stop();
        self.network.stop();
    }
}

/// Wakes the engine at its deadlines. Deadlines mostly move away, so the task sleeps until the earliest it was told of and
/// looks again then, rather than being told of each.
async fn run_timer(worker: Rc<Worker>) {
    loop {
        let due = worker.turn(|state, _, _| {
            state.armed = state.engine.poll_timeout();
            state.armed
        });
        let woke = match due {
            None => worker.timer.poked(None).await,
            Some(due) => {
                let sleep = tokio::time::sleep(due.since(clock::now()));
                worker.timer.poked(Some(std::pin::pin!(sleep))).await
            }
        };
        if woke == Ready::Stopped {
            return;
        }
    }
}
