//! Thousands who wait for one answer.

use super::*;
use crate::exchange::Source;
use crate::limits::{TOLD_AT_ONCE, TOLD_OCTETS_AT_ONCE};

const CLIENTS: u32 = 3_000;

/// A bench with one upstream, of which everybody asks the same; the query that went out for it.
fn crowd(transport: Transport) -> (Bench, (u16, String)) {
    let mut bench = Bench::one();
    for client in 0..CLIENTS {
        let source = Source::of(core::net::Ipv4Addr::from(client).into());
        bench.ask_from(source, client, "a.example", GroupId::DEFAULT, transport);
    }
    bench.connect(0);
    let mut queries = bench.written(0);
    assert_eq!((queries.len(), bench.replies.len()), (1, 0), "asked once");
    (bench, queries.remove(0))
}

/// Takes what is told in one go after another, each by one call; gives back replies and octets of each.
fn told(bench: &mut Bench) -> Vec<(usize, usize)> {
    let mut goes = Vec::new();
    loop {
        let octets = bench.replies.iter().map(|(_, message)| message.len());
        goes.push((bench.replies.len(), octets.sum()));
        let mut clients = bench.outcomes().into_iter().map(|it| it.0);
        assert!(clients.all(|client| client < CLIENTS));
        bench.replies.clear();
        if bench
            .engine
            .poll_timeout()
            .is_none_or(|due| due > bench.now)
        {
            return goes;
        }
        bench.engine.handle_timeout(bench.now);
        bench.settle();
    }
}

fn check(goes: &[(usize, usize)], longest: usize) {
    let sum: usize = goes.iter().map(|it| it.0).sum();
    assert_eq!(sum, CLIENTS as usize, "each is told once");
    for (replies, octets) in goes {
        let many = *replies <= TOLD_AT_ONCE && *octets < TOLD_OCTETS_AT_ONCE + longest;
        assert!(many, "{replies} replies of {octets} octets");
    }
}

#[test]
fn thousands_who_ask_the_same_get_it_from_one_query_in_pieces() {
    for (transport, cached) in [
        (Transport::Udp, false),
        (Transport::Tcp, true),
        (Transport::Tls, false),
    ] {
        let (mut bench, query) = crowd(transport);
        if cached {
            bench.engine.cache =
                Arc::new(Cache::new(crate::cache::CacheConfig::new(4 << 20, [3; 16])));
        }
        let mut composer = ResponseComposer::new(&question(&query.1));
        for _ in 0..400 {
            let name = query.1.parse().unwrap();
            composer.answer(&name, RecordType::TXT, 60, &[7; 40]);
        }
        let mut message = composer.finish();
        message[..2].copy_from_slice(&query.0.to_be_bytes());
        assert!(message.len() > 20_000);
        let before = bench.engine.in_flight();
        bench.receive(0, &message);
        let first = bench.replies.len();
        assert_eq!(
            bench.engine.in_flight(),
            before - first,
            "who is left waits"
        );
        check(&told(&mut bench), message.len());
        assert_eq!(bench.engine.in_flight(), 0);
        assert_eq!(bench.written(0).len(), 0);
    }
}

#[test]
fn thousands_whose_question_fails_or_is_answered_poorly_are_told_in_pieces() {
    let (mut bench, query) = crowd(Transport::Tcp);
    bench.receive(0, &response(&query, Rcode::REFUSED));
    check(&told(&mut bench), 512);
    let (mut bench, _) = crowd(Transport::Udp);
    for place in 0.. {
        if bench.engine.in_flight() == 0 || place == bench.opened.len() {
            break;
        }
        bench.close(place, CloseReason::Refused);
    }
    check(&told(&mut bench), 512);
    assert_eq!(bench.engine.in_flight(), 0);
    let (mut bench, _) = crowd(Transport::Udp);
    let expected = bench.now + QUESTION_BUDGET;
    bench.now = expected;
    bench.engine.handle_timeout(bench.now);
    bench.settle();
    check(&told(&mut bench), 512);
    assert_eq!(bench.engine.in_flight(), 0);
}

/// An upstream for datagrams that has been asked something for a second and is asked it once more: what was opened for that.
fn asked_again_of_datagrams() -> (Bench, usize) {
    let mut bench = datagrams();
    bench.ask(1, "a.corp.example");
    bench.wait(1_000);
    let before = bench.opened.len();
    bench.ask(2, "a.corp.example");
    assert_eq!(
        bench.opened.len(),
        before + 1,
        "somebody deserves a new try"
    );
    (bench, before)
}

#[test]
fn an_equal_question_beside_a_datagram_goes_over_a_stream() {
    let (mut bench, stream) = asked_again_of_datagrams();
    bench.connect(stream);
    let query = bench.written_bare(stream).remove(0);
    // Nor does it become a datagram because the stream is slow. The first one goes on as if it were alone.
    let mut alone = datagrams();
    alone.ask(1, "a.corp.example");
    alone.wait(1_900);
    bench.wait(900);
    assert!(bench.datagrams <= alone.datagrams);
    bench.answer(stream, &query);
    assert_eq!(bench.outcomes(), [(2, GOOD, None)]);
}

#[test]
fn an_equal_question_goes_in_a_datagram_where_no_stream_comes_to_be() {
    let (mut bench, stream) = asked_again_of_datagrams();
    bench.close(stream, CloseReason::Refused);
    assert!(bench.replies.is_empty(), "it has another way");
    let query = sent(&mut bench, stream + 1);
    receive_datagram(&mut bench, stream + 1, &response(&query, GOOD));
    assert_eq!(bench.outcomes(), [(2, GOOD, None)]);
    // A dial that hangs does not hold it up either.
    let (mut bench, stream) = asked_again_of_datagrams();
    bench.wait(500);
    let query = sent(&mut bench, stream + 1);
    receive_datagram(&mut bench, stream + 1, &response(&query, GOOD));
    assert_eq!(bench.outcomes()[..1], [(2, GOOD, None)]);
}
