//! Wire fixtures: a message octet by octet, and what has to become of it. The format is told in `testdata/wire/README.md`.
//!
//! A case is run through the front door: a query through [`Front`], and when it is forwarded through an [`Engine`] up to the
//! octets an upstream would read; a response through [`ResponseView`] and [`render_reply`].

use std::sync::Arc;

use core::time::Duration;
use dotward_core::cache::Cache;

use dotward_core::engine::{Action, Engine, EngineConfig};
use dotward_core::front::{
    Client, CookieSecrets, Cookies, Deny, Front, FrontConfig, OptionsConfig, Verdict,
};
use dotward_core::policy::{Acl, LocalData, LocalRecord, LocalRecords, PolicyConfig};
use dotward_core::time::{Moment, WallSeconds};
use dotward_core::upstream::{Strategy, UpstreamConfig};
use dotward_core::wire::edns::UDP_PAYLOAD_MAX;
use dotward_core::wire::frame::LENGTH_LEN;
use dotward_core::wire::{
    Asker, AskerEdns, Flags, Question, ReplyOptions, ReplyOrigin, ResponseView, Section, Transport,
    render_reply,
};

use crate::octets;

/// One line of a case that begins something, and the data lines under it.
#[derive(Debug)]
struct Step {
    line: usize,
    words: Vec<String>,
    data: String,
}

/// A case: its title, where it stands, and its steps.
#[derive(Debug)]
pub struct Case {
    /// What it shows, and the row or clause it stands for.
    pub title: String,
    /// Line of the title.
    pub line: usize,
    steps: Vec<Step>,
}

/// Reads a file of cases.
///
/// # Errors
///
/// The line that is out of place.
pub fn read(text: &str) -> Result<Vec<Case>, String> {
    let mut cases: Vec<Case> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("== ") {
            cases.push(Case {
                title: title.into(),
                line: number,
                steps: Vec::new(),
            });
            continue;
        }
        let case = cases
            .last_mut()
            .ok_or_else(|| format!("{number}: before the first case"))?;
        if line.starts_with(' ') {
            let step = case
                .steps
                .last_mut()
                .ok_or_else(|| format!("{number}: data without a step"))?;
            step.data.push_str(line);
            step.data.push('\n');
        } else {
            case.steps.push(Step {
                line: number,
                words: line.split_whitespace().map(str::to_owned).collect(),
                data: String::new(),
            });
        }
    }
    Ok(cases)
}

/// The local records all fixtures run with.
/// The secret of RFC 9018 appendix A.1, so that its cookies can be used.
const COOKIE_SECRET: [u8; 16] = 0xe5e9_73e5_a6b2_a43f_48e7_dc84_9e37_bfcf_u128.to_be_bytes();

/// When fixtures happen: when the first cookie of that appendix was made.
const WALL: WallSeconds = WallSeconds(1_559_731_985);

const NSID: &str = "ns1";

fn front() -> Result<Front, String> {
    let name = |text: &str| text.parse().map_err(|error| format!("{text} {error}"));
    let record = |owner: &str, data| {
        Ok::<_, String>(LocalRecord {
            name: name(owner)?,
            ttl: 60,
            data,
        })
    };
    let networks = ["127.0.0.0/8", "::1/128"].map(str::parse::<ipnet::IpNet>);
    let networks: Result<Vec<_>, _> = networks.into_iter().collect();
    Ok(Front::new(FrontConfig {
        allow: Acl::new(&networks.map_err(|error| error.to_string())?),
        policy: PolicyConfig {
            local: LocalRecords::new([
                record("here.example", LocalData::A([192, 0, 2, 1].into()))?,
                record("alias.example", LocalData::Cname(name("here.example")?))?,
                record("big.example", LocalData::A([192, 0, 2, 1].into()))?,
                record("big.example", LocalData::Txt(vec![b'x'; 1500]))?,
            ]),
            ..PolicyConfig::default()
        },
        cache: Arc::new(Cache::off()),
        options: OptionsConfig {
            cookies: Cookies::Answer,
            secrets: CookieSecrets::new(&[COOKIE_SECRET]),
            nsid: Some(NSID.as_bytes().into()),
            ..OptionsConfig::default()
        },
        deny: Deny::default(),
        tells_kept: true,
        rate: None,
    }))
}

