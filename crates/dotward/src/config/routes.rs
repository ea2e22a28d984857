//! The routes: which names are asked elsewhere, and of whom.
//!
//! A route names upstreams, or gives them as SPECs, which then serve routes only; those may be unencrypted. An upstream with a table
//! of its own that a route names and that has no tier serves routes only too: naming it says what it is for.
//!
//! Deliberately absent: which of several routes a name belongs to (`dotward_core::policy`).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use dotward_core::policy::{Decision, Policy, PolicyConfig, Route, special_rule};
use dotward_core::upstream::GroupId;
use dotward_core::wire::{Class, Question};
use rustls::pki_types::ServerName;

use super::build::Parts;
use super::fault::{Fault, Problem, RouteProblem};
use super::file::{Entry, Item};
use super::layers::{Given, Level, Parsed, Values, parse_all};
use super::place::Place;
use super::suggest::nearest;
use super::upstreams::{FarSide, Work, Written};
use super::value::{self, Value, ValueFault};
use super::{
    ListenAddress, ListenTransport, Name, Protocol, RecordType, RouteSettings, STRATEGIES,
    Strategy, Suffix, UpstreamSettings, strategy_word,
};
use crate::presets::PRESETS;
use crate::settings::{Id, Setting};

/// The upstreams a route can name, and those it has given.
pub(crate) struct Targets {
    /// The general ones first.
    written: Vec<Written>,
    general: usize,
    /// Those of the file that a stronger list keeps from being general.
    overruled: Vec<Written>,
    /// Names of tables, also of those with faults.
    names: Vec<String>,
    /// Whether some general ones have faults and are not there.
    incomplete: bool,
    /// Places of those that routes name.
    routed: Vec<usize>,
}

impl Targets {
    pub(crate) fn new(
        general: Vec<Written>,
        overruled: Vec<Written>,
        names: Vec<String>,
        incomplete: bool,
    ) -> Self {
        Self {
            general: general.len(),
            written: general,
            overruled,
            names,
            incomplete,
            routed: Vec::new(),
        }
    }

    /// The place of the upstream that is called so, or is given so; `None` after a fault.
    fn find(&mut self, id: Id, target: &Given, work: &mut Work<'_>) -> Option<usize> {
        let is = |written: &Written| written.settings.name == target.text;
        if let Some(place) = self.written.iter().position(is) {
            return Some(place);
        }
        if let Some(place) = self.overruled.iter().position(is) {
            let written = self.overruled.remove(place);
            return Some(self.add(written));
        }
        if self.names.contains(&target.text) {
            // It is there and has faults of its own.
            return None;
        }
        match value::parse_of_route(&target.text) {
            Ok(spec) => {
                let written = work.spec(&spec, &target.place);
                Some(self.add(written))
            }
            Err(fault) => {
                let problem = self.problem(id, &target.text, fault);
                work.faults.push(Fault::new(&target.place, problem));
                None
            }
        }
    }

    /// What a route of the file names serves routes only even when other routes overrule that one: a private resolver does not become
    /// a general one by an option.
    fn keep_for_routes(&mut self, overruled: &[WrittenRoute]) {
        for target in overruled.iter().flat_map(|asked| &asked.to.1) {
            let mut written = self.written.iter();
            let named = written.position(|it| it.settings.name == target.text);
            self.routed.extend(named);
        }
    }

    /// Adds an upstream that serves routes only; one that is there already counts once.
    fn add(&mut self, one: Written) -> usize {
        let of_routes = self.written.iter().skip(self.general);
        let known = of_routes
            .map(|it| &it.settings)
            .position(|settings| *settings == one.settings);
        known.map_or_else(
            || {
                self.written.push(one);
                self.written.len() - 1
            },
            |known| self.general + known,
        )
    }

    fn problem(&self, id: Id, text: &str, fault: ValueFault) -> Problem {
        let ValueFault::UnknownUpstream { suggestion } = fault else {
            let (key, value) = (Setting::of(id).title(), text.to_owned());
            return Problem::BadValue { key, value, fault };
        };
        let written = self.written.iter().chain(&self.overruled);
        let names = written.map(|it| it.settings.name.as_str());
        let presets = PRESETS.iter().map(|preset| preset.name);
        let near = nearest(text, names.chain(presets)).map(ToOwned::to_owned);
        Problem::Route(RouteProblem::UnknownTarget {
            target: text.to_owned(),
            suggestion: near.or(suggestion),
        })
    }

    /// All upstreams with their tiers. `place` is where the general ones are listed.
    pub(crate) fn finish(mut self, place: &Place, faults: &mut Vec<Fault>) -> Vec<Written> {
        for (index, written) in self.written.iter_mut().enumerate() {
            let general = index < self.general;
            let for_routes = written.has_table && self.routed.contains(&index);
            let tier = &mut written.settings.tier;
            *tier = match tier {
                Some(tier) if general => Some(*tier),
                None if general && !for_routes => Some(1),
                Some(_) | None => None,
            };
        }
        let mut all = self.written.iter();
        if self.general > 0 && !self.incomplete && all.all(|it| it.settings.tier.is_none()) {
            faults.push(Fault::new(place, RouteProblem::NoGeneralUpstream));
        }
        self.written
    }
}

