//! Why a connection ended, sorted by what it says about the upstream.

/// Why a connection ended or never came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// We closed it: it was old, or the upstream asked for it, and it had no question left.
    Aged,
    /// Opening it took longer than [`DIAL_TIMEOUT`](crate::limits::DIAL_TIMEOUT).
    DialTimedOut,
    /// The upstream closed it in order: FIN or close_notify.
    Ended,
    /// We closed it: nobody asked anything for a while.
    Idle,
    /// We closed it: what came was not DNS, or answered other questions than ours again and again.
    Misbehaved,
    /// Nobody listens there.
    Refused,
    /// We closed it: the network changed under it, or the machine slept.
    NetworkChanged,
    /// It could not be opened for want of descriptors, ports or memory on our side.
    NoResources,
    /// It broke: reset, or any error of reading and writing.
    Reset,
    /// We closed it: questions stayed unanswered and nothing came.
    Silent,
    /// We closed it while it was being opened: another address answered first.
    Superseded,
    /// TLS could not be set up as the configuration demands.
    Tls(TlsFault),
    /// No route, or the network says so.
    Unreachable,
}

impl CloseReason {
    /// Every reason there is.
    pub const ALL: [Self; 18] = [
        Self::Aged,
        Self::DialTimedOut,
        Self::Ended,
        Self::Idle,
        Self::Misbehaved,
        Self::Refused,
        Self::NetworkChanged,
        Self::NoResources,
        Self::Reset,
        Self::Silent,
        Self::Superseded,
        Self::Unreachable,
        Self::Tls(TlsFault::Expired),
        Self::Tls(TlsFault::NotYetValid),
        Self::Tls(TlsFault::PinMismatch),
        Self::Tls(TlsFault::Protocol),
        Self::Tls(TlsFault::UnknownIssuer),
        Self::Tls(TlsFault::WrongName),
    ];

    /// One word for metrics and status.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Aged => "aged",
            Self::DialTimedOut => "dial_timed_out",
            Self::Ended => "ended",
            Self::Idle => "idle",
            Self::Misbehaved => "misbehaved",
            Self::Refused => "refused",
            Self::NetworkChanged => "network_changed",
            Self::NoResources => "no_resources",
            Self::Reset => "reset",
            Self::Silent => "silent",
            Self::Superseded => "superseded",
            Self::Unreachable => "unreachable",
            Self::Tls(TlsFault::Expired) => "tls_expired",
            Self::Tls(TlsFault::NotYetValid) => "tls_not_yet_valid",
            Self::Tls(TlsFault::PinMismatch) => "tls_pin_mismatch",
            Self::Tls(TlsFault::Protocol) => "tls_protocol",
            Self::Tls(TlsFault::UnknownIssuer) => "tls_unknown_issuer",
            Self::Tls(TlsFault::WrongName) => "tls_wrong_name",
        }
    }

    /// Whether this says that the upstream could not be reached, as opposed to a decision of ours.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Aged
            | Self::Idle
            | Self::NetworkChanged
            | Self::NoResources
            | Self::Superseded => false,
            Self::DialTimedOut
            | Self::Ended
            | Self::Misbehaved
            | Self::Refused
            | Self::Reset
            | Self::Silent
            | Self::Tls(_)
            | Self::Unreachable => true,
        }
    }

    /// Whether opening another connection in its place is as likely to fail: a question tries that as often as there are addresses.
    #[must_use]
    pub const fn speaks_against_dialing(self) -> bool {
        self.is_failure() || matches!(self, Self::NoResources)
    }
}

/// What is wrong with the upstream's side of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet; often our own clock is wrong.
    NotYetValid,
    /// The key matches none of the pins.
    PinMismatch,
    /// Anything else: no TLS, no common version, a broken handshake.
    Protocol,
    /// The chain does not end at a trusted root.
    UnknownIssuer,
    /// The certificate is for another name.
    WrongName,
}
