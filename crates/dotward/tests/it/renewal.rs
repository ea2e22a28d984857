//! Trust that changes while the proxy runs: certificate files that are replaced, pins that are tried out, tickets.

use dotward::config::{ClientIdentity, Config, ListenTransport, PinMode};
use dotward::run::{Prepared, Proxy};
use dotward_core::wire::{Rcode, RecordType};
use dotward_faults::mode::{Ending, TlsVersions};
use dotward_faults::{CertificateKind, Mode, TestCa};
use tokio::io::AsyncWriteExt;

use crate::dot_listener::{connect, receive, with_listener};
use crate::support::{Chain, PACE, Trust, ask_udp, config, framed, query, within};

fn with_client_identity(config: &mut Config, trust: &Trust) {
    write_client(trust, &TestCa::new().unwrap());
    config.upstreams[0].client_identity = Some(ClientIdentity {
        certificate_file: trust.directory.path().join("client.pem"),
        key_file: trust.directory.path().join("client.key"),
    });
}

fn write_client(trust: &Trust, ca: &TestCa) {
    let identity = ca.client("client.example").unwrap();
    let directory = trust.directory.path();
    std::fs::write(directory.join("client.pem"), identity.chain_pem()).unwrap();
    std::fs::write(directory.join("client.key"), identity.key_pem()).unwrap();
}

#[tokio::test]
async fn roots_that_come_later_are_trusted_without_a_restart() {
    let other = TestCa::new().unwrap();
    let chain = Chain::with(Mode::default(), |_, trust| {
        let file = trust.directory.path().join("ca.pem");
        other.write_pem(&file).unwrap();
    });
    assert_eq!(chain.ask("www.example").await.rcode(), Rcode::SERVFAIL);
    chain.write("ca.pem", &(other.pem() + &chain.trust.ca.pem()));
    chain.ask_until(true).await;
}

#[tokio::test]
async fn what_changes_while_the_proxy_starts_is_seen() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let file = trust.directory.path().join("ca.pem");
    TestCa::new().unwrap().write_pem(&file).unwrap();
    let prepared = Prepared::new(config(vec![trust.upstream(&server)])).unwrap();
    trust.ca.write_pem(&file).unwrap();
    let proxy = Proxy::start_prepared(prepared.with_pace(PACE)).unwrap();
    let udp = proxy.address(ListenTransport::Udp).unwrap();
    let mut number = 0;
    within(async {
        while !ask_udp(udp, &format!("n{number}.example")).await.is_good() {
            number += 1;
        }
    })
    .await;
}

