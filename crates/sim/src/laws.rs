//! What holds for any octets whatever, as ordinary functions that panic when it does not. Property tests feed them messages that
//! are nearly right, fuzz targets feed them anything.

use core::time::Duration;
use std::sync::Arc;

use dotward_core::cache::{Cache, CacheConfig, Portable, write_portable};
use dotward_core::exchange::{Request, SignedQuery};
use dotward_core::front::{
    Client, CookieSecrets, Cookies, Deny, DropReason, Front, FrontConfig, OptionsConfig, Verdict,
};
use dotward_core::policy::{Acl, LocalData, LocalRecord, LocalRecords, PolicyConfig};
use dotward_core::time::{Moment, WallSeconds};
use dotward_core::upstream::GroupId;
use dotward_core::wire::edns::{OptionCode, UDP_PAYLOAD_MAX};
use dotward_core::wire::frame::{FrameReader, append_frame};
use dotward_core::wire::proxy::{self, HEADER_LEN_MAX, ProxyFault, ProxyHeader};
use dotward_core::wire::{
    Asker, AskerEdns, Flags, HEADER_LEN, Header, Name, QueryFault, QueryOptions, QueryView,
    Question, Record, ReplyCookie, ReplyOptions, ReplyOrigin, ResponseView, Section, Transport,
    render_reply, write_query,
};

use crate::judged;

/// All transports.
const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

/// A front that lets everybody ask and knows one name, `a`, with more text than a datagram holds.
#[must_use]
pub fn front() -> Front {
    let networks: Vec<ipnet::IpNet> = ["0.0.0.0/0", "::/0"]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    let records = ["a"].iter().filter_map(|name| {
        Some(LocalRecord {
            name: name.parse().ok()?,
            ttl: 60,
            data: LocalData::Txt(vec![b'x'; 1_300]),
        })
    });
    Front::new(FrontConfig {
        allow: Acl::new(&networks),
        policy: PolicyConfig {
            local: LocalRecords::new(records),
            ..PolicyConfig::default()
        },
        cache: Arc::new(Cache::off()),
        options: OptionsConfig {
            cookies: Cookies::Answer,
            secrets: CookieSecrets::new(&[[7; 16]]),
            nsid: Some(b"law".as_slice().into()),
            ..OptionsConfig::default()
        },
        deny: Deny::default(),
        tells_kept: true,
        rate: None,
    })
}

/// Any message of a client: a reply that belongs to it, silence for the two reasons there are, or a question as it was asked.
pub fn query(front: &Front, message: &[u8]) {
    for transport in TRANSPORTS {
        let client = Client {
            address: ([127, 0, 0, 1], 4000).into(),
            transport,
            idle: Duration::from_secs(10),
        };
        let mut reply = Vec::new();
        match front.handle_query(message, &client, Moment::ZERO, WallSeconds(0), &mut reply) {
            Verdict::Drop(reason) => check_silence(message, reason),
            Verdict::Reply => check_own_reply(message, &reply, transport),
            Verdict::Cached | Verdict::ReplyAndRefresh(_) => panic!("nothing is kept"),
            Verdict::Forward(request) => check_forwarded(message, &request),
            Verdict::Limited { .. } => panic!("limited, and nobody is counted"),
        }
    }
}

fn check_silence(message: &[u8], reason: DropReason) {
    match Header::parse(message) {
        None => assert_eq!(reason, DropReason::Runt),
        Some(header) => {
            assert!(header.flags.response(), "a query was dropped: {reason:?}");
            assert_eq!(reason, DropReason::Response);
        }
    }
}

#[expect(
    clippy::cognitive_complexity,
    reason = "a list of assertions, one fact a line"
)]
fn check_own_reply(message: &[u8], reply: &[u8], transport: Transport) {
    let (Some(asked), Ok(view)) = (Header::parse(message), ResponseView::parse(reply)) else {
        panic!("a reply that is no message: {reply:02x?}");
    };
    let header = view.header();
    assert_eq!(header.id, asked.id);
    assert!(header.flags.response() && !asked.flags.response());
    assert_eq!(header.flags.opcode(), asked.flags.opcode());
    assert_eq!(
        header.flags.recursion_desired(),
        asked.flags.recursion_desired()
    );
    assert_eq!(header.flags.bits() & 0x0040, 0, "the reserved bit");
    assert_eq!(view.message().len(), reply.len(), "octets behind the reply");
    if let Some(question) = view.question() {
        assert!(message[HEADER_LEN..].starts_with(question.octets()));
    }
    match QueryView::parse(message) {
        Ok(query) => {
            let asker = Asker::new(&query, transport, UDP_PAYLOAD_MAX);
            assert!(reply.len() <= asker.reply_len_max());
            assert_eq!(view.edns().is_some(), query.edns().is_some());
            assert!(view.question().is_some());
            check_options(&query, &view, transport);
        }
        Err(QueryFault::Malformed { edns, .. }) => assert_eq!(view.edns().is_some(), edns),
        Err(QueryFault::BadVersion { .. }) => assert_eq!(view.rcode().0, 16),
        Err(QueryFault::NotImplemented { .. }) => assert_eq!(reply.len(), HEADER_LEN),
        Err(QueryFault::NoQuestion { edns, .. }) => {
            assert_eq!(view.edns().is_some(), edns.is_some());
            assert!(view.question().is_none());
        }
        Err(QueryFault::Runt | QueryFault::Response) => panic!("a reply to silence"),
    }
}

