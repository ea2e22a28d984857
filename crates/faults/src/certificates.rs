//! Certificates made on the spot: one good kind and every bad one a DoT client has to refuse.
//!
//! Promises: keys are made when asked for and live in memory only; each [`TestCa`] is a root of its own, so that two
//! tests never trust each other. The kinds follow RFC 8310 section 8.1 (names are taken from the SAN, never from
//! the CN), RFC 9525 section 6.2 (an IP address is matched by an iPAddress SAN alone) and RFC 5280 section 6.
//!
//! Not here: keys below today's strength and TLS below 1.2, which rustls cannot serve.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Which certificate a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateKind {
    /// Signed by the CA, right name, valid from yesterday for a year.
    Good,
    /// As `Good`, signed through an intermediate which is sent along.
    Chained,
    /// As `Good` with a key of its own: a name check passes, a pin of the good key does not.
    OtherKey,
    /// As `Good`, but it ends in this many days.
    ExpiresIn(u16),
    /// For `wrong.invalid`.
    WrongName,
    /// The right name stands in the CN; there is no SAN.
    CommonNameOnly,
    /// A dNSName SAN holds the text of the name or `127.0.0.1`; there is no iPAddress SAN.
    IpInDnsSan,
    /// An iPAddress SAN of 127.0.0.1 (or of the name, if that is an address) and nothing else.
    IpSan,
    /// Ended yesterday.
    Expired,
    /// Begins tomorrow.
    NotYetValid,
    /// Signed with its own key.
    SelfSigned,
    /// Signed by a CA nobody trusts.
    UnknownCa,
    /// Signed by an intermediate which is not sent.
    MissingIntermediate,
    /// For client authentication only.
    WrongUsage,
}

impl CertificateKind {
    /// One of each kind, for tables.
    pub const ALL: [Self; 14] = [
        Self::Good,
        Self::Chained,
        Self::OtherKey,
        Self::ExpiresIn(7),
        Self::WrongName,
        Self::CommonNameOnly,
        Self::IpInDnsSan,
        Self::IpSan,
        Self::Expired,
        Self::NotYetValid,
        Self::SelfSigned,
        Self::UnknownCa,
        Self::MissingIntermediate,
        Self::WrongUsage,
    ];
}

/// A certificate could not be made or written.
#[derive(Debug)]
pub enum CertificateError {
    /// The name is no legal subject alternative name, or the key could not be made.
    Making(rcgen::Error),
    /// The PEM file could not be written.
    Writing(std::io::Error),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Making(error) => write!(f, "certificate not made: {error}"),
            Self::Writing(error) => write!(f, "certificate not written: {error}"),
        }
    }
}

impl std::error::Error for CertificateError {}

impl From<rcgen::Error> for CertificateError {
    fn from(error: rcgen::Error) -> Self {
        Self::Making(error)
    }
}

/// A certificate chain, leaf first, and the key of the leaf.
#[derive(Debug, Clone)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    chain_pem: String,
    key: Arc<KeyPair>,
}

impl Identity {
    /// The chain, leaf first, without the root.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// The key of the leaf.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// The chain as PEM text, leaf first.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The key as PEM text (PKCS #8).
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The pin of RFC 7858 section 4.2: SHA-256 of the SubjectPublicKeyInfo of the leaf.
    pub fn spki_sha256(&self) -> [u8; 32] {
        let digest = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            &self.key.subject_public_key_info(),
        );
        let mut pin = [0; 32];
        pin.copy_from_slice(digest.as_ref());
        pin
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A root, an intermediate below it, and a foreign root. Clones are the same CA.
#[derive(Clone)]
pub struct TestCa {
    authorities: Arc<Authorities>,
}

struct Authorities {
    root: Authority,
    intermediate: Authority,
    stranger: Authority,
}

impl fmt::Debug for TestCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCa").finish_non_exhaustive()
    }
}

impl TestCa {
    /// Makes the three authorities.
    ///
    /// # Errors
    /// [`CertificateError::Making`] when the system gives no randomness.
    pub fn new() -> Result<Self, CertificateError> {
        let root = Authority::self_signed(authority("dotward-faults root"), KeyPair::generate()?)?;
        let intermediate = Authority::signed_by(
            authority("dotward-faults intermediate"),
            KeyPair::generate()?,
            &root,
        )?;
        let stranger =
            Authority::self_signed(authority("dotward-faults stranger"), KeyPair::generate()?)?;
        Ok(Self {
            authorities: Arc::new(Authorities {
                root,
                intermediate,
                stranger,
            }),
        })
    }

    /// The root certificate as PEM text.
    pub fn pem(&self) -> String {
        self.authorities.root.pem()
    }

