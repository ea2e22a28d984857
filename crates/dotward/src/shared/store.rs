//! The store as it is configured: one server, the master that sentinels name, or a cluster, with what lets us in.
//!
//! Promises: files are read once, at the start; no password is shown.

use std::fmt;
use std::io;
use std::path::PathBuf;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, ErrorKind, RedisResult, TlsCertificates, TlsMode};

use super::place::{Kind, Place};
use crate::config::SharedCacheSettings;
use crate::limits::{SHARED_CONNECT, SHARED_REDIRECTS, SHARED_RESPONSE};

/// The store, not connected to yet.
pub(crate) enum Store {
    /// One server.
    One(Box<Client>),
    /// Whoever they say is the master.
    Sentinels(Box<SentinelClient>),
    /// The nodes of a cluster.
    Cluster(Box<ClusterClient>),
}

impl fmt::Debug for Store {
    /// Without what is in it: a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One(_) => "One",
            Self::Sentinels(_) => "Sentinels",
            Self::Cluster(_) => "Cluster",
        })
    }
}

/// Why a store cannot be used as it is configured.
#[derive(Debug)]
pub enum StoreError {
    /// A file cannot be read.
    File(PathBuf, io::Error),
    /// The client refuses the settings.
    Settings(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(
                f,
                "cannot read {}: {error}\n  fix:     let this user read it, or name another file",
                path.display()
            ),
            Self::Settings(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// What files say of how to be let in.
struct Credentials {
    password: Option<String>,
    sentinel_password: Option<String>,
    roots: Option<Vec<u8>>,
}

impl Credentials {
    fn read(settings: &SharedCacheSettings) -> Result<Self, StoreError> {
        let read = |path: &Option<PathBuf>| {
            let octets = path.as_ref().map(|path| {
                std::fs::read(path).map_err(|error| StoreError::File(path.clone(), error))
            });
            octets.transpose()
        };
        // Editors end a file with a line end; no password does.
        let text = |octets: Vec<u8>| {
            let text = String::from_utf8_lossy(&octets);
            text.trim_end_matches(['\r', '\n']).to_owned()
        };
        Ok(Self {
            password: read(&settings.password_file)?.map(text),
            sentinel_password: read(&settings.sentinel_password_file)?.map(text),
            roots: read(&settings.ca_file)?,
        })
    }

    fn certificates(&self) -> TlsCertificates {
        TlsCertificates {
            client_tls: None,
            root_cert: self.roots.clone(),
        }
    }
}

impl Store {
    /// Reads the files and takes the settings. Nothing is connected to.
    ///
    /// # Errors
    ///
    /// [`StoreError`], ready to be shown.
    pub(crate) fn new(settings: &SharedCacheSettings) -> Result<Self, StoreError> {
        let not_a_store = || StoreError::Settings("not the URL of a server".to_owned());
        let place = Place::parse(&settings.url).ok_or_else(not_a_store)?;
        let credentials = Credentials::read(settings)?;
        let built = match &place.kind {
            Kind::One => one(&place, &credentials),
            Kind::Sentinels { master } => sentinels(&place, master, &credentials),
            Kind::Cluster => cluster(&place, &credentials),
        };
        built.map_err(|error| StoreError::Settings(error.to_string()))
    }
}

fn one(place: &Place, credentials: &Credentials) -> RedisResult<Store> {
    let no_node = (ErrorKind::InvalidClientConfig, "no server is named");
    let mut info = place.nodes.first().cloned().ok_or(no_node)?;
    if let Some(password) = &credentials.password {
        let named = info.redis_settings().clone();
        info = info.set_redis_settings(named.set_password(password));
    }
    let client = if place.is_tls() {
        Client::build_with_tls(info, credentials.certificates())
    } else {
        Client::open(info)
    };
    Ok(Store::One(Box::new(client?)))
}

fn sentinels(place: &Place, master: &str, credentials: &Credentials) -> RedisResult<Store> {
    let addresses = place.nodes.iter().map(|it| it.addr().clone());
    let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?;
    if let Some(first) = place.nodes.first() {
        let said = first.redis_settings();
        builder = builder.set_client_to_redis_db(said.db());
        if let Some(user) = said.username() {
            builder = builder.set_client_to_redis_username(user);
        }
    }
    if let Some(password) = &credentials.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(password) = &credentials.sentinel_password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if place.is_tls() {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(credentials.certificates())
            .set_client_to_sentinel_certificates(credentials.certificates());
    }
    Ok(Store::Sentinels(Box::new(builder.build()?)))
}

fn cluster(place: &Place, credentials: &Credentials) -> RedisResult<Store> {
    let mut builder = ClusterClientBuilder::new(place.nodes.iter().cloned())
        .connection_timeout(SHARED_CONNECT)
        .response_timeout(SHARED_RESPONSE)
        .retries(SHARED_REDIRECTS);
    if let Some(password) = &credentials.password {
        builder = builder.password(password);
    }
    if place.is_tls() {
        builder = builder.certs(credentials.certificates());
    }
    Ok(Store::Cluster(Box::new(builder.build()?)))
}
