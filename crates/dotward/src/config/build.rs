//! What the values mean together: from parsed values to [`Config`].
//!
//! Every part is built even when another is at fault, so that all faults are found; a part whose
//! own values did not parse is not blamed a second time for missing them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dotward_core::front::Deny;
use tracing::level_filters::LevelFilter;

use super::answers;
use super::cache;
use super::fault::{Fault, Problem};
use super::file::FileSettings;
use super::files::{self, NamedFile, ReadFiles};
use super::layers::{Layers, Parsed, Values};
use super::limits::{self, LimitSettings};
use super::listeners::{self, Listeners};
use super::local;
use super::place::Place;
use super::private;
use super::report::Warning;
use super::routes;
use super::upstreams;
use super::value::Value;
use super::{
    BindRules, Config, LogFormat, LogSettings, ReadyRequires, RunAs, ServerIdentity, Workers,
};
use crate::limits::SOCKET_PATH_MAX;
use crate::settings::{Id, Setting};

/// What there is to build from.
pub(crate) struct Parts<'a> {
    pub(crate) layers: &'a Layers,
    pub(crate) values: &'a Values,
    pub(crate) file: &'a FileSettings,
    pub(crate) files: &'a dyn ReadFiles,
}

/// Builds the configuration; `None` only after a fault.
pub(crate) fn build(
    parts: &Parts<'_>,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<Warning>,
) -> Option<Config> {
    let listeners = listeners::build(parts, faults);
    let listen_tls = listen_tls(parts, &listeners, faults, warnings);
    let admin = admin(parts.values, &listeners, faults);
    let local = local::build(&parts.file.locals, faults);
    let far = upstreams::build(parts, faults);
    routes::refuse_loops(&listeners.addresses, &far, faults);
    let forward_special = routes::forward_special(parts.values, faults);
    let run_as = run_as(parts.values, faults);
    let control = control_that_fits(parts.values, faults);
    let answers = answers::build(parts, faults);
    let cache = cache::settings(parts.values, faults);
    let shared_cache = cache::shared(parts, faults);
    Some(Config {
        listeners: without_places(listeners.addresses),
        interfaces: without_places(listeners.interfaces),
        rules: BindRules {
            takeover: parts.layers.strongest(Id::Takeover).is_some(),
            freebind: values_yes(parts.values, Id::ListenFreebind),
            owner: None,
        },
        run_as,
        listen_tls,
        allow: limits::networks(parts.values, Id::ListenAllow),
        deny: deny(parts.values),
        limits: LimitSettings::of(parts.values)?,
        proxy_from: proxy_from(parts.values, warnings),
        control,
        answers: answers?,
        upstreams: far.upstreams,
        strategy: routes::strategy(parts.values, Id::Strategy).unwrap_or_default(),
        routes: far.routes,
        forward_special,
        private_domains: private::domains(parts.values, warnings),
        refuse_snooping: values_yes(parts.values, Id::RefuseSnooping),
        local,
        cache: cache?,
        snapshot: cache::snapshot(parts.values)?,
        shared_cache,
        bootstrap: far.bootstrap,
        log: log(parts.values),
        drain: duration(parts.values, Id::Drain)?,
        admin,
        ready_requires: ready_requires(parts.values),
        sandbox: sandbox(parts.values),
        watch: values_yes(parts.values, Id::Watch),
        workers: workers(parts.values)?,
    })
}

fn without_places<T>(placed: Vec<(T, Place)>) -> Vec<T> {
    placed.into_iter().map(|(it, _)| it).collect()
}

fn listen_tls(
    parts: &Parts<'_>,
    listeners: &Listeners,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<Warning>,
) -> Option<ServerIdentity> {
    let before = faults.len();
    let pair = pair(parts.values, [Id::ListenCertificate, Id::ListenKey], faults);
    let client_ca = named_file(parts.values, Id::ListenClientCa);
    let fault = client_ca
        .as_ref()
        .and_then(|it| files::check_roots(it, parts.files).err());
    faults.extend(fault);
    let tls = listeners.first_tls();
    match (pair, tls) {
        (Some((certificate, key)), tls) => {
            faults.extend(files::check_identity(&certificate, &key, parts.files));
            if tls.is_none() {
                warnings.push(Warning::CertificateUnused {
                    place: certificate.place,
                });
            }
            Some(ServerIdentity {
                certificate_file: certificate.path,
                key_file: key.path,
                client_ca_file: client_ca.map(|it| it.path),
            })
        }
        (None, Some((listener, place))) if faults.len() == before => {
            faults.push(Fault::new(place, Problem::NoListenCertificate { listener }));
            None
        }
        (None, None) if faults.len() == before => {
            client_ca.and_then(|it| alone(&it, Id::ListenCertificate, faults))
        }
        (None, _) => None,
    }
}

/// A certificate and its key: both, neither, or a fault.
pub(crate) fn pair(
    values: &Values,
    ids: [Id; 2],
    faults: &mut Vec<Fault>,
) -> Option<(NamedFile, NamedFile)> {
    match ids.map(|id| named_file(values, id)) {
        [Some(certificate), Some(key)] => Some((certificate, key)),
        [None, None] => None,
        [Some(one), None] => alone(&one, ids[1], faults),
        [None, Some(one)] => alone(&one, ids[0], faults),
    }
}

fn alone<T>(one: &NamedFile, missing: Id, faults: &mut Vec<Fault>) -> Option<T> {
    let (given, missing) = (one.key.clone(), Setting::of(missing).title());
    faults.push(Fault::new(&one.place, Problem::Alone { given, missing }));
    None
}

