//! What a certificate says, for people.
//!
//! Promises: reads, never judges; octets that are no certificate are an absence, not an error.

use std::fmt::Write as _;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::verify::{Pin, pin_of};

const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// What one certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whose it is, as an X.500 name.
    pub subject: String,
    /// Who signed it, as an X.500 name.
    pub issuer: String,
    /// The DNS names and IP addresses of its SAN.
    pub names: Vec<String>,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
    /// Whole days until then; negative once it is over.
    pub days_left: i64,
    /// The pin of its key, in base64.
    pub pin: String,
}

impl CertificateFacts {
    /// Reads `certificate`.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let not_after = parsed.validity().not_after.timestamp();
        let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
        Some(Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            names: names(&parsed),
            not_after,
            days_left: not_after.saturating_sub(now).div_euclid(SECONDS_PER_DAY),
            pin: pin_text(&pin_of(certificate).ok()?),
        })
    }
}

/// A pin as it is written in configurations: base64.
pub fn pin_text(pin: &Pin) -> String {
    STANDARD.encode(pin)
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(octets) => Some(address_text(octets)),
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::URI(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => None,
        })
        .collect()
}

fn address_text(octets: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return IpAddr::from(v4).to_string();
    }
    if let Ok(v6) = <[u8; 16]>::try_from(octets) {
        return IpAddr::from(v6).to_string();
    }
    let mut text = String::new();
    for octet in octets {
        match write!(text, "{octet:02x}") {
            // Writing to a string cannot fail.
            Ok(()) | Err(_) => {}
        }
    }
    text
}
