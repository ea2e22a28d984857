//! The cache that several instances share, with a real server, which is killed, full of garbage, locked, silent, or behind TLS.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dotward::config::{CacheSettings, Config, SharedCacheSettings};
use dotward_core::wire::RecordType;
use dotward_faults::{CertificateKind, Mode, TestCa};
use redis::Commands;
use serde_json::Value;
use tokio::net::UdpSocket;

use crate::admin::get;
use crate::control::raw;
use crate::support::{Answer, BOUND, Chain, query, within};

/// A store of this test's own; ended with it.
pub(crate) struct Store {
    child: Child,
    program: &'static str,
    arguments: Vec<String>,
    directory: tempfile::TempDir,
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The server there is. Without one the tests of this file say so and test nothing; CI installs one.
pub(crate) fn program() -> Option<&'static str> {
    let there = |program: &&&str| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|it| it.status.success())
    };
    let found = ["valkey-server", "redis-server"]
        .iter()
        .find(there)
        .copied();
    #[expect(
        clippy::print_stderr,
        reason = "who reads the test's output should know"
    )]
    if found.is_none() {
        eprintln!("not tested: neither valkey-server nor redis-server is installed");
    }
    found
}

impl Store {
    /// A store that listens at a Unix socket, and does what `more` says besides.
    pub(crate) fn start(more: &[&str]) -> Option<Self> {
        let program = program()?;
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("store.sock");
        let mut arguments: Vec<String> = ["--port", "0", "--save", "", "--appendonly", "no"]
            .map(str::to_owned)
            .into();
        let own = [
            "--unixsocket",
            socket.to_str().unwrap(),
            "--dir",
            directory.path().to_str().unwrap(),
            "--logfile",
            "log",
        ];
        arguments.extend(
            own.into_iter()
                .chain(more.iter().copied())
                .map(str::to_owned),
        );
        let child = spawn(program, &arguments);
        let store = Self {
            child,
            program,
            arguments,
            directory,
        };
        store.wait_for_socket();
        Some(store)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("store.sock")
    }

    fn url(&self) -> String {
        format!("unix://{}", self.path().display())
    }

    /// Dead and gone, as by a crash.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        drop(std::fs::remove_file(self.path()));
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.program, &self.arguments);
        self.wait_for_socket();
    }

    fn wait_for_socket(&self) {
        let began = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.path()).is_err() {
            if began.elapsed() > BOUND {
                let log = std::fs::read_to_string(self.directory.path().join("log"));
                panic!("the store does not listen: {}", log.unwrap_or_default());
            }
            std::thread::yield_now();
        }
    }

    /// A connection; none while it takes none.
    pub(crate) fn connect(&self) -> Option<redis::Connection> {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_connection().ok()
    }

    fn client(&self) -> redis::Connection {
        self.connect().unwrap()
    }
}

pub(crate) fn spawn(program: &str, arguments: &[String]) -> Child {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub(crate) fn shared(url: &str) -> SharedCacheSettings {
    SharedCacheSettings {
        url: url.to_owned(),
        password_file: None,
        sentinel_password_file: None,
        ca_file: None,
    }
}

/// An instance with a control socket, a cache and a share in another.
pub(crate) struct Instance {
    pub(crate) chain: Chain,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Instance {
    pub(crate) fn start(settings: SharedCacheSettings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let control = socket.clone();
        let change = |config: &mut Config, _: &crate::support::Trust| {
            config.cache = CacheSettings {
                size: 1 << 20,
                stale: Duration::from_secs(3600),
                min_ttl: 0,
                max_ttl: 86_400,
                negative_ttl: 900,
                prefetch: false,
            };
            config.control = Some(control);
            config.admin = Some(([127, 0, 0, 1], 0).into());
            config.shared_cache = Some(settings);
        };
        Self {
            chain: Chain::with(Mode::default(), change),
            socket,
            _directory: directory,
        }
    }

    /// How the shared cache is doing.
    pub(crate) async fn stats(&self) -> Value {
        let line = raw(&self.socket, b"cache stats\n").await;
        let response: Value = serde_json::from_str(&line).unwrap();
        response["ok"]["shared"].clone()
    }

    /// The page of metrics.
    async fn metrics(&self) -> String {
        let (status, page) = get(self.chain.proxy.admin().unwrap(), "/metrics").await;
        assert_eq!(status, 200);
        page
    }

    pub(crate) async fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        within(self.see(wanted)).await
    }

    /// Asks until what is told is what is wanted, without a bound of its own.
    pub(crate) async fn see(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let stats = self.stats().await;
            if wanted(&stats) {
                return stats;
            }
        }
    }
}

