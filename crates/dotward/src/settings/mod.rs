//! The one table of settings: what each is called in the file, on the command line and in the
//! environment, what it accepts, its default, and one sentence of help.
//!
//! Promise: command line, environment, file, example file, manual and `check --show-origin` are all
//! derived from [`SETTINGS`]; a setting that is not there exists nowhere, and a setting that is
//! there can be set in each of the ways it names (tests/config/table.rs proves it).
//!
//! Deliberately absent: how values are combined and what they mean together (`config`).

use std::fmt;
use std::time::Duration;

use crate::limits::WORKERS_MAX;

mod duration;
pub mod example;
pub mod manual;
mod older;
pub mod schema;
mod table;

pub use duration::DurationText;
pub use older::{OLDER_NAMES, OlderForm, OlderName};
pub use table::SETTINGS;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Which one.
    pub id: Id,
    /// Its place in the file.
    pub key: Option<Key>,
    /// Its long option, without the dashes.
    pub flag: Option<&'static str>,
    /// Its one-letter option.
    pub short: Option<char>,
    /// Its environment variable.
    pub variable: Option<&'static str>,
    /// What a value looks like.
    pub kind: Kind,
    /// Whether it is a list: repeated on the command line, comma-separated in the environment, an
    /// array in the file.
    pub many: bool,
    /// What holds when nobody says anything.
    pub default: Default,
    /// A value other than the default, as it stands in the example file and the manual.
    pub example: &'static str,
    /// The heading it stands under.
    pub group: Group,
    /// One sentence.
    pub help: &'static str,
    /// What the sentence leaves out; may be empty.
    pub detail: &'static str,
    /// When a changed value takes effect.
    pub change: Change,
    /// Whether `-h` leaves it to `--help`.
    pub rare: bool,
}

/// The name of a setting inside the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "each variant is described by its row in the table"
)]
pub enum Id {
    Listen,
    ListenTls,
    ListenProto,
    ListenAllow,
    ListenDeny,
    ListenCertificate,
    ListenKey,
    ListenClientCa,
    ListenProxyFrom,
    ListenFreebind,
    Takeover,
    User,
    RunGroup,
    UdpSize,
    Cookies,
    CookieSecretFile,
    Nsid,
    ListenControl,
    Upstream,
    UpstreamName,
    UpstreamPreset,
    UpstreamAddress,
    UpstreamPort,
    UpstreamTlsName,
    UpstreamPin,
    UpstreamCaFile,
    UpstreamClientCert,
    UpstreamClientKey,
    UpstreamTier,
    UpstreamWeight,
    UpstreamKeepWarm,
    UpstreamEdns,
    UpstreamPadding,
    Strategy,
    Route,
    RouteSuffix,
    RouteTo,
    RouteStrategy,
    RouteFallback,
    ForwardSpecial,
    BlockPrivate,
    PrivateDomain,
    RefuseSnooping,
    CacheSize,
    CacheStale,
    CacheMinTtl,
    CacheMaxTtl,
    CacheNegativeTtl,
    CachePrefetch,
    CacheSnapshot,
    CacheSnapshotEvery,
    SharedCache,
    SharedCachePasswordFile,
    SharedCacheSentinelPasswordFile,
    SharedCacheCaFile,
    LimitRate,
    LimitOctets,
    LimitSlip,
    LimitPrefixV4,
    LimitPrefixV6,
    LimitHandshakes,
    LimitExempt,
    LimitClients,
    LimitClientsPerSource,
    UpstreamPinMode,
    UpstreamSource,
    UpstreamInterface,
    UpstreamMark,
    Bootstrap,
    CaFile,
    ClientCert,
    ClientKey,
    PinMode,
    LocalName,
    LocalA,
    LocalAaaa,
    LocalCname,
    LocalPtr,
    LocalTxt,
    LocalTtl,
    LogLevel,
    LogFormat,
    LogFile,
    Debug,
    ConfigFile,
    Drain,
    Admin,
    ReadyRequires,
    Watch,
    Sandbox,
    NoSandbox,
    Workers,
    Compat,
}

/// A place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The table; empty for the top of the file.
    pub table: &'static str,
    /// Whether the table is repeated (`[[upstream]]`).
    pub repeated: bool,
    /// The key in it.
    pub name: &'static str,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.table, self.repeated) {
            ("", _) => f.write_str(self.name),
            (table, false) => write!(f, "{table}.{}", self.name),
            (table, true) => write!(f, "[[{table}]] {}", self.name),
        }
    }
}

/// What holds when nobody says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// These values, written as on the command line.
    Values(&'static [&'static str]),
    /// No value; the words say what that means.
    Nothing(&'static str),
}

/// The headings of help and manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Where clients are answered, and which.
    Listen,
    /// Who is asked.
    Upstreams,
    /// What is kept.
    Cache,
    /// What others may learn.
    Privacy,
    /// What is told to the operator.
    Observe,
    /// The rest.
    Expert,
}

