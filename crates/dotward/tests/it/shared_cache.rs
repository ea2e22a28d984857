//! The cache that several instances share, with a real server, which is killed, full of garbage, locked, silent, or behind TLS.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dotward::config::SharedCacheSettings;
use dotward_core::wire::RecordType;
use dotward_faults::TestCa;
use redis::Commands;

use crate::shared_store::{Instance, Store, keep_asking, shared, wait_for_key, write_identity};
use crate::support::{BOUND, within};

#[tokio::test]
async fn the_second_instance_answers_what_the_first_has_learned_without_its_upstream() {
    let Some(store) = Store::start(&[]) else {
        return;
    };
    let first = Instance::start(shared(&store.url()));
    assert!(first.chain.ask("www.example").await.is_good());
    wait_for_key(&store, "dotward:1::0:1:www.example");
    let ttl: i64 = store.client().ttl("dotward:1::0:1:www.example").unwrap();
    assert!((1..=300).contains(&ttl), "it ends in the store as well");

    let second = Instance::start(shared(&store.url()));
    assert!(second.chain.ask("www.example").await.is_good());
    assert_eq!(
        second
            .chain
            .server
            .times_asked("www.example", RecordType::A.0),
        0
    );
    let stats = second.stats().await;
    assert_eq!(
        (&stats["hits"], &stats["state"]),
        (&1.into(), &"asked".into())
    );
    // It keeps it, and asks nobody for it again.
    assert!(second.chain.ask("www.example").await.is_good());
    assert_eq!(second.stats().await["hits"], 1);

    let (wrote, read) = (first.metrics().await, second.metrics().await);
    for (page, line) in [
        (
            &wrote,
            "dotward_cache_requests_total{level=\"shared\",result=\"miss\"} 1",
        ),
        (&wrote, "dotward_cache_inserts_total{level=\"shared\"} 1"),
        (
            &wrote,
            "dotward_cache_inserts_dropped_total{level=\"shared\"} 0",
        ),
        (
            &read,
            "dotward_cache_requests_total{level=\"shared\",result=\"hit\"} 1",
        ),
        (
            &read,
            "dotward_cache_request_duration_seconds_count{level=\"shared\"} 1",
        ),
        (&read, "dotward_cache_healthy{level=\"shared\"} 1.0"),
        (
            &read,
            "dotward_cache_state{level=\"shared\",state=\"asked\"} 1.0",
        ),
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
}

#[tokio::test]
async fn garbage_in_the_store_is_counted_and_not_used() {
    let Some(store) = Store::start(&[]) else {
        return;
    };
    let huge = vec![b'x'; 8 << 20];
    let contents: [&[u8]; 4] = [b"garbage", b"\x01\x00\x00", &[0xff; 300], &huge];
    let mut client = store.client();
    for (number, content) in contents.iter().enumerate() {
        let key = format!("dotward:1::0:1:n{number}.example");
        client.set::<_, _, ()>(key, content).unwrap();
    }
    // Not even a string.
    client
        .lpush::<_, _, ()>("dotward:1::0:1:n4.example", "x")
        .unwrap();
    let instance = Instance::start(shared(&store.url()));
    for number in 0..5 {
        assert!(
            instance
                .chain
                .ask(&format!("n{number}.example"))
                .await
                .is_good()
        );
    }
    let stats = instance.stats().await;
    assert_eq!(
        (&stats["hits"], &stats["unusable"]),
        (&0.into(), &4.into()),
        "{stats}"
    );
    // Each was replaced by what is right.
    for number in 0..4 {
        let began = Instant::now();
        let key = format!("dotward:1::0:1:n{number}.example");
        while client.ttl::<_, i64>(&key).unwrap() < 0 {
            assert!(began.elapsed() < BOUND);
        }
    }
}

#[tokio::test]
async fn a_store_that_is_killed_and_comes_back_under_load_costs_no_question() {
    let Some(mut store) = Store::start(&[]) else {
        return;
    };
    let instance = Instance::start(shared(&store.url()));
    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..8)
        .map(|who| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(keep_asking(instance.chain.udp(), who, stop, asked))
        })
        .collect();
    for _ in 0..3 {
        instance.wait_for(|it| it["state"] == "asked").await;
        let before = instance.stats().await["misses"].as_u64().unwrap();
        instance
            .wait_for(|it| it["misses"].as_u64().unwrap() > before)
            .await;
        store.kill();
        instance.wait_for(|it| it["state"] != "asked").await;
        store.restart();
    }
    instance.wait_for(|it| it["state"] == "asked").await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        within(client).await.unwrap();
    }
    // Each client has checked every answer.
    assert!(asked.load(Ordering::Relaxed) > 100);
}

