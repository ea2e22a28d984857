//! The receiving side's memory: one buffer for a batch of datagrams, and what is known of each.
//!
//! Promises: allocated once, never grown; a datagram longer than [`DATAGRAM_SIZE_MAX`] is cut and
//! says so, it never runs into its neighbour.
//!
//! Rules: RFC 5625 section 4.4.3 (a proxy forwards UDP payloads of at least 4096 octets).
//!
//! Not here: the system calls that fill it (`linux.rs`, `fallback.rs`).

use std::fmt;
use std::net::SocketAddr;
use std::slice;
use std::time::Duration;

use crate::address::LocalAddress;
use crate::{BATCH_SIZE, address};

/// Longest datagram, in octets, that is received whole; a longer one is cut to this length.
///
/// RFC 5625 section 4.4.3 asks a proxy for 4096 at least. Queries are far shorter, so more would
/// only be memory given to whoever sends garbage.
pub const DATAGRAM_SIZE_MAX: usize = 4096;

/// Distance of two buffers, in octets.
///
/// One cache line more than a datagram: at a distance of exactly 4096 the first lines of all
/// buffers, which are those in use, would share one set of a first-level cache. The line also
/// gives the one-by-one back end the spare octet by which it detects a cut datagram.
const STRIDE: usize = DATAGRAM_SIZE_MAX + 64;

/// What is known of one received datagram besides its octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecvMeta {
    /// Who sent it, and whom the reply goes to. An IPv4 sender is always a [`SocketAddr::V4`], also
    /// on a dual-stack socket; a link-local IPv6 sender has its zone in `scope_id`.
    pub peer: SocketAddr,
    /// The address of ours it was sent to, which the reply must leave from.
    pub local: LocalAddress,
    /// When it arrived, on the wall clock since 1970: the time it waited in the socket comes after.
    /// `None` where the system does not tell.
    pub arrived: Option<Duration>,
    /// The datagram was longer than [`DATAGRAM_SIZE_MAX`] and its end is lost.
    pub truncated: bool,
}

/// One received datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The payload: 0 to [`DATAGRAM_SIZE_MAX`] octets.
    pub bytes: &'a [u8],
    /// Where it came from and what it was sent to.
    pub meta: RecvMeta,
}

/// Up to [`BATCH_SIZE`] received datagrams and the memory that holds them (about 280 KiB of
/// address space, of which only the pages that datagrams touched are in use).
pub struct RecvBatch {
    octets: Box<[u8]>,
    /// The datagrams that the last call received. Invariant: at most `BATCH_SIZE`, so the vector
    /// never grows past the capacity it was made with.
    received: Vec<Received>,
    #[cfg(target_os = "linux")]
    scratch: Box<[crate::linux::RecvScratch]>,
}

/// Where a datagram lies and what is known of it.
#[derive(Debug, Clone, Copy)]
struct Received {
    buffer: usize,
    len: usize,
    meta: RecvMeta,
}

impl RecvBatch {
    /// An empty batch; allocates all it will ever need.
    #[must_use]
    pub fn new() -> Self {
        Self {
            octets: vec![0; BATCH_SIZE * STRIDE].into_boxed_slice(),
            received: Vec::with_capacity(BATCH_SIZE),
            #[cfg(target_os = "linux")]
            scratch: vec![crate::linux::RecvScratch::EMPTY; BATCH_SIZE].into_boxed_slice(),
        }
    }

    /// How many datagrams the last [`recv`](crate::BatchSocket::recv) brought.
    #[must_use]
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// Whether there is no datagram.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// Whether there may be more datagrams in the socket: the last call brought [`BATCH_SIZE`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.received.len() == BATCH_SIZE
    }

    /// The datagrams, in the order in which they arrived.
    #[must_use]
    pub fn iter(&self) -> Datagrams<'_> {
        Datagrams {
            octets: &self.octets,
            received: self.received.iter(),
        }
    }

    /// Forgets the datagrams of the last call.
    pub(crate) fn clear(&mut self) {
        self.received.clear();
    }

    /// Says that buffer `buffer` holds a datagram of `len` octets.
    pub(crate) fn record(&mut self, buffer: usize, len: usize, meta: RecvMeta) {
        debug_assert!(buffer < BATCH_SIZE && self.received.len() < BATCH_SIZE);
        self.received.push(Received {
            buffer,
            len: len.min(DATAGRAM_SIZE_MAX),
            meta: RecvMeta {
                peer: address::canonical(meta.peer),
                ..meta
            },
        });
    }

    /// One octet more than a datagram may have, of buffer `buffer`.
    pub(crate) fn buffer_and_spare(&mut self, buffer: usize) -> &mut [u8] {
        let start = buffer * STRIDE;
        &mut self.octets[start..=start + DATAGRAM_SIZE_MAX]
    }

    /// All buffers, each of [`DATAGRAM_SIZE_MAX`] octets, beside what the system call needs.
    #[cfg(target_os = "linux")]
    pub(crate) fn buffers(
        &mut self,
    ) -> impl Iterator<Item = (&mut [u8], &mut crate::linux::RecvScratch)> {
        let buffers = self.octets.chunks_exact_mut(STRIDE);
        let buffers = buffers.map(|buffer| &mut buffer[..DATAGRAM_SIZE_MAX]);
        buffers.zip(&mut self.scratch)
    }

    /// What the system call wrote about the datagram of buffer `buffer`.
    #[cfg(target_os = "linux")]
    pub(crate) fn scratch(&self, buffer: usize) -> &crate::linux::RecvScratch {
        &self.scratch[buffer]
    }
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a RecvBatch {
    type Item = Datagram<'a>;
    type IntoIter = Datagrams<'a>;

    fn into_iter(self) -> Datagrams<'a> {
        self.iter()
    }
}

/// The datagrams of a [`RecvBatch`], in the order in which they arrived.
#[derive(Debug, Clone)]
pub struct Datagrams<'a> {
    octets: &'a [u8],
    received: slice::Iter<'a, Received>,
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = Datagram<'a>;

    fn next(&mut self) -> Option<Datagram<'a>> {
        let received = self.received.next()?;
        let start = received.buffer * STRIDE;
        Some(Datagram {
            bytes: &self.octets[start..start + received.len],
            meta: received.meta,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.received.size_hint()
    }
}

impl ExactSizeIterator for Datagrams<'_> {}
