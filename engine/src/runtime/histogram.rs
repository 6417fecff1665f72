//! Counting observations by size without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::generation::Histogram as Snapshot;

/// Times from a tenth of a millisecond to a minute, in seconds.
pub(crate) const TIMES: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Sequences in a batch.
pub(crate) const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// A histogram that threads add to.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    /// In millionths.
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Adds one observation; negative ones count as 0.
    pub(crate) fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates, which is right here"
        )]
        self.sum.fetch_add((value * 1e6).round() as u64, Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "a sum of seconds needs no more than 53 bits")]
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            bounds: self.bounds,
            counts: self.counts.iter().map(|count| count.load(Relaxed)).collect(),
            sum: self.sum.load(Relaxed) as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let sizes = Histogram::new(SIZES);
        [1.0, 2.0, 3.0, 500.0].iter().for_each(|&size| sizes.observe(size));
        let snapshot = sizes.snapshot();
        assert_eq!(snapshot.counts, [1, 1, 1, 0, 0, 0, 0, 0, 1]);
        assert!((snapshot.sum - 506.0).abs() < 1e-9);
    }
}
