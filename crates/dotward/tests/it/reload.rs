//! Another configuration while the program serves.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use dotward_core::wire::RecordType;
use dotward_faults::Mode;
use rustix::process::{Signal, geteuid};
use tokio::net::UdpSocket;

use crate::program::{Program, command};
use crate::support::{TcpClient, Trust, ask_udp, query, within};

pub(crate) mod bench;
mod certificates;
mod files;
mod load;

use bench::{Bench, last_octet, local, text, upstream};

/// A process that ends with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn a_file_that_is_watched_is_applied_when_it_changes_also_inside_the_sandbox() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let base = upstream("one", &server);
    let watching = |command: &mut Command, _: &Path| {
        command.args(["--watch", "true"]);
    };
    let bench = Bench::start_with(trust, &(base.clone() + &local(1)), watching);
    assert_eq!(bench.which().await, 1);
    bench.write(&(base + &local(2)));
    // A look is due every 10 s, and a second one shortly after it.
    let seen = async { while bench.which().await != 2 {} };
    tokio::time::timeout(std::time::Duration::from_secs(30), seen)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_signal_or_a_command_applies_a_changed_file_and_closes_nothing() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let base = upstream("one", &server);
    let mut bench = Bench::start_with(trust, &(base.clone() + &local(1)), |_, _| {});
    let mut stream = TcpClient::connect(bench.program.tcp).await;
    assert!(ask_udp(bench.udp(), "www.example").await.is_good());
    assert_eq!(bench.which().await, 1);

    bench.write(&(base.clone() + &local(2)));
    assert_eq!(bench.reload_well().await, "the configuration is in force\n");
    assert_eq!(bench.which().await, 2, "in force when the command returns");

    bench.write(&(base + &local(3)));
    bench.program.signal(Signal::HUP);
    let line = bench.program.line_with("\"by\":\"HUP\"").await;
    assert!(
        line.contains("configuration read again and applied"),
        "{line}"
    );
    assert_eq!(bench.which().await, 3);
    let which = query(7, "which.example", RecordType::A);
    stream
        .send(&[which, query(8, "n1.example", RecordType::A)])
        .await;
    assert_eq!(last_octet(&stream.receive().await.unwrap()), 3);
    assert!(stream.receive().await.unwrap().is_good());
    let counters = server.counters();
    assert_eq!(counters.connections_accepted, 1, "nothing was dialed anew");
    let status = bench.status().await;
    assert_eq!(status["configuration"]["reloads_applied"], 2);
    assert_eq!(status["degraded"], serde_json::json!([]));
}

#[tokio::test]
async fn a_source_address_that_the_sandbox_refuses_is_told_with_that_remedy_alone() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let base = upstream("one", &server);
    fs::write(trust.directory.path().join("dotward.toml"), &base).unwrap();
    // Who listens at a port of the system's choice may take one for a source address too.
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let listen = format!("udp://127.0.0.1:0,tcp://{}", tcp.unwrap());
    let mut program = command();
    program.args(["--listen", &listen]).arg("--config");
    program.arg(trust.directory.path().join("dotward.toml"));
    program.arg("--control");
    program.arg(trust.directory.path().join("control.sock"));
    let program = Program::start_alone(program);
    let bench = Bench { trust, program };
    if bench.status().await["sandbox"]["files"] != "enforced" {
        // It can be done.
        return;
    }
    bench.write(&(base + "source = \"127.0.0.9\"\n"));
    let refused = bench.reload().await;
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("outside the sandbox"), "{said}");
    assert!(!said.contains("CAP_NET_RAW"), "{said}");
}

#[tokio::test]
async fn a_file_that_nobody_named_and_that_is_gone_is_a_fault_and_not_the_defaults() {
    if !geteuid().is_root() {
        // A directory of its own for the settings of the system takes a name space.
        return;
    }
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let config = upstream("one", &server) + &local(1);
    let elsewhere = trust.directory.path().join("dotward.toml");
    let control = trust.directory.path().join("control.sock");
    let roots = trust.directory.path().join("ca.pem");
    let roots = format!("{}", roots.display());
    fs::write(&elsewhere, config.replace("ca.pem", &roots)).unwrap();
    let mut private = Command::new("unshare");
    private.args(["--mount", "sh", "-ec"]);
    private
        .arg("mount -t tmpfs tmpfs /etc; mkdir /etc/dotward; cp \"$0\" /etc/dotward; exec \"$@\"");
    private.arg(&elsewhere).arg(command().get_program());
    private.args(["--listen", "udp://127.0.0.1:0,tcp://127.0.0.1:0"]);
    private.arg("--control").arg(&control);
    let program = Program::start_alone(private);
    let mut bench = Bench { trust, program };
    let file = format!(
        "/proc/{}/root/etc/dotward/dotward.toml",
        bench.program.child.id()
    );
    let (file, away) = (Path::new(&file), format!("{file}.away"));
    assert_eq!(bench.which().await, 1);

    fs::rename(file, &away).unwrap();
    let refused = bench.reload().await;
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("/etc/dotward/dotward.toml is gone"), "{said}");
    bench.program.signal(Signal::HUP);
    bench.program.line_with("stays in force").await;
    assert_eq!(bench.which().await, 1, "and nothing has changed");

    fs::rename(&away, file).unwrap();
    bench.reload_well().await;
    assert_eq!(bench.which().await, 1);
}

