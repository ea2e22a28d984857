use super::*;
use crate::wire::edns::EdeCode;
use crate::wire::{
    AskerEdns, Class, Question, RecordType, ReplyOptions, ResponseComposer, Transport, write_error,
};

fn question() -> Question {
    Question::new(&"wWw.example".parse().unwrap(), RecordType::TXT, Class::IN)
}

fn asker(transport: Transport, edns: Option<AskerEdns>) -> Asker {
    let flags = Flags::NONE.with_recursion_desired(true);
    Asker {
        id: 0x4711,
        flags,
        question: question(),
        edns,
        options: ReplyOptions::NONE,
        transport,
    }
}

fn edns(udp_size: u16) -> Option<AskerEdns> {
    Some(AskerEdns {
        udp_size: udp_size.min(1232),
        dnssec_ok: false,
    })
}

/// `sets` answers of 100 octets each, every one a record set of its own.
fn response(sets: usize) -> Vec<u8> {
    let folded = Question::new(&question().qname().folded(), RecordType::TXT, Class::IN);
    let mut composer = ResponseComposer::new(&folded);
    for set in 0..sets {
        let owner = format!("n{set:02}.example").parse().unwrap();
        composer.answer(&owner, RecordType::TXT, 60, &[79; 77]);
    }
    composer.finish()
}

fn render(message: &[u8], asker: &Asker) -> Vec<u8> {
    let mut out = Vec::new();
    let view = ResponseView::parse(message).unwrap();
    render_reply(&view, asker, ReplyOrigin::Upstream, &mut out);
    assert!(out.len() <= asker.reply_len_max());
    out
}

#[test]
fn a_reply_has_the_clients_id_spelling_and_flags() {
    let out = render(&response(1), &asker(Transport::Udp, None));
    let view = ResponseView::parse(&out).unwrap();
    assert_eq!(view.header().id, 0x4711);
    assert_eq!(view.question().unwrap().octets(), question().octets());
    assert_eq!(view.header().flags.bits(), 0x8180);
    assert!(view.edns().is_none());
    assert_eq!(view.header().answers, 1);
}

#[test]
fn upstream_bits_that_are_not_ours_to_pass_are_cleared() {
    let mut message = response(1);
    message[2] |= 0x04;
    message[3] |= 0x60;
    let mut asker = asker(Transport::Udp, None);
    assert_eq!(render(&message, &asker)[2..4], [0x81, 0x80]);
    asker.flags = asker
        .flags
        .with_authentic_data(true)
        .with_checking_disabled(true);
    assert_eq!(render(&message, &asker)[2..4], [0x81, 0xb0]);
    asker.flags = Flags::NONE;
    asker.edns = Some(AskerEdns {
        udp_size: 1232,
        dnssec_ok: true,
    });
    assert_eq!(render(&message, &asker)[2..4], [0x80, 0xa0]);
}

#[test]
fn local_answers_are_authoritative_and_never_authentic() {
    let mut message = response(1);
    message[3] |= 0x20;
    let mut asker = asker(Transport::Udp, None);
    asker.flags = asker.flags.with_authentic_data(true);
    let mut out = Vec::new();
    let view = ResponseView::parse(&message).unwrap();
    render_reply(&view, &asker, ReplyOrigin::Local, &mut out);
    assert_eq!(out[2..4], [0x85, 0x80]);
}

#[test]
fn without_edns_512_octets_and_tc_at_a_set_boundary() {
    let out = render(&response(16), &asker(Transport::Udp, None));
    let view = ResponseView::parse(&out).unwrap();
    assert!(view.header().flags.truncated() && view.edns().is_none());
    assert_eq!(view.header().answers, 4);
    assert!(out.len() <= 512 && out.len() + 100 > 512);
}

#[test]
fn a_truncated_reply_keeps_its_opt_record() {
    for (announced, bound) in [
        (0, 512),
        (100, 512),
        (600, 600),
        (1232, 1232),
        (65535, 1232),
    ] {
        let out = render(&response(30), &asker(Transport::Udp, edns(announced)));
        let view = ResponseView::parse(&out).unwrap();
        assert!(out.len() <= bound && out.len() + 100 > bound, "{announced}");
        assert!(view.header().flags.truncated() && view.edns().is_some());
    }
}

#[test]
fn a_small_announcement_does_not_cut_an_answer_that_fits_512() {
    let out = render(&response(2), &asker(Transport::Udp, edns(100)));
    assert!(
        !ResponseView::parse(&out)
            .unwrap()
            .header()
            .flags
            .truncated()
    );
}

