//! Interfaces as listening addresses, in name spaces made for the test: addresses come and go, and so does what answers there. Needs
//! root and `ip`.

use std::io::{BufRead, BufReader, PipeReader};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::process::Child;
use std::time::{Duration, Instant};

use dotward_core::wire::RecordType;

use crate::network::{Cable, enter};
use crate::program::command;
use crate::support::query;

/// How long it may take until an address is served, or is no more.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked; the program answers it by itself.
const NAME: &str = "localhost";

/// The program in the near name space.
struct Program {
    child: Child,
    log: BufReader<PipeReader>,
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Program {
    /// Starts it in this thread's name space.
    fn start(arguments: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = command();
        command.args(["--allow", "any", "--upstream", "quad9", "--workers", "2"]);
        let child = command.args(arguments).stderr(writer).spawn().unwrap();
        drop(command);
        Self {
            child,
            log: BufReader::new(reader),
        }
    }

    /// Reads the log up to a line with these words, which it returns.
    fn wait_for(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "it ended");
            if line.contains(words) {
                return line;
            }
        }
    }

    /// What `/proc` says of the process.
    fn status(&self, key: &str) -> String {
        let file = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(file).unwrap();
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(key)).unwrap();
        value.trim().to_owned()
    }
}

/// Asks over UDP until there is an answer, from the address that was asked.
fn wait_until_answered(to: SocketAddr) {
    let began = Instant::now();
    let any: IpAddr = match to {
        SocketAddr::V4(_) => [0, 0, 0, 0].into(),
        SocketAddr::V6(_) => [0_u16; 8].into(),
    };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    // What comes from elsewhere is not received by a connected socket.
    socket.connect(to).unwrap();
    let mut octets = [0; 512];
    loop {
        assert!(began.elapsed() < PATIENCE, "no answer from {to}");
        // Refused while nobody listens there, and told by the next call.
        if socket.send(&query(7, NAME, RecordType::A)).is_err() {
            std::thread::yield_now();
            continue;
        }
        if socket.recv(&mut octets).is_ok_and(|length| length > 12) {
            return;
        }
    }
}

/// Waits until a TCP listener is there, or until there is none.
fn wait_for_tcp(to: SocketAddr, there: bool) {
    let began = Instant::now();
    let patience = Duration::from_millis(200);
    while TcpStream::connect_timeout(&to, patience).is_ok() != there {
        assert!(began.elapsed() < PATIENCE, "{to} listened on: {}", !there);
        std::thread::yield_now();
    }
}

/// Does `test` in the near name space, where there is one.
#[expect(clippy::print_stderr, reason = "a test that was skipped says so")]
fn in_name_space(purpose: &str, test: impl FnOnce(&Cable) + Send) {
    let cable = match Cable::new(purpose) {
        Ok(cable) => cable,
        Err(reason) => {
            eprintln!("skipped: no network name spaces here: {reason}");
            return;
        }
    };
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            enter(&cable.near);
            test(&cable);
        });
        inside.join().unwrap();
    });
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Asks as `healthcheck` does until all is good.
fn wait_until_healthy(arguments: &[&str]) {
    let began = Instant::now();
    loop {
        let checked = command().arg("healthcheck").args(arguments).output();
        let checked = checked.unwrap();
        if checked.status.success() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{checked:?}");
    }
}

#[test]
fn the_health_check_asks_at_every_address_of_an_interface() {
    in_name_space("hc", |cable| {
        cable.near("addr add fe80::213/64 dev near0 nodad");
        let mut program = Program::start(&["--listen", "near0:5355"]);
        program.wait_for("address=[fe80::213%");
        wait_until_healthy(&["--listen", "near0:5355"]);
        wait_until_healthy(&["--listen", "[fe80::213%near0]:5355"]);
    });
}

