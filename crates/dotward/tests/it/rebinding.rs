//! Private addresses in what public upstreams say, and what is kept, before clients that must not learn of either.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use dotward::config::{Config, RouteSettings, Strategy, Suffix, UpstreamSettings};
use dotward_core::wire::{Rcode, RecordType};
use dotward_faults::Mode;
use dotward_faults::answers::{REBOUND_A, REBOUND_AAAA};
use tokio::net::UdpSocket;

use crate::admin;
use crate::program;
use crate::reload::bench::{Bench, text, upstream};
use crate::support::{Answer, Chain, Trust, query, receive};

const NO_CHANGE: fn(&mut std::process::Command, &Path) = |_, _| {};

async fn ask(to: SocketAddr, name: &str, qtype: RecordType) -> Answer {
    send(to, &query(1, name, qtype)).await
}

async fn send(to: SocketAddr, message: &[u8]) -> Answer {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket.send(message).await.unwrap();
    receive(&socket).await
}

/// Whether there is an address of a private network in it, as a record or in one.
fn is_rebound(answer: &Answer) -> bool {
    let view = answer.view();
    let (v4, v6) = (REBOUND_A.octets(), REBOUND_AAAA.octets());
    view.records()
        .flatten()
        .any(|it| it.rdata.ends_with(&v4) || it.rdata == v6)
}

/// Whether it says that there is no data, and that somebody does not want it told.
fn is_withheld(answer: &Answer) -> bool {
    let view = answer.view();
    let answers = view.header().answers;
    (answer.rcode(), answers, answer.extended_error()) == (Rcode::NOERROR, 0, Some(15))
}

fn guarded(config: &mut Config) {
    config.private_domains = Some(vec!["allowed.example".parse().unwrap()]);
    config.cache.size = 1 << 20;
    config.cache.max_ttl = 86_400;
    config.cache.negative_ttl = 10_800;
}

#[tokio::test]
async fn private_addresses_of_public_upstreams_reach_nobody() {
    let chain = Chain::with(Mode::default(), |config, _| {
        guarded(config);
        config.admin = Some(([127, 0, 0, 1], 0).into());
    });
    let to = chain.udp();
    let (a, aaaa, https) = (RecordType::A, RecordType::AAAA, RecordType::HTTPS);
    for (name, qtype) in [
        ("rebound.example", a),
        ("rebound.example", aaaa),
        ("rebound.example", https),
        ("rebound.cname-3.example", a),
        ("rebound.cname-3.example", aaaa),
        ("rebound.example", RecordType::SVCB),
    ] {
        for _ in 0..2 {
            let answer = ask(to, name, qtype).await;
            assert!(is_withheld(&answer), "{name} {qtype}");
        }
        let asked = chain.server.times_asked(name, qtype.0);
        assert_eq!(asked, 1, "what is withheld is kept: {name} {qtype}");
    }
    assert!(ask(to, "public.example", a).await.is_good());
    let text = ask(to, "rebound.example", RecordType::TXT).await;
    assert_eq!(text.view().header().answers, 1);
    for qtype in [a, aaaa, https] {
        let allowed = ask(to, "rebound.Allowed.example", qtype).await;
        assert!(is_rebound(&allowed), "{qtype}");
    }
    let (_, page) = admin::get(chain.proxy.admin().unwrap(), "/metrics").await;
    let counted = "dotward_private_answers_total{outcome=\"withheld\"} 6";
    assert!(page.contains(counted), "{page}");
}

#[tokio::test]
async fn without_the_setting_answers_are_told_as_they_are() {
    let chain = Chain::new(Mode::default());
    let qtypes = [RecordType::A, RecordType::AAAA, RecordType::HTTPS];
    for qtype in qtypes {
        assert!(is_rebound(
            &ask(chain.udp(), "rebound.example", qtype).await
        ));
    }
}

#[tokio::test]
async fn the_upstream_of_a_route_is_believed_and_its_fallback_is_not() {
    let other = Trust::new();
    let private = other.server(Mode::default());
    let chain = Chain::with(Mode::default(), |config, _| {
        guarded(config);
        let mut routed: UpstreamSettings = other.upstream(&private);
        routed.name = "office".into();
        routed.tier = None;
        config.upstreams.push(routed);
        config.routes.push(RouteSettings {
            suffixes: vec![Suffix::Domain("corp.example".parse().unwrap())],
            members: vec![1],
            strategy: Strategy::Ordered,
            fallback: true,
        });
    });
    let answer = ask(chain.udp(), "rebound.corp.example", RecordType::A).await;
    assert!(is_rebound(&answer));
    let answer = ask(chain.udp(), "rebound.elsewhere.example", RecordType::A).await;
    assert!(is_withheld(&answer));
    private.set_mode("refused".parse().unwrap());
    let answer = ask(chain.udp(), "rebound.gone.corp.example", RecordType::A).await;
    assert!(is_withheld(&answer), "a stranger answered for the office");
}

