//! The thread that serves the control socket.
//!
//! Promises: it waits for no worker longer than [`CONTROL_PATIENCE`] and for no client longer than [`CONTROL_READ`]; whoever has asked
//! for the end sees the connection end when the program has.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dotward_core::cache::Cache;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::response;
use super::socket::SocketFile;
use super::status::Inquiry;
use super::{ControlSocket, Refusal, Request, cache};
use crate::group_names::GroupNames;
use crate::limits::{
    CONTROL_CONNECTIONS, CONTROL_PATIENCE, CONTROL_READ, CONTROL_REQUEST, RELOAD_PATIENCE,
};
use crate::logging;
use crate::reload::{self, Outcome, Trigger};
use crate::run::{Drain, Order};

/// What requests are carried out with.
#[derive(Debug)]
pub(crate) struct Desk {
    /// To the worker that has the engine.
    pub(crate) worker: mpsc::Sender<Inquiry>,
    /// What is kept.
    pub(crate) cache: Arc<Cache>,
    /// What groups of upstreams are called.
    pub(crate) names: GroupNames,
    /// To whoever waits for the end.
    pub(crate) orders: watch::Sender<Order>,
    /// How long what is in flight may take when the end is asked for.
    pub(crate) drain: Drain,
    /// To whoever reads the configuration again.
    pub(crate) reload: reload::Handle,
}

/// The server at work. Dropping it ends the server and removes the file.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Removed before the server is over: who sees the connection end sees the file gone.
    file: Option<SocketFile>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.file.take());
        drop(self.stop.take());
        // A thread that panicked was told about by the panic.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Serves on a thread of its own.
///
/// # Errors
///
/// When the system gives no thread or event loop.
pub(crate) fn start(socket: ControlSocket, desk: Desk) -> io::Result<Server> {
    let (listener, file) = socket.into_parts();
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let serving = move || {
        runtime.block_on(async {
            tokio::select! {
                () = serve(listener, desk) => {}
                // Nothing is ever sent: the end of the other side is the word.
                _ = stopped => {}
            }
        });
    };
    let thread = std::thread::Builder::new()
        .name("control".into())
        .spawn(serving)?;
    Ok(Server {
        stop: Some(stop),
        thread: Some(thread),
        file: Some(file),
    })
}

async fn serve(listener: StdListener, desk: Desk) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the control socket cannot be served");
            return;
        }
    };
    let desk = Arc::new(desk);
    let places = Arc::new(Semaphore::new(CONTROL_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a control connection could not be accepted");
                tokio::time::sleep(CONTROL_READ).await;
                continue;
            }
        };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                let desk = Arc::clone(&desk);
                tokio::spawn(async move {
                    converse(stream, &desk).await;
                    drop(place);
                });
            }
            Err(_) => refuse(&stream),
        }
    }
}

/// Writes what fits into the socket's buffer, which is more than this line.
fn refuse(stream: &UnixStream) {
    // Who cannot be told sees the connection end.
    drop(stream.try_write(response::line(Err(Refusal::TooMany)).as_bytes()));
}

/// One request, one response.
async fn converse(mut stream: UnixStream, desk: &Desk) {
    let request = match timeout(CONTROL_READ, read_request(&mut stream)).await {
        Ok(request) => request,
        Err(_) => Err(Refusal::NotALine),
    };
    let is_drain = matches!(request, Ok(Request::Drain));
    let outcome = match request {
        Ok(request) => carry_out(&request, desk).await,
        Err(refusal) => Err(refusal),
    };
    let line = response::line(outcome);
    // A client that does not read is let go; one that has gone needs nothing.
    drop(timeout(CONTROL_READ, stream.write_all(line.as_bytes())).await);
    if is_drain {
        // Until the program ends, or the client has seen enough.
        drop(stream.read(&mut [0]).await);
    }
}

async fn read_request(stream: &mut UnixStream) -> Result<Request, Refusal> {
    let mut line = Vec::new();
    let bound = u64::try_from(CONTROL_REQUEST).unwrap_or(u64::MAX);
    let mut reader = BufReader::with_capacity(CONTROL_REQUEST, stream.take(bound));
    match reader.read_until(b'\n', &mut line).await {
        Ok(_) if line.last() == Some(&b'\n') => {}
        Ok(_) | Err(_) => return Err(Refusal::NotALine),
    }
    let line = str::from_utf8(&line).map_err(|_| Refusal::NotALine)?;
    Request::parse(line).map_err(|error| Refusal::NotARequest(error.to_string()))
}

async fn carry_out(request: &Request, desk: &Desk) -> Result<Value, Refusal> {
    match request {
        Request::Status => ask_worker(desk, Inquiry::Status).await,
        Request::LogLevel(level) => {
            let before = logging::level();
            logging::set_level(*level).map_err(Refusal::Absent)?;
            tracing::info!(%level, "log level changed over the control socket");
            Ok(json!({ "level": level.to_string(), "before": before.map(|it| it.to_string()) }))
        }
        Request::CacheStats => cache_stats(desk).await,
        Request::CacheGet(name, qtype) => cache::of_name(&desk.cache, &desk.names, name, *qtype),
        Request::CacheFlush(suffix) => cache::flush(&desk.cache, suffix.as_ref()),
        Request::Reload => reload_configuration(desk).await,
        Request::Drain => {
            tracing::info!("asked to end over the control socket");
            desk.orders.send_replace(Order::Drain);
            Ok(json!({ "drain_ms": millis(desk.drain.limit()) }))
        }
    }
}

/// Waits for the outcome, which may take as long as reading files does.
async fn reload_configuration(desk: &Desk) -> Result<Value, Refusal> {
    let asked = desk.reload.ask(Trigger::Command);
    match timeout(RELOAD_PATIENCE, asked).await {
        Ok(Some(Outcome::Applied(applied))) => Ok(json!({
            "awaiting_restart": applied.awaiting_restart,
            "warnings": applied.warnings,
            "upstreams_added": applied.added,
            "upstreams_removed": applied.removed,
            "answers_forgotten": applied.forgotten,
        })),
        Ok(Some(Outcome::Refused(refusal))) => {
            let faults = refusal.faults.join("\nerror: ");
            Err(match refusal.by_configuration {
                true => Refusal::Configuration(faults),
                false => Refusal::Failed(faults),
            })
        }
        Ok(None) => Err(Refusal::Failed("the program is ending".to_owned())),
        Err(_) => Err(Refusal::Failed(
            "reading the configuration takes long; what comes of it will be in the log and in the status".to_owned(),
        )),
    }
}

/// The engine knows about the cache that is shared; without it there is one answer less.
async fn cache_stats(desk: &Desk) -> Result<Value, Refusal> {
    let shared = ask_worker(desk, Inquiry::Shared).await?;
    Ok(json!({ "memory": cache::stats(&desk.cache), "shared": shared }))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Asks the worker that has the engine.
async fn ask_worker(
    desk: &Desk,
    question: fn(oneshot::Sender<Value>) -> Inquiry,
) -> Result<Value, Refusal> {
    let (answer, answered) = oneshot::channel();
    let asked = async {
        desk.worker.send(question(answer)).await.ok()?;
        answered.await.ok()
    };
    match timeout(CONTROL_PATIENCE, asked).await {
        Ok(Some(value)) => Ok(value),
        Ok(None) | Err(_) => Err(Refusal::Busy),
    }
}
