//! `dotward upstream pin`: the keys upstreams show, as they are written into a configuration.
//!
//! Only keys of upstreams that proved who they are the usual way are printed: a pin taken from somebody in between would keep him there.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Tested, certificate};
use crate::commands::query::day;
use crate::tls::certificate::CertificateFacts;

/// Prints the result. `true` if every upstream showed a key.
pub(super) fn write(out: &mut dyn Write, tested: &[Tested], json: bool) -> io::Result<bool> {
    if json {
        let upstreams: Vec<Value> = tested.iter().map(upstream_json).collect();
        writeln!(out, "{:#}", json!({ "upstreams": upstreams }))?;
    } else {
        tested.iter().try_for_each(|one| write_one(out, one))?;
    }
    Ok(tested.iter().all(|one| !keys(one).is_empty()))
}

/// The certificates of different keys, as different addresses may show them.
fn keys(one: &Tested) -> Vec<CertificateFacts> {
    let mut keys: Vec<CertificateFacts> = Vec::new();
    let answers = one.trials.iter().filter_map(|it| it.outcome.as_ref().ok());
    for facts in answers.filter_map(|answer| certificate(&answer.facts)) {
        if !keys.iter().any(|known| known.pin == facts.pin) {
            keys.push(facts);
        }
    }
    keys
}

fn write_one(out: &mut dyn Write, one: &Tested) -> io::Result<()> {
    let name = &one.upstream.name;
    let keys = keys(one);
    if keys.is_empty() {
        writeln!(out, "# {name}: no pin")?;
    }
    let failures = one.trials.iter();
    let failures = failures.filter_map(|it| Some((it.endpoint, it.outcome.as_ref().err()?)));
    for (endpoint, why) in failures {
        writeln!(out, "# {name} at {endpoint}: {why}")?;
    }
    if let Some(fault) = &one.fault {
        writeln!(out, "# {name}: {fault}")?;
    }
    for facts in &keys {
        writeln!(
            out,
            "# {name}: certificate for {}, by {}, until {} ({} days left)",
            facts.names.join(", "),
            facts.issuer,
            day(facts.not_after),
            facts.days_left
        )?;
    }
    if !keys.is_empty() {
        let pins = keys.iter().map(|facts| format!("\"sha256/{}\"", facts.pin));
        let pins: Vec<_> = pins.collect();
        writeln!(out, "pin = [{}]", pins.join(", "))?;
    }
    Ok(())
}

fn upstream_json(one: &Tested) -> Value {
    let pins = keys(one);
    let pins: Vec<Value> = pins
        .iter()
        .map(|facts| {
            json!({
                "pin": format!("sha256/{}", facts.pin),
                "names": facts.names,
                "issuer": facts.issuer,
                "not_after": day(facts.not_after),
                "days_left": facts.days_left,
            })
        })
        .collect();
    let failures: Vec<Value> = one
        .trials
        .iter()
        .filter_map(|trial| {
            let why = trial.outcome.as_ref().err()?;
            Some(json!({ "endpoint": trial.endpoint.to_string(), "error": why.to_string() }))
        })
        .collect();
    json!({ "upstream": one.upstream.name, "pins": pins, "error": one.fault, "failures": failures })
}
