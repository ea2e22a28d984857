//! A new configuration on the way to being applied: read, checked, and with every file that it names open or read.
//!
//! Promises: made beside the worker; nothing of the process is changed by it; all faults are found in one go.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dotward_core::cache::Cache;
use dotward_core::front::FrontConfig;
use dotward_core::policy::Acl;
use dotward_core::upstream::Protocol;

use super::change::{effective, needs_restart};
use super::{ConfigSource, Refusal};
use crate::config::fault::Problem;
use crate::config::files::PERMISSION_DENIED;
use crate::config::{Config, InForce, ListenAddress, Refused, UpstreamSettings};
use crate::listen::handshakes::HandshakeRate;
use crate::logging;
use crate::plan;
use crate::run::{StartFault, checks};
use crate::sandbox::Inside;
use crate::settings::Setting;
use crate::tls::client::UpstreamTls;
use crate::tls::server::ListenerTls;
use crate::trust::Stamped;
use crate::upstream::bootstrap::Helpers;

/// What a new configuration is measured against.
#[derive(Clone)]
pub(crate) struct Basis {
    pub(crate) source: ConfigSource,
    /// As it was read at the start.
    pub(crate) started: Arc<Config>,
    /// What is in force.
    pub(crate) running: Arc<Config>,
    /// Where the program listens, with the ports it has.
    pub(crate) listeners: Arc<[ListenAddress]>,
    /// The sockets are the service manager's, whatever the configuration says.
    pub(crate) activated: bool,
    /// What the process can still reach; `None` for everything.
    pub(crate) inside: Option<Arc<Inside>>,
    pub(crate) secrets: plan::Secrets,
    pub(crate) cache: Arc<Cache>,
}

/// A configuration that can be applied.
pub(super) struct Draft {
    /// With what needs a restart left as it is.
    pub(super) config: Config,
    /// The file it is from.
    pub(super) file: Option<PathBuf>,
    pub(super) in_force: InForce,
    pub(super) awaiting_restart: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) listen_tls: Option<ListenerTls>,
    /// Who is asked for the addresses of upstreams.
    pub(super) helpers: Helpers,
    /// As they were before they were read.
    pub(super) files: Stamped,
    /// By upstream.
    pub(super) upstreams: Vec<TlsDraft>,
    /// Its groups are places of the configuration.
    pub(super) front: FrontConfig,
    pub(super) balancers: Acl,
    pub(super) handshakes: HandshakeRate,
    pub(super) log: Option<logging::Change>,
}

/// How TLS is spoken with an upstream.
pub(super) enum TlsDraft {
    /// Not at all.
    Clear,
    /// As before, if it is the same upstream.
    Same,
    /// Like this.
    Other(Box<UpstreamTls>),
}

impl Draft {
    /// Reads and checks a new configuration.
    ///
    /// # Errors
    ///
    /// Every fault.
    pub(super) fn prepare(basis: &Basis) -> Result<Self, Refusal> {
        let loaded = basis
            .source
            .read_again()
            .map_err(|refused| basis.refusal(&refused))?;
        let awaiting = basis.awaiting_restart(&loaded.config);
        let (file, in_force) = (loaded.file, loaded.in_force);
        let config = effective(&basis.running, loaded.config);
        let mut faults: Vec<StartFault> = Vec::new();
        let files = Stamped::now(&config);
        let from = &*basis.source.files;
        let helpers = Helpers::new(&config.bootstrap, from, &mut faults);
        checks::loops(&config, &basis.listeners, &mut faults);
        checks::bindings(&config, basis.has_sources(), &mut faults);
        let listen_tls = config.listen_tls.as_ref().and_then(|identity| {
            let tls = ListenerTls::read(identity, from);
            tls.map_err(|error| faults.push(StartFault::ListenTls(error)))
                .ok()
        });
        let upstreams = config.upstreams.iter();
        let upstreams: Vec<TlsDraft> = upstreams
            .filter_map(|settings| basis.tls(settings, &mut faults))
            .collect();
        let warnings = loaded.warnings.iter().map(ToString::to_string);
        let warnings = warnings.chain(from.take_told()).collect();
        let mut faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        faults.extend(basis.out_of_reach(&config));
        let log = logging::Change::prepare(&config.log);
        let log = log.map_err(|error| faults.push(error.to_string()));
        match (log, faults.is_empty()) {
            (Ok(log), true) => Ok(Self {
                front: plan::front(&config, &basis.secrets, Arc::clone(&basis.cache)),
                balancers: Acl::new(&config.proxy_from),
                handshakes: plan::handshakes(&config, &basis.secrets),
                helpers,
                files,
                config,
                file,
                in_force,
                awaiting_restart: awaiting,
                warnings,
                listen_tls,
                upstreams,
                log: Some(log),
            }),
            (Ok(_) | Err(()), _) => Err(Refusal {
                by_configuration: false,
                faults,
            }),
        }
    }
}

