//! Makes the sockets clients send queries to.
//!
//! Promises: an IPv6 socket takes IPv6 only, so that `[::]:53` and `0.0.0.0:53` can be there both; two processes never share a
//! port by accident, only where the second one says so (`--takeover`); a refusal says who holds the port, or what to do, as far as that can be known.
//!
//! Several workers need several UDP sockets of one address, which the kernel grants to sockets that all ask for it (`SO_REUSEPORT`). The
//! first one is bound without asking, so that it fails where another process has the port, and asks afterwards.
//!
//! Deliberately absent: serving.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::holder::{self, Holder};
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
}

/// Why a socket could not be made, with what to do about it.
#[derive(Debug)]
pub struct BindError {
    /// Where it was to listen.
    pub listen: ListenAddress,
    /// What the kernel said.
    pub error: io::Error,
    /// Who holds the port, where that can be read.
    pub(crate) holders: Vec<Holder>,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.listen.address;
        let transport = transport_word(self.listen.transport);
        write!(f, "cannot listen on {address}/{transport}: ")?;
        if self.error.kind() == io::ErrorKind::AddrInUse {
            f.write_str("address already in use")?;
            for (place, holder) in self.holders.iter().enumerate() {
                let before = if place == 0 { "\n  held by: " } else { ", " };
                write!(f, "{before}{holder}")?;
            }
            let other = SocketAddr::from((Ipv4Addr::LOCALHOST, 5353));
            write!(
                f,
                "\n  fix:     give another address or port (--listen {other}), or stop the program that holds it"
            )
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

/// How a transport is written in messages.
pub fn transport_word(transport: ListenTransport) -> &'static str {
    match transport {
        ListenTransport::Udp => "udp",
        ListenTransport::Tcp => "tcp",
        ListenTransport::Tls => "tls",
    }
}

/// Binds one address; over UDP with a socket for each of `workers`.
///
/// # Errors
///
/// [`BindError`], ready to be shown.
pub fn bind(listen: ListenAddress, workers: usize, rules: BindRules) -> Result<Bound, BindError> {
    let bound = match listen.transport {
        ListenTransport::Udp => bind_udp(listen.address, workers, rules).map(Bound::Udp),
        ListenTransport::Tcp | ListenTransport::Tls => {
            bind_stream(listen.address, rules).map(Bound::Stream)
        }
    };
    bound.map_err(|error| BindError {
        listen,
        holders: match error.kind() == io::ErrorKind::AddrInUse {
            true => holder::find(listen),
            false => Vec::new(),
        },
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
        socket.bind(&address.into())?;
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
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)
}

fn udp_socket(address: SocketAddr, rules: BindRules) -> io::Result<Socket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP, rules)?;
    // A smaller buffer than asked for is what the administrator chose.
    match socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER) {
        Ok(()) | Err(_) => {}
    }
    Ok(socket)
}

/// Binds for streams, by the rules of listeners.
pub(crate) fn bind_stream(address: SocketAddr, rules: BindRules) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP, rules)?;
    // Connections of an earlier process that linger in TIME_WAIT must not keep this one from starting. (On UDP the same
    // option would let two processes share the port.)
    socket.set_reuse_address(true)?;
    bind_shared(&socket, address, rules)?;
    socket.listen(LISTEN_BACKLOG)?;
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
