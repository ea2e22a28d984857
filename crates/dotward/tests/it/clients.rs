//! Clients on streams: pipelining, half-closed streams, clients that drip, do not read, or are too many.

use std::time::{Duration, Instant};

use dotward_core::wire::{Rcode, RecordType};
use dotward_faults::Mode;
use tokio::io::AsyncWriteExt;

use crate::support::{Chain, TcpClient, framed, query, within};

#[tokio::test]
async fn a_late_answer_does_not_hold_up_the_ones_behind_it() {
    let chain = Chain::new(Mode::default());
    let mut client = TcpClient::connect(chain.tcp()).await;
    client
        .send(&[
            query(1, "delay-300.example", RecordType::A),
            query(2, "quick.example", RecordType::A),
        ])
        .await;
    assert_eq!(client.receive().await.unwrap().id(), 2);
    assert_eq!(client.receive().await.unwrap().id(), 1);
}

#[tokio::test]
async fn a_client_that_closes_its_side_gets_what_is_in_flight_and_then_the_end() {
    let chain = Chain::new(Mode::default());
    let mut client = TcpClient::connect(chain.tcp()).await;
    client
        .send(&[
            query(1, "delay-200.example", RecordType::A),
            query(2, "delay-100.example", RecordType::A),
        ])
        .await;
    within(client.stream.shutdown()).await.unwrap();
    assert!(client.receive().await.unwrap().is_good());
    assert!(client.receive().await.unwrap().is_good());
    assert!(client.receive().await.is_none());
}

#[tokio::test]
async fn more_queries_than_may_be_in_flight_are_all_answered() {
    let chain = Chain::new(Mode::default());
    let mut client = TcpClient::connect(chain.tcp()).await;
    let queries: Vec<_> = (0..3000)
        .map(|n| query(n, &format!("n{n}.example"), RecordType::A))
        .collect();
    client.send(&queries).await;
    within(client.stream.shutdown()).await.unwrap();
    let mut answered = vec![false; 3000];
    while let Some(answer) = client.receive().await {
        assert!(answer.is_good());
        answered[usize::from(answer.id())] = true;
    }
    assert!(answered.iter().all(|answered| *answered));
}

#[tokio::test]
async fn malformed_messages_are_answered_and_the_stream_goes_on() {
    let chain = Chain::new(Mode::default());
    let mut client = TcpClient::connect(chain.tcp()).await;
    let mut malformed = query(5, "www.example", RecordType::A);
    malformed.truncate(20);
    client
        .send(&[malformed, query(6, "www.example", RecordType::A)])
        .await;
    let first = client.receive().await.unwrap();
    assert_eq!(first.octets[..2], [0, 5]);
    assert_eq!(u16::from(first.octets[3] & 0xf), Rcode::FORMERR.0);
    assert!(client.receive().await.unwrap().is_good());
}

#[tokio::test]
async fn large_answers_come_whole_over_tcp_and_truncated_over_udp() {
    let chain = Chain::new(Mode::default());
    let mut client = TcpClient::connect(chain.tcp()).await;
    client
        .send(&[query(1, "size-60000.example", RecordType::TXT)])
        .await;
    let whole = client.receive().await.unwrap();
    assert!(whole.octets.len() > 50_000, "{}", whole.octets.len());
    let answer = chain.ask("size-4000.example").await;
    assert!(answer.view().header().flags.truncated());
    assert!(answer.octets.len() <= 1232);
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_hold_up_others() {
    let chain = Chain::new(Mode::default());
    let mut greedy = TcpClient::connect(chain.tcp()).await;
    let queries: Vec<_> = (0..400)
        .map(|n| query(n, "size-60000.example", RecordType::TXT))
        .collect();
    within(greedy.stream.write_all(&framed(&queries)))
        .await
        .unwrap();
    for n in 0..50 {
        assert!(chain.ask(&format!("n{n}.example")).await.is_good());
    }
    // It still gets everything when it begins to read.
    for _ in 0..400 {
        assert!(greedy.receive().await.unwrap().octets.len() > 50_000);
    }
}

#[tokio::test]
async fn a_client_that_completes_no_query_is_closed_however_it_drips() {
    let chain = Chain::new(Mode::default());
    let began = Instant::now();
    let mut client = TcpClient::connect(chain.tcp()).await;
    let octets = framed(&[vec![0; 60_000]]);
    let mut dripped = octets.iter().cycle();
    // One octet at a time until the proxy is tired of it.
    let tired = tokio::time::timeout(Duration::from_secs(15), async {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            ticks.tick().await;
            let octet = *dripped.next().unwrap();
            if client.stream.write_all(&[octet]).await.is_err() {
                return;
            }
        }
    });
    tired.await.unwrap();
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(9), "{waited:?}");
}

