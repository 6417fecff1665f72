//! Platt's calibration of the log-odds, and folding it into the trees.

use super::super::ensemble::Tree;
use super::super::model::{Calibration, probability};
use super::figures::count;

/// Finds slope and intercept that make `probability(slope * margin + intercept)` most likely, by Newton's method on
/// Platt's smoothed targets (Platt 1999; Lin, Lin and Weng 2007). A slope that would turn the order round is
/// refused: then the log-odds stay as they are.
pub(super) fn fit(margins: &[(f64, bool)]) -> Calibration {
    let positives = count(margins.iter().filter(|(_, label)| *label).count());
    let negatives = count(margins.len()) - positives;
    let target = |label: bool| if label { (positives + 1.0) / (positives + 2.0) } else { 1.0 / (negatives + 2.0) };
    let (mut slope, mut intercept) = (1.0, 0.0);
    for _ in 0..100 {
        // Gradient and Hessian of the log loss; the small ridge keeps the system solvable.
        let (mut g_slope, mut g_intercept) = (0.0, 0.0);
        let (mut h_slope, mut h_both, mut h_intercept) = (1e-9, 0.0, 1e-9);
        for &(margin, label) in margins {
            let p = probability(slope * margin + intercept);
            let (gradient, weight) = (p - target(label), (p * (1.0 - p)).max(1e-12));
            g_slope += gradient * margin;
            g_intercept += gradient;
            h_slope += weight * margin * margin;
            h_both += weight * margin;
            h_intercept += weight;
        }
        let determinant = h_slope * h_intercept - h_both * h_both;
        if determinant <= 0.0 {
            break;
        }
        let step_slope = (h_intercept * g_slope - h_both * g_intercept) / determinant;
        let step_intercept = (h_slope * g_intercept - h_both * g_slope) / determinant;
        slope -= step_slope.clamp(-1.0, 1.0);
        intercept -= step_intercept.clamp(-5.0, 5.0);
        if step_slope.abs() + step_intercept.abs() < 1e-12 {
            break;
        }
    }
    if slope.is_finite() && intercept.is_finite() && slope > 0.0 {
        Calibration { slope, intercept }
    } else {
        Calibration { slope: 1.0, intercept: 0.0 }
    }
}

/// The tree whose leaves already contain the slope.
pub(super) fn fold(tree: &Tree, calibration: Calibration) -> Tree {
    let mut tree = tree.clone();
    for value in &mut tree.value {
        *value *= calibration.slope;
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::generator::Draws;

    #[test]
    fn finds_the_truth_behind_distorted_margins() {
        let mut draws = Draws::new(5);
        let margins: Vec<(f64, bool)> = (0..40_000)
            .map(|_| {
                let truth = draws.between(-4.0, 2.0);
                // The model is twice too sure of itself, and a step too high.
                (2.0 * truth + 1.0, draws.chance(probability(truth)))
            })
            .collect();
        let found = fit(&margins);
        assert!((found.slope - 0.5).abs() < 0.02 && (found.intercept + 0.5).abs() < 0.05, "{found:?}");
    }

    #[test]
    fn the_order_is_never_turned_round() {
        let margins: Vec<(f64, bool)> = (0..100).map(|row| (f64::from(row), row < 50)).collect();
        assert_eq!(fit(&margins), Calibration { slope: 1.0, intercept: 0.0 });
    }
}
