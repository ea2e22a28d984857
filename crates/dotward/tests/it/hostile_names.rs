//! Names that would move a cursor, begin a line, or end a string: what every output of the program makes of them.

use dotward_core::wire::{Rcode, RecordType};
use dotward_faults::Mode;
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::UdpSocket;

use crate::admin;
use crate::program::{Program, command};
use crate::support::{Trust, query, receive};

/// Line ends, escape sequences of terminals, the ends of strings in JSON and in shells, NUL, DEL, what is no UTF-8, and in Latin-1 an
/// escape sequence.
const HOSTILE: [&str; 4] = [
    r"a\010b\013c.example",
    r"\027[2J\027]0\;t\007.example",
    r#"q\"u'o`\000\127.example"#,
    r"\255\155\200.example",
];

/// Nothing in it does anything but be shown, and it is no more lines than there should be.
fn assert_harmless(octets: &[u8], what: &str) {
    let text = std::str::from_utf8(octets).unwrap_or_else(|error| panic!("{what}: {error}"));
    let acts = |it: char| it.is_control() && it != '\n' && it != '\t';
    assert!(!text.contains(acts), "{what}: {text:?}");
}

#[tokio::test]
async fn hostile_names_are_shown_and_do_nothing_in_any_output() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let directory = trust.directory.path();
    let socket = directory.join("c.sock");
    let mut program = command();
    // A port that is free now.
    let admin = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    program.args(["--log-level", "trace", "--admin", &admin.to_string()]);
    program.arg("--control").arg(&socket);
    let program = Program::start_as(program, &server, &trust);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(program.udp).await.unwrap();
    for (id, name) in (1..).zip(HOSTILE) {
        client.send(&query(id, name, RecordType::A)).await.unwrap();
        assert_eq!(receive(&client).await.rcode(), Rcode::NOERROR);
        let run = |words: &[&str]| {
            let mut command = command();
            command.args(words).arg("--control").arg(&socket);
            let output = command.output().unwrap();
            assert_harmless(&output.stdout, name);
            assert_harmless(&output.stderr, name);
            assert!(output.status.success(), "{words:?}");
            output.stdout
        };
        let shown = String::from_utf8(run(&["cache", "get", name])).unwrap();
        assert!(shown.contains(name), "{shown}");
        let kept: Value = serde_json::from_slice(&run(&["cache", "get", name, "--json"])).unwrap();
        assert_eq!(kept["answers"][0]["name"], format!("{name}."));
        run(&["explain", name]);
        run(&["status"]);
        run(&["cache", "flush", name]);
    }
    let (_, page) = admin::get(admin, "/metrics").await;
    assert_harmless(page.as_bytes(), "metrics");
    assert!(HOSTILE.iter().all(|name| !page.contains(name)), "{page}");
    let began = program.began.clone();
    program.signal(Signal::TERM);
    let (_, log) = program.end().await;
    for line in began.lines().chain(log.lines()) {
        assert_harmless(line.as_bytes(), "log");
        let line: Result<Value, _> = serde_json::from_str(line);
        assert!(line.is_ok(), "{line:?}");
    }
}
