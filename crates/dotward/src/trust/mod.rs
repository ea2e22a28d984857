//! Trust over time: certificates and keys that are renewed on disk, certificates that expire under a living connection, pins that are
//! being tried out.
//!
//! Promises:
//! - Changed files are read again. If they say something else than before, usable ones hold for every handshake from then on; unusable ones are told once, and
//!   what was read before stays in force.
//! - A connection whose certificate would not be believed any more is replaced, its successor first ([`Engine::renew`]).
//! - The end of every certificate in use is known, and told once a day when it is near.
//!
//! Deliberately absent: judging certificates (`tls::verify`), revocation.
//!
//! [`Engine::renew`]: dotward_core::engine::Engine::renew

use std::rc::Rc;
use std::time::Duration;

use dotward_core::time::Moment;
use dotward_core::upstream::{ConnectionId, UpstreamId};
use rustls::pki_types::UnixTime;
use tokio::task::AbortHandle;

use crate::config::Config;
use crate::limits::{CERTIFICATES_LOOK, TRUST_FILES_LOOK};
use crate::tls::client::UpstreamTls;
use crate::tls::server::ListenerTls;
use crate::upstream::bootstrap::Helpers;
use crate::worker::{State, Worker};

pub(crate) mod expiry;
mod files;
mod status;

use files::{Change, Watched};
pub(crate) use status::TrustStatus;

/// How often trust is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustPace {
    /// Pause between looks at the files.
    pub files: Duration,
    /// Pause between looks at the certificates of living connections.
    pub certificates: Duration,
}

impl Default for TrustPace {
    fn default() -> Self {
        Self {
            files: TRUST_FILES_LOOK,
            certificates: CERTIFICATES_LOOK,
        }
    }
}

/// Starts what looks at certificates.
pub(crate) fn start(worker: &Rc<Worker>, pace: TrustPace) {
    tokio::task::spawn_local(watch_certificates(Rc::clone(worker), pace.certificates));
}

/// The files of a configuration as they are at a moment, which has to be before they are read.
#[derive(Debug)]
pub(crate) struct Stamped(Vec<Watched>);

impl Stamped {
    pub(crate) fn now(config: &Config) -> Self {
        Self(files::watched(config))
    }
}

/// What looks at files. Dropping it ends that.
#[derive(Debug, Default)]
pub(crate) struct FileWatch(Option<AbortHandle>);

impl Drop for FileWatch {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl FileWatch {
    /// Starts to look at files, if there are any. The upstreams of their configuration are called `ids`.
    pub(crate) fn start(
        worker: &Rc<Worker>,
        helpers: &Rc<Helpers>,
        Stamped(mut watched): Stamped,
        ids: &[UpstreamId],
        pace: TrustPace,
    ) -> Self {
        if watched.is_empty() {
            return Self::default();
        }
        for files in &mut watched {
            files.rename(ids);
            files.leave_out_of_reach();
        }
        let (worker, helpers) = (Rc::clone(worker), Rc::clone(helpers));
        let watch = watch_files(worker, helpers, watched, pace.files);
        Self(Some(tokio::task::spawn_local(watch).abort_handle()))
    }
}

/// Looks at the files for ever. A look runs beside the worker: a file system that hangs must not hold up answers.
async fn watch_files(
    worker: Rc<Worker>,
    helpers: Rc<Helpers>,
    mut watched: Vec<Watched>,
    pause: Duration,
) {
    let mut settling = false;
    loop {
        tokio::time::sleep(if settling { pause / 10 } else { pause }).await;
        let look = move || {
            let changes: Vec<Change> = watched.iter_mut().filter_map(Watched::look).collect();
            (watched, changes)
        };
        let Ok((back, changes)) = tokio::task::spawn_blocking(look).await else {
            tracing::error!("certificate files are not looked at any more");
            return;
        };
        watched = back;
        settling = watched.iter().any(Watched::is_settling);
        for change in changes {
            worker.turn(|state, _, now| apply(state, &helpers, change, now));
        }
    }
}

async fn watch_certificates(worker: Rc<Worker>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        worker.turn(|state, _, now| look_at_certificates(state, now));
    }
}

