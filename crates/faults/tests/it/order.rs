//! Modes that decide which queries are answered, when, in which order, and with how many responses.

use std::time::{Duration, Instant};

use dotward_faults::answers::POISON_A;
use dotward_faults::expected_a;

use crate::client::{A, Client, mode, query, server};

/// Sends queries with the IDs 0 to `count` at once and gives back the IDs of as many responses, all of them checked.
async fn ask_many(client: &mut Client, count: u16) -> Vec<u16> {
    let all: Vec<u8> = (0..count)
        .flat_map(|id| query(id, &format!("q{id}.test"), A))
        .collect();
    client.send(&all).await;
    collect(client, usize::from(count)).await
}

async fn collect(client: &mut Client, count: usize) -> Vec<u16> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let message = client.message().await;
        assert_eq!(
            message.address(),
            Some(expected_a(&format!("q{}.test", message.id)))
        );
        ids.push(message.id);
    }
    ids
}

#[tokio::test]
async fn batches_leave_in_the_order_the_mode_says() {
    let running = server("normal");
    let mut client = Client::connect(&running).await.unwrap();
    assert!(ask_many(&mut client, 100).await.is_sorted());

    running.set_mode(mode("reverse=4"));
    assert_eq!(ask_many(&mut client, 8).await, [3, 2, 1, 0, 7, 6, 5, 4]);
    // The rest of a batch leaves in time.
    assert_eq!(ask_many(&mut client, 3).await, [2, 1, 0]);

    running.set_mode(mode("shuffle=1000"));
    let mut ids = ask_many(&mut client, 1_000).await;
    assert!(!ids.is_sorted());
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..1_000));
}

#[tokio::test]
async fn held_responses_leave_last_first_when_released_or_when_the_mode_changes() {
    let running = server("hold");
    let mut client = Client::connect(&running).await.unwrap();
    for round in 1..=2 {
        let all: Vec<u8> = (0..5)
            .flat_map(|id| query(id, &format!("q{id}.test"), A))
            .collect();
        client.send(&all).await;
        running.wait_for_queries(5 * round).await.unwrap();
        assert_eq!(running.counters().connections[0].in_flight, 5);
        match round {
            1 => running.release(),
            _ => running.set_mode(mode("normal")),
        }
        assert_eq!(collect(&mut client, 5).await, [4, 3, 2, 1, 0]);
    }
}

#[tokio::test]
async fn every_id_can_be_in_flight_and_is_answered_to_its_question() {
    let running = server("hold,coalesce");
    let mut client = Client::connect(&running).await.unwrap();
    let all: Vec<u8> = (0..=u16::MAX)
        .flat_map(|id| query(id, &format!("q{id}.test"), A))
        .collect();
    client.send(&all).await;
    let counters = running.wait_for_queries(65_536).await.unwrap();
    assert_eq!((counters.in_flight_max, counters.ids_reused), (65_536, 0));
    running.release();
    let ids = collect(&mut client, 65_536).await;
    assert!(ids.into_iter().eq((0..=u16::MAX).rev()));
}

#[tokio::test]
async fn some_queries_are_never_answered() {
    for (words, answered) in [
        ("mute", vec![]),
        ("answer-one-of=10", vec![0, 10, 20]),
        ("mute-after=2", vec![0, 1]),
        ("close-after=2/99", vec![0, 1]),
    ] {
        let running = server(words);
        let mut client = Client::connect(&running).await.unwrap();
        let all: Vec<u8> = (0..25)
            .flat_map(|id| query(id, &format!("q{id}.test"), A))
            .collect();
        client.send(&all).await;
        assert_eq!(
            collect(&mut client, answered.len()).await,
            answered,
            "{words}"
        );
        // Responses keep their order, so one to a later query proves that nothing comes for the others.
        running.wait_for_queries(25).await.unwrap();
        running.set_mode(mode("normal"));
        client.works(99, "later.test").await;
        let in_flight = running.counters().connections[0].in_flight;
        assert_eq!(
            in_flight,
            25 - u64::try_from(answered.len()).unwrap(),
            "{words}"
        );
    }
    let running = server("normal");
    let mut client = Client::connect(&running).await.unwrap();
    client.ask(1, "a.mute.test", A).await;
    client.works(2, "b.test").await;
}