/// Runs one case.
///
/// # Errors
///
/// What came out otherwise than the case says.
pub fn run(case: &Case) -> Result<(), String> {
    let (first, rest) = case
        .steps
        .split_first()
        .ok_or_else(|| format!("{}: a case without steps", case.line))?;
    let message = data(first)?;
    match first.words.first().map(String::as_str) {
        Some("query") => run_query(first, &message, rest),
        Some("response") => run_response(&message, rest),
        _ => Err(format!("{}: neither query nor response", first.line)),
    }
}

fn data(step: &Step) -> Result<Vec<u8>, String> {
    octets::read(&step.data).map_err(|error| format!("{}: {error}", step.line))
}

fn transport(word: Option<&String>) -> Result<Transport, String> {
    match word.map(String::as_str) {
        Some("udp") => Ok(Transport::Udp),
        Some("tcp") => Ok(Transport::Tcp),
        Some("tls") => Ok(Transport::Tls),
        other => Err(format!("not a transport: {other:?}")),
    }
}

fn run_query(query: &Step, message: &[u8], rest: &[Step]) -> Result<(), String> {
    let address = match query.words.get(2..) {
        Some([from, address]) if from == "from" => address.as_str(),
        _ => "127.0.0.1",
    };
    let client = Client {
        address: format!("{address}:4000")
            .parse()
            .map_err(|_| format!("{}: not an address: {address}", query.line))?,
        transport: transport(query.words.get(1))?,
        idle: Duration::from_secs(10),
    };
    let mut reply = Vec::new();
    let verdict = front()?.handle_query(message, &client, Moment::ZERO, WALL, &mut reply);
    let [expected] = rest else {
        return Err(format!("{}: a query has one outcome", query.line));
    };
    let outcome = match verdict {
        Verdict::Limited { .. } => return Err("limited, and nobody is counted".into()),
        Verdict::Reply | Verdict::Cached | Verdict::ReplyAndRefresh(_) => Outcome::Reply(reply),
        Verdict::Drop(reason) => Outcome::Drop(format!("{reason:?}")),
        Verdict::Forward(request) => {
            let limit = request.asker.reply_len_max();
            Outcome::Forward(upstream_octets(request)?, limit)
        }
    };
    compare_outcome(expected, &outcome)
}

enum Outcome {
    Reply(Vec<u8>),
    Drop(String),
    Forward(Vec<u8>, usize),
}

/// What an upstream reads when this is forwarded; the ID, which is random, as zeros.
fn upstream_octets(request: dotward_core::exchange::Request) -> Result<Vec<u8>, String> {
    let upstream = UpstreamConfig::new("", vec![([192, 0, 2, 53], 853).into()]);
    let mut engine: Engine<()> = Engine::new(
        EngineConfig::new(vec![upstream], Strategy::Ordered),
        [7; 32],
    );
    engine.submit(request, (), Moment::ZERO);
    let Some(Action::Open { connection, .. }) = engine.poll_action() else {
        return Err("no connection was asked for".into());
    };
    engine.handle_connected(connection, Moment::ZERO);
    let mut message = engine
        .outbound(connection)
        .get(LENGTH_LEN..)
        .unwrap_or_default()
        .to_vec();
    if let Some(id) = message.first_chunk_mut::<2>() {
        *id = [0; 2];
    }
    Ok(message)
}

fn compare_outcome(expected: &Step, outcome: &Outcome) -> Result<(), String> {
    let told = |word: &str| {
        format!(
            "{}: expected {}, got {word}",
            expected.line, expected.words[0]
        )
    };
    match (expected.words[0].as_str(), outcome) {
        ("reply", Outcome::Reply(reply)) => compare(expected, reply),
        ("drop", Outcome::Drop(reason)) => match expected.words.get(1) {
            Some(word) if word == reason => Ok(()),
            other => Err(format!(
                "{}: expected {other:?}, got {reason}",
                expected.line
            )),
        },
        ("forward", Outcome::Forward(message, limit)) => {
            let wanted = number(&expected.words, "limit")?.unwrap_or(*limit);
            if wanted != *limit {
                return Err(format!(
                    "{}: the reply may have {limit} octets",
                    expected.line
                ));
            }
            compare(expected, message)
        }
        (_, Outcome::Reply(reply)) => Err(told("a reply:") + &octets::dump(reply)),
        (_, Outcome::Drop(reason)) => Err(told(&format!("silence, {reason}"))),
        (_, Outcome::Forward(message, _)) => Err(told("a query:") + &octets::dump(message)),
    }
}