#[tokio::test]
async fn a_password_comes_from_a_file_and_a_wrong_one_is_told() {
    let Some(store) = Store::start(&["--requirepass", "right horse"]) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    let settings = SharedCacheSettings {
        password_file: Some(file.clone()),
        ..shared(&store.url())
    };
    std::fs::write(&file, "right horse\n").unwrap();
    let right = Instance::start(settings.clone());
    assert!(right.chain.ask("www.example").await.is_good());
    let stats = right.wait_for(|it| it["writes"] == 1).await;
    assert_eq!(
        (&stats["misses"], &stats["failures"]),
        (&1.into(), &0.into())
    );

    std::fs::write(&file, "wrong horse").unwrap();
    let wrong = Instance::start(settings);
    let mut number = 0;
    let refused = async {
        while wrong.stats().await["state"] != "left alone" {
            number += 1;
            assert!(
                wrong
                    .chain
                    .ask(&format!("n{number}.example"))
                    .await
                    .is_good()
            );
        }
    };
    within(refused).await;
    let stats = wrong.stats().await;
    let fault = stats["fault"].as_str().unwrap().to_owned();
    assert!(fault.to_lowercase().contains("auth"), "{fault}");
    assert!(!fault.contains("horse"), "{fault}");
}

#[tokio::test]
async fn a_silent_store_and_one_that_is_not_there_delay_nothing_that_anybody_notices() {
    // Takes connections and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = format!("redis://{}", silent.local_addr().unwrap());
    for url in [
        silent.as_str(),
        "redis://127.0.0.1:1",
        "redis://name.invalid",
    ] {
        let instance = Instance::start(shared(url));
        // The first one opens the connection to the upstream.
        assert!(instance.chain.ask("first.example").await.is_good());
        let began = Instant::now();
        for number in 0..20 {
            assert!(
                instance
                    .chain
                    .ask(&format!("n{number}.example"))
                    .await
                    .is_good()
            );
        }
        // Eight head starts of 4 ms at most, and the time of a busy machine.
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{url}: {:?}",
            began.elapsed()
        );
        let stats = instance.stats().await;
        assert_eq!(stats["state"], "left alone", "{url}: {stats}");
        assert!(stats["skipped"].as_u64().unwrap() >= 10, "{url}: {stats}");
        let page = instance.metrics().await;
        let healthy = "dotward_cache_healthy{level=\"shared\"} 0.0";
        assert!(page.contains(healthy), "{url}: {page}");
    }
}

#[tokio::test]
async fn over_tls_the_certificate_is_verified() {
    let directory = tempfile::tempdir().unwrap();
    let ca = TestCa::new().unwrap();
    let [certificate, key, roots] = write_identity(&ca, directory.path());
    let port = {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        free.local_addr().unwrap().port()
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (certificate, key, ca_file) = (text(&certificate), text(&key), text(&roots));
    let number = port.to_string();
    let tls = [
        "--tls-port",
        &number,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca_file,
        "--tls-auth-clients",
        "no",
        "--bind",
        "127.0.0.1",
    ];
    let Some(store) = Store::start(&tls) else {
        return;
    };
    let settings = |roots: Option<PathBuf>| SharedCacheSettings {
        ca_file: roots,
        ..shared(&format!("rediss://127.0.0.1:{port}"))
    };
    let trusting = Instance::start(settings(Some(roots)));
    // A handshake takes longer than a head start, so the first one may be late.
    let mut number = 0;
    within(async {
        while trusting.stats().await["writes"].as_u64().unwrap() == 0 {
            number += 1;
            assert!(
                trusting
                    .chain
                    .ask(&format!("n{number}.example"))
                    .await
                    .is_good()
            );
        }
    })
    .await;
    wait_for_key(&store, "dotward:1::0:1:n1.example");

    let distrusting = Instance::start(settings(None));
    for number in 100..120 {
        assert!(
            distrusting
                .chain
                .ask(&format!("n{number}.example"))
                .await
                .is_good()
        );
    }
    let stats = distrusting.wait_for(|it| it["state"] == "left alone").await;
    assert_eq!(stats["hits"], 0);
    let fault = stats["fault"].as_str().unwrap().to_owned();
    assert!(fault.contains("ertificate"), "{fault}");
}
