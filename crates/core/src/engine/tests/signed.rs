//! Signed queries: as they came, for one client, and back as it came.

use super::*;
use crate::exchange::SignedQuery;
use crate::limits::SIGNED_EXCHANGES_MAX;

pub(super) const TSIG: &[u8] = b"\x03key\0\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x03MAC";
const SIG0: &[u8] = b"\0\x00\x18\x00\xff\x00\x00\x00\x00\x00\x04\0\0AB";

/// A query for `www.example A` with message ID 7, an OPT record with an unknown option, and a signature.
pub(super) fn query(signature: &[u8]) -> Vec<u8> {
    [
        b"\x00\x07\x01\x40\x00\x01\x00\x00\x00\x00\x00\x02".as_slice(),
        b"\x03wWw\x07example\x00\x00\x01\x00\x01",
        b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x06\x00\x64\x00\x02xy",
        signature,
    ]
    .concat()
}

/// A response to it with AA set, `octets` of text, and a signature if any.
fn answer(id: u16, octets: usize, signature: &[u8]) -> Vec<u8> {
    let signed = u8::from(!signature.is_empty());
    let length = u16::try_from(octets + 1).unwrap().to_be_bytes();
    [
        &id.to_be_bytes(),
        b"\x85\x80\x00\x01\x00\x01\x00\x00\x00".as_slice(),
        &[signed],
        b"\x03wWw\x07example\x00\x00\x01\x00\x01",
        b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c",
        &length,
        &[u8::try_from(octets).unwrap()],
        &vec![b'x'; octets],
        signature,
    ]
    .concat()
}

impl Bench {
    pub(super) fn ask_signed(&mut self, client: u32, message: &[u8], transport: Transport) {
        let query = QueryView::parse(message).unwrap();
        let request = Request {
            asker: Asker::new(&query, transport, 1232).to_owned(),
            group: GroupId::DEFAULT,
            source: crate::exchange::Source::of([192, 0, 2, 1].into()),
            since: self.now,
            stale: false,
            signed: SignedQuery::of(&query),
        };
        assert!(request.signed.is_some());
        self.engine.submit(request, client, self.now);
        self.settle();
    }

    /// What a stream has to write, message by message.
    pub(super) fn messages(&mut self, place: usize) -> Vec<Vec<u8>> {
        while self.engine.poll_transmit().is_some() {}
        let id = self.connection(place);
        let mut reader = FrameReader::default();
        reader.push(self.engine.outbound(id));
        let octets = self.engine.outbound(id).len();
        self.engine.handle_transmitted(id, octets);
        std::iter::from_fn(|| reader.next_message().map(<[u8]>::to_vec)).collect()
    }
}

