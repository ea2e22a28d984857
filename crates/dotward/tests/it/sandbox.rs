//! What the process gives up fails inside, and what it needs works.
//!
//! There is no way out of a sandbox, so each test that enters one is a process of its own: this test program, started again for that
//! test alone.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::Command;

use dotward::config::ListenTransport;
use dotward::run::{Prepared, Proxy};
use dotward::sandbox::{self, Enforced, Inside, Needs};
use dotward_core::wire::RecordType;
use dotward_faults::mode::Ending;
use dotward_faults::{Mode, TestCa};
use rustix::process::{Pid, Resource};
use socket2::{Domain, Socket, Type};

use crate::program::{Program, command};
use crate::support::{PACE, TcpClient, Trust, ask_udp, config, query, within};

/// Runs an ignored test of this file in a process of its own.
fn in_its_own_process(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("sandbox::{test}")])
        .args(["--ignored", "--nocapture", "--test-threads", "1"])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

fn denied<T>(result: std::io::Result<T>) -> bool {
    match result {
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }
}

/// Where the kernel has less there is less to test.
fn is_enforced(status: sandbox::Status) -> bool {
    status.files != Enforced::Not && status.calls == Enforced::Fully
}

#[test]
fn what_is_not_needed_fails() {
    in_its_own_process("inside_only_what_is_needed_works");
}

#[test]
#[ignore = "enters the sandbox; run by what_is_not_needed_fails"]
fn inside_only_what_is_needed_works() {
    let directory = tempfile::tempdir().unwrap();
    let logs = tempfile::tempdir().unwrap();
    let certificate = directory.path().join("ca.pem");
    fs::write(&certificate, "x").unwrap();
    let [upstream, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let address = |listener: &TcpListener| listener.local_addr().unwrap();
    let needs = Needs {
        read: [directory.path().to_owned()].into(),
        write: [logs.path().to_owned()].into(),
        connect: [address(&upstream).port()].into(),
        ..Needs::default()
    };
    let parent = rustix::process::getppid().unwrap();
    let place = format!("dotward-test-{}", std::process::id());
    let place = SocketAddr::from_abstract_name(place).unwrap();
    let _others = UnixListener::bind_addr(&place).unwrap();
    assert!(UnixStream::connect_addr(&place).is_ok());
    let enforced = sandbox::enter(&needs);
    if !is_enforced(enforced) {
        return;
    }
    let try_all = move || {
        assert!(File::open(&certificate).is_ok());
        assert!(denied(File::create(certificate.with_extension("new"))));
        assert!(denied(File::open("/etc/passwd")));
        assert!(denied(fs::read_dir("/")));
        assert!(File::create(logs.path().join("log")).is_ok());
        assert!(TcpStream::connect(address(&upstream)).is_ok());
        assert!(denied(TcpStream::connect(address(&other))));
        assert!(denied(TcpListener::bind("127.0.0.1:0")));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(udp.send_to(b"x", "127.0.0.1:9").is_ok());
        assert!(denied(Command::new("/bin/true").status()));
        assert!(denied(Socket::new(Domain::PACKET, Type::DGRAM, None)));
        assert!(denied(Socket::new(Domain::IPV4, Type::RAW, None)));
        sees_and_signals_nobody_else(parent);
        if enforced.files == Enforced::Fully {
            assert!(denied(UnixStream::connect_addr(&place)));
        }
    };
    // Threads can be made, and are inside.
    let thread = std::thread::Builder::new().spawn(try_all).unwrap();
    thread.join().unwrap();
}

/// No process is looked into, and no signal reaches another, nor by way of the kernel.
fn sees_and_signals_nobody_else(other: Pid) {
    let status = fs::read_to_string("/proc/thread-self/status");
    assert!(denied(status), "what is not in the list is not read");
    let limit = rustix::process::getrlimit(Resource::Cpu);
    let limited = rustix::process::prlimit(None, Resource::Cpu, limit);
    assert!(limited.is_ok(), "{limited:?}");
    let limited = rustix::process::prlimit(Some(other), Resource::Cpu, limit);
    assert!(denied(limited.map_err(Into::into)));
    let killed = rustix::process::test_kill_process(other);
    assert!(denied(killed.map_err(Into::into)));
}

#[test]
fn a_file_in_the_root_does_not_open_the_file_system() {
    in_its_own_process("inside_a_file_in_the_root_is_alone");
}

#[test]
#[ignore = "enters the sandbox; run by a_file_in_the_root_does_not_open_the_file_system"]
fn inside_a_file_in_the_root_is_alone() {
    let trust = Trust::new();
    let own = trust.directory.path().canonicalize().unwrap().join("own");
    fs::write(&own, "x").unwrap();
    std::env::set_current_dir("/").unwrap();
    let mut config = config(Vec::new());
    config.control = Some("/dotward.sock".into());
    config.log.file = Some("dotward.log".into());
    let mut needs = Needs::of(&config);
    for file in ["/dotward.toml", "./dotward.toml", "//dotward.toml"] {
        needs.read_file(file.as_ref());
    }
    let written = ["/dotward.sock", "/dotward.log"].map(Into::into);
    assert_eq!(needs.write, written.into());
    assert_eq!(needs.alone.len(), 3, "{:?}", needs.alone);
    // What is not there yet is no reason to refuse the same configuration later.
    assert_eq!(Inside::new(needs.clone()).lacks(&config), [""; 0]);
    // A file that is there, as a file in the root would be.
    needs.write.insert(own.clone());
    if !is_enforced(sandbox::enter(&needs)) {
        return;
    }
    fs::write(&own, "y").unwrap();
    assert_eq!(fs::read(&own).unwrap(), b"y");
    assert!(denied(File::open(own.with_file_name("ca.pem"))));
    assert!(denied(File::create("/dotward.toml")));
    assert!(denied(File::open("/etc/passwd")));
    assert!(denied(fs::read_dir("/")));
}

/// What ends a program that found itself in a state that cannot be is a signal of its own.
#[test]
fn an_abort_is_one_inside_too() {
    use std::os::unix::process::ExitStatusExt;
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::inside_an_abort", "--ignored"])
        .args(["--nocapture", "--test-threads", "1"])
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(6), "{:?}", output.status);
}

