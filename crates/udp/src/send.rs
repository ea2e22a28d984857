//! The sending side's memory, and the one rule of what happens to a message that does not go out.
//!
//! Promises: allocated once, never grown; each message is sent once, skipped once, or still in the
//! batch; a call to send makes at most one system call per message and one more, but for those that
//! a signal interrupts.
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

    /// Drops the first `count` messages, which have waited longest; all when there are no more.
    pub fn drop_first(&mut self, count: usize) {
        self.remove_first(count);
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

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

    fn refused(errno: i32) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(errno))
    }

    /// A batch of one message for each of `texts`.
    fn batch_of(texts: &[&str]) -> SendBatch {
        let mut batch = SendBatch::new();
        for text in texts {
            batch
                .push(text.as_bytes(), PEER, LocalAddress::UNKNOWN)
                .unwrap();
        }
        batch
    }

    fn contents(batch: &SendBatch) -> Vec<String> {
        (0..batch.len())
            .map(|index| String::from_utf8(batch.message(index).1.to_vec()).unwrap())
            .collect()
    }

    /// Drives `batch` by `script`: one answer per attempt. Says what each attempt began with.
    fn scripted(
        batch: &mut SendBatch,
        script: Vec<io::Result<usize>>,
    ) -> (io::Result<SendOutcome>, Vec<usize>) {
        let mut script = script.into_iter();
        let mut attempts = Vec::new();
        let progress = drive(batch.len(), |next| {
            attempts.push(next);
            script.next().expect("no more attempts than the script has")
        });
        assert_eq!(script.count(), 0, "attempts not made");
        (batch.finish(progress), attempts)
    }

    #[test]
    fn empty_batch_makes_no_call() {
        let (outcome, attempts) = scripted(&mut SendBatch::new(), vec![]);
        let outcome = outcome.unwrap();
        assert_eq!((outcome.sent, outcome.skipped, outcome.left), (0, 0, 0));
        assert!(attempts.is_empty());
    }

    #[test]
    fn partial_sends_go_on_behind_what_was_sent() {
        let mut batch = batch_of(&["a", "b", "c", "d", "e"]);
        let (outcome, attempts) = scripted(&mut batch, vec![Ok(2), Ok(1), Ok(2)]);
        let outcome = outcome.unwrap();
        assert_eq!((outcome.sent, outcome.skipped, outcome.left), (5, 0, 0));
        assert_eq!(attempts, [0, 2, 3]);
        assert!(batch.is_empty());
    }

    #[test]
    fn full_socket_keeps_the_rest_in_order() {
        let mut batch = batch_of(&["first", "second", "", "fourth"]);
        let (outcome, _) = scripted(&mut batch, vec![Ok(1), refused(libc::EAGAIN)]);
        let outcome = outcome.unwrap();
        assert_eq!((outcome.sent, outcome.skipped, outcome.left), (1, 0, 3));
        assert!(outcome.fault.is_none());
        batch.push(b"fifth", PEER, LocalAddress::UNKNOWN).unwrap();
        assert_eq!(contents(&batch), ["second", "", "fourth", "fifth"]);

        let (outcome, attempts) = scripted(&mut batch, vec![Ok(4)]);
        assert_eq!((outcome.unwrap().sent, attempts), (4, vec![0]));
        assert!(batch.is_empty());
    }

    #[test]
    fn refused_message_is_skipped_and_the_others_go() {
        let mut batch = batch_of(&["a", "b", "c", "d"]);
        let script = vec![Ok(1), refused(libc::EPERM), refused(libc::EMSGSIZE), Ok(1)];
        let (outcome, attempts) = scripted(&mut batch, script);
        let outcome = outcome.unwrap();
        assert_eq!((outcome.sent, outcome.skipped, outcome.left), (2, 2, 0));
        assert_eq!(outcome.fault.unwrap().raw_os_error(), Some(libc::EPERM));
        assert_eq!(attempts, [0, 1, 2, 3]);
    }

    #[test]
    fn each_refused_message_costs_one_attempt() {
        let mut batch = batch_of(&["x"; BATCH_SIZE]);
        let script = (0..BATCH_SIZE).map(|_| refused(libc::ENETUNREACH));
        let (outcome, attempts) = scripted(&mut batch, script.collect());
        assert_eq!(outcome.unwrap().skipped, BATCH_SIZE);
        assert_eq!(attempts.len(), BATCH_SIZE);
        assert!(batch.is_empty());
    }

    #[test]
    fn skipped_messages_do_not_come_back_when_the_socket_is_full() {
        let mut batch = batch_of(&["a", "b", "c"]);
        let script = vec![refused(libc::EPERM), refused(libc::EAGAIN)];
        let (outcome, _) = scripted(&mut batch, script);
        let outcome = outcome.unwrap();
        assert_eq!((outcome.sent, outcome.skipped, outcome.left), (0, 1, 2));
        assert_eq!(contents(&batch), ["b", "c"]);
    }

    #[test]
    fn interrupted_call_is_made_again() {
        let mut batch = batch_of(&["a"]);
        let (outcome, attempts) = scripted(&mut batch, vec![refused(libc::EINTR), Ok(1)]);
        assert_eq!(outcome.unwrap().sent, 1);
        assert_eq!(attempts, [0, 0]);
    }

    #[test]
    fn error_of_the_socket_ends_the_call_and_keeps_the_rest() {
        for errno in [libc::EBADF, libc::ENOTSOCK, libc::EFAULT, libc::ENOSYS] {
            let mut batch = batch_of(&["a", "b"]);
            let (outcome, _) = scripted(&mut batch, vec![Ok(1), refused(errno)]);
            assert_eq!(outcome.unwrap_err().raw_os_error(), Some(errno));
            assert_eq!(contents(&batch), ["b"]);
        }
    }

    #[test]
    fn call_that_sends_nothing_is_no_busy_loop() {
        let mut batch = batch_of(&["a", "b"]);
        let (outcome, _) = scripted(&mut batch, vec![Ok(0)]);
        assert_eq!(outcome.unwrap().left, 2);
    }

    #[test]
    fn batch_takes_no_more_messages_than_its_size() {
        let mut batch = batch_of(&["x"; BATCH_SIZE]);
        let capacity = batch.messages.capacity();
        let pushed = batch.push(b"", PEER, LocalAddress::UNKNOWN);
        assert_eq!(pushed, Err(PushError::Full));
        assert_eq!(
            (batch.len(), batch.messages.capacity()),
            (BATCH_SIZE, capacity)
        );
        batch.clear();
        assert!(batch.is_empty());
        batch.push(b"x", PEER, LocalAddress::UNKNOWN).unwrap();
    }

    #[test]
    fn batch_takes_no_more_octets_than_its_buffer() {
        let mut batch = SendBatch::new();
        let longest = vec![1; MESSAGE_SIZE_MAX];
        batch.push(&longest, PEER, LocalAddress::UNKNOWN).unwrap();
        batch.push(&longest, PEER, LocalAddress::UNKNOWN).unwrap();
        let rest = SEND_BUFFER_SIZE - 2 * MESSAGE_SIZE_MAX;
        let push = |batch: &mut SendBatch, len: usize| {
            batch.push(&longest[..len], PEER, LocalAddress::UNKNOWN)
        };
        assert_eq!(push(&mut batch, rest + 1), Err(PushError::Full));
        assert_eq!(push(&mut batch, rest), Ok(()));
        assert_eq!(push(&mut batch, 1), Err(PushError::Full));

        // What is sent gives its room back although other messages wait.
        let (outcome, _) = scripted(&mut batch, vec![Ok(1), refused(libc::EAGAIN)]);
        assert_eq!(outcome.unwrap().left, 2);
        assert_eq!(push(&mut batch, MESSAGE_SIZE_MAX), Ok(()));
    }

    #[test]
    fn message_longer_than_any_datagram_is_never_taken() {
        let mut batch = SendBatch::new();
        let pushed = batch.push(&[0; MESSAGE_SIZE_MAX + 1], PEER, LocalAddress::UNKNOWN);
        assert_eq!(pushed, Err(PushError::TooLong));
        assert!(batch.is_empty());
    }

    #[test]
    fn writer_gives_back_what_it_does_not_use() {
        let mut batch = SendBatch::new();
        for _ in 0..BATCH_SIZE {
            let write = |room: &mut [u8]| {
                room[..2].copy_from_slice(b"hi");
                2
            };
            batch
                .push_with(MESSAGE_SIZE_MAX, PEER, LocalAddress::UNKNOWN, write)
                .unwrap();
        }
        assert_eq!(contents(&batch), ["hi"; BATCH_SIZE]);
    }

    #[test]
    fn writer_cannot_claim_more_than_its_room() {
        let mut batch = SendBatch::new();
        batch
            .push_with(3, PEER, LocalAddress::UNKNOWN, |_room| usize::MAX)
            .unwrap();
        assert_eq!(batch.message(0).1.len(), 3);
    }
}
