//! The upstreams, whether general or of routes, and who is asked for their addresses.
//!
//! Where nothing is said about bootstrap and an upstream is given by name only, the upstreams that
//! have an address are asked, because the operator trusts them already; not those that serve routes
//! only, who know their own names. Where there are none, the default provider, verified by the bundled roots. Never this program itself, and never the
//! resolver of the host, which may well be this program.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use rustls::pki_types::ServerName;

use super::build::{Parts, beside_file, named_file, pair};
use super::fault::{Fault, Problem};
use super::file::{Entry, Item};
use super::files::{self, NamedFile, ReadFiles};
use super::layers::{Level, Parsed, Values, parse_all};
use super::place::Place;
use super::routes::{self, Targets};
use super::value::{Spec, Value, known_preset};
use super::{ClientIdentity, DOT_PORT, PinMode, Protocol, RouteSettings, UpstreamSettings};
use crate::presets::{PRESETS, Preset};
use crate::settings::{Id, Setting};

mod fields;

use fields::{Fields, pin_mode};

/// An upstream and how it was written.
pub(crate) struct Written {
    /// Until all routes are known, `tier` is what was written.
    pub(crate) settings: UpstreamSettings,
    pub(crate) place: Place,
    /// Whether its name was chosen by the operator.
    named: bool,
    /// Whether it has a table of its own, where it could have been given a tier.
    pub(crate) has_table: bool,
}

/// Everything about whom to ask.
#[derive(Default)]
pub(crate) struct FarSide {
    pub(crate) upstreams: Vec<UpstreamSettings>,
    /// Where each was written.
    pub(crate) places: Vec<Place>,
    pub(crate) routes: Vec<RouteSettings>,
    pub(crate) bootstrap: Vec<UpstreamSettings>,
}

/// Upstreams, routes and bootstrap.
pub(crate) fn build(parts: &Parts<'_>, faults: &mut Vec<Fault>) -> FarSide {
    let mut work = Work {
        files: parts.files,
        pin_mode: pin_mode(parts.values, Id::PinMode).unwrap_or_default(),
        faults,
    };
    let common = work.common(parts.values);
    let (place, mut targets) = work.chosen(parts);
    let routes = routes::build(parts, &mut targets, &mut work);
    let explicit = work.bootstrap(parts.values.all(Id::Bootstrap));
    let explicit = work.unique(explicit);
    let mut written = targets.finish(&place, work.faults);
    number_names(&mut written);
    let (mut upstreams, places): (Vec<_>, Vec<_>) = written
        .into_iter()
        .map(|it| (it.settings, it.place))
        .unzip();
    let of_bootstrap = |written: Written| UpstreamSettings {
        tier: Some(1),
        ..written.settings
    };
    let mut bootstrap: Vec<_> = explicit.into_iter().map(of_bootstrap).collect();
    upstreams
        .iter_mut()
        .chain(&mut bootstrap)
        .for_each(|upstream| common.fill(upstream));
    if bootstrap.is_empty() && upstreams.iter().any(|it| it.endpoints.is_empty()) {
        routes::refuse_bootstrap_of_routed(&upstreams, &places, &routes, work.faults);
        bootstrap = implied_bootstrap(&upstreams);
    }
    FarSide {
        upstreams,
        places,
        routes,
        bootstrap,
    }
}

fn implied_bootstrap(upstreams: &[UpstreamSettings]) -> Vec<UpstreamSettings> {
    let reachable: Vec<_> = upstreams
        .iter()
        .filter(|it| !it.endpoints.is_empty() && it.tier.is_some())
        .cloned()
        .collect();
    if reachable.is_empty() {
        vec![of_preset(&PRESETS[0], DOT_PORT)]
    } else {
        reachable
    }
}

/// What holds for every upstream that does not say otherwise.
struct Common {
    ca_file: Option<NamedFile>,
    identity: Option<ClientIdentity>,
}

impl Common {
    fn fill(&self, upstream: &mut UpstreamSettings) {
        if upstream.protocol != Protocol::Tls {
            return;
        }
        if upstream.ca_file.is_none() {
            upstream.ca_file = self.ca_file.as_ref().map(|file| file.path.clone());
        }
        if upstream.client_identity.is_none() {
            upstream.client_identity.clone_from(&self.identity);
        }
    }
}

