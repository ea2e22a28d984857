//! Questions that go out and answers that come back.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use dotward::config::ListenTransport;
use dotward_core::wire::{Rcode, RecordType};
use dotward_faults::Mode;
use dotward_faults::mode::{Choice, Opening};
use tokio::net::UdpSocket;

use crate::support::{Answer, Chain, TcpClient, Trust, ask_udp, config, query, receive};

#[tokio::test]
async fn a_question_over_udp_is_answered_through_tls() {
    let chain = Chain::new(Mode::default());
    let answer = chain.ask("www.example").await;
    assert!(answer.is_good(), "{answer:?}");
    let counters = chain.server.counters();
    assert_eq!(counters.connections_accepted, 1);
    assert_eq!(counters.connections[0].alpn.as_deref(), Some("dot"));
    assert_eq!(
        counters.connections[0].server_name.as_deref(),
        Some("dot.example")
    );
}

#[tokio::test]
async fn a_question_over_tcp_is_answered_through_tls() {
    let chain = Chain::new(Mode::default());
    let mut client = TcpClient::connect(chain.tcp()).await;
    client.send(&[query(7, "www.example", RecordType::A)]).await;
    let answer = client.receive().await.unwrap();
    assert!(answer.is_good() && answer.id() == 7, "{answer:?}");
}

#[tokio::test]
async fn the_post_quantum_group_is_agreed_on() {
    let chain = Chain::new(Mode::default());
    chain.ask("www.example").await;
    let tls = chain.server.counters().connections[0].tls.clone().unwrap();
    assert!(tls.contains("X25519MLKEM768"), "{tls}");
}

#[tokio::test]
async fn two_hundred_parallel_questions_are_all_answered_over_at_most_two_connections() {
    let chain = Chain::new(Mode::default());
    let asked: Vec<_> = (0..200)
        .map(|n| tokio::spawn(ask_owned(chain.udp(), format!("name-{n}.example"))))
        .collect();
    for answer in asked {
        assert!(answer.await.unwrap().is_good());
    }
    let counters = chain.server.counters();
    assert!(counters.connections_accepted <= 2, "{counters:?}");
    assert_eq!((counters.queries, counters.ids_reused), (200, 0));
}

async fn ask_owned(to: SocketAddr, name: String) -> Answer {
    ask_udp(to, &name).await
}

#[tokio::test]
async fn questions_that_wait_together_leave_in_one_tls_record() {
    let chain = Chain::new(Mode::default());
    let mut client = TcpClient::connect(chain.tcp()).await;
    let queries: Vec<_> = (0..50)
        .map(|n| query(n, &format!("n{n}.example"), RecordType::A))
        .collect();
    client.send(&queries).await;
    for _ in 0..50 {
        assert!(client.receive().await.unwrap().is_good());
    }
    let counters = chain.server.counters();
    assert_eq!(counters.queries, 50);
    assert!(counters.records <= 3, "{} records", counters.records);
}

#[tokio::test]
async fn the_second_upstream_is_used_when_the_first_fails() {
    for opening in [
        Opening::Reset,
        Opening::Close,
        Opening::Garbage,
        Opening::PlainText,
    ] {
        let trust = Trust::new();
        let broken = trust.server(Mode {
            opening,
            ..Mode::default()
        });
        let good = trust.server(Mode::default());
        let config = config(vec![trust.upstream(&broken), trust.upstream(&good)]);
        let proxy = dotward::run::Proxy::start(config).unwrap();
        let answer = ask_udp(proxy.address(ListenTransport::Udp).unwrap(), "a.example").await;
        assert!(answer.is_good(), "{opening:?}: {answer:?}");
        assert_eq!(good.counters().queries, 1, "{opening:?}");
    }
}

#[tokio::test]
async fn a_silent_first_upstream_costs_less_than_the_budget() {
    let trust = Trust::new();
    let silent = trust.server(Mode {
        choice: Choice::Mute,
        ..Mode::default()
    });
    let good = trust.server(Mode::default());
    let config = config(vec![trust.upstream(&silent), trust.upstream(&good)]);
    let proxy = dotward::run::Proxy::start(config).unwrap();
    let answer = ask_udp(proxy.address(ListenTransport::Udp).unwrap(), "a.example").await;
    assert!(answer.is_good(), "{answer:?}");
}

#[tokio::test]
async fn without_any_upstream_the_client_gets_servfail_with_a_reason_in_time() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let settings = trust.upstream(&server);
    server.stop().await;
    let proxy = dotward::run::Proxy::start(config(vec![settings])).unwrap();
    let began = std::time::Instant::now();
    let answer = ask_udp(proxy.address(ListenTransport::Udp).unwrap(), "a.example").await;
    assert_eq!(answer.rcode(), Rcode::SERVFAIL);
    assert!(answer.extended_error().is_some());
    assert!(began.elapsed() < Duration::from_millis(2500));
}

#[tokio::test]
async fn a_reply_leaves_from_the_address_that_was_asked_on_a_wildcard_bind() {
    let chain = Chain::with(Mode::default(), |config, _| {
        for listener in &mut config.listeners {
            listener.address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        }
    });
    let to = SocketAddr::from((Ipv4Addr::new(127, 9, 8, 7), chain.udp().port()));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let message = query(1, "www.example", RecordType::A);
    socket.send_to(&message, to).await.unwrap();
    let mut octets = [0; 4096];
    let (_, from) = crate::support::within(socket.recv_from(&mut octets))
        .await
        .unwrap();
    assert_eq!(from, to);
}

#[tokio::test]
async fn ipv6_clients_are_answered_and_may_share_the_port_with_ipv4() {
    let chain = Chain::with(Mode::default(), |config, _| {
        for listener in &mut config.listeners {
            listener.address = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        }
        config.allow.push("::1/128".parse().unwrap());
    });
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(chain.udp()).await.unwrap();
    let message = query(1, "www.example", RecordType::AAAA);
    socket.send(&message).await.unwrap();
    assert!(receive(&socket).await.is_good());
    let same_port = SocketAddr::from((Ipv4Addr::LOCALHOST, chain.udp().port()));
    assert!(std::net::UdpSocket::bind(same_port).is_ok());
}

#[tokio::test]
async fn a_stranger_is_refused() {
    let chain = Chain::with(Mode::default(), |config, _| config.allow.clear());
    let answer = chain.ask("www.example").await;
    assert_eq!(answer.rcode(), Rcode::REFUSED);
    assert_eq!(chain.server.counters().queries, 0);
}

#[tokio::test]
async fn an_address_in_use_is_told_with_its_holder() {
    let chain = Chain::new(Mode::default());
    let trust = Trust::new();
    let mut second = config(vec![trust.upstream(&chain.server)]);
    second.listeners[0].address = chain.udp();
    second.listeners[1].address = chain.tcp();
    let error = dotward::run::Proxy::start(second).unwrap_err();
    assert_eq!(error.faults.len(), 2, "all faults at once");
    let text = error.to_string();
    assert!(text.contains("address already in use"), "{text}");
    let pid = format!("pid {}", std::process::id());
    assert!(text.contains(&pid), "{text}");
}