#[test]
#[ignore = "enters the sandbox and aborts; run by an_abort_is_one_inside_too"]
fn inside_an_abort() {
    let status = sandbox::enter(&Needs::default());
    assert_ne!(status.calls, Enforced::Off);
    std::process::abort();
}

#[test]
fn a_proxy_inside_does_all_it_does_outside() {
    in_its_own_process("inside_a_proxy_answers_reconnects_and_reads_new_certificates");
}

/// The proxy gets a thread of its own, which is inside like the one that makes it.
#[tokio::test]
#[ignore = "enters the sandbox; run by a_proxy_inside_does_all_it_does_outside"]
async fn inside_a_proxy_answers_reconnects_and_reads_new_certificates() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let config = config(vec![trust.upstream(&server)]);
    let prepared = Prepared::new(config.clone()).unwrap();
    let mut needs = Needs::of(&config);
    // The clients of this test are inside too, and it replaces the file of roots.
    let ports = prepared.listening().into_iter().map(|it| it.address.port());
    needs.connect.extend(ports);
    needs.write.insert(trust.directory.path().to_owned());
    if !is_enforced(sandbox::enter(&needs)) {
        return;
    }
    let proxy = Proxy::start_prepared(prepared.with_pace(PACE)).unwrap();
    let udp = proxy.address(ListenTransport::Udp).unwrap();
    assert!(ask_udp(udp, "www.example").await.is_good());
    let mut stream = TcpClient::connect(proxy.address(ListenTransport::Tcp).unwrap()).await;
    stream.send(&[query(1, "n1.example", RecordType::A)]).await;
    assert!(stream.receive().await.unwrap().is_good());
    server.close_connections(Ending::Reset);
    assert!(ask_udp(udp, "n2.example").await.is_good());
    // Replaced as tools do it: a new file under the old name.
    let replace = |ca: &TestCa| {
        let new = trust.directory.path().join("new.pem");
        ca.write_pem(&new).unwrap();
        fs::rename(new, trust.directory.path().join("ca.pem")).unwrap();
    };
    let good = async |expected| {
        let mut number = 0;
        while ask_udp(udp, &format!("r{number}.example")).await.is_good() != expected {
            number += 1;
        }
    };
    replace(&TestCa::new().unwrap());
    within(good(false)).await;
    replace(&trust.ca);
    within(good(true)).await;
}

