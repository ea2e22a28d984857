//! The checked configuration: the only form of it the program sees.
//!
//! [`Config`] is plain data which cannot hold a bad value: every address is parsed, every upstream
//! has a name or a pin (RFC 8310 section 5, strict profile), every file named here was readable and
//! held what it must hold when the configuration was loaded.
//!
//! The way to it: `env` and `cli` hand over texts, `file` reads them out of TOML, `older` translates those
//! of other programs; `layers` decides whose word counts and parses it with `value`; `build`,
//! `upstreams` and `local` find out what the values mean together. Nothing stops at the first
//! fault; [`load()`] ends with the configuration or with every [`Fault`].
//!
//! Deliberately absent: sockets, TLS objects, defaults (they stand in the table of settings).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dotward_core::limits::QUERY_PADDING_BLOCK;
use dotward_core::policy::reverse_zones;
use ipnet::IpNet;
use rustls::pki_types::ServerName;
use tracing::level_filters::LevelFilter;

use crate::presets::Preset;

mod answers;
mod build;
mod cache;
pub mod fault;
mod file;
pub mod files;
mod kept_files;
pub(crate) mod layers;
mod limits;
mod listeners;
pub mod load;
mod local;
mod near;
mod older;
pub mod origin;
pub mod place;
mod private;
pub mod report;
mod routes;
pub(crate) mod suggest;
mod upstreams;
pub mod value;

pub use fault::{Fault, Problem};
pub use files::{Disk, ReadFiles};
pub use kept_files::KeptFiles;
pub use limits::LimitSettings;
pub use load::{InForce, Loaded, Refused, control_path, load, load_where};
pub use near::{
    BindRules, ListenAddress, ListenInterface, ListenTransport, RunAs, ServerIdentity, SocketOwner,
};
pub use report::{Style, Warning};
pub(crate) use routes::{own_endpoint, policy_routes};
pub(crate) use upstreams::of_preset as preset_settings;

pub use dotward_core::front::{CookieSecrets, Cookies, Deny};
pub use dotward_core::upstream::{Protocol, Strategy};
pub use dotward_core::wire::{Name, NameError, RecordType};

/// The port of DNS over TLS (RFC 7858 section 3.1).
pub const DOT_PORT: u16 = 853;

/// The port of DNS without TLS (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

/// The port of the admin listener.
pub const ADMIN_PORT: u16 = 9853;

/// Everything the program is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Addresses at which queries are received; no two alike.
    pub listeners: Vec<ListenAddress>,
    /// Interfaces at whose addresses queries are received, beside the listeners; no two alike. Here or there is at least one.
    pub interfaces: Vec<ListenInterface>,
    /// How their addresses are bound.
    pub rules: BindRules,
    /// Who the program becomes once everything is bound; `None` for whoever started it.
    pub run_as: Option<RunAs>,
    /// What the TLS listeners present; there whenever a listener's transport is TLS.
    pub listen_tls: Option<ServerIdentity>,
    /// The Unix socket that takes orders.
    pub control: Option<PathBuf>,
    /// The networks whose clients are answered.
    pub allow: Vec<IpNet>,
    /// What others get.
    pub deny: Deny,
    /// How much a client gets of what all share.
    pub limits: LimitSettings,
    /// The networks of load balancers, whose PROXY headers say who asks.
    pub proxy_from: Vec<IpNet>,
    /// What clients are told beside the answer.
    pub answers: AnswerSettings,
    /// The resolvers asked, in order of preference; names are unique, and at least one has a tier.
    pub upstreams: Vec<UpstreamSettings>,
    /// Who of those with a tier is asked.
    pub strategy: Strategy,
    /// Names sent to other upstreams. No two are about the same suffix.
    pub routes: Vec<RouteSettings>,
    /// Domains of the table of special-use names that are forwarded like any other.
    pub forward_special: Vec<Name>,
    /// Domains that may have private addresses, in what the upstreams of names no route claims say; `None`: all may.
    pub private_domains: Option<Vec<Name>>,
    /// Whether nobody is told without recursion what is kept.
    pub refuse_snooping: bool,
    /// Records answered here.
    pub local: Vec<LocalRecord>,
    /// What is kept, and for how long.
    pub cache: CacheSettings,
    /// The file that carries what is kept over a restart.
    pub snapshot: Option<SnapshotSettings>,
    /// The cache that several instances share.
    pub shared_cache: Option<SharedCacheSettings>,
    /// The resolvers asked for the addresses of upstreams without endpoints. Each has endpoints
    /// itself; at least one whenever such an upstream exists.
    pub bootstrap: Vec<UpstreamSettings>,
    /// What is logged, how and where.
    pub log: LogSettings,
    /// How long queries in flight may take to finish after the order to stop.
    pub drain: Duration,
    /// Where metrics and health are told.
    pub admin: Option<SocketAddr>,
    /// When the proxy calls itself ready.
    pub ready_requires: ReadyRequires,
    /// Whether the program gives up what it does not need once it serves.
    pub sandbox: bool,
    /// Whether the file is looked at, and read again when it changed.
    pub watch: bool,
    /// How many threads answer queries.
    pub workers: Workers,
}

