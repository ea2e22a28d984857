//! A TCP connection to an upstream.
//!
//! Promises:
//! - Queries leave at once (`TCP_NODELAY`: the engine gathers them, the kernel must not).
//! - An upstream that vanishes without a word is noticed by the kernel too (`TCP_USER_TIMEOUT`).
//! - Source address, interface and mark of the settings hold or there is no connection: traffic that was to stay inside a
//!   tunnel does not leave beside it.
//!
//! Deliberately absent: a time limit. Whoever dials has one.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use dotward_core::upstream::CloseReason;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::config::Binding;
use crate::limits::UPSTREAM_UNACKNOWLEDGED;

/// What of a [`Binding`] could not be had.
#[derive(Debug)]
pub struct BindingError {
    part: Part,
    error: io::Error,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Source(IpAddr),
    Interface(String),
    Mark(u32),
}

impl BindingError {
    /// Whether it is for want of permission, which time does not mend; an interface or an address may still appear.
    pub fn is_permanent(&self) -> bool {
        let kind = self.error.kind();
        kind == io::ErrorKind::PermissionDenied || kind == io::ErrorKind::Unsupported
    }
}

impl fmt::Display for BindingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let capability = match &self.part {
            Part::Source(address) => {
                write!(f, "cannot connect from source {address}")?;
                "CAP_NET_RAW"
            }
            Part::Interface(name) => {
                write!(f, "cannot connect through interface {name}")?;
                "CAP_NET_RAW"
            }
            Part::Mark(mark) => {
                write!(f, "cannot set mark {mark}")?;
                "CAP_NET_ADMIN"
            }
        };
        write!(f, ": {}", self.error)?;
        if self.error.kind() == io::ErrorKind::PermissionDenied {
            write!(f, "; give dotward {capability}, or remove the setting")?;
        }
        Ok(())
    }
}

impl std::error::Error for BindingError {}

impl From<BindingError> for io::Error {
    fn from(error: BindingError) -> Self {
        Self::new(error.error.kind(), error)
    }
}

/// Connects to `endpoint`.
pub(crate) async fn connect(endpoint: SocketAddr, binding: &Binding) -> io::Result<TcpStream> {
    let socket = match endpoint {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(&socket).set_tcp_user_timeout(Some(UPSTREAM_UNACKNOWLEDGED))?;
    bind(&SockRef::from(&socket), endpoint, binding)?;
    socket.connect(endpoint).await
}

/// Ties a fresh socket that is to go to `endpoint`, of whatever type.
pub(crate) fn bind(
    socket: &Socket,
    endpoint: SocketAddr,
    binding: &Binding,
) -> Result<(), BindingError> {
    tie(socket, binding)?;
    let same_family = |source: &&IpAddr| source.is_ipv4() == endpoint.is_ipv4();
    match binding.source.iter().find(same_family) {
        Some(source) => bind_source(socket, *source),
        None => Ok(()),
    }
}

/// Whether `binding` can be had.
///
/// # Errors
///
/// The first part of it that cannot.
pub fn check(binding: &Binding) -> Result<(), BindingError> {
    // A socket that cannot be had at all is told when it is needed.
    if let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, None) {
        tie(&socket, binding)?;
    }
    for source in &binding.source {
        let domain = Domain::for_address(SocketAddr::new(*source, 0));
        if let Ok(socket) = Socket::new(domain, Type::STREAM, None) {
            bind_source(&socket, *source)?;
        }
    }
    Ok(())
}

fn bind_source(socket: &Socket, source: IpAddr) -> Result<(), BindingError> {
    socket
        .bind(&SocketAddr::new(source, 0).into())
        .map_err(|error| BindingError {
            part: Part::Source(source),
            error,
        })
}

