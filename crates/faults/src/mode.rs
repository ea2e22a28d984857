//! What the server does wrong: one plain value, every field of it one independent fault.
//!
//! [`Mode::default`] is a correct server. Faults combine by setting several fields, except that a connection whose
//! [`Opening`] is not [`Opening::Tls`] or [`Opening::PlainText`] never reaches the fields about queries.
//! The same value is written as text by [`crate::script`]. A mode is read when a connection is accepted (opening,
//! certificate, TLS) and again for each query, so a mode set on a live connection rules its next query.
//!
//! Not here: how a fault is carried out (`opening`, `lies`, `framing`, `conversation`).

use std::time::Duration;

use crate::certificates::CertificateKind;

/// Everything the server may do wrong, and how. The default does nothing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mode {
    /// What happens between the TCP accept and the first query.
    pub opening: Opening,
    /// Pause between the TCP accept and the first octet of TLS.
    pub handshake_delay: Duration,
    /// Which certificate is shown.
    pub certificate: CertificateKind,
    /// Which versions of TLS are spoken.
    pub versions: TlsVersions,
    /// Whether sessions may be resumed.
    pub tickets: Tickets,
    /// Whether a client certificate of the same CA is demanded.
    pub client_certificate: bool,
    /// Connections open at the same time; the next one is accepted and reset at once.
    pub connections_max: Option<usize>,
    /// Which queries are answered at all.
    pub choice: Choice,
    /// Time between a query and its response.
    pub delay: Duration,
    /// Some responses come later than the others.
    pub late: Option<Late>,
    /// In which order responses leave.
    pub order: Order,
    /// Queries in service at the same time on one connection; the others wait unread.
    pub in_flight_max: Option<usize>,
    /// Nothing is read after the handshake, so that the client's writes block in the end.
    pub deaf: bool,
    /// Responses with an ID that is not in flight, sent before the right one.
    pub strays: usize,
    /// A response that does not match its query.
    pub lie: Option<Lie>,
    /// Letter case of the question in the response.
    pub letter_case: LetterCase,
    /// Further copies of each response.
    pub copies: usize,
    /// Octets that are no DNS message, in place of the response.
    pub junk: Option<Junk>,
    /// RCODE of every response, with empty sections.
    pub rcode: Option<u16>,
    /// TC=1 and an empty answer section.
    pub truncated: bool,
    /// Exact octets of each response, if it is not longer already.
    pub size: Option<u16>,
    /// TTL of every record, in seconds, unless the name says `ttl-N`.
    pub ttl: u32,
    /// AA bit.
    pub authoritative: bool,
    /// RA bit.
    pub recursion_available: bool,
    /// AD bit.
    pub authentic: bool,
    /// What becomes of the OPT record.
    pub edns: EdnsAnswer,
    /// edns-tcp-keepalive TIMEOUT in units of 100 ms (RFC 7828), sent when the query has an OPT record.
    pub keepalive: Option<u16>,
    /// What the two octets of length say.
    pub framing: Framing,
    /// In which pieces a response is written.
    pub writing: Writing,
    /// Most octets given to the TCP socket in one write, TLS record borders notwithstanding.
    pub tcp_chunk: Option<usize>,
    /// When the server closes because of its replies.
    pub closing: Closing,
    /// The server closes a connection on which nothing happened for this long.
    pub idle: Option<Duration>,
    /// The server closes a connection of this age, whatever is in flight.
    pub lifetime: Option<Duration>,
    /// How a connection is closed, where the fault itself does not say it.
    pub ending: Option<Ending>,
}

impl Default for Mode {
    fn default() -> Self {
        Self {
            opening: Opening::Tls,
            handshake_delay: Duration::ZERO,
            certificate: CertificateKind::Good,
            versions: TlsVersions::All,
            tickets: Tickets::Own,
            client_certificate: false,
            connections_max: None,
            choice: Choice::All,
            delay: Duration::ZERO,
            late: None,
            order: Order::Asked,
            in_flight_max: None,
            deaf: false,
            strays: 0,
            lie: None,
            letter_case: LetterCase::Kept,
            copies: 0,
            junk: None,
            rcode: None,
            truncated: false,
            size: None,
            ttl: 300,
            authoritative: false,
            recursion_available: true,
            authentic: false,
            edns: EdnsAnswer::Proper,
            keepalive: None,
            framing: Framing::Honest,
            writing: Writing::Whole,
            tcp_chunk: None,
            closing: Closing::Never,
            idle: None,
            lifetime: None,
            ending: None,
        }
    }
}

