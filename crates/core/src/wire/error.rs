//! Why octets are not a DNS message.
//!
//! One closed list for both directions: from a client it becomes FORMERR, from an upstream SERVFAIL with extended error 24
//! (RFC 8914 section 4.25). A variant is one fact about the octets.

use core::fmt;

/// A fault in the form of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// A COOKIE option of a length there is not (RFC 7873 section 5.2.2).
    CookieLength,
    /// Fewer than the 12 octets of a header (RFC 1035 section 4.1.1).
    Header,
    /// A label whose two top bits are 01 or 10 (RFC 1035 section 4.1.4, RFC 6891 section 5).
    LabelType,
    /// A name of more than 255 octets (RFC 1035 section 2.3.4).
    NameLength,
    /// More options in one OPT record than [`edns::OPTIONS_MAX`](crate::wire::edns::OPTIONS_MAX).
    OptionCount,
    /// An EDNS option longer than the OPT record that holds it (RFC 6891 section 6.1.2).
    OptionLength,
    /// An OPT record outside the additional section, or not owned by the root (RFC 6891 section 6.1.1).
    OptPlace,
    /// A second OPT record (RFC 6891 section 6.1.1).
    OptRepeated,
    /// A name, a record or a fixed field that runs past the last octet.
    Overrun,
    /// A compression pointer that does not go strictly backwards, or too many of them (RFC 1035 section 4.1.4).
    Pointer,
    /// A question count other than the one the message must have (RFC 9619 section 4).
    QuestionCount,
    /// More records in a query than [`QUERY_RECORDS_MAX`](crate::limits::QUERY_RECORDS_MAX).
    RecordCount,
    /// RDATA of a well-known type whose names do not fill it exactly.
    Rdata,
    /// A signature record (TSIG, RFC 8945 section 5.1) that is not the last record of the message.
    SignaturePlace,
}

impl WireError {
    /// The fault in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::CookieLength => "cookie of a length there is not",
            Self::Header => "shorter than a header",
            Self::LabelType => "label of a reserved type",
            Self::NameLength => "name longer than 255 octets",
            Self::OptionCount => "too many EDNS options",
            Self::OptionLength => "EDNS option longer than its record",
            Self::OptPlace => "OPT record in the wrong place",
            Self::OptRepeated => "more than one OPT record",
            Self::Overrun => "runs past the end of the message",
            Self::Pointer => "compression pointer that does not go backwards",
            Self::QuestionCount => "not exactly one question",
            Self::RecordCount => "too many records in a query",
            Self::Rdata => "record data that does not fit its type",
            Self::SignaturePlace => "signature that is not the last record",
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for WireError {}
