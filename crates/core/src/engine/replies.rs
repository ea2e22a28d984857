//! Replies on their way to the shell: one buffer for all of a turn, so that a reply allocates nothing.

/// Replies and whom they are for, in the order they came to be.
#[derive(Debug)]
pub struct Replies<C> {
    /// The client and where its reply ends in `octets`.
    entries: Vec<(C, usize)>,
    octets: Vec<u8>,
}

impl<C> Default for Replies<C> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            octets: Vec::new(),
        }
    }
}

/// Octets of buffer kept between turns; a rare large burst is given back.
const KEPT_CAPACITY: usize = 256 * 1024;

impl<C> Replies<C> {
    /// Appends a reply.
    pub fn push(&mut self, client: C, message: &[u8]) {
        self.octets.extend_from_slice(message);
        self.entries.push((client, self.octets.len()));
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Octets of all of them.
    pub(super) fn octets(&self) -> usize {
        self.octets.len()
    }

    /// Appends all of `others` and empties it.
    pub fn append(&mut self, others: &mut Self) {
        let start = self.octets.len();
        self.octets.extend_from_slice(&others.octets);
        let entries = others.entries.drain(..);
        self.entries
            .extend(entries.map(|(client, end)| (client, start.saturating_add(end))));
        others.clear();
    }

    /// Takes all out: each client with its whole message, without a length prefix.
    pub fn drain(&mut self, mut each: impl FnMut(C, &[u8])) {
        let mut start = 0;
        for (client, end) in self.entries.drain(..) {
            each(client, self.octets.get(start..end).unwrap_or_default());
            start = end;
        }
        self.clear();
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.octets.clear();
        self.octets.shrink_to(KEPT_CAPACITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_replies_come_out_whole_and_in_order() {
        let (mut first, mut second) = (Replies::default(), Replies::default());
        first.push(1, b"one");
        second.push(2, b"");
        second.push(3, b"three");
        first.append(&mut second);
        assert!(second.is_empty());
        let mut out = Vec::new();
        first.drain(|client, message| out.push((client, message.to_vec())));
        let expected: [(i32, &[u8]); 3] = [(1, b"one"), (2, b""), (3, b"three")];
        assert_eq!(
            out,
            expected.map(|(client, octets)| (client, octets.to_vec()))
        );
    }
}
