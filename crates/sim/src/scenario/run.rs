//! Plays a scenario against the core, line by line.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use dotward_core::cache::Cache;
use dotward_core::front::{Client, Deny, Front, FrontConfig, OptionsConfig};
use dotward_core::policy::{Acl, LocalData, LocalRecord, LocalRecords, PolicyConfig};
use dotward_core::upstream::{ConnectionId, UpstreamConfig, UpstreamId};
use dotward_core::wire::frame::{FrameReader, append_frame};
use dotward_core::wire::{QueryView, ResponseView};

use super::message::{self, Query};
use super::told::{addresses, equal, event_name, expected, reason};
use super::words::{Words, span};
use crate::harness::{Harness, Taken};
use crate::octets;

/// A connection of the script.
struct Line {
    id: ConnectionId,
    reader: FrameReader,
    /// Queries read and not yet expected.
    queries: std::collections::VecDeque<Query>,
}

/// A script being played.
#[derive(Default)]
pub(super) struct Runner {
    upstreams: Vec<UpstreamConfig>,
    local: Vec<LocalRecord>,
    harness: Option<Harness>,
    lines: BTreeMap<String, Line>,
    /// Queries by the name the script gave them, with the connection they came on.
    queries: BTreeMap<String, (String, Query)>,
    /// The serial number of the last answer to each.
    serials: BTreeMap<String, u16>,
    next_serial: u16,
    /// What is left of an answer that was split.
    rests: BTreeMap<String, (ConnectionId, Vec<u8>)>,
    dropped: BTreeMap<u16, String>,
}

impl Runner {
    pub(super) fn step(&mut self, words: &Words<'_>) -> Result<(), String> {
        match words.at(0)? {
            "upstream" => self.add_upstream(words),
            "local" => self.add_local(words),
            "ask" | "ask-raw" | "ask-many" => self.ask(words),
            "connect" | "close" | "endpoints" => self.change(words),
            "answer" | "answer-all" | "rest" | "frame" | "octets" => self.respond(words),
            "wait" => {
                let end = self.harness()?.now + span(words.at(1)?)?;
                self.harness()?.wait_until(end)
            }
            "jump" => {
                self.harness()?.jump(span(words.at(1)?)?);
                Ok(())
            }
            "ignore" => {
                self.harness()?.opened.clear();
                Ok(())
            }
            "expect" => self.expect(words),
            word => Err(format!("what is {word}?")),
        }
    }

    /// Nothing may be left over: neither replies, nor connections asked for, nor clients who wait.
    pub(super) fn end(mut self) -> Result<(), String> {
        let harness = self.harness()?;
        if let Some((token, _)) = harness.replies.front() {
            return Err(format!("a reply to {token} that was not expected"));
        }
        if let Some(opened) = harness.opened.front() {
            return Err(format!(
                "a connection to {} that was not expected",
                opened.endpoint
            ));
        }
        match harness.engine.in_flight() {
            0 => Ok(()),
            left => Err(format!("{left} clients wait")),
        }
    }

    /// The core, made when it is first needed.
    fn harness(&mut self) -> Result<&mut Harness, String> {
        if self.harness.is_none() {
            let networks = ["127.0.0.0/8", "::1/128"].map(str::parse::<ipnet::IpNet>);
            let networks: Result<Vec<_>, _> = networks.into_iter().collect();
            let front = Front::new(FrontConfig {
                allow: Acl::new(&networks.map_err(|error| error.to_string())?),
                policy: PolicyConfig {
                    local: LocalRecords::new(self.local.clone()),
                    ..PolicyConfig::default()
                },
                cache: Arc::new(Cache::off()),
                options: OptionsConfig::default(),
                deny: Deny::default(),
                tells_kept: true,
                rate: None,
            });
            self.harness = Some(Harness::new(front, self.upstreams.clone(), [42; 32]));
        }
        self.harness.as_mut().ok_or_else(|| "no core".into())
    }

    /// `upstream NAME ENDPOINT…`
    fn add_upstream(&mut self, words: &Words<'_>) -> Result<(), String> {
        let endpoints = addresses(words.from(2))?;
        self.upstreams
            .push(UpstreamConfig::new(words.at(1)?, endpoints));
        Ok(())
    }

