//! Certificates, TLS versions, resumption and client certificates, judged by rustls.

use std::sync::Arc;

use dotward_faults::certificates::CertificateKind;
use dotward_faults::{Config, Mode, Server, TestCa};

use crate::client::{A, Client, NAME, mode, server, trusting};

#[tokio::test]
async fn a_client_that_verifies_accepts_the_good_kinds_only() {
    let good = [
        CertificateKind::Good,
        CertificateKind::Chained,
        CertificateKind::OtherKey,
        CertificateKind::ExpiresIn(7),
    ];
    let ca = TestCa::new().unwrap();
    for kind in CertificateKind::ALL {
        let mut config = Config::new(&ca, NAME);
        config.mode = Mode {
            certificate: kind,
            ..Mode::default()
        };
        let running = Server::start(config).unwrap();
        match Client::connect(&running).await {
            Ok(mut client) => {
                assert!(good.contains(&kind), "{kind:?} accepted");
                client.works(1, "a.test").await;
            }
            Err(error) => {
                assert!(!good.contains(&kind), "{kind:?}: {error}");
                let counters = running.wait_for_all_closed().await.unwrap();
                assert_eq!(counters.octets_after_handshake, 0, "{kind:?}");
                assert_eq!(counters.handshakes_failed, 1, "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_address_is_matched_by_an_ip_san_alone() {
    for (words, accepted) in [
        ("certificate=ip-san", true),
        ("certificate=ip-in-dns-san", false),
        ("normal", false),
    ] {
        let running = server(words);
        let config = Arc::new(trusting(running.ca()));
        let connected = Client::connect_with(&running, config, "127.0.0.1").await;
        assert_eq!(connected.is_ok(), accepted, "{words}");
    }
}

#[tokio::test]
async fn a_server_may_be_called_by_its_address() {
    let running = Server::start(Config::new(&TestCa::new().unwrap(), "127.0.0.1")).unwrap();
    let config = Arc::new(trusting(running.ca()));
    let mut client = Client::connect_with(&running, config, "127.0.0.1")
        .await
        .unwrap();
    client.works(1, "a.test").await;
    assert_eq!(running.counters().connections[0].server_name, None);
}

#[tokio::test]
async fn the_certificate_changes_for_fresh_connections_only() {
    let running = server("normal");
    let mut old = Client::connect(&running).await.unwrap();
    running.set_mode(mode("certificate=expired"));
    assert!(Client::connect(&running).await.is_err());
    old.works(1, "a.test").await;
    running.set_mode(mode("normal"));
    Client::connect(&running)
        .await
        .unwrap()
        .works(2, "b.test")
        .await;
}

#[tokio::test]
async fn pins_are_stable_within_a_kind_and_differ_between_kinds() {
    let running = server("normal");
    let pin = |kind| running.identity(kind).unwrap().spki_sha256();
    assert_eq!(pin(CertificateKind::Good), pin(CertificateKind::Good));
    assert_ne!(pin(CertificateKind::Good), pin(CertificateKind::OtherKey));
}

#[tokio::test]
async fn sessions_are_resumed_as_the_mode_says() {
    for (first, second, resumed) in [
        ("normal", "normal", true),
        ("tickets=none", "tickets=none", false),
        ("normal", "certificate=other-key", false),
        ("tickets=shared", "tickets=shared,certificate=expired", true),
    ] {
        let running = server(first);
        let config = Arc::new(trusting(running.ca()));
        let mut client = Client::connect_with(&running, Arc::clone(&config), NAME)
            .await
            .unwrap();
        // The tickets come before the answer.
        client.works(1, "a.test").await;
        running.set_mode(mode(second));
        let mut client = Client::connect_with(&running, config, NAME).await.unwrap();
        client.works(2, "a.test").await;
        let counters = running.counters();
        assert_eq!(
            counters.connections[1].resumed, resumed,
            "{first}, then {second}"
        );
        assert_eq!(counters.handshakes_resumed, u64::from(resumed));
    }
}

#[tokio::test]
async fn tls_facts_are_written_down() {
    for (words, version) in [("tls=1.2", "TLSv1_2"), ("tls=1.3", "TLSv1_3")] {
        let running = server(words);
        Client::connect(&running)
            .await
            .unwrap()
            .works(1, "a.test")
            .await;
        let record = &running.counters().connections[0];
        assert_eq!(record.server_name.as_deref(), Some(NAME));
        assert_eq!(record.alpn.as_deref(), Some("dot"));
        assert!(
            record
                .tls
                .as_ref()
                .is_some_and(|tls| tls.starts_with(version)),
            "{record:?}"
        );
    }
}

#[tokio::test]
async fn a_client_certificate_can_be_demanded() {
    let running = server("client-certificate");
    let mut client = Client::connect(&running).await.unwrap();
    // In TLS 1.3 the client learns of the refusal after its own side of the handshake.
    client.ask(1, "a.test", A).await;
    assert!(client.frame().await.is_err());
    let identity = running.ca().client("client.test").unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(running.ca().roots())
    .with_client_auth_cert(identity.chain(), identity.key())
    .unwrap();
    let mut client = Client::connect_with(&running, Arc::new(config), NAME)
        .await
        .unwrap();
    client.works(2, "a.test").await;
}
