//! Upstreams spoken to in clear text, for routes.

use super::*;

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
