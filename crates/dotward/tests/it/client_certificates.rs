//! TLS listeners that let in only clients with a certificate, and sessions that are resumed.

use std::num::NonZeroU8;
use std::sync::Arc;

use dotward::config::{Config, ListenTransport, Workers};
use dotward_core::wire::RecordType;
use dotward_faults::{Mode, TestCa};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::dot_listener::with_listener;
use crate::support::{Chain, Trust, framed, query, within};

fn with_client_ca(config: &mut Config, trust: &Trust) {
    with_listener(config, trust);
    let file = trust.directory.path().join("ca.pem");
    config.listen_tls.as_mut().unwrap().client_ca_file = Some(file);
}

fn chain() -> Chain {
    Chain::with(Mode::default(), with_client_ca)
}

/// A client with a certificate of `ca`, or none. It remembers its sessions.
fn client(
    chain: &Chain,
    ca: Option<&TestCa>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(dotward::tls::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(chain.trust.ca.roots());
    Arc::new(match ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let identity = ca.client("client.example").unwrap();
            builder
                .with_client_auth_cert(identity.chain(), identity.key())
                .unwrap()
        }
    })
}

/// Asks over a connection of its own, which is given back with its last answer; an error when the client is not let in.
async fn ask(chain: &Chain, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let to = chain.proxy.address(ListenTransport::Tls).unwrap();
    let socket = within(TcpStream::connect(to)).await?;
    let name = ServerName::try_from("listener.example").unwrap();
    let connector = TlsConnector::from(Arc::clone(config));
    let mut stream = within(connector.connect(name, socket)).await?;
    let octets = framed(&[query(1, "www.example", RecordType::A)]);
    within(stream.write_all(&octets)).await?;
    let mut length = [0; 2];
    within(stream.read_exact(&mut length)).await?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    within(stream.read_exact(&mut answer)).await?;
    Ok(stream)
}

fn kind(stream: &TlsStream<TcpStream>) -> Option<HandshakeKind> {
    stream.get_ref().1.handshake_kind()
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_ca_are_answered() {
    let chain = chain();
    let stranger = TestCa::new().unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let good = client(&chain, Some(&chain.trust.ca), &[version]);
        assert!(ask(&chain, &good).await.is_ok());
        for ca in [None, Some(&stranger)] {
            let refused = client(&chain, ca, &[version]);
            assert!(ask(&chain, &refused).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_session_is_resumed_with_the_certificate_it_began_with() {
    let chain = chain();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = client(&chain, Some(&chain.trust.ca), &[version]);
        let first = ask(&chain, &client).await.unwrap();
        assert_ne!(kind(&first), Some(HandshakeKind::Resumed));
        let second = ask(&chain, &client).await.unwrap();
        assert_eq!(kind(&second), Some(HandshakeKind::Resumed));
    }
}

#[tokio::test]
async fn another_ca_lets_go_of_who_is_connected_and_of_their_sessions() {
    let chain = chain();
    let before = client(&chain, Some(&chain.trust.ca), rustls::ALL_VERSIONS);
    let mut living = ask(&chain, &before).await.unwrap();
    let other = TestCa::new().unwrap();
    chain.write("ca.pem", &other.pem());
    // The end of the living connection is the sign that the file was read.
    let mut rest = Vec::new();
    drop(within(living.read_to_end(&mut rest)).await);
    assert!(ask(&chain, &before).await.is_err());
    let after = client(&chain, Some(&other), rustls::ALL_VERSIONS);
    assert!(ask(&chain, &after).await.is_ok());
}

#[tokio::test]
async fn another_ca_lets_go_of_the_clients_of_every_worker() {
    let workers = 3;
    let chain = Chain::with(Mode::default(), |config, trust| {
        with_client_ca(config, trust);
        config.workers = Workers::Number(NonZeroU8::new(workers).unwrap());
    });
    let before = client(&chain, Some(&chain.trust.ca), rustls::ALL_VERSIONS);
    // Each goes to the worker that has the fewest, and is answered there.
    let mut living = Vec::new();
    for _ in 0..2 * workers {
        living.push(ask(&chain, &before).await.unwrap());
    }
    let other = TestCa::new().unwrap();
    chain.write("ca.pem", &other.pem());
    for mut stream in living {
        let mut rest = Vec::new();
        drop(within(stream.read_to_end(&mut rest)).await);
    }
    let after = client(&chain, Some(&other), rustls::ALL_VERSIONS);
    for _ in 0..workers {
        assert!(ask(&chain, &before).await.is_err());
        assert!(ask(&chain, &after).await.is_ok());
    }
}

#[tokio::test]
async fn a_renewed_certificate_of_ours_costs_no_client_its_session() {
    let chain = chain();
    let client = client(&chain, Some(&chain.trust.ca), rustls::ALL_VERSIONS);
    let mut living = ask(&chain, &client).await.unwrap();
    let renewed = chain.trust.ca.good("listener.example").unwrap();
    chain.write("listener.key", &renewed.key_pem());
    chain.write("listener.pem", renewed.chain_pem());
    // Clients without a session see when it is in use.
    let is_renewed = |stream: &TlsStream<TcpStream>| {
        stream.get_ref().1.peer_certificates() == Some(&renewed.chain()[..])
    };
    let look = async {
        loop {
            let fresh = self::client(&chain, Some(&chain.trust.ca), rustls::ALL_VERSIONS);
            if is_renewed(&ask(&chain, &fresh).await.unwrap()) {
                return;
            }
        }
    };
    within(look).await;
    let resumed = ask(&chain, &client).await.unwrap();
    assert_eq!(kind(&resumed), Some(HandshakeKind::Resumed));
    // And who was connected stays so.
    let octets = framed(&[query(2, "www.example", RecordType::A)]);
    within(living.write_all(&octets)).await.unwrap();
    let mut first = [0; 1];
    within(living.read_exact(&mut first)).await.unwrap();
}

#[tokio::test]
async fn any_name_in_sni_and_none_is_served_the_one_certificate() {
    let chain = Chain::with(Mode::default(), with_listener);
    let to = chain.proxy.address(ListenTransport::Tls).unwrap();
    for name in ["listener.example", "other.example", "127.0.0.1"] {
        let config = client(&chain, None, rustls::ALL_VERSIONS);
        let socket = within(TcpStream::connect(to)).await.unwrap();
        let sni = ServerName::try_from(name).unwrap();
        let connected = within(TlsConnector::from(config).connect(sni, socket)).await;
        // Whose certificate it is the client judges.
        let expected = name == "listener.example";
        assert_eq!(connected.is_ok(), expected, "{name}");
        if let Err(error) = connected {
            assert!(
                error.to_string().contains("invalid peer certificate"),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn tls_before_1_2_is_refused_with_an_alert_that_says_so() {
    let chain = Chain::with(Mode::default(), with_listener);
    let to = chain.proxy.address(ListenTransport::Tls).unwrap();
    let mut client = within(TcpStream::connect(to)).await.unwrap();
    // A ClientHello of TLS 1.0: version, random, no session, one cipher suite, no compression.
    let hello = [&[3, 1][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
    let length = u8::try_from(hello.len()).unwrap();
    let record = [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
    within(client.write_all(&record)).await.unwrap();
    let mut reply = Vec::new();
    drop(within(client.read_to_end(&mut reply)).await);
    // A record with a fatal alert: protocol_version, or handshake_failure for what else is missing (RFC 8446 section 6).
    assert_eq!((reply[0], reply[5]), (0x15, 2));
    assert!([70, 40].contains(&reply[6]), "{reply:?}");
}
