//! The TCP socket below TLS: hands TLS one record at a time, and cuts what is written.
//!
//! Promises: a read of the TLS stream above returns the plaintext of exactly one application-data record (RFC 8446
//! section 5.1), which is what makes records countable; a write gives the socket no more than the mode's `tcp-chunk`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const RECORD_HEADER: usize = 5;

/// A socket whose reads stop at TLS record borders.
#[derive(Debug)]
pub(crate) struct Tap {
    socket: TcpStream,
    /// The header of the record that is being read, and how much of it is there.
    header: [u8; RECORD_HEADER],
    header_filled: usize,
    /// Octets of the body still to come.
    body: usize,
    chunk: usize,
}

impl Tap {
    pub(crate) fn new(socket: TcpStream, chunk: Option<usize>) -> Self {
        let chunk = chunk.unwrap_or(usize::MAX).max(1);
        Self {
            socket,
            header: [0; RECORD_HEADER],
            header_filled: 0,
            body: 0,
            chunk,
        }
    }

    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket
    }

    fn advance(&mut self, octets: &[u8]) {
        if self.header_filled < RECORD_HEADER {
            let end = self.header_filled + octets.len();
            self.header[self.header_filled..end].copy_from_slice(octets);
            self.header_filled = end;
            if end == RECORD_HEADER {
                self.body = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
            }
        } else {
            self.body -= octets.len();
        }
        if self.header_filled == RECORD_HEADER && self.body == 0 {
            self.header_filled = 0;
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wanted = match RECORD_HEADER - self.header_filled {
            0 => self.body,
            missing => missing,
        };
        let room = wanted.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut part))?;
        let read = part.filled().len();
        self.advance(part.filled());
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let part = &octets[..octets.len().min(self.chunk)];
        Pin::new(&mut self.socket).poll_write(context, part)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
