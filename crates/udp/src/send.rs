//! The sending side's memory, and the one rule of what happens to a message that does not go out.
//!
//! Promises: allocated once, never grown; each message is sent once, skipped once, or still in the
//! batch; a call to send ends after at most two system calls per message.
//!
//! Not here: the system calls (`linux.rs`, `fallback.rs`), and how long a reply may be, which is
//! decided by whoever knows the client.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::BATCH_SIZE;
use crate::address::LocalAddress;

/// Longest message, in octets, that a batch takes.
///
/// The most that the length field of UDP can tell. What the header leaves of it (65,507 octets
/// over IPv4) is for the kernel to judge: it refuses a longer one and the message is skipped.
pub const MESSAGE_SIZE_MAX: usize = 65_535;

/// Octets of messages that a batch holds.
///
/// Room for [`BATCH_SIZE`] messages of 2048 octets, well above the 1232 that a careful server
/// sends over UDP. Less would make long replies cost more system calls, more would be memory that
/// is hardly ever used.
pub const SEND_BUFFER_SIZE: usize = 128 * 1024;

// An empty batch takes any message that is not too long.
const _: () = assert!(MESSAGE_SIZE_MAX <= SEND_BUFFER_SIZE);

/// Why a message was not taken into a [`SendBatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PushError {
    /// The batch has no room for it: send the batch, then push the message again.
    Full,
    /// Longer than [`MESSAGE_SIZE_MAX`]: no batch will ever take it.
    TooLong,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the batch has no room for the message",
            Self::TooLong => "the message is longer than a UDP datagram can be",
        })
    }
}

impl Error for PushError {}

/// What became of the messages of a batch.
#[derive(Debug, Default)]
#[must_use]
pub struct SendOutcome {
    /// Messages that the kernel took.
    pub sent: usize,
    /// Messages that the kernel refused, each on its own account. They are lost.
    pub skipped: usize,
    /// Messages still in the batch because the socket had no room (`EAGAIN`).
    pub left: usize,
    /// Why the first of the skipped messages was refused.
    pub fault: Option<io::Error>,
}

/// Up to [`BATCH_SIZE`] messages to be sent, in one buffer of [`SEND_BUFFER_SIZE`] octets.
pub struct SendBatch {
    octets: Box<[u8]>,
    /// Octets of the buffer that messages use; they lie one behind the other from its start.
    used: usize,
    /// Invariant: at most `BATCH_SIZE`, so the vector keeps the capacity it was made with; starts
    /// ascend, and no message reaches past `used`.
    messages: Vec<Message>,
    #[cfg(target_os = "linux")]
    scratch: Box<[crate::linux::SendScratch]>,
}

/// One message of a batch: where it lies and where it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    start: usize,
    len: usize,
    pub(crate) peer: SocketAddr,
    pub(crate) local: LocalAddress,
}

impl SendBatch {
    /// An empty batch; allocates all it will ever need.
    #[must_use]
    pub fn new() -> Self {
        Self {
            octets: vec![0; SEND_BUFFER_SIZE].into_boxed_slice(),
            used: 0,
            messages: Vec::with_capacity(BATCH_SIZE),
            #[cfg(target_os = "linux")]
            scratch: vec![crate::linux::SendScratch::EMPTY; BATCH_SIZE].into_boxed_slice(),
        }
    }

    /// Adds a message to `peer` that leaves from `local`: both as received in a
    /// [`RecvMeta`](crate::RecvMeta), for a reply.
    ///
    /// # Errors
    ///
    /// See [`PushError`]; the batch is as it was.
    pub fn push(
        &mut self,
        bytes: &[u8],
        peer: SocketAddr,
        local: LocalAddress,
    ) -> Result<(), PushError> {
        self.push_with(bytes.len(), peer, local, |buffer| {
            buffer.copy_from_slice(bytes);
            bytes.len()
        })
    }

