//! The orderly end.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dotward::config::{ListenTransport, SnapshotSettings};
use dotward::run::{Ended, Order, Running};
use dotward_core::wire::RecordType;
use dotward_faults::Mode;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UdpSocket};

use crate::dot_listener::with_listener;
use crate::support::{Chain, TcpClient, Trust, query, receive, within};

/// Ends it in order.
async fn stop(proxy: Running) -> Ended {
    let stopped = tokio::task::spawn_blocking(move || proxy.stop());
    within(stopped).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_in_flight_is_answered_before_the_end() {
    let chain = Chain::new(Mode::default());
    let mut tcp = TcpClient::connect(chain.tcp()).await;
    tcp.send(&[query(1, "delay-500.example", RecordType::A)])
        .await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    udp.connect(chain.udp()).await.unwrap();
    let message = query(2, "delay-600.example", RecordType::A);
    udp.send(&message).await.unwrap();
    within(chain.server.wait_for_queries(2)).await.unwrap();

    let address = chain.tcp();
    let proxy = chain.proxy;
    let ended = tokio::task::spawn_blocking(move || proxy.stop());
    assert!(tcp.receive().await.unwrap().is_good());
    assert!(receive(&udp).await.is_good());
    assert!(tcp.receive().await.is_none());
    let ended = within(ended).await.unwrap().unwrap();
    assert_eq!(ended.unanswered, 0);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_end_comes_at_once_when_nothing_is_in_flight_and_closes_upstreams_in_order() {
    let chain = Chain::new(Mode::default());
    assert!(chain.ask("www.example").await.is_good());
    let began = Instant::now();
    stop(chain.proxy).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    within(chain.server.wait_for_all_closed()).await.unwrap();
}

#[tokio::test]
async fn the_end_does_not_wait_longer_than_told_and_a_second_order_ends_at_once() {
    let chain = Chain::with(Mode::default(), |config, _| {
        config.drain = Duration::from_secs(30);
    });
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    udp.connect(chain.udp()).await.unwrap();
    let message = query(2, "delay-1900.example", RecordType::A);
    udp.send(&message).await.unwrap();
    within(chain.server.wait_for_queries(1)).await.unwrap();
    let began = Instant::now();
    chain.proxy.order(Order::Drain);
    chain.proxy.order(Order::Abort);
    assert_eq!(stop(chain.proxy).await.unanswered, 1);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn queries_that_were_read_and_had_to_wait_are_answered_before_the_end() {
    let chain = Chain::new(Mode::default());
    let mut client = TcpClient::connect(chain.tcp()).await;
    // As many as may be in flight, and then those that wait, in one read.
    let slow = (0..512).map(|n| query(n, &format!("delay-500.n{n}.example"), RecordType::A));
    let waiting = (512..600).map(|n| query(n, &format!("n{n}.example"), RecordType::A));
    client.send(&slow.chain(waiting).collect::<Vec<_>>()).await;
    within(chain.server.wait_for_queries(512)).await.unwrap();
    let proxy = chain.proxy;
    let ended = tokio::task::spawn_blocking(move || proxy.stop());
    let mut answered = 0;
    while let Some(answer) = client.receive().await {
        assert!(answer.is_good());
        answered += 1;
    }
    assert_eq!(answered, 600);
    assert_eq!(within(ended).await.unwrap().unwrap().unanswered, 0);
}

#[tokio::test]
async fn a_client_that_waits_for_nothing_is_told_to_go_elsewhere_at_once() {
    let trust = Trust::new();
    let chain = Chain::with(Mode::default(), |config, _| with_listener(config, &trust));
    let mut slow = TcpClient::connect(chain.tcp()).await;
    slow.send(&[query(1, "delay-1900.example", RecordType::A)])
        .await;
    let mut idle = TcpClient::connect(chain.tcp()).await;
    idle.send(&[query(2, "quick.example", RecordType::A)]).await;
    assert!(idle.receive().await.unwrap().is_good());
    let dot = chain.proxy.address(ListenTransport::Tls).unwrap();
    let mut silent = TcpStream::connect(dot).await.unwrap();
    within(chain.server.wait_for_queries(2)).await.unwrap();

    let began = Instant::now();
    chain.proxy.order(Order::Drain);
    assert!(idle.receive().await.is_none());
    let mut octets = Vec::new();
    within(silent.read_to_end(&mut octets)).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert!(slow.receive().await.unwrap().is_good());
    assert!(slow.receive().await.is_none());
}

/// A pipe in the place of a file, which whoever opens it to read waits for, until somebody opens it to write.
fn pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[tokio::test]
async fn a_disk_that_hangs_does_not_keep_a_second_order_from_ending_at_once() {
    let chain = Chain::with(Mode::default(), |config, trust| {
        let path = trust.directory.path().join("snapshot");
        pipe(&path);
        config.cache.size = 1 << 20;
        config.snapshot = Some(SnapshotSettings {
            path,
            every: Duration::from_secs(3600),
        });
    });
    let address = chain.tcp();
    chain.proxy.order(Order::Drain);
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    within(refused).await;
    let began = Instant::now();
    chain.proxy.order(Order::Abort);
    stop(chain.proxy).await;
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_file_system_that_hangs_does_not_hold_up_the_end() {
    let chain = Chain::new(Mode::default());
    let roots = chain.trust.directory.path().join("ca.pem");
    std::fs::remove_file(&roots).unwrap();
    pipe(&roots);
    // Opened for writing once somebody waits to read; nothing is written.
    let open = move || std::fs::File::options().write(true).open(roots);
    let writer = within(tokio::task::spawn_blocking(open)).await.unwrap();
    let began = Instant::now();
    stop(chain.proxy).await;
    assert!(began.elapsed() < Duration::from_secs(2));
    drop(writer.unwrap());
}
