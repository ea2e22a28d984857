//! Modes and labels that change one response: what is in it, and in which pieces it comes.

use dotward_faults::answers::{POISON_A, expected_aaaa, expected_txt};
use dotward_faults::expected_a;

use crate::client::{
    A, AAAA, Client, Message, TXT, framed, header, mode, query, question, server, wire,
};

const NAME: &str = "WwW.Example";
const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const RA: u16 = 0x0080;
const AD: u16 = 0x0020;

type Check = fn(&Message) -> bool;

fn right(message: &Message) -> bool {
    message.address() == Some(expected_a(NAME)) && message.rcode == 0
}

fn poisoned(message: &Message) -> bool {
    message.address() == Some(POISON_A)
}

fn asks(message: &Message) -> (Vec<u8>, u16, u16) {
    message.question.clone().unwrap()
}

fn ask_type(message: &Message) -> u16 {
    asks(message).1
}

#[tokio::test]
async fn each_mode_changes_the_response_as_it_says() {
    let rows: &[(&str, Check)] = &[
        ("normal", |m| {
            right(m) && asks(m) == (wire(NAME), A, 1) && m.options.is_some()
        }),
        ("normal", |m| {
            m.has(RA) && !m.has(AA) && !m.has(AD) && !m.has(TC) && m.octets == 56
        }),
        ("servfail", |m| m.rcode == 2 && m.answers.is_empty()),
        ("refused", |m| m.rcode == 5 && m.answers.is_empty()),
        ("rcode=23", |m| m.rcode == 23),
        ("tc", |m| m.has(TC) && m.answers.is_empty()),
        ("size=65535", |m| right(m) && m.octets == 65_535),
        ("size=513", |m| right(m) && m.octets == 513),
        ("ttl=7", |m| right(m) && m.answers[0].1 == 7),
        ("aa,ad", |m| right(m) && m.has(AA) && m.has(AD)),
        ("no-ra", |m| right(m) && !m.has(RA)),
        ("no-opt", |m| right(m) && m.options.is_none()),
        ("formerr-opt", |m| m.rcode == 1 && m.options.is_none()),
        ("keepalive=0s", |m| {
            right(m) && m.options.as_deref() == Some(&[0, 11, 0, 2, 0, 0])
        }),
        ("keepalive=10s", |m| {
            m.options.as_deref() == Some(&[0, 11, 0, 2, 0, 100])
        }),
        ("case=upper", |m| {
            right(m) && asks(m).0 == wire("WWW.EXAMPLE")
        }),
        ("case=lower", |m| {
            right(m) && asks(m).0 == wire("www.example")
        }),
        ("case=invert", |m| {
            right(m) && asks(m).0 == wire("wWw.eXAMPLE")
        }),
        ("wrong-id", |m| poisoned(m) && m.id != 7),
        ("wrong-name", |m| {
            poisoned(m) && asks(m).0 == wire("poison.WwW.Example")
        }),
        ("wrong-type", |m| {
            ask_type(m) == AAAA && m.answers[0].0 == AAAA
        }),
        ("wrong-class", |m| poisoned(m) && asks(m).2 == 3),
        ("empty-question", |m| poisoned(m) && m.question.is_none()),
        ("not-a-response", |m| poisoned(m) && !m.has(0x8000)),
        ("tcp-chunk=1", right),
        ("tcp-chunk=3,split", right),
        ("coalesce", right),
    ];
    let running = server("normal");
    let mut client = Client::connect(&running).await.unwrap();
    for (words, check) in rows {
        running.set_mode(mode(words));
        client.ask(7, NAME, A).await;
        let message = client.message().await;
        assert!(check(&message), "{words}: {message:?}");
        assert_eq!(message.id == 7, *words != "wrong-id", "{words}");
    }
}

