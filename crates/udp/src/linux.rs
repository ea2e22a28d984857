//! The batched back end: `recvmmsg` and `sendmmsg`.
//!
//! Promises: the kernel is only ever given pointers into memory that this call borrows exclusively
//! and that outlives the call; lengths that come back are checked before they are used.
//!
//! The message headers live on the stack and are laid anew for each call, a matter of some tens of
//! nanoseconds, rather than in the batches: so no pointer outlives the borrow it comes from, and
//! the batches stay plain data that may move between threads.
//!
//! Rules: RFC 2181 section 4.1 (source address of a reply), by `IP_PKTINFO` and `IPV6_PKTINFO`.
//!
//! Not here: what control messages and addresses look like (`cmsg.rs`, `sockaddr.rs`), and what
//! happens to messages that do not go out (`send.rs`).

use std::io;
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use socket2::SockRef;

use crate::BATCH_SIZE;
use crate::address::{Family, LocalAddress};
use crate::cmsg::{self, CONTROL_SIZE, Control};
use crate::recv::{RecvBatch, RecvMeta};
use crate::send::{self, SendBatch, SendOutcome};
use crate::sockaddr::{self, NAME_SIZE, Name};

/// A message header that points nowhere. C libraries pad it with private fields, which the kernel
/// reads as part of the public ones and which must be zero.
// SAFETY: a structure of integers and raw pointers, for all of which zero is a valid value.
const EMPTY_MESSAGE: libc::mmsghdr = unsafe { zeroed() };

const EMPTY_VECTOR: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

/// What the kernel writes about one received datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecvScratch {
    name: Name,
    control: Control,
}

impl RecvScratch {
    pub(crate) const EMPTY: Self = Self {
        name: Name([0; NAME_SIZE]),
        control: Control([0; CONTROL_SIZE]),
    };
}

/// What the kernel is told about one message to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendScratch {
    name: Name,
    control: Control,
}

impl SendScratch {
    pub(crate) const EMPTY: Self = Self {
        name: Name([0; NAME_SIZE]),
        control: Control([0; CONTROL_SIZE]),
    };
}

/// Asks the kernel for the destination address of each datagram.
///
/// A dual-stack socket is asked for both kinds of packet information: that of IPv6 tells of an IPv4
/// datagram no more than the destination in its header, which may be a broadcast address.
pub(crate) fn enable_packet_info(socket: &UdpSocket, family: Family) -> io::Result<()> {
    let (v4, v6) = match family {
        Family::V4 => (true, false),
        Family::V6 => (!SockRef::from(socket).only_v6()?, true),
    };
    if v4 {
        switch_on(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO)?;
    }
    if v6 {
        switch_on(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?;
    }
    Ok(())
}

/// Asks the kernel for the time each datagram arrived at, the time in the socket's queue not
/// included.
pub(crate) fn enable_arrival(socket: &UdpSocket) -> io::Result<()> {
    switch_on(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS)
}

/// Sets an integer socket option to 1.
fn switch_on(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer is to a live `c_int` and the length is that of a `c_int`; the kernel only
    // reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// As [`BatchSocket::recv`](crate::BatchSocket::recv).
///
/// `bound` is the address of a socket that is not asked for packet information.
pub(crate) fn recv(
    socket: BorrowedFd<'_>,
    bound: Option<LocalAddress>,
    batch: &mut RecvBatch,
) -> io::Result<usize> {
    batch.clear();
    let mut vectors = [EMPTY_VECTOR; BATCH_SIZE];
    let mut headers = [EMPTY_MESSAGE; BATCH_SIZE];
    let places = headers.iter_mut().zip(&mut vectors);
    for ((header, vector), (buffer, scratch)) in places.zip(batch.buffers()) {
        vector.iov_base = buffer.as_mut_ptr().cast();
        vector.iov_len = buffer.len();
        let header = &mut header.msg_hdr;
        header.msg_name = scratch.name.0.as_mut_ptr().cast();
        header.msg_namelen = NAME_SIZE as libc::socklen_t;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header.msg_control = scratch.control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_SIZE as _;
    }

    // SAFETY: every header points to the name, the control buffer and the vector of its own place,
    // and the vector to the buffer of that place, each with its exact length. `vectors` is of this
    // function and `batch` is borrowed exclusively by it, and neither is touched before the call
    // has returned.
    let received = unsafe { receive_messages(socket, &mut headers) }?;
    for (buffer, header) in headers.iter().take(received).enumerate() {
        let scratch = batch.scratch(buffer);
        // The kernel always tells the sender of a UDP datagram. Without one there would be nobody
        // to answer, and the datagram is passed over.
        let name_len = header.msg_hdr.msg_namelen as usize;
        let Some(peer) = sockaddr::decode(&scratch.name, name_len) else {
            continue;
        };
        #[allow(
            clippy::unnecessary_cast,
            reason = "32 bits wide with another C library"
        )]
        let control_len = (header.msg_hdr.msg_controllen as usize).min(CONTROL_SIZE);
        let control = &scratch.control.0[..control_len];
        let meta = RecvMeta {
            peer,
            local: bound.unwrap_or_else(|| cmsg::decode_destination(control)),
            arrived: cmsg::decode_arrival(control),
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        };
        batch.record(buffer, header.msg_len as usize, meta);
    }
    Ok(batch.len())
}

