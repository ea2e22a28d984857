//! The words of modes, the control lines, and the program itself.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use dotward_faults::control::{Reply, execute};
use dotward_faults::script::WORDS;
use dotward_faults::{Mode, control};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

use crate::client::{Client, server};

/// A parameter that fits, for each form in the table.
fn example(parameter: &str) -> &str {
    let form = parameter.trim_matches(['[', ']']).trim_start_matches('=');
    let first = form.split(['|', '[']).next().unwrap_or_default();
    match first {
        "N" | "SECONDS" => "1",
        "K" => "1/1",
        "N/N/..." => "1/2",
        "DURATION" => "10ms",
        word => word,
    }
}

#[test]
fn every_word_is_parsed_with_its_own_form_and_refused_with_another() {
    for word in WORDS {
        let example = example(word.parameter);
        let text = match example {
            "" => word.word.to_owned(),
            example => format!("{}={example}", word.word),
        };
        assert!(text.parse::<Mode>().is_ok(), "{text}");
        let wrong = format!("{}=\u{1f980}", word.word).parse::<Mode>();
        assert!(
            wrong.is_err_and(|error| error.to_string().contains(word.word)),
            "{text}"
        );
        let bare = word.word.parse::<Mode>().is_ok();
        assert_eq!(bare, !word.parameter.starts_with('='), "{text}");
    }
}

#[test]
fn words_combine_and_normal_forgets_the_words_before_it() {
    let mode: Mode = "delay=800ms, serial,wrong-name=first".parse().unwrap();
    assert_eq!(mode.delay.as_millis(), 800);
    assert_eq!(mode.in_flight_max, Some(1));
    assert!(mode.lie.is_some_and(|lie| lie.then_right));
    assert_eq!("mute,normal".parse(), Ok(Mode::default()));
    assert_eq!("".parse(), Ok(Mode::default()));
    assert_eq!(
        "nonsense".parse::<Mode>().unwrap_err().to_string(),
        "no mode is called \"nonsense\""
    );
}

#[test]
fn the_readme_lists_every_word() {
    let readme = include_str!("../../README.md");
    for word in WORDS {
        let parameter = word.parameter.replace('|', "\\|");
        let row = format!(
            "| `{}{parameter}` | {} |",
            word.word,
            word.meaning.replace('|', "\\|")
        );
        assert!(readme.contains(&row), "missing: {row}");
    }
}

#[tokio::test]
async fn control_lines_switch_the_server_and_tell_what_it_saw() {
    let running = server("normal");
    let mut client = Client::connect(&running).await.unwrap();
    client.works(1, "a.test").await;
    let rows = [
        ("mode servfail", "ok\n"),
        ("mode-fresh mute", "ok\n"),
        ("mode-live servfail", "ok\n"),
        ("release", "ok\n"),
        ("asked a.test 1", "ok 1\n"),
        ("mode loud", "error no mode is called \"loud\"\n"),
        ("mode delay", "error write delay=DURATION, not delay\n"),
        ("mode mute=1", "error write mute alone, not mute=1\n"),
        ("close slowly", "error write close notify|fin|reset\n"),
        ("dance", "error no command is called \"dance\"\n"),
    ];
    for (line, reply) in rows {
        assert_eq!(execute(&running, line).await.line(), reply, "{line}");
    }
    assert_eq!(running.mode(), "mute".parse().unwrap());
    for line in [
        "counters",
        "wait queries 1",
        "wait connections 1 5s",
        "wait handshakes 1",
    ] {
        let reply = execute(&running, line).await.line();
        assert!(
            reply.starts_with("ok {\"connections_accepted\":1,"),
            "{line}: {reply}"
        );
    }
    assert!(matches!(
        execute(&running, "wait closed 10ms").await,
        Reply::Failed(_)
    ));
    assert_eq!(execute(&running, "close").await.line(), "ok\n");
    assert!(matches!(
        execute(&running, "wait closed").await,
        Reply::Done(_)
    ));
    assert_eq!(execute(&running, "stop").await, Reply::Stop);
}

#[tokio::test]
async fn a_unix_socket_takes_control_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    // A socket left behind by another server is in nobody's way.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let running = server("normal");
    let talk = async {
        let stream = loop {
            if let Ok(stream) = tokio::net::UnixStream::connect(&path).await {
                break stream;
            }
            tokio::task::yield_now().await;
        };
        let (reader, mut writer) = stream.into_split();
        writer.write_all(b"mode mute\nstop\n").await.unwrap();
        let mut lines = tokio::io::BufReader::new(reader).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ok"));
    };
    let (served, ()) = tokio::join!(control::serve_socket(&running, &path), talk);
    served.unwrap();
    assert_eq!(running.mode(), "mute".parse().unwrap());
}

#[test]
fn the_program_serves_and_obeys_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let mut program = Command::new(env!("CARGO_BIN_EXE_dotward-faults"))
        .args([
            "--mode",
            "serial",
            "--mode",
            "delay=10ms",
            "--name",
            "dot.test",
            "--ca-out",
        ])
        .arg(&ca)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    let address = line().strip_prefix("listening on ").unwrap().to_owned();
    assert!(
        std::fs::read_to_string(&ca)
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE")
    );
    std::net::TcpStream::connect(address).unwrap();
    let mut stdin = program.stdin.take().unwrap();
    stdin
        .write_all(b"wait connections 1\nmode mute\nstop\n")
        .unwrap();
    assert!(line().starts_with("ok {\"connections_accepted\":1,"));
    assert_eq!(
        (line(), line()),
        ("ok".to_owned(), "ok stopping".to_owned())
    );
    assert!(program.wait().unwrap().success());
}

#[test]
fn the_program_refuses_a_mode_it_does_not_know() {
    let output = Command::new(env!("CARGO_BIN_EXE_dotward-faults"))
        .args(["--mode", "loud"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        error,
        "dotward-faults: --mode: no mode is called \"loud\"; --help lists the modes\n"
    );
}