/// Waits until the store has a key.
pub(crate) fn wait_for_key(store: &Store, key: &str) {
    let mut client = store.client();
    let began = Instant::now();
    while !client.exists::<_, bool>(key).unwrap() {
        assert!(began.elapsed() < BOUND, "no {key}");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn the_second_instance_answers_what_the_first_has_learned_without_its_upstream() {
    let Some(store) = Store::start(&[]) else {
        return;
    };
    let first = Instance::start(shared(&store.url()));
    assert!(first.chain.ask("www.example").await.is_good());
    wait_for_key(&store, "dotward:1::0:1:www.example");
    let ttl: i64 = store.client().ttl("dotward:1::0:1:www.example").unwrap();
    assert!((1..=300).contains(&ttl), "it ends in the store as well");

    let second = Instance::start(shared(&store.url()));
    assert!(second.chain.ask("www.example").await.is_good());
    assert_eq!(
        second
            .chain
            .server
            .times_asked("www.example", RecordType::A.0),
        0
    );
    let stats = second.stats().await;
    assert_eq!(
        (&stats["hits"], &stats["state"]),
        (&1.into(), &"asked".into())
    );
    // It keeps it, and asks nobody for it again.
    assert!(second.chain.ask("www.example").await.is_good());
    assert_eq!(second.stats().await["hits"], 1);

    let (wrote, read) = (first.metrics().await, second.metrics().await);
    for (page, line) in [
        (
            &wrote,
            "dotward_cache_requests_total{level=\"shared\",result=\"miss\"} 1",
        ),
        (&wrote, "dotward_cache_inserts_total{level=\"shared\"} 1"),
        (
            &wrote,
            "dotward_cache_inserts_dropped_total{level=\"shared\"} 0",
        ),
        (
            &read,
            "dotward_cache_requests_total{level=\"shared\",result=\"hit\"} 1",
        ),
        (
            &read,
            "dotward_cache_request_duration_seconds_count{level=\"shared\"} 1",
        ),
        (&read, "dotward_cache_healthy{level=\"shared\"} 1.0"),
        (
            &read,
            "dotward_cache_state{level=\"shared\",state=\"asked\"} 1.0",
        ),
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
}

#[tokio::test]
async fn garbage_in_the_store_is_counted_and_not_used() {
    let Some(store) = Store::start(&[]) else {
        return;
    };
    let huge = vec![b'x'; 8 << 20];
    let contents: [&[u8]; 4] = [b"garbage", b"\x01\x00\x00", &[0xff; 300], &huge];
    let mut client = store.client();
    for (number, content) in contents.iter().enumerate() {
        let key = format!("dotward:1::0:1:n{number}.example");
        client.set::<_, _, ()>(key, content).unwrap();
    }
    // Not even a string.
    client
        .lpush::<_, _, ()>("dotward:1::0:1:n4.example", "x")
        .unwrap();
    let instance = Instance::start(shared(&store.url()));
    for number in 0..5 {
        assert!(
            instance
                .chain
                .ask(&format!("n{number}.example"))
                .await
                .is_good()
        );
    }
    let stats = instance.stats().await;
    assert_eq!(
        (&stats["hits"], &stats["unusable"]),
        (&0.into(), &4.into()),
        "{stats}"
    );
    // Each was replaced by what is right.
    for number in 0..4 {
        let began = Instant::now();
        let key = format!("dotward:1::0:1:n{number}.example");
        while client.ttl::<_, i64>(&key).unwrap() < 0 {
            assert!(began.elapsed() < BOUND);
        }
    }
}

/// Asks new names one after the other until told to stop; each has to be answered well.
pub(crate) async fn keep_asking(
    to: SocketAddr,
    who: usize,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    let mut number = 0_u16;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let name = format!("n{number}-{who}.example");
        socket
            .send(&query(number, &name, RecordType::A))
            .await
            .unwrap();
        let mut octets = vec![0; 4096];
        let length = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut octets)).await;
        let Ok(Ok(length)) = length else {
            panic!("{name} was lost")
        };
        octets.truncate(length);
        let answer = Answer { octets };
        assert!(answer.is_good() && answer.id() == number, "{name}");
        asked.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_store_that_is_killed_and_comes_back_under_load_costs_no_question() {
    let Some(mut store) = Store::start(&[]) else {
        return;
    };
    let instance = Instance::start(shared(&store.url()));
    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..8)
        .map(|who| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(keep_asking(instance.chain.udp(), who, stop, asked))
        })
        .collect();
    for _ in 0..3 {
        instance.wait_for(|it| it["state"] == "asked").await;
        let before = instance.stats().await["misses"].as_u64().unwrap();
        instance
            .wait_for(|it| it["misses"].as_u64().unwrap() > before)
            .await;
        store.kill();
        instance.wait_for(|it| it["state"] != "asked").await;
        store.restart();
    }
    instance.wait_for(|it| it["state"] == "asked").await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        within(client).await.unwrap();
    }
    // Each client has checked every answer.
    assert!(asked.load(Ordering::Relaxed) > 100);
}

