//! Messages on a stream: two octets of length, then the message (RFC 1035 section 4.2.2, RFC 7766 section 8).
//!
//! Octets may arrive in any pieces, one at a time included. Memory is bounded by twice the largest message and one piece more,
//! and goes back to [`IDLE_CAPACITY`] when everything was taken out and asked for once more.

/// Octets of the length field.
pub const LENGTH_LEN: usize = 2;

/// The longest message a stream can carry.
pub const MESSAGE_LEN_MAX: usize = 65_535;

/// Octets of buffer an idle stream keeps.
pub const IDLE_CAPACITY: usize = 4096;

/// Puts messages together from the pieces of a stream.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Octets at the front that were given out already.
    taken: usize,
}

impl FrameReader {
    /// Takes the next piece of the stream. Call [`FrameReader::next_message`] until it gives `None` before the next piece, or the
    /// buffer grows with what was not taken.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole message, without its length; `None` when more octets are needed.
    pub fn next_message(&mut self) -> Option<&[u8]> {
        let Some(end) = self.end_of_next() else {
            self.give_back();
            return None;
        };
        let start = self.taken.saturating_add(LENGTH_LEN);
        self.taken = end;
        self.buffer.get(start..end)
    }

    /// Where the next whole message ends.
    fn end_of_next(&self) -> Option<usize> {
        let waiting = self.buffer.get(self.taken..)?;
        let (length, rest) = waiting.split_first_chunk::<LENGTH_LEN>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let is_whole = rest.len() >= length;
        is_whole.then(|| self.taken.saturating_add(LENGTH_LEN).saturating_add(length))
    }

    /// Nothing more comes out of what there is.
    fn give_back(&mut self) {
        if self.is_empty() {
            self.buffer.clear();
            self.taken = 0;
            if self.buffer.capacity() > IDLE_CAPACITY {
                self.buffer = Vec::new();
            }
        }
    }

    /// Octets of memory held beyond what an idle stream keeps.
    #[must_use]
    pub fn excess(&self) -> usize {
        self.buffer.capacity().saturating_sub(IDLE_CAPACITY)
    }

    /// Whether the stream stands between two messages: nothing was begun and not finished.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken >= self.buffer.len()
    }
}

/// Appends `message` with its length in front. Messages longer than [`MESSAGE_LEN_MAX`] cannot be framed; nothing is appended
/// then and `false` comes back.
pub fn append_frame(message: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(length) = u16::try_from(message.len()) else {
        return false;
    };
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> (Vec<Vec<u8>>, Vec<u8>) {
        let messages = vec![
            b"one".to_vec(),
            Vec::new(),
            vec![7; 300],
            vec![9; 65_535],
            b"x".to_vec(),
        ];
        let mut stream = Vec::new();
        for message in &messages {
            assert!(append_frame(message, &mut stream));
        }
        (messages, stream)
    }

    #[test]
    fn messages_come_out_whole_whatever_the_pieces() {
        let (messages, stream) = stream();
        for size in [1, 2, 3, 7, 1000, 16_384, stream.len()] {
            let mut reader = FrameReader::default();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                reader.push(piece);
                while let Some(message) = reader.next_message() {
                    found.push(message.to_vec());
                }
            }
            assert_eq!(found, messages, "pieces of {size}");
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_message_begun_is_not_empty() {
        let mut reader = FrameReader::default();
        assert!(reader.is_empty());
        reader.push(&[0]);
        assert!(reader.next_message().is_none());
        assert!(!reader.is_empty());
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut reader = FrameReader::default();
        let mut frame = Vec::new();
        assert!(append_frame(&[1; 60_000], &mut frame));
        reader.push(&frame);
        assert!(reader.excess() > 50_000);
        assert!(reader.next_message().is_some());
        assert!(reader.next_message().is_none());
        assert_eq!(reader.excess(), 0, "at once, and not when more comes");
        reader.push(b"\0\x01a");
        assert_eq!(reader.next_message(), Some(&b"a"[..]));
    }

    #[test]
    fn a_message_too_long_for_a_frame_is_not_framed() {
        let mut out = Vec::new();
        assert!(!append_frame(&[0; 65_536], &mut out));
        assert!(out.is_empty());
    }
}
