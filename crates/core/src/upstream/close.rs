//! Why a connection ended, sorted by what it says about the upstream.

/// Why a connection ended or never came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
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
    /// It broke: reset, or any error of reading and writing.
    Reset,
    /// We closed it: questions stayed unanswered and nothing came.
    Silent,
    /// TLS could not be set up as the configuration demands.
    Tls(TlsFault),
    /// No route, or the network says so.
    Unreachable,
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