/// What happens between the TCP accept and the first query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// A proper TLS handshake.
    Tls,
    /// Not one octet is sent; the client's are read and counted.
    AcceptOnly,
    /// The ServerHello record, then silence.
    ServerHelloOnly,
    /// Octets that are no TLS in place of the ServerHello, then silence.
    Garbage,
    /// DNS without TLS, as on port 53: clear queries are answered; TLS gets one clear response, then silence.
    PlainText,
    /// RST straight after the accept.
    Reset,
    /// FIN straight after the ClientHello.
    Close,
}

/// Which versions of TLS are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersions {
    /// TLS 1.2 and 1.3.
    All,
    /// TLS 1.2 alone.
    Only12,
    /// TLS 1.3 alone.
    Only13,
}

/// Whether sessions may be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tickets {
    /// Sessions are resumed as long as the certificate stays the same.
    Own,
    /// Sessions are resumed although the certificate has changed since they were made.
    Shared,
    /// Every handshake is a full one.
    Refused,
}

/// Which queries are answered at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Every one.
    All,
    /// None.
    Mute,
    /// The first of every N on a connection.
    OneOf(u64),
    /// The first N on each connection, then none: the established flow goes silent, a fresh one works.
    First(u64),
}

/// Some responses come later than the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// How much later.
    pub by: Duration,
    /// One response of this many is late, the first of them.
    pub one_of: u64,
}

/// In which order responses leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As asked.
    Asked,
    /// Not at all until [`crate::Running::release`] or a change of mode; then the last asked comes first.
    Hold,
    /// In batches, each from the last asked to the first.
    Reversed(Batch),
    /// In batches, each in an order drawn from a fixed seed.
    Shuffled(Batch),
}

/// Responses collected before the first of them leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// A batch of this many leaves at once.
    pub depth: usize,
    /// A smaller batch leaves when its first response is this old.
    pub linger: Duration,
}

/// A response that does not match its query. It carries [`crate::answers::POISON_A`] and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lie {
    /// What is wrong with it.
    pub about: LieAbout,
    /// Whether the right response follows.
    pub then_right: bool,
}

/// What is wrong with a lie. The ID is right except in the first kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LieAbout {
    /// The ID is one that is not in flight.
    Id,
    /// Another name is asked and answered.
    Name,
    /// Another type.
    Type,
    /// Another class.
    Class,
    /// The question section is empty, answers are there.
    Question,
    /// QR=0: the message is a query.
    Direction,
}

/// Letter case of the question in the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterCase {
    /// As asked.
    Kept,
    /// All letters in lower case.
    Lower,
    /// All letters in upper case.
    Upper,
    /// Each letter in the other case.
    Inverted,
}

/// Octets that are no DNS message, in place of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Junk {
    /// 64 octets without a length prefix of their own.
    Stream,
    /// A frame of 64 octets; the first two are the ID of the query.
    Frame,
    /// The right header and question, then an answer whose owner is a compression pointer to itself.
    Loop,
    /// The right header and question; the header counts one answer more than there is.
    Counts,
}

/// What becomes of the OPT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdnsAnswer {
    /// Answered where asked (RFC 6891), BADVERS above version 0, padded where the query is (RFC 8467).
    Proper,
    /// Left out.
    Removed,
    /// A query with OPT gets FORMERR without one, as servers from before EDNS do.
    FormErr,
}

/// What the two octets of length say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The truth.
    Honest,
    /// This many octets more than follow; then the connection ends.
    TooLong(u16),
    /// Exactly this many, and no more of the response is sent.
    Exactly(u16),
    /// The truth, but the connection ends after this many octets of the frame, without close_notify.
    Abort(Cut),
}

/// A place within a frame (length prefix included).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// In its middle.
    Half,
    /// After this many octets, but not beyond the last but one.
    After(usize),
}

/// In which pieces a response is written. Each piece is a TLS record of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writing {
    /// Each response in one piece.
    Whole,
    /// All responses that are ready at the same moment in one piece.
    Coalesced,
    /// Each octet a piece.
    Octets,
    /// Cut after these octets of the frame (length prefix included), in rising order.
    Cuts(Vec<usize>),
    /// Each octet a piece, with a pause after it.
    Drip(Duration),
}

/// When the server closes because of its replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Never.
    Never,
    /// After each reply.
    EachReply,
    /// After this many replies, once this many further queries wait on the connection.
    After {
        /// Replies sent on the connection; further queries get none.
        replies: u64,
        /// Unanswered queries that must have arrived before the close.
        pending: u64,
    },
}

/// How a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// close_notify, then FIN.
    Notify,
    /// FIN without close_notify.
    Fin,
    /// RST.
    Reset,
}
