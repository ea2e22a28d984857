//! `dotward cache`: what the running program has kept, as text.

use std::io::{self, Write};

use serde_json::Value;

use super::status::{list, text};

/// Prints the counters.
pub(super) fn write_stats(out: &mut dyn Write, stats: &Value) -> io::Result<()> {
    let cache = &stats["memory"];
    if cache["on"] == Value::Bool(false) {
        let failures = text(&cache["failures"]);
        writeln!(
            out,
            "memory     off; {failures} questions answered with a failure of a moment before"
        )?;
    } else {
        let rows = [
            (
                "answers",
                format!(
                    "{} in {} of {} octets",
                    text(&cache["entries"]),
                    text(&cache["octets"]),
                    text(&cache["limit"])
                ),
            ),
            (
                "hits",
                format!("{} ({})", text(&cache["hits"]), share(cache)),
            ),
            ("misses", text(&cache["misses"])),
            (
                "coalesced",
                format!(
                    "{} of them joined an equal question",
                    text(&cache["coalesced"])
                ),
            ),
            ("stale", text(&cache["stale"])),
            ("failures", text(&cache["failures"])),
            ("prefetched", text(&cache["prefetches"])),
            ("evicted", text(&cache["evictions"])),
        ];
        write_rows(out, "memory", &rows)?;
    }
    write_shared(out, &stats["shared"])
}

/// Prints the counters of the cache that several instances share, if there is one.
pub(super) fn write_shared(out: &mut dyn Write, shared: &Value) -> io::Result<()> {
    if shared.is_null() {
        return Ok(());
    }
    let fault = shared["fault"].as_str();
    let trouble = fault.filter(|_| shared["state"] != "asked");
    let state = match trouble {
        Some(fault) => format!("{}: {fault}", text(&shared["state"])),
        None => text(&shared["state"]),
    };
    let response = match shared["mean_response_ms"].as_f64() {
        Some(mean) => format!("{mean:.2} ms on average"),
        None => "-".to_owned(),
    };
    let rows = [
        ("state", state),
        ("hits", text(&shared["hits"])),
        ("misses", text(&shared["misses"])),
        (
            "not used",
            format!(
                "{} unusable, {} after the upstream's answer",
                text(&shared["unusable"]),
                text(&shared["outrun"])
            ),
        ),
        (
            "not in time",
            format!(
                "{} late, {} failed, {} not asked",
                text(&shared["late"]),
                text(&shared["failures"]),
                text(&shared["skipped"])
            ),
        ),
        ("response", response),
        (
            "written",
            format!(
                "{}, {} dropped",
                text(&shared["writes"]),
                text(&shared["writes_dropped"])
            ),
        ),
    ];
    write_rows(out, "shared", &rows)
}

fn write_rows(out: &mut dyn Write, title: &str, rows: &[(&str, String)]) -> io::Result<()> {
    for (place, (name, value)) in rows.iter().enumerate() {
        let title = if place == 0 { title } else { "" };
        writeln!(out, "{title:<9}  {name:<11}  {value}")?;
    }
    Ok(())
}

/// Hits of all that could have been.
fn share(cache: &Value) -> String {
    let number = |key: &str| cache[key].as_f64().unwrap_or_default();
    let all = number("hits") + number("misses") + number("stale") + number("failures");
    if all > 0.0 {
        format!("{:.1} %", 100.0 * number("hits") / all)
    } else {
        "nothing was asked yet".to_owned()
    }
}

/// Prints what is kept of a name. `false` when that is nothing.
pub(super) fn write_answers(out: &mut dyn Write, found: &Value) -> io::Result<bool> {
    let answers = list(&found["answers"]);
    for answer in answers {
        let fresh = answer["fresh_seconds"].as_u64().unwrap_or_default();
        let age = text(&answer["age_seconds"]);
        let state = match fresh {
            0 if answer["kind"] == "failure" => "expired".to_owned(),
            0 => "stale".to_owned(),
            _ => format!("{fresh} s left"),
        };
        let mut line = format!(
            "{} {}  {} {}, {state}, {age} s old",
            text(&answer["name"]),
            text(&answer["type"]),
            text(&answer["rcode"]),
            text(&answer["kind"]),
        );
        let flags = [("dnssec_ok", "DO"), ("checking_disabled", "CD")];
        for (key, word) in flags {
            if answer[key] == Value::Bool(true) {
                line.push_str(&format!(", {word}"));
            }
        }
        if let Some(route) = answer["route"].as_str() {
            line.push_str(&format!(", route {route}"));
        }
        if !answer["extended_error"].is_null() {
            let error = &answer["extended_error"];
            line.push_str(&format!(
                ", extended error {} {}",
                text(&error["code"]),
                text(&error["text"])
            ));
        }
        writeln!(out, "{}", line.trim_end())?;
        for record in list(&answer["records"]) {
            writeln!(out, "    {}", text(record))?;
        }
    }
    match found["left_out"].as_u64() {
        None | Some(0) => {}
        Some(more) => writeln!(out, "and {more} more")?,
    }
    Ok(!answers.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_is_a_line_and_its_records() {
        let found = json!({ "left_out": 2, "answers": [
            { "name": "a.example.", "type": "A", "rcode": "NOERROR", "kind": "data", "fresh_seconds": 270, "age_seconds": 30,
              "dnssec_ok": true, "checking_disabled": false, "route": null, "extended_error": null,
              "records": ["a.example. 270 IN A 192.0.2.1"] },
            { "name": "a.example.", "type": "AAAA", "rcode": "SERVFAIL", "kind": "failure", "fresh_seconds": 0, "age_seconds": 3,
              "dnssec_ok": false, "checking_disabled": true, "route": "example", "extended_error": { "code": 22, "text": "" },
              "records": [] },
        ]});
        let text = shown(|out| assert!(write_answers(out, &found).unwrap()));
        assert_eq!(
            text,
            "a.example. A  NOERROR data, 270 s left, 30 s old, DO\n    a.example. 270 IN A 192.0.2.1\n\
             a.example. AAAA  SERVFAIL failure, expired, 3 s old, CD, route example, extended error 22\nand 2 more\n"
        );
        assert!(!write_answers(&mut Vec::new(), &json!({ "answers": [] })).unwrap());
    }

    #[test]
    fn a_shared_cache_in_trouble_says_what_is_wrong() {
        let shared = json!({ "state": "left alone", "fault": "refused", "mean_response_ms": 0.4 });
        let text = shown(|out| write_shared(out, &shared).unwrap());
        assert!(
            text.starts_with("shared     state        left alone: refused\n"),
            "{text}"
        );
        assert!(text.contains("0.40 ms on average"), "{text}");
        assert_eq!(shown(|out| write_shared(out, &Value::Null).unwrap()), "");
    }
}
