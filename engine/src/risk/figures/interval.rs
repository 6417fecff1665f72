//! Intervals: how sure a figure is.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use super::count;

/// The normal distribution's 97.5th percentile: intervals hold 95 %.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// A 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A share of rows, with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Rows that count.
    pub hits: usize,
    /// Rows in all.
    pub of: usize,
    /// Their share, 0 to 1; 0 where there are no rows.
    pub share: f64,
    /// Its 95 % interval.
    pub interval: Interval,
}

impl Rate {
    /// A share with its Wilson interval.
    pub fn new(hits: usize, of: usize) -> Rate {
        Rate { hits, of, share: count(hits) / count(of).max(1.0), interval: Interval::wilson(hits, of) }
    }
}

impl Interval {
    /// The score interval of a share (Wilson 1927): it stays within 0 and 1 and is right for small numbers too.
    /// 0 to 1 where there are no rows.
    pub fn wilson(hits: usize, of: usize) -> Interval {
        if of == 0 {
            return Interval { low: 0.0, high: 1.0 };
        }
        let (rows, share) = (count(of), count(hits) / count(of));
        let middle = share + Z * Z / (2.0 * rows);
        let half = Z * ((share * (1.0 - share) + Z * Z / (4.0 * rows)) / rows).sqrt();
        let scale = 1.0 + Z * Z / rows;
        Interval { low: ((middle - half) / scale).max(0.0), high: ((middle + half) / scale).min(1.0) }
    }

    /// A mean with its standard error, as an interval.
    pub fn around(mean: f64, standard_error: f64) -> Interval {
        Interval { low: mean - Z * standard_error, high: mean + Z * standard_error }
    }

    /// The percentile interval of any figure over `resamples` draws of the rows with replacement (Efron 1979). Frauds and
    /// honest rows are drawn apart, so that every draw has as many of both. The same seed gives the same interval.
    pub fn bootstrap(
        scored: &[(f64, bool)],
        resamples: u32,
        seed: u64,
        figure: impl Fn(&[(f64, bool)]) -> f64,
    ) -> Interval {
        let kind = |wanted: bool| -> Vec<(f64, bool)> {
            scored.iter().filter(|(_, fraud)| *fraud == wanted).copied().collect()
        };
        let (frauds, honest) = (kind(true), kind(false));
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut drawn = Vec::with_capacity(scored.len());
        let mut values: Vec<f64> = (0..resamples.max(1))
            .map(|_| {
                drawn.clear();
                for rows in [&frauds, &honest] {
                    drawn.extend(rows.iter().filter_map(|_| rows.get(below(rows.len(), &mut random)).copied()));
                }
                figure(&drawn)
            })
            .collect();
        values.sort_by(f64::total_cmp);
        let at = |thousandths: usize| values.get((values.len() - 1) * thousandths / 1000).copied().unwrap_or(f64::NAN);
        Interval { low: at(25), high: at(975) }
    }
}

/// A position below `limit`; the bias of the product method is below one in four thousand millions.
fn below(limit: usize, random: &mut ChaCha8Rng) -> usize {
    let wide = u128::from(random.next_u64()) * u128::try_from(limit).unwrap_or(0);
    usize::try_from(wide >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_published_values() {
        // Newcombe 1998, table I: 81 of 263 and 0 of 20.
        let Interval { low, high } = Interval::wilson(81, 263);
        assert!((low - 0.2553).abs() < 5e-5 && (high - 0.3662).abs() < 5e-5, "{low} {high}");
        let Interval { low, high } = Interval::wilson(0, 20);
        assert!(low == 0.0 && (high - 0.1611).abs() < 5e-5, "{low} {high}");
    }

    #[test]
    fn the_bootstrap_of_a_mean_is_its_standard_error_and_follows_the_seed() {
        let scored: Vec<(f64, bool)> = (0..1000).map(|row| (f64::from(row % 100) / 100.0, row % 2 == 0)).collect();
        let mean = |rows: &[(f64, bool)]| rows.iter().map(|(p, _)| p).sum::<f64>() / count(rows.len());
        let interval = Interval::bootstrap(&scored, 2000, 7, mean);
        assert_eq!(interval, Interval::bootstrap(&scored, 2000, 7, mean));
        // The standard deviation of a uniform share is 0.2887.
        let half = Z * 0.2887 / 1000_f64.sqrt();
        assert!((interval.high - interval.low - 2.0 * half).abs() < 0.1 * half, "{interval:?}");
    }
}