/// When the proxy calls itself ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadyRequires {
    /// Once an upstream was found to work; what happens to upstreams later changes nothing.
    #[default]
    Start,
    /// While an upstream works.
    Upstream,
}

/// How many threads answer queries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Workers {
    /// One, and more up to the number of cores while it is busy.
    #[default]
    Auto,
    /// Always as many.
    Number(NonZeroU8),
}

/// What clients are told beside the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerSettings {
    /// The longest answer over UDP, in octets; 512 to 4096.
    pub udp_size: u16,
    /// What is done about DNS cookies.
    pub cookies: Cookies,
    /// What they are made with; `None` for a random secret at each start.
    pub cookie_secrets: Option<CookieSecrets>,
    /// The name of this server.
    pub nsid: Option<String>,
}

/// Certificate chain and key shown to an upstream that asks for them, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The chain, the client's own certificate first.
    pub certificate_file: PathBuf,
    /// The private key of the first certificate.
    pub key_file: PathBuf,
}

/// Names sent to other upstreams (split horizon).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSettings {
    /// The names, as they were written; at least one.
    pub suffixes: Vec<Suffix>,
    /// Who is asked: places in [`Config::upstreams`], at least one, each once.
    pub members: Vec<usize>,
    /// Who of them.
    pub strategy: Strategy,
    /// Whether the upstreams of all other names are asked when none of them can answer.
    pub fallback: bool,
}

/// What names have in common at their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suffix {
    /// A domain: it and all names below.
    Domain(Name),
    /// A network: the reverse names of its addresses.
    Network(IpNet),
}

impl Suffix {
    /// The domains it stands for; at least one, and at most 128.
    pub fn domains(&self) -> Vec<Name> {
        match self {
            Self::Domain(domain) => vec![domain.clone()],
            Self::Network(network) => reverse_zones(*network),
        }
    }
}

impl fmt::Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => domain.fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

/// One resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// What people call it: the name in the file, the preset's name, the TLS name or the address.
    pub name: String,
    /// How it is spoken to; unencrypted only if it serves routes alone.
    pub protocol: Protocol,
    /// Upstreams of a higher tier are asked only while none of a lower one is well. `None`: it serves the routes that
    /// name it, and nobody else; there it counts as the first tier.
    pub tier: Option<u8>,
    /// Its share of questions relative to the others of its tier, at least 1.
    pub weight: u8,
    /// Connections kept open while nobody asks.
    pub keep_warm: u8,
    /// Whether queries carry an OPT record.
    pub edns: bool,
    /// Octets to whose multiple queries are padded; 0 for no padding. Clear-text ones never are.
    pub padding: usize,
    /// Where to connect to. Empty only if `tls_name` is a DNS name to be found by bootstrap.
    pub endpoints: Vec<SocketAddr>,
    /// The port of endpoints found by bootstrap.
    pub port: u16,
    /// The name, or the address, the certificate must carry. `None` only with pins, and without TLS.
    pub tls_name: Option<ServerName<'static>>,
    /// SHA-256 of each acceptable SubjectPublicKeyInfo (RFC 7858 appendix A); empty: no pinning.
    pub pins: Vec<[u8; 32]>,
    /// What a key that is none of the pins leads to; `Enforce` whenever there is no name.
    pub pin_mode: PinMode,
    /// Roots that replace the bundled ones.
    pub ca_file: Option<PathBuf>,
    /// What to show when the upstream asks for a client certificate.
    pub client_identity: Option<ClientIdentity>,
    /// From where connections to it are made.
    pub binding: Binding,
    /// The preset the upstream was taken from.
    pub preset: Option<&'static Preset>,
}

/// What a key that is none of the pinned ones leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PinMode {
    /// The upstream is refused.
    #[default]
    Enforce,
    /// It is told and counted; name and chain decide.
    Report,
}

/// From where connections to an upstream are made. The default leaves everything to the system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Binding {
    /// Addresses of ours, at most one of each family; that of the endpoint's family is used.
    pub source: Vec<IpAddr>,
    /// The network interface.
    pub interface: Option<String>,
    /// The mark of the packets; not 0.
    pub mark: Option<u32>,
}

/// The file that carries what is kept over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// Where it is.
    pub path: PathBuf,
    /// How often it is written.
    pub every: Duration,
}

/// A Redis or Valkey server that several instances share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedCacheSettings {
    /// Where it is, without a password.
    pub url: String,
    /// What has the password.
    pub password_file: Option<PathBuf>,
    /// What has the password of the sentinels, who are other programs.
    pub sentinel_password_file: Option<PathBuf>,
    /// Roots to trust (PEM); the bundled ones without.
    pub ca_file: Option<PathBuf>,
}

