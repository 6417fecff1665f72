//! Finding the calibration: Platt, beta and isotonic are fitted on the calibration rows and compared there by
//! cross-validation. The affine one is preferred, because it can be folded into the trees; one that bends is taken only
//! when it is better by more than chance.

use serde::{Deserialize, Serialize};

use super::super::calibration::{CalibrationCurve, softplus};
use super::super::ensemble::Tree;
use super::super::figures::{Reliability, count, log_loss};
use super::super::model::{Calibration, probability};

/// Folds of the comparison.
const FOLDS: usize = 5;

/// A way to calibrate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Affine in the log-odds.
    Platt,
    /// Two slopes and a shift.
    Beta,
    /// Any shape that keeps the order.
    Isotonic,
}

impl Method {
    const ALL: [Method; 3] = [Method::Platt, Method::Beta, Method::Isotonic];

    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Platt => "platt",
            Method::Beta => "beta",
            Method::Isotonic => "isotonic",
        }
    }
}

/// How a method did on rows that it was not fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The method.
    pub method: Method,
    /// Mean log loss, in nats.
    pub log_loss: f64,
    /// Expected calibration error over 10 bins.
    pub ece: f64,
    /// Whether the model uses it.
    pub chosen: bool,
}

/// A fitted calibration.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fitted {
    /// Folded into base and leaves.
    pub(super) affine: Calibration,
    /// Applied after it, where the map bends.
    pub(super) curve: Option<CalibrationCurve>,
}

impl Fitted {
    pub(super) fn apply(&self, margin: f64) -> f64 {
        let margin = self.affine.slope * margin + self.affine.intercept;
        self.curve.as_ref().map_or(margin, |curve| curve.apply(margin))
    }
}

/// Fits every method, compares them, and answers the chosen one with how all did. `wanted` settles the choice.
pub(super) fn choose(margins: &[(f64, bool)], wanted: Option<Method>) -> (Fitted, Vec<Tried>) {
    let losses: Vec<(Method, Vec<f64>, f64)> = Method::ALL
        .iter()
        .map(|&method| {
            let mut held_out = Vec::with_capacity(margins.len());
            for fold in 0..FOLDS {
                let rows = |wanted: bool| {
                    let rows = margins.iter().enumerate().filter(move |(row, _)| (row % FOLDS == fold) == wanted);
                    rows.map(|(_, row)| *row)
                };
                let fitted = fit(&rows(false).collect::<Vec<_>>(), method);
                held_out.extend(rows(true).map(|(margin, label)| (probability(fitted.apply(margin)), label)));
            }
            let losses = held_out.iter().map(|&(probability, label)| log_loss(probability, label)).collect();
            (method, losses, Reliability::of(&held_out, 10).ece)
        })
        .collect();
    let chosen = wanted.unwrap_or_else(|| {
        let platt = losses.first().map(|(_, losses, _)| losses.as_slice()).unwrap_or_default();
        let better = losses.iter().skip(1).filter_map(|(method, losses, _)| {
            let gains: Vec<f64> = platt.iter().zip(losses).map(|(platt, loss)| platt - loss).collect();
            let (mean, error) = mean_and_error(&gains);
            (mean > 2.0 * error).then_some((*method, mean))
        });
        better.max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(Method::Platt, |(method, _)| method)
    });
    let tried = losses
        .into_iter()
        .map(|(method, losses, ece)| Tried {
            method,
            log_loss: mean_and_error(&losses).0,
            ece,
            chosen: method == chosen,
        })
        .collect();
    (fit(margins, chosen), tried)
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let rows = count(values.len()).max(1.0);
    let mean = values.iter().sum::<f64>() / rows;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (rows - 1.0).max(1.0) / rows).sqrt())
}

fn fit(margins: &[(f64, bool)], method: Method) -> Fitted {
    let affine = platt(margins);
    let straight: Vec<(f64, bool)> =
        margins.iter().map(|&(margin, label)| (affine.slope * margin + affine.intercept, label)).collect();
    let curve = match method {
        Method::Platt => None,
        Method::Beta => beta(&straight),
        Method::Isotonic => isotonic(&straight),
    };
    Fitted { affine, curve: curve.filter(|curve| curve.check().is_ok()) }
}

