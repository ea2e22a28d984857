//! The thread that speaks with the store.
//!
//! Promises: every lookup is told an outcome within the time `link` gives the store; at most [`SHARED_VALUE`] octets of a value are read; a write that
//! finds another one under way is dropped and told; nothing that hangs in the system, such as the search for an address, holds up the end.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use dotward_core::shared::{SharedAction, SharedTicket};
use redis::{Cmd, RedisError, cmd};
use tokio::runtime::Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::link::Link;
use super::store::Store;
use super::{LastFault, Outcome};
use crate::limits::{SHARED_BATCH, SHARED_COMMANDS, SHARED_RESOLVERS, SHARED_VALUE};

/// Speaks with the store until the other side of `stopped` is dropped.
pub(super) fn spawn(
    store: Store,
    jobs: mpsc::Receiver<SharedAction>,
    outcomes: mpsc::Sender<Vec<Outcome>>,
    fault: LastFault,
    stopped: oneshot::Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread()
        .max_blocking_threads(SHARED_RESOLVERS)
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("shared-cache".into())
        .spawn(move || {
            runtime.block_on(async {
                match Link::to(store, &fault) {
                    Ok(link) => {
                        let speaker = Speaker {
                            link,
                            outcomes,
                            fault,
                        };
                        tokio::select! {
                            () = serve(speaker, jobs) => {}
                            _ = stopped => {}
                        }
                    }
                    Err(error) => tracing::error!(%error, "the shared cache cannot be used"),
                }
            });
            // The system may look for an address for half a minute, and cannot be told to stop.
            runtime.shutdown_background();
        })
}

/// What commands need.
#[derive(Clone)]
struct Speaker {
    link: Link,
    outcomes: mpsc::Sender<Vec<Outcome>>,
    fault: LastFault,
}

type Fetch = (SharedTicket, Vec<u8>);
type Keep = (Vec<u8>, Vec<u8>, u64);

async fn serve(speaker: Speaker, mut jobs: mpsc::Receiver<SharedAction>) {
    let places = Arc::new(Semaphore::new(SHARED_COMMANDS));
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
            let wanted = u32::try_from(fetches.len()).unwrap_or(u32::MAX);
            let Ok(places) = Arc::clone(&places).acquire_many_owned(wanted).await else {
                return;
            };
            fetch(&speaker, fetches, places);
        }
        if !keeps.is_empty() {
            write(&speaker, &write_places, keeps).await;
        }
    }
}

/// Looks these up in the background; each has a place.
fn fetch(speaker: &Speaker, fetches: Vec<Fetch>, mut places: OwnedSemaphorePermit) {
    if speaker.link.takes_many() {
        let speaker = speaker.clone();
        tokio::spawn(async move {
            speaker.fetch_all(fetches).await;
            drop(places);
        });
        return;
    }
    for fetch in fetches {
        let (speaker, place) = (speaker.clone(), places.split(1));
        tokio::spawn(async move {
            speaker.fetch(fetch).await;
            drop(place);
        });
    }
}

/// Writes in the background, one batch at a time; what comes while one is under way is dropped.
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

/// A part of the value, so that nobody can make us read without end; one that is longer is no value of ours.
fn get(key: &[u8]) -> Cmd {
    cmd("GETRANGE").arg(key).arg(0).arg(SHARED_VALUE).take()
}

fn set((key, value, seconds): &Keep) -> Cmd {
    let mut command = cmd("SET");
    command.arg(key).arg(value).arg("EX").arg(seconds);
    command
}

impl Speaker {
    async fn fetch_all(mut self, fetches: Vec<Fetch>) {
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        for (_, key) in &fetches {
            pipeline.add_command(get(key));
        }
        let asked = self.link.ask_all::<Vec<u8>>(&pipeline).await;
        let tickets = fetches.into_iter().map(|(ticket, _)| ticket);
        let outcomes = match asked {
            Ok(values) => {
                let values = values
                    .into_iter()
                    .map(Some)
                    .chain(std::iter::repeat_with(|| None));
                tickets
                    .zip(values)
                    .map(|(ticket, value)| self.outcome(ticket, value))
                    .collect()
            }
            Err(error) => {
                self.fault.note(error.to_string());
                tickets.map(Outcome::Failed).collect()
            }
        };
        self.tell(outcomes).await;
    }

    async fn fetch(mut self, (ticket, key): Fetch) {
        let outcome = match self.link.ask::<Vec<u8>>(&get(&key)).await {
            Ok(value) => self.outcome(ticket, Some(Ok(value))),
            Err(error) => {
                self.fault.note(error.to_string());
                Outcome::Failed(ticket)
            }
        };
        self.tell(vec![outcome]).await;
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
        let kept = if self.link.takes_many() {
            self.keep_all(&keeps).await
        } else {
            self.keep_each(&keeps).await
        };
        self.tell_written(kept, keeps.len() - kept).await;
    }

    /// Writes them at once; gives back how many the store has.
    async fn keep_all(&mut self, keeps: &[Keep]) -> usize {
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        for keep in keeps {
            pipeline.add_command(set(keep));
        }
        match self.link.ask_all::<()>(&pipeline).await {
            Ok(done) => {
                let kept = done.iter().filter(|it| it.is_ok()).count();
                let mut errors = done.into_iter().filter_map(Result::err);
                if let Some(error) = errors.next() {
                    self.fault.note(error.to_string());
                }
                kept
            }
            Err(error) => {
                self.fault.note(error.to_string());
                0
            }
        }
    }

    /// Writes each to its node; gives back how many these have.
    async fn keep_each(&self, keeps: &[Keep]) -> usize {
        let mut writes = JoinSet::new();
        for keep in keeps {
            let (mut link, command) = (self.link.clone(), set(keep));
            writes.spawn(async move { link.ask::<()>(&command).await });
        }
        let mut kept = 0;
        while let Some(written) = writes.join_next().await {
            match written {
                Ok(Ok(())) => kept += 1,
                Ok(Err(error)) => self.fault.note(error.to_string()),
                Err(_) => {}
            }
        }
        kept
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
