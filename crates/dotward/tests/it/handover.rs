//! The program's ports from one process to the next, from the service manager, and from root to another user.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use dotward::config::{ListenAddress, ListenTransport};
use dotward::run::{Prepared, StartFault};
use dotward_core::wire::RecordType;
use dotward_faults::Mode;
use rustix::process::Signal;

use crate::program::{Program, command};
use crate::support::{Answer, BOUND, NAME, TcpClient, Trust, ask_udp, config, query, within};

/// The arguments that have a program listen where `program` does.
fn same_ports(program: &Program) -> [String; 2] {
    let listen = format!("udp://{},tcp://{}", program.udp, program.tcp);
    ["--listen".to_owned(), listen]
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

#[tokio::test]
async fn a_second_start_is_refused_and_says_who_has_the_ports() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let first = Program::start_as(command(), &server, &trust);
    let second = run(command().args(same_ports(&first)));
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    let holder = format!("held by: dotward (pid {})", first.child.id());
    assert_eq!(said.matches("address already in use").count(), 2, "{said}");
    assert!(said.contains(&holder), "{said}");
    assert!(ask_udp(first.udp, "www.example").await.is_good());
}

/// Asks from a port of its own, and waits as long as any test waits.
fn ask_once(to: SocketAddr, name: &str) -> Answer {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(BOUND)).unwrap();
    socket.connect(to).unwrap();
    socket.send(&query(1, name, RecordType::A)).unwrap();
    let mut octets = vec![0; 4096];
    let length = socket.recv(&mut octets).unwrap();
    octets.truncate(length);
    Answer { octets }
}

/// A runtime on a thread of its own, for a server that answers while the test blocks.
fn beside() -> tokio::runtime::Handle {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

/// Clients that ask all the time until they are stopped, and want every question answered.
struct Clients {
    over: Arc<AtomicBool>,
    asking: Vec<JoinHandle<usize>>,
}

impl Clients {
    fn ask(count: usize, udp: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ask = |client: usize| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                let mut asked = 0;
                // Each question is from another port, so both processes get some while both are there.
                while !over.load(Ordering::Relaxed) {
                    let answer = ask_once(udp, &format!("n{asked}.c{client}.example"));
                    assert!(
                        answer.is_good(),
                        "{:?} {:?}",
                        answer.view().header(),
                        answer.extended_error()
                    );
                    asked += 1;
                }
                asked
            })
        };
        Self {
            asking: (0..count).map(ask).collect(),
            over,
        }
    }

    fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        for client in self.asking {
            assert!(client.join().unwrap() > 0);
        }
    }
}

#[tokio::test]
async fn a_takeover_loses_no_question_and_ends_the_one_before() {
    let trust = Trust::new();
    let runtime = beside();
    let server = {
        let _entered = runtime.enter();
        trust.server(Mode::default())
    };
    // The control socket is taken over too.
    let control = trust.directory.path().join("control.sock");
    let with_control = || {
        let mut command = command();
        command.arg("--control").arg(&control);
        command
    };
    let mut program = Program::start_as(with_control(), &server, &trust);
    let (udp, tcp) = (program.udp, program.tcp);
    let clients = Clients::ask(8, udp);
    for _ in 0..4 {
        let mut next = with_control();
        next.args(same_ports(&program)).arg("--takeover");
        let next = Program::start_as(next, &server, &trust);
        assert_eq!((next.udp, next.tcp), (udp, tcp));
        let (status, log) = std::mem::replace(&mut program, next).end().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("drained"), "{log}");
        assert!(control.exists());
    }
    clients.stop();
    let mut client = TcpClient::connect(tcp).await;
    client.send(&[query(1, "www.example", RecordType::A)]).await;
    assert!(client.receive().await.unwrap().is_good());
}

#[tokio::test]
async fn a_takeover_from_nobody_serves_and_says_so() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let mut alone = command();
    alone.arg("--takeover");
    let program = Program::start_as(alone, &server, &trust);
    let said = "there is nobody to take them over from";
    assert!(program.began.contains(said), "{}", program.began);
    assert!(ask_udp(program.udp, "www.example").await.is_good());
}

