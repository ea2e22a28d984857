//! What cannot stand together.

use std::fmt;

/// Two things of which one has to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clash {
    /// A key or table that is there already.
    Key {
        /// The key.
        key: String,
        /// The line where it stands first, counted from 1; `None` where that cannot be said.
        first: Option<usize>,
        /// Whether a table repeats it, and not a line.
        is_table: bool,
    },
    /// Two listeners of which one has the address of the other too.
    Listeners {
        /// The later one.
        one: String,
        /// The earlier one.
        other: String,
    },
    /// A lower bound above the upper one.
    Bounds {
        /// The lower one and its value.
        least: String,
        /// The upper one.
        most: String,
    },
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key {
                key,
                first: Some(line),
                ..
            } => write!(f, "`{key}` is given at line {line} already"),
            Self::Key {
                key, first: None, ..
            } => write!(f, "`{key}` is given twice"),
            Self::Listeners { one, other } => {
                write!(f, "{one} is one of the addresses that {other} has already")
            }
            Self::Bounds { least, most } => write!(f, "{least} is above {most}"),
        }
    }
}

impl Clash {
    /// What to write.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Key { is_table: true, .. } => "remove that, or this table",
            Self::Key {
                is_table: false, ..
            } => "keep one of the two",
            Self::Listeners { .. } => "keep the one that is meant, or give them ports of their own",
            Self::Bounds { .. } => "lower the one or raise the other",
        }
    }
}