#[test]
fn the_addresses_of_an_interface_are_served_as_they_come_and_go() {
    in_name_space("if", |cable| {
        // Root binds port 53, becomes nobody, enters the sandbox, and still binds the addresses that come later.
        let mut program = Program::start(&[
            "--listen",
            "near0,127.0.0.1",
            "--user",
            "65534",
            "--group",
            "65534",
        ]);
        program.wait_for("address=10.213.0.1:53 transport=\"tcp\"");
        wait_until_answered(at("10.213.0.1:53"));
        wait_until_answered(at("127.0.0.1:53"));
        assert_eq!(program.status("CapEff:"), "0000000000000400");
        assert_eq!(program.status("Seccomp:"), "2");

        cable.near("addr add 10.213.7.1/24 dev near0");
        cable.near("addr add fd00:213::1/64 dev near0 nodad");
        for address in ["10.213.7.1:53", "[fd00:213::1]:53"] {
            wait_until_answered(at(address));
            wait_for_tcp(at(address), true);
        }
        // Other interfaces are none of ours.
        cable.near("addr add 127.0.0.7/8 dev lo");

        // Who is connected to an address that stays is not touched by one that goes.
        let stays = TcpStream::connect(at("10.213.0.1:53")).unwrap();
        cable.near("addr del 10.213.7.1/24 dev near0");
        let gone = program.wait_for("no longer listening");
        assert!(gone.contains("10.213.7.1:53"), "{gone}");
        program.wait_for("no longer listening");
        cable.near("addr add 10.213.7.1/24 dev near0");
        program.wait_for("address=10.213.7.1:53 transport=\"tcp\"");
        wait_until_answered(at("10.213.7.1:53"));
        wait_until_answered(at("10.213.0.1:53"));
        wait_for_tcp(at("127.0.0.7:53"), false);
        stays.set_nonblocking(true).unwrap();
        let open = stays.peek(&mut [0]).unwrap_err();
        assert_eq!(open.kind(), std::io::ErrorKind::WouldBlock);
    });
}

#[test]
fn a_takeover_has_the_addresses_that_came_after_root_became_another_user() {
    in_name_space("over", |cable| {
        let arguments = ["--listen", "near0", "--user", "65534", "--group", "65534"];
        let mut first = Program::start(&arguments);
        first.wait_for("address=10.213.0.1:53 transport=\"tcp\"");
        cable.near("addr add 10.213.7.1/24 dev near0");
        first.wait_for("address=10.213.7.1:53 transport=\"tcp\"");
        for _ in 0..2 {
            let mut next = Program::start(&[&arguments[..], &["--takeover"]].concat());
            next.wait_for("ports taken over");
            assert_eq!(first.child.wait().unwrap().code(), Some(0));
            for address in ["10.213.0.1:53", "10.213.7.1:53"] {
                wait_until_answered(at(address));
                wait_for_tcp(at(address), true);
            }
            first = next;
        }
    });
}

#[test]
fn an_interface_may_come_later_where_the_configuration_says_so() {
    in_name_space("late", |cable| {
        let mut refused = Program::start(&["--listen", "late0:5353"]);
        let said = refused.wait_for("cannot listen on interface late0");
        assert!(said.contains("there is none"), "{said}");
        let remedy = refused.wait_for("fix:");
        assert!(remedy.contains("listen.freebind"), "{remedy}");
        assert_eq!(refused.child.wait().unwrap().code(), Some(1));

        let mut program = Program::start(&["--listen", "udp://late0:5353", "--freebind", "true"]);
        program.wait_for("no interface late0 yet");
        for _ in 0..2 {
            cable.near("link add late0 type veth peer name late1");
            cable.near("addr add 10.216.0.1/24 dev late0");
            program.wait_for("address=10.216.0.1:5353");
            wait_until_answered(at("10.216.0.1:5353"));
            cable.near("link del late0");
            program.wait_for("no longer listening");
        }
    });
}

#[test]
fn one_address_of_one_interface_can_be_meant() {
    in_name_space("one", |cable| {
        cable.near("addr add fe80::53/64 dev near0 nodad");
        let mut program = Program::start(&["--listen", "[fe80::53%near0]:5353"]);
        let listening = program.wait_for("transport=\"tcp\"");
        assert!(listening.contains("[fe80::53%"), "{listening}");
        let (_, scope) = listening.split_once('%').unwrap();
        let (scope, _) = scope.split_once(']').unwrap();
        let (ip, scope) = ("fe80::53".parse().unwrap(), scope.parse().unwrap());
        wait_until_answered(SocketAddrV6::new(ip, 5353, 0, scope).into());
        wait_for_tcp(at("10.213.0.1:5353"), false);
    });
}