    /// `local NAME A ADDRESS` or `local NAME TXT LENGTH`
    fn add_local(&mut self, words: &Words<'_>) -> Result<(), String> {
        let data = match words.at(2)? {
            "A" => LocalData::A(words.number(3)?),
            "TXT" => LocalData::Txt(vec![b'x'; words.number(3)?]),
            other => return Err(format!("no local records of type {other}")),
        };
        self.local.push(LocalRecord {
            name: message::name(words.at(1)?)?,
            ttl: 60,
            data,
        });
        Ok(())
    }

    fn upstream(&self, name: &str) -> Result<UpstreamId, String> {
        let place = self
            .upstreams
            .iter()
            .position(|upstream| upstream.name == name);
        place
            .map(UpstreamId)
            .ok_or_else(|| format!("no upstream {name}"))
    }

    fn line(&mut self, name: &str) -> Result<&mut Line, String> {
        self.lines
            .get_mut(name)
            .ok_or_else(|| format!("no connection {name}"))
    }

    /// `ask ID NAME …`, `ask-raw ID udp|tcp OCTETS`, `ask-many FIRST COUNT SUFFIX …`
    fn ask(&mut self, words: &Words<'_>) -> Result<(), String> {
        let id: u16 = words.number(1)?;
        let client = Client {
            address: words
                .parsed("from")?
                .unwrap_or_else(|| ([127, 0, 0, 1], 4000).into()),
            transport: message::transport(words),
            idle: Duration::from_secs(10),
        };
        let messages = match words.at(0)? {
            "ask" => vec![(id, message::query(id, words.at(2)?, words)?)],
            "ask-raw" => vec![(id, octets::read(words.rest(3))?)],
            _ => {
                let count: u16 = words.number(2)?;
                let suffix = words.at(3)?;
                let each = |id: u16| {
                    let name = format!("n{id}.{suffix}");
                    Ok((id, message::query(id, &name, words)?))
                };
                (id..id + count).map(each).collect::<Result<_, String>>()?
            }
        };
        for (id, octets) in messages {
            if let Taken::Dropped(reason) = self.harness()?.ask(&octets, &client, id.into()) {
                self.dropped.insert(id, format!("{reason:?}"));
            }
        }
        Ok(())
    }

    /// `connect C`, `close C REASON`, `endpoints UPSTREAM ENDPOINT…`
    fn change(&mut self, words: &Words<'_>) -> Result<(), String> {
        if words.at(0)? == "endpoints" {
            let upstream = self.upstream(words.at(1)?)?;
            let endpoints = addresses(words.from(2))?;
            self.harness()?.set_endpoints(upstream, endpoints);
            return Ok(());
        }
        let id = self.line(words.at(1)?)?.id;
        if words.at(0)? == "connect" {
            self.harness()?.connect(id);
        } else {
            self.harness()?.close(id, reason(words.at(2)?)?);
        }
        Ok(())
    }

    /// What an upstream sends.
    fn respond(&mut self, words: &Words<'_>) -> Result<(), String> {
        match words.at(0)? {
            "answer" => self.answer(words.at(1)?, words),
            "answer-all" => self.answer_all(words.at(1)?),
            "rest" => {
                let (id, rest) = self
                    .rests
                    .remove(words.at(1)?)
                    .ok_or("nothing is left of it")?;
                self.harness()?.receive(id, &rest);
                Ok(())
            }
            word => {
                let id = self.line(words.at(1)?)?.id;
                let mut octets = octets::read(words.rest(2))?;
                if word == "frame" {
                    let message = core::mem::take(&mut octets);
                    append_frame(&message, &mut octets);
                }
                self.harness()?.receive(id, &octets);
                Ok(())
            }
        }
    }

    fn answer(&mut self, name: &str, words: &Words<'_>) -> Result<(), String> {
        let (line, query) = self
            .queries
            .get(name)
            .cloned()
            .ok_or_else(|| format!("no query {name}"))?;
        let id = self.line(words.value("on").unwrap_or(&line))?.id;
        self.next_serial += 1;
        self.serials.insert(name.into(), self.next_serial);
        let frame = message::answer(&query, self.next_serial, words)?;
        let cut = words
            .parsed("split")?
            .unwrap_or(frame.len())
            .min(frame.len());
        let times = words.parsed::<usize>("times")?.unwrap_or(1);
        for _ in 0..times {
            self.harness()?.receive(id, &frame[..cut]);
        }
        if cut < frame.len() {
            self.rests.insert(name.into(), (id, frame[cut..].to_vec()));
        }
        Ok(())
    }

