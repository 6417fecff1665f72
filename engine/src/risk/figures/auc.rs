//! Area under the receiver's operating curve, its interval, and the difference between two models.

use serde::{Deserialize, Serialize};

use super::interval::Z;
use super::{Interval, count};

/// An area under the curve with what its variance is made of (DeLong, DeLong and Clarke-Pearson 1988), worked out
/// with midranks (Sun and Xu 2014).
#[derive(Debug, Clone)]
struct Placements {
    auc: f64,
    /// Per fraud, the share of honest rows that it outranks; ties count half.
    frauds: Vec<f64>,
    /// Per honest row, the share of frauds that outrank it.
    honest: Vec<f64>,
}

impl Placements {
    fn of(scored: &[(f64, bool)]) -> Placements {
        let ranks = midranks(scored.iter().map(|(score, _)| *score));
        let split = |fraud: bool| -> (Vec<f64>, Vec<f64>) {
            let rows = scored.iter().zip(&ranks).filter(move |((_, label), _)| *label == fraud);
            rows.map(|((score, _), rank)| (*score, *rank)).unzip()
        };
        let ((fraud_scores, fraud_ranks), (honest_scores, honest_ranks)) = (split(true), split(false));
        let (m, n) = (count(fraud_scores.len()).max(1.0), count(honest_scores.len()).max(1.0));
        let within = |scores: Vec<f64>| midranks(scores.into_iter());
        let frauds: Vec<f64> = fraud_ranks.iter().zip(within(fraud_scores)).map(|(all, own)| (all - own) / n).collect();
        let honest: Vec<f64> =
            honest_ranks.iter().zip(within(honest_scores)).map(|(all, own)| 1.0 - (all - own) / m).collect();
        let auc = if honest.is_empty() || frauds.is_empty() { 0.5 } else { frauds.iter().sum::<f64>() / m };
        Placements { auc, frauds, honest }
    }

    fn variance(&self) -> f64 {
        covariance(&self.frauds, &self.frauds) + covariance(&self.honest, &self.honest)
    }
}

/// The covariance of two means over the same rows; zero for fewer than two rows.
fn covariance(a: &[f64], b: &[f64]) -> f64 {
    let rows = count(a.len());
    if a.len() < 2 {
        return 0.0;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / rows;
    let (mean_a, mean_b) = (mean(a), mean(b));
    a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum::<f64>() / (rows - 1.0) / rows
}

/// Ranks from 1 up; equal values share the mean of theirs.
fn midranks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut order: Vec<(f64, usize)> = values.enumerate().map(|(row, value)| (value, row)).collect();
    order.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut ranks = vec![0.0; order.len()];
    let mut before = 0;
    for run in order.chunk_by(|(a, _), (b, _)| a.total_cmp(b).is_eq()) {
        let rank = count(before) + (count(run.len()) + 1.0) / 2.0;
        for &(_, row) in run {
            if let Some(slot) = ranks.get_mut(row) {
                *slot = rank;
            }
        }
        before += run.len();
    }
    ranks
}

/// Area under the curve, 0.5 where one of the two kinds is missing, and its 95 % interval.
pub fn auc(scored: &[(f64, bool)]) -> (f64, Interval) {
    let placements = Placements::of(scored);
    let Interval { low, high } = Interval::around(placements.auc, placements.variance().max(0.0).sqrt());
    (placements.auc, Interval { low: low.max(0.0), high: high.min(1.0) })
}

/// Two models' areas under the curve on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The first model's area.
    pub first: f64,
    /// The second model's area.
    pub second: f64,
    /// Second less first.
    pub difference: f64,
    /// The difference's 95 % interval.
    pub interval: Interval,
    /// Whether the interval leaves out zero.
    pub distinct: bool,
}

/// Compares two models on rows that both have scored: `(first score, second score, fraud)`, by DeLong's paired test.
pub fn compare(rows: &[(f64, f64, bool)]) -> Comparison {
    let placements = |score: fn(&(f64, f64, bool)) -> f64| {
        Placements::of(&rows.iter().map(|row| (score(row), row.2)).collect::<Vec<_>>())
    };
    let (first, second) = (placements(|row| row.0), placements(|row| row.1));
    let between = covariance(&first.frauds, &second.frauds) + covariance(&first.honest, &second.honest);
    let variance = (first.variance() + second.variance() - 2.0 * between).max(0.0);
    let difference = second.auc - first.auc;
    Comparison {
        first: first.auc,
        second: second.auc,
        difference,
        interval: Interval::around(difference, variance.sqrt()),
        distinct: difference.abs() > Z * variance.sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::generator::Draws;

    #[test]
    fn the_interval_is_the_spread_over_many_samples() {
        let mut draws = Draws::new(3);
        let mut sample = || -> Vec<(f64, bool)> {
            (0..400).map(|row| (draws.normal() + if row % 4 == 0 { 1.0 } else { 0.0 }, row % 4 == 0)).collect()
        };
        let areas: Vec<(f64, Interval)> = (0..400).map(|_| auc(&sample())).collect();
        // Two normals one apart: the area is Φ(1/√2) = 0.7602.
        let covered = areas.iter().filter(|(_, interval)| interval.low <= 0.7602 && 0.7602 <= interval.high).count();
        assert!((368..=394).contains(&covered), "{covered} of 400 intervals hold the truth");
    }

    #[test]
    fn the_area_is_the_share_of_pairs_in_the_right_order() {
        let mut draws = Draws::new(4);
        let rows: Vec<(f64, bool)> = (0..200).map(|_| (draws.whole(0.0, 9.0), draws.chance(0.3))).collect();
        let (mut right, mut pairs) = (0.0, 0.0);
        for (fraud, _) in rows.iter().filter(|(_, fraud)| *fraud) {
            for (honest, _) in rows.iter().filter(|(_, fraud)| !*fraud) {
                pairs += 1.0;
                right += if fraud > honest {
                    1.0
                } else if fraud == honest {
                    0.5
                } else {
                    0.0
                };
            }
        }
        assert!((auc(&rows).0 - right / pairs).abs() < 1e-12);
    }

    #[test]
    fn a_model_beside_itself_is_no_different_and_a_worse_one_is() {
        let mut draws = Draws::new(5);
        let rows: Vec<(f64, f64, bool)> = (0..2000)
            .map(|row| {
                let fraud = row % 5 == 0;
                let score = draws.normal() + if fraud { 1.5 } else { 0.0 };
                (score, score + draws.normal(), fraud)
            })
            .collect();
        let same: Vec<(f64, f64, bool)> = rows.iter().map(|row| (row.0, 2.0 * row.0, row.2)).collect();
        assert_eq!(compare(&same).difference, 0.0);
        assert!(!compare(&same).distinct);
        let worse = compare(&rows);
        assert!(worse.distinct && worse.interval.high < 0.0, "{worse:?}");
    }
}
