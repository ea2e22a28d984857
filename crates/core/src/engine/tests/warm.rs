//! Connections that are kept open for who comes next.

use super::*;

#[test]
fn a_warm_connection_is_replaced_before_it_is_missed() {
    let mut config = upstreams(&[0]);
    config[0].keep_warm = 1;
    let mut bench = Bench::with(config, Strategy::Ordered);
    bench.engine.start(bench.now);
    bench.settle();
    assert_eq!(bench.opened.len(), 1, "opened before anybody asks");
    bench.connect(0);
    bench.ask(1, "a.example");
    let queries = bench.written(0);
    bench.answer(0, &queries[0]);
    bench.wait(61_000);
    assert_eq!(
        (bench.opened.len(), bench.closed.len()),
        (2, 0),
        "the successor comes first"
    );
    bench.connect(1);
    bench.wait(1);
    assert_eq!(bench.closed, [bench.connection(0)]);
    bench.ask(2, "b.example");
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    bench.close(1, CloseReason::Ended);
    assert_eq!(bench.opened.len(), 3);
}

fn warm(connections: usize) -> Bench {
    let mut config = upstreams(&[0]);
    config[0].keep_warm = connections;
    let mut bench = Bench::with(config, Strategy::Ordered);
    bench.engine.start(bench.now);
    bench.settle();
    bench
}

#[test]
fn a_warm_connection_that_ends_before_it_was_of_use_is_not_dialed_without_end() {
    let ends: [(bool, CloseReason); 4] = [
        (true, CloseReason::Ended),
        (true, CloseReason::Reset),
        (false, CloseReason::NoResources),
        (false, CloseReason::Tls(TlsFault::Protocol)),
    ];
    for (connects, reason) in ends {
        let mut bench = warm(1);
        let mut ended = 0;
        let mut dialed = Vec::new();
        for _ in 0..10 * 60 * 50 {
            while ended < bench.opened.len() {
                assert!(ended < 100, "{reason:?}");
                if connects {
                    bench.connect(ended);
                }
                bench.close(ended, reason);
                ended += 1;
            }
            bench.wait(20);
            if bench.now.as_nanos().is_multiple_of(60_000_000_000) {
                dialed.push(bench.opened.len());
            }
        }
        assert!(dialed[0] <= 8, "{reason:?}: {dialed:?}");
        let later = dialed[9] - dialed[4];
        assert!((3..=14).contains(&later), "{reason:?}: {dialed:?}");
    }
}

#[test]
fn a_second_warm_connection_that_an_upstream_refuses_is_asked_for_seldom() {
    let mut bench = warm(2);
    assert_eq!(bench.opened.len(), 2);
    bench.connect(0);
    bench.close(1, CloseReason::Refused);
    for client in 0..300 {
        bench.ask(client, &format!("n{client}.example"));
        let query = bench.written(0).remove(0);
        bench.answer(0, &query);
        bench.wait(200);
        let newest = bench.opened.len() - 1;
        if newest > 0 {
            bench.close(newest, CloseReason::Refused);
        }
    }
    assert!((4..=9).contains(&bench.opened.len()), "{:?}", bench.opened);
    assert_eq!(bench.state(0), Some(HealthState::Up));
}

#[test]
fn warm_connections_are_opened_again_when_their_upstream_comes_back() {
    let mut bench = warm(2);
    bench.close(0, CloseReason::Refused);
    bench.close(1, CloseReason::Refused);
    assert_eq!(bench.state(0), Some(HealthState::Down));
    bench.wait(1_500);
    assert_eq!(bench.opened.len(), 3, "a probe");
    bench.connect(2);
    bench.answer_probe(2);
    bench.wait(5_000);
    assert_eq!(bench.opened.len(), 4);
}

#[test]
fn warm_connections_to_an_upstream_that_ends_idle_ones_at_once_are_not_renewed_for_ever() {
    let mut bench = warm(1);
    for place in 0..3 {
        bench.ask(u32::try_from(place).unwrap(), &format!("n{place}.example"));
        bench.connect(place);
        let queries = bench.written(place);
        bench.answer(place, &queries[0]);
        bench.wait(100);
        bench.close(place, CloseReason::Ended);
    }
    let dialed = bench.opened.len();
    for place in dialed - 1.. {
        if place >= bench.opened.len() || bench.opened.len() > dialed + 5 {
            break;
        }
        bench.connect(place);
        bench.wait(10_000);
    }
    assert!(bench.opened.len() <= dialed + 1, "{}", bench.opened.len());
}

#[test]
fn one_early_end_is_no_idle_limit() {
    let mut bench = Bench::one();
    for place in 0..2 {
        bench.ask(u32::try_from(place).unwrap(), &format!("n{place}.example"));
        bench.connect(place);
        let queries = bench.written(place);
        bench.answer(place, &queries[0]);
        bench.wait(10_000);
        bench.close(place, CloseReason::Ended);
        bench.closed.clear();
    }
    let limit = |bench: &Bench| bench.engine.status(UpstreamId(0), bench.now).unwrap();
    let ten = Some(Duration::from_secs(10));
    assert_eq!(limit(&bench).idle_limit, ten);
    // It restarts.
    bench.ask(8, "y.example");
    bench.connect(2);
    let queries = bench.written(2);
    bench.answer(2, &queries[0]);
    bench.wait(500);
    bench.close(2, CloseReason::Ended);
    // It counts what it answers on one connection.
    for place in 3..9 {
        bench.ask(u32::try_from(place).unwrap(), &format!("n{place}.example"));
        bench.connect(place);
        let queries = bench.written(place);
        bench.wait(20);
        bench.answer(place, &queries[0]);
        bench.wait(5);
        bench.close(place, CloseReason::Ended);
    }
    assert_eq!(limit(&bench).idle_limit, ten);
    bench.ask(9, "z.example");
    bench.connect(9);
    let queries = bench.written(9);
    bench.answer(9, &queries[0]);
    bench.wait(8_000);
    assert_eq!(bench.closed, []);
}
