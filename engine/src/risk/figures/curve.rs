//! What every threshold would flag: recall, false positives and precision, and the thresholds that a bank asks for.

use serde::{Deserialize, Serialize};

use super::{Rate, count, runs};

/// What a threshold does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Operating {
    /// Rows with at least this score are flagged; the largest number where nothing is.
    pub threshold: f64,
    /// Frauds flagged, among all frauds: the recall.
    pub recall: Rate,
    /// Honest rows flagged, among all honest ones: the false-positive rate.
    pub false_positives: Rate,
    /// Frauds among the flagged: the precision.
    pub precision: Rate,
}

impl Operating {
    /// Rows flagged.
    pub fn flagged(&self) -> usize {
        self.precision.of
    }
}

/// Every threshold that tells rows apart, from the highest down, with the frauds and honest rows at or above it.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    steps: Vec<(f64, usize, usize)>,
    frauds: usize,
    honest: usize,
}

impl Curve {
    /// The curve of scored rows.
    pub fn of(scored: &[(f64, bool)]) -> Curve {
        let mut ordered = scored.to_vec();
        ordered.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let (mut frauds, mut honest) = (0, 0);
        let steps = runs(&ordered)
            .map(|run| {
                frauds += run.frauds;
                honest += run.honest;
                (run.score, frauds, honest)
            })
            .collect();
        Curve { steps, frauds, honest }
    }

    fn operating(&self, (threshold, found, accused): (f64, usize, usize)) -> Operating {
        Operating {
            threshold,
            recall: Rate::new(found, self.frauds),
            false_positives: Rate::new(accused, self.honest),
            precision: Rate::new(found, found + accused),
        }
    }

    /// The last step that keeps a promise, which holds for all steps before it too.
    fn last(&self, keeps: impl Fn(&(f64, usize, usize)) -> bool) -> Operating {
        let kept = self.steps.partition_point(keeps);
        let step = kept.checked_sub(1).and_then(|last| self.steps.get(last)).copied();
        self.operating(step.unwrap_or((f64::MAX, 0, 0)))
    }

    /// What flagging from a score on does.
    pub fn at(&self, threshold: f64) -> Operating {
        Operating { threshold, ..self.last(|(score, ..)| *score >= threshold) }
    }

    /// The lowest threshold that flags at most a share of honest rows.
    pub fn at_false_positives(&self, share: f64) -> Operating {
        let allowed = share * count(self.honest);
        self.last(|(_, _, accused)| count(*accused) <= allowed)
    }

    /// The lowest threshold that flags at most so many rows: what the reviewers can look at.
    pub fn at_budget(&self, reviews: usize) -> Operating {
        self.last(|(_, found, accused)| found + accused <= reviews)
    }

    /// The highest threshold that finds at least a share of frauds.
    pub fn at_recall(&self, share: f64) -> Operating {
        let wanted = share * count(self.frauds);
        let below = self.steps.partition_point(|(_, found, _)| count(*found) < wanted);
        let step = self.steps.get(below).or(self.steps.last()).copied();
        self.operating(step.unwrap_or((f64::MAX, 0, 0)))
    }

    /// Points of the curve for a drawing, from nothing flagged to everything: at most `points` of them, evenly
    /// spread along the curve's length.
    pub fn points(&self, points: usize) -> Vec<Operating> {
        let total = count(self.frauds).max(1.0).recip();
        let honest = count(self.honest).max(1.0).recip();
        let along = |step: &(f64, usize, usize)| (count(step.1) * total + count(step.2) * honest) / 2.0;
        let mut out = vec![self.operating((f64::MAX, 0, 0))];
        let gap = count(points.max(2) - 1).recip();
        let mut next = 0.0;
        for (position, step) in self.steps.iter().enumerate() {
            if along(step) >= next || position + 1 == self.steps.len() {
                out.push(self.operating(*step));
                next = along(step) + gap;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORED: [(f64, bool); 6] = [(0.2, false), (0.9, true), (0.8, false), (0.8, true), (0.3, false), (0.1, true)];

    #[test]
    fn thresholds_keep_their_promise() {
        let curve = Curve::of(&SCORED);
        let budget = curve.at_budget(3);
        assert_eq!((budget.threshold, budget.flagged(), budget.precision.hits), (0.8, 3, 2));
        // The rows with 0.8 cannot be told apart: two reviews reach only the first.
        assert_eq!(curve.at_budget(2).threshold, 0.9);
        assert_eq!(curve.at_budget(0).threshold, f64::MAX);
        assert_eq!(curve.at_false_positives(0.34).threshold, 0.8);
        assert_eq!(curve.at_false_positives(0.0).recall.share, 1.0 / 3.0);
        assert_eq!(curve.at_recall(0.5).threshold, 0.8);
        assert_eq!(curve.at_recall(1.0).threshold, 0.1);
        let between = curve.at(0.5);
        assert_eq!((between.threshold, between.recall.hits, between.false_positives.hits), (0.5, 2, 1));
    }

    #[test]
    fn a_drawing_runs_from_nothing_to_everything() {
        let scored: Vec<(f64, bool)> = (0..5000).map(|row| (f64::from(row), row % 3 == 0)).collect();
        let points = Curve::of(&scored).points(50);
        assert!((45..=52).contains(&points.len()), "{}", points.len());
        assert_eq!((points[0].recall.share, points[points.len() - 1].recall.share), (0.0, 1.0));
        assert!(points.windows(2).all(|pair| pair[0].false_positives.share <= pair[1].false_positives.share));
    }
}
