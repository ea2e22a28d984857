//! `dotward query`: one question to the configured upstreams, and what the connection did.
//!
//! Promises: upstreams are asked in the order of the configuration until one answers, with the verification a start would use; what
//! failed before is shown too. JSON has stable keys.
//!
//! A name that a route claims is asked where the route leads, and one that a proxy would answer itself nowhere, so that asking by hand tells
//! no public resolver a private name; `--via` decides otherwise.
//!
//! An unencrypted server is asked only where `--via udp://…` or `tcp://…`, or a route, names it: that may be a proxy at work.
//!
//! Deliberately absent: several questions.

use std::io::{self, Write};
use std::net::SocketAddr;

use dotward_core::policy::{Decision, Policy};
use dotward_core::wire::{Class, Question, Record, ResponseView, Section};
use serde_json::{Value, json};

use super::records;
use crate::cli::QueryArgs;
use crate::config::{Config, Protocol, UpstreamSettings, protocol_word};
use crate::plan;
use crate::run::local_runtime;
use crate::tls::certificate::CertificateFacts;
use crate::tls::client::UpstreamTls;
use crate::upstream::bootstrap;
use crate::upstream::one_shot::{self, ConnectionFacts, OneShot};

/// One try that failed: with whom, and why.
struct Failure {
    upstream: String,
    endpoint: Option<SocketAddr>,
    why: String,
    /// What to do about it, where something can be said.
    remedy: Option<&'static str>,
}

/// What the upstreams made of a question.
struct Outcome {
    failures: Vec<Failure>,
    /// Who answered, and what.
    answer: Option<(String, OneShot)>,
}

/// Asks, and writes the result to `out`. `true` if an upstream answered, whatever it answered; the exit code is 0 then,
/// else 1.
///
/// # Errors
///
/// Those of `out`, and of a system that gives no event loop.
pub fn write_query(out: &mut dyn Write, config: &Config, args: &QueryArgs) -> io::Result<bool> {
    let question = Question::new(&args.name, args.qtype, Class::IN);
    let upstreams = match args.via {
        Some(_) => config.upstreams_of(None),
        None => match asked(config, &question) {
            Some(upstreams) => upstreams,
            None => return stays_here(out, args),
        },
    };
    let outcome = local_runtime()?.block_on(ask(config, &upstreams, &question));
    if args.json {
        writeln!(out, "{:#}", outcome_json(&question, &outcome))?;
    } else {
        write_outcome(out, &outcome)?;
    }
    Ok(outcome.answer.is_some())
}

/// Says that nobody is asked.
fn stays_here(out: &mut dyn Write, args: &QueryArgs) -> io::Result<bool> {
    let name = records::absolute(&args.name);
    let why = format!(
        "{name} stays here: a proxy with this configuration answers it itself and asks nobody (dotward explain {name})"
    );
    if args.json {
        let value = json!({ "error": { "kind": "stays_here", "message": why } });
        writeln!(out, "{value:#}")?;
    } else {
        writeln!(
            out,
            ";; {why}\n;;   to do: --via NAME asks an upstream all the same"
        )?;
    }
    Ok(false)
}

/// Who is asked about this name; `None` where a proxy would ask nobody.
fn asked<'a>(config: &'a Config, question: &Question) -> Option<Vec<&'a UpstreamSettings>> {
    let policy = Policy::new(plan::policy(config));
    let route = match policy.decide_question(question.view(), false) {
        Decision::Forward { group, .. } => plan::route_of(config, group),
        Decision::Local | Decision::Special { .. } => return None,
        Decision::Refuse(_) => None,
    };
    Some(config.upstreams_of(route))
}

async fn ask(config: &Config, upstreams: &[&UpstreamSettings], question: &Question) -> Outcome {
    let mut failures = Vec::new();
    for upstream in upstreams {
        match ask_upstream(config, upstream, question, &mut failures).await {
            Some(answer) => {
                return Outcome {
                    failures,
                    answer: Some((upstream.name.clone(), answer)),
                };
            }
            None => continue,
        }
    }
    Outcome {
        failures,
        answer: None,
    }
}

