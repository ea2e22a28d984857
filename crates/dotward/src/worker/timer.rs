//! What time asks of the engine, and when it is done.
//!
//! Promises: what is due is done within a millisecond or with the next turn. After a pause of the process or its machine, sockets are read
//! before anything that became due meanwhile is judged.
//!
//! Deliberately absent: what is due (see `dotward_core::engine`).

use std::rc::Rc;

use dotward_core::limits::LATENESS_MAX;
use dotward_core::time::Moment;

use super::{State, Worker};
use crate::clock;
use crate::limits::LOOKS_BEFORE_OVERDUE;

impl State {
    /// Whether something was to be done so long ago that nobody here can have been awake. What came meanwhile is read first: among it are
    /// the answers that would be missed.
    pub(super) fn is_overdue(&self, now: Moment) -> bool {
        let due = self.engine.poll_timeout();
        due.is_some_and(|due| now.since(due) > LATENESS_MAX)
    }
}

impl Worker {
    /// Does what time asks. Gives back when it asks for something next.
    pub(super) fn fire(self: &Rc<Self>) -> Option<Moment> {
        // The timer looks itself once the turn is over; before, it would be told what is due now.
        self.turn(|state, _, _| {
            state.armed = Some(Moment::ZERO);
            state.looked = true;
        });
        let mut state = self.state.borrow_mut();
        state.armed = state.engine.poll_timeout();
        state.armed
    }
}

/// Wakes the engine at its deadlines. Deadlines mostly move away, so the task sleeps until the earliest it was told of and looks again then,
/// rather than being told of each. What is due waits for the other tasks and the sockets to have their turn, and for no timer, which ends
/// with the next millisecond at the earliest: the engine may have hundreds of turns to catch up on.
///
/// A process that was stopped finds its timers before it is told of its sockets, so a timer that is long overdue lets them be read.
pub(super) async fn run(worker: Rc<Worker>) {
    while !worker.timer.is_stopped() {
        match worker.fire() {
            None => worker.timer.poked(None).await,
            Some(due) => {
                let left = due.since(clock::now());
                if left.is_zero() {
                    tokio::task::yield_now().await;
                    continue;
                }
                let sleep = tokio::time::sleep(left);
                worker.timer.poked(Some(std::pin::pin!(sleep))).await
            }
        };
        for _ in 0..LOOKS_BEFORE_OVERDUE {
            if worker.state.borrow().is_overdue(clock::now()) {
                tokio::task::yield_now().await;
            }
        }
    }
}
