//! What a cached answer costs the allocator: nothing, over UDP and over TCP, through the real listeners.
//!
//! The proxy runs on a thread whose allocations are counted from its start to its end, once for few queries and once for many. What start,
//! end and the first question need falls out of the difference.

use std::num::NonZeroU8;
use std::thread;

use dotward::config::{CacheSettings, Workers};
use dotward::run::{Order, Prepared, local_runtime};
use dotward_core::wire::RecordType;
use dotward_faults::Mode;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::support::{TcpClient, Trust, config, query, receive};

const FEW: u16 = 200;
const MANY: u16 = 5_200;

/// What timers, the log and a buffer that grows late may need in the time that the more queries take.
const ASIDE: u64 = 50;

/// Allocations of a proxy's thread while `queries` questions are answered from the cache.
async fn allocations(queries: u16, over_tcp: bool) -> u64 {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let mut config = config(vec![trust.upstream(&server)]);
    config.cache = CacheSettings {
        size: 1024 * 1024,
        max_ttl: 86_400,
        negative_ttl: 3_600,
        ..CacheSettings::OFF
    };
    config.workers = Workers::Number(NonZeroU8::MIN);
    let prepared = Prepared::new(config).unwrap();
    let listening = prepared.listening();
    let (orders, receiver) = watch::channel(Order::Serve);
    let proxy = thread::spawn(move || {
        allocation_counter::measure(|| {
            let ended = local_runtime().unwrap().block_on(prepared.serve(receiver));
            assert_eq!(ended.unwrap().unanswered, 0);
        })
    });
    let ask = |id| query(id, "www.example", RecordType::A);
    if over_tcp {
        let mut client = TcpClient::connect(listening[1].address).await;
        for id in 0..queries {
            client.send(&[ask(id)]).await;
            assert_eq!(client.receive().await.unwrap().id(), id);
        }
    } else {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(listening[0].address).await.unwrap();
        for id in 0..queries {
            client.send(&ask(id)).await.unwrap();
            assert_eq!(receive(&client).await.id(), id);
        }
    }
    assert_eq!(server.counters().queries, 1, "the others were cached");
    orders.send_replace(Order::Drain);
    proxy.join().unwrap().count_total
}

#[tokio::test]
async fn a_cached_answer_over_udp_allocates_nothing() {
    let (few, many) = (
        allocations(FEW, false).await,
        allocations(MANY, false).await,
    );
    assert!(many <= few + ASIDE, "{few} with {FEW}, {many} with {MANY}");
}

#[tokio::test]
async fn a_cached_answer_over_tcp_allocates_nothing() {
    let (few, many) = (allocations(FEW, true).await, allocations(MANY, true).await);
    assert!(many <= few + ASIDE, "{few} with {FEW}, {many} with {MANY}");
}
