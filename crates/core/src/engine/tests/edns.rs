//! Upstreams without EDNS, and what is configured about OPT records and padding.

use super::*;
use crate::cache::{Answered, CacheConfig};
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

/// Times it was told that an upstream knows no EDNS.
fn told(bench: &Bench) -> usize {
    let events = bench.events.iter();
    let told = events.filter(|event| matches!(event, Event::UpstreamWithoutEdns { .. }));
    told.count()
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
        assert_eq!(told(&bench), 0, "it may have been about the name");

        bench.ask(2, "a.a.example");
        let (query, opt) = asked(&mut bench, 0);
        assert_eq!(opt, Some(128));
        bench.receive(0, &response(&query, refusal));
        let (again, _) = asked(&mut bench, 0);
        bench.answer(0, &again);
        assert_eq!((good(&bench), told(&bench)), (2, 1));

        bench.ask(3, "b.example");
        let (query, opt) = asked(&mut bench, 0);
        assert_eq!(opt, None, "remembered");
        bench.answer(0, &query);
        let status = bench.engine.status(UpstreamId(0), bench.now).unwrap();
        assert!(!status.edns);

        bench.now = bench.now + WITHOUT_EDNS;
        bench.ask(4, "c.example");
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
fn an_opt_record_between_two_refusals_shows_that_they_were_about_their_names() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    for name in ["b.example", "c.example", "d.example"] {
        let (query, _) = asked(&mut bench, 0);
        bench.receive(0, &response(&query, Rcode::FORMERR));
        let (again, _) = asked(&mut bench, 0);
        bench.answer(0, &again);
        bench.ask(2, &format!("good.{name}"));
        let (query, opt) = asked(&mut bench, 0);
        assert!(opt.is_some());
        let mut message = response(&query, GOOD);
        message[11] = 1;
        message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        bench.receive(0, &message);
        bench.ask(3, name);
    }
    assert_eq!(told(&bench), 0);
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

/// Asks for `a.example` and has the upstream answer, refusing OPT records; whether the answer was kept.
fn is_kept(dnssec_ok: bool, edns: bool) -> bool {
    let cache = Arc::new(Cache::new(CacheConfig::new(1 << 20, [3; 16])));
    let mut upstreams = upstreams(&[0]);
    upstreams[0].edns = edns;
    let mut bench = Bench::two();
    let config = EngineConfig {
        cache: Arc::clone(&cache),
        ..EngineConfig::new(upstreams, Strategy::Ordered)
    };
    bench.engine = Engine::new(config, [1; 32]);
    let asker = Asker {
        id: 1,
        flags: Flags::NONE,
        question: question("a.example"),
        edns: Some(crate::wire::AskerEdns {
            udp_size: 1232,
            dnssec_ok,
        }),
        options: crate::wire::ReplyOptions::NONE,
        transport: Transport::Udp,
    };
    let request = Request {
        asker: asker.clone(),
        group: GroupId::DEFAULT,
        source: crate::exchange::Source::of([192, 0, 2, 1].into()),
        since: bench.now,
        stale: false,
        signed: None,
    };
    bench.engine.submit(request, 1, bench.now);
    bench.settle();
    bench.connect(0);
    let (mut query, opt) = asked(&mut bench, 0);
    if opt.is_some() {
        bench.receive(0, &response(&query, Rcode::FORMERR));
        query = asked(&mut bench, 0).0;
    }
    let mut composer = ResponseComposer::new(&question("a.example"));
    composer.answer(
        &"a.example".parse().unwrap(),
        RecordType::A,
        60,
        &[192, 0, 2, 1],
    );
    let mut message = composer.finish();
    message[..2].copy_from_slice(&query.0.to_be_bytes());
    bench.receive(0, &message);
    assert_eq!(good(&bench), 1);
    let mut reply = Vec::new();
    let answered = cache.answer(&asker, GroupId::DEFAULT, bench.now, &mut reply);
    answered == Answered::Yes
}

#[test]
fn what_was_asked_with_do_and_answered_without_edns_is_not_kept_unless_there_is_nothing_better() {
    assert!(!is_kept(true, true));
    assert!(is_kept(false, true), "nobody asked for signatures");
    assert!(is_kept(true, false), "the operator wants no EDNS");
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