impl Group {
    /// All, in the order of the manual.
    pub const ALL: [Self; 6] = [
        Self::Listen,
        Self::Upstreams,
        Self::Cache,
        Self::Privacy,
        Self::Observe,
        Self::Expert,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Listen => "Listen",
            Self::Upstreams => "Upstreams",
            Self::Cache => "Cache",
            Self::Privacy => "Privacy",
            Self::Observe => "Observe",
            Self::Expert => "Expert",
        }
    }
}

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// When the configuration is read again.
    Reload,
    /// After a restart.
    Restart,
}

impl Change {
    /// The word of the manual.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Restart => "restart",
        }
    }
}

/// What a value looks like. Its parser is `config::value::parse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `[udp://|tcp://|tls://]IP[:PORT]`.
    Listen,
    /// The same without a prefix, spoken to over TLS.
    ListenTls,
    /// `IP[:PORT]` of the admin listener, or `off`.
    Admin,
    /// A network in CIDR form, an address, or a word for several networks.
    Network,
    /// An upstream on one line.
    Spec,
    /// A suffix and who is asked about the names below it, on one line.
    Route,
    /// A domain name, or a network, which stands for the reverse names of its addresses.
    Suffix,
    /// A domain name; it and all names below are meant.
    Domain,
    /// The name of an upstream, or an upstream on one line.
    Target,
    /// A file.
    Path,
    /// One of these words, in any letter case.
    Choice(&'static [&'static str]),
    /// A number with a unit: `500ms`, `2s`, `1m`.
    Duration {
        /// The shortest that is accepted.
        min: Duration,
        /// The longest that is accepted.
        max: Duration,
    },
    /// A port number from 1 to 65535.
    Port,
    /// Whole seconds, or a duration of whole seconds.
    Seconds {
        /// The largest number that is accepted.
        max: u32,
    },
    /// Octets with a binary unit (`64MiB`), or `off`.
    Size,
    /// `true` or `false`.
    YesNo,
    /// `true`, `false`, or octets.
    Padding,
    /// A word for people: letters, digits, `.`, `_`, `-`; 1 to 64 of them.
    Label,
    /// The name of a preset.
    Preset,
    /// 1 to 4096 octets of text.
    Text,
    /// A domain name.
    DomainName,
    /// The DNS name or address a certificate must carry.
    TlsName,
    /// `sha256/` and the base64 form of the SHA-256 of a public key.
    Pin,
    /// `IP`, `IPv4:PORT` or `[IPv6]:PORT` of an upstream.
    Endpoint,
    /// An IP address without a port.
    Ip,
    /// The name of a network interface.
    Interface,
    /// A whole number.
    Number {
        /// The smallest that is accepted.
        min: u32,
        /// The largest that is accepted.
        max: u32,
    },
    /// `auto`, or a number of threads.
    Workers,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// Where a Redis or Valkey server is, as a URL, or `off`.
    Store,
    /// Present or absent.
    Switch,
}

impl Kind {
    /// What stands for a value in help.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Listen | Self::ListenTls | Self::Admin | Self::Endpoint => "ADDR",
            Self::Network => "NET",
            Self::Spec => "SPEC",
            Self::Route => "SUFFIX=SPEC",
            Self::Suffix => "SUFFIX",
            Self::Domain => "DOMAIN",
            Self::Target => "NAME",
            Self::YesNo => "BOOL",
            Self::Padding => "BOOL|N",
            Self::Path => "FILE",
            Self::Choice(_) => "WORD",
            Self::Duration { .. } => "DUR",
            Self::Port => "PORT",
            Self::Size => "SIZE",
            Self::Seconds { .. } => "SECONDS",
            Self::Label | Self::Preset | Self::DomainName | Self::TlsName | Self::Interface => {
                "NAME"
            }
            Self::Text => "TEXT",
            Self::Pin => "PIN",
            Self::Ip => "IP",
            Self::Number { .. } | Self::Workers => "N",
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
            Self::Store => "URL",
            Self::Switch => "",
        }
    }

    /// What is accepted, in words.
    pub fn accepts(self) -> String {
        match self {
            Self::Listen => {
                "`IP[:PORT]`, IPv6 in brackets; prefix `udp://`, `tcp://` or `tls://`".into()
            }
            Self::ListenTls => "`IP[:PORT]`, IPv6 in brackets".into(),
            Self::Admin => "`IP[:PORT]`, IPv6 in brackets; or `off`".into(),
            Self::Network => "`loopback`, `private`, `any`, an address or a CIDR network".into(),
            Self::Spec => "SPEC, see below".into(),
            Self::Route => "`SUFFIX=SPEC[,SPEC…]`".into(),
            Self::Suffix => "domain name, address or CIDR network".into(),
            Self::Domain => "domain name".into(),
            Self::Target => "name of an upstream, or SPEC".into(),
            Self::YesNo => "`true` or `false`".into(),
            Self::Padding => "`true`, `false`, or 16 to 512 octets".into(),
            Self::Path => "path".into(),
            Self::Choice(words) => words.join(", "),
            Self::Duration { min, max } => format!(
                "number with `ms`, `s`, `m`, `h` or `d`; {} to {}",
                DurationText(min),
                DurationText(max)
            ),
            Self::Port => "1 to 65535".into(),
            Self::Size => "`off`, or a number with `KiB`, `MiB` or `GiB`; 1MiB to 1024GiB".into(),
            Self::Seconds { max } => format!("0 to {max} seconds, or a duration such as `5m`"),
            Self::Label => "1 to 64 letters, digits, `.`, `_`, `-`".into(),
            Self::Preset => "name of a preset".into(),
            Self::Text => "1 to 4096 octets".into(),
            Self::DomainName => "domain name".into(),
            Self::TlsName => "DNS name or address".into(),
            Self::Pin => "`sha256/` and 44 base64 characters".into(),
            Self::Endpoint => "`IP`, `IPv4:PORT` or `[IPv6]:PORT`".into(),
            Self::Ip => "IP address".into(),
            Self::Interface => "interface, 1 to 15 octets".into(),
            Self::Number { min, max } => format!("{min} to {max}"),
            Self::Workers => format!("auto, or 1 to {WORKERS_MAX}"),
            Self::Ipv4 => "IPv4 address".into(),
            Self::Ipv6 => "IPv6 address".into(),
            Self::Store => {
                "`redis://`, `rediss://` or `unix://` URL without password, or `off`".into()
            }
            Self::Switch => "no value".into(),
        }
    }
}

