//! The program where it may do least: inside its sandbox and, where the test may make it so, as another user. Everything it does later
//! than its start has to work there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::time::Instant;

use dotward_faults::Mode;
use dotward_faults::mode::Ending;
use rustix::process::geteuid;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::bootstrap::helper;
use crate::program::command;
use crate::split_horizon::{Resolver, is_private};
use crate::support::{BOUND, NAME, Trust, ask_udp, within};

/// A user and group nobody has.
const NOBODY: u32 = 64_999;

/// A program that writes its log to a file.
struct Confined {
    child: Child,
    directory: PathBuf,
}

impl Drop for Confined {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Confined {
    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Waits until the log has a line with this word, and gives back the line.
    fn logged(&self, word: &str) -> String {
        let began = Instant::now();
        loop {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains(word)) {
                return line.to_owned();
            }
            assert!(began.elapsed() < BOUND, "no {word} in {log}");
            std::thread::yield_now();
        }
    }

    fn order(&self, words: &[&str]) -> Output {
        let mut command = command();
        command
            .args(words)
            .arg("--control")
            .arg(self.directory.join("c.sock"));
        command.output().unwrap()
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_log_is_opened_with_the_rights_of_the_user_it_becomes_and_through_no_link_of_that_users() {
    if !geteuid().is_root() {
        return;
    }
    let (own, roots) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    chown(own.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let [new, old] = ["new", "old"].map(|it| roots.path().join(it));
    fs::write(&old, "root's").unwrap();
    for target in [&new, &old] {
        let log = own.path().join("log");
        std::os::unix::fs::symlink(target, &log).unwrap();
        let mut program = command();
        program.args(["--listen", "udp://127.0.0.1:0"]);
        let nobody = NOBODY.to_string();
        program.args(["--user", &nobody, "--group", &nobody]);
        program.arg("--log-file").arg(&log);
        let ended = program.output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("as user 64999: Permission denied"), "{said}");
        fs::remove_file(&log).unwrap();
    }
    assert!(!new.exists());
    assert_eq!(fs::read_to_string(&old).unwrap(), "root's");
}

#[tokio::test]
async fn whatever_it_does_after_its_start_works_as_another_user_inside_the_sandbox() {
    let is_root = geteuid().is_root();
    // Certificates are root's alone; what the program writes is in a directory of its user's.
    let trust = Trust::new();
    mode(trust.directory.path(), 0o700);
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    if is_root {
        chown(directory, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let server = trust.server(Mode::default());
    let (_helper, bootstrap) = helper(&trust, trust.upstream(&server));
    let private = Resolver::start().await;
    let store = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut program = command();
    program
        .arg("--ca-file")
        .arg(trust.directory.path().join("ca.pem"));
    let upstream = format!("tls://{NAME}:{}", server.address().port());
    program.args(["--upstream", &upstream]);
    let bootstrap = format!("tls://listener.example@{}", bootstrap.endpoints[0]);
    program.args(["--bootstrap", &bootstrap]);
    program.args(["--listen", "udp://127.0.0.1:0", "--log-format", "json"]);
    let route = format!("corp.example=udp://{}", private.address);
    program.args(["--route", &route]);
    let store_at = format!("redis://{}", store.local_addr().unwrap());
    program.args(["--shared-cache", &store_at]);
    program.arg("--log-file").arg(directory.join("log"));
    program.arg("--control").arg(directory.join("c.sock"));
    program.arg("--cache-snapshot").arg(directory.join("kept"));
    if is_root {
        let nobody = NOBODY.to_string();
        program.args(["--user", &nobody, "--group", &nobody]);
    }
    let program = Confined {
        child: program.spawn().unwrap(),
        directory: directory.to_owned(),
    };
    let line: Value = serde_json::from_str(&program.logged("\"listening\"")).unwrap();
    let udp = line["address"].as_str().unwrap().parse().unwrap();
    // Its control socket is its own, and says what it has given up.
    let status = program.order(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["sandbox"]["calls"], "enforced");
    assert_ne!(status["sandbox"]["files"], "off");
    let socket = fs::metadata(directory.join("c.sock")).unwrap();
    assert_eq!(
        socket.uid(),
        if is_root { NOBODY } else { geteuid().as_raw() }
    );
    assert_eq!(socket.mode() & 0o777, 0o600);
    // An address is found by asking who is verified with a file that only root reads.
    within(async { while !ask_udp(udp, "www.example").await.is_good() {} }).await;
    // Connections are made again, to upstreams, to the shared cache, and over TCP where a datagram was too small.
    server.close_connections(Ending::Reset);
    assert!(ask_udp(udp, "again.example").await.is_good());
    assert!(is_private(&ask_udp(udp, "big.corp.example").await));
    within(store.accept()).await.unwrap();
    // What is in force is read again, with roots only root reads and into the log that root has opened.
    let reloaded = program.order(&["reload"]);
    let said = String::from_utf8(reloaded.stderr).unwrap();
    assert!(reloaded.status.success(), "{said}");
    assert!(ask_udp(udp, "reloaded.example").await.is_good());
    let log = fs::metadata(program.log()).unwrap();
    assert_eq!((log.uid(), log.mode() & 0o137), (socket.uid(), 0));
    // The log is moved away, as by logrotate.
    fs::rename(program.log(), directory.join("log.1")).unwrap();
    assert!(program.order(&["log-level", "debug"]).status.success());
    program.logged("log level changed");
    // What is written at the end is written by the user that it became.
    assert!(program.order(&["drain"]).status.success());
    let kept = fs::metadata(directory.join("kept")).unwrap();
    assert_eq!(kept.uid(), socket.uid());
    assert!(
        !directory.join("c.sock").exists(),
        "it takes its socket away"
    );
}
