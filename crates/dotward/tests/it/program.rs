//! The program itself, as a process.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};

use dotward_core::wire::{Rcode, RecordType};
use dotward_faults::Mode;
use dotward_faults::mode::{Ending, Order};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpSocket, UdpSocket};

use crate::support::{NAME, TcpClient, Trust, ask_udp, query, receive, within};

/// The program at work; killed when the test is over.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    /// Its log until it listened.
    pub(crate) began: String,
    log: BufReader<PipeReader>,
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dotward"));
    command.env_clear();
    command
}

impl Program {
    /// Starts it in front of `server` and reads its log until it says where it listens.
    fn start(server: &dotward_faults::Running, trust: &Trust) -> Self {
        Self::start_as(command(), server, trust)
    }

    /// The same by a command of the caller's, which gets the arguments.
    pub(crate) fn start_as(
        command: Command,
        server: &dotward_faults::Running,
        trust: &Trust,
    ) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        Self::start_to(command, server, trust, &writer, reader)
    }

    /// The same with a pipe of the caller's for the log.
    fn start_to(
        mut command: Command,
        server: &dotward_faults::Running,
        trust: &Trust,
        writer: &PipeWriter,
        reader: PipeReader,
    ) -> Self {
        let ca = trust.directory.path().join("ca.pem");
        if !command.get_args().any(|it| it == "--listen") {
            command.args(["--listen", "udp://127.0.0.1:0,tcp://127.0.0.1:0"]);
        }
        command
            .args(["--upstream", &format!("tls://{NAME}@{}", server.address())])
            .arg("--ca-file")
            .arg(ca);
        Self::spawn(command, writer, reader)
    }

    /// Starts it by a command that says everything, which listens over UDP and TCP, in this order.
    pub(crate) fn start_alone(command: Command) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        Self::spawn(command, &writer, reader)
    }

    fn spawn(mut command: Command, writer: &PipeWriter, reader: PipeReader) -> Self {
        let child = command
            .args(["--log-format", "json"])
            .stderr(writer.try_clone().unwrap())
            .spawn()
            .unwrap();
        // The command keeps its own writing end, and the end of the log would never come.
        drop(command);
        let log = BufReader::new(reader);
        let mut program = Self {
            child,
            udp: SocketAddr::from(([0, 0, 0, 0], 0)),
            tcp: SocketAddr::from(([0, 0, 0, 0], 0)),
            began: String::new(),
            log,
        };
        loop {
            let mut line = String::new();
            assert!(program.log.read_line(&mut line).unwrap() > 0, "it ended");
            program.began.push_str(&line);
            let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else {
                continue;
            };
            if line["message"] == "listening" {
                let address = line["address"].as_str().unwrap().parse().unwrap();
                if line["transport"] == "udp" {
                    program.udp = address;
                } else {
                    program.tcp = address;
                    return program;
                }
            }
        }
    }

    /// The next line of its log that holds `text`.
    pub(crate) async fn line_with(&mut self, text: &str) -> String {
        let (reader, _) = std::io::pipe().unwrap();
        let mut log = std::mem::replace(&mut self.log, BufReader::new(reader));
        let text = text.to_owned();
        let found = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            while !line.contains(&text) {
                line.clear();
                assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
            }
            (log, line)
        });
        let (log, line) = within(found).await.unwrap();
        self.log = log;
        line
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end, which is bounded by the program's own patience.
    pub(crate) async fn end(mut self) -> (ExitStatus, String) {
        let ended = tokio::task::spawn_blocking(move || {
            let mut rest = String::new();
            self.log.read_to_string(&mut rest).unwrap();
            (self.child.wait().unwrap(), rest)
        });
        within(ended).await.unwrap()
    }
}

#[tokio::test]
async fn usr1_has_the_state_written_into_the_log_and_ends_nothing() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let mut program = Program::start(&server, &trust);
    assert!(ask_udp(program.udp, "n1.example").await.is_good());
    for _ in 0..2 {
        program.signal(Signal::USR1);
        let whole = program.line_with("\"state\":").await;
        let line: serde_json::Value = serde_json::from_str(&whole).unwrap();
        let state: serde_json::Value =
            serde_json::from_str(line["state"].as_str().unwrap()).unwrap();
        assert_eq!(state["pid"], program.child.id());
        assert_eq!(state["upstreams"], serde_json::Value::Null);
        let one = program.line_with("state of an upstream").await;
        assert!(one.contains("\\\"state\\\":\\\"up\\\""), "{one}");
        assert!(!(whole + &one).contains("n1.example"), "no name is logged");
    }
    assert!(ask_udp(program.udp, "n1.example").await.is_good());
}

