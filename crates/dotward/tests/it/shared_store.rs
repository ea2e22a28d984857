//! A store that several instances share, and the instances: what the tests of the shared cache are made of.

use std::net::{Ipv4Addr, SocketAddr};
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

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("store.sock")
    }

    pub(crate) fn url(&self) -> String {
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

    pub(crate) fn wait_for_socket(&self) {
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

    pub(crate) fn client(&self) -> redis::Connection {
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
    pub(crate) async fn metrics(&self) -> String {
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