/// A route as it was written.
struct WrittenRoute {
    suffixes: Vec<(Suffix, Place)>,
    /// The setting that names them, and their texts.
    to: (Id, Vec<Given>),
    strategy: Option<Strategy>,
    fallback: bool,
}

/// The routes of the strongest level that speaks of any; those of the file are read even when overruled, so that their faults
/// are told.
pub(crate) fn build(
    parts: &Parts<'_>,
    targets: &mut Targets,
    work: &mut Work<'_>,
) -> Vec<RouteSettings> {
    let items = parts.file.routes.as_ref();
    let of_file: Vec<_> = items
        .map_or(&[][..], |(_, items)| items)
        .iter()
        .flat_map(|item| read(item, work.faults))
        .collect();
    let strongest = parts.layers.strongest(Id::Route);
    let overruled = strongest.is_some_and(|(level, _)| level > Level::File);
    let asked = match overruled {
        true => {
            targets.keep_for_routes(&of_file);
            lines(parts.values.all(Id::Route))
        }
        false => of_file,
    };
    refuse_duplicates(&asked, work.faults);
    let general = strategy(parts.values, Id::Strategy).unwrap_or_default();
    asked
        .into_iter()
        .map(|asked| {
            let (id, to) = asked.to;
            let mut members = Vec::new();
            for target in &to {
                let found = targets.find(id, target, work);
                members.extend(found.filter(|found| !members.contains(found)));
            }
            targets.routed.extend(&members);
            RouteSettings {
                suffixes: asked.suffixes.into_iter().map(|(it, _)| it).collect(),
                members,
                strategy: asked.strategy.unwrap_or(general),
                fallback: asked.fallback,
            }
        })
        .collect()
}

fn read(item: &Item, faults: &mut Vec<Fault>) -> Vec<WrittenRoute> {
    match item {
        Item::Line(given) => lines(&parse_all(Id::Route, std::slice::from_ref(given), faults)),
        Item::Table(entry) => table(entry, faults).into_iter().collect(),
    }
}

fn lines(parsed: &[Parsed]) -> Vec<WrittenRoute> {
    let mut asked = Vec::new();
    for Parsed { value, place } in parsed {
        if let Value::Route(route) = value {
            let given = |text: &String| Given {
                text: text.clone(),
                place: place.clone(),
            };
            asked.push(WrittenRoute {
                suffixes: vec![(route.suffix.clone(), place.clone())],
                to: (Id::Route, route.to.iter().map(given).collect()),
                strategy: None,
                fallback: false,
            });
        }
    }
    asked
}

fn table(entry: &Entry, faults: &mut Vec<Fault>) -> Option<WrittenRoute> {
    let before = faults.len();
    let values: BTreeMap<_, _> = entry
        .settings
        .iter()
        .map(|(id, given)| (*id, parse_all(*id, given, faults)))
        .collect();
    let values = Values::of(values);
    if entry.faulty || faults.len() > before {
        return None;
    }
    let suffixes = suffixes(&values, Id::RouteSuffix);
    let to = entry.settings.get(&Id::RouteTo).cloned();
    let to = to.unwrap_or_default();
    for (missing, empty) in [("suffix", suffixes.is_empty()), ("to", to.is_empty())] {
        if empty {
            faults.push(Fault::new(
                &entry.place,
                RouteProblem::Incomplete { missing },
            ));
        }
    }
    let fallback = values.one(Id::RouteFallback).map(|parsed| &parsed.value);
    (faults.len() == before).then(|| WrittenRoute {
        suffixes,
        to: (Id::RouteTo, to),
        strategy: strategy(&values, Id::RouteStrategy),
        fallback: fallback == Some(&Value::YesNo(true)),
    })
}

fn suffixes(values: &Values, id: Id) -> Vec<(Suffix, Place)> {
    let mut suffixes = Vec::new();
    for Parsed { value, place } in values.all(id) {
        if let Value::Suffix(suffix) = value {
            suffixes.push((suffix.clone(), place.clone()));
        }
    }
    suffixes
}

/// The strategy a setting names.
pub(crate) fn strategy(values: &Values, id: Id) -> Option<Strategy> {
    let word = values.word(id)?;
    let mut known = STRATEGIES.into_iter();
    known.find(|it| strategy_word(*it) == word)
}

