//! `query` and `demo`, as functions.

use dotward::cli::QueryArgs;
use dotward::commands::demo::Demo;
use dotward::commands::query::write_query;
use dotward::config::{Config, Protocol, RouteSettings, Strategy, Suffix, UpstreamSettings};
use dotward_core::wire::RecordType;
use dotward_faults::mode::TlsVersions;
use dotward_faults::{CertificateKind, Mode};

use crate::program;
use crate::support::{Chain, NAME, Trust, ask_udp, config, within};

async fn query(config: Config, name: &str, qtype: RecordType, json: bool) -> (bool, String) {
    let args = QueryArgs {
        name: name.parse().unwrap(),
        qtype,
        via: None,
        json,
    };
    // The command has a runtime of its own.
    tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        let answered = write_query(&mut out, &config, &args).unwrap();
        (answered, String::from_utf8(out).unwrap())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn query_shows_the_answer_and_what_the_connection_did() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let config = config(vec![trust.upstream(&server)]);
    let (answered, text) = query(config, "www.example", RecordType::A, false).await;
    assert!(answered);
    let address = dotward_faults::answers::expected_a("www.example");
    let pin = server.identity(CertificateKind::Good).unwrap();
    let pin = dotward::tls::certificate::pin_text(&pin.spki_sha256());
    for part in [
        "status: NOERROR",
        &format!("www.example.\t300\tIN\tA\t{address}"),
        &server.address().to_string(),
        "TLS 1.3, X25519MLKEM768, TLS_",
        "ALPN dot, full handshake",
        "dotward-faults root",
        NAME,
        "days left",
        &pin,
        "TCP ",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[tokio::test]
async fn query_as_json_has_the_same_facts_under_stable_keys() {
    let trust = Trust::new();
    let server = trust.server(Mode {
        versions: TlsVersions::Only12,
        ..Mode::default()
    });
    let config = config(vec![trust.upstream(&server)]);
    let (answered, text) = query(config, "ede-22.example", RecordType::AAAA, true).await;
    assert!(answered);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["question"]["name"], "ede-22.example.");
    assert_eq!(json["response"]["extended_errors"][0]["code"], 22);
    assert_eq!(json["connection"]["tls_version"], "TLS 1.2");
    assert_eq!(json["connection"]["resumed"], false);
    assert_eq!(json["connection"]["certificate"]["names"][0], NAME);
    assert!(json["connection"]["tcp_ms"].is_f64());
    assert!(json["failures"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn query_tells_what_failed_and_asks_the_next_upstream() {
    let trust = Trust::new();
    let wrong = trust.server(Mode {
        certificate: CertificateKind::WrongName,
        ..Mode::default()
    });
    let good = trust.server(Mode::default());
    let both = config(vec![trust.upstream(&wrong), trust.upstream(&good)]);
    let (answered, text) = query(both, "www.example", RecordType::A, false).await;
    assert!(answered);
    assert!(text.contains("wrong.invalid"), "{text}");
    let alone = config(vec![trust.upstream(&wrong)]);
    let (answered, text) = query(alone, "www.example", RecordType::A, false).await;
    assert!(!answered);
    assert!(text.contains("no upstream answered"), "{text}");
}

#[tokio::test]
async fn query_follows_a_route_that_is_not_encrypted_and_goes_nowhere_else() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let mut config = config(vec![trust.upstream(&server)]);
    config.upstreams.push(UpstreamSettings {
        protocol: Protocol::Udp,
        tier: None,
        ..UpstreamSettings::new("office".into(), vec!["127.0.0.1:9".parse().unwrap()], 9)
    });
    config.routes.push(RouteSettings {
        suffixes: vec![Suffix::Domain("corp.example".parse().unwrap())],
        members: vec![1],
        strategy: Strategy::Fastest,
        fallback: false,
    });
    let (answered, text) = query(config, "db.corp.example", RecordType::A, false).await;
    assert!(!answered);
    let why = "upstream office at 127.0.0.1:9: no answer by UDP: Connection refused";
    assert!(text.contains(why), "{text}");
    assert_eq!(server.counters().connections_accepted, 0);
}

#[tokio::test]
async fn query_goes_through_a_running_proxy() {
    let chain = Chain::new(Mode::default());
    let ask = |words: Vec<String>| async {
        let mut command = program::command();
        command.arg("query").args(words);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = within(output).await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };
    let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect();
    let (udp, tcp) = (
        format!("udp://{}", chain.udp()),
        format!("tcp://{}", chain.tcp()),
    );
    let (code, text) = ask(words(&["www.example", "--via", &udp])).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(";; status: NOERROR"), "{text}");
    assert!(text.contains(";; connection:  none: UDP, not encrypted"));
    assert!(text.contains(&format!(";; upstream:    {udp} at {}", chain.udp())));
    let (code, text) = ask(words(&["size-3000.example", "--via", &udp])).await;
    assert_eq!(code, Some(1), "this one listens elsewhere over TCP");
    assert!(text.contains("no TCP connection"), "{text}");
    let (code, text) = ask(words(&["size-3000.example", "--json", "--via", &tcp])).await;
    assert_eq!(code, Some(0), "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let connection = &json["connection"];
    assert_eq!(connection["protocol"], "tcp");
    assert!(connection["tls_ms"].is_null() && connection["tcp_ms"].is_number());
    assert_eq!(json["response"]["status"], "NOERROR");
    for (spec, said) in [
        ("127.0.0.1:53", "udp://127.0.0.1"),
        ("udp://localhost", "is not an IP address"),
        ("udp://127.0.0.1?pin=x", "proves nothing"),
    ] {
        let (code, text) = ask(words(&["c.example", "--via", spec])).await;
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(said), "{spec}: {text}");
    }
}

#[tokio::test]
async fn query_asks_nobody_about_a_name_that_stays_here_unless_it_is_told_whom() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let config = config(vec![trust.upstream(&server)]);
    let (answered, text) = query(config.clone(), "printer.local", RecordType::A, false).await;
    assert!(!answered);
    assert!(
        text.contains("stays here") && text.contains("--via"),
        "{text}"
    );
    let (_, json) = query(config, "printer.local", RecordType::A, true).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["error"]["kind"], "stays_here");
    assert_eq!(server.counters().connections_accepted, 0);
}

