//! Files of certificates and keys: whose they are, and what becomes of them when they changed.
//!
//! Promises: files are read when they have come to rest, so that a certificate is not read without its key; a set of files is read once for
//! each change.
//!
//! Deliberately absent: how a change is seen (see [`stamps`](crate::stamps)).

use std::path::PathBuf;

use dotward_core::upstream::UpstreamId;

use crate::config::{Config, ServerIdentity, UpstreamSettings};
use crate::stamps::Stamps;
use crate::tls::TlsSetupError;
use crate::tls::client::UpstreamTls;
use crate::tls::server::ListenerTls;

/// What became of changed files.
#[derive(Debug)]
pub(super) enum Change {
    /// An upstream's are good.
    Upstream {
        /// Which.
        upstream: UpstreamId,
        /// What they say.
        tls: Box<UpstreamTls>,
    },
    /// Those of who is asked for the addresses of upstreams are good.
    Helper {
        /// Which.
        place: usize,
        /// What they say.
        tls: Box<UpstreamTls>,
    },
    /// Those of the TLS listeners are good.
    Listener(ListenerTls),
    /// They cannot be used.
    Refused {
        /// Whose they are, for people.
        whose: String,
        /// Why.
        error: String,
    },
}

#[derive(Debug)]
enum Owner {
    Upstream(UpstreamId, Box<UpstreamSettings>),
    Helper(usize, Box<UpstreamSettings>),
    Listener(ServerIdentity),
}

/// The files of one owner.
#[derive(Debug)]
pub(super) struct Watched {
    owner: Owner,
    files: Stamps,
}

/// All files of a configuration, stamped before they are read. Upstreams are called by their places.
pub(super) fn watched(config: &Config) -> Vec<Watched> {
    let upstreams = config.upstreams.iter().enumerate();
    let upstreams = upstreams.map(|(place, settings)| {
        let owner = Owner::Upstream(UpstreamId(place), Box::new(settings.clone()));
        Watched::new(owner, files_of(settings))
    });
    let helpers = config.bootstrap.iter().enumerate();
    let helpers = helpers.map(|(place, settings)| {
        let owner = Owner::Helper(place, Box::new(settings.clone()));
        Watched::new(owner, files_of(settings))
    });
    let listener = config.listen_tls.iter().map(|identity| {
        let own = [&identity.certificate_file, &identity.key_file];
        let files = own.into_iter().chain(&identity.client_ca_file);
        let files = files.cloned().collect();
        Watched::new(Owner::Listener(identity.clone()), files)
    });
    upstreams
        .chain(helpers)
        .chain(listener)
        .filter(|watched| !watched.files.is_of_nothing())
        .collect()
}

/// What an upstream is verified by, and what it is shown.
fn files_of(settings: &UpstreamSettings) -> Vec<PathBuf> {
    let identity = settings.client_identity.iter();
    let identity = identity.flat_map(|it| [it.certificate_file.clone(), it.key_file.clone()]);
    identity.chain(roots_file(settings)).collect()
}

/// The file of roots, if anybody looks into it: with pins alone nobody does.
fn roots_file(settings: &UpstreamSettings) -> Option<PathBuf> {
    settings.tls_name.as_ref()?;
    settings.ca_file.clone()
}

impl Watched {
    fn new(owner: Owner, files: Vec<PathBuf>) -> Self {
        let files = Stamps::now(files);
        Self { owner, files }
    }

    /// Upstreams are called `ids` from now on, by their places.
    pub(super) fn rename(&mut self, ids: &[UpstreamId]) {
        if let Owner::Upstream(upstream, _) = &mut self.owner
            && let Some(id) = ids.get(upstream.0)
        {
            *upstream = *id;
        }
    }

    /// Files that were read with other rights, and cannot be looked at now, are not taken for changed.
    pub(super) fn leave_out_of_reach(&mut self) {
        self.files.leave_out_of_reach();
    }

    /// Whether a change was seen and is to be looked at again soon.
    pub(super) fn is_settling(&self) -> bool {
        self.files.is_settling()
    }

    /// Looks at the files, and reads them when they changed and have come to rest.
    pub(super) fn look(&mut self) -> Option<Change> {
        self.files.look().then(|| self.load())
    }

    fn load(&self) -> Change {
        let loaded = match &self.owner {
            Owner::Upstream(upstream, settings) => {
                UpstreamTls::new(settings).map(|tls| Change::Upstream {
                    upstream: *upstream,
                    tls: Box::new(tls),
                })
            }
            Owner::Helper(place, settings) => {
                UpstreamTls::new(settings).map(|tls| Change::Helper {
                    place: *place,
                    tls: Box::new(tls),
                })
            }
            Owner::Listener(files) => ListenerTls::from_files(files).map(Change::Listener),
        };
        loaded.unwrap_or_else(|error| self.refused(&error))
    }

    fn refused(&self, error: &TlsSetupError) -> Change {
        let whose = match &self.owner {
            Owner::Upstream(_, settings) => format!("upstream {}", settings.name),
            Owner::Helper(_, settings) => format!("bootstrap {}", settings.name),
            Owner::Listener(_) => "TLS listeners".to_owned(),
        };
        let error = error.to_string();
        Change::Refused { whose, error }
    }
}

#[cfg(test)]
mod tests;