/// A client gets the options it asked for where they belong, and no others.
fn check_options(query: &QueryView<'_>, reply: &ResponseView<'_>, transport: Transport) {
    let asked = query.edns().map(|edns| *edns.asked()).unwrap_or_default();
    let Some(edns) = reply.edns() else {
        return;
    };
    let has = |code| edns.option(code).is_some();
    // A cookie of a length there is not made the query malformed, and its reply bare.
    let bad = |cookie: &[u8]| cookie.len() != 8 && !(16..=40).contains(&cookie.len());
    let refused = asked.cookie.is_some_and(bad);
    assert_eq!(has(OptionCode::COOKIE), asked.cookie.is_some() && !refused);
    assert_eq!(has(OptionCode::NSID), asked.nsid && !refused);
    let stream = transport != Transport::Udp;
    let keepalive = asked.keepalive && stream && !refused;
    assert_eq!(has(OptionCode::KEEPALIVE), keepalive);
    let padded = asked.padding && transport == Transport::Tls && !refused;
    assert_eq!(has(OptionCode::PADDING), padded);
    if padded && reply.message().len() != 65_535 {
        assert_eq!(reply.message().len() % 468, 0);
    }
}

fn check_forwarded(message: &[u8], request: &Request) {
    let Ok(query) = QueryView::parse(message) else {
        panic!("forwarded, and not a question");
    };
    let asker = &request.asker;
    assert_eq!(query.question().octets(), asker.question.octets());
    // What is signed goes as it is, and nothing else does.
    assert_eq!(request.signed, SignedQuery::of(&query));
    assert_eq!(request.signed.is_some(), query.signature().is_some());
    for block in [None, Some(128), Some(468)] {
        let options = QueryOptions {
            keepalive: false,
            checking_disabled: asker.flags.checking_disabled(),
            dnssec_ok: asker.dnssec_ok(),
            padding: block,
        };
        round_trip(&asker.question, options);
    }
}

/// What [`write_query`] writes reads back as what was asked.
pub fn round_trip(question: &Question, options: QueryOptions) {
    let mut written = Vec::new();
    write_query(question.view(), options, &mut written);
    let Ok(view) = QueryView::parse(&written) else {
        panic!("a query of ours does not parse: {written:02x?}");
    };
    assert_eq!(view.question().octets(), question.octets());
    let flags = view.header().flags;
    assert!(flags.recursion_desired() && flags.authentic_data());
    assert_eq!(flags.checking_disabled(), options.checking_disabled);
    assert_eq!(
        view.edns()
            .map(|edns| (edns.dnssec_ok, edns.version, edns.udp_size)),
        Some((options.dnssec_ok, 0, 1232))
    );
    if let Some(block) = options.padding {
        assert!(written.len().is_multiple_of(block));
    }
}

/// Any message of an upstream: when it is one, every asker's reply is a message, his own, not too long, and made of whole
/// record sets from the front.
pub fn response(message: &[u8]) {
    let Ok(view) = ResponseView::parse(message) else {
        return;
    };
    let Some(question) = view.question() else {
        return;
    };
    judged::check(&view, question.qname());
    for (place, asker) in askers(&question.to_owned()).into_iter().enumerate() {
        for origin in [ReplyOrigin::Upstream, ReplyOrigin::Local] {
            let mut reply = Vec::new();
            render_reply(&view, &asker, origin, &mut reply);
            check_rendered(&view, &asker, &reply, place);
        }
    }
}

/// All options there are.
fn options(transport: Transport) -> ReplyOptions {
    ReplyOptions {
        cookie: Some(ReplyCookie {
            octets: [9; 24],
            proven: true,
        }),
        nsid: Some(b"law".as_slice().into()),
        keepalive: Some(100),
        padded: transport == Transport::Tls,
    }
}

