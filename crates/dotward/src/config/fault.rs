//! What keeps a configuration from being used.
//!
//! Every fault knows its place, its key, what is wrong and what to write; its one-line form stands
//! alone in a log. The form for terminals is in `report`.

use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};

use super::place::Place;
use super::value::ValueFault;
use crate::limits::SOCKET_PATH_MAX;
use crate::plain::Line;

mod clash;
mod route;

pub use clash::Clash;
pub use route::RouteProblem;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it was written.
    pub place: Place,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The file is no TOML.
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// A key nobody knows.
    UnknownKey {
        /// The key.
        key: String,
        /// The table it stands in, as people write it; empty at the top of the file.
        inside: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A value of another type.
    WrongType {
        /// The key.
        key: String,
        /// What is expected, with an example.
        expected: String,
        /// What is there.
        found: &'static str,
    },
    /// A value that does not parse.
    BadValue {
        /// The setting.
        key: String,
        /// The text.
        value: String,
        /// Why.
        fault: ValueFault,
    },
    /// One value where two are needed together.
    Alone {
        /// What is there.
        given: String,
        /// What is missing.
        missing: String,
    },
    /// Two values that exclude each other.
    Conflict {
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
    /// No listener is left.
    NoListener,
    /// A TLS listener without certificate and key.
    NoListenCertificate {
        /// The listener.
        listener: String,
    },
    /// The path of a socket that is longer than the system takes.
    SocketPath {
        /// The setting.
        key: String,
        /// How many octets it has.
        octets: usize,
    },
    /// The admin listener at a port of DNS: a firewall that lets clients ask would let them read it.
    AdminOnDnsPort {
        /// The port.
        port: u16,
    },
    /// No upstream is left.
    NoUpstream,
    /// Two upstreams of one name.
    DuplicateUpstream {
        /// The name.
        name: String,
        /// Where it stands first.
        first: Place,
    },
    /// An upstream nobody can reach.
    UpstreamWithoutAddress {
        /// The upstream, as people write it.
        upstream: String,
        /// Its name, if that is the name of a preset.
        preset: Option<String>,
    },
    /// An upstream nobody can verify.
    UpstreamWithoutName {
        /// The upstream, as people write it.
        upstream: String,
    },
    /// Pins that are only reported, where nothing else verifies the upstream.
    ReportWithoutName {
        /// The upstream, as people write it.
        upstream: String,
    },
    /// An upstream for bootstrap that would need bootstrap itself.
    BootstrapByName {
        /// Its SPEC.
        spec: String,
    },
    /// Something about routes.
    Route(RouteProblem),
    /// Two things that cannot stand together.
    Clash(Clash),
    /// A local record without a name, or without a value.
    LocalIncomplete {
        /// The key that is missing.
        missing: &'static str,
    },
    /// An alias beside other records (RFC 1034 section 3.6.2).
    AliasBesideOthers {
        /// The owner.
        name: String,
    },
    /// An alias of a name that is not answered here: a stub resolver takes an alias without an address for an answer without one.
    AliasLeadsOut {
        /// The owner.
        name: String,
        /// What it is an alias of.
        target: String,
    },
    /// The configuration file that was read before, which nobody named, is not there any more.
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The configuration file that settings in force were read from is empty.
    Emptied {
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be read.
    Unreadable {
        /// The setting.
        key: String,
        /// The file.
        path: PathBuf,
        /// Of which kind the system's refusal is.
        kind: io::ErrorKind,
        /// What the system says.
        error: String,
    },
    /// A file that does not hold what it must.
    BadFile {
        /// The setting.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        fault: FileFault,
    },
    /// A variable of older proxies with two meanings, and nothing that decides between them.
    AmbiguousDotPort {
        /// Its value.
        value: String,
        /// Names of both kinds that are set; empty if there are none of either.
        company: Vec<&'static str>,
    },
    /// An older option although all older names are to be ignored.
    OlderNamesOff {
        /// What is written instead.
        instead: String,
    },
}

/// What is wrong with the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFault {
    /// No PEM section of the kind that is needed.
    NoCertificate,
    /// No private key.
    NoKey,
    /// A certificate that does not parse.
    BadCertificate,
    /// A key that does not parse, or of a kind TLS cannot use.
    BadKey,
    /// The key does not belong to the first certificate.
    KeyOfAnother,
    /// The file is larger than any file of its kind.
    TooLarge,
    /// Not UTF-8.
    NotUtf8,
    /// A line that is no cookie secret, counted from 1.
    NotACookieSecret {
        /// The line.
        line: usize,
    },
    /// No cookie secret, or too many.
    CookieSecrets {
        /// How many.
        found: usize,
    },
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotACookieSecret { line } => {
                return write!(f, "holds no secret of 32 hexadecimal digits in line {line}");
            }
            Self::CookieSecrets { found } => {
                return write!(f, "holds {found} secrets");
            }
            Self::NoCertificate => "holds no certificate",
            Self::NoKey => "holds no private key",
            Self::BadCertificate => "holds a certificate that does not parse",
            Self::BadKey => "holds a key that TLS cannot use",
            Self::KeyOfAnother => "is not the key of that certificate",
            Self::TooLarge => "is larger than 1 MiB",
            Self::NotUtf8 => "is not UTF-8",
        })
    }
}

