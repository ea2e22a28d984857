//! A proxy and its upstreams, and clients to ask it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use dotward::config::{
    AnswerSettings, BindRules, CacheSettings, Config, Cookies, Deny, LimitSettings, ListenAddress,
    ListenTransport, LogFormat, LogSettings, Strategy, UpstreamSettings, Workers,
};
use dotward::run::{Prepared, Proxy, Running};
use dotward::trust::TrustPace;
use dotward_core::wire::frame::{FrameReader, append_frame};
use dotward_core::wire::{
    Class, QueryOptions, Question, Rcode, RecordType, ResponseView, write_query,
};
use dotward_faults::{Mode, Server, TestCa};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// What the upstreams are called in their certificates.
pub(crate) const NAME: &str = "dot.example";

/// No test waits longer for one thing.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// Certificates of one test on disk.
pub(crate) struct Trust {
    pub(crate) ca: TestCa,
    pub(crate) directory: tempfile::TempDir,
}

impl Trust {
    pub(crate) fn new() -> Self {
        let this = Self {
            ca: TestCa::new().unwrap(),
            directory: tempfile::tempdir().unwrap(),
        };
        this.ca
            .write_pem(&this.directory.path().join("ca.pem"))
            .unwrap();
        this
    }

    /// A server that behaves as `mode` says.
    pub(crate) fn server(&self, mode: Mode) -> dotward_faults::Running {
        let mut config = dotward_faults::Config::new(&self.ca, NAME);
        config.mode = mode;
        Server::start(config).unwrap()
    }

    /// The settings that trust `server`.
    pub(crate) fn upstream(&self, server: &dotward_faults::Running) -> UpstreamSettings {
        let address = server.address();
        let name = format!("test-{}", address.port());
        UpstreamSettings {
            tls_name: Some(NAME.try_into().unwrap()),
            ca_file: Some(self.directory.path().join("ca.pem")),
            ..UpstreamSettings::new(name, vec![address], address.port())
        }
    }
}

/// A configuration that listens on free ports of 127.0.0.1 over UDP and TCP and asks the upstreams in order.
pub(crate) fn config(upstreams: Vec<UpstreamSettings>) -> Config {
    let listen = |transport| ListenAddress {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        transport,
    };
    Config {
        listeners: vec![listen(ListenTransport::Udp), listen(ListenTransport::Tcp)],
        interfaces: Vec::new(),
        listen_tls: None,
        proxy_from: Vec::new(),
        rules: BindRules::default(),
        run_as: None,
        control: None,
        snapshot: None,
        shared_cache: None,
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        deny: Deny::default(),
        limits: LimitSettings::default(),
        answers: AnswerSettings {
            udp_size: 1232,
            cookies: Cookies::Answer,
            cookie_secrets: None,
            nsid: None,
        },
        upstreams,
        strategy: Strategy::Ordered,
        routes: Vec::new(),
        forward_special: Vec::new(),
        private_domains: None,
        refuse_snooping: false,
        local: Vec::new(),
        cache: CacheSettings::OFF,
        bootstrap: Vec::new(),
        log: LogSettings {
            level: tracing::level_filters::LevelFilter::DEBUG,
            format: LogFormat::Text,
            file: None,
        },
        drain: Duration::from_secs(2),
        admin: None,
        ready_requires: dotward::config::ReadyRequires::Start,
        sandbox: false,
        watch: false,
        workers: Workers::Auto,
    }
}

/// A proxy in front of one server.
pub(crate) struct Chain {
    pub(crate) server: dotward_faults::Running,
    pub(crate) proxy: Running,
    pub(crate) trust: Trust,
}

impl Chain {
    pub(crate) fn new(mode: Mode) -> Self {
        Self::with(mode, |_, _| {})
    }

    /// A chain whose configuration `change` changes.
    pub(crate) fn with(mode: Mode, change: impl FnOnce(&mut Config, &Trust)) -> Self {
        Self::with_server(mode, |config, trust, _| change(config, trust))
    }

    /// The same for changes that depend on the server.
    pub(crate) fn with_server(
        mode: Mode,
        change: impl FnOnce(&mut Config, &Trust, &dotward_faults::Running),
    ) -> Self {
        if std::env::var_os("DOTWARD_TEST_LOG").is_some() {
            drop(
                tracing_subscriber::fmt()
                    .with_max_level(tracing::Level::DEBUG)
                    .try_init(),
            );
        }
        let trust = Trust::new();
        let server = trust.server(mode);
        let mut config = config(vec![trust.upstream(&server)]);
        change(&mut config, &trust, &server);
        Self {
            proxy: start(config),
            server,
            trust,
        }
    }

    /// Overwrites a file of the test with what looks at it at work.
    pub(crate) fn write(&self, file: &str, content: &str) {
        std::fs::write(self.trust.directory.path().join(file), content).unwrap();
    }

