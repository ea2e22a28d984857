//! `upstream test`, `rank` and `pin`, and `doctor`'s look at upstreams, against servers that behave and others.

use std::process::Output;
use std::time::Duration;

use dotward_faults::mode::Closing;
use dotward_faults::{CertificateKind, Mode};
use serde_json::Value;

use crate::program;
use crate::support::{NAME, Trust, within};

/// Runs the program with `words` and these servers as upstreams, in the order of their ports' appearance.
async fn run(words: &[&str], trust: &Trust, servers: &[&dotward_faults::Running]) -> Output {
    let mut command = program::command();
    command.args(words).arg("--ca-file");
    command.arg(trust.directory.path().join("ca.pem"));
    for server in servers {
        let spec = format!("tls://{NAME}@{}", server.address());
        command.args(["--upstream", &spec]);
    }
    within(tokio::task::spawn_blocking(move || {
        command.output().unwrap()
    }))
    .await
    .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_test_tells_what_works_and_why_the_rest_does_not() {
    let trust = Trust::new();
    let good = trust.server(Mode::default());
    let wrong = trust.server(Mode {
        certificate: CertificateKind::WrongName,
        ..Mode::default()
    });
    let alone = run(&["upstream", "test"], &trust, &[&good]).await;
    assert_eq!(alone.status.code(), Some(0), "{}", text(&alone));
    let shown = text(&alone);
    for part in [
        "works  dot.example",
        "NOERROR",
        "TCP ",
        "TLS 1.3, X25519MLKEM768",
        "days left",
    ] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    // Nobody looks at a bar in a pipe.
    assert!(alone.stderr.is_empty(), "{alone:?}");

    let both = run(&["upstream", "test", "--json"], &trust, &[&good, &wrong]).await;
    assert_eq!(both.status.code(), Some(1));
    let both = json(&both);
    let [first, second] = both["upstreams"].as_array().unwrap().as_slice() else {
        panic!("{both}")
    };
    assert_eq!(first["works"], true);
    assert_eq!(first["endpoints"][0]["status"], "NOERROR");
    assert_eq!(
        first["endpoints"][0]["connection"]["tls_version"],
        "TLS 1.3"
    );
    assert_eq!(second["works"], false);
    let why = second["endpoints"][0]["error"].as_str().unwrap();
    assert!(why.contains("wrong.invalid"), "{why}");
}

#[tokio::test]
async fn upstreams_that_are_given_replace_the_configured_ones() {
    let trust = Trust::new();
    let (configured, given) = (trust.server(Mode::default()), trust.server(Mode::default()));
    let spec = format!("tls://{NAME}@{}", given.address());
    let output = run(&["upstream", "test", &spec], &trust, &[&configured]).await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(configured.counters().connections_accepted, 0);
    assert_eq!(given.counters().connections_accepted, 1);
    let wrong = run(&["upstream", "test", "udp://127.0.0.1"], &trust, &[]).await;
    assert_eq!(wrong.status.code(), Some(2));
}

#[tokio::test]
async fn a_rank_is_by_the_median_of_answers_on_one_connection() {
    let trust = Trust::new();
    let quick = trust.server(Mode::default());
    let slow = trust.server(Mode {
        delay: Duration::from_millis(60),
        ..Mode::default()
    });
    let words = ["upstream", "rank", "-n", "5", "--json"];
    let ranked = json(&run(&words, &trust, &[&slow, &quick]).await);
    let [first, second] = ranked["upstreams"].as_array().unwrap().as_slice() else {
        panic!("{ranked}")
    };
    for (one, server) in [(first, &quick), (second, &slow)] {
        assert_eq!(one["endpoint"], server.address().to_string(), "{ranked}");
        assert_eq!(one["answered"], 5, "{ranked}");
        assert!(
            one["p95_ms"].as_f64() >= one["median_ms"].as_f64(),
            "{ranked}"
        );
        assert_eq!(server.counters().connections_accepted, 1);
    }
    assert!(second["median_ms"].as_f64().unwrap() >= 60.0, "{ranked}");
    let shown = text(&run(&["upstream", "rank", "-n", "3"], &trust, &[&quick]).await);
    let heading: Vec<_> = shown.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading[..3], ["upstream", "median", "p95"], "{shown}");
    assert!(shown.contains("0 of 3"), "{shown}");
}

