//! `dotward status`: one screen of text from what the running program says.

use std::io::{self, Write};

use serde_json::Value;

/// Whether nothing is wrong.
pub(super) fn is_good(status: &Value) -> bool {
    faults(status).is_empty()
}

fn faults(status: &Value) -> &[Value] {
    list(&status["degraded"])
}

/// Prints it.
pub(super) fn write_status(out: &mut dyn Write, status: &Value) -> io::Result<()> {
    writeln!(
        out,
        "dotward {}, pid {}, up {}, log level {}",
        text(&status["version"]),
        text(&status["pid"]),
        age(&status["uptime_seconds"]),
        text(&status["log_level"]),
    )?;
    let listening: Vec<_> = list(&status["listening"])
        .iter()
        .map(|it| format!("{}://{}", text(&it["transport"]), text(&it["address"])))
        .collect();
    writeln!(out, "listening  {}", listening.join("  "))?;
    if let Some(files) = status["sandbox"]["files"].as_str() {
        let calls = text(&status["sandbox"]["calls"]);
        writeln!(
            out,
            "sandbox    files and ports {files}, system calls {calls}"
        )?;
    }
    writeln!(
        out,
        "clients    {} waiting, {} connected over TCP or TLS; {} questions at {} upstream connections",
        text(&status["clients_waiting"]),
        text(&status["client_streams"]),
        text(&status["questions_in_flight"]),
        text(&status["upstream_connections"]),
    )?;
    match faults(status) {
        [] => writeln!(out, "state      good")?,
        faults => {
            let faults: Vec<_> = faults.iter().map(text).collect();
            writeln!(out, "state      degraded: {}", faults.join("; "))?;
        }
    }
    let restart = list(&status["configuration"]["awaiting_restart"]);
    if !restart.is_empty() {
        let keys: Vec<_> = restart.iter().map(text).collect();
        writeln!(out, "restart    needed for {}", keys.join(", "))?;
    }
    write_questions(out, status)?;
    let cache = &status["cache"];
    if cache["on"] == Value::Bool(true) {
        writeln!(
            out,
            "cache      {} answers in {} of {} octets; {} hits, {} misses, {} stale",
            text(&cache["entries"]),
            text(&cache["octets"]),
            text(&cache["limit"]),
            text(&cache["hits"]),
            text(&cache["misses"]),
            text(&cache["stale"]),
        )?;
    }
    let shared = &status["shared_cache"];
    if !shared.is_null() {
        let trouble = shared["fault"]
            .as_str()
            .filter(|_| shared["state"] != "asked");
        writeln!(
            out,
            "shared     {}{}; {} hits, {} misses",
            text(&shared["state"]),
            trouble.map(|it| format!(": {it}")).unwrap_or_default(),
            text(&shared["hits"]),
            text(&shared["misses"]),
        )?;
    }
    writeln!(out)?;
    write_upstreams(out, list(&status["upstreams"]))
}

/// What was asked and answered since the program began.
fn write_questions(out: &mut dyn Write, status: &Value) -> io::Result<()> {
    let (queries, responses) = (&status["queries"], &status["responses"]);
    if queries.is_null() {
        return Ok(());
    }
    writeln!(
        out,
        "queries    {}: {} UDP, {} TCP, {} TLS; {} without a reply",
        text(&queries["all"]),
        text(&queries["udp"]),
        text(&queries["tcp"]),
        text(&queries["tls"]),
        text(&status["dropped"]),
    )?;
    writeln!(
        out,
        "replies    {}: {} NOERROR, {} NXDOMAIN, {} SERVFAIL, {} REFUSED, {} other; {} from the cache",
        text(&responses["all"]),
        text(&responses["NOERROR"]),
        text(&responses["NXDOMAIN"]),
        text(&responses["SERVFAIL"]),
        text(&responses["REFUSED"]),
        text(&responses["other"]),
        share(&status["sources"]["cache"], &responses["all"]),
    )
}

/// A part of a whole, for people.
fn share(part: &Value, whole: &Value) -> String {
    match (part.as_f64(), whole.as_f64()) {
        (Some(part), Some(whole)) if whole > 0.0 => format!("{:.1} %", 100.0 * part / whole),
        (_, _) => "-".to_owned(),
    }
}

const COLUMNS: [&str; 9] = [
    "upstream",
    "state",
    "since",
    "next try",
    "connections",
    "in flight",
    "response time",
    "idle limit",
    "reason",
];

