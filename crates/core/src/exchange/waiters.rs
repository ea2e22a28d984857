//! The clients who wait for one question, in the order of their deadlines.
//!
//! A question mostly has one, who takes no memory beside the exchange. Where many wait, each comes and is taken out at the same small cost,
//! however many there are and in whatever order they came.
//!
//! Deliberately absent: how many there may be (see [`Exchange::admits`](super::Exchange::admits)).

use std::collections::BTreeMap;
use std::collections::btree_map;

use smallvec::SmallVec;

use super::Waiter;
use crate::time::Moment;

/// Clients who are taken out together; mostly one.
pub(crate) type TakenOut<C> = SmallVec<[Waiter<C>; 1]>;

/// A queue of clients whose first one is in place.
#[derive(Debug)]
pub(crate) struct Waiters<C> {
    first: Option<Waiter<C>>,
    /// By deadline, and by a number among those who have the same; none is before the first one's. Empty when there is no first one.
    rest: BTreeMap<(Moment, u64), Waiter<C>>,
    /// The number of the latest one.
    numbered: u64,
}

impl<C> Default for Waiters<C> {
    fn default() -> Self {
        Self {
            first: None,
            rest: BTreeMap::new(),
            numbered: 0,
        }
    }
}

impl<C> Waiters<C> {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiter<C>> {
        self.first.iter().chain(self.rest.values())
    }

    /// When the last one's time has passed.
    pub(super) fn last_deadline(&self) -> Option<Moment> {
        let last = self.rest.last_key_value().map(|(_, last)| last);
        last.or(self.first.as_ref()).map(|last| last.deadline)
    }

    /// Another client, or one that was taken out and comes back. It stands behind those with the same deadline.
    pub(super) fn push(&mut self, waiter: Waiter<C>) {
        let behind = match self.first.take_if(|first| waiter.deadline < first.deadline) {
            Some(later) => {
                self.first = Some(waiter);
                later
            }
            None if self.first.is_none() => {
                self.first = Some(waiter);
                return;
            }
            None => waiter,
        };
        self.numbered += 1;
        self.rest.insert((behind.deadline, self.numbered), behind);
    }

    /// Takes out the first one.
    pub(crate) fn pop(&mut self) -> Option<Waiter<C>> {
        let first = self.first.take()?;
        self.first = self.rest.pop_first().map(|(_, next)| next);
        Some(first)
    }

    /// Takes out those whose deadline is not after `until`, `most` at most.
    pub(super) fn take_until(&mut self, until: Moment, most: usize) -> TakenOut<C> {
        core::iter::from_fn(|| self.pop_until(until))
            .take(most)
            .collect()
    }

    /// The same, but only those who would rather have an answer past its time.
    pub(super) fn take_stale(&mut self, until: Moment, most: usize) -> TakenOut<C> {
        let mut taken = TakenOut::new();
        taken.extend(self.first.take_if(|it| it.stale && it.deadline <= until));
        let due = self.rest.range(..=(until, u64::MAX));
        let due = due.filter(|(_, it)| it.stale).map(|(place, _)| *place);
        let places: Vec<_> = due.take(most.saturating_sub(taken.len())).collect();
        taken.extend(places.iter().filter_map(|place| self.rest.remove(place)));
        if self.first.is_none() {
            self.first = self.rest.pop_first().map(|(_, next)| next);
        }
        taken
    }

    fn pop_until(&mut self, until: Moment) -> Option<Waiter<C>> {
        let due = self.first.as_ref()?.deadline <= until;
        if due { self.pop() } else { None }
    }
}

impl<C> IntoIterator for Waiters<C> {
    type Item = Waiter<C>;
    type IntoIter = core::iter::Chain<
        core::option::IntoIter<Waiter<C>>,
        btree_map::IntoValues<(Moment, u64), Waiter<C>>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest.into_values())
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::super::Source;
    use super::*;
    use crate::wire::{Asker, Class, Flags, Question, RecordType, ReplyOptions, Transport};

    fn at(millis: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(millis)
    }

    fn waiter(client: u64, stale: bool) -> Waiter<u64> {
        let question = Question::new(&"a".parse().unwrap(), RecordType::A, Class::IN);
        Waiter {
            asker: Asker {
                id: 1,
                flags: Flags::NONE,
                question,
                edns: None,
                options: ReplyOptions::NONE,
                transport: Transport::Udp,
            },
            client,
            deadline: at(client),
            source: Source::of([192, 0, 2, 1].into()),
            stale,
        }
    }

    fn clients<'a>(waiters: impl IntoIterator<Item = &'a Waiter<u64>>) -> Vec<u64> {
        waiters.into_iter().map(|waiter| waiter.client).collect()
    }

    #[test]
    fn whoever_comes_late_for_an_early_deadline_stands_before_those_with_later_ones() {
        let mut waiters = Waiters::default();
        for client in [5, 3, 9, 3, 1, 7] {
            waiters.push(waiter(client, true));
        }
        assert_eq!(clients(waiters.iter()), [1, 3, 3, 5, 7, 9]);
        assert_eq!(clients(&waiters.take_stale(at(5), 2)), [1, 3]);
        assert_eq!(clients(&waiters.take_until(at(5), 1)), [3]);
        assert_eq!(waiters.pop().map(|it| it.client), Some(5));
        assert_eq!(clients(waiters.iter()), [7, 9]);
    }

    #[test]
    fn they_are_taken_out_in_order_and_come_back_to_their_places() {
        let mut waiters = Waiters::default();
        (1..=6).for_each(|client| waiters.push(waiter(client, client % 2 == 0)));
        assert_eq!(clients(&waiters.take_stale(at(5), 9)), [2, 4]);
        assert_eq!(clients(waiters.iter()), [1, 3, 5, 6]);
        for client in [4, 2] {
            waiters.push(waiter(client, false));
        }
        assert_eq!(clients(waiters.iter()), [1, 2, 3, 4, 5, 6]);
        assert_eq!(clients(&waiters.take_stale(at(5), 9)), []);
        assert_eq!(clients(&waiters.take_until(at(0), 9)), []);
        assert_eq!(clients(&waiters.take_until(at(3), 9)), [1, 2, 3]);
        waiters.push(waiter(3, false));
        assert_eq!((waiters.len(), waiters.is_empty()), (4, false));
        let rest: Vec<u64> = core::mem::take(&mut waiters)
            .into_iter()
            .map(|waiter| waiter.client)
            .collect();
        assert_eq!(
            (rest, waiters.len(), waiters.is_empty()),
            (vec![3, 4, 5, 6], 0, true)
        );
    }
}
