//! How good a model is: single figures, curves over every threshold, costs, calibration, and drift.

mod auc;
mod calibration;
mod cost;
mod curve;
mod histogram;
mod interval;
mod stability;

use serde::{Deserialize, Serialize};

pub use auc::{Comparison, auc, compare};
pub use calibration::{Reliability, ReliabilityBin};
pub use cost::{Case, CostPoint, Costs, cheapest, cost_curve};
pub use curve::{Curve, Operating};
pub use histogram::{Bar, even_edges, histogram};
pub use interval::{Interval, Rate};
pub use stability::{Reference, Stability, StabilityBands, StabilityBin, StabilityLevel};

/// Figures over rows with a probability and a label.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Number of rows.
    pub rows: usize,
    /// How many of them are fraud.
    pub positives: usize,
    /// Area under the receiver's operating curve.
    pub auc: f64,
    /// Its 95 % interval (DeLong).
    pub auc_interval: Interval,
    /// What is found when at most 1 % of honest rows are flagged.
    pub at_1_percent: Operating,
    /// What is found when at most 5 % of honest rows are flagged.
    pub at_5_percent: Operating,
    /// Mean squared error of the probability.
    pub brier: f64,
    /// Mean log loss, in nats.
    pub log_loss: f64,
    /// Expected calibration error over 10 bins with equally many rows each.
    pub ece: f64,
    /// Its 95 % interval (bootstrap).
    pub ece_interval: Interval,
}

/// Draws of a bootstrap interval.
const RESAMPLES: u32 = 200;

impl Figures {
    /// Computes them all.
    pub fn of(scored: &[(f64, bool)]) -> Figures {
        let curve = Curve::of(scored);
        let (auc, auc_interval) = auc(scored);
        let rows = count(scored.len()).max(1.0);
        let mean = |loss: fn(f64, bool) -> f64| {
            scored.iter().map(|&(probability, label)| loss(probability, label)).sum::<f64>() / rows
        };
        let ece = |rows: &[(f64, bool)]| Reliability::of(rows, 10).ece;
        Figures {
            rows: scored.len(),
            positives: scored.iter().filter(|(_, label)| *label).count(),
            auc,
            auc_interval,
            at_1_percent: curve.at_false_positives(0.01),
            at_5_percent: curve.at_false_positives(0.05),
            brier: mean(|probability, label| (probability - target(label)).powi(2)),
            log_loss: mean(log_loss),
            ece: ece(scored),
            ece_interval: Interval::bootstrap(scored, RESAMPLES, 1, ece),
        }
    }
}

fn target(label: bool) -> f64 {
    f64::from(u8::from(label))
}

/// The log loss of one row, in nats.
pub(super) fn log_loss(probability: f64, label: bool) -> f64 {
    let right = if label { probability } else { 1.0 - probability };
    -libm::log(right.clamp(1e-15, 1.0))
}

/// Rows with the same score.
struct Run {
    score: f64,
    frauds: usize,
    honest: usize,
}

/// Runs of equal scores, in the rows' order.
fn runs(ordered: &[(f64, bool)]) -> impl Iterator<Item = Run> {
    ordered.chunk_by(|(a, _), (b, _)| a.total_cmp(b).is_eq()).map(|run| {
        let frauds = run.iter().filter(|(_, label)| *label).count();
        Run { score: run.first().map_or(0.0, |(score, _)| *score), frauds, honest: run.len() - frauds }
    })
}

/// A count as a number to reckon with.
pub(super) fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_agree_with_hand_worked_values() {
        let scored = [(0.9, true), (0.8, false), (0.8, true), (0.3, false), (0.2, false)];
        let figures = Figures::of(&scored);
        // Pairs: 0.9 beats all 3; 0.8 ties with one and beats two.
        assert!((figures.auc - 5.5 / 6.0).abs() < 1e-15, "{figures:?}");
        // One of three honest rows is more than 5 %: only 0.9 may be flagged.
        assert_eq!((figures.at_5_percent.recall.share, figures.at_5_percent.threshold), (0.5, 0.9));
        let brier = (0.01 + 0.64 + 0.04 + 0.09 + 0.04) / 5.0;
        assert!((figures.brier - brier).abs() < 1e-15);
        // One row a bin.
        assert!((figures.ece - (0.1 + 0.8 + 0.2 + 0.3 + 0.2) / 5.0).abs() < 1e-15);
    }

    #[test]
    fn chance_is_a_half() {
        let scored: Vec<(f64, bool)> = (0..100).map(|row| (0.5, row % 2 == 0)).collect();
        assert_eq!(Figures::of(&scored).auc, 0.5);
    }
}