#[test]
fn streams_ignore_the_announced_size() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let out = render(&response(30), &asker(transport, edns(512)));
        let view = ResponseView::parse(&out).unwrap();
        assert!(!view.header().flags.truncated());
        assert_eq!(view.header().answers, 30);
    }
}

#[test]
fn a_record_set_is_kept_whole_or_not_at_all() {
    let mut composer = ResponseComposer::new(&question());
    let (first, second) = ("a.example".parse().unwrap(), "B.example".parse().unwrap());
    composer.answer(&first, RecordType::TXT, 60, &[9; 80]);
    for owner in ["b.example", "B.EXAMPLE"] {
        let owner = owner.parse().unwrap();
        composer.answer(&owner, RecordType::TXT, 60, &[9; 200]);
    }
    composer.answer(&second, RecordType::TXT, 60, &[9; 200]);
    let out = render(&composer.finish(), &asker(Transport::Udp, None));
    let view = ResponseView::parse(&out).unwrap();
    assert_eq!(view.header().answers, 1);
    assert!(view.header().flags.truncated());
}

#[test]
fn additional_records_go_first_and_without_tc() {
    let mut message = response(4);
    let glue = b"\x01g\x00\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x50";
    message.extend_from_slice(glue);
    message.extend_from_slice(&[79; 80]);
    message[11] = 1;
    let out = render(&message, &asker(Transport::Udp, None));
    let view = ResponseView::parse(&out).unwrap();
    assert!(!view.header().flags.truncated());
    assert_eq!((view.header().answers, view.header().additionals), (4, 0));
    let out = render(&message, &asker(Transport::Tcp, None));
    assert_eq!(ResponseView::parse(&out).unwrap().header().additionals, 1);
}

#[test]
fn the_upstreams_opt_ends_here_but_its_extended_error_goes_on() {
    let upstream = asker(Transport::Tls, edns(4096));
    let error = ExtendedError {
        code: EdeCode(6),
        text: "bogus",
    };
    let mut message = Vec::new();
    write_error(&upstream, Rcode::SERVFAIL, Some(error), &mut message);
    let out = render(&message, &asker(Transport::Udp, edns(512)));
    let view = ResponseView::parse(&out).unwrap();
    assert_eq!(
        (view.edns().unwrap().udp_size, view.rcode()),
        (1232, Rcode::SERVFAIL)
    );
    assert_eq!(view.extended_errors().collect::<Vec<_>>(), [error]);
    let out = render(&message, &asker(Transport::Udp, None));
    assert!(ResponseView::parse(&out).unwrap().edns().is_none());
}

#[test]
fn the_extended_error_is_dropped_before_tc_is_set() {
    let mut message = response(4);
    let text = "x".repeat(120);
    append_opt(
        OptFields {
            rcode: Rcode::NOERROR,
            dnssec_ok: false,
        },
        &ReplyOptions::NONE,
        Some(ExtendedError {
            code: EdeCode::OTHER,
            text: &text,
        }),
        &mut message,
    );
    let out = render(&message, &asker(Transport::Udp, edns(512)));
    let view = ResponseView::parse(&out).unwrap();
    assert!(!view.header().flags.truncated());
    assert_eq!(
        (view.header().answers, view.extended_errors().count()),
        (4, 0)
    );
    let out = render(&message, &asker(Transport::Udp, edns(1232)));
    assert_eq!(
        ResponseView::parse(&out).unwrap().extended_errors().count(),
        1
    );
}

#[test]
fn extended_rcodes_need_edns_to_be_told() {
    let mut message = response(0);
    append_opt(
        OptFields {
            rcode: Rcode(23),
            dnssec_ok: false,
        },
        &ReplyOptions::NONE,
        None,
        &mut message,
    );
    message[3] |= 7;
    let out = render(&message, &asker(Transport::Udp, edns(1232)));
    assert_eq!(ResponseView::parse(&out).unwrap().rcode(), Rcode(23));
    let out = render(&message, &asker(Transport::Udp, None));
    assert_eq!(ResponseView::parse(&out).unwrap().rcode(), Rcode::SERVFAIL);
}

#[test]
fn the_largest_answer_never_outgrows_a_frame() {
    let mut composer = ResponseComposer::new(&question());
    let owner = "a.example".parse().unwrap();
    composer.answer(&owner, RecordType::TXT, 60, &[9; 65_535 - 12 - 17 - 21]);
    let message = composer.finish();
    assert_eq!(message.len(), 65_535);
    let out = render(&message, &asker(Transport::Tcp, None));
    assert_eq!(out.len(), 65_535);
    let out = render(&message, &asker(Transport::Tcp, edns(1232)));
    assert!(
        ResponseView::parse(&out)
            .unwrap()
            .header()
            .flags
            .truncated()
    );
}
