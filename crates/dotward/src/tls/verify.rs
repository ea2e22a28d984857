//! Whether an upstream is who it has to be: its name and its pins (RFC 7858 section 4.2, RFC 8310 section 8, RFC 9525).
//!
//! Promises:
//! - With a name, the chain must end at a trusted root and the certificate must carry the name: a DNS name among the DNS
//!   names of its SAN, an IP address among the IP addresses; the CN is never looked at.
//! - With pins, the key of the server's own certificate must be one of them. Keys of the authorities above it do not
//!   count: the peer chooses which of those it sends.
//! - With both, both. With pins alone, the pin decides and the chain is not looked at.
//! - Pins that are only to be reported refuse nobody and are looked at apart ([`Verifier::unpinned`]); without a name they are
//!   enforced in any case.
//! - A resumed session passes the same examination again ([`Verifier::examine`]), dates included, since TLS itself
//!   does not look at certificates then.
//!
//! Deliberately absent: revocation, which DNS needed for fetching it could not serve; opportunistic profiles.

use std::fmt;
use std::sync::Arc;

use dotward_core::upstream::TlsFault;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::TlsSetupError;
use crate::config::PinMode;

/// SHA-256 of a SubjectPublicKeyInfo.
pub type Pin = [u8; 32];

/// The certificate is good otherwise, but its key is none of the pinned ones.
#[derive(Debug)]
pub struct PinMismatch {
    /// The key that was seen.
    pub seen: Pin,
}

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server's key {} is none of the pinned ones",
            super::certificate::pin_text(&self.seen)
        )
    }
}

impl std::error::Error for PinMismatch {}

/// Examines the certificates of one upstream.
#[derive(Debug)]
pub struct Verifier {
    /// Checks chain and name; absent when pins alone decide.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Where chains have to end; absent with it.
    roots: Option<Arc<RootCertStore>>,
    pins: Vec<Pin>,
    pin_mode: PinMode,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// The examiner for an upstream whose chain must end in `roots`; `None` when `pins` alone decide.
    ///
    /// # Errors
    ///
    /// [`TlsSetupError::Verifier`] when there are no roots.
    pub fn new(
        roots: Option<Arc<RootCertStore>>,
        pins: Vec<Pin>,
        pin_mode: PinMode,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsSetupError> {
        let chain = roots
            .clone()
            .map(|roots| {
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()
            })
            .transpose()
            .map_err(TlsSetupError::Verifier)?;
        Ok(Self {
            chain,
            roots,
            pins,
            pin_mode,
            provider,
        })
    }

    /// Whether it believes the same as `other`.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let roots = |of: &Self| of.roots.as_ref().map(|it| it.roots.clone());
        self.pins == other.pins && self.pin_mode == other.pin_mode && roots(self) == roots(other)
    }

    /// Examines certificates of an earlier handshake: those a session was resumed with, or of a connection that lives for long.
    ///
    /// # Errors
    ///
    /// As for a full handshake.
    pub fn examine(
        &self,
        certificates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let (own, above) = certificates
            .split_first()
            .ok_or(Error::NoCertificatesPresented)?;
        self.verify_server_cert(own, above, name, &[], now)
            .map(|_| ())
    }

    /// Whether pins are only reported. Where nothing else would decide they never are.
    pub fn reports_pins(&self) -> bool {
        self.pin_mode == PinMode::Report && self.chain.is_some() && !self.pins.is_empty()
    }

    /// The key of `certificate` if it is none of the pinned ones.
    ///
    /// # Errors
    ///
    /// When the octets are no certificate.
    pub fn unpinned(&self, certificate: &CertificateDer<'_>) -> Result<Option<PinMismatch>, Error> {
        if self.pins.is_empty() {
            return Ok(None);
        }
        let seen = pin_of(certificate)?;
        Ok((!self.pins.contains(&seen)).then_some(PinMismatch { seen }))
    }

    fn enforce_pins(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.reports_pins() {
            return Ok(());
        }
        match self.unpinned(certificate)? {
            None => Ok(()),
            Some(mismatch) => {
                let error = OtherError(Arc::new(mismatch));
                Err(Error::InvalidCertificate(CertificateError::Other(error)))
            }
        }
    }
}

/// The pin of a certificate's key.
///
/// # Errors
///
/// When the octets are no certificate.
pub fn pin_of(certificate: &CertificateDer<'_>) -> Result<Pin, Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let info = parsed.subject_public_key_info();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &info);
    let mut pin = Pin::default();
    pin.copy_from_slice(digest.as_ref());
    Ok(pin)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Neither check may pass for want of the other: without a chain check there must be a pin.
        match &self.chain {
            Some(chain) => {
                chain.verify_server_cert(
                    end_entity,
                    intermediates,
                    server_name,
                    ocsp_response,
                    now,
                )?;
            }
            None if self.pins.is_empty() => {
                return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
            }
            None => {}
        }
        self.enforce_pins(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What of TLS went wrong, in the words of the engine.
pub fn fault_of(error: &Error) -> TlsFault {
    let Error::InvalidCertificate(fault) = error else {
        return TlsFault::Protocol;
    };
    // An `if` chain: rustls may add kinds at any time, and every kind not named here is `Protocol`.
    if matches!(
        fault,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    ) {
        TlsFault::WrongName
    } else if matches!(
        fault,
        CertificateError::Expired | CertificateError::ExpiredContext { .. }
    ) {
        TlsFault::Expired
    } else if matches!(
        fault,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
    ) {
        TlsFault::NotYetValid
    } else if matches!(
        fault,
        // An authority that was made anew under its old name signs what the old key does not verify.
        CertificateError::UnknownIssuer | CertificateError::BadSignature
    ) {
        TlsFault::UnknownIssuer
    } else if matches!(fault, CertificateError::Other(OtherError(cause)) if cause.is::<PinMismatch>())
    {
        TlsFault::PinMismatch
    } else {
        TlsFault::Protocol
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair,
    };

    use super::*;

    /// Authorities in the maze. Each vouches for each: there are so many ways up, and at each step so many again.
    const AUTHORITIES: usize = 20;

    /// Ample for the hundred signatures that may be checked, also on a machine that does other things; all ways would take weeks.
    const SOON: Duration = Duration::from_secs(5);

    fn authority(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    #[test]
    fn a_maze_of_authorities_that_vouch_for_each_other_is_left_soon() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trusted =
            CertifiedIssuer::self_signed(authority("trusted"), KeyPair::generate().unwrap());
        let mut roots = RootCertStore::empty();
        roots.add(trusted.unwrap().der().clone()).unwrap();
        let verifier = Verifier::new(
            Some(Arc::new(roots)),
            Vec::new(),
            PinMode::Enforce,
            provider,
        );
        let issuer = |_| Issuer::new(authority("maze"), KeyPair::generate().unwrap());
        let issuers: Vec<_> = (0..AUTHORITIES).map(issuer).collect();
        let maze: Vec<CertificateDer<'static>> = issuers
            .iter()
            .flat_map(|of| issuers.iter().map(move |by| (of, by)))
            .map(|(of, by)| authority("maze").signed_by(of.key(), by).unwrap().into())
            .collect();
        let leaf = CertificateParams::new(["dot.test".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuers[0]);
        let name = ServerName::try_from("dot.test").unwrap();
        let began = Instant::now();
        let judged = verifier.unwrap().verify_server_cert(
            leaf.unwrap().der(),
            &maze,
            &name,
            &[],
            UnixTime::now(),
        );
        assert!(judged.is_err(), "none of the ways leads to the trusted one");
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
}
