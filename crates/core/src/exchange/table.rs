//! All exchanges, found by what they ask, ended by their deadlines.

use core::time::Duration;
use std::collections::VecDeque;

use hashbrown::HashTable;
use slotmap::{SlotMap, new_key_type};

use super::share::{Shares, Source};
use super::{Asked, Attempt, Exchange, ExchangeKey, KeyHasher, Request, TakenOut, Waiter};
use crate::limits::{EXCHANGES_MAX, SHED_AFTER, SIGNED_EXCHANGES_MAX, STALE_AFTER, WAITERS_MAX};
use crate::time::Moment;
use crate::upstream::GroupId;
use crate::wire::{Asker, Transport};

new_key_type! {
    /// Names one exchange; never given to a second one.
    pub(crate) struct ExchangeId;
}

/// What became of a question.
pub(crate) enum Joined<C> {
    /// It began an exchange, which has to be sent.
    Began(ExchangeId),
    /// It waits with others for an exchange that runs.
    Waits,
    /// There is no room; its client is given back.
    Full(Asker, C),
}

/// The exchanges in flight.
#[derive(Debug)]
pub(crate) struct ExchangeTable<C> {
    exchanges: SlotMap<ExchangeId, Exchange<C>>,
    /// The exchanges that can be joined, each with the hash of its key.
    index: HashTable<(u64, ExchangeId)>,
    hasher: KeyHasher,
    /// One entry a waiter, in order, because all waiters have the same budget. Entries of finished exchanges stay until they
    /// reach the front: at most what arrives within one budget.
    deadlines: VecDeque<(Moment, ExchangeId)>,
    /// Likewise for clients who would rather have an answer past its time: when they have waited long enough, which all do equally long.
    stale: VecDeque<(Moment, ExchangeId)>,
    budget: Duration,
    waiters: usize,
    shares: Shares,
    /// Exchanges of signed queries, and whose they are.
    signed: usize,
    signed_shares: Shares,
}

impl<C> ExchangeTable<C> {
    pub(crate) fn new(budget: Duration, hasher: KeyHasher) -> Self {
        Self {
            exchanges: SlotMap::with_key(),
            shares: Shares::new(hasher.clone()),
            signed_shares: Shares::new(hasher.clone()),
            index: HashTable::new(),
            hasher,
            deadlines: VecDeque::new(),
            stale: VecDeque::new(),
            budget,
            waiters: 0,
            signed: 0,
        }
    }

    /// Clients who wait.
    pub(crate) fn waiters(&self) -> usize {
        self.waiters
    }

    pub(crate) fn get(&self, id: ExchangeId) -> Option<&Exchange<C>> {
        self.exchanges.get(id)
    }

    /// Questions in flight.
    pub(crate) fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// Deadlines noted.
    pub(crate) fn deadlines(&self) -> usize {
        self.deadlines.len()
    }

    pub(crate) fn get_mut(&mut self, id: ExchangeId) -> Option<&mut Exchange<C>> {
        self.exchanges.get_mut(id)
    }

    /// Whether an attempt still waits for its response.
    pub(crate) fn runs(&self, id: ExchangeId, attempt: Attempt) -> bool {
        self.exchanges
            .get(id)
            .is_some_and(|exchange| exchange.attempts.contains(&attempt))
    }

