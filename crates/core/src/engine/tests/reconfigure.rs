//! Another configuration under questions in flight.

use super::*;
use crate::cache::CacheConfig;
use crate::limits::RETIRED_KEPT;

const MAIN: &[u8] = b"";
const CORP: &[u8] = b"corp.example.";

/// Upstreams by number, each at an address of its own.
fn numbered(numbers: &[u8]) -> Vec<UpstreamConfig> {
    let upstream = |number: &u8| {
        let address = SocketAddr::from(([192, 0, 2, *number], 853));
        UpstreamConfig::new(format!("u{number}"), vec![address])
    };
    numbers.iter().map(upstream).collect()
}

fn group(label: &[u8], members: &[usize]) -> GroupConfig {
    GroupConfig {
        members: members.iter().copied().map(UpstreamId).collect(),
        strategy: Strategy::Ordered,
        label: label.into(),
        fallback: None,
    }
}

/// An engine with a cache for `groups` groups.
fn bench(upstreams: &[u8], groups: Vec<GroupConfig>, room: usize) -> Bench {
    let cache = Cache::new(CacheConfig {
        groups: room,
        ..CacheConfig::new(1 << 20, [3; 16])
    });
    let config = EngineConfig {
        upstreams: numbered(upstreams),
        groups,
        budget: QUESTION_BUDGET,
        cache: Arc::new(cache),
    };
    let mut bench = Bench::one();
    bench.engine = Engine::new(config, [1; 32]);
    bench
}

impl Bench {
    fn reconfigure(&mut self, upstreams: &[u8], groups: Vec<GroupConfig>) -> Reconfigured {
        self.take(numbered(upstreams), groups).unwrap()
    }

    fn take(
        &mut self,
        upstreams: Vec<UpstreamConfig>,
        groups: Vec<GroupConfig>,
    ) -> Result<Reconfigured, TooManyGroups> {
        let done = self.engine.reconfigure(upstreams, groups, self.now);
        self.settle();
        // As the shell does at the end of every turn.
        self.engine.handle_timeout(self.now);
        self.settle();
        done
    }

    /// Which upstreams were dialed, by address, in order.
    fn dialed(&self) -> Vec<u8> {
        let last = |(_, _, address): &(ConnectionId, usize, SocketAddr)| match address {
            SocketAddr::V4(address) => address.ip().octets()[3],
            SocketAddr::V6(_) => 0,
        };
        self.opened.iter().map(last).collect()
    }
}

#[test]
fn who_stays_keeps_name_connection_and_what_is_known_wherever_it_stands() {
    let mut bench = bench(&[1, 2], vec![group(MAIN, &[0, 1])], 4);
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.wait(20);
    let queries = bench.written(0);
    bench.answer(0, &queries[0]);
    let before = bench.engine.status(UpstreamId(0), bench.now).unwrap();
    assert_eq!(before.rtt, Duration::from_millis(20));

    let done = bench.reconfigure(&[3, 1, 2], vec![group(MAIN, &[1, 0, 2])]);
    assert_eq!(
        done.upstreams,
        [UpstreamId(2), UpstreamId(0), UpstreamId(1)]
    );
    assert_eq!(done.new, [UpstreamId(2)]);
    assert_eq!(done.groups, [GroupId::DEFAULT]);
    assert_eq!(
        done.forget,
        [],
        "everybody who said something is still asked"
    );
    assert_eq!(bench.engine.status(UpstreamId(0), bench.now), Some(before));
    assert!(bench.closed.is_empty());

    bench.ask(2, "b.example");
    assert_eq!(bench.written(0).len(), 1, "over the connection there was");
    assert_eq!(bench.dialed(), [1]);
}

#[test]
fn a_question_in_flight_is_answered_by_whom_it_was_given_to_though_that_one_is_gone() {
    let mut bench = bench(&[1, 2], vec![group(MAIN, &[0, 1])], 4);
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    let done = bench.reconfigure(&[2], vec![group(MAIN, &[0])]);
    assert_eq!(done.upstreams, [UpstreamId(1)]);
    assert_eq!(done.forget, [GroupId::DEFAULT]);
    assert!(bench.closed.is_empty(), "it owes an answer");
    bench.ask(2, "b.example");
    assert_eq!(bench.dialed(), [1, 2], "new questions go elsewhere");
    bench.answer(0, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    bench.wait(1);
    assert_eq!(bench.closed, [bench.connection(0)], "and then it may go");
    bench.wait(60_000);
    let again = bench.dialed().iter().filter(|it| **it == 1).count();
    assert_eq!(again, 1, "nobody asks or probes it again");
}

#[test]
fn an_idle_connection_of_who_is_gone_is_closed_at_once_and_a_dial_too() {
    let mut bench = bench(&[1, 2, 3], vec![group(MAIN, &[0, 1, 2])], 4);
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &queries[0]);
    let mut warm = numbered(&[1, 2, 3]);
    warm[1].keep_warm = 1;
    bench.take(warm, vec![group(MAIN, &[0, 1, 2])]).unwrap();
    assert_eq!(bench.dialed(), [1, 2], "what is to be kept open is opened");
    bench.reconfigure(&[3], vec![group(MAIN, &[0])]);
    let mut closed = bench.closed.clone();
    closed.sort();
    assert_eq!(closed, [bench.connection(0), bench.connection(1)]);
}

