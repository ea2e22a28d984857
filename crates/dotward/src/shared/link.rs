//! Connections to the store, whatever it is made of.
//!
//! Promises: making one connects to nothing; a connection that is lost is made anew in the background; asking takes no longer than
//! [`SHARED_RESPONSE`].

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::aio::{ConnectionLike as _, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::sentinel::SentinelClient;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, Pipeline, RedisError,
    RedisResult, ServerErrorKind,
};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::LastFault;
use super::store::Store;
use crate::limits::{
    SHARED_CONNECT, SHARED_RESPONSE, SHARED_SEARCH, SHARED_SEARCH_AGAIN, SHARED_SEARCH_PAUSE,
    SHARED_SEARCH_PAUSE_MAX,
};

/// A way to the store; a copy is the same way.
#[derive(Clone)]
pub(super) enum Link {
    One(ConnectionManager),
    Master(Master),
    Cluster(ClusterConnection),
}

/// The store did not do what it was asked.
#[derive(Debug)]
pub(super) enum LinkError {
    Store(RedisError),
    /// No response in time.
    Silent,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Silent => f.write_str("no response in time"),
        }
    }
}

impl Link {
    /// The way to a store. Has to be called within the runtime that uses it.
    ///
    /// # Errors
    ///
    /// What the client says of the settings.
    pub(super) fn to(store: Store, fault: &LastFault) -> RedisResult<Self> {
        match store {
            Store::One(client) => {
                let config = ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(SHARED_CONNECT))
                    .set_response_timeout(Some(SHARED_RESPONSE))
                    // The breaker decides when it is tried again.
                    .set_number_of_retries(0);
                ConnectionManager::new_lazy_with_config(*client, config).map(Self::One)
            }
            Store::Sentinels(sentinels) => {
                Ok(Self::Master(Master::look_for(*sentinels, fault.clone())))
            }
            Store::Cluster(client) => Ok(Self::Cluster(pending(&client))),
        }
    }

    /// Whether several commands are best asked at once. The keys of a cluster lie on different nodes, and the answer of one must not
    /// wait for that of another.
    pub(super) fn takes_many(&self) -> bool {
        match self {
            Self::One(_) | Self::Master(_) => true,
            Self::Cluster(_) => false,
        }
    }

    /// Asks these, and gives back what came of each.
    pub(super) async fn ask_all<T: FromRedisValue>(
        &mut self,
        commands: &Pipeline,
    ) -> Result<Vec<RedisResult<T>>, LinkError> {
        match self {
            Self::One(connection) => within(commands.query_async(connection)).await,
            Self::Cluster(connection) => within(commands.query_async(connection)).await,
            Self::Master(master) => master.ask_all(commands).await,
        }
    }

    /// Asks one.
    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, LinkError> {
        let value = match self {
            Self::One(connection) => within(connection.req_packed_command(command)).await,
            Self::Cluster(connection) => within(connection.req_packed_command(command)).await,
            Self::Master(master) => {
                let mut one = Pipeline::new();
                one.ignore_errors().add_command(command.clone());
                let values = master.ask_all(&one).await?.into_iter().next();
                return values
                    .unwrap_or(Err(no_response()))
                    .map_err(LinkError::Store);
            }
        };
        redis::from_redis_value(value?).map_err(|error| LinkError::Store(error.into()))
    }
}

fn no_response() -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, "no response"))
}

async fn within<T>(asked: impl Future<Output = RedisResult<T>>) -> Result<T, LinkError> {
    match timeout(SHARED_RESPONSE, asked).await {
        Ok(answered) => answered.map_err(LinkError::Store),
        Err(_) => Err(LinkError::Silent),
    }
}

/// Follows what its nodes say of each other, and connects again, by itself.
fn pending(client: &ClusterClient) -> ClusterConnection {
    let config = ClusterConfig::new()
        .set_connection_timeout(SHARED_CONNECT)
        .set_response_timeout(SHARED_RESPONSE);
    client.get_pending_async_connection_with_config(config)
}

/// The connection to whoever is the master, as the sentinels say.
#[derive(Clone)]
pub(super) struct Master {
    known: watch::Receiver<Option<Found>>,
    lost: Arc<Lost>,
}

/// One connection to one master.
#[derive(Clone)]
struct Found {
    connection: MultiplexedConnection,
    /// Which of those there were.
    number: u64,
}

