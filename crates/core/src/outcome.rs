//! The one table that says what a client gets when it does not get data.
//!
//! A [`Refusal`] is the client's doing, a [`Failure`] the upstreams' or ours, and what is [`Withheld`] the operator does not want told. All map, by
//! total functions without a wildcard, to an RCODE and an extended DNS error (RFC 8914); nobody else chooses an RCODE.
//!
//! | what happened | RCODE | extended error |
//! |---|---|---|
//! | no good cookie where one is asked for | BADCOOKIE | 0 Other |
//! | client not in the access list | REFUSED | 18 Prohibited |
//! | which server this is, untold | REFUSED | 18 Prohibited |
//! | AXFR or IXFR | REFUSED | 21 Not Supported |
//! | OPT or TSIG as QTYPE | FORMERR | 21 Not Supported |
//! | TSIG or SIG(0), and the answer would be ours | REFUSED | 21 Not Supported |
//! | TSIG or SIG(0), and too long to be kept | REFUSED | 21 Not Supported |
//! | RD clear and nothing of our own | REFUSED | 20 Not Authoritative |
//! | too many questions in flight | SERVFAIL | 0 Other |
//! | no descriptor, port or memory for a connection | SERVFAIL | 0 Other |
//! | addresses of the upstream not known yet | SERVFAIL | 14 Not Ready |
//! | no response within the budget | SERVFAIL | 22 No Reachable Authority |
//! | connection refused, unreachable, lost | SERVFAIL | 23 Network Error |
//! | certificate or handshake not acceptable | SERVFAIL | 23 Network Error |
//! | response unreadable or for another question | SERVFAIL | 24 Invalid Data |
//! | a private address where none may be | NOERROR, no record | 15 Blocked |

use crate::upstream::{CloseReason, TlsFault};
use crate::wire::Rcode;
use crate::wire::edns::{EdeCode, ExtendedError};

/// Why a query is refused without asking anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Cookies are required, and the client's is not good (RFC 7873 section 5.2.3).
    BadCookie,
    /// A question about this server in class CH that is not answered.
    Identity,
    /// A type that cannot be asked for (RFC 6895 section 3.1).
    MetaType,
    /// The client's address is not in the access list.
    NotAllowed,
    /// RD is clear and the answer is not ours (RFC 8914 section 4.21).
    RecursionNotDesired,
    /// The query carries a transaction signature and would be answered here, where nobody can sign (RFC 5625 section 4.5).
    Signed,
    /// The query carries a transaction signature and is longer than [`SIGNED_QUERY_MAX`](crate::limits::SIGNED_QUERY_MAX).
    SignedLength,
    /// A zone transfer (RFC 5936 section 4.2).
    Transfer,
}

/// Why a question that was to be forwarded has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Upstreams responded, but nothing that answers the question.
    InvalidResponse,
    /// No connection could be opened for want of descriptors, ports or memory on our side.
    NoResources,
    /// No upstream has an address yet.
    NotReady,
    /// A bound on questions in flight was reached.
    Overloaded,
    /// The budget passed without a response.
    TimedOut,
    /// No upstream could be reached; the last reason.
    Unreachable(CloseReason),
}

/// Why an answer that there is is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// A private address, from upstreams and for a name that may have none.
    PrivateAddress,
}

/// What the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// RCODE.
    pub rcode: Rcode,
    /// Extended error.
    pub error: ExtendedError<'static>,
}

const fn told(rcode: Rcode, code: EdeCode, text: &'static str) -> Told {
    Told {
        rcode,
        error: ExtendedError { code, text },
    }
}

impl Refusal {
    /// What the client is told.
    #[must_use]
    pub const fn told(self) -> Told {
        match self {
            Self::BadCookie => told(
                Rcode::BADCOOKIE,
                EdeCode::OTHER,
                "ask again with this cookie",
            ),
            Self::Identity => told(
                Rcode::REFUSED,
                EdeCode::PROHIBITED,
                "this server does not tell",
            ),
            Self::MetaType => told(
                Rcode::FORMERR,
                EdeCode::NOT_SUPPORTED,
                "not a question type",
            ),
            Self::NotAllowed => told(
                Rcode::REFUSED,
                EdeCode::PROHIBITED,
                "not in the access list",
            ),
            Self::RecursionNotDesired => told(
                Rcode::REFUSED,
                EdeCode::NOT_AUTHORITATIVE,
                "recursion not desired, and nothing is known here",
            ),
            Self::Signed => told(
                Rcode::REFUSED,
                EdeCode::NOT_SUPPORTED,
                "answers from here cannot be signed",
            ),
            Self::SignedLength => told(
                Rcode::REFUSED,
                EdeCode::NOT_SUPPORTED,
                "signed query too long to be forwarded",
            ),
            Self::Transfer => told(
                Rcode::REFUSED,
                EdeCode::NOT_SUPPORTED,
                "zone transfers are not served",
            ),
        }
    }
}

