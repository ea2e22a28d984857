//! TLS towards clients: the DoT listener's configuration (RFC 7858 section 3).
//!
//! Promises: a client that offers ALPN without `dot` is refused (RFC 7301 section 3.2), one that offers none is served; whatever
//! name a client asks for by SNI, or none, it is shown the one certificate there is, and judges for itself; sessions are resumed with
//! tickets only, whose keys change (`tickets`) and outlive a renewed certificate; where certificates of clients are asked
//! for, one that would not be believed now is of no use in a resumed handshake either.
//!
//! Deliberately absent: several certificates chosen by SNI, early data, revocation of clients' certificates (give a CA of its own to
//! those who may ask, and short-lived certificates).

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, Connection, Error, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection,
};

use super::tickets::TicketKeys;
use super::{ALPN_DOT, TlsSetupError, provider, read_certificates, read_key};
use crate::config::{Disk, ReadFiles, ServerIdentity};
use crate::limits::CLIENT_TLS_BUFFER;

/// What DoT listeners show their clients, and whom they let in.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    config: Arc<ServerConfig>,
    /// What is shown, our own certificate first.
    chain: Vec<CertificateDer<'static>>,
    clients: Option<ClientTrust>,
    tickets: Arc<TicketKeys>,
}

/// Whose certificates let a client in.
#[derive(Debug, Clone)]
struct ClientTrust {
    roots: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ListenerTls {
    /// Reads chain, key and roots from PEM files.
    ///
    /// # Errors
    ///
    /// [`TlsSetupError`] for a file that cannot be used and for a key that is not the certificate's.
    pub fn from_files(files: &ServerIdentity) -> Result<Self, TlsSetupError> {
        Self::read(files, &Disk)
    }

    /// The same with the files of `read`.
    ///
    /// # Errors
    ///
    /// As [`Self::from_files`].
    pub(crate) fn read(
        files: &ServerIdentity,
        read: &dyn ReadFiles,
    ) -> Result<Self, TlsSetupError> {
        let clients = files.client_ca_file.as_deref();
        let clients = clients.map(|path| ClientTrust::from_file(path, read));
        Self::build(
            read_certificates(&files.certificate_file, read)?,
            read_key(&files.key_file, read)?,
            clients.transpose()?,
            TicketKeys::new()?,
        )
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
        Self::build(chain, key, None, TicketKeys::new()?)
    }

    fn build(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        clients: Option<ClientTrust>,
        tickets: TicketKeys,
    ) -> Result<Self, TlsSetupError> {
        let shown = chain.clone();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
        };
        let mut config = builder.with_single_cert(chain, key)?;
        let tickets = Arc::new(tickets);
        config.alpn_protocols = vec![ALPN_DOT.to_vec()];
        config.ticketer = Arc::<TicketKeys>::clone(&tickets);
        // Sessions of TLS 1.2 without tickets would be state kept for clients, by other rules.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            config: Arc::new(config),
            chain: shown,
            clients,
            tickets,
        })
    }

    /// The same with the ticket keys of `before`, so that a renewed certificate costs no client its session. Not with other roots for
    /// clients: what was promised to those of the old ones holds no longer.
    #[must_use]
    pub(crate) fn succeeding(self, before: &Self) -> Self {
        if !self.trusts_whom(before) {
            return self;
        }
        let tickets = Arc::clone(&before.tickets);
        let mut config = ServerConfig::clone(&self.config);
        config.ticketer = Arc::<TicketKeys>::clone(&tickets);
        Self {
            config: Arc::new(config),
            tickets,
            ..self
        }
    }

    /// Whether it trusts the same clients as `other`.
    pub(crate) fn trusts_whom(&self, other: &Self) -> bool {
        let roots = |of: &Self| of.clients.as_ref().map(|it| it.roots.clone());
        roots(self) == roots(other)
    }

    /// Whether it shows the same certificates as `other` and trusts the same clients.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.chain == other.chain && self.trusts_whom(other)
    }

    /// The certificate that is shown.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.chain.first()
    }

    /// The server's side of a connection, before its handshake.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn accept(&self) -> Result<Connection, Error> {
        let mut connection = ServerConnection::new(Arc::clone(&self.config))?;
        connection.set_buffer_limit(Some(CLIENT_TLS_BUFFER));
        Ok(Connection::Server(connection))
    }

    /// What is left to examine once a handshake is over: one that resumed shows the certificate of the session, unverified.
    ///
    /// # Errors
    ///
    /// What is wrong with the client's certificate.
    pub fn check(&self, connection: &Connection) -> Result<(), Error> {
        if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
            return Ok(());
        }
        self.examine(connection, UnixTime::now())
    }

    /// Whether the certificates a client showed would be believed at `now`. Always, where none are asked for.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub(crate) fn examine(&self, connection: &Connection, now: UnixTime) -> Result<(), Error> {
        let Some(clients) = &self.clients else {
            return Ok(());
        };
        match connection.peer_certificates().unwrap_or_default() {
            [own, others @ ..] => {
                let verified = clients.verifier.verify_client_cert(own, others, now);
                verified.map(|_| ())
            }
            [] => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }
}

impl ClientTrust {
    fn from_file(path: &Path, files: &dyn ReadFiles) -> Result<Self, TlsSetupError> {
        let roots = read_certificates(path, files)?;
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(roots.clone());
        if added == 0 {
            return Err(TlsSetupError::NoRoots(path.to_owned()));
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider()).build();
        Ok(Self {
            roots,
            verifier: verifier.map_err(TlsSetupError::Verifier)?,
        })
    }
}

#[cfg(test)]
mod tests;