impl FileFault {
    fn remedy(self) -> &'static str {
        match self {
            Self::NoCertificate | Self::BadCertificate => {
                "give a PEM file with `-----BEGIN CERTIFICATE-----`"
            }
            Self::NoKey | Self::BadKey => "give a PEM file with `-----BEGIN PRIVATE KEY-----`",
            Self::KeyOfAnother => "give the key the certificate was made for",
            Self::NotACookieSecret { .. } => {
                "write one secret a line, for example what `openssl rand -hex 16` prints"
            }
            Self::CookieSecrets { .. } => {
                "write 1 to 4 secrets, for example what `openssl rand -hex 16` prints"
            }
            Self::TooLarge | Self::NotUtf8 => "give the file that was meant",
        }
    }
}

impl From<Clash> for Problem {
    fn from(clash: Clash) -> Self {
        Self::Clash(clash)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { message } => write!(f, "not TOML: {message}"),
            Self::UnknownKey { key, inside, .. } if inside.is_empty() => {
                write!(f, "unknown key `{key}`")
            }
            Self::UnknownKey { key, inside, .. } => write!(f, "unknown key `{key}` in {inside}"),
            Self::WrongType { key, found, .. } => write!(f, "`{key}` is {found}"),
            Self::BadValue { key, value, fault } => {
                write!(
                    f,
                    "bad value \"{}\" for `{key}`: {fault}",
                    value.escape_debug()
                )
            }
            Self::Alone { given, missing } => write!(f, "`{given}` without `{missing}`"),
            Self::Conflict { one, other } => write!(f, "`{one}` and `{other}` together"),
            Self::NoListener => f.write_str("no address to listen on"),
            Self::NoListenCertificate { listener } => {
                write!(f, "listener tls://{listener} has no certificate")
            }
            Self::SocketPath { key, octets } => {
                write!(f, "the path of `{key}` has {octets} octets")
            }
            Self::AdminOnDnsPort { port } => {
                write!(f, "`listen.admin` at port {port}, where DNS is served")
            }
            Self::NoUpstream => f.write_str("no upstream"),
            Self::DuplicateUpstream { name, first } => {
                write!(f, "upstream \"{name}\" is there twice, first at {first}")
            }
            Self::UpstreamWithoutAddress { upstream, .. } => {
                write!(f, "{upstream} has neither `address` nor `tls_name`")
            }
            Self::UpstreamWithoutName { upstream } => {
                write!(
                    f,
                    "{upstream} has neither `tls_name` nor `pin`: nothing to verify it by"
                )
            }
            Self::ReportWithoutName { upstream } => {
                write!(
                    f,
                    "{upstream} has `pin_mode = \"report\"` and no `tls_name`: nothing would verify it"
                )
            }
            Self::BootstrapByName { spec } => {
                write!(f, "bootstrap \"{spec}\" is given by name only")
            }
            Self::Route(problem) => problem.fmt(f),
            Self::Clash(clash) => clash.fmt(f),
            Self::LocalIncomplete { missing } => write!(f, "[[local]] has no {missing}"),
            Self::AliasBesideOthers { name } => {
                write!(f, "`cname` of {name} beside other records of that name")
            }
            Self::AliasLeadsOut { name, target } => {
                write!(f, "`cname` of {name}: {target} has no local record")
            }
            Self::Gone { path } => write_lost(f, path, "gone"),
            Self::Emptied { path } => write_lost(f, path, "empty, and was not before"),
            Self::Unreadable {
                key, path, error, ..
            } => {
                write!(f, "cannot read `{key}` {}: {error}", path.display())
            }
            Self::BadFile { key, path, fault } => {
                write!(f, "`{key}` {} {fault}", path.display())
            }
            Self::AmbiguousDotPort { value, company } => {
                write!(f, "{value} is the listening port or the upstream's port: ")?;
                match company.as_slice() {
                    [] => f.write_str("no other name of an older proxy says which"),
                    names => write!(f, "{} speak for both", names.join(", ")),
                }
            }
            Self::OlderNamesOff { .. } => {
                f.write_str("an older name, and DOTWARD_COMPAT=off ignores those")
            }
        }
    }
}