fn compare(expected: &Step, found: &[u8]) -> Result<(), String> {
    let wanted = data(expected)?;
    if wanted == found {
        return Ok(());
    }
    let differs = wanted.iter().zip(found).take_while(|(a, b)| a == b).count();
    Err(format!(
        "{}: differs from octet {differs} on\n    expected {} octets:{}\n    got {} octets:{}",
        expected.line,
        wanted.len(),
        octets::dump(&wanted),
        found.len(),
        octets::dump(found)
    ))
}

/// The number after `key`.
fn number(words: &[String], key: &str) -> Result<Option<usize>, String> {
    let Some(at) = words.iter().position(|word| word == key) else {
        return Ok(None);
    };
    let text = words.get(at + 1).ok_or_else(|| format!("{key} what?"))?;
    text.parse().map(Some).map_err(|_| format!("{key} {text}"))
}

fn run_response(message: &[u8], rest: &[Step]) -> Result<(), String> {
    let parsed = ResponseView::parse(message);
    for step in rest {
        match (step.words[0].as_str(), &parsed) {
            ("error", Err(error)) => {
                let found = format!("{error:?}");
                if step.words.get(1) != Some(&found) {
                    return Err(format!("{}: the error is {found}", step.line));
                }
            }
            ("view", Ok(view)) => compare_view(step, view)?,
            ("render", Ok(view)) => {
                let mut reply = Vec::new();
                render_reply(view, &asker(step, view)?, ReplyOrigin::Upstream, &mut reply);
                compare(step, &reply)?;
            }
            (_, Err(error)) => return Err(format!("{}: parsing said {error:?}", step.line)),
            (word, Ok(_)) => return Err(format!("{}: it parsed; {word} is wrong", step.line)),
        }
    }
    Ok(())
}

/// `view NOERROR IN A www.example answers 1 authorities 0 additionals 0 [tc] [ede 22]`
fn compare_view(step: &Step, view: &ResponseView<'_>) -> Result<(), String> {
    let count = |section| {
        view.records()
            .filter_map(Result::ok)
            .filter(|record| record.section == section)
            .count()
    };
    let question = view
        .question()
        .map_or_else(|| "-".into(), |q| q.to_string());
    let [name, class, rtype] =
        <[&str; 3]>::try_from(question.split(' ').collect::<Vec<_>>()).unwrap_or(["-", "-", "-"]);
    let mut found = format!(
        "view {} {class} {rtype} {name} answers {} authorities {} additionals {}",
        view.rcode(),
        count(Section::Answer),
        count(Section::Authority),
        count(Section::Additional)
    );
    if view.header().flags.truncated() {
        found.push_str(" tc");
    }
    for error in view.extended_errors() {
        found.push_str(&format!(" ede {}", error.code.0));
    }
    if found == step.words.join(" ") {
        Ok(())
    } else {
        Err(format!("{}: got {found}", step.line))
    }
}

/// `render udp [edns SIZE] [do] [ad] [cd] [nord] [name NAME]`: the asker has ID 4321 and asks what the response says.
fn asker(step: &Step, view: &ResponseView<'_>) -> Result<Asker, String> {
    let has = |word: &str| step.words.iter().any(|found| found == word);
    let mut question = view
        .question()
        .ok_or("a response without a question answers nobody")?
        .to_owned();
    if let Some(at) = step.words.iter().position(|word| word == "name") {
        let name = step
            .words
            .get(at + 1)
            .ok_or("name what?")?
            .parse()
            .map_err(|error| format!("{}: the name {error}", step.line))?;
        question = Question::new(&name, question.qtype(), question.qclass());
    }
    let size = number(&step.words, "edns")?.and_then(|size| u16::try_from(size).ok());
    Ok(Asker {
        id: 0x4321,
        flags: Flags::NONE
            .with_recursion_desired(!has("nord"))
            .with_authentic_data(has("ad"))
            .with_checking_disabled(has("cd")),
        question,
        edns: size.map(|udp_size| AskerEdns {
            udp_size: udp_size.min(UDP_PAYLOAD_MAX),
            dnssec_ok: has("do"),
        }),
        options: ReplyOptions::NONE,
        transport: transport(step.words.get(1))?,
    })
}
