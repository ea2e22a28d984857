//! The thread that speaks with the store.
//!
//! Promises: every lookup is told an outcome within [`SHARED_RESPONSE`]; at most [`SHARED_VALUE`] octets of a value are read; a write that
//! finds all places taken is dropped and told.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use dotward_core::shared::{SharedAction, SharedTicket};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, TlsCertificates,
};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::{LastFault, Outcome};
use crate::config::SharedCacheSettings;
use crate::limits::{
    SHARED_BATCH, SHARED_CONNECT, SHARED_PIPELINES, SHARED_RESPONSE, SHARED_VALUE,
};

/// The store, not connected to yet.
#[derive(Debug)]
pub(crate) struct Store {
    client: Client,
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

impl Store {
    /// Reads the files and takes the settings. Nothing is connected to.
    ///
    /// # Errors
    ///
    /// [`StoreError`], ready to be shown.
    pub(crate) fn new(settings: &SharedCacheSettings) -> Result<Self, StoreError> {
        let refused = |error: RedisError| StoreError::Settings(error.to_string());
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| StoreError::File(path.clone(), error))
        };
        let mut info = settings
            .url
            .as_str()
            .into_connection_info()
            .map_err(refused)?;
        if let Some(path) = &settings.password_file {
            let password = read(path)?;
            let password = String::from_utf8_lossy(&password);
            let named = info.redis_settings().clone();
            // Editors end a file with a line end; no password does.
            info = info
                .set_redis_settings(named.set_password(password.trim_end_matches(['\r', '\n'])));
        }
        let client = if is_tls(&info) {
            let root_cert = settings.ca_file.as_ref().map(read).transpose()?;
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert,
            };
            Client::build_with_tls(info, certificates)
        } else {
            Client::open(info)
        };
        client.map(|client| Self { client }).map_err(refused)
    }

    fn connection(&self) -> Result<ConnectionManager, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(SHARED_CONNECT))
            .set_response_timeout(Some(SHARED_RESPONSE))
            // The breaker decides when it is tried again.
            .set_number_of_retries(0);
        ConnectionManager::new_lazy_with_config(self.client.clone(), config)
    }
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

/// Whether nobody on the way can write what is read: TLS, or this machine.
pub(crate) fn is_authenticated(url: &str) -> bool {
    let Ok(info) = url.into_connection_info() else {
        return false;
    };
    match info.addr() {
        ConnectionAddr::Tcp(host, _) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback()),
        ConnectionAddr::TcpTls { .. } | ConnectionAddr::Unix(_) => true,
        _ => false,
    }
}

/// The TCP port of the store; none for a Unix socket.
pub(crate) fn tcp_port(url: &str) -> Option<u16> {
    let info = url.into_connection_info().ok()?;
    match info.addr() {
        ConnectionAddr::Tcp(_, port) | ConnectionAddr::TcpTls { port, .. } => Some(*port),
        ConnectionAddr::Unix(_) | _ => None,
    }
}

/// Speaks with the store until nobody can give it anything any more.
pub(super) fn spawn(
    store: Store,
    jobs: mpsc::Receiver<SharedAction>,
    outcomes: mpsc::Sender<Vec<Outcome>>,
    fault: LastFault,
) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("shared-cache".into())
        .spawn(move || {
            runtime.block_on(async {
                match store.connection() {
                    Ok(connection) => {
                        let speaker = Speaker {
                            connection,
                            outcomes,
                            fault,
                        };
                        serve(speaker, jobs).await;
                    }
                    Err(error) => tracing::error!(%error, "the shared cache cannot be used"),
                }
            });
        })
}

/// What a pipeline needs.
#[derive(Clone)]
struct Speaker {
    connection: ConnectionManager,
    outcomes: mpsc::Sender<Vec<Outcome>>,
    fault: LastFault,
}

type Fetch = (SharedTicket, Vec<u8>);
type Keep = (Vec<u8>, Vec<u8>, u64);

