//! Batched UDP: many datagrams per system call, each with the address it was sent to.
//!
//! A DNS server on UDP pays for the kernel's network stack and for wake-ups, not for its own code;
//! what it can save is system calls. This crate takes up to [`BATCH_SIZE`] datagrams with one
//! `recvmmsg` and sends as many replies with one `sendmmsg`. On a wildcard bind it tells for each
//! datagram which of the host's addresses it was sent to, and sends the reply from there.
//!
//! ```text
//! BatchSocket::recv ─▶ RecvBatch ─▶ Datagram { bytes, meta: RecvMeta { peer, local, arrived, truncated } }
//!                                        │
//! BatchSocket::send ◀─ SendBatch ◀─ push(reply, meta.peer, meta.local)
//! ```
//!
//! Promises:
//! * All `unsafe` of the project is in `linux.rs` and `wait.rs`; every function of this API is safe.
//! * No allocation per datagram: both batches own their memory from the start, and it never grows.
//! * A reply that cannot be sent is skipped and counted; it neither stops nor loses the others.
//! * No byte that comes from the network makes anything here panic or fail.
//!
//! Two back ends serve the same API: the batched one, on Linux, and one of one datagram per system
//! call through the standard library, on every Unix. The second cannot choose the source address
//! of a reply: see [`BatchSocket::keeps_source_address`].
//!
//! Rules: RFC 2181 section 4.1 (source address of a reply), RFC 5625 section 4.4.3 (datagrams of
//! 4096 octets are accepted), RFC 1035 section 4.2.1.
//!
//! Not here: any look into the messages, waiting on many sockets, timers, and the making of the
//! socket (address, `SO_REUSEPORT`, buffer sizes), which is the caller's.

#![deny(unsafe_op_in_unsafe_fn)]

mod address;
mod recv;
mod send;

#[cfg(target_os = "linux")]
mod cmsg;
mod fallback;
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "recvmmsg, sendmmsg and their options have no safe wrapper"
)]
mod linux;
#[cfg(target_os = "linux")]
mod sockaddr;
#[expect(
    unsafe_code,
    reason = "poll has no safe wrapper in the standard library"
)]
mod wait;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

pub use crate::address::LocalAddress;
pub use crate::recv::{DATAGRAM_SIZE_MAX, Datagram, Datagrams, RecvBatch, RecvMeta};
pub use crate::send::{MESSAGE_SIZE_MAX, PushError, SEND_BUFFER_SIZE, SendBatch, SendOutcome};

use crate::address::Family;

/// Most datagrams that one call receives or sends.
///
/// Above 32 the saving per datagram is lost in the noise; 64 halves the number of turns of a loop
/// under flood. Lower costs system calls, higher costs memory and lets one socket hold up the
/// others of its thread for longer (64 datagrams are about 0.2 ms of kernel time).
pub const BATCH_SIZE: usize = 64;

/// A bound, non-blocking UDP socket that receives and sends in batches.
///
/// Shared use from several threads is sound, but the kernel then deals datagrams to whoever asks.
#[derive(Debug)]
pub struct BatchSocket {
    socket: UdpSocket,
    family: Family,
    /// The one address it is bound to; `None` on a wildcard bind, where each datagram has its own.
    bound: Option<LocalAddress>,
    back_end: BackEnd,
}

/// Who makes the system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BackEnd {
    /// `recvmmsg` and `sendmmsg` with packet information.
    #[cfg(target_os = "linux")]
    Batched,
    /// The standard library, one datagram per call.
    OneByOne,
}

