use core::time::Duration;

use super::*;
use crate::front::{Deny, Front, FrontConfig, Verdict};
use crate::policy::{Acl, LocalData, LocalRecord, LocalRecords, PolicyConfig};
use crate::time::Moment;
use crate::wire::edns::{EdeCode, OptionCode};
use crate::wire::{Flags, Header, Rcode, ResponseView};

const NSID: &[u8] = b"ns1.example";

fn config(cookies: Cookies) -> OptionsConfig {
    OptionsConfig {
        cookies,
        secrets: CookieSecrets::new(&[[3; 16]]),
        nsid: Some(NSID.into()),
        ..OptionsConfig::default()
    }
}

fn front(options: OptionsConfig) -> Front {
    let record = LocalRecord {
        name: "here.example".parse().unwrap(),
        ttl: 60,
        data: LocalData::Txt(vec![b'x'; 1300]),
    };
    Front::new(FrontConfig {
        deny: Deny::default(),
        tells_kept: true,
        rate: None,
        allow: Acl::new(&["127.0.0.0/8".parse().unwrap()]),
        policy: PolicyConfig {
            local: LocalRecords::new([record]),
            ..PolicyConfig::default()
        },
        options,
        cache: Arc::new(crate::cache::Cache::off()),
    })
}

/// A query for the local TXT record, or for nothing, with these options.
fn query(questions: u16, options: &[(u16, &[u8])]) -> Vec<u8> {
    let header = Header {
        id: 7,
        flags: Flags::NONE.with_recursion_desired(true),
        questions,
        answers: 0,
        authorities: 0,
        additionals: 1,
    };
    let mut message = header.octets().to_vec();
    if questions == 1 {
        message.extend_from_slice(b"\x04here\x07example\x00\x00\x10\x00\x01");
    }
    message.extend_from_slice(b"\x00\x00\x29\xff\xff\x00\x00\x00\x00");
    let mut data = Vec::new();
    for (code, octets) in options {
        data.extend_from_slice(&code.to_be_bytes());
        data.extend_from_slice(&u16::try_from(octets.len()).unwrap().to_be_bytes());
        data.extend_from_slice(octets);
    }
    message.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
    [message, data].concat()
}

fn ask(front: &Front, transport: Transport, message: &[u8]) -> Vec<u8> {
    let client = Client {
        address: ([127, 0, 0, 1], 4000).into(),
        transport,
        idle: Duration::from_millis(12_345),
    };
    let mut reply = Vec::new();
    let verdict = front.handle_query(
        message,
        &client,
        Moment::ZERO,
        WallSeconds(1_000),
        &mut reply,
    );
    assert!(matches!(verdict, Verdict::Reply), "{verdict:?}");
    reply
}

fn option(reply: &[u8], code: OptionCode) -> Option<Vec<u8>> {
    let view = ResponseView::parse(reply).unwrap();
    view.edns().unwrap().option(code).map(<[u8]>::to_vec)
}

#[test]
fn each_option_is_answered_where_it_belongs_and_only_when_asked_for() {
    let front = front(config(Cookies::Answer));
    let all: [(u16, &[u8]); 5] = [(3, b""), (10, &[1; 8]), (11, b""), (12, b"\0"), (100, b"x")];
    for (transport, keepalive, padding) in [
        (Transport::Udp, false, false),
        (Transport::Tcp, true, false),
        (Transport::Tls, true, true),
    ] {
        let reply = ask(&front, transport, &query(1, &all));
        assert_eq!(option(&reply, OptionCode::NSID).as_deref(), Some(NSID));
        let cookie = option(&reply, OptionCode::COOKIE).unwrap();
        assert_eq!((cookie.len(), &cookie[..8]), (24, &[1; 8][..]));
        // 12.345 s are 123 tenths.
        let wanted = keepalive.then(|| vec![0, 123]);
        assert_eq!(option(&reply, OptionCode::KEEPALIVE), wanted);
        assert_eq!(option(&reply, OptionCode::PADDING).is_some(), padding);
        assert_eq!(reply.len().is_multiple_of(468), padding, "{transport:?}");
        assert_eq!(option(&reply, OptionCode(100)), None);
        let bare = ask(&front, transport, &query(1, &[]));
        let view = ResponseView::parse(&bare).unwrap();
        assert_eq!(view.edns().unwrap().options().count(), 0);
    }
}