#[tokio::test]
async fn a_file_that_is_empty_for_a_moment_changes_nothing() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let good = upstream("one", &server) + &local(1);
    let mut bench = Bench::start_with(trust, &good, |_, _| {});
    bench.write("");
    let refused = bench.reload().await;
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("dotward.toml is empty"), "{said}");
    bench.program.signal(Signal::HUP);
    bench.program.line_with("stays in force").await;
    assert_eq!(bench.which().await, 1, "what was before is in force");
    bench.write(&(upstream("one", &server) + &local(2)));
    bench.reload_well().await;
    assert_eq!(bench.which().await, 2);
    bench.write("");
    assert_eq!(bench.reload().await.status.code(), Some(2), "again");
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_every_fault_is_told_with_its_place() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let good = upstream("one", &server) + &local(1);
    let mut bench = Bench::start_with(trust, &good, |_, _| {});
    let missing = good.replace("ca.pem", "none.pem");
    let bad: [(&str, String, &[&str]); 5] = [
        ("syntax", good.clone() + "[cache\n", &["dotward.toml:9:"]),
        (
            "unknown keys",
            good.replace("tls_name", "tls_hostname") + "[cache]\nsise = \"1MiB\"\n",
            &["dotward.toml:4:1", "tls_name", "dotward.toml:10:1", "size"],
        ),
        ("a missing file", missing, &["none.pem", "no such file"]),
        (
            "a file that holds something else",
            good.replace("ca.pem", "dotward.toml"),
            &["dotward.toml", "certificate"],
        ),
        (
            "a bad value",
            good.clone() + "[log]\nlevel = \"loud\"\n",
            &["dotward.toml:10:", "loud"],
        ),
    ];
    for (what, content, parts) in &bad {
        bench.write(content);
        let refused = bench.reload().await;
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{what}: {said}");
        for part in *parts {
            assert!(said.contains(part), "{what}: no {part:?} in {said}");
        }
        bench.program.line_with(parts[0]).await;
        let line = bench.program.line_with("stays in force").await;
        assert!(line.contains("\"level\":\"ERROR\""), "{line}");
        assert_eq!(bench.which().await, 1, "{what}");
        assert!(ask_udp(bench.udp(), "www.example").await.is_good());
    }
    fs::remove_file(bench.path("dotward.toml")).unwrap();
    let refused = bench.reload().await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("no such file"));
    let status = bench.run(&["status"]).await;
    assert_eq!(status.status.code(), Some(1));
    assert!(text(&status.stdout).contains("was refused"));
    assert_eq!(bench.status().await["configuration"]["reloads_refused"], 6);

    bench.write(&(upstream("one", &server) + &local(2)));
    bench.reload_well().await;
    assert_eq!(bench.which().await, 2);
    assert_eq!(bench.run(&["status"]).await.status.code(), Some(0));
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_is_applied() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let base = upstream("one", &server);
    let mut bench = Bench::start_with(trust, &base, |_, _| {});
    bench.write(
        &(base.clone()
            + &local(9)
            + "[cache]\nsize = \"8MiB\"\n[listen]\nadmin = \"127.0.0.1:0\"\n[runtime]\nworkers = 2\n"),
    );
    let said = bench.reload_well().await;
    let named = "needs a restart: cache.size, listen.admin, runtime.workers\n";
    assert!(said.starts_with(named), "{said}");
    let line = bench.program.line_with("need a restart").await;
    assert!(
        line.contains("cache.size, listen.admin, runtime.workers"),
        "{line}"
    );
    assert_eq!(bench.which().await, 9);
    let status = bench.status().await;
    let awaiting = &status["configuration"]["awaiting_restart"];
    assert_eq!(awaiting.as_array().unwrap().len(), 3);
    bench.write(&base);
    assert_eq!(
        bench.reload_well().await,
        "the configuration is in force\n",
        "taken back"
    );
}

