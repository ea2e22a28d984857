//! What the server writes down.

use std::time::Duration;

use crate::client::{A, Client, TXT, query, server};

#[tokio::test]
async fn coalesced_queries_show_as_fewer_records() {
    let running = server("normal");
    let mut together = Client::connect(&running).await.unwrap();
    let all: Vec<u8> = (0..20).flat_map(|id| query(id, "a.test", A)).collect();
    together.send(&all).await;
    let mut apart = Client::connect(&running).await.unwrap();
    for id in 0..20 {
        apart.ask(id, "a.test", A).await;
    }
    let counters = running.wait_for_responses(40).await.unwrap();
    let records: Vec<u64> = counters
        .connections
        .iter()
        .map(|record| record.records)
        .collect();
    assert_eq!(
        (records, counters.records, counters.queries),
        (vec![1, 20], 21, 40)
    );
    assert_eq!(
        counters.octets_after_handshake,
        2 * u64::try_from(all.len()).unwrap()
    );
    assert!(counters.connections[0].ids.iter().copied().eq(0..20));
}

#[tokio::test]
async fn repeated_questions_and_reused_ids_are_counted() {
    let running = server("mute");
    let mut client = Client::connect(&running).await.unwrap();
    for (id, name, qtype) in [
        (1, "a.test", A),
        (2, "A.TEST", A),
        (2, "a.test", TXT),
        (3, "b.test", A),
    ] {
        client.ask(id, name, qtype).await;
    }
    let counters = running.wait_for_queries(4).await.unwrap();
    assert_eq!((counters.questions_repeated, counters.ids_reused), (1, 1));
    assert_eq!(
        (counters.in_flight_max, counters.connections[0].in_flight),
        (4, 4)
    );
    assert_eq!(running.times_asked("A.test.", A), 2);
    assert_eq!(running.times_asked("c.test", A), 0);
}

#[tokio::test]
async fn an_answered_id_may_be_used_again() {
    let running = server("normal");
    let mut client = Client::connect(&running).await.unwrap();
    for _ in 0..3 {
        client.works(1, "a.test").await;
    }
    let counters = running.counters();
    assert_eq!((counters.ids_reused, counters.in_flight_max), (0, 1));
    assert_eq!(counters.questions_repeated, 2);
}

#[tokio::test]
async fn a_wait_that_is_not_met_says_what_was_seen() {
    let running = server("normal");
    let never = running
        .wait_until_within(Duration::from_millis(10), |c| c.queries > 0)
        .await;
    assert_eq!(never.unwrap_err().counters.queries, 0);
}

#[tokio::test]
async fn a_query_cut_at_every_octet_is_put_together() {
    let running = server("normal");
    let mut client = Client::connect(&running).await.unwrap();
    let octets = query(1, "a.test", A);
    for octet in &octets {
        client.send(&[*octet]).await;
    }
    assert_eq!(
        client.message().await.address(),
        Some(dotward_faults::expected_a("a.test"))
    );
    let counters = running.counters();
    assert_eq!(
        (counters.queries, counters.records),
        (1, u64::try_from(octets.len()).unwrap())
    );
}