/// Finds slope and intercept that make `probability(slope * margin + intercept)` most likely, by Newton's method on
/// Platt's smoothed targets (Platt 1999; Lin, Lin and Weng 2007). A slope that would turn the order round is
/// refused: then the log-odds stay as they are.
fn platt(margins: &[(f64, bool)]) -> Calibration {
    let rows: Vec<([f64; 2], f64)> = smoothed(margins).map(|(margin, target)| ([margin, 1.0], target)).collect();
    let [slope, intercept] = logistic(&rows, [1.0, 0.0]);
    if slope.is_finite() && intercept.is_finite() && slope > 0.0 {
        Calibration { slope, intercept }
    } else {
        Calibration { slope: 1.0, intercept: 0.0 }
    }
}

/// Beta calibration is logistic regression on `ln p` and `-ln(1 - p)`. A negative slope is set to zero and the rest
/// fitted again, as its authors do.
fn beta(margins: &[(f64, bool)]) -> Option<CalibrationCurve> {
    let inputs = |margin: f64| (-softplus(-margin), softplus(margin));
    let rows: Vec<([f64; 3], f64)> = smoothed(margins)
        .map(|(margin, target)| {
            let (low, high) = inputs(margin);
            ([low, high, 1.0], target)
        })
        .collect();
    let [a, b, c] = logistic(&rows, [1.0, 1.0, 0.0]);
    let one_side = |column: usize| {
        let rows: Vec<([f64; 2], f64)> =
            rows.iter().filter_map(|(row, target)| Some(([*row.get(column)?, 1.0], *target))).collect();
        logistic(&rows, [1.0, 0.0])
    };
    Some(if a < 0.0 {
        let [b, c] = one_side(1);
        CalibrationCurve::Beta { a: 0.0, b, c }
    } else if b < 0.0 {
        let [a, c] = one_side(0);
        CalibrationCurve::Beta { a, b: 0.0, c }
    } else {
        CalibrationCurve::Beta { a, b, c }
    })
}

/// Isotonic regression by pooling adjacent violators, every block smoothed by half a row of either kind so that no
/// probability is 0 or 1. None where all rows fall into one block.
fn isotonic(margins: &[(f64, bool)]) -> Option<CalibrationCurve> {
    struct Block {
        rows: f64,
        frauds: f64,
        sum: f64,
    }
    let mut ordered = margins.to_vec();
    ordered.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut blocks: Vec<Block> = Vec::new();
    let rate = |block: &Block| block.frauds / block.rows;
    for (margin, label) in ordered {
        let mut next = Block { rows: 1.0, frauds: f64::from(u8::from(label)), sum: margin };
        while let Some(last) = blocks.pop_if(|last| rate(last) >= rate(&next)) {
            next = Block { rows: last.rows + next.rows, frauds: last.frauds + next.frauds, sum: last.sum + next.sum };
        }
        blocks.push(next);
    }
    let (mut from, mut to): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    for block in &blocks {
        let odds = libm::log((block.frauds + 0.5) / (block.rows - block.frauds + 0.5));
        let center = block.sum / block.rows;
        // Smoothing may bring small blocks out of order: those are left to the straight line between their neighbours.
        if from.last().is_none_or(|last| *last < center) && to.last().is_none_or(|last| *last < odds) {
            from.push(center);
            to.push(odds);
        }
    }
    (from.len() > 1).then_some(CalibrationCurve::Isotonic { from, to })
}

/// Margins with Platt's targets.
fn smoothed(margins: &[(f64, bool)]) -> impl Iterator<Item = (f64, f64)> {
    let positives = count(margins.iter().filter(|(_, label)| *label).count());
    let negatives = count(margins.len()) - positives;
    let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
    margins.iter().map(move |&(margin, label)| (margin, if label { high } else { low }))
}

