//! Modes that end a connection, and how.

use std::time::{Duration, Instant};

use dotward_faults::mode::Ending;

use crate::client::{A, Client, End, mode, query, server};

/// Octets of the frame that answers `a.test`: prefix, header, question, one A record, OPT.
const FRAME: usize = 2 + 12 + 12 + 16 + 11;

#[tokio::test]
async fn an_incomplete_response_ends_the_connection() {
    let rows = [
        ("abort", End::Fin, FRAME / 2, None),
        ("abort=1", End::Fin, 1, None),
        ("abort=0", End::Fin, 0, None),
        ("abort=10,ending=reset", End::Reset, 10, None),
        ("abort=60000", End::Fin, FRAME - 1, None),
        (
            "length-too-large",
            End::Notify,
            FRAME,
            Some(FRAME - 2 + 100),
        ),
        (
            "length-too-large=5,ending=fin",
            End::Fin,
            FRAME,
            Some(FRAME - 2 + 5),
        ),
    ];
    for (words, end, octets, claimed) in rows {
        let running = server(words);
        let mut client = Client::connect(&running).await.unwrap();
        client.ask(1, "a.test", A).await;
        let (seen, left) = client.frame().await.unwrap_err();
        assert_eq!(seen, end, "{words}");
        // RST may overtake what was written before it.
        if end != End::Reset {
            assert_eq!(left.len(), octets, "{words}");
        }
        if let Some(claimed) = claimed {
            assert_eq!(
                usize::from(u16::from_be_bytes([left[0], left[1]])),
                claimed,
                "{words}"
            );
        }
    }
}

#[tokio::test]
async fn the_length_prefix_says_what_the_mode_says() {
    for length in [0, 1, 11] {
        let running = server(&format!("length={length}"));
        let mut client = Client::connect(&running).await.unwrap();
        client.ask(1, "a.test", A).await;
        assert_eq!(client.frame().await.unwrap().len(), length);
        running.set_mode(mode("normal"));
        client.works(2, "b.test").await;
    }
}

#[tokio::test]
async fn replies_close_the_connection_as_the_mode_says() {
    let rows = [
        ("close-each", 1, 1, End::Notify),
        ("close-each,ending=fin", 5, 1, End::Fin),
        ("close-after=3", 3, 3, End::Notify),
        ("close-after=3/4", 7, 3, End::Notify),
        ("close-after=0/4", 4, 0, End::Notify),
        ("close-after=50/10,ending=fin", 60, 50, End::Fin),
    ];
    for (words, queries, replies, end) in rows {
        let running = server(words);
        let mut client = Client::connect(&running).await.unwrap();
        let all: Vec<u8> = (0..queries).flat_map(|id| query(id, "a.test", A)).collect();
        client.send(&all).await;
        let mut seen = 0;
        let how = loop {
            match client.frame().await {
                Ok(_) => seen += 1,
                Err((how, _)) => break how,
            }
        };
        assert_eq!((seen, how), (replies, end), "{words}");
        running.wait_for_all_closed().await.unwrap();
    }
}

#[tokio::test]
async fn idle_and_old_connections_are_closed() {
    for (words, end) in [
        ("idle-close=40ms", End::Notify),
        ("idle-close=40ms,ending=reset", End::Reset),
        ("lifetime=40ms,ending=fin", End::Fin),
    ] {
        let running = server(words);
        let mut client = Client::connect(&running).await.unwrap();
        let began = Instant::now();
        client.works(1, "a.test").await;
        assert_eq!(client.end().await, end, "{words}");
        assert!(began.elapsed() >= Duration::from_millis(30), "{words}");
    }
    // A query in service keeps a connection from being idle.
    let running = server("idle-close=10ms,delay=60ms");
    let mut client = Client::connect(&running).await.unwrap();
    client.works(1, "a.test").await;
    assert_eq!(client.end().await, End::Notify);
}

#[tokio::test]
async fn live_connections_can_be_ended_from_outside() {
    for (ending, end) in [
        (Ending::Notify, End::Notify),
        (Ending::Fin, End::Fin),
        (Ending::Reset, End::Reset),
    ] {
        let running = server("normal");
        let mut client = Client::connect(&running).await.unwrap();
        client.works(1, "a.test").await;
        running.close_connections(ending);
        assert_eq!(client.end().await, end);
        running.wait_for_all_closed().await.unwrap();
        Client::connect(&running)
            .await
            .unwrap()
            .works(2, "b.test")
            .await;
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_reset() {
    let running = server("connections=1");
    let mut first = Client::connect(&running).await.unwrap();
    assert!(Client::connect(&running).await.is_err());
    first.works(1, "a.test").await;
    drop(first);
    running.wait_for_all_closed().await.unwrap();
    Client::connect(&running)
        .await
        .unwrap()
        .works(2, "b.test")
        .await;
    assert_eq!(running.counters().connections_refused, 1);
}

#[tokio::test]
async fn fresh_and_live_connections_can_have_different_modes() {
    let running = server("normal");
    let mut old = Client::connect(&running).await.unwrap();
    old.works(1, "a.test").await;
    running.set_mode_of_live(mode("wrong-name"));
    old.ask(2, "a.test", A).await;
    assert_ne!(old.message().await.question.unwrap().0.len(), 8);
    Client::connect(&running)
        .await
        .unwrap()
        .works(3, "b.test")
        .await;
    running.set_mode(mode("normal"));
    running.set_mode_of_fresh(mode("reset-hello"));
    assert!(Client::connect(&running).await.is_err());
    old.works(4, "c.test").await;
}

#[tokio::test]
async fn a_stopped_server_frees_its_address() {
    let running = server("normal");
    let (address, ca) = (running.address(), running.ca().clone());
    let mut client = Client::connect(&running).await.unwrap();
    client.works(1, "a.test").await;
    running.stop().await;
    client.end().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    let mut config = dotward_faults::Config::new(&ca, crate::client::NAME);
    config.address = address;
    let running = dotward_faults::Server::start(config).unwrap();
    Client::connect(&running)
        .await
        .unwrap()
        .works(1, "a.test")
        .await;
}