fn apply(state: &mut State, helpers: &Helpers, change: Change, now: Moment) {
    match change {
        Change::Refused { whose, error } => tracing::warn!(
            whose,
            error,
            "changed certificate files cannot be used and what was read before stays in force; put usable files in their place"
        ),
        Change::Upstream { upstream, tls } => replace_upstream(state, upstream, *tls, now),
        Change::Helper { place, tls } => helpers.replace(place, *tls),
        Change::Listener(tls) => replace_listener(state, tls, now),
    }
}

/// Makes `tls` what clients are shown, if it is something else than before, and lets go of those it would not let in.
pub(crate) fn replace_listener(state: &mut State, tls: ListenerTls, now: Moment) {
    match state.near.listen_tls.is_like(&tls) {
        Some(true) => {
            tracing::debug!("nothing has changed in the certificate files of the TLS listeners");
            return;
        }
        Some(false) => tracing::info!(
            "other certificates for the TLS listeners read; they hold for new clients"
        ),
        None => {}
    }
    state.trust.set_listener(tls.certificate(), now);
    let same_trust = state.near.listen_tls.replace(tls);
    state.let_go_of_clients(same_trust);
}

/// Makes `tls` what an upstream is trusted by and shown, if it is something else than before, and replaces connections it forbids.
pub(crate) fn replace_upstream(
    state: &mut State,
    upstream: UpstreamId,
    tls: UpstreamTls,
    now: Moment,
) {
    let place = state.upstreams.get_mut(upstream.0);
    let Some(place) = place.and_then(Option::as_mut) else {
        return;
    };
    if place.is_like(&tls) {
        let upstream = state.trust.name(upstream);
        tracing::debug!(upstream, "nothing has changed in the certificate files");
        return;
    }
    let other_identity = place.identity() != tls.identity();
    state
        .trust
        .set_identity(upstream, tls.identity().first(), now);
    *place = Rc::new(tls);
    let renewed = if other_identity {
        // What it was told about us holds no longer.
        let all = connections(state).into_iter();
        let renewed = all.filter(|(_, of)| *of == upstream).count();
        state.engine.renew_all(upstream, now);
        renewed
    } else {
        let distrusted = distrusted(state, Some(upstream), UnixTime::now());
        for connection in &distrusted {
            state.engine.renew(*connection, now);
        }
        distrusted.len()
    };
    let name = state.trust.name(upstream);
    tracing::info!(
        upstream = name,
        renewed,
        "other certificates or pins; they hold for new connections"
    );
}

/// Replaces connections whose certificate would not be believed now, and tells what ends soon.
fn look_at_certificates(state: &mut State, now: Moment) {
    for connection in distrusted(state, None, UnixTime::now()) {
        state.engine.renew(connection, now);
    }
    state.let_go_of_clients(true);
    state.trust.tell_ends(now);
}

fn connections(state: &State) -> Vec<(ConnectionId, UpstreamId)> {
    let open = state.connections.iter();
    open.filter_map(|(id, connection)| Some((id, connection.tls()?.0)))
        .collect()
}

/// The connections, of one upstream or all, whose certificate is not to be believed at `date`.
fn distrusted(state: &State, only: Option<UpstreamId>, date: UnixTime) -> Vec<ConnectionId> {
    let mut found = Vec::new();
    for (id, connection) in &state.connections {
        let Some((upstream, address, connection)) = connection.tls() else {
            continue;
        };
        let tls = state.upstreams.get(upstream.0);
        let Some(tls) = tls.and_then(Option::as_ref) else {
            continue;
        };
        if only.is_some_and(|only| only != upstream) {
            continue;
        }
        if let Err(error) = tls.examine(connection, address, date) {
            tracing::info!(
                upstream = state.trust.name(upstream), %address, %error,
                "the certificate of a connection holds no longer; the connection is replaced"
            );
            found.push(id);
        }
    }
    found
}
