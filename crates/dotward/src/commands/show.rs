//! `dotward config show`: the configuration in effect, as a file.
//!
//! Promises: what is printed is a configuration file, and means the same as what was said in default, file, environment and on the
//! command line together; behind each value stands where it came from. No secret is printed: settings name the files that hold them.
//!
//! Deliberately absent: options that have no key in the file (`--takeover`, `--config`); what they do to other settings is shown there.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::config::place::Place;
use crate::config::{
    Config, DOT_PORT, ListenTransport, Loaded, LocalData, PinMode, Protocol, RouteSettings,
    UpstreamSettings, strategy_word,
};
use crate::listen::sockets::transport_word;
use crate::settings::{Id, Key, SETTINGS, Setting, is_bare};

/// Prints it; as JSON a list of values with where each came from.
///
/// # Errors
///
/// Those of `out`.
pub fn write_config(out: &mut dyn Write, loaded: &Loaded, json: bool) -> io::Result<()> {
    if json {
        return writeln!(out, "{:#}", values_json(loaded));
    }
    out.write_all(text(loaded).as_bytes())
}

/// Each value with where it came from. Those of plain tables have the type they have in the file, and are null where nothing is said; the
/// others are as people write them.
pub(super) fn values_json(loaded: &Loaded) -> Value {
    let values = loaded.origins.iter().map(|origin| {
        let setting = plain_keys().find(|(setting, _)| setting.title() == origin.key);
        let value = match setting {
            Some((setting, _)) => value_json(setting, loaded),
            None => Value::from(origin.value.as_str()),
        };
        json!({ "key": origin.key, "value": value, "from": origin.place.to_string() })
    });
    values.collect()
}

fn value_json(setting: &Setting, loaded: &Loaded) -> Value {
    let Some((texts, _)) = texts_of(setting, loaded) else {
        return Value::Null;
    };
    let mut values = texts.into_iter().map(|text| {
        let bare = is_bare(setting.kind, &text).then(|| serde_json::from_str(&text).ok());
        bare.flatten().unwrap_or(Value::String(text))
    });
    match setting.many {
        true => values.collect(),
        false => values.next_back().unwrap_or_default(),
    }
}

/// What is said about a setting, as the file would say it, and where; `None` where nothing is.
fn texts_of<'a>(setting: &Setting, loaded: &'a Loaded) -> Option<(Vec<String>, &'a Place)> {
    let effective = loaded.effective.iter().find(|it| it.id == setting.id)?;
    let texts = if setting.id == Id::Listen {
        listeners(&loaded.config)
    } else {
        effective.texts.clone()
    };
    Some((texts, &effective.place))
}

/// The file.
fn text(loaded: &Loaded) -> String {
    let mut text = match &loaded.file {
        Some(file) => format!("# In effect with {}.\n", file.display()),
        None => "# In effect without a file.\n".to_owned(),
    };
    let mut tables: Vec<&str> = Vec::new();
    for key in plain_keys().map(|(_, key)| key) {
        if !tables.contains(&key.table) {
            tables.push(key.table);
        }
    }
    // Keys of no table come first in TOML.
    tables.sort_by_key(|table| !table.is_empty());
    for table in tables {
        push_table(&mut text, loaded, table);
    }
    push_upstreams(&mut text, loaded);
    let config = &loaded.config;
    for route in &config.routes {
        push_route(&mut text, config, route);
    }
    push_local(&mut text, config);
    text
}

/// Upstreams and routes are shown as tables of their own.
fn plain_keys() -> impl Iterator<Item = (&'static Setting, Key)> {
    SETTINGS
        .iter()
        .filter(|setting| !matches!(setting.id, Id::Upstream | Id::Route))
        .filter_map(|setting| setting.key.map(|key| (setting, key)))
        .filter(|(_, key)| !key.repeated)
}

