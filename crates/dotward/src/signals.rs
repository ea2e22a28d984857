//! The signals that end the program.
//!
//! Promises: the first TERM or INT asks for an orderly end, a second one ends at once; HUP ends nothing.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for TERM and INT.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl StopSignals {
    /// From here on TERM and INT no longer kill the process. To be called within a runtime.
    ///
    /// # Errors
    ///
    /// When the system refuses the handlers.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them and says which. A terminal or a log rotation that sends HUP ends nothing.
    pub async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "TERM",
                _ = self.interrupt.recv() => return "INT",
                _ = self.hangup.recv() => tracing::warn!("HUP changes nothing; restart to apply another configuration"),
            }
        }
    }
}
