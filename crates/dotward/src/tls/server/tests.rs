//! Handshakes in memory, with listeners that succeed each other.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dotward_faults::TestCa;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::super::tickets::tests::Clock;
use super::*;
use crate::limits::TICKET_KEY_LIFE;

struct Site {
    ca: TestCa,
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            ca: TestCa::new().unwrap(),
            directory: tempfile::tempdir().unwrap(),
        };
        site.trust(&site.ca);
        site
    }

    fn trust(&self, clients: &TestCa) {
        clients
            .write_pem(&self.directory.path().join("clients.pem"))
            .unwrap();
    }

    fn listener(&self) -> ListenerTls {
        self.listener_with(TicketKeys::new().unwrap())
    }

    fn listener_with(&self, tickets: TicketKeys) -> ListenerTls {
        let identity = self.ca.good("listener.example").unwrap();
        let roots = self.directory.path().join("clients.pem");
        let clients = ClientTrust::from_file(&roots, &Disk).unwrap();
        ListenerTls::build(identity.chain(), identity.key(), Some(clients), tickets).unwrap()
    }

    fn client(&self) -> Arc<ClientConfig> {
        let identity = self.ca.client("client.example").unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.ca.roots())
            .with_client_auth_cert(identity.chain(), identity.key())
            .unwrap();
        Arc::new(config)
    }
}

/// The server's side after the handshake and the tickets.
fn shake(listener: &ListenerTls, client: &Arc<ClientConfig>) -> Result<Connection, Error> {
    let name = ServerName::try_from("listener.example").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = listener.accept().unwrap();
    while client.wants_write() || server.wants_write() {
        let mut octets = Vec::new();
        client.write_tls(&mut octets).unwrap();
        let mut rest = &octets[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        octets.clear();
        server.write_tls(&mut octets).unwrap();
        let mut rest = &octets[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(server)
}

fn kind(connection: &Connection) -> HandshakeKind {
    connection.handshake_kind().unwrap()
}

#[test]
fn the_certificate_of_a_session_is_judged_by_the_date_of_its_resumption() {
    let site = Site::new();
    let (listener, client) = (site.listener(), site.client());
    shake(&listener, &client).unwrap();
    let resumed = shake(&listener, &client).unwrap();
    assert_eq!(kind(&resumed), HandshakeKind::Resumed);
    listener.check(&resumed).unwrap();
    let now = Duration::from_secs(UnixTime::now().as_secs());
    let next_year = UnixTime::since_unix_epoch(now + Duration::from_secs(500 * 24 * 3600));
    let judged = listener.examine(&resumed, next_year);
    assert!(matches!(
        judged,
        Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. }
        ))
    ));
}

#[test]
fn a_key_that_was_changed_resumes_sessions_within_its_life_and_not_after() {
    let site = Site::new();
    let clock = Arc::new(Clock::default());
    let keys = TicketKeys::with_clock(Arc::<Clock>::clone(&clock)).unwrap();
    let listener = site.listener_with(keys);
    let (punctual, late) = (site.client(), site.client());
    shake(&listener, &punctual).unwrap();
    shake(&listener, &late).unwrap();
    let life = TICKET_KEY_LIFE.as_secs();
    clock.0.store(life + life / 2, Ordering::Relaxed);
    let resumed = shake(&listener, &punctual).unwrap();
    assert_eq!(kind(&resumed), HandshakeKind::Resumed);
    clock.0.store(2 * life, Ordering::Relaxed);
    let anew = shake(&listener, &late).unwrap();
    assert_ne!(kind(&anew), HandshakeKind::Resumed);
}

#[test]
fn sessions_outlive_a_renewed_certificate_and_end_with_the_trust_they_were_made_in() {
    let site = Site::new();
    let (first, client) = (site.listener(), site.client());
    shake(&first, &client).unwrap();
    let renewed = site.listener().succeeding(&first);
    assert_eq!(
        kind(&shake(&renewed, &client).unwrap()),
        HandshakeKind::Resumed
    );
    site.trust(&TestCa::new().unwrap());
    let distrusting = site.listener().succeeding(&renewed);
    assert!(shake(&distrusting, &client).is_err());
    site.trust(&site.ca);
    let trusting_again = site.listener().succeeding(&distrusting);
    let anew = shake(&trusting_again, &client).unwrap();
    assert_ne!(kind(&anew), HandshakeKind::Resumed);
}