#[tokio::test]
async fn a_password_comes_from_a_file_and_a_wrong_one_is_told() {
    let Some(store) = Store::start(&["--requirepass", "right horse"]) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    let settings = SharedCacheSettings {
        password_file: Some(file.clone()),
        ..shared(&store.url())
    };
    std::fs::write(&file, "right horse\n").unwrap();
    let right = Instance::start(settings.clone());
    assert!(right.chain.ask("www.example").await.is_good());
    let stats = right.wait_for(|it| it["writes"] == 1).await;
    assert_eq!(
        (&stats["misses"], &stats["failures"]),
        (&1.into(), &0.into())
    );

    std::fs::write(&file, "wrong horse").unwrap();
    let wrong = Instance::start(settings);
    let mut number = 0;
    let refused = async {
        while wrong.stats().await["state"] != "left alone" {
            number += 1;
            assert!(
                wrong
                    .chain
                    .ask(&format!("n{number}.example"))
                    .await
                    .is_good()
            );
        }
    };
    within(refused).await;
    let stats = wrong.stats().await;
    let fault = stats["fault"].as_str().unwrap().to_owned();
    assert!(fault.to_lowercase().contains("auth"), "{fault}");
    assert!(!fault.contains("horse"), "{fault}");
}

#[tokio::test]
async fn a_silent_store_and_one_that_is_not_there_delay_nothing_that_anybody_notices() {
    // Takes connections and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = format!("redis://{}", silent.local_addr().unwrap());
    for url in [
        silent.as_str(),
        "redis://127.0.0.1:1",
        "redis://name.invalid",
    ] {
        let instance = Instance::start(shared(url));
        // The first one opens the connection to the upstream.
        assert!(instance.chain.ask("first.example").await.is_good());
        let began = Instant::now();
        for number in 0..20 {
            assert!(
                instance
                    .chain
                    .ask(&format!("n{number}.example"))
                    .await
                    .is_good()
            );
        }
        // Eight head starts of 4 ms at most, and the time of a busy machine.
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{url}: {:?}",
            began.elapsed()
        );
        let stats = instance.stats().await;
        assert_eq!(stats["state"], "left alone", "{url}: {stats}");
        assert!(stats["skipped"].as_u64().unwrap() >= 10, "{url}: {stats}");
        let page = instance.metrics().await;
        let healthy = "dotward_cache_healthy{level=\"shared\"} 0.0";
        assert!(page.contains(healthy), "{url}: {page}");
    }
}

/// Certificate, key and roots as files.
pub(crate) fn write_identity(ca: &TestCa, directory: &Path) -> [PathBuf; 3] {
    let identity = ca.issue(CertificateKind::IpSan, "127.0.0.1").unwrap();
    let paths = ["cert.pem", "key.pem", "ca.pem"].map(|name| directory.join(name));
    let contents = [
        identity.chain_pem().to_owned(),
        identity.key_pem(),
        ca.pem(),
    ];
    for (path, content) in paths.iter().zip(contents) {
        std::fs::write(path, content).unwrap();
    }
    paths
}

#[tokio::test]
async fn over_tls_the_certificate_is_verified() {
    let directory = tempfile::tempdir().unwrap();
    let ca = TestCa::new().unwrap();
    let [certificate, key, roots] = write_identity(&ca, directory.path());
    let port = {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        free.local_addr().unwrap().port()
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (certificate, key, ca_file) = (text(&certificate), text(&key), text(&roots));
    let number = port.to_string();
    let tls = [
        "--tls-port",
        &number,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca_file,
        "--tls-auth-clients",
        "no",
        "--bind",
        "127.0.0.1",
    ];
    let Some(store) = Store::start(&tls) else {
        return;
    };
    let settings = |roots: Option<PathBuf>| SharedCacheSettings {
        ca_file: roots,
        ..shared(&format!("rediss://127.0.0.1:{port}"))
    };
    let trusting = Instance::start(settings(Some(roots)));
    // A handshake takes longer than a head start, so the first one may be late.
    let mut number = 0;
    within(async {
        while trusting.stats().await["writes"].as_u64().unwrap() == 0 {
            number += 1;
            assert!(
                trusting
                    .chain
                    .ask(&format!("n{number}.example"))
                    .await
                    .is_good()
            );
        }
    })
    .await;
    wait_for_key(&store, "dotward:1::0:1:n1.example");

    let distrusting = Instance::start(settings(None));
    for number in 100..120 {
        assert!(
            distrusting
                .chain
                .ask(&format!("n{number}.example"))
                .await
                .is_good()
        );
    }
    let stats = distrusting.wait_for(|it| it["state"] == "left alone").await;
    assert_eq!(stats["hits"], 0);
    let fault = stats["fault"].as_str().unwrap().to_owned();
    assert!(fault.contains("ertificate"), "{fault}");
}