    /// Adds a message that `write` writes in place.
    ///
    /// `write` is given a buffer of `room` octets of any content and returns how many of them, from
    /// the first on, are the message (more than `room` counts as `room`). It is not called when
    /// there is no room.
    ///
    /// # Errors
    ///
    /// See [`PushError`]; the batch is as it was.
    pub fn push_with(
        &mut self,
        room: usize,
        peer: SocketAddr,
        local: LocalAddress,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> Result<(), PushError> {
        if room > MESSAGE_SIZE_MAX {
            return Err(PushError::TooLong);
        }
        if self.messages.len() == BATCH_SIZE || room > SEND_BUFFER_SIZE - self.used {
            return Err(PushError::Full);
        }
        let start = self.used;
        let len = write(&mut self.octets[start..start + room]).min(room);
        self.used += len;
        self.messages.push(Message {
            start,
            len,
            peer,
            local,
        });
        Ok(())
    }

    /// How many messages wait to be sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether no message waits to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Drops the messages that wait to be sent.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.used = 0;
    }

    /// Message `index` and its octets.
    pub(crate) fn message(&self, index: usize) -> (&Message, &[u8]) {
        let message = &self.messages[index];
        let bytes = &self.octets[message.start..message.start + message.len];
        (message, bytes)
    }

    /// All messages with their octets, each beside what the system call needs.
    #[cfg(target_os = "linux")]
    pub(crate) fn prepared(
        &mut self,
    ) -> impl Iterator<Item = (&Message, &[u8], &mut crate::linux::SendScratch)> {
        let octets = &self.octets;
        let messages = self.messages.iter().zip(&mut self.scratch);
        messages.map(|(message, scratch)| {
            let bytes = &octets[message.start..message.start + message.len];
            (message, bytes, scratch)
        })
    }

    /// Takes out the messages that are dealt with and says what became of all of them.
    pub(crate) fn finish(&mut self, progress: Progress) -> io::Result<SendOutcome> {
        self.remove_first(progress.sent + progress.skipped);
        match progress.failed {
            Some(error) => Err(error),
            None => Ok(SendOutcome {
                sent: progress.sent,
                skipped: progress.skipped,
                left: self.messages.len(),
                fault: progress.fault,
            }),
        }
    }

    /// Moves what follows the first `count` messages to the front, so that all room is in one
    /// piece again. Copies only when the socket was full, which is rare.
    fn remove_first(&mut self, count: usize) {
        let Some(next) = self.messages.get(count) else {
            self.clear();
            return;
        };
        let gone = next.start;
        self.octets.copy_within(gone..self.used, 0);
        self.used -= gone;
        self.messages.drain(..count);
        for message in &mut self.messages {
            message.start -= gone;
        }
    }
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.messages).finish()
    }
}

/// How far a batch got: the first `sent + skipped` messages are dealt with.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    sent: usize,
    skipped: usize,
    fault: Option<io::Error>,
    failed: Option<io::Error>,
}

/// Sends messages `0..total` by calling `attempt` with the index of the next one until all are
/// dealt with or the socket is full. `attempt` says how many messages it sent from there on, or
/// why that very message did not go.
///
/// A refused message is skipped, not tried again: a reply that is lost is asked for again by the
/// client, and a message that can never go must not hold up the others nor keep the loop busy.
pub(crate) fn drive(total: usize, mut attempt: impl FnMut(usize) -> io::Result<usize>) -> Progress {
    let mut progress = Progress::default();
    loop {
        let next = progress.sent + progress.skipped;
        if next >= total {
            return progress;
        }
        match attempt(next) {
            // A call that sends nothing and reports nothing is no progress: leave, as if full.
            Ok(0) => return progress,
            Ok(sent) => progress.sent += sent.min(total - next),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return progress,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if concerns_the_socket(&error) => {
                progress.failed = Some(error);
                return progress;
            }
            Err(error) => {
                progress.skipped += 1;
                progress.fault.get_or_insert(error);
            }
        }
    }
}

/// Whether `error` would meet every message alike, so that going on is of no use.
fn concerns_the_socket(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::ENOSYS)
    )
}
