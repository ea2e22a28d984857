//! The JSON Schema of the configuration file (draft 2020-12), for editors and for checks outside this program.
//!
//! Promise: made of the table, so every key is there with its meaning and default, and nothing else is.
//!
//! Deliberately absent: what values mean together (`dotward check` knows), and whether files exist.

use serde_json::{Map, Value, json};

use super::{Default, Id, Key, Kind, SETTINGS, Setting, is_bare};
use crate::limits::WORKERS_MAX;
use crate::presets::PRESETS;

/// The schema.
pub fn schema() -> Value {
    let mut root = Map::new();
    for (setting, key) in keys() {
        if key.table.is_empty() && !matches!(setting.id, Id::Upstream | Id::Route) {
            root.insert(key.name.to_owned(), property(setting));
        } else if !key.table.is_empty() && !root.contains_key(key.table) {
            root.insert(key.table.to_owned(), table(key));
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dotward.toml",
        "description": "The configuration file of dotward. Words are written in small letters here; the program takes any letter case.",
        "type": "object",
        "properties": root,
        "additionalProperties": false,
    })
}

fn keys() -> impl Iterator<Item = (&'static Setting, Key)> {
    SETTINGS
        .iter()
        .filter_map(|setting| setting.key.map(|key| (setting, key)))
}

/// A table; upstreams and routes may stand on a line each too.
fn table(of: Key) -> Value {
    let same = |key: &Key| (key.table, key.repeated) == (of.table, of.repeated);
    let properties = keys().filter(|(_, key)| same(key));
    let properties: Map<_, _> = properties
        .map(|(setting, key)| (key.name.to_owned(), property(setting)))
        .collect();
    let table =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !of.repeated {
        return table;
    }
    let line = SETTINGS.iter().find(|setting| {
        setting
            .key
            .is_some_and(|key| key.table.is_empty() && key.name == of.table)
    });
    let Some(line) = line else {
        return json!({ "type": "array", "items": table });
    };
    let on_a_line = value(line.kind);
    json!({
        "description": meaning(line),
        "anyOf": [on_a_line, { "type": "array", "items": { "anyOf": [on_a_line, table] } }],
    })
}

fn property(setting: &Setting) -> Value {
    let one = value(setting.kind);
    let mut property = if setting.many {
        json!({ "anyOf": [one, { "type": "array", "items": one }] })
    } else {
        one
    };
    if let Some(map) = property.as_object_mut() {
        map.insert("description".into(), meaning(setting).into());
        if let Default::Values(values) = setting.default {
            map.insert("default".into(), default(setting, values));
        }
    }
    property
}

fn default(setting: &Setting, values: &[&str]) -> Value {
    let typed = |text: &&str| -> Value {
        let bare = is_bare(setting.kind, text);
        let parsed = serde_json::from_str(text).ok().filter(|_| bare);
        parsed.unwrap_or_else(|| (*text).into())
    };
    if setting.many {
        values.iter().map(typed).collect()
    } else {
        values.last().map(typed).unwrap_or_default()
    }
}

fn meaning(setting: &Setting) -> String {
    let mut text = format!("{}.", setting.help);
    if !setting.detail.is_empty() {
        text = format!("{text} {}", setting.detail);
    }
    if let Default::Nothing(words) = setting.default {
        text = format!("{text} Default: {words}.");
    }
    text
}

const DURATION: &str = r"^[0-9]+\s*(ms|s|m|h|d)$";

/// What one value may look like.
fn value(kind: Kind) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match kind {
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Preset => {
            let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            json!({ "type": "string", "enum": names })
        }
        Kind::Duration { .. } => text(DURATION),
        Kind::Seconds { max } => json!({
            "anyOf": [{ "type": "integer", "minimum": 0, "maximum": max }, text(r"^[0-9]+\s*(s|m|h|d)?$")],
        }),
        Kind::Size => json!({
            "anyOf": [{ "type": "integer", "minimum": 0 }, text(r"^([0-9]+\s*(B|K|k|KiB|M|MiB|G|GiB)?|[oO][fF][fF])$")],
        }),
        Kind::Port => json!({ "type": "integer", "minimum": 1, "maximum": u16::MAX }),
        Kind::Number { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::YesNo | Kind::Switch => json!({ "type": "boolean" }),
        Kind::Padding => json!({
            "anyOf": [{ "type": "boolean" }, { "type": "integer", "minimum": 16, "maximum": 512 }],
        }),
        Kind::Workers => json!({
            "anyOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": WORKERS_MAX }],
        }),
        Kind::Label => text("^[A-Za-z0-9._-]{1,64}$"),
        Kind::Pin => text("^sha256/[A-Za-z0-9+/]{43}=$"),
        Kind::Interface => json!({ "type": "string", "minLength": 1, "maxLength": 15 }),
        Kind::Ipv4 => json!({ "type": "string", "format": "ipv4" }),
        Kind::Ipv6 => json!({ "type": "string", "format": "ipv6" }),
        Kind::Ip => json!({
            "anyOf": [{ "type": "string", "format": "ipv4" }, { "type": "string", "format": "ipv6" }],
        }),
        Kind::Store => text("^([oO][fF][fF]|(rediss?([+][a-z]+)?|unix)://.+)$"),
        Kind::Text => json!({ "type": "string", "minLength": 1, "maxLength": 4096 }),
        Kind::Listen
        | Kind::ListenTls
        | Kind::Admin
        | Kind::Network
        | Kind::Spec
        | Kind::Route
        | Kind::Suffix
        | Kind::Domain
        | Kind::Target
        | Kind::Path
        | Kind::DomainName
        | Kind::TlsName
        | Kind::Endpoint => json!({ "type": "string", "minLength": 1 }),
    }
}