fn id_of(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

#[test]
fn a_signed_query_and_its_signed_response_pass_but_for_the_message_id() {
    let mut bench = Bench::one();
    bench.ask_signed(1, &query(TSIG), Transport::Udp);
    bench.connect(0);
    let sent = bench.messages(0).remove(0);
    assert_eq!(sent[2..], query(TSIG)[2..]);
    assert_ne!(id_of(&sent), 7, "the seed makes it another one");
    bench.receive(0, &answer(id_of(&sent), 20, TSIG));
    assert_eq!(bench.replies, [(1, answer(7, 20, TSIG))]);
    assert_eq!(bench.engine.in_flight(), 0);
}

#[test]
fn a_response_without_a_signature_leaves_by_the_ordinary_way_out() {
    let mut bench = Bench::one();
    bench.ask_signed(1, &query(TSIG), Transport::Udp);
    bench.connect(0);
    let sent = bench.messages(0).remove(0);
    bench.receive(0, &answer(id_of(&sent), 20, b""));
    let view = ResponseView::parse(&bench.replies[0].1).unwrap();
    assert!(!view.header().flags.authoritative() && view.edns().is_some());
}

#[test]
fn equal_signed_queries_are_each_asked_for_themselves() {
    let mut bench = Bench::one();
    bench.ask_signed(1, &query(TSIG), Transport::Udp);
    bench.ask_signed(2, &query(TSIG), Transport::Udp);
    bench.ask(3, "www.example");
    bench.ask(4, "www.example");
    bench.connect(0);
    let sent = bench.messages(0);
    assert_eq!(sent.len(), 3);
    for message in &sent {
        bench.receive(0, &answer(id_of(message), 20, b""));
    }
    let clients: Vec<u32> = bench.replies.iter().map(|(client, _)| *client).collect();
    assert_eq!(clients, [1, 2, 3, 4]);
}

#[test]
fn the_message_id_under_a_sig0_stays() {
    let mut bench = Bench::one();
    bench.ask_signed(1, &query(SIG0), Transport::Udp);
    bench.connect(0);
    assert_eq!(bench.messages(0), [query(SIG0)]);
    // The same ID a second time, as when a client asks again, cannot be told apart on this connection. It is not answered with an error,
    // which would overtake the answer that is on its way to the same client.
    bench.ask_signed(2, &query(SIG0), Transport::Udp);
    assert!(bench.replies.is_empty());
    bench.receive(0, &answer(7, 20, SIG0));
    assert_eq!(bench.replies, [(1, answer(7, 20, SIG0))]);
    bench.wait(2_000);
    assert_eq!(bench.replies.len(), 2);
    assert_eq!(bench.engine.in_flight(), 0);
}

#[test]
fn a_signed_response_that_is_too_long_is_not_cut_but_announced() {
    for (transport, whole) in [(Transport::Udp, false), (Transport::Tcp, true)] {
        let mut bench = Bench::one();
        // Without EDNS: 512 octets.
        let mut bare = query(TSIG);
        bare.drain(29..46);
        bare[11] = 1;
        bench.ask_signed(1, &bare, transport);
        bench.connect(0);
        let sent = bench.messages(0).remove(0);
        let mut long = answer(id_of(&sent), 250, b"");
        let record = long[29..].repeat(2);
        long.extend_from_slice(&record);
        long.extend_from_slice(TSIG);
        long[7] = 3;
        long[11] = 1;
        bench.receive(0, &long);
        let view = ResponseView::parse(&bench.replies[0].1).unwrap();
        let (truncated, records) = (view.header().flags.truncated(), view.records().count());
        assert_eq!(
            (truncated, records),
            if whole { (false, 4) } else { (true, 0) }
        );
    }
}

#[test]
fn a_lost_connection_has_it_sent_again_as_it_is() {
    let mut bench = Bench::two();
    bench.ask_signed(1, &query(TSIG), Transport::Udp);
    bench.connect(0);
    bench.messages(0);
    bench.close(0, CloseReason::Reset);
    bench.connect(1);
    let sent = bench.messages(1).remove(0);
    assert_eq!(sent[2..], query(TSIG)[2..]);
    bench.receive(1, &answer(id_of(&sent), 20, TSIG));
    assert_eq!(bench.replies, [(1, answer(7, 20, TSIG))]);
}

#[test]
fn signed_queries_in_flight_are_bounded_apart() {
    let mut bench = Bench::one();
    for client in 0..SIGNED_EXCHANGES_MAX / 2 {
        bench.ask_signed(u32::try_from(client).unwrap(), &query(TSIG), Transport::Udp);
    }
    assert!(bench.replies.is_empty());
    bench.ask_signed(9_999, &query(TSIG), Transport::Udp);
    bench.ask(1, "www.example");
    assert_eq!(bench.replies.len(), 1);
    assert_eq!(bench.replies[0].0, 9_999);
    bench.connect(0);
    let sent = bench.messages(0).remove(0);
    bench.receive(0, &answer(id_of(&sent), 20, TSIG));
    bench.ask_signed(9_998, &query(TSIG), Transport::Udp);
    assert_eq!(bench.replies.len(), 2, "a place was free again");
}

#[test]
fn a_signed_query_is_not_written_anew_for_an_upstream_without_edns() {
    let mut bench = Bench::one();
    bench.ask_signed(1, &query(TSIG), Transport::Udp);
    bench.connect(0);
    let sent = bench.messages(0).remove(0);
    let refusal = [
        &sent[..2],
        b"\x81\x81\x00\x01\x00\x00\x00\x00\x00\x00\x03wWw\x07example\x00\x00\x01\x00\x01",
    ];
    bench.receive(0, &refusal.concat());
    assert!(
        bench
            .messages(0)
            .iter()
            .all(|again| again[2..] == query(TSIG)[2..])
    );
    assert_eq!(bench.replies.len(), 1);
    let view = ResponseView::parse(&bench.replies[0].1).unwrap();
    assert_eq!(view.rcode(), Rcode::FORMERR);
}