#[tokio::test]
async fn each_label_steers_the_answer_of_its_name() {
    let rows: &[(&str, u16, Check)] = &[
        ("a.size-1400.test", TXT, |m| {
            m.octets == 1_400 && m.answers.len() == 2
        }),
        ("a.size-65535.test", TXT, |m| m.octets == 65_535),
        ("a.size-4000.test", A, |m| {
            m.octets == 4_000 && m.answers.len() > 200
        }),
        ("a.nx.test", A, |m| {
            m.rcode == 3 && m.authorities[0].0 == 6 && m.answers.is_empty()
        }),
        ("a.NODATA.test", A, |m| {
            m.rcode == 0 && m.authorities.len() == 1 && m.answers.is_empty()
        }),
        ("a.servfail.test", A, |m| m.rcode == 2),
        ("a.refused.test", A, |m| m.rcode == 5),
        ("a.formerr.test", A, |m| m.rcode == 1),
        ("a.notimp.test", A, |m| m.rcode == 4),
        ("a.tc.test", A, |m| m.has(TC)),
        ("a.ttl-42.test", A, |m| m.answers[0].1 == 42),
        ("a.cname.test", A, |m| {
            m.answers.iter().map(|answer| answer.0).eq([5, 1])
                && m.address() == Some(expected_a("a.cname.test"))
        }),
        ("a.cname-5.test", A, |m| m.answers.len() == 6),
        ("a.ede-22.test", A, |m| {
            m.options.as_ref().unwrap()[..2] == [0, 15]
        }),
        ("a.test", TXT, |m| {
            m.answers[0].2[1..] == *expected_txt("A.Test.").as_bytes()
        }),
        ("a.test", AAAA, |m| {
            m.answers[0].2 == expected_aaaa("a.test").octets()
        }),
        ("a.test", 15, |m| {
            m.answers[0].2[2..] == wire("target.a.test")
        }),
        ("a.test", 65_280, |m| m.answers[0].2.len() == 16),
        ("", A, |m| m.address() == Some(expected_a("."))),
    ];
    let running = server("normal");
    let mut client = Client::connect(&running).await.unwrap();
    for (id, (name, qtype, check)) in (0u16..).zip(rows) {
        client.ask(id, name, *qtype).await;
        let message = client.message().await;
        assert!(message.id == id && check(&message), "{name}: {message:?}");
    }
}

#[tokio::test]
async fn junk_comes_in_place_of_the_response() {
    let running = server("junk=frame");
    let mut client = Client::connect(&running).await.unwrap();
    client.ask(0x0102, NAME, A).await;
    let frame = client.frame().await.unwrap();
    assert_eq!((frame.len(), &frame[..2]), (64, &[1, 2][..]));

    running.set_mode(mode("junk=loop"));
    client.ask(3, NAME, A).await;
    let frame = client.frame().await.unwrap();
    let place = 12 + question(NAME, A).len();
    assert_eq!(
        frame[place..place + 2],
        [0xc0, u8::try_from(place).unwrap()]
    );

    running.set_mode(mode("junk=counts"));
    client.ask(4, NAME, A).await;
    assert_eq!(client.frame().await.unwrap()[6..8], [0, 2]);

    running.set_mode(mode("junk=stream,ending=fin,close-each"));
    client.ask(5, NAME, A).await;
    let (_, left) = client.frame().await.unwrap_err();
    assert_eq!(left.len(), 64);
}

#[tokio::test]
async fn malformed_queries_get_the_rcode_they_deserve() {
    let rows: [(Vec<u8>, u16); 4] = [
        ([header(1, 0), vec![0xc0, 0x0c, 0, 1, 0, 1]].concat(), 1),
        (vec![0, 1, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0], 1),
        (vec![0, 1, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0], 4),
        // OPT of version 1
        (
            [
                header(1, 1),
                question(NAME, A),
                vec![0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0],
            ]
            .concat(),
            16,
        ),
    ];
    let running = server("normal");
    let mut client = Client::connect(&running).await.unwrap();
    client.send(&framed(&[0; 11])).await;
    for (octets, rcode) in rows {
        client.send(&framed(&octets)).await;
        assert_eq!(client.message().await.rcode, rcode);
    }
    assert_eq!(running.counters().malformed, 4);
}

#[tokio::test]
async fn a_padded_query_gets_a_padded_response() {
    let running = server("normal");
    let mut client = Client::connect(&running).await.unwrap();
    let opt = vec![0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 6, 0, 12, 0, 2, 0, 0];
    client
        .send(&framed(&[header(1, 1), question(NAME, A), opt].concat()))
        .await;
    assert_eq!(client.message().await.octets, 468);
}

#[tokio::test]
async fn pieces_are_tls_records_of_their_own() {
    let rows = [
        ("tls=1.2", vec![58]),
        ("tls=1.2,cut=1", vec![1, 57]),
        ("tls=1.2,cut=1/2/14/500", vec![1, 1, 12, 44]),
        ("tls=1.2,split", vec![1; 58]),
        ("tls=1.2,drip=1ms", vec![1; 58]),
    ];
    for (words, records) in rows {
        let running = server(words);
        let mut client = Client::connect(&running).await.unwrap();
        client.works(9, NAME).await;
        assert_eq!(client.records(), records, "{words}");
    }
}

#[tokio::test]
async fn responses_ready_together_share_a_record_when_coalesced() {
    for (words, count) in [("tls=1.2,coalesce,hold", 1), ("tls=1.2,hold", 20)] {
        let running = server(words);
        let mut client = Client::connect(&running).await.unwrap();
        let all: Vec<u8> = (0..20).flat_map(|id| query(id, NAME, A)).collect();
        client.send(&all).await;
        running.wait_for_queries(20).await.unwrap();
        running.release();
        for _ in 0..20 {
            assert!(right(&client.message().await));
        }
        assert_eq!(client.records().len(), count, "{words}");
    }
}
