//! Errands: how other threads have a worker do something in a turn of its own.
//!
//! Promises: what is asked is done between two inputs, with the worker's state to itself; a worker that is gone, stuck or swamped
//! gives `None` instead of making anybody wait without end; nothing here lies on the path of a question.

use std::rc::Rc;
use std::time::Duration;

use dotward_core::time::Moment;
use tokio::sync::{mpsc, oneshot};

use crate::limits::ERRANDS;
use crate::worker::{State, Worker};

/// Something to do in a turn.
type Errand = Box<dyn FnOnce(&mut State, Moment) + Send>;

/// Where errands for one worker are left. May be cloned and sent to other threads.
#[derive(Clone, Debug)]
pub(crate) struct Post(mpsc::Sender<Errand>);

/// Where the worker finds them.
#[derive(Debug)]
pub(crate) struct Inbox(mpsc::Receiver<Errand>);

/// An address for errands and the place where they are found.
pub(crate) fn open() -> (Post, Inbox) {
    let (sender, receiver) = mpsc::channel(ERRANDS);
    (Post(sender), Inbox(receiver))
}

impl Inbox {
    /// Has the worker of this thread do what is found, until nobody can leave anything any more.
    pub(crate) fn serve(mut self, worker: &Rc<Worker>) {
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move {
            while let Some(errand) = self.0.recv().await {
                worker.turn(|state, _, now| errand(state, now));
            }
        });
    }
}

impl Post {
    /// Has `errand` done and gives back what came of it. `None` when the worker is gone, when too many errands wait, or when it was not
    /// done `within`; it may be done later in the last case.
    pub(crate) async fn ask<R: Send + 'static>(
        &self,
        within: Duration,
        errand: impl FnOnce(&mut State, Moment) -> R + Send + 'static,
    ) -> Option<R> {
        let (tell, told) = oneshot::channel();
        let errand: Errand = Box::new(move |state, now| {
            // Whoever asked may have gone.
            drop(tell.send(errand(state, now)));
        });
        self.0.try_send(errand).ok()?;
        tokio::time::timeout(within, told).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::local_runtime;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn an_errand_is_done_in_a_turn_and_its_result_comes_back() {
        local_runtime().unwrap().block_on(async {
            let worker = Worker::start(State::for_test());
            let (post, inbox) = open();
            inbox.serve(&worker);
            let asked = post.ask(SOON, |state, _| state.engine.in_flight()).await;
            assert_eq!(asked, Some(0));
        });
    }

    #[test]
    fn a_worker_that_does_not_turn_keeps_nobody_waiting() {
        let runtime = local_runtime().unwrap();
        runtime.block_on(async {
            let (post, inbox) = open();
            let within = Duration::from_millis(1);
            for _ in 0..2 * ERRANDS {
                assert_eq!(post.ask(within, |_, _| ()).await, None);
            }
            drop(inbox);
            assert_eq!(post.ask(SOON, |_, _| ()).await, None);
        });
    }
}
