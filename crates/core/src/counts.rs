//! What is counted while questions are answered, for metrics and the status.
//!
//! Promises: plain numbers that only grow, kept by whoever does the thing; no name, no address, nothing a client or an upstream could
//! make larger than it is. Adding is a few instructions and allocates nothing.
//!
//! Deliberately absent: names of metrics, and any way to read them from another thread (the shell's).

use core::time::Duration;

use crate::upstream::CloseReason;

/// How often values fell between bounds, and their sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static [u64; Self::BOUNDS],
    counts: [u64; Self::BOUNDS + 1],
    sum: u64,
}

/// Upper bounds for durations of questions, in nanoseconds: from an answer out of memory to the end of a client's patience.
const DURATIONS: [u64; Histogram::BOUNDS] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
];

/// Upper bounds for the ages of connections, in nanoseconds.
const AGES: [u64; Histogram::BOUNDS] = {
    let seconds = [
        1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200,
    ];
    let mut nanos = [0; Histogram::BOUNDS];
    let mut place = 0;
    while place < seconds.len() {
        nanos[place] = seconds[place] * 1_000_000_000;
        place += 1;
    }
    nanos
};

/// Upper bounds for numbers of queries.
const NUMBERS: [u64; Histogram::BOUNDS] = [
    0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000,
];

impl Histogram {
    /// Upper bounds each histogram has.
    pub const BOUNDS: usize = 15;

    const fn new(bounds: &'static [u64; Self::BOUNDS]) -> Self {
        Self {
            bounds,
            counts: [0; Self::BOUNDS + 1],
            sum: 0,
        }
    }

    /// For durations of questions and handshakes; in nanoseconds.
    #[must_use]
    pub const fn of_durations() -> Self {
        Self::new(&DURATIONS)
    }

    /// For ages of connections; in nanoseconds.
    #[must_use]
    pub const fn of_ages() -> Self {
        Self::new(&AGES)
    }

    /// For numbers of queries.
    #[must_use]
    pub const fn of_numbers() -> Self {
        Self::new(&NUMBERS)
    }

    /// The same with what was counted elsewhere: how many values lay below each bound, and their sum.
    #[must_use]
    pub const fn with(self, counts: [u64; Self::BOUNDS + 1], sum: u64) -> Self {
        Self {
            counts,
            sum,
            ..self
        }
    }

    /// In which bucket a value lies.
    #[must_use]
    pub fn place(&self, value: u64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }

    /// Counts `value` as often as `times` says.
    pub fn add(&mut self, value: u64, times: u64) {
        let bucket = self.place(value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += times;
        }
        self.sum = self.sum.saturating_add(value.saturating_mul(times));
    }

    /// Counts one duration.
    pub fn add_duration(&mut self, value: Duration) {
        self.add(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX), 1);
    }

    /// Adds what another one with the same bounds counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Each upper bound with how many values lay between it and the one before; the last has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts)
    }

    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

/// A number for each reason for which connections end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByReason([u64; CloseReason::ALL.len()]);

impl ByReason {
    pub(crate) fn add(&mut self, reason: CloseReason, number: u64) {
        let place = CloseReason::ALL.iter().position(|known| *known == reason);
        if let Some(count) = place.and_then(|place| self.0.get_mut(place)) {
            *count += number;
        }
    }

    /// Each reason with its number.
    pub fn iter(&self) -> impl Iterator<Item = (CloseReason, u64)> {
        CloseReason::ALL.into_iter().zip(self.0)
    }

    /// The number of one reason.
    #[must_use]
    pub fn of(&self, reason: CloseReason) -> u64 {
        self.iter()
            .find(|(known, _)| *known == reason)
            .map_or(0, |(_, number)| number)
    }
}

/// What is counted of one upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamCounts {
    /// Responses to queries of ours, from the moment a connection had the query.
    pub duration: Histogram,
    /// Queries given up because their clients' time was over.
    pub timed_out: u64,
    /// Queries lost with their connection, by why that ended; they were sent elsewhere if there was time.
    pub lost: ByReason,
    /// Messages with the ID of a query that were not its response.
    pub disputed: u64,
    /// Messages nobody waited for.
    pub stray: u64,
    /// Streams that came to be.
    pub opened: u64,
    /// Streams that ended or never came to be.
    pub closed: ByReason,
    /// How old streams were that had come to be.
    pub age: Histogram,
    /// Responses such a stream had brought.
    pub queries: Histogram,
}

impl Default for UpstreamCounts {
    fn default() -> Self {
        Self {
            duration: Histogram::of_durations(),
            timed_out: 0,
            lost: ByReason::default(),
            disputed: 0,
            stray: 0,
            opened: 0,
            closed: ByReason::default(),
            age: Histogram::of_ages(),
            queries: Histogram::of_numbers(),
        }
    }
}

/// What an engine counts besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineCounts {
    /// Questions refused because there was no room for them.
    pub overloaded: u64,
    /// Questions sent a second time because the first try took longer than usual or was silent.
    pub hedged: u64,
    /// Those of them that the second try answered first.
    pub hedges_won: u64,
    /// Answers that were not told, because they had a private address where none may be.
    pub withheld: u64,
    /// Answers that were told without their additional records for the same reason.
    pub trimmed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::TlsFault;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_can_hold_it() {
        let mut histogram = Histogram::of_numbers();
        for value in [0, 1, 2, 3, 5, 1_000_000] {
            histogram.add(value, 1);
        }
        histogram.add(4, 3);
        let filled: Vec<_> = histogram.buckets().filter(|(_, n)| *n > 0).collect();
        let bounded = [(Some(0), 1), (Some(1), 1), (Some(2), 1), (Some(5), 5)];
        assert_eq!(filled[..4], bounded);
        assert_eq!(filled[4], (None, 1));
        assert_eq!((histogram.count(), histogram.sum()), (9, 1_000_023));
    }

    #[test]
    fn bounds_rise() {
        for bounds in [DURATIONS, AGES, NUMBERS] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn every_reason_has_its_own_number() {
        let mut counts = ByReason::default();
        for (place, reason) in CloseReason::ALL.into_iter().enumerate() {
            counts.add(reason, place as u64 + 1);
        }
        for (place, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(counts.of(reason), place as u64 + 1);
        }
        assert_eq!(counts.of(CloseReason::Tls(TlsFault::WrongName)), 18);
        let words: std::collections::BTreeSet<_> = CloseReason::ALL
            .iter()
            .map(|reason| reason.word())
            .collect();
        assert_eq!(words.len(), CloseReason::ALL.len());
    }
}
