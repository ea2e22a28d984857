//! All exchanges, found by what they ask, ended by their deadlines.

use core::time::Duration;

use hashbrown::HashTable;
use slotmap::{SlotMap, new_key_type};

use super::deadlines::Deadlines;
use super::share::{Shares, Source};
use super::{
    Asked, Attempt, Exchange, ExchangeKey, KeyHasher, Request, TakenOut, Waiter, own_time,
};
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
    /// The exchanges of unsigned queries, each with the hash of its key. Of several with an equal question one can be joined at most.
    index: HashTable<(u64, ExchangeId)>,
    hasher: KeyHasher,
    /// One entry a waiter, and one for the end of an exchange whose first client has not so much time left. Entries of finished exchanges
    /// stay until they come first: at most what arrives within one budget.
    deadlines: Deadlines,
    /// Likewise for clients who would rather have an answer past its time: when they have waited long enough.
    stale: Deadlines,
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
            deadlines: Deadlines::default(),
            stale: Deadlines::default(),
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
    /// more: its attempts may be used up, and somebody who asks again deserves new ones. Whose time passed before it was read finds no room.
    pub(crate) fn join(&mut self, request: Request, client: C, now: Moment) -> Joined<C> {
        let deadline = request.since + self.budget;
        if deadline <= now {
            return Joined::Full(request.asker, client);
        }
        let Request {
            asker,
            group,
            source,
            since,
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
        let beside_equal = !is_signed && self.is_out(&key);
        if beside_equal
            && let Some(id) = self.find(&key, now)
            && let Some(exchange) = self.exchanges.get_mut(id)
        {
            let left = WAITERS_MAX.saturating_sub(self.waiters).min(EXCHANGES_MAX);
            if !exchange.admits(source) || !self.shares.admits(source, left) {
                return Joined::Full(waiter.asker, waiter.client);
            }
            exchange.join(waiter, &self.hasher);
            self.note_waiter(id, source, stale, since);
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
        }
        let hash = key.hash();
        let mut exchange = Exchange::new(key, asked, signed, transport, source, now);
        exchange.beside_equal = beside_equal;
        exchange.join(waiter, &self.hasher);
        let id = self.exchanges.insert(exchange);
        if !is_signed {
            self.list(id, hash);
        }
        self.note_waiter(id, source, stale, since);
        // Whoever asks again, as a client does that got nothing, deserves that it goes on.
        let own = now + own_time(self.budget);
        if deadline < own {
            self.deadlines.push(own, id);
        }
        Joined::Began(id)
    }

    /// Begins an exchange for which nobody waits, unless an equal question is out or there is no room.
    pub(crate) fn begin(&mut self, asked: Asked, now: Moment) -> Option<ExchangeId> {
        let key = ExchangeKey::new(&asked, &self.hasher);
        // Half of the room is for those who wait.
        if self.is_out(&key) || self.exchanges.len() >= EXCHANGES_MAX / 2 {
            return None;
        }
        let hash = key.hash();
        let exchange = Exchange::new(key, asked, None, Transport::Udp, Source::NOBODY, now);
        let id = self.exchanges.insert(exchange);
        self.list(id, hash);
        self.deadlines.push(now + self.budget, id);
        Some(id)
    }

    /// Leaves the exchanges of these groups to those who wait for them: nobody joins them any more, and what they bring is not kept.
    pub(crate) fn leave_behind(&mut self, groups: &[GroupId]) {
        for exchange in self.exchanges.values_mut() {
            if groups.contains(&exchange.asked.group) {
                exchange.leave_behind();
                exchange.closed = true;
            }
        }
    }

    /// Gives up the poor responses that are held: what may be told is something else than when they came.
    pub(crate) fn forget_held(&mut self) {
        for exchange in self.exchanges.values_mut() {
            exchange.take_held();
        }
    }

    fn note_waiter(&mut self, id: ExchangeId, source: Source, stale: bool, since: Moment) {
        self.shares.take(source);
        self.deadlines.push(since + self.budget, id);
        if stale {
            self.stale.push(since + self.stale_after(), id);
        }
        self.waiters += 1;
    }

    /// Clients of a finished exchange go on waiting for what came of it.
    pub(crate) fn count_in<'a>(&mut self, waiters: impl IntoIterator<Item = &'a Waiter<C>>)
    where
        C: 'a,
    {
        for waiter in waiters {
            self.waiters += 1;
            self.shares.take(waiter.source);
        }
    }

    /// One of those has been told.
    pub(crate) fn count_out(&mut self, waiter: &Waiter<C>) {
        self.note_gone([waiter]);
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
        if request.signed.is_none() && self.find(&key, now).is_some() {
            return None;
        }
        self.drop_finished();
        let mut oldest = self.deadlines.heads().map(|(_, id)| id);
        oldest.find(|id| {
            let began = self.exchanges.get(*id).map(|it| it.began);
            began.is_some_and(|began| now.since(began) >= SHED_AFTER)
        })
    }

    /// How long a client waits for something newer than what is kept: always less than its whole budget.
    fn stale_after(&self) -> Duration {
        STALE_AFTER.min(self.budget / 10 * 9)
    }

    /// The next exchange with clients who have waited long enough for something newer than what is kept, and `most` of those clients.
    pub(crate) fn take_stale(
        &mut self,
        most: usize,
        now: Moment,
    ) -> Option<(ExchangeId, TakenOut<C>)> {
        let asked_until = now + (self.budget - self.stale_after());
        loop {
            // Each client has an entry, so those who are left are found by the next one.
            let id = self.stale.pop_due(now)?;
            let Some(exchange) = self.exchanges.get_mut(id) else {
                continue;
            };
            let waiters = exchange.take_stale(asked_until, most);
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
                exchange.join(waiter, &self.hasher);
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
        let hash = exchange.key.hash();
        if let Ok(entry) = self.index.find_entry(hash, |(_, other)| *other == id) {
            entry.remove();
        }
        self.drop_finished();
        Some(exchange)
    }

    /// The next exchange with clients whose time has passed, and `most` of those clients; or one that has had its time without anybody who waits.
    pub(crate) fn take_expired(
        &mut self,
        most: usize,
        now: Moment,
    ) -> Option<(ExchangeId, TakenOut<C>)> {
        loop {
            // Each client has an entry, so those who are left are found by the next one.
            let id = self.deadlines.pop_due(now)?;
            let budget = self.budget;
            let Some(exchange) = self.exchanges.get_mut(id) else {
                continue;
            };
            let expired = exchange.take_expired(now, most);
            if expired.is_empty() && !exchange.is_over(budget, now) {
                continue;
            }
            self.note_gone(&expired);
            return Some((id, expired));
        }
    }

    /// Whether nobody waits for an exchange any more, and it has had as long as if somebody did.
    pub(crate) fn is_over(&self, id: ExchangeId, now: Moment) -> bool {
        let exchange = self.exchanges.get(id);
        exchange.is_some_and(|it| it.is_over(self.budget, now))
    }

    /// When an exchange was to be over at the latest.
    pub(crate) fn end_of(&self, exchange: &Exchange<C>) -> Moment {
        exchange.ends(self.budget)
    }

    /// The exchange of this question that can be joined.
    fn find(&self, key: &ExchangeKey, now: Moment) -> Option<ExchangeId> {
        self.find_where(key, |it| {
            !it.closed && now.since(it.began) < self.budget / 2
        })
    }

    /// Whether an exchange of this question runs, whether it can be joined or not.
    fn is_out(&self, key: &ExchangeKey) -> bool {
        self.find_where(key, |_| true).is_some()
    }

    fn find_where(
        &self,
        key: &ExchangeKey,
        fits: impl Fn(&Exchange<C>) -> bool,
    ) -> Option<ExchangeId> {
        let is_it = |(hash, id): &(u64, ExchangeId)| {
            let exchange = self.exchanges.get(*id);
            *hash == key.hash() && exchange.is_some_and(|it| it.key == *key && fits(it))
        };
        self.index.find(key.hash(), is_it).map(|(_, id)| *id)
    }

    fn list(&mut self, id: ExchangeId, hash: u64) {
        self.index
            .insert_unique(hash, (hash, id), |(hash, _)| *hash);
    }

    fn drop_finished(&mut self) {
        let exchanges = &self.exchanges;
        self.deadlines.drop_while(|id| !exchanges.contains_key(id));
        self.stale.drop_while(|id| !exchanges.contains_key(id));
    }

    /// When the next client's time passes.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        let next = [&self.stale, &self.deadlines].map(Deadlines::first);
        next.into_iter().flatten().map(|(due, _)| due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::SignedQuery;
    use super::*;
    use crate::limits::WAITERS_PER_EXCHANGE_MAX;
    use crate::upstream::GroupId;
    use crate::wire::{Class, Flags, QueryView, Question, RecordType, Transport};

    /// As many as there are.
    const ALL: usize = usize::MAX;

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
            since: at(0),
            stale: false,
            signed: None,
        }
    }

    impl ExchangeTable<u32> {
        /// A question that is read as it comes.
        fn ask(&mut self, request: Request, client: u32, now: Moment) -> Joined<u32> {
            let since = now;
            self.join(Request { since, ..request }, client, now)
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
        let first = began(table.ask(request("a.example"), 1, at(0)));
        assert!(matches!(
            table.ask(request("A.Example"), 2, at(5)),
            Joined::Waits
        ));
        let other = began(table.ask(request("b.example"), 3, at(5)));
        assert_eq!((first == other, table.waiters()), (false, 3));
        let exchange = table.remove(first).unwrap();
        let clients: Vec<u32> = exchange
            .waiters
            .iter()
            .map(|waiter| waiter.client)
            .collect();
        assert_eq!((clients, table.waiters()), (vec![1, 2], 1));
        assert_ne!(began(table.ask(request("a.example"), 4, at(6))), first);
    }

    #[test]
    fn an_exchange_is_joined_during_half_its_budget() {
        let mut table = table();
        began(table.ask(request("a.example"), 1, at(0)));
        assert!(matches!(
            table.ask(request("a.example"), 2, at(999)),
            Joined::Waits
        ));
        began(table.ask(request("a.example"), 3, at(1_000)));
        assert!(matches!(
            table.ask(request("a.example"), 4, at(1_001)),
            Joined::Waits
        ));
    }

    #[test]
    fn who_waits_with_others_is_one_of_a_bounded_number() {
        let mut table = table();
        let (mut waiting, mut refused) = (0, 0);
        for number in 0..6 {
            let name = format!("{number}.example");
            for client in 0..u32::try_from(WAITERS_PER_EXCHANGE_MAX).unwrap() {
                match table.ask(request_of(client + 1, &name), client, at(0)) {
                    Joined::Began(_) => {}
                    Joined::Waits => waiting += 1,
                    Joined::Full(..) => refused += 1,
                }
            }
        }
        assert!(waiting <= WAITERS_MAX && refused > 10_000, "{waiting}");
        assert!(table.waiters() <= WAITERS_MAX + table.len());
        // New questions are not kept out by them.
        began(table.ask(request_of(5_000, "new.example"), 1, at(0)));
    }

    #[test]
    fn who_asks_the_same_over_streams_waits_for_the_one_exchange() {
        let mut table = table();
        let stream = || {
            let mut request = request("a.example");
            request.asker.transport = Transport::Tcp;
            request
        };
        began(table.ask(stream(), 0, at(0)));
        for client in 1..512 {
            assert!(matches!(table.ask(stream(), client, at(1)), Joined::Waits));
        }
        assert_eq!((table.len(), table.waiters()), (1, 512));
    }

    #[test]
    fn an_exchange_that_is_too_old_to_be_joined_is_known_to_be_out() {
        let mut table = table();
        let old = began(table.ask(request("a.example"), 1, at(0)));
        let new = began(table.ask(request("a.example"), 2, at(1_000)));
        let beside = |table: &ExchangeTable<u32>, id| table.get(id).unwrap().beside_equal;
        assert!(!beside(&table, old) && beside(&table, new));
        let asked = Asked::new(&request("a.example").asker, GroupId(0));
        assert_eq!(table.begin(asked.clone(), at(2_500)), None);
        table.remove(new).unwrap();
        assert_eq!(table.begin(asked.clone(), at(2_500)), None);
        table.remove(old).unwrap();
        let refresh = table.begin(asked, at(2_500)).unwrap();
        assert!(!beside(&table, refresh));
    }

    #[test]
    fn who_waited_before_he_was_read_waits_so_much_shorter() {
        let mut table = table();
        let mut waited = |client, since, now| {
            let since = at(since);
            let request = Request {
                since,
                ..request("a")
            };
            table.join(request, client, at(now))
        };
        let id = began(waited(1, 100, 1_000));
        assert!(matches!(waited(2, 1_010, 1_010), Joined::Waits));
        assert!(matches!(waited(3, 50, 1_020), Joined::Waits));
        assert!(matches!(waited(4, 0, 2_000), Joined::Full(_, 4)));
        let mut gone = Vec::new();
        for due in [2_050, 2_100, 2_750, 3_010] {
            assert_eq!(table.poll_timeout(), Some(at(due)));
            let Some((which, expired)) = table.take_expired(ALL, at(due)) else {
                assert_eq!(due, 2_750, "its own time, while somebody waits");
                continue;
            };
            assert_eq!(which, id);
            gone.extend(expired.iter().map(|it| it.client));
        }
        assert_eq!(gone, [3, 1, 2]);
        assert!(table.is_over(id, at(3_010)));
    }

    #[test]
    fn an_exchange_goes_on_when_its_client_had_hardly_any_time_left() {
        let mut table = table();
        let since = at(0);
        let late = Request {
            since,
            ..request("a")
        };
        let id = began(table.join(late, 1, at(1_900)));
        let (_, gone) = table.take_expired(ALL, at(2_000)).unwrap();
        assert_eq!((gone.len(), table.is_over(id, at(2_000))), (1, false));
        // Who asks again finds it.
        assert!(matches!(
            table.ask(request("a"), 2, at(2_100)),
            Joined::Waits
        ));
        assert!(table.take_expired(ALL, at(4_099)).is_none());
        assert_eq!(table.take_expired(ALL, at(4_100)).unwrap().1.len(), 1);
        assert!(table.is_over(id, at(4_100)));
    }

    #[test]
    fn who_waited_a_little_as_all_do_over_udp_has_one_deadline() {
        let mut table = table();
        for number in 0..100 {
            let since = at(number);
            let name = format!("n{number}");
            let request = Request {
                since,
                ..request(&name)
            };
            began(table.join(request, 1, at(number + 5)));
        }
        assert_eq!(table.deadlines(), 100);
        let (id, _) = table.take_expired(ALL, at(2_000)).unwrap();
        assert!(table.is_over(id, at(2_000)));
    }

    #[test]
    fn many_whose_time_has_passed_are_taken_out_in_pieces() {
        let mut table = table();
        for client in 0..1_000 {
            let stale = true;
            let request = Request {
                stale,
                ..request("a")
            };
            table.ask(request, client, at(0));
        }
        let mut pieces = Vec::new();
        while let Some((id, gone)) = table.take_stale(64, at(1_800)) {
            pieces.push(gone.len());
            table.wait_on(id, gone.into_iter().take(10));
        }
        assert_eq!((pieces.len(), pieces[0], pieces[15]), (16, 64, 40));
        pieces.clear();
        while let Some((id, gone)) = table.take_expired(64, at(2_000)) {
            pieces.push(gone.len());
            if table.is_over(id, at(2_000)) {
                table.remove(id);
            }
        }
        assert_eq!(pieces, [64, 64, 32]);
        assert_eq!(table.waiters(), 0);
    }

    #[test]
    fn every_waiter_has_its_own_deadline() {
        let mut table = table();
        let id = began(table.ask(request("a.example"), 1, at(0)));
        table.ask(request("a.example"), 2, at(500));
        assert_eq!(table.poll_timeout(), Some(at(2_000)));
        assert!(table.take_expired(ALL, at(1_999)).is_none());
        let (expired_id, expired) = table.take_expired(ALL, at(2_000)).unwrap();
        assert_eq!((expired_id, expired.len(), expired[0].client), (id, 1, 1));
        assert!(table.take_expired(ALL, at(2_000)).is_none());
        assert_eq!(table.take_expired(ALL, at(2_500)).unwrap().1[0].client, 2);
        assert_eq!(table.waiters(), 0);
    }

    #[test]
    fn an_exchange_whose_first_client_gave_up_takes_no_new_ones() {
        let mut table = table();
        let old = began(table.ask(request("a.example"), 1, at(0)));
        table.ask(request("a.example"), 2, at(900));
        table.take_expired(ALL, at(2_000)).unwrap();
        let new = began(table.ask(request("a.example"), 3, at(2_001)));
        assert_ne!(old, new);
        table.remove(old).unwrap();
        assert!(matches!(
            table.ask(request("a.example"), 4, at(2_002)),
            Joined::Waits
        ));
    }

    #[test]
    fn bounds_give_the_client_back() {
        let mut table = table();
        for client in 0..u32::try_from(WAITERS_PER_EXCHANGE_MAX).unwrap() {
            assert!(!matches!(
                table.ask(request_of(client, "a"), client, at(0)),
                Joined::Full(..)
            ));
        }
        assert!(matches!(
            table.ask(request_of(90_000, "a"), 9, at(0)),
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
            .filter(|_| !matches!(table.ask(one(), 0, at(0)), Joined::Full(..)))
            .count()
    }

    #[test]
    fn who_asks_the_same_again_and_again_leaves_others_half_of_those_who_may_wait_for_it() {
        let mut table = table();
        let all = WAITERS_PER_EXCHANGE_MAX;
        assert_eq!(taken(&mut table, all, || request_of(1, "a")), all / 2);
        assert_eq!(taken(&mut table, all, || request_of(2, "a")), all / 4);
        assert_eq!(taken(&mut table, 10, || request_of(3, "a")), 10);
        let (_, gone) = table.take_expired(ALL, at(2_000)).unwrap();
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
        let (id, waiters) = table.take_stale(ALL, at(1_800)).unwrap();
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
        while let Some((id, _)) = table.take_expired(ALL, at(2_000)) {
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
                taken += usize::from(matches!(table.ask(request, 0, at(0)), Joined::Began(_)));
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
        let mut began_all = clients.map(|client| began(table.ask(from_each(client), 0, at(0))));
        let first = began_all.next().unwrap();
        assert_eq!(began_all.count(), EXCHANGES_MAX - 1);
        let new = request_of(90_000, "new");
        assert!(matches!(
            table.ask(request_of(90_000, "new"), 8, at(20)),
            Joined::Full(_, 8)
        ));
        let early = at(0) + SHED_AFTER - Duration::from_millis(1);
        assert_eq!(table.oldest_in_the_way(&new, early), None);
        let known = request_of(90_000, "n5");
        assert_eq!(table.oldest_in_the_way(&known, at(999)), None);
        let oldest = table.oldest_in_the_way(&new, at(0) + SHED_AFTER).unwrap();
        assert_eq!(oldest, first);
        table.remove(oldest).unwrap();
        began(table.ask(new, 8, at(0) + SHED_AFTER));
    }

    #[test]
    fn finished_exchanges_leave_no_deadlines_behind() {
        let mut table = table();
        let ids: Vec<_> = (0..100)
            .map(|n| began(table.ask(request(&format!("n{n}")), 0, at(n))))
            .collect();
        for id in ids.iter().skip(1) {
            table.remove(*id);
        }
        assert_eq!(table.poll_timeout(), Some(at(2_000)));
        table.remove(ids[0]);
        assert_eq!((table.poll_timeout(), table.deadlines.len()), (None, 0));
    }
}
