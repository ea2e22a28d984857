//! Where a value was written: the line of the file, the variable, the option.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::plain;

/// A file that was read, kept so that faults can show the line they stand on.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as it was given.
    pub name: String,
    /// What the file holds.
    pub text: String,
}

/// A range of octets of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The file.
    pub source: Arc<SourceFile>,
    /// The octets, on character boundaries.
    pub span: Range<usize>,
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the table of settings.
    Default,
    /// In the file.
    File(Spot),
    /// In this environment variable.
    Variable(String),
    /// In this option, written with its dashes.
    Flag(String),
}

impl Spot {
    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.before().matches('\n').count() + 1
    }

    /// The column in characters, counted from 1.
    pub fn column(&self) -> usize {
        self.before()
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1
    }

    /// The whole line the range begins on, each tab one column wide and each character that would act replaced, and how many characters of it the
    /// range covers; at least one.
    pub fn excerpt(&self) -> (String, usize) {
        let text = &self.source.text;
        let start = self.before().rfind('\n').map_or(0, |at| at + 1);
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let last = self.span.end.clamp(self.start(), end.max(self.start()));
        let covered = text
            .get(self.start()..last)
            .unwrap_or_default()
            .chars()
            .count()
            .max(1);
        (
            text[start..end]
                .trim_end_matches('\r')
                .replace('\t', " ")
                .replace(plain::acts, "\u{fffd}"),
            covered,
        )
    }

    fn start(&self) -> usize {
        self.span.start.min(self.source.text.len())
    }

    fn before(&self) -> &str {
        self.source.text.get(..self.start()).unwrap_or_default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(spot) => {
                write!(f, "{}:{}:{}", spot.source.name, spot.line(), spot.column())
            }
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

impl Place {
    /// Reading order: the file from its top, then the environment, then the command line.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let key = |place: &Self| match place {
            Self::Default => (0, 0, String::new()),
            Self::File(spot) => (1, spot.span.start, String::new()),
            Self::Variable(name) => (2, 0, name.clone()),
            Self::Flag(name) => (3, 0, name.clone()),
        };
        key(self).cmp(&key(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(text: &str, span: Range<usize>) -> Spot {
        Spot {
            source: Arc::new(SourceFile {
                name: "f".into(),
                text: text.into(),
            }),
            span,
        }
    }

    #[test]
    fn lines_and_columns_are_counted_in_characters_from_one() {
        let spot = spot("a\n\u{e9}\u{e9}b = 1\r\n", 6..7);
        assert_eq!((spot.line(), spot.column()), (2, 3));
        assert_eq!(spot.excerpt(), ("\u{e9}\u{e9}b = 1".to_owned(), 1));
    }

    #[test]
    fn a_range_is_cut_at_the_end_of_its_first_line() {
        assert_eq!(spot("x = [\n1]\n", 4..8).excerpt(), ("x = [".to_owned(), 1));
        assert_eq!(spot("x", 9..12).excerpt(), ("x".to_owned(), 1));
        assert_eq!(spot("", 0..0).excerpt(), (String::new(), 1));
    }
}