#[tokio::test]
async fn roots_that_go_take_living_connections_with_them() {
    let chain = Chain::new(Mode::default());
    assert!(chain.ask("www.example").await.is_good());
    chain.write("ca.pem", &TestCa::new().unwrap().pem());
    within(chain.server.wait_for_all_closed()).await.unwrap();
    assert_eq!(chain.ask("last.example").await.rcode(), Rcode::SERVFAIL);
    let counters = chain.server.counters();
    assert_eq!(counters.handshakes_completed, 1);
    assert!(counters.handshakes_failed > 0, "the successor came first");
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_everything_as_it_was() {
    let chain = Chain::new(Mode::default());
    assert!(chain.ask("www.example").await.is_good());
    // The second file is only read after the first was refused.
    chain.write("ca.pem", "no certificate");
    chain.server.close_connections(Ending::Notify);
    chain.ask_until(true).await;
    chain.write("ca.pem", &TestCa::new().unwrap().pem());
    chain.ask_until(false).await;
    chain.write("ca.pem", &chain.trust.ca.pem());
    chain.ask_until(true).await;
}

#[tokio::test]
async fn a_renewed_client_certificate_is_shown_from_then_on() {
    let demanding = Mode {
        client_certificate: true,
        ..Mode::default()
    };
    let chain = Chain::with(demanding, with_client_identity);
    assert!(!chain.ask("www.example").await.is_good());
    write_client(&chain.trust, &chain.trust.ca);
    chain.ask_until(true).await;
    let before = chain.server.counters().handshakes_completed;
    write_client(&chain.trust, &chain.trust.ca);
    within(chain.server.wait_for_handshakes(before + 1))
        .await
        .unwrap();
    let counters = within(chain.server.wait_until(|it| it.connections_open == 1))
        .await
        .unwrap();
    let last = counters
        .connections
        .iter()
        .rfind(|it| it.handshake_completed);
    assert!(!last.unwrap().resumed, "a resumed session shows nothing");
    assert!(chain.ask("last.example").await.is_good());
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_clients_and_old_ones_are_served_on() {
    let chain = Chain::with(Mode::default(), with_listener);
    let mut early = connect(&chain, &[b"dot"]).await.unwrap();
    let certificate = |client: &tokio_rustls::client::TlsStream<tokio::net::TcpStream>| {
        let certificates = client.get_ref().1.peer_certificates().unwrap();
        certificates[0].clone().into_owned()
    };
    let renewed = chain.trust.ca.good("listener.example").unwrap();
    chain.write("listener.pem", renewed.chain_pem());
    chain.write("listener.key", &renewed.key_pem());
    let switching = async {
        while certificate(&connect(&chain, &[b"dot"]).await.unwrap()) != renewed.chain()[0] {}
    };
    within(switching).await;
    let octets = framed(&[query(3, "www.example", RecordType::A)]);
    within(early.write_all(&octets)).await.unwrap();
    assert!(receive(&mut early, 1).await[0].is_good());
}

#[tokio::test]
async fn pins_that_are_only_reported_refuse_nobody() {
    for (pin_mode, good) in [(PinMode::Report, true), (PinMode::Enforce, false)] {
        let chain = Chain::with(Mode::default(), |config, _| {
            config.upstreams[0].pins = vec![[7; 32]];
            config.upstreams[0].pin_mode = pin_mode;
        });
        assert_eq!(chain.ask("www.example").await.is_good(), good);
    }
    let wrong_name = Mode {
        certificate: CertificateKind::WrongName,
        ..Mode::default()
    };
    let chain = Chain::with(wrong_name, |config, _| {
        config.upstreams[0].pin_mode = PinMode::Report;
        config.upstreams[0].pins = vec![[7; 32]];
    });
    assert!(!chain.ask("www.example").await.is_good());
}

#[tokio::test]
async fn pins_are_enforced_where_nothing_else_verifies() {
    let chain = Chain::with(Mode::default(), |config, _| {
        config.upstreams[0].tls_name = None;
        config.upstreams[0].pins = vec![[7; 32]];
        config.upstreams[0].pin_mode = PinMode::Report;
    });
    assert!(!chain.ask("www.example").await.is_good());
    assert_eq!(chain.server.counters().queries, 0);
}

#[tokio::test]
async fn a_backup_pin_holds_on_resumed_sessions() {
    let chain = Chain::with_server(Mode::default(), |config, _, server| {
        let good = server.identity(CertificateKind::Good).unwrap();
        config.upstreams[0].pins = vec![[7; 32], good.spki_sha256()];
    });
    assert!(chain.ask("first.example").await.is_good());
    chain.server.close_connections(Ending::Notify);
    within(chain.server.wait_for_all_closed()).await.unwrap();
    assert!(chain.ask("second.example").await.is_good());
    assert_eq!(chain.server.counters().handshakes_resumed, 1);
}

#[tokio::test]
async fn a_ticket_is_used_once_and_no_data_is_sent_early() {
    const RECONNECTS: usize = 5;
    let chain = Chain::new(Mode::default());
    for number in 0..=RECONNECTS {
        let name = format!("n{number}.example");
        assert!(chain.ask(&name).await.is_good());
        chain.server.close_connections(Ending::Notify);
        within(chain.server.wait_for_all_closed()).await.unwrap();
    }
    let counters = chain.server.counters();
    assert_eq!(counters.connections.len(), RECONNECTS + 1);
    assert!(counters.connections.iter().all(|it| !it.early_data));
    let tickets = counters
        .connections
        .iter()
        .filter_map(|it| it.ticket.clone());
    let mut tickets = Vec::from_iter(tickets);
    assert_eq!(tickets.len(), RECONNECTS, "every reconnect resumed");
    tickets.sort();
    tickets.dedup();
    assert_eq!(tickets.len(), RECONNECTS, "a ticket was used twice");
}

#[tokio::test]
async fn tls_1_2_is_spoken_with_name_and_protocol_and_resumed_without_tickets_of_1_3() {
    let chain = Chain::new(Mode {
        versions: TlsVersions::Only12,
        ..Mode::default()
    });
    assert!(chain.ask("www.example").await.is_good());
    let connection = chain.server.counters().connections[0].clone();
    assert_eq!(connection.alpn.as_deref(), Some("dot"));
    assert_eq!(connection.server_name.as_deref(), Some("dot.example"));
    assert!(connection.tls.unwrap().starts_with("TLSv1_2"));
    assert!(connection.ticket.is_none() && !connection.early_data);
}

#[tokio::test]
async fn an_address_is_no_server_name() {
    let mode = Mode {
        certificate: CertificateKind::IpSan,
        ..Mode::default()
    };
    let chain = Chain::with(mode, |config, _| {
        config.upstreams[0].tls_name = Some("127.0.0.1".try_into().unwrap());
    });
    assert!(chain.ask("www.example").await.is_good());
    assert_eq!(chain.server.counters().connections[0].server_name, None);
}
