//! Whether probabilities are true: of the rows with 20 %, do 20 % turn out to be fraud?

use serde::{Deserialize, Serialize};

use super::{Rate, count};

/// Rows whose probabilities lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// The lowest probability.
    pub from: f64,
    /// The highest probability.
    pub to: f64,
    /// The mean probability.
    pub predicted: f64,
    /// The share that was fraud, with its interval.
    pub observed: Rate,
}

/// The calibration curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Bins with equally many rows, the lowest probabilities first.
    pub bins: Vec<ReliabilityBin>,
    /// Expected calibration error: the mean distance between predicted and observed, over all rows.
    pub ece: f64,
    /// The largest distance of a bin.
    pub worst: f64,
}

impl Reliability {
    /// The curve over `bins` bins with equally many rows each.
    pub fn of(scored: &[(f64, bool)], bins: usize) -> Reliability {
        let mut ordered = scored.to_vec();
        ordered.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let size = ordered.len().div_ceil(bins.max(1)).max(1);
        let bins: Vec<ReliabilityBin> = ordered
            .chunks(size)
            .filter_map(|rows| {
                let (from, to) = (rows.first()?.0, rows.last()?.0);
                let predicted = rows.iter().map(|(probability, _)| probability).sum::<f64>() / count(rows.len());
                let frauds = rows.iter().filter(|(_, fraud)| *fraud).count();
                Some(ReliabilityBin { from, to, predicted, observed: Rate::new(frauds, rows.len()) })
            })
            .collect();
        let gap = |bin: &ReliabilityBin| (bin.predicted - bin.observed.share).abs();
        let total: f64 = bins.iter().map(|bin| gap(bin) * count(bin.observed.of)).sum();
        Reliability {
            ece: total / count(ordered.len()).max(1.0),
            worst: bins.iter().map(gap).fold(0.0, f64::max),
            bins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_probabilities_have_no_error_and_bold_ones_have_theirs() {
        let rows = |claimed: f64| -> Vec<(f64, bool)> { (0..100).map(|row| (claimed, row % 5 == 0)).collect() };
        let honest = Reliability::of(&rows(0.2), 10);
        assert!(honest.ece < 1e-12 && honest.bins.len() == 10, "{honest:?}");
        let bold = Reliability::of(&rows(0.5), 10);
        assert!((bold.ece - 0.3).abs() < 1e-12 && (bold.worst - 0.3).abs() < 1e-12);
        assert!(bold.bins[0].observed.interval.low < 0.2 && bold.bins[0].observed.interval.high > 0.2);
        assert_eq!(Reliability::of(&[], 10).ece, 0.0);
    }
}
