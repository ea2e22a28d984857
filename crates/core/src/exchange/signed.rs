//! A query that bears a transaction signature and goes upstream as it is.
//!
//! Whoever signs a query talks to somebody behind us; we have no part in it (RFC 8945 section 5.5, RFC 5625 section 4.5). So the octets are
//! sent as they came, the client's options included, without padding; the query is asked for nobody else; and a signed
//! response goes back as it came. Access, routes and special names hold for it as for any other.
//!
//! The message ID is ours where the signature allows it: TSIG holds the one it was made over, SIG(0) does not (RFC 2931 section
//! 3.1), so there the client's own is used.
//!
//! Deliberately absent: keys. Nothing here can tell a good signature from a bad one.

use crate::limits::{DATAGRAM_QUERY_MAX, SIGNED_QUERY_MAX};
use crate::wire::{QueryView, Signature};

/// The octets of a signed query. At most [`SIGNED_QUERY_MAX`], as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedQuery {
    octets: Box<[u8]>,
    signature: Signature,
}

impl SignedQuery {
    /// The query as it came; `None` when it is not signed, or too long to be kept.
    #[must_use]
    pub fn of(query: &QueryView<'_>) -> Option<Self> {
        let signature = query.signature()?;
        let octets = query.message();
        (octets.len() <= SIGNED_QUERY_MAX).then(|| Self {
            octets: octets.into(),
            signature,
        })
    }

    /// The message.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Whether the message ID is signed too and has to stay.
    pub(crate) fn keeps_id(&self) -> bool {
        self.signature == Signature::Sig0
    }

    /// Whether it may not go in a datagram: it is too long, or its ID, which a forger would have to guess, is the client's.
    pub(crate) fn needs_stream(&self) -> bool {
        self.keeps_id() || self.octets.len() > DATAGRAM_QUERY_MAX
    }
}