pub(crate) struct Work<'a> {
    files: &'a dyn ReadFiles,
    /// What holds for pins of upstreams that do not say otherwise.
    pin_mode: PinMode,
    pub(crate) faults: &'a mut Vec<Fault>,
}

impl Work<'_> {
    /// The upstreams of the strongest level that speaks of any, and where it does. Those of the file are
    /// built even when overruled: their faults are told, and a route may name them still.
    fn chosen(&mut self, parts: &Parts<'_>) -> (Place, Targets) {
        let before = self.faults.len();
        let of_file = parts.file.upstreams.as_ref();
        let items = of_file.map_or(&[][..], |(_, items)| items);
        let written = self.items(items);
        let written = self.unique(written);
        let strongest = parts.layers.strongest(Id::Upstream);
        let overruled = strongest.is_some_and(|(level, _)| level > Level::File);
        let (place, general, overruled, said) = match of_file {
            Some((place, items)) if !overruled => (place.clone(), written, Vec::new(), items.len()),
            Some(_) | None => {
                let place = strongest.map_or(Place::Default, |(_, place)| place.clone());
                let specs = self.specs(parts.values.all(Id::Upstream));
                let said = parts.layers.texts(Id::Upstream).len();
                (place, self.unique(specs), written, said)
            }
        };
        if said == 0 {
            self.faults.push(Fault::new(&place, Problem::NoUpstream));
        }
        let missing = said > general.len() || self.faults.len() > before;
        (
            place,
            Targets::new(general, overruled, names_of(items), missing),
        )
    }

    fn common(&mut self, values: &Values) -> Common {
        let ca_file = named_file(values, Id::CaFile);
        self.check_roots(ca_file.as_ref());
        Common {
            ca_file,
            identity: self.identity(values, [Id::ClientCert, Id::ClientKey]),
        }
    }

    fn check_roots(&mut self, file: Option<&NamedFile>) {
        let fault = file.and_then(|file| files::check_roots(file, self.files).err());
        self.faults.extend(fault);
    }

    fn identity(&mut self, values: &Values, ids: [Id; 2]) -> Option<ClientIdentity> {
        let (certificate, key) = pair(values, ids, self.faults)?;
        self.faults
            .extend(files::check_identity(&certificate, &key, self.files));
        Some(ClientIdentity {
            certificate_file: certificate.path,
            key_file: key.path,
        })
    }

    fn items(&mut self, items: &[Item]) -> Vec<Written> {
        let mut written = Vec::new();
        for item in items {
            match item {
                Item::Line(given) => {
                    let parsed = parse_all(Id::Upstream, std::slice::from_ref(given), self.faults);
                    written.extend(self.specs(&parsed));
                }
                Item::Table(entry) => written.extend(self.table(entry)),
            }
        }
        written
    }

    fn specs(&mut self, specs: &[Parsed]) -> Vec<Written> {
        let mut written = Vec::new();
        for Parsed { value, place } in specs {
            if let Value::Spec(spec) = value {
                written.push(self.spec(spec, place));
            }
        }
        written
    }

    /// The upstream of a SPEC.
    pub(crate) fn spec(&mut self, spec: &Spec, place: &Place) -> Written {
        let Spec {
            preset,
            protocol,
            endpoints,
            port,
            tls_name,
            pins,
            ca_file,
        } = spec.clone();
        let ca_file = ca_file.map(|path| NamedFile {
            path: beside_file(&path, place),
            key: "ca_file".into(),
            place: place.clone(),
        });
        self.check_roots(ca_file.as_ref());
        let name = derived_name(preset, tls_name.as_ref(), &endpoints);
        let settings = UpstreamSettings {
            protocol,
            tier: None,
            pin_mode: self.pin_mode_for(tls_name.as_ref(), None),
            tls_name,
            pins,
            ca_file: ca_file.map(|file| file.path),
            preset,
            ..UpstreamSettings::new(name, endpoints, port)
        };
        Written {
            settings,
            place: place.clone(),
            named: false,
            has_table: false,
        }
    }

    fn table(&mut self, entry: &Entry) -> Option<Written> {
        let before = self.faults.len();
        let values: BTreeMap<_, _> = entry
            .settings
            .iter()
            .map(|(id, given)| (*id, parse_all(*id, given, self.faults)))
            .collect();
        let values = Values::of(values);
        let ca_file = named_file(&values, Id::UpstreamCaFile);
        self.check_roots(ca_file.as_ref());
        let ids = [Id::UpstreamClientCert, Id::UpstreamClientKey];
        let client_identity = self.identity(&values, ids);
        self.refuse_two_sources(&values);
        self.refuse_padding_without_edns(&values);
        if entry.faulty || self.faults.len() > before {
            return None;
        }
        let fields = Fields::of(&values);
        let mut settings = self.reached(entry, &values, &fields)?;
        if settings.tls_name.is_none() && fields.pin_mode == Some(PinMode::Report) {
            let upstream = entry.label.clone();
            let problem = Problem::ReportWithoutName { upstream };
            self.faults.push(Fault::new(&entry.place, problem));
            return None;
        }
        settings.ca_file = ca_file.map(|file| file.path);
        settings.client_identity = client_identity;
        settings.pins = fields.pins;
        settings.tier = fields.tier;
        settings.weight = fields.weight.unwrap_or(settings.weight);
        settings.keep_warm = fields.keep_warm.unwrap_or(settings.keep_warm);
        settings.edns = fields.edns.unwrap_or(settings.edns);
        settings.padding = fields.padding.unwrap_or(settings.padding);
        settings.pin_mode = self.pin_mode_for(settings.tls_name.as_ref(), fields.pin_mode);
        settings.binding = fields.binding;
        let named = fields.name.is_some();
        if let Some(name) = fields.name {
            settings.name = name;
        }
        Some(Written {
            settings,
            place: entry.place.clone(),
            named,
            has_table: true,
        })
    }

    /// Where an upstream is and what it is verified by, from its table.
    fn reached(
        &mut self,
        entry: &Entry,
        values: &Values,
        fields: &Fields,
    ) -> Option<UpstreamSettings> {
        let port = fields.port.unwrap_or(DOT_PORT);
        if let Some(preset) = fields.preset {
            self.refuse_beside_preset(values);
            return Some(of_preset(preset, port));
        }
        let mut endpoints = fields.endpoints(port);
        let mut tls_name = fields.tls_name.clone();
        let upstream = entry.label.clone();
        match (&tls_name, endpoints.is_empty()) {
            (None, true) => {
                let preset = fields.name.as_deref().and_then(super::value::preset_of);
                let preset = preset.map(|preset| preset.name.to_owned());
                let problem = Problem::UpstreamWithoutAddress { upstream, preset };
                self.faults.push(Fault::new(&entry.place, problem));
                return None;
            }
            (Some(ServerName::IpAddress(ip)), true) => {
                endpoints.push(SocketAddr::new((*ip).into(), port));
            }
            (None, false) if fields.pins.is_empty() => match common_preset(&endpoints) {
                Some(preset) => tls_name = Some(preset.server_name()),
                None => {
                    let problem = Problem::UpstreamWithoutName { upstream };
                    self.faults.push(Fault::new(&entry.place, problem));
                    return None;
                }
            },
            (Some(_), _) | (None, false) => {}
        }
        let name = derived_name(None, tls_name.as_ref(), &endpoints);
        Some(UpstreamSettings {
            tls_name,
            ..UpstreamSettings::new(name, endpoints, port)
        })
    }

    /// Without a name there is nothing but the pins, so they are enforced.
    fn pin_mode_for(&self, name: Option<&ServerName<'_>>, said: Option<PinMode>) -> PinMode {
        match name {
            Some(_) => said.unwrap_or(self.pin_mode),
            None => PinMode::Enforce,
        }
    }

    fn refuse_two_sources(&mut self, values: &Values) {
        let mut known: Vec<IpAddr> = Vec::new();
        for parsed in values.all(Id::UpstreamSource) {
            let Value::Ip(address) = parsed.value else {
                continue;
            };
            if let Some(first) = known.iter().find(|it| it.is_ipv4() == address.is_ipv4()) {
                let (one, other) = (first.to_string(), address.to_string());
                self.faults
                    .push(Fault::new(&parsed.place, Problem::Conflict { one, other }));
            }
            known.push(address);
        }
    }

    /// Padding is an EDNS option.
    fn refuse_padding_without_edns(&mut self, values: &Values) {
        let off = |parsed: &&Parsed| parsed.value == Value::YesNo(false);
        let padded = |parsed: &&Parsed| parsed.value != Value::Number(0);
        let edns = values.one(Id::UpstreamEdns).filter(off);
        let padding = values.one(Id::UpstreamPadding).filter(padded);
        if let (Some(_), Some(padding)) = (edns, padding) {
            let (one, other) = ("edns = false".to_owned(), "padding".to_owned());
            self.faults
                .push(Fault::new(&padding.place, Problem::Conflict { one, other }));
        }
    }

    fn refuse_beside_preset(&mut self, values: &Values) {
        let name = |id| Setting::of(id).key.map_or("", |key| key.name).to_owned();
        for other in [Id::UpstreamAddress, Id::UpstreamTlsName] {
            if let Some(parsed) = values.one(other) {
                let (one, other) = (name(Id::UpstreamPreset), name(other));
                self.faults
                    .push(Fault::new(&parsed.place, Problem::Conflict { one, other }));
            }
        }
    }

    fn bootstrap(&mut self, specs: &[Parsed]) -> Vec<Written> {
        let written = self.specs(specs);
        for Written {
            settings, place, ..
        } in &written
        {
            if settings.endpoints.is_empty() {
                let problem = Problem::BootstrapByName {
                    spec: settings.spec(),
                };
                self.faults.push(Fault::new(place, problem));
            }
        }
        written
    }

    /// Names that are given twice are a fault, and so is the same upstream twice; names that only
    /// happen to be alike are told apart by a number.
    fn unique(&mut self, written: Vec<Written>) -> Vec<Written> {
        let mut kept: Vec<Written> = Vec::new();
        for one in written {
            let alike = |other: &&Written| {
                let same = other.settings == one.settings;
                same || (other.settings.name == one.settings.name && other.named && one.named)
            };
            if let Some(first) = kept.iter().find(alike) {
                let (name, first) = (one.settings.name.clone(), first.place.clone());
                let problem = Problem::DuplicateUpstream { name, first };
                self.faults.push(Fault::new(&one.place, problem));
                continue;
            }
            kept.push(one);
        }
        number_names(&mut kept);
        kept
    }
}

