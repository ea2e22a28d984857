//! What a reload does with certificate files: those that say something else hold at once, and of the others nothing is heard.

use std::fs;
use std::net::SocketAddr;

use dotward_faults::Mode;
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;

use super::bench::{Bench, upstream};
use crate::dot_listener::handshake;
use crate::support::{Trust, ask_udp, within};

/// Puts another certificate of the listener in place, and gives back what clients are to be shown.
fn renew(trust: &Trust) -> CertificateDer<'static> {
    let identity = trust.ca.good("listener.example").unwrap();
    let directory = trust.directory.path();
    fs::write(directory.join("listener.pem"), identity.chain_pem()).unwrap();
    fs::write(directory.join("listener.key"), identity.key_pem()).unwrap();
    identity.chain()[0].clone()
}

/// What a client is shown that connects now.
async fn shown(trust: &Trust, tls: SocketAddr) -> CertificateDer<'static> {
    let socket = within(TcpStream::connect(tls)).await.unwrap();
    let client = handshake(trust, &[b"dot"], socket).await.unwrap();
    let certificates = client.get_ref().1.peer_certificates().unwrap();
    certificates[0].clone().into_owned()
}

#[tokio::test]
async fn a_renewed_certificate_of_the_listener_is_shown_as_soon_as_a_reload_is_done() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let first = renew(&trust);
    let listen = "[listen]\ncertificate = \"listener.pem\"\nkey = \"listener.key\"\n";
    let mut bench = Bench::start_with(trust, &(upstream("one", &server) + listen), |command, _| {
        command.args(["--listen", "tls://127.0.0.1:0"]);
    });
    let listening = bench.program.line_with("\"transport\":\"tls\"").await;
    let listening: serde_json::Value = serde_json::from_str(&listening).unwrap();
    let tls = listening["address"].as_str().unwrap().parse().unwrap();
    assert_eq!(shown(&bench.trust, tls).await, first);

    let second = renew(&bench.trust);
    bench.reload_well().await;
    assert_eq!(shown(&bench.trust, tls).await, second);
    let line = bench.program.line_with("TLS listeners").await;
    assert!(line.contains("other certificates"), "{line}");

    let third = renew(&bench.trust);
    bench.program.signal(Signal::HUP);
    let line = bench.program.line_with("read again and applied").await;
    assert!(line.contains("\"control socket\""), "{line}");
    bench.program.line_with("\"by\":\"HUP\"").await;
    assert_eq!(shown(&bench.trust, tls).await, third);
}

#[tokio::test]
async fn certificate_files_that_say_the_same_are_not_told_and_cost_no_session() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let other = Trust::new();
    let file = upstream("one", &server);
    let bench = Bench::start_with(trust, &file, |command, _| {
        command.args(["--cache", "off"]);
    });
    assert!(ask_udp(bench.udp(), "n1.example").await.is_good());
    for _ in 0..3 {
        bench.reload_well().await;
    }
    // Sessions are kept: the next connection resumes one.
    server.close_connections(dotward_faults::mode::Ending::Notify);
    within(server.wait_for_all_closed()).await.unwrap();
    assert!(ask_udp(bench.udp(), "n2.example").await.is_good());
    let counters = server.counters();
    assert_eq!(
        (counters.handshakes_completed, counters.handshakes_resumed),
        (2, 1)
    );

    let both = bench.trust.ca.pem() + &other.ca.pem();
    fs::write(bench.path("ca.pem"), both).unwrap();
    bench.reload_well().await;
    bench.program.signal(Signal::TERM);
    let (status, log) = bench.program.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let told: Vec<_> = log
        .lines()
        .filter(|it| it.contains("certificates"))
        .collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("\"upstream\":\"one\""), "{log}");
}
