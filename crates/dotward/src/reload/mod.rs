//! Reading the configuration again while the program serves.
//!
//! Promises:
//! - All of the new configuration is read and checked before anything changes; one with a fault changes nothing, and every fault is told.
//! - Applying it closes no listener and loses no query: the engine decides what survives ([`Engine::reconfigure`]), near sides change
//!   between two messages.
//! - What only a start can change stays as it is and is named ([`needs_restart`]); everything else is in force when the outcome is told.
//! - One reload at a time, in the order they are asked for. Files are read beside the worker: a file system that hangs holds up no answer.
//!
//! [`Engine::reconfigure`]: dotward_core::engine::Engine::reconfigure

mod apply;
mod change;
mod draft;
mod record;
mod task;
mod watch;

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use crate::config::{InForce, KeptFiles, Loaded, Refused};
use crate::limits::RELOAD_CALLS;

pub use change::needs_restart;
pub(crate) use draft::Basis;
pub(crate) use record::{ReloadCounts, Reloads};
pub(crate) use task::{Reloader, serve};
pub(crate) use watch::watch;

/// Where the configuration comes from when it is read again: the same places as at the start.
#[derive(Clone)]
pub struct ConfigSource {
    /// The file that what is in force was read from.
    pub file: Option<PathBuf>,
    /// What the next reading is to know of it.
    pub in_force: InForce,
    /// When reading it began.
    pub began: SystemTime,
    /// Where files are read from.
    pub files: Arc<KeptFiles>,
    /// Reads all of it from there.
    pub read: Arc<dyn Fn(InForce) -> Result<Loaded, Refused> + Send + Sync>,
}

impl ConfigSource {
    /// Tells when who the process has become cannot read the file.
    pub(crate) fn tell_unreadable(&self) {
        let Some(file) = &self.file else {
            return;
        };
        if let Err(error) = File::open(file) {
            tracing::warn!(
                file = %file.display(), %error,
                "the configuration file cannot be read again, so every reload will be refused; let the user the program has become read it \
                 (chgrp, chmod g+r), directories above it included"
            );
        }
    }

    /// Reads all of it again. A file that is not there any more, or holds nothing any more, is a fault.
    fn read_again(&self) -> Result<Loaded, Refused> {
        (self.read)(self.in_force)
    }
}

impl fmt::Debug for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigSource")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// Who asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// `dotward reload`.
    Command,
    /// The file has changed (`runtime.watch`).
    File,
}

impl Trigger {
    fn word(self) -> &'static str {
        match self {
            Self::Signal => "HUP",
            Self::Command => "control socket",
            Self::File => "changed file",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in force.
    Applied(Applied),
    /// Nothing has changed.
    Refused(Refusal),
}

/// A configuration that is in force now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Settings that are changed and need a restart.
    pub(crate) awaiting_restart: Vec<String>,
    /// What should be known besides.
    pub(crate) warnings: Vec<String>,
    /// Upstreams that were not asked before.
    pub(crate) added: Vec<String>,
    /// Upstreams that are not asked any more.
    pub(crate) removed: Vec<String>,
    /// Kept answers that were forgotten, because who gave them is not asked any more or they may not be told.
    pub(crate) forgotten: usize,
}

/// Why nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Whether the configuration is at fault, and not this process or machine.
    pub(crate) by_configuration: bool,
    /// Every fault, with place and remedy.
    pub(crate) faults: Vec<String>,
}

/// Asks for a reload. May be cloned and sent to other threads.
#[derive(Debug, Clone)]
pub struct Handle(mpsc::Sender<Call>);

/// Somebody asks.
#[derive(Debug)]
pub(crate) struct Call {
    trigger: Trigger,
    answer: Option<oneshot::Sender<Outcome>>,
}

/// Where those who ask are found.
#[derive(Debug)]
pub(crate) struct Calls(mpsc::Receiver<Call>);

/// A handle, and where its calls are found.
pub(crate) fn channel() -> (Handle, Calls) {
    let (sender, receiver) = mpsc::channel(RELOAD_CALLS);
    (Handle(sender), Calls(receiver))
}

impl Handle {
    /// Asks, without waiting for the outcome, which is logged. Where many have asked already one of those will read what is there now.
    pub fn request(&self, trigger: Trigger) {
        let call = Call {
            trigger,
            answer: None,
        };
        drop(self.0.try_send(call));
    }

    /// Asks and waits for the outcome; `None` when nobody is there to do it.
    pub(crate) async fn ask(&self, trigger: Trigger) -> Option<Outcome> {
        let (answer, answered) = oneshot::channel();
        let call = Call {
            trigger,
            answer: Some(answer),
        };
        self.0.send(call).await.ok()?;
        answered.await.ok()
    }
}
