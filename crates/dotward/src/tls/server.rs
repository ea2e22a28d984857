//! TLS towards clients: the DoT listener's configuration (RFC 7858 section 3).
//!
//! Promises: a client that offers ALPN without `dot` is refused (RFC 7301 section 3.2), one that offers none is served; sessions
//! are resumed with tickets, whose keys live in memory only.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Connection, Error, ServerConfig, ServerConnection};

use super::{ALPN_DOT, TlsSetupError, provider, read_certificates, read_key};

/// What DoT listeners show their clients.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    config: Arc<ServerConfig>,
    /// Our own certificate.
    certificate: Option<CertificateDer<'static>>,
}

impl ListenerTls {
    /// Reads chain and key from PEM files.
    ///
    /// # Errors
    ///
    /// [`TlsSetupError`] for a file that cannot be used and for a key that is not the certificate's.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsSetupError> {
        Self::new(read_certificates(certificate)?, read_key(key)?)
    }

    /// Takes chain, the server's own certificate first, and key.
    ///
    /// # Errors
    ///
    /// [`TlsSetupError::Refused`] when they do not belong together.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsSetupError> {
        let certificate = chain.first().cloned();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![ALPN_DOT.to_vec()];
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Self {
            config: Arc::new(config),
            certificate,
        })
    }

    /// The certificate that is shown.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.as_ref()
    }

    /// The server's side of a connection, before its handshake.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn accept(&self) -> Result<Connection, Error> {
        ServerConnection::new(Arc::clone(&self.config)).map(Connection::Server)
    }
}
