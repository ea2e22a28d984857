//! Questions and replies in numbers, for `status` and whoever computes rates from them.
//!
//! Promises: numbers of the whole process since it began, that only grow.

use serde_json::{Value, json};

use crate::tally::{ReplySource, TRANSPORTS, Totals};
use crate::worker::State;

/// RCODEs that are told by name; the rest is `other`.
const TOLD: [&str; 4] = ["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"];

/// Adds them to `status`.
pub(super) fn add(status: &mut Value, state: &State) {
    let mut totals = Totals::default();
    totals.add(&state.near.counters);
    for further in &state.further {
        totals.add(&further.link.counters);
    }
    status["queries"] = queries(&totals);
    status["responses"] = responses(&totals);
    status["sources"] = sources(&totals);
    status["response_seconds"] = totals
        .durations()
        .map(|(source, durations)| (source.to_owned(), json!(seconds(durations.sum()))))
        .collect();
    let dropped: u64 = totals.dropped().map(|(_, number)| number).sum();
    status["dropped"] = dropped.into();
}

fn queries(totals: &Totals) -> Value {
    let mut value = json!({ "all": 0 });
    for (_, word) in TRANSPORTS {
        let of_transport = totals.queries().filter(|(it, ..)| *it == word);
        value[word] = of_transport.map(|(.., number)| number).sum::<u64>().into();
    }
    value["all"] = totals
        .queries()
        .map(|(.., number)| number)
        .sum::<u64>()
        .into();
    value
}

fn responses(totals: &Totals) -> Value {
    let mut value = json!({});
    let mut rest: u64 = totals.responses().map(|(.., number)| number).sum();
    value["all"] = rest.into();
    for rcode in TOLD {
        let of_rcode = totals.responses().filter(|(_, it, ..)| *it == rcode);
        let number: u64 = of_rcode.map(|(.., number)| number).sum();
        value[rcode] = number.into();
        rest -= number;
    }
    value["other"] = rest.into();
    value
}

fn sources(totals: &Totals) -> Value {
    let of_source = |source: ReplySource| -> u64 {
        let replies = totals
            .responses()
            .filter(|(_, _, it, _)| *it == source.word());
        replies.map(|(.., number)| number).sum()
    };
    let sources = ReplySource::ALL.into_iter();
    sources
        .map(|source| (source.word().to_owned(), json!(of_source(source))))
        .collect()
}

/// From nanoseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "a sum of times for people, who do not miss the last digits"
)]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
