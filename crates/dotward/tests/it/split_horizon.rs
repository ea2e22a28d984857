//! Names sent to other upstreams, in the clear: a small resolver of the test's own stands for the private network, a DoT server for
//! everybody else.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dotward::config::{
    Config, ListenAddress, ListenTransport, Protocol, RouteSettings, Strategy, Suffix,
    UpstreamSettings,
};
use dotward::run::{Prepared, Proxy, Running, StartFault};
use dotward_core::wire::frame::append_frame;
use dotward_core::wire::{QueryView, Rcode, RecordType, ResponseComposer};
use dotward_faults::Mode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::support::{Answer, TcpClient, Trust, ask_udp, config, query, receive};

/// The answer of the private resolver to everything.
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

/// A query the private resolver got.
#[derive(Debug, Clone)]
struct Heard {
    name: String,
    id: u16,
    from: SocketAddr,
    protocol: Protocol,
}

/// A resolver of a private network. Labels steer it: `big` is truncated over UDP, `servfail` fails, `mute` gets no answer.
pub(crate) struct Resolver {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Resolver {
    pub(crate) async fn start() -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let heard = Arc::new(Mutex::new(Vec::new()));
        Self {
            address: tcp.local_addr().unwrap(),
            tasks: vec![
                tokio::spawn(serve_udp(udp, Arc::clone(&heard))),
                tokio::spawn(serve_tcp(tcp, Arc::clone(&heard))),
            ],
            heard,
        }
    }

    /// Ends it; nobody listens at its address any more.
    async fn stop(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            assert!(task.await.is_err_and(|error| error.is_cancelled()));
        }
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    fn names(&self) -> Vec<(String, Protocol)> {
        let heard = self.heard().into_iter();
        heard.map(|it| (it.name, it.protocol)).collect()
    }

    fn upstream(&self, protocol: Protocol) -> UpstreamSettings {
        private(self.address, protocol)
    }
}

fn private(address: SocketAddr, protocol: Protocol) -> UpstreamSettings {
    let name = format!("private-{}", address.port());
    UpstreamSettings {
        protocol,
        tier: None,
        ..UpstreamSettings::new(name, vec![address], address.port())
    }
}

async fn serve_udp(socket: UdpSocket, heard: Arc<Mutex<Vec<Heard>>>) {
    let mut octets = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut octets).await {
        let answer = answer(&octets[..length], from, Protocol::Udp, &heard);
        if let Some(answer) = answer {
            socket.send_to(&answer, from).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, heard: Arc<Mutex<Vec<Heard>>>) {
    while let Ok((stream, from)) = listener.accept().await {
        tokio::spawn(serve_stream(stream, from, Arc::clone(&heard)));
    }
}

async fn serve_stream(
    mut stream: TcpStream,
    from: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
) -> io::Result<()> {
    loop {
        let mut message = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut message).await?;
        if let Some(answer) = answer(&message, from, Protocol::Tcp, &heard) {
            let mut framed = Vec::new();
            append_frame(&answer, &mut framed);
            stream.write_all(&framed).await?;
        }
    }
}

fn answer(
    message: &[u8],
    from: SocketAddr,
    protocol: Protocol,
    heard: &Mutex<Vec<Heard>>,
) -> Option<Vec<u8>> {
    let view = QueryView::parse(message).unwrap();
    let question = view.question().to_owned();
    let name = question.qname().to_string();
    let has = |label: &str| name.split('.').any(|it| it == label);
    heard.lock().unwrap().push(Heard {
        id: view.header().id,
        name: name.clone(),
        from,
        protocol,
    });
    let mut composer = ResponseComposer::new(&question);
    let truncated = has("big") && protocol == Protocol::Udp;
    if has("servfail") {
        composer.rcode(Rcode::SERVFAIL);
    } else if !truncated {
        composer.answer(&question.qname(), RecordType::A, 60, &PRIVATE.octets());
    }
    let mut answer = composer.finish();
    answer[..2].copy_from_slice(&message[..2]);
    answer[2] |= u8::from(truncated) << 1;
    (!has("mute")).then_some(answer)
}

fn suffix(text: &str) -> Suffix {
    match text.parse() {
        Ok(network) => Suffix::Network(network),
        Err(_) => Suffix::Domain(text.parse().unwrap()),
    }
}

/// A proxy with one DoT upstream for all names but those of the routes.
struct Split {
    public: dotward_faults::Running,
    proxy: Running,
    _trust: Trust,
}

impl Split {
    /// Each route with its own upstream, and whether it falls back.
    fn new(routes: &[(&[&str], UpstreamSettings, bool)]) -> Self {
        let trust = Trust::new();
        let public = trust.server(Mode::default());
        let mut config = config(vec![trust.upstream(&public)]);
        for (suffixes, upstream, fallback) in routes {
            add_route(&mut config, suffixes, upstream.clone(), *fallback);
        }
        Self {
            public,
            proxy: Proxy::start(config).unwrap(),
            _trust: trust,
        }
    }

