//! What comes back: a value, or why there is none.

use std::fmt;

use serde_json::{Value, json};

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The line is no request; the text says what is.
    NotARequest(String),
    /// The line is longer than any request, or did not come in time.
    NotALine,
    /// As many connections as there may be are open.
    TooMany,
    /// The worker did not answer in time: it is stuck, or the machine has no time for it.
    Busy,
    /// What was asked for is not there in this program, or not with this configuration.
    Absent(&'static str),
    /// The configuration has faults; the text says all of them.
    Configuration(String),
    /// It was tried, and failed; the text says why.
    Failed(String),
}

impl Refusal {
    /// The word for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotARequest(_) => "not-a-request",
            Self::NotALine => "not-a-line",
            Self::TooMany => "too-many",
            Self::Busy => "busy",
            Self::Absent(_) => "absent",
            Self::Configuration(_) => "configuration",
            Self::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARequest(what) | Self::Configuration(what) | Self::Failed(what) => {
                f.write_str(what)
            }
            Self::NotALine => f.write_str("a request is one line of at most 4096 octets, sent at once"),
            Self::TooMany => f.write_str("too many control connections are open; try again"),
            Self::Busy => f.write_str(
                "the program runs, but its worker did not answer in time: it is stuck or has no processor time",
            ),
            Self::Absent(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Refusal {}

/// The line of a response, with its end.
pub(super) fn line(outcome: Result<Value, Refusal>) -> String {
    let value = match outcome {
        Ok(value) => json!({ "ok": value }),
        Err(refusal) => {
            json!({ "error": { "kind": refusal.kind(), "message": refusal.to_string() } })
        }
    };
    format!("{value}\n")
}
