//! `dotward explain`: what would become of a question, and why. Nothing is sent.
//!
//! Promises: the decision is that of a proxy with this configuration, made by the same policy; JSON has stable keys.
//!
//! Deliberately absent: how the upstreams are doing, which decides who of a group is asked.

use std::io::{self, Write};

use dotward_core::outcome::Refusal;
use dotward_core::policy::{Decision, Policy, special_rule};
use dotward_core::upstream::GroupId;
use dotward_core::wire::{Class, Name, Question, ResponseView, Section};
use serde_json::{Value, json};

use super::list::{fallback_words, group_json, upstream_json};
use super::records::{self, absolute};
use crate::cli::ExplainArgs;
use crate::config::{Config, RouteSettings, Strategy, UpstreamSettings, strategy_word};
use crate::plan;

/// Decides, and writes the decision and its reason.
///
/// # Errors
///
/// Those of `out`.
pub fn write_explanation(
    out: &mut dyn Write,
    config: &Config,
    args: &ExplainArgs,
) -> io::Result<()> {
    let policy = Policy::new(plan::policy(config));
    let question = Question::new(&args.name, args.qtype, Class::IN);
    let decision = policy.decide_question(question.view(), false);
    let answer = policy.respond(&question, decision).unwrap_or_default();
    if args.json {
        let mut explained = explanation(config, decision, &answer);
        if let Decision::Forward { route, .. } = decision {
            let withheld = matches!(addresses(config, route, &args.name), Addresses::Withheld);
            explained["private_addresses"] = json!(if withheld { "withheld" } else { "told" });
        }
        explained["name"] = json!(absolute(&args.name));
        explained["type"] = json!(args.qtype.to_string());
        return writeln!(out, "{explained:#}");
    }
    write!(out, "{} {}: ", absolute(&args.name), args.qtype)?;
    match decision {
        Decision::Forward { group, route } => {
            write_group(out, &members(config, group), route)?;
            write_addresses(out, &addresses(config, route, &args.name))
        }
        Decision::Local => {
            writeln!(out, "answered here, from the local records")?;
            write_answer(out, &answer)
        }
        Decision::Special { domain, special: _ } => {
            writeln!(
                out,
                "answered here, because {} is special",
                absolute(domain)
            )?;
            writeln!(out, "  ruled by  {}", special_rule(domain).unwrap_or("?"))?;
            write_answer(out, &answer)?;
            writeln!(
                out,
                "  to change: give these names a route, or list {domain} in privacy.forward_special"
            )
        }
        Decision::Refuse(refusal) => {
            let told = refusal.told();
            writeln!(out, "refused with {}: {}", told.rcode, told.error.text)
        }
    }
}

/// Whom a group asks.
struct Members<'a> {
    /// `None` for the general group.
    route: Option<&'a RouteSettings>,
    upstreams: Vec<&'a UpstreamSettings>,
    strategy: Strategy,
}

fn members(config: &Config, group: GroupId) -> Members<'_> {
    let route = plan::route_of(config, group);
    Members {
        route,
        upstreams: config.upstreams_of(route),
        strategy: route.map_or(config.strategy, |route| route.strategy),
    }
}

fn write_group(out: &mut dyn Write, asked: &Members<'_>, domain: Option<&Name>) -> io::Result<()> {
    match (asked.route, domain) {
        (Some(route), Some(domain)) => {
            writeln!(out, "asked where the route of {} leads", absolute(domain))?;
            writeln!(out, "  route     {}", route.names())?;
        }
        (_, _) => writeln!(out, "asked like any other name: no route claims it")?,
    }
    for upstream in &asked.upstreams {
        let tier = upstream.tier.unwrap_or(1);
        writeln!(
            out,
            "  upstream  {}, tier {tier}: {}",
            upstream.name,
            upstream.spec()
        )?;
    }
    writeln!(out, "  strategy  {}", strategy_word(asked.strategy))?;
    match asked.route {
        Some(route) => writeln!(out, "  otherwise {}", fallback_words(route)),
        None => Ok(()),
    }
}

/// What becomes of private addresses in what upstreams say.
enum Addresses {
    /// They are told, whosever they are.
    Told,
    /// They are told, because who is asked is named for these names.
    OfRoute,
    /// They are told, because this domain may have them.
    Allowed(Name),
    /// They are not told.
    Withheld,
}

fn addresses(config: &Config, route: Option<&Name>, name: &Name) -> Addresses {
    let Some(guard) = plan::guard(config) else {
        return Addresses::Told;
    };
    match (route, guard.allowance(name.as_octets())) {
        (Some(_), _) => Addresses::OfRoute,
        (None, Some(domain)) => Addresses::Allowed(domain.clone()),
        (None, None) => Addresses::Withheld,
    }
}

/// Nothing where nobody asked for them to be withheld.
fn write_addresses(out: &mut dyn Write, addresses: &Addresses) -> io::Result<()> {
    match addresses {
        Addresses::Told => Ok(()),
        Addresses::OfRoute => {
            writeln!(
                out,
                "  private addresses are told, because a route leads there"
            )
        }
        Addresses::Allowed(domain) => writeln!(
            out,
            "  private addresses are told, because {} may have them",
            absolute(domain)
        ),
        Addresses::Withheld => writeln!(
            out,
            "  private addresses are withheld; to allow them, list a domain in privacy.private_domain"
        ),
    }
}

/// The records of an answer of our own, or why it has none.
fn write_answer(out: &mut dyn Write, message: &[u8]) -> io::Result<()> {
    let Ok(view) = ResponseView::parse(message) else {
        return Ok(());
    };
    let answers = answers(&view);
    if answers.is_empty() {
        writeln!(out, "  answer    {}, no record", view.rcode())?;
    }
    for line in answers {
        writeln!(out, "  answer    {line}")?;
    }
    Ok(())
}

fn answers(view: &ResponseView<'_>) -> Vec<String> {
    let records = view.records().flatten();
    records
        .filter(|record| record.section == Section::Answer)
        .map(|record| {
            let message = view.message();
            let (owner, data) = (
                records::owner(message, &record),
                records::data(message, &record),
            );
            format!("{owner} {} {} {data}", record.ttl, record.rtype)
        })
        .collect()
}

fn explanation(config: &Config, decision: Decision<'_>, answer: &[u8]) -> Value {
    let view = ResponseView::parse(answer);
    let answer = view.map_or(
        Value::Null,
        |view| json!({ "rcode": view.rcode().to_string(), "records": answers(&view) }),
    );
    match decision {
        Decision::Forward { group, route } => {
            let asked = members(config, group);
            let upstreams: Vec<_> = asked.upstreams.iter().map(|it| upstream_json(it)).collect();
            json!({
                "decision": if route.is_some() { "route" } else { "default" },
                "domain": route.map(absolute),
                "group": group_json(&asked.upstreams, asked.strategy, asked.route),
                "upstreams": upstreams,
            })
        }
        Decision::Local => json!({ "decision": "local", "answer": answer }),
        Decision::Special { domain, special: _ } => json!({
            "decision": "special",
            "domain": absolute(domain),
            "ruled_by": special_rule(domain),
            "answer": answer,
        }),
        Decision::Refuse(refusal) => refused(refusal),
    }
}

fn refused(refusal: Refusal) -> Value {
    let told = refusal.told();
    json!({ "decision": "refused", "rcode": told.rcode.to_string(), "reason": told.error.text })
}