#[tokio::test]
async fn a_takeover_that_fails_leaves_ports_and_control_socket_to_who_had_them() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let control = trust.directory.path().join("control.sock");
    let mut first = command();
    first.arg("--control").arg(&control);
    let first = Program::start_as(first, &server, &trust);
    let mut second = command();
    second.args(same_ports(&first)).arg("--takeover");
    second.arg("--control").arg(&control);
    // An address that this machine does not have.
    let taken = format!("--listen=udp://{},tcp://192.0.2.77:53", first.udp);
    let refused = run(second.arg(taken));
    assert_eq!(refused.status.code(), Some(1));
    let mut asking = command();
    let status = run(asking.args(["status", "--json", "--control"]).arg(&control));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["pid"], first.child.id());
    assert!(ask_udp(first.udp, "www.example").await.is_good());
}

#[tokio::test]
async fn a_takeover_that_fails_loses_no_question() {
    let trust = Trust::new();
    let runtime = beside();
    let server = {
        let _entered = runtime.enter();
        trust.server(Mode::default())
    };
    let first = Program::start_as(command(), &server, &trust);
    let elsewhere = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let not_free = elsewhere.local_addr().unwrap();
    let upstream = format!("tls://{NAME}@{}", server.address());
    let ca = trust.directory.path().join("ca.pem");
    let ca = ca.to_str().unwrap();
    let listen = format!("udp://{},tcp://{}", first.udp, first.tcp);
    let faults = [
        (
            ["--listen", &format!("{listen},udp://{not_free}")],
            "already in use",
        ),
        (
            ["--listen", &format!("{listen},tcp://192.0.2.77:53")],
            "no such address",
        ),
        (["--user", "no-such-user"], "no user no-such-user"),
    ];
    let clients = Clients::ask(8, first.udp);
    for (arguments, said) in faults.iter().cycle().take(30) {
        let mut second = command();
        second.args(["--takeover", "--upstream", &upstream, "--ca-file", ca]);
        if arguments[0] != "--listen" {
            second.args(["--listen", &listen]);
        }
        let refused = run(second.args(arguments));
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(told.contains(said), "{told}");
    }
    clients.stop();
    // Connections too.
    let mut client = TcpClient::connect(first.tcp).await;
    client.send(&[query(1, "www.example", RecordType::A)]).await;
    assert!(client.receive().await.unwrap().is_good());
}

/// A command that passes its sockets as the service manager does, under these names.
fn activated(udp: &UdpSocket, tcp: &TcpListener, names: &str) -> Command {
    let script = "exec env LISTEN_PID=$$ LISTEN_FDS=2 \"$0\" \"$@\" 3<&0 4<&1 </dev/null 1>&2";
    let mut shell = Command::new("sh");
    shell.env_clear().env("LISTEN_FDNAMES", names);
    shell.env("PATH", "/usr/bin:/bin");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_dotward")]);
    shell.stdin(OwnedFd::from(udp.try_clone().unwrap()));
    shell.stdout(OwnedFd::from(tcp.try_clone().unwrap()));
    shell
}

fn sockets() -> (UdpSocket, TcpListener) {
    let any = (Ipv4Addr::LOCALHOST, 0);
    (
        UdpSocket::bind(any).unwrap(),
        TcpListener::bind(any).unwrap(),
    )
}

#[tokio::test]
async fn sockets_of_the_service_manager_are_served_and_left_as_they_were() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let (udp, tcp) = sockets();
    let address = udp.local_addr().unwrap();
    for names in ["dns:dns", "udp:tcp"] {
        let program = Program::start_as(activated(&udp, &tcp, names), &server, &trust);
        let given = (address, tcp.local_addr().unwrap());
        assert_eq!((program.udp, program.tcp), given);
        assert!(ask_udp(program.udp, "www.example").await.is_good());
        let mut client = TcpClient::connect(program.tcp).await;
        client.send(&[query(1, "www.example", RecordType::A)]).await;
        assert!(client.receive().await.unwrap().is_good());
        program.signal(Signal::TERM);
        assert_eq!(program.end().await.0.code(), Some(0));
        // What is asked while nobody serves waits for the next one: the socket was not connected elsewhere.
        assert!(udp.peer_addr().is_err());
    }
    let asked = tokio::spawn(async move { ask_udp(address, "waits.example").await });
    // The question is in the socket before the program is started.
    within(tokio::task::spawn_blocking({
        let udp = udp.try_clone().unwrap();
        move || udp.peek(&mut [0; 512]).unwrap_or_default()
    }))
    .await
    .unwrap();
    let next = Program::start_as(activated(&udp, &tcp, "dns:dns"), &server, &trust);
    assert!(asked.await.unwrap().is_good());
    drop(next);
}