/// What is in a file that calls its one upstream `name`.
fn file_with(name: &str, trust: &Trust, server: &dotward_faults::Running) -> String {
    let path = trust.directory.path().join("dotward.toml");
    let (address, ca) = (server.address(), trust.directory.path().join("ca.pem"));
    let text = format!(
        "[[upstream]]\nname = \"{name}\"\naddress = [\"{address}\"]\ntls_name = \"{NAME}\"\nca_file = {ca:?}\n"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = program::command();
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = within(output).await.unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(told).unwrap())
}

#[tokio::test]
async fn upstreams_of_the_configuration_are_named_by_their_names_whatever_a_provider_is_called() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    for name in ["office", "quad9"] {
        let file = file_with(name, &trust, &server);
        for command in [
            ["query", "www.example", "--via", name, "-c", &file],
            ["upstream", "test", name, "--name=example", "-c", &file],
            ["upstream", "pin", name, "--name=example", "-c", &file],
        ] {
            let (code, told) = run(&command).await;
            assert_eq!(code, Some(0), "{told}");
            assert!(told.contains(NAME), "{told}");
        }
    }
    let file = file_with("office", &trust, &server);
    for command in [
        ["query", "www.example", "--via", "bureau", "-c", &file],
        ["query", "www.example", "--via", "", "-c", &file],
        [
            "upstream",
            "test",
            "udp://192.0.2.1",
            "--name=.",
            "-c",
            &file,
        ],
    ] {
        let (code, told) = run(&command).await;
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains("the configuration has office"), "{told}");
        assert!(!told.contains("Usage"), "{told}");
    }
}

#[tokio::test]
async fn a_wrong_pin_is_told_in_words_with_what_to_do() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let mut upstream = trust.upstream(&server);
    upstream.pins.push([7; 32]);
    let (answered, text) = query(config(vec![upstream]), "www.example", RecordType::A, false).await;
    assert!(!answered);
    for part in ["is none of the pinned ones", "dotward upstream pin"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(!text.contains("PinMismatch"), "{text}");
}

#[tokio::test]
async fn the_demonstration_goes_through_the_whole_chain_and_goes_on_serving() {
    let (demo, text) = tokio::task::spawn_blocking(|| {
        let demo = Demo::start(None).unwrap();
        let mut out = Vec::new();
        demo.show(&mut out).unwrap();
        (demo, String::from_utf8(out).unwrap())
    })
    .await
    .unwrap();
    for part in [
        "answered    192.0.2.53",
        "TLS 1.3, X25519MLKEM768",
        "resolver.dotward.example",
        &format!("dig @127.0.0.1 -p {}", demo.address().port()),
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let answer = ask_udp(demo.address(), "hello.dotward.example").await;
    assert_eq!(answer.view().header().answers, 1);
    tokio::task::spawn_blocking(|| demo.stop())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn two_demonstrations_find_ports_of_their_own() {
    let demos = tokio::task::spawn_blocking(|| [Demo::start(None), Demo::start(None)])
        .await
        .unwrap();
    let [first, second] = demos.map(Result::unwrap);
    assert_ne!(first.address(), second.address());
}
