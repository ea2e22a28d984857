//! What is seen: two looks at the program, the time between them, and the rates before.
//!
//! Pure: what the program said and when come in, lines come out.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::commands::status::{addresses_to_see, age, list, reason, text, unit};

/// Rates of the past that are drawn.
const PAST: usize = 48;

const BARS: [char; 8] = [
    '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}',
];

/// What the program said at a moment.
#[derive(Debug)]
pub(super) struct Sample {
    status: Value,
    at: Instant,
}

impl Sample {
    pub(super) fn new(status: Value, at: Instant) -> Self {
        Self { status, at }
    }

    fn number(&self, pointer: &str) -> f64 {
        let number = self.status.pointer(pointer).and_then(Value::as_f64);
        number.unwrap_or_default()
    }
}

/// The view.
#[derive(Debug)]
pub(super) struct View {
    colour: bool,
    before: Option<Sample>,
    now: Option<Sample>,
    /// Queries per second, the newest last.
    past: Vec<f64>,
    /// Why there is nothing newer.
    fault: Option<String>,
}

impl View {
    pub(super) fn new(colour: bool) -> Self {
        Self {
            colour,
            before: None,
            now: None,
            past: Vec::new(),
            fault: None,
        }
    }

    /// The program said something, or did not.
    pub(super) fn handle_answer(&mut self, answered: Result<Value, String>, now: Instant) {
        match answered {
            Ok(status) => self.handle_sample(Sample::new(status, now)),
            Err(fault) => self.fault = fault.lines().next().map(str::to_owned),
        }
    }

    /// The program said something.
    pub(super) fn handle_sample(&mut self, sample: Sample) {
        self.fault = None;
        let is_same = |before: &Sample| before.status["pid"] == sample.status["pid"];
        self.before = self.now.take().filter(is_same);
        self.now = Some(sample);
        if self.before.is_some() {
            self.past.push(self.rate("/queries/all"));
            let surplus = self.past.len().saturating_sub(PAST);
            self.past.drain(..surplus);
        }
    }

    /// How much a number grew.
    fn grown(&self, pointer: &str) -> f64 {
        match (&self.before, &self.now) {
            (Some(before), Some(now)) => (now.number(pointer) - before.number(pointer)).max(0.0),
            (_, _) => 0.0,
        }
    }

    /// How fast a number grows, per second.
    fn rate(&self, pointer: &str) -> f64 {
        let time = match (&self.before, &self.now) {
            (Some(before), Some(now)) => now.at.saturating_duration_since(before.at),
            (_, _) => Duration::ZERO,
        };
        if time.is_zero() {
            return 0.0;
        }
        self.grown(pointer) / time.as_secs_f64()
    }

    /// A part of the replies since the last look; `-` while there are none.
    fn share(&self, part: &str, whole: &str) -> String {
        let whole = self.grown(whole);
        if whole > 0.0 {
            format!("{:.1} %", 100.0 * self.grown(part) / whole)
        } else {
            "-".to_owned()
        }
    }

    /// What is to be seen.
    pub(super) fn lines(&self) -> Vec<String> {
        let Some(now) = &self.now else {
            return self.fault.iter().cloned().collect();
        };
        let status = &now.status;
        let mut lines = vec![
            format!(
                "dotward {}  pid {}  up {}    q ends this",
                text(&status["version"]),
                text(&status["pid"]),
                age(&status["uptime_seconds"])
            ),
            self.state(status),
            String::new(),
            format!(
                "queries    {:>9}/s  {}",
                per_second(self.rate("/queries/all")),
                bars(&self.past)
            ),
            self.transports(),
        ];
        lines.extend(self.replies());
        lines.push(format!(
            "clients    {} waiting, {} connected; {} questions at {} upstream connections",
            text(&status["clients_waiting"]),
            text(&status["client_streams"]),
            text(&status["questions_in_flight"]),
            text(&status["upstream_connections"]),
        ));
        let cache = &status["cache"];
        if cache["on"] == Value::Bool(true) {
            lines.push(format!(
                "cache      {} answers in {} of {} MiB, {}/s made room",
                text(&cache["entries"]),
                mebibytes(&cache["octets"]),
                mebibytes(&cache["limit"]),
                per_second(self.rate("/cache/evictions")),
            ));
        }
        lines.push(String::new());
        lines.extend(self.upstreams(status));
        lines
    }

