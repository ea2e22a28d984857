//! `dotward upstream test`: whether each address of each upstream answers, and what its connection is like.

use std::io::{self, Write};

use dotward_core::wire::ResponseView;
use serde_json::{Value, json};

use super::{Tested, Trial, certificate, millis};
use crate::commands::query::{connection_words, day, facts_json};
use crate::upstream::one_shot::OneShot;

/// Prints the result. `true` if every upstream works.
pub(super) fn write(out: &mut dyn Write, tested: &[Tested], json: bool) -> io::Result<bool> {
    if json {
        let upstreams: Vec<Value> = tested.iter().map(upstream_json).collect();
        writeln!(out, "{:#}", json!({ "upstreams": upstreams }))?;
    } else {
        tested.iter().try_for_each(|one| write_one(out, one))?;
    }
    Ok(tested.iter().all(Tested::works))
}

fn write_one(out: &mut dyn Write, one: &Tested) -> io::Result<()> {
    let word = if one.works() { "works" } else { "FAILS" };
    writeln!(out, "{word}  {}", one.upstream.name)?;
    if let Some(fault) = &one.fault {
        writeln!(out, "       {fault}")?;
    }
    let widths = one.trials.iter().map(|it| it.endpoint.to_string().len());
    let width = widths.max().unwrap_or(0);
    for Trial { endpoint, outcome } in &one.trials {
        let endpoint = endpoint.to_string();
        match outcome {
            Err(why) => {
                writeln!(out, "       {endpoint:width$}  {why}")?;
                if let Some(remedy) = why.remedy() {
                    writeln!(out, "       {:width$}  to do: {remedy}", "")?;
                }
            }
            Ok(answer) => {
                let facts = &answer.facts;
                writeln!(
                    out,
                    "       {endpoint:width$}  {}; TCP {}, TLS {}, answer {}; {}",
                    rcode(answer),
                    millis(facts.tcp),
                    millis(facts.tls),
                    millis(facts.answer),
                    connection_words(facts)
                )?;
            }
        }
    }
    // Addresses of one upstream mostly show the same certificate.
    let mut told = Vec::new();
    for answer in one.trials.iter().filter_map(|it| it.outcome.as_ref().ok()) {
        let Some(facts) = certificate(&answer.facts) else {
            continue;
        };
        if !told.contains(&facts.pin) {
            writeln!(
                out,
                "       certificate for {}, by {}, until {} ({} days left)",
                facts.names.join(", "),
                facts.issuer,
                day(facts.not_after),
                facts.days_left
            )?;
            told.push(facts.pin);
        }
    }
    Ok(())
}

fn rcode(answer: &OneShot) -> String {
    ResponseView::parse(&answer.response).map_or_else(
        |_| "malformed response".into(),
        |view| view.rcode().to_string(),
    )
}

fn upstream_json(one: &Tested) -> Value {
    let endpoints: Vec<Value> = one
        .trials
        .iter()
        .map(|trial| {
            let answer = trial.outcome.as_ref().ok();
            json!({
                "endpoint": trial.endpoint.to_string(),
                "error": trial.outcome.as_ref().err().map(ToString::to_string),
                "status": answer.map(rcode),
                "connection": answer.map(|answer| facts_json(&answer.facts)),
            })
        })
        .collect();
    json!({
        "upstream": one.upstream.name,
        "spec": one.upstream.spec(),
        "works": one.works(),
        "error": one.fault,
        "endpoints": endpoints,
    })
}