    async fn ask(&self, name: &str) -> Answer {
        ask_udp(self.udp(), name).await
    }

    async fn ask_type(&self, name: &str, qtype: RecordType) -> Answer {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(self.udp()).await.unwrap();
        socket.send(&query(1, name, qtype)).await.unwrap();
        receive(&socket).await
    }

    fn udp(&self) -> SocketAddr {
        self.proxy.address(ListenTransport::Udp).unwrap()
    }

    fn asked_in_public(&self) -> u64 {
        self.public.counters().queries
    }
}

fn add_route(config: &mut Config, suffixes: &[&str], upstream: UpstreamSettings, fallback: bool) {
    config.upstreams.push(upstream);
    config.routes.push(RouteSettings {
        suffixes: suffixes.iter().map(|text| suffix(text)).collect(),
        members: vec![config.upstreams.len() - 1],
        strategy: Strategy::Fastest,
        fallback,
    });
}

pub(crate) fn is_private(answer: &Answer) -> bool {
    let view = answer.view();
    let mut records = view.records().flatten();
    records.any(|record| record.rdata == PRIVATE.octets())
}

#[tokio::test]
async fn private_names_are_asked_in_private_and_all_others_over_tls() {
    let resolver = Resolver::start().await;
    let split = Split::new(&[(&["corp.example"], resolver.upstream(Protocol::Udp), false)]);
    assert!(is_private(&split.ask("db.corp.example").await));
    assert!(is_private(&split.ask("CORP.Example").await));
    assert_eq!(split.asked_in_public(), 0);
    assert!(split.ask("notcorp.example").await.is_good());
    assert!(split.ask("www.example").await.is_good());
    assert_eq!((resolver.heard().len(), split.asked_in_public()), (2, 2));
}

#[tokio::test]
async fn the_longest_suffix_decides() {
    let (office, lab) = (Resolver::start().await, Resolver::start().await);
    let split = Split::new(&[
        (&["corp.example"], office.upstream(Protocol::Udp), false),
        (&["lab.corp.example"], lab.upstream(Protocol::Tcp), false),
    ]);
    assert!(is_private(&split.ask("x.lab.corp.example").await));
    assert!(is_private(&split.ask("xlab.corp.example").await));
    let (udp, tcp) = (Protocol::Udp, Protocol::Tcp);
    assert_eq!(lab.names(), [("x.lab.corp.example".to_owned(), tcp)]);
    assert_eq!(office.names(), [("xlab.corp.example".to_owned(), udp)]);
}

#[tokio::test]
async fn a_network_stands_for_its_reverse_names() {
    let resolver = Resolver::start().await;
    let networks = ["10.0.0.0/8", "fd00::/8"];
    let split = Split::new(&[(&networks, resolver.upstream(Protocol::Udp), false)]);
    split
        .ask_type("4.3.2.10.in-addr.arpa", RecordType::PTR)
        .await;
    split.ask_type("1.0.d.f.ip6.arpa", RecordType::PTR).await;
    assert_eq!(resolver.heard().len(), 2);
    let other = split
        .ask_type("4.3.2.192.in-addr.arpa", RecordType::PTR)
        .await;
    assert_eq!(other.rcode(), Rcode::NOERROR);
    assert_eq!((resolver.heard().len(), split.asked_in_public()), (2, 1));
}

#[tokio::test]
async fn special_names_leave_neither_way_unless_a_route_or_the_operator_says_so() {
    let resolver = Resolver::start().await;
    let trust = Trust::new();
    let public = trust.server(Mode::default());
    let mut config = config(vec![trust.upstream(&public)]);
    config.forward_special = vec!["test".parse().unwrap()];
    let upstream = resolver.upstream(Protocol::Udp);
    add_route(&mut config, &["printers.local"], upstream, false);
    let proxy = Proxy::start(config).unwrap();
    let udp = proxy.address(ListenTransport::Udp).unwrap();
    for name in [
        "a.local",
        "a.internal",
        "a.onion",
        "a.invalid",
        "1.1.168.192.in-addr.arpa",
    ] {
        assert_eq!(ask_udp(udp, name).await.rcode(), Rcode::NXDOMAIN, "{name}");
    }
    assert_eq!(ask_udp(udp, "localhost").await.rcode(), Rcode::NOERROR);
    assert_eq!((resolver.heard().len(), public.counters().queries), (0, 0));
    assert!(is_private(&ask_udp(udp, "a.printers.local").await));
    assert!(ask_udp(udp, "a.test").await.is_good());
    assert_eq!((resolver.heard().len(), public.counters().queries), (1, 1));
}

#[tokio::test]
async fn a_truncated_datagram_is_asked_for_again_over_tcp() {
    let resolver = Resolver::start().await;
    let split = Split::new(&[(&["corp.example"], resolver.upstream(Protocol::Udp), false)]);
    assert!(is_private(&split.ask("big.corp.example").await));
    let protocols: Vec<_> = resolver.heard().iter().map(|it| it.protocol).collect();
    assert_eq!(protocols, [Protocol::Udp, Protocol::Tcp]);
}