#[test]
fn a_question_whose_upstream_dies_on_the_way_moves_to_those_of_now() {
    let mut bench = bench(&[1, 2], vec![group(MAIN, &[0])], 4);
    bench.ask(1, "a.example");
    bench.connect(0);
    assert_eq!(bench.written(0).len(), 1);
    bench.reconfigure(&[2], vec![group(MAIN, &[0])]);
    bench.close(0, CloseReason::Reset);
    assert_eq!(bench.dialed(), [1, 2]);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn a_late_question_for_a_route_that_is_gone_is_asked_of_the_route_and_not_kept() {
    let groups = || vec![group(MAIN, &[0]), group(CORP, &[1])];
    let mut bench = bench(&[1, 2], groups(), 4);
    let done = bench.reconfigure(&[1], vec![group(MAIN, &[0])]);
    assert_eq!(done.groups, [GroupId::DEFAULT]);
    assert_eq!(done.forget, [GroupId(1)]);
    // Another worker had decided it a moment before.
    bench.ask_group(1, "db.corp.example", GroupId(1));
    assert_eq!(bench.dialed(), [2]);
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    assert_eq!(bench.engine.cache_stats().entries, 0);
    bench.wait(1);
    assert_eq!(bench.closed, [bench.connection(0)]);
}

#[test]
fn an_answer_under_way_from_before_is_neither_kept_nor_joined_when_its_upstream_is_gone() {
    let mut bench = bench(&[1, 2], vec![group(MAIN, &[0])], 4);
    bench.ask(1, "a.example");
    bench.connect(0);
    let old = bench.written(0);
    bench.reconfigure(&[2], vec![group(MAIN, &[0])]);
    bench.ask(2, "a.example");
    bench.connect(1);
    let new = bench.written(1);
    assert_eq!(new.len(), 1, "asked anew");
    bench.receive(0, &response(&old[0], Rcode::NXDOMAIN));
    bench.receive(0, &response(&old[0], Rcode::SERVFAIL));
    assert_eq!(bench.outcomes(), [(1, Rcode::NXDOMAIN, None)]);
    assert_eq!(bench.engine.cache_stats().inserts, 0);
    bench.answer(1, &new[0]);
    assert_eq!(bench.outcomes()[1], (2, GOOD, None));
}

#[test]
fn another_address_or_another_identity_is_another_connection() {
    let mut bench = bench(&[1], vec![group(MAIN, &[0])], 4);
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    let mut moved = numbered(&[1]);
    moved[0].endpoints = vec![endpoint("192.0.2.9:853")];
    let done = bench.take(moved, vec![group(MAIN, &[0])]).unwrap();
    assert_eq!((done.upstreams, done.new), (vec![UpstreamId(0)], vec![]));
    assert_eq!(done.forget, []);
    bench.ask(2, "b.example");
    assert_eq!(bench.dialed(), [1, 9]);
    bench.answer(0, &queries[0]);
    bench.wait(1);
    assert_eq!(bench.closed, [bench.connection(0)]);

    let mut other = numbered(&[1]);
    other[0].identity = "another.example".to_owned();
    let done = bench.take(other, vec![group(MAIN, &[0])]).unwrap();
    assert_eq!(done.new, [UpstreamId(1)]);
    assert_eq!(done.forget, [GroupId::DEFAULT]);
}

#[test]
fn an_upstream_found_by_name_keeps_the_addresses_that_were_found() {
    let mut bench = bench(&[1], vec![group(MAIN, &[0])], 4);
    let mut nameless = numbered(&[1]);
    nameless[0].endpoints.clear();
    bench.take(nameless, vec![group(MAIN, &[0])]).unwrap();
    bench.ask(1, "a.example");
    assert_eq!(bench.dialed(), [1]);
}

#[test]
fn a_name_is_given_to_somebody_else_only_when_nobody_means_the_old_one_any_more() {
    let mut bench = bench(&[1], vec![group(MAIN, &[0])], 3);
    let route = |label: &[u8]| vec![group(MAIN, &[0]), group(label, &[1])];
    let first = bench.reconfigure(&[1, 2], route(b"a."));
    let second = bench.reconfigure(&[1, 3], route(b"b."));
    assert_eq!(
        (first.groups[1], second.groups[1]),
        (GroupId(1), GroupId(2))
    );
    assert_eq!(second.upstreams[1], UpstreamId(2));
    let full = bench.take(numbered(&[1, 4]), route(b"c."));
    assert_eq!(full, Err(TooManyGroups { most: 3 }));
    assert_eq!(
        bench.engine.members_of(GroupId(2)),
        [UpstreamId(2)],
        "nothing has changed"
    );
    bench.wait(u64::try_from(RETIRED_KEPT.as_millis()).unwrap());
    let third = bench.reconfigure(&[1, 4], route(b"c."));
    assert_eq!(
        (third.groups[1], third.upstreams[1]),
        (GroupId(1), UpstreamId(1))
    );
    let back = bench.reconfigure(&[1, 3], route(b"b."));
    assert_eq!(
        back.groups[1],
        GroupId(2),
        "who comes back has his own name"
    );
    assert_eq!(back.new, []);
    assert!(back.forget.contains(&GroupId(2)));
}

#[test]
fn names_do_not_grow_with_the_number_of_changes() {
    let mut bench = bench(&[1], vec![group(MAIN, &[0])], 8);
    for round in 0..1_000_u32 {
        let upstream = u8::try_from(2 + round % 100).unwrap();
        let label = format!("{upstream}.");
        let groups = vec![group(MAIN, &[0]), group(label.as_bytes(), &[1])];
        bench.reconfigure(&[1, upstream], groups);
        bench.wait(5_000);
    }
    assert!(
        bench.engine.upstreams() <= 5,
        "{}",
        bench.engine.upstreams()
    );
}
