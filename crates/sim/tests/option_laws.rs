//! The options of replies, as the `domain` crate reads them, for queries with any options in any order.

#![expect(
    clippy::unwrap_used,
    reason = "what a test makes up itself is known to be well-formed"
)]

use std::time::Duration;

use domain::base::Message;
use domain::base::iana::OptionCode;
use domain::base::opt::{AllOptData, UnknownOptData};
use dotward_core::front::{Client, Verdict};
use dotward_core::time::{Moment, WallSeconds};
use dotward_core::wire::Transport;
use dotward_sim::laws;
use proptest::collection::vec;
use proptest::prelude::*;

/// Lengths of a COOKIE option that there are (RFC 7873 section 4).
fn is_cookie(data: &[u8]) -> bool {
    data.len() == 8 || (16..=40).contains(&data.len())
}

fn option() -> impl Strategy<Value = (u16, Vec<u8>)> {
    prop_oneof![
        1 => Just((3, Vec::new())),
        4 => vec(any::<u8>(), 8).prop_map(|data| (10, data)),
        1 => vec(any::<u8>(), 0..44).prop_map(|data| (10, data)),
        2 => vec(any::<u8>(), 0..3).prop_map(|data| (11, data)),
        2 => (0_usize..600).prop_map(|length| (12, vec![0; length])),
        2 => (any::<u16>(), vec(any::<u8>(), 0..20)),
    ]
}

/// A query for a name that is answered here, or refused, with these options.
fn query(options: &[(u16, Vec<u8>)], size: u16, refused: bool) -> Vec<u8> {
    let mut message = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01a\x00".to_vec();
    message.extend_from_slice(if refused { b"\x00\xfc" } else { b"\x00\x10" });
    message.extend_from_slice(b"\x00\x01\x00\x00\x29");
    message.extend_from_slice(&size.to_be_bytes());
    message.extend_from_slice(&[0; 4]);
    let data: Vec<u8> = options
        .iter()
        .flat_map(|(code, data)| {
            let length = u16::try_from(data.len()).unwrap();
            [&code.to_be_bytes(), &length.to_be_bytes(), data.as_slice()].concat()
        })
        .collect();
    message.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
    [message, data].concat()
}

fn reply_to(message: &[u8], transport: Transport) -> Vec<u8> {
    let client = Client {
        address: ([127, 0, 0, 1], 4000).into(),
        transport,
        idle: Duration::from_secs(10),
    };
    let mut reply = Vec::new();
    let verdict =
        laws::front().handle_query(message, &client, Moment::ZERO, WallSeconds(77), &mut reply);
    assert!(matches!(verdict, Verdict::Reply), "{verdict:?}");
    reply
}

proptest! {
    #[test]
    fn the_domain_crate_reads_in_a_reply_what_was_asked_for_and_nothing_else(
        options in vec(option(), 0..8),
        size in any::<u16>(),
        refused in any::<bool>(),
        transport in proptest::sample::select(&[Transport::Udp, Transport::Tcp, Transport::Tls][..]),
    ) {
        let reply = reply_to(&query(&options, size, refused), transport);
        if transport == Transport::Udp {
            prop_assert!(reply.len() <= usize::from(size.clamp(512, 1232)));
        }
        let theirs = Message::from_octets(reply.as_slice()).unwrap();
        let opt = theirs.opt().unwrap();
        let first = |code: u16| options.iter().find(|(found, _)| *found == code).map(|(_, data)| data);
        let cookie = first(10);
        let malformed = cookie.is_some_and(|data| !is_cookie(data));
        let mut codes = Vec::new();
        #[expect(clippy::wildcard_enum_match_arm, reason = "all others are faults")]
        for option in opt.opt().iter::<AllOptData<_, _>>() {
            let option = option.unwrap();
            codes.push(domain::base::opt::OptData::code(&option).to_int());
            match option {
                AllOptData::Cookie(found) => {
                    let client = found.client().into_octets();
                    prop_assert_eq!(client.as_slice(), &cookie.unwrap()[..8]);
                    let server = found.server().unwrap().try_to_standard().unwrap();
                    prop_assert_eq!(server.timestamp().into_int(), 77);
                }
                AllOptData::Nsid(found) => prop_assert_eq!(found.as_slice(), b"law"),
                AllOptData::TcpKeepalive(found) => {
                    let timeout = found.timeout().unwrap();
                    prop_assert_eq!(Duration::from(timeout), Duration::from_secs(10));
                }
                AllOptData::ExtendedError(_) | AllOptData::Padding(_) => {}
                other => prop_assert!(false, "{other:?}"),
            }
        }
        let due = |code: u16, here: bool| here && first(code).is_some() && !malformed;
        let wanted: Vec<u16> = [
            (10, due(10, true)),
            (3, due(3, true)),
            (11, due(11, transport != Transport::Udp)),
            (15, codes.contains(&15)),
            (12, due(12, transport == Transport::Tls)),
        ]
        .into_iter()
        .filter_map(|(code, due)| due.then_some(code))
        .collect();
        prop_assert_eq!(&codes, &wanted);
        if codes.contains(&12) {
            prop_assert_eq!(reply.len() % 468, 0);
        }
        // Twice the same, or a second padding, would be somebody's loop.
        let unknown = opt.opt().iter::<UnknownOptData<_>>().filter_map(Result::ok);
        let paddings = unknown.filter(|data| {
            domain::base::opt::OptData::code(data) == OptionCode::PADDING
        });
        prop_assert!(paddings.count() <= 1);
    }
}