/// Tells the search that a connection is of no more use.
#[derive(Default)]
struct Lost {
    number: std::sync::atomic::AtomicU64,
    told: Notify,
}

impl Master {
    /// Begins to look for it, and goes on whenever it is lost, for as long as anybody asks.
    fn look_for(sentinels: SentinelClient, fault: LastFault) -> Self {
        let (found, known) = watch::channel(None);
        let lost = Arc::new(Lost::default());
        let search = Search {
            sentinels,
            found,
            lost: Arc::clone(&lost),
            fault,
        };
        tokio::spawn(search.run());
        Self { known, lost }
    }

    async fn ask_all<T: FromRedisValue>(
        &mut self,
        commands: &Pipeline,
    ) -> Result<Vec<RedisResult<T>>, LinkError> {
        let mut number = None;
        let asked = within(async {
            let known = self.known.wait_for(Option::is_some).await;
            let found = known.ok().and_then(|it| it.clone());
            let mut found = found.ok_or_else(no_response)?;
            number = Some(found.number);
            commands
                .query_async::<Vec<RedisResult<T>>>(&mut found.connection)
                .await
        });
        let asked = asked.await;
        if let Some(number) = number.filter(|_| is_over(&asked)) {
            self.lost.tell(number);
        }
        asked
    }
}

/// Whether the one that was asked is gone, hangs, or is no master any more.
fn is_over<T>(asked: &Result<Vec<RedisResult<T>>, LinkError>) -> bool {
    let demoted = |error: &RedisError| {
        matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        )
    };
    match asked {
        Ok(values) => values
            .iter()
            .filter_map(|it| it.as_ref().err())
            .any(demoted),
        Err(LinkError::Silent | LinkError::Store(_)) => true,
    }
}

impl Lost {
    fn tell(&self, number: u64) {
        use std::sync::atomic::Ordering;
        self.number.fetch_max(number, Ordering::AcqRel);
        self.told.notify_one();
    }

    /// Waits until the connection of this number is told to be lost.
    async fn wait(&self, number: u64) {
        use std::sync::atomic::Ordering;
        while self.number.load(Ordering::Acquire) < number {
            self.told.notified().await;
        }
    }
}

/// Looks for the master.
struct Search {
    sentinels: SentinelClient,
    found: watch::Sender<Option<Found>>,
    lost: Arc<Lost>,
    fault: LastFault,
}

impl Search {
    async fn run(mut self) {
        for number in 1.. {
            let mut pause = SHARED_SEARCH_PAUSE;
            let found = loop {
                match timeout(SHARED_SEARCH, self.connect()).await {
                    Ok(Ok(found)) => break found,
                    Ok(Err(error)) => self.fault.note(error.to_string()),
                    Err(_) => self.fault.note("no sentinel answers in time".to_owned()),
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.found.closed() => return,
                }
                pause = (pause * 2).min(SHARED_SEARCH_PAUSE_MAX);
            };
            let (address, connection) = found;
            self.found.send_replace(Some(Found { connection, number }));
            if self.is_replaced(&address, number).await.is_none() {
                return;
            }
            self.found.send_replace(None);
        }
    }

    /// Waits until the master is lost, or the sentinels name another one, while the old one may go on and take what is written to it for
    /// some time. `None` when nobody asks any more.
    async fn is_replaced(&mut self, address: &ConnectionAddr, number: u64) -> Option<()> {
        loop {
            tokio::select! {
                () = self.lost.wait(number) => return Some(()),
                () = self.found.closed() => return None,
                () = tokio::time::sleep(SHARED_SEARCH_AGAIN) => {}
            }
            // As long as they say nothing it stays.
            let named = timeout(SHARED_SEARCH, self.sentinels.async_get_client()).await;
            if let Ok(Ok(client)) = named
                && client.get_connection_info().addr() != address
            {
                return Some(());
            }
        }
    }

    async fn connect(&mut self) -> RedisResult<(ConnectionAddr, MultiplexedConnection)> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(SHARED_CONNECT))
            .set_response_timeout(Some(SHARED_RESPONSE));
        let client = self.sentinels.async_get_client().await?;
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        let address = client.get_connection_info().addr().clone();
        Ok((address, connection.await?))
    }
}
