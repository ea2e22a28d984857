//! Whom the proxy believes: certificates of every kind, names, pins, client certificates, resumed sessions.

use std::time::Duration;

use dotward::config::{ClientIdentity, PinMode};
use dotward::tls::verify::{Verifier, fault_of};
use dotward_core::upstream::TlsFault;
use dotward_core::wire::Rcode;
use dotward_faults::mode::{Ending, Tickets, TlsVersions};
use dotward_faults::{CertificateKind, Mode, TestCa};
use rustls::pki_types::{ServerName, UnixTime};

use crate::support::{Answer, Chain, within};

/// What an upstream is held to.
#[derive(Debug, Clone, Copy)]
struct Demand {
    name: Option<&'static str>,
    /// Of which certificate the key is pinned.
    pin: Option<CertificateKind>,
}

const NAME: Demand = Demand {
    name: Some("dot.example"),
    pin: None,
};

async fn ask(kind: CertificateKind, demand: Demand) -> Answer {
    let server_mode = Mode {
        certificate: kind,
        ..Mode::default()
    };
    let chain = Chain::with_server(server_mode, |config, _, server| {
        let upstream = &mut config.upstreams[0];
        upstream.tls_name = demand.name.map(|name| ServerName::try_from(name).unwrap());
        let pin = demand.pin;
        upstream.pins = pin
            .map(|kind| vec![[7; 32], server.identity(kind).unwrap().spki_sha256()])
            .unwrap_or_default();
    });
    let answer = chain.ask("www.example").await;
    let queries = chain.server.counters().queries;
    assert_eq!(
        answer.is_good(),
        queries > 0,
        "a question went to a server that was refused"
    );
    answer
}

async fn believes(kind: CertificateKind, demand: Demand) -> bool {
    let answer = ask(kind, demand).await;
    if !answer.is_good() {
        assert_eq!(answer.rcode(), Rcode::SERVFAIL);
        assert!(answer.extended_error().is_some());
    }
    answer.is_good()
}

#[tokio::test]
async fn only_certificates_that_carry_the_name_and_lead_to_the_root_are_believed() {
    let asked = CertificateKind::ALL.map(|kind| tokio::spawn(believes(kind, NAME)));
    for (kind, asked) in CertificateKind::ALL.iter().zip(asked) {
        let good = matches!(
            kind,
            CertificateKind::Good
                | CertificateKind::Chained
                | CertificateKind::OtherKey
                | CertificateKind::ExpiresIn(_)
        );
        assert_eq!(asked.await.unwrap(), good, "{kind:?}");
    }
}

#[tokio::test]
async fn an_address_is_believed_as_an_address_only() {
    let address = Demand {
        name: Some("127.0.0.1"),
        pin: None,
    };
    assert!(believes(CertificateKind::IpSan, address).await);
    assert!(!believes(CertificateKind::IpInDnsSan, address).await);
    assert!(!believes(CertificateKind::Good, address).await);
}

#[tokio::test]
async fn a_pin_and_a_name_must_both_be_right() {
    let both = |pin| Demand {
        name: Some("dot.example"),
        pin: Some(pin),
    };
    assert!(believes(CertificateKind::Good, both(CertificateKind::Good)).await);
    assert!(!believes(CertificateKind::OtherKey, both(CertificateKind::Good)).await);
    assert!(!believes(CertificateKind::WrongName, both(CertificateKind::WrongName)).await);
    assert!(!believes(CertificateKind::Expired, both(CertificateKind::Expired)).await);
}

#[tokio::test]
async fn a_pin_alone_decides_alone() {
    let alone = |pin| Demand {
        name: None,
        pin: Some(pin),
    };
    assert!(
        believes(
            CertificateKind::SelfSigned,
            alone(CertificateKind::SelfSigned)
        )
        .await
    );
    assert!(believes(CertificateKind::Expired, alone(CertificateKind::Expired)).await);
    assert!(!believes(CertificateKind::Good, alone(CertificateKind::OtherKey)).await);
}

#[tokio::test]
async fn sessions_are_resumed() {
    for versions in [TlsVersions::Only12, TlsVersions::Only13] {
        let chain = Chain::new(Mode {
            versions,
            ..Mode::default()
        });
        assert!(chain.ask("first.example").await.is_good());
        chain.server.close_connections(Ending::Notify);
        within(chain.server.wait_for_all_closed()).await.unwrap();
        assert!(chain.ask("second.example").await.is_good());
        assert_eq!(
            chain.server.counters().handshakes_resumed,
            1,
            "{versions:?}"
        );
    }
}