/// Whether a value stands in the file without quotes.
pub(crate) fn is_bare(kind: Kind, text: &str) -> bool {
    let is_number = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    match kind {
        Kind::Number { .. } | Kind::YesNo | Kind::Port | Kind::Padding => true,
        Kind::Seconds { .. } | Kind::Size | Kind::Workers => is_number,
        Kind::Listen
        | Kind::ListenTls
        | Kind::Admin
        | Kind::Network
        | Kind::Spec
        | Kind::Route
        | Kind::Suffix
        | Kind::Domain
        | Kind::Target
        | Kind::Path
        | Kind::Choice(_)
        | Kind::Duration { .. }
        | Kind::Label
        | Kind::Preset
        | Kind::Text
        | Kind::DomainName
        | Kind::TlsName
        | Kind::Pin
        | Kind::Endpoint
        | Kind::Ip
        | Kind::Interface
        | Kind::Ipv4
        | Kind::Ipv6
        | Kind::Store
        | Kind::Switch => false,
    }
}

impl Setting {
    /// The row of a setting.
    pub fn of(id: Id) -> &'static Self {
        #[expect(
            clippy::expect_used,
            reason = "a test proves that each Id has exactly one row"
        )]
        SETTINGS
            .iter()
            .find(|setting| setting.id == id)
            .expect("each Id has a row")
    }

    /// The row of a key in the file.
    pub fn of_key(table: &str, name: &str) -> Option<&'static Self> {
        let matches = |key: &Key| key.table == table && key.name == name;
        SETTINGS
            .iter()
            .find(|setting| setting.key.as_ref().is_some_and(matches))
    }

    /// The name to use when speaking of the setting as such: the key, else the option, else the
    /// variable.
    pub fn title(&self) -> String {
        match (self.key, self.flag, self.variable) {
            (Some(key), _, _) => key.to_string(),
            (None, Some(flag), _) => format!("--{flag}"),
            (None, None, variable) => variable.unwrap_or_default().to_owned(),
        }
    }

    /// The default as text: the values, or the words in their place.
    pub fn default_text(&self) -> String {
        match self.default {
            Default::Values(values) => values.join(","),
            Default::Nothing(words) => words.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_one_row_and_no_name_is_used_twice() {
        let mut ids: Vec<_> = SETTINGS.iter().map(|setting| setting.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), SETTINGS.len());
        assert_eq!(ids.len(), Id::Compat as usize + 1, "an Id without a row");
        for (index, one) in SETTINGS.iter().enumerate() {
            for other in &SETTINGS[index + 1..] {
                assert!(one.key.is_none() || one.key != other.key, "{:?}", one.key);
                assert!(
                    one.flag.is_none() || one.flag != other.flag,
                    "{:?}",
                    one.flag
                );
                assert!(
                    one.short.is_none() || one.short != other.short,
                    "{:?}",
                    one.short
                );
                let same = one.variable.is_some() && one.variable == other.variable;
                assert!(!same, "{:?}", one.variable);
            }
        }
    }

    #[test]
    fn names_follow_one_pattern() {
        for setting in SETTINGS {
            let ways =
                setting.key.is_some() || setting.flag.is_some() || setting.variable.is_some();
            assert!(ways, "{:?} cannot be set", setting.id);
            if let (Some(flag), Some(variable)) = (setting.flag, setting.variable) {
                let expected = format!("DOTWARD_{}", flag.replace('-', "_").to_uppercase());
                assert_eq!(variable, expected);
            }
            assert!(
                setting.help.ends_with(|last: char| last != '.'),
                "{}",
                setting.help
            );
        }
    }
}
