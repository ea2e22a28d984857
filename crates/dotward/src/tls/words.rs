//! What TLS says, in the words of people, and what to do about it.
//!
//! Promises: everything that depends on the other side is one line; no form of a type of ours or of the TLS library is shown where a
//! person has to act on it.
//!
//! Deliberately absent: what follows from a fault for the upstream (`dotward_core::upstream`).

use std::time::Duration;

use dotward_core::upstream::TlsFault;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, OtherError};

use super::verify::{PinMismatch, fault_of};

/// What is wrong.
pub fn words(error: &Error) -> String {
    if let Error::InvalidCertificate(fault) = error {
        return of_certificate(fault).unwrap_or_else(|| error.to_string());
    }
    if let Error::AlertReceived(alert) = error {
        return of_alert(*alert);
    }
    if matches!(error, Error::InvalidMessage(_)) {
        return "what answers there does not speak TLS".into();
    }
    error.to_string()
}

/// What is meant by some of what the other side says when it ends a handshake (RFC 8446 section 6.2).
const ALERTS: [(AlertDescription, &str); 11] = [
    (
        AlertDescription::NoApplicationProtocol,
        "it does not offer DNS over TLS at this port (it refuses ALPN `dot`)",
    ),
    (AlertDescription::HandshakeFailure, NOTHING_IN_COMMON),
    (AlertDescription::InsufficientSecurity, NOTHING_IN_COMMON),
    (
        AlertDescription::ProtocolVersion,
        "it speaks no version of TLS that is spoken here",
    ),
    (
        AlertDescription::UnrecognisedName,
        "it does not know the name it is asked for",
    ),
    (
        AlertDescription::CertificateRequired,
        "it wants a client certificate",
    ),
    (AlertDescription::BadCertificate, CLIENT_REFUSED),
    (AlertDescription::CertificateExpired, CLIENT_REFUSED),
    (AlertDescription::CertificateUnknown, CLIENT_REFUSED),
    (AlertDescription::UnknownCA, CLIENT_REFUSED),
    (AlertDescription::AccessDenied, CLIENT_REFUSED),
];

const NOTHING_IN_COMMON: &str = "it refuses the handshake: no cipher or group in common";
const CLIENT_REFUSED: &str = "it does not accept our client certificate";

fn of_alert(alert: AlertDescription) -> String {
    let known = ALERTS.iter().find(|(known, _)| *known == alert);
    known.map_or_else(
        || format!("it ended the handshake with TLS alert {}", u8::from(alert)),
        |(_, said)| (*said).into(),
    )
}

/// `None` for what has no better words than the library's.
fn of_certificate(fault: &CertificateError) -> Option<String> {
    let days = |time: Duration| time.as_secs().div_ceil(86_400);
    let between = |one: &UnixTime, other: &UnixTime| {
        Duration::from_secs(one.as_secs().saturating_sub(other.as_secs()))
    };
    if let CertificateError::Other(OtherError(cause)) = fault {
        return cause.downcast_ref::<PinMismatch>().map(ToString::to_string);
    }
    if let CertificateError::NotValidForNameContext {
        expected,
        presented,
    } = fault
    {
        let expected = expected.to_str();
        let presented: Vec<_> = presented.iter().map(|it| bare(it)).collect();
        return Some(match presented.as_slice() {
            [] => format!("its certificate is for no name, and {expected} was expected"),
            names => format!(
                "its certificate is for {}, and {expected} was expected",
                names.join(", ")
            ),
        });
    }
    if let CertificateError::ExpiredContext { time, not_after } = fault {
        let days = days(between(time, not_after));
        return Some(format!("its certificate has expired ({days} d ago)"));
    }
    if let CertificateError::NotValidYetContext { time, not_before } = fault {
        let days = days(between(not_before, time));
        return Some(format!("its certificate is not valid yet (in {days} d)"));
    }
    matches!(
        fault,
        CertificateError::UnknownIssuer | CertificateError::BadSignature
    )
    .then(|| "its certificate does not lead to a trusted root".into())
}

/// A name of a certificate, which the library writes as `DnsName("dot.example")`.
fn bare(presented: &str) -> &str {
    let inside = presented
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(presented).trim_matches('"')
}

/// What to do about it.
pub fn remedy(error: &Error) -> &'static str {
    match fault_of(error) {
        TlsFault::PinMismatch => {
            "if its key was changed on purpose, print the new one without the old pin (dotward upstream pin tls://NAME@ADDR); if not, \
             somebody is in between"
        }
        TlsFault::WrongName => {
            "if one of those names is who was meant, write it as tls_name; if not, something in between answers in its place"
        }
        TlsFault::UnknownIssuer => {
            "if it has an authority of its own, name that (ca_file, --ca-file); if not, something in between answers in its place"
        }
        TlsFault::Expired => "tell whoever runs it; and look at this machine's clock",
        TlsFault::NotYetValid => "look at this machine's clock",
        TlsFault::Protocol => "look at address and port: DNS over TLS has port 853",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_without_forms_of_the_library() {
        let certificate = |fault| words(&Error::InvalidCertificate(fault));
        let at = |days: u64| UnixTime::since_unix_epoch(Duration::from_secs(days * 86_400));
        let mismatch = OtherError(Arc::new(PinMismatch { seen: [7; 32] }));
        let cases = [
            (
                certificate(CertificateError::Other(mismatch)),
                "the server's key BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= is none of the pinned ones",
            ),
            (
                certificate(CertificateError::NotValidForNameContext {
                    expected: "dot.example".try_into().unwrap(),
                    presented: vec![
                        "DnsName(\"a.example\")".into(),
                        "IpAddress(192.0.2.1)".into(),
                    ],
                }),
                "its certificate is for a.example, 192.0.2.1, and dot.example was expected",
            ),
            (
                certificate(CertificateError::ExpiredContext {
                    time: at(20_000),
                    not_after: at(19_990),
                }),
                "its certificate has expired (10 d ago)",
            ),
            (
                certificate(CertificateError::UnknownIssuer),
                "its certificate does not lead to a trusted root",
            ),
            (
                words(&Error::InvalidMessage(
                    rustls::InvalidMessage::InvalidContentType,
                )),
                "what answers there does not speak TLS",
            ),
            (
                words(&Error::AlertReceived(
                    AlertDescription::NoApplicationProtocol,
                )),
                "it does not offer DNS over TLS at this port (it refuses ALPN `dot`)",
            ),
            (
                words(&Error::AlertReceived(AlertDescription::CertificateRequired)),
                "it wants a client certificate",
            ),
            (
                words(&Error::AlertReceived(AlertDescription::InternalError)),
                "it ended the handshake with TLS alert 80",
            ),
        ];
        for (told, expected) in cases {
            assert_eq!(told, expected);
        }
    }
}