/// A file with one upstream and these lines of `[privacy]`.
fn file(server: &dotward_faults::Running, privacy: &str) -> String {
    format!("[privacy]\n{privacy}\n{}", upstream("one", server))
}

#[tokio::test]
async fn a_reload_changes_what_is_told_of_what_was_kept_before() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let bench = Bench::start_with(trust, &file(&server, ""), NO_CHANGE);
    let ask = |name| ask(bench.udp(), name, RecordType::A);
    let times = |name| server.times_asked(name, RecordType::A.0);
    assert!(is_rebound(&ask("rebound.example").await));
    assert!(is_rebound(&ask("rebound.home.example").await));
    assert!(ask("public.example").await.is_good());

    let guard = "block_private = true\nprivate_domain = [\"home.example\"]";
    bench.write(&file(&server, guard));
    let said = bench.reload_well().await;
    assert!(said.contains("1 kept answer forgotten"), "{said}");
    assert!(is_withheld(&ask("rebound.example").await));
    assert!(is_rebound(&ask("rebound.home.example").await));
    assert!(ask("public.example").await.is_good());
    assert_eq!(
        (times("rebound.home.example"), times("public.example")),
        (1, 1)
    );

    let kept = bench
        .run(&["cache", "get", "rebound.example", "--json"])
        .await;
    let kept = text(&kept.stdout);
    assert!(kept.contains("\"kind\": \"withheld\""), "{kept}");

    // Who is allowed, or everybody, is told again at once.
    bench.write(&file(
        &server,
        "block_private = true\nprivate_domain = \"example\"",
    ));
    bench.reload_well().await;
    assert!(is_rebound(&ask("rebound.example").await));
    bench.write(&file(&server, guard));
    bench.reload_well().await;
    assert!(is_withheld(&ask("rebound.example").await));
    bench.write(&file(&server, ""));
    bench.reload_well().await;
    assert!(is_rebound(&ask("rebound.example").await));
    assert_eq!(times("public.example"), 1, "what is good stayed all along");
}

#[tokio::test]
async fn a_snapshot_of_before_brings_no_private_address_back() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let directory = tempfile::tempdir().unwrap();
    let start = |guard: bool| {
        let mut command = program::command();
        command.arg("--cache-snapshot");
        command.arg(directory.path().join("cache"));
        if guard {
            command.args(["--block-private", "true"]);
        }
        program::Program::start_as(command, &server, &trust)
    };
    let program = start(false);
    for name in ["rebound.example", "public.example"] {
        ask(program.udp, name, RecordType::A).await;
    }
    program.signal(rustix::process::Signal::TERM);
    let (status, log) = program.end().await;
    assert_eq!(status.code(), Some(0), "{log}");

    let mut program = start(true);
    let read = program.line_with("cache snapshot read").await;
    let numbers = "\"read.restored\":1,\"read.refused\":1";
    assert!(read.contains(numbers), "{read}");
    assert!(is_withheld(
        &ask(program.udp, "rebound.example", RecordType::A).await
    ));
    let log = program.line_with("private addresses withheld").await;
    assert!(!log.contains("rebound"), "{log}");
    assert_eq!(server.times_asked("public.example", RecordType::A.0), 1);
}

#[tokio::test]
async fn who_only_wants_to_know_what_is_kept_is_told_or_not() {
    let (told, refused) = (None, Some(20));
    for (refuse, expected) in [(false, told), (true, refused)] {
        let chain = Chain::with(Mode::default(), |config, _| {
            guarded(config);
            config.refuse_snooping = refuse;
        });
        assert!(chain.ask("kept.example").await.is_good());
        assert!(chain.ask("kept.example").await.is_good());
        for (name, error) in [("kept.example", expected), ("new.example", refused)] {
            let mut message = query(1, name, RecordType::A);
            message[2] &= !1;
            let answer = send(chain.udp(), &message).await;
            assert_eq!(answer.extended_error(), error, "{name}, {refuse}");
            assert_eq!(answer.is_good(), error.is_none(), "{name}, {refuse}");
        }
        let mut local = query(1, "localhost", RecordType::A);
        local[2] &= !1;
        let answer = send(chain.udp(), &local).await;
        assert_eq!(answer.view().header().answers, 1, "{refuse}");
        assert_eq!(chain.server.counters().queries, 1);
    }
}