    /// Lets a client join the exchange of its question, or begins one. An exchange that has run for half the budget is not joined any
    /// more: its attempts may be used up, and somebody who asks again deserves new ones.
    pub(crate) fn join(&mut self, request: Request, client: C, now: Moment) -> Joined<C> {
        let deadline = now + self.budget;
        let Request {
            asker,
            group,
            source,
            stale,
            signed,
        } = request;
        let asked = Asked::new(&asker, group);
        let key = ExchangeKey::new(&asked, &self.hasher);
        let waiter = Waiter {
            asker,
            client,
            deadline,
            source,
            stale,
        };
        let is_signed = signed.is_some();
        let left = SIGNED_EXCHANGES_MAX.saturating_sub(self.signed);
        if is_signed && !self.signed_shares.admits(source, left) {
            return Joined::Full(waiter.asker, waiter.client);
        }
        if !is_signed
            && let Some(id) = self.find(&key)
            && let Some(exchange) = self.exchanges.get_mut(id)
            && now.since(exchange.began) < self.budget / 2
            && exchange.has_room_for(waiter.asker.transport)
        {
            let left = WAITERS_MAX.saturating_sub(self.waiters).min(EXCHANGES_MAX);
            if !exchange.admits(source) || !self.shares.admits(source, left) {
                return Joined::Full(waiter.asker, waiter.client);
            }
            exchange.join(waiter, &self.hasher);
            self.note_waiter(id, source, stale, now);
            return Joined::Waits;
        }
        let left = EXCHANGES_MAX.saturating_sub(self.exchanges.len());
        if !self.shares.admits(source, left) {
            return Joined::Full(waiter.asker, waiter.client);
        }
        let transport = waiter.asker.transport;
        if is_signed {
            self.signed += 1;
            self.signed_shares.take(source);
        } else {
            // One that is too old to be joined makes room for this one.
            self.close_to_joiners(self.find(&key), key.hash());
        }
        let hash = key.hash();
        let mut exchange = Exchange::new(key, asked, signed, transport, source, now);
        exchange.join(waiter, &self.hasher);
        let id = self.exchanges.insert(exchange);
        if !is_signed {
            self.open_to_joiners(id, hash);
        }
        self.note_waiter(id, source, stale, now);
        Joined::Began(id)
    }

    /// Begins an exchange for which nobody waits, unless the question is in flight or there is no room.
    pub(crate) fn begin(&mut self, asked: Asked, now: Moment) -> Option<ExchangeId> {
        let key = ExchangeKey::new(&asked, &self.hasher);
        // Half of the room is for those who wait.
        if self.find(&key).is_some() || self.exchanges.len() >= EXCHANGES_MAX / 2 {
            return None;
        }
        let hash = key.hash();
        let exchange = Exchange::new(key, asked, None, Transport::Udp, Source::NOBODY, now);
        let id = self.exchanges.insert(exchange);
        self.open_to_joiners(id, hash);
        self.deadlines.push_back((now + self.budget, id));
        Some(id)
    }

    /// Leaves the exchanges of these groups to those who wait for them: nobody joins them any more, and what they bring is not kept.
    pub(crate) fn leave_behind(&mut self, groups: &[GroupId]) {
        let mut left = Vec::new();
        for (id, exchange) in &mut self.exchanges {
            if groups.contains(&exchange.asked.group) {
                exchange.leave_behind();
                left.push((id, exchange.key.hash()));
            }
        }
        for (id, hash) in left {
            self.close_to_joiners(Some(id), hash);
        }
    }

    /// Gives up the poor responses that are held: what may be told is something else than when they came.
    pub(crate) fn forget_held(&mut self) {
        for exchange in self.exchanges.values_mut() {
            exchange.take_held();
        }
    }

    fn note_waiter(&mut self, id: ExchangeId, source: Source, stale: bool, now: Moment) {
        self.shares.take(source);
        self.deadlines.push_back((now + self.budget, id));
        if stale {
            self.stale.push_back((now + self.stale_after(), id));
        }
        self.waiters += 1;
    }