    fn state(&self, status: &Value) -> String {
        if let Some(fault) = &self.fault {
            return self.coloured(31, &format!("no answer: {fault}"));
        }
        let faults: Vec<_> = list(&status["degraded"]).iter().map(text).collect();
        match faults.as_slice() {
            [] => self.coloured(32, "good"),
            faults => self.coloured(31, &format!("degraded: {}", faults.join("; "))),
        }
    }

    fn transports(&self) -> String {
        let rate = |pointer| per_second(self.rate(pointer));
        format!(
            "           UDP {}/s  TCP {}/s  TLS {}/s  without a reply {}/s",
            rate("/queries/udp"),
            rate("/queries/tcp"),
            rate("/queries/tls"),
            rate("/dropped"),
        )
    }

    fn replies(&self) -> [String; 2] {
        const ALL: &str = "/responses/all";
        [
            format!(
                "replies    {} from the cache  {} from upstreams, after {}",
                self.share("/sources/cache", ALL),
                self.share("/sources/upstream", ALL),
                self.mean("/response_seconds/upstream", "/sources/upstream"),
            ),
            format!(
                "           {} NXDOMAIN  {} SERVFAIL  {} REFUSED",
                self.share("/responses/NXDOMAIN", ALL),
                self.share("/responses/SERVFAIL", ALL),
                self.share("/responses/REFUSED", ALL),
            ),
        ]
    }

    /// Time per reply since the last look.
    fn mean(&self, seconds: &str, number: &str) -> String {
        let number = self.grown(number);
        if number > 0.0 {
            format!("{:.1} ms", 1000.0 * self.grown(seconds) / number)
        } else {
            "-".to_owned()
        }
    }

    /// A row for each, and below it why it is set aside, so that a terminal of 80 columns shows all of it.
    fn upstreams(&self, status: &Value) -> Vec<String> {
        let mut rows = vec![(COLUMNS.map(str::to_owned), String::new())];
        let upstreams = list(&status["upstreams"]);
        for (place, upstream) in upstreams.iter().enumerate() {
            rows.push((self.row(place, upstream), reason(upstream)));
            let addresses = addresses_to_see(upstream);
            rows.extend(addresses.iter().map(|it| (address_row(it), reason(it))));
        }
        let widths: [usize; COLUMNS.len()] = std::array::from_fn(|column| {
            let cells = rows.iter().map(|(row, _)| row[column].chars().count());
            cells.max().unwrap_or(0)
        });
        let mut lines = Vec::new();
        for (place, (row, reason)) in rows.iter().enumerate() {
            let cells = row.iter().zip(widths);
            let cells: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            let line = cells.join("  ").trim_end().to_owned();
            let is_well = place == 0 || WELL.contains(&row[1].as_str());
            let why = (!reason.is_empty()).then(|| format!("    {reason}"));
            for line in [line].into_iter().chain(why) {
                lines.push(if is_well {
                    line
                } else {
                    self.coloured(31, &line)
                });
            }
        }
        lines
    }

    fn row(&self, place: usize, upstream: &Value) -> [String; COLUMNS.len()] {
        let rate = |key: &str| per_second(self.rate(&format!("/upstreams/{place}/{key}")));
        [
            text(&upstream["name"]),
            text(&upstream["state"]),
            rate("answered"),
            rate("lost"),
            unit(&upstream["rtt_ms"], "ms"),
            text(&upstream["in_flight"]),
            text(&upstream["connections"]),
            unit(&upstream["idle_limit_seconds"], "s"),
        ]
    }

