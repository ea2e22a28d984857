//! The cache that several instances share, over the protocol of Redis and Valkey.
//!
//! A thread of its own speaks with the store, so that nothing it does takes time of the worker's; lookups and writes go to it through a
//! bounded channel, many of them become one pipeline, and what was found comes back to the engine, which decides.
//!
//! Promises: the program starts and runs without the store; nothing waits for it but by the engine's own budget; passwords come from files
//! and appear in no log.
//!
//! `place` says where it is, `store` what is needed to be let in, `link` keeps connections, `speaker` speaks.
//!
//! Deliberately absent: reading from replicas. What they have may be old, and the master has room for lookups.

mod link;
mod place;
mod speaker;
mod store;

use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use dotward_core::engine::Engine;
use dotward_core::shared::{BreakerState, SharedAction, SharedAnswer, SharedTicket};
use dotward_core::time::Moment;
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::limits::{SHARED_ANSWERS, SHARED_JOBS};
use crate::worker::{AskedBy, Worker};

pub(crate) use place::{Place, Ports};
pub(crate) use store::Store;
pub use store::StoreError;

/// What became of lookups.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Of one lookup.
    Found(SharedTicket, Vec<u8>),
    /// Nothing is there.
    NotThere(SharedTicket),
    /// The store failed.
    Failed(SharedTicket),
    /// Of writes: so many are there, so many are not.
    Written {
        /// The store has them.
        kept: u64,
        /// It has them not.
        dropped: u64,
    },
}

/// What went wrong last, in the store's own words.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastFault(Arc<Mutex<Option<String>>>);

impl LastFault {
    fn note(&self, fault: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    pub(crate) fn text(&self) -> Option<String> {
        let fault = self.0.lock();
        fault.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct SharedCache {
    jobs: Option<mpsc::Sender<SharedAction>>,
    /// Nothing is ever sent: the end of this side ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    known: BreakerState,
    fault: LastFault,
}

impl Drop for SharedCache {
    fn drop(&mut self) {
        // It may be waiting for room for what it has to tell, which nobody takes while this thread waits for it.
        drop(self.stop.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Begins to speak with the store, and to feed the engine of `worker` with what is found.
///
/// # Errors
///
/// When the system gives no thread or event loop.
pub(crate) fn start(worker: &Rc<Worker>, store: Store) -> io::Result<()> {
    let (jobs, taken) = mpsc::channel(SHARED_JOBS);
    let (outcomes, arriving) = mpsc::channel(SHARED_ANSWERS);
    let fault = LastFault::default();
    let (stop, stopped) = oneshot::channel();
    let thread = speaker::spawn(store, taken, outcomes, fault.clone(), stopped)?;
    worker.turn(|state, _, _| {
        state.shared = Some(SharedCache {
            jobs: Some(jobs),
            stop: Some(stop),
            thread: Some(thread),
            known: BreakerState::Closed,
            fault,
        });
    });
    tokio::task::spawn_local(take_outcomes(Rc::clone(worker), arriving));
    Ok(())
}

async fn take_outcomes(worker: Rc<Worker>, mut arriving: mpsc::Receiver<Vec<Outcome>>) {
    let mut batches = Vec::new();
    while arriving.recv_many(&mut batches, SHARED_ANSWERS).await > 0 {
        worker.turn(|state, _, now| {
            for outcome in batches.iter().flatten() {
                take_outcome(&mut state.engine, outcome, now);
            }
        });
        batches.clear();
    }
}

fn take_outcome(engine: &mut Engine<AskedBy>, outcome: &Outcome, now: Moment) {
    let wall = clock::wall();
    let (ticket, answer) = match outcome {
        Outcome::Found(ticket, octets) => (ticket, SharedAnswer::Found(octets)),
        Outcome::NotThere(ticket) => (ticket, SharedAnswer::NotThere),
        Outcome::Failed(ticket) => (ticket, SharedAnswer::Failed),
        Outcome::Written { kept, dropped } => return engine.handle_shared_writes(*kept, *dropped),
    };
    engine.handle_shared_answer(*ticket, answer, wall, now);
}

impl SharedCache {
    /// Hands over what the engine wants of the store. True when the engine has something to do because of it.
    pub(crate) fn exchange(&mut self, engine: &mut Engine<AskedBy>, now: Moment) -> bool {
        let mut refused = false;
        while let Some(action) = engine.poll_shared(clock::wall(), now) {
            let given = self.jobs.as_ref().map(|jobs| jobs.try_send(action));
            let Some(Err(error)) = given else { continue };
            refused = true;
            match error.into_inner() {
                SharedAction::Fetch { ticket, .. } => {
                    take_outcome(engine, &Outcome::Failed(ticket), now);
                }
                SharedAction::Keep { .. } => engine.handle_shared_writes(0, 1),
            }
        }
        self.tell_state(engine);
        refused
    }

    /// What went wrong last.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.text()
    }

    /// Logs that the shared cache is, or is no more, asked.
    fn tell_state(&mut self, engine: &Engine<AskedBy>) {
        let Some(stats) = engine.shared_stats() else {
            return;
        };
        let before = std::mem::replace(&mut self.known, stats.breaker);
        match (before, stats.breaker) {
            (BreakerState::Closed, BreakerState::Open) => {
                let why = self.fault.text();
                let why = why.as_deref().unwrap_or("it does not answer in time");
                tracing::warn!(
                    why,
                    "the shared cache is left alone; it is tried again in the background"
                );
            }
            (BreakerState::Open | BreakerState::HalfOpen, BreakerState::Closed) => {
                tracing::info!("the shared cache answers again");
            }
            (BreakerState::Closed, BreakerState::Closed | BreakerState::HalfOpen)
            | (
                BreakerState::Open | BreakerState::HalfOpen,
                BreakerState::Open | BreakerState::HalfOpen,
            ) => {}
        }
    }
}

#[cfg(test)]
mod tests;
