//! The signals that end the program.
//!
//! Promises: the first TERM or INT asks for an orderly end, a second one ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for TERM and INT.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
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
        })
    }

    /// Waits for one of them and says which.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "TERM",
            _ = self.interrupt.recv() => "INT",
        }
    }
}
