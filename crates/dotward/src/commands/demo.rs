//! `dotward demo`: the whole chain on loopback, without network and without configuration.
//!
//! A resolver (our own DoT listener with local records and a certificate made on the spot), a forwarder in front of it that verifies this
//! certificate, one question through both, the lines to try, and service until Ctrl-C. Every part is the one `dotward run`
//! uses.
//!
//! Promises: nothing leaves loopback and nothing is written to disk; keys live in memory and end with the process.

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use dotward_core::front::Cookies;
use dotward_core::wire::edns::UDP_PAYLOAD_MAX;
use dotward_core::wire::{
    Class, Name, QueryOptions, Question, RecordType, ResponseView, write_query,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};

use super::{query, records};
use crate::config::{
    AnswerSettings, BindRules, Binding, CacheSettings, Config, Deny, LimitSettings, ListenAddress,
    ListenTransport, LocalData, LocalRecord, LogFormat, LogSettings, ReadyRequires, Strategy,
    UpstreamSettings, Workers,
};
use crate::run::{Order, Prepared, Proxy, Running, StartError, StartFault, local_runtime};
use crate::tls::TlsSetupError;
use crate::tls::certificate::CertificateFacts;
use crate::tls::client::UpstreamTls;
use crate::tls::server::ListenerTls;
use crate::unix_signals::UnixSignals;
use crate::upstream::one_shot::{self, OneShotError};

/// What the resolver is called in its certificate.
const RESOLVER: &str = "resolver.dotward.example";
/// The name that is asked for.
const GREETING: &str = "hello.dotward.example";
/// Ports that are tried before the system chooses one: easy to remember and to type.
const FORWARDER_PORTS: std::ops::Range<u16> = 5300..5310;
const RESOLVER_PORTS: std::ops::Range<u16> = 5853..5863;
/// Longest wait for the one question.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the demonstration did not come about.
#[derive(Debug)]
pub enum DemoError {
    /// The certificate could not be made.
    Certificate(rcgen::Error),
    /// TLS refused what was made.
    Tls(TlsSetupError),
    /// A part could not be started.
    Start(StartError),
    /// The direct question failed.
    Ask(OneShotError),
    /// The forwarder did not answer, or output failed.
    Io(io::Error),
    /// The answer is not the one that was put in.
    WrongAnswer,
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => write!(f, "no certificate could be made: {error}"),
            Self::Tls(error) => error.fmt(f),
            Self::Start(error) => error.fmt(f),
            Self::Ask(error) => write!(f, "the resolver did not answer: {error}"),
            Self::Io(error) => error.fmt(f),
            Self::WrongAnswer => f.write_str("the chain did not give the answer that was put in"),
        }
    }
}

impl std::error::Error for DemoError {}

impl From<rcgen::Error> for DemoError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error)
    }
}

impl From<TlsSetupError> for DemoError {
    fn from(error: TlsSetupError) -> Self {
        Self::Tls(error)
    }
}

impl From<StartError> for DemoError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Both ends of the chain at work.
#[derive(Debug)]
pub struct Demo {
    resolver: Running,
    forwarder: Running,
    /// How the forwarder reaches the resolver, for a look at that connection.
    tls: UpstreamTls,
    resolver_address: SocketAddr,
    address: SocketAddr,
}

/// Runs the demonstration until TERM or INT comes.
///
/// # Errors
///
/// [`DemoError`], ready to be shown.
pub fn run(out: &mut dyn Write, listen: Option<SocketAddr>) -> Result<(), DemoError> {
    let demo = Demo::start(listen)?;
    demo.show(out)?;
    out.flush()?;
    let signal = local_runtime()?.block_on(async {
        let mut signals = UnixSignals::listen()?;
        Ok::<_, io::Error>(signals.next_end().await)
    })?;
    writeln!(out, "\n{signal}: the demonstration ends")?;
    demo.stop()?;
    Ok(())
}

