//! TLS towards upstreams: one configuration and one session store each.
//!
//! Promises: SNI is sent for DNS names only (RFC 6066 section 3); ALPN offers `dot` and takes no other answer, none being
//! fine; sessions are resumed within one upstream and never between two; no early data.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, Error, HandshakeKind, RootCertStore};

use super::verify::Verifier;
use super::{ALPN_DOT, TlsSetupError, provider, read_certificates, read_key};
use crate::config::UpstreamSettings;
use crate::limits::TLS_SESSIONS;

/// How to speak TLS with one upstream, and whom to expect.
#[derive(Debug)]
pub struct UpstreamTls {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
    /// `None` when pins alone decide.
    name: Option<ServerName<'static>>,
}

impl UpstreamTls {
    /// Reads the files the settings name and makes the configuration.
    ///
    /// # Errors
    ///
    /// [`TlsSetupError`] for a file that cannot be used.
    pub fn new(settings: &UpstreamSettings) -> Result<Self, TlsSetupError> {
        let roots = match settings.tls_name {
            Some(_) => Some(roots(settings)?),
            None => None,
        };
        Self::with_roots(settings, roots)
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
        let provider = provider();
        let verifier = Arc::new(Verifier::new(
            roots.map(Arc::new),
            settings.pins.clone(),
            Arc::clone(&provider),
        )?);
        let examined: Arc<Verifier> = Arc::clone(&verifier);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(examined);
        let mut config = match &settings.client_identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_auth_cert(
                read_certificates(&identity.certificate_file)?,
                read_key(&identity.key_file)?,
            )?,
        };
        config.alpn_protocols = vec![ALPN_DOT.to_vec()];
        config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS);
        Ok(Self {
            config: Arc::new(config),
            verifier,
            name: settings.tls_name.clone(),
        })
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

    /// What is left to examine once the handshake is over: see [`Verifier::check_resumed`].
    ///
    /// # Errors
    ///
    /// What is wrong with the certificate.
    pub fn check(&self, connection: &Connection, address: IpAddr) -> Result<(), Error> {
        if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
            return Ok(());
        }
        let certificates = connection.peer_certificates().unwrap_or_default();
        self.verifier
            .check_resumed(certificates, &self.name_at(address))
    }

    /// Whom to expect at `address`. Without a name it only keeps the sessions of several addresses apart.
    fn name_at(&self, address: IpAddr) -> ServerName<'static> {
        self.name
            .clone()
            .unwrap_or_else(|| ServerName::IpAddress(address.into()))
    }
}

fn roots(settings: &UpstreamSettings) -> Result<RootCertStore, TlsSetupError> {
    let Some(path) = &settings.ca_file else {
        return Ok(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        });
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(read_certificates(path)?);
    if added == 0 {
        return Err(TlsSetupError::NoRoots(path.clone()));
    }
    Ok(roots)
}