#[test]
fn sockets_of_the_service_manager_that_cannot_be_served_are_all_named() {
    let (udp, tcp) = sockets();
    for (names, words) in [
        ("http:dns", vec!["called http", "FileDescriptorName=dns"]),
        (
            "tcp:udp",
            vec!["the socket tcp", "the socket udp", "ListenDatagram="],
        ),
        ("udp:tls", vec!["TLS listener on", "listen.certificate"]),
    ] {
        let refused = run(&mut activated(&udp, &tcp, names));
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

#[tokio::test]
async fn root_becomes_the_user_it_is_told_to_for_good() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let as_nobody = ["--user", "65534", "--group", "65534"];
    if !rustix::process::geteuid().is_root() {
        let refused = run(command().args(as_nobody).args(["--listen", "127.0.0.1:0"]));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("cannot become user 65534"), "{said}");
        return;
    }
    // Nobody but root looks into it.
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(trust.directory.path(), closed).unwrap();
    let mut started = command();
    started.args(as_nobody);
    let program = Program::start_as(started, &server, &trust);
    let pid = program.child.id();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    for task in tasks {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let value = |key: &str| {
            let line = status.lines().find_map(|it| it.strip_prefix(key));
            line.unwrap().split_whitespace().collect::<Vec<_>>()
        };
        for key in ["Uid:", "Gid:"] {
            assert_eq!(value(key), ["65534"; 4], "{status}");
        }
        for key in ["CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(value(key), ["0000000000000000"], "{status}");
        }
        assert!(value("Groups:").iter().all(|it| *it == "65534"), "{status}");
    }
    assert!(ask_udp(program.udp, "www.example").await.is_good());
    let log = &program.began;
    assert!(log.contains("ca.pem") && log.contains("chmod"), "{log}");
}

#[tokio::test]
async fn who_is_the_user_already_has_to_be_of_the_group_as_well() {
    use std::os::unix::process::CommandExt;

    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let is_root = rustix::process::geteuid().is_root();
    let (own_user, own_group) = match is_root {
        true => (64_999, 64_999),
        false => (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        ),
    };
    let as_user = |group: u32| {
        let mut started = command();
        if is_root {
            started.uid(own_user).gid(own_group);
        }
        started.args(["--user", &own_user.to_string()]);
        started.args(["--group", &group.to_string()]);
        started
    };
    let other = own_group ^ 1;
    let refused = as_user(other)
        .args(["--listen", "udp://127.0.0.1:0"])
        .output();
    let Ok(refused) = refused else {
        // The program lies where that user may not execute it.
        return;
    };
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let told = format!("cannot become group {other}: ");
    assert!(said.contains(&told), "{said}");
    assert!(said.contains("runtime.group"), "{said}");

    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(trust.directory.path(), open).unwrap();
    let program = Program::start_as(as_user(own_group), &server, &trust);
    assert!(ask_udp(program.udp, "www.example").await.is_good());
}

#[test]
fn an_address_that_is_not_there_is_refused_or_waited_for() {
    let trust = Trust::new();
    let mut config = config(Vec::new());
    let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 77), 0));
    let transports = [ListenTransport::Udp, ListenTransport::Tcp];
    config.listeners = transports
        .map(|transport| ListenAddress { address, transport })
        .to_vec();
    let error = Prepared::new(config.clone()).unwrap_err();
    assert!(matches!(
        error.faults[..],
        [StartFault::Bind(_), StartFault::Bind(_)]
    ));
    assert!(error.to_string().contains("listen.freebind"), "{error}");
    config.rules.freebind = true;
    let prepared = Prepared::new(config).unwrap();
    assert_eq!(prepared.listening().len(), 2);
    drop(trust);
}