impl Demo {
    /// Starts resolver and forwarder; the forwarder at `listen`, or at a free port of its choice.
    ///
    /// # Errors
    ///
    /// [`DemoError`] when a part cannot be made or started.
    pub fn start(listen: Option<SocketAddr>) -> Result<Self, DemoError> {
        let identity = Identity::new()?;
        let resolver = start_on(
            None,
            RESOLVER_PORTS,
            &[ListenTransport::Tls],
            &mut |listeners| {
                let config = config(listeners, Vec::new(), greetings());
                Prepared::with_tls(config, Some(identity.listener.clone()), Vec::new())
            },
        )?;
        let resolver_address = address_of(&resolver, ListenTransport::Tls)?;
        let settings = upstream(resolver_address);
        let tls = || UpstreamTls::with_roots(&settings, Some(identity.roots.clone()));
        let direct = tls()?;
        let transports = [ListenTransport::Udp, ListenTransport::Tcp];
        let forwarder = start_on(listen, FORWARDER_PORTS, &transports, &mut |listeners| {
            let config = config(listeners, vec![settings.clone()], Vec::new());
            let tls = tls().map_err(|error| StartError {
                faults: vec![StartFault::ListenTls(error)],
            })?;
            Prepared::with_tls(config, None, vec![tls])
        })?;
        let address = address_of(&forwarder, ListenTransport::Udp)?;
        Ok(Self {
            resolver,
            forwarder,
            tls: direct,
            resolver_address,
            address,
        })
    }

    /// Where the forwarder listens, for UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks one question through the chain and writes the way it went, and what to try.
    ///
    /// # Errors
    ///
    /// [`DemoError`] when the chain does not answer as it must.
    pub fn show(&self, out: &mut dyn Write) -> Result<(), DemoError> {
        let question = Question::new(&name(GREETING), RecordType::A, Class::IN);
        let began = Instant::now();
        let answer = self.ask(&question)?;
        let first = began.elapsed();
        let began = Instant::now();
        self.ask(&question)?;
        let second = began.elapsed();
        let direct = local_runtime()?
            .block_on(one_shot::ask(
                &self.tls,
                &Binding::default(),
                self.resolver_address,
                &question,
            ))
            .map_err(DemoError::Ask)?;
        let (forwarder, resolver) = (self.address, self.resolver_address);
        writeln!(
            out,
            "dotward demo: all of it in this process, nothing leaves this machine\n\n  \
             you ──UDP──▶ forwarder {forwarder} ──TLS──▶ resolver {resolver}\n"
        )?;
        writeln!(
            out,
            "asked       {GREETING} A over UDP at {forwarder}\n\
             answered    {answer} in {first:.1?}; once the TLS connection stands: {second:.1?}"
        )?;
        writeln!(
            out,
            "connection  {}",
            query::connection_words(&direct.facts)
        )?;
        let certificate = direct.facts.certificates.first();
        if let Some(facts) = certificate.and_then(CertificateFacts::read) {
            writeln!(
                out,
                "verified    name {} by {}, {} days left\npin         sha256/{}",
                facts.names.join(", "),
                facts.issuer,
                facts.days_left,
                facts.pin
            )?;
        }
        self.write_lines_to_try(out)?;
        Ok(())
    }

    fn write_lines_to_try(&self, out: &mut dyn Write) -> io::Result<()> {
        let (ip, port) = (self.address.ip(), self.address.port());
        let resolver = self.resolver_address;
        writeln!(
            out,
            "\nTry, in another terminal:\n\
             \n  dig @{ip} -p {port} {GREETING}\
             \n  dig @{ip} -p {port} +tcp {GREETING} AAAA\
             \n  dig @{ip} -p {port} {GREETING} TXT\
             \n  dig @{ip} -p {port} nothing.dotward.example   # fails, and says why\
             \n  kdig @{} -p {} +tls {GREETING}   # straight to the resolver\n\
             \nCtrl-C ends it.",
            resolver.ip(),
            resolver.port()
        )
    }

    /// Asks the forwarder over UDP, as any stub resolver does, and gives back the first record's data.
    fn ask(&self, question: &Question) -> Result<String, DemoError> {
        let local = match self.address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(local)?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut message = Vec::new();
        let options = QueryOptions {
            keepalive: false,
            checking_disabled: false,
            dnssec_ok: false,
            padding: None,
        };
        write_query(question.view(), options, &mut message);
        socket.send(&message)?;
        let mut reply = [0; 4096];
        let length = socket.recv(&mut reply)?;
        let reply = reply.get(..length).unwrap_or_default();
        let view = ResponseView::parse(reply).map_err(|_| DemoError::WrongAnswer)?;
        if !view.answers(question.view()) {
            return Err(DemoError::WrongAnswer);
        }
        let record = view.records().flatten().next();
        let record = record.filter(|record| record.rtype == question.qtype());
        record
            .map(|record| records::data(reply, &record))
            .ok_or(DemoError::WrongAnswer)
    }

