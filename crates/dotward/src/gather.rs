//! When a worker pauses before it looks at its sockets again.
//!
//! Waking up, asking which sockets are ready, a record and a write for an upstream cost the same for one message as for ten. A worker that is
//! faster than what comes looks again after each message or two, and most of what it does is looking. So it pauses for a moment before it
//! looks, as network cards do before they interrupt.
//!
//! Promises:
//! - No message waits for more than [`GATHER_PAUSE`] because of this, and none while fewer than [`GATHER_RATE`] come: what few clients
//!   ask is answered at once.
//! - A worker that found [`GATHER_ENOUGH`] messages at its last look does not pause: at its limit it never does, and can do as much as without.
//!
//! Deliberately absent: what the messages are. What is gathered then leaves together because it is found together (`worker`).

use std::cell::{Cell, RefCell};

use dotward_core::time::Moment;

use crate::clock;
use crate::limits::{GATHER_ENOUGH, GATHER_PAUSE, GATHER_RATE, GATHER_WINDOW};

thread_local! {
    /// Messages this thread has taken from clients and delivered to them from upstreams.
    static HANDLED: Cell<u64> = const { Cell::new(0) };
    static GATHERING: RefCell<Gathering> = RefCell::default();
}

/// Notes that this thread handled a message.
pub(crate) fn note_message() {
    HANDLED.set(HANDLED.get().wrapping_add(1));
}

/// To be called by a thread that serves, when it has done everything it knew of.
pub(crate) fn before_look() {
    let pauses = GATHERING.with_borrow_mut(|it| it.handle_look(HANDLED.get(), clock::now()));
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
    /// When the rate was looked at last, and messages handled until then.
    window: (Moment, u64),
    /// So many messages came in the window before that pauses are worth it.
    frequent: bool,
    /// Messages handled until the last look.
    handled: u64,
}

impl Gathering {
    /// The thread is about to look, with `handled` messages behind it. True when it is to pause before.
    fn handle_look(&mut self, handled: u64, now: Moment) -> bool {
        let (began, before) = self.window;
        let passed = now.since(began);
        if passed >= GATHER_WINDOW {
            let came = u128::from(handled.wrapping_sub(before));
            self.frequent = came * 1_000_000_000 >= u128::from(GATHER_RATE) * passed.as_nanos();
            self.window = (now, handled);
        }
        let found = handled.wrapping_sub(std::mem::replace(&mut self.handled, handled));
        self.frequent && found < GATHER_ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Looks for a second, each time after `found` messages and, pauses aside, `work`. Says how many looks there were and how many pauses.
    fn live(gathering: &mut Gathering, found: u64, work: Duration) -> (u32, u32) {
        let mut now = gathering.window.0;
        let end = now + Duration::from_secs(1);
        let (mut looks, mut pauses) = (0, 0);
        while now < end {
            now = now + work;
            looks += 1;
            if gathering.handle_look(gathering.handled + found, now) {
                now = now + GATHER_PAUSE;
                pauses += 1;
            }
        }
        (looks, pauses)
    }

    #[test]
    fn nobody_waits_while_few_messages_come() {
        let gap = Duration::from_secs(1) / u32::try_from(GATHER_RATE).unwrap();
        let slower = gap + Duration::from_micros(1);
        assert_eq!(live(&mut Gathering::default(), 1, slower).1, 0);
        // Many at once, and seldom.
        assert_eq!(live(&mut Gathering::default(), 10, 10 * slower).1, 0);
    }

    #[test]
    fn who_finds_little_at_each_of_many_looks_pauses() {
        let (looks, pauses) = live(&mut Gathering::default(), 4, Duration::from_micros(20));
        assert!(
            looks > 10_000 && pauses > looks * 9 / 10,
            "{looks} {pauses}"
        );
    }

    #[test]
    fn who_finds_enough_does_not_pause() {
        let work = Duration::from_micros(3 * GATHER_ENOUGH);
        assert_eq!(live(&mut Gathering::default(), GATHER_ENOUGH, work).1, 0);
    }

    #[test]
    fn the_pauses_end_with_the_rush() {
        let mut gathering = Gathering::default();
        live(&mut gathering, 4, Duration::from_micros(20));
        assert!(gathering.frequent);
        let later = gathering.window.0 + 2 * GATHER_WINDOW;
        assert!(!gathering.handle_look(gathering.handled + 1, later));
    }
}