fn tie(socket: &Socket, binding: &Binding) -> Result<(), BindingError> {
    if let Some(name) = &binding.interface {
        set_interface(socket, name).map_err(|error| BindingError {
            part: Part::Interface(name.clone()),
            error,
        })?;
    }
    if let Some(mark) = binding.mark {
        set_mark(socket, mark).map_err(|error| BindingError {
            part: Part::Mark(mark),
            error,
        })?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn set_interface(socket: &Socket, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

#[cfg(target_os = "linux")]
fn set_mark(socket: &Socket, mark: u32) -> io::Result<()> {
    socket.set_mark(mark)
}

#[cfg(not(target_os = "linux"))]
fn set_interface(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn set_mark(_: &Socket, _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A failed connect in the words of the engine.
pub(crate) fn reason_of(error: &io::Error, endpoint: SocketAddr) -> CloseReason {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        CloseReason::Refused
    } else if error.kind() == io::ErrorKind::TimedOut {
        CloseReason::DialTimedOut
    } else if is_shortage(error, endpoint) {
        CloseReason::NoResources
    } else {
        // No route, no address family, no source address: to the engine all are "not reachable from here".
        CloseReason::Unreachable
    }
}

/// Whether this machine ran out of something, which says nothing about the upstream. A [`BindingError`] is none: it has no code here.
pub(super) fn is_shortage(error: &io::Error, endpoint: SocketAddr) -> bool {
    use rustix::io::Errno;
    let Some(code) = error.raw_os_error().map(Errno::from_raw_os_error) else {
        return false;
    };
    match code {
        // A machine without IPv6 says the same of every such address as one whose ports are used up.
        Errno::ADDRNOTAVAIL => endpoint.is_ipv4(),
        // AGAIN: no port for a datagram socket.
        code => [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::AGAIN,
        ]
        .contains(&code),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn queries_leave_at_once_and_silence_ends_the_socket() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = listener.local_addr().unwrap();
        let socket = connect(endpoint, &Binding::default()).await.unwrap();
        assert!(socket.nodelay().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(
            SockRef::from(&socket).tcp_user_timeout().unwrap(),
            Some(UPSTREAM_UNACKNOWLEDGED)
        );
    }

    #[tokio::test]
    async fn what_cannot_be_had_is_told_by_name() {
        let absent = Binding {
            interface: Some("no-such-thing0".into()),
            ..Binding::default()
        };
        let error = check(&absent).unwrap_err();
        assert!(!error.is_permanent(), "an interface may still come");
        let foreign = Binding {
            source: vec!["192.0.2.77".parse().unwrap()],
            ..Binding::default()
        };
        let endpoint = "127.0.0.1:9".parse().unwrap();
        for (binding, word) in [
            (absent, "interface no-such-thing0"),
            (foreign, "source 192.0.2.77"),
        ] {
            let error = connect(endpoint, &binding).await.unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
            assert_eq!(reason_of(&error, endpoint), CloseReason::Unreachable);
        }
    }

    #[test]
    fn what_this_machine_is_short_of_is_not_the_upstreams_fault() {
        use rustix::io::Errno;
        let reason = |errno: Errno, endpoint: &str| {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            reason_of(&error, endpoint.parse().unwrap())
        };
        let (v4, v6) = ("192.0.2.1:853", "[2001:db8::1]:853");
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(reason(errno, v6), CloseReason::NoResources, "{errno:?}");
        }
        for errno in [Errno::HOSTUNREACH, Errno::NETUNREACH, Errno::AFNOSUPPORT] {
            assert_eq!(reason(errno, v4), CloseReason::Unreachable, "{errno:?}");
        }
        assert_eq!(reason(Errno::CONNREFUSED, v4), CloseReason::Refused);
        let no_address = Errno::ADDRNOTAVAIL;
        assert_eq!(reason(no_address, v4), CloseReason::NoResources);
        assert_eq!(
            reason(no_address, v6),
            CloseReason::Unreachable,
            "no IPv6 here"
        );
    }

    #[test]
    fn want_of_permission_says_what_would_help() {
        let error = BindingError {
            part: Part::Mark(51),
            error: io::ErrorKind::PermissionDenied.into(),
        };
        assert!(error.is_permanent());
        assert_eq!(
            error.to_string(),
            "cannot set mark 51: permission denied; give dotward CAP_NET_ADMIN, or remove the setting"
        );
    }
}
