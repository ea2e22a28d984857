//! The control socket of the program, and the commands that use it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use dotward_core::wire::RecordType;
use dotward_faults::Mode;
use dotward_faults::mode::Choice;
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::UdpSocket;

use crate::program::{self, Program};
use crate::support::{BOUND, Chain, NAME, Trust, ask_udp, query, receive, within};

/// A program with a control socket.
struct Controlled {
    program: Program,
    socket: PathBuf,
    server: dotward_faults::Running,
    trust: Trust,
}

impl Controlled {
    fn start() -> Self {
        let trust = Trust::new();
        let server = trust.server(Mode::default());
        let socket = trust.directory.path().join("control.sock");
        let mut command = program::command();
        command.arg("--control").arg(&socket);
        Self {
            program: Program::start_as(command, &server, &trust),
            socket,
            server,
            trust,
        }
    }

    /// Runs a command against it, as a process.
    async fn command(&self, words: &[&str]) -> Output {
        let mut command = program::command();
        command.args(words).env("DOTWARD_CONTROL", &self.socket);
        within(tokio::task::spawn_blocking(move || {
            command.output().unwrap()
        }))
        .await
        .unwrap()
    }
}

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

/// Sends octets as they are and reads what comes until the end.
pub(crate) async fn raw(socket: &Path, octets: &[u8]) -> String {
    let (socket, octets) = (socket.to_owned(), octets.to_owned());
    within(tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        // A server that has heard enough does not listen to the rest.
        drop(stream.write_all(&octets));
        let mut line = String::new();
        drop(BufReader::new(stream).read_line(&mut line));
        line
    }))
    .await
    .unwrap()
}

#[tokio::test]
async fn status_is_one_screen_and_its_exit_code_says_whether_all_is_well() {
    let controlled = Controlled::start();
    let name = "www.example";
    assert!(ask_udp(controlled.program.udp, name).await.is_good());
    let good = controlled.command(&["status"]).await;
    let shown = text(&good.stdout);
    assert_eq!(good.status.code(), Some(0), "{shown}");
    for part in ["state      good", "udp://127.0.0.1:", "dot.example  up"] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    assert!(shown.lines().count() <= 24, "more than a screen:\n{shown}");

    drop(controlled.server);
    // Questions find out that it is gone; each is a new one, because answers are kept.
    let mut bad = Value::Null;
    let gone = async {
        for number in 0.. {
            if bad["upstreams"][0]["state"] == "down" {
                return;
            }
            ask_udp(controlled.program.udp, &format!("n{number}.example")).await;
            let mut command = program::command();
            command
                .args(["status", "--json", "--control"])
                .arg(&controlled.socket);
            let output = command.output().unwrap();
            bad = serde_json::from_slice(&output.stdout).unwrap();
            let degraded = !bad["degraded"].as_array().unwrap().is_empty();
            assert_eq!(output.status.code(), Some(i32::from(degraded)));
        }
    };
    within(gone).await;
    assert_eq!(
        bad["upstreams"][0]["reason"],
        "nobody listens at the address"
    );
    assert_eq!(bad["pid"], controlled.program.child.id());
}

#[tokio::test]
async fn one_address_that_does_not_answer_is_seen_though_its_upstream_is_well() {
    let trust = Trust::new();
    let server = |choice| {
        trust.server(Mode {
            choice,
            ..Mode::default()
        })
    };
    let (mute, good) = (server(Choice::Mute), server(Choice::All));
    let (mute, good) = (mute.address(), good.address());
    let socket = trust.directory.path().join("control.sock");
    let mut command = program::command();
    command
        .args(["--listen", "udp://127.0.0.1:0,tcp://127.0.0.1:0"])
        .args(["--upstream", &format!("tls://{NAME}@{mute},{good}")])
        .arg("--ca-file")
        .arg(trust.directory.path().join("ca.pem"))
        .arg("--control")
        .arg(&socket);
    let mut program = Program::start_alone(command);
    assert!(ask_udp(program.udp, "www.example").await.is_good());
    let status = |form: &'static [&str]| {
        let mut command = program::command();
        command.arg("status").args(form);
        command.arg("--control").arg(&socket).output().unwrap()
    };

    let json = status(&["--json"]);
    assert_eq!(json.status.code(), Some(0), "its upstream is well");
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let upstream = &json["upstreams"][0];
    assert_eq!(upstream["state"], "up", "{json}");
    let told = |place: usize| {
        let it = &upstream["addresses"][place];
        (
            it["address"].as_str().unwrap(),
            it["state"].as_str().unwrap(),
        )
    };
    assert_eq!(told(0), (mute.to_string().as_str(), "set aside"));
    assert_eq!(told(1), (good.to_string().as_str(), "up"));
    let first = &upstream["addresses"][0];
    assert_eq!(first["reason"], "it does not answer");
    let next_try = first["next_try_seconds"].as_f64().unwrap();
    assert!(next_try > 5.0 && next_try <= 10.0, "{first}");

    let shown = text(&status(&[]).stdout);
    let line = |part: &str| {
        let found = shown.lines().find(|line| line.contains(part));
        found.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let bad = line(&mute.to_string()).unwrap();
    assert!(bad.contains("set aside"), "{shown}");
    assert!(bad.ends_with("it does not answer"), "{shown}");
    assert!(line(&good.to_string()).unwrap().contains(" up "), "{shown}");

    program.signal(Signal::USR1);
    let logged = program.line_with("state of an upstream").await;
    assert!(logged.contains("set aside"), "{logged}");
}

