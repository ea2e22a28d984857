//! Several workers: clients see one server, whichever of them they meet.
//!
//! The kernel spreads clients over the workers by their ports; with as many clients as here every worker has some.

use std::num::NonZeroU8;
use std::time::Duration;

use dotward::config::Workers;
use dotward_core::wire::{Rcode, RecordType};
use dotward_faults::Mode;
use tokio::net::UdpSocket;

use crate::support::{Chain, TcpClient, query, receive, within};

const CLIENTS: u16 = 48;

fn chain(workers: u8) -> Chain {
    Chain::with(Mode::default(), |config, _| {
        config.workers = Workers::Number(NonZeroU8::new(workers).unwrap());
        config.drain = Duration::from_secs(10);
    })
}

async fn udp_clients(chain: &Chain) -> Vec<UdpSocket> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(chain.udp()).await.unwrap();
        clients.push(socket);
    }
    clients
}

#[tokio::test]
async fn clients_of_every_worker_are_answered_over_udp() {
    let chain = chain(3);
    let clients = udp_clients(&chain).await;
    for round in 0..20_u16 {
        for (number, client) in (0..).zip(&clients) {
            let name = format!("r{round}-c{number}.example");
            client
                .send(&query(number, &name, RecordType::A))
                .await
                .unwrap();
        }
        for (number, client) in (0..).zip(&clients) {
            let answer = receive(client).await;
            assert_eq!(answer.id(), number);
            assert!(answer.is_good());
        }
    }
    // One engine: one connection, or a few beside it, however many workers ask.
    assert!(chain.server.counters().connections_accepted <= 4);
}

#[tokio::test]
async fn clients_of_every_worker_are_answered_over_tcp() {
    let chain = chain(3);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(TcpClient::connect(chain.tcp()).await);
    }
    for (number, client) in (0..).zip(&mut clients) {
        let ask = |n: u16| query(n, &format!("c{number}-n{n}.example"), RecordType::A);
        client.send(&(0..20).map(ask).collect::<Vec<_>>()).await;
    }
    for client in &mut clients {
        let mut seen = Vec::new();
        for _ in 0..20 {
            let answer = client.receive().await.unwrap();
            assert!(answer.is_good());
            seen.push(answer.id());
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_needs_no_upstream_is_answered_by_every_worker() {
    let chain = chain(2);
    let clients = udp_clients(&chain).await;
    for client in &clients {
        client
            .send(&query(7, "nowhere.invalid", RecordType::A))
            .await
            .unwrap();
    }
    for client in &clients {
        assert_eq!(receive(client).await.rcode(), Rcode::NXDOMAIN);
    }
    assert_eq!(chain.server.counters().queries, 0);
}

#[tokio::test]
async fn what_is_in_flight_in_every_worker_is_answered_before_the_end() {
    let chain = chain(3);
    let clients = udp_clients(&chain).await;
    for (number, client) in (0..).zip(&clients) {
        let name = format!("delay-500.c{number}.example");
        client
            .send(&query(number, &name, RecordType::A))
            .await
            .unwrap();
    }
    let mut streams = Vec::new();
    for number in 0..6 {
        let mut stream = TcpClient::connect(chain.tcp()).await;
        let name = format!("delay-600.s{number}.example");
        stream.send(&[query(number, &name, RecordType::A)]).await;
        streams.push(stream);
    }
    within(chain.server.wait_for_queries(u64::from(CLIENTS) + 6))
        .await
        .unwrap();
    let proxy = chain.proxy;
    let ended = tokio::task::spawn_blocking(move || proxy.stop());
    for client in &clients {
        assert!(receive(client).await.is_good());
    }
    for stream in &mut streams {
        assert!(stream.receive().await.unwrap().is_good());
        assert!(stream.receive().await.is_none());
    }
    assert_eq!(within(ended).await.unwrap().unwrap().unanswered, 0);
}