async fn ask_upstream(
    config: &Config,
    upstream: &UpstreamSettings,
    question: &Question,
    failures: &mut Vec<Failure>,
) -> Option<OneShot> {
    let mut fail = |endpoint, why, remedy| {
        failures.push(Failure {
            upstream: upstream.name.clone(),
            endpoint,
            why,
            remedy,
        });
    };
    if upstream.protocol != Protocol::Tls {
        let (protocol, binding) = (upstream.protocol, &upstream.binding);
        for endpoint in &upstream.endpoints {
            match one_shot::ask_clear(protocol, binding, *endpoint, question).await {
                Ok(answer) => return Some(answer),
                Err(error) => fail(Some(*endpoint), error.to_string(), error.remedy()),
            }
        }
        return None;
    }
    let tls = match UpstreamTls::new(upstream) {
        Ok(tls) => tls,
        Err(error) => {
            fail(None, error.to_string(), None);
            return None;
        }
    };
    let endpoints = bootstrap::endpoints(config, upstream).await;
    if endpoints.is_empty() {
        fail(None, "no address of it was found".to_owned(), None);
    }
    for endpoint in endpoints {
        match one_shot::ask(&tls, &upstream.binding, endpoint, question).await {
            Ok(answer) => return Some(answer),
            Err(error) => fail(Some(endpoint), error.to_string(), error.remedy()),
        }
    }
    None
}

fn write_outcome(out: &mut dyn Write, outcome: &Outcome) -> io::Result<()> {
    for failure in &outcome.failures {
        let endpoint = failure.endpoint.map(|endpoint| format!(" at {endpoint}"));
        let endpoint = endpoint.unwrap_or_default();
        writeln!(
            out,
            ";; upstream {}{endpoint}: {}",
            failure.upstream, failure.why
        )?;
        if let Some(remedy) = failure.remedy {
            writeln!(out, ";;   to do: {remedy}")?;
        }
    }
    match &outcome.answer {
        None => writeln!(out, ";; no upstream answered"),
        Some((upstream, answer)) => {
            write_message(out, &answer.response)?;
            write_facts(out, upstream, answer)
        }
    }
}

/// The message as dig shows it.
fn write_message(out: &mut dyn Write, message: &[u8]) -> io::Result<()> {
    let Ok(view) = ResponseView::parse(message) else {
        return writeln!(out, ";; the response is malformed");
    };
    let header = view.header();
    writeln!(
        out,
        ";; status: {}, id: {}, flags: {}",
        view.rcode(),
        header.id,
        flags(&view).join(" ")
    )?;
    for error in view.extended_errors() {
        let text = error.text.escape_debug();
        let purpose = error.code.purpose();
        writeln!(out, ";; EDE: {} ({purpose}): {text}", error.code.0)?;
    }
    if let Some(question) = view.question() {
        let question = question.to_owned();
        let name = records::absolute(&question.qname());
        writeln!(
            out,
            "\n;; QUESTION\n;{name}\t\t{}\t{}",
            question.qclass(),
            question.qtype()
        )?;
    }
    for (section, title) in [
        (Section::Answer, "ANSWER"),
        (Section::Authority, "AUTHORITY"),
        (Section::Additional, "ADDITIONAL"),
    ] {
        let mut title = Some(title);
        for record in shown_records(&view).filter(|record| record.section == section) {
            if let Some(title) = title.take() {
                writeln!(out, "\n;; {title}")?;
            }
            let owner = records::owner(message, &record);
            let data = records::data(message, &record);
            let (ttl, class, rtype) = (record.ttl, record.class, record.rtype);
            writeln!(out, "{owner}\t{ttl}\t{class}\t{rtype}\t{data}")?;
        }
    }
    writeln!(out)
}

/// All records but OPT, which is about the message and not in it.
fn shown_records<'a>(view: &ResponseView<'a>) -> impl Iterator<Item = Record<'a>> {
    view.records()
        .flatten()
        .filter(|record| record.rtype != dotward_core::wire::RecordType::OPT)
}

