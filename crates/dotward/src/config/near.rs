//! The near side's part of the configuration: sockets, how they are bound, what TLS shows there, and who the program is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// One socket to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// What is spoken there.
    pub transport: ListenTransport,
}

/// A network interface whose addresses are listened on, those it has and those it will have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenInterface {
    /// What the system calls it.
    pub name: String,
    /// The one address of it that is meant; `None` for all.
    pub only: Option<Ipv6Addr>,
    /// The port; never 0.
    pub port: u16,
    /// What is spoken there.
    pub transport: ListenTransport,
}

impl ListenInterface {
    /// Whether an address that the interface has is listened on.
    pub(crate) fn wants(&self, address: IpAddr) -> bool {
        self.only.is_none_or(|only| address == only)
    }
}

impl fmt::Display for ListenInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.only {
            None => write!(f, "{}:{}", self.name, self.port),
            Some(only) => write!(f, "[{only}%{}]:{}", self.name, self.port),
        }
    }
}

/// How listening addresses are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BindRules {
    /// Another process of the same user may have the ports; it is told to drain.
    pub takeover: bool,
    /// The machine need not have the addresses yet.
    pub freebind: bool,
    /// Whom sockets are given to, by who becomes another user later; not for the configuration to say.
    pub owner: Option<SocketOwner>,
}

/// Whose a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOwner {
    /// The number of the user.
    pub user: u32,
    /// The number of the group.
    pub group: u32,
}

/// Who the program becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs {
    /// Name or number of the user.
    pub user: String,
    /// Name or number of the group; `None` for the user's own.
    pub group: Option<String>,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListenTransport {
    /// DNS in datagrams (RFC 1035 section 4.2.1).
    Udp,
    /// DNS over TCP (RFC 7766).
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
}

/// Certificate chain and key of the TLS listeners, and the roots of their clients', all PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerIdentity {
    /// The chain, the server's own certificate first.
    pub certificate_file: PathBuf,
    /// The private key of the first certificate.
    pub key_file: PathBuf,
    /// Roots of the certificates clients have to show; `None` asks for none.
    pub client_ca_file: Option<PathBuf>,
}