    /// Answers everything read on a connection, last question first.
    fn answer_all(&mut self, line: &str) -> Result<(), String> {
        self.read(line)?;
        let id = self.line(line)?.id;
        while let Some(query) = self.line(line)?.queries.pop_back() {
            self.next_serial += 1;
            let frame = message::answer(&query, self.next_serial, &Words::new("answer"))?;
            self.harness()?.receive(id, &frame);
        }
        Ok(())
    }

    /// Reads what was written to a connection.
    fn read(&mut self, name: &str) -> Result<(), String> {
        let id = self.line(name)?.id;
        let octets = self.harness()?.transmit(id, usize::MAX);
        let line = self.line(name)?;
        line.reader.push(&octets);
        while let Some(message) = line.reader.next_message() {
            let view = QueryView::parse(message).map_err(|fault| format!("written: {fault:?}"))?;
            line.queries.push_back(Query {
                id: view.header().id,
                question: view.question().to_owned(),
            });
        }
        Ok(())
    }

    fn expect(&mut self, words: &Words<'_>) -> Result<(), String> {
        match words.at(1)? {
            "open" => self.expect_open(words),
            "close" => self.expect_close(words),
            "query" | "queries" => self.expect_query(words),
            "reply" | "replies" => self.expect_reply(words),
            "no" => self.expect_no(words),
            "event" => self.expect_event(words),
            "drop" => {
                let found = self.dropped.remove(&words.number(2)?);
                equal(words.at(3)?, found.as_deref().unwrap_or("no drop"))
            }
            "health" => {
                let upstream = self.upstream(words.at(2)?)?;
                let harness = self.harness()?;
                let status = harness.engine.status(upstream, harness.now);
                let state = status.map(|status| status.state);
                let state = state.map_or_else(|| "none".into(), |state| format!("{state:?}"));
                equal(words.at(3)?, &state)
            }
            "in-flight" => {
                let found = self.harness()?.engine.in_flight().to_string();
                equal(words.at(2)?, &found)
            }
            "idle" => match self.harness()?.engine.poll_timeout() {
                None => Ok(()),
                Some(due) => Err(format!("something is due at {due:?}")),
            },
            word => Err(format!("expect what? {word}")),
        }
    }

    /// `expect open C UPSTREAM [ENDPOINT]`
    fn expect_open(&mut self, words: &Words<'_>) -> Result<(), String> {
        let upstream = self.upstream(words.at(3)?)?;
        let opened = self
            .harness()?
            .opened
            .pop_front()
            .ok_or("none is asked for")?;
        if opened.upstream != upstream {
            return Err(format!("it is of upstream {}", opened.upstream.0));
        }
        if let Some(endpoint) = words.maybe(4) {
            equal(endpoint, &opened.endpoint.to_string())?;
        }
        let line = Line {
            id: opened.connection,
            reader: FrameReader::default(),
            queries: std::collections::VecDeque::new(),
        };
        self.lines.insert(words.at(2)?.into(), line);
        Ok(())
    }

    fn expect_close(&mut self, words: &Words<'_>) -> Result<(), String> {
        let id = self.line(words.at(2)?)?.id;
        let closed = &mut self.harness()?.closed;
        match closed.iter().position(|closed| *closed == id) {
            Some(place) => {
                closed.remove(place);
                Ok(())
            }
            None => Err("it was not closed".into()),
        }
    }

    /// `expect query C Q [NAME [TYPE]]`, `expect queries C COUNT`
    fn expect_query(&mut self, words: &Words<'_>) -> Result<(), String> {
        let name = words.at(2)?;
        self.read(name)?;
        let line = self.line(name)?;
        if words.at(1)? == "queries" {
            return equal(words.at(3)?, &line.queries.len().to_string());
        }
        let query = line.queries.pop_front().ok_or("nothing was written")?;
        if let Some(expected) = words.maybe(4) {
            let found = query.question.to_string();
            let mut found = found.split(' ');
            equal(expected, found.next().unwrap_or_default())?;
            if let Some(rtype) = words.maybe(5) {
                equal(rtype, found.nth(1).unwrap_or_default())?;
            }
        }
        self.queries
            .insert(words.at(3)?.into(), (name.into(), query));
        Ok(())
    }