/// Gives derived names that are taken a number; names chosen by the operator stay.
fn number_names(written: &mut [Written]) {
    let mut taken: Vec<String> = written
        .iter()
        .filter(|one| one.named)
        .map(|one| one.settings.name.clone())
        .collect();
    for one in written.iter_mut().filter(|one| !one.named) {
        let base = one.settings.name.clone();
        let mut number = 1;
        while taken.contains(&one.settings.name) {
            number += 1;
            one.settings.name = format!("{base}-{number}");
        }
        taken.push(one.settings.name.clone());
    }
}

fn derived_name(
    preset: Option<&Preset>,
    tls_name: Option<&ServerName<'_>>,
    endpoints: &[SocketAddr],
) -> String {
    match (preset, tls_name, endpoints.first()) {
        (Some(preset), _, _) => preset.name.to_owned(),
        (None, Some(name), _) => name.to_str().into_owned(),
        (None, None, Some(endpoint)) => endpoint.ip().to_string(),
        (None, None, None) => String::new(),
    }
}

/// The whole of a preset.
pub(crate) fn of_preset(preset: &'static Preset, port: u16) -> UpstreamSettings {
    let addresses = preset.addresses();
    let endpoints = addresses.map(|ip| SocketAddr::new(ip, port)).collect();
    UpstreamSettings {
        tls_name: Some(preset.server_name()),
        preset: Some(preset),
        ..UpstreamSettings::new(preset.name.to_owned(), endpoints, port)
    }
}

/// The names that tables were given, those of faulty tables included.
fn names_of(items: &[Item]) -> Vec<String> {
    let tables = items.iter().filter_map(|item| match item {
        Item::Table(entry) => entry.settings.get(&Id::UpstreamName),
        Item::Line(_) => None,
    });
    tables.flatten().map(|given| given.text.clone()).collect()
}

/// The preset all these addresses belong to.
fn common_preset(endpoints: &[SocketAddr]) -> Option<&'static Preset> {
    let mut presets = endpoints
        .iter()
        .map(|it| known_preset(&it.ip().to_string()));
    let first = presets.next()??;
    presets.all(|preset| preset == Some(first)).then_some(first)
}
