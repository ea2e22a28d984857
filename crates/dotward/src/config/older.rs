//! What the names of older proxies mean, as values of the settings there are.
//!
//! Each used name gets one warning with its replacement. `DOT_PORT` is the upstream's port in one program and the
//! listening port in another: the names set beside it decide, never its value; where they do not,
//! nothing is guessed. Addresses and names of a preset become that preset, so that what was
//! unverified is verified; an unknown address is verified by itself (`tls://IP`).

use std::collections::BTreeMap;

use super::DOT_PORT;
use super::fault::{Fault, Problem};
use super::layers::{Given, Layers, Level};
use super::place::Place;
use super::report::Warning;
use super::value::{self, Family, ValueFault};
use crate::presets::{PRESETS, Preset};
use crate::settings::{Id, Setting};

/// Which older variables are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compat {
    /// Those that are set; their company decides about `DOT_PORT`.
    ByCompany,
    /// Those of B.
    B,
    /// Those of C.
    C,
    /// None, and no older options either.
    Off,
}

/// The older names that are set.
#[derive(Debug, Default)]
pub(crate) struct OlderGiven {
    pub(crate) flags: BTreeMap<&'static str, Given>,
    pub(crate) variables: BTreeMap<&'static str, Given>,
}

const B_NAMES: [&str; 4] = ["BIND_ADDRESS", "BIND_PORT", "PROTO", "DOT_ADDRESS"];
const C_NAMES: [&str; 2] = ["DNS_SERVER_IP", "DNS_SERVER_PORT"];
const LOOPBACK: [&str; 2] = ["127.0.0.1", "[::1]"];
const WILDCARD: [&str; 2] = ["0.0.0.0", "[::]"];
const DNS_PORT: u16 = 53;

/// Turns older names into values of settings.
pub(crate) fn translate(
    given: &OlderGiven,
    compat: Compat,
    layers: &mut Layers,
    faults: &mut Vec<Fault>,
) -> Used {
    let mut work = Work {
        layers,
        faults,
        used: Used::default(),
    };
    if compat == Compat::Off {
        work.refuse_flags(&given.flags);
    } else {
        work.flags(&given.flags);
        work.variables(&given.variables, compat);
    }
    work.used
}

/// What each used name was turned into.
#[derive(Debug, Default)]
pub(crate) struct Used(BTreeMap<String, Vec<(Id, Level, String)>>);

impl Used {
    /// One warning for each used name, once everything that may overrule it is known.
    pub(crate) fn warnings(self, layers: &Layers) -> Vec<Warning> {
        self.0
            .into_iter()
            .map(|(used, parts)| warning(used, &parts, layers))
            .collect()
    }
}

fn warning(used: String, parts: &[(Id, Level, String)], layers: &Layers) -> Warning {
    let above = |id, level| match layers.strongest(id) {
        Some((strongest, place)) if strongest > level => Some(place.to_string()),
        Some(_) | None => None,
    };
    let effective: Vec<_> = parts
        .iter()
        .filter(|(id, level, _)| above(*id, *level).is_none())
        .collect();
    let overruled_by = match effective.is_empty() {
        true => parts.iter().find_map(|(id, level, _)| above(*id, *level)),
        false => None,
    };
    let told = if effective.is_empty() {
        parts.iter().collect()
    } else {
        effective
    };
    let instead: Vec<_> = told
        .iter()
        .map(|(_, _, instead)| instead.as_str())
        .collect();
    Warning::OlderName {
        used,
        instead: instead.join("` and `"),
        overruled_by,
    }
}

/// The names that are read, and whose `DOT_PORT` is.
struct Company<'a> {
    b: Vec<&'static str>,
    c: Vec<&'static str>,
    upstream_port: Option<&'a Given>,
    listen_port: Option<&'a Given>,
}

impl<'a> Company<'a> {
    fn of(variables: &'a Names, compat: Compat) -> Self {
        let all = |names: &[&'static str]| -> Vec<&'static str> {
            names
                .iter()
                .copied()
                .filter(|name| variables.contains_key(name))
                .collect()
        };
        let (b, c) = match compat {
            Compat::ByCompany => (all(&B_NAMES), all(&C_NAMES)),
            Compat::B => (all(&B_NAMES), Vec::new()),
            Compat::C => (Vec::new(), all(&C_NAMES)),
            Compat::Off => (Vec::new(), Vec::new()),
        };
        let dot_port = variables.get("DOT_PORT");
        let (upstream_port, listen_port) = match (compat, b.is_empty(), c.is_empty()) {
            (Compat::B, _, _) | (Compat::ByCompany, false, true) => (dot_port, None),
            (Compat::C, _, _) | (Compat::ByCompany, true, false) => (None, dot_port),
            (Compat::ByCompany | Compat::Off, _, _) => (None, None),
        };
        Self {
            b,
            c,
            upstream_port,
            listen_port,
        }
    }
}

struct Work<'a> {
    layers: &'a mut Layers,
    faults: &'a mut Vec<Fault>,
    used: Used,
}