#[tokio::test]
async fn who_only_connects_pushes_out_nobody_who_asks() {
    let chain = Chain::new(Mode::default());
    let mut first = TcpClient::connect(chain.tcp()).await;
    ask_and_get(&mut first).await;
    let mut others = Vec::new();
    for n in 0..3000 {
        let source = [127, 0, 2, u8::try_from(n % 64).unwrap()];
        others.push(TcpClient::connect_from(source, chain.tcp()).await);
        if n % 256 == 0 {
            // Who comes in the middle of it has time to ask, and stays.
            let mut newcomer = TcpClient::connect_from([127, 0, 3, 1], chain.tcp()).await;
            ask_and_get(&mut newcomer).await;
            others.push(newcomer);
        }
    }
    ask_and_get(&mut first).await;
    // The newest of those who only connected are there, the oldest are not.
    assert!(others[0].receive().await.is_none());
    ask_and_get(others.last_mut().unwrap()).await;
}

#[tokio::test]
async fn when_all_have_asked_the_source_with_most_streams_makes_room_by_the_one_idle_longest() {
    let places = 64;
    let chain = Chain::with(Mode::default(), |config, _| {
        config.limits.clients = places;
    });
    let mut alone = TcpClient::connect_from([127, 0, 0, 2], chain.tcp()).await;
    ask_and_get(&mut alone).await;
    let mut crowd = Vec::new();
    for _ in 0..places + 8 {
        let mut one = TcpClient::connect(chain.tcp()).await;
        ask_and_get(&mut one).await;
        crowd.push(one);
    }
    ask_and_get(&mut alone).await;
    assert!(crowd[0].receive().await.is_none(), "the one idle longest");
    ask_and_get(crowd.last_mut().unwrap()).await;
}

async fn ask_and_get(client: &mut TcpClient) {
    client.send(&[query(1, "www.example", RecordType::A)]).await;
    assert!(client.receive().await.unwrap().is_good());
}

#[tokio::test]
async fn one_source_takes_its_own_places_only() {
    let chain = Chain::new(Mode::default());
    let mut other = TcpClient::connect_from([127, 0, 0, 2], chain.tcp()).await;
    let mut first = TcpClient::connect(chain.tcp()).await;
    let mut more = Vec::new();
    for _ in 0..100 {
        more.push(TcpClient::connect(chain.tcp()).await);
    }
    assert!(first.receive().await.is_none());
    for client in more.iter_mut().chain([&mut other]) {
        client.send(&[query(1, "www.example", RecordType::A)]).await;
        assert!(client.receive().await.unwrap().is_good());
    }
}

#[tokio::test]
async fn a_client_that_may_not_ask_is_let_go_at_once_and_takes_no_place() {
    let chain = Chain::with(Mode::default(), |config, _| {
        config.allow = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let mut first = TcpClient::connect(chain.tcp()).await;
    let began = Instant::now();
    for _ in 0..2100 {
        let mut stranger = TcpClient::connect_from([127, 0, 0, 2], chain.tcp()).await;
        assert!(stranger.receive().await.is_none());
    }
    assert!(began.elapsed() < Duration::from_secs(9), "before idleness");
    first.send(&[query(1, "www.example", RecordType::A)]).await;
    assert!(first.receive().await.unwrap().is_good());
}
