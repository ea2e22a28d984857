//! Modes in which TLS does not come up, looked at from a bare socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dotward_faults::mode::Ending;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{A, Client, Message, NAME, query, server, trusting};

fn client_hello(running: &dotward_faults::Running) -> Vec<u8> {
    let config = Arc::new(trusting(running.ca()));
    let name = ServerName::try_from(NAME).unwrap();
    let mut session = ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}

/// All that the server says to a ClientHello until `enough` octets are there and the connection is ended from outside.
async fn said(words: &str, enough: usize) -> Vec<u8> {
    let running = server(words);
    let mut socket = TcpStream::connect(running.address()).await.unwrap();
    socket.write_all(&client_hello(&running)).await.unwrap();
    running.wait_for_connections(1).await.unwrap();
    let mut said = vec![0; enough];
    socket.read_exact(&mut said).await.unwrap();
    running.close_connections(Ending::Fin);
    // With octets unread the system ends the connection by RST.
    let _end: std::io::Result<usize> = socket.read_to_end(&mut said).await;
    let counters = running.wait_for_all_closed().await.unwrap();
    assert_eq!(
        (
            counters.handshakes_completed,
            counters.octets_before_handshake
        ),
        (0, 0)
    );
    said
}

#[tokio::test]
async fn an_accepted_connection_may_stay_silent() {
    assert_eq!(said("accept-only", 0).await, []);
}

#[tokio::test]
async fn the_server_hello_may_be_all_there_is() {
    let said = said("server-hello-only", 6).await;
    let length = usize::from(u16::from_be_bytes([said[3], said[4]]));
    // A handshake record that holds a ServerHello, and nothing after it.
    assert_eq!((said[0], said[5], said.len()), (0x16, 2, length + 5));
}

#[tokio::test]
async fn the_server_hello_may_be_garbage() {
    let said = said("garbage-hello", 64).await;
    assert!(said.len() == 64 && said[0] != 0x16 && said[0] != 0x15);
}

#[tokio::test]
async fn plain_text_goes_to_tls_clients_too() {
    let said = said("plain-text", 2).await;
    let message = Message::parse(&said[2..]);
    assert_eq!(message.address(), Some(dotward_faults::answers::POISON_A));
}

#[tokio::test]
async fn plain_text_answers_clear_queries_and_counts_their_octets() {
    let running = server("plain-text");
    let mut socket = TcpStream::connect(running.address()).await.unwrap();
    let octets = query(1, "a.test", A);
    socket.write_all(&octets).await.unwrap();
    let mut answer = vec![0; 53];
    socket.read_exact(&mut answer).await.unwrap();
    let message = Message::parse(&answer[2..]);
    assert_eq!(
        message.address(),
        Some(dotward_faults::expected_a("a.test"))
    );
    assert_eq!(
        running.counters().octets_before_handshake,
        u64::try_from(octets.len()).unwrap()
    );
}

#[tokio::test]
async fn clear_octets_are_counted_and_get_no_answer() {
    for words in [
        "normal",
        "accept-only",
        "garbage-hello",
        "certificate=expired",
    ] {
        let running = server(words);
        let mut socket = TcpStream::connect(running.address()).await.unwrap();
        socket.write_all(&query(1, "a.test", A)).await.unwrap();
        let octets = u64::try_from(query(1, "a.test", A).len()).unwrap();
        let counted = running.wait_until(|counters| counters.octets_before_handshake == octets);
        assert_eq!(counted.await.unwrap().queries, 0, "{words}");
    }
}

#[tokio::test]
async fn the_handshake_may_fail_at_once() {
    for words in ["reset-hello", "close-hello", "garbage-hello", "plain-text"] {
        let running = server(words);
        assert!(Client::connect(&running).await.is_err(), "{words}");
    }
}

#[tokio::test]
async fn the_handshake_may_be_slow() {
    let running = server("handshake-delay=50ms");
    let began = Instant::now();
    Client::connect(&running)
        .await
        .unwrap()
        .works(1, "a.test")
        .await;
    assert!(began.elapsed() >= Duration::from_millis(50));
}
