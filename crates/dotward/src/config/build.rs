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
use super::layers::{Layers, Level, Parsed, Values};
use super::limits::{self, LimitSettings};
use super::local;
use super::place::Place;
use super::report::Warning;
use super::routes;
use super::upstreams;
use super::value::{ListenText, Value};
use super::{
    Config, ListenAddress, ListenTransport, LogFormat, LogSettings, ReadyRequires, ServerIdentity,
    Workers,
};
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
    let listeners = listeners(parts, faults);
    let listen_tls = listen_tls(parts, &listeners, faults, warnings);
    let admin = admin(parts.values, &listeners, faults);
    let local = local::build(&parts.file.locals, faults);
    let far = upstreams::build(parts, faults);
    routes::refuse_loops(&listeners, &far, faults);
    let forward_special = routes::forward_special(parts.values, faults);
    Some(Config {
        listeners: listeners
            .into_iter()
            .map(|(listener, _)| listener)
            .collect(),
        listen_tls,
        allow: limits::networks(parts.values, Id::ListenAllow),
        deny: deny(parts.values),
        limits: LimitSettings::of(parts.values)?,
        proxy_from: proxy_from(parts.values, warnings),
        control: control(parts.values),
        answers: answers::build(parts, faults)?,
        upstreams: far.upstreams,
        strategy: routes::strategy(parts.values, Id::Strategy).unwrap_or_default(),
        routes: far.routes,
        forward_special,
        local,
        cache: cache::settings(parts.values)?,
        snapshot: cache::snapshot(parts.values)?,
        shared_cache: cache::shared(parts, faults),
        bootstrap: far.bootstrap,
        log: log(parts.values),
        drain: duration(parts.values, Id::Drain)?,
        admin,
        ready_requires: ready_requires(parts.values),
        sandbox: sandbox(parts.values),
        workers: workers(parts.values)?,
    })
}

fn listeners(parts: &Parts<'_>, faults: &mut Vec<Fault>) -> Vec<(ListenAddress, Place)> {
    let values = parts.values;
    let mut listeners: Vec<(ListenAddress, Place)> = Vec::new();
    let list = parts.layers.strongest(Id::Listen);
    // The option and the variable speak for TLS listeners too.
    let from_file = list.is_none_or(|(level, _)| level <= Level::File);
    let tls = if from_file {
        values.all(Id::ListenTls)
    } else {
        &[]
    };
    let default = default_transports(values.word(Id::ListenProto));
    for parsed in values.all(Id::Listen).iter().chain(tls) {
        if let Value::Listen(ListenText { address, transport }) = parsed.value {
            let transports = transport.as_ref().map_or(default, std::slice::from_ref);
            for &transport in transports {
                let listener = ListenAddress { address, transport };
                // Port 0 is another port each time.
                let known = listeners.iter().any(|(known, _)| *known == listener);
                if !known || address.port() == 0 {
                    listeners.push((listener, parsed.place.clone()));
                }
            }
        }
    }
    let said = parts.layers.texts(Id::Listen).len() + parts.layers.texts(Id::ListenTls).len();
    if listeners.is_empty() && said == 0 {
        let place = list.map_or(Place::Default, |(_, place)| place.clone());
        faults.push(Fault::new(&place, Problem::NoListener));
    }
    listeners
}

fn default_transports(proto: Option<&str>) -> &'static [ListenTransport] {
    match proto {
        Some("udp") => &[ListenTransport::Udp],
        Some("tcp") => &[ListenTransport::Tcp],
        Some(_) | None => &[ListenTransport::Udp, ListenTransport::Tcp],
    }
}

fn listen_tls(
    parts: &Parts<'_>,
    listeners: &[(ListenAddress, Place)],
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
    let tls = listeners
        .iter()
        .find(|(it, _)| it.transport == ListenTransport::Tls);
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
            let listener = listener.address.to_string();
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

fn admin(
    values: &Values,
    listeners: &[(ListenAddress, Place)],
    faults: &mut Vec<Fault>,
) -> Option<SocketAddr> {
    let parsed = values.one(Id::Admin)?;
    let Value::Admin(Some(address)) = parsed.value else {
        return None;
    };
    let port = address.port();
    let is_dns = |(listener, _): &(ListenAddress, Place)| listener.address.port() == port;
    if port != 0 && listeners.iter().any(is_dns) {
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