/// Askers of all kinds for one question.
fn askers(question: &Question) -> Vec<Asker> {
    let sizes = [None, Some(0), Some(600), Some(1232), Some(65_535)];
    let mut askers = Vec::new();
    for transport in TRANSPORTS {
        for (place, size) in sizes.into_iter().enumerate() {
            let bits = u16::try_from(place).unwrap_or_default();
            askers.push(Asker {
                id: 0x4321 ^ bits,
                flags: Flags::from_bits([0x0100, 0x0000, 0x0130, 0x01ff, 0x0020][place]),
                question: question.clone(),
                edns: size.map(|udp_size| AskerEdns {
                    udp_size: udp_size.min(UDP_PAYLOAD_MAX),
                    dnssec_ok: place % 2 == 0,
                }),
                options: if place % 2 == 0 {
                    ReplyOptions::NONE
                } else {
                    options(transport)
                },
                transport,
            });
        }
    }
    askers
}

fn check_rendered(view: &ResponseView<'_>, asker: &Asker, reply: &[u8], place: usize) {
    let rendered = match ResponseView::parse(reply) {
        Ok(rendered) => rendered,
        Err(error) => panic!("asker {place} gets no message but {error:?}: {reply:02x?}"),
    };
    assert!(reply.len() <= asker.reply_len_max());
    assert_eq!(
        rendered.message().len(),
        reply.len(),
        "octets behind the reply"
    );
    let header = rendered.header();
    assert_eq!(header.id, asker.id);
    assert!(header.flags.response());
    assert_eq!(
        header.flags.recursion_desired(),
        asker.flags.recursion_desired()
    );
    assert_eq!(header.flags.bits() & 0x7840, 0, "opcode and reserved bit");
    assert_eq!(
        rendered.question().map(|question| question.octets()),
        Some(asker.question.octets())
    );
    assert_eq!(rendered.edns().is_some(), asker.edns.is_some());
    if asker.edns.is_some() || view.rcode().0 < 16 {
        assert_eq!(rendered.rcode(), view.rcode());
    }
    assert!(header.flags.truncated() || !view.header().flags.truncated());
    check_records(view, &rendered);
}

/// What can be compared of a record: everything but its place.
type Seen = (Section, Vec<u8>, u16, u16, u32, Vec<u8>);

fn records(view: &ResponseView<'_>) -> Vec<Seen> {
    let seen = |record: Record<'_>| {
        let owner = Name::read(view.message(), record.owner_at);
        let owner = owner.map_or_else(
            |error| panic!("an owner that was proven: {error:?}"),
            |name| name.folded().as_octets().to_vec(),
        );
        let (rtype, class) = (record.rtype.0, record.class.0);
        (
            record.section,
            owner,
            rtype,
            class,
            record.ttl,
            record.rdata.to_vec(),
        )
    };
    view.records()
        .filter_map(Result::ok)
        .filter(|record| record.rtype.0 != 41)
        .map(seen)
        .collect()
}

fn check_records(view: &ResponseView<'_>, rendered: &ResponseView<'_>) {
    let (all, kept) = (records(view), records(rendered));
    assert!(
        all.starts_with(&kept),
        "records that were not in the response"
    );
    let cut = kept.len();
    let lost_of = |section: Section| all[cut..].iter().filter(|seen| seen.0 == section).count();
    let lost = lost_of(Section::Answer) + lost_of(Section::Authority);
    if lost > 0 {
        assert!(
            rendered.header().flags.truncated(),
            "{lost} records are missing and TC is clear"
        );
        let set = |seen: &Seen| (seen.0, seen.1.clone(), seen.2, seen.3);
        let torn = cut > 0 && set(&all[cut - 1]) == set(&all[cut]);
        assert!(!torn, "a record set was torn");
    }
}

/// What is rendered can be rendered again and stays what it is; letter case of the question is the asker's each time.
pub fn edit(message: &[u8]) {
    let Ok(view) = ResponseView::parse(message) else {
        return;
    };
    let Some(question) = view.question() else {
        return;
    };
    let mut asker = askers(&question.to_owned()).swap_remove(8);
    asker.question = swapped_case(&asker.question);
    assert!(question.same_as(asker.question.view()));
    let mut once = Vec::new();
    render_reply(&view, &asker, ReplyOrigin::Upstream, &mut once);
    let again = match ResponseView::parse(&once) {
        Ok(again) => again,
        Err(error) => panic!("a reply with the asker's letter case is {error:?}: {once:02x?}"),
    };
    assert_eq!(
        again.question().map(|question| question.octets()),
        Some(asker.question.octets())
    );
    let mut twice = Vec::new();
    render_reply(&again, &asker, ReplyOrigin::Upstream, &mut twice);
    assert_eq!(once, twice, "rendering is not stable");
}

