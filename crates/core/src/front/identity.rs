//! Questions about this server itself, in class CH: who it is and what it runs.
//!
//! | name | TXT |
//! |---|---|
//! | `id.server`, `hostname.bind` | the NSID when there is one, else REFUSED (RFC 4892 section 3) |
//! | `version.bind`, `version.server` | REFUSED: nobody outside needs to know what to attack |
//!
//! They are about the server that is asked, so they are answered here and never forwarded. Other names of class CH are ordinary.

use crate::wire::{Class, Question, QuestionRef, RecordType, ResponseComposer};

/// What a question wants to know of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Which one it is.
    Server,
    /// What it runs.
    Version,
}

const NAMES: [(&[u8], Identity); 4] = [
    (b"\x02id\x06server\0", Identity::Server),
    (b"\x08hostname\x04bind\0", Identity::Server),
    (b"\x07version\x04bind\0", Identity::Version),
    (b"\x07version\x06server\0", Identity::Version),
];

/// What the question wants to know of this server; `None` when it is about something else.
pub(super) fn asked(question: QuestionRef<'_>) -> Option<Identity> {
    if question.qclass() != Class::CH {
        return None;
    }
    let found = NAMES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(question.qname()));
    found.map(|(_, identity)| *identity)
}

/// The canonical response that tells `nsid`: a TXT record for who asks for one, nothing for who asks for something else.
pub(super) fn respond(question: &Question, nsid: &[u8]) -> Vec<u8> {
    let mut composer = ResponseComposer::new(question);
    if matches!(question.qtype(), RecordType::TXT | RecordType::ANY)
        && let Ok(length) = u8::try_from(nsid.len())
    {
        let text = [&[length], nsid].concat();
        composer.answer(&question.qname(), RecordType::TXT, 0, &text);
    }
    composer.finish()
}