impl BatchSocket {
    /// Takes over `socket`, which is bound already, with the best back end of this system.
    ///
    /// Makes the socket non-blocking and, on Linux, asks the kernel for the time each datagram
    /// arrived at, and on a wildcard bind for its destination address: bound to one address the
    /// kernel sends from that by itself, and telling costs a twentieth of what a datagram costs. A
    /// datagram that came in between the binding and that may have an unknown local address and time.
    ///
    /// # Errors
    ///
    /// Those of the kernel when it refuses a socket option or does not know the socket's address.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        {
            let this = Self::with_back_end(socket, BackEnd::Batched)?;
            if this.bound.is_none() {
                linux::enable_packet_info(&this.socket, this.family)?;
            }
            linux::enable_arrival(&this.socket)?;
            Ok(this)
        }
        #[cfg(not(target_os = "linux"))]
        Self::one_by_one(socket)
    }

    /// Takes over `socket`, which is bound already, with one system call per datagram.
    ///
    /// Uses nothing that a Unix system may lack, and cannot choose the source address of replies.
    /// [`BatchSocket::new`] does the same on systems without batch calls.
    ///
    /// # Errors
    ///
    /// Those of the kernel when it refuses a socket option or does not know the socket's address.
    pub fn one_by_one(socket: UdpSocket) -> io::Result<Self> {
        Self::with_back_end(socket, BackEnd::OneByOne)
    }

    fn with_back_end(socket: UdpSocket, back_end: BackEnd) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let family = Family::of(address);
        Ok(Self {
            socket,
            family,
            bound: LocalAddress::of_bind(address),
            back_end,
        })
    }

    /// Whether a reply leaves from the [`LocalAddress`] it was pushed with. One of a socket that is bound to one address leaves from
    /// that in any case.
    ///
    /// When false, [`RecvMeta::local`] is always unknown and the kernel chooses by its routes, so
    /// a wildcard bind on a host of several addresses breaks RFC 2181 section 4.1: bind each
    /// address on its own there.
    #[must_use]
    pub const fn keeps_source_address(&self) -> bool {
        match self.back_end {
            #[cfg(target_os = "linux")]
            BackEnd::Batched => true,
            BackEnd::OneByOne => false,
        }
    }

    /// Replaces the content of `batch` by the datagrams that wait in the socket, at most
    /// [`BATCH_SIZE`], and says how many those are (at least one). Never blocks.
    ///
    /// A batch that is not [full](RecvBatch::is_full) emptied the socket.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when no datagram waits. Any other error is the kernel's; one
    /// that an ICMP message caused on a connected socket is gone once told, so a receive loop must
    /// go on after errors. The batch is empty after every error.
    pub fn recv(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        match self.back_end {
            #[cfg(target_os = "linux")]
            BackEnd::Batched => linux::recv(self.socket.as_fd(), self.bound, batch),
            BackEnd::OneByOne => fallback::recv(&self.socket, batch),
        }
    }

    /// Sends the messages of `batch` in their order and takes them out of it. Never blocks.
    ///
    /// A message that the kernel refuses on its own account (no route, forbidden by a packet
    /// filter, too long, source address gone) is skipped and counted, and the rest is sent. When
    /// the socket has no room, the rest stays in the batch: `left` of the outcome is not 0, and
    /// the caller sends again once the socket is writable, or [clears](SendBatch::clear) the batch.
    ///
    /// # Errors
    ///
    /// Only what concerns the socket rather than a message (not a socket, call not implemented).
    /// Messages sent before the error are out of the batch, the others stay.
    pub fn send(&self, batch: &mut SendBatch) -> io::Result<SendOutcome> {
        match self.back_end {
            #[cfg(target_os = "linux")]
            BackEnd::Batched => {
                let chosen = self.bound.is_none();
                linux::send(self.socket.as_fd(), (self.family, chosen), batch)
            }
            BackEnd::OneByOne => fallback::send(&self.socket, self.family, batch),
        }
    }

    /// Blocks this thread until a datagram waits, at most for `timeout` (`None`: no limit, and
    /// fractions of a millisecond count whole).
    ///
    /// For threads of their own, tests and examples; an event loop registers the socket instead.
    /// False says that the time has passed or that a signal came.
    ///
    /// # Errors
    ///
    /// Those of `poll`, of which lack of memory is the only possible one.
    pub fn wait_readable(&self, timeout: Option<Duration>) -> io::Result<bool> {
        wait::wait(self.socket.as_fd(), wait::Direction::Readable, timeout)
    }

    /// Blocks this thread until the socket takes datagrams; else as [`BatchSocket::wait_readable`].
    ///
    /// # Errors
    ///
    /// Those of `poll`, of which lack of memory is the only possible one.
    pub fn wait_writable(&self, timeout: Option<Duration>) -> io::Result<bool> {
        wait::wait(self.socket.as_fd(), wait::Direction::Writable, timeout)
    }

    /// The address the socket is bound to.
    ///
    /// # Errors
    ///
    /// Those of the kernel.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket itself, for options and addresses.
    #[must_use]
    pub const fn socket(&self) -> &UdpSocket {
        &self.socket
    }
}

impl AsFd for BatchSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for BatchSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