async fn serve(speaker: Speaker, mut jobs: mpsc::Receiver<SharedAction>) {
    let places = Arc::new(Semaphore::new(SHARED_PIPELINES));
    let write_places = Arc::new(Semaphore::new(1));
    while let Some(first) = jobs.recv().await {
        let (mut fetches, mut keeps): (Vec<Fetch>, Vec<Keep>) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(action) = next {
            match action {
                SharedAction::Fetch { ticket, key } => fetches.push((ticket, key)),
                SharedAction::Keep {
                    key,
                    value,
                    seconds,
                } => keeps.push((key, value, seconds)),
            }
            let full = fetches.len() + keeps.len() >= SHARED_BATCH;
            next = if full { None } else { jobs.try_recv().ok() };
        }
        if !fetches.is_empty() {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let speaker = speaker.clone();
            tokio::spawn(async move {
                speaker.fetch(fetches).await;
                drop(place);
            });
        }
        if !keeps.is_empty() {
            write(&speaker, &write_places, keeps).await;
        }
    }
}

/// Writes in the background, one pipeline at a time; what comes while one is under way is dropped.
async fn write(speaker: &Speaker, places: &Arc<Semaphore>, keeps: Vec<Keep>) {
    let speaker = speaker.clone();
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        tokio::spawn(async move {
            speaker.keep(keeps).await;
            drop(place);
        });
    } else {
        speaker.tell_written(0, keeps.len()).await;
    }
}

impl Speaker {
    async fn fetch(mut self, fetches: Vec<Fetch>) {
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        for (_, key) in &fetches {
            // A part of the value, so that nobody can make us read without end; one that is longer is no value of ours.
            pipeline.cmd("GETRANGE").arg(key).arg(0).arg(SHARED_VALUE);
        }
        let asked = pipeline.query_async::<Vec<Result<Vec<u8>, RedisError>>>(&mut self.connection);
        let tickets = fetches.into_iter().map(|(ticket, _)| ticket);
        let outcomes = match timeout(SHARED_RESPONSE, asked).await {
            Ok(Ok(values)) => {
                let values = values
                    .into_iter()
                    .map(Some)
                    .chain(std::iter::repeat_with(|| None));
                tickets
                    .zip(values)
                    .map(|(ticket, value)| self.outcome(ticket, value))
                    .collect()
            }
            Ok(Err(error)) => {
                self.fault.note(error.to_string());
                tickets.map(Outcome::Failed).collect()
            }
            Err(_) => {
                self.fault.note("no response in time".to_owned());
                tickets.map(Outcome::Failed).collect()
            }
        };
        self.tell(outcomes).await;
    }

    fn outcome(&self, ticket: SharedTicket, value: Option<Result<Vec<u8>, RedisError>>) -> Outcome {
        match value {
            Some(Ok(value)) if value.is_empty() => Outcome::NotThere(ticket),
            Some(Ok(value)) => Outcome::Found(ticket, value),
            Some(Err(error)) => {
                self.fault.note(error.to_string());
                Outcome::Failed(ticket)
            }
            None => Outcome::Failed(ticket),
        }
    }

    async fn keep(mut self, keeps: Vec<Keep>) {
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        for (key, value, seconds) in &keeps {
            let command = pipeline.cmd("SET");
            command.arg(key).arg(value).arg("EX").arg(seconds);
        }
        let asked = pipeline.query_async::<Vec<Result<(), RedisError>>>(&mut self.connection);
        let failed = match timeout(SHARED_RESPONSE, asked).await {
            Ok(Ok(done)) => {
                let errors = done.into_iter().filter_map(Result::err);
                errors.map(|it| self.fault.note(it.to_string())).count()
            }
            Ok(Err(error)) => {
                self.fault.note(error.to_string());
                keeps.len()
            }
            Err(_) => {
                self.fault.note("no response in time".to_owned());
                keeps.len()
            }
        };
        self.tell_written(keeps.len() - failed, failed).await;
    }

    async fn tell_written(&self, kept: usize, dropped: usize) {
        let [kept, dropped] = [kept, dropped].map(|it| u64::try_from(it).unwrap_or(u64::MAX));
        self.tell(vec![Outcome::Written { kept, dropped }]).await;
    }

    async fn tell(&self, outcomes: Vec<Outcome>) {
        // A worker that is gone wants to know nothing.
        drop(self.outcomes.send(outcomes).await);
    }
}
