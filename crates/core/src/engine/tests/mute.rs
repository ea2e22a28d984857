//! An upstream with several addresses, one of which is of no use.

use super::*;
use crate::limits::{ADDRESS_AGAIN_MAX, ADDRESS_AGAIN_MIN, IDLE_TIMEOUT};

const ADDRESSES: [&str; 2] = ["192.0.2.1:853", "192.0.2.2:853"];

fn both() -> Bench {
    Bench::new(&[&ADDRESSES])
}

/// To which address a connection goes.
fn address(bench: &Bench, place: usize) -> usize {
    let address = bench.opened[place].2;
    ADDRESSES
        .iter()
        .position(|it| endpoint(it) == address)
        .unwrap()
}

/// How often in a row each address was of no use.
fn failures(bench: &Bench) -> Vec<u32> {
    let statuses = bench.engine.endpoint_statuses(UpstreamId(0));
    statuses.map(|it| it.failures).collect()
}

/// Answers everything that was written to a connection.
fn answer_all(bench: &mut Bench, place: usize) {
    for query in bench.written(place) {
        assert_ne!(
            query.1, ".",
            "nothing speaks against the upstream: no probe"
        );
        bench.answer(place, &query);
    }
}

#[test]
fn a_question_on_which_one_address_is_mute_goes_to_the_other() {
    let mut bench = both();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.wait(400);
    assert_eq!(address(&bench, 1), 1, "the other one is asked");
    bench.connect(1);
    answer_all(&mut bench, 1);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    bench.wait(5_000);
    bench.close(1, CloseReason::Ended);
    bench.ask(2, "b.example");
    assert_eq!(address(&bench, 2), 1, "and the next time at once");
    bench.connect(2);
    answer_all(&mut bench, 2);
    let status = bench
        .engine
        .endpoint_statuses(UpstreamId(0))
        .next()
        .unwrap();
    assert_eq!(
        (status.reason, status.failures),
        (Some(CloseReason::Silent), 1)
    );
}

/// The handshake is the last that is heard of it, so the first question is looked at once more; what was asked after it waits no
/// longer for that, and it no longer for them.
#[test]
fn the_first_question_does_not_wait_behind_younger_ones_for_its_second_look() {
    let mut bench = both();
    bench.ask(1, "a.example");
    bench.wait(30);
    bench.connect(0);
    for client in 2..=30 {
        bench.wait(12);
        bench.ask(client, &format!("n{client}.example"));
    }
    bench.wait(400 - 29 * 12 - 1);
    assert_eq!(bench.opened.len(), 1);
    bench.wait(1);
    assert_eq!(address(&bench, 1), 1, "400 ms after the handshake");
    bench.connect(1);
    let asked = bench.written(1);
    assert!(
        asked.iter().any(|query| query.1 == "a.example"),
        "{asked:?}"
    );
}

