//! What can be asked for, as one line of words.
//!
//! A new request is a variant, a row of [`Request::TABLE`], and an arm in `server`.

use std::fmt;

use dotward_core::wire::{Name, RecordType};
use tracing::level_filters::LevelFilter;

use crate::commands::records::absolute;

/// What the operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// How the program is doing.
    Status,
    /// Log from this level on.
    LogLevel(LevelFilter),
    /// What the cache holds and has done.
    CacheStats,
    /// What is kept of a name, of one type or of all.
    CacheGet(Name, Option<RecordType>),
    /// Drop cached answers at and below a name, or everything.
    CacheFlush(Option<Name>),
    /// Read the configuration again and apply it.
    Reload,
    /// Take no more questions, answer those in flight, end.
    Drain,
}

/// One kind of request on the wire.
#[derive(Debug)]
pub struct Row {
    /// The words it begins with.
    pub words: &'static str,
    /// What follows them, for people.
    pub arguments: &'static str,
    /// From what follows them to the request.
    parse: fn(&[&str]) -> Option<Request>,
}

impl Request {
    /// Every kind of request.
    pub const TABLE: &'static [Row] = &[
        Row {
            words: "status",
            arguments: "",
            parse: |rest| rest.is_empty().then_some(Self::Status),
        },
        Row {
            words: "log-level",
            arguments: "LEVEL",
            parse: |rest| match rest {
                [level] => level_of(level).map(Self::LogLevel),
                _ => None,
            },
        },
        Row {
            words: "cache stats",
            arguments: "",
            parse: |rest| rest.is_empty().then_some(Self::CacheStats),
        },
        Row {
            words: "cache get",
            arguments: "NAME [TYPE]",
            parse: |rest| match rest {
                [name] => Some(Self::CacheGet(name.parse().ok()?, None)),
                [name, qtype] => Some(Self::CacheGet(
                    name.parse().ok()?,
                    Some(qtype.parse().ok()?),
                )),
                _ => None,
            },
        },
        Row {
            words: "cache flush",
            arguments: "[SUFFIX]",
            parse: |rest| match rest {
                [] => Some(Self::CacheFlush(None)),
                [suffix] => Some(Self::CacheFlush(Some(suffix.parse().ok()?))),
                _ => None,
            },
        },
        Row {
            words: "reload",
            arguments: "",
            parse: |rest| rest.is_empty().then_some(Self::Reload),
        },
        Row {
            words: "drain",
            arguments: "",
            parse: |rest| rest.is_empty().then_some(Self::Drain),
        },
    ];

    /// Reads a line, without its end.
    ///
    /// # Errors
    ///
    /// The requests there are, or how the one that was meant is written.
    pub fn parse(line: &str) -> Result<Self, UnknownRequest> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        for row in Self::TABLE {
            let count = row.words.split(' ').count();
            if words.len() >= count && row.words.split(' ').eq(words[..count].iter().copied()) {
                // An argument that is empty is one that got lost, and without it more may be meant than was.
                if line.ends_with([' ', '\t']) {
                    return Err(UnknownRequest { meant: Some(row) });
                }
                return (row.parse)(&words[count..]).ok_or(UnknownRequest { meant: Some(row) });
            }
        }
        Err(UnknownRequest { meant: None })
    }
}

/// The line of a request, without its end.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::LogLevel(level) => write!(f, "log-level {level}"),
            Self::CacheStats => f.write_str("cache stats"),
            Self::CacheGet(name, None) => write!(f, "cache get {}", absolute(name)),
            Self::CacheGet(name, Some(qtype)) => write!(f, "cache get {} {qtype}", absolute(name)),
            Self::CacheFlush(None) => f.write_str("cache flush"),
            Self::CacheFlush(Some(suffix)) => write!(f, "cache flush {}", absolute(suffix)),
            Self::Reload => f.write_str("reload"),
            Self::Drain => f.write_str("drain"),
        }
    }
}

/// A line that is no request.
#[derive(Debug)]
pub struct UnknownRequest {
    meant: Option<&'static Row>,
}

impl fmt::Display for UnknownRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = |row: &Row| format!("{} {}", row.words, row.arguments).trim().to_owned();
        match self.meant {
            Some(row) => write!(f, "write: {}", written(row)),
            None => {
                let all: Vec<_> = Request::TABLE.iter().map(written).collect();
                write!(f, "not a request; there are: {}", all.join(", "))
            }
        }
    }
}

impl std::error::Error for UnknownRequest {}

/// The words of `log.level`.
pub const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

fn level_of(word: &str) -> Option<LevelFilter> {
    let same = |(known, _): &&(&str, LevelFilter)| known.eq_ignore_ascii_case(word);
    LEVELS.iter().find(same).map(|(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_read_as_it_is_written() {
        let mut requests = vec![Request::Status, Request::Drain, Request::CacheStats];
        for name in [
            ".",
            "a.example",
            r"a\032b.c\.d.example",
            r"\000\255.example",
        ] {
            let name: Name = name.parse().unwrap();
            requests.extend([
                Request::CacheGet(name.clone(), None),
                Request::CacheGet(name.clone(), Some(RecordType(65_280))),
                Request::CacheFlush(Some(name)),
            ]);
        }
        requests.push(Request::CacheFlush(None));
        requests.extend(LEVELS.iter().map(|(_, level)| Request::LogLevel(*level)));
        for request in requests {
            assert_eq!(Request::parse(&request.to_string()).unwrap(), request);
        }
    }

    #[test]
    fn what_is_no_request_is_told_how_to_write_one() {
        let told = |line| Request::parse(line).unwrap_err().to_string();
        assert_eq!(told("log-level loud"), "write: log-level LEVEL");
        assert_eq!(told("status now"), "write: status");
        assert_eq!(told("cache get"), "write: cache get NAME [TYPE]");
        for line in ["cache flush a..b", "cache flush ", "cache flush\t"] {
            assert_eq!(told(line), "write: cache flush [SUFFIX]");
        }
        for line in ["", "  ", "stat", "\u{0}", "log -level info"] {
            assert!(told(line).starts_with("not a request; there are: status"));
        }
    }
}
