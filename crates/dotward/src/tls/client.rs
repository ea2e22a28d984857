//! TLS towards upstreams: one configuration and one session store each.
//!
//! Promises: SNI is sent for DNS names only (RFC 6066 section 3); ALPN offers `dot` and takes no other answer, none being
//! fine; sessions are resumed within one upstream and never between two; a TLS 1.3 ticket is used once (RFC 8446 appendix C.4), and a
//! session of TLS 1.2, which has no such rule, as long as the server takes it; no early data.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, Connection, Error, HandshakeKind, RootCertStore};

use super::verify::{PinMismatch, Verifier};
use super::{ALPN_DOT, TlsSetupError, provider, read_certificates, read_key};
use crate::config::{Disk, ReadFiles, UpstreamSettings};
use crate::limits::TLS_SESSIONS;

/// How to speak TLS with one upstream, and whom to expect.
#[derive(Debug)]
pub struct UpstreamTls {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
    /// `None` when pins alone decide.
    name: Option<ServerName<'static>>,
    /// What is shown to the upstream if it asks, our own certificate first.
    identity: Vec<CertificateDer<'static>>,
}

impl UpstreamTls {
    /// Reads the files the settings name and makes the configuration.
    ///
    /// # Errors
    ///
    /// [`TlsSetupError`] for a file that cannot be used.
    pub fn new(settings: &UpstreamSettings) -> Result<Self, TlsSetupError> {
        Self::read(settings, &Disk)
    }

    /// The same with the files of `files`.
    ///
    /// # Errors
    ///
    /// [`TlsSetupError`] for a file that cannot be used.
    pub(crate) fn read(
        settings: &UpstreamSettings,
        files: &dyn ReadFiles,
    ) -> Result<Self, TlsSetupError> {
        let roots = match settings.tls_name {
            Some(_) => Some(roots(settings, files)?),
            None => None,
        };
        Self::build(settings, roots, files)
    }

    /// The same with `roots` as given; `None` lets pins alone decide.
    ///
    /// # Errors
    ///
    /// [`TlsSetupError`] for a file that cannot be used, and for no roots.
    pub fn with_roots(
        settings: &UpstreamSettings,
        roots: Option<RootCertStore>,
    ) -> Result<Self, TlsSetupError> {
        Self::build(settings, roots, &Disk)
    }

    fn build(
        settings: &UpstreamSettings,
        roots: Option<RootCertStore>,
        read: &dyn ReadFiles,
    ) -> Result<Self, TlsSetupError> {
        let provider = provider();
        let verifier = Arc::new(Verifier::new(
            roots.map(Arc::new),
            settings.pins.clone(),
            settings.pin_mode,
            Arc::clone(&provider),
        )?);
        let examined: Arc<Verifier> = Arc::clone(&verifier);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(examined);
        let mut identity = Vec::new();
        let mut config = match &settings.client_identity {
            None => builder.with_no_client_auth(),
            Some(files) => {
                identity = read_certificates(&files.certificate_file, read)?;
                builder.with_client_auth_cert(identity.clone(), read_key(&files.key_file, read)?)?
            }
        };
        config.alpn_protocols = vec![ALPN_DOT.to_vec()];
        config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS);
        Ok(Self {
            config: Arc::new(config),
            verifier,
            name: settings.tls_name.clone(),
            identity,
        })
    }

    /// Whether it expects and shows the same as `other`.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.name == other.name
            && self.identity == other.identity
            && self.verifier.is_like(&other.verifier)
    }

    /// A connection to the upstream at `address`, before its handshake.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn connect(&self, address: IpAddr) -> Result<Connection, Error> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name_at(address))?;
        Ok(Connection::Client(connection))
    }

    /// What is left to examine once the handshake is over: see [`Verifier::examine`].
    ///
    /// # Errors
    ///
    /// What is wrong with the certificate.
    pub fn check(&self, connection: &Connection, address: IpAddr) -> Result<(), Error> {
        if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
            return Ok(());
        }
        self.examine(connection, address, UnixTime::now())
    }

    /// Whether the certificates the upstream showed on `connection` would be believed at `now`.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn examine(
        &self,
        connection: &Connection,
        address: IpAddr,
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificates = connection.peer_certificates().unwrap_or_default();
        let name = self.name_at(address);
        self.verifier.examine(certificates, &name, now)
    }

    /// What enforcing the pins would have refused, where they are only reported; `None` where they are not.
    pub(crate) fn reported(&self, connection: &Connection) -> Option<Option<PinMismatch>> {
        if !self.verifier.reports_pins() {
            return None;
        }
        let own = connection.peer_certificates()?.first()?;
        self.verifier.unpinned(own).ok()
    }

    /// Our own certificates, the one the key belongs to first; empty when there are none to show.
    pub(crate) fn identity(&self) -> &[CertificateDer<'static>] {
        &self.identity
    }

    /// The same without the sessions of the past: who sees one resumed knows that the same machine called before from elsewhere.
    pub(crate) fn without_sessions(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS);
        Self {
            config: Arc::new(config),
            verifier: Arc::clone(&self.verifier),
            name: self.name.clone(),
            identity: self.identity.clone(),
        }
    }

    /// Whom to expect at `address`. Without a name it only keeps the sessions of several addresses apart.
    fn name_at(&self, address: IpAddr) -> ServerName<'static> {
        self.name
            .clone()
            .unwrap_or_else(|| ServerName::IpAddress(address.into()))
    }
}

fn roots(
    settings: &UpstreamSettings,
    files: &dyn ReadFiles,
) -> Result<RootCertStore, TlsSetupError> {
    let Some(path) = &settings.ca_file else {
        return Ok(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        });
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(read_certificates(path, files)?);
    if added == 0 {
        return Err(TlsSetupError::NoRoots(path.clone()));
    }
    Ok(roots)
}
