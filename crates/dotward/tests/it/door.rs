//! What one client may take from the others: rates over UDP, who is refused and how.

use std::net::{Ipv4Addr, SocketAddr};

use dotward::config::{Deny, ListenTransport};
use dotward_core::wire::{Rcode, RecordType};
use dotward_faults::Mode;
use dotward_faults::mode::Order;
use tokio::net::{TcpSocket, UdpSocket};

use crate::admin;
use crate::dot_listener::{self, with_listener};
use crate::support::{Chain, TcpClient, query, receive, within};

/// A client with an address of loopback.
async fn client_from(source: [u8; 4], to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::from(source), 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

/// A chain in which everybody is counted.
fn counted(rate: u32, octets: u32, slip: u32) -> Chain {
    Chain::with(Mode::default(), |config, _| {
        config.limits.rate = rate;
        config.limits.octets = octets;
        config.limits.slip = slip;
        config.limits.exempt.clear();
    })
}

#[tokio::test]
async fn a_client_above_its_rate_comes_over_tcp_and_its_neighbour_notices_nothing() {
    let chain = counted(5, 0, 1);
    let greedy = client_from([127, 0, 0, 2], chain.udp()).await;
    let mut truncated = 0;
    for id in 0..50 {
        greedy
            .send(&query(id, "n1.example", RecordType::A))
            .await
            .unwrap();
        let answer = receive(&greedy).await;
        assert_eq!(answer.id(), id);
        if answer.view().header().flags.truncated() {
            assert!(answer.octets.len() <= query(id, "n1.example", RecordType::A).len());
            truncated += 1;
        } else {
            assert!(answer.is_good());
        }
    }
    assert!(truncated >= 25, "{truncated}");
    let neighbour = client_from([127, 0, 0, 3], chain.udp()).await;
    neighbour
        .send(&query(1, "n2.example", RecordType::A))
        .await
        .unwrap();
    assert!(receive(&neighbour).await.is_good());
    let mut stream = TcpClient::connect_from([127, 0, 0, 2], chain.tcp()).await;
    stream.send(&[query(7, "n3.example", RecordType::A)]).await;
    assert!(stream.receive().await.unwrap().is_good());
}

#[tokio::test]
async fn long_answers_are_bounded_in_octets() {
    let chain = counted(0, 2_000, 1);
    let client = client_from([127, 0, 0, 2], chain.udp()).await;
    let mut octets = 0;
    for id in 0..100 {
        client
            .send(&query(id, "size-1000.example", RecordType::TXT))
            .await
            .unwrap();
        let answer = receive(&client).await;
        if !answer.view().header().flags.truncated() || answer.octets.len() > 100 {
            octets += answer.octets.len();
        }
    }
    // One second's worth at once, one reply that was admitted before the bound was reached, and what leaked out meanwhile.
    assert!((2_000..6_000).contains(&octets), "{octets}");
}

#[tokio::test]
async fn long_answers_that_are_let_go_at_one_moment_are_bounded_too() {
    const QUESTIONS: u16 = 40;
    let held = Mode {
        order: Order::Hold,
        ..Mode::default()
    };
    let chain = Chain::with(held, |config, _| {
        config.limits.octets = 5_000;
        config.limits.slip = 1;
        config.limits.exempt.clear();
    });
    let client = client_from([127, 0, 0, 2], chain.udp()).await;
    for id in 0..QUESTIONS {
        let message = query(id, &format!("size-480.n{id}.example"), RecordType::TXT);
        client.send(&message).await.unwrap();
    }
    let asked = chain.server.wait_for_queries(QUESTIONS.into()).await;
    asked.unwrap();
    chain.server.release();
    let (mut whole, mut told) = (0, 0);
    for _ in 0..QUESTIONS {
        let answer = receive(&client).await;
        assert_eq!(answer.rcode(), Rcode::NOERROR);
        if answer.view().header().flags.truncated() {
            let asked = query(0, "size-480.n10.example", RecordType::TXT);
            assert!(answer.octets.len() <= asked.len());
            told += 1;
        } else {
            whole += answer.octets.len();
        }
    }
    // One second's worth, one reply more, and what leaked out meanwhile.
    assert!((4_500..8_000).contains(&whole), "{whole}");
    assert!(told >= QUESTIONS / 2, "{told}");
}

#[tokio::test]
async fn who_may_not_ask_is_refused_or_not_told_that_anybody_is_there() {
    let only_one = |deny| {
        Chain::with(Mode::default(), move |config, _| {
            config.allow = vec!["127.0.0.1/32".parse().unwrap()];
            config.deny = deny;
        })
    };
    let message = query(1, "www.example", RecordType::A);
    let chain = only_one(Deny::Refuse);
    let stranger = client_from([127, 0, 0, 2], chain.udp()).await;
    stranger.send(&message).await.unwrap();
    let refused = receive(&stranger).await;
    assert_eq!(refused.rcode(), Rcode::REFUSED);
    assert_eq!(refused.extended_error(), Some(18));
    let chain = only_one(Deny::Silence);
    let stranger = client_from([127, 0, 0, 2], chain.udp()).await;
    stranger.send(&message).await.unwrap();
    // What came after it was answered: it was read, and nothing was said.
    assert!(chain.ask("www.example").await.is_good());
    let mut octets = [0; 512];
    assert!(stranger.try_recv(&mut octets).is_err());
}

/// A chain whose TLS listener gives each network so many handshakes a second, with a load balancer at 127.0.0.9.
fn handshakes(per_second: u32) -> Chain {
    Chain::with(Mode::default(), |config, trust| {
        with_listener(config, trust);
        config.limits.handshakes = per_second;
        config.limits.exempt.clear();
        config.admin = Some(([127, 0, 0, 1], 0).into());
    })
}

#[tokio::test]
async fn handshakes_of_one_network_are_bounded_and_its_neighbour_gets_one() {
    let chain = handshakes(4);
    let mut refused = 0;
    while refused < 20 {
        let client = dot_listener::connect_from(&chain, [127, 0, 0, 2]).await;
        refused += u32::from(client.is_err());
    }
    let neighbour = dot_listener::connect_from(&chain, [127, 0, 0, 3]).await;
    assert!(neighbour.is_ok());
    let (_, page) = admin::get(chain.proxy.admin().unwrap(), "/metrics").await;
    let line = page
        .lines()
        .find_map(|it| it.strip_prefix("dotward_client_handshakes_refused_total{} "));
    assert_eq!(line, Some("20"));
}

#[tokio::test]
async fn strangers_take_no_handshake_from_those_who_may_ask() {
    let chain = Chain::with(Mode::default(), |config, trust| {
        with_listener(config, trust);
        config.allow = vec!["127.0.0.1/32".parse().unwrap()];
        config.limits.handshakes = 0;
    });
    let tls = chain.proxy.address(ListenTransport::Tls).unwrap();
    let honest = async {
        // As many as a listener begins in twelve seconds.
        for _ in 0..6_000 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_zero_linger().unwrap();
            socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
            drop(socket.connect(tls).await.unwrap());
        }
        dot_listener::connect_from(&chain, [127, 0, 0, 1]).await
    };
    assert!(within(honest).await.is_ok());
}