fn refuse_duplicates(asked: &[WrittenRoute], faults: &mut Vec<Fault>) {
    let mut seen: Vec<(Name, &Place)> = Vec::new();
    for (suffix, place) in asked.iter().flat_map(|asked| &asked.suffixes) {
        let domains = suffix.domains();
        let known =
            |(known, _): &&(Name, &Place)| domains.iter().any(|it| it.eq_ignore_case(known));
        if let Some((_, first)) = seen.iter().find(known) {
            let (suffix, first) = (suffix.to_string(), (*first).clone());
            faults.push(Fault::new(
                place,
                RouteProblem::DuplicateSuffix { suffix, first },
            ));
            continue;
        }
        seen.extend(domains.into_iter().map(|domain| (domain, place)));
    }
}

/// The addresses of upstreams given by name only are asked of the general ones, who must not learn the names of a route.
pub(crate) fn refuse_bootstrap_of_routed(
    upstreams: &[UpstreamSettings],
    places: &[Place],
    routes: &[RouteSettings],
    faults: &mut Vec<Fault>,
) {
    let policy = Policy::new(PolicyConfig {
        routes: policy_routes(routes),
        ..PolicyConfig::default()
    });
    let nameless = upstreams.iter().zip(places);
    for (upstream, place) in nameless.filter(|(it, _)| it.endpoints.is_empty()) {
        let Some(ServerName::DnsName(name)) = &upstream.tls_name else {
            continue;
        };
        let Ok(name) = name.as_ref().parse() else {
            continue;
        };
        let question = Question::new(&name, RecordType::A, Class::IN);
        if let Decision::Forward {
            route: Some(domain),
            ..
        } = policy.decide_question(question.view(), false)
        {
            let (upstream, suffix) = (name.to_string(), domain.to_string());
            let problem = RouteProblem::BootstrapOfRouted { upstream, suffix };
            faults.push(Fault::new(place, problem));
        }
    }
}

/// The routes as the core knows them: route number n has group number n + 1, behind the general group.
pub(crate) fn policy_routes(routes: &[RouteSettings]) -> Vec<Route> {
    let mut known = Vec::new();
    for (place, route) in routes.iter().enumerate() {
        let group = GroupId(place + 1);
        let domains = route.suffixes.iter().flat_map(Suffix::domains);
        known.extend(domains.map(|domain| Route { domain, group }));
    }
    known
}

/// The special domains that are to be forwarded; one that is not special is a fault, because it stands for an expectation that
/// would not be met.
pub(crate) fn forward_special(values: &Values, faults: &mut Vec<Fault>) -> Vec<Name> {
    let mut forwarded = Vec::new();
    for (suffix, place) in suffixes(values, Id::ForwardSpecial) {
        let domains = suffix.domains();
        if let Some(other) = domains.iter().find(|domain| special_rule(domain).is_none()) {
            let problem = RouteProblem::NotSpecial {
                suffix: suffix.to_string(),
                inside: special_domain_of(other),
            };
            faults.push(Fault::new(&place, problem));
            continue;
        }
        forwarded.extend(domains);
    }
    forwarded
}

fn special_domain_of(name: &Name) -> Option<String> {
    let question = Question::new(name, RecordType::A, Class::IN);
    let policy = Policy::new(PolicyConfig::default());
    match policy.decide_question(question.view(), false) {
        Decision::Special { domain, .. } => Some(domain.to_string()),
        Decision::Forward { .. } | Decision::Local | Decision::Refuse(_) => None,
    }
}

/// Refuses upstreams that are this program itself, as far as that can be told without asking the system which addresses are its own.
pub(crate) fn refuse_loops(
    listeners: &[(ListenAddress, Place)],
    far: &FarSide,
    faults: &mut Vec<Fault>,
) {
    let listeners: Vec<_> = listeners.iter().map(|(listener, _)| *listener).collect();
    for (upstream, place) in far.upstreams.iter().zip(&far.places) {
        if let Some(endpoint) = own_endpoint(&listeners, upstream, |ip| ip.is_loopback()) {
            let upstream = upstream.name.clone();
            let problem = RouteProblem::Loop { upstream, endpoint };
            faults.push(Fault::new(place, problem));
        }
    }
}

/// The endpoint of `upstream` where one of the listeners would be met. `is_own` says whether an address is one of this machine's, which a
/// listener on all addresses serves.
pub(crate) fn own_endpoint(
    listeners: &[ListenAddress],
    upstream: &UpstreamSettings,
    is_own: impl Fn(IpAddr) -> bool,
) -> Option<SocketAddr> {
    let meets = |endpoint: SocketAddr, listener: &ListenAddress| {
        let (bound, ip) = (listener.address.ip(), endpoint.ip());
        // `[::]` serves IPv6 alone.
        let everywhere = bound.is_unspecified() && bound.is_ipv4() == ip.is_ipv4() && is_own(ip);
        let datagrams = upstream.protocol == Protocol::Udp;
        (bound == ip || everywhere)
            && listener.address.port() == endpoint.port()
            && datagrams == (listener.transport == ListenTransport::Udp)
    };
    let mut endpoints = upstream.endpoints.iter().copied();
    endpoints.find(|endpoint| listeners.iter().any(|it| meets(*endpoint, it)))
}