#[tokio::test]
async fn a_server_whose_key_changes_is_refused_at_the_next_connection() {
    let chain = Chain::with_server(Mode::default(), |config, _, server| {
        let good = server.identity(CertificateKind::Good).unwrap();
        config.upstreams[0].pins = vec![good.spki_sha256()];
    });
    assert!(chain.ask("first.example").await.is_good());
    chain.server.set_mode(Mode {
        tickets: Tickets::Refused,
        certificate: CertificateKind::OtherKey,
        ..Mode::default()
    });
    chain.server.close_connections(Ending::Notify);
    within(chain.server.wait_for_all_closed()).await.unwrap();
    assert_eq!(chain.ask("second.example").await.rcode(), Rcode::SERVFAIL);
}

#[test]
fn the_certificates_of_a_resumed_session_are_examined_like_fresh_ones() {
    let ca = TestCa::new().unwrap();
    let good = ca.good("dot.example").unwrap();
    let name = ServerName::try_from("dot.example").unwrap();
    let verifier = |pins| {
        let roots = Some(std::sync::Arc::new(ca.roots()));
        Verifier::new(roots, pins, PinMode::Enforce, dotward::tls::provider()).unwrap()
    };
    let fault = |kind, pins| {
        let chain = ca.issue(kind, "dot.example").unwrap().chain();
        let checked = verifier(pins).examine(&chain, &name, UnixTime::now());
        checked.err().map(|error| fault_of(&error))
    };
    let pinned = verifier(vec![good.spki_sha256()]);
    assert!(
        pinned
            .examine(&good.chain(), &name, UnixTime::now())
            .is_ok()
    );
    for (kind, expected) in [
        (CertificateKind::Good, None),
        (CertificateKind::Expired, Some(TlsFault::Expired)),
        (CertificateKind::NotYetValid, Some(TlsFault::NotYetValid)),
        (CertificateKind::WrongName, Some(TlsFault::WrongName)),
        (CertificateKind::CommonNameOnly, Some(TlsFault::WrongName)),
        (CertificateKind::UnknownCa, Some(TlsFault::UnknownIssuer)),
        (CertificateKind::WrongUsage, Some(TlsFault::Protocol)),
    ] {
        assert_eq!(fault(kind, Vec::new()), expected, "{kind:?}");
    }
    let other = vec![[7; 32], good.spki_sha256()];
    let seen = fault(CertificateKind::OtherKey, other);
    assert_eq!(seen, Some(TlsFault::PinMismatch));
    let nothing = verifier(Vec::new()).examine(&[], &name, UnixTime::now());
    assert!(nothing.is_err());
    let now = Duration::from_secs(UnixTime::now().as_secs());
    for (days, expected) in [(6, None), (8, Some(TlsFault::Expired))] {
        let kind = CertificateKind::ExpiresIn(7);
        let chain = ca.issue(kind, "dot.example").unwrap().chain();
        let later = UnixTime::since_unix_epoch(now + days * Duration::from_secs(24 * 3600));
        let examined = verifier(Vec::new()).examine(&chain, &name, later);
        assert_eq!(examined.err().map(|error| fault_of(&error)), expected);
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_asked_for() {
    let demanding = Mode {
        client_certificate: true,
        ..Mode::default()
    };
    let chain = Chain::with(demanding.clone(), |config, trust| {
        let identity = trust.ca.client("client.example").unwrap();
        let certificate_file = trust.directory.path().join("client.pem");
        let key_file = trust.directory.path().join("client.key");
        std::fs::write(&certificate_file, identity.chain_pem()).unwrap();
        std::fs::write(&key_file, identity.key_pem()).unwrap();
        config.upstreams[0].client_identity = Some(ClientIdentity {
            certificate_file,
            key_file,
        });
    });
    assert!(chain.ask("www.example").await.is_good());
    let without = Chain::new(demanding);
    assert_eq!(without.ask("www.example").await.rcode(), Rcode::SERVFAIL);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_all_at_once() {
    let trust = crate::support::Trust::new();
    let server = trust.server(Mode::default());
    let mut config = crate::support::config(vec![trust.upstream(&server), trust.upstream(&server)]);
    let empty = trust.directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    config.upstreams[0].ca_file = Some(empty);
    config.upstreams[1].ca_file = Some(trust.directory.path().join("missing.pem"));
    let error = dotward::run::Proxy::start(config).unwrap_err();
    assert_eq!(error.faults.len(), 2, "{error}");
}
