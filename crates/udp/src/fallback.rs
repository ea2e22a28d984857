//! The back end of one datagram per system call, through the standard library.
//!
//! Promises: no `unsafe`, nothing that a Unix system may lack; the same answers as the batched back
//! end to the same traffic, but for the local address.
//!
//! Not here, because the standard library has no word for it: the address a datagram was sent to,
//! and the choice of the address a reply leaves from. Local addresses are unknown on the way in and
//! unused on the way out.

use std::io;
use std::net::UdpSocket;

use crate::BATCH_SIZE;
use crate::address::{Family, LocalAddress};
use crate::recv::{DATAGRAM_SIZE_MAX, RecvBatch, RecvMeta};
use crate::send::{self, SendBatch, SendOutcome};

/// As [`BatchSocket::recv`](crate::BatchSocket::recv).
pub(crate) fn recv(socket: &UdpSocket, batch: &mut RecvBatch) -> io::Result<usize> {
    batch.clear();
    while !batch.is_full() {
        let buffer = batch.len();
        debug_assert!(buffer < BATCH_SIZE);
        match socket.recv_from(batch.buffer_and_spare(buffer)) {
            Ok((len, peer)) => {
                let meta = RecvMeta {
                    peer,
                    local: LocalAddress::UNKNOWN,
                    arrived: None,
                    // The kernel cuts without a word here, but an octet in the spare place means
                    // that there was at least one too many.
                    truncated: len > DATAGRAM_SIZE_MAX,
                };
                batch.record(buffer, len, meta);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if batch.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(batch.len())
}

/// As [`BatchSocket::send`](crate::BatchSocket::send).
pub(crate) fn send(
    socket: &UdpSocket,
    family: Family,
    batch: &mut SendBatch,
) -> io::Result<SendOutcome> {
    let progress = send::drive(batch.len(), |next| {
        let (message, bytes) = batch.message(next);
        let peer = family.destination(message.peer);
        socket.send_to(bytes, peer).map(|_octets| 1)
    });
    batch.finish(progress)
}