    /// Asks new questions until the answer is `good`, or time is over.
    pub(crate) async fn ask_until(&self, good: bool) {
        let asking = async {
            let mut number = 0;
            while self.ask(&format!("n{number}.example")).await.is_good() != good {
                number += 1;
            }
        };
        within(asking).await;
    }

    pub(crate) fn udp(&self) -> SocketAddr {
        self.proxy.address(ListenTransport::Udp).unwrap()
    }

    pub(crate) fn tcp(&self) -> SocketAddr {
        self.proxy.address(ListenTransport::Tcp).unwrap()
    }

    /// Asks for the address of `name` over UDP.
    pub(crate) async fn ask(&self, name: &str) -> Answer {
        ask_udp(self.udp(), name).await
    }
}

/// How often files of certificates are looked at in tests.
pub(crate) const PACE: TrustPace = TrustPace {
    files: Duration::from_millis(50),
    certificates: Duration::from_secs(3600),
};

/// A proxy that sees changed files soon.
pub(crate) fn start(config: Config) -> Running {
    let prepared = Prepared::new(config).unwrap();
    Proxy::start_prepared(prepared.with_pace(PACE)).unwrap()
}

/// A query as a stub resolver sends it.
pub(crate) fn query(id: u16, name: &str, qtype: RecordType) -> Vec<u8> {
    let question = Question::new(&name.parse().unwrap(), qtype, Class::IN);
    let options = QueryOptions {
        keepalive: false,
        checking_disabled: false,
        dnssec_ok: false,
        padding: None,
    };
    let mut message = Vec::new();
    write_query(question.view(), options, &mut message);
    message[..2].copy_from_slice(&id.to_be_bytes());
    message
}

/// What a client got.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) octets: Vec<u8>,
}

impl Answer {
    pub(crate) fn view(&self) -> ResponseView<'_> {
        ResponseView::parse(&self.octets).unwrap()
    }

    pub(crate) fn id(&self) -> u16 {
        self.view().header().id
    }

    pub(crate) fn rcode(&self) -> Rcode {
        self.view().rcode()
    }

    pub(crate) fn name(&self) -> String {
        self.view()
            .question()
            .unwrap()
            .to_owned()
            .qname()
            .to_string()
    }

    /// Code of the first extended error.
    pub(crate) fn extended_error(&self) -> Option<u16> {
        self.view()
            .extended_errors()
            .next()
            .map(|error| error.code.0)
    }

    /// Whether this is the answer of the right name.
    pub(crate) fn is_good(&self) -> bool {
        let name = self.name();
        let right_v4 = dotward_faults::answers::expected_a(&name).octets();
        let right_v6 = dotward_faults::answers::expected_aaaa(&name).octets();
        let view = self.view();
        let mut records = view.records().flatten();
        self.rcode() == Rcode::NOERROR
            && records.any(|record| record.rdata == right_v4 || record.rdata == right_v6)
    }
}

pub(crate) async fn ask_udp(to: SocketAddr, name: &str) -> Answer {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    let message = query(0x1234, name, RecordType::A);
    socket.send(&message).await.unwrap();
    let answer = receive(&socket).await;
    assert_eq!((answer.id(), answer.name()), (0x1234, name.to_owned()));
    answer
}

pub(crate) async fn receive(socket: &UdpSocket) -> Answer {
    let mut octets = vec![0; 65_536];
    let length = within(socket.recv(&mut octets)).await.unwrap();
    octets.truncate(length);
    Answer { octets }
}

/// Bounds a wait.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, future).await {
        Ok(value) => value,
        Err(_) => panic!("nothing happened within {BOUND:?}"),
    }
}

/// A TCP client that frames and unframes.
pub(crate) struct TcpClient {
    pub(crate) stream: TcpStream,
    reader: FrameReader,
}

impl TcpClient {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::connect_from([127, 0, 0, 1], to).await
    }

    /// Connects from an address of loopback.
    pub(crate) async fn connect_from(source: [u8; 4], to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((source, 0))).unwrap();
        let stream = within(socket.connect(to)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            reader: FrameReader::default(),
        }
    }

    pub(crate) async fn send(&mut self, messages: &[Vec<u8>]) {
        let octets = framed(messages);
        within(self.stream.write_all(&octets)).await.unwrap();
    }

    /// The next response; `None` at the end of the stream.
    pub(crate) async fn receive(&mut self) -> Option<Answer> {
        loop {
            if let Some(message) = self.reader.next_message() {
                return Some(Answer {
                    octets: message.to_vec(),
                });
            }
            let mut piece = [0; 4096];
            let length = within(self.stream.read(&mut piece)).await.unwrap_or(0);
            if length == 0 {
                return None;
            }
            self.reader.push(&piece[..length]);
        }
    }
}

pub(crate) fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = Vec::new();
    for message in messages {
        assert!(append_frame(message, &mut octets));
    }
    octets
}
