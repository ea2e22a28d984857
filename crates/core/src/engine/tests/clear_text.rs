//! Upstreams spoken to in clear text, for routes.

use super::*;
use crate::limits::GUESSES_MAX;

#[test]
fn a_lost_datagram_of_a_quick_group_does_not_bring_the_fallback_in() {
    let mut bench = with_fallback(1);
    bench.ask_group(1, "a.example", GroupId(1));
    bench.connect(0);
    let queries = bench.written(0);
    bench.wait(5);
    bench.answer(0, &queries[0]);
    bench.ask_group(2, "b.example", GroupId(1));
    bench.wait(900);
    assert!(
        bench.opened.iter().all(|it| it.1 == 1),
        "{:?}",
        bench.opened
    );
    bench.wait(500);
    assert!(bench.opened.iter().any(|it| it.1 == 0));
}

#[test]
fn every_datagram_has_its_own_socket_which_goes_with_the_answer() {
    let mut bench = datagrams();
    bench.ask(1, "a.corp.example");
    bench.ask(2, "b.corp.example");
    assert_eq!(bench.opened.len(), 2);
    for place in [1, 0] {
        let query = sent(&mut bench, place);
        let mut message = response(&query, GOOD);
        message[3] |= 0x20;
        receive_datagram(&mut bench, place, &message);
    }
    assert_eq!(bench.outcomes(), [(2, GOOD, None), (1, GOOD, None)]);
    assert_eq!(bench.closed, [bench.connection(1), bench.connection(0)]);
    let view = ResponseView::parse(&bench.replies[0].1).unwrap();
    assert!(
        !view.header().flags.authentic_data(),
        "clear text proves nothing"
    );
}

#[test]
fn a_truncated_datagram_is_asked_again_over_a_stream() {
    let mut bench = datagrams();
    bench.ask(1, "a.corp.example");
    let query = sent(&mut bench, 0);
    let mut message = response(&query, GOOD);
    message[2] |= 0x02;
    receive_datagram(&mut bench, 0, &message);
    assert!(bench.replies.is_empty());
    bench.connect(1);
    let queries = bench.written_bare(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn a_lost_datagram_is_sent_again_from_another_port_and_a_forged_one_over_a_stream() {
    let mut bench = datagrams();
    bench.ask(1, "a.corp.example");
    bench.wait(400);
    assert_eq!(bench.opened.len(), 2);
    let query = sent(&mut bench, 1);
    receive_datagram(&mut bench, 1, &response(&query, GOOD));
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    bench.ask(2, "b.corp.example");
    let query = sent(&mut bench, 2);
    receive_datagram(
        &mut bench,
        2,
        &response(&(query.0, "evil.example".into()), GOOD),
    );
    bench.connect(3);
    let queries = bench.written_bare(3);
    bench.answer(3, &queries[0]);
    assert_eq!(bench.outcomes()[1], (2, GOOD, None));
}

#[test]
fn a_socket_of_one_datagram_needs_no_successor() {
    let mut bench = datagrams();
    bench.ask(1, "a.corp.example");
    bench.engine.renew(bench.connection(0), bench.now);
    bench.engine.renew_all(UpstreamId(0), bench.now);
    bench.settle();
    assert_eq!(bench.opened.len(), 1);
}

#[test]
fn a_port_nobody_listens_at_is_told_at_once() {
    let mut bench = datagrams();
    bench.ask(1, "a.corp.example");
    bench.close(0, CloseReason::Refused);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(23))]);
}

#[test]
fn datagram_sockets_are_bounded_and_the_rest_goes_over_streams() {
    let mut bench = datagrams();
    for client in 0..600 {
        bench.ask(client, &format!("n{client}.corp.example"));
    }
    assert_eq!(bench.opened.len(), DATAGRAMS_PER_UPSTREAM_MAX + 1);
}

#[test]
fn what_anybody_can_send_to_a_port_says_nothing_about_the_upstream() {
    let mut bench = datagrams();
    bench.ask(1, "a.corp.example");
    let query = sent(&mut bench, 0);
    for junk in [&b""[..], b"\x01", b"no header  "] {
        receive_datagram(&mut bench, 0, junk);
    }
    assert_eq!(bench.state(0), Some(HealthState::Up));
    receive_datagram(&mut bench, 0, &response(&query, GOOD));
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    bench.ask(2, "b.corp.example");
    let query = sent(&mut bench, 1);
    for _ in 0..20 {
        let forged = response(&(query.0, "evil.example".into()), GOOD);
        receive_datagram(&mut bench, 1, &forged);
    }
    assert_eq!(bench.state(0), Some(HealthState::Up));
    bench.connect(2);
    let queries = bench.written_bare(2);
    bench.answer(2, &queries[0]);
    assert_eq!(bench.outcomes()[1], (2, GOOD, None), "over a stream");
}

