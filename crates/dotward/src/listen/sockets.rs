//! Makes the sockets clients send queries to.
//!
//! Promises: an IPv6 socket takes IPv6 only, so that `[::]:53` and `0.0.0.0:53` can be there both; two processes never share a
//! port by accident, only where the second one says so (`--takeover`); a refusal says who holds the port, or what to do, as far as that can be known.
//! A bound stream socket hears nobody before it is told to (`Bound::listen`).
//!
//! Several workers need several UDP sockets of one address, which the kernel grants to sockets that all ask for it (`SO_REUSEPORT`). The
//! first one is bound without asking, so that it fails where another process has the port, and asks afterwards. They have to be of one user too,
//! so whoever becomes another user later gives that user the sockets: those that are made afterwards are its own.
//!
//! Deliberately absent: serving.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use rustix::fs::{Gid, Uid};
use rustix::process::{getegid, geteuid};
use socket2::{Domain, Protocol, Socket, Type};

use super::holder::{self, Held};
use crate::config::{BindRules, ListenAddress, ListenTransport};
use crate::limits::{LISTEN_BACKLOG, UDP_RECEIVE_BUFFER};

/// A bound socket.
#[derive(Debug)]
pub enum Bound {
    /// Datagrams: all sockets of one address, one at least.
    Udp(Vec<UdpSocket>),
    /// Streams, for TCP and TLS.
    Stream(TcpListener),
}

impl Bound {
    /// Where the socket is bound.
    ///
    /// # Errors
    ///
    /// Those of the kernel.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(sockets) => match sockets.first() {
                Some(socket) => socket.local_addr(),
                None => Err(io::ErrorKind::AddrNotAvailable.into()),
            },
            Self::Stream(socket) => socket.local_addr(),
        }
    }

    /// Has the kernel take connections for a stream socket from now on.
    ///
    /// # Errors
    ///
    /// Those of the kernel.
    pub(crate) fn listen(&self) -> io::Result<()> {
        match self {
            Self::Udp(_) => Ok(()),
            Self::Stream(socket) => listen(socket),
        }
    }
}

/// Has the kernel take connections for a socket from now on.
///
/// # Errors
///
/// Those of the kernel.
pub(crate) fn listen(socket: &TcpListener) -> io::Result<()> {
    Ok(rustix::net::listen(socket, LISTEN_BACKLOG)?)
}

/// Why a socket could not be made, with what to do about it.
#[derive(Debug)]
pub struct BindError {
    /// Where it was to listen.
    pub listen: ListenAddress,
    /// What the kernel said.
    pub error: io::Error,
    /// What holds the port, where that can be read.
    pub(crate) held: Vec<Held>,
    /// It was to be shared with who holds it.
    pub(crate) taking_over: bool,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.listen.address;
        let transport = transport_word(self.listen.transport);
        write!(f, "cannot listen on {address}/{transport}: ")?;
        if self.error.kind() == io::ErrorKind::AddrInUse {
            f.write_str("address already in use")?;
            for (place, held) in self.held.iter().enumerate() {
                let before = if place == 0 { "\n  held by: " } else { ", " };
                write!(f, "{before}{held}")?;
            }
            write!(f, "\n  fix:     {}", self.way_out())
        } else if self.error.kind() == io::ErrorKind::PermissionDenied {
            let other = SocketAddr::new(address.ip(), 5353);
            write!(
                f,
                "permission denied\n  fix:     ports below 1024 need CAP_NET_BIND_SERVICE: start by the service manager, or \
                 `setcap cap_net_bind_service=+ep` the program, or listen on a port above 1023 (--listen {other})"
            )
        } else if self.error.kind() == io::ErrorKind::AddrNotAvailable {
            f.write_str(
                "this machine has no such address\n  fix:     give one that `ip address` shows, or 0.0.0.0 for all, or say that it will \
                 come (listen.freebind = true)",
            )
        } else {
            self.error.fmt(f)
        }
    }
}

impl std::error::Error for BindError {}

impl BindError {
    /// Something else than somebody who has the port.
    pub(crate) fn of(listen: ListenAddress, error: io::Error) -> Self {
        Self {
            listen,
            error,
            held: Vec::new(),
            taking_over: false,
        }
    }

