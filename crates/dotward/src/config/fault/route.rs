//! What is wrong with routes, and with who is asked because of them.

use std::fmt;
use std::net::SocketAddr;

use super::Problem;
use crate::config::place::Place;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteProblem {
    /// Every upstream serves routes only.
    NoGeneralUpstream,
    /// An upstream that is this program itself: a question to it would come back for ever.
    Loop {
        /// Its name.
        upstream: String,
        /// The address.
        endpoint: SocketAddr,
    },
    /// A route without names, or without anybody to ask.
    Incomplete {
        /// The key that is missing.
        missing: &'static str,
    },
    /// Two routes about the same names.
    DuplicateSuffix {
        /// The names.
        suffix: String,
        /// Where they stand first.
        first: Place,
    },
    /// A route names an upstream nobody knows.
    UnknownTarget {
        /// The name.
        target: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// An upstream whose address would be asked of others than the names around it.
    BootstrapOfRouted {
        /// The upstream.
        upstream: String,
        /// Whose names are kept from the others.
        suffix: String,
    },
    /// A name that is to be forwarded although it is special, and is not.
    NotSpecial {
        /// The name.
        suffix: String,
        /// The special domain it lies in, if it does.
        inside: Option<String>,
    },
}

impl From<RouteProblem> for Problem {
    fn from(problem: RouteProblem) -> Self {
        Self::Route(problem)
    }
}

impl fmt::Display for RouteProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGeneralUpstream => f.write_str("every upstream serves routes only"),
            Self::Loop { upstream, endpoint } => {
                write!(
                    f,
                    "upstream \"{upstream}\" at {endpoint} is this program itself"
                )
            }
            Self::Incomplete { missing } => write!(f, "[[route]] has no `{missing}`"),
            Self::DuplicateSuffix { suffix, first } => {
                write!(f, "{suffix} is routed twice, first at {first}")
            }
            Self::UnknownTarget { target, .. } => {
                write!(f, "no upstream is called \"{}\"", target.escape_debug())
            }
            Self::BootstrapOfRouted { upstream, suffix } => write!(
                f,
                "the address of {upstream} would be asked of upstreams that are kept from the names of {suffix}"
            ),
            Self::NotSpecial { suffix, .. } => write!(f, "{suffix} is no special-use name"),
        }
    }
}

impl RouteProblem {
    /// What to write.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoGeneralUpstream => {
                "give one a `tier`, so that it is asked about other names too, or list another".into()
            }
            Self::Loop { .. } => {
                "give the address of another resolver, or listen on another address or port".into()
            }
            Self::Incomplete { missing: "suffix" } => {
                "write `suffix = [\"corp.example\"]`".into()
            }
            Self::Incomplete { .. } => {
                "write `to = [\"office\"]`, the name of an upstream, or `to = [\"udp://10.0.0.53\"]`".into()
            }
            Self::DuplicateSuffix { .. } => {
                "keep one; it may list several upstreams".into()
            }
            Self::UnknownTarget { suggestion: Some(suggestion), .. } => {
                format!("did you mean `{suggestion}`?")
            }
            Self::UnknownTarget { suggestion: None, .. } => {
                "write the `name` of an [[upstream]], or a SPEC such as udp://10.0.0.53".into()
            }
            Self::BootstrapOfRouted { .. } => {
                "give its address, or say with `bootstrap` whom to ask".into()
            }
            Self::NotSpecial { inside: Some(inside), .. } => {
                format!("forward all of `{inside}`, or give these names a route")
            }
            Self::NotSpecial { inside: None, .. } => "remove it: it is forwarded anyway".into(),
        }
    }
}
