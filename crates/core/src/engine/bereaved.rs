//! Questions whose connection has ended and that are still to be sent elsewhere.
//!
//! A connection may leave tens of thousands behind. They are moved in order, [`QUESTIONS_PER_TURN`] at a time; who waits longer than his
//! budget meanwhile is told so like anybody else.
//!
//! Deliberately absent: where they go (see [`attempt`](super::attempt)).

use std::collections::VecDeque;

use super::{Engine, Owner};
use crate::exchange::ExchangeId;
use crate::limits::QUESTIONS_PER_TURN;
use crate::time::Moment;
use crate::upstream::{CloseReason, ConnectionId};

/// One question and what it lost.
#[derive(Debug)]
struct Bereft {
    exchange: ExchangeId,
    connection: ConnectionId,
    was_ready: bool,
    reason: CloseReason,
}

/// All of them, in the order in which they lost it.
#[derive(Debug, Default)]
pub(super) struct Bereaved(VecDeque<Bereft>);

impl Bereaved {
    /// These were on a connection that has ended.
    pub(super) fn extend(
        &mut self,
        owners: Vec<Owner>,
        connection: ConnectionId,
        was_ready: bool,
        reason: CloseReason,
    ) {
        let exchanges = owners.into_iter().filter_map(|owner| match owner {
            Owner::Exchange(exchange) => Some(exchange),
            Owner::Probe(_) => None,
        });
        self.0.extend(exchanges.map(|exchange| Bereft {
            exchange,
            connection,
            was_ready,
            reason,
        }));
    }

    /// At once, as long as there are any.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        (!self.0.is_empty()).then_some(Moment::ZERO)
    }
}

impl<C> Engine<C> {
    /// Moves those that lost their connection first.
    pub(super) fn move_bereaved(&mut self, now: Moment) {
        for _ in 0..QUESTIONS_PER_TURN {
            let Some(next) = self.bereaved.0.pop_front() else {
                return;
            };
            self.move_exchange(
                next.exchange,
                next.connection,
                next.was_ready,
                next.reason,
                now,
            );
        }
    }
}