    fn coloured(&self, colour: u8, text: &str) -> String {
        if self.colour {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// States of upstreams and addresses in which nothing is wrong.
const WELL: [&str; 3] = ["up", "slower", "untried"];

const COLUMNS: [&str; 8] = [
    "upstream",
    "state",
    "answers/s",
    "lost/s",
    "time",
    "waiting",
    "open",
    "idle",
];

fn address_row(address: &Value) -> [String; COLUMNS.len()] {
    let mut row = [const { String::new() }; COLUMNS.len()];
    row[0] = format!("  {}", text(&address["address"]));
    row[1] = text(&address["state"]);
    row[6] = text(&address["connections"]);
    row
}

fn per_second(rate: f64) -> String {
    if rate < 10.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

fn mebibytes(octets: &Value) -> String {
    let octets = octets.as_f64().unwrap_or_default();
    format!("{:.1}", octets / f64::from(1 << 20))
}

/// A bar for each rate, the highest the tallest.
fn bars(rates: &[f64]) -> String {
    let most = rates.iter().copied().fold(0.0, f64::max);
    let bar = |rate: &f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 7, and 0 for what is no number"
        )]
        let place = (rate / most * 7.0).round() as usize;
        BARS[place.min(BARS.len() - 1)]
    };
    rates.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(queries: u64, hits: u64) -> Value {
        json!({
            "version": "1.2.3", "pid": 7, "uptime_seconds": 61, "degraded": [],
            "queries": { "all": queries, "udp": queries, "tcp": 0, "tls": 0 }, "dropped": 0,
            "responses": { "all": queries, "NXDOMAIN": 0, "SERVFAIL": queries / 10, "REFUSED": 0 },
            "sources": { "cache": hits, "upstream": queries - hits }, "response_seconds": { "upstream": 0.0 },
            "cache": { "on": true, "entries": 5, "octets": 1_048_576, "limit": 67_108_864, "evictions": 0 },
            "clients_waiting": 1, "client_streams": 2, "questions_in_flight": 3, "upstream_connections": 4,
            "upstreams": [{ "name": "quad9", "state": "down", "answered": queries, "lost": 0, "rtt_ms": 12.5, "in_flight": 1,
                            "connections": 1, "idle_limit_seconds": null, "reason": "it does not answer" }],
        })
    }

    fn view(colour: bool) -> View {
        let (mut view, began) = (View::new(colour), Instant::now());
        view.handle_sample(Sample::new(status(1000, 400), began));
        let later = began + Duration::from_secs(2);
        view.handle_sample(Sample::new(status(3000, 1900), later));
        view
    }

    #[test]
    fn rates_are_what_grew_between_two_looks() {
        let text = view(false).lines().join("\n");
        for part in [
            "dotward 1.2.3  pid 7  up 1 min 1 s",
            "good",
            "1000/s",
            "UDP 1000/s",
            "75.0 % from the cache",
            "10.0 % SERVFAIL",
            "25.0 % from upstreams",
            "5 answers in 1.0 of 64.0 MiB",
            "quad9     down   1000       0.0     12.5 ms",
            "\n    it does not answer",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        assert!(!text.contains('\x1b'), "{text:?}");
        let widest = text.lines().map(|it| it.chars().count()).max();
        assert!(widest <= Some(80), "{text}");
        assert!(view(true).lines().join("").contains("\x1b[31mquad9"));
    }

    #[test]
    fn an_address_that_is_set_aside_is_seen_below_its_upstream() {
        let mut status = status(0, 0);
        let address = |address: &str, state: &str, reason: Option<&str>| json!({ "address": address, "state": state, "reason": reason, "connections": 1 });
        let upstream = &mut status["upstreams"][0];
        upstream["state"] = json!("up");
        upstream["addresses"] = json!([
            address("192.0.2.1:853", "set aside", Some("it does not answer")),
            address("192.0.2.2:853", "untried", None),
        ]);
        let mut view = View::new(true);
        view.handle_answer(Ok(status), Instant::now());
        let lines = view.lines();
        let [upstream, _, first, why, second] = lines.last_chunk().unwrap();
        assert!(upstream.starts_with("quad9"), "{upstream}");
        assert!(first.starts_with("\x1b[31m  192.0.2.1:853  set aside"));
        assert!(why.contains("    it does not answer"), "{why}");
        assert!(second.starts_with("  192.0.2.2:853  untried"), "{second}");
    }

    #[test]
    fn a_program_that_is_started_again_begins_anew_and_one_that_is_gone_is_told() {
        let mut view = view(false);
        view.handle_answer(Err("nobody answers\n  fix: x".into()), Instant::now());
        assert!(view.lines()[1].ends_with("no answer: nobody answers"));
        let mut other = status(10, 5);
        other["pid"] = json!(8);
        view.handle_answer(Ok(other), Instant::now());
        let text = view.lines().join("\n");
        assert!(
            text.contains("0.0/s") && text.contains("- from the cache"),
            "{text}"
        );
    }

    #[test]
    fn what_another_version_does_not_say_is_left_out() {
        let mut view = View::new(false);
        view.handle_answer(Ok(json!({})), Instant::now());
        assert!(view.lines()[0].starts_with("dotward -  pid -  up -"));
    }

    #[test]
    fn the_past_is_bounded_and_drawn_in_proportion() {
        assert_eq!(bars(&[0.0, 50.0, 100.0]), "\u{2581}\u{2585}\u{2588}");
        assert_eq!(bars(&[0.0, 0.0]), "\u{2581}\u{2581}");
        let (mut view, mut now) = (View::new(false), Instant::now());
        for number in 0..200 {
            view.handle_sample(Sample::new(status(number * 10, 0), now));
            now += Duration::from_secs(1);
        }
        assert_eq!(view.past.len(), PAST);
    }
}