fn push_table(text: &mut String, loaded: &Loaded, table: &str) {
    let mut lines = Vec::new();
    for (setting, key) in plain_keys().filter(|(_, key)| key.table == table) {
        lines.push(line(setting, key, loaded));
    }
    let heading = if table.is_empty() {
        String::new()
    } else {
        format!("[{table}]\n")
    };
    let widest = lines.iter().map(|(line, _)| line.chars().count().min(48));
    let widest = widest.max().unwrap_or(0);
    text.push_str(&format!("\n{heading}"));
    for (line, note) in lines {
        text.push_str(&format!("{line:widest$}  # {note}\n"));
    }
}

/// A line of a plain table, and the note behind it.
fn line(setting: &Setting, key: Key, loaded: &Loaded) -> (String, String) {
    if setting.id == Id::ListenTls {
        return ("#tls = []".into(), "in dns, with tls:// before it".into());
    }
    let Some((texts, place)) = texts_of(setting, loaded) else {
        let value = match setting.many {
            true => format!("[{}]", setting.example),
            false => setting.example.to_owned(),
        };
        let note = format!("not set: {}", setting.default_text());
        return (format!("#{} = {value}", key.name), note);
    };
    let values: Vec<String> = texts.iter().map(|text| typed(setting, text)).collect();
    let value = match setting.many {
        true => format!("[{}]", values.join(", ")),
        false => values.last().cloned().unwrap_or_default(),
    };
    (format!("{} = {value}", key.name), place.to_string())
}

/// Listening addresses and interfaces; what `--proto` said is in their prefixes.
fn listeners(config: &Config) -> Vec<String> {
    let addresses = config.listeners.iter();
    let addresses = addresses.map(|it| (it.transport, it.address.to_string()));
    let interfaces = config.interfaces.iter();
    let interfaces = interfaces.map(|it| (it.transport, it.to_string()));
    let all: Vec<_> = addresses.chain(interfaces).collect();
    let mut shown = Vec::new();
    let mut rest = all.as_slice();
    while let [(transport, at), after @ ..] = rest {
        let pair = matches!(after.first(), Some((second, same))
            if same == at && [*transport, *second] == [ListenTransport::Udp, ListenTransport::Tcp]);
        if pair {
            shown.push(at.clone());
            rest = &after[1..];
        } else {
            shown.push(format!("{}://{at}", transport_word(*transport)));
            rest = after;
        }
    }
    shown
}