#[tokio::test]
async fn what_goes_wrong_is_json_where_json_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("plain"), "").unwrap();
    drop(std::os::unix::net::UnixListener::bind(path("gone")).unwrap());
    let cases = [
        ("missing", "there is no control socket"),
        ("plain", "is no socket"),
        ("gone", "nobody answers"),
    ];
    for words in [&["status"][..], &["cache", "stats"], &["reload"]] {
        for (file, expected) in cases {
            let mut command = program::command();
            command.args(words).arg("--json").arg("--control");
            let output = command.arg(path(file)).output().unwrap();
            assert_eq!(output.status.code(), Some(1));
            let json: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(json["error"]["kind"], "nobody-there");
            let message = json["error"]["message"].as_str().unwrap();
            assert!(message.contains(expected), "{message}");
        }
    }
}

#[test]
fn a_file_that_is_named_and_not_there_is_told_by_its_name() {
    for (words, expected) in [
        (
            &["status", "-c", "missing.toml"][..],
            "missing.toml: no such file",
        ),
        (
            &["check", "missing.toml"],
            "cannot read `FILE` missing.toml",
        ),
        (&["check", ""], "nothing is there"),
    ] {
        let output = program::command().args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let told = text(&[output.stdout, output.stderr].concat());
        assert!(told.contains(expected), "{told}");
        assert_eq!(told.matches("error:").count(), 1, "{told}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_blamed_on_nobody_else() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let path = |name: &str| trust.directory.path().join(name);
    std::fs::write(path("run.toml"), "[log]\nlevel = \"info\"\n").unwrap();
    let mut command = program::command();
    command.arg("-c").arg(path("run.toml"));
    command.arg("--control").arg(path("control.sock"));
    let controlled = Controlled {
        program: Program::start_as(command, &server, &trust),
        socket: path("control.sock"),
        server,
        trust,
    };
    std::fs::rename(
        controlled.trust.directory.path().join("run.toml"),
        controlled.trust.directory.path().join("away.toml"),
    )
    .unwrap();
    let refused = controlled.command(&["reload"]).await;
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains("no such file"), "{told}");
    assert!(!told.contains("sandbox"), "{told}");
}

#[tokio::test]
async fn names_and_clients_are_in_the_log_at_debug_and_not_above() {
    let mut controlled = Controlled::start();
    let udp = controlled.program.udp;
    assert!(ask_udp(udp, "at-info.example").await.is_good());
    controlled.command(&["log-level", "debug"]).await;
    assert!(ask_udp(udp, "at-debug.example").await.is_good());
    let line = controlled.program.line_with("to the upstreams").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["transport"], "udp");
    let question = line["question"].as_str().unwrap();
    assert!(question.starts_with("at-debug.example"), "{question}");
}

#[tokio::test]
async fn the_log_level_changes_while_it_runs() {
    let controlled = Controlled::start();
    let changed = controlled.command(&["log-level", "debug"]).await;
    assert_eq!(text(&changed.stdout), "log level debug, was info\n");
    assert!(
        ask_udp(controlled.program.udp, "www.example")
            .await
            .is_good()
    );
    let changed = controlled.command(&["log-level", "off"]).await;
    assert_eq!(text(&changed.stdout), "log level off, was debug\n");
    let wrong = controlled.command(&["log-level", "loud"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    controlled.command(&["drain"]).await;
    let (status, log) = controlled.program.end().await;
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("connection ready"), "{log}");
    assert!(!log.contains("asked to end"), "{log}");
}

#[tokio::test]
async fn drain_answers_what_is_in_flight_and_ends_with_the_program() {
    let controlled = Controlled::start();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(controlled.program.udp).await.unwrap();
    let message = query(1, "delay-700.example", RecordType::A);
    client.send(&message).await.unwrap();
    within(controlled.server.wait_for_queries(1)).await.unwrap();
    let drained = controlled.command(&["drain"]).await;
    assert_eq!(drained.status.code(), Some(0));
    let told = text(&drained.stdout);
    assert!(told.starts_with("ended after "), "{told}");
    assert!(receive(&client).await.is_good());
    assert!(!controlled.socket.exists());
    let (status, _) = controlled.program.end().await;
    assert_eq!(status.code(), Some(0));

    let again = program::command()
        .args(["status", "--control"])
        .arg(&controlled.socket)
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("there is no control socket"));
}

