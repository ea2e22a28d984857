//! The hand-over between a further worker and the first one, which has the engine.
//!
//! Promises:
//! - One lock and at most one wake-up for each batch, in either direction, however many questions or replies it holds; the other
//!   side is woken only when it had taken everything before.
//! - Both directions are bounded: questions by [`HANDED_OVER`], replies by the questions a worker has in flight, clients by
//!   [`PLACED_STREAMS`].
//! - Nothing is lost: what does not fit is given back to whoever hands it over.
//!
//! Deliberately absent: what a full hand-over means to a client (the core's), threads.

use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dotward_core::engine::Replies;
use dotward_core::exchange::{Asked, Request};
use tokio::sync::Notify;

use super::readers::{AddressId, UdpSockets};
use crate::counters::Counters;
use crate::limits::{HANDED_OVER, PLACED_STREAMS};
use crate::listen::handshakes::Turnstile;
use crate::near::{ReplyTo, Terms};

/// What is on its way to the engine.
#[derive(Debug)]
pub(crate) enum Handed {
    /// A question, and where its reply goes within the worker it is from.
    Question(Request, ReplyTo),
    /// A question nobody waits for.
    Refresh(Asked),
}

/// What the first worker tells a further one.
#[derive(Debug)]
pub(crate) enum Instruction {
    /// So many workers are active, in the order of their numbers; each reads its share of the UDP sockets.
    Share {
        /// How many.
        active: usize,
    },
    /// One UDP address more is served.
    Open(UdpSockets),
    /// One UDP address less.
    Shut(AddressId),
    /// A client that connected.
    Admit {
        /// Its socket.
        socket: TcpStream,
        /// Its address.
        address: SocketAddr,
        /// What counts its handshake, when it speaks TLS.
        tls: Option<Arc<Turnstile>>,
    },
    /// Give a sign of life.
    Beat,
    /// Close the streams of clients whose certificates are good no longer.
    LetGo {
        /// Whether the same clients are trusted as before.
        same_trust: bool,
    },
    /// Go by these from now on.
    Terms(Box<Terms>),
    /// Take no more queries, answer what is in flight, and say when that is done.
    Drain,
    /// Say goodbye to everybody and end.
    Close,
}

/// What waits for a further worker.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) replies: Replies<ReplyTo>,
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.instructions.is_empty() && self.replies.is_empty()
    }
}

/// The two directions between one further worker and the first.
#[derive(Debug)]
pub(crate) struct Link {
    questions: Mutex<Vec<Handed>>,
    inbox: Mutex<Inbox>,
    /// Wakes the first worker; one for all links.
    engine: Arc<Notify>,
    /// Wakes the further worker.
    worker: Notify,
    /// The further worker drains and owes nothing to anybody.
    quiet: AtomicBool,
    /// The further worker cannot do its share.
    failed: AtomicBool,
    pub(crate) counters: Arc<Counters>,
}

impl Link {
    /// A way to the worker that waits for `engine`.
    pub(crate) fn new(engine: Arc<Notify>) -> Self {
        Self {
            questions: Mutex::default(),
            inbox: Mutex::default(),
            engine,
            worker: Notify::new(),
            quiet: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            counters: Arc::default(),
        }
    }

    /// Hands over `batch` as far as there is room; what is left in it does not fit.
    pub(crate) fn hand_over(&self, batch: &mut Vec<Handed>) {
        let mut questions = lock(&self.questions);
        let was_empty = questions.is_empty();
        if was_empty && batch.len() <= HANDED_OVER {
            mem::swap(&mut *questions, batch);
        } else {
            let room = HANDED_OVER.saturating_sub(questions.len());
            questions.extend(batch.drain(..room.min(batch.len())));
        }
        let wake = was_empty && !questions.is_empty();
        drop(questions);
        if wake {
            self.engine.notify_one();
        }
    }

    /// Takes all questions. `into` should be empty: its memory is used for the next ones.
    pub(crate) fn take_questions(&self, into: &mut Vec<Handed>) {
        mem::swap(&mut *lock(&self.questions), into);
    }

    /// Gives replies to the worker they are for, and empties `replies`.
    pub(crate) fn hand_back(&self, replies: &mut Replies<ReplyTo>) {
        self.put(|inbox| {
            if inbox.replies.is_empty() {
                mem::swap(&mut inbox.replies, replies);
            } else {
                inbox.replies.append(replies);
            }
        });
    }

    /// Tells the worker something that must arrive.
    pub(crate) fn tell(&self, instruction: Instruction) {
        self.put(|inbox| inbox.instructions.push(instruction));
    }

    /// Client streams the worker has and is about to have; `None` when it does not keep up with those it is given.
    pub(crate) fn streams(&self) -> Option<usize> {
        let waiting = lock(&self.inbox).instructions.len();
        let open = usize::try_from(self.counters.streams.get()).unwrap_or(usize::MAX);
        (waiting < PLACED_STREAMS).then(|| open.saturating_add(waiting))
    }

    fn put(&self, what: impl FnOnce(&mut Inbox)) {
        let mut inbox = lock(&self.inbox);
        let was_empty = inbox.is_empty();
        what(&mut inbox);
        drop(inbox);
        if was_empty {
            self.worker.notify_one();
        }
    }

    /// Takes what waits for the worker. `into` should be empty.
    pub(crate) fn take_inbox(&self, into: &mut Inbox) {
        mem::swap(&mut *lock(&self.inbox), into);
    }

    /// Waits until something was put into the inbox since the last wait.
    pub(crate) async fn told(&self) {
        self.worker.notified().await;
    }

    /// The worker says that it drains and owes nothing.
    pub(crate) fn report_quiet(&self) {
        if !self.quiet.swap(true, Ordering::AcqRel) {
            self.engine.notify_one();
        }
    }

    /// The worker says that it cannot do its share.
    pub(crate) fn report_failed(&self) {
        self.failed.store(true, Ordering::Release);
        self.engine.notify_one();
    }

    /// Whether the worker said so since the last call.
    pub(crate) fn take_failed(&self) -> bool {
        self.failed.swap(false, Ordering::AcqRel)
    }

    /// Whether the worker said that it owes nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Acquire)
    }
}

/// A panic ends the process, so no lock is ever left by one; tests, where it does not, may go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