#[tokio::test]
async fn a_log_file_that_was_moved_away_is_let_go_and_level_and_form_follow() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let base = upstream("one", &server);
    // The flags of the test bench say where and how lines are written, and what a flag says no file changes.
    let directory = trust.directory.path().to_owned();
    let log = "[log]\nfile = \"lines\"\nformat = \"text\"\n";
    fs::write(directory.join("dotward.toml"), base.clone() + log).unwrap();
    let mut command = command();
    let free = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = free.local_addr().unwrap();
    drop(free);
    command
        .args(["--listen", &format!("udp://{udp}")])
        .arg("--config")
        .arg(directory.join("dotward.toml"))
        .arg("--control")
        .arg(directory.join("control.sock"));
    // Killed with it when the test is over.
    let mut child = Ended(command.spawn().unwrap());
    let lines = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
    let until = async |name: &str, text: &str| {
        within(async {
            while !lines(name).contains(text) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    until("lines", "control socket").await;
    fs::rename(directory.join("lines"), directory.join("lines.1")).unwrap();
    fs::write(
        directory.join("dotward.toml"),
        base + &log.replace("text", "json"),
    )
    .unwrap();
    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, Signal::HUP).unwrap();
    until("lines", "read again and applied").await;
    let written = lines("lines");
    let applied = written.lines().find(|it| it.contains("and applied"));
    assert!(applied.unwrap().starts_with('{'), "{written}");
    let open = fs::read_dir(format!("/proc/{}/fd", child.0.id())).unwrap();
    let open = open.filter_map(|it| fs::read_link(it.unwrap().path()).ok());
    let moved = directory.canonicalize().unwrap().join("lines.1");
    assert!(!open.into_iter().any(|it| it == moved), "still open");
    child.0.kill().unwrap();
}

#[tokio::test]
async fn the_sandbox_keeps_out_what_it_did_not_know_of_and_says_so() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let elsewhere = Trust::new();
    let other = elsewhere.server(Mode::default());
    let base = upstream("one", &server);
    let ca = elsewhere.directory.path().join("ca.pem");
    let with_other = base.clone()
        + &upstream("other", &other).replace("\"ca.pem\"", &format!("\"{}\"", ca.display()));
    let bench = Bench::start_with(trust, &base, |_, _| {});
    let inside = bench.program.began.contains("\"files\":\"enforced\"");
    bench.write(&with_other);
    let done = bench.reload().await;
    let said = text(&done.stderr);
    if inside {
        assert_eq!(done.status.code(), Some(1), "{said}");
        for part in ["sandbox", "ca.pem", "--no-sandbox"] {
            assert!(said.contains(part), "{said}");
        }
        // What can be read may still be out of reach.
        fs::copy(&ca, bench.path("other.pem")).unwrap();
        bench.write(&(base + &upstream("other", &other).replace("ca.pem", "other.pem")));
        let done = bench.reload().await;
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{said}");
        let port = format!("connecting to port {} over TCP", other.address().port());
        assert!(said.contains(&port), "{said}");
    }
    assert!(ask_udp(bench.udp(), "www.example").await.is_good());

    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let bench = Bench::start_with(trust, &upstream("one", &server), |command, _| {
        command.arg("--no-sandbox");
    });
    bench.write(&with_other.replace(&upstream("one", &server), ""));
    let last = upstream("other", &other).replace("\"ca.pem\"", &format!("\"{}\"", ca.display()));
    bench.write(&last);
    bench.reload_well().await;
    assert!(ask_udp(bench.udp(), "www.example").await.is_good());
    assert!(other.counters().queries > 0);
}

#[tokio::test]
async fn the_service_manager_is_told_of_every_reload_and_when_it_is_over() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let socket = UnixDatagram::bind(trust.directory.path().join("notify")).unwrap();
    socket
        .set_read_timeout(Some(crate::support::BOUND))
        .unwrap();
    let told = || {
        let mut octets = [0; 4096];
        let length = socket.recv(&mut octets).unwrap();
        text(&octets[..length])
    };
    let base = upstream("one", &server);
    let bench = Bench::start_with(trust, &base, |command, directory| {
        command.env("NOTIFY_SOCKET", directory.join("notify"));
    });
    assert!(told().contains("READY=1"));
    for content in [base.clone() + &local(1), base + "nonsense\n"] {
        bench.write(&content);
        bench.program.signal(Signal::HUP);
        let began = told();
        assert!(began.contains("RELOADING=1"), "{began}");
        let moment = began
            .lines()
            .find_map(|it| it.strip_prefix("MONOTONIC_USEC="));
        assert!(moment.unwrap().parse::<u64>().unwrap() > 0);
        assert!(told().contains("READY=1"));
    }
    bench.program.signal(Signal::TERM);
    assert!(told().contains("STOPPING=1"));
    assert_eq!(bench.program.end().await.0.code(), Some(0));
}
