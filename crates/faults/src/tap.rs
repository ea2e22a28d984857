//! The layers around TLS: below it a socket that takes little at a time, above it a stream that gives one record.
//!
//! Promises: a read of [`Records`] returns plaintext of exactly one application-data record (RFC 8446 section 5.1),
//! which is what makes records countable; a write of [`Tap`] gives the socket no more than the mode's `tcp-chunk`, and keeps what
//! came first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Octets kept of what a client sends first: a record and its header.
const HELLO_KEPT: usize = 16 * 1024 + 5;

/// A socket that takes a bounded number of octets per write.
#[derive(Debug)]
pub(crate) struct Tap {
    socket: TcpStream,
    chunk: usize,
    /// The first octets that came, at most [`HELLO_KEPT`].
    hello: Vec<u8>,
}

impl Tap {
    pub(crate) fn new(socket: TcpStream, chunk: Option<usize>) -> Self {
        Self {
            socket,
            chunk: chunk.unwrap_or(usize::MAX).max(1),
            hello: Vec::new(),
        }
    }
}

impl Tap {
    /// The first octets that came: the ClientHello, and what followed.
    pub(crate) fn hello(&self) -> &[u8] {
        &self.hello
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buf);
        let room = HELLO_KEPT.saturating_sub(self.hello.len());
        let fresh = buf.filled().iter().skip(before).take(room);
        self.hello.extend(fresh);
        read
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

/// A TLS stream that is read record by record; the stream itself would join what is there.
#[derive(Debug)]
pub(crate) struct Records(pub(crate) TlsStream<Tap>);

impl Records {
    /// The socket, for an end that TLS does not see.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.0.into_inner().0.socket
    }
}

impl AsyncRead for Records {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // rustls keeps the plaintext of each record in a chunk of its own.
        let chunk = ready!(Pin::new(&mut self.0).poll_fill_buf(context))?;
        let taken = chunk.len().min(buf.remaining());
        buf.put_slice(&chunk[..taken]);
        Pin::new(&mut self.0).consume(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Records {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