/// The file a setting names.
pub(crate) fn named_file(values: &Values, id: Id) -> Option<NamedFile> {
    let parsed = values.one(id)?;
    let path = path_of(parsed)?;
    Some(NamedFile {
        path,
        key: Setting::of(id).title(),
        place: parsed.place.clone(),
    })
}

/// The path a setting names.
pub(super) fn path_of_setting(values: &Values, id: Id) -> Option<PathBuf> {
    path_of(values.one(id)?)
}

fn path_of(parsed: &Parsed) -> Option<PathBuf> {
    if let Value::Path(path) = &parsed.value {
        Some(beside_file(path, &parsed.place))
    } else {
        None
    }
}

/// A path written in the file is relative to the directory the file is in.
pub(crate) fn beside_file(path: &Path, place: &Place) -> PathBuf {
    if let Place::File(spot) = place {
        let directory = Path::new(&spot.source.name)
            .parent()
            .unwrap_or_else(|| Path::new(""));
        directory.join(path)
    } else {
        path.to_owned()
    }
}

pub(super) fn values_yes(values: &Values, id: Id) -> bool {
    values
        .one(id)
        .is_some_and(|it| it.value == Value::YesNo(true))
}

/// Who the program becomes. A group without a user would leave the program root.
fn run_as(values: &Values, faults: &mut Vec<Fault>) -> Option<RunAs> {
    let [user, group] = [Id::User, Id::RunGroup].map(|id| values.one(id));
    let text = |parsed: &Parsed| {
        if let Value::Text(text) = &parsed.value {
            Some(text.clone())
        } else {
            None
        }
    };
    match (user, group) {
        (Some(user), group) => Some(RunAs {
            user: text(user)?,
            group: group.and_then(text),
        }),
        (None, Some(group)) => {
            let [given, missing] = [Id::RunGroup, Id::User].map(|id| Setting::of(id).title());
            faults.push(Fault::new(&group.place, Problem::Alone { given, missing }));
            None
        }
        (None, None) => None,
    }
}

fn admin(values: &Values, listeners: &Listeners, faults: &mut Vec<Fault>) -> Option<SocketAddr> {
    let parsed = values.one(Id::Admin)?;
    let Value::Admin(Some(address)) = parsed.value else {
        return None;
    };
    let port = address.port();
    if port != 0 && listeners.ports().any(|it| it == port) {
        faults.push(Fault::new(&parsed.place, Problem::AdminOnDnsPort { port }));
    }
    Some(address)
}

fn ready_requires(values: &Values) -> ReadyRequires {
    match values.word(Id::ReadyRequires) {
        Some("upstream") => ReadyRequires::Upstream,
        Some(_) | None => ReadyRequires::Start,
    }
}

fn deny(values: &Values) -> Deny {
    match values.word(Id::ListenDeny) {
        Some("silent") => Deny::Silence,
        Some(_) | None => Deny::Refuse,
    }
}

/// Load balancers. To believe everybody is a mistake more often than not, and is told.
fn proxy_from(values: &Values, warnings: &mut Vec<Warning>) -> Vec<ipnet::IpNet> {
    let of_everybody = |parsed: &&Parsed| matches!(&parsed.value, Value::Networks(networks) if networks.iter().any(|it| it.prefix_len() == 0));
    if let Some(parsed) = values.all(Id::ListenProxyFrom).iter().find(of_everybody) {
        let place = parsed.place.clone();
        warnings.push(Warning::ProxyFromEverybody { place });
    }
    limits::networks(values, Id::ListenProxyFrom)
}

fn control_that_fits(values: &Values, faults: &mut Vec<Fault>) -> Option<PathBuf> {
    let path = control(values)?;
    let octets = path.as_os_str().len();
    if octets > SOCKET_PATH_MAX {
        let place = values.one(Id::ListenControl).map(|it| &it.place);
        let key = Setting::of(Id::ListenControl).title();
        let problem = Problem::SocketPath { key, octets };
        faults.push(Fault::new(place.unwrap_or(&Place::Default), problem));
    }
    Some(path)
}

/// The control socket; `None` when it is off, or nobody said anything.
pub(crate) fn control(values: &Values) -> Option<PathBuf> {
    let parsed = values.one(Id::ListenControl)?;
    let off = parsed.value == Value::Path(PathBuf::from("off"));
    if off { None } else { path_of(parsed) }
}

fn log(values: &Values) -> LogSettings {
    let level = match values.word(Id::LogLevel) {
        Some("off") => LevelFilter::OFF,
        Some("error") => LevelFilter::ERROR,
        Some("warn") => LevelFilter::WARN,
        Some("debug") => LevelFilter::DEBUG,
        Some("trace") => LevelFilter::TRACE,
        Some(_) | None => LevelFilter::INFO,
    };
    let json = values.word(Id::LogFormat) == Some("json");
    let format = if json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    let file = values
        .one(Id::LogFile)
        .filter(|parsed| !is_stderr(parsed))
        .and_then(path_of);
    LogSettings {
        level,
        format,
        file,
    }
}

fn is_stderr(parsed: &Parsed) -> bool {
    parsed.value == Value::Path(PathBuf::from("stderr"))
}

fn sandbox(values: &Values) -> bool {
    let said = values.one(Id::Sandbox).map(|parsed| &parsed.value);
    said != Some(&Value::YesNo(false))
}

pub(super) fn duration(values: &Values, id: Id) -> Option<Duration> {
    if let Value::Duration(duration) = values.one(id)?.value {
        Some(duration)
    } else {
        None
    }
}

fn workers(values: &Values) -> Option<Workers> {
    if let Value::Workers(workers) = values.one(Id::Workers)?.value {
        Some(workers)
    } else {
        None
    }
}