/// Logistic regression by Newton's method with a small ridge, which keeps the system solvable.
#[expect(clippy::indexing_slicing, reason = "all loops run over the same constant number of inputs")]
fn logistic<const N: usize>(rows: &[([f64; N], f64)], start: [f64; N]) -> [f64; N] {
    let mut weights = start;
    for _ in 0..100 {
        let mut gradient = [0.0; N];
        let mut hessian: [[f64; N]; N] =
            std::array::from_fn(|i| std::array::from_fn(|j| if i == j { 1e-9 } else { 0.0 }));
        for (inputs, target) in rows {
            let margin: f64 = inputs.iter().zip(&weights).map(|(input, weight)| input * weight).sum();
            let p = probability(margin);
            let curvature = (p * (1.0 - p)).max(1e-12);
            for i in 0..N {
                gradient[i] += (p - target) * inputs[i];
                for j in 0..N {
                    hessian[i][j] += curvature * inputs[i] * inputs[j];
                }
            }
        }
        let step = solve(hessian, gradient);
        for i in 0..N {
            weights[i] -= step[i].clamp(-5.0, 5.0);
        }
        if step.iter().map(|step| step.abs()).sum::<f64>() < 1e-12 {
            break;
        }
    }
    weights
}

/// Solves a symmetric positive system by Gaussian elimination.
#[expect(clippy::indexing_slicing, reason = "all loops run over the same constant number of rows")]
fn solve<const N: usize>(mut matrix: [[f64; N]; N], mut right: [f64; N]) -> [f64; N] {
    for pivot in 0..N {
        for row in pivot + 1..N {
            let factor = matrix[row][pivot] / matrix[pivot][pivot];
            let above = matrix[pivot];
            for (cell, above) in matrix[row].iter_mut().zip(above) {
                *cell -= factor * above;
            }
            right[row] -= factor * right[pivot];
        }
    }
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|column| matrix[row][column] * right[column]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
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

    fn rows(count: usize, seed: u64, truth_of: impl Fn(f64) -> f64) -> Vec<(f64, bool)> {
        let mut draws = Draws::new(seed);
        (0..count)
            .map(|_| {
                let margin = draws.between(-5.0, 3.0);
                (margin, draws.chance(probability(truth_of(margin))))
            })
            .collect()
    }

    #[test]
    fn platt_finds_the_truth_behind_distorted_margins() {
        // The model is twice too sure of itself, and a step too high.
        let found = platt(&rows(40_000, 5, |margin| 0.5 * margin - 0.5));
        assert!((found.slope - 0.5).abs() < 0.02 && (found.intercept + 0.5).abs() < 0.05, "{found:?}");
    }

    #[test]
    fn the_order_is_never_turned_round() {
        let margins: Vec<(f64, bool)> = (0..100).map(|row| (f64::from(row), row < 50)).collect();
        assert_eq!(platt(&margins), Calibration { slope: 1.0, intercept: 0.0 });
        for method in Method::ALL {
            let fitted = fit(&rows(500, 6, |margin| margin), method);
            let values: Vec<f64> = (-80..80).map(|step| fitted.apply(f64::from(step) * 0.1)).collect();
            assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{method:?}");
        }
    }

    #[test]
    fn what_is_straight_stays_affine_and_what_bends_gets_a_curve() {
        let (fitted, tried) = choose(&rows(8_000, 7, |margin| margin * 1.2 + 0.3), None);
        assert!(fitted.curve.is_none(), "{tried:?}");
        // Straight in beta's own terms, with slopes 0.3 and 2.
        let bent = |margin: f64| 2.0 * softplus(margin) - 0.3 * softplus(-margin) - 1.0;
        let (fitted, tried) = choose(&rows(20_000, 8, bent), None);
        assert!(fitted.curve.is_some(), "{tried:?}");
        let tests = rows(20_000, 9, bent);
        let ece = |fitted: &Fitted| {
            let scored: Vec<(f64, bool)> =
                tests.iter().map(|&(margin, label)| (probability(fitted.apply(margin)), label)).collect();
            Reliability::of(&scored, 10).ece
        };
        let straight = Fitted { affine: platt(&rows(20_000, 8, bent)), curve: None };
        assert!(ece(&fitted) < 0.015 && ece(&fitted) < ece(&straight), "{} {}", ece(&fitted), ece(&straight));
        // The choice can be settled.
        assert_eq!(choose(&tests, Some(Method::Isotonic)).0.curve.unwrap().name(), "isotonic");
    }
}
