//! The admin listener: metrics and health over HTTP, for scrapers, orchestrators and people.
//!
//! Promises:
//! - It has a thread and a runtime of its own: whatever is asked of it, no answer to a client waits. Workers are asked by errands
//!   and copy out numbers.
//! - It is read-only: GET and nothing else. No name that was asked for and no client's address is told.
//! - Requests, connections and their time are bounded.
//!
//! Deliberately absent: TLS and passwords (it belongs on loopback or a management network); anything that changes state, which goes
//! over the control socket.

mod board;
mod health;
mod metrics;
mod process;
mod server;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::BindRules;
use crate::listen::sockets;

pub(crate) use board::Board;

/// The admin listener at work. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Admin {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Binds the admin listener; it does not listen yet (`sockets::listen`).
///
/// # Errors
///
/// What the system says.
pub(crate) fn bind(address: SocketAddr, rules: BindRules) -> io::Result<TcpListener> {
    sockets::bind_stream(address, rules)
}

impl Admin {
    /// Serves on a thread of its own, and tells the service manager as often as `watchdog` says that all workers turn. `None` when
    /// there is neither to do.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(crate) fn start(
        listener: Option<TcpListener>,
        board: Arc<Board>,
        watchdog: Option<Duration>,
    ) -> io::Result<Option<Self>> {
        if listener.is_none() && watchdog.is_none() {
            return Ok(None);
        }
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                if let Err(error) = server::run(listener, &board, watchdog, stopped) {
                    tracing::error!(%error, "the admin listener does not work");
                }
            })?;
        Ok(Some(Self {
            stop,
            thread: Some(thread),
        }))
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the admin listener ended badly");
        }
    }
}
