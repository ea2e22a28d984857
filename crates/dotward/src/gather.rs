//! When a worker pauses before it looks at its sockets again.
//!
//! A record and a write for an upstream, a read from it and a look at which sockets are ready cost the same for one message as for ten. A worker
//! that forwards faster than questions come does all of that for each message or two. So it pauses for a moment before it looks, as network
//! cards do before they interrupt. What is answered here has nothing of that kind to share, and does not make a worker pause.
//!
//! Promises:
//! - No message waits for more than [`GATHER_PAUSE`] because of this, and none while fewer than [`GATHER_RATE`] are forwarded: what few clients
//!   ask is answered at once.
//! - A worker that found [`GATHER_ENOUGH`] messages at its last look does not pause: at its limit it never does, and can do as much as without.
//!
//! Deliberately absent: what the messages are. What is gathered then leaves together because it is found together (`worker`).

use std::cell::{Cell, RefCell};

use dotward_core::time::Moment;

use crate::clock;
use crate::limits::{GATHER_ENOUGH, GATHER_PAUSE, GATHER_RATE, GATHER_WINDOW};

thread_local! {
    static HANDLED: Cell<Handled> = const { Cell::new(Handled { messages: 0, forwarded: 0 }) };
    static GATHERING: RefCell<Gathering> = RefCell::default();
}

/// Messages of one thread since it began. They only grow; at a billion a second for five hundred years.
#[derive(Clone, Copy, Debug, Default)]
struct Handled {
    /// Queries taken from clients, and answers of upstreams delivered to them.
    messages: u64,
    /// Questions given away to be forwarded, and those answers.
    forwarded: u64,
}

/// Notes that this thread took a query.
pub(crate) fn note_query() {
    let handled = HANDLED.get();
    HANDLED.set(Handled {
        messages: handled.messages + 1,
        ..handled
    });
}

/// Notes that this thread gave away the question of a query it took.
pub(crate) fn note_forwarded() {
    let handled = HANDLED.get();
    HANDLED.set(Handled {
        forwarded: handled.forwarded + 1,
        ..handled
    });
}

/// Notes that this thread delivered the answer of an upstream.
pub(crate) fn note_answer() {
    note_query();
    note_forwarded();
}

/// To be called by a thread that serves, when it has done everything it knew of.
pub(crate) fn before_look() {
    let pauses = GATHERING.with_borrow_mut(|it| it.handle_look(HANDLED.get(), clock::now));
    if pauses {
        std::thread::sleep(GATHER_PAUSE);
    }
}

/// Makes the pauses of this thread as short as they are meant. The kernel makes sleeps longer by 50 µs otherwise, to have timers expire together.
pub(crate) fn keep_time() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(core::num::NonZeroU64::new(1)) {
        tracing::debug!(%error, "pauses of a busy worker are longer than they are meant");
    }
}

/// What a thread did lately.
#[derive(Debug, Default)]
struct Gathering {
    /// When the rate was looked at last, and messages forwarded until then.
    window: (Moment, u64),
    /// So many were forwarded in the window before that pauses are worth it.
    frequent: bool,
    /// Messages handled until the last look.
    messages: u64,
}

impl Gathering {
    /// The thread is about to look, with `handled` behind it. True when it is to pause before. The clock is not read while nothing is
    /// forwarded: answers from here pay for one reading a batch, which is the worker's own.
    fn handle_look(&mut self, handled: Handled, clock: impl FnOnce() -> Moment) -> bool {
        let (began, before) = self.window;
        let found = handled.messages - std::mem::replace(&mut self.messages, handled.messages);
        if !self.frequent && handled.forwarded == before {
            return false;
        }
        let now = clock();
        let passed = now.since(began);
        if passed >= GATHER_WINDOW {
            let came = u128::from(handled.forwarded - before);
            self.frequent = came * 1_000_000_000 >= u128::from(GATHER_RATE) * passed.as_nanos();
            self.window = (now, handled.forwarded);
        }
        self.frequent && found < GATHER_ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A thread whose every look finds the same.
    #[derive(Default)]
    struct Thread {
        gathering: Gathering,
        handled: Handled,
        now: Moment,
    }

    impl Thread {
        /// Finds so many messages, of which some are forwarded, and works on them. True when it pauses then.
        fn look(&mut self, (messages, forwarded): (u64, u64), work: Duration) -> bool {
            self.now = self.now + work;
            self.handled.messages += messages;
            self.handled.forwarded += forwarded;
            let now = self.now;
            self.gathering.handle_look(self.handled, || now)
        }

        /// Says how many of ten thousand looks were after a pause.
        fn live(&mut self, found: (u64, u64), work: Duration) -> usize {
            let mut pauses = 0;
            for _ in 0..10_000 {
                if self.look(found, work) {
                    self.now = self.now + GATHER_PAUSE;
                    pauses += 1;
                }
            }
            pauses
        }
    }

    #[test]
    fn nobody_waits_while_few_messages_are_forwarded() {
        let gap = Duration::from_secs(1) / u32::try_from(GATHER_RATE).unwrap();
        let slower = gap + Duration::from_micros(1);
        assert_eq!(Thread::default().live((1, 1), slower), 0);
        // Many at once, and seldom.
        assert_eq!(Thread::default().live((10, 10), 10 * slower), 0);
        // Many, and hardly one of them forwarded.
        assert_eq!(Thread::default().live((10, 1), slower), 0);
    }

    #[test]
    fn who_forwards_little_at_each_of_many_looks_pauses() {
        let pauses = Thread::default().live((4, 4), Duration::from_micros(20));
        assert!(pauses > 9_000, "{pauses}");
    }

    #[test]
    fn who_finds_enough_does_not_pause() {
        let work = Duration::from_micros(3 * GATHER_ENOUGH);
        let found = (GATHER_ENOUGH, GATHER_ENOUGH / 2);
        assert_eq!(Thread::default().live(found, work), 0);
    }

    #[test]
    fn the_clock_is_not_read_while_nothing_is_forwarded() {
        let mut thread = Thread::default();
        let mut readings = 0;
        for (messages, forwarded) in [(1, 0), (20, 0), (21, 1), (40, 1)] {
            let handled = Handled {
                messages,
                forwarded,
            };
            let clock = || {
                readings += 1;
                Moment::ZERO + 2 * GATHER_WINDOW
            };
            assert!(!thread.gathering.handle_look(handled, clock));
        }
        assert_eq!(readings, 1);
    }

    #[test]
    fn the_pauses_end_with_the_rush() {
        let mut thread = Thread::default();
        thread.live((4, 4), Duration::from_micros(20));
        assert!(thread.gathering.frequent);
        assert!(!thread.look((1, 1), 2 * GATHER_WINDOW));
    }
}