#[tokio::test]
async fn what_is_no_request_is_refused_within_bounds() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("c.sock");
    let at = socket.clone();
    let _chain = Chain::with(Mode::default(), |config, _| config.control = Some(at));
    assert!(raw(&socket, b"statos\n").await.contains("not-a-request"));
    assert!(
        raw(&socket, b"GET / HTTP/1.1\r\n")
            .await
            .contains("not-a-request")
    );
    assert!(raw(&socket, b"\xff\xfe\n").await.contains("not-a-line"));
    let endless = vec![b'x'; 1024 * 1024];
    assert!(!raw(&socket, &endless).await.contains("ok"));
    let began = Instant::now();
    assert!(raw(&socket, b"stat").await.contains("not-a-line"));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(raw(&socket, b"status\r\n").await.contains("\"ok\""));
}

#[tokio::test]
async fn silent_connections_keep_nobody_out_for_long() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("c.sock");
    let at = socket.clone();
    let _chain = Chain::with(Mode::default(), |config, _| config.control = Some(at));
    let silent: Vec<_> = (0..64)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    let mut refused = String::new();
    let mut last = silent.last().unwrap();
    last.set_read_timeout(Some(BOUND)).unwrap();
    last.read_to_string(&mut refused).unwrap();
    assert!(refused.contains("too-many"), "{refused}");
    let reached = async { while !raw(&socket, b"status\n").await.contains("\"ok\"") {} };
    within(reached).await;
}

#[tokio::test]
async fn it_is_reachable_while_many_questions_wait() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("c.sock");
    let at = socket.clone();
    let chain = Chain::with(Mode::default(), |config, _| config.control = Some(at));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(chain.udp()).await.unwrap();
    for number in 0..1000_u16 {
        let message = query(number, &format!("mute-{number}.example"), RecordType::A);
        client.send(&message).await.unwrap();
    }
    let busy = async {
        loop {
            let line = raw(&socket, b"status\n").await;
            let response: Value = serde_json::from_str(&line).unwrap();
            if response["ok"]["clients_waiting"].as_u64().unwrap() > 0 {
                return response;
            }
        }
    };
    let response = within(busy).await;
    assert!(response["ok"]["questions_in_flight"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn the_cache_is_looked_into_and_flushed_while_it_runs() {
    let controlled = Controlled::start();
    let udp = controlled.program.udp;
    for name in ["www.a.example", "a.example", "b.example"] {
        assert!(ask_udp(udp, name).await.is_good());
        assert!(ask_udp(udp, name).await.is_good());
    }
    let stats = controlled.command(&["cache", "stats"]).await;
    let shown = text(&stats.stdout);
    assert!(shown.contains("hits         3 (50.0 %)"), "{shown}");
    assert!(shown.contains("answers      3 in"), "{shown}");

    let found = controlled.command(&["cache", "get", "WWW.a.example"]).await;
    let shown = text(&found.stdout);
    let address = dotward_faults::answers::expected_a("www.a.example");
    assert_eq!(found.status.code(), Some(0), "{shown}");
    assert!(
        shown.starts_with("www.a.example. A  NOERROR data, "),
        "{shown}"
    );
    assert!(shown.contains(&format!(" IN A {address}")), "{shown}");
    let other_type = controlled
        .command(&["cache", "get", "a.example", "AAAA"])
        .await;
    assert_eq!(other_type.status.code(), Some(1));
    assert_eq!(
        text(&other_type.stdout),
        "nothing of type AAAA is kept of a.example.\n"
    );

    let flushed = controlled.command(&["cache", "flush", "a.example"]).await;
    assert_eq!(text(&flushed.stdout), "2 answers forgotten\n");
    assert!(ask_udp(udp, "a.example").await.is_good());
    assert!(ask_udp(udp, "b.example").await.is_good());
    let asked = |name| controlled.server.times_asked(name, RecordType::A.0);
    assert_eq!((asked("a.example"), asked("b.example")), (2, 1));
    let all = controlled.command(&["cache", "flush", "--json"]).await;
    let all: Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!(all["flushed"], 2);
}