    /// Finds out who holds the port, if that is what was wrong.
    pub(super) fn with_holders(mut self) -> Self {
        if self.error.kind() == io::ErrorKind::AddrInUse {
            self.held = holder::held(self.listen);
        }
        self
    }

    /// What to do when somebody has the address.
    fn way_out(&self) -> String {
        let is_ours = |held: &Held| held.holder.as_ref().is_some_and(|it| it.name == "dotward");
        if self.taking_over && self.held.iter().any(is_ours) {
            return "a take-over is possible within one user only: start this one as the user that dotward runs as (the same --user), or stop it first"
                .into();
        }
        let is_resolved = |held: &Held| {
            let name = held.holder.as_ref().map(|it| it.name.as_str());
            // The kernel cuts names to 15 octets.
            name.is_some_and(|name| name.starts_with("systemd-resolve"))
        };
        if self.listen.address.ip().is_unspecified() && self.held.iter().any(is_resolved) {
            let port = self.listen.address.port();
            return format!(
                "listen on 127.0.0.1:{port} instead (no conflict), give an address of the network, or free the port: dotward setup systemd-resolved"
            );
        }
        "give another address or port (--listen 127.0.0.1:5353), or stop the program that holds it; dotward doctor says more".into()
    }
}

/// How a transport is written in messages.
pub fn transport_word(transport: ListenTransport) -> &'static str {
    match transport {
        ListenTransport::Udp => "udp",
        ListenTransport::Tcp => "tcp",
        ListenTransport::Tls => "tls",
    }
}

/// Binds one address; over UDP with a socket for each of `workers`. A stream socket does not listen yet.
///
/// # Errors
///
/// [`BindError`], ready to be shown.
pub fn bind(listen: ListenAddress, workers: usize, rules: BindRules) -> Result<Bound, BindError> {
    try_bind(listen, workers, rules).map_err(BindError::with_holders)
}

/// The same for whoever tries often: who holds the port is not looked for, which takes reading what every process has open.
///
/// # Errors
///
/// [`BindError`], to be shown after [`BindError::with_holders`].
pub(super) fn try_bind(
    listen: ListenAddress,
    workers: usize,
    rules: BindRules,
) -> Result<Bound, BindError> {
    let bound = match listen.transport {
        ListenTransport::Udp => bind_udp(listen.address, workers, rules).map(Bound::Udp),
        ListenTransport::Tcp | ListenTransport::Tls => {
            bind_stream(listen.address, rules).map(Bound::Stream)
        }
    };
    bound.map_err(|error| BindError {
        listen,
        held: Vec::new(),
        taking_over: rules.takeover,
        error,
    })
}

fn bind_udp(address: SocketAddr, workers: usize, rules: BindRules) -> io::Result<Vec<UdpSocket>> {
    let first = udp_socket(address, rules)?;
    bind_shared(&first, address, rules)?;
    let first: UdpSocket = first.into();
    // Port 0 has become another.
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        let socket = udp_socket(address, rules)?;
        socket.set_reuse_port(true)?;
        bind_as(&socket, address, rules)?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

/// Binds so that nobody else can have the address by accident, and a later process that asks for it can (`--takeover`): the kernel lets
/// sockets share an address that all ask for it and are of one user.
fn bind_shared(socket: &Socket, address: SocketAddr, rules: BindRules) -> io::Result<()> {
    if rules.takeover {
        socket.set_reuse_port(true)?;
    }
    bind_as(socket, address, rules)?;
    socket.set_reuse_port(true)
}

/// Binds as the owner the socket is to have. Where that one may not share the address, whoever has it may have been started without becoming
/// another user: then as who this process is.
fn bind_as(socket: &Socket, address: SocketAddr, rules: BindRules) -> io::Result<()> {
    let bound = socket.bind(&address.into());
    if rules.owner.is_some()
        && matches!(&bound, Err(error) if error.kind() == io::ErrorKind::AddrInUse)
    {
        give(socket, geteuid(), getegid());
        return socket.bind(&address.into());
    }
    bound
}

/// Makes the socket another user's. Who may not do that keeps it: then only a process of this user can share its address later.
fn give(socket: &Socket, user: Uid, group: Gid) {
    if let Err(error) = rustix::fs::fchown(socket, Some(user), Some(group)) {
        tracing::debug!(%error, "a socket stays this user's");
    }
}

fn udp_socket(address: SocketAddr, rules: BindRules) -> io::Result<Socket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP, rules)?;
    // A smaller buffer than asked for is what the administrator chose.
    match socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER) {
        Ok(()) | Err(_) => {}
    }
    Ok(socket)
}

