//! Why there is no log, for people.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why logging could not be started.
#[derive(Debug)]
pub enum LogError {
    /// The file cannot be opened for writing.
    File {
        /// The file.
        path: PathBuf,
        /// Who is to write it, where that is somebody else than who starts the program.
        user: Option<String>,
        /// What the system said.
        error: io::Error,
    },
    /// The system does not permit to be somebody else where files are concerned.
    User {
        /// Who.
        user: String,
        /// What the system said.
        error: io::Error,
    },
    /// The system gives no thread.
    Thread(io::Error),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, user, error } => {
                write!(f, "cannot write the log to {}", path.display())?;
                if let Some(user) = user {
                    write!(f, " as user {user}")?;
                }
                let user = user
                    .as_deref()
                    .map_or_else(|| "this user".into(), |it| format!("user {it}"));
                write!(
                    f,
                    ": {error}\n  fix:     give a file in a directory that exists and that {user} may write to (--log-file), or stderr"
                )
            }
            Self::User { user, error } => write!(
                f,
                "cannot write the log as user {user}: {error}\n  fix:     have the service manager start the program as that user"
            ),
            Self::Thread(error) => write!(f, "no thread for the log: {error}"),
        }
    }
}

impl std::error::Error for LogError {}
