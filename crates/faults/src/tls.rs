//! The TLS configurations of a server, made when a mode first needs them and kept.
//!
//! Promises: the same kind of certificate always has the same key, so that pins can be compared; sessions are resumed
//! within one configuration, across configurations, or never, as the mode says. ALPN is `dot` (RFC 7858, RFC 9325
//! section 3.8); early data is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::server::{
    NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier,
};

use crate::certificates::{CertificateError, CertificateKind, Identity, TestCa};
use crate::mode::{Mode, Tickets, TlsVersions};
use crate::server::StartError;

/// Sessions remembered for resumption per TLS configuration.
const SESSIONS_REMEMBERED: usize = 1_024;

/// The TLS configurations in use, made when first needed.
pub(crate) struct TlsConfigs {
    pub(crate) ca: TestCa,
    name: String,
    shared_sessions: Arc<dyn StoresServerSessions>,
    identities: Mutex<BTreeMap<CertificateKind, Identity>>,
    configs: Mutex<BTreeMap<TlsKey, Arc<ServerConfig>>>,
}

type TlsKey = (CertificateKind, TlsVersions, Tickets, bool);

impl fmt::Debug for TlsConfigs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfigs")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl TlsConfigs {
    pub(crate) fn new(ca: TestCa, name: String) -> Self {
        Self {
            ca,
            name,
            shared_sessions: ServerSessionMemoryCache::new(SESSIONS_REMEMBERED),
            identities: Mutex::default(),
            configs: Mutex::default(),
        }
    }

    /// The chain and key for a kind.
    pub(crate) fn identity(&self, kind: CertificateKind) -> Result<Identity, CertificateError> {
        let mut identities = self
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(identity) = identities.get(&kind) {
            return Ok(identity.clone());
        }
        let identity = self.ca.issue(kind, &self.name)?;
        identities.insert(kind, identity.clone());
        Ok(identity)
    }

    /// The configuration a mode asks for.
    pub(crate) fn config(&self, mode: &Mode) -> Result<Arc<ServerConfig>, StartError> {
        let key = (
            mode.certificate,
            mode.versions,
            mode.tickets,
            mode.client_certificate,
        );
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make(key)?);
        configs.insert(key, Arc::clone(&config));
        Ok(config)
    }

    fn make(&self, (kind, versions, tickets, demand): TlsKey) -> Result<ServerConfig, StartError> {
        let identity = self.identity(kind)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions: &[&rustls::SupportedProtocolVersion] = match versions {
            TlsVersions::All => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersions::Only12 => &[&rustls::version::TLS12],
            TlsVersions::Only13 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?;
        let builder = if demand {
            let roots = Arc::new(self.ca.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(identity.chain(), identity.key())?;
        config.alpn_protocols = vec![b"dot".to_vec()];
        match tickets {
            Tickets::Own => {
                config.session_storage = ServerSessionMemoryCache::new(SESSIONS_REMEMBERED);
            }
            Tickets::Shared => config.session_storage = Arc::clone(&self.shared_sessions),
            Tickets::Refused => {
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
        }
        Ok(config)
    }
}
