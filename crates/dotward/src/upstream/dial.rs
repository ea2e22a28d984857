//! A TCP connection to an upstream.
//!
//! Promises: queries leave at once (`TCP_NODELAY`: the engine gathers them, the kernel must not), and an upstream that vanishes without
//! a word is noticed by the kernel too (`TCP_USER_TIMEOUT`).
//!
//! Deliberately absent: a time limit. Whoever dials has one.

use std::io;
use std::net::SocketAddr;

use dotward_core::upstream::CloseReason;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use crate::limits::UPSTREAM_UNACKNOWLEDGED;

/// Connects to `endpoint`.
pub(crate) async fn connect(endpoint: SocketAddr) -> io::Result<TcpStream> {
    let socket = match endpoint {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(&socket).set_tcp_user_timeout(Some(UPSTREAM_UNACKNOWLEDGED))?;
    socket.connect(endpoint).await
}

/// A failed connect in the words of the engine.
pub(crate) fn reason_of(error: &io::Error) -> CloseReason {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        CloseReason::Refused
    } else if error.kind() == io::ErrorKind::TimedOut {
        CloseReason::DialTimedOut
    } else {
        // No route, no address family, no descriptor: to the engine all are "not reachable from here".
        CloseReason::Unreachable
    }
}