    /// The root certificate.
    pub fn der(&self) -> CertificateDer<'static> {
        self.authorities.root.der().clone()
    }

    /// The root certificate as the trust anchors of a rustls client or server.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates([self.der()]);
        roots
    }

    /// Writes the root certificate to a file, as PEM.
    ///
    /// # Errors
    /// [`CertificateError::Writing`] when the file cannot be written.
    pub fn write_pem(&self, path: &Path) -> Result<(), CertificateError> {
        std::fs::write(path, self.pem()).map_err(CertificateError::Writing)
    }

    /// A certificate of any kind for a server that is called `name` (a DNS name or an IP address).
    ///
    /// # Errors
    /// [`CertificateError::Making`] when `name` cannot stand in a certificate.
    pub fn issue(&self, kind: CertificateKind, name: &str) -> Result<Identity, CertificateError> {
        let authorities = &self.authorities;
        let params = leaf(kind, name)?;
        let key = KeyPair::generate()?;
        let (certificate, extra) = match kind {
            CertificateKind::SelfSigned => (params.self_signed(&key)?, None),
            CertificateKind::UnknownCa => (params.signed_by(&key, &authorities.stranger)?, None),
            CertificateKind::MissingIntermediate => {
                (params.signed_by(&key, &authorities.intermediate)?, None)
            }
            CertificateKind::Chained => {
                let above = &authorities.intermediate;
                (params.signed_by(&key, above)?, Some(above))
            }
            CertificateKind::Good
            | CertificateKind::OtherKey
            | CertificateKind::ExpiresIn(_)
            | CertificateKind::WrongName
            | CertificateKind::CommonNameOnly
            | CertificateKind::IpInDnsSan
            | CertificateKind::IpSan
            | CertificateKind::Expired
            | CertificateKind::NotYetValid
            | CertificateKind::WrongUsage => (params.signed_by(&key, &authorities.root)?, None),
        };
        let mut chain = vec![certificate.der().clone()];
        let mut chain_pem = certificate.pem();
        if let Some(above) = extra {
            chain.push(above.der().clone());
            chain_pem.push_str(&above.pem());
        }
        Ok(Identity {
            chain,
            chain_pem,
            key: Arc::new(key),
        })
    }

    /// [`CertificateKind::Good`].
    ///
    /// # Errors
    /// As [`TestCa::issue`].
    pub fn good(&self, name: &str) -> Result<Identity, CertificateError> {
        self.issue(CertificateKind::Good, name)
    }

    /// A client certificate of this CA, for servers that demand one.
    ///
    /// # Errors
    /// As [`TestCa::issue`].
    pub fn client(&self, name: &str) -> Result<Identity, CertificateError> {
        self.issue(CertificateKind::WrongUsage, name)
    }
}

fn authority(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (SystemTime::now() - 400 * DAY).into();
    params.not_after = (SystemTime::now() + 400 * DAY).into();
    params
}

fn leaf(kind: CertificateKind, name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    let common_name = if kind == CertificateKind::WrongName {
        "wrong.invalid"
    } else {
        name
    };
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // All CAs made here have one name; by this a client that trusts several finds the right one (RFC 5280 section 4.2.1.1).
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![match kind == CertificateKind::WrongUsage {
        true => ExtendedKeyUsagePurpose::ClientAuth,
        false => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    params.subject_alt_names = alternative_names(kind, name)?;
    let (begins, ends) = validity(kind, SystemTime::now());
    params.not_before = begins.into();
    params.not_after = ends.into();
    Ok(params)
}

fn alternative_names(kind: CertificateKind, name: &str) -> Result<Vec<SanType>, rcgen::Error> {
    let address = name.parse::<IpAddr>().ok();
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Ok(match (kind, address) {
        (CertificateKind::CommonNameOnly, _) => Vec::new(),
        (CertificateKind::WrongName, _) => vec![SanType::DnsName("wrong.invalid".try_into()?)],
        (CertificateKind::IpInDnsSan, _) => {
            let text = address.unwrap_or(loopback).to_string();
            vec![SanType::DnsName(text.as_str().try_into()?)]
        }
        (CertificateKind::IpSan, _) => vec![SanType::IpAddress(address.unwrap_or(loopback))],
        (_, Some(address)) => vec![SanType::IpAddress(address)],
        (_, None) => vec![SanType::DnsName(name.try_into()?)],
    })
}

fn validity(kind: CertificateKind, now: SystemTime) -> (SystemTime, SystemTime) {
    if kind == CertificateKind::Expired {
        (now - 30 * DAY, now - DAY)
    } else if kind == CertificateKind::NotYetValid {
        (now + DAY, now + 30 * DAY)
    } else if let CertificateKind::ExpiresIn(days) = kind {
        (now - DAY, now + u32::from(days) * DAY)
    } else {
        (now - DAY, now + 365 * DAY)
    }
}
