//! The clients who wait for one question, in the order of their deadlines.
//!
//! A question mostly has one, who takes no memory beside the exchange. Where many wait, each is taken out in turn when its time has passed
//! and costs the same, however many are left.
//!
//! Deliberately absent: how many there may be (see [`Exchange::admits`](super::Exchange::admits)).

use std::collections::VecDeque;
use std::collections::vec_deque;

use smallvec::SmallVec;

use super::Waiter;
use crate::time::Moment;

/// Clients who are taken out together; mostly one.
pub(crate) type TakenOut<C> = SmallVec<[Waiter<C>; 1]>;

/// A queue of clients whose first one is in place.
#[derive(Debug)]
pub(crate) struct Waiters<C> {
    first: Option<Waiter<C>>,
    /// Empty when there is no first one.
    rest: VecDeque<Waiter<C>>,
}

impl<C> Default for Waiters<C> {
    fn default() -> Self {
        Self {
            first: None,
            rest: VecDeque::new(),
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
        self.first.iter().chain(&self.rest)
    }

    /// Another client, whose deadline is the latest.
    pub(super) fn push(&mut self, waiter: Waiter<C>) {
        match self.first {
            None => self.first = Some(waiter),
            Some(_) => self.rest.push_back(waiter),
        }
    }

    /// A client that was taken out comes back to its place.
    pub(super) fn put_back(&mut self, waiter: Waiter<C>) {
        let earlier = |other: &Waiter<C>| other.deadline <= waiter.deadline;
        if self.first.as_ref().is_some_and(earlier) {
            let place = self.rest.partition_point(earlier);
            self.rest.insert(place, waiter);
        } else {
            self.push_front(waiter);
        }
    }

    /// Takes out those whose deadline is not after `until`.
    pub(super) fn take_until(&mut self, until: Moment) -> TakenOut<C> {
        core::iter::from_fn(|| self.pop_until(until)).collect()
    }

    /// The same, but only those who would rather have an answer past its time.
    pub(super) fn take_stale(&mut self, until: Moment) -> TakenOut<C> {
        let mut others = TakenOut::new();
        let mut taken = TakenOut::new();
        while let Some(waiter) = self.pop_until(until) {
            let list = if waiter.stale {
                &mut taken
            } else {
                &mut others
            };
            list.push(waiter);
        }
        while let Some(waiter) = others.pop() {
            self.push_front(waiter);
        }
        taken
    }

    fn pop_until(&mut self, until: Moment) -> Option<Waiter<C>> {
        let due = self.first.take_if(|waiter| waiter.deadline <= until)?;
        self.first = self.rest.pop_front();
        Some(due)
    }

    fn push_front(&mut self, waiter: Waiter<C>) {
        if let Some(second) = self.first.replace(waiter) {
            self.rest.push_front(second);
        }
    }
}

impl<C> IntoIterator for Waiters<C> {
    type Item = Waiter<C>;
    type IntoIter =
        core::iter::Chain<core::option::IntoIter<Waiter<C>>, vec_deque::IntoIter<Waiter<C>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
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
    fn they_are_taken_out_in_order_and_come_back_to_their_places() {
        let mut waiters = Waiters::default();
        (1..=6).for_each(|client| waiters.push(waiter(client, client % 2 == 0)));
        assert_eq!(clients(&waiters.take_stale(at(5))), [2, 4]);
        assert_eq!(clients(waiters.iter()), [1, 3, 5, 6]);
        for client in [4, 2] {
            waiters.put_back(waiter(client, false));
        }
        assert_eq!(clients(waiters.iter()), [1, 2, 3, 4, 5, 6]);
        assert_eq!(clients(&waiters.take_stale(at(5))), []);
        assert_eq!(clients(&waiters.take_until(at(0))), []);
        assert_eq!(clients(&waiters.take_until(at(3))), [1, 2, 3]);
        waiters.put_back(waiter(3, false));
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
