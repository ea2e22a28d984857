//! A worker beside the first: a thread of its own that answers what can be answered without an upstream.
//!
//! Promises: what it cannot answer goes to the first worker in one hand-over for each batch, and the replies leave through its own
//! sockets; when the hand-over is full the client is told so.
//!
//! It is never ended while the program serves. One that is to leave gives its UDP sockets to the others and gets no more clients, unless
//! it has to make room for them; it goes on with the streams it has, and its thread sleeps when they are gone. So a worker can leave without
//! losing anything.
//!
//! Deliberately absent: engine, upstream connections, timers of questions: the first worker's.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use dotward_core::exchange::{Asked, Request};
use dotward_core::time::Moment;
use tokio::net::TcpStream;

use super::Supplies;
use super::busy::BusyWatch;
use super::link::{Handed, Inbox, Instruction, Link};
use super::readers::{self, Readers, UdpSockets};
use crate::clock;
use crate::listen::{accept, stream};
use crate::near::{Far, Host, Near, ReplyTo};
use crate::run::local_runtime;
use crate::signal::Ready;

/// What a further worker begins with.
pub(crate) struct Kit {
    /// Its place among all workers; the first one has 0.
    pub(crate) number: usize,
    pub(crate) link: Arc<Link>,
    pub(crate) supplies: Supplies,
    pub(crate) sockets: Vec<UdpSockets>,
}

/// Starts the thread and waits until it can serve.
pub(crate) fn start(kit: Kit) -> io::Result<JoinHandle<()>> {
    let (ready, started) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("worker {}", kit.number + 1))
        .spawn(move || match local_runtime() {
            Ok(runtime) => {
                report(&ready, Ok(()));
                runtime.block_on(run(kit));
            }
            Err(error) => report(&ready, Err(error)),
        })?;
    match started.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("a worker ended at once")),
    }
}

fn report(ready: &mpsc::SyncSender<io::Result<()>>, result: io::Result<()>) {
    // Who started the thread waits for exactly this.
    drop(ready.send(result));
}

/// The state of a further worker and its way to the first.
struct Further {
    link: Arc<Link>,
    state: RefCell<State>,
}

struct State {
    near: Near,
    hand: Hand,
    draining: bool,
    busy: BusyWatch,
}

/// Collects what is to be handed over.
struct Hand {
    batch: Vec<Handed>,
    /// Questions of this worker that the engine has, or that wait for it.
    in_flight: usize,
}

impl Far for Hand {
    fn forward(&mut self, request: Request, to: ReplyTo, _: Moment) {
        self.batch.push(Handed::Question(request, to));
        self.in_flight += 1;
    }

    fn refresh(&mut self, asked: Asked, _: Moment) {
        self.batch.push(Handed::Refresh(asked));
    }
}

/// Hands over `batch` and refuses what does not fit. Gives back how many questions that were.
pub(super) fn hand_over(
    link: &Link,
    near: &mut Near,
    batch: &mut Vec<Handed>,
    now: Moment,
) -> usize {
    link.hand_over(batch);
    let mut refused = 0;
    for handed in batch.drain(..) {
        let Handed::Question(request, to) = handed else {
            continue;
        };
        refused += 1;
        near.counters.shed.add(1);
        let mut reply = mem::take(&mut near.reply);
        near.front.refuse_overloaded(&request, now, &mut reply);
        near.deliver(to, &reply, now);
        near.reply = reply;
    }
    refused
}

impl State {
    /// Hands over what this turn brought. What does not fit is refused.
    fn settle(&mut self, link: &Link, now: Moment) {
        if !self.hand.batch.is_empty() {
            let refused = hand_over(link, &mut self.near, &mut self.hand.batch, now);
            self.hand.in_flight -= refused;
        }
        self.near.flush();
        if self.draining && self.hand.in_flight == 0 && self.near.owes_nothing() {
            link.report_quiet();
        }
    }
}

impl Host for Further {
    type Far = Hand;

    fn near_turn<R>(self: &Rc<Self>, input: impl FnOnce(&mut Near, &mut Hand, Moment) -> R) -> R {
        let now = clock::now();
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let result = input(&mut state.near, &mut state.hand, now);
        // The first worker looks at the counters when it is time for it.
        state.busy.handle_turn(now, &state.near.counters);
        state.settle(&self.link, now);
        state.near.end_turn(now);
        result
    }
}

/// Serves until told to close.
async fn run(kit: Kit) {
    let near = kit.supplies.near(Arc::clone(&kit.link.counters));
    let nudge = Rc::clone(&near.nudge);
    let worker = Rc::new(Further {
        link: kit.link,
        state: RefCell::new(State {
            near,
            hand: Hand {
                batch: Vec::new(),
                in_flight: 0,
            },
            draining: false,
            busy: BusyWatch::default(),
        }),
    });
    let mut readers = Readers::open(&worker, &kit.sockets, kit.number);
    let mut inbox = Inbox::default();
    loop {
        tokio::select! {
            () = worker.link.told() => {}
            ready = nudge.poked(None) => debug_assert!(ready == Ready::Io),
        }
        worker.link.take_inbox(&mut inbox);
        worker.near_turn(|near, hand, now| {
            hand.in_flight -= inbox.replies.len();
            let deliver = |to, message: &[u8]| near.deliver(to, message, now);
            inbox.replies.drain(deliver);
        });
        for instruction in inbox.instructions.drain(..) {
            if !follow(&worker, &mut readers, instruction).await {
                return;
            }
        }
    }
}

fn report_unread(worker: &Further, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "a worker cannot read its sockets; the first one does");
        worker.link.report_failed();
    }
}

/// False when the end has come.
async fn follow(worker: &Rc<Further>, readers: &mut Readers, instruction: Instruction) -> bool {
    match instruction {
        Instruction::Share { active } => {
            report_unread(worker, readers.share(worker, active));
        }
        Instruction::Open(sockets) => report_unread(worker, readers.add(worker, sockets)),
        Instruction::Shut(address) => readers.remove(worker, address),
        Instruction::Admit {
            socket,
            address,
            tls,
        } => match TcpStream::from_std(socket) {
            Ok(socket) => accept::admit(worker, socket, address, tls),
            Err(error) => tracing::debug!(%error, %address, "a client is let go"),
        },
        Instruction::Beat => worker.link.counters.beats.add(1),
        Instruction::LetGo { same_trust } => {
            worker.near_turn(|near, _, _| near.let_go_of_distrusted(same_trust));
        }
        Instruction::Terms(terms) => worker.near_turn(|near, _, _| near.adopt(*terms)),
        Instruction::Drain => {
            readers::ended(readers.stop()).await;
            worker.near_turn(stream::read_last);
            worker.state.borrow_mut().draining = true;
            worker.near_turn(|_, _, _| ());
        }
        Instruction::Close => {
            drop(readers.stop());
            worker.state.borrow_mut().near.clients.close_all();
            return false;
        }
    }
    true
}