type Names = BTreeMap<&'static str, Given>;

impl Work<'_> {
    fn refuse_flags(&mut self, flags: &Names) {
        for (name, given) in flags {
            let row = crate::settings::OLDER_NAMES
                .iter()
                .find(|row| row.name == *name);
            let instead = row.map_or("", |row| row.instead).to_owned();
            self.faults
                .push(Fault::new(&given.place, Problem::OlderNamesOff { instead }));
        }
    }

    fn flags(&mut self, flags: &Names) {
        let level = Level::OlderFlag;
        let at = |name| flags.get(name);
        self.listen(level, at("listen-ip"), at("udp-port"), at("tcp-port"));
        self.upstream(
            level,
            at("upstream-server"),
            at("upstream-port"),
            spec_of_preset,
        );
        self.upstream(
            level,
            at("backend-hostname"),
            at("backend-port"),
            spec_by_name,
        );
    }

    fn variables(&mut self, variables: &Names, compat: Compat) {
        let level = Level::OlderVariable;
        let Company {
            b,
            c,
            upstream_port,
            listen_port,
        } = Company::of(variables, compat);
        if upstream_port.is_none() && listen_port.is_none() {
            self.ambiguous(variables.get("DOT_PORT"), &b, &c);
        }
        let at = |names: &[&str], name| {
            if names.contains(&name) {
                variables.get(name)
            } else {
                None
            }
        };
        let bind_port = at(&b, "BIND_PORT");
        self.listen(level, at(&b, "BIND_ADDRESS"), bind_port, bind_port);
        self.upstream(level, at(&b, "DOT_ADDRESS"), upstream_port, spec_of_preset);
        if compat != Compat::C {
            self.word(Id::ListenProto, at(&b, "PROTO"), |word| word);
            self.word(Id::LogLevel, variables.get("LOG_LEVEL"), level_of);
        }
        self.upstream(
            level,
            at(&c, "DNS_SERVER_IP"),
            at(&c, "DNS_SERVER_PORT"),
            spec_of_preset,
        );
        let bound = b.iter().any(|name| name.starts_with("BIND_"));
        if !bound && (listen_port.is_some() || !c.is_empty()) {
            let implied = c.first().and_then(|name| variables.get(name));
            self.listen_everywhere(listen_port, implied);
        }
    }

    fn ambiguous(&mut self, dot_port: Option<&Given>, b: &[&'static str], c: &[&'static str]) {
        if let Some(given) = dot_port {
            let (value, company) = (given.text.clone(), [b, c].concat());
            let problem = Problem::AmbiguousDotPort { value, company };
            self.faults.push(Fault::new(&given.place, problem));
        }
    }

    /// A and B: an address and ports, which may differ.
    fn listen(
        &mut self,
        level: Level,
        ip: Option<&Given>,
        udp: Option<&Given>,
        tcp: Option<&Given>,
    ) {
        let used: Vec<_> = [ip, udp, tcp].into_iter().flatten().collect();
        if used.is_empty() {
            return;
        }
        let hosts = match ip {
            Some(given) => self
                .read(Id::Listen, given, listen_host)
                .map(|host| vec![host]),
            None => Some(LOOPBACK.map(str::to_owned).to_vec()),
        };
        let (udp, tcp) = (
            self.port(Id::Listen, udp, DNS_PORT),
            self.port(Id::Listen, tcp, DNS_PORT),
        );
        if let (Some(hosts), Some(udp), Some(tcp)) = (hosts, udp, tcp) {
            let texts = hosts
                .iter()
                .flat_map(|host| listen_texts(host, udp, tcp))
                .collect();
            self.put(Id::Listen, level, texts, &used);
        }
    }

    /// C: all addresses, UDP and TCP; its other names imply that too.
    fn listen_everywhere(&mut self, port: Option<&Given>, implied: Option<&Given>) {
        let used: Vec<_> = [port.or(implied)].into_iter().flatten().collect();
        if let Some(port) = self.port(Id::Listen, port, DNS_PORT) {
            let texts = WILDCARD
                .iter()
                .flat_map(|host| listen_texts(host, port, port))
                .collect();
            self.put(Id::Listen, Level::OlderVariable, texts, &used);
        }
    }

    fn upstream(
        &mut self,
        level: Level,
        host: Option<&Given>,
        port: Option<&Given>,
        spec: fn(&str, u16) -> String,
    ) {
        let used: Vec<_> = [host, port].into_iter().flatten().collect();
        if used.is_empty() {
            return;
        }
        let (host, spec) = match host {
            Some(given) => (self.read(Id::Upstream, given, upstream_host), spec),
            // A port alone is that of the default provider.
            None => (
                Some(PRESETS[0].tls_name.to_owned()),
                spec_of_preset as fn(&str, u16) -> String,
            ),
        };
        if let (Some(host), Some(port)) = (host, self.port(Id::Upstream, port, DOT_PORT)) {
            self.put(Id::Upstream, level, vec![spec(&host, port)], &used);
        }
    }

    fn word(&mut self, id: Id, given: Option<&Given>, canonical: fn(String) -> String) {
        if let Some(given) = given {
            let word = canonical(given.text.trim().to_ascii_lowercase());
            self.put(id, Level::OlderVariable, vec![word], &[given]);
        }
    }

    fn port(&mut self, id: Id, given: Option<&Given>, default: u16) -> Option<u16> {
        match given {
            Some(given) => self.read(id, given, value::port),
            None => Some(default),
        }
    }

    fn read<T>(
        &mut self,
        id: Id,
        given: &Given,
        parse: impl Fn(&str) -> Result<T, ValueFault>,
    ) -> Option<T> {
        match parse(given.text.trim()) {
            Ok(value) => Some(value),
            Err(fault) => {
                let (key, value) = (Setting::of(id).title(), given.text.clone());
                let fault = Fault::new(&given.place, Problem::BadValue { key, value, fault });
                // One port may be that of UDP and of TCP.
                if !self.faults.contains(&fault) {
                    self.faults.push(fault);
                }
                None
            }
        }
    }

    /// Says `texts` in the place of the used names.
    fn put(&mut self, id: Id, level: Level, texts: Vec<String>, used: &[&Given]) {
        let setting = Setting::of(id);
        let joined = texts.join(",");
        let instead = if level == Level::OlderFlag {
            format!("--{} {joined}", setting.flag.unwrap_or_default())
        } else {
            format!("{}={joined}", setting.variable.unwrap_or_default())
        };
        for given in used {
            let parts = self.used.0.entry(given.place.to_string()).or_default();
            let part = (id, level, instead.clone());
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        let place = used
            .first()
            .map_or(Place::Default, |given| given.place.clone());
        // Two programs may have been told the same.
        let said = self.layers.said(id, level);
        let fresh = |text: &String| !said.iter().any(|given| given.text == *text);
        let given = |text| Given {
            text,
            place: place.clone(),
        };
        let values = texts.into_iter().filter(fresh).map(given).collect();
        self.layers.put(id, level, &place, values);
    }
}

