//! The upstreams that `query --via` and `upstream test`, `rank` and `pin` name: those of the configuration by their names, others by a SPEC.
//!
//! Promises: a name of the configuration means what it means there, also where a known provider is called the same.
//!
//! Deliberately absent: reading the configuration.

use std::ffi::OsString;

use crate::cli::Options;
use crate::config::value::{self, Spec, ValueFault};
use crate::config::{Config, Loaded, Protocol, Refused, UpstreamSettings};
use crate::settings::{Id, Kind};

/// Whether a SPEC may be unencrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clear {
    /// Who writes `udp://` means it.
    Allowed,
    /// What is looked at has a certificate.
    Refused,
}

/// Who was named on the command line.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// By which argument.
    pub written: &'static str,
    /// Names of the configuration, or SPECs.
    pub specs: &'a [String],
    /// Whether they may be unencrypted.
    pub clear: Clear,
}

/// Why there is nobody to ask.
#[derive(Debug)]
pub enum NotChosen {
    /// Neither a name of the configuration nor a SPEC; ready to be shown.
    Unknown(String),
    /// What was named is at fault together with other settings.
    Refused(Refused),
}

/// The configuration with the upstreams that were named, each asked about every name, and no others. `load`
/// loads options like `options`.
///
/// # Errors
///
/// [`NotChosen`].
pub fn choose(
    mut config: Config,
    options: &Options,
    named: Named<'_>,
    load: impl Fn(&Options) -> Result<Loaded, Refused>,
) -> Result<Config, NotChosen> {
    let Named {
        written,
        specs,
        clear,
    } = named;
    let mut chosen = Vec::new();
    for spec in specs {
        if let Some(known) = config.upstreams.iter().find(|it| it.name == *spec) {
            chosen.push(known.clone());
            continue;
        }
        let parsed = match clear {
            Clear::Allowed => value::parse_of_route(spec).map(Some),
            Clear::Refused => value::parse(Kind::Spec, spec).map(|_| None),
        };
        match parsed {
            Ok(Some(parsed)) if parsed.protocol != Protocol::Tls => {
                chosen.push(in_the_clear(spec, parsed));
                continue;
            }
            Ok(_) => {}
            Err(fault) => {
                let text = unknown(&config, written, spec, &fault);
                return Err(NotChosen::Unknown(text));
            }
        }
        let alone = options.with(Id::Upstream, written, vec![OsString::from(spec)]);
        let loaded = load(&alone).map_err(NotChosen::Refused)?;
        chosen.extend(loaded.config.upstreams_of(None).into_iter().cloned());
        if config.bootstrap.is_empty() {
            config.bootstrap = loaded.config.bootstrap;
        }
    }
    chosen.iter_mut().for_each(|it| it.tier = Some(1));
    config.upstreams = chosen;
    config.routes.clear();
    Ok(config)
}

/// What is not encrypted has nothing to be verified by, so the configuration has no part in it.
fn in_the_clear(written: &str, spec: Spec) -> UpstreamSettings {
    UpstreamSettings {
        protocol: spec.protocol,
        ..UpstreamSettings::new(written.to_owned(), spec.endpoints, spec.port)
    }
}

fn unknown(config: &Config, written: &str, spec: &str, fault: &ValueFault) -> String {
    let names: Vec<_> = config.upstreams.iter().map(|it| it.name.as_str()).collect();
    let (shown, remedy) = (spec.escape_debug(), fault.remedy());
    format!(
        "bad value \"{shown}\" for {written}: {fault}; {remedy}; the configuration has {}",
        names.join(", ")
    )
}