fn write_upstreams(out: &mut dyn Write, upstreams: &[Value]) -> io::Result<()> {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    for upstream in upstreams {
        rows.push(row(upstream));
        rows.extend(addresses_to_see(upstream).iter().map(address_row));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..COLUMNS.len()).filter_map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn row(upstream: &Value) -> [String; COLUMNS.len()] {
    [
        text(&upstream["name"]),
        text(&upstream["state"]),
        age(&upstream["since_seconds"]),
        unit(&upstream["next_try_seconds"], "s"),
        connections(upstream),
        text(&upstream["in_flight"]),
        unit(&upstream["rtt_ms"], "ms"),
        unit(&upstream["idle_limit_seconds"], "s"),
        reason(upstream),
    ]
}

/// The addresses of an upstream, where they are worth a look: one of them is set aside.
pub(super) fn addresses_to_see(upstream: &Value) -> &[Value] {
    let addresses = list(&upstream["addresses"]);
    if addresses.iter().any(|it| it["state"] == "set aside") {
        addresses
    } else {
        &[]
    }
}

fn address_row(address: &Value) -> [String; COLUMNS.len()] {
    [
        format!("  {}", text(&address["address"])),
        text(&address["state"]),
        age(&address["since_seconds"]),
        unit(&address["next_try_seconds"], "s"),
        connections(address),
        String::new(),
        String::new(),
        String::new(),
        reason(address),
    ]
}

/// Those that are ready and those that are not yet, of an upstream or an address.
fn connections(of: &Value) -> String {
    let opening = match of["connections_opening"].as_u64() {
        None | Some(0) => String::new(),
        Some(opening) => format!(" (+{opening} opening)"),
    };
    format!("{}{opening}", text(&of["connections"]))
}

/// Why an upstream or an address is in its state; empty where there is nothing to say.
pub(super) fn reason(of: &Value) -> String {
    of["reason"].as_str().unwrap_or_default().to_owned()
}

/// A number with its unit.
pub(super) fn unit(value: &Value, unit: &str) -> String {
    match value.as_f64() {
        Some(number) => format!("{number:.1} {unit}"),
        None => "-".to_owned(),
    }
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A string or a number as people write it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A number of seconds by its two largest units.
pub(super) fn age(seconds: &Value) -> String {
    let Some(seconds) = seconds.as_f64() else {
        return "-".to_owned();
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number too large or too small becomes the nearest there is"
    )]
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(status: &Value) -> String {
        let mut out = Vec::new();
        write_status(&mut out, status).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_screen_says_what_is_wrong_and_since_when() {
        let status = json!({
            "version": "1.2.3", "pid": 7, "uptime_seconds": 90_061.5, "log_level": "info",
            "degraded": ["upstream quad9 does not answer"],
            "configuration": { "awaiting_restart": ["listen.dns", "cache.size"] },
            "listening": [{ "transport": "udp", "address": "127.0.0.1:53" }],
            "sandbox": { "files": "partly enforced", "calls": "enforced" },
            "queries": { "all": 8, "udp": 7, "tcp": 1, "tls": 0 }, "dropped": 1, "sources": { "cache": 3 },
            "responses": { "all": 6, "NOERROR": 4, "NXDOMAIN": 1, "SERVFAIL": 1, "REFUSED": 0, "other": 0 },
            "clients_waiting": 2, "client_streams": 1, "questions_in_flight": 2, "upstream_connections": 1,
            "upstreams": [
                { "name": "quad9", "state": "down", "since_seconds": 61.0, "connections": 0, "connections_opening": 1,
                  "in_flight": 2, "next_try_seconds": 0.75, "rtt_ms": null, "idle_limit_seconds": 9.75, "reason": "it does not answer" },
                { "name": "x", "state": "up", "since_seconds": 4000, "connections": 1, "in_flight": 0, "rtt_ms": 12.34 },
            ],
        });
        assert_eq!(
            shown(&status),
            "dotward 1.2.3, pid 7, up 1 d 1 h, log level info\n\
             listening  udp://127.0.0.1:53\n\
             sandbox    files and ports partly enforced, system calls enforced\n\
             clients    2 waiting, 1 connected over TCP or TLS; 2 questions at 1 upstream connections\n\
             state      degraded: upstream quad9 does not answer\n\
             restart    needed for listen.dns, cache.size\n\
             queries    8: 7 UDP, 1 TCP, 0 TLS; 1 without a reply\n\
             replies    6: 4 NOERROR, 1 NXDOMAIN, 1 SERVFAIL, 0 REFUSED, 0 other; 50.0 % from the cache\n\
             \n\
             upstream  state  since      next try  connections     in flight  response time  idle limit  reason\n\
             quad9     down   1 min 1 s  0.8 s     0 (+1 opening)  2          -              9.8 s       it does not answer\n\
             x         up     1 h 6 min  -         1               0          12.3 ms        -\n"
        );
        assert!(!is_good(&status));
    }

    #[test]
    fn addresses_are_told_of_an_upstream_where_one_is_set_aside() {
        let address = |address: &str, state: &str, connections: u32| {
            let reason = (state == "set aside").then_some("it does not answer");
            let next_try = reason.map(|_| 6.25);
            json!({ "address": address, "state": state, "since_seconds": 41, "next_try_seconds": next_try,
                    "connections": connections, "reason": reason })
        };
        let upstream = |name: &str, addresses: &[Value]| {
            json!({ "name": name, "state": "up", "since_seconds": 61, "connections": 1, "in_flight": 0,
                    "addresses": addresses })
        };
        let (one, other) = ("192.0.2.1:853", "[2001:db8::1]:853");
        let status = json!({ "upstreams": [
            upstream("a", &[address(one, "slower", 0), address(other, "untried", 0)]),
            upstream("b", &[address(one, "set aside", 0), address(other, "up", 1)]),
        ]});
        let shown = shown(&status);
        let (_, table) = shown.split_once("\n\n").unwrap();
        assert_eq!(
            table,
            "upstream             state      since      next try  connections  in flight  response time  idle limit  reason\n\
             a                    up         1 min 1 s  -         1            0          -              -\n\
             b                    up         1 min 1 s  -         1            0          -              -\n  \
             192.0.2.1:853      set aside  41 s       6.2 s     0                                                  it does not answer\n  \
             [2001:db8::1]:853  up         41 s       -         1\n"
        );
    }

    #[test]
    fn what_another_version_does_not_say_is_left_out() {
        assert!(shown(&json!({})).starts_with("dotward -, pid -, up -"));
        assert!(is_good(&json!({ "degraded": [] })));
    }
}