impl Basis {
    fn awaiting_restart(&self, new: &Config) -> Vec<String> {
        let mut new = new.clone();
        if self.activated {
            new.listeners.clone_from(&self.started.listeners);
        }
        let changed = needs_restart(&self.started, &new).into_iter();
        changed.map(|id| Setting::of(id).title()).collect()
    }

    /// The faults of a configuration, each with what the sandbox has to do with it.
    fn refusal(&self, refused: &Refused) -> Refusal {
        let mut by_configuration = false;
        let mut tell = |fault: &crate::config::Fault| {
            if let Problem::Unreadable { path, error, .. } = &fault.problem
                && error == PERMISSION_DENIED
                && self.hides(path)
            {
                return format!("{fault}; {}", outside(path));
            }
            by_configuration = true;
            fault.to_string()
        };
        let faults = refused.faults.iter().map(&mut tell).collect();
        Refusal {
            by_configuration,
            faults,
        }
    }

    /// Whether the process can still connect from addresses of its choice.
    fn has_sources(&self) -> bool {
        self.inside.as_ref().is_none_or(|it| it.has_sources())
    }

    /// Whether it is the sandbox that a file cannot be read in.
    fn hides(&self, path: &Path) -> bool {
        let hides = |it: &Arc<Inside>| it.is_alone(path) || !it.reads(path);
        self.inside.as_ref().is_some_and(hides)
    }

    /// What the configuration needs and the process gave up at its start.
    fn out_of_reach(&self, config: &Config) -> Vec<String> {
        let Some(inside) = &self.inside else {
            return Vec::new();
        };
        let lacks = inside.lacks(config);
        let fault = |what: String| {
            format!(
                "{what} is outside the sandbox that the program entered at its start\n  fix:     restart dotward, or start it with --no-sandbox"
            )
        };
        lacks.into_iter().map(fault).collect()
    }

    /// `None` after a fault.
    fn tls(&self, settings: &UpstreamSettings, faults: &mut Vec<StartFault>) -> Option<TlsDraft> {
        if settings.protocol != Protocol::Tls {
            return Some(TlsDraft::Clear);
        }
        // What is in files is read again, for it may be other than it was.
        let in_files = settings.ca_file.is_some() || settings.client_identity.is_some();
        let known = self.running.upstreams.iter();
        let mut known = known.filter(|it| it.name == settings.name);
        if !in_files && known.any(|it| is_same_trust(it, settings)) {
            return Some(TlsDraft::Same);
        }
        let tls = UpstreamTls::read(settings, &*self.source.files).map_err(|error| {
            faults.push(StartFault::UpstreamTls {
                upstream: settings.name.clone(),
                error,
            });
        });
        tls.ok().map(|tls| TlsDraft::Other(Box::new(tls)))
    }
}

fn is_same_trust(one: &UpstreamSettings, other: &UpstreamSettings) -> bool {
    let trust = |it: &UpstreamSettings| {
        (
            it.protocol,
            it.tls_name.clone(),
            it.pins.clone(),
            it.pin_mode,
            it.ca_file.clone(),
            it.client_identity.clone(),
        )
    };
    trust(one) == trust(other)
}

fn outside(path: &Path) -> String {
    format!(
        "the sandbox that the program entered at its start does not reach {}: restart dotward, or start it with --no-sandbox",
        path.display()
    )
}
