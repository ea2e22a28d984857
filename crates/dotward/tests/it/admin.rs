//! The admin listener of a proxy at work: health by what happens to its upstreams, metrics by what it was asked.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dotward::config::ReadyRequires;
use dotward_faults::Mode;
use dotward_faults::mode::Choice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{BOUND, Chain, query, within};

use dotward_core::wire::RecordType;

/// Status and body of a request.
async fn request(to: SocketAddr, lines: &str) -> (u16, String) {
    let mut stream = within(TcpStream::connect(to)).await.unwrap();
    let request = format!("{lines}\r\nHost: test\r\nConnection: close\r\n\r\n");
    within(stream.write_all(request.as_bytes())).await.unwrap();
    let mut response = String::new();
    within(stream.read_to_string(&mut response)).await.unwrap();
    let status = response.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

pub(crate) async fn get(to: SocketAddr, path: &str) -> (u16, String) {
    request(to, &format!("GET {path} HTTP/1.1")).await
}

/// Waits until a path has a status, and gives back how long that took.
async fn until(to: SocketAddr, path: &str, status: u16) -> Duration {
    let began = Instant::now();
    loop {
        let (seen, body) = get(to, path).await;
        if seen == status {
            return began.elapsed();
        }
        assert!(began.elapsed() < BOUND, "{path}: {seen} {body}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An upstream that takes questions and says nothing.
fn mute() -> Mode {
    Mode {
        choice: Choice::Mute,
        ..Mode::default()
    }
}

fn chain(mode: Mode, ready_requires: ReadyRequires) -> (Chain, SocketAddr) {
    let chain = Chain::with(mode, |config, _| {
        config.admin = Some(([127, 0, 0, 1], 0).into());
        config.ready_requires = ready_requires;
    });
    let admin = chain.proxy.admin().unwrap();
    (chain, admin)
}

#[tokio::test]
async fn it_is_ready_once_an_upstream_was_found_to_work_though_nobody_asked() {
    let (_chain, admin) = chain(Mode::default(), ReadyRequires::Start);
    until(admin, "/readyz", 200).await;
    assert_eq!(get(admin, "/livez").await, (200, "ok\n".to_owned()));
    let (status, detail) = get(admin, "/healthz").await;
    let detail: serde_json::Value = serde_json::from_str(&detail).unwrap();
    assert_eq!((status, &detail["ready"]), (200, &true.into()));
    assert_eq!(detail["upstreams"][0]["state"], "up");
}

#[tokio::test]
async fn an_upstream_that_dies_later_changes_nothing_unless_it_is_required() {
    let (chain, admin) = chain(Mode::default(), ReadyRequires::Start);
    until(admin, "/readyz", 200).await;
    chain.server.set_mode(mute());
    chain.ask("after.example").await;
    assert_eq!(get(admin, "/readyz").await.0, 200);
    assert_eq!(get(admin, "/livez").await.0, 200);
}

#[tokio::test]
async fn it_follows_upstreams_within_its_bounds_where_one_is_required() {
    let (chain, admin) = chain(Mode::default(), ReadyRequires::Upstream);
    until(admin, "/readyz", 200).await;
    chain.server.set_mode(mute());
    let red = until(admin, "/readyz", 503).await;
    assert!(red <= Duration::from_secs(2), "{red:?}");
    chain.server.set_mode(Mode::default());
    let green = until(admin, "/readyz", 200).await;
    assert!(green <= Duration::from_secs(1), "{green:?}");
}

#[tokio::test]
async fn metrics_tell_what_was_asked_in_bounded_words() {
    let (chain, admin) = chain(Mode::default(), ReadyRequires::Start);
    for name in ["a.example", "b.example", "c.example"] {
        assert!(chain.ask(name).await.is_good());
    }
    // Answered here.
    chain.ask("secret-name.localhost").await;
    let (status, page) = get(admin, "/metrics").await;
    assert_eq!(status, 200);
    let upstream = format!("upstream=\"test-{}\"", chain.server.address().port());
    for line in [
        "dotward_dns_requests_total{proto=\"udp\",family=\"ipv4\",type=\"A\"} 4".to_owned(),
        "dotward_dns_responses_total{proto=\"udp\",rcode=\"NOERROR\",source=\"upstream\"} 3"
            .to_owned(),
        "dotward_dns_request_duration_seconds_count{source=\"upstream\"} 3".to_owned(),
        "dotward_dns_request_duration_seconds_count{source=\"local\"} 1".to_owned(),
        format!("dotward_upstream_healthy{{{upstream}}} 1.0"),
        format!("dotward_upstream_connections_opened_total{{{upstream},handshake=\"full\"}} 1"),
        format!(
            "dotward_upstream_tls_handshakes_total{{{upstream},version=\"1.3\",group=\"X25519MLKEM768\"}} 1"
        ),
    ] {
        assert!(page.contains(&line), "{line} is missing in\n{page}");
    }
    assert!(
        !page.contains("secret") && !page.contains("example"),
        "{page}"
    );
}

#[tokio::test]
async fn every_metric_stands_in_the_manual_by_its_name() {
    const MANUAL: &str = include_str!("../../../../docs/metrics.md");
    let (chain, admin) = chain(Mode::default(), ReadyRequires::Start);
    assert!(chain.ask("a.example").await.is_good());
    let (_, page) = get(admin, "/metrics").await;
    let names = page.lines().filter_map(|it| it.strip_prefix("# TYPE "));
    let names: Vec<&str> = names.filter_map(|it| it.split(' ').next()).collect();
    assert!(names.len() > 40, "{page}");
    let unknown = names
        .iter()
        .filter(|it| !MANUAL.contains(&format!("`{it}`")));
    let unknown: Vec<_> = unknown.collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_told_of_beside_one_that_does() {
    let mut silent = None;
    let chain = Chain::with(Mode::default(), |config, trust| {
        let server = silent.insert(trust.server(mute()));
        config.admin = Some(([127, 0, 0, 1], 0).into());
        config.upstreams[0].name = "both".into();
        config.upstreams[0].endpoints.insert(0, server.address());
    });
    let silent = silent.unwrap();
    let admin = chain.proxy.admin().unwrap();
    assert!(chain.ask("www.example").await.is_good());
    let (_, page) = get(admin, "/metrics").await;
    for (address, healthy) in [(silent.address(), "0.0"), (chain.server.address(), "1.0")] {
        let labels = format!("{{upstream=\"both\",address=\"{address}\"}}");
        let line = format!("dotward_upstream_address_healthy{labels} {healthy}");
        assert!(page.contains(&line), "{line} is missing in\n{page}");
        let connections = format!("dotward_upstream_address_connections{labels}");
        assert!(page.contains(&connections), "{page}");
    }
    assert!(page.contains("dotward_upstream_healthy{upstream=\"both\"} 1.0"));
    let (status, detail) = get(admin, "/healthz").await;
    let detail: serde_json::Value = serde_json::from_str(&detail).unwrap();
    let addresses = &detail["upstreams"][0]["addresses"];
    assert_eq!((status, &addresses[0]["state"]), (200, &"set aside".into()));
    assert_eq!(addresses[0]["reason"], "silent");
    assert_eq!(addresses[1]["state"], "up", "{detail}");
    assert_eq!(addresses[1]["connections"], 1);
}

#[tokio::test]
async fn head_is_answered_as_get_is_but_for_the_content() {
    let (_chain, admin) = chain(Mode::default(), ReadyRequires::Start);
    for path in [
        "/",
        "/metrics",
        "/livez",
        "/readyz",
        "/healthz",
        "/elsewhere",
    ] {
        let (expected, content) = get(admin, path).await;
        let header = format!("HEAD {path} HTTP/1.1");
        let (status, nothing) = request(admin, &header).await;
        assert_eq!((status, &*nothing), (expected, ""), "{path}");
        assert!(!content.is_empty());
    }
    // Another request may follow on the connection, so no octet of content is left in it.
    let mut stream = within(TcpStream::connect(admin)).await.unwrap();
    let [first, last] = ["keep-alive", "close"]
        .map(|it| format!("HEAD / HTTP/1.1\r\nHost: test\r\nConnection: {it}\r\n\r\n"));
    within(stream.write_all((first + &last).as_bytes()))
        .await
        .unwrap();
    let mut responses = String::new();
    within(stream.read_to_string(&mut responses)).await.unwrap();
    let length = format!("content-length: {}\r\n", get(admin, "/").await.1.len());
    let parts: Vec<_> = responses.split("\r\n\r\n").collect();
    assert_eq!((parts.len(), parts[2]), (3, ""), "{responses}");
    assert_eq!(responses.matches(&length).count(), 2, "{responses}");
}

#[tokio::test]
async fn nothing_but_get_and_head_is_answered_and_nothing_but_four_pages() {
    let (_chain, admin) = chain(Mode::default(), ReadyRequires::Start);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (status, _) = request(admin, &format!("{method} /metrics HTTP/1.1")).await;
        assert_eq!(status, 405, "{method}");
    }
    assert_eq!(get(admin, "/").await.0, 200);
    assert_eq!(get(admin, "/../etc/passwd").await.0, 404);
    let long = format!("GET /{} HTTP/1.1", "a".repeat(100_000));
    let mut stream = within(TcpStream::connect(admin)).await.unwrap();
    // It may be refused before all of it was sent.
    drop(within(stream.write_all(long.as_bytes())).await);
    let mut response = Vec::new();
    drop(within(stream.read_to_end(&mut response)).await);
    assert!(!response.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn it_is_not_ready_while_it_drains() {
    let (chain, admin) = chain(mute(), ReadyRequires::Start);
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(chain.udp()).await.unwrap();
    within(socket.send(&query(1, "held.example", RecordType::A)))
        .await
        .unwrap();
    chain.server.wait_for_queries(1).await.unwrap();
    chain.proxy.order(dotward::run::Order::Drain);
    let began = Instant::now();
    let (_, mut body) = get(admin, "/readyz").await;
    while body != "draining\n" {
        assert!(began.elapsed() < BOUND, "{body}");
        (_, body) = get(admin, "/readyz").await;
    }
}

#[tokio::test]
async fn silent_and_dripping_connections_end_and_disturb_nobody_who_asks() {
    let (chain, admin) = chain(Mode::default(), ReadyRequires::Start);
    let mut held = Vec::new();
    for number in 0..40 {
        let mut stream = within(TcpStream::connect(admin)).await.unwrap();
        if number % 2 == 0 {
            within(stream.write_all(b"GET /livez HT")).await.unwrap();
        }
        held.push(stream);
    }
    let began = Instant::now();
    assert!(chain.ask("www.example").await.is_good());
    assert!(began.elapsed() < Duration::from_secs(1));
    // Sixteen at a time have five seconds each.
    let bound = 4 * Duration::from_secs(5);
    let answered = tokio::time::timeout(bound, async {
        let mut stream = TcpStream::connect(admin).await.unwrap();
        let request = b"GET /livez HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    });
    let answered = answered.await.unwrap();
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    drop(held);
}
