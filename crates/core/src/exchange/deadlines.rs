//! What is due when.
//!
//! Most of it comes in the order in which it will be due and stands in a queue, which costs next to nothing. What comes later and is due
//! earlier, because a question had waited before it was read, stands in a heap beside it.
//!
//! Deliberately absent: taking entries of finished exchanges out of the middle. They stay until they come first.

use core::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::ExchangeId;
use crate::time::Moment;

/// Exchanges in the order of when something of them is due; an exchange may stand there several times.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    queue: VecDeque<(Moment, ExchangeId)>,
    earlier: BinaryHeap<Reverse<(Moment, ExchangeId)>>,
}

impl Deadlines {
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.earlier.len()
    }

    pub(super) fn push(&mut self, due: Moment, id: ExchangeId) {
        if self.queue.back().is_some_and(|(last, _)| due < *last) {
            self.earlier.push(Reverse((due, id)));
        } else {
            self.queue.push_back((due, id));
        }
    }

    pub(super) fn first(&self) -> Option<(Moment, ExchangeId)> {
        self.heads().min()
    }

    /// The first of those that came in order, and the first of the others.
    pub(super) fn heads(&self) -> impl Iterator<Item = (Moment, ExchangeId)> {
        let queue = self.queue.front().copied();
        let earlier = self.earlier.peek().map(|Reverse(entry)| *entry);
        queue.into_iter().chain(earlier)
    }

    /// Takes the first out when it is due.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<ExchangeId> {
        let first = self.first().filter(|(due, _)| *due <= now)?;
        if self.queue.front() == Some(&first) {
            self.queue.pop_front();
        } else {
            self.earlier.pop();
        }
        Some(first.1)
    }

    /// Takes out what is at either head and is `over`.
    pub(super) fn drop_while(&mut self, over: impl Fn(ExchangeId) -> bool) {
        while self.queue.front().is_some_and(|(_, id)| over(*id)) {
            self.queue.pop_front();
        }
        while self.earlier.peek().is_some_and(|it| over(it.0.1)) {
            self.earlier.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use slotmap::SlotMap;

    use super::*;

    #[test]
    fn everything_is_due_in_its_order_however_it_comes() {
        let mut ids = SlotMap::<ExchangeId, ()>::with_key();
        let mut deadlines = Deadlines::default();
        let at = |millis| Moment::ZERO + Duration::from_millis(millis);
        let came = [5, 9, 7, 9, 2, 12, 11, 8].map(|due| {
            let id = ids.insert(());
            deadlines.push(at(due), id);
            (at(due), id)
        });
        assert_eq!(deadlines.pop_due(at(1)), None);
        let mut left: Vec<_> = came.into_iter().collect();
        left.sort();
        while let Some(first) = deadlines.first() {
            assert_eq!(first, left.remove(0));
            assert_eq!(deadlines.pop_due(first.0), Some(first.1));
            assert_eq!(deadlines.len(), left.len());
        }
        assert!(left.is_empty());
    }
}