/// One `recvmmsg`, again when a signal interrupted it; says how many headers it filled.
///
/// # Safety
///
/// Every pointer in `headers` is valid for writes of the length beside it, and nothing else
/// accesses that memory during the call.
unsafe fn receive_messages(
    socket: BorrowedFd<'_>,
    headers: &mut [libc::mmsghdr],
) -> io::Result<usize> {
    loop {
        // SAFETY: the headers are as many as the count says, what they point to is the caller's
        // promise, and the descriptor is open as long as its borrow lives. No timeout is given.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                // Signed with one C library, unsigned with another.
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        if let Ok(received) = usize::try_from(received) {
            return Ok(received);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// As [`BatchSocket::send`](crate::BatchSocket::send).
///
/// `chosen` says that the socket has several addresses, of which each message names one.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    (family, chosen): (Family, bool),
    batch: &mut SendBatch,
) -> io::Result<SendOutcome> {
    let total = batch.len();
    let mut vectors = [EMPTY_VECTOR; BATCH_SIZE];
    let mut headers = [EMPTY_MESSAGE; BATCH_SIZE];
    let places = headers.iter_mut().zip(&mut vectors);
    for ((header, vector), (message, bytes, scratch)) in places.zip(batch.prepared()) {
        let name_len = sockaddr::encode(family.destination(message.peer), &mut scratch.name);
        let control_len = match chosen {
            true => cmsg::encode_source(message.local, &mut scratch.control),
            false => 0,
        };
        vector.iov_base = bytes.as_ptr().cast_mut().cast();
        vector.iov_len = bytes.len();
        let header = &mut header.msg_hdr;
        header.msg_name = scratch.name.0.as_mut_ptr().cast();
        header.msg_namelen = name_len as libc::socklen_t;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header.msg_control = scratch.control.0.as_mut_ptr().cast();
        header.msg_controllen = control_len as _;
    }

    let progress = send::drive(total, |next| {
        // SAFETY: every header before `total` points to the name, the control message and the
        // vector of its own place, and the vector to the octets of its message, each with its
        // exact length. `vectors` is of this function and `batch` is borrowed exclusively by it,
        // and neither is touched before `drive` has returned.
        unsafe { send_messages(socket, &mut headers[next..total]) }
    });
    batch.finish(progress)
}

/// One `sendmmsg`; says how many messages went out, counted from the first.
///
/// Calls the kernel directly, because musl's `sendmmsg` makes one call per message to be able to
/// zero the padding of the headers, which is zero here ([`EMPTY_MESSAGE`], `cmsg.rs`).
///
/// # Safety
///
/// Every pointer in `headers` is valid for reads of the length beside it, and nothing writes to
/// that memory during the call.
unsafe fn send_messages(
    socket: BorrowedFd<'_>,
    headers: &mut [libc::mmsghdr],
) -> io::Result<usize> {
    // SAFETY: the headers are as many as the count says, what they point to is the caller's
    // promise, and the descriptor is open as long as its borrow lives. The arguments are those of
    // the system call, each as wide as a register; the kernel writes only the lengths sent into
    // the headers.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_sendmmsg,
            libc::c_long::from(socket.as_raw_fd()),
            headers.as_mut_ptr(),
            headers.len(),
            libc::c_long::from(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL),
        )
    };
    usize::try_from(sent).map_err(|_negative| io::Error::last_os_error())
}