/// What is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// Octets for it; 0: no answers are kept, and failures for a moment.
    pub size: u64,
    /// How long expired answers are kept, for use while no upstream responds; zero: not at all.
    pub stale: Duration,
    /// TTLs are raised to so many seconds, where there is data; never above `max_ttl`.
    pub min_ttl: u32,
    /// TTLs are lowered to so many seconds.
    pub max_ttl: u32,
    /// Negative answers are kept for so many seconds at most.
    pub negative_ttl: u32,
    /// Whether what is much asked for is refreshed before its time is over.
    pub prefetch: bool,
}

impl CacheSettings {
    /// Nothing is kept.
    pub const OFF: Self = Self {
        size: 0,
        stale: Duration::ZERO,
        min_ttl: 0,
        max_ttl: 0,
        negative_ttl: 0,
        prefetch: false,
    };
}

/// One record answered here, class IN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalRecord {
    /// The owner.
    pub name: Name,
    /// Type and value.
    pub data: LocalData,
    /// Time to live, in seconds.
    pub ttl: u32,
}

/// Type and value of a local record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The name this one is an alias of.
    Cname(Name),
    /// Text, without the length octets of its character-strings; 1 to 4096 octets.
    Txt(Vec<u8>),
    /// The name of an address.
    Ptr(Name),
}

/// What is logged, how and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe level that is written.
    pub level: LevelFilter,
    /// The form of a line.
    pub format: LogFormat,
    /// Where lines are appended; `None` is standard error.
    pub file: Option<PathBuf>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// The upstreams asked about names no route claims, with their places; at least one.
    pub fn general_upstreams(&self) -> impl Iterator<Item = (usize, &UpstreamSettings)> {
        let all = self.upstreams.iter().enumerate();
        all.filter(|(_, upstream)| upstream.tier.is_some())
    }

    /// The upstreams of a route, or without one those asked about names no route claims.
    pub fn upstreams_of(&self, route: Option<&RouteSettings>) -> Vec<&UpstreamSettings> {
        match route {
            None => self.general_upstreams().map(|(_, it)| it).collect(),
            Some(route) => {
                let members = route.members.iter();
                members.filter_map(|it| self.upstreams.get(*it)).collect()
            }
        }
    }
}

impl RouteSettings {
    /// The names it is about, as one line.
    pub fn names(&self) -> String {
        let suffixes: Vec<_> = self.suffixes.iter().map(Suffix::to_string).collect();
        suffixes.join(", ")
    }
}

/// The word for a way to speak with an upstream.
pub fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tls => "tls",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// The ways to share questions.
pub const STRATEGIES: [Strategy; 5] = [
    Strategy::Fastest,
    Strategy::Ordered,
    Strategy::RoundRobin,
    Strategy::Hash,
    Strategy::Race,
];

/// The word for a way to share questions.
pub const fn strategy_word(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Fastest => "fastest",
        Strategy::Ordered => "ordered",
        Strategy::RoundRobin => "round-robin",
        Strategy::Hash => "hash",
        Strategy::Race => "race",
    }
}

impl UpstreamSettings {
    /// An upstream asked about every name, without roots, pins and certificates of its own. `name` is what people call it.
    pub fn new(name: String, endpoints: Vec<SocketAddr>, port: u16) -> Self {
        Self {
            name,
            protocol: Protocol::Tls,
            tier: Some(1),
            weight: 1,
            keep_warm: 0,
            edns: true,
            padding: QUERY_PADDING_BLOCK,
            endpoints,
            port,
            tls_name: None,
            pins: Vec::new(),
            pin_mode: PinMode::default(),
            ca_file: None,
            client_identity: None,
            binding: Binding::default(),
            preset: None,
        }
    }

    /// The upstream as one SPEC, always in the long form; client identities have no place in it.
    pub fn spec(&self) -> String {
        let name = self
            .tls_name
            .as_ref()
            .map(|name| format!("{}@", name.to_str()));
        let endpoints: Vec<_> = self.endpoints.iter().map(SocketAddr::to_string).collect();
        if self.protocol != Protocol::Tls {
            return format!("{}://{}", protocol_word(self.protocol), endpoints.join(","));
        }
        let mut spec = match (name, endpoints.is_empty()) {
            (Some(name), false) => format!("tls://{name}{}", endpoints.join(",")),
            (Some(name), true) => format!("tls://{}:{}", name.trim_end_matches('@'), self.port),
            (None, _) => format!("tls://@{}", endpoints.join(",")),
        };
        let pins = self
            .pins
            .iter()
            .map(|pin| format!("pin=sha256/{}", STANDARD.encode(pin)));
        let ca_file = self
            .ca_file
            .iter()
            .map(|path| format!("ca_file={}", path.display()));
        for (index, parameter) in pins.chain(ca_file).enumerate() {
            spec.push(if index == 0 { '?' } else { '&' });
            spec.push_str(&parameter);
        }
        spec
    }
}