/// Binds for streams, by the rules of listeners, and does not listen yet.
pub(crate) fn bind_stream(address: SocketAddr, rules: BindRules) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP, rules)?;
    // Connections of an earlier process that linger in TIME_WAIT must not keep this one from starting. (On UDP the same
    // option would let two processes share the port.)
    socket.set_reuse_address(true)?;
    bind_shared(&socket, address, rules)?;
    Ok(socket.into())
}

fn socket(
    address: SocketAddr,
    kind: Type,
    protocol: Protocol,
    rules: BindRules,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if rules.freebind {
        set_freebind(&socket, address)?;
    }
    if let Some(owner) = rules.owner {
        give(
            &socket,
            Uid::from_raw(owner.user),
            Gid::from_raw(owner.group),
        );
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn set_freebind(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true),
        SocketAddr::V6(_) => socket.set_freebind_v6(true),
    }
}

/// Elsewhere an address has to be there.
#[cfg(not(target_os = "linux"))]
fn set_freebind(_: &Socket, _: SocketAddr) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::holder::Holder;
    use super::*;

    #[test]
    fn who_holds_the_port_is_looked_for_only_when_it_is_to_be_told() {
        let listen = |address| ListenAddress {
            address,
            transport: ListenTransport::Udp,
        };
        let free = listen(SocketAddr::from(([127, 0, 0, 1], 0)));
        let bound = bind(free, 1, BindRules::default()).unwrap();
        let taken = listen(bound.local_addr().unwrap());
        let refused = try_bind(taken, 1, BindRules::default()).unwrap_err();
        assert_eq!(refused.held, []);
        assert!(!refused.with_holders().held.is_empty());
        assert!(
            !bind(taken, 1, BindRules::default())
                .unwrap_err()
                .held
                .is_empty()
        );
    }

    #[test]
    fn who_holds_the_port_is_told_with_a_way_out() {
        let error = |listen: &str, name: &str, at: &str| BindError {
            listen: ListenAddress {
                address: listen.parse().unwrap(),
                transport: ListenTransport::Udp,
            },
            error: io::ErrorKind::AddrInUse.into(),
            taking_over: false,
            held: vec![Held {
                address: at.parse().unwrap(),
                holder: (!name.is_empty()).then(|| Holder {
                    name: name.into(),
                    pid: 412,
                }),
            }],
        };
        let resolved = error("0.0.0.0:53", "systemd-resolve", "127.0.0.53:53").to_string();
        assert_eq!(
            resolved,
            "cannot listen on 0.0.0.0:53/udp: address already in use\n  held by: systemd-resolve (pid 412) on 127.0.0.53:53\n  \
             fix:     listen on 127.0.0.1:53 instead (no conflict), give an address of the network, or free the port: dotward setup systemd-resolved"
        );
        let other = error("127.0.0.1:53", "dnsmasq", "0.0.0.0:53").to_string();
        assert!(
            other.contains("held by: dnsmasq (pid 412) on 0.0.0.0:53"),
            "{other}"
        );
        assert!(other.contains("dotward doctor"), "{other}");
        let mut of_another_user = error("127.0.0.1:53", "dotward", "127.0.0.1:53");
        assert!(of_another_user.to_string().contains("dotward doctor"));
        of_another_user.taking_over = true;
        let said = of_another_user.to_string();
        assert!(said.contains("the same --user"), "{said}");
        let hidden = error("127.0.0.1:53", "", "0.0.0.0:53").to_string();
        assert!(
            hidden.contains("only root may look into, on 0.0.0.0:53"),
            "{hidden}"
        );
    }
}