#[test]
fn who_guesses_the_id_of_a_datagram_is_left_behind_for_a_stream() {
    let mut bench = datagrams();
    bench.ask(1, "a.corp.example");
    let query = sent(&mut bench, 0);
    for wrong in 1..GUESSES_MAX.into() {
        let guess = response(&(query.0.wrapping_add(wrong), query.1.clone()), GOOD);
        receive_datagram(&mut bench, 0, &guess);
        assert_eq!(bench.opened.len(), 1, "{wrong}");
    }
    receive_datagram(&mut bench, 0, b"");
    assert_eq!(bench.opened.len(), 2);
    assert_eq!(bench.state(0), Some(HealthState::Up));
    bench.connect(1);
    let queries = bench.written_bare(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    // A few are a mistake of somebody's, and change nothing for the next question.
    bench.ask(2, "b.corp.example");
    assert_eq!(bench.opened.len(), 3);
    let query = sent(&mut bench, 2);
    receive_datagram(&mut bench, 2, &response(&query, GOOD));
    assert_eq!(bench.outcomes()[1], (2, GOOD, None));
}

/// The response to the one query of a datagram socket, cut short.
fn truncate(bench: &mut Bench, place: usize) {
    let query = sent(bench, place);
    let mut message = response(&query, GOOD);
    message[2] |= 0x02;
    receive_datagram(bench, place, &message);
}

#[test]
fn an_upstream_that_speaks_datagrams_only_is_none_that_is_down() {
    for fallback in [None, Some(GroupId(1))] {
        let mut config = upstreams(&[0, 0]);
        config[0].protocol = Protocol::Udp;
        let mut bench = datagrams();
        let group = |member, fallback| GroupConfig {
            members: vec![UpstreamId(member)],
            strategy: Strategy::Ordered,
            fallback,
            label: Box::default(),
        };
        let config = EngineConfig {
            groups: vec![group(0, fallback), group(1, None)],
            ..EngineConfig::new(config, Strategy::Ordered)
        };
        bench.engine = Engine::new(config, [7; 32]);
        bench.ask(1, "a.corp.example");
        truncate(&mut bench, 0);
        bench.close(1, CloseReason::Refused);
        let told = |bench: &Bench, place: usize| {
            let view = ResponseView::parse(&bench.replies[place].1).unwrap();
            (view.rcode(), view.header().flags.truncated())
        };
        assert_eq!(told(&bench, 0), (GOOD, true), "what there is to tell");
        assert_eq!(bench.state(0), Some(HealthState::Up));
        // Not dialed for each.
        bench.ask(2, "b.corp.example");
        truncate(&mut bench, 2);
        assert_eq!(told(&bench, 1), (GOOD, true));
        assert_eq!(bench.opened.len(), 3, "{:?}", bench.opened);
        // A dial that hangs takes no more from it than one that is refused.
        bench.wait(5_000);
        bench.ask(3, "c.corp.example");
        truncate(&mut bench, 3);
        bench.wait(2_000);
        assert_eq!(told(&bench, 2), (GOOD, true));
        assert_eq!(bench.state(0), Some(HealthState::Up));
        bench.ask(4, "d.corp.example");
        let newest = bench.opened.len() - 1;
        let query = sent(&mut bench, newest);
        receive_datagram(&mut bench, newest, &response(&query, GOOD));
        assert_eq!(told(&bench, 3), (GOOD, false));
        assert!(bench.opened.iter().all(|it| it.1 == 0), "nobody else");
    }
}

#[test]
fn who_asks_over_a_stream_is_answered_from_datagrams_as_well() {
    let mut bench = datagrams();
    bench.ask_as(1, "a.corp.example", GroupId::DEFAULT, Transport::Tcp);
    let query = sent(&mut bench, 0);
    receive_datagram(&mut bench, 0, &response(&query, GOOD));
    assert_eq!(bench.replies.len(), 1);
}
