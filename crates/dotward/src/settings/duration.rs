//! Durations as text.

use std::fmt;
use std::time::Duration;

/// A duration as the settings write it: one number, the largest unit that keeps it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationText(pub Duration);

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let (number, unit) = match millis {
            0 => (0, "s"),
            _ if !millis.is_multiple_of(1000) => (millis, "ms"),
            _ if !millis.is_multiple_of(60_000) => (millis / 1000, "s"),
            _ if !millis.is_multiple_of(3_600_000) => (millis / 60_000, "m"),
            _ if !millis.is_multiple_of(86_400_000) => (millis / 3_600_000, "h"),
            _ => (millis / 86_400_000, "d"),
        };
        write!(f, "{number}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_with_the_largest_whole_unit() {
        let cases = [
            (0, "0s"),
            (1500, "1500ms"),
            (2000, "2s"),
            (60_000, "1m"),
            (86_400_000, "1d"),
        ];
        for (millis, text) in cases {
            assert_eq!(
                DurationText(Duration::from_millis(millis)).to_string(),
                text
            );
        }
    }
}
