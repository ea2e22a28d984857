//! Load balancers whose PROXY header names the client.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use dotward::config::Config;
use dotward_core::wire::{Rcode, RecordType};
use dotward_faults::Mode;
use tokio::io::AsyncWriteExt;
use tokio::net::UdpSocket;

use crate::admin::get;
use crate::dot_listener::{self, with_listener};
use crate::program::{Program, command};
use crate::support::{Chain, TcpClient, Trust, framed, query, receive, within};

/// Clients of 192.0.2.0/24 ask through a balancer at 127.0.0.1; 127.0.0.2 is a client like them.
fn behind(config: &mut Config) {
    config.allow = ["192.0.2.0/24", "127.0.0.2/32"]
        .map(|network| network.parse().unwrap())
        .to_vec();
    config.proxy_from = vec!["127.0.0.1/32".parse().unwrap()];
}

fn chain() -> Chain {
    Chain::with(Mode::default(), |config, _| behind(config))
}

/// A version 2 header of a client at 192.0.2.`host`.
fn v2(host: u8) -> Vec<u8> {
    header(0x21, [192, 0, 2, host])
}

fn header(command: u8, client: [u8; 4]) -> Vec<u8> {
    let start = b"\r\n\r\n\0\r\nQUIT\n";
    let rest = [127, 0, 0, 1, 0x30, 0x39, 0, 53];
    [&start[..], &[command, 0x11, 0, 12], &client[..], &rest].concat()
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 12345 53\r\n";

async fn through(chain: &Chain, header: &[u8]) -> TcpClient {
    let mut client = TcpClient::connect(chain.tcp()).await;
    let octets = framed(&[query(1, "www.example", RecordType::A)]);
    let octets = [header, &octets].concat();
    // The proxy may have hung up before everything was written.
    drop(within(client.stream.write_all(&octets)).await);
    client
}

#[tokio::test]
async fn clients_behind_a_balancer_are_answered_by_the_address_in_the_header() {
    let chain = chain();
    for header in [v2(7), V1.to_vec()] {
        let mut client = through(&chain, &header).await;
        assert!(client.receive().await.unwrap().is_good());
        client.send(&[query(2, "www.example", RecordType::A)]).await;
        assert!(client.receive().await.unwrap().is_good());
    }
}

#[tokio::test]
async fn whatever_else_a_balancer_sends_ends_the_connection() {
    let chain = chain();
    let stranger = header(0x21, [198, 51, 100, 1]);
    // It speaks for itself, and may not ask.
    let local = header(0x20, [192, 0, 2, 7]);
    let undefined = header(0x2f, [192, 0, 2, 7]);
    let unknown = b"PROXY UNKNOWN\r\n";
    for octets in [&b""[..], &stranger, &local, &undefined, unknown, b"PROXY "] {
        let mut client = through(&chain, octets).await;
        assert!(client.receive().await.is_none(), "{octets:?}");
    }
}

#[tokio::test]
async fn a_balancer_that_may_ask_itself_does_so_with_local() {
    let chain = Chain::with(Mode::default(), |config, _| {
        behind(config);
        config.allow.push("127.0.0.1/32".parse().unwrap());
    });
    for header in [header(0x20, [0; 4]), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut client = through(&chain, &header).await;
        assert!(client.receive().await.unwrap().is_good());
    }
}

#[tokio::test]
async fn a_header_in_pieces_is_a_header() {
    let chain = chain();
    let mut client = TcpClient::connect(chain.tcp()).await;
    let queries = framed(&[query(1, "www.example", RecordType::A)]);
    for octet in v2(7).iter().chain(&queries) {
        within(client.stream.write_all(&[*octet])).await.unwrap();
        within(client.stream.flush()).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(client.receive().await.unwrap().is_good());
}

#[tokio::test]
async fn a_header_that_will_not_be_whole_ends_the_connection_at_once() {
    let chain = chain();
    let began = Instant::now();
    let mut client = TcpClient::connect(chain.tcp()).await;
    within(client.stream.write_all(b"PROXY ")).await.unwrap();
    within(client.stream.shutdown()).await.unwrap();
    assert!(client.receive().await.is_none());
    // Long before the time a header has.
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_header_from_elsewhere_ends_the_connection() {
    let chain = chain();
    for header in [v2(7), V1.to_vec()] {
        let mut client = TcpClient::connect_from([127, 0, 0, 2], chain.tcp()).await;
        let octets = framed(&[query(1, "www.example", RecordType::A)]);
        within(client.stream.write_all(&[header, octets].concat()))
            .await
            .unwrap();
        let began = Instant::now();
        assert!(client.receive().await.is_none());
        assert!(began.elapsed() < Duration::from_secs(5), "before idleness");
    }
    let mut client = TcpClient::connect_from([127, 0, 0, 2], chain.tcp()).await;
    client.send(&[query(1, "www.example", RecordType::A)]).await;
    assert!(client.receive().await.unwrap().is_good());
}

#[tokio::test]
async fn tls_begins_behind_the_header() {
    let chain = Chain::with(Mode::default(), |config, trust| {
        with_listener(config, trust);
        behind(config);
    });
    let octets = framed(&[query(1, "www.example", RecordType::A)]);
    let mut client = dot_listener::connect_behind(&chain, &v2(7)).await.unwrap();
    within(client.write_all(&octets)).await.unwrap();
    assert!(dot_listener::receive(&mut client, 1).await[0].is_good());
    assert!(dot_listener::connect_behind(&chain, &[]).await.is_err());
    let stranger = header(0x21, [198, 51, 100, 1]);
    assert!(
        dot_listener::connect_behind(&chain, &stranger)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn datagrams_of_a_balancer_begin_with_a_header_or_are_dropped() {
    let chain = chain();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(chain.udp()).await.unwrap();
    let asked = |id| query(id, "www.example", RecordType::A);
    let headless = asked(1);
    let line = [V1, &asked(2)].concat();
    let stranger = [header(0x21, [198, 51, 100, 1]), asked(3)].concat();
    let good = [v2(7), asked(4)].concat();
    for datagram in [headless, line, stranger, good] {
        within(socket.send(&datagram)).await.unwrap();
    }
    let refused = receive(&socket).await;
    assert_eq!((refused.id(), refused.rcode()), (3, Rcode::REFUSED));
    let answer = receive(&socket).await;
    assert_eq!(answer.id(), 4);
    assert!(answer.is_good());
}

#[tokio::test]
async fn a_balancer_without_a_header_is_told_and_counted() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = free.local_addr().unwrap();
    drop(free);
    let mut program = command();
    program.args(["--proxy-from", "127.0.0.1", "--admin", &admin.to_string()]);
    let mut program = Program::start_as(program, &server, &trust);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(program.udp).await.unwrap();
    let asked = query(1, "www.example", RecordType::A);
    for _ in 0..2 {
        within(socket.send(&asked)).await.unwrap();
    }
    let line = program.line_with("listen.proxy_from").await;
    assert!(line.contains("\"level\":\"WARN\""), "{line}");
    assert!(line.contains("\"balancer\":\"127.0.0.1\""), "{line}");
    let mut stream = TcpClient::connect(program.tcp).await;
    stream.send(&[asked]).await;
    assert!(stream.receive().await.is_none());
    let told = "dotward_dns_requests_dropped_total{reason=\"no_proxy_header\"} 3";
    let counted = async {
        loop {
            let (_, page) = get(admin, "/metrics").await;
            if page.contains(told) {
                return page;
            }
        }
    };
    let page = within(counted).await;
    let none = "dotward_dns_requests_dropped_total{reason=\"unanswerable\"} 0";
    assert!(page.contains(none), "{page}");
}

#[tokio::test]
async fn datagrams_with_a_header_from_elsewhere_are_no_queries() {
    let chain = chain();
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0))
        .await
        .unwrap();
    socket.connect(chain.udp()).await.unwrap();
    let claimed = [v2(7), query(1, "www.example", RecordType::A)].concat();
    within(socket.send(&claimed)).await.unwrap();
    assert_ne!(receive(&socket).await.rcode(), Rcode::NOERROR);
}

#[tokio::test]
async fn places_are_given_to_the_clients_and_not_to_their_balancer() {
    let chain = chain();
    let mut others = Vec::new();
    for host in 0..120 {
        let mut client = through(&chain, &v2(100 + host)).await;
        assert!(client.receive().await.unwrap().is_good());
        others.push(client);
    }
    let mut first = through(&chain, &v2(7)).await;
    assert!(first.receive().await.unwrap().is_good());
    let mut more = Vec::new();
    for _ in 0..100 {
        let mut client = through(&chain, &v2(7)).await;
        assert!(client.receive().await.unwrap().is_good());
        more.push(client);
    }
    assert!(first.receive().await.is_none());
    for client in more.iter_mut().chain(&mut others) {
        client.send(&[query(1, "www.example", RecordType::A)]).await;
        assert!(client.receive().await.unwrap().is_good());
    }
}

#[tokio::test]
async fn what_comes_before_the_first_query_has_its_time() {
    let chain = Chain::with(Mode::default(), |config, trust| {
        with_listener(config, trust);
        behind(config);
    });
    let tls: SocketAddr = chain
        .proxy
        .address(dotward::config::ListenTransport::Tls)
        .unwrap();
    let began = Instant::now();
    let mut header = TcpClient::connect(chain.tcp()).await;
    let mut handshake = TcpClient::connect_from([127, 0, 0, 2], tls).await;
    header.stream.write_all(b"PROXY TCP4 19").await.unwrap();
    // A record of 512 octets begins and does not end.
    let hello = [0x16, 3, 1, 2, 0, 1];
    handshake.stream.write_all(&hello).await.unwrap();
    let (header, handshake) = tokio::join!(header.receive(), handshake.receive());
    assert!(header.is_none() && handshake.is_none());
    let waited = began.elapsed();
    let bounds = Duration::from_millis(4500)..Duration::from_secs(9);
    assert!(bounds.contains(&waited), "{waited:?}");
}