    fn note_gone<'a>(&mut self, waiters: impl IntoIterator<Item = &'a Waiter<C>>)
    where
        C: 'a,
    {
        for waiter in waiters {
            self.waiters -= 1;
            self.shares.give_back(waiter.source);
        }
    }

    /// The exchange that has to go for `request`, when there is no room for another and this one has had time enough: who waited that long
    /// will hardly be answered, and an answer for who comes now is likely. None when the request needs no room.
    pub(crate) fn oldest_in_the_way(
        &mut self,
        request: &Request,
        now: Moment,
    ) -> Option<ExchangeId> {
        if self.exchanges.len() < EXCHANGES_MAX {
            return None;
        }
        let key = ExchangeKey::new(&Asked::new(&request.asker, request.group), &self.hasher);
        if request.signed.is_none() && self.find(&key).is_some() {
            return None;
        }
        self.drop_finished();
        let &(_, id) = self.deadlines.front()?;
        let began = self.exchanges.get(id)?.began;
        (now.since(began) >= SHED_AFTER).then_some(id)
    }

    /// How long a client waits for something newer than what is kept: always less than its whole budget.
    fn stale_after(&self) -> Duration {
        STALE_AFTER.min(self.budget / 10 * 9)
    }

    /// The next exchange with clients who have waited long enough for something newer than what is kept, and those clients.
    pub(crate) fn take_stale(&mut self, now: Moment) -> Option<(ExchangeId, TakenOut<C>)> {
        let asked_until = now + (self.budget - self.stale_after());
        loop {
            let &(due, id) = self.stale.front()?;
            if due > now {
                return None;
            }
            self.stale.pop_front();
            let Some(exchange) = self.exchanges.get_mut(id) else {
                continue;
            };
            let waiters = exchange.take_stale(asked_until);
            if waiters.is_empty() {
                continue;
            }
            self.note_gone(&waiters);
            return Some((id, waiters));
        }
    }

    /// Lets clients wait on, until their deadlines.
    pub(crate) fn wait_on(&mut self, id: ExchangeId, waiters: impl IntoIterator<Item = Waiter<C>>) {
        if let Some(exchange) = self.exchanges.get_mut(id) {
            for mut waiter in waiters {
                waiter.stale = false;
                self.shares.take(waiter.source);
                exchange.rejoin(waiter, &self.hasher);
                self.waiters += 1;
            }
        }
    }

    /// Takes an exchange out, with whoever still waits for it.
    pub(crate) fn remove(&mut self, id: ExchangeId) -> Option<Exchange<C>> {
        let exchange = self.exchanges.remove(id)?;
        self.note_gone(exchange.waiters.iter());
        if exchange.signed().is_some() {
            self.signed -= 1;
            self.signed_shares.give_back(exchange.source);
        }
        self.close_to_joiners(Some(id), exchange.key.hash());
        self.drop_finished();
        Some(exchange)
    }

    /// The next exchange with a client whose time has passed, and those clients. From then on nobody joins it: its attempts are
    /// old, and a new question deserves new ones.
    pub(crate) fn take_expired(&mut self, now: Moment) -> Option<(ExchangeId, TakenOut<C>)> {
        loop {
            let &(deadline, id) = self.deadlines.front()?;
            if deadline > now {
                return None;
            }
            self.deadlines.pop_front();
            let Some(exchange) = self.exchanges.get_mut(id) else {
                continue;
            };
            let expired = exchange.take_expired(now);
            // Without anybody who waits it has had as long as if somebody did.
            if expired.is_empty() && !exchange.waiters.is_empty() {
                continue;
            }
            let hash = exchange.key.hash();
            self.note_gone(&expired);
            self.close_to_joiners(Some(id), hash);
            return Some((id, expired));
        }
    }

    /// The exchange of this question that can be joined.
    fn find(&self, key: &ExchangeKey) -> Option<ExchangeId> {
        let is_it = |(hash, id): &(u64, ExchangeId)| {
            let exchange = self.exchanges.get(*id);
            *hash == key.hash() && exchange.is_some_and(|it| it.key == *key)
        };
        self.index.find(key.hash(), is_it).map(|(_, id)| *id)
    }

    fn open_to_joiners(&mut self, id: ExchangeId, hash: u64) {
        self.index
            .insert_unique(hash, (hash, id), |(hash, _)| *hash);
    }

    fn close_to_joiners(&mut self, id: Option<ExchangeId>, hash: u64) {
        if let Some(id) = id
            && let Ok(entry) = self.index.find_entry(hash, |(_, other)| *other == id)
        {
            entry.remove();
        }
    }

    fn drop_finished(&mut self) {
        while let Some(&(_, id)) = self.deadlines.front()
            && !self.exchanges.contains_key(id)
        {
            self.deadlines.pop_front();
        }
        while let Some(&(_, id)) = self.stale.front()
            && !self.exchanges.contains_key(id)
        {
            self.stale.pop_front();
        }
    }

    /// When the next client's time passes.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        let stale = self.stale.front().map(|(due, _)| *due);
        let deadline = self.deadlines.front().map(|(deadline, _)| *deadline);
        deadline.into_iter().chain(stale).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::SignedQuery;
    use super::*;
    use crate::limits::{STREAM_WAITERS_PER_EXCHANGE_MAX, WAITERS_PER_EXCHANGE_MAX};
    use crate::upstream::GroupId;
    use crate::wire::{Class, Flags, QueryView, Question, RecordType, Transport};

    const BUDGET: Duration = Duration::from_secs(2);

    fn table() -> ExchangeTable<u32> {
        ExchangeTable::new(BUDGET, KeyHasher::new([5; 16]))
    }

    fn request(name: &str) -> Request {
        let question = Question::new(&name.parse().unwrap(), RecordType::A, Class::IN);
        let asker = Asker {
            id: 1,
            flags: Flags::NONE,
            question,
            edns: None,
            options: crate::wire::ReplyOptions::NONE,
            transport: Transport::Udp,
        };
        Request {
            asker,
            group: GroupId(0),
            source: source(1),
            stale: false,
            signed: None,
        }
    }

    fn source(number: u32) -> Source {
        Source::of(core::net::Ipv4Addr::from(number).into())
    }

    /// A request of client number `client`.
    fn request_of(client: u32, name: &str) -> Request {
        Request {
            source: source(client),
            ..request(name)
        }
    }

    fn at(millis: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(millis)
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "reads as one line at each call"
    )]
    fn began(joined: Joined<u32>) -> ExchangeId {
        match joined {
            Joined::Began(id) => id,
            Joined::Waits | Joined::Full(..) => panic!("did not begin"),
        }
    }

    #[test]
    fn equal_questions_share_and_others_do_not() {
        let mut table = table();
        let first = began(table.join(request("a.example"), 1, at(0)));
        assert!(matches!(
            table.join(request("A.Example"), 2, at(5)),
            Joined::Waits
        ));
        let other = began(table.join(request("b.example"), 3, at(5)));
        assert_eq!((first == other, table.waiters()), (false, 3));
        let exchange = table.remove(first).unwrap();
        let clients: Vec<u32> = exchange
            .waiters
            .iter()
            .map(|waiter| waiter.client)
            .collect();
        assert_eq!((clients, table.waiters()), (vec![1, 2], 1));
        assert_ne!(began(table.join(request("a.example"), 4, at(6))), first);
    }

    #[test]
    fn an_exchange_is_joined_during_half_its_budget() {
        let mut table = table();
        began(table.join(request("a.example"), 1, at(0)));
        assert!(matches!(
            table.join(request("a.example"), 2, at(999)),
            Joined::Waits
        ));
        began(table.join(request("a.example"), 3, at(1_000)));
        assert!(matches!(
            table.join(request("a.example"), 4, at(1_001)),
            Joined::Waits
        ));
    }

    #[test]
    fn who_waits_with_others_is_one_of_a_bounded_number() {
        let mut table = table();
        let (mut waiting, mut refused) = (0, 0);
        for number in 0..80 {
            let name = format!("{number}.example");
            for client in 0..u32::try_from(WAITERS_PER_EXCHANGE_MAX).unwrap() {
                match table.join(request_of(client + 1, &name), client, at(0)) {
                    Joined::Began(_) => {}
                    Joined::Waits => waiting += 1,
                    Joined::Full(..) => refused += 1,
                }
            }
        }
        assert!(waiting <= WAITERS_MAX && refused > 10_000, "{waiting}");
        assert!(table.waiters() <= WAITERS_MAX + table.len());
        // New questions are not kept out by them.
        began(table.join(request_of(5_000, "new.example"), 1, at(0)));
    }

    #[test]
    fn one_answer_is_owed_to_a_bounded_number_of_streams() {
        let mut table = table();
        let stream = || {
            let mut request = request("a.example");
            request.asker.transport = Transport::Tcp;
            request
        };
        let first = began(table.join(stream(), 0, at(0)));
        for client in 1..STREAM_WAITERS_PER_EXCHANGE_MAX {
            let joined = table.join(stream(), u32::try_from(client).unwrap(), at(0));
            assert!(matches!(joined, Joined::Waits));
        }
        let joined = table.join(request("a.example"), 7, at(0));
        assert!(matches!(joined, Joined::Waits), "a datagram is small");
        let second = began(table.join(stream(), 8, at(0)));
        assert_ne!(first, second);
        let joined = table.join(stream(), 9, at(1));
        assert!(matches!(joined, Joined::Waits), "the newer one takes over");
        assert_eq!(
            table.remove(first).unwrap().waiters.len(),
            STREAM_WAITERS_PER_EXCHANGE_MAX + 1
        );
        let joined = table.join(stream(), 10, at(2));
        assert!(matches!(joined, Joined::Waits), "and is still found");
    }

    #[test]
    fn every_waiter_has_its_own_deadline() {
        let mut table = table();
        let id = began(table.join(request("a.example"), 1, at(0)));
        table.join(request("a.example"), 2, at(500));
        assert_eq!(table.poll_timeout(), Some(at(2_000)));
        assert!(table.take_expired(at(1_999)).is_none());
        let (expired_id, expired) = table.take_expired(at(2_000)).unwrap();
        assert_eq!((expired_id, expired.len(), expired[0].client), (id, 1, 1));
        assert!(table.take_expired(at(2_000)).is_none());
        assert_eq!(table.take_expired(at(2_500)).unwrap().1[0].client, 2);
        assert_eq!(table.waiters(), 0);
    }

    #[test]
    fn an_exchange_whose_first_client_gave_up_takes_no_new_ones() {
        let mut table = table();
        let old = began(table.join(request("a.example"), 1, at(0)));
        table.join(request("a.example"), 2, at(900));
        table.take_expired(at(2_000)).unwrap();
        let new = began(table.join(request("a.example"), 3, at(2_001)));
        assert_ne!(old, new);
        table.remove(old).unwrap();
        assert!(matches!(
            table.join(request("a.example"), 4, at(2_002)),
            Joined::Waits
        ));
    }

    #[test]
    fn bounds_give_the_client_back() {
        let mut table = table();
        for client in 0..u32::try_from(WAITERS_PER_EXCHANGE_MAX).unwrap() {
            assert!(!matches!(
                table.join(request_of(client, "a"), client, at(0)),
                Joined::Full(..)
            ));
        }
        assert!(matches!(
            table.join(request_of(90_000, "a"), 9, at(0)),
            Joined::Full(_, 9)
        ));
    }

    fn signed_query() -> SignedQuery {
        let octets: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\x01\x01a\0\0\x01\0\x01\
            \x03key\0\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x03MAC";
        SignedQuery::of(&QueryView::parse(octets).unwrap()).unwrap()
    }

    /// Takes as many of `number` requests as there is room for, and counts them.
    fn taken(table: &mut ExchangeTable<u32>, number: usize, one: impl Fn() -> Request) -> usize {
        (0..number)
            .filter(|_| !matches!(table.join(one(), 0, at(0)), Joined::Full(..)))
            .count()
    }

    #[test]
    fn who_asks_the_same_again_and_again_leaves_others_half_of_those_who_may_wait_for_it() {
        let mut table = table();
        let all = WAITERS_PER_EXCHANGE_MAX;
        assert_eq!(taken(&mut table, all, || request_of(1, "a")), all / 2);
        assert_eq!(taken(&mut table, all, || request_of(2, "a")), all / 4);
        assert_eq!(taken(&mut table, 10, || request_of(3, "a")), 10);
        let (_, gone) = table.take_expired(at(2_000)).unwrap();
        assert_eq!(gone.len(), all / 2 + all / 4 + 10);
    }

    #[test]
    fn who_waits_no_longer_gives_the_place_back() {
        let mut table = table();
        let stale = || Request {
            stale: true,
            ..request_of(1, "a")
        };
        let all = WAITERS_PER_EXCHANGE_MAX;
        assert_eq!(taken(&mut table, all, stale), all / 2);
        let (id, waiters) = table.take_stale(at(1_800)).unwrap();
        let exchange = table.get_mut(id).unwrap();
        assert!(waiters.len() == all / 2 && exchange.admits(source(1)));
        table.wait_on(id, waiters);
        let exchange = table.get_mut(id).unwrap();
        assert!(!exchange.admits(source(1)) && exchange.admits(source(2)));
    }

    #[test]
    fn one_client_gets_half_of_the_room_for_signed_queries() {
        let query = signed_query();
        let signed = |client| Request {
            signed: Some(query.clone()),
            ..request_of(client, "a")
        };
        let mut table = table();
        let all = SIGNED_EXCHANGES_MAX;
        assert_eq!(taken(&mut table, all, || signed(1)), all / 2);
        assert_eq!(taken(&mut table, all, || signed(2)), all / 4);
        assert_eq!(taken(&mut table, 10, || signed(3)), 10);
        while let Some((id, _)) = table.take_expired(at(2_000)) {
            table.remove(id).unwrap();
        }
        assert_eq!(table.signed, 0);
        assert_eq!(taken(&mut table, all, || signed(1)), all / 2);
    }

    #[test]
    fn one_client_gets_half_of_the_room_and_others_are_not_kept_out() {
        let mut table = table();
        let mut take = |client, prefix: &str, number: usize| {
            let mut taken = 0;
            for n in 0..number {
                let request = request_of(client, &format!("{prefix}{n}"));
                taken += usize::from(matches!(table.join(request, 0, at(0)), Joined::Began(_)));
            }
            taken
        };
        assert_eq!(take(1, "a", EXCHANGES_MAX), EXCHANGES_MAX / 2);
        assert_eq!(take(2, "b", EXCHANGES_MAX), EXCHANGES_MAX / 4);
        assert_eq!(take(3, "c", 100), 100);
    }

    #[test]
    fn the_oldest_makes_room_once_it_has_had_its_time() {
        let mut table = table();
        let from_each = |client: u32| request_of(client, &format!("n{client}"));
        let clients = 0..u32::try_from(EXCHANGES_MAX).unwrap();
        let mut began_all = clients.map(|client| began(table.join(from_each(client), 0, at(0))));
        let first = began_all.next().unwrap();
        assert_eq!(began_all.count(), EXCHANGES_MAX - 1);
        let new = request_of(90_000, "new");
        assert!(matches!(
            table.join(request_of(90_000, "new"), 8, at(20)),
            Joined::Full(_, 8)
        ));
        let early = at(0) + SHED_AFTER - Duration::from_millis(1);
        assert_eq!(table.oldest_in_the_way(&new, early), None);
        let known = request_of(90_000, "n5");
        assert_eq!(table.oldest_in_the_way(&known, at(1_000)), None);
        let oldest = table.oldest_in_the_way(&new, at(0) + SHED_AFTER).unwrap();
        assert_eq!(oldest, first);
        table.remove(oldest).unwrap();
        began(table.join(new, 8, at(0) + SHED_AFTER));
    }

    #[test]
    fn finished_exchanges_leave_no_deadlines_behind() {
        let mut table = table();
        let ids: Vec<_> = (0..100)
            .map(|n| began(table.join(request(&format!("n{n}")), 0, at(n))))
            .collect();
        for id in ids.iter().skip(1) {
            table.remove(*id);
        }
        assert_eq!(table.poll_timeout(), Some(at(2_000)));
        table.remove(ids[0]);
        assert_eq!((table.poll_timeout(), table.deadlines.len()), (None, 0));
    }
}
