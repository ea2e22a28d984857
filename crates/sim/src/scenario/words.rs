//! A line as words and `key=value` pairs.

use core::str::FromStr;
use core::time::Duration;

/// One line.
#[derive(Debug)]
pub(super) struct Words<'a> {
    line: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self {
            line,
            words: line.split_whitespace().collect(),
        }
    }

    /// The word at `place`.
    pub(super) fn at(&self, place: usize) -> Result<&'a str, String> {
        self.words
            .get(place)
            .copied()
            .ok_or_else(|| format!("word {} is missing", place + 1))
    }

    /// The word at `place`, when it is no option.
    pub(super) fn maybe(&self, place: usize) -> Option<&'a str> {
        self.words.get(place).copied()
    }

    pub(super) fn number<N: FromStr>(&self, place: usize) -> Result<N, String> {
        let word = self.at(place)?;
        word.parse().map_err(|_| format!("not a number: {word}"))
    }

    pub(super) fn from(&self, place: usize) -> &[&'a str] {
        self.words.get(place..).unwrap_or_default()
    }

    /// The line behind its first `count` words.
    pub(super) fn rest(&self, count: usize) -> &'a str {
        let mut rest = self.line;
        for _ in 0..count {
            rest = rest
                .split_once(char::is_whitespace)
                .map_or("", |(_, rest)| rest.trim_start());
        }
        rest
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// The value of `key=value`.
    pub(super) fn value(&self, key: &str) -> Option<&'a str> {
        self.words
            .iter()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    pub(super) fn parsed<N: FromStr>(&self, key: &str) -> Result<Option<N>, String> {
        self.value(key)
            .map(|value| value.parse().map_err(|_| format!("{key}={value}?")))
            .transpose()
    }
}

/// `400ms`, `2s` or `1h`.
pub(super) fn span(word: &str) -> Result<Duration, String> {
    let wrong = || format!("not a time: {word}");
    let digits = word.trim_end_matches(char::is_alphabetic);
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    match &word[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "h" => Ok(Duration::from_secs(number * 3_600)),
        _ => Err(wrong()),
    }
}
