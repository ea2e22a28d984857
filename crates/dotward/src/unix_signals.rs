//! The signals of Unix that the program obeys.
//!
//! Promises: the first TERM or INT asks for an orderly end, a second one ends at once; HUP asks to read the configuration again and ends
//! nothing; USR1 ends nothing either: who has something to tell waits for it with `StateAsked`.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for TERM, INT and HUP.
#[derive(Debug)]
pub struct UnixSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Held so that it kills nobody who has nothing to tell yet.
    _state: StateAsked,
}

/// What a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// To end; by which signal.
    End(&'static str),
    /// To read the configuration again, and to let go of a log file that was moved away.
    Reload,
}

/// Waits for USR1, which asks for the state of the program in its log.
#[derive(Debug)]
pub(crate) struct StateAsked(Signal);

impl StateAsked {
    /// From here on it does not kill the process. To be called within a runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::user_defined1())?))
    }

    /// Waits for the next one. Several that come at the same time are one.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

impl UnixSignals {
    /// From here on none of them kills the process. To be called within a runtime.
    ///
    /// # Errors
    ///
    /// When the system refuses the handlers.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _state: StateAsked::listen()?,
        })
    }

    /// Waits for one of them.
    pub async fn next(&mut self) -> Meaning {
        tokio::select! {
            _ = self.terminate.recv() => Meaning::End("TERM"),
            _ = self.interrupt.recv() => Meaning::End("INT"),
            _ = self.hangup.recv() => Meaning::Reload,
        }
    }

    /// Waits for one that asks to end, and says which; where there is no configuration to be read again.
    pub async fn next_end(&mut self) -> &'static str {
        loop {
            if let Meaning::End(signal) = self.next().await {
                return signal;
            }
        }
    }
}