/// A value as it stands in a file.
fn typed(setting: &Setting, text: &str) -> String {
    if is_bare(setting.kind, text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A string of TOML. Its escapes are those of JSON, but that DEL needs one too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

fn list(texts: impl IntoIterator<Item = String>) -> String {
    let quoted: Vec<_> = texts.into_iter().map(|text| quoted(&text)).collect();
    format!("[{}]", quoted.join(", "))
}

/// Those without TLS belong to routes, and stand there.
fn push_upstreams(text: &mut String, loaded: &Loaded) {
    let pin_mode = loaded.effective.iter().find(|it| it.id == Id::PinMode);
    let reports = pin_mode.is_some_and(|it| it.texts.last().is_some_and(|text| text == "report"));
    for upstream in &loaded.config.upstreams {
        if upstream.protocol == Protocol::Tls {
            let key = format!("upstream \"{}\"", upstream.name);
            let origin = loaded.origins.iter().find(|origin| origin.key == key);
            let from = origin.map(|origin| format!("  # {}", origin.place));
            text.push_str(&format!("\n[[upstream]]{}\n", from.unwrap_or_default()));
            for (key, value) in upstream_fields(upstream, reports) {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
    }
}

/// The keys of an upstream's table whose values are not what holds without them.
fn upstream_fields(upstream: &UpstreamSettings, reports: bool) -> Vec<(&'static str, String)> {
    let mut fields = vec![("name", quoted(&upstream.name))];
    let path = |path: &std::path::Path| quoted(&path.to_string_lossy());
    match whole_preset(upstream) {
        Some(name) => fields.push(("preset", quoted(name))),
        None => {
            if let Some(name) = &upstream.tls_name {
                fields.push(("tls_name", quoted(&name.to_str())));
            }
            if !upstream.endpoints.is_empty() {
                let endpoints = upstream.endpoints.iter().map(ToString::to_string);
                fields.push(("address", list(endpoints)));
            }
        }
    }
    if upstream.port != DOT_PORT {
        fields.push(("port", upstream.port.to_string()));
    }
    if !upstream.pins.is_empty() {
        let pins = upstream.pins.iter();
        let pins = pins.map(|pin| format!("sha256/{}", crate::tls::certificate::pin_text(pin)));
        fields.push(("pin", list(pins)));
    }
    if upstream.tls_name.is_some() && (upstream.pin_mode == PinMode::Report) != reports {
        let word = if reports { "enforce" } else { "report" };
        fields.push(("pin_mode", quoted(word)));
    }
    if let Some(file) = &upstream.ca_file {
        fields.push(("ca_file", path(file)));
    }
    if let Some(identity) = &upstream.client_identity {
        fields.push(("client_cert", path(&identity.certificate_file)));
        fields.push(("client_key", path(&identity.key_file)));
    }
    push_shares(&mut fields, upstream);
    fields
}

fn push_shares(fields: &mut Vec<(&'static str, String)>, upstream: &UpstreamSettings) {
    let usual = UpstreamSettings::new(String::new(), Vec::new(), DOT_PORT);
    if let Some(tier) = upstream.tier {
        fields.push(("tier", tier.to_string()));
    }
    if upstream.weight != usual.weight {
        fields.push(("weight", upstream.weight.to_string()));
    }
    if upstream.keep_warm != usual.keep_warm {
        fields.push(("keep_warm", upstream.keep_warm.to_string()));
    }
    if upstream.edns != usual.edns {
        fields.push(("edns", upstream.edns.to_string()));
    }
    if upstream.edns && upstream.padding != usual.padding {
        let padding = match upstream.padding {
            0 => "false".to_owned(),
            octets => octets.to_string(),
        };
        fields.push(("padding", padding));
    }
    let binding = &upstream.binding;
    if !binding.source.is_empty() {
        let source = binding.source.iter().map(ToString::to_string);
        fields.push(("source", list(source)));
    }
    if let Some(interface) = &binding.interface {
        fields.push(("interface", quoted(interface)));
    }
    if let Some(mark) = binding.mark {
        fields.push(("mark", mark.to_string()));
    }
}

/// The preset an upstream is, with nothing left out.
fn whole_preset(upstream: &UpstreamSettings) -> Option<&'static str> {
    let preset = upstream.preset?;
    let name = preset.server_name();
    let addresses = upstream.endpoints.iter().map(|endpoint| endpoint.ip());
    let whole = addresses.eq(preset.addresses())
        && upstream
            .endpoints
            .iter()
            .all(|it| it.port() == upstream.port)
        && upstream.tls_name.as_ref() == Some(&name);
    whole.then_some(preset.name)
}

fn push_route(text: &mut String, config: &Config, route: &RouteSettings) {
    let suffixes = list(route.suffixes.iter().map(ToString::to_string));
    let to = config.upstreams_of(Some(route));
    let to = to.iter().map(|upstream| match upstream.protocol {
        Protocol::Tls => upstream.name.clone(),
        Protocol::Tcp | Protocol::Udp => upstream.spec(),
    });
    let strategy = quoted(strategy_word(route.strategy));
    let to = list(to);
    text.push_str(&format!(
        "\n[[route]]\nsuffix = {suffixes}\nto = {to}\nstrategy = {strategy}\nfallback = {}\n",
        route.fallback
    ));
}

fn push_local(text: &mut String, config: &Config) {
    for record in &config.local {
        let (key, value) = match &record.data {
            LocalData::A(address) => ("a", address.to_string()),
            LocalData::Aaaa(address) => ("aaaa", address.to_string()),
            LocalData::Cname(name) => ("cname", name.to_string()),
            LocalData::Ptr(name) => ("ptr", name.to_string()),
            LocalData::Txt(text) => ("txt", String::from_utf8_lossy(text).into_owned()),
        };
        let name = quoted(&record.name.to_string());
        text.push_str(&format!(
            "\n[[local]]\nname = {name}\n{key} = {}\nttl = {}\n",
            quoted(&value),
            record.ttl
        ));
    }
}
