//! TLS in both directions, and certificates as people read them.
//!
//! Promises: one crypto provider (aws-lc-rs), TLS 1.2 and 1.3 (RFC 9325), the hybrid post-quantum key exchange offered first, no early data
//! (RFC 8446 section 8: a replayed query is a fact told twice).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::ReadFiles;

pub mod certificate;
pub mod client;
pub mod server;
mod tickets;
pub mod verify;
pub mod words;

/// The protocol name of DNS over TLS (RFC 7858 section 7.2 of its IANA entry, RFC 7301).
pub const ALPN_DOT: &[u8] = b"dot";

/// Why a TLS configuration could not be made.
#[derive(Debug)]
pub enum TlsSetupError {
    /// A file could not be read or holds no such thing.
    File {
        /// The file.
        path: PathBuf,
        /// What it was to hold.
        wanted: &'static str,
        /// What went wrong.
        error: pem::Error,
    },
    /// No certificate of the file can be a root.
    NoRoots(PathBuf),
    /// rustls refused the parts: the key does not belong to the certificate, or is of an unknown kind.
    Refused(rustls::Error),
    /// The roots make no verifier.
    Verifier(rustls::server::VerifierBuilderError),
}

impl fmt::Display for TlsSetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                wanted,
                error,
            } => write!(f, "no {wanted} in {}: {error}", path.display()),
            Self::NoRoots(path) => {
                write!(f, "no usable root certificate in {}", path.display())
            }
            Self::Refused(error) => write!(f, "certificate and key refused: {error}"),
            Self::Verifier(error) => write!(f, "roots refused: {error}"),
        }
    }
}

impl std::error::Error for TlsSetupError {}

impl From<rustls::Error> for TlsSetupError {
    fn from(error: rustls::Error) -> Self {
        Self::Refused(error)
    }
}

/// The one provider of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Reads all certificates of a PEM file, at least one.
fn read_certificates(
    path: &Path,
    files: &dyn ReadFiles,
) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let fault = |error| TlsSetupError::File {
        path: path.to_owned(),
        wanted: "certificate",
        error,
    };
    let octets = files.read(path).map_err(|it| fault(pem::Error::Io(it)))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    let certificates = certificates.map_err(fault)?;
    if certificates.is_empty() {
        return Err(fault(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

/// Reads the first private key of a PEM file.
fn read_key(path: &Path, files: &dyn ReadFiles) -> Result<PrivateKeyDer<'static>, TlsSetupError> {
    let octets = files.read(path).map_err(pem::Error::Io);
    let key = octets.and_then(|octets| PrivateKeyDer::from_pem_slice(&octets));
    key.map_err(|error| TlsSetupError::File {
        path: path.to_owned(),
        wanted: "private key",
        error,
    })
}
