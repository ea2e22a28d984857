//! A look into the cache over the control socket, and flushing it. The cache is shared, so no worker has to be asked.

use std::time::Duration;

use dotward_core::cache::{Cache, Kept, Kind};
use dotward_core::shared::SharedStats;
use dotward_core::wire::{Name, RecordType, Records, ReplyOrigin};
use serde_json::{Value, json};

use super::Refusal;
use crate::clock;
use crate::commands::records;
use crate::group_names::GroupNames;
use crate::limits::CONTROL_ANSWERS;

/// What the cache holds and has done.
pub(super) fn stats(cache: &Cache) -> Value {
    let stats = cache.stats();
    json!({
        "on": cache.is_on(),
        "entries": stats.entries,
        "octets": stats.octets,
        "limit": stats.limit,
        "hits": stats.hits,
        "misses": stats.misses,
        "stale": stats.stale,
        "failures": stats.failures,
        "coalesced": stats.coalesced,
        "prefetches": stats.prefetches,
        "inserts": stats.inserts,
        "evictions": stats.evictions,
    })
}

/// What the cache that several instances share has done.
pub(super) fn shared_stats(stats: &SharedStats, fault: Option<&str>) -> Value {
    let mean_nanos = stats.duration.sum().checked_div(stats.duration.count());
    json!({
        "state": stats.breaker.word(),
        "fault": fault,
        "hits": stats.hits,
        "misses": stats.misses,
        "unusable": stats.unusable,
        "outrun": stats.outrun,
        "late": stats.late,
        "failures": stats.failures,
        "skipped": stats.skipped,
        "writes": stats.writes,
        "writes_dropped": stats.writes_dropped,
        "mean_response_ms": mean_nanos.map(|nanos| Duration::from_micros(nanos / 1_000).as_secs_f64() * 1e3),
    })
}

/// What is kept of a name.
pub(super) fn of_name(
    cache: &Cache,
    names: &GroupNames,
    name: &Name,
    qtype: Option<RecordType>,
) -> Result<Value, Refusal> {
    check_on(cache)?;
    let mut answers = Vec::new();
    let mut left_out = 0_usize;
    cache.visit_name(name, clock::now(), |kept| {
        if qtype.is_some_and(|qtype| qtype != kept.question.qtype()) {
            return;
        }
        if answers.len() < CONTROL_ANSWERS {
            answers.push(answer(&kept, names));
        } else {
            left_out += 1;
        }
    });
    Ok(json!({ "answers": answers, "left_out": left_out }))
}

fn answer(kept: &Kept<'_>, names: &GroupNames) -> Value {
    let kind = match kept.kind {
        Kind::Positive => "data",
        Kind::Negative => "negative",
        Kind::Failure => "failure",
        Kind::Withheld => "withheld",
    };
    let question = kept.question.to_owned();
    let age = kept.age.as_secs();
    json!({
        "name": records::absolute(&question.qname()),
        "type": kept.question.qtype().to_string(),
        "route": names.route(kept.group),
        "dnssec_ok": kept.dnssec_ok,
        "checking_disabled": kept.checking_disabled,
        "encrypted": kept.origin == ReplyOrigin::Upstream,
        "kind": kind,
        "rcode": kept.rcode.to_string(),
        "extended_error": kept.error.map(|it| json!({ "code": it.code.0, "text": it.text })),
        "age_seconds": age,
        "fresh_seconds": kept.remaining().as_secs(),
        "lifetime_seconds": kept.lifetime.as_secs(),
        "records": lines(kept, age),
    })
}

/// The records in presentation form, their TTLs as a client would see them now.
fn lines(kept: &Kept<'_>, age: u64) -> Vec<String> {
    let Some(view) = dotward_core::wire::ResponseView::parse(kept.message).ok() else {
        return Vec::new();
    };
    let records: Records<'_> = view.records();
    records
        .map_while(Result::ok)
        .map(|record| {
            let owner = records::owner(kept.message, &record);
            let ttl = u64::from(record.ttl).saturating_sub(age);
            let data = records::data(kept.message, &record);
            format!("{owner} {ttl} {} {} {data}", record.class, record.rtype)
        })
        .collect()
}

/// Takes answers out.
pub(super) fn flush(cache: &Cache, suffix: Option<&Name>) -> Result<Value, Refusal> {
    check_on(cache)?;
    let flushed = cache.flush(suffix);
    tracing::info!(flushed, "cache flushed over the control socket");
    Ok(json!({ "flushed": flushed }))
}

fn check_on(cache: &Cache) -> Result<(), Refusal> {
    if cache.is_on() {
        Ok(())
    } else {
        Err(Refusal::Absent("the cache is turned off (cache.size)"))
    }
}
