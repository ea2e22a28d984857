//! The snapshot file: a restart that forgets nothing.

use std::path::{Path, PathBuf};

use dotward_core::wire::RecordType;
use dotward_faults::Mode;
use tokio::net::UdpSocket;

use crate::program::{self, Program};
use crate::support::{Trust, ask_udp, query, receive, within};

fn start(
    server: &dotward_faults::Running,
    trust: &Trust,
    snapshot: &Path,
    control: &Path,
) -> Program {
    let mut command = program::command();
    command.arg("--cache-snapshot").arg(snapshot);
    command.arg("--control").arg(control);
    Program::start_as(command, server, trust)
}

#[tokio::test]
async fn a_takeover_reads_what_the_process_before_wrote_at_its_end() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let directory = tempfile::tempdir().unwrap();
    let [snapshot, control]: [PathBuf; 2] = ["cache", "c.sock"].map(|it| directory.path().join(it));
    let first = start(&server, &trust, &snapshot, &control);
    for number in 0..10 {
        let name = format!("n{number}.example");
        assert!(ask_udp(first.udp, &name).await.is_good());
    }
    // What is in flight has it end, and write, when the other one serves.
    let slow = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    slow.connect(first.udp).await.unwrap();
    let message = query(1, "delay-1500.example", RecordType::A);
    slow.send(&message).await.unwrap();
    within(server.wait_for_queries(11)).await.unwrap();

    let mut command = program::command();
    command.arg("--takeover").arg("--listen");
    command.arg(format!("udp://{},tcp://{}", first.udp, first.tcp));
    command.arg("--cache-snapshot").arg(&snapshot);
    command.arg("--control").arg(&control);
    let mut second = Program::start_as(command, &server, &trust);
    second.line_with("no cache snapshot yet").await;
    assert!(!snapshot.exists());
    assert!(receive(&slow).await.is_good());
    let (status, log) = first.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let read = second.line_with("cache snapshot read").await;
    assert!(read.contains("\"read.restored\":11"), "{read}");
    wait_for_entries(&control, 11);
    assert!(ask_udp(second.udp, "n3.example").await.is_good());
    assert_eq!(server.times_asked("n3.example", RecordType::A.0), 1);
}

/// Waits until the program has read its snapshot and says it has `entries` answers.
fn wait_for_entries(control: &Path, entries: u64) {
    let began = std::time::Instant::now();
    loop {
        let mut command = program::command();
        command
            .args(["cache", "stats", "--json", "--control"])
            .arg(control);
        let output = command.output().unwrap();
        let stats: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        if stats["memory"]["entries"] == entries {
            return;
        }
        assert!(began.elapsed() < crate::support::BOUND, "{stats}");
    }
}

fn drain(control: &Path) {
    let mut command = program::command();
    let output = command
        .args(["drain", "--control"])
        .arg(control)
        .output()
        .unwrap();
    assert!(output.status.success());
}

#[tokio::test]
async fn after_a_restart_what_was_kept_is_answered_without_an_upstream() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let directory = tempfile::tempdir().unwrap();
    let [snapshot, control]: [PathBuf; 2] = ["cache", "c.sock"].map(|it| directory.path().join(it));
    let program = start(&server, &trust, &snapshot, &control);
    for number in 0..10 {
        let name = format!("n{number}.example");
        assert!(ask_udp(program.udp, &name).await.is_good());
    }
    drain(&control);
    let (status, log) = program.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("no cache snapshot yet"), "{log}");

    let program = start(&server, &trust, &snapshot, &control);
    wait_for_entries(&control, 10);
    assert!(ask_udp(program.udp, "n3.example").await.is_good());
    assert_eq!(server.times_asked("n3.example", RecordType::A.0), 1);
    drain(&control);
    drop(program);

    // A damaged one is told of and ignored, and a good one takes its place.
    let mut octets = std::fs::read(&snapshot).unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 0x10;
    std::fs::write(&snapshot, octets).unwrap();
    let program = start(&server, &trust, &snapshot, &control);
    assert!(ask_udp(program.udp, "n3.example").await.is_good());
    assert_eq!(server.times_asked("n3.example", RecordType::A.0), 2);
    drain(&control);
    let (_, log) = program.end().await;
    assert_eq!(log.matches("cache snapshot ignored").count(), 1, "{log}");
    assert!(log.contains("it is damaged"), "{log}");
    let program = start(&server, &trust, &snapshot, &control);
    wait_for_entries(&control, 1);
    drop(program);
}

#[tokio::test]
async fn a_place_where_nothing_can_be_written_is_told_at_the_start_and_by_check() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let nowhere = trust.directory.path().join("missing/cache");
    let control = trust.directory.path().join("control.sock");
    let mut program = start(&server, &trust, &nowhere, &control);
    program.line_with("cache snapshots cannot be written").await;
    program.signal(rustix::process::Signal::TERM);
    let (status, log) = program.end().await;
    assert!(status.success());
    assert!(log.contains("what was kept is lost"), "{log}");

    let mut check = program::command();
    check.arg("check").arg("--cache-snapshot").arg(&nowhere);
    let output = check.arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["good"], false);
    let problem = told["faults"][0]["problem"].as_str().unwrap();
    assert!(problem.starts_with("no directory "), "{problem}");
}