/// An address to listen on, as a value of `listen.dns` writes it.
fn listen_host(text: &str) -> Result<String, ValueFault> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .map(value::written)
        .map_err(|_| ValueFault::NotAnAddress {
            family: Family::Any,
            found: text.to_owned(),
        })
}

fn listen_texts(host: &str, udp: u16, tcp: u16) -> Vec<String> {
    if udp == tcp {
        vec![format!("{host}:{udp}")]
    } else {
        vec![format!("udp://{host}:{udp}"), format!("tcp://{host}:{tcp}")]
    }
}

fn upstream_host(text: &str) -> Result<String, ValueFault> {
    value::tls_name(text).map(|name| name.to_str().into_owned())
}

/// A known host becomes its preset, an unknown one stands for itself.
fn spec_of_preset(host: &str, port: u16) -> String {
    match value::known_preset(host) {
        Some(preset) if port == DOT_PORT => preset.name.to_owned(),
        Some(preset) => preset_at(preset, port),
        None => spec_by_name(host, port),
    }
}

fn preset_at(preset: &Preset, port: u16) -> String {
    let addresses: Vec<_> = preset.addresses().map(value::written).collect();
    format!("tls://{}@{}:{port}", preset.tls_name, addresses.join(","))
}

/// The host as the name to verify; its address, if it is none itself, is found through bootstrap.
fn spec_by_name(host: &str, port: u16) -> String {
    let host = host
        .parse()
        .map_or_else(|_| host.to_owned(), value::written);
    if port == DOT_PORT {
        format!("tls://{host}")
    } else {
        format!("tls://{host}:{port}")
    }
}

/// The words other programs have for levels.
fn level_of(word: String) -> String {
    match word.as_str() {
        "warning" => "warn".into(),
        "critical" | "fatal" => "error".into(),
        _ => word,
    }
}