    /// Ends both parts in order.
    ///
    /// # Errors
    ///
    /// When a part had ended by a failure.
    pub fn stop(self) -> io::Result<()> {
        self.forwarder.order(Order::Drain);
        self.forwarder.stop()?;
        self.resolver.stop()?;
        Ok(())
    }
}

/// A certificate authority and the resolver's certificate.
struct Identity {
    listener: ListenerTls,
    roots: RootCertStore,
}

impl Identity {
    fn new() -> Result<Self, DemoError> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "dotward demo authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        valid_for_a_month(&mut params);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let mut params = CertificateParams::new(vec![RESOLVER.to_owned()])?;
        params
            .distinguished_name
            .push(DnType::CommonName, "dotward demo resolver");
        valid_for_a_month(&mut params);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates([authority.der().clone()]);
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let listener = ListenerTls::new(vec![certificate.der().clone()], key.into())?;
        Ok(Self { listener, roots })
    }
}

fn valid_for_a_month(params: &mut CertificateParams) {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let now = std::time::SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + 30 * DAY).into();
}

/// Starts a proxy at `wanted`, or at the first free port of `ports`, or at one the system chooses.
fn start_on(
    wanted: Option<SocketAddr>,
    ports: std::ops::Range<u16>,
    transports: &[ListenTransport],
    prepare: &mut dyn FnMut(Vec<ListenAddress>) -> Result<Prepared, StartError>,
) -> Result<Running, StartError> {
    let at = |address| {
        let listen = |transport: &ListenTransport| ListenAddress {
            address,
            transport: *transport,
        };
        transports.iter().map(listen).collect()
    };
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if let Some(address) = wanted {
        return Proxy::start_prepared(prepare(at(address))?);
    }
    for port in ports {
        if let Ok(prepared) = prepare(at(loopback(port))) {
            return Proxy::start_prepared(prepared);
        }
    }
    Proxy::start_prepared(prepare(at(loopback(free_port()?)))?)
}

/// A port that is free right now, for transports that must share one.
fn free_port() -> io::Result<u16> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(socket.local_addr()?.port())
}

fn address_of(running: &Running, transport: ListenTransport) -> Result<SocketAddr, DemoError> {
    running
        .address(transport)
        .ok_or_else(|| io::Error::other("a listener is missing").into())
}

fn config(
    listeners: Vec<ListenAddress>,
    upstreams: Vec<UpstreamSettings>,
    local: Vec<LocalRecord>,
) -> Config {
    Config {
        listeners,
        interfaces: Vec::new(),
        listen_tls: None,
        proxy_from: Vec::new(),
        rules: BindRules::default(),
        run_as: None,
        control: None,
        snapshot: None,
        shared_cache: None,
        allow: ["127.0.0.0/8", "::1/128"]
            .iter()
            .filter_map(|network| network.parse().ok())
            .collect(),
        deny: Deny::default(),
        limits: LimitSettings::default(),
        answers: AnswerSettings {
            udp_size: UDP_PAYLOAD_MAX,
            cookies: Cookies::Answer,
            cookie_secrets: None,
            nsid: None,
        },
        upstreams,
        strategy: Strategy::default(),
        routes: Vec::new(),
        forward_special: Vec::new(),
        private_domains: None,
        refuse_snooping: false,
        local,
        cache: CacheSettings::OFF,
        bootstrap: Vec::new(),
        log: LogSettings {
            level: tracing::level_filters::LevelFilter::WARN,
            format: LogFormat::Text,
            file: None,
        },
        drain: Duration::from_secs(2),
        admin: None,
        ready_requires: ReadyRequires::default(),
        sandbox: false,
        watch: false,
        workers: Workers::Auto,
    }
}

fn upstream(endpoint: SocketAddr) -> UpstreamSettings {
    UpstreamSettings {
        tls_name: ServerName::try_from(RESOLVER).ok(),
        ..UpstreamSettings::new("demo".to_owned(), vec![endpoint], endpoint.port())
    }
}

fn greetings() -> Vec<LocalRecord> {
    let text = b"It went out over TLS and came back.".to_vec();
    [
        LocalData::A(Ipv4Addr::new(192, 0, 2, 53)),
        LocalData::Aaaa(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53)),
        LocalData::Txt(text),
    ]
    .into_iter()
    .map(|data| LocalRecord {
        name: name(GREETING),
        data,
        ttl: 60,
    })
    .collect()
}

fn name(text: &str) -> Name {
    text.parse().unwrap_or_else(|_| Name::root())
}