#[test]
fn certificates_behind_switched_links_are_read_again() {
    in_its_own_process("inside_links_to_certificates_are_switched");
}

/// The ways in which tools switch: a link to a file (certbot's `live`), a link to a directory beside it (Kubernetes' `..data`), a directory
/// on the way that is a link.
#[tokio::test]
#[ignore = "enters the sandbox; run by certificates_behind_switched_links_are_read_again"]
async fn inside_links_to_certificates_are_switched() {
    // What is there before, what is made then, the link that is switched, and the file that the configuration names.
    let ways = [
        (
            "archive/1.pem",
            "archive/2.pem",
            "live/ca.pem",
            "live/ca.pem",
        ),
        (
            "k8s/..1/ca.pem",
            "k8s/..2/ca.pem",
            "k8s/..data",
            "k8s/ca.pem",
        ),
        (
            "releases/1/ca.pem",
            "releases/2/ca.pem",
            "current",
            "current/ca.pem",
        ),
    ];
    for (before, after, link, file) in ways {
        let trust = Trust::new();
        let server = trust.server(Mode::default());
        let at = |path: &str| trust.directory.path().join(path);
        fs::create_dir_all(at(link).parent().unwrap()).unwrap();
        let switch = |to: &str, ca: &TestCa| {
            fs::create_dir_all(at(to).parent().unwrap()).unwrap();
            ca.write_pem(&at(to)).unwrap();
            let to = match link.ends_with(".pem") {
                true => at(to),
                false => at(to).parent().unwrap().to_owned(),
            };
            symlink(to, at("new")).unwrap();
            fs::rename(at("new"), at(link)).unwrap();
        };
        switch(before, &trust.ca);
        if !at(file).exists() {
            symlink("..data/ca.pem", at(file)).unwrap();
        }
        let mut upstream = trust.upstream(&server);
        upstream.ca_file = Some(at(file));
        let config = config(vec![upstream]);
        // Rules for files hold for the thread that enters and those it makes: the test's own is outside.
        let inside = std::thread::spawn(move || {
            let prepared = Prepared::new(config.clone()).unwrap().with_pace(PACE);
            let status = sandbox::enter(&Needs::of(&config));
            (status, Proxy::start_prepared(prepared).unwrap())
        });
        let (status, proxy) = inside.join().unwrap();
        if !is_enforced(status) {
            return;
        }
        let udp = proxy.address(ListenTransport::Udp).unwrap();
        assert!(ask_udp(udp, "first.example").await.is_good(), "{file}");
        switch(after, &TestCa::new().unwrap());
        let until_distrusted = async {
            let mut number = 0;
            while ask_udp(udp, &format!("r{number}.example")).await.is_good() {
                number += 1;
            }
        };
        within(until_distrusted).await;
    }
}

#[tokio::test]
async fn the_program_enters_it_and_says_so_unless_told_not_to() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let seccomp = |arguments: &[&str]| {
        let mut command = command();
        command.args(arguments);
        let program = Program::start_as(command, &server, &trust);
        let status = format!("/proc/{}/status", program.child.id());
        let status = fs::read_to_string(status).unwrap();
        let line = |name: &str| {
            let lines = status.lines().find_map(|line| line.strip_prefix(name));
            lines.unwrap_or_default().trim().to_owned()
        };
        (line("NoNewPrivs:"), line("Seccomp:"))
    };
    assert_eq!(seccomp(&[]), ("1".to_owned(), "2".to_owned()));
    let off = ("0".to_owned(), "0".to_owned());
    assert_eq!(seccomp(&["--no-sandbox"]), off);
}