#[test]
fn an_address_that_hangs_up_after_the_handshake_is_followed_by_the_other() {
    let mut bench = both();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.written(0);
    bench.close(0, CloseReason::Ended);
    assert_eq!(address(&bench, 1), 1);
    bench.connect(1);
    answer_all(&mut bench, 1);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn a_connection_is_no_answer_and_an_answer_clears_an_address() {
    let mut bench = both();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.wait(400);
    assert_eq!(failures(&bench), [1, 0]);
    bench.connect(1);
    let late = bench.written(0);
    bench.answer(0, &late[0]);
    assert_eq!(failures(&bench), [0, 0]);
}

#[test]
fn what_was_in_flight_at_the_same_time_counts_once() {
    let mut bench = both();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.wait(100);
    bench.ask(2, "b.example");
    bench.wait(500);
    bench.connect(1);
    answer_all(&mut bench, 1);
    bench.wait(5_000);
    assert!(bench.closed.contains(&bench.connection(0)));
    assert_eq!(failures(&bench), [1, 0]);
}

#[test]
fn one_slow_connection_beside_one_that_answers_says_nothing_about_their_address() {
    let mut bench = Bench::new(&[&ADDRESSES[..1]]);
    for client in 0..=IN_FLIGHT_BEFORE_GROWTH as u32 {
        bench.ask(client, &format!("n{client}.example"));
    }
    bench.connect(0);
    bench.connect(1);
    let queries = bench.written(0);
    bench.ask(9_999, "other.example");
    assert_eq!(bench.written(1).len(), 1);
    for query in queries.iter().take(16) {
        bench.wait(50);
        bench.answer(0, query);
    }
    assert_eq!(failures(&bench), [0]);
    bench.close(1, CloseReason::Ended);
    assert_eq!(failures(&bench), [0]);
}

/// Lets time pass. Every connection is made at once; the first address stays mute, the second hangs up after each answer. Gives back when
/// the first was dialed, in seconds.
fn serve_second_address(bench: &mut Bench, served: &mut usize, millis: u64) -> Vec<u64> {
    let mut tried = Vec::new();
    for _ in 0..millis / 5 {
        while let Some((_, _, address)) = bench.opened.get(*served).copied() {
            bench.connect(*served);
            if address == endpoint(ADDRESSES[0]) {
                tried.push(bench.now.as_nanos() / 1_000_000_000);
            } else {
                answer_all(bench, *served);
                bench.close(*served, CloseReason::Ended);
            }
            *served += 1;
        }
        bench.wait(5);
    }
    tried
}

#[test]
fn a_mute_address_is_tried_again_by_one_connection_after_pauses_that_double() {
    let mut bench = both();
    let (mut tried, mut served) = (Vec::new(), 0);
    for client in 0..400 {
        bench.ask(client, &format!("n{client}.example"));
        tried.extend(serve_second_address(&mut bench, &mut served, 5_000));
    }
    let outcomes = bench.outcomes();
    let bad: Vec<_> = outcomes.iter().filter(|it| it.1 != GOOD).collect();
    assert!(bad.is_empty() && outcomes.len() == 400, "{bad:?}");
    let pauses: Vec<u64> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(tried.len() > 5, "{tried:?}");
    for (place, pause) in pauses.iter().enumerate() {
        let least = (ADDRESS_AGAIN_MIN.as_secs() << place).min(ADDRESS_AGAIN_MAX.as_secs());
        assert!((least..least + 12).contains(pause), "{pauses:?}");
    }
}

#[test]
fn a_preferred_address_that_was_slow_once_is_preferred_again() {
    let mut bench = both();
    bench.ask(1, "a.example");
    bench.wait(250);
    bench.connect(1);
    answer_all(&mut bench, 1);
    bench.close(1, CloseReason::Ended);
    bench.ask(2, "b.example");
    assert_eq!(address(&bench, 2), 1);
    bench.connect(2);
    answer_all(&mut bench, 2);
    bench.wait(ADDRESS_AGAIN_MIN.max(IDLE_TIMEOUT).as_millis() as u64 + 1_000);
    bench.ask(3, "c.example");
    assert_eq!(address(&bench, 3), 0);
    bench.connect(3);
    answer_all(&mut bench, 3);
    assert_eq!(failures(&bench), [0, 0]);
}

#[test]
fn a_mute_address_for_datagrams_is_followed_by_the_other() {
    let mut upstreams = upstreams(&[0]);
    upstreams[0].protocol = Protocol::Udp;
    upstreams[0].endpoints = ADDRESSES.iter().map(|it| endpoint(it)).collect();
    let mut bench = Bench::with(upstreams, Strategy::Ordered);
    bench.ask(1, "a.corp.example");
    bench.wait(400);
    assert_eq!((address(&bench, 0), address(&bench, 1)), (0, 1));
    let query = sent(&mut bench, 1);
    receive_datagram(&mut bench, 1, &response(&query, GOOD));
    bench.ask(2, "b.corp.example");
    assert_eq!(address(&bench, 2), 1);
    // Its answer may only have been late.
    let query = sent(&mut bench, 0);
    receive_datagram(&mut bench, 0, &response(&query, GOOD));
    bench.ask(3, "c.corp.example");
    assert_eq!(address(&bench, 3), 0);
}
