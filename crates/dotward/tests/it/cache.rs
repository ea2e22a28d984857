//! Answers that are kept, through the whole program.

use std::time::{Duration, Instant};

use dotward::config::{CacheSettings, ListenTransport};
use dotward_core::wire::{Rcode, RecordType};
use dotward_faults::Mode;
use dotward_faults::mode::Choice;

use crate::support::{Chain, TcpClient, ask_udp, query, within};

const CACHE: CacheSettings = CacheSettings {
    size: 4 << 20,
    stale: Duration::from_secs(86_400),
    min_ttl: 0,
    max_ttl: 86_400,
    negative_ttl: 10_800,
    prefetch: true,
};

fn chain() -> Chain {
    Chain::with(Mode::default(), |config, _| config.cache = CACHE)
}

/// The TTL of the first record.
fn ttl(answer: &crate::support::Answer) -> u32 {
    answer.view().records().next().unwrap().unwrap().ttl
}

#[tokio::test]
async fn the_second_client_is_answered_without_an_upstream() {
    let chain = chain();
    assert!(chain.ask("www.example").await.is_good());
    let answer = chain.ask("WWW.example").await;
    assert!(answer.is_good() && answer.name() == "WWW.example");
    let mut client = TcpClient::connect(chain.tcp()).await;
    client.send(&[query(7, "www.Example", RecordType::A)]).await;
    let answer = client.receive().await.unwrap();
    assert!(answer.is_good() && answer.id() == 7, "{answer:?}");
    assert_eq!(chain.server.counters().queries, 1);
}

#[tokio::test]
async fn an_answer_is_asked_for_again_when_its_time_is_over() {
    let chain = chain();
    let name = "ttl-1.example";
    assert_eq!(ttl(&chain.ask(name).await), 1);
    let again = async {
        while chain.server.counters().queries < 2 {
            assert!(chain.ask(name).await.is_good());
        }
    };
    within(again).await;
}

#[tokio::test]
async fn an_old_answer_is_given_while_the_upstream_is_mute_and_a_new_one_afterwards() {
    let chain = chain();
    let name = "ttl-1.example";
    assert!(chain.ask(name).await.is_good());
    chain.server.set_mode(Mode {
        choice: Choice::Mute,
        ..Mode::default()
    });
    // Fresh until its second is over, then the first client waits its 1.8 seconds.
    let stale = async {
        loop {
            let began = Instant::now();
            let answer = chain.ask(name).await;
            assert!(answer.is_good(), "{answer:?}");
            if answer.extended_error() == Some(3) {
                return (answer, began.elapsed());
            }
        }
    };
    let (answer, took) = within(stale).await;
    assert_eq!(ttl(&answer), 30);
    assert!(took < Duration::from_millis(1_950), "{took:?}");
    for _ in 0..20 {
        let began = Instant::now();
        let answer = chain.ask(name).await;
        assert!(answer.is_good() && answer.extended_error() == Some(3));
        assert!(began.elapsed() < Duration::from_millis(500));
    }
    chain.server.set_mode(Mode::default());
    let fresh = async { while chain.ask(name).await.extended_error().is_some() {} };
    within(fresh).await;
}

#[tokio::test]
async fn an_old_answer_is_given_at_once_when_the_upstream_is_gone() {
    let chain = chain();
    let name = "ttl-1.example";
    assert!(chain.ask(name).await.is_good());
    let udp = chain.proxy.address(ListenTransport::Udp).unwrap();
    drop(chain.server);
    let stale = async {
        loop {
            let answer = ask_udp(udp, name).await;
            assert!(answer.is_good(), "{answer:?}");
            if answer.extended_error() == Some(3) {
                return;
            }
        }
    };
    within(stale).await;
    let unknown = ask_udp(udp, "unknown.example").await;
    assert_eq!(unknown.rcode(), Rcode::SERVFAIL);
}

#[tokio::test]
async fn a_failure_is_not_asked_about_again_at_once() {
    let chain = Chain::with(
        Mode {
            rcode: Some(2),
            ..Mode::default()
        },
        |config, _| config.cache = CACHE,
    );
    for _ in 0..50 {
        assert_eq!(chain.ask("www.example").await.rcode(), Rcode::SERVFAIL);
    }
    let queries = chain.server.counters().queries;
    // Fifty questions take a small part of a second; a machine that stands still may need a second round.
    assert!(queries <= 6, "{queries}");
}
