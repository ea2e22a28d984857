//! Writes families and series in the words of `prometheus_client`.
//!
//! Deliberately absent: which there are.

use std::fmt;

use dotward_core::counts::Histogram;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

/// One family being written.
pub(super) struct Family<'a>(MetricEncoder<'a>);

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, u64>> = None;

impl Family<'_> {
    pub(super) fn counter<const N: usize>(
        &mut self,
        labels: [(&str, &str); N],
        value: u64,
    ) -> fmt::Result {
        let mut series = self.0.encode_family(&labels)?;
        series.encode_counter(&value, NO_EXEMPLAR)
    }

    pub(super) fn seconds<const N: usize>(
        &mut self,
        labels: [(&str, &str); N],
        value: f64,
    ) -> fmt::Result {
        let mut series = self.0.encode_family(&labels)?;
        series.encode_counter(&value, NO_EXEMPLAR)
    }

    pub(super) fn gauge<const N: usize>(
        &mut self,
        labels: [(&str, &str); N],
        value: f64,
    ) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_gauge(&value)
    }

    /// A histogram whose values were counted in parts of the unit told: `parts` of them are one.
    pub(super) fn histogram<const N: usize>(
        &mut self,
        labels: [(&str, &str); N],
        value: &Histogram,
        parts: f64,
    ) -> fmt::Result {
        let whole = |value: u64| as_f64(value) / parts;
        let bound = |bound: Option<u64>| bound.map_or(f64::MAX, whole);
        let buckets = value.buckets().map(|(upper, count)| (bound(upper), count));
        let buckets: Vec<(f64, u64)> = buckets.collect();
        let mut series = self.0.encode_family(&labels)?;
        series.encode_histogram::<NoLabelSet>(whole(value.sum()), value.count(), &buckets, None)
    }
}

/// Nanoseconds, of which a second has so many.
pub(super) const NANOS: f64 = 1_000_000_000.0;
/// Whole things.
pub(super) const ONE: f64 = 1.0;

#[expect(
    clippy::cast_precision_loss,
    reason = "a page of metrics has no use for more than 53 bits"
)]
pub(super) fn as_f64(value: u64) -> f64 {
    value as f64
}

pub(super) fn count_f64(value: usize) -> f64 {
    as_f64(u64::try_from(value).unwrap_or(u64::MAX))
}

pub(super) fn yes_no(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

/// A page being written.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    pub(super) fn counter(
        &mut self,
        name: &'static str,
        help: &str,
    ) -> Result<Family<'_>, fmt::Error> {
        self.family(name, help, MetricType::Counter)
    }

    pub(super) fn gauge(
        &mut self,
        name: &'static str,
        help: &str,
    ) -> Result<Family<'_>, fmt::Error> {
        self.family(name, help, MetricType::Gauge)
    }

    pub(super) fn histogram(
        &mut self,
        name: &'static str,
        help: &str,
    ) -> Result<Family<'_>, fmt::Error> {
        self.family(name, help, MetricType::Histogram)
    }

    fn family(
        &mut self,
        name: &'static str,
        help: &str,
        kind: MetricType,
    ) -> Result<Family<'_>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind).map(Family)
    }
}
