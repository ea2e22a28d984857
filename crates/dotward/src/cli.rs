//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{Name, RecordType};

/// What the program is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Serve.
    Run,
    /// Show the whole chain on loopback.
    Demo {
        /// Where the forwarder of the demonstration listens.
        listen: Option<SocketAddr>,
    },
    /// Check the configuration and stop.
    Check(CheckArgs),
    /// Ask one question.
    Query(QueryArgs),
    /// Print a commented example of the configuration file.
    ConfigExample,
    /// Print the presets.
    UpstreamList {
        /// As JSON.
        json: bool,
    },
    /// Print the version.
    Version {
        /// As JSON.
        json: bool,
    },
}

/// Arguments of `check`.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckArgs {
    /// The file to check instead of the one that would be read.
    pub file: Option<PathBuf>,
    /// Print each value and where it came from.
    pub show_origin: bool,
}

/// Arguments of `query`.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryArgs {
    /// The name asked for.
    pub name: Name,
    /// The type asked for; A if not given.
    pub qtype: RecordType,
    /// The upstream asked instead of the configured ones, as its SPEC was written.
    pub via: Option<String>,
    /// Print the result as JSON.
    pub json: bool,
}
