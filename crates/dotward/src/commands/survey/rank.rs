//! `dotward upstream rank`: how quickly upstreams answer on a connection that stands, as a proxy would have it.
//!
//! Promises: each is asked as often as the others, in rounds, so that a network that changes meanwhile changes for all of them; one that
//! has not answered twice running is not waited for any more.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use dotward_core::wire::Question;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Progress, Reachable, millis, millis_json, reachable};
use crate::config::{Config, UpstreamSettings};
use crate::upstream::one_shot::Conversation;

/// One upstream while it is measured.
pub(super) struct Ranked {
    name: String,
    endpoint: Option<SocketAddr>,
    /// Until TLS stood.
    connected: Option<Duration>,
    times: Vec<Duration>,
    lost: u32,
    /// Why it was not asked, or not any more.
    fault: Option<String>,
}

impl Ranked {
    /// The time that so many hundredths of the answers did not exceed (nearest rank).
    fn percentile(&self, hundredths: usize) -> Option<Duration> {
        let mut times = self.times.clone();
        times.sort();
        let place = (times.len() * hundredths).div_ceil(100);
        times.get(place.checked_sub(1)?).copied()
    }
}

/// Connects to all of them at once, then asks one after the other. The quickest is first in what comes back.
pub(super) async fn rank(
    config: &Config,
    upstreams: Vec<UpstreamSettings>,
    question: &Question,
    questions: u32,
    mut progress: Progress<'_>,
) -> Vec<Ranked> {
    let (mut ranked, mut conversations) = connect_all(config, upstreams, &mut progress).await;
    let connected = conversations.iter().flatten().count();
    progress.expect(connected * usize::try_from(questions).unwrap_or(usize::MAX));
    for _ in 0..questions {
        for (one, place) in ranked.iter_mut().zip(&mut conversations) {
            if place.is_none() {
                continue;
            }
            ask_once(config, one, place, question).await;
            progress.step();
        }
    }
    conversations
        .into_iter()
        .flatten()
        .for_each(|(_, conversation)| conversation.close());
    progress.finish();
    ranked.sort_by_key(|one| (one.percentile(50).is_none(), one.percentile(50), one.lost));
    ranked
}

/// An upstream's connection, and how to make another.
type Place = Option<(UpstreamSettings, Conversation)>;

async fn connect_all(
    config: &Config,
    upstreams: Vec<UpstreamSettings>,
    progress: &mut Progress<'_>,
) -> (Vec<Ranked>, Vec<Place>) {
    let mut connecting = JoinSet::new();
    let mut ranked: Vec<Ranked> = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    for (place, upstream) in upstreams.into_iter().enumerate() {
        let found = reachable(config, &upstream).await;
        ranked.push(Ranked {
            name: upstream.name.clone(),
            endpoint: None,
            connected: None,
            times: Vec::new(),
            lost: 0,
            fault: found.as_ref().err().cloned(),
        });
        places.push(None);
        if let Ok(reachable) = found {
            connecting.spawn_local(async move {
                let connected = first_that_connects(&reachable, &upstream).await;
                (place, upstream, connected)
            });
        }
    }
    progress.expect(connecting.len());
    while let Some(done) = connecting.join_next().await {
        progress.step();
        let Ok((place, upstream, connected)) = done else {
            continue;
        };
        let (Some(one), Some(kept)) = (ranked.get_mut(place), places.get_mut(place)) else {
            continue;
        };
        match connected {
            Ok(conversation) => {
                let facts = conversation.facts();
                one.endpoint = Some(facts.endpoint);
                one.connected = Some(facts.tcp + facts.tls);
                *kept = Some((upstream, conversation));
            }
            Err(fault) => one.fault = Some(fault),
        }
    }
    (ranked, places)
}

async fn first_that_connects(
    reachable: &Reachable,
    upstream: &UpstreamSettings,
) -> Result<Conversation, String> {
    let mut faults = Vec::new();
    for endpoint in &reachable.endpoints {
        match Conversation::open(&reachable.tls, &upstream.binding, *endpoint).await {
            Ok(conversation) => return Ok(conversation),
            Err(error) => faults.push(format!("{endpoint}: {error}")),
        }
    }
    Err(faults.join("; "))
}

