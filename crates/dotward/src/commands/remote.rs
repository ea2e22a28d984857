//! Commands that speak to a running program over its control socket.
//!
//! What is printed comes from the program's own JSON; what an older or newer program does not say is left out.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::records::absolute;
use super::{cache, status};
use crate::cli::RemoteArgs;
use crate::control::Request;
use crate::control::client::{self, Answered, ClientError};
use crate::limits::CONTROL_WAIT;

/// Why a command that speaks to a running program failed.
#[derive(Debug)]
pub enum RemoteError {
    /// The program could not be asked, or refused.
    Client(ClientError),
    /// The program was told to end and has not, after the time it allows itself.
    StillThere(io::Error),
    /// The result could not be written.
    Output(io::Error),
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::StillThere(error) => write!(f, "the program has not ended in time: {error}"),
            Self::Output(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RemoteError {}

impl RemoteError {
    /// Whether the running program's configuration is at fault.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Client(ClientError::Configuration(_)))
    }
}

impl RemoteError {
    /// One word for programs; `None` where nothing can be written any more.
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Client(error) => Some(error.kind()),
            Self::StillThere(_) => Some("still-there"),
            Self::Output(_) => None,
        }
    }
}

/// Writes what went wrong for a program: the form in which the control socket itself says so.
///
/// # Errors
///
/// Those of `out`.
pub fn write_error(out: &mut dyn Write, kind: &str, message: &str) -> io::Result<()> {
    let value = json!({ "error": { "kind": kind, "message": message } });
    writeln!(out, "{value:#}")
}

impl From<io::Error> for RemoteError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ClientError> for RemoteError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// The control socket is turned off.
#[derive(Debug)]
pub struct TurnedOff;

impl fmt::Display for TurnedOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the control socket is turned off (listen.control)\n  fix:     give its path there, or with --control",
        )
    }
}

impl std::error::Error for TurnedOff {}

/// Asks, prints what came back, and says whether all is well.
///
/// # Errors
///
/// [`RemoteError`], ready to be shown.
pub fn run(out: &mut dyn Write, path: &Path, args: &RemoteArgs) -> Result<bool, RemoteError> {
    let began = Instant::now();
    let answered = client::ask(path, &args.request)?;
    let value = &answered.value;
    match &args.request {
        Request::Status => {
            if args.json {
                writeln!(out, "{value:#}")?;
            } else {
                status::write_status(out, value)?;
            }
            return Ok(status::is_good(value));
        }
        _ if args.json => writeln!(out, "{value:#}")?,
        Request::CacheStats => cache::write_stats(out, value)?,
        Request::CacheGet(name, qtype) => {
            let found = cache::write_answers(out, value)?;
            if !found {
                let qtype = qtype.map(|it| format!(" of type {it}"));
                let (name, qtype) = (absolute(name), qtype.unwrap_or_default());
                writeln!(out, "nothing{qtype} is kept of {name}")?;
            }
            return Ok(found);
        }
        Request::CacheFlush(_) => {
            let answers = match value["flushed"].as_u64() {
                Some(1) => "answer",
                Some(_) | None => "answers",
            };
            writeln!(
                out,
                "{} {answers} forgotten",
                status::text(&value["flushed"])
            )?;
        }
        Request::LogLevel(level) => match value["before"].as_str() {
            Some(before) => writeln!(out, "log level {level}, was {before}")?,
            None => writeln!(out, "log level {level}")?,
        },
        Request::Reload => reloaded(out, value)?,
        Request::Drain => drained(out, answered, began)?,
    }
    Ok(true)
}

/// Says what changed, and what did not though it should.
fn reloaded(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    for warning in status::list(&value["warnings"]) {
        writeln!(out, "warn:  {}", status::text(warning))?;
    }
    let names =
        |key: &str| -> Vec<_> { status::list(&value[key]).iter().map(status::text).collect() };
    let restart = names("awaiting_restart");
    if !restart.is_empty() {
        writeln!(out, "needs a restart: {}", restart.join(", "))?;
    }
    let (added, removed) = (names("upstreams_added"), names("upstreams_removed"));
    if !added.is_empty() {
        writeln!(out, "upstreams added: {}", added.join(", "))?;
    }
    if !removed.is_empty() {
        writeln!(out, "upstreams removed: {}", removed.join(", "))?;
    }
    match value["answers_forgotten"].as_u64() {
        None | Some(0) => {}
        Some(1) => writeln!(
            out,
            "1 kept answer forgotten: it does not hold under this configuration"
        )?,
        Some(count) => writeln!(
            out,
            "{count} kept answers forgotten: they do not hold under this configuration"
        )?,
    }
    writeln!(out, "the configuration is in force")
}

fn drained(out: &mut dyn Write, answered: Answered, began: Instant) -> Result<(), RemoteError> {
    let limit = Duration::from_millis(answered.value["drain_ms"].as_u64().unwrap_or_default());
    answered
        .wait_for_end(limit + CONTROL_WAIT)
        .map_err(RemoteError::StillThere)?;
    writeln!(out, "ended after {:.1} s", began.elapsed().as_secs_f64())?;
    Ok(())
}