/// A PROXY header that names this client.
fn header(client: [u8; 4]) -> Vec<u8> {
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    [&start[..], &client, &[127, 0, 0, 1, 0x30, 0x39, 3, 85]].concat()
}

#[tokio::test]
async fn strangers_behind_a_load_balancer_take_no_handshake_from_its_other_clients() {
    let chain = Chain::with(Mode::default(), |config, trust| {
        with_listener(config, trust);
        config.allow = vec!["192.0.2.0/24".parse().unwrap()];
        config.proxy_from = vec!["127.0.0.1/32".parse().unwrap()];
        config.limits.handshakes = 0;
    });
    let tls = chain.proxy.address(ListenTransport::Tls).unwrap();
    let (stranger, client) = (header([198, 51, 100, 1]), header([192, 0, 2, 1]));
    let honest = async {
        // As many as a listener begins in twelve seconds.
        for _ in 0..6_000 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_zero_linger().unwrap();
            let socket = socket.connect(tls).await.unwrap();
            assert_eq!(socket.try_write(&stranger).unwrap(), stranger.len());
        }
        dot_listener::connect_behind(&chain, &client).await
    };
    assert!(within(honest).await.is_ok());
}

#[tokio::test]
async fn handshakes_behind_a_load_balancer_count_for_the_client_it_names() {
    let chain = Chain::with(Mode::default(), |config, trust| {
        with_listener(config, trust);
        config.allow.push("192.0.2.0/24".parse().unwrap());
        config.proxy_from = vec!["127.0.0.1/32".parse().unwrap()];
        config.limits.handshakes = 1;
        config.limits.exempt.clear();
    });
    let header = |host| header([192, 0, 2, host]);
    // As many clients as there are headers get theirs, though all come from one address.
    for host in 1..=20 {
        let client = dot_listener::connect_behind(&chain, &header(host)).await;
        assert!(client.is_ok(), "{host}");
    }
    let mut refused = 0;
    while refused < 3 {
        let client = dot_listener::connect_behind(&chain, &header(1)).await;
        refused += u32::from(client.is_err());
    }
}