impl Failure {
    /// What the client is told.
    #[must_use]
    pub const fn told(self) -> Told {
        match self {
            Self::InvalidResponse => told(
                Rcode::SERVFAIL,
                EdeCode::INVALID_DATA,
                "upstream response does not answer",
            ),
            Self::NoResources => told(
                Rcode::SERVFAIL,
                EdeCode::OTHER,
                reason_text(CloseReason::NoResources),
            ),
            Self::NotReady => told(
                Rcode::SERVFAIL,
                EdeCode::NOT_READY,
                "upstream address not known yet",
            ),
            Self::Overloaded => told(
                Rcode::SERVFAIL,
                EdeCode::OTHER,
                "too many questions in flight",
            ),
            Self::TimedOut => told(
                Rcode::SERVFAIL,
                EdeCode::NO_REACHABLE_AUTHORITY,
                "no response from any upstream in time",
            ),
            Self::Unreachable(reason) => {
                told(Rcode::SERVFAIL, EdeCode::NETWORK_ERROR, reason_text(reason))
            }
        }
    }
}

impl Withheld {
    /// What the client is told. No RCODE that says that this server cannot answer: a client would take its question to the next one, and to
    /// the address.
    #[must_use]
    pub const fn told(self) -> Told {
        match self {
            Self::PrivateAddress => told(
                Rcode::NOERROR,
                EdeCode::BLOCKED,
                "private address in a public answer",
            ),
        }
    }
}

/// A connection's end in the words a client may see.
#[must_use]
pub const fn reason_text(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Aged => "connection was old",
        CloseReason::DialTimedOut => "connecting to the upstream timed out",
        CloseReason::Ended => "upstream closed the connection",
        CloseReason::Idle => "connection was idle",
        CloseReason::Misbehaved => "upstream sent what is not DNS",
        CloseReason::NetworkChanged => "the network changed",
        CloseReason::NoResources => "out of descriptors, ports or memory for a connection",
        CloseReason::Refused => "upstream refused the connection",
        CloseReason::Reset => "connection to the upstream was lost",
        CloseReason::Silent => "upstream stopped responding",
        CloseReason::Superseded => "another address answered first",
        CloseReason::Unreachable => "network of the upstream is unreachable",
        CloseReason::Tls(fault) => match fault {
            TlsFault::Expired => "tls: upstream certificate has expired",
            TlsFault::NotYetValid => {
                "tls: upstream certificate is not valid yet (is our clock right?)"
            }
            TlsFault::PinMismatch => "tls: upstream key matches no pin",
            TlsFault::Protocol => "tls: handshake with the upstream failed",
            TlsFault::UnknownIssuer => "tls: upstream certificate is from an unknown issuer",
            TlsFault::WrongName => "tls: upstream certificate is for another name",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::edns::EDE_TEXT_MAX;

    #[test]
    fn the_table_is_as_documented_and_every_text_fits() {
        let refused = [
            (Refusal::BadCookie, Rcode::BADCOOKIE, 0),
            (Refusal::Identity, Rcode::REFUSED, 18),
            (Refusal::MetaType, Rcode::FORMERR, 21),
            (Refusal::NotAllowed, Rcode::REFUSED, 18),
            (Refusal::RecursionNotDesired, Rcode::REFUSED, 20),
            (Refusal::Signed, Rcode::REFUSED, 21),
            (Refusal::SignedLength, Rcode::REFUSED, 21),
            (Refusal::Transfer, Rcode::REFUSED, 21),
        ];
        let failed = [
            (Failure::InvalidResponse, 24),
            (Failure::NoResources, 0),
            (Failure::NotReady, 14),
            (Failure::Overloaded, 0),
            (Failure::TimedOut, 22),
            (Failure::Unreachable(CloseReason::Refused), 23),
            (
                Failure::Unreachable(CloseReason::Tls(TlsFault::Expired)),
                23,
            ),
        ];
        let rows = refused
            .into_iter()
            .map(|(refusal, rcode, code)| (refusal.told(), rcode, code))
            .chain(
                failed
                    .into_iter()
                    .map(|(failure, code)| (failure.told(), Rcode::SERVFAIL, code)),
            )
            .chain([(Withheld::PrivateAddress.told(), Rcode::NOERROR, 15)]);
        for (told, rcode, code) in rows {
            assert_eq!((told.rcode, told.error.code.0), (rcode, code));
            assert!(!told.error.text.is_empty() && told.error.text.len() <= EDE_TEXT_MAX);
        }
    }
}
