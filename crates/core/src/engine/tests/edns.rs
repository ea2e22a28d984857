//! Upstreams without EDNS, and what is configured about OPT records and padding.

use super::*;
use crate::limits::WITHOUT_EDNS;

/// What the one connection of `bench` has to write: the query, and the octets of the message when it has an OPT record.
fn asked(bench: &mut Bench, place: usize) -> ((u16, String), Option<usize>) {
    let id = bench.connection(place);
    let outbound = bench.engine.outbound(id).to_vec();
    let message = &outbound[2..];
    let view = QueryView::parse(message).unwrap();
    let opt = view.edns().map(|_| message.len());
    let query = bench.written_in_blocks(place, 1);
    assert_eq!(query.len(), 1);
    (query[0].clone(), opt)
}

fn good(bench: &Bench) -> usize {
    let outcomes = bench.outcomes();
    let good = outcomes.iter().filter(|(_, rcode, _)| *rcode == GOOD);
    good.count()
}

#[test]
fn an_upstream_without_edns_is_asked_again_without_and_remembered() {
    for refusal in [Rcode::FORMERR, Rcode::NOTIMP] {
        let mut bench = Bench::one();
        bench.ask(1, "a.example");
        bench.connect(0);
        let (query, opt) = asked(&mut bench, 0);
        assert_eq!(opt, Some(128));
        bench.receive(0, &response(&query, refusal));
        assert!(bench.replies.is_empty(), "the client sees nothing of it");
        let (again, opt) = asked(&mut bench, 0);
        assert_eq!((again.1.as_str(), opt), ("a.example", None));
        bench.answer(0, &again);
        assert_eq!(good(&bench), 1);
        let told = bench.events.iter();
        let told = told.filter(|event| matches!(event, Event::UpstreamWithoutEdns { .. }));
        assert_eq!(told.count(), 1);

        bench.ask(2, "b.example");
        let (query, opt) = asked(&mut bench, 0);
        assert_eq!(opt, None, "remembered");
        bench.answer(0, &query);
        let status = bench.engine.status(UpstreamId(0), bench.now).unwrap();
        assert!(!status.edns);

        bench.now = bench.now + WITHOUT_EDNS;
        bench.ask(3, "c.example");
        let opened = bench.opened.len() - 1;
        bench.connect(opened);
        let (_, opt) = asked(&mut bench, opened);
        assert_eq!(opt, Some(128), "and tried again after a while");
    }
}

#[test]
fn a_question_that_is_malformed_either_way_teaches_nothing() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    for _ in 0..2 {
        let (query, _) = asked(&mut bench, 0);
        bench.receive(0, &response(&query, Rcode::FORMERR));
    }
    assert_eq!(bench.outcomes(), [(1, Rcode::FORMERR, None)]);
    bench.ask(2, "b.example");
    assert!(asked(&mut bench, 0).1.is_some());
}

#[test]
fn a_formerr_with_an_opt_record_is_about_the_question() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let (query, _) = asked(&mut bench, 0);
    let mut message = response(&query, Rcode::FORMERR);
    message[11] = 1;
    message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    bench.receive(0, &message);
    assert_eq!(bench.outcomes(), [(1, Rcode::FORMERR, None)]);
}

#[test]
fn badvers_to_version_0_is_no_edns_either() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let (query, _) = asked(&mut bench, 0);
    let mut message = response(&query, Rcode::NOERROR);
    message[11] = 1;
    message.extend_from_slice(&[0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0]);
    bench.receive(0, &message);
    let (again, opt) = asked(&mut bench, 0);
    assert_eq!(opt, None);
    bench.answer(0, &again);
    assert_eq!(good(&bench), 1);
}

#[test]
fn an_upstream_without_edns_costs_no_other_upstream_a_question() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    let (query, _) = asked(&mut bench, 0);
    bench.receive(0, &response(&query, Rcode::FORMERR));
    assert_eq!(bench.opened.len(), 1);
}

#[test]
fn padding_and_opt_records_are_as_configured() {
    for (edns, padding, expected) in [
        (true, 0, Some(38)),
        (true, 64, Some(64)),
        (true, 1_000_000, Some(512)),
        (false, 128, None),
    ] {
        let mut config = UpstreamConfig::new("test", vec![endpoint("192.0.2.1:853")]);
        (config.edns, config.padding) = (edns, padding);
        let mut bench = Bench::with(vec![config], Strategy::Ordered);
        bench.engine.start(bench.now);
        bench.ask(1, "a.example");
        bench.connect(0);
        let (query, _) = asked(&mut bench, 0);
        bench.answer(0, &query);
        // The first one also asks for the idle limit.
        bench.ask(2, "b.example");
        assert_eq!(asked(&mut bench, 0).1, expected, "{edns} {padding}");
    }
}