#[tokio::test]
async fn term_ends_it_with_0_after_what_was_in_flight_was_answered() {
    for signal in [Signal::TERM, Signal::INT] {
        let trust = Trust::new();
        let server = trust.server(Mode::default());
        let program = Program::start(&server, &trust);
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(program.udp).await.unwrap();
        let message = query(1, "delay-700.example", RecordType::A);
        client.send(&message).await.unwrap();
        within(server.wait_for_queries(1)).await.unwrap();
        program.signal(signal);
        assert!(receive(&client).await.is_good());
        let (status, log) = program.end().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("delay-700"), "a name was logged: {log}");
    }
}

#[tokio::test]
async fn a_question_that_waited_in_the_socket_has_so_much_less_time() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let program = Program::start(&server, &trust);
    assert!(ask_udp(program.udp, "first.example").await.is_good());
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(program.udp).await.unwrap();
    program.signal(Signal::STOP);
    let message = query(1, "mute.example", RecordType::A);
    client.send(&message).await.unwrap();
    let asked = std::time::Instant::now();
    // What is tried is a question that waited for so long.
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    program.signal(Signal::CONT);
    assert_eq!(receive(&client).await.rcode(), Rcode::SERVFAIL);
    let took = asked.elapsed();
    assert!(took < std::time::Duration::from_millis(2_700), "{took:?}");
}

#[tokio::test]
async fn what_was_answered_while_it_was_stopped_is_kept_and_told_to_those_alone_who_still_wait() {
    const QUESTIONS: u16 = 8;
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let program = Program::start(&server, &trust);
    assert!(ask_udp(program.udp, "first.example").await.is_good());
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(program.udp).await.unwrap();
    let message = |id, number| {
        let name = format!("delay-300.n{number}.example");
        query(id, &name, RecordType::A)
    };
    for number in 0..QUESTIONS {
        client.send(&message(number, number)).await.unwrap();
    }
    let all = u64::from(QUESTIONS) + 1;
    within(server.wait_for_queries(all)).await.unwrap();
    program.signal(Signal::STOP);
    within(server.wait_for_responses(all)).await.unwrap();
    // What is asked of it from now on is not answered.
    server.set_mode(Mode {
        order: Order::Hold,
        ..Mode::default()
    });
    // What is tried is a pause for longer than anybody waits.
    tokio::time::sleep(std::time::Duration::from_millis(2_600)).await;
    program.signal(Signal::CONT);
    for number in 0..QUESTIONS {
        let id = 100 + number;
        client.send(&message(id, number)).await.unwrap();
        let answer = receive(&client).await;
        assert_eq!(answer.id(), id, "nobody waits for this any more");
        assert!(answer.is_good(), "{}", answer.rcode());
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let program = Program::start(&server, &trust);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(program.udp).await.unwrap();
    let message = query(1, "mute.example", RecordType::A);
    client.send(&message).await.unwrap();
    within(server.wait_for_queries(1)).await.unwrap();
    let began = std::time::Instant::now();
    program.signal(Signal::TERM);
    program.signal(Signal::INT);
    let (status, _) = program.end().await;
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < std::time::Duration::from_secs(1));
}

#[tokio::test]
async fn it_answers_and_keeps_names_out_of_its_log() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let program = Program::start(&server, &trust);
    assert!(ask_udp(program.udp, "private.example").await.is_good());
    program.signal(Signal::TERM);
    let (_, log) = program.end().await;
    assert!(!log.contains("private"), "{log}");
}