#[test]
fn what_is_not_configured_is_not_answered() {
    let front = front(OptionsConfig {
        nsid: None,
        ..config(Cookies::Off)
    });
    // Of whatever length: a cookie is an unknown option then.
    let asked: [(u16, &[u8]); 2] = [(3, b""), (10, &[1; 9])];
    let reply = ask(&front, Transport::Udp, &query(1, &asked));
    let view = ResponseView::parse(&reply).unwrap();
    assert_eq!(view.rcode(), Rcode::NOERROR);
    assert_eq!(view.edns().unwrap().options().count(), 0);
}

#[test]
fn a_cookie_of_a_length_there_is_not_is_malformed() {
    let front = front(config(Cookies::Answer));
    for length in [0, 7, 9, 15, 41] {
        let message = query(1, &[(10, &vec![1; length])]);
        let reply = ask(&front, Transport::Udp, &message);
        let view = ResponseView::parse(&reply).unwrap();
        assert_eq!(
            (view.rcode(), view.edns().is_some()),
            (Rcode::FORMERR, true)
        );
        assert_eq!(view.extended_errors().next().unwrap().code, EdeCode::OTHER);
    }
}

#[test]
fn cookies_can_be_asked_for_alone() {
    let front = front(config(Cookies::Answer));
    let reply = ask(&front, Transport::Udp, &query(0, &[(10, &[1; 8])]));
    assert_eq!(ResponseView::parse(&reply).unwrap().rcode(), Rcode::NOERROR);
    let cookie = option(&reply, OptionCode::COOKIE).unwrap();
    let reply = ask(&front, Transport::Udp, &query(0, &[(10, &cookie)]));
    assert_eq!(option(&reply, OptionCode::COOKIE), Some(cookie.clone()));
    assert_eq!(ResponseView::parse(&reply).unwrap().rcode(), Rcode::NOERROR);
    let mut bad = cookie;
    bad[20] ^= 1;
    let reply = ask(&front, Transport::Udp, &query(0, &[(10, &bad)]));
    assert_eq!(
        ResponseView::parse(&reply).unwrap().rcode(),
        Rcode::BADCOOKIE
    );
    let reply = ask(&front, Transport::Udp, &query(0, &[(3, b"")]));
    assert_eq!(ResponseView::parse(&reply).unwrap().rcode(), Rcode::FORMERR);
}

#[test]
fn where_cookies_are_required_a_bad_one_is_exchanged_and_none_is_no_fault() {
    let front = front(config(Cookies::Require));
    let first = ask(&front, Transport::Udp, &query(1, &[(10, &[1; 8])]));
    assert_eq!(
        ResponseView::parse(&first).unwrap().rcode(),
        Rcode::BADCOOKIE
    );
    let cookie = option(&first, OptionCode::COOKIE).unwrap();
    for (transport, message) in [
        (Transport::Udp, query(1, &[(10, &cookie)])),
        (Transport::Udp, query(1, &[])),
        // Who has a connection has shown its address.
        (Transport::Tcp, query(1, &[(10, &[1; 8])])),
    ] {
        let reply = ask(&front, transport, &message);
        assert_eq!(ResponseView::parse(&reply).unwrap().rcode(), Rcode::NOERROR);
    }
}

#[test]
fn options_are_within_the_size_the_client_takes() {
    for (udp_max, truncated) in [(512, true), (1232, true), (1450, false), (4096, false)] {
        let front = front(OptionsConfig {
            udp_max,
            ..config(Cookies::Answer)
        });
        let asked: [(u16, &[u8]); 2] = [(3, b""), (10, &[1; 8])];
        let reply = ask(&front, Transport::Udp, &query(1, &asked));
        let view = ResponseView::parse(&reply).unwrap();
        assert!(reply.len() <= usize::from(udp_max));
        assert_eq!(view.header().flags.truncated(), truncated, "{udp_max}");
        assert!(option(&reply, OptionCode::COOKIE).is_some());
    }
}
