//! The page of `/metrics`.
//!
//! Promises: every name and label here is ours and bounded: transports, classes of types, RCODEs, reasons, names of upstreams from the
//! configuration. Families are there from the first scrape on; single series of counters appear once they are not zero.
//!
//! Deliberately absent: domain names and clients' addresses.

use std::fmt::Write;
use std::time::SystemTime;

use hyper::header::HeaderValue;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

use super::board::{Board, Report};
use super::process::{self, Usage};
use crate::sandbox;

mod cache;
mod families;
mod writer;

/// In which of the two text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The one of Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Form {
    /// The one a scraper asks for.
    pub(super) fn accepted(accept: Option<&HeaderValue>) -> Self {
        let asks = accept.and_then(|value| value.to_str().ok());
        if asks.is_some_and(|asks| asks.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The page about what the workers told.
pub(super) fn page(board: &Board, report: Report, form: Form) -> String {
    let facts = Facts {
        report,
        usage: process::usage(),
        started: board.started,
        draining: board.is_draining(),
        sandbox: board.sandbox,
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(facts));
    let mut page = String::new();
    let written = encode_registry(&mut page, &registry);
    debug_assert!(written.is_ok(), "a String takes everything");
    match form {
        Form::OpenMetrics => {
            let ended = encode_eof(&mut page);
            debug_assert!(ended.is_ok(), "a String takes everything");
            page
        }
        Form::Prometheus => without_openmetrics(&page),
    }
}

/// The format of Prometheus calls a counter by its whole name where OpenMetrics leaves `_total` out.
fn without_openmetrics(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let total = if kind == "counter" { "_total" } else { "" };
            let text = help.take().map_or("", |(_, text)| text);
            let written = write!(
                out,
                "# HELP {name}{total} {text}\n# TYPE {name}{total} {kind}\n"
            );
            debug_assert!(written.is_ok(), "a String takes everything");
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Everything the page says.
#[derive(Debug)]
struct Facts {
    report: Report,
    usage: Usage,
    started: SystemTime,
    draining: bool,
    sandbox: sandbox::Status,
}
