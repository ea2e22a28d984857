//! Modes as text: `mute`, `delay=800ms,serial`, `reverse=50/20ms`, for command lines and control lines.
//!
//! Promises: words are joined by commas; a later word overrides what an earlier one set. Durations are `800ms`, `1.5s`
//! or `2m`. A text that is no mode says which word is wrong and what it takes.
//!
//! Not here: the words themselves (`words`).

use std::fmt;
use std::time::Duration;

use crate::certificates::CertificateKind;
use crate::limits;
use crate::mode::{Batch, Closing, Ending, Late, Lie, LieAbout, Mode};
pub use crate::words::WORDS;

/// A word of the language.
#[derive(Debug)]
pub struct Word {
    /// How it is written.
    pub word: &'static str,
    /// Its parameter for people; empty when it takes none; in brackets when it may be left out.
    pub parameter: &'static str,
    /// What the server then does.
    pub meaning: &'static str,
    pub(crate) effect: Effect,
}

/// What a word does to a mode; `None` when the parameter has another form.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Takes no parameter.
    Alone(fn(&mut Mode)),
    /// Takes one.
    With(fn(&mut Mode, &str) -> Option<()>),
    /// Takes one or none.
    Maybe(fn(&mut Mode, Option<&str>) -> Option<()>),
}

impl Effect {
    fn apply(&self, mode: &mut Mode, given: Option<&str>) -> Option<()> {
        match self {
            Self::Alone(set) => {
                set(mode);
                given.is_none().then_some(())
            }
            Self::With(set) => set(mode, given?),
            Self::Maybe(set) => set(mode, given),
        }
    }
}

/// Why a text is no mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptError {
    /// There is no such word.
    Unknown {
        /// The word.
        word: String,
    },
    /// The parameter is missing, superfluous or of another form.
    Parameter {
        /// The word.
        word: &'static str,
        /// What it takes.
        parameter: &'static str,
        /// What was given.
        given: Option<String>,
    },
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { word } => write!(f, "no mode is called {word:?}"),
            Self::Parameter {
                word,
                parameter,
                given,
            } => {
                let form = if parameter.is_empty() {
                    " alone"
                } else {
                    parameter
                };
                write!(f, "write {word}{form}, not {word}")?;
                match given {
                    Some(given) => write!(f, "={given}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for ScriptError {}

impl std::str::FromStr for Mode {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut mode = Self::default();
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (word, given) = match item.split_once('=') {
                Some((word, given)) => (word, Some(given)),
                None => (item, None),
            };
            let entry = WORDS
                .iter()
                .find(|entry| entry.word == word)
                .ok_or_else(|| ScriptError::Unknown {
                    word: word.to_owned(),
                })?;
            entry
                .effect
                .apply(&mut mode, given)
                .ok_or_else(|| ScriptError::Parameter {
                    word: entry.word,
                    parameter: entry.parameter,
                    given: given.map(str::to_owned),
                })?;
        }
        Ok(mode)
    }
}

pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

pub(crate) fn positive<T: std::str::FromStr + PartialOrd + From<u8>>(text: &str) -> Option<T> {
    number(text).filter(|figure| *figure >= T::from(1))
}

pub(crate) fn or<T: std::str::FromStr>(given: Option<&str>, otherwise: T) -> Option<T> {
    given.map_or(Some(otherwise), number)
}

pub(crate) fn extra(given: Option<&str>) -> Option<usize> {
    or(given, 1).filter(|figure| *figure <= limits::EXTRA_RESPONSES)
}

/// `800ms`, `1.5s`, `2m`; at most a day.
pub fn duration(text: &str) -> Option<Duration> {
    let (figure, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(figure), _) => (figure, 0.001),
        (None, Some(figure)) => (figure, 1.0),
        (None, None) => (text.strip_suffix('m')?, 60.0),
    };
    let seconds = figure.parse::<f64>().ok()? * unit;
    (0.0..=86_400.0)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

pub(crate) fn late(text: &str) -> Option<Late> {
    let (by, one_of) = text.split_once('/').unwrap_or((text, "10"));
    Some(Late {
        by: duration(by)?,
        one_of: positive(one_of)?,
    })
}

pub(crate) fn batch(text: &str) -> Option<Batch> {
    let (depth, linger) = match text.split_once('/') {
        Some((depth, linger)) => (depth, duration(linger)?),
        None => (text, limits::BATCH_LINGER),
    };
    Some(Batch {
        depth: positive(depth)?,
        linger,
    })
}

pub(crate) fn lie(about: LieAbout, given: Option<&str>) -> Option<Lie> {
    matches!(given, None | Some("first")).then_some(Lie {
        about,
        then_right: given.is_some(),
    })
}

pub(crate) fn cuts(text: &str) -> Option<Vec<usize>> {
    let cuts: Option<Vec<usize>> = text.split('/').map(positive).collect();
    cuts.filter(|cuts| cuts.is_sorted())
}

pub(crate) fn keepalive(text: &str) -> Option<u16> {
    u16::try_from(duration(text)?.as_millis() / 100).ok()
}

pub(crate) fn close_after(text: &str) -> Option<Closing> {
    let (replies, pending) = text.split_once('/').unwrap_or((text, "0"));
    Some(Closing::After {
        replies: number(replies)?,
        pending: number(pending)?,
    })
}

/// `notify`, `fin` or `reset`.
pub fn ending(text: &str) -> Option<Ending> {
    match text {
        "notify" => Some(Ending::Notify),
        "fin" => Some(Ending::Fin),
        "reset" => Some(Ending::Reset),
        _ => None,
    }
}

pub(crate) fn certificate(text: &str) -> Option<CertificateKind> {
    Some(match text {
        "good" => CertificateKind::Good,
        "chained" => CertificateKind::Chained,
        "other-key" => CertificateKind::OtherKey,
        "wrong-name" => CertificateKind::WrongName,
        "cn-only" => CertificateKind::CommonNameOnly,
        "ip-in-dns-san" => CertificateKind::IpInDnsSan,
        "ip-san" => CertificateKind::IpSan,
        "expired" => CertificateKind::Expired,
        "not-yet-valid" => CertificateKind::NotYetValid,
        "self-signed" => CertificateKind::SelfSigned,
        "unknown-ca" => CertificateKind::UnknownCa,
        "missing-intermediate" => CertificateKind::MissingIntermediate,
        "wrong-usage" => CertificateKind::WrongUsage,
        _ => CertificateKind::ExpiresIn(number(text.strip_prefix("expires-in-")?)?),
    })
}
