//! `top` on a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dotward_faults::Mode;
use rustix::fs::{Mode as FileMode, OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::program;
use crate::support::{BOUND, Chain};

/// The program on a terminal, and what it has written.
struct Terminal {
    controller: File,
    child: Child,
    seen: String,
}

impl Terminal {
    fn new(mut command: Command) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let open = || rustix::fs::open(name.as_c_str(), flags, FileMode::empty()).unwrap();
        let (input, output): (OwnedFd, OwnedFd) = (open(), open());
        let size = Winsize {
            ws_row: 24,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&output, size).unwrap();
        command
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output));
        let child = command.spawn().unwrap();
        // Only the program is to hold the other end.
        drop(command);
        fcntl_setfl(&controller, OFlags::NONBLOCK).unwrap();
        Self {
            controller: controller.into(),
            child,
            seen: String::new(),
        }
    }

    /// Reads until `wanted` was seen from `from` on.
    fn wait_for(&mut self, wanted: &str) {
        let from = self.seen.len();
        let until = Instant::now() + BOUND;
        let mut octets = [0; 4096];
        while !self.seen[from..].contains(wanted) {
            assert!(Instant::now() < until, "no {wanted:?} in {:?}", self.seen);
            match self.controller.read(&mut octets) {
                Ok(read) => self
                    .seen
                    .push_str(&String::from_utf8_lossy(&octets[..read])),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.controller)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    }

    fn ends_with_0(&mut self) {
        self.wait_for("\x1b[?1049l");
        let ended = self.child.wait().unwrap();
        assert_eq!(ended.code(), Some(0));
        assert!(self.echoes(), "the terminal is not as it was");
    }
}

fn top(socket: &std::path::Path) -> Command {
    let mut command = program::command();
    command
        .args(["top", "--every", "100ms", "--control"])
        .arg(socket);
    command
}

#[tokio::test]
async fn top_shows_what_happens_until_q_and_gives_the_terminal_back() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("c.sock");
    let at = socket.clone();
    let chain = Chain::with(Mode::default(), |config, _| config.control = Some(at));
    assert!(chain.ask("www.example").await.is_good());
    let watching = tokio::task::spawn_blocking(move || {
        let mut terminal = Terminal::new(top(&socket));
        terminal.wait_for("q ends this");
        assert!(!terminal.echoes());
        terminal.wait_for("good");
        terminal.wait_for("from upstreams");
        terminal.wait_for("test-");
        terminal.controller.write_all(b"x").unwrap();
        terminal.wait_for("queries");
        terminal.controller.write_all(b"q").unwrap();
        terminal.ends_with_0();
        // Asked to end from outside it gives the terminal back too.
        let mut terminal = Terminal::new(top(&socket));
        terminal.wait_for("queries");
        kill_process(Pid::from_child(&terminal.child), Signal::TERM).unwrap();
        terminal.ends_with_0();
        // Ctrl-C is a key here.
        let mut terminal = Terminal::new(top(&socket));
        terminal.wait_for("queries");
        terminal.controller.write_all(b"\x03").unwrap();
        terminal.ends_with_0();
    });
    watching.await.unwrap();
    chain.proxy.stop().unwrap();
}

#[test]
fn top_is_for_a_terminal_and_for_a_program_that_runs() {
    let none = program::command().arg("top").output().unwrap();
    assert_eq!(none.status.code(), Some(1));
    let told = String::from_utf8(none.stderr).unwrap();
    assert!(told.contains("dotward status"), "{told}");
    let directory = tempfile::tempdir().unwrap();
    let mut command = top(&directory.path().join("nobody.sock"));
    command.stderr(Stdio::piped());
    let mut terminal = Terminal::new(command);
    let mut told = String::new();
    terminal
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert_eq!(terminal.child.wait().unwrap().code(), Some(1));
    assert!(told.contains("there is no control socket"), "{told}");
}
