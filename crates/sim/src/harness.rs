//! A front and an engine on a clock that moves only when told, and what came out of them.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use dotward_core::engine::{Action, Engine, EngineConfig, Event, Reconfigured, Replies};
use dotward_core::front::{Client, DropReason, Front, Verdict};
use dotward_core::limits::{EXCHANGES_MAX, QUESTIONS_PER_TURN};
use dotward_core::time::{Moment, WallSeconds};
use dotward_core::upstream::{CloseReason, ConnectionId, Strategy, UpstreamConfig, UpstreamId};

/// Whom a reply is for.
pub type Token = u64;

/// A connection the engine asked for.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Its name.
    pub connection: ConnectionId,
    /// Of whom.
    pub upstream: UpstreamId,
    /// Where to.
    pub endpoint: SocketAddr,
}

/// What became of a client's message at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A reply follows, at once or later.
    Owed,
    /// Nothing will be said.
    Dropped(DropReason),
    /// Nothing will be said, because its network asked too much.
    Limited,
}

/// Times in a row that the engine may want to be called at one moment: for all the questions there may be, in its turns.
pub(crate) const TURNS_AT_ONCE: usize = 2 * EXCHANGES_MAX / QUESTIONS_PER_TURN;

/// The core at work.
pub struct Harness {
    front: Front,
    /// The engine, to be asked about its state.
    pub engine: Engine<Token>,
    /// The clock.
    pub now: Moment,
    /// Connections asked for and not yet seen to.
    pub opened: VecDeque<Opened>,
    /// Connections the engine closed and nobody has looked at.
    pub closed: VecDeque<ConnectionId>,
    /// Replies nobody has looked at.
    pub replies: VecDeque<(Token, Vec<u8>)>,
    /// Events nobody has looked at.
    pub events: VecDeque<Event>,
    buffer: Replies<Token>,
}

/// Where every clock begins.
pub const START: Moment = Moment::from_nanos(1_000_000_000_000);

impl Harness {
    /// A front and an engine with these upstreams.
    #[must_use]
    pub fn new(front: Front, upstreams: Vec<UpstreamConfig>, seed: [u8; 32]) -> Self {
        let config = EngineConfig {
            cache: Arc::clone(front.cache()),
            ..EngineConfig::new(upstreams, Strategy::Ordered)
        };
        Self {
            front,
            engine: Engine::new(config, seed),
            now: START,
            opened: VecDeque::new(),
            closed: VecDeque::new(),
            replies: VecDeque::new(),
            events: VecDeque::new(),
            buffer: Replies::default(),
        }
    }

    /// A client's message.
    pub fn ask(&mut self, message: &[u8], client: &Client, token: Token) -> Taken {
        let mut reply = Vec::new();
        let now = self.now;
        match self
            .front
            .handle_query(message, client, now, WallSeconds(0), &mut reply)
        {
            Verdict::ReplyAndRefresh(asked) => {
                self.replies.push_back((token, reply));
                self.engine.refresh(asked, self.now);
            }
            Verdict::Limited { reply: false } => return Taken::Limited,
            Verdict::Reply | Verdict::Cached | Verdict::Limited { reply: true } => {
                self.replies.push_back((token, reply));
            }
            Verdict::Drop(reason) => return Taken::Dropped(reason),
            Verdict::Forward(request) => self.engine.submit(request, token, self.now),
        }
        self.settle();
        Taken::Owed
    }

    /// A connection is open.
    pub fn connect(&mut self, connection: ConnectionId) {
        self.engine.handle_connected(connection, self.now);
        self.settle();
    }

    /// A connection ended.
    pub fn close(&mut self, connection: ConnectionId, reason: CloseReason) {
        self.engine.handle_closed(connection, reason, self.now);
        self.settle();
    }

    /// Octets from an upstream.
    pub fn receive(&mut self, connection: ConnectionId, octets: &[u8]) {
        self.engine.handle_bytes(connection, octets, self.now);
        self.settle();
    }

    /// Takes up to `limit` octets of what the connection has to write.
    pub fn transmit(&mut self, connection: ConnectionId, limit: usize) -> Vec<u8> {
        let waiting = self.engine.outbound(connection);
        let octets = waiting[..waiting.len().min(limit)].to_vec();
        self.engine.handle_transmitted(connection, octets.len());
        octets
    }

    /// Connections with something to write.
    pub fn poll_transmits(&mut self) -> Vec<ConnectionId> {
        core::iter::from_fn(|| self.engine.poll_transmit()).collect()
    }

    /// Moves the clock to `end`, stopping wherever the engine wants to be called.
    ///
    /// # Errors
    ///
    /// The engine wants to be called again and again at one moment.
    pub fn wait_until(&mut self, end: Moment) -> Result<(), String> {
        let mut stuck = 0;
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= end) {
            stuck = if due <= self.now { stuck + 1 } else { 0 };
            if stuck > TURNS_AT_ONCE {
                return Err(format!("a busy loop: {due:?} is due at {:?}", self.now));
            }
            self.now = self.now.max(due);
            self.timeout();
        }
        self.now = self.now.max(end);
        Ok(())
    }

    /// Moves the clock at once, as when a machine slept, and calls the engine after it.
    pub fn jump(&mut self, span: Duration) {
        self.now = self.now + span;
        self.timeout();
    }

    /// Calls the engine because time has passed.
    pub fn timeout(&mut self) {
        self.engine.handle_timeout(self.now);
        self.settle();
    }

    /// The addresses of an upstream change.
    pub fn set_endpoints(&mut self, upstream: UpstreamId, endpoints: Vec<SocketAddr>) {
        self.engine.set_endpoints(upstream, endpoints, self.now);
        self.settle();
    }

    /// Another configuration: these upstreams in one group.
    ///
    /// # Errors
    ///
    /// The engine has no room for it.
    pub fn reconfigure(&mut self, upstreams: Vec<UpstreamConfig>) -> Result<Reconfigured, String> {
        let EngineConfig {
            upstreams, groups, ..
        } = EngineConfig::new(upstreams, Strategy::Ordered);
        let done = self.engine.reconfigure(upstreams, groups, self.now);
        self.settle();
        done.map_err(|fault| format!("{fault:?}"))
    }

    /// Fetches what the engine has to say.
    pub fn settle(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Open {
                    connection,
                    upstream,
                    endpoint,
                    protocol: _,
                } => self.opened.push_back(Opened {
                    connection,
                    upstream,
                    endpoint,
                }),
                Action::Close { connection } => self.closed.push_back(connection),
            }
        }
        self.engine.take_replies(&mut self.buffer);
        let replies = &mut self.replies;
        self.buffer
            .drain(|token, message| replies.push_back((token, message.to_vec())));
        self.events
            .extend(core::iter::from_fn(|| self.engine.poll_event()));
    }
}