/// The question with every letter of its name in the other case.
#[must_use]
pub fn swapped_case(question: &Question) -> Question {
    let octets = question.qname().as_octets().to_vec();
    let swapped: Vec<u8> = octets
        .into_iter()
        .map(|octet| {
            if octet.is_ascii_alphabetic() {
                octet ^ 0x20
            } else {
                octet
            }
        })
        .collect();
    let name = Name::from_octets(&swapped).unwrap_or_else(|_| question.qname());
    Question::new(&name, question.qtype(), question.qclass())
}

/// A stream gives the same messages in whatever pieces it comes. The first octets say how it is cut.
pub fn frame(data: &[u8]) {
    let Some((cuts, stream)) = data.split_first_chunk::<8>() else {
        return;
    };
    let whole = reassemble(core::iter::once(stream));
    let mut pieces = Vec::new();
    let mut rest = stream;
    for at in (0..8).cycle() {
        if rest.is_empty() {
            break;
        }
        let length = (usize::from(cuts[at]) % 97 + 1).min(rest.len());
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        rest = after;
    }
    let cut = reassemble(pieces.into_iter());
    assert_eq!(whole, cut, "the pieces change what is read");
    let mut again = Vec::new();
    for message in &whole.0 {
        assert!(append_frame(message, &mut again));
    }
    assert!(
        stream.starts_with(&again),
        "framing does not give the stream back"
    );
    assert_eq!(
        whole.1,
        again.len() == stream.len(),
        "wrong about what is left over"
    );
}

fn reassemble<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let mut reader = FrameReader::default();
    let mut messages = Vec::new();
    for piece in pieces {
        reader.push(piece);
        while let Some(message) = reader.next_message() {
            messages.push(message.to_vec());
        }
    }
    (messages, reader.is_empty())
}

/// A stream that may begin with a PROXY header: what is said of its front stays true when more comes, and a header is within its bounds.
pub fn proxy(stream: &[u8]) {
    let whole = proxy::parse_stream(stream);
    if let Ok(header) = whole {
        assert!(header.len <= stream.len() && header.len <= HEADER_LEN_MAX);
        assert!(proxy::is_announced(stream));
        let alone = stream.get(..header.len).map(proxy::parse_stream);
        assert_eq!(alone, Some(whole), "what follows a header changes it");
    }
    let longest = stream.len().min(HEADER_LEN_MAX);
    for cut in 0..longest {
        let front = stream.get(..cut).map(proxy::parse_stream);
        let so_far = front.unwrap_or(Err(ProxyFault::Incomplete));
        assert!(
            so_far == Err(ProxyFault::Incomplete) || so_far == whole,
            "{so_far:?} of {cut} octets, {whole:?} of all"
        );
    }
    assert!(
        whole != Err(ProxyFault::Incomplete) || stream.len() < HEADER_LEN_MAX,
        "more is waited for than a header may have"
    );
    if let Ok(ProxyHeader { source, .. }) = proxy::parse_datagram(stream) {
        assert_eq!(whole.map(|header| header.source), Ok(source));
    }
}

/// A kept answer from another process. Whatever it is: it is no longer-lived than it claims, and what a cache takes of it can be given away again
/// as the answer to the same question.
pub fn portable(data: &[u8]) {
    let Ok(portable) = Portable::read(data) else {
        return;
    };
    let wall = Duration::from_secs(portable.expires.saturating_sub(1).min(1 << 40));
    assert!(portable.remaining(wall) <= u64::from(portable.lifetime));
    let cache = Cache::new(CacheConfig::new(1 << 20, [7; 16]));
    let now = Moment::ZERO + Duration::from_secs(1 << 20);
    if cache
        .restore(&portable.restored(GroupId(0), wall), now)
        .is_err()
    {
        return;
    }
    let mut seen = 0;
    cache.visit(now, |kept| {
        seen += 1;
        let mut again = Vec::new();
        assert!(write_portable(&kept, portable.label, wall, &mut again));
        let Ok(read) = Portable::read(&again) else {
            panic!("what was written does not read");
        };
        assert_eq!(read.label, portable.label);
        assert_eq!(
            (read.dnssec_ok, read.checking_disabled),
            (portable.dnssec_ok, portable.checking_disabled)
        );
        let view = ResponseView::parse(read.message);
        assert!(view.is_ok_and(|view| view.answers(kept.question)));
    });
    assert_eq!(seen, 1);
}
