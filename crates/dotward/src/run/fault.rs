//! What keeps the proxy from starting, all of it at once.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::config::{ListenAddress, ListenTransport};
use crate::control::ControlBindError;
use crate::listen::activation::ActivationError;
use crate::listen::holder::{self, Held};
use crate::listen::sockets::BindError;
use crate::privileges::PrivilegeError;
use crate::shared::StoreError;
use crate::tls::TlsSetupError;
use crate::upstream::dial::BindingError;

/// Something that keeps the proxy from starting.
#[derive(Debug)]
pub enum StartFault {
    /// A socket could not be bound.
    Bind(BindError),
    /// A listening address names an interface that is not there.
    NoInterface(String),
    /// The interfaces cannot be looked at.
    Interfaces(io::Error),
    /// The admin listener could not be bound.
    Admin(AdminFault),
    /// There is no control socket.
    Control(ControlBindError),
    /// The shared cache cannot be used as it is configured.
    SharedCache(StoreError),
    /// Certificate or key of the TLS listeners cannot be used.
    ListenTls(TlsSetupError),
    /// The TLS settings of an upstream cannot be used.
    UpstreamTls {
        /// What the upstream is called.
        upstream: String,
        /// What is wrong.
        error: TlsSetupError,
    },
    /// The source address, interface or mark of an upstream is not permitted.
    Binding {
        /// What the upstream is called.
        upstream: String,
        /// What is not permitted.
        error: BindingError,
    },
    /// A socket of the service manager cannot be served.
    Activation(ActivationError),
    /// The program cannot become the user it is to be.
    Privileges(PrivilegeError),
    /// The service manager passes a TLS listener, and there is no certificate to show.
    ActivatedWithoutCertificate(SocketAddr),
    /// An upstream is this proxy itself.
    Loop {
        /// What it is called.
        upstream: String,
        /// Its address.
        endpoint: SocketAddr,
    },
    /// The system refused something every process needs: randomness, a thread, an event loop.
    System(io::Error),
}

/// Why there is no admin listener.
#[derive(Debug)]
pub struct AdminFault {
    address: SocketAddr,
    error: io::Error,
    held: Vec<Held>,
}

impl AdminFault {
    pub(super) fn new(address: SocketAddr, error: io::Error) -> Self {
        let transport = ListenTransport::Tcp;
        let held = if error.kind() == io::ErrorKind::AddrInUse {
            holder::held(ListenAddress { address, transport })
        } else {
            Vec::new()
        };
        Self {
            address,
            error,
            held,
        }
    }
}

impl fmt::Display for AdminFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        write!(f, "cannot listen on {address} for metrics and health: ")?;
        if self.error.kind() == io::ErrorKind::AddrInUse {
            f.write_str("address already in use")?;
        } else if self.error.kind() == io::ErrorKind::AddrNotAvailable {
            f.write_str("this machine has no such address")?;
        } else {
            self.error.fmt(f)?;
        }
        for (place, held) in self.held.iter().enumerate() {
            let before = if place == 0 { "\n  held by: " } else { ", " };
            write!(f, "{before}{held}")?;
        }
        f.write_str("\n  fix:     give --admin another address or port, or off")
    }
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::NoInterface(name) => write!(
                f,
                "cannot listen on interface {name}: there is none\n  fix:     give one that `ip link` shows, or an address, or say that \
                 it will come (listen.freebind = true)"
            ),
            Self::Interfaces(error) => write!(
                f,
                "cannot find out which addresses interfaces have: {error}\n  fix:     permit netlink (AF_NETLINK) to this process, or \
                 give addresses in the place of interfaces"
            ),
            Self::Activation(error) => error.fmt(f),
            Self::Privileges(error) => error.fmt(f),
            Self::ActivatedWithoutCertificate(address) => write!(
                f,
                "the service manager passes a TLS listener on {address}, and there is no certificate to show\n  fix:     give \
                 listen.certificate and listen.key"
            ),
            Self::Admin(fault) => fault.fmt(f),
            Self::Control(error) => error.fmt(f),
            Self::SharedCache(error) => write!(f, "shared cache: {error}"),
            Self::ListenTls(error) => write!(f, "TLS listeners: {error}"),
            Self::UpstreamTls { upstream, error } => write!(f, "upstream {upstream}: {error}"),
            Self::Binding { upstream, error } => write!(f, "upstream {upstream}: {error}"),
            Self::Loop { upstream, endpoint } => write!(
                f,
                "upstream {upstream} at {endpoint} is this program itself\n  fix:     give the address of another \
                 resolver, or listen on another address or port"
            ),
            Self::System(error) => write!(f, "the system refuses to run us: {error}"),
        }
    }
}

impl std::error::Error for StartFault {}

/// Everything that keeps the proxy from starting; at least one fault.
#[derive(Debug)]
pub struct StartError {
    /// What is wrong.
    pub faults: Vec<StartFault>,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self {
            faults: vec![StartFault::System(error)],
        }
    }
}
