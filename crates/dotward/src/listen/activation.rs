//! Sockets the service manager made (systemd.socket(5), sd_listen_fds(3)).
//!
//! Promises: they take the place of all listening addresses of the configuration; each is served as its `FileDescriptorName=` says, and
//! one that cannot be is a fault; they stay the service manager's, so that nothing is lost while the program is away.
//!
//! Deliberately absent: sockets that are no UDP, TCP or TLS listeners.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use listenfd::ListenFd;

use super::sockets::Bound;
use crate::config::{ListenAddress, ListenTransport};

/// The variable with the names, separated by colons.
const NAMES: &str = "LISTEN_FDNAMES";

/// Why a socket of the service manager cannot be served.
#[derive(Debug)]
pub enum ActivationError {
    /// A name nobody knows.
    Name(String),
    /// It is not of the kind its name says.
    Kind {
        /// The name.
        name: String,
        /// What was found out.
        error: io::Error,
    },
}

impl fmt::Display for ActivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "a socket of the service manager is called {name}\n  fix:     FileDescriptorName=dns (or udp, tcp) for ListenDatagram= and \
                 ListenStream=, tls for a ListenStream= with DNS over TLS"
            ),
            Self::Kind { name, error } => write!(
                f,
                "the socket {name} of the service manager cannot be served: {error}\n  fix:     ListenDatagram=ADDRESS:PORT for udp, \
                 ListenStream=ADDRESS:PORT for tcp and tls"
            ),
        }
    }
}

impl std::error::Error for ActivationError {}

/// How a socket is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// UDP or TCP, as its type says.
    Dns,
    Udp,
    Tcp,
    Tls,
}

/// What a name stands for. A unit without `FileDescriptorName=` passes its own name; a manager without names passes none.
fn role(name: &str) -> Option<Role> {
    match name {
        "dns" | "" | "unknown" => Some(Role::Dns),
        "udp" => Some(Role::Udp),
        "tcp" => Some(Role::Tcp),
        "tls" | "dot" => Some(Role::Tls),
        unit if unit.ends_with(".socket") => Some(Role::Dns),
        _ => None,
    }
}

/// Takes what the service manager passed to this process; empty when that is nothing. What was taken is not there a second time.
///
/// # Errors
///
/// Every socket that cannot be served.
pub fn take() -> Result<Vec<(ListenAddress, Bound)>, Vec<ActivationError>> {
    let names = std::env::var(NAMES).unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = ListenFd::from_env();
    let (mut taken, mut faults) = (Taken::default(), Vec::new());
    for place in 0..passed.len() {
        let name = names.next().unwrap_or_default();
        let Some(role) = role(name) else {
            faults.push(ActivationError::Name(name.to_owned()));
            continue;
        };
        if let Err(error) = taken.add(&mut passed, place, role) {
            let name = name.to_owned();
            faults.push(ActivationError::Kind { name, error });
        }
    }
    if faults.is_empty() {
        Ok(taken.bound())
    } else {
        Err(faults)
    }
}

#[derive(Default)]
struct Taken {
    /// Several of one address, which the manager makes with `ReusePort=yes`, are one to us.
    udp: BTreeMap<SocketAddr, Vec<UdpSocket>>,
    streams: Vec<(ListenAddress, TcpListener)>,
}

impl Taken {
    fn add(&mut self, passed: &mut ListenFd, place: usize, role: Role) -> io::Result<()> {
        let transport = match role {
            Role::Udp => return self.add_udp(passed, place),
            Role::Dns => match self.add_udp(passed, place) {
                Ok(()) => return Ok(()),
                Err(_) => ListenTransport::Tcp,
            },
            Role::Tcp => ListenTransport::Tcp,
            Role::Tls => ListenTransport::Tls,
        };
        let Some(listener) = passed.take_tcp_listener(place)? else {
            return Ok(());
        };
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        self.streams
            .push((ListenAddress { address, transport }, listener));
        Ok(())
    }

    fn add_udp(&mut self, passed: &mut ListenFd, place: usize) -> io::Result<()> {
        let Some(socket) = passed.take_udp_socket(place)? else {
            return Ok(());
        };
        socket.set_nonblocking(true)?;
        let of_address = self.udp.entry(socket.local_addr()?).or_default();
        of_address.push(socket);
        Ok(())
    }

    fn bound(self) -> Vec<(ListenAddress, Bound)> {
        let transport = ListenTransport::Udp;
        let udp = self
            .udp
            .into_iter()
            .map(|(address, sockets)| (ListenAddress { address, transport }, Bound::Udp(sockets)));
        let streams = self.streams.into_iter();
        udp.chain(streams.map(|(listen, listener)| (listen, Bound::Stream(listener))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_how_a_socket_is_served() {
        let cases = [
            ("dns", Some(Role::Dns)),
            ("dotward.socket", Some(Role::Dns)),
            ("unknown", Some(Role::Dns)),
            ("udp", Some(Role::Udp)),
            ("tcp", Some(Role::Tcp)),
            ("tls", Some(Role::Tls)),
            ("dot", Some(Role::Tls)),
            ("http", None),
        ];
        for (name, expected) in cases {
            assert_eq!(role(name), expected, "{name}");
        }
    }
}