/// Asks one question; a connection that fails is replaced by another once.
async fn ask_once(config: &Config, one: &mut Ranked, place: &mut Place, question: &Question) {
    let Some((upstream, mut conversation)) = place.take() else {
        return;
    };
    let fault = match conversation.ask(question).await {
        Ok((_, took)) => {
            one.times.push(took);
            one.fault = None;
            *place = Some((upstream, conversation));
            return;
        }
        Err(error) => error.to_string(),
    };
    one.lost += 1;
    // A fault that stands is that of the question before.
    if one.fault.replace(fault).is_some() {
        return;
    }
    let again = match reachable(config, &upstream).await {
        Ok(reachable) => first_that_connects(&reachable, &upstream).await,
        Err(fault) => Err(fault),
    };
    match again {
        Ok(conversation) => *place = Some((upstream, conversation)),
        Err(fault) => one.fault = Some(fault),
    }
}

const COLUMNS: [&str; 8] = [
    "",
    "upstream",
    "median",
    "p95",
    "fastest",
    "connected in",
    "lost",
    "address",
];

/// Prints the result. `true` if every upstream answered.
pub(super) fn write(out: &mut dyn Write, ranked: &[Ranked], json: bool) -> io::Result<bool> {
    let good = ranked.iter().all(|one| !one.times.is_empty());
    if json {
        let upstreams: Vec<Value> = ranked.iter().map(one_json).collect();
        writeln!(out, "{:#}", json!({ "upstreams": upstreams }))?;
        return Ok(good);
    }
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    let answered = ranked.iter().filter(|one| !one.times.is_empty());
    rows.extend(answered.enumerate().map(|(place, one)| row(place + 1, one)));
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    for row in rows.iter().filter(|_| rows.len() > 1) {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    for one in ranked {
        if let Some(fault) = &one.fault {
            writeln!(out, "-  {}: {fault}", one.name)?;
        }
    }
    Ok(good)
}

fn row(place: usize, one: &Ranked) -> [String; COLUMNS.len()] {
    let time = |time: Option<Duration>| time.map_or_else(|| "-".into(), millis);
    let asked = one.times.len() + usize::try_from(one.lost).unwrap_or(usize::MAX);
    [
        place.to_string(),
        one.name.clone(),
        time(one.percentile(50)),
        time(one.percentile(95)),
        time(one.times.iter().min().copied()),
        time(one.connected),
        format!("{} of {asked}", one.lost),
        one.endpoint.map_or_else(String::new, |it| it.to_string()),
    ]
}

fn one_json(one: &Ranked) -> Value {
    json!({
        "upstream": one.name,
        "endpoint": one.endpoint.map(|it| it.to_string()),
        "answered": one.times.len(),
        "lost": one.lost,
        "median_ms": one.percentile(50).map(millis_json),
        "p95_ms": one.percentile(95).map(millis_json),
        "fastest_ms": one.times.iter().min().copied().map(millis_json),
        "connected_ms": one.connected.map(millis_json),
        "error": one.fault,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_seen() {
        let of = |times: &[u64]| Ranked {
            name: "a".into(),
            endpoint: None,
            connected: None,
            times: times.iter().copied().map(Duration::from_millis).collect(),
            lost: 0,
            fault: None,
        };
        let hundred = of(&(1..=100).rev().collect::<Vec<_>>());
        assert_eq!(hundred.percentile(50), Some(Duration::from_millis(50)));
        assert_eq!(hundred.percentile(95), Some(Duration::from_millis(95)));
        let three = of(&[30, 10, 20]);
        assert_eq!(three.percentile(50), Some(Duration::from_millis(20)));
        assert_eq!(three.percentile(95), Some(Duration::from_millis(30)));
        assert_eq!(of(&[]).percentile(50), None);
    }
}