/// The configuration file is not what it was.
fn write_lost(f: &mut fmt::Formatter<'_>, path: &Path, how: &str) -> fmt::Result {
    write!(f, "the configuration file {} is {how}", path.display())
}

impl Problem {
    /// What to write.
    pub fn remedy(&self) -> String {
        match self {
            Self::Syntax { .. } => "write `key = value`, texts in quotes; dotward config example shows a good file".into(),
            Self::UnknownKey { suggestion: Some(suggestion), .. } => {
                format!("did you mean `{suggestion}`?")
            }
            Self::UnknownKey { suggestion: None, .. } => {
                "remove it; dotward config example shows the keys".into()
            }
            Self::WrongType { expected, .. } => format!("write {expected}"),
            Self::BadValue { fault, .. } => fault.remedy(),
            Self::Alone { missing, .. } => format!("give `{missing}` too"),
            Self::Conflict { .. } => "keep one of them".into(),
            Self::NoListener => "list an address in `listen.dns`, such as \"127.0.0.1:53\"".into(),
            Self::NoListenCertificate { .. } => {
                "give `listen.certificate` and `listen.key` (--listen-cert, --listen-key)".into()
            }
            Self::SocketPath { .. } => {
                format!("write one of at most {SOCKET_PATH_MAX} octets")
            }
            Self::AdminOnDnsPort { .. } => {
                "give it a port of its own, such as \"127.0.0.1:9853\"".into()
            }
            Self::NoUpstream => "list one, such as \"cloudflare\"".into(),
            Self::DuplicateUpstream { first: Place::Flag(_) | Place::Variable(_), .. } => {
                "name it once".into()
            }
            Self::DuplicateUpstream { .. } => "give each its own name, or remove one".into(),
            Self::UpstreamWithoutAddress { preset: Some(preset), .. } => {
                format!("write `preset = \"{preset}\"`, or `address` and `tls_name`")
            }
            Self::UpstreamWithoutAddress { preset: None, .. } => {
                "write both, or `preset`".into()
            }
            Self::UpstreamWithoutName { .. } => "write the name its certificate carries as \
                 `tls_name`; the address itself if the certificate carries that; or a `pin`"
                .into(),
            Self::ReportWithoutName { .. } => {
                "write the name its certificate carries as `tls_name`, or remove `pin_mode`".into()
            }
            Self::BootstrapByName { .. } => "write `tls://NAME@ADDR` or a preset".into(),
            Self::Route(problem) => problem.remedy(),
            Self::Clash(clash) => clash.remedy().into(),
            Self::LocalIncomplete { missing: "name" } => "write `name = \"nas.home.arpa\"`".into(),
            Self::LocalIncomplete { .. } => "write `a`, `aaaa`, `txt`, `ptr` or `cname`".into(),
            Self::AliasBesideOthers { .. } => "keep the alias or the others".into(),
            Self::AliasLeadsOut { .. } => {
                "give the address itself, or write a [[local]] for that name too".into()
            }
            Self::Gone { .. } => {
                "put it back; to go on with the command line and the environment alone, restart".into()
            }
            Self::Emptied { .. } => {
                "finish writing it; for an empty configuration, put a comment in it (`# nothing`)".into()
            }
            Self::Unreadable { kind: io::ErrorKind::NotFound, .. } => "correct the path".into(),
            Self::Unreadable { .. } => {
                "give a file that the user dotward runs as may read".into()
            }
            Self::BadFile { fault, .. } => fault.remedy().into(),
            Self::AmbiguousDotPort { .. } => "set DOTWARD_COMPAT=b (the upstream's port), \
                 DOTWARD_COMPAT=c (the listening port) or DOTWARD_COMPAT=off (ignore all older names)"
                .into(),
            Self::OlderNamesOff { instead } => format!("write `{instead}`"),
        }
    }
}

/// The whole fault in one line: place, what is wrong, what to write.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_headline(f)?;
        write!(Line(f), "; {}", self.problem.remedy())
    }
}

impl Fault {
    pub(crate) fn new(place: &Place, problem: impl Into<Problem>) -> Self {
        Self {
            place: place.clone(),
            problem: problem.into(),
        }
    }

    /// Place and problem, without what to write.
    pub(crate) fn write_headline(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let mut f = Line(f);
        match self.place {
            Place::Default => write!(f, "{}", self.problem),
            Place::File(_) | Place::Variable(_) | Place::Flag(_) => {
                write!(f, "{}: {}", self.place, self.problem)
            }
        }
    }
}