#[tokio::test]
async fn every_query_in_a_datagram_has_a_port_and_an_id_of_its_own() {
    let resolver = Resolver::start().await;
    let split = Split::new(&[(&["corp.example"], resolver.upstream(Protocol::Udp), false)]);
    for n in 0..40 {
        assert!(is_private(&split.ask(&format!("n{n}.corp.example")).await));
    }
    let distinct = |mut numbers: Vec<u16>| {
        numbers.sort_unstable();
        numbers.dedup();
        numbers.len()
    };
    let heard = resolver.heard();
    let ports = distinct(heard.iter().map(|it| it.from.port()).collect());
    let ids = distinct(heard.iter().map(|it| it.id).collect());
    assert!(ports > 30 && ids > 30, "{ports} ports, {ids} IDs");
}

#[tokio::test]
async fn queries_over_plain_tcp_share_a_connection() {
    let resolver = Resolver::start().await;
    let split = Split::new(&[(&["corp.example"], resolver.upstream(Protocol::Tcp), false)]);
    let mut client = TcpClient::connect(split.proxy.address(ListenTransport::Tcp).unwrap()).await;
    let queries: Vec<_> = (0..20)
        .map(|n| query(n, &format!("n{n}.corp.example"), RecordType::A))
        .collect();
    client.send(&queries).await;
    for _ in 0..20 {
        assert!(is_private(&client.receive().await.unwrap()));
    }
    let mut ports: Vec<_> = resolver.heard().iter().map(|it| it.from.port()).collect();
    ports.dedup();
    assert_eq!((resolver.heard().len(), ports.len()), (20, 1));
}

#[tokio::test]
async fn a_private_route_that_is_down_fails_at_once_and_tells_nobody_else() {
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let resolver = Resolver::start().await;
        let upstream = resolver.upstream(protocol);
        resolver.stop().await;
        let split = Split::new(&[(&["corp.example"], upstream, false)]);
        let began = Instant::now();
        let answer = split.ask("db.corp.example").await;
        assert_eq!(answer.rcode(), Rcode::SERVFAIL, "{protocol:?}");
        assert_eq!(answer.extended_error(), Some(23), "{protocol:?}");
        assert!(began.elapsed() < Duration::from_secs(1), "{protocol:?}");
        assert_eq!(split.public.counters().connections_accepted, 0);
    }
}

#[tokio::test]
async fn a_private_route_that_is_mute_or_fails_tells_nobody_else() {
    let resolver = Resolver::start().await;
    let split = Split::new(&[(&["corp.example"], resolver.upstream(Protocol::Udp), false)]);
    for name in ["mute.corp.example", "servfail.corp.example"] {
        assert_eq!(split.ask(name).await.rcode(), Rcode::SERVFAIL, "{name}");
    }
    assert_eq!(split.public.counters().connections_accepted, 0);
}

#[tokio::test]
async fn a_route_that_may_fall_back_does_when_it_is_down_fails_or_is_mute() {
    let (up, down) = (Resolver::start().await, Resolver::start().await);
    let split = Split::new(&[
        (&["up.example"], up.upstream(Protocol::Udp), true),
        (&["down.example"], down.upstream(Protocol::Udp), true),
    ]);
    down.stop().await;
    assert!(is_private(&split.ask("www.up.example").await));
    assert_eq!(split.asked_in_public(), 0);
    // Neither label says anything to the public server, which would do the same.
    assert!(split.ask("www.down.example").await.is_good());
    assert_eq!(split.asked_in_public(), 1);
    let answer = split.ask("servfail.up.example").await;
    assert_eq!(answer.rcode(), Rcode::SERVFAIL);
    assert_eq!(split.asked_in_public(), 2, "both failed");
}

#[tokio::test]
async fn an_upstream_that_is_the_proxy_itself_keeps_it_from_starting() {
    let port = {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.local_addr().unwrap().port()
    };
    let trust = Trust::new();
    let public = trust.server(Mode::default());
    let start = |listen: Ipv4Addr, asked: Ipv4Addr| {
        let mut config = config(vec![trust.upstream(&public)]);
        config.listeners = vec![ListenAddress {
            address: (listen, port).into(),
            transport: ListenTransport::Udp,
        }];
        let upstream = private((asked, port).into(), Protocol::Udp);
        add_route(&mut config, &["corp.example"], upstream, false);
        Prepared::new(config).map(drop)
    };
    let (here, all) = (Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED);
    let itself = Ipv4Addr::new(127, 1, 2, 3);
    for (listen, asked) in [(here, here), (all, itself)] {
        let error = start(listen, asked).unwrap_err();
        assert!(
            matches!(error.faults[..], [StartFault::Loop { .. }]),
            "{error}"
        );
    }
    for (listen, asked) in [(here, itself), (all, Ipv4Addr::new(192, 0, 2, 1))] {
        assert!(start(listen, asked).is_ok(), "{listen} {asked}");
    }
}
