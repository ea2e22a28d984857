//! Clients that speak DNS over TLS to the proxy.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use dotward::config::{Config, ListenAddress, ListenTransport, ServerIdentity};
use dotward_core::wire::RecordType;
use dotward_core::wire::frame::FrameReader;
use dotward_faults::Mode;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Answer, Chain, Trust, framed, query, within};

pub(crate) fn with_listener(config: &mut Config, trust: &Trust) {
    let identity = trust.ca.good("listener.example").unwrap();
    let certificate_file = trust.directory.path().join("listener.pem");
    let key_file = trust.directory.path().join("listener.key");
    std::fs::write(&certificate_file, identity.chain_pem()).unwrap();
    std::fs::write(&key_file, identity.key_pem()).unwrap();
    config.listen_tls = Some(ServerIdentity {
        certificate_file,
        key_file,
        client_ca_file: None,
    });
    config.listeners.push(ListenAddress {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        transport: ListenTransport::Tls,
    });
}

/// A client behind a load balancer, which sends `header` first.
pub(crate) async fn connect_behind(
    chain: &Chain,
    header: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_with(chain, &[b"dot"], header).await
}

pub(crate) async fn connect(
    chain: &Chain,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_with(chain, alpn, &[]).await
}

/// A client with this address of loopback.
pub(crate) async fn connect_from(
    chain: &Chain,
    source: [u8; 4],
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let to = chain.proxy.address(ListenTransport::Tls).unwrap();
    let socket = within(socket.connect(to)).await?;
    handshake(&chain.trust, &[b"dot"], socket).await
}

async fn connect_with(
    chain: &Chain,
    alpn: &[&[u8]],
    first: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let to = chain.proxy.address(ListenTransport::Tls).unwrap();
    let mut socket = within(TcpStream::connect(to)).await?;
    within(socket.write_all(first)).await?;
    handshake(&chain.trust, alpn, socket).await
}

pub(crate) async fn handshake(
    trust: &Trust,
    alpn: &[&[u8]],
    socket: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = ClientConfig::builder_with_provider(dotward::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trust.ca.roots())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from("listener.example").unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, socket)).await
}

pub(crate) async fn receive(client: &mut TlsStream<TcpStream>, count: usize) -> Vec<Answer> {
    let mut reader = FrameReader::default();
    let mut answers = Vec::new();
    while answers.len() < count {
        let mut piece = [0; 4096];
        let length = within(client.read(&mut piece)).await.unwrap();
        assert!(
            length > 0,
            "the stream ended after {} answers",
            answers.len()
        );
        reader.push(&piece[..length]);
        while let Some(message) = reader.next_message() {
            answers.push(Answer {
                octets: message.to_vec(),
            });
        }
    }
    answers
}

#[tokio::test]
async fn a_dot_client_is_answered_with_dot_agreed_on_or_nothing() {
    let chain = Chain::with(Mode::default(), with_listener);
    for alpn in [&[b"dot".as_slice()][..], &[], &[b"h2", b"dot"]] {
        let mut client = connect(&chain, alpn).await.unwrap();
        let agreed = client.get_ref().1.alpn_protocol();
        assert_eq!(agreed, (!alpn.is_empty()).then_some(b"dot".as_slice()));
        let octets = framed(&[query(3, "www.example", RecordType::A)]);
        within(client.write_all(&octets)).await.unwrap();
        assert!(receive(&mut client, 1).await[0].is_good());
    }
}

#[tokio::test]
async fn a_client_that_offers_other_protocols_only_is_refused() {
    let chain = Chain::with(Mode::default(), with_listener);
    assert!(connect(&chain, &[b"h2", b"http/1.1"]).await.is_err());
}

#[tokio::test]
async fn pipelined_queries_over_tls_are_all_answered_whatever_the_pieces() {
    let chain = Chain::with(Mode::default(), with_listener);
    let mut client = connect(&chain, &[b"dot"]).await.unwrap();
    let queries: Vec<_> = (0..40)
        .map(|n| query(n, &format!("n{n}.example"), RecordType::A))
        .collect();
    let octets = framed(&queries);
    for piece in octets.chunks(3) {
        within(client.write_all(piece)).await.unwrap();
        within(client.flush()).await.unwrap();
    }
    let answers = receive(&mut client, 40).await;
    assert!(answers.iter().all(Answer::is_good));
}

#[tokio::test]
async fn close_notify_ends_the_stream_after_what_is_in_flight() {
    let chain = Chain::with(Mode::default(), with_listener);
    let mut client = connect(&chain, &[b"dot"]).await.unwrap();
    let octets = framed(&[query(3, "delay-200.example", RecordType::A)]);
    within(client.write_all(&octets)).await.unwrap();
    within(client.shutdown()).await.unwrap();
    assert!(receive(&mut client, 1).await[0].is_good());
    let mut rest = Vec::new();
    // With close_notify the end is clean: no error.
    assert_eq!(within(client.read_to_end(&mut rest)).await.unwrap(), 0);
}

#[tokio::test]
async fn garbage_instead_of_tls_does_no_harm() {
    let chain = Chain::with(Mode::default(), with_listener);
    let to = chain.proxy.address(ListenTransport::Tls).unwrap();
    let mut garbage = within(TcpStream::connect(to)).await.unwrap();
    within(garbage.write_all(&[0x55; 4000])).await.unwrap();
    let mut rest = Vec::new();
    // Refused with an alert or a reset; either is an end.
    drop(within(garbage.read_to_end(&mut rest)).await);
    assert!(chain.ask("www.example").await.is_good());
}