    /// `expect reply ID RCODE […]`, `expect replies COUNT RCODE`
    fn expect_reply(&mut self, words: &Words<'_>) -> Result<(), String> {
        if words.at(1)? == "replies" {
            let count: usize = words.number(2)?;
            let found = self.harness()?.replies.len();
            if found != count {
                return Err(format!("{found} came"));
            }
            let rcode = message::rcode(words.at(3)?)?;
            for (_, reply) in core::mem::take(&mut self.harness()?.replies) {
                let view = ResponseView::parse(&reply).map_err(|error| error.to_string())?;
                equal(&rcode.to_string(), &view.rcode().to_string())?;
            }
            return Ok(());
        }
        let id: u16 = words.number(2)?;
        let replies = &mut self.harness()?.replies;
        let place = replies
            .iter()
            .position(|(token, _)| *token == u64::from(id));
        let (_, reply) = place
            .and_then(|place| replies.remove(place))
            .ok_or("none came")?;
        self.check_reply(id, &reply, words)
    }

    fn check_reply(&self, id: u16, reply: &[u8], words: &Words<'_>) -> Result<(), String> {
        let view = ResponseView::parse(reply).map_err(|error| error.to_string())?;
        let flags = view.header().flags;
        equal(words.at(3)?, &view.rcode().to_string())?;
        equal(&id.to_string(), &view.header().id.to_string())?;
        let ede = view
            .extended_errors()
            .next()
            .map_or(-1, |error| i32::from(error.code.0));
        expected(words.parsed("ede")?, ede)?;
        expected(words.parsed("records")?, usize::from(view.header().answers))?;
        if words
            .parsed("max")?
            .is_some_and(|max: usize| reply.len() > max)
        {
            return Err(format!("it has {} octets", reply.len()));
        }
        if let Some(name) = words.value("name") {
            let question = view.question().map(|question| question.to_string());
            equal(
                name,
                question
                    .unwrap_or_default()
                    .split(' ')
                    .next()
                    .unwrap_or_default(),
            )?;
        }
        if let Some(query) = words.value("from") {
            let serial = self
                .serials
                .get(query)
                .ok_or_else(|| format!("{query} has no answer"))?;
            expected(Some(Some(*serial)), message::serial(&view))?;
        }
        let bits = [
            ("tc", flags.truncated()),
            ("aa", flags.authoritative()),
            ("ad", flags.authentic_data()),
            ("rd", flags.recursion_desired()),
            ("cd", flags.checking_disabled()),
            ("opt", view.edns().is_some()),
            ("do", view.edns().is_some_and(|edns| edns.dnssec_ok)),
        ];
        for (bit, set) in bits {
            let wrong = (words.has(bit) && !set) || (words.has(&format!("no-{bit}")) && set);
            if wrong {
                return Err(format!("{bit} is {set}"));
            }
        }
        Ok(())
    }

    /// `expect no reply|open|close|query C`
    fn expect_no(&mut self, words: &Words<'_>) -> Result<(), String> {
        let found = match words.at(2)? {
            "reply" => self.harness()?.replies.len(),
            "open" => self.harness()?.opened.len(),
            "close" => self.harness()?.closed.len(),
            "query" => {
                let name = words.at(3)?;
                self.read(name)?;
                self.line(name)?.queries.len()
            }
            word => return Err(format!("no what? {word}")),
        };
        if found == 0 {
            Ok(())
        } else {
            Err(format!("there are {found}"))
        }
    }

    /// `expect event NAME COUNT`: how many of them came since the last time the script asked.
    fn expect_event(&mut self, words: &Words<'_>) -> Result<(), String> {
        let kind = words.at(2)?;
        let events = &mut self.harness()?.events;
        let before = events.len();
        events.retain(|event| event_name(event) != kind);
        let found = before - events.len();
        expected(Some(words.number(3)?), found)
    }
}