#[test]
fn faults_of_the_configuration_end_it_with_2_and_are_all_told() {
    let output = command()
        .args(["--listen", "127.0.0.1:port", "--upstream", "192.0.2.1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.matches("error:").count(), 2, "{told}");
}

#[test]
fn a_log_that_cannot_be_written_is_told_with_its_path() {
    let output = command()
        .args(["--listen", "udp://127.0.0.1:0"])
        .args(["--log-file", "/nowhere/at/all.log"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.starts_with("error: cannot write the log to /nowhere/at/all.log"),
        "{told}"
    );
}

#[test]
fn a_demonstration_nobody_reads_ends_in_silence() {
    let mut demo = command()
        .arg("demo")
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(demo.stdout.take());
    let output = demo.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.as_str()), (Some(0), ""));
}

#[test]
fn explain_sends_nothing_and_ends_with_0() {
    let output = command()
        .args([
            "explain",
            "db.corp.example",
            "AAAA",
            "--route",
            "corp.example=udp://127.0.0.1:9",
        ])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.starts_with("db.corp.example. AAAA: asked where the route of corp.example."),
        "{told}"
    );
    let wrong = command()
        .args(["explain", "x.example", "--route", "y"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[tokio::test]
async fn a_port_in_use_ends_it_with_1() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let output = command()
        .args(["--listen", &format!("udp://{address}")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("address already in use"), "{told}");

    let twice = format!("udp://{address},tcp://192.0.2.1:1");
    let output = command().args(["--listen", &twice]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.matches("error: cannot listen").count(), 2, "{told}");
}

#[tokio::test]
async fn clients_never_take_the_descriptors_that_upstreams_need() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let mut limited = Command::new("/bin/sh");
    limited
        .env_clear()
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_dotward"));
    let program = Program::start_as(limited, &server, &trust);
    let mut idle = Vec::new();
    for number in 0..200 {
        let source = SocketAddr::from(([127, 0, 1, number], 0));
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(source).unwrap();
        idle.push(within(socket.connect(program.tcp)).await.unwrap());
    }
    // The last one is served, so all before it were accepted.
    let mut last = TcpClient::connect(program.tcp).await;
    last.send(&[query(7, "last.example", RecordType::A)]).await;
    assert!(last.receive().await.unwrap().is_good());
    let descriptors = format!("/proc/{}/fd", program.child.id());
    let open = std::fs::read_dir(descriptors).unwrap().count();
    assert!(open < 60, "{open} descriptors are open");
    // The upstream goes and comes: a connection has to be made now.
    server.close_connections(Ending::Reset);
    assert!(ask_udp(program.udp, "www.example").await.is_good());
}

#[tokio::test]
async fn a_log_that_nobody_reads_does_not_keep_it_from_ending() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let (reader, mut filler) = std::io::pipe().unwrap();
    let mut program = Program::start_to(command(), &server, &trust, &filler, reader);
    // Octets of ours until the pipe takes no more.
    rustix::io::ioctl_fionbio(&filler, true).unwrap();
    while filler.write(&[b'.'; 512]).is_ok() {}
    while filler.write(b".").is_ok() {}
    rustix::io::ioctl_fionbio(&filler, false).unwrap();
    let began = std::time::Instant::now();
    program.signal(Signal::TERM);
    let mut child = std::mem::replace(
        &mut program.child,
        Command::new("/bin/true").spawn().unwrap(),
    );
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert_eq!(within(ended).await.unwrap().code(), Some(0));
    assert!(began.elapsed() < std::time::Duration::from_secs(2));
}

/// Clients who connect while there are no descriptors wait where they cost nothing.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn want_of_descriptors_slows_accepting_down_and_who_waits_is_served_afterwards() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let program = Program::start(&server, &trust);
    assert!(ask_udp(program.udp, "before.example").await.is_good());
    let pid = Pid::from_child(&program.child);
    let processor = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", program.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2);
        ticks.map(|it| it.parse::<u64>().unwrap()).sum::<u64>()
    };
    limit_descriptors(pid, 3);
    let began = (std::time::Instant::now(), processor());
    let mut waiting = TcpClient::connect(program.tcp).await;
    waiting
        .send(&[query(7, "last.example", RecordType::A)])
        .await;
    // Meanwhile whoever needs no descriptor is answered. A loop that spins would take all the time there is.
    while began.0.elapsed() < std::time::Duration::from_secs(1) {
        assert!(ask_udp(program.udp, "before.example").await.is_good());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let ticks = processor() - began.1;
    assert!(ticks < 50, "{ticks} hundredths of a second");
    limit_descriptors(pid, 4096);
    assert!(waiting.receive().await.unwrap().is_good());
    program.signal(Signal::TERM);
    let (_, log) = program.end().await;
    assert_eq!(log.matches("have to wait").count(), 1, "{log}");
}

#[cfg(target_os = "linux")]
fn limit_descriptors(of: Pid, current: u64) {
    use rustix::process::{Resource, Rlimit, prlimit};

    let limit = Rlimit {
        current: Some(current),
        maximum: Some(4096),
    };
    prlimit(Some(of), Resource::Nofile, limit).unwrap();
}

/// Descriptors run out for whatever reason: the clients are told, the upstream is not blamed, and all is well when there are some again.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn want_of_descriptors_is_told_and_no_upstream_is_set_aside() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let program = Program::start(&server, &trust);
    let pid = Pid::from_child(&program.child);
    let set = |current| limit_descriptors(pid, current);
    // Files that are open stay so; no new one can be.
    set(3);
    for number in 0..5 {
        let answer = ask_udp(program.udp, &format!("n{number}.example")).await;
        assert_eq!(
            (answer.rcode(), answer.extended_error()),
            (Rcode::SERVFAIL, Some(0))
        );
    }
    set(4096);
    let answer = ask_udp(program.udp, "after.example").await;
    assert!(
        answer.is_good(),
        "at once: nothing was wrong with the upstream"
    );
    program.signal(Signal::TERM);
    let (status, log) = program.end().await;
    assert!(status.success());
    assert_eq!(
        log.matches("look at the limits of this machine").count(),
        1,
        "{log}"
    );
    assert!(!log.contains("set aside"), "{log}");
}