fn flags(view: &ResponseView<'_>) -> Vec<&'static str> {
    let flags = view.header().flags;
    [
        (flags.response(), "qr"),
        (flags.authoritative(), "aa"),
        (flags.truncated(), "tc"),
        (flags.recursion_desired(), "rd"),
        (flags.recursion_available(), "ra"),
        (flags.authentic_data(), "ad"),
        (flags.checking_disabled(), "cd"),
    ]
    .into_iter()
    .filter_map(|(set, word)| set.then_some(word))
    .collect()
}

fn write_facts(out: &mut dyn Write, upstream: &str, answer: &OneShot) -> io::Result<()> {
    let facts = &answer.facts;
    writeln!(out, ";; upstream:    {upstream} at {}", facts.endpoint)?;
    writeln!(out, ";; time:        {}", times(facts))?;
    writeln!(out, ";; connection:  {}", connection_words(facts))?;
    if let Some(certificate) = facts.certificates.first().and_then(CertificateFacts::read) {
        write_certificate(out, &certificate)?;
    }
    writeln!(out, ";; size:        {} octets", answer.response.len())
}

/// How long each part of the way took.
fn times(facts: &ConnectionFacts) -> String {
    let ms = |time: std::time::Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    let (tcp, tls, answer) = (ms(facts.tcp), ms(facts.tls), ms(facts.answer));
    match facts.protocol {
        Protocol::Tls => format!("TCP {tcp}, TLS {tls}, answer {answer}"),
        Protocol::Tcp => format!("TCP {tcp}, answer {answer}"),
        Protocol::Udp => format!("answer {answer}"),
    }
}

/// What TLS agreed on, in one line.
pub(crate) fn connection_words(facts: &ConnectionFacts) -> String {
    match facts.protocol {
        Protocol::Tls => {}
        Protocol::Tcp => return "TCP, not encrypted".to_owned(),
        Protocol::Udp => return "none: UDP, not encrypted".to_owned(),
    }
    let unknown = || "unknown".to_owned();
    let handshake = if facts.resumed {
        "resumed session"
    } else {
        "full handshake"
    };
    let alpn = facts.alpn.as_deref().unwrap_or("none");
    format!(
        "{}, {}, {}, ALPN {alpn}, {handshake}",
        facts.version.clone().unwrap_or_else(unknown),
        facts
            .group
            .clone()
            .unwrap_or_else(|| "no key exchange".to_owned()),
        facts.cipher.clone().unwrap_or_else(unknown),
    )
}

fn write_certificate(out: &mut dyn Write, certificate: &CertificateFacts) -> io::Result<()> {
    writeln!(out, ";; certificate: subject {}", certificate.subject)?;
    writeln!(out, ";;              issuer  {}", certificate.issuer)?;
    writeln!(
        out,
        ";;              names   {}",
        certificate.names.join(", ")
    )?;
    writeln!(
        out,
        ";;              valid   until {} ({} days left)",
        day(certificate.not_after),
        certificate.days_left
    )?;
    writeln!(out, ";;              pin     sha256/{}", certificate.pin)
}

/// A date as people and programs read it.
pub(crate) fn day(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |it| it.to_string())
}

fn outcome_json(question: &Question, outcome: &Outcome) -> Value {
    let failures: Vec<Value> = outcome
        .failures
        .iter()
        .map(|failure| {
            json!({
                "upstream": failure.upstream,
                "endpoint": failure.endpoint.map(|endpoint| endpoint.to_string()),
                "error": failure.why,
            })
        })
        .collect();
    let answered = outcome.answer.as_ref();
    json!({
        "question": {
            "name": records::absolute(&question.qname()),
            "type": question.qtype().to_string(),
            "class": question.qclass().to_string(),
        },
        "upstream": answered.map(|(upstream, _)| upstream),
        "response": answered.and_then(|(_, answer)| message_json(&answer.response)),
        "connection": answered.map(|(_, answer)| facts_json(&answer.facts)),
        "failures": failures,
    })
}

fn message_json(message: &[u8]) -> Option<Value> {
    let view = ResponseView::parse(message).ok()?;
    let of = |section: Section| -> Vec<Value> {
        shown_records(&view)
            .filter(|record| record.section == section)
            .map(|record| {
                json!({
                    "name": records::owner(message, &record),
                    "ttl": record.ttl,
                    "class": record.class.to_string(),
                    "type": record.rtype.to_string(),
                    "data": records::data(message, &record),
                })
            })
            .collect()
    };
    let errors: Vec<Value> = view
        .extended_errors()
        .map(|error| json!({ "code": error.code.0, "purpose": error.code.purpose(), "text": error.text }))
        .collect();
    Some(json!({
        "status": view.rcode().to_string(),
        "flags": flags(&view),
        "extended_errors": errors,
        "answer": of(Section::Answer),
        "authority": of(Section::Authority),
        "additional": of(Section::Additional),
        "octets": message.len(),
    }))
}

pub(crate) fn facts_json(facts: &ConnectionFacts) -> Value {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
    let (is_stream, is_tls) = (
        facts.protocol != Protocol::Udp,
        facts.protocol == Protocol::Tls,
    );
    let certificate = facts.certificates.first().and_then(CertificateFacts::read);
    json!({
        "endpoint": facts.endpoint.to_string(),
        "protocol": protocol_word(facts.protocol),
        "tcp_ms": is_stream.then(|| ms(facts.tcp)),
        "tls_ms": is_tls.then(|| ms(facts.tls)),
        "answer_ms": ms(facts.answer),
        "tls_version": facts.version,
        "group": facts.group,
        "cipher": facts.cipher,
        "alpn": facts.alpn,
        "resumed": facts.resumed,
        "certificate": certificate.map(|certificate| json!({
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "names": certificate.names,
            "not_after": day(certificate.not_after),
            "days_left": certificate.days_left,
            "pin": format!("sha256/{}", certificate.pin),
        })),
    })
}