#[tokio::test]
async fn delays_are_kept() {
    let fifty = Duration::from_millis(50);
    for (words, name) in [("delay=50ms", "a.test"), ("late=50ms/3", "a.test")] {
        let running = server(words);
        let mut client = Client::connect(&running).await.unwrap();
        let began = Instant::now();
        client.works(1, name).await;
        assert!(began.elapsed() >= fifty, "{words}");
    }
    let running = server("late=50ms/3");
    let mut client = Client::connect(&running).await.unwrap();
    assert_eq!(ask_many(&mut client, 3).await, [1, 2, 0]);
    let running = server("normal");
    let mut client = Client::connect(&running).await.unwrap();
    client.ask(1, "a.delay-50.test", A).await;
    client.works(2, "b.test").await;
    assert_eq!(client.message().await.id, 1);
    let running = server("drip=1ms");
    let mut client = Client::connect(&running).await.unwrap();
    let began = Instant::now();
    client.works(1, "a.test").await;
    assert!(began.elapsed() >= fifty);
}

#[tokio::test]
async fn a_serial_server_serves_one_query_at_a_time() {
    for (words, least) in [("serial,delay=20ms", 100), ("in-flight=5,delay=20ms", 20)] {
        let running = server(words);
        let mut client = Client::connect(&running).await.unwrap();
        let began = Instant::now();
        assert!(ask_many(&mut client, 5).await.is_sorted());
        assert!(began.elapsed() >= Duration::from_millis(least), "{words}");
    }
}

#[tokio::test]
async fn strays_lies_and_copies_surround_the_right_response() {
    let rows: &[(&str, &[bool])] = &[
        ("stray=3", &[false, false, false, true]),
        ("duplicate=2", &[true, true, true]),
        ("wrong-id=first", &[false, true]),
        ("wrong-name=first", &[false, true]),
        (
            "empty-question=first,stray,duplicate",
            &[false, false, true, true],
        ),
    ];
    let running = server("normal");
    let mut client = Client::connect(&running).await.unwrap();
    for (words, truths) in rows {
        running.set_mode(mode(words));
        client.ask(5, "a.test", A).await;
        for truth in *truths {
            let message = client.message().await;
            let expected = if *truth {
                expected_a("a.test")
            } else {
                POISON_A
            };
            assert_eq!(message.address(), Some(expected), "{words}");
            assert!(!*truth || message.id == 5, "{words}");
        }
    }
    assert_eq!(running.wait_for_responses(15).await.unwrap().responses, 15);
}

#[tokio::test]
async fn a_stray_never_has_an_id_in_flight() {
    let running = server("mute");
    let mut client = Client::connect(&running).await.unwrap();
    let most: Vec<u8> = (0..65_000).flat_map(|id| query(id, "q.test", A)).collect();
    client.send(&most).await;
    running.wait_for_queries(65_000).await.unwrap();
    running.set_mode(mode("stray=64"));
    client.ask(65_000, "a.test", A).await;
    for _ in 0..64 {
        assert!(client.message().await.id > 65_000);
    }
    assert_eq!(client.message().await.id, 65_000);
}

#[tokio::test]
async fn a_deaf_server_lets_the_clients_writes_block() {
    let running = server("deaf");
    let mut client = Client::connect(&running).await.unwrap();
    let flood = query(1, "q.test", A).repeat(1_000_000);
    let bound = Duration::from_millis(300);
    tokio::time::timeout(bound, client.send(&flood))
        .await
        .expect_err("all was taken");
    assert_eq!(running.counters().queries, 0);
}
