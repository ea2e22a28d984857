//! Blocking wait for one socket.
//!
//! Not here: waiting for several at once, which is an event loop's work.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// A datagram, or an error, can be received.
    Readable,
    /// There is room to send.
    Writable,
}

/// Waits until `socket` is ready, at most for `timeout`; says whether it is.
pub(crate) fn wait(
    socket: BorrowedFd<'_>,
    direction: Direction,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    let mut entry = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: match direction {
            Direction::Readable => libc::POLLIN,
            Direction::Writable => libc::POLLOUT,
        },
        revents: 0,
    };
    // SAFETY: the pointer is to one valid `pollfd`, exclusively borrowed during the call, and the
    // count says one; the descriptor is open as long as its borrow lives.
    let ready = unsafe { libc::poll(&raw mut entry, 1, milliseconds(timeout)) };
    if ready >= 0 {
        return Ok(ready > 0);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted {
        return Ok(false);
    }
    Err(error)
}

/// `timeout` as `poll` takes it: whole milliseconds, rounded up so that a short wait is no busy
/// loop; without limit, -1.
fn milliseconds(timeout: Option<Duration>) -> libc::c_int {
    timeout.map_or(-1, |timeout| {
        let whole = timeout.as_nanos().div_ceil(1_000_000);
        libc::c_int::try_from(whole).unwrap_or(libc::c_int::MAX)
    })
}