#[tokio::test]
async fn a_rank_leaves_those_alone_that_do_not_answer() {
    let trust = Trust::new();
    let good = trust.server(Mode::default());
    let gone = trust.server(Mode::default());
    let address = gone.address();
    drop(gone);
    let dead = format!("tls://{NAME}@{address}");
    let live = format!("tls://{NAME}@{}", good.address());
    let words = ["upstream", "rank", &dead, &live, "-n", "4", "--json"];
    let output = run(&words, &trust, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let ranked = json(&output);
    assert_eq!(ranked["upstreams"][0]["answered"], 4, "{ranked}");
    assert_eq!(ranked["upstreams"][1]["median_ms"], Value::Null);
    assert!(
        ranked["upstreams"][1]["error"]
            .as_str()
            .unwrap()
            .contains("no TCP connection")
    );

    // One that closes after each answer is connected to again, and its answers count.
    let closing = trust.server(Mode {
        closing: Closing::EachReply,
        ..Mode::default()
    });
    let ranked = json(
        &run(
            &["upstream", "rank", "-n", "4", "--json"],
            &trust,
            &[&closing],
        )
        .await,
    );
    let one = &ranked["upstreams"][0];
    assert!(one["answered"].as_u64().unwrap() >= 2, "{ranked}");
}

#[tokio::test]
async fn a_pin_is_printed_as_the_file_takes_it_and_only_of_who_was_verified() {
    let trust = Trust::new();
    let good = trust.server(Mode::default());
    let wrong = trust.server(Mode {
        certificate: CertificateKind::WrongName,
        ..Mode::default()
    });
    let output = run(&["upstream", "pin"], &trust, &[&good, &wrong]).await;
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output);
    let pin = good.identity(CertificateKind::Good).unwrap().spki_sha256();
    let line = format!(
        "pin = [\"sha256/{}\"]",
        dotward::tls::certificate::pin_text(&pin)
    );
    assert_eq!(
        shown
            .lines()
            .filter(|it| it.starts_with("pin"))
            .collect::<Vec<_>>(),
        [line.as_str()]
    );
    assert!(shown.contains("# dot.example-2: no pin"), "{shown}");
    // What is printed can be used.
    let pin = line.split('"').nth(1).unwrap();
    let spec = format!("tls://{NAME}@{}?pin={pin}", good.address());
    let pinned = run(&["upstream", "test", &spec], &trust, &[]).await;
    assert_eq!(pinned.status.code(), Some(0), "{}", text(&pinned));
}

#[tokio::test]
async fn the_doctor_names_the_upstream_that_fails_and_says_what_it_means() {
    let trust = Trust::new();
    let good = trust.server(Mode::default());
    let wrong = trust.server(Mode {
        certificate: CertificateKind::WrongName,
        ..Mode::default()
    });
    let words = ["doctor", "--json", "--listen", "127.0.0.1:0"];
    let output = run(&words, &trust, &[&good, &wrong]).await;
    assert_eq!(output.status.code(), Some(1));
    let found = json(&output);
    let findings = found["findings"].as_array().unwrap();
    let of = |topic: &str| {
        let found = findings.iter().find(|it| it["topic"] == topic);
        found.unwrap_or_else(|| panic!("no {topic} in {findings:#?}"))
    };
    assert_eq!(of("configuration")["level"], "good");
    assert_eq!(of("clock")["level"], "good");
    assert_eq!(of("roots of upstreams")["level"], "good");
    assert_eq!(of("upstream dot.example")["level"], "good");
    let failing = of("upstream dot.example-2");
    assert_eq!(failing["level"], "wrong");
    assert!(
        failing["meaning"]
            .as_str()
            .unwrap()
            .contains("no question is sent there")
    );
    for finding in findings {
        let wrong = finding["level"] == "wrong";
        assert!(
            !wrong || !finding["meaning"].is_null() || !finding["remedy"].is_null(),
            "{finding}"
        );
    }
}

#[tokio::test]
async fn the_doctor_names_who_holds_a_listening_address() {
    let trust = Trust::new();
    let good = trust.server(Mode::default());
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let listen = format!("udp://{address}");
    let output = run(&["doctor", "--listen", &listen], &trust, &[&good]).await;
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output);
    let held = format!("(pid {}) on {address}", std::process::id());
    assert!(shown.contains(&held), "{shown}");
    assert!(shown.contains("dotward cannot listen there"), "{shown}");
}
