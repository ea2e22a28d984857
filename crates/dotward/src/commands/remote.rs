//! Commands that speak to a running program over its control socket.
//!
//! What is printed comes from the program's own JSON; what an older or newer program does not say is left out.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

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
        Request::CacheGet(name, _) => {
            let found = cache::write_answers(out, value)?;
            if !found {
                writeln!(out, "nothing is kept of {}", absolute(name))?;
            }
            return Ok(found);
        }
        Request::CacheFlush(_) => {
            writeln!(out, "{} answers forgotten", status::text(&value["flushed"]))?;
        }
        Request::LogLevel(level) => match value["before"].as_str() {
            Some(before) => writeln!(out, "log level {level}, was {before}")?,
            None => writeln!(out, "log level {level}")?,
        },
        Request::Drain => drained(out, answered, began)?,
    }
    Ok(true)
}

fn drained(out: &mut dyn Write, answered: Answered, began: Instant) -> Result<(), RemoteError> {
    let limit = Duration::from_millis(answered.value["drain_ms"].as_u64().unwrap_or_default());
    answered
        .wait_for_end(limit + CONTROL_WAIT)
        .map_err(RemoteError::StillThere)?;
    writeln!(out, "ended after {:.1} s", began.elapsed().as_secs_f64())?;
    Ok(())
}
