//! The other end of the control socket, for the commands.
//!
//! Promises: bounded in time; every failure says what to do about it.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::Request;
use crate::limits::{CONTROL_RESPONSE, CONTROL_WAIT, RELOAD_PATIENCE};

/// Why a running program could not be asked, or did not do what it was asked.
#[derive(Debug)]
pub enum ClientError {
    /// There is no file.
    NotThere(PathBuf),
    /// The file is no socket.
    NoSocket(PathBuf),
    /// Nobody is there.
    NobodyThere(PathBuf),
    /// Somebody is there and says nothing.
    Silent(PathBuf),
    /// The file may not be used by this user.
    Forbidden(PathBuf),
    /// The system refused something else, or the answer did not come in time.
    System(PathBuf, io::Error),
    /// What came back is no response.
    Garbled(PathBuf),
    /// The program refused: the kind and the text are its own.
    Refused {
        /// One word.
        kind: String,
        /// For people.
        message: String,
    },
    /// The program found faults in its configuration; the text is all of them.
    Configuration(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere(path) => write!(
                f,
                "there is no control socket {}\n  fix:     start dotward with --control {}, or {ELSEWHERE}",
                path.display(),
                path.display()
            ),
            Self::NoSocket(path) => {
                write!(f, "{} is no socket\n  fix:     {ELSEWHERE}", path.display())
            }
            Self::NobodyThere(path) => write!(
                f,
                "nobody answers at the control socket {}: the program that made it is gone\n  fix:     start dotward with --control {}, or \
                 {ELSEWHERE}",
                path.display(),
                path.display()
            ),
            Self::Silent(path) => write!(
                f,
                "no response in time from the control socket {}\n  fix:     look whether the program is stopped or stuck \
                 (systemctl status dotward, ps), and start it again if it is",
                path.display()
            ),
            Self::Forbidden(path) => write!(
                f,
                "this user may not use the control socket {}\n  fix:     be root, or the user that runs dotward",
                path.display()
            ),
            Self::System(path, error) => {
                write!(f, "the control socket {} failed: {error}", path.display())
            }
            Self::Garbled(path) => {
                write!(f, "what answers at {} is not dotward", path.display())
            }
            Self::Refused { message, .. } | Self::Configuration(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ClientError {}

/// Where else it may be.
const ELSEWHERE: &str =
    "say where the socket of the running one is (--control PATH, DOTWARD_CONTROL, listen.control)";

impl ClientError {
    /// One word for programs.
    pub fn kind(&self) -> &str {
        match self {
            Self::NotThere(_) | Self::NoSocket(_) | Self::NobodyThere(_) => "nobody-there",
            Self::Silent(_) => "silent",
            Self::Forbidden(_) => "forbidden",
            Self::System(..) => "system",
            Self::Garbled(_) => "garbled",
            Self::Refused { kind, .. } => kind,
            Self::Configuration(_) => "configuration",
        }
    }

    fn of(path: &Path, error: io::Error) -> Self {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied, WouldBlock};
        let (path, kind) = (path.to_owned(), error.kind());
        let is_socket = || path.metadata().is_ok_and(|it| it.file_type().is_socket());
        if kind == NotFound {
            Self::NotThere(path)
        } else if kind == ConnectionRefused && !is_socket() {
            Self::NoSocket(path)
        } else if kind == ConnectionRefused {
            Self::NobodyThere(path)
        } else if kind == PermissionDenied {
            Self::Forbidden(path)
        } else if kind == WouldBlock {
            Self::Silent(path)
        } else {
            Self::System(path, error)
        }
    }
}

/// A connection on which the response has come.
#[derive(Debug)]
pub struct Answered {
    /// What was asked for.
    pub value: Value,
    stream: UnixStream,
}

/// Asks the program whose control socket is at `path`.
///
/// # Errors
///
/// [`ClientError`], ready to be shown.
pub fn ask(path: &Path, request: &Request) -> Result<Answered, ClientError> {
    let system = |error| ClientError::of(path, error);
    let mut stream = UnixStream::connect(path).map_err(system)?;
    stream
        .set_read_timeout(Some(patience(request)))
        .map_err(system)?;
    stream
        .set_write_timeout(Some(CONTROL_WAIT))
        .map_err(system)?;
    stream
        .write_all(format!("{request}\n").as_bytes())
        .map_err(system)?;
    let mut line = String::new();
    BufReader::new((&stream).take(CONTROL_RESPONSE))
        .read_line(&mut line)
        .map_err(system)?;
    let garbled = || ClientError::Garbled(path.to_owned());
    let mut response: Value = serde_json::from_str(&line).map_err(|_| garbled())?;
    if let Some(value) = response.get_mut("ok").map(Value::take) {
        return Ok(Answered { value, stream });
    }
    let message = response["error"]["message"].as_str().ok_or_else(garbled)?;
    let message = message.to_owned();
    Err(match response["error"]["kind"].as_str() {
        Some("configuration") => ClientError::Configuration(message),
        kind => ClientError::Refused {
            kind: kind.unwrap_or("failed").to_owned(),
            message,
        },
    })
}

/// How long the response may take.
fn patience(request: &Request) -> Duration {
    match request {
        Request::Reload => RELOAD_PATIENCE + CONTROL_WAIT,
        Request::Status
        | Request::LogLevel(_)
        | Request::CacheStats
        | Request::CacheGet(..)
        | Request::CacheFlush(_)
        | Request::Drain => CONTROL_WAIT,
    }
}

impl Answered {
    /// Waits until the program ends the connection.
    ///
    /// # Errors
    ///
    /// When it does not within `limit`.
    pub fn wait_for_end(mut self, limit: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(limit))?;
        match self.stream.read(&mut [0; 16]) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error),
        }
    }
}
