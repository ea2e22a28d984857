//! A program that reads its configuration from a file which changes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::program::{Program, command};
use crate::support::{Answer, NAME, Trust, ask_udp, within};

/// A program that reads a file, with a control socket and what it asks.
pub(crate) struct Bench {
    pub(crate) trust: Trust,
    pub(crate) program: Program,
}

/// The table of an upstream in the file.
pub(crate) fn upstream(name: &str, server: &dotward_faults::Running) -> String {
    let address = server.address();
    format!(
        "[[upstream]]\nname = \"{name}\"\naddress = [\"{address}\"]\ntls_name = \"{NAME}\"\nca_file = \"ca.pem\"\n"
    )
}

/// A record that shows which configuration is in force.
pub(crate) fn local(last: u8) -> String {
    format!("[[local]]\nname = \"which.example\"\na = [\"192.0.2.{last}\"]\n")
}

impl Bench {
    pub(crate) fn start_with(
        trust: Trust,
        file: &str,
        change: impl FnOnce(&mut Command, &Path),
    ) -> Self {
        let directory = trust.directory.path().to_owned();
        fs::write(directory.join("dotward.toml"), file).unwrap();
        let mut command = command();
        command
            .args(["--listen", "udp://127.0.0.1:0,tcp://127.0.0.1:0"])
            .arg("--config")
            .arg(directory.join("dotward.toml"))
            .arg("--control")
            .arg(directory.join("control.sock"));
        change(&mut command, &directory);
        Self {
            program: Program::start_alone(command),
            trust,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.trust.directory.path().join(name)
    }

    pub(crate) fn udp(&self) -> SocketAddr {
        self.program.udp
    }

    /// Puts another file in the place of the one there is, as an editor does.
    pub(crate) fn write(&self, content: &str) {
        let new = self.path("dotward.toml.new");
        fs::write(&new, content).unwrap();
        fs::rename(new, self.path("dotward.toml")).unwrap();
    }

    /// Runs a command against the program.
    pub(crate) async fn run(&self, words: &[&str]) -> Output {
        let mut command = command();
        command.args(words);
        command.env("DOTWARD_CONTROL", self.path("control.sock"));
        within(tokio::task::spawn_blocking(move || {
            command.output().unwrap()
        }))
        .await
        .unwrap()
    }

    pub(crate) async fn reload(&self) -> Output {
        self.run(&["reload"]).await
    }

    /// Reloads what has no fault, and gives back what is said about it.
    pub(crate) async fn reload_well(&self) -> String {
        let done = self.reload().await;
        let said = text(&done.stdout) + &text(&done.stderr);
        assert_eq!(done.status.code(), Some(0), "{said}");
        said
    }

    pub(crate) async fn status(&self) -> Value {
        let status = self.run(&["status", "--json"]).await;
        serde_json::from_slice(&status.stdout).unwrap()
    }

    /// Which configuration is in force, by its record.
    pub(crate) async fn which(&self) -> u8 {
        last_octet(&ask_udp(self.udp(), "which.example").await)
    }

    pub(crate) fn descriptors(&self) -> usize {
        let pid = self.program.child.id();
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
    }

    /// Memory in RAM, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let pid = self.program.child.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.unwrap().trim().trim_end_matches(" kB");
        number.parse().unwrap()
    }
}

pub(crate) fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

pub(crate) fn last_octet(answer: &Answer) -> u8 {
    let view = answer.view();
    let record = view.records().flatten().next().unwrap();
    *record.rdata.last().unwrap()
}
