//! What the service manager is told, where there is one that listens (sd_notify(3)).
//!
//! Promises: without one nothing happens; one that cannot be told keeps nobody from serving.
//!
//! Deliberately absent: sockets it hands over (`listen`).

use std::time::Duration;

use sd_notify::NotifyState;

/// Everything is bound; queries are taken.
pub(crate) fn tell_ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The configuration is being read again; [`tell_ready`] ends it (sd_notify(3): with the moment at which it began).
pub(crate) fn tell_reloading() {
    let status = NotifyState::Status("reading the configuration again");
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, status]),
        Err(error) => tracing::debug!(%error, "the service manager is not told of the reload"),
    }
}

/// The end has begun.
pub(crate) fn tell_stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("answering what is in flight"),
    ]);
}

/// All workers turn.
pub(crate) fn tell_alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`tell_alive`] has to be called at least; `None` when nobody waits for it.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Whether the service manager's socket is an abstract one, which has no file (sd_notify(3)).
pub(crate) fn is_told_without_a_file() -> bool {
    let socket = std::env::var_os("NOTIFY_SOCKET");
    socket.is_some_and(|socket| socket.as_encoded_bytes().starts_with(b"@"))
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
