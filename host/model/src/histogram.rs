//! Histograms with fixed buckets.
//!
//! Each crate keeps those of its own measurements behind a lock; the API exports them as metrics.

use std::time::Duration;

/// Bucket bounds in seconds for 100 µs to a minute.
pub const LATENCY_SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0,
];

/// Bucket bounds in seconds for a millisecond to hours.
pub const RUN_SECONDS: &[f64] =
    &[0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 180.0, 300.0, 600.0, 1800.0, 7200.0];

/// Bucket bounds for batch sizes.
pub const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0];

/// Counts observations in buckets.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// Observations per bucket; the last bucket is unbounded.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// Creates an empty histogram with these ascending upper bounds.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Records an observation.
    pub fn observe(&mut self, value: f64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum += value;
    }

    /// Records a duration, in seconds.
    pub fn observe_time(&mut self, time: Duration) {
        self.observe(time.as_secs_f64());
    }

    /// Returns each upper bound, infinity last, with the observations of its bucket.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied()).collect()
    }

    /// Adds the observations of another histogram with the same bounds.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum += other.sum;
    }

    /// Returns the observations since an earlier copy of this histogram.
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().zip(&earlier.counts);
        let counts = counts.map(|(now, before)| now.saturating_sub(*before)).collect();
        Self { bounds: self.bounds, counts, sum: self.sum - earlier.sum }
    }

    /// Estimates a quantile, such as 0.99, as if the observations of a bucket were spread evenly over it; beyond the
    /// last bound it is that bound. `None` without observations.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let rank = quantile.clamp(0.0, 1.0) * total as f64;
        let (mut below, mut lower) = (0, 0.0);
        for (upper, count) in self.buckets() {
            let upper = if upper.is_finite() { upper } else { lower };
            if count > 0 && (below + count) as f64 >= rank {
                let part = ((rank - below as f64) / count as f64).clamp(0.0, 1.0);
                return Some(lower + (upper - lower) * part);
            }
            below += count;
            lower = upper;
        }
        Some(lower)
    }

    /// Returns the sum of all observations.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Returns the number of observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_falls_below_the_first_bound_that_it_does_not_exceed() {
        let mut histogram = Histogram::new(&[1.0, 10.0]);
        for value in [0.0, 1.0, 1.5, 10.0, 11.0, 1e9] {
            histogram.observe(value);
        }
        assert_eq!(histogram.buckets(), [(1.0, 2), (10.0, 2), (f64::INFINITY, 2)]);
        assert_eq!((histogram.count(), histogram.sum()), (6, 1e9 + 23.5));
    }

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        let mut histogram = Histogram::new(&[1.0, 2.0, 10.0]);
        assert_eq!(histogram.quantile(0.5), None);
        for _ in 0..4 {
            histogram.observe(1.5);
        }
        assert_eq!((histogram.quantile(0.0), histogram.quantile(0.5)), (Some(1.0), Some(1.5)));
        let earlier = histogram.clone();
        histogram.observe(0.1);
        histogram.observe(99.0);
        let later = histogram.since(&earlier);
        assert_eq!((later.count(), later.quantile(0.5), later.quantile(1.0)), (2, Some(1.0), Some(10.0)));
        let mut both = earlier;
        both.add(&later);
        assert_eq!(both, histogram);
    }

    #[test]
    fn the_bounds_ascend() {
        for bounds in [LATENCY_SECONDS, RUN_SECONDS, COUNTS] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }
}
