//! `dotward upstream list`: the providers known by name, and who is asked by this configuration.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::config::{
    Config, DOT_PORT, RouteSettings, Strategy, UpstreamSettings, protocol_word, strategy_word,
};
use crate::presets::{PRESETS, Preset};

/// Prints the list. Without a configuration, because that has faults, it shows the known providers only.
///
/// # Errors
///
/// Those of `out`.
pub fn write_list(out: &mut dyn Write, config: Option<&Config>, json: bool) -> io::Result<()> {
    if json {
        return write_json(out, config);
    }
    PRESETS
        .iter()
        .try_for_each(|preset| write_preset(out, preset))?;
    config.map_or(Ok(()), |config| write_groups(out, config))
}

fn write_preset(out: &mut dyn Write, preset: &Preset) -> io::Result<()> {
    let default = if preset.name == PRESETS[0].name {
        "  (default)"
    } else {
        ""
    };
    writeln!(out, "{}{default}", preset.name)?;
    let addresses: Vec<_> = preset.addresses().map(|ip| ip.to_string()).collect();
    writeln!(out, "  addresses     {}", addresses.join(", "))?;
    writeln!(out, "  TLS name      {}, port {DOT_PORT}", preset.tls_name)?;
    writeln!(out, "  provider      {}", preset.provider)?;
    writeln!(out, "  jurisdiction  {}", preset.jurisdiction)?;
    writeln!(out, "  policy        {}", preset.policy)?;
    match preset.notice {
        Some(notice) => writeln!(out, "  notice        {notice}"),
        None => Ok(()),
    }
}

fn write_groups(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    writeln!(out)?;
    writeln!(
        out,
        "configured, strategy {}",
        strategy_word(config.strategy)
    )?;
    for upstream in config.upstreams_of(None) {
        write_member(out, upstream)?;
    }
    for route in &config.routes {
        writeln!(
            out,
            "route {}, strategy {}, {}",
            route.names(),
            strategy_word(route.strategy),
            fallback_words(route)
        )?;
        for upstream in config.upstreams_of(Some(route)) {
            write_member(out, upstream)?;
        }
    }
    Ok(())
}

fn write_member(out: &mut dyn Write, upstream: &UpstreamSettings) -> io::Result<()> {
    let tier = upstream.tier.unwrap_or(1);
    let protocol = protocol_word(upstream.protocol);
    let (name, spec) = (&upstream.name, upstream.spec());
    writeln!(out, "  tier {tier}  {protocol}  {name:<16}  {spec}")
}

/// What happens when none of them answers.
pub(crate) fn fallback_words(route: &RouteSettings) -> &'static str {
    match route.fallback {
        true => "falls back to the configured upstreams",
        false => "never falls back",
    }
}

fn write_json(out: &mut dyn Write, config: Option<&Config>) -> io::Result<()> {
    let presets: Vec<_> = PRESETS.iter().map(preset_json).collect();
    let upstreams = config.map_or(&[][..], |config| &config.upstreams);
    let configured: Vec<_> = upstreams.iter().map(upstream_json).collect();
    let list = json!({
        "default": PRESETS[0].name,
        "presets": presets,
        "configured": configured,
        "groups": config.map_or_else(Vec::new, groups_json),
    });
    writeln!(out, "{list:#}")
}

fn groups_json(config: &Config) -> Vec<Value> {
    let mut groups = vec![group_json(
        &config.upstreams_of(None),
        config.strategy,
        None,
    )];
    for route in &config.routes {
        let members = config.upstreams_of(Some(route));
        groups.push(group_json(&members, route.strategy, Some(route)));
    }
    groups
}

/// A group; `route` is `null` for the general one.
pub(crate) fn group_json(
    members: &[&UpstreamSettings],
    strategy: Strategy,
    route: Option<&RouteSettings>,
) -> Value {
    let names: Vec<_> = members.iter().map(|it| it.name.as_str()).collect();
    let suffixes = |route: &RouteSettings| -> Vec<String> {
        route.suffixes.iter().map(ToString::to_string).collect()
    };
    json!({
        "route": route.map(suffixes),
        "strategy": strategy_word(strategy),
        "fallback": route.map(|route| route.fallback),
        "upstreams": names,
    })
}

/// One upstream; `tier` is `null` when it serves routes only.
pub(crate) fn upstream_json(upstream: &UpstreamSettings) -> Value {
    json!({
        "name": upstream.name,
        "protocol": protocol_word(upstream.protocol),
        "spec": upstream.spec(),
        "tier": upstream.tier,
        "weight": upstream.weight,
        "keep_warm": upstream.keep_warm,
        "edns": upstream.edns,
        "padding": upstream.padding,
    })
}

fn preset_json(preset: &Preset) -> Value {
    json!({
        "name": preset.name,
        "provider": preset.provider,
        "addresses": preset.addresses().map(|ip| ip.to_string()).collect::<Vec<_>>(),
        "port": DOT_PORT,
        "tls_name": preset.tls_name,
        "jurisdiction": preset.jurisdiction,
        "policy": preset.policy,
        "notice": preset.notice,
    })
}
