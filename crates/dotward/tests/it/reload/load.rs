//! Reloads while clients ask: nothing is lost, and nothing is left behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dotward_core::wire::RecordType;
use dotward_faults::Mode;
use rustix::process::Signal;
use tokio::net::UdpSocket;

use super::bench::{Bench, local, upstream};
use crate::support::{TcpClient, Trust, query, receive, within};

/// Clients that ask as fast as they are answered, each question another name, until told to stop.
struct Load {
    over: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(udp: SocketAddr, tcp: SocketAddr, clients: usize) -> Self {
        let (over, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let one = |client: usize| {
            let (over, asked) = (Arc::clone(&over), Arc::clone(&asked));
            tokio::spawn(async move {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                socket.connect(udp).await.unwrap();
                let mut stream = TcpClient::connect(tcp).await;
                let mut number = 0_u16;
                while !over.load(Ordering::Relaxed) {
                    number = number.wrapping_add(1);
                    let name = format!("n{number}.c{client}.example");
                    let message = query(number, &name, RecordType::A);
                    let answer = if number.is_multiple_of(4) {
                        stream.send(&[message]).await;
                        stream.receive().await.unwrap()
                    } else {
                        socket.send(&message).await.unwrap();
                        receive(&socket).await
                    };
                    assert_eq!((answer.id(), answer.name()), (number, name));
                    assert!(answer.is_good(), "{:?}", answer.extended_error());
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        Self {
            clients: (0..clients).map(one).collect(),
            over,
            asked,
        }
    }

    /// Waits until so many more questions were answered.
    async fn wait_for(&self, more: u64) {
        let until = self.asked.load(Ordering::Relaxed) + more;
        within(async {
            while self.asked.load(Ordering::Relaxed) < until {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Ends it; every question of every client was answered.
    async fn stop(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            within(client).await.unwrap();
        }
        self.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn upstreams_come_and_go_under_load_and_no_question_is_lost() {
    let trust = Trust::new();
    let (one, other) = (trust.server(Mode::default()), trust.server(Mode::default()));
    let alone = upstream("one", &one);
    let both = alone.clone() + &upstream("other", &other);
    let last = upstream("other", &other);
    // Inside the sandbox only ports that were known at the start are reached.
    let bench = Bench::start_with(trust, &both, |command, _| {
        command.args(["--workers", "2", "--cache", "off"]);
    });
    bench.write(&alone);
    assert!(
        bench
            .reload_well()
            .await
            .contains("upstreams removed: other")
    );
    let load = Load::start(bench.udp(), bench.program.tcp, 8);
    load.wait_for(100).await;
    bench.write(&both);
    assert!(bench.reload_well().await.contains("upstreams added: other"));
    load.wait_for(100).await;
    bench.write(&last);
    assert!(bench.reload_well().await.contains("upstreams removed: one"));
    // What it owed it has answered, and then nobody keeps a connection to it.
    load.wait_for(100).await;
    within(one.wait_for_all_closed()).await.unwrap();
    let asked = one.counters().queries;
    load.wait_for(100).await;
    assert_eq!(one.counters().queries, asked);
    let status = bench.status().await;
    assert_eq!(status["upstreams"].as_array().unwrap().len(), 1);
    assert_eq!(status["upstreams"][0]["name"], "other");
    load.stop().await;
}

#[tokio::test]
async fn a_hundred_reloads_under_load_lose_nothing_and_leave_nothing_behind() {
    let trust = Trust::new();
    let (one, other) = (trust.server(Mode::default()), trust.server(Mode::default()));
    let base = upstream("one", &one);
    let route = "[[route]]\nsuffix = [\"corp.example\"]\nto = [\"other\"]\n";
    let files = [
        base.clone() + &local(1),
        base.clone() + &upstream("other", &other) + &local(2),
        base + &upstream("other", &other) + route + &local(3),
    ];
    let bench = Bench::start_with(trust, &files[2], |command, _| {
        command.args(["--workers", "2"]);
    });
    let load = Load::start(bench.udp(), bench.program.tcp, 4);
    let round = async |count: usize| {
        for number in 0..count {
            bench.write(&files[number % files.len()]);
            if number.is_multiple_of(2) {
                bench.program.signal(Signal::HUP);
            }
            bench.reload_well().await;
            load.wait_for(1).await;
        }
    };
    // What is made once is there after the first ones.
    round(10).await;
    let (descriptors, resident) = (bench.descriptors(), bench.resident());
    round(100).await;
    let asked = load.stop().await;
    assert!(asked > 100);
    let status = bench.status().await;
    assert!(status["configuration"]["reloads_applied"].as_u64().unwrap() >= 110);
    // Connections come and go with the load; two upstreams may have four each, and as many that end.
    let grown = bench.descriptors().saturating_sub(descriptors);
    assert!(grown <= 8, "{grown} descriptors more");
    let grown = bench.resident().saturating_sub(resident);
    assert!(grown < 6 * 1024, "{grown} KiB more");
}
